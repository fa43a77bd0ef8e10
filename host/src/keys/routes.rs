//! `/v1/keys`, `/v1/config/providers`

use super::{KeyError, KeyInput, Tested};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, action::may},
    http::{Json, NoContent, Params},
    models::catalog::{self, is_built_in},
    sources::routes::Empty,
    tenants::configure,
};
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A provider in a path.
#[derive(Deserialize)]
pub struct ProviderPath {
    name: String,
}

/// Lists keys, without them (row M280).
pub async fn list(State(app): State<App>, allowed: Allowed<may::KeysRead>) -> ApiResult<Json<Value>> {
    Ok(Json(json!({ "data": super::list(&app, &allowed).await? })))
}

/// Stores one, or gives it up for the platform's (row M279).
pub async fn put(
    State(app): State<App>,
    allowed: Allowed<may::KeysWrite>,
    Params(path): Params<ProviderPath>,
    Json(body): Json<KeyInput>,
) -> ApiResult<NoContent> {
    super::put(&app, &allowed, &path.name, body).await?;
    Ok(NoContent)
}

/// Removes one.
pub async fn delete(
    State(app): State<App>,
    allowed: Allowed<may::KeysWrite>,
    Params(path): Params<ProviderPath>,
) -> ApiResult<NoContent> {
    match super::remove(&app, &allowed, &path.name).await? {
        true => Ok(NoContent),
        false => Err(ApiError::not_found("key")),
    }
}

/// Asks the provider whether it takes one.
pub async fn test(
    State(app): State<App>,
    allowed: Allowed<may::KeysWrite>,
    Params(path): Params<ProviderPath>,
    Json(Empty {}): Json<Empty>,
) -> ApiResult<Json<Tested>> {
    Ok(Json(super::test(&app, &allowed, &path.name).await?))
}

/// The providers a session can name, with their models (row M278).
pub async fn providers(
    State(app): State<App>,
    allowed: Allowed<may::ProvidersRead>,
) -> ApiResult<Json<Value>> {
    let (row, own) = configure::read(&app, &allowed).await?;
    let models = catalog::list(&app, &allowed).await?;
    let mut named: Vec<&str> = own.iter().map(|own| own.provider.as_str()).collect();
    named.extend(models.iter().map(|model| model.owned_by.as_str()));
    named.sort_unstable();
    named.dedup();

    let default_model = row.default_model.as_deref().and_then(|id| id.split_once('/'));
    let mut providers = vec![];
    let mut defaults = Map::new();
    for id in named {
        let own = own.iter().find(|own| own.provider == id);
        let names: Vec<&str> = models
            .iter()
            .filter_map(|model| model.id.split_once('/'))
            .filter(|(of, _)| *of == id)
            .map(|(_, name)| name)
            .collect();
        let default = default_model.filter(|(of, _)| *of == id).map(|(_, name)| name);
        if let Some(name) = default.or_else(|| names.first().copied()) {
            defaults.insert(id.to_owned(), json!(name));
        }
        let by_name: Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), json!({ "id": name, "name": name }))).collect();
        providers.push(json!({
            "id": id,
            "name": id,
            "source": match own { Some(_) => "app", None if is_built_in(id) => "built-in", None => "platform" },
            "has_key": own.is_some_and(|own| own.last4.is_some()),
            "models": by_name,
        }));
    }
    Ok(Json(json!({ "providers": providers, "default": defaults })))
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> ApiError {
        let text = error.to_string();
        match error {
            KeyError::NotFound => ApiError::not_found("provider"),
            KeyError::Invalid(fields) => ApiError::invalid(fields),
            KeyError::NotManaged(_) => ApiError::conflict("no_managed_source", text),
            KeyError::TooMany => ApiError::conflict("too_many_providers", text),
            KeyError::Seal(cause) => ApiError::internal("a provider's key could not be sealed", cause),
            KeyError::Sealed => ApiError::conflict("provider_key_sealed", text),
            KeyError::Db(cause) => cause.into(),
        }
    }
}
