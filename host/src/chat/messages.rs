//! `/v1/messages`, `/v1/messages/count_tokens`: for clients of Anthropic's API.

use super::{
    answer::Answer,
    count,
    routes::{session_header, session_of},
    send::{self, Asked, ChatError},
    stream::{Encode, streamed},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, action::may},
    http::{Json, body},
    limits::CHAT_BYTES_MAX,
    models::{
        Event,
        anthropic::{
            events::{ErrorBody, EventEncoder, Head, MessageBuilder, PING},
            request::to_chat,
        },
    },
};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// Answers a request, whole or as a stream.
pub async fn create(
    State(app): State<App>,
    allowed: Allowed<may::ChatSend>,
    request: Request,
) -> ApiResult<Response> {
    let session = session_of(&request)?;
    let body = body::read_json(request, CHAT_BYTES_MAX).await?;
    if body.get("max_tokens").is_none_or(Value::is_null) {
        return Err(ApiError::bad_request("missing_required_parameter", "`max_tokens` is required."));
    }
    let body = to_chat(body).map_err(ChatError::Request)?;
    let (answer, asked) = send::send(&app, &allowed, session, body).await?;
    let headers = session_header(&answer);
    let head = head(&answer, &asked);
    if asked.stream {
        let request_id = allowed.caller().request_id.clone();
        Ok((headers, streamed(answer, Encoder { events: EventEncoder::new(head), request_id }))
            .into_response())
    } else {
        Ok((headers, whole(answer, head).await?).into_response())
    }
}

/// Counts what a model would read of a request.
pub async fn count_tokens(
    State(app): State<App>,
    allowed: Allowed<may::ChatSend>,
    request: Request,
) -> ApiResult<Json<Value>> {
    let body = to_chat(body::read_json(request, CHAT_BYTES_MAX).await?).map_err(ChatError::Request)?;
    Ok(Json(json!({ "input_tokens": count::count(&app, &allowed, body).await? })))
}

fn head(answer: &Answer, asked: &Asked) -> Head {
    Head {
        id: format!("msg_{}", answer.head.id.trim_start_matches(send::ID_PREFIX)),
        model: answer.head.model.clone(),
        input_tokens: asked.prompt_tokens,
    }
}

async fn whole(mut answer: Answer, head: Head) -> ApiResult<Json<Value>> {
    let mut builder = MessageBuilder::new(head);
    while let Some(event) = answer.next().await {
        builder.push(&event?);
    }
    let message = builder.message();
    message.map(Json).ok_or_else(|| ApiError::internal("an answer ended unfinished", "no finish event"))
}

struct Encoder {
    events: EventEncoder,
    request_id: String,
}

impl Encode for Encoder {
    const SILENCE: &'static str = PING;

    fn event(&mut self, event: &Event) -> String {
        self.events.event(event)
    }

    fn done(&mut self) -> String {
        self.events.done()
    }

    fn error(&mut self, error: &ApiError) -> String {
        let (status, code, message) = (error.status.as_u16(), error.code.as_str(), error.detail.as_str());
        self.events.error(&ErrorBody { status, code, message, request_id: &self.request_id })
    }
}
