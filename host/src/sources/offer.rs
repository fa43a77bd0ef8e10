//! Which models of the platform an app may use.

use super::{
    PATTERNS_PER_APP_MAX, SetError,
    model::given,
    store::{self, Allowances},
};
use crate::{
    app::App,
    budgets::points::{self, POINTS_PER_MONTH_MAX},
    error::FieldError,
    grants::{Allowed, action::may, audit},
    models::catalog::is_full_id,
    tenants::{self, providers::is_provider_id},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What an app may use.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppModels {
    /// `provider/model`; `provider/*` for all of a provider; `*` for all there are, now and later.
    models: Vec<String>,
    /// How many points it may use in a month; null: as many as it likes. Stays as it is unless given.
    #[serde(default, deserialize_with = "given")]
    points_per_month: Option<Option<u64>>,
}

/// A model of the platform that an app may use.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Offered {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) alias: Option<String>,
    pub(crate) kind: String,
    pub(crate) context_tokens: Option<i64>,
    /// The longest reply: the model's limit, or the longest its price knows of.
    pub(crate) output_tokens: Option<i64>,
}

/// Sets what an app may use, from the next request on.
///
/// # Errors
/// [`SetError`]; nothing was changed then.
pub(super) async fn set(
    app: &App,
    allowed: &Allowed<may::AppModelsWrite>,
    slug: &str,
    wanted: AppModels,
) -> Result<Allowances, SetError> {
    let app_id = tenants::find_id(app, slug).await?.ok_or(SetError::NotFound("tenant"))?;
    let patterns: BTreeSet<String> = wanted.models.iter().cloned().collect();
    if patterns.len() > PATTERNS_PER_APP_MAX {
        let message = format!("at most {PATTERNS_PER_APP_MAX}; `provider/*` stands for all of a provider");
        return Err(SetError::Invalid(vec![FieldError::new("/models", message)]));
    }
    let mut tx = app.service_tx().await?;
    let mut wrong = vec![];
    for (position, pattern) in wanted.models.iter().enumerate() {
        let at = format!("/models/{position}");
        match pattern.split_once('/') {
            None if pattern == "*" => {}
            Some((provider, "*")) if is_provider_id(provider) => {}
            Some((provider, model)) if is_full_id(pattern) => {
                if !store::has_model(&mut tx, provider, model).await? {
                    wrong.push(FieldError::new(at, "there is no such model; make it first"));
                }
            }
            _ => wrong.push(FieldError::new(at, "expected `provider/model`, `provider/*` or `*`")),
        }
    }
    if wanted.points_per_month.flatten().is_some_and(|points| points > POINTS_PER_MONTH_MAX) {
        let message = format!("at most {POINTS_PER_MONTH_MAX} points, or null");
        wrong.push(FieldError::new("/points_per_month", message));
    }
    if !wrong.is_empty() {
        return Err(SetError::Invalid(wrong));
    }
    let before = store::allowances(&mut tx, app_id).await?;
    store::set_allowances(&mut tx, app_id, &patterns.into_iter().collect::<Vec<_>>()).await?;
    if let Some(per_month) = wanted.points_per_month {
        points::set(app, &mut tx, app_id, per_month).await?;
    }
    let after = store::allowances(&mut tx, app_id).await?;
    let entry =
        audit::Entry::ok("apps.models.write", format!("app/{slug}")).change(Some(&before), Some(&after));
    audit::write_platform(app, &mut tx, allowed.caller(), Some(app_id), entry).await?;
    tx.commit().await?;
    app.changes.made(app_id);
    Ok(after)
}

/// What an app may use, for the operator. None: there is no such app.
///
/// # Errors
/// The database's.
pub(super) async fn get(app: &App, slug: &str) -> sqlx::Result<Option<Allowances>> {
    let Some(app_id) = tenants::find_id(app, slug).await? else { return Ok(None) };
    let mut tx = app.service_tx().await?;
    store::allowances(&mut tx, app_id).await.map(Some)
}

/// The models of the platform an app may use: those with a price and a source that is on.
///
/// # Errors
/// The database's.
pub(crate) async fn offered(app: &App, app_id: Uuid) -> sqlx::Result<Vec<Offered>> {
    let mut tx = app.service_tx().await?;
    store::offered(&mut tx, app_id).await
}

/// How many tokens a model takes, where it is the platform's, the app may use it, and the operator said so.
///
/// # Errors
/// The database's.
pub(crate) async fn context_of(
    app: &App,
    app_id: Uuid,
    provider: &str,
    model: &str,
) -> sqlx::Result<Option<i64>> {
    let mut tx = app.service_tx().await?;
    store::context_of(&mut tx, app_id, provider, model).await
}

/// Whether an app may use any model of the platform that is named after this provider.
///
/// # Errors
/// The database's.
pub(crate) async fn offers_provider(app: &App, app_id: Uuid, provider: &str) -> sqlx::Result<bool> {
    Ok(offered(app, app_id).await?.iter().any(|model| model.provider == provider))
}
