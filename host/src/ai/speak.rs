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

/// Has a text spoken. Returns what the sound is called, and the sound, once it begins.
///
/// # Errors
/// [`ChatError`]
pub async fn speak(
    app: &App,
    allowed: &Allowed<may::AiInvoke>,
    body: Value,
) -> Result<(&'static str, Sound), ChatError> {
    let request = SpeechRequest::from_value(body).map_err(ChatError::Request)?;
    let (provider, model) = super::resolve(app, allowed, &request.model).await?;
    let origin = super::origin(send::end_user(&request.rest)?);
    let sound = gateway::speak(app, allowed, (&provider, &model), &request, origin).await?;
    Ok((request.media_type(), sound))
}
