//! All SQL of artifacts.

use crate::tenants::{ServiceTx, TenantTx};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// An artifact.
#[derive(Clone, Debug, FromRow, Serialize)]
pub(crate) struct Artifact {
    #[serde(rename = "id")]
    pub(crate) artifact_id: Uuid,
    pub(crate) kind: String,
    pub(crate) state: String,
    /// In the object store, where it is there.
    #[serde(skip)]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    /// Where it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<String>,
    pub(super) detail: Value,
    pub(super) created_at: DateTime<Utc>,
    pub(super) ended_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "artifact_id, kind, state, path, bytes, sha256, location, detail, created_at, ended_at";

impl Artifact {
    /// Something of this kind that goes to a place elsewhere, and is on its way.
    pub(crate) fn to(
        artifact_id: Uuid,
        kind: &str,
        location: String,
        detail: Value,
        now: DateTime<Utc>,
    ) -> Artifact {
        Artifact {
            artifact_id,
            kind: kind.to_owned(),
            state: "running".to_owned(),
            path: None,
            bytes: None,
            sha256: None,
            location: Some(location),
            detail,
            created_at: now,
            ended_at: None,
        }
    }
}

/// Those of a session, the newest first: `limit` of them older than one.
pub(super) async fn list(
    tx: &mut TenantTx,
    session_id: Uuid,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Artifact>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from session_artifacts
         where session_id = $1 and ($2::uuid is null or artifact_id < $2) order by artifact_id desc limit $3"
    )))
    .bind(session_id)
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Those of a session and a kind, the newest first.
pub(super) async fn of_kind(tx: &mut TenantTx, session_id: Uuid, kind: &str) -> sqlx::Result<Vec<Artifact>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from session_artifacts where session_id = $1 and kind = $2 order by artifact_id desc"
    )))
    .bind(session_id)
    .bind(kind)
    .fetch_all(tx.conn())
    .await
}

pub(crate) async fn insert(
    tx: &mut TenantTx,
    (session_id, app_id): (Uuid, Uuid),
    new: &Artifact,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into session_artifacts (artifact_id, session_id, app_id, kind, state, path, bytes, sha256, location,
                                        detail, created_at, ended_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(new.artifact_id)
    .bind(session_id)
    .bind(app_id)
    .bind(&new.kind)
    .bind(&new.state)
    .bind(&new.path)
    .bind(new.bytes)
    .bind(&new.sha256)
    .bind(&new.location)
    .bind(&new.detail)
    .bind(new.created_at)
    .bind(new.ended_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Forgets all of a kind but the latest `kept`; where they were, which is to be removed.
pub(super) async fn forget_older(
    tx: &mut TenantTx,
    session_id: Uuid,
    kind: &str,
    kept: i64,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "delete from session_artifacts where artifact_id in
           (select artifact_id from session_artifacts where session_id = $1 and kind = $2
            order by artifact_id desc offset $3)
         returning path",
    )
    .bind(session_id)
    .bind(kind)
    .bind(kept)
    .fetch_all(tx.conn())
    .await
}

/// Forgets what was made before this, or longer ago than its app keeps it, except what still runs; whose each was,
/// and where, if anywhere: that is to be removed.
pub(super) async fn forget_before(
    tx: &mut ServiceTx,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: usize,
) -> sqlx::Result<Vec<(Uuid, Option<String>)>> {
    sqlx::query_as(
        "delete from session_artifacts where artifact_id in
           (select artifact_id from session_artifacts join apps using (app_id)
            where session_artifacts.created_at
                < greatest($1, $2 - make_interval(days => artifact_retention_days)) and state <> 'running'
            order by session_artifacts.created_at limit $3)
         returning app_id, path",
    )
    .bind(since)
    .bind(now)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(tx.conn())
    .await
}

/// Writes down what is to be removed from the object store, with what ends the rows that named it: whatever happens
/// then, it is not forgotten.
pub(super) async fn owe(
    conn: &mut PgConnection,
    owed: &[(Uuid, String)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (apps, paths): (Vec<Uuid>, Vec<&str>) = owed.iter().map(|(app_id, path)| (*app_id, &**path)).unzip();
    sqlx::query(
        "insert into artifact_removals (path, app_id, next_at, created_at)
         select path, app_id, $3, $3 from unnest($1::uuid[], $2::text[]) as owed (app_id, path)
         on conflict (path) do nothing",
    )
    .bind(apps)
    .bind(paths)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// What is to be removed and may be tried now. The next time it is tried is later each time, an hour at the most.
pub(super) async fn due(tx: &mut ServiceTx, now: DateTime<Utc>, limit: usize) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "update artifact_removals set tries = tries + 1,
           next_at = $1 + least(interval '1 minute' * power(2, least(tries, 10)), interval '1 hour')
         where path in (select path from artifact_removals where next_at <= $1
                        order by next_at limit $2 for update skip locked)
         returning path",
    )
    .bind(now)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(tx.conn())
    .await
}

/// What was removed is owed no more.
pub(super) async fn paid(tx: &mut ServiceTx, paths: &[String]) -> sqlx::Result<()> {
    sqlx::query("delete from artifact_removals where path = any($1)")
        .bind(paths)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Those of these sessions that are not there.
pub(super) async fn not_there(tx: &mut ServiceTx, ids: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from unnest($1::uuid[]) as id where not exists (select from sessions where session_id = id)",
    )
    .bind(ids)
    .fetch_all(tx.conn())
    .await
}

/// Ends one that runs.
pub(crate) async fn end(
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
pub(crate) async fn count_running(tx: &mut TenantTx) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from session_artifacts where app_id = current_app_id() and state = 'running'",
    )
    .fetch_one(tx.conn())
    .await
}

/// Ends what began before `since` and still runs: its host died.
pub(crate) async fn end_lost(
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
