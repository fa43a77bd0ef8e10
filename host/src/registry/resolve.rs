//! From a name to something that runs.
//!
//! A tenant's own plugin shadows a predefined one. One that waits for review is
//! not there yet: then the predefined one of that name still is.

use super::{Description, PluginKind, PluginName, blobs::BlobError, compiling::NoTurn, predefined, store};
use crate::{
    app::App,
    grants::{Capability, InApp},
    remembered::Remember,
    sandbox::{Component, LoadError},
    tenants::TenantTx,
};
use std::sync::Arc;
use uuid::Uuid;

/// A plugin with everything a call of it needs, but its code.
#[derive(Clone)]
pub struct Resolved {
    /// Its name.
    pub name: PluginName,
    /// The version that runs; none where it is shipped.
    pub version: Option<i32>,
    /// What it is.
    pub description: Description,
    /// What it asks for.
    pub requested: Arc<[Capability]>,
    /// What it was granted.
    pub granted: Arc<[Capability]>,
    /// What of that came with it, and no review takes away.
    pub shipped: Arc<[Capability]>,
    /// Where its code is.
    code: Code,
}

#[derive(Clone)]
enum Code {
    Shipped(Component),
    Blob(String),
}

/// About what a capability takes in memory: its target, mostly.
const CAPABILITY_BYTES: usize = 128;

/// Why a plugin's code could not be had.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// Its bytes.
    #[error("the plugin's bytes could not be read")]
    Blob(#[from] BlobError),
    /// It does not load any more: a release changed what is accepted.
    #[error("the plugin no longer loads: {0}")]
    Load(#[from] LoadError),
    /// It must be compiled again, and it is not the app's turn.
    #[error("{0}")]
    NoTurn(#[from] NoTurn),
}

impl CodeError {
    /// Whether the same call may go through a little later.
    pub fn is_busy(&self) -> bool {
        matches!(self, CodeError::Load(LoadError::Busy) | CodeError::NoTurn(_))
    }
}

impl Resolved {
    /// A shipped plugin, with no more than comes with it.
    pub fn shipped(plugin: &predefined::Plugin) -> Resolved {
        Resolved {
            name: plugin.name.clone(),
            version: None,
            description: plugin.description.clone(),
            requested: plugin.requested.iter().map(|wish| wish.capability.clone()).collect(),
            granted: plugin.granted_as_shipped().collect(),
            shipped: plugin.granted_as_shipped().collect(),
            code: Code::Shipped(plugin.component.clone()),
        }
    }

    /// Its component, compiled; from memory or the cache if it was before.
    ///
    /// # Errors
    /// [`CodeError`]
    pub async fn component(&self, app: &App, app_id: Uuid) -> Result<Component, CodeError> {
        match &self.code {
            Code::Shipped(component) => Ok(component.clone()),
            Code::Blob(sha256) => match app.sandbox.find(sha256) {
                Some(component) => Ok(component),
                None => {
                    let wasm = app.blobs.get(sha256).await?;
                    let _turn = app.compiling.take(app_id, app.now()).await?;
                    Ok(app.sandbox.load(wasm).await?)
                }
            },
        }
    }

    /// Whether it is shipped rather than uploaded.
    pub fn is_predefined(&self) -> bool {
        matches!(self.code, Code::Shipped(_))
    }
}

impl Remember for Resolved {
    fn bytes(&self) -> usize {
        let description = serde_json::to_vec(&self.description).map_or(0, |text| text.len());
        let capabilities = self.requested.len() + self.granted.len();
        description + capabilities * CAPABILITY_BYTES + size_of::<Resolved>()
    }
}

/// The same as [`usable`], where it is used at once.
///
/// # Errors
/// The database's.
pub async fn known(app: &App, proof: &impl InApp, kind: PluginKind) -> sqlx::Result<Arc<Vec<Resolved>>> {
    app.remembered.get(proof, kind.name(), usable(app, proof, kind)).await
}

/// Every plugin of this kind the app can use, by name.
///
/// # Errors
/// The database's.
pub async fn usable(app: &App, proof: &impl InApp, kind: PluginKind) -> sqlx::Result<Vec<Resolved>> {
    let (rows, grants, offered) = {
        let mut tx = app.tenant_tx(proof).await?;
        let rows = store::list_active(&mut tx, kind, app.typescript.runtime_sha256()).await?;
        let grants = store::list_grants(&mut tx, None).await?;
        (rows, grants, store::offered_predefined(&mut tx, kind).await?)
    };
    let granted_to = |name: &PluginName| {
        grants.iter().filter(|(p, _)| p == name).map(|(_, c)| c.clone()).collect::<Vec<_>>()
    };
    let mut found: Vec<Resolved> = rows
        .into_iter()
        .map(|store::ActiveRow { listed: row, made_anew }| {
            let name = PluginName { kind, name: row.plugin.name };
            Resolved {
                granted: granted_to(&name).into(),
                shipped: Arc::default(),
                requested: row.version.requested.iter().map(|wish| wish.capability.clone()).collect(),
                version: Some(row.version.version),
                description: row.version.description.0,
                code: Code::Blob(made_anew.unwrap_or(row.version.sha256)),
                name,
            }
        })
        .collect();
    for plugin in app.predefined.all(kind) {
        let wanted = offered.as_ref().is_none_or(|names| names.contains(&plugin.name.name));
        if !wanted || found.iter().any(|own| own.name == plugin.name) {
            continue;
        }
        let granted = plugin.granted_as_shipped().chain(granted_to(&plugin.name)).collect();
        found.push(Resolved { granted, ..Resolved::shipped(plugin) });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Whether there is one of this name, uploaded or shipped, usable or not.
///
/// # Errors
/// The database's.
pub async fn is_there(app: &App, proof: &impl InApp, name: &PluginName) -> sqlx::Result<bool> {
    let mut tx = app.tenant_tx(proof).await?;
    let uploaded = store::find(&mut tx, name).await?.is_some();
    Ok(uploaded || app.predefined.find(name.kind, &name.name).is_some())
}

/// What stands granted by review in the app of this transaction.
pub(crate) async fn granted(tx: &mut TenantTx) -> sqlx::Result<Vec<(PluginName, Capability)>> {
    store::list_grants(tx, None).await
}

/// The one of this name, if the app can use it.
///
/// # Errors
/// The database's.
pub async fn find(app: &App, proof: &impl InApp, name: &PluginName) -> sqlx::Result<Option<Resolved>> {
    Ok(usable(app, proof, name.kind).await?.into_iter().find(|plugin| plugin.name == *name))
}
