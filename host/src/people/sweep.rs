//! Removing people's credentials that ended long ago, requests of command lines that nobody decided, codes that nobody
//! typed, sign-ins that did not come back from their provider, what was begun with a passkey, codes that programs
//! were sent back with, and invitations that nobody answered.

use super::store;
use crate::{
    app::App,
    limits::{AUTHORIZATION_CODE_REMEMBERED, DEVICE_REQUEST_LIFE, ENDED_CREDENTIALS_KEPT},
};
use chrono::Duration;

/// How many go in one transaction, so that none is long.
const BATCH: i64 = 500;

/// Removes all of that.
///
/// A request of a command line answers `expired_token` for as long again as it waited.
///
/// # Errors
/// The database's.
pub async fn all(app: &App) -> sqlx::Result<()> {
    ended(app).await?;
    let mut tx = app.service_tx().await?;
    let answered = Duration::from_std(DEVICE_REQUEST_LIFE).unwrap_or_default();
    store::delete_device_requests(&mut tx, app.now() - answered).await?;
    store::delete_codes(&mut tx, app.now()).await?;
    store::delete_oauth_sign_ins(&mut tx, app.now()).await?;
    store::delete_ceremonies(&mut tx, app.now()).await?;
    let remembered = Duration::from_std(AUTHORIZATION_CODE_REMEMBERED).unwrap_or_default();
    store::delete_authorization_codes(&mut tx, app.now() - remembered).await?;
    store::delete_invitations(&mut tx, app.now()).await?;
    tx.commit().await
}

/// Removes every credential of a person's that ended long enough ago.
async fn ended(app: &App) -> sqlx::Result<()> {
    let kept = Duration::from_std(ENDED_CREDENTIALS_KEPT).unwrap_or_default();
    loop {
        let mut tx = app.service_tx().await?;
        let count = store::delete_ended(&mut tx, app.now() - kept, BATCH).await?;
        tx.commit().await?;
        if count < BATCH.unsigned_abs() {
            return Ok(());
        }
    }
}
