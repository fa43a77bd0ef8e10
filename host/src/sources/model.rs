//! Making, changing and removing models of the platform.

use super::{
    CONTEXT_TOKENS_MAX, MODELS_MAX, ModelKind, SOURCES_PER_MODEL_MAX, SetError, alias_rule, check_order,
    check_weight, is_alias,
    store::{self, ModelRow},
};
use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, action::may, audit},
    models::{ModelId, catalog::is_built_in},
    prices::{self, PriceError, Priced, routes::PriceInput},
    tenants::{ServiceTx, providers::is_provider_id},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeSet;

/// A new model.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewModel {
    /// `provider/model`: what apps call it.
    id: String,
    /// What else they may call it.
    alias: Option<String>,
    /// What it does; `chat` unless given.
    kind: Option<ModelKind>,
    /// How many tokens it can look at, for whoever asks.
    context_tokens: Option<u64>,
    /// How much may be asked of it.
    #[serde(default)]
    limits: LimitsChange,
    /// What serves it.
    sources: Option<Vec<ModelSource>>,
    /// What it costs, if that is not set yet.
    price: Option<PriceInput>,
    /// Whether apps may use it; yes, unless given.
    enabled: Option<bool>,
}

/// What changes of a model; what is left out stays, and what may be null is taken away by it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelChange {
    #[serde(default, deserialize_with = "given")]
    alias: Option<Option<String>>,
    kind: Option<ModelKind>,
    #[serde(default, deserialize_with = "given")]
    context_tokens: Option<Option<u64>>,
    #[serde(default)]
    limits: LimitsChange,
    sources: Option<Vec<ModelSource>>,
    price: Option<PriceInput>,
    enabled: Option<bool>,
}

/// How much may be asked of a model; what is left out stays, and null is no limit.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsChange {
    /// The longest reply, in tokens.
    #[serde(default, deserialize_with = "given")]
    pub(super) output_tokens: Option<Option<u64>>,
    /// Requests in a minute.
    #[serde(default, deserialize_with = "given")]
    pub(super) requests_per_minute: Option<Option<u64>>,
    /// Tokens read and written in a minute.
    #[serde(default, deserialize_with = "given")]
    pub(super) tokens_per_minute: Option<Option<u64>>,
    /// Requests at once.
    #[serde(default, deserialize_with = "given")]
    pub(super) concurrent_requests: Option<Option<u64>>,
}

/// One source of a model.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelSource {
    /// Its id.
    pub(super) source: String,
    /// Lower ones are asked first; the source's own unless given.
    pub(super) order: Option<i32>,
    /// How often among those of the same order; the source's own unless given.
    pub(super) weight: Option<i32>,
    /// What the source calls the model; what stands behind the first `/` of its id unless given.
    pub(super) model: Option<String>,
}

/// A field that is there, null or not.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(from).map(Some)
}

/// Makes a model.
///
/// # Errors
/// [`SetError`]; nothing was made then.
pub(super) async fn create(
    app: &App,
    allowed: &Allowed<may::AiModelsWrite>,
    new: NewModel,
) -> Result<ModelRow, SetError> {
    let NewModel { id, alias, kind, context_tokens, limits, sources, price, enabled } = new;
    let change = ModelChange {
        alias: Some(alias),
        kind: Some(kind.unwrap_or(ModelKind::Chat)),
        context_tokens: Some(context_tokens),
        limits,
        sources: Some(sources.unwrap_or_default()),
        price,
        enabled: Some(enabled.unwrap_or(true)),
    };
    let (provider, name) = split(&id)?;
    let mut tx = app.service_tx().await?;
    if store::count_models(&mut tx).await? >= MODELS_MAX {
        return Err(SetError::TooMany(MODELS_MAX));
    }
    if !store::insert_draft(&mut tx, provider, name, app.now()).await? {
        return Err(SetError::Taken(id));
    }
    write(app, allowed, tx, &id, None, change).await
}

