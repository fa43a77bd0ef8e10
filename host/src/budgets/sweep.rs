//! Letting go of what a process held that died, and of what was counted in times that are over.

use super::{Period, hold::HOLD_LIFE, store};
use crate::app::App;
use chrono::{DateTime, Duration, Utc};

/// How many go in one transaction, so that none is long.
const BATCH: i64 = 500;

/// At a start on a database of our own, which no other process can be using: whatever is held was held by one that died.
///
/// # Errors
/// The database's.
pub async fn at_start(app: &App) -> sqlx::Result<u64> {
    if app.server.embedded().is_none() {
        return Ok(0);
    }
    release(app, app.now() + HOLD_LIFE * 2).await
}

/// Renews what this process holds, and lets go of what nobody renewed; how many holds that was. What their calls did
/// cost, nobody knows: a process that died wrote nothing down, and the ledger holds nothing of them.
///
/// # Errors
/// The database's.
pub async fn expired(app: &App) -> sqlx::Result<u64> {
    let mut tx = app.service_tx().await?;
    store::renew(&mut tx, app.process_id, app.now() + HOLD_LIFE).await?;
    tx.commit().await?;
    release(app, app.now()).await
}

/// Hosts whose clocks differ still count in a period that has just ended: what is counted stays a day longer.
const PAST_FOR: Duration = Duration::days(1);

/// Removes what was counted in days and months that are over; how many counters that was. What was spent in them stands
/// in the ledger.
///
/// # Errors
/// The database's.
pub async fn past(app: &App) -> sqlx::Result<u64> {
    let then = app.now() - PAST_FOR;
    let mut removed = 0;
    loop {
        let mut tx = app.service_tx().await?;
        let count =
            store::delete_past(&mut tx, Period::Day.start(then), Period::Month.start(then), BATCH).await?;
        tx.commit().await?;
        removed += count.unsigned_abs();
        if count < BATCH {
            return Ok(removed);
        }
    }
}

/// Lets go of all holds that end before `until`.
async fn release(app: &App, until: DateTime<Utc>) -> sqlx::Result<u64> {
    let mut released = 0;
    loop {
        let mut tx = app.service_tx().await?;
        let count = store::release_expired(&mut tx, until, BATCH).await?;
        tx.commit().await?;
        released += count.unsigned_abs();
        if count < BATCH {
            if released > 0 {
                tracing::warn!(released, "calls of a process that died are no longer held against budgets");
            }
            return Ok(released);
        }
    }
}
