//! All SQL of workspaces: whether a session has, or had, one.

use crate::tenants::{ServiceTx, TenantTx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Whether a workspace was made for a session; none where there is no such session.
pub(super) async fn was_made(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar(
        "select exists (select from session_workspaces w where w.session_id = s.session_id)
         from sessions s where session_id = $1",
    )
    .bind(session_id)
    .fetch_optional(tx.conn())
    .await
}

/// Remembers that one was made.
pub(super) async fn made(
    tx: &mut TenantTx,
    session_id: Uuid,
    app_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into session_workspaces (session_id, app_id, created_at) values ($1, $2, $3) on conflict do nothing",
    )
    .bind(session_id)
    .bind(app_id)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// The turn a message belongs to, or what the changes of its chat request are kept under; none where there is no such
/// message that was not taken back.
pub(super) async fn turn_of(
    tx: &mut TenantTx,
    session_id: Uuid,
    message_id: Uuid,
) -> sqlx::Result<Option<Option<Uuid>>> {
    sqlx::query_scalar(
        "select coalesce(turn_id, changes_id) from session_messages where session_id = $1 and message_id = $2")
        .bind(session_id)
        .bind(message_id)
        .fetch_optional(tx.conn())
        .await
}

/// Which of these sessions are still there.
pub(super) async fn alive(
    tx: &mut ServiceTx,
    sessions: &[Uuid],
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("select session_id from sessions where session_id = any($1) and expires_at > $2")
        .bind(sessions)
        .bind(since)
        .fetch_all(tx.conn())
        .await
}
