//! Whether something is harmful, in a model's judgement.

use crate::{
    app::App,
    chat::send::{self, ChatError},
    grants::{Allowed, action::may},
    models::{gateway, moderation::ModerationRequest},
};
use serde_json::{Value, json};

/// Asks; the provider's answer as it came, but for the model's name.
///
/// # Errors
/// [`ChatError`]
pub async fn moderate(app: &App, allowed: &Allowed<may::AiInvoke>, body: Value) -> Result<Value, ChatError> {
    let request = ModerationRequest::from_value(body).map_err(ChatError::Request)?;
    let (provider, model) = super::resolve(app, allowed, &request.model).await?;
    let origin = super::origin(send::end_user(&request.rest)?);
    let mut answer = gateway::once(app, allowed, (&provider, &model), &request, origin).await?;
    answer["model"] = json!(format!("{provider}/{model}"));
    Ok(answer)
}
