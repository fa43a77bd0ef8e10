//! The SQL of a session's row that is held, and of what is done to a session as a whole.

use crate::{
    sessions::{
        Status,
        context::{Compaction, Context},
        instances::Target,
    },
    tenants::TenantTx,
};
use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// A session whose row is held until the end of the transaction.
pub(crate) struct Locked {
    pub(in crate::sessions) app_id: Uuid,
    pub(in crate::sessions) status: Status,
    pub(in crate::sessions) title: String,
    pub(in crate::sessions) agent: Option<String>,
    /// What it runs on.
    pub(in crate::sessions) target: Target,
    pub(in crate::sessions) expires_at: DateTime<Utc>,
    pub(in crate::sessions) busy_until: Option<DateTime<Utc>>,
    /// How long its conversation has become, where that is known and it may be summed up by itself.
    pub(in crate::sessions) context: Option<Context>,
    pub(in crate::sessions) reverted_from: Option<i32>,
    pub(in crate::sessions) parent_id: Option<Uuid>,
}

#[derive(FromRow)]
struct LockedRow {
    app_id: Uuid,
    status: String,
    title: String,
    agent: Option<String>,
    target: String,
    expires_at: DateTime<Utc>,
    busy_until: Option<DateTime<Utc>>,
    compaction: String,
    context_tokens: Option<i64>,
    context_limit: Option<i64>,
    reverted_from: Option<i32>,
    parent_id: Option<Uuid>,
}

pub(in crate::sessions) async fn lock(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Option<Locked>> {
    lock_of_any(tx.conn(), session_id).await
}

/// The same for the platform itself, whose apps are all of them.
pub(in crate::sessions) async fn lock_of_any(
    conn: &mut PgConnection,
    session_id: Uuid,
) -> sqlx::Result<Option<Locked>> {
    let row: Option<LockedRow> = sqlx::query_as(
        "select app_id, status, title, agent, target, expires_at, busy_until, compaction, context_tokens, context_limit,
                reverted_from, parent_id
         from sessions where session_id = $1 for update",
    )
    .bind(session_id)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Locked {
        app_id: row.app_id,
        // The table takes no other.
        status: Status::parse(&row.status).unwrap_or(Status::Error),
        title: row.title,
        agent: row.agent,
        target: Target::named(&row.target),
        expires_at: row.expires_at,
        busy_until: row.busy_until,
        context: row
            .context_tokens
            .filter(|_| row.compaction == Compaction::Auto.name())
            .map(|tokens| Context { tokens, limit: row.context_limit }),
        reverted_from: row.reverted_from,
        parent_id: row.parent_id,
    }))
}

/// Goes to a state; which it was before, where it was another.
pub(in crate::sessions) async fn set_status(
    conn: &mut PgConnection,
    session_id: Uuid,
    to: Status,
    reason: Option<&str>,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "with before as (select status from sessions where session_id = $1 and status <> $2)
         update sessions set status = $2, status_reason = $3 from before where session_id = $1 returning before.status",
    )
    .bind(session_id)
    .bind(to.name())
    .bind(reason)
    .fetch_optional(conn)
    .await
}

pub(in crate::sessions) async fn delete(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<bool> {
    sqlx::query("delete from sessions where session_id = $1")
        .bind(session_id)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}
