//! The SQL of who has a session, and until when: its lease, and how long it lives after each use.

use crate::tenants::TenantTx;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

pub(in crate::sessions) async fn take(
    conn: &mut PgConnection,
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
    .execute(conn)
    .await
    .map(drop)
}

/// Uses a session without taking it.
pub(in crate::sessions) async fn touch(
    tx: &mut TenantTx,
    session_id: Uuid,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("update sessions set last_accessed_at = $2, expires_at = $3 where session_id = $1")
        .bind(session_id)
        .bind(now)
        .bind(expires_at)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Keeps a session taken for longer; false where somebody else has it now.
pub(in crate::sessions) async fn renew(
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

/// Whether a session is still taken by this token; its row is held from then on.
pub(in crate::sessions) async fn holds(
    tx: &mut TenantTx,
    session_id: Uuid,
    token: Uuid,
) -> sqlx::Result<bool> {
    let found: Option<i32> =
        sqlx::query_scalar("select 1 from sessions where session_id = $1 and busy_token = $2 for update")
            .bind(session_id)
            .bind(token)
            .fetch_optional(tx.conn())
            .await?;
    Ok(found.is_some())
}

/// Gives a session back, and says whether turns wait in it; none where somebody else has it now.
pub(in crate::sessions) async fn release(
    tx: &mut TenantTx,
    session_id: Uuid,
    token: Uuid,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar(
        "update sessions set busy_token = null, busy_until = null, last_accessed_at = $3, expires_at = $4
         where session_id = $1 and busy_token = $2
         returning exists (select from session_turns where session_id = $1 and state = 'queued')",
    )
    .bind(session_id)
    .bind(token)
    .bind(now)
    .bind(expires_at)
    .fetch_optional(tx.conn())
    .await
}

/// Takes a session from whoever has it.
pub(in crate::sessions) async fn let_go(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("update sessions set busy_token = null, busy_until = null where session_id = $1")
        .bind(session_id)
        .execute(conn)
        .await
        .map(drop)
}

/// Deletes a session that is taken by this token, unless a turn waits in it.
pub(in crate::sessions) async fn delete_unused(
    tx: &mut TenantTx,
    session_id: Uuid,
    token: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query(
        "delete from sessions s where session_id = $1 and busy_token = $2
           and not exists (select from session_turns t where t.session_id = s.session_id and t.state = 'queued')",
    )
    .bind(session_id)
    .bind(token)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}
