//! All SQL of sessions.

use crate::tenants::{ServiceTx, TenantTx};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

pub(super) struct NewSession {
    pub(super) session_id: Uuid,
    pub(super) app_id: Uuid,
    pub(super) now: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) token: Uuid,
    pub(super) busy_until: DateTime<Utc>,
}

pub(super) async fn insert(tx: &mut TenantTx, new: &NewSession) -> sqlx::Result<()> {
    sqlx::query(
        "insert into sessions (session_id, app_id, created_at, last_accessed_at, expires_at, busy_token, busy_until)
         values ($1, $2, $3, $3, $4, $5, $6)",
    )
    .bind(new.session_id)
    .bind(new.app_id)
    .bind(new.now)
    .bind(new.expires_at)
    .bind(new.token)
    .bind(new.busy_until)
    .execute(tx.conn())
    .await
    .map(drop)
}

#[derive(FromRow)]
pub(super) struct Locked {
    pub(super) expires_at: DateTime<Utc>,
    pub(super) busy_until: Option<DateTime<Utc>>,
}

pub(super) async fn lock(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Option<Locked>> {
    sqlx::query_as("select expires_at, busy_until from sessions where session_id = $1 for update")
        .bind(session_id)
        .fetch_optional(tx.conn())
        .await
}

pub(super) async fn take(
    tx: &mut TenantTx,
    session_id: Uuid,
    token: Uuid,
    busy_until: DateTime<Utc>,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update sessions set busy_token = $2, busy_until = $3, last_accessed_at = $4, expires_at = $5
         where session_id = $1",
    )
    .bind(session_id)
    .bind(token)
    .bind(busy_until)
    .bind(now)
    .bind(expires_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Keeps a session taken for longer; false where somebody else has it now.
pub(super) async fn renew(
    tx: &mut TenantTx,
    session_id: Uuid,
    token: Uuid,
    busy_until: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query("update sessions set busy_until = $3 where session_id = $1 and busy_token = $2")
        .bind(session_id)
        .bind(token)
        .bind(busy_until)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}

/// Gives a session back; false where somebody else has it now.
pub(super) async fn release(
    tx: &mut TenantTx,
    session_id: Uuid,
    token: Uuid,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "update sessions set busy_token = null, busy_until = null, last_accessed_at = $3, expires_at = $4
         where session_id = $1 and busy_token = $2",
    )
    .bind(session_id)
    .bind(token)
    .bind(now)
    .bind(expires_at)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// How many messages a session holds, and how many bytes of JSON they are.
pub(super) async fn size(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(
        "select count(*), coalesce(sum(octet_length(message::text)), 0)::bigint from session_messages
         where session_id = $1",
    )
    .bind(session_id)
    .fetch_one(tx.conn())
    .await
}

pub(super) async fn messages(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Vec<Value>> {
    sqlx::query_scalar("select message from session_messages where session_id = $1 order by seq")
        .bind(session_id)
        .fetch_all(tx.conn())
        .await
}

pub(super) async fn append(
    tx: &mut TenantTx,
    session_id: Uuid,
    app_id: Uuid,
    after: usize,
    messages: &[Value],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into session_messages (session_id, app_id, seq, message, created_at)
         select $1, $2, $3 + ordinality::int, message, $5 from unnest($4::jsonb[]) with ordinality as m(message)",
    )
    .bind(session_id)
    .bind(app_id)
    .bind(i32::try_from(after).unwrap_or(i32::MAX))
    .bind(messages)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

pub(super) async fn delete(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<bool> {
    sqlx::query("delete from sessions where session_id = $1")
        .bind(session_id)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}

/// Removes sessions that expired before `before`, a batch of them; how many it was.
pub(super) async fn delete_expired(
    tx: &mut ServiceTx,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    sqlx::query(
        "delete from sessions where session_id in
           (select session_id from sessions where expires_at < $1 order by expires_at limit $2 for update skip locked)",
    )
    .bind(before)
    .bind(limit)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected())
}
