//! Rolling back: an older version runs again.

use super::{PluginName, kept, seen, signature::is_trusted, store, upload};
use crate::{
    app::App,
    grants::{Allowed, AppRef, InApp, Permission, audit},
    http::etag::{Failed, Precondition},
    limits::VERSIONS_KEPT,
    tenants::TenantTx,
};
use http::HeaderValue;
use serde_json::json;

/// Why nothing was rolled back.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// There is no such plugin or version.
    #[error("no such plugin or version")]
    NotFound,
    /// The version was there once.
    #[error("version {version} is not kept any more ({VERSIONS_KEPT} are); {}", in_words(.there))]
    Gone {
        /// Which.
        version: i32,
        /// What can be gone back to instead, newest first.
        there: Vec<i32>,
    },
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
    store::lock(tx.conn(), allowed.app().app_id).await?;
    let row = store::find(&mut tx, plugin).await?.ok_or(RollbackError::NotFound)?;
    seen::check(&mut tx, plugin, only).await??;
    let version = match to {
        Some(number) => match store::find_version(&mut tx, row.plugin_id, number).await? {
            Some(version) => version,
            None => return Err(missing(&mut tx, &row, number).await?),
        },
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

/// Why there is no version of this number.
async fn missing(
    tx: &mut TenantTx,
    row: &store::PluginRow,
    version: i32,
) -> Result<RollbackError, RollbackError> {
    if !kept::is_gone(tx, row.plugin_id, version).await? {
        return Ok(RollbackError::NotFound);
    }
    let keys = store::trusted_keys(tx).await?;
    let passed = store::passed_versions(tx, row.plugin_id).await?;
    let may_run = passed.iter().filter(|one| is_trusted(one.signed_by.as_deref(), &keys));
    let others = may_run.map(|one| one.version).filter(|one| row.active_version != Some(*one));
    Ok(RollbackError::Gone { version, there: others.collect() })
}

fn in_words(there: &[i32]) -> String {
    match there {
        [] => "there is none to go back to".to_owned(),
        _ => {
            let numbers: Vec<_> = there.iter().map(ToString::to_string).collect();
            format!("there are {}", numbers.join(", "))
        }
    }
}
