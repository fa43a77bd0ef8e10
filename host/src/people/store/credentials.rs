//! The SQL of people's credentials.

use super::devices::deny_approved;
use crate::{
    grants::{CredentialKind, Scopes},
    tenants::{PersonTx, ServiceTx},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// A person's credential to insert.
pub(in crate::people) struct NewCredential<'a> {
    pub(in crate::people) credential_id: Uuid,
    pub(in crate::people) kind: CredentialKind,
    pub(in crate::people) user_id: Uuid,
    pub(in crate::people) name: &'a str,
    pub(in crate::people) secret_hash: [u8; 32],
    pub(in crate::people) prefix: &'a str,
    pub(in crate::people) last4: &'a str,
    pub(in crate::people) scopes: Scopes,
    pub(in crate::people) app_ids: Option<Vec<Uuid>>,
    pub(in crate::people) family_id: Option<Uuid>,
    pub(in crate::people) ip: Option<String>,
    pub(in crate::people) user_agent: Option<&'a str>,
    pub(in crate::people) expires_at: Option<DateTime<Utc>>,
    pub(in crate::people) created_by: Option<Uuid>,
    pub(in crate::people) now: DateTime<Utc>,
}

pub(in crate::people) async fn insert_credential(
    conn: &mut PgConnection,
    new: &NewCredential<'_>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into credentials (credential_id, kind, user_id, name, secret_hash, prefix, last4, scopes, app_ids,
                                  family_id, ip, user_agent, expires_at, created_by, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(new.credential_id)
    .bind(new.kind.name())
    .bind(new.user_id)
    .bind(new.name)
    .bind(new.secret_hash.as_slice())
    .bind(new.prefix)
    .bind(new.last4)
    .bind(new.scopes.names())
    .bind(new.app_ids.as_deref())
    .bind(new.family_id)
    .bind(new.ip.as_deref())
    .bind(new.user_agent)
    .bind(new.expires_at)
    .bind(new.created_by)
    .bind(new.now)
    .execute(conn)
    .await
    .map(drop)
}

/// Revokes a person's oldest console sessions, so that `kept` are left.
pub(in crate::people) async fn revoke_oldest_sessions(
    tx: &mut ServiceTx,
    user_id: Uuid,
    kept: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update credentials set revoked_at = $3 where credential_id in
           (select credential_id from credentials where user_id = $1 and kind = 'console_session'
              and revoked_at is null and expires_at > $3 order by credential_id desc offset $2)",
    )
    .bind(user_id)
    .bind(kept)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Revokes one of the person's credentials and all of its family.
pub(in crate::people) async fn revoke_family_of(
    tx: &mut PersonTx,
    credential_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update credentials set revoked_at = $2 where user_id = current_user_id() and revoked_at is null
           and (credential_id = $1 or family_id = (select family_id from credentials where credential_id = $1))",
    )
    .bind(credential_id)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Revokes every sign-in of a person's, by browser or by command line, but one. Personal tokens stay.
