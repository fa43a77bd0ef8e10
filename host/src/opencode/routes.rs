//! `/t/{app}/opencode/session`, `…/permission`

use super::{
    bodies::{
        self, CommandBody, CreateBody, ForkBody, PromptBody, ReplyBody, RespondBody, RevertBody,
        SummarizeBody, UpdateBody,
    },
    ids, messages,
    render::{REQUEST, SESSION},
    shape,
};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Acting, Allowed, InApp, action::may},
    http::{Json, NoContent, Params, extract::Queried, own_origin},
    limits::{PAGE_ROWS_MAX, PERMISSION_MESSAGE_BYTES_MAX, PERMISSIONS_LISTED_MAX, SESSION_MESSAGES_MAX},
    sessions::{
        SessionError, Status, branch,
        commands::routes as commands,
        context::summarize::SummarizeInput,
        log::{Item, Kind, Reader},
        manage::{self, ChangeInput, ManageError, NewInput},
        permissions::{
            Policy, Response as Said,
            answer::{self, Answer, AnswerError},
            store as permissions,
        },
        share::{self, ShareInput},
        store::{self, Shown},
        turns::{
            State as TurnState,
            prompt::{self, Accepted},
            store as turns,
        },
    },
};
use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chrono::DateTime;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, io, time::Duration};
use uuid::Uuid;

/// Sessions listed where a client does not say how many.
const SESSIONS_LISTED: i64 = 100;
/// How long the answer of a prompt waits for its events to arrive: a client reads them on another connection, and may
/// go away with the answer.
const AFTER_EVENTS: Duration = Duration::from_millis(100);

/// A session in a path.
#[derive(Deserialize)]
pub struct SessionPath {
    id: String,
}

impl SessionPath {
    /// What is no id names nothing.
    pub(super) fn session_id(&self) -> Result<Uuid, SessionError> {
        ids::parse_session(&self.id).ok_or(SessionError::NotFound)
    }
}

/// A message of a session in a path.
#[derive(Deserialize)]
pub struct MessagePath {
    id: String,
    message: String,
}

/// Something asked, in a path; of which session is not always said.
#[derive(Deserialize)]
pub struct PermissionPath {
    id: Option<String>,
    permission: String,
}

/// Which sessions.
#[derive(Deserialize)]
pub struct ListQuery {
    /// Those used since, in milliseconds.
    start: Option<f64>,
    /// Those with this in their title.
    search: Option<String>,
    /// Those below no other.
    roots: Option<String>,
    limit: Option<i64>,
}

/// Which messages.
#[derive(Deserialize)]
pub struct MessagesQuery {
    limit: Option<i64>,
    before: Option<String>,
}

/// The session, where its time is not over.
async fn find(app: &App, proof: &impl InApp, session_id: Uuid) -> Result<Shown, SessionError> {
    let mut tx = app.tenant_tx(proof).await?;
    let session = store::find(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    if session.expires_at <= app.now() { Err(SessionError::Expired) } else { Ok(session) }
}

/// A session with what it used.
async fn shown(app: &App, proof: &impl InApp, session: &Shown) -> ApiResult<Json<Value>> {
    let mut tx = app.tenant_tx(proof).await?;
    let used = store::used(&mut tx, session.session_id).await?;
    Ok(Json(shape::session(session, Some(&used.all))))
}

/// Lists sessions, the last used first.
pub async fn list(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Queried(query): Queried<ListQuery>,
) -> ApiResult<Json<Value>> {
    let limit = query.limit.unwrap_or(SESSIONS_LISTED).clamp(1, i64::from(PAGE_ROWS_MAX));
    let mut tx = app.tenant_tx(&allowed).await?;
    let mut sessions =
        store::list(&mut tx, store::Which::Roots, None, None, app.now(), i64::from(PAGE_ROWS_MAX)).await?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "milliseconds; what is larger is later than any session"
    )]
    let since = query.start.map(|ms| ms as i64).and_then(DateTime::from_timestamp_millis);
    let search = query.search.unwrap_or_default().to_lowercase();
    let roots = query.roots.is_some_and(|roots| roots == "true");
    sessions.retain(|session| {
        since.is_none_or(|since| session.last_accessed_at >= since)
            && session.title.to_lowercase().contains(&search)
            && !(roots && session.parent_id.is_some())
    });
    sessions.sort_by_key(|session| std::cmp::Reverse(session.last_accessed_at));
    sessions.truncate(usize::try_from(limit).unwrap_or_default());
    Ok(Json(sessions.iter().map(|session| shape::session(session, None)).collect()))
}

