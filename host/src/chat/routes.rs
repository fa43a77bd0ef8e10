//! `/v1/chat/completions`, `/v1/messages`, `/v1/responses`, `/v1/embeddings`, `/v1/models`

use super::{
    answer::Answer,
    dialect::{Dialect, Gather},
    embed,
    send::{self, Asked, ChatError},
    stream::streamed,
};
use crate::{
    agents::{ChooseError, run::RunError},
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, Caller, action::may},
    http::{Json, Params, body},
    limits::CHAT_BYTES_MAX,
    models::{catalog, gateway::GatewayError},
};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

/// Every client of Anthropic's API sends it, and no other.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const SESSION_ID: HeaderName = HeaderName::from_static("x-opg-session-id");

/// Answers a chat request in the dialect it came in, whole or as a stream.
pub async fn create<D: Dialect>(
    State(app): State<App>,
    allowed: Allowed<may::ChatSend>,
    request: Request,
) -> ApiResult<Response> {
    let session = session_of(&request)?;
    let (body, dialect) = D::read(body::read_json(request, CHAT_BYTES_MAX).await?)?;
    let (answer, asked) = Box::pin(send::send(&app, &allowed, session, body)).await?;
    respond(answer, asked, dialect, allowed.caller()).await
}

/// Writes an answer as it was asked for.
pub(crate) async fn respond<D: Dialect>(
    answer: Answer,
    asked: Asked,
    dialect: D,
    caller: &Caller,
) -> ApiResult<Response> {
    let headers = session_header(&answer);
    if asked.stream {
        let encoder = dialect.streamed(&answer, &asked, &caller.request_id);
        return Ok((headers, streamed(answer, encoder)).into_response());
    }
    let gathering = dialect.whole(&answer, &asked);
    Ok((headers, Json(whole(answer, gathering).await?)).into_response())
}

async fn whole(mut answer: Answer, mut gathering: impl Gather) -> ApiResult<Value> {
    while let Some(event) = answer.next().await {
        gathering.push(&event?);
    }
    gathering.whole().ok_or_else(|| ApiError::internal("an answer ended unfinished", "no finish event"))
}

/// Turns texts into vectors.
pub async fn embed(
    State(app): State<App>,
    allowed: Allowed<may::ChatSend>,
    request: Request,
) -> ApiResult<Json<Value>> {
    let body = body::read_json(request, CHAT_BYTES_MAX).await?;
    Ok(Json(embed::embed(&app, &allowed, body).await?))
}

/// The session the header names.
pub(crate) fn session_of(request: &Request) -> ApiResult<Option<String>> {
    match request.headers().get(SESSION_ID) {
        None => Ok(None),
        Some(value) => Ok(Some(value.to_str().map_err(|_| ApiError::not_found("session"))?.to_owned())),
    }
}

fn session_header(answer: &Answer) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(id) = answer.session_id.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
        headers.insert(SESSION_ID, id);
    }
    headers
}

/// Lists the models the app can name, as the client's API lists them.
pub async fn list_models(
    State(app): State<App>,
    allowed: Allowed<may::ModelsRead>,
    headers: HeaderMap,
) -> ApiResult<Json<Value>> {
    let models = catalog::list(&app, &allowed).await?;
    Ok(Json(if headers.contains_key(ANTHROPIC_VERSION) {
        anthropic_list(&models)
    } else {
        json!({ "object": "list", "data": models })
    }))
}

/// The list as Anthropic gives it, whole in one page.
fn anthropic_list(models: &[catalog::Model]) -> Value {
    let time = |seconds: i64| chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let model = |model: &catalog::Model| {
        json!({ "type": "model", "id": model.id, "display_name": model.id,
            "created_at": time(model.created).to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            "max_input_tokens": model.context, "max_tokens": model.output })
    };
    let id = |model: Option<&catalog::Model>| model.map(|model| model.id.clone());
    json!({
        "data": models.iter().map(model).collect::<Vec<_>>(),
        "has_more": false,
        "first_id": id(models.first()),
        "last_id": id(models.last()),
    })
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
            RunError::NotReady(_) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", text),
            RunError::Lost => ApiError::new(StatusCode::BAD_GATEWAY, "runner_lost", text),
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
                error.param.clone_from(&upstream.param);
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
