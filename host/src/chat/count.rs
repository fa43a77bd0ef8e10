//! Counting what a model would read of a request, without asking it.

use super::send::{self, ChatError};
use crate::{
    app::App,
    grants::{Allowed, action::may},
    models::{ChatRequest, gateway, tokens},
    tenants::configure,
};
use serde_json::Value;

/// The tokens of a request: its provider's count, or our estimate where it does not count. The app's own tools
/// and instructions, which an agent adds, are not in it.
///
/// # Errors
/// [`ChatError`]
pub async fn count(app: &App, allowed: &Allowed<may::ChatSend>, mut body: Value) -> Result<u64, ChatError> {
    let tenant = configure::known(app, allowed).await?;
    let default = tenant.default_model.as_deref();
    send::fill_model(&mut body, default)?;
    let request = ChatRequest::from_value(body).map_err(ChatError::Request)?;
    let (provider, model) = send::full_id(app, allowed, &request.model, default).await?;
    let counted = gateway::count(app, allowed, (&provider, &model), &request).await?;
    Ok(counted.unwrap_or_else(|| tokens::in_request(&request)))
}
