//! All SQL of what was made of sessions.

use crate::tenants::{ServiceTx, TenantTx};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

/// One, as it is shown.
#[derive(Debug, FromRow, Serialize)]
pub(crate) struct Artifact {
    #[serde(rename = "id")]
    pub(crate) artifact_id: Uuid,
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) location: String,
    pub(crate) detail: Value,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

/// Begins one.
pub(super) async fn begin(
    tx: &mut TenantTx,
    (session_id, app_id): (Uuid, Uuid),
    artifact: &Artifact,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into session_artifacts (artifact_id, session_id, app_id, kind, state, location, detail, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(artifact.artifact_id)
    .bind(session_id)
    .bind(app_id)
    .bind(&artifact.kind)
    .bind(&artifact.state)
    .bind(&artifact.location)
    .bind(&artifact.detail)
    .bind(artifact.created_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Ends one that runs.
pub(super) async fn end(
    tx: &mut TenantTx,
    artifact_id: Uuid,
    state: &str,
    detail: &Value,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update session_artifacts set state = $2, detail = detail || $3, ended_at = $4
         where artifact_id = $1 and state = 'running'",
    )
    .bind(artifact_id)
    .bind(state)
    .bind(detail)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// How many of the app's run.
pub(super) async fn count_running(tx: &mut TenantTx) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from session_artifacts where app_id = current_app_id() and state = 'running'",
    )
    .fetch_one(tx.conn())
    .await
}

/// Those of a session, the newest first: `limit` of them older than one.
pub(super) async fn list(
    tx: &mut TenantTx,
    session_id: Uuid,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Artifact>> {
    sqlx::query_as(
        "select artifact_id, kind, state, location, detail, created_at, ended_at from session_artifacts
         where session_id = $1 and ($2::uuid is null or artifact_id < $2) order by artifact_id desc limit $3",
    )
    .bind(session_id)
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Ends what began before `since` and still runs: its host died.
pub(super) async fn end_lost(
    tx: &mut ServiceTx,
    since: DateTime<Utc>,
    detail: &Value,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update session_artifacts set state = 'failed', detail = detail || $2, ended_at = $3
         where state = 'running' and created_at < $1",
    )
    .bind(since)
    .bind(detail)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}
