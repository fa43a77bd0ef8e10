//! Texts into vectors.

use super::send::{self, ChatError};
use crate::{
    app::App,
    grants::InApp,
    models::{
        embeddings::EmbeddingRequest,
        gateway::{self, Origin},
    },
    tenants::configure,
};
use serde_json::Value;

/// Turns texts into vectors; answers with OpenAI's list.
///
/// # Errors
/// [`ChatError`]
pub async fn embed(app: &App, proof: &impl InApp, body: Value) -> Result<Value, ChatError> {
    let request = EmbeddingRequest::from_value(body).map_err(ChatError::Request)?;
    let tenant = configure::known(app, proof).await?;
    let default = tenant.default_model.as_deref();
    let (provider, model) = send::full_id(app, proof, &request.model, default).await?;
    let end_user = send::end_user(&request.rest)?.map(str::to_owned);
    let origin = Origin { end_user, ..Origin::default() };
    let embeddings = gateway::once(app, proof, (&provider, &model), &request, origin).await?;
    Ok(embeddings.to_openai_json(&format!("{provider}/{model}"), request.as_base64))
}
