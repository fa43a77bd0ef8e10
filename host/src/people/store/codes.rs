//! The SQL of codes that were mailed.

use super::devices::deny_approved;
use crate::tenants::ServiceTx;
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

/// Whose an address is.
#[derive(FromRow)]
pub(in crate::people) struct Addressee {
    pub(in crate::people) user_id: Uuid,
    /// As its owner wrote it: a letter goes there, and to no spelling of somebody else's.
    pub(in crate::people) email: String,
    pub(in crate::people) email_proved_at: Option<DateTime<Utc>>,
}

/// Whose an address is, where they were not disabled.
pub(in crate::people) async fn find_addressee(
    tx: &mut ServiceTx,
    email: &str,
) -> sqlx::Result<Option<Addressee>> {
    sqlx::query_as(
        "select user_id, email, email_proved_at from users where lower(email) = lower($1) and disabled_at is null",
    )
    .bind(email)
    .fetch_optional(tx.conn())
    .await
}

/// A code to keep, in the place of the one before.
pub(in crate::people) struct NewCode {
    pub(in crate::people) email_hash: [u8; 32],
    pub(in crate::people) user_id: Option<Uuid>,
    pub(in crate::people) code_hash: [u8; 32],
    pub(in crate::people) now: DateTime<Utc>,
    pub(in crate::people) expires_at: DateTime<Utc>,
}

pub(in crate::people) async fn put_code(tx: &mut ServiceTx, new: &NewCode) -> sqlx::Result<()> {
    sqlx::query(
        "insert into sign_in_codes (email_hash, user_id, code_hash, created_at, expires_at)
         values ($1, $2, $3, $4, $5)
         on conflict (email_hash) do update set user_id = excluded.user_id, code_hash = excluded.code_hash,
           tries = 0, created_at = excluded.created_at, expires_at = excluded.expires_at",
    )
    .bind(new.email_hash.as_slice())
    .bind(new.user_id)
    .bind(new.code_hash.as_slice())
    .bind(new.now)
    .bind(new.expires_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// A code that was mailed, or would have been.
#[derive(FromRow)]
pub(in crate::people) struct FoundCode {
    pub(in crate::people) user_id: Option<Uuid>,
    pub(in crate::people) code_hash: Vec<u8>,
    pub(in crate::people) tries: i32,
    pub(in crate::people) expires_at: DateTime<Utc>,
}

/// The code of an address, held until the transaction ends.
pub(in crate::people) async fn lock_code(
    tx: &mut ServiceTx,
    email_hash: &[u8],
) -> sqlx::Result<Option<FoundCode>> {
    sqlx::query_as(
        "select user_id, code_hash, tries, expires_at from sign_in_codes where email_hash = $1 for update",
    )
    .bind(email_hash)
    .fetch_optional(tx.conn())
    .await
}

pub(in crate::people) async fn count_try(tx: &mut ServiceTx, email_hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query("update sign_in_codes set tries = tries + 1 where email_hash = $1")
        .bind(email_hash)
        .execute(tx.conn())
        .await
        .map(drop)
}

pub(in crate::people) async fn delete_code(tx: &mut ServiceTx, email_hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query("delete from sign_in_codes where email_hash = $1")
        .bind(email_hash)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Removes codes that expired before `before`.
pub(in crate::people) async fn delete_codes(tx: &mut ServiceTx, before: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("delete from sign_in_codes where expires_at < $1")
        .bind(before)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Writes down that a person proved their address, and takes the password that was set before anybody had; false where
/// it was proved before. None where the person was disabled meanwhile.
pub(in crate::people) async fn prove_email(
    tx: &mut ServiceTx,
    user_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<bool>> {
    let proved: Option<Option<DateTime<Utc>>> = sqlx::query_scalar(
        "select email_proved_at from users where user_id = $1 and disabled_at is null for update",
    )
    .bind(user_id)
    .fetch_optional(tx.conn())
    .await?;
    if proved == Some(None) {
        sqlx::query("update users set email_proved_at = $2, password_hash = null where user_id = $1")
            .bind(user_id)
            .bind(now)
            .execute(tx.conn())
            .await?;
    }
    Ok(proved.map(|before| before.is_none()))
}

/// Revokes everything that acts for a person, and turns away what was let in and has not come yet.
pub(in crate::people) async fn revoke_all(
    tx: &mut ServiceTx,
    user_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    // First: one that is fetching its tokens this moment is waited for, and they are found.
    deny_approved(tx, user_id).await?;
    sqlx::query(
        "update credentials set revoked_at = $2 where user_id = $1 and app_id is null and revoked_at is null",
    )
    .bind(user_id)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Leaves a person alone in the app that signing up made: revokes its tokens, and removes who else is in it
/// or invited.
pub(in crate::people) async fn clear_own_app(
    tx: &mut ServiceTx,
    user_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    // The one they have been the owner of for as long as they are here.
    let own: Vec<Uuid> = sqlx::query_scalar(
        "select m.app_id from app_members m join users u using (user_id)
         where m.user_id = $1 and m.role = 'owner' and m.created_at = u.created_at",
    )
    .bind(user_id)
    .fetch_all(tx.conn())
    .await?;
    sqlx::query("update credentials set revoked_at = $2 where app_id = any($1) and revoked_at is null")
        .bind(&own)
        .bind(now)
        .execute(tx.conn())
        .await?;
    sqlx::query("delete from app_invitations where app_id = any($1)").bind(&own).execute(tx.conn()).await?;
    sqlx::query("delete from app_members where app_id = any($1) and user_id <> $2")
        .bind(&own)
        .bind(user_id)
        .execute(tx.conn())
        .await
        .map(drop)
}
