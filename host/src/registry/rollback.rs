//! Rolling back: an older version runs again.

use super::{PluginName, seen, signature::is_trusted, store, upload};
use crate::{
    app::App,
    grants::{Allowed, AppRef, InApp, Permission, audit},
    http::etag::{Failed, Precondition},
};
use http::HeaderValue;
use serde_json::json;

/// Why nothing was rolled back.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// There is no such plugin or version.
    #[error("no such plugin or version")]
    NotFound,
    /// The version never passed review.
    #[error("version {0} was never reviewed; review it with its number instead")]
    NotReviewed(i32),
    /// No key that is trusted signed the version.
    #[error("no key this app trusts signed version {0}; upload it again, signed")]
    Untrusted(i32),
    /// There is nothing older.
    #[error("there is no older version to go back to")]
    NothingOlder,
    /// How the plugin stands.
    #[error("{0}")]
    Precondition(#[from] Failed),
    /// The database.
    #[error("the rollback could not be stored")]
    Db(#[from] sqlx::Error),
}

/// Makes `to` the version that runs; the one before the active one, unless given. Says which it is, and how the plugin
/// stands then.
///
/// # Errors
/// [`RollbackError`]; nothing was changed then.
pub async fn rollback<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    plugin: &PluginName,
    to: Option<i32>,
    only: &Precondition,
) -> Result<(i32, HeaderValue), RollbackError> {
    let mut tx = app.tenant_tx(allowed).await?;
    store::lock(&mut tx, allowed.app().app_id).await?;
    let row = store::find(&mut tx, plugin).await?.ok_or(RollbackError::NotFound)?;
    seen::check(&mut tx, plugin, only).await??;
    let version = match to {
        Some(number) => {
            store::find_version(&mut tx, row.plugin_id, number).await?.ok_or(RollbackError::NotFound)?
        }
        None => {
            let older = store::list_versions(&mut tx, row.plugin_id, row.active_version, 1).await?;
            older.into_iter().next().ok_or(RollbackError::NothingOlder)?
        }
    };
    if !version.passed && !upload::has_nothing_new(&mut tx, row.plugin_id, &version).await? {
        return Err(RollbackError::NotReviewed(version.version));
    }
    if !is_trusted(version.signed_by.as_deref(), &store::trusted_keys(&mut tx).await?) {
        return Err(RollbackError::Untrusted(version.version));
    }
    store::activate(&mut tx, row.plugin_id, version.version, app.now()).await?;
    let entry = audit::Entry::ok(A::ACTION.name(), plugin.to_string())
        .detail(json!({ "rollback": { "from": row.active_version, "to": version.version } }));
    audit::write(app, &mut tx, allowed, entry).await?;
    let tag = seen::tag(&mut tx, plugin).await?;
    tx.commit().await?;
    app.changes.made(allowed.app().app_id);
    Ok((version.version, tag))
}
