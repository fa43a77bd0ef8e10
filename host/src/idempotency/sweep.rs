//! Forgetting what is old, what is too much, and what processes left that died.

use super::store;
use crate::app::App;
use chrono::Duration;

/// How many go in one transaction, so that none is long.
const BATCH: i64 = 500;
/// Who got an answer within this is looked at: some rounds of upkeep, so that a round may fail, and what hosts think the
/// time is may differ. Who had too many before and sends nothing more has none a day later.
const ANSWERED_WITHIN: Duration = Duration::minutes(5);

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

/// Removes keys whose time is over, and of each credential that got answers lately the oldest beyond what it keeps. Reads
/// no more than what there is to do: where there is nothing, two looks into an index.
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
    let owners = {
        let mut tx = app.service_tx().await?;
        store::owners_answered_since(&mut tx, app.now() - ANSWERED_WITHIN).await?
    };
    for owner in owners {
        loop {
            let mut tx = app.service_tx().await?;
            let count = store::delete_surplus(&mut tx, &owner, BATCH).await?;
            tx.commit().await?;
            if count < BATCH.unsigned_abs() {
                break;
            }
        }
    }
    Ok(())
}
