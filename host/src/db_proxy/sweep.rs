//! Dropping the workspaces of apps that were deleted long enough ago (row M159).

use super::{
    limits::{DROPPED_AT_ONCE_MAX, KEPT_AFTER_DELETE},
    provision,
    provision::Workspace,
    store,
};
use crate::app::App;

/// Drops what is due, and returns how many workspaces that were.
///
/// # Errors
/// The databases'; the next round tries again.
pub async fn expired(app: &App) -> sqlx::Result<usize> {
    let due = {
        let mut tx = app.service_tx().await?;
        store::deleted_with_workspace(&mut tx, app.now() - KEPT_AFTER_DELETE, DROPPED_AT_ONCE_MAX).await?
    };
    for (app_id, slug) in &due {
        provision::drop(app, &Workspace::named(*app_id, slug)).await?;
        tracing::info!(app = slug, "the database workspace of a deleted app was dropped");
    }
    Ok(due.len())
}
