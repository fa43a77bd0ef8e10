//! A text, spoken.

use crate::{
    app::App,
    chat::send::{self, ChatError},
    grants::{Allowed, action::may},
    models::{
        gateway::{self, Sound},
        speech::SpeechRequest,
    },
};
use serde_json::Value;

/// Has a text spoken. Returns once the sound begins.
///
/// # Errors
/// [`ChatError`]
pub async fn speak(app: &App, allowed: &Allowed<may::AiInvoke>, body: Value) -> Result<Sound, ChatError> {
    let request = SpeechRequest::from_value(body).map_err(ChatError::Request)?;
    let (provider, model) = super::resolve(app, allowed, &request.model).await?;
    let origin = super::origin(send::end_user(&request.rest)?);
    Ok(gateway::speak(app, allowed, (&provider, &model), &request, origin).await?)
}
