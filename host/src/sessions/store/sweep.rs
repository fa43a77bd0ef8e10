//! The SQL of what time does to sessions: which of all apps' are due, for whatever it may be.

use crate::tenants::ServiceTx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Sessions that expired before `before`, a batch of them, held: those that nobody else removes.
pub(in crate::sessions) async fn expired(
    tx: &mut ServiceTx,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select session_id from sessions where expires_at < $1 order by expires_at limit $2 for update skip locked",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Removes sessions, with all below them.
pub(in crate::sessions) async fn delete_all(tx: &mut ServiceTx, of: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query("delete from sessions where session_id = any($1)").bind(of).execute(tx.conn()).await.map(drop)
}

/// Sessions whose lease ended before `until`.
pub(in crate::sessions) async fn overdue(
    tx: &mut ServiceTx,
    until: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("select session_id from sessions where busy_until <= $1 order by busy_until limit $2")
        .bind(until)
        .bind(limit)
        .fetch_all(tx.conn())
        .await
}

/// Sessions whose turns wait for nobody: idle, and not taken.
pub(in crate::sessions) async fn waiting(
    tx: &mut ServiceTx,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select session_id from session_turns t join sessions using (session_id)
         where state = 'queued' and status = 'idle' and busy_until is null and expires_at > $1
         group by session_id order by min(t.created_at) limit $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Sessions that are made ready and came no step further since before `since`: whoever did it has died.
pub(in crate::sessions) async fn stuck(
    tx: &mut ServiceTx,
    since: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select session_id from sessions join session_instances using (session_id)
         where status = 'creating' and state = 'provisioning' and beat_at <= $1 limit $2",
    )
    .bind(since)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Sessions that nobody has used since before `since` and that run on something.
pub(in crate::sessions) async fn unused(
    tx: &mut ServiceTx,
    since: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select session_id from sessions where status = 'idle' and last_accessed_at <= $1 and busy_until is null
           and not exists (select from session_turns t where t.session_id = sessions.session_id and t.state = 'queued')
         order by last_accessed_at limit $2",
    )
    .bind(since)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}
