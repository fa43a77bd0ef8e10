//! `/v1/sessions`

use super::{
    SessionError, Status, branch,
    context::summarize::SummarizeInput,
    log::{Event, Feed, FeedError, Reader, TooManyReaders, read::HEARTBEAT_EVERY, store as log_store},
    manage::{self, ChangeInput, ManageError, NewInput},
    messages,
    permissions::{
        Response as Said,
        answer::{self, Answer, AnswerError},
        store as permissions,
    },
    store::{self, Which},
    stream,
    turns::{
        prompt::{self, PromptError, PromptInput},
        store as turns,
    },
};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, InApp, action::may},
    http::{Json, NoContent, Page, Params, body, extract::Queried, rate_limit},
    limits::{CHAT_BYTES_MAX, PERMISSION_MESSAGE_BYTES_MAX, PERMISSIONS_LISTED_MAX},
    serve::Slot,
};
use axum::{
    Extension,
    extract::{
        Request, State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
};
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A session in a path.
#[derive(Deserialize)]
pub struct SessionPath {
    id: String,
}

impl SessionPath {
    /// What is no id names nothing.
    pub(crate) fn session_id(&self) -> Result<Uuid, SessionError> {
        Uuid::parse_str(&self.id).map_err(|_| SessionError::NotFound)
    }
}

/// Something asked in a session, in a path.
#[derive(Deserialize)]
pub struct PermissionPath {
    id: String,
    permission: String,
}

/// Which sessions.
#[derive(Deserialize)]
pub struct ListQuery {
    status: Option<String>,
    parent: Option<String>,
    roots: Option<String>,
}

/// From where on.
#[derive(Deserialize)]
pub struct StreamQuery {
    cursor: Option<String>,
    format: Option<String>,
}

/// From which message on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevertInput {
    /// The first that is taken back.
    message_id: Uuid,
}

/// How much of a session another begins with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkInput {
    /// The first message that it does not begin with; all, unless given.
    message_id: Option<Uuid>,
}

/// An answer, as it is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerInput {
    /// What is said.
    response: Said,
    /// Why, for the agent to read.
    message: Option<String>,
    /// With `always`: for which inputs; all, unless given.
    #[serde(default)]
    pattern: BTreeMap<String, String>,
}

/// Makes a session (row M263).
pub async fn create(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Json(input): Json<NewInput>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let session = manage::create(&app, &allowed, input).await?;
    let mut shown = json!(session);
    shown["stream"] = json!(format!("/v1/sessions/{}/stream", session.session_id));
    Ok((StatusCode::CREATED, Json(shown)))
}

/// Lists sessions, the newest first (row M264).
pub async fn list(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Queried(query): Queried<ListQuery>,
    page: Page,
) -> ApiResult<Json<Value>> {
    let unknown = || {
        let names: Vec<_> = Status::ALL.iter().map(|status| format!("`{}`", status.name())).collect();
        ApiError::bad_request("bad_status", format!("`status` is one of {}", names.join(", ")))
    };
    let status = query.status.map(|name| Status::parse(&name).ok_or_else(unknown)).transpose()?;
    let which = which(query.parent.as_deref(), query.roots.as_deref())?;
    let before = page.after::<Uuid>()?;
    let mut tx = app.tenant_tx(&allowed).await?;
    let rows = store::list(&mut tx, which, status, before, app.now(), page.fetch()).await?;
    Ok(Json(json!(page.of(rows, |row| row.session_id.to_string()))))
}

/// Which sessions a list is asked for.
fn which(parent: Option<&str>, roots: Option<&str>) -> ApiResult<Which> {
    let below = |id: &str| {
        Uuid::parse_str(id)
            .map(Which::Below)
            .map_err(|_| ApiError::bad_request("bad_parent", "`parent` is the id of a session"))
    };
    match (parent, roots) {
        (Some(parent), _) => below(parent),
        (None, None | Some("true")) => Ok(Which::Roots),
        (None, Some("false")) => Ok(Which::All),
        (None, Some(_)) => Err(ApiError::bad_request("bad_roots", "`roots` is `true` or `false`")),
    }
}

