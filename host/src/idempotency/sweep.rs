//! Forgetting what is old, what is too much, and what processes left that died.

use super::store;
use crate::app::App;

/// How many go in one transaction, so that none is long.
const BATCH: i64 = 500;

/// At a start on a database of our own, which no other process can be using: what was being done was cut off.
///
/// # Errors
/// The database's.
pub async fn at_start(app: &App) -> sqlx::Result<()> {
    if app.server.embedded().is_none() {
        return Ok(());
    }
    let mut tx = app.service_tx().await?;
    let freed = store::free_of_others(&mut tx, app.process_id).await?;
    tx.commit().await?;
    if freed > 0 {
        tracing::warn!(freed, "idempotency keys of a process that died are free again");
    }
    Ok(())
}

/// Removes keys whose time is over, and of each credential the oldest beyond what it keeps.
///
/// # Errors
/// The database's.
pub async fn all(app: &App) -> sqlx::Result<()> {
    loop {
        let mut tx = app.service_tx().await?;
        let count = store::delete_expired(&mut tx, app.now(), BATCH).await?;
        tx.commit().await?;
        if count < BATCH.unsigned_abs() {
            break;
        }
    }
    loop {
        let mut tx = app.service_tx().await?;
        let count = store::delete_surplus(&mut tx, BATCH).await?;
        tx.commit().await?;
        if count < BATCH.unsigned_abs() {
            return Ok(());
        }
    }
}
