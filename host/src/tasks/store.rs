//! All SQL of tasks.

use super::{TASK_LEASE, TASK_LIFE, TaskKind};
use crate::{
    grants::InApp,
    tenants::{ServiceTx, TenantTx},
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

/// A task.
#[derive(Clone, Debug, FromRow)]
pub struct TaskRow {
    /// Its key.
    pub task_id: Uuid,
    /// What it does.
    pub kind: String,
    /// `running`, `done`, `failed` or `canceled`.
    pub status: String,
    /// What came of it.
    pub result: Option<Value>,
    /// Why nothing did.
    pub error_code: Option<String>,
    /// The same, for people.
    pub error_detail: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// When it is forgotten.
    pub expires_at: DateTime<Utc>,
}

const COLUMNS: &str =
    "task_id, kind, status, result, error_code, error_detail, created_at, ended_at, expires_at";

/// Until the transaction ends, nobody else starts a task of this owner: counting and inserting are one step.
pub(super) async fn lock(tx: &mut TenantTx, proof: &impl InApp) -> sqlx::Result<()> {
    let owner = proof.user_id().unwrap_or_default();
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("tasks/{}/{owner}", proof.app().app_id))
        .execute(tx.conn())
        .await
        .map(drop)
}

pub(super) async fn count_running(tx: &mut TenantTx) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from tasks where status = 'running'").fetch_one(tx.conn()).await
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    task_id: Uuid,
    proof: &impl InApp,
    kind: TaskKind,
    process_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<TaskRow> {
    sqlx::query_as(AssertSqlSafe(format!(
        "insert into tasks (task_id, app_id, user_id, kind, status, credential_id, request_id, process_id, lease_until,
                            created_at, expires_at)
         values ($1, $2, $3, $4, 'running', $5, $6, $7, $8, $9, $10) returning {COLUMNS}"
    )))
    .bind(task_id)
    .bind(proof.app().app_id)
    .bind(proof.user_id())
    .bind(kind.name())
    .bind(proof.caller().credential_id)
    .bind(&proof.caller().request_id)
    .bind(process_id)
    .bind(now + TASK_LEASE)
    .bind(now)
    .bind(now + TASK_LIFE)
    .fetch_one(tx.conn())
    .await
}

pub(super) async fn find(
    tx: &mut TenantTx,
    task_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<TaskRow>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {COLUMNS} from tasks where task_id = $1 and expires_at > $2"
    )))
    .bind(task_id)
    .bind(now)
    .fetch_optional(tx.conn())
    .await
}

/// Newest first, `limit` of them older than `before`.
pub(super) async fn list(
    tx: &mut TenantTx,
    before: Option<Uuid>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<TaskRow>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {COLUMNS} from tasks where ($1::uuid is null or task_id < $1) and expires_at > $2
         order by task_id desc limit $3"
    )))
    .bind(before)
    .bind(now)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Writes down how a task ended, unless somebody has ended it before.
pub(super) async fn finish(
    tx: &mut TenantTx,
    task_id: Uuid,
    end: Result<&Value, (&str, &str)>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (status, result, error) = match end {
        Ok(result) => ("done", Some(result), None),
        Err(error) => ("failed", None, Some(error)),
    };
    sqlx::query(
        "update tasks set status = $2, result = $3, error_code = $4, error_detail = $5, ended_at = $6
         where task_id = $1 and status = 'running'",
    )
    .bind(task_id)
    .bind(status)
    .bind(result)
    .bind(error.map(|(code, _)| code))
    .bind(error.map(|(_, detail)| detail))
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Whether it ran until now.
pub(super) async fn cancel(tx: &mut TenantTx, task_id: Uuid, now: DateTime<Utc>) -> sqlx::Result<bool> {
    sqlx::query(
        "update tasks set status = 'canceled', ended_at = $2 where task_id = $1 and status = 'running'",
    )
    .bind(task_id)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Cancels what runs of a person's; which tasks those were.
pub(super) async fn cancel_all_of(
    tx: &mut ServiceTx,
    user_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "update tasks set status = 'canceled', ended_at = $2 where user_id = $1 and status = 'running'
         returning task_id",
    )
    .bind(user_id)
    .bind(now)
    .fetch_all(tx.conn())
    .await
}

/// Whether it still runs.
pub(super) async fn renew(tx: &mut TenantTx, task_id: Uuid, until: DateTime<Utc>) -> sqlx::Result<bool> {
    sqlx::query("update tasks set lease_until = $2 where task_id = $1 and status = 'running'")
        .bind(task_id)
        .bind(until)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}

/// Ends what processes left that died: those whose lease ended before `until`, but for this one's.
pub(super) async fn end_left_behind(
    tx: &mut ServiceTx,
    process_id: Uuid,
    until: DateTime<Utc>,
    (code, detail): (&str, &str),
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    sqlx::query(
        "update tasks set status = 'failed', error_code = $3, error_detail = $4, ended_at = $5
         where status = 'running' and lease_until < $2 and process_id <> $1",
    )
    .bind(process_id)
    .bind(until)
    .bind(code)
    .bind(detail)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected())
}

/// `limit` of those that are forgotten; how many it was.
pub(super) async fn delete_expired(tx: &mut ServiceTx, now: DateTime<Utc>, limit: i64) -> sqlx::Result<u64> {
    sqlx::query(
        "delete from tasks where task_id in (
           select task_id from tasks where expires_at <= $1 and status <> 'running' order by expires_at limit $2)",
    )
    .bind(now)
    .bind(limit)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected())
}