/// Which sessions run a turn.
pub async fn statuses(State(app): State<App>, allowed: Allowed<may::SessionsRead>) -> ApiResult<Json<Value>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let active = store::list(
        &mut tx,
        store::Which::All,
        Some(Status::Active),
        None,
        app.now(),
        i64::from(PAGE_ROWS_MAX),
    )
    .await?;
    let busy: Map<String, Value> =
        active.iter().map(|session| (ids::session(session.session_id), json!({ "type": "busy" }))).collect();
    Ok(Json(Value::Object(busy)))
}

/// Makes a session.
pub async fn create(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    request: Request,
) -> ApiResult<Json<Value>> {
    let body: CreateBody = bodies::read_or_default(request).await?;
    bodies::refuse(&[("parentID", &body.parent_id)])?;
    bodies::refuse(&[("metadata", &body.metadata)])?;
    let permissions =
        body.permission.map(|rules| bodies::with_rules(Policy::default(), rules)).transpose()?;
    let input = NewInput {
        title: body.title,
        agent: bodies::agent(body.agent),
        model: body.model.map(|model| model.name()),
        permissions,
        ..NewInput::default()
    };
    let session = manage::create(&app, &allowed, input).await?;
    Ok(Json(shape::session(&session, None)))
}

/// Shows a session.
pub async fn get(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Json<Value>> {
    let session = find(&app, &allowed, path.session_id()?).await?;
    shown(&app, &allowed, &session).await
}

/// Changes a session.
pub async fn update(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
    request: Request,
) -> ApiResult<Json<Value>> {
    let body: UpdateBody = bodies::read(request).await?;
    bodies::refuse(&[("time", &body.time), ("metadata", &body.metadata)])?;
    let session = find(&app, &allowed, path.session_id()?).await?;
    let permissions = match body.permission {
        Some(rules) => Some(bodies::with_rules(session.permissions.0, rules)?),
        None => None,
    };
    let input = ChangeInput { title: body.title, agent: None, model: None, permissions, compaction: None };
    let changed = manage::change(&app, &allowed, session.session_id, input).await?;
    shown(&app, &allowed, &changed).await
}

/// Deletes a session.
pub async fn delete(
    State(app): State<App>,
    allowed: Allowed<may::SessionsDelete>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Json<bool>> {
    manage::delete(&app, &allowed, path.session_id()?).await?;
    Ok(Json(true))
}

/// Lists the sessions below one.
pub async fn children(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Json<Value>> {
    let session = find(&app, &allowed, path.session_id()?).await?;
    let mut tx = app.tenant_tx(&allowed).await?;
    let children = store::children(&mut tx, session.session_id, i64::from(PAGE_ROWS_MAX)).await?;
    Ok(Json(children.iter().map(|session| shape::session(session, None)).collect()))
}

/// Lists what a session has none of: todos.
pub async fn none_of(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Json<Value>> {
    find(&app, &allowed, path.session_id()?).await?;
    Ok(Json(json!([])))
}

/// Stops what runs; where nothing does, all is well.
pub async fn abort(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Json<bool>> {
    match manage::abort(&app, &allowed, path.session_id()?).await {
        Ok(_) | Err(ManageError::NothingRuns) => Ok(Json(true)),
        Err(error) => Err(error.into()),
    }
}

/// Makes a session that begins with messages of this one.
pub async fn fork(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
    request: Request,
) -> ApiResult<Json<Value>> {
    let body: ForkBody = bodies::read_or_default(request).await?;
    let before = bodies::message_id(body.message_id.as_deref())?;
    let forked = branch::fork(&app, &allowed, path.session_id()?, before).await?;
    Ok(Json(shape::session(&forked.session, None)))
}

/// Takes messages back.
pub async fn revert(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
    request: Request,
) -> ApiResult<Json<Value>> {
    let body: RevertBody = bodies::read(request).await?;
    bodies::refuse(&[("partID", &body.part_id)])?;
    let session_id = path.session_id()?;
    let message_id = ids::parse_message(&body.message_id).ok_or(ManageError::NoMessage)?;
    let reverted = branch::revert(&app, &allowed, session_id, message_id).await;
    shown(&app, &allowed, &reverted.map_err(|error| or_busy(error, &path.id))?).await
}

/// Brings back what was taken back.
pub async fn unrevert(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Json<Value>> {
    let back = branch::unrevert(&app, &allowed, path.session_id()?).await;
    shown(&app, &allowed, &back.map_err(|error| or_busy(error, &path.id))?).await
}

/// Makes a link that shows the conversation. It is in this answer alone.
pub async fn share(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
    headers: HeaderMap,
) -> ApiResult<Json<Value>> {
    let session_id = path.session_id()?;
    let link = share::share(&app, &allowed, session_id, &ShareInput::default()).await?;
    let session = find(&app, &allowed, session_id).await?;
    let mut shown = shape::session(&session, None);
    shown["share"] = json!({ "url": link.url(&own_origin(&app, &headers)) });
    Ok(Json(shown))
}

/// Ends the link.
pub async fn unshare(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Json<Value>> {
    let session_id = path.session_id()?;
    share::unshare(&app, &allowed, session_id).await?;
    shown(&app, &allowed, &find(&app, &allowed, session_id).await?).await
}

/// The error, with the session's id where it says that a turn runs.
fn or_busy(error: ManageError, id: &str) -> ApiError {
    let busy = matches!(error, ManageError::Session(SessionError::Busy));
    let error = ApiError::from(error);
    if busy { error.with(SESSION, json!(id)) } else { error }
}

// === messages ===

/// Lists messages, the oldest first: the last of them, or those before a place.
pub async fn list_messages(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
    Queried(query): Queried<MessagesQuery>,
) -> ApiResult<Response> {
    let before = match &query.before {
        Some(text) => Some(text.parse::<i32>().map_err(|_| {
            ApiError::bad_request("bad_cursor", "`before` is the `x-next-cursor` of the page after it")
        })?),
        None => None,
    };
    let limit = query.limit.filter(|limit| *limit > 0).unwrap_or(SESSION_MESSAGES_MAX);
    let session = find(&app, &allowed, path.session_id()?).await?;
    let (shown, earlier) =
        messages::page(&app, &allowed, &session, before, limit.min(SESSION_MESSAGES_MAX)).await?;
    let mut response = Json(shown).into_response();
    if let Some(seq) = earlier {
        response.headers_mut().insert(HeaderName::from_static("x-next-cursor"), HeaderValue::from(seq));
    }
    Ok(response)
}

/// Shows a message.
pub async fn get_message(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<MessagePath>,
) -> ApiResult<Json<Value>> {
    let session_id = ids::parse_session(&path.id).ok_or(SessionError::NotFound)?;
    let session = find(&app, &allowed, session_id).await?;
    let message_id = ids::parse_message(&path.message).ok_or(ManageError::NoMessage)?;
    let found = messages::one(&app, &allowed, &session, message_id).await?;
    Ok(Json(found.ok_or(ManageError::NoMessage)?))
}

/// Takes a prompt, and answers when its turn has ended. A client that goes away stops nothing.
pub async fn prompt(
    State(app): State<App>,
    allowed: Allowed<may::SessionsPrompt>,
    Params(path): Params<SessionPath>,
    request: Request,
) -> ApiResult<Response> {
    let body = bodies::read(request).await?;
    let session = find(&app, &allowed, path.session_id()?).await?;
    let taken = take(&app, &allowed, &session, body).await?;
    wait(&app, &allowed, session, taken).await
}

/// Takes a prompt, and answers at once.
pub async fn prompt_async(
    State(app): State<App>,
    allowed: Allowed<may::SessionsPrompt>,
    Params(path): Params<SessionPath>,
    request: Request,
) -> ApiResult<NoContent> {
    let body = bodies::read(request).await?;
    let session = find(&app, &allowed, path.session_id()?).await?;
    take(&app, &allowed, &session, body).await?;
    Ok(NoContent)
}

/// Prompts a session with a command, and answers when its turn has ended.
pub async fn command(
    State(app): State<App>,
    allowed: Allowed<may::SessionsPrompt>,
    Params(path): Params<SessionPath>,
    request: Request,
) -> ApiResult<Response> {
    let body: CommandBody = bodies::read(request).await?;
    if !body.parts.is_empty() {
        return Err(bodies::has_none("`parts` of a command"));
    }
    let session = find(&app, &allowed, path.session_id()?).await?;
    let input = commands::CallInput {
        command: body.command,
        arguments: body.arguments,
        message_id: bodies::message_id(body.message_id.as_deref())?,
        agent: bodies::agent(body.agent),
        model: body.model,
        when_busy: prompt::WhenBusy::Queue,
    };
    let taken = commands::send(&app, &allowed, session.session_id, input).await?;
    wait(&app, &allowed, session, taken).await
}

/// Sums a session up, and answers when that has been done, or could not be.
pub async fn summarize(
    State(app): State<App>,
    allowed: Allowed<may::SessionsPrompt>,
    Params(path): Params<SessionPath>,
    request: Request,
) -> ApiResult<Response> {
    let body: SummarizeBody = bodies::read(request).await?;
    let session = find(&app, &allowed, path.session_id()?).await?;
    let input = SummarizeInput { model: Some(body.model()) };
    let taken = prompt::summarize(&app, &allowed, session.session_id, input).await?;
    waiting(&app, &allowed, session, taken, true).await
}

async fn take(
    app: &App,
    allowed: &Allowed<may::SessionsPrompt>,
    session: &Shown,
    body: PromptBody,
) -> ApiResult<Accepted> {
    let tools = Some(&body.tools).filter(|tools| !tools.is_empty());
    let permissions = tools.map(|tools| bodies::with_tools(session.permissions.0.clone(), tools));
    Ok(prompt::prompt(app, allowed, session.session_id, body.into_prompt(permissions)?).await?)
}

/// The answer of a turn as a body that is there once it has ended. Until then it says nothing but that it is alive.
async fn wait(
    app: &App,
    allowed: &Allowed<may::SessionsPrompt>,
    session: Shown,
    taken: Accepted,
) -> ApiResult<Response> {
    waiting(app, allowed, session, taken, false).await
}

async fn waiting(
    app: &App,
    allowed: &Allowed<may::SessionsPrompt>,
    session: Shown,
    taken: Accepted,
    summary: bool,
) -> ApiResult<Response> {
    let (app, acting) = (app.clone(), Acting::of(allowed));
    let reader = Reader::open(&app, &acting, session.session_id, taken.cursor).await?;
    let (turn_id, is_new) = (taken.turn_id, taken.cursor.is_some());
    let waiting = Waiting { app, acting, session, turn_id, reader, is_new, summary };
    let body = stream::unfold(Some(waiting), |waiting| async move {
        let mut waiting = waiting?;
        match waiting.step().await {
            Step::Alive => Some((Ok(Bytes::from_static(b"\n")), Some(waiting))),
            Step::Answer(answer) => Some((Ok(Bytes::from(answer.to_string())), None)),
            // The status has gone out long ago: what is left is to break off.
            Step::Lost(why) => Some((Err(io::Error::other(why)), None)),
        }
    });
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((headers, Body::from_stream(body)).into_response())
}

struct Waiting {
    app: App,
    acting: Acting,
    session: Shown,
    turn_id: Uuid,
    reader: Reader,
    /// Whether its end is still to come, for sure.
    is_new: bool,
    /// Whether it sums the session up: then the answer is whether it did.
    summary: bool,
}

/// What a body that waits comes to next.
enum Step {
    Alive,
    Answer(Value),
    /// There will be no answer, and why.
    Lost(String),
}

impl Waiting {
    async fn step(&mut self) -> Step {
        if !self.is_new && self.has_ended().await {
            return self.answer().await;
        }
        self.is_new = true;
        loop {
            match self.reader.next().await {
                Some(Item::Event(event)) => {
                    if event.turn_id == Some(self.turn_id) && event.kind == Kind::TurnEnded.name() {
                        tokio::time::sleep(AFTER_EVENTS).await;
                        return self.answer().await;
                    }
                }
                Some(Item::Heartbeat) => return Step::Alive,
                Some(Item::Reset(_)) => {
                    if self.has_ended().await {
                        return self.answer().await;
                    }
                }
                Some(Item::End(end)) => return Step::Lost(format!("the log ended: {}", end.name())),
                None => return Step::Lost("the log ended".to_owned()),
            }
        }
    }

    async fn told(&self) -> sqlx::Result<Vec<turns::Told>> {
        let mut tx = self.app.tenant_tx(&self.acting).await?;
        turns::told(&mut tx, self.session.session_id, &[self.turn_id]).await
    }

    async fn has_ended(&self) -> bool {
        let open = [TurnState::Queued, TurnState::Running].map(TurnState::name);
        self.told().await.is_ok_and(|turns| turns.iter().all(|turn| !open.contains(&turn.state.as_str())))
    }

    async fn answer(&self) -> Step {
        if self.summary {
            let done =
                |turns: Vec<turns::Told>| turns.iter().any(|turn| turn.state == TurnState::Done.name());
            return Step::Answer(json!(self.told().await.is_ok_and(done)));
        }
        match messages::answer(&self.app, &self.acting, &self.session, self.turn_id).await {
            Ok(Some(answer)) => Step::Answer(answer),
            Ok(None) => Step::Lost("the turn is gone".to_owned()),
            Err(error) => Step::Lost(error.detail.clone()),
        }
    }
}

// === permissions ===

/// Lists what is asked in all sessions.
pub async fn list_permissions(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
) -> ApiResult<Json<Value>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let open = permissions::open_of_all(&mut tx, PERMISSIONS_LISTED_MAX).await?;
    let shown = open.iter().map(|asked| {
        shape::permission((asked.session_id, asked.permission_id), &asked.tool, &asked.input, None)
    });
    Ok(Json(shown.collect()))
}

/// Answers what is asked, in whichever session.
pub async fn reply(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<PermissionPath>,
    request: Request,
) -> ApiResult<Json<bool>> {
    let body: ReplyBody = bodies::read(request).await?;
    let permission_id = ids::parse_permission(&path.permission).ok_or_else(|| not_asked(&path))?;
    let session_id = {
        let mut tx = app.tenant_tx(&allowed).await?;
        permissions::session_of(&mut tx, permission_id).await?.ok_or_else(|| not_asked(&path))?
    };
    say(&app, &allowed, (session_id, permission_id), (body.reply, body.message), &path).await
}

/// Answers what is asked in a session.
pub async fn respond(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<PermissionPath>,
    request: Request,
) -> ApiResult<Json<bool>> {
    let body: RespondBody = bodies::read(request).await?;
    let session_id = path.id.as_deref().and_then(ids::parse_session).ok_or(SessionError::NotFound)?;
    let permission_id = ids::parse_permission(&path.permission).ok_or_else(|| not_asked(&path))?;
    say(&app, &allowed, (session_id, permission_id), (body.response, None), &path).await
}

async fn say(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    which: (Uuid, Uuid),
    (response, message): (Said, Option<String>),
    path: &PermissionPath,
) -> ApiResult<Json<bool>> {
    if message.as_ref().is_some_and(|text| text.len() > PERMISSION_MESSAGE_BYTES_MAX) {
        let message = format!("{PERMISSION_MESSAGE_BYTES_MAX} bytes at the most");
        return Err(ApiError::invalid(vec![crate::error::FieldError::new("/message", message)]));
    }
    match answer::answer(app, allowed, which, Answer { response, message, pattern: BTreeMap::new() }).await {
        Ok(()) => Ok(Json(true)),
        Err(AnswerError::NotFound | AnswerError::Resolved(_)) => Err(not_asked(path)),
        Err(error) => Err(error.into()),
    }
}

fn not_asked(path: &PermissionPath) -> ApiError {
    ApiError::not_found("permission request").with(REQUEST, json!(path.permission))
}