/// Lists the sessions directly below one, the newest first (row M330).
pub async fn children(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
    page: Page,
) -> ApiResult<Json<Value>> {
    let session_id = path.session_id()?;
    let before = page.after::<Uuid>()?;
    let mut tx = app.tenant_tx(&allowed).await?;
    readable(&app, &mut tx, session_id).await?;
    let below = Which::Below(session_id);
    let rows = store::list(&mut tx, below, None, before, app.now(), page.fetch()).await?;
    Ok(Json(json!(page.of(rows, |row| row.session_id.to_string()))))
}

/// Sums the conversation up (row M288).
pub async fn summarize(
    State(app): State<App>,
    allowed: Allowed<may::SessionsPrompt>,
    Params(path): Params<SessionPath>,
    Json(input): Json<SummarizeInput>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let taken = prompt::summarize(&app, &allowed, path.session_id()?, input).await?;
    Ok((StatusCode::ACCEPTED, Json(json!(taken))))
}

/// Shows a session (row M265).
pub async fn get(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Json<Value>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    Ok(Json(shown(&app, &mut tx, path.session_id()?).await?))
}

/// A session with what it runs on and what it used.
async fn shown(
    app: &App,
    tx: &mut crate::tenants::TenantTx,
    session_id: Uuid,
) -> Result<Value, SessionError> {
    let session = readable(app, tx, session_id).await?;
    let mut shown = json!(session);
    shown["instance"] = json!(super::instances::store::last(tx.conn(), session_id).await?);
    shown["usage"] = json!(store::used(tx, session_id).await?);
    Ok(shown)
}

/// The session, where its time is not over.
pub(crate) async fn readable(
    app: &App,
    tx: &mut crate::tenants::TenantTx,
    session_id: Uuid,
) -> Result<store::Shown, SessionError> {
    let session = store::find(tx, session_id).await?.ok_or(SessionError::NotFound)?;
    if session.expires_at <= app.now() { Err(SessionError::Expired) } else { Ok(session) }
}

/// Changes a session (row M266).
pub async fn patch(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
    Json(input): Json<ChangeInput>,
) -> ApiResult<Json<Value>> {
    Ok(Json(json!(manage::change(&app, &allowed, path.session_id()?, input).await?)))
}

/// Deletes a session and all that belongs to it (row M269).
pub async fn delete(
    State(app): State<App>,
    allowed: Allowed<may::SessionsDelete>,
    Params(path): Params<SessionPath>,
) -> ApiResult<NoContent> {
    manage::delete(&app, &allowed, path.session_id()?).await?;
    Ok(NoContent)
}

/// Wakes a session (row M267).
pub async fn resume(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let (woken, session) = manage::resume(&app, &allowed, path.session_id()?).await?;
    Ok((if woken { StatusCode::ACCEPTED } else { StatusCode::OK }, Json(json!(session))))
}

