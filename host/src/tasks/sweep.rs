//! Ending what processes left that died, and forgetting what is old.

use super::{TASK_LEASE, store};
use crate::app::App;
use chrono::{DateTime, Utc};

/// How many go in one transaction, so that none is long.
const BATCH: i64 = 500;

/// Why a task failed whose process did not live to see its end: code and text.
pub(super) const INTERRUPTED: (&str, &str) = (
    "interrupted",
    "the server stopped while this ran. What it cost is not known; ask for it again if it is still wanted",
);

/// At a start on a database of our own, which no other process can be using: whatever runs ran in one that died.
///
/// # Errors
/// The database's.
pub async fn at_start(app: &App) -> sqlx::Result<u64> {
    if app.server.embedded().is_none() {
        return left_behind(app).await;
    }
    end(app, app.now() + TASK_LEASE * 2).await
}

/// Ends the tasks of processes that died; how many.
///
/// # Errors
/// The database's.
pub async fn left_behind(app: &App) -> sqlx::Result<u64> {
    end(app, app.now()).await
}

async fn end(app: &App, until: DateTime<Utc>) -> sqlx::Result<u64> {
    let mut tx = app.service_tx().await?;
    let ended = store::end_left_behind(&mut tx, app.process_id, until, INTERRUPTED, app.now()).await?;
    tx.commit().await?;
    if ended > 0 {
        tracing::warn!(ended, "tasks of a process that died have failed");
    }
    Ok(ended)
}

/// Removes every task whose time is over.
///
/// # Errors
/// The database's.
pub async fn expired(app: &App) -> sqlx::Result<()> {
    loop {
        let mut tx = app.service_tx().await?;
        let count = store::delete_expired(&mut tx, app.now(), BATCH).await?;
        tx.commit().await?;
        if count < BATCH.unsigned_abs() {
            return Ok(());
        }
    }
}
