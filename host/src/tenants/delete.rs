//! Deleting an app: it and its credentials are dead at once, its rows are kept.

use super::store;
use crate::{
    app::App,
    db_proxy::{self, provision::Workspace},
    grants::{Allowed, action::may, audit},
};

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// There is none.
    #[error("no such tenant")]
    NotFound,
    /// It was not confirmed by name.
    #[error("deleting an app ends its credentials at once; repeat with `?confirm={0}` if that is meant")]
    NotConfirmed(String),
    /// The database.
    #[error("the app could not be deleted")]
    Db(#[from] sqlx::Error),
}

/// Deletes the app of this slug. `confirm` is the slug again (row M164).
///
/// # Errors
/// [`DeleteError`]
pub async fn delete(
    app: &App,
    allowed: &Allowed<may::AppsDelete>,
    slug: &str,
    confirm: Option<&str>,
) -> Result<(), DeleteError> {
    let mut tx = app.service_tx().await?;
    let row = store::find_app(tx.conn(), slug).await?.ok_or(DeleteError::NotFound)?;
    if confirm != Some(slug) {
        return Err(DeleteError::NotConfirmed(slug.to_owned()));
    }
    store::delete_app(tx.conn(), row.app_id, app.now()).await?;
    let entry = audit::Entry::ok("apps.delete", format!("app/{slug}"));
    audit::write_platform(app, &mut tx, allowed.caller(), Some(row.app_id), entry).await?;
    tx.commit().await?;
    app.changes.made(row.app_id);
    // Nobody's credential leads there any more; the logins are closed as well. Their schema stays for a while.
    if let Err(cause) = db_proxy::provision::close(app, &Workspace::named(row.app_id, slug)).await {
        tracing::warn!(%cause, app = slug, "the logins of a deleted app could not be closed");
    }
    Ok(())
}