/// Stops a session (row M268).
pub async fn stop(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Json<Value>> {
    Ok(Json(json!(manage::stop(&app, &allowed, path.session_id()?).await?)))
}

/// Stops the turn that runs (row M268).
pub async fn abort(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Json<Value>> {
    let turn_id = manage::abort(&app, &allowed, path.session_id()?).await?;
    Ok(Json(json!({ "turn_id": turn_id })))
}

/// Takes a prompt (row M272).
pub async fn prompt(
    State(app): State<App>,
    allowed: Allowed<may::SessionsPrompt>,
    Params(path): Params<SessionPath>,
    request: Request,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let input: PromptInput = body::fit(body::read_json(request, CHAT_BYTES_MAX).await?)?;
    let taken = prompt::prompt(&app, &allowed, path.session_id()?, input).await?;
    Ok((StatusCode::ACCEPTED, Json(json!(taken))))
}

/// Takes messages back (row M287).
pub async fn revert(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
    Json(input): Json<RevertInput>,
) -> ApiResult<Json<Value>> {
    Ok(Json(json!(branch::revert(&app, &allowed, path.session_id()?, input.message_id).await?)))
}

/// Brings back what was taken back (row M287).
pub async fn unrevert(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Json<Value>> {
    Ok(Json(json!(branch::unrevert(&app, &allowed, path.session_id()?).await?)))
}

/// Makes a session that begins with the messages of this one (row M288).
pub async fn fork(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
    Json(input): Json<ForkInput>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let forked = branch::fork(&app, &allowed, path.session_id()?, input.message_id).await?;
    Ok((StatusCode::CREATED, Json(json!(forked))))
}

/// Streams what happens (row M270), as a WebSocket where the client asks for one.
pub async fn stream(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
    Queried(query): Queried<StreamQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    slot: Option<Extension<Slot>>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let session_id = path.session_id()?;
    let as_ag_ui = match query.format.as_deref() {
        None | Some("opg") => false,
        Some("ag-ui") if upgrade.is_err() => true,
        Some(_) => {
            let text = "`format` is `opg`, or `ag-ui`, which comes as server-sent events alone";
            return Err(ApiError::bad_request("bad_format", text));
        }
    };
    // A browser that comes back sends the header beside the query it began with.
    let sent = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let cursor = sent.or(query.cursor).map(|text| cursor(&text)).transpose()?;
    let session = {
        let mut tx = app.tenant_tx(&allowed).await?;
        json!(readable(&app, &mut tx, session_id).await?)
    };
    let place = app.readers.enter(allowed.app().app_id, Some(session_id))?;
    let reader = Reader::open(&app, &allowed, session_id, cursor).await?.in_place(place);
    if as_ag_ui {
        return Ok(stream::ag_ui(reader));
    }
    Ok(match upgrade {
        Ok(upgrade) => stream::websocket(&app, &session, reader, upgrade, slot.map(|Extension(slot)| slot)),
        Err(_) => stream::sse(&session, reader),
    })
}

/// Streams what happens in all of the caller's sessions, from now on.
pub async fn events(State(app): State<App>, allowed: Allowed<may::SessionsRead>) -> ApiResult<Response> {
    Ok(stream::sse_of_all(Feed::open(&app, &allowed, HEARTBEAT_EVERY).await?))
}

fn cursor(text: &str) -> ApiResult<i64> {
    text.parse().ok().filter(|seq| *seq >= 0).ok_or_else(|| {
        ApiError::bad_request(
            "bad_cursor",
            "`cursor` (or `Last-Event-ID`) is the number of the last event you have; 0 for all there are",
        )
    })
}

/// Lists messages, the oldest first, and the ones that wait (row M271).
pub async fn list_messages(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
    page: Page,
) -> ApiResult<Json<Value>> {
    let session_id = path.session_id()?;
    let after = page.after::<i32>()?.unwrap_or_default();
    let mut tx = app.tenant_tx(&allowed).await?;
    readable(&app, &mut tx, session_id).await?;
    let rows = messages::list(&mut tx, session_id, after, page.fetch()).await?;
    let paged = page.of(rows, |(seq, _)| seq.to_string());
    let mut shown = json!({ "next_cursor": paged.next_cursor, "has_more": paged.has_more });
    shown["data"] = paged.data.into_iter().map(|(_, view)| json!(view)).collect();
    shown["queued"] = json!(turns::shown_waiting(tx.conn(), session_id).await?);
    Ok(Json(shown))
}

/// Lists events of the log, the oldest first (row M289).
pub async fn timeline(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
    page: Page,
) -> ApiResult<Json<Value>> {
    let session_id = path.session_id()?;
    let after = page.after::<i64>()?.unwrap_or_default();
    let mut tx = app.tenant_tx(&allowed).await?;
    readable(&app, &mut tx, session_id).await?;
    let rows: Vec<Event> = log_store::after(&mut tx, session_id, after, page.fetch()).await?;
    Ok(Json(json!(page.of(rows, |event| event.seq.to_string()))))
}

/// What it used (row M289).
pub async fn usage(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Json<Value>> {
    let session_id = path.session_id()?;
    let mut tx = app.tenant_tx(&allowed).await?;
    readable(&app, &mut tx, session_id).await?;
    Ok(Json(json!(store::used(&mut tx, session_id).await?)))
}

/// Lists what is asked and not answered, in it and the sessions below it (row M275).
pub async fn list_permissions(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Json<Value>> {
    let session_id = path.session_id()?;
    let mut tx = app.tenant_tx(&allowed).await?;
    readable(&app, &mut tx, session_id).await?;
    let open = permissions::open(&mut tx, session_id, PERMISSIONS_LISTED_MAX).await?;
    Ok(Json(json!({ "data": open })))
}

/// Answers what is asked (row M276).
pub async fn answer_permission(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<PermissionPath>,
    Json(input): Json<AnswerInput>,
) -> ApiResult<NoContent> {
    if input.message.as_ref().is_some_and(|text| text.len() > PERMISSION_MESSAGE_BYTES_MAX) {
        let message = format!("{PERMISSION_MESSAGE_BYTES_MAX} bytes at the most");
        return Err(ApiError::invalid(vec![crate::error::FieldError::new("/message", message)]));
    }
    let session_id = Uuid::parse_str(&path.id).map_err(|_| SessionError::NotFound)?;
    let permission_id = Uuid::parse_str(&path.permission).map_err(|_| AnswerError::NotFound)?;
    let AnswerInput { response, message, pattern } = input;
    answer::answer(&app, &allowed, (session_id, permission_id), Answer { response, message, pattern })
        .await?;
    Ok(NoContent)
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> ApiError {
        let text = error.to_string();
        match error {
            SessionError::NotFound => ApiError::not_found("session"),
            SessionError::Expired => ApiError::new(StatusCode::GONE, "session_expired", text),
            SessionError::Busy => ApiError::conflict("session_busy", text),
            SessionError::Full => ApiError::conflict("session_full", text),
            SessionError::Db(cause) => cause.into(),
        }
    }
}

impl From<PromptError> for ApiError {
    fn from(error: PromptError) -> ApiError {
        let text = error.to_string();
        match error {
            PromptError::Invalid(fields) => ApiError::invalid(fields),
            PromptError::Session(error) => error.into(),
            PromptError::Busy => ApiError::conflict("session_busy", text),
            PromptError::MessageTaken => ApiError::conflict("message_id_taken", text),
            PromptError::NothingNew => ApiError::conflict("nothing_to_summarize", text),
            PromptError::TooMany => ApiError::rate_limited("too_many_turns", text, 1),
            PromptError::TooOften(wait) => rate_limit::too_many_prompts(text, wait),
            PromptError::Chat(error) => error.into(),
        }
    }
}

impl From<FeedError> for ApiError {
    fn from(error: FeedError) -> ApiError {
        match error {
            FeedError::TooMany(error) => error.into(),
            FeedError::Db(cause) => cause.into(),
        }
    }
}

impl From<TooManyReaders> for ApiError {
    fn from(error: TooManyReaders) -> ApiError {
        /// Others go on reading for long: a reader that comes back soon finds no place either.
        const RETRY_AFTER_SECONDS: u64 = 10;
        ApiError::rate_limited("too_many_readers", error.to_string(), RETRY_AFTER_SECONDS)
            .with("limit", json!(error.limit()))
    }
}

impl From<ManageError> for ApiError {
    fn from(error: ManageError) -> ApiError {
        let text = error.to_string();
        match error {
            ManageError::Invalid(fields) => ApiError::invalid(fields),
            ManageError::Session(error) => error.into(),
            ManageError::Chat(error) => error.into(),
            ManageError::TooMany => ApiError::rate_limited("too_many_sessions", text, 60),
            ManageError::NothingRuns => ApiError::conflict("nothing_runs", text),
            ManageError::NoMessage => ApiError::not_found("message"),
            ManageError::Workspace(error) => error.into(),
            ManageError::OfARequest => ApiError::conflict("session_busy", text),
        }
    }
}

impl From<AnswerError> for ApiError {
    fn from(error: AnswerError) -> ApiError {
        let text = error.to_string();
        match error {
            AnswerError::NotFound => ApiError::not_found("permission"),
            AnswerError::Resolved(_) => ApiError::conflict("already_resolved", text),
            AnswerError::Invalid(fields) => ApiError::invalid(fields),
            AnswerError::TooManyRules => ApiError::conflict("too_many_rules", text),
            AnswerError::Db(cause) => cause.into(),
        }
    }
}
