//! Reading and replacing an app's configuration.

use super::{Aliases, AppRow, origins, providers, providers::ProviderInput, store};
use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, InApp, action::may, audit},
    http::etag::{self, Precondition, entity_tag},
    models::catalog::is_full_id,
    registry::{
        PluginKind,
        signature::{TRUSTED_KEYS_MAX, is_key},
    },
    remembered::Remember,
    sources::{alias_rule, is_alias},
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// An app's own names for models: one for each purpose it has.
pub const ALIASES_PER_APP_MAX: usize = 100;

/// The configuration that replaces what was there.
pub struct Replacement {
    /// The id it is said to have, which must be its own.
    pub id: Option<String>,
    /// Which configuration it is meant to replace.
    pub only: Precondition,
    /// For people.
    pub name: String,
    /// All its providers.
    pub providers: BTreeMap<String, ProviderInput>,
    /// `provider/model`.
    pub default_model: Option<String>,
    /// Its own names for models.
    pub model_aliases: Aliases,
    /// The predefined tools it wants; none: all.
    pub predefined_tools: Option<Vec<String>>,
    /// The predefined agents it wants; none: all.
    pub predefined_agents: Option<Vec<String>>,
    /// Whether its sessions may be shown to whoever has a link.
    pub session_sharing: bool,
    /// For how many days its sessions' artifacts are kept, where that is shorter than the installation's time.
    pub artifact_retention_days: Option<i32>,
    /// The keys one of which must have signed what is uploaded, none where nobody has to. None: as they are: who does
    /// not know of them does not take a lock away.
    pub trusted_keys: Option<Vec<String>>,
    /// The origins whose pages may call it from a browser.
    pub cors_origins: Vec<String>,
}

/// The longest an app can say: a year, as the installation's.
const RETENTION_DAYS_MAX: i32 = 366;

