//! Removing sessions whose time is over.

use super::store;
use crate::app::App;
use chrono::Duration;
use std::time;

/// How often the sweep runs. A session past its time answers 410 whether it ran or not.
const EVERY: time::Duration = time::Duration::from_secs(60);
/// How long an expired session still answers 410 rather than 404.
const KEPT_AFTER_EXPIRY: Duration = Duration::hours(24);
/// How many go in one transaction, so that none is long.
const BATCH: i64 = 500;

/// Sweeps until the process stops.
pub async fn run(app: App) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            _ = tick.tick() => {}
        }
        app.rate_limits.forget_idle();
        if let Err(cause) = once(&app).await {
            tracing::error!(%cause, "expired sessions could not be removed");
        }
    }
}

/// Removes every session that expired long enough ago; how many it was.
///
/// # Errors
/// The database's.
pub async fn once(app: &App) -> sqlx::Result<u64> {
    let mut removed = 0;
    loop {
        let mut tx = app.service_tx().await?;
        let count = store::delete_expired(&mut tx, app.now() - KEPT_AFTER_EXPIRY, BATCH).await?;
        tx.commit().await?;
        removed += count;
        if count < BATCH.unsigned_abs() {
            return Ok(removed);
        }
    }
}
