//! The last runs of a tool, for its author: how each went, and what it logged.
//!
//! Written with the ledger's row, in the same transaction. The ledger is for
//! ever and counts; this is kept for the newest runs of each plugin, and tells.

use super::store;
use crate::{
    app::App,
    grants::{Acting, InApp},
    guests::record::LogLine,
    limits::RUNS_KEPT_PER_PLUGIN,
    tenants::TenantTx,
    usage::Status,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// One run in so many tidies up behind its plugin: often enough that little is kept too long.
const TIDIED_EVERY: u8 = 64;

/// How one run went.
#[derive(Clone, Debug)]
pub struct Run {
    /// The plugin's name.
    pub plugin_name: String,
    /// The version that ran; none for a predefined plugin.
    pub version: Option<i32>,
    /// The tool's name inside its plugin.
    pub tool: String,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub status: Status,
    /// What the caller was told, where it did not end well.
    pub failure: Option<Failure>,
}

/// Why a run gave no output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As in the API's errors.
    pub code: &'static str,
    /// For the reader.
    pub text: String,
}

/// Log lines, the first ones.
pub(super) struct LogLines<'a> {
    pub(super) kept: &'a [LogLine],
    pub(super) left_out: usize,
}

impl<'a> LogLines<'a> {
    /// The lines that fit into `RUN_LOG_BYTES_MAX`.
    fn first(logs: &'a [LogLine]) -> LogLines<'a> {
        let kept = LogLine::first(logs);
        LogLines { left_out: logs.len() - kept.len(), kept }
    }
}

/// Writes a run down in somebody's transaction.
///
/// # Errors
/// The database's.
pub async fn write(
    app: &App,
    tx: &mut TenantTx,
    acting: &Acting,
    run: &Run,
    logs: &[LogLine],
) -> sqlx::Result<()> {
    let run_id = app.new_id();
    let new = store::NewRun {
        run_id,
        app_id: acting.app().app_id,
        at: app.now(),
        request_id: &acting.caller().request_id,
        logs: LogLines::first(logs),
        run,
    };
    store::insert(tx, new).await?;
    // The last byte of an id is random.
    if run_id.as_bytes()[15].is_multiple_of(TIDIED_EVERY) {
        store::delete_older(tx, &run.plugin_name, RUNS_KEPT_PER_PLUGIN).await?;
    }
    Ok(())
}

/// How the kept runs of a plugin went, by version, for `GET …/versions` (row M368).
///
/// # Errors
/// The database's.
pub async fn by_version(tx: &mut TenantTx, plugin_name: &str) -> sqlx::Result<BTreeMap<i32, Value>> {
    let rows = store::by_version(tx, plugin_name).await?;
    let told = rows.into_iter().map(|row| {
        let runs = json!({
            "count": row.count,
            "failed": row.failed,
            "p50_ms": ms(row.p50_us),
            "p99_ms": ms(row.p99_us),
        });
        (row.version, runs)
    });
    Ok(told.collect())
}

/// Forgets the runs of a plugin that is deleted.
///
/// # Errors
/// The database's.
pub async fn forget(tx: &mut TenantTx, plugin_name: &str) -> sqlx::Result<()> {
    store::delete_all(tx, plugin_name).await
}

#[expect(clippy::cast_precision_loss, reason = "a run takes less than the 285 years where that begins")]
pub(super) fn ms(us: i64) -> f64 {
    us as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limits::RUN_LOG_BYTES_MAX, sandbox::door::LogLevel};

    #[test]
    fn of_many_lines_the_first_are_kept_and_the_others_counted() {
        let line = |bytes| LogLine { level: LogLevel::Info, message: "x".repeat(bytes) };
        let logs = [line(RUN_LOG_BYTES_MAX / 2), line(RUN_LOG_BYTES_MAX / 2), line(1), line(0)];
        let first = LogLines::first(&logs);
        assert_eq!((first.kept.len(), first.left_out), (2, 2));
        assert_eq!(LogLines::first(&[]).left_out, 0);
    }
}
