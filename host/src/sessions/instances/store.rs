//! All SQL of instances.

use super::Target;
use crate::tenants::ServiceTx;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// Begins an instance, unless one lives; its id.
pub(crate) async fn begin(
    conn: &mut PgConnection,
    (session_id, app_id): (Uuid, Uuid),
    instance_id: Uuid,
    target: Target,
    ready: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into session_instances (instance_id, session_id, app_id, driver, state, created_at, beat_at, registered_at)
         values ($1, $2, $3, $4, case when $5 then 'running' else 'provisioning' end, $6, $6, case when $5 then $6 end)
         on conflict (session_id) where state in ('provisioning', 'running') do nothing",
    )
    .bind(instance_id)
    .bind(session_id)
    .bind(app_id)
    .bind(target.name())
    .bind(ready)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// An instance that is made ready is a step further; false where it was ended meanwhile.
pub(super) async fn goes_on(
    conn: &mut PgConnection,
    instance_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query("update session_instances set beat_at = $2 where instance_id = $1 and state = 'provisioning'")
        .bind(instance_id)
        .bind(now)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1)
}

/// An instance is ready; false where it was ended meanwhile.
pub(super) async fn ready(
    conn: &mut PgConnection,
    instance_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "update session_instances set state = 'running', registered_at = $2, beat_at = $2
         where instance_id = $1 and state = 'provisioning'",
    )
    .bind(instance_id)
    .bind(now)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// An instance could not be made ready; false where it was ended meanwhile.
pub(super) async fn fail(
    conn: &mut PgConnection,
    instance_id: Uuid,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "update session_instances set state = 'error', reason = $2, terminated_at = $3
         where instance_id = $1 and state = 'provisioning'",
    )
    .bind(instance_id)
    .bind(reason)
    .bind(now)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Ends the instance that lives for a session, if one does.
pub(crate) async fn end(
    conn: &mut PgConnection,
    session_id: Uuid,
    failed: bool,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update session_instances set state = case when $2 then 'error' else 'terminated' end, reason = $3,
           terminated_at = $4
         where session_id = $1 and state in ('provisioning', 'running')",
    )
    .bind(session_id)
    .bind(failed)
    .bind(reason)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// Ends this instance, if it lives, and was last heard of before `silent_since`, where that is given; whether it did.
pub(super) async fn end_one(
    conn: &mut PgConnection,
    instance_id: Uuid,
    silent_since: Option<DateTime<Utc>>,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "update session_instances set state = 'error', reason = $2, terminated_at = $3
         where instance_id = $1 and state in ('provisioning', 'running')
           and ($4::timestamptz is null or beat_at <= $4)",
    )
    .bind(instance_id)
    .bind(reason)
    .bind(now)
    .bind(silent_since)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Ends every runner: of hosts that died.
pub(crate) async fn end_runners(tx: &mut ServiceTx, reason: &str, now: DateTime<Utc>) -> sqlx::Result<u64> {
    sqlx::query(
        "update session_instances set state = 'error', reason = $1, terminated_at = $2
         where driver = 'process' and state = 'running'",
    )
    .bind(reason)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected())
}

/// Says of these that they are there; which of them live.
pub(super) async fn beat(tx: &mut ServiceTx, of: &[Uuid], now: DateTime<Utc>) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "update session_instances set beat_at = $2
         where instance_id = any($1) and state in ('provisioning', 'running') returning instance_id",
    )
    .bind(of)
    .bind(now)
    .fetch_all(tx.conn())
    .await
}

/// Runners of which nobody has said that they are there since before `since`, and their sessions.
pub(super) async fn silent(
    tx: &mut ServiceTx,
    since: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<(Uuid, Uuid)>> {
    sqlx::query_as(
        "select instance_id, session_id from session_instances
         where driver = 'process' and state = 'running' and beat_at <= $1 order by beat_at limit $2",
    )
    .bind(since)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Which of these live.
pub(super) async fn living(conn: &mut PgConnection, of: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select instance_id from session_instances
         where instance_id = any($1) and state in ('provisioning', 'running')",
    )
    .bind(of)
    .fetch_all(conn)
    .await
}

/// What a session runs on, and with which agent.
#[derive(FromRow)]
pub(super) struct Live {
    pub(super) agent: Option<String>,
    pub(super) instance_id: Option<Uuid>,
}

pub(super) async fn live(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<Option<Live>> {
    sqlx::query_as(
        "select s.agent, i.instance_id from sessions s
         left join session_instances i on i.session_id = s.session_id and i.state in ('provisioning', 'running')
         where s.session_id = $1",
    )
    .bind(session_id)
    .fetch_optional(conn)
    .await
}

/// Lets the process of an instance register with this, until then.
pub(super) async fn expect_registration(
    conn: &mut PgConnection,
    instance_id: Uuid,
    hash: &[u8],
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update session_instances set registration_hash = $2, registration_until = $3 where instance_id = $1",
    )
    .bind(instance_id)
    .bind(hash)
    .bind(until)
    .execute(conn)
    .await
    .map(drop)
}

/// An instance whose process may register.
#[derive(FromRow)]
pub(super) struct Expected {
    pub(super) instance_id: Uuid,
    pub(super) session_id: Uuid,
    pub(super) app_id: Uuid,
    pub(super) driver: String,
    pub(super) state: String,
    pub(super) registration_until: DateTime<Utc>,
    pub(super) registration_used_at: Option<DateTime<Utc>>,
}

/// The instance whose process registers with this; its row is held: of two at once one is the second.
pub(super) async fn expected(tx: &mut ServiceTx, hash: &[u8]) -> sqlx::Result<Option<Expected>> {
    sqlx::query_as(
        "select instance_id, session_id, app_id, driver, state, registration_until, registration_used_at
         from session_instances where registration_hash = $1 for update",
    )
    .bind(hash)
    .fetch_optional(tx.conn())
    .await
}

/// Its process has registered.
pub(super) async fn registered(
    tx: &mut ServiceTx,
    instance_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("update session_instances set registration_used_at = $2 where instance_id = $1")
        .bind(instance_id)
        .bind(now)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// An instance, as it is shown.
#[derive(Debug, FromRow, Serialize)]
pub(crate) struct Shown {
    /// Its id.
    #[serde(rename = "id")]
    pub instance_id: Uuid,
    /// The driver.
    pub driver: String,
    /// How it stands.
    pub state: String,
    /// Why it ended.
    pub reason: Option<String>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When it was ready.
    pub registered_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub terminated_at: Option<DateTime<Utc>>,
}

/// The last instance of a session.
pub(crate) async fn last(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<Option<Shown>> {
    sqlx::query_as(
        "select instance_id, driver, state, reason, created_at, registered_at, terminated_at from session_instances
         where session_id = $1 order by created_at desc, instance_id desc limit 1",
    )
    .bind(session_id)
    .fetch_optional(conn)
    .await
}
