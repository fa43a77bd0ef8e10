//! Speech into text.

use crate::{
    app::App,
    chat::send::{self, ChatError},
    grants::{Allowed, action::may},
    http::multipart::Part,
    models::{
        gateway,
        transcription::{Transcript, TranscriptionRequest},
    },
};

/// Bytes of a boundary: nobody guesses it, so it stands in no file.
const BOUNDARY_BYTES: usize = 16;

/// Has a sound written down, as its form asks.
///
/// # Errors
/// [`ChatError`]
pub async fn transcribe(
    app: &App,
    allowed: &Allowed<may::AiInvoke>,
    form: Vec<Part>,
) -> Result<Transcript, ChatError> {
    let boundary = format!("opg-{}", hex::encode(app.entropy.bytes::<BOUNDARY_BYTES>()));
    let request = TranscriptionRequest::from_form(form, boundary).map_err(ChatError::Request)?;
    let (provider, model) = super::resolve(app, allowed, &request.model).await?;
    let origin = super::origin(send::checked_user(request.user())?);
    Ok(gateway::once(app, allowed, (&provider, &model), &request, origin).await?)
}