/// What is offered of what we ship.
#[derive(Clone, Copy, Default)]
pub struct Predefined<'a> {
    /// Tools; none: all.
    pub tools: Option<&'a [String]>,
    /// Agents; none: all.
    pub agents: Option<&'a [String]>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// Fields are wrong.
    #[error("the configuration is wrong")]
    Invalid(Vec<FieldError>),
    /// It is not the configuration that was read.
    #[error("{0}")]
    Stale(#[from] etag::Failed),
    /// The providers.
    #[error("{0}")]
    Providers(#[from] providers::StoreError),
    /// The database.
    #[error("the configuration could not be stored")]
    Db(#[from] sqlx::Error),
}

/// Every wrong field of a configuration.
pub(super) fn check(
    app: &App,
    name: &str,
    providers: &BTreeMap<String, ProviderInput>,
    default_model: Option<&str>,
    model_aliases: &Aliases,
    predefined: &Predefined<'_>,
    artifact_retention_days: Option<i32>,
) -> Vec<FieldError> {
    let mut wrong = vec![];
    if artifact_retention_days.is_some_and(|days| !(1..=RETENTION_DAYS_MAX).contains(&days)) {
        let text = format!("expected a number of days, 1 to {RETENTION_DAYS_MAX}");
        wrong.push(FieldError::new("/artifactRetentionDays", text));
    }
    if name.trim().is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
        wrong.push(FieldError::new("/name", "expected 1 to 200 characters"));
    }
    if default_model.is_some_and(|id| !is_full_id(id)) {
        wrong.push(FieldError::new("/defaultModel", "expected a provider id and a model id"));
    }
    wrong.extend(check_aliases(model_aliases));
    wrong.extend(providers::check(app, providers));
    for (pointer, kind, names) in [
        ("/includePredefined/tools", PluginKind::Tool, predefined.tools),
        ("/includePredefined/agents", PluginKind::Agent, predefined.agents),
    ] {
        for name in names.unwrap_or_default().iter().filter(|name| app.predefined.find(kind, name).is_none())
        {
            let known = app.predefined.names(kind).join(", ");
            wrong.push(FieldError::new(pointer, format!("`{name}` is not predefined; there are: {known}")));
        }
    }
    wrong
}

/// What is wrong with keys to be trusted.
pub(super) fn check_keys(keys: &[String]) -> Vec<FieldError> {
    let mut wrong = vec![];
    if keys.len() > TRUSTED_KEYS_MAX {
        wrong.push(FieldError::new("/trustedKeys", format!("at most {TRUSTED_KEYS_MAX} keys")));
    }
    for (position, key) in keys.iter().enumerate() {
        let at = format!("/trustedKeys/{position}");
        if !is_key(key) {
            let text = "expected a public key of minisign's: the second line of its .pub file, `RW…`";
            wrong.push(FieldError::new(&at, text));
        }
        if keys.iter().take(position).any(|before| before == key) {
            wrong.push(FieldError::new(&at, "each key once"));
        }
    }
    wrong
}

fn check_aliases(aliases: &Aliases) -> Vec<FieldError> {
    let mut wrong = vec![];
    if aliases.len() > ALIASES_PER_APP_MAX {
        wrong.push(FieldError::new("/modelAliases", format!("at most {ALIASES_PER_APP_MAX} aliases")));
    }
    for (alias, model) in aliases {
        let at = format!("/modelAliases/{}", alias.replace('~', "~0").replace('/', "~1"));
        if !is_alias(alias) {
            wrong.push(FieldError::new(&at, alias_rule()));
        }
        if !is_full_id(model) {
            wrong.push(FieldError::new(&at, "expected `provider/model`"));
        }
    }
    wrong
}

/// The model that the app calls so, `provider/model`.
///
/// # Errors
/// The database's.
pub(crate) async fn model_of_alias(
    app: &App,
    proof: &impl InApp,
    alias: &str,
) -> sqlx::Result<Option<String>> {
    Ok(known(app, proof).await?.model_aliases.get(alias).cloned())
}

/// The caller's app, where it is used at once.
///
/// # Errors
/// The database's.
pub(crate) async fn known(app: &App, proof: &impl InApp) -> sqlx::Result<Arc<AppRow>> {
    let read = async {
        let mut tx = app.tenant_tx(proof).await?;
        store::get_app(tx.conn(), proof.app().app_id).await
    };
    app.remembered.get(proof, "app", read).await
}

impl Remember for AppRow {
    fn bytes(&self) -> usize {
        let aliases = self.model_aliases.iter().map(|(alias, model)| alias.len() + model.len());
        let predefined = self.predefined_tools.iter().chain(&self.predefined_agents).flatten();
        let listed = self.trusted_keys.iter().chain(&self.cors_origins).map(String::len).sum::<usize>();
        size_of::<AppRow>() + listed + aliases.sum::<usize>() + predefined.map(String::len).sum::<usize>()
    }
}

/// The caller's app and its providers.
///
/// # Errors
/// The database's.
pub async fn read(app: &App, proof: &impl InApp) -> sqlx::Result<(AppRow, Vec<providers::ProviderRow>)> {
    let mut tx = app.tenant_tx(proof).await?;
    let row = store::get_app(tx.conn(), proof.app().app_id).await?;
    let providers = store::list_providers(tx.conn(), row.app_id).await?;
    Ok((row, providers))
}

/// Replaces the caller's app's configuration.
///
/// # Errors
/// [`ConfigureError`]; nothing was changed then.
pub async fn replace(
    app: &App,
    allowed: &Allowed<may::TenantWrite>,
    with: Replacement,
) -> Result<(AppRow, Vec<providers::ProviderRow>), ConfigureError> {
    let predefined =
        Predefined { tools: with.predefined_tools.as_deref(), agents: with.predefined_agents.as_deref() };
    let (default_model, aliases) = (with.default_model.as_deref(), &with.model_aliases);
    let days = with.artifact_retention_days;
    let mut wrong = check(app, &with.name, &with.providers, default_model, aliases, &predefined, days);
    wrong.extend(check_keys(with.trusted_keys.as_deref().unwrap_or_default()));
    wrong.extend(origins::check(&with.cors_origins));
    if with.id.as_deref().is_some_and(|id| id != allowed.app().slug) {
        wrong.insert(0, FieldError::new("/id", "an id cannot be changed"));
    }
    if !wrong.is_empty() {
        return Err(ConfigureError::Invalid(wrong));
    }
    let mut tx = app.tenant_tx(allowed).await?;
    let before = store::lock_app(tx.conn(), allowed.app().app_id).await?;
    let providers_before = store::list_providers(tx.conn(), before.app_id).await?;
    with.only.check(&[entity_tag(&before.describe(&providers_before))])?;
    let moved = providers::check_moved(&providers_before, &with.providers);
    if !moved.is_empty() {
        return Err(ConfigureError::Invalid(moved));
    }
    let after = AppRow {
        name: with.name,
        default_model: with.default_model,
        model_aliases: with.model_aliases,
        predefined_tools: with.predefined_tools,
        predefined_agents: with.predefined_agents,
        session_sharing: with.session_sharing,
        artifact_retention_days: with.artifact_retention_days,
        trusted_keys: with.trusted_keys.unwrap_or_else(|| before.trusted_keys.clone()),
        cors_origins: with.cors_origins,
        updated_at: app.now(),
        ..before.clone()
    };
    store::update_app(tx.conn(), &after).await?;
    providers::replace(app, tx.conn(), after.app_id, &with.providers).await?;
    let providers = store::list_providers(tx.conn(), after.app_id).await?;
    let mut detail = Map::new();
    if before.trusted_keys != after.trusted_keys {
        let (was, is) = (&before.trusted_keys, &after.trusted_keys);
        detail.insert("trusted_keys".to_owned(), json!({ "before": was, "after": is }));
    }
    if before.cors_origins != after.cors_origins {
        let (was, is) = (&before.cors_origins, &after.cors_origins);
        detail.insert("cors_origins".to_owned(), json!({ "before": was, "after": is }));
    }
    let entry = audit::Entry::ok("tenant.write", format!("app/{}", after.slug))
        .change(Some(&before.describe(&providers_before)), Some(&after.describe(&providers)))
        .detail(Value::Object(detail));
    audit::write(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    app.changes.made(allowed.app().app_id);
    Ok((after, providers))
}
