//! The SQL of codes that programs were sent back with.

use crate::{grants::Scopes, tenants::ServiceTx};
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

/// A code to insert.
pub(in crate::people) struct NewAuthorizationCode<'a> {
    pub(in crate::people) code_hash: [u8; 32],
    pub(in crate::people) client_id: &'a str,
    pub(in crate::people) redirect_uri: &'a str,
    pub(in crate::people) code_challenge: &'a str,
    pub(in crate::people) user_id: Uuid,
    pub(in crate::people) scopes: Scopes,
    pub(in crate::people) app_ids: Option<&'a [Uuid]>,
    pub(in crate::people) ends_at: DateTime<Utc>,
    pub(in crate::people) credential_id: Uuid,
    pub(in crate::people) now: DateTime<Utc>,
    pub(in crate::people) expires_at: DateTime<Utc>,
}

pub(in crate::people) async fn insert_authorization_code(
    tx: &mut ServiceTx,
    new: &NewAuthorizationCode<'_>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into authorization_codes (code_hash, client_id, redirect_uri, code_challenge, user_id, scopes, app_ids,
                                          ends_at, credential_id, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(new.code_hash.as_slice())
    .bind(new.client_id)
    .bind(new.redirect_uri)
    .bind(new.code_challenge)
    .bind(new.user_id)
    .bind(new.scopes.names())
    .bind(new.app_ids)
    .bind(new.ends_at)
    .bind(new.credential_id)
    .bind(new.now)
    .bind(new.expires_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// A code that a program was sent back with, used or not.
#[derive(FromRow)]
pub(in crate::people) struct AuthorizationCode {
    pub(in crate::people) client_id: String,
    pub(in crate::people) redirect_uri: String,
    pub(in crate::people) code_challenge: String,
    pub(in crate::people) user_id: Uuid,
    pub(in crate::people) scopes: Vec<String>,
    pub(in crate::people) app_ids: Option<Vec<Uuid>>,
    pub(in crate::people) ends_at: DateTime<Utc>,
    pub(in crate::people) expires_at: DateTime<Utc>,
    pub(in crate::people) used_at: Option<DateTime<Utc>>,
    pub(in crate::people) family_id: Option<Uuid>,
    /// Whether its person is still signed in where they allowed it, and not disabled.
    pub(in crate::people) stands: bool,
}

/// Who allowed a code.
pub(in crate::people) async fn authorization_codes_person(
    tx: &mut ServiceTx,
    code_hash: &[u8],
) -> sqlx::Result<Option<Uuid>> {
    let found = sqlx::query_scalar("select user_id from authorization_codes where code_hash = $1");
    found.bind(code_hash).fetch_optional(tx.conn()).await
}

/// The code, held until the transaction ends.
pub(in crate::people) async fn lock_authorization_code(
    tx: &mut ServiceTx,
    code_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<AuthorizationCode>> {
    sqlx::query_as(
        "select a.client_id, a.redirect_uri, a.code_challenge, a.user_id, a.scopes, a.app_ids, a.ends_at, a.expires_at,
                a.used_at, a.family_id,
                u.disabled_at is null and c.revoked_at is null and coalesce(c.expires_at > $2, true) as stands
         from authorization_codes a join users u on u.user_id = a.user_id
           join credentials c on c.credential_id = a.credential_id
         where a.code_hash = $1 for update of a",
    )
    .bind(code_hash)
    .bind(now)
    .fetch_optional(tx.conn())
    .await
}

/// Writes down that a code came, and what it led to; none: nothing.
pub(in crate::people) async fn use_authorization_code(
    tx: &mut ServiceTx,
    code_hash: &[u8],
    family_id: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("update authorization_codes set used_at = $2, family_id = $3 where code_hash = $1")
        .bind(code_hash)
        .bind(now)
        .bind(family_id)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Removes codes that expired before `before`.
pub(in crate::people) async fn delete_authorization_codes(
    tx: &mut ServiceTx,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("delete from authorization_codes where expires_at < $1")
        .bind(before)
        .execute(tx.conn())
        .await
        .map(drop)
}
