//! All SQL of the runs of tools.

use super::runs::{LogLines, Run};
use crate::tenants::TenantTx;
use chrono::{DateTime, Utc};
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

/// What is written down of one run.
pub(super) struct NewRun<'a> {
    pub(super) run_id: Uuid,
    pub(super) app_id: Uuid,
    pub(super) at: DateTime<Utc>,
    pub(super) request_id: &'a str,
    pub(super) logs: LogLines<'a>,
    pub(super) run: &'a Run,
}

pub(super) async fn insert(tx: &mut TenantTx, new: NewRun<'_>) -> sqlx::Result<()> {
    let failure = new.run.failure.as_ref();
    sqlx::query(
        "insert into tool_runs (run_id, app_id, plugin_name, version, tool, occurred_at, duration_us, status,
                                error_code, error_text, logs, logs_left_out, request_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(new.run_id)
    .bind(new.app_id)
    .bind(&new.run.plugin_name)
    .bind(new.run.version)
    .bind(&new.run.tool)
    .bind(new.at)
    .bind(i64::try_from(new.run.took.as_micros()).unwrap_or(i64::MAX))
    .bind(new.run.status.name())
    .bind(failure.map(|failure| failure.code))
    .bind(failure.map(|failure| failure.text.as_str()))
    .bind(Json(new.logs.kept))
    .bind(i32::try_from(new.logs.left_out).unwrap_or(i32::MAX))
    .bind(new.request_id)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Removes all but the newest `kept` runs of a plugin.
pub(super) async fn delete_older(tx: &mut TenantTx, plugin_name: &str, kept: i64) -> sqlx::Result<()> {
    sqlx::query(
        "delete from tool_runs where plugin_name = $1 and run_id <=
           (select run_id from tool_runs where plugin_name = $1 order by run_id desc offset $2 limit 1)",
    )
    .bind(plugin_name)
    .bind(kept)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Removes all runs of a plugin.
pub(crate) async fn delete_all(tx: &mut TenantTx, plugin_name: &str) -> sqlx::Result<()> {
    sqlx::query("delete from tool_runs where plugin_name = $1")
        .bind(plugin_name)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// A run as the tenant reads it.
#[derive(FromRow)]
pub(super) struct RunRow {
    pub(super) run_id: Uuid,
    pub(super) occurred_at: DateTime<Utc>,
    pub(super) version: Option<i32>,
    pub(super) tool: String,
    pub(super) duration_us: i64,
    pub(super) status: String,
    pub(super) error_code: Option<String>,
    pub(super) error_text: Option<String>,
    pub(super) logs: Json<serde_json::Value>,
    pub(super) logs_left_out: i32,
    pub(super) request_id: String,
}

/// Runs of a plugin, newest first, `limit` of them older than `before`.
pub(super) async fn list(
    tx: &mut TenantTx,
    plugin_name: &str,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<RunRow>> {
    sqlx::query_as(
        "select run_id, occurred_at, version, tool, duration_us, status, error_code, error_text, logs, logs_left_out,
                request_id
         from tool_runs where plugin_name = $1 and ($2::uuid is null or run_id < $2)
         order by run_id desc limit $3",
    )
    .bind(plugin_name)
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// How the runs of one version went.
#[derive(FromRow)]
pub(super) struct VersionRuns {
    pub(super) version: i32,
    pub(super) count: i64,
    pub(super) failed: i64,
    pub(super) p50_us: i64,
    pub(super) p99_us: i64,
}

/// How the runs that are kept of a plugin went, by version.
pub(super) async fn by_version(tx: &mut TenantTx, plugin_name: &str) -> sqlx::Result<Vec<VersionRuns>> {
    sqlx::query_as(
        "select version, count(*) as count, count(*) filter (where status = 'failed') as failed,
                percentile_disc(0.5) within group (order by duration_us) as p50_us,
                percentile_disc(0.99) within group (order by duration_us) as p99_us
         from tool_runs where plugin_name = $1 and version is not null group by version",
    )
    .bind(plugin_name)
    .fetch_all(tx.conn())
    .await
}
