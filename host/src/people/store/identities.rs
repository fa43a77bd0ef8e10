//! The SQL of accounts at other providers, and of sign-ins that are on their way there.

use crate::tenants::{PersonTx, ServiceTx};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// A sign-in to write down.
pub(in crate::people) struct NewOauthSignIn<'a> {
    pub(in crate::people) sign_in_hash: [u8; 32],
    pub(in crate::people) provider: &'a str,
    pub(in crate::people) next: &'a str,
    pub(in crate::people) now: DateTime<Utc>,
    pub(in crate::people) expires_at: DateTime<Utc>,
}

pub(in crate::people) async fn insert_oauth_sign_in(
    tx: &mut ServiceTx,
    new: &NewOauthSignIn<'_>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into oauth_sign_ins (sign_in_hash, provider, next, created_at, expires_at)
         values ($1, $2, $3, $4, $5)",
    )
    .bind(new.sign_in_hash.as_slice())
    .bind(new.provider)
    .bind(new.next)
    .bind(new.now)
    .bind(new.expires_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// A sign-in that came back.
#[derive(FromRow)]
pub(in crate::people) struct FoundOauthSignIn {
    pub(in crate::people) next: String,
    pub(in crate::people) expires_at: DateTime<Utc>,
}

/// Takes a sign-in out, so that nobody finds it again.
pub(in crate::people) async fn take_oauth_sign_in(
    tx: &mut ServiceTx,
    sign_in_hash: &[u8],
    provider: &str,
) -> sqlx::Result<Option<FoundOauthSignIn>> {
    sqlx::query_as(
        "delete from oauth_sign_ins where sign_in_hash = $1 and provider = $2 returning next, expires_at",
    )
    .bind(sign_in_hash)
    .bind(provider)
    .fetch_optional(tx.conn())
    .await
}

/// Removes sign-ins that expired before `before`.
pub(in crate::people) async fn delete_oauth_sign_ins(
    tx: &mut ServiceTx,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("delete from oauth_sign_ins where expires_at < $1")
        .bind(before)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Whose an account at a provider is.
#[derive(FromRow)]
pub(in crate::people) struct FoundIdentity {
    pub(in crate::people) user_id: Uuid,
    /// Whether they were not disabled.
    pub(in crate::people) may_sign_in: bool,
}

pub(in crate::people) async fn find_identity(
    tx: &mut ServiceTx,
    provider: &str,
    issuer: &str,
    subject: &str,
) -> sqlx::Result<Option<FoundIdentity>> {
    sqlx::query_as(
        "select i.user_id, u.disabled_at is null as may_sign_in from user_identities i join users u using (user_id)
         where i.provider = $1 and i.issuer = $2 and i.subject = $3",
    )
    .bind(provider)
    .bind(issuer)
    .bind(subject)
    .fetch_optional(tx.conn())
    .await
}

pub(in crate::people) async fn count_identities(tx: &mut ServiceTx, user_id: Uuid) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from user_identities where user_id = $1")
        .bind(user_id)
        .fetch_one(tx.conn())
        .await
}

/// An account at a provider to link.
pub(in crate::people) struct NewIdentity<'a> {
    pub(in crate::people) identity_id: Uuid,
    pub(in crate::people) user_id: Uuid,
    pub(in crate::people) provider: &'a str,
    pub(in crate::people) issuer: &'a str,
    pub(in crate::people) subject: &'a str,
    pub(in crate::people) email: &'a str,
    pub(in crate::people) now: DateTime<Utc>,
}

/// Links one; false where it is linked by now.
pub(in crate::people) async fn insert_identity(
    tx: &mut ServiceTx,
    new: &NewIdentity<'_>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "insert into user_identities (identity_id, user_id, provider, issuer, subject, email, created_at)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (provider, issuer, subject) do nothing",
    )
    .bind(new.identity_id)
    .bind(new.user_id)
    .bind(new.provider)
    .bind(new.issuer)
    .bind(new.subject)
    .bind(new.email)
    .bind(new.now)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// An account at a provider, as its person reads it.
#[derive(FromRow, Serialize)]
pub(in crate::people) struct Identity {
    #[serde(rename = "id")]
    pub(in crate::people) identity_id: Uuid,
    pub(in crate::people) provider: String,
    pub(in crate::people) email: String,
    pub(in crate::people) created_at: DateTime<Utc>,
}

/// The person's, the oldest first: no more than one may have.
pub(in crate::people) async fn my_identities(tx: &mut PersonTx) -> sqlx::Result<Vec<Identity>> {
    sqlx::query_as(
        "select identity_id, provider, email, created_at from user_identities
         where user_id = current_user_id() order by identity_id",
    )
    .fetch_all(tx.conn())
    .await
}

/// Takes the lock of a person's account until the transaction ends, and says whether it has a password.
pub(in crate::people) async fn lock_account(tx: &mut ServiceTx, user_id: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar("select password_hash is not null from users where user_id = $1 for update")
        .bind(user_id)
        .fetch_one(tx.conn())
        .await
}

/// Holds a person's account as it is until the transaction ends. Whoever makes a token for a person takes this before
/// anything else of theirs, and so does whoever ends all of them: none is made beside that and missed.
pub(in crate::people) async fn lock_person(tx: &mut ServiceTx, user_id: Option<Uuid>) -> sqlx::Result<()> {
    sqlx::query("select 1 from users where user_id = $1 for no key update")
        .bind(user_id)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Holds a person's account as it is until the transaction ends, and says whether a credential of theirs still counts:
/// what is made with it outlives it, so it is asked again where that is written.
pub(in crate::people) async fn hold_standing(
    conn: &mut PgConnection,
    user_id: Uuid,
    credential_id: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query("select 1 from users where user_id = $1 for no key update")
        .bind(user_id)
        .execute(&mut *conn)
        .await?;
    sqlx::query_scalar(
        "select exists (select 1 from credentials c join users u using (user_id)
           where c.credential_id = $1 and c.user_id = $2 and c.revoked_at is null
             and (c.expires_at is null or c.expires_at > $3) and u.disabled_at is null)",
    )
    .bind(credential_id)
    .bind(user_id)
    .bind(now)
    .fetch_one(conn)
    .await
}

/// Unlinks one of a person's; false where they have no such.
pub(in crate::people) async fn delete_identity(
    tx: &mut ServiceTx,
    user_id: Uuid,
    identity_id: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query("delete from user_identities where user_id = $1 and identity_id = $2")
        .bind(user_id)
        .bind(identity_id)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}
