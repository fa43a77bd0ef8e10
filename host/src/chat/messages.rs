//! Anthropic's messages, and counting what one would read.

use super::{
    answer::Answer,
    count,
    dialect::{Dialect, Gather},
    send::{self, Asked, ChatError},
    stream::Encode,
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
use axum::extract::{Request, State};
use serde_json::{Value, json};

/// The dialect of `/v1/messages`.
#[derive(Debug)]
pub struct Messages;

impl Dialect for Messages {
    type Streamed = Encoder;
    type Whole = MessageBuilder;

    fn read(body: Value) -> Result<(Value, Self), ApiError> {
        if body.get("max_tokens").is_none_or(Value::is_null) {
            return Err(ApiError::bad_request("missing_required_parameter", "`max_tokens` is required."));
        }
        Ok((to_chat(body).map_err(ChatError::Request)?, Self))
    }

    fn streamed(self, answer: &Answer, asked: &Asked, request_id: &str) -> Encoder {
        Encoder { events: EventEncoder::new(head(answer, asked)), request_id: request_id.to_owned() }
    }

    fn whole(self, answer: &Answer, asked: &Asked) -> MessageBuilder {
        MessageBuilder::new(head(answer, asked))
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

impl Gather for MessageBuilder {
    fn push(&mut self, event: &Event) {
        MessageBuilder::push(self, event);
    }

    fn whole(self) -> Option<Value> {
        self.message()
    }
}

/// Writes the events; its errors name the request.
#[derive(Debug)]
pub struct Encoder {
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
