//! Apps, which are tenants: whose data is whose.
//!
//! An app is known by its slug, which is the tenant's id everywhere a person
//! sees one. Everything an app owns carries its `app_id`, walled by row-level
//! security; [`TenantTx`] is the only way to it.
//!
//! - [`slug`]: the grammar of names.
//! - [`create`], [`configure`], [`delete`]: what is done to an app.
//! - [`providers`]: the model providers it brings, their keys sealed.
//! - `origins`: whose pages may call it from a browser.

pub mod configure;
pub mod create;
pub mod delete;
pub(crate) mod origins;
pub mod providers;
pub mod routes;
pub mod slug;
mod store;
mod tx;

pub use tx::{PersonTx, TenantTx};
pub(crate) use tx::{ServiceTx, TenantStatement};

use crate::{app::App, grants::AppRef};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use sqlx::FromRow;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Whether there is an app of this slug.
///
/// # Errors
/// The database's.
pub(crate) async fn exists(app: &App, slug: &str) -> sqlx::Result<bool> {
    if slug::check(slug).is_err() {
        return Ok(false);
    }
    let mut tx = app.service_tx().await?;
    store::find_app(tx.conn(), slug).await.map(|found| found.is_some())
}

/// The id of the app of this slug.
///
/// # Errors
/// The database's.
pub(crate) async fn find_id(app: &App, slug: &str) -> sqlx::Result<Option<Uuid>> {
    let mut tx = app.service_tx().await?;
    store::find_app(tx.conn(), slug).await.map(|found| found.map(|row| row.app_id))
}

/// The app of this slug, as a credential would name it.
///
/// # Errors
/// The database's.
pub(crate) async fn find_ref(app: &App, slug: &str) -> sqlx::Result<Option<AppRef>> {
    let mut tx = app.service_tx().await?;
    let found = store::find_app(tx.conn(), slug).await?;
    Ok(found.map(|row| AppRef { app_id: row.app_id, suspended: row.status == "suspended", slug: row.slug }))
}

/// Names for models, each for a `provider/model`.
pub type Aliases = BTreeMap<String, String>;

/// An app as stored.
#[derive(Clone, Debug, FromRow)]
pub struct AppRow {
    /// The key in every tenant table.
    pub app_id: Uuid,
    /// Its public name.
    pub slug: String,
    /// For people.
    pub name: String,
    /// `active`, `suspended` or `deleted`.
    pub status: String,
    /// `provider/model`, for requests that name none.
    pub default_model: Option<String>,
    /// Its own names for models, each for a `provider/model`.
    #[sqlx(json)]
    pub model_aliases: Aliases,
    /// The predefined tools it wants; none: all.
    pub predefined_tools: Option<Vec<String>>,
    /// The predefined agents it wants; none: all.
    pub predefined_agents: Option<Vec<String>>,
    /// Whether its sessions may be shown to whoever has a link.
    pub session_sharing: bool,
    /// For how many days its sessions' artifacts are kept, where that is shorter than the installation's time.
    pub artifact_retention_days: Option<i32>,
    /// The keys one of which must have signed what is uploaded; none: nobody has to.
    pub trusted_keys: Vec<String>,
    /// The origins whose pages may call it from a browser; `*` alone: all.
    pub cors_origins: Vec<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl AppRow {
    /// The tenant's configuration as the API shows it: no key, no token (row M214).
    pub fn describe(&self, providers: &[providers::ProviderRow]) -> Value {
        let providers: Map<String, Value> = providers
            .iter()
            .map(|p| {
                (
                    p.provider.clone(),
                    json!({ "baseUrl": p.base_url, "kind": p.speaks(), "has_key": p.last4.is_some(), "last4": p.last4 }),
                )
            })
            .collect();
        let default_model = self
            .default_model
            .as_deref()
            .and_then(|id| id.split_once('/'))
            .map(|(provider, model)| json!({ "providerId": provider, "modelId": model }));
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        json!({
            "id": self.slug,
            "name": self.name,
            "status": self.status,
            "providers": providers,
            "defaultModel": default_model,
            "modelAliases": self.model_aliases,
            "includePredefined": { "tools": self.predefined_tools, "agents": self.predefined_agents },
            "sessionSharing": self.session_sharing,
            "artifactRetentionDays": self.artifact_retention_days,
            "trustedKeys": self.trusted_keys,
            "corsOrigins": self.cors_origins,
            "createdAt": time(self.created_at),
            "updatedAt": time(self.updated_at),
        })
    }
}
