//! Removing sessions whose time is over.

use super::store;
use crate::app::App;
use chrono::Duration;

/// How long an expired session still answers 410 rather than 404.
const KEPT_AFTER_EXPIRY: Duration = Duration::hours(24);
/// How many go in one transaction, so that none is long.
const BATCH: i64 = 500;

/// Removes every session that expired long enough ago; how many it was.
///
/// # Errors
/// The database's.
pub async fn expired(app: &App) -> sqlx::Result<u64> {
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
