//! `/platform/v1/ai/sources`, `/platform/v1/ai/models`, `/v1/admin/tenants/{id}/ai/models`

use super::{
    SetError,
    circuit::Health,
    model::{self, ModelChange, NewModel},
    offer::{self, AppModels},
    probe::{self, SyncInput, Synced, Tested},
    source::{self, NewSource, SourceChange},
    store,
};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, action::may},
    http::{Json, NoContent, Page, Paged, Params},
    models::catalog::is_full_id,
};
use axum::{extract::State, response::IntoResponse};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::str::FromStr;

/// A source, a model or an app in a path.
#[derive(Deserialize)]
pub struct IdPath {
    id: String,
}

/// Nothing to say.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// The model a page begins after.
struct After(String);

impl FromStr for After {
    type Err = ();

    fn from_str(text: &str) -> Result<After, ()> {
        if is_full_id(text) { Ok(After(text.to_owned())) } else { Err(()) }
    }
}

/// Lists sources, in the order they are asked.
pub async fn list_sources(
    State(app): State<App>,
    _allowed: Allowed<may::SourcesRead>,
) -> ApiResult<Json<Value>> {
    let mut tx = app.service_tx().await?;
    Ok(Json(json!({ "data": store::list_sources(&mut tx).await? })))
}

/// Makes one.
pub async fn create_source(
    State(app): State<App>,
    allowed: Allowed<may::SourcesWrite>,
    Json(body): Json<NewSource>,
) -> ApiResult<impl IntoResponse> {
    let made = source::create(&app, &allowed, body).await?;
    Ok((StatusCode::CREATED, Json(json!(made))))
}

/// Shows one.
pub async fn get_source(
    State(app): State<App>,
    _allowed: Allowed<may::SourcesRead>,
    Params(path): Params<IdPath>,
) -> ApiResult<Json<Value>> {
    let mut tx = app.service_tx().await?;
    let found = store::find_source(&mut tx, &path.id).await?;
    Ok(Json(json!(found.ok_or(SetError::NotFound("source"))?)))
}

/// Changes one.
pub async fn change_source(
    State(app): State<App>,
    allowed: Allowed<may::SourcesWrite>,
    Params(path): Params<IdPath>,
    Json(body): Json<SourceChange>,
) -> ApiResult<Json<Value>> {
    Ok(Json(json!(source::change(&app, &allowed, &path.id, body).await?)))
}

/// Removes one.
pub async fn delete_source(
    State(app): State<App>,
    allowed: Allowed<may::SourcesWrite>,
    Params(path): Params<IdPath>,
) -> ApiResult<NoContent> {
    removed(source::remove(&app, &allowed, &path.id).await?, "source")
}

/// Says how one is doing (row M180).
pub async fn health(
    State(app): State<App>,
    _allowed: Allowed<may::SourcesRead>,
    Params(path): Params<IdPath>,
) -> ApiResult<Json<Health>> {
    let mut tx = app.service_tx().await?;
    let found = store::find_source(&mut tx, &path.id).await?.ok_or(SetError::NotFound("source"))?;
    Ok(Json(app.circuits.health(found.source_id, app.now())))
}

/// Asks one for its models (row M180).
pub async fn test(
    State(app): State<App>,
    _allowed: Allowed<may::SourcesWrite>,
    Params(path): Params<IdPath>,
    Json(Empty {}): Json<Empty>,
) -> ApiResult<Json<Tested>> {
    Ok(Json(probe::test(&app, &path.id).await?))
}

/// Makes drafts of its models (row M181).
pub async fn sync_models(
    State(app): State<App>,
    allowed: Allowed<may::AiModelsWrite>,
    Params(path): Params<IdPath>,
    Json(body): Json<SyncInput>,
) -> ApiResult<Json<Synced>> {
    Ok(Json(probe::sync(&app, &allowed, &path.id, body).await?))
}

/// Lists models, by id.
pub async fn list_models(
    State(app): State<App>,
    _allowed: Allowed<may::AiModelsRead>,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    let after = page.after::<After>()?.map(|after| after.0);
    let mut tx = app.service_tx().await?;
    let rows = store::list_models(&mut tx, after.as_deref(), page.fetch()).await?;
    let rows = page.of(rows, |row| row.id.clone());
    let data = rows.data.iter().map(|row| json!(row)).collect();
    Ok(Json(Paged { data, next_cursor: rows.next_cursor, has_more: rows.has_more }))
}

/// Makes one.
pub async fn create_model(
    State(app): State<App>,
    allowed: Allowed<may::AiModelsWrite>,
    Json(body): Json<NewModel>,
) -> ApiResult<impl IntoResponse> {
    let made = model::create(&app, &allowed, body).await?;
    Ok((StatusCode::CREATED, Json(json!(made))))
}

/// Shows one.
pub async fn get_model(
    State(app): State<App>,
    _allowed: Allowed<may::AiModelsRead>,
    Params(path): Params<IdPath>,
) -> ApiResult<Json<Value>> {
    let Some((provider, model)) = path.id.split_once('/') else { return Err(ApiError::not_found("model")) };
    let mut tx = app.service_tx().await?;
    let found = store::find_model(&mut tx, provider, model).await?;
    Ok(Json(json!(found.ok_or(SetError::NotFound("model"))?)))
}

/// Changes one.
pub async fn change_model(
    State(app): State<App>,
    allowed: Allowed<may::AiModelsWrite>,
    Params(path): Params<IdPath>,
    Json(body): Json<ModelChange>,
) -> ApiResult<Json<Value>> {
    Ok(Json(json!(model::change(&app, &allowed, &path.id, body).await?)))
}

/// Removes one.
pub async fn delete_model(
    State(app): State<App>,
    allowed: Allowed<may::AiModelsWrite>,
    Params(path): Params<IdPath>,
) -> ApiResult<NoContent> {
    removed(model::remove(&app, &allowed, &path.id).await?, "model")
}

/// Says which of them an app may use.
pub async fn get_app_models(
    State(app): State<App>,
    _allowed: Allowed<may::AppModelsRead>,
    Params(path): Params<IdPath>,
) -> ApiResult<Json<Value>> {
    let found = offer::get(&app, &path.id).await?;
    Ok(Json(json!(found.ok_or(SetError::NotFound("tenant"))?)))
}

/// Sets which of them an app may use (row M184).
pub async fn put_app_models(
    State(app): State<App>,
    allowed: Allowed<may::AppModelsWrite>,
    Params(path): Params<IdPath>,
    Json(body): Json<AppModels>,
) -> ApiResult<Json<Value>> {
    Ok(Json(json!(offer::set(&app, &allowed, &path.id, body).await?)))
}

fn removed(was_there: bool, what: &str) -> ApiResult<NoContent> {
    if was_there { Ok(NoContent) } else { Err(ApiError::not_found(what)) }
}

impl From<SetError> for ApiError {
    fn from(error: SetError) -> ApiError {
        let text = error.to_string();
        match error {
            SetError::Invalid(fields) => ApiError::invalid(fields),
            SetError::NotFound(what) => ApiError::not_found(what),
            SetError::Taken(_) => ApiError::conflict("id_taken", text),
            SetError::TooMany(_) => ApiError::conflict("too_many", text),
            SetError::Seal(cause) => ApiError::internal("a source's key could not be sealed", cause),
            SetError::Sealed => ApiError::conflict("source_key_sealed", text),
            SetError::NoList(_) => ApiError::new(StatusCode::BAD_GATEWAY, "source_failed", text),
            SetError::Db(cause) => cause.into(),
        }
    }
}