/// Changes a model, from the next request on.
///
/// # Errors
/// [`SetError`]; nothing was changed then.
pub(super) async fn change(
    app: &App,
    allowed: &Allowed<may::AiModelsWrite>,
    id: &str,
    change: ModelChange,
) -> Result<ModelRow, SetError> {
    let (provider, name) = split(id).map_err(|_| SetError::NotFound("model"))?;
    let mut tx = app.service_tx().await?;
    store::lock_model(&mut tx, provider, name).await?;
    let before = store::find_model(&mut tx, provider, name).await?.ok_or(SetError::NotFound("model"))?;
    write(app, allowed, tx, id, Some(before), change).await
}

/// Removes a model; whether it was there. Its price stays.
///
/// # Errors
/// The database's.
pub(super) async fn remove(app: &App, allowed: &Allowed<may::AiModelsWrite>, id: &str) -> sqlx::Result<bool> {
    let Some((provider, name)) = id.split_once('/') else { return Ok(false) };
    let mut tx = app.service_tx().await?;
    let Some(before) = store::find_model(&mut tx, provider, name).await? else { return Ok(false) };
    store::delete_model(&mut tx, provider, name).await?;
    let entry = audit::Entry::ok("ai_models.write", format!("model/{id}")).change(Some(&before), None);
    audit::write_platform(app, &mut tx, allowed.caller(), None, entry).await?;
    tx.commit().await?;
    Ok(true)
}

async fn write(
    app: &App,
    allowed: &Allowed<may::AiModelsWrite>,
    mut tx: ServiceTx,
    id: &str,
    before: Option<ModelRow>,
    change: ModelChange,
) -> Result<ModelRow, SetError> {
    let (provider, name) = split(id)?;
    let mut wrong = check(&change);
    let limits = before.as_ref().map(|before| before.limits).unwrap_or_default();
    let limits = limits.with(&change.limits, &mut wrong);
    if let Some(price) = change.price {
        set_price(app, &mut tx, id, price.into(), &mut wrong).await?;
    }
    if wrong.is_empty()
        && let Some(Some(alias)) = &change.alias
        && store::alias_of_another(&mut tx, alias, provider, name).await?
    {
        wrong.push(FieldError::new("/alias", format!("`{alias}` is another model's")));
    }
    if !wrong.is_empty() {
        return Err(SetError::Invalid(wrong));
    }
    let (now, kind) = (app.now(), change.kind.map(ModelKind::name));
    store::update_model(&mut tx, (provider, name), kind, change.enabled, now).await?;
    if let Some(alias) = &change.alias {
        store::set_alias(&mut tx, (provider, name), alias.as_deref()).await?;
    }
    if let Some(tokens) = change.context_tokens {
        store::set_context(&mut tx, (provider, name), tokens).await?;
    }
    store::set_limits(&mut tx, (provider, name), &limits).await?;
    if let Some(sources) = &change.sources {
        set_sources(&mut tx, (provider, name), sources).await?;
    }
    let after = store::find_model(&mut tx, provider, name).await?.ok_or(SetError::NotFound("model"))?;
    let wrong = unfit(&after);
    if !wrong.is_empty() {
        return Err(SetError::Invalid(wrong));
    }
    let entry =
        audit::Entry::ok("ai_models.write", format!("model/{id}")).change(before.as_ref(), Some(&after));
    audit::write_platform(app, &mut tx, allowed.caller(), None, entry).await?;
    tx.commit().await?;
    Ok(after)
}

/// What a model that apps may use must have: whoever uses one the operator pays for is charged for it.
fn unfit(model: &ModelRow) -> Vec<FieldError> {
    let mut wrong = vec![];
    if model.enabled && model.price.is_none() {
        let message =
            "a model that apps may use needs a price; give one, or set it with PUT /platform/v1/ai/prices";
        wrong.push(FieldError::new("/price", message));
    }
    if model.enabled && model.sources.as_array().is_none_or(Vec::is_empty) {
        let message = "a model that apps may use needs a source; give one, or `\"enabled\": false`";
        wrong.push(FieldError::new("/sources", message));
    }
    wrong
}

