//! A chat request that goes to its model as it is.

use crate::{
    app::App,
    chat::{
        answer::Answer,
        send::{self, Asked, ChatError},
    },
    grants::{Allowed, action::may},
    models::{ChatRequest, RequestError, gateway},
    tenants::configure,
};
use serde_json::Value;

/// Asks the model a request names. Returns once its first event is here.
///
/// # Errors
/// [`ChatError`]
pub async fn relay(
    app: &App,
    allowed: &Allowed<may::AiInvoke>,
    mut body: Value,
) -> Result<(Answer, Asked), ChatError> {
    let tenant = configure::known(app, allowed).await?;
    let default = tenant.default_model.as_deref();
    send::fill_model(&mut body, default)?;
    let request = ChatRequest::from_value(body).map_err(ChatError::Request)?;
    for (name, wanted) in [("agent", &request.agent), ("session_id", &request.session_id)] {
        if wanted.is_some() {
            return Err(ChatError::Request(no_turns(name)));
        }
    }
    let (provider, model) = send::full_id(app, allowed, &request.model, default).await?;
    let origin = super::origin(send::end_user(&request.rest)?);
    let reply = gateway::ask(app, allowed, (&provider, &model), &request, origin).await?;
    Ok((Answer::of_model(send::head(app, &provider, &model), reply), Asked::of(&request)))
}

/// The refusal of what only a turn has: an agent, or a session.
pub(super) fn no_turns(name: &str) -> RequestError {
    RequestError {
        message: format!(
            "`{name}` has no meaning here: a model answers by itself. Leave it out, or use /v1/chat/completions."
        ),
        param: Some(name.to_owned()),
        code: "unsupported_parameter",
    }
}
