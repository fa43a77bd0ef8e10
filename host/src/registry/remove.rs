//! Deleting a plugin: its versions, its grants and what it stored go, their bytes later; calls under way finish.

use super::{Description, PluginKind, PluginName, kept, predefined::DEFAULT_AGENT, seen, store};
use crate::{
    app::App,
    grants::{Allowed, AppRef, InApp, Permission, audit},
    http::etag::{Failed, Precondition},
    tenants::TenantTx,
};

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// There is none.
    #[error("no such plugin")]
    NotFound,
    /// Agents name it.
    #[error("these agents name the tool: {}; repeat with `?force=true` if that is meant", .0.join(", "))]
    InUse(Vec<String>),
    /// It is the app's default agent.
    #[error("this is the app's default agent; repeat with `?force=true` to fall back to the predefined one")]
    IsDefault,
    /// How it stands.
    #[error("{0}")]
    Precondition(#[from] Failed),
    /// The database.
    #[error("the plugin could not be deleted")]
    Db(#[from] sqlx::Error),
}

/// Deletes a plugin of the caller's app.
///
/// # Errors
/// [`RemoveError`]; nothing was deleted then.
pub async fn remove<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    plugin: &PluginName,
    force: bool,
    only: &Precondition,
) -> Result<(), RemoveError> {
    let mut tx = app.tenant_tx(allowed).await?;
    store::lock(tx.conn(), allowed.app().app_id).await?;
    let row = store::find(&mut tx, plugin).await?.ok_or(RemoveError::NotFound)?;
    seen::check(&mut tx, plugin, only).await??;
    if !force {
        let users = agents_that_name(app, &mut tx, plugin).await?;
        if !users.is_empty() {
            return Err(RemoveError::InUse(users));
        }
        if *plugin == PluginName::agent(DEFAULT_AGENT) {
            return Err(RemoveError::IsDefault);
        }
    }
    kept::release(tx.conn(), (row.plugin_id, allowed.app().app_id), app.now()).await?;
    store::delete(&mut tx, plugin).await?;
    audit::write(app, &mut tx, allowed, audit::Entry::ok(A::ACTION.name(), format!("{plugin} (deleted)")))
        .await?;
    tx.commit().await?;
    app.changes.made(allowed.app().app_id);
    Ok(())
}

async fn agents_that_name(app: &App, tx: &mut TenantTx, plugin: &PluginName) -> sqlx::Result<Vec<String>> {
    if plugin.kind != PluginKind::Tool {
        return Ok(vec![]);
    }
    let agents = store::list_active(tx, PluginKind::Agent, app.typescript.runtime_sha256()).await?;
    let names_it = |description: &Description| match description {
        Description::Markdown(agent) => agent.tools.as_ref().is_some_and(|tools| {
            tools.named().iter().any(|tool| crate::tools::plugin_of(tool) == plugin.name)
        }),
        Description::Tools { .. } | Description::Agent { .. } => false,
    };
    Ok(agents
        .into_iter()
        .filter(|row| names_it(&row.listed.version.description))
        .map(|row| row.listed.plugin.name)
        .collect())
}
