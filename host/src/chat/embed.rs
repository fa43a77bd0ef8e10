//! `/v1/embeddings`

use super::send::{self, ChatError};
use crate::{
    app::App,
    error::ApiResult,
    grants::{Allowed, action::may},
    http::{Json, body},
    limits::CHAT_BYTES_MAX,
    models::{
        embeddings::EmbeddingRequest,
        gateway::{self, Origin},
    },
    tenants::configure,
};
use axum::extract::{Request, State};
use serde_json::Value;

/// Turns texts into vectors.
pub async fn create(
    State(app): State<App>,
    allowed: Allowed<may::ChatSend>,
    request: Request,
) -> ApiResult<Json<Value>> {
    let body = body::read_json(request, CHAT_BYTES_MAX).await?;
    Ok(Json(embed(&app, &allowed, body).await?))
}

async fn embed(app: &App, allowed: &Allowed<may::ChatSend>, body: Value) -> Result<Value, ChatError> {
    let request = EmbeddingRequest::from_value(body).map_err(ChatError::Request)?;
    let (tenant, _providers) = configure::read(app, allowed).await?;
    let default = tenant.default_model.as_deref();
    let (provider, model) = send::full_id(app, allowed, &request.model, default).await?;
    let end_user = send::end_user(&request.rest)?.map(str::to_owned);
    let origin = Origin { end_user, ..Origin::default() };
    let embeddings = gateway::embed(app, allowed, (&provider, &model), &request, origin).await?;
    Ok(embeddings.to_openai_json(&format!("{provider}/{model}"), request.as_base64))
}