async fn set_price(
    app: &App,
    tx: &mut ServiceTx,
    id: &str,
    price: Priced,
    wrong: &mut Vec<FieldError>,
) -> Result<(), SetError> {
    match prices::put(tx, id, &price, app.now()).await {
        Ok(_) => Ok(()),
        Err(PriceError::Invalid(fields)) => {
            let inside =
                |field: FieldError| FieldError::new(format!("/price{}", field.pointer), field.message);
            wrong.extend(fields.into_iter().map(inside));
            Ok(())
        }
        Err(PriceError::TooMany | PriceError::InUse(_)) => Err(SetError::TooMany(prices::PRICES_MAX)),
        Err(PriceError::Db(cause)) => Err(cause.into()),
    }
}

async fn set_sources(
    tx: &mut ServiceTx,
    (provider, name): (&str, &str),
    sources: &[ModelSource],
) -> Result<(), SetError> {
    store::clear_sources(tx, provider, name).await?;
    let mut wrong = vec![];
    for (position, source) in sources.iter().enumerate() {
        if !store::insert_model_source(tx, (provider, name), source).await? {
            let message = format!("there is no source `{}`", source.source);
            wrong.push(FieldError::new(format!("/sources/{position}/source"), message));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(SetError::Invalid(wrong)) }
}

fn split(id: &str) -> Result<(&str, &str), SetError> {
    let wrong = |message: &str| Err(SetError::Invalid(vec![FieldError::new("/id", message)]));
    match id.split_once('/') {
        Some((provider, _)) if is_built_in(provider) => {
            wrong("that provider is built in; its models are there already")
        }
        Some(parts) if prices::is_priced_id(id) => Ok(parts),
        _ => wrong("a model is `provider/model`, 200 bytes at the most"),
    }
}

fn check(change: &ModelChange) -> Vec<FieldError> {
    let mut wrong = vec![];
    if let Some(Some(alias)) = &change.alias
        && !is_alias(alias)
    {
        wrong.push(FieldError::new("/alias", alias_rule()));
    }
    within("/context_tokens", change.context_tokens.flatten(), CONTEXT_TOKENS_MAX, &mut wrong);
    let sources = change.sources.as_deref().unwrap_or_default();
    if sources.len() > SOURCES_PER_MODEL_MAX {
        wrong.push(FieldError::new("/sources", format!("at most {SOURCES_PER_MODEL_MAX} sources")));
    }
    let mut named = BTreeSet::new();
    for (position, source) in sources.iter().enumerate() {
        let at = format!("/sources/{position}");
        if !is_provider_id(&source.source) {
            wrong.push(FieldError::new(format!("{at}/source"), "that is no source"));
        }
        if !named.insert(&source.source) {
            wrong.push(FieldError::new(format!("{at}/source"), "each source once"));
        }
        if source.model.as_deref().is_some_and(|name| ModelId::parse(name).is_err()) {
            wrong.push(FieldError::new(format!("{at}/model"), "that is no name of a model"));
        }
        check_order(source.order, &at, &mut wrong);
        check_weight(source.weight, &at, &mut wrong);
    }
    wrong
}

/// A number as it is stored, if it is one from 1 on.
pub(super) fn within(at: &str, wanted: Option<u64>, max: u64, wrong: &mut Vec<FieldError>) -> Option<i64> {
    if wanted.is_some_and(|wanted| !(1..=max).contains(&wanted)) {
        wrong.push(FieldError::new(at, format!("1 to {max}, or left out")));
    }
    wanted.and_then(|wanted| i64::try_from(wanted).ok())
}