pub(in crate::people) async fn revoke_sign_ins(
    tx: &mut ServiceTx,
    user_id: Uuid,
    but: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    // First: one that is fetching its tokens this moment is waited for, and they are found.
    deny_approved(tx, user_id).await?;
    sqlx::query(
        "update credentials set revoked_at = $3 where user_id = $1 and revoked_at is null
           and kind in ('console_session', 'platform_token', 'refresh_token') and credential_id is distinct from $2",
    )
    .bind(user_id)
    .bind(but)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// A console session, as its person reads it.
#[derive(FromRow, Serialize)]
pub(in crate::people) struct ConsoleSession {
    #[serde(rename = "id")]
    pub(in crate::people) credential_id: Uuid,
    pub(in crate::people) created_at: DateTime<Utc>,
    pub(in crate::people) last_used_at: Option<DateTime<Utc>>,
    pub(in crate::people) expires_at: Option<DateTime<Utc>>,
    pub(in crate::people) ip: Option<String>,
    pub(in crate::people) user_agent: Option<String>,
    /// Whether it is the one that asks.
    pub(in crate::people) current: bool,
}

/// The person's live console sessions, newest first, `limit` of them older than `before`.
pub(in crate::people) async fn list_sessions(
    tx: &mut PersonTx,
    current: Option<Uuid>,
    now: DateTime<Utc>,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<ConsoleSession>> {
    sqlx::query_as(
        "select credential_id, created_at, last_used_at, expires_at, ip, user_agent,
                credential_id is not distinct from $1 as current
         from credentials
         where user_id = current_user_id() and kind = 'console_session' and revoked_at is null and expires_at > $2
           and ($3::uuid is null or credential_id < $3)
         order by credential_id desc limit $4",
    )
    .bind(current)
    .bind(now)
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Revokes one of the person's console sessions; false where there is none.
pub(in crate::people) async fn revoke_session(
    tx: &mut PersonTx,
    credential_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "update credentials set revoked_at = $2 where user_id = current_user_id() and credential_id = $1
           and kind = 'console_session' and revoked_at is null",
    )
    .bind(credential_id)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

pub(in crate::people) async fn revoke_other_sessions(
    tx: &mut PersonTx,
    but: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update credentials set revoked_at = $2 where user_id = current_user_id() and kind = 'console_session'
           and revoked_at is null and credential_id is distinct from $1",
    )
    .bind(but)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Removes people's credentials that ended before `before`, a batch of them; how many it was.
pub(in crate::people) async fn delete_ended(
    tx: &mut ServiceTx,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    sqlx::query(
        "delete from credentials where credential_id in
           (select credential_id from credentials where app_id is null
              and least(expires_at, revoked_at) < $1 order by credential_id limit $2 for update skip locked)",
    )
    .bind(before)
    .bind(limit)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected())
}

/// A refresh token, used or not.
#[derive(FromRow)]
pub(in crate::people) struct FoundRefresh {
    pub(in crate::people) credential_id: Uuid,
    pub(in crate::people) user_id: Uuid,
    pub(in crate::people) family_id: Uuid,
    pub(in crate::people) name: String,
    pub(in crate::people) scopes: Vec<String>,
    pub(in crate::people) app_ids: Option<Vec<Uuid>>,
    pub(in crate::people) expires_at: DateTime<Utc>,
    pub(in crate::people) revoked_at: Option<DateTime<Utc>>,
}

/// Whose a refresh token is.
pub(in crate::people) async fn refresh_tokens_person(
    tx: &mut ServiceTx,
    secret_hash: &[u8],
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar("select user_id from credentials where secret_hash = $1 and kind = 'refresh_token'")
        .bind(secret_hash)
        .fetch_optional(tx.conn())
        .await
}

/// The refresh token of a person who was not disabled, held until the transaction ends.
pub(in crate::people) async fn lock_refresh_token(
    tx: &mut ServiceTx,
    secret_hash: &[u8],
) -> sqlx::Result<Option<FoundRefresh>> {
    sqlx::query_as(
        "select c.credential_id, c.user_id, c.family_id, c.name, c.scopes, c.app_ids, c.expires_at, c.revoked_at
         from credentials c join users u using (user_id)
         where c.secret_hash = $1 and c.kind = 'refresh_token' and u.disabled_at is null for update of c",
    )
    .bind(secret_hash)
    .fetch_optional(tx.conn())
    .await
}

pub(in crate::people) async fn revoke_credential(
    tx: &mut ServiceTx,
    credential_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("update credentials set revoked_at = $2 where credential_id = $1")
        .bind(credential_id)
        .bind(now)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Revokes what is live of a family; how many it was.
pub(in crate::people) async fn revoke_family(
    tx: &mut ServiceTx,
    family_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    sqlx::query("update credentials set revoked_at = $2 where family_id = $1 and revoked_at is null")
        .bind(family_id)
        .bind(now)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected())
}
