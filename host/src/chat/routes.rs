//! `/v1/chat/completions`, `/v1/models`

use super::{
    answer::Answer,
    send::{self, ChatError},
};
use crate::{
    agents::{ChooseError, run::RunError},
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, action::may},
    http::{Json, Params, body},
    limits::CHAT_BYTES_MAX,
    models::{
        catalog,
        gateway::GatewayError,
        openai::chunks::{ChunkEncoder, CompletionBuilder, ErrorBody, KEEP_ALIVE, KEEP_ALIVE_AFTER_MS},
    },
};
use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{convert::Infallible, time::Duration};

const SESSION_ID: HeaderName = HeaderName::from_static("x-opg-session-id");

/// Answers a chat request, whole or as a stream.
pub async fn completions(
    State(app): State<App>,
    allowed: Allowed<may::ChatSend>,
    request: Request,
) -> ApiResult<Response> {
    let session = match request.headers().get(SESSION_ID) {
        None => None,
        Some(value) => Some(value.to_str().map_err(|_| ApiError::not_found("session"))?.to_owned()),
    };
    let body = body::read_json(request, CHAT_BYTES_MAX).await?;
    let (answer, asked) = send::send(&app, &allowed, session, body).await?;
    let headers = session_header(&answer);
    if asked.stream {
        Ok((headers, streamed(answer, asked.include_usage)).into_response())
    } else {
        Ok((headers, whole(answer).await?).into_response())
    }
}

fn session_header(answer: &Answer) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(id) = answer.session_id.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
        headers.insert(SESSION_ID, id);
    }
    headers
}

async fn whole(mut answer: Answer) -> ApiResult<Json<Value>> {
    let mut builder = CompletionBuilder::default();
    while let Some(event) = answer.next().await {
        builder.push(&event?);
    }
    let completion = builder.completion(&answer.head);
    completion.map(Json).ok_or_else(|| ApiError::internal("an answer ended unfinished", "no finish event"))
}

/// Server-sent events; the stream owns the answer, so a client that goes away ends it.
fn streamed(answer: Answer, include_usage: bool) -> Response {
    let encoder = ChunkEncoder::new(answer.head.clone(), include_usage);
    // None: the last frame was written.
    let going = Some(Box::new((answer, encoder)));
    let frames = stream::unfold(going, |going| async move {
        let mut going = going?;
        let (answer, encoder) = &mut *going;
        loop {
            let silence = tokio::time::sleep(Duration::from_millis(KEEP_ALIVE_AFTER_MS));
            let (frame, over) = tokio::select! {
                next = answer.next() => match next {
                    Some(Ok(event)) => (encoder.event(&event), false),
                    Some(Err(error)) => (encoder.error(&error_body(error)), true),
                    None => (encoder.done(), true),
                },
                () = silence => (KEEP_ALIVE.to_owned(), false),
            };
            // Not every event has a frame of its own.
            if over || !frame.is_empty() {
                return Some((Ok::<_, Infallible>(Bytes::from(frame)), (!over).then_some(going)));
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(frames)).into_response()
}

fn error_body(error: ChatError) -> ErrorBody {
    let error = ApiError::from(error);
    let object = &error.openai()["error"];
    let text = |name: &str| object[name].as_str().map(str::to_owned);
    ErrorBody {
        message: text("message").unwrap_or_default(),
        kind: text("type").unwrap_or_default(),
        param: text("param"),
        code: text("code"),
    }
}

/// Lists the models the app can name.
pub async fn list_models(
    State(app): State<App>,
    allowed: Allowed<may::ModelsRead>,
) -> ApiResult<Json<Value>> {
    Ok(Json(json!({ "object": "list", "data": catalog::list(&app, &allowed).await? })))
}

/// A model in a path; its id contains `/`.
#[derive(Deserialize)]
pub struct ModelPath {
    id: String,
}

/// Shows one model.
pub async fn get_model(
    State(app): State<App>,
    allowed: Allowed<may::ModelsRead>,
    Params(path): Params<ModelPath>,
) -> ApiResult<Json<catalog::Model>> {
    let models = catalog::list(&app, &allowed).await?;
    let found = models.into_iter().find(|model| model.id == path.id);
    found.map(Json).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, "model_not_found", format!("no such model: `{}`", path.id))
            .param("model")
    })
}

// === errors ===

impl From<ChatError> for ApiError {
    fn from(error: ChatError) -> ApiError {
        let text = error.to_string();
        match error {
            ChatError::Request(wrong) => {
                let mut error = ApiError::bad_request(wrong.code, wrong.message);
                error.param = wrong.param;
                error
            }
            ChatError::ToolNameConflict(_) => {
                ApiError::bad_request("tool_name_conflict", text).param("tools")
            }
            ChatError::NoModel => ApiError::bad_request("missing_model", text).param("model"),
            ChatError::Denied(denied) => denied.into(),
            ChatError::Session(error) => error.into(),
            ChatError::History(cause) => ApiError::internal("a session's messages cannot be read", cause),
            ChatError::Agent(ChooseError::NotFound(_)) => {
                ApiError::new(StatusCode::NOT_FOUND, "agent_not_found", text).param("agent")
            }
            ChatError::Agent(ChooseError::NoRunner) => ApiError::conflict("agent_unavailable", text),
            ChatError::Agent(ChooseError::Db(cause)) | ChatError::Db(cause) => cause.into(),
            ChatError::Run(error) => error.into(),
            ChatError::Gateway(error) => error.into(),
        }
    }
}

impl From<RunError> for ApiError {
    fn from(error: RunError) -> ApiError {
        let text = error.to_string();
        match error {
            RunError::Model(error) => error.into(),
            RunError::InvalidInput(_) => ApiError::bad_request("agent_refused_request", text),
            RunError::Failed(_) => ApiError::new(StatusCode::BAD_GATEWAY, "agent_failed", text),
            RunError::Trap(_) => ApiError::new(StatusCode::BAD_GATEWAY, "agent_trap", text),
            RunError::TimedOut => ApiError::new(StatusCode::GATEWAY_TIMEOUT, "agent_timeout", text),
            RunError::TooMany => ApiError::rate_limited("too_many_calls", text, 1),
            RunError::Busy => ApiError::unavailable(text),
            RunError::Code(cause) if cause.is_busy() => ApiError::unavailable(cause.to_string()),
            RunError::Code(cause) => ApiError::internal("an agent could not be loaded", cause),
            RunError::Db(cause) => cause.into(),
        }
    }
}

impl From<GatewayError> for ApiError {
    fn from(error: GatewayError) -> ApiError {
        let text = error.to_string();
        match error {
            GatewayError::UnknownModel(_) => {
                ApiError::new(StatusCode::NOT_FOUND, "model_not_found", text).param("model")
            }
            GatewayError::NotConfigured(_) => {
                ApiError::bad_request("provider_not_configured", text).param("model")
            }
            GatewayError::Sealed => ApiError::conflict("provider_key_sealed", text),
            GatewayError::Budget(error) => error.into(),
            GatewayError::Db(_) => {
                ApiError::unavailable("the database cannot be reached right now; try again")
            }
            GatewayError::Upstream(upstream) => {
                let status = StatusCode::from_u16(upstream.status).unwrap_or(StatusCode::BAD_GATEWAY);
                let mut error = ApiError::new(status, upstream.code.clone(), text);
                if let Some(seconds) = upstream.retry_after {
                    error.headers.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
                }
                if !upstream.should_retry() {
                    error
                        .headers
                        .push((HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false")));
                }
                error
            }
        }
    }
}
