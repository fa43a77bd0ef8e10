//! `/v1/sessions/{id}/files`, `…/file`, `…/find`, `…/diff`

use super::{
    By, Change, How, Path, WorkspaceError,
    archive::Archive,
    diff,
    push::{self, PushError, PushInput},
    reach,
    search::{self, Pattern},
    space::{Precondition, Staged, next_piece},
    store,
    unpack::{Incoming, UnpackError},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, InApp, action::may, audit},
    http::{Json, NoContent, Page, Params, extract::Queried},
    limits::{
        BODY_TIME_MAX, WORKSPACE_BYTES_MAX, WORKSPACE_CHANGES_TOLD_MAX, WORKSPACE_FILE_BYTES_MAX,
        WORKSPACE_MATCHES_MAX,
    },
    sessions::{
        SessionError,
        log::{self, Draft},
        manage,
        routes::{SessionPath, readable},
        store as sessions,
    },
};
use axum::{
    body::{Body, BodyDataStream},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// What is read of a body before it is written.
const WRITTEN_AT_ONCE: usize = 1 << 20;

/// Which file, or directory.
#[derive(Deserialize)]
pub struct PathQuery {
    path: Option<String>,
}

/// What is looked for, and where.
#[derive(Deserialize)]
pub struct FindQuery {
    q: Option<String>,
    path: Option<String>,
    #[serde(default)]
    regex: bool,
    limit: Option<usize>,
}

/// Whose changes.
#[derive(Deserialize)]
pub struct DiffQuery {
    message_id: Option<String>,
}

/// A session, and the one whose files it works on.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) session_id: Uuid,
    pub(crate) with_files: Uuid,
}

/// The session, where it can be seen and its time is not over.
pub(crate) async fn seen(app: &App, proof: &impl InApp, session_id: Uuid) -> Result<Seen, SessionError> {
    let mut tx = app.tenant_tx(proof).await?;
    let session = readable(app, &mut tx, session_id).await?;
    let with_files = sessions::with_files(tx.conn(), session_id, session.parent_id).await?;
    Ok(Seen { session_id, with_files })
}

/// Lists a directory, by name (row M286).
pub async fn list(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
    Queried(query): Queried<PathQuery>,
    page: Page,
) -> ApiResult<Json<Value>> {
    let seen = seen(&app, &allowed, path.session_id()?).await?;
    let path = Path::parse(query.path.as_deref().unwrap_or_default())?;
    let after = page.after::<String>()?;
    let limit = usize::try_from(page.fetch()).unwrap_or_default();
    let entries = match reach::existing(&app, &allowed, seen.with_files).await? {
        Some(space) => {
            reach::job(&app, allowed.app().app_id, move || space.list(&path, after.as_deref(), limit)).await?
        }
        None if path.is_root() => vec![],
        None => return Err(WorkspaceError::NotFound(path.to_string()).into()),
    };
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Json(json!(page.of(entries, |entry| name(&entry.path)))))
}

/// Gives a file, or a part of it (row M286).
pub async fn get(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
    Queried(query): Queried<PathQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let seen = seen(&app, &allowed, path.session_id()?).await?;
    let path = Path::parse_inside(query.path.as_deref().unwrap_or_default())?;
    let missing = || WorkspaceError::NotFound(path.to_string());
    let space = reach::existing(&app, &allowed, seen.with_files).await?.ok_or_else(missing)?;
    let app_id = allowed.app().app_id;
    let (file, entry) = {
        let path = path.clone();
        reach::job(&app, app_id, move || space.read(&path)).await?
    };
    let tag = format!("\"{}\"", entry.version);
    if named(&headers, header::IF_NONE_MATCH)
        .is_some_and(|tags| tags.iter().any(|one| *one == tag || one == "*"))
    {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let same = named(&headers, header::IF_RANGE).is_none_or(|tags| tags == [tag.clone()]);
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).filter(|_| same);
    let wanted = match range.map(|range| part(range, entry.size)) {
        None | Some(Part::Whole) => None,
        Some(Part::Of(first, last)) => Some((first, last)),
        Some(Part::Outside) => {
            let text = "the file has no such part";
            let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", text);
            return Err(error.header(header::CONTENT_RANGE, value(format!("bytes */{}", entry.size))));
        }
    };
    let (first, length) = match wanted {
        Some((first, last)) => (first, last - first + 1),
        None => (0, entry.size),
    };
    // Nothing writes such a one; what somebody else put there is not sent for hours.
    if length > WORKSPACE_FILE_BYTES_MAX {
        return Err(WorkspaceError::TooLarge.into());
    }
    let mut answer = Body::from_stream(pieces(app, app_id, file, first, length)).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ETAG, value(tag));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    as_download(headers, "application/octet-stream", path.split().1);
    if let Some((first, last)) = wanted {
        headers.insert(header::CONTENT_RANGE, value(format!("bytes {first}-{last}/{}", entry.size)));
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(answer)
}

/// What somebody else wrote is saved and never shown, let alone run, by a browser; every answer forbids the rest.
pub(super) fn as_download(headers: &mut HeaderMap, media_type: &'static str, name: &str) {
    /// RFC 8187 `attr-char`.
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');
    let name = utf8_percent_encode(name, KEPT);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_DISPOSITION, value(format!("attachment; filename*=UTF-8''{name}")));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}

fn value(text: String) -> HeaderValue {
    HeaderValue::from_str(&text).expect("it is made of visible ASCII characters")
}

/// A part of a file as a range names it (RFC 9110 §14.1.2).
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// A range of a kind we do not give.
    Whole,
    /// From a byte to a byte, both included.
    Of(u64, u64),
    Outside,
}

fn part(range: &str, size: u64) -> Part {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
    else {
        return Part::Whole;
    };
    let end = size.checked_sub(1);
    match (first.parse::<u64>(), last.parse::<u64>(), end) {
        (Err(_), Ok(_), _) if !first.is_empty() => Part::Whole,
        (_, Err(_), _) if !last.is_empty() => Part::Whole,
        (Ok(first), Ok(last), _) if last < first => Part::Whole,
        (Ok(first), last, Some(end)) if first <= end => Part::Of(first, last.unwrap_or(end).min(end)),
        (Err(_), Ok(count), Some(end)) if count > 0 => Part::Of((end + 1).saturating_sub(count), end),
        (Err(_), Err(_), _) => Part::Whole,
        _ => Part::Outside,
    }
}

/// The values of a header that is a list.
fn named(headers: &HeaderMap, name: HeaderName) -> Option<Vec<String>> {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    let split = values.iter().flat_map(|value| value.split(',')).map(|one| one.trim().to_owned());
    (!values.is_empty()).then(|| split.collect())
}

fn pieces(
    app: App,
    app_id: Uuid,
    file: cap_std::fs::File,
    first: u64,
    length: u64,
) -> impl futures_util::Stream<Item = Result<Bytes, WorkspaceError>> {
    stream::unfold((Some((file, true)), length), move |(file, left)| {
        let app = app.clone();
        async move {
            let (mut file, begins) = file.filter(|_| left > 0)?;
            let read = reach::job(&app, app_id, move || {
                if begins {
                    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(first))?;
                }
                let piece = next_piece(&mut file, left)?;
                Ok((piece, file))
            });
            match read.await {
                Ok((piece, file)) if !piece.is_empty() => {
                    let left = left - piece.len() as u64;
                    Some((Ok(Bytes::from(piece)), (Some((file, false)), left)))
                }
                Ok(_) => Some((Err(WorkspaceError::Io(std::io::ErrorKind::UnexpectedEof.into())), (None, 0))),
                Err(error) => Some((Err(error), (None, 0))),
            }
        }
    })
}

/// Writes a file (row M286).
pub async fn put(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
    Queried(query): Queried<PathQuery>,
    request: Request,
) -> ApiResult<Response> {
    let seen = seen(&app, &allowed, path.session_id()?).await?;
    let path = Path::parse_inside(query.path.as_deref().unwrap_or_default())?;
    let only_if = precondition(request.headers());
    let space = reach::to_write(&app, &allowed, seen.with_files).await?;
    let (app_id, begun) = (allowed.app().app_id, space.clone());
    let staged = reach::job(&app, app_id, move || Staged::begin(&begun)).await?;
    let body = request.into_body().into_data_stream();
    let staged =
        in_time(receive(&app, app_id, staged, Staged::write, body, WORKSPACE_FILE_BYTES_MAX)).await?;
    let placed = {
        let (space, path) = (space.clone(), path.clone());
        move || {
            let change = space.place(staged, &path, &only_if, By::OUTSIDE)?;
            Ok((change, space.find(&path)?))
        }
    };
    let (change, entry) = changed(&app, &allowed, seen.session_id, "sessions.file_write", placed).await?;
    let status = if change.kind == How::Created { StatusCode::CREATED } else { StatusCode::OK };
    let tag = entry.map(|entry| format!("\"{}\"", entry.version)).unwrap_or_default();
    Ok((status, [(header::ETAG, tag)], Json(json!(change))).into_response())
}

fn precondition(headers: &HeaderMap) -> Precondition {
    let version = |tag: String| tag.trim_matches('"').to_owned();
    Precondition {
        absent: named(headers, header::IF_NONE_MATCH).is_some_and(|tags| tags.iter().any(|tag| tag == "*")),
        any_of: named(headers, header::IF_MATCH).map(|tags| tags.into_iter().map(version).collect()),
    }
}

/// Takes a body as it comes, and writes it to `sink` in pieces. What is still sent of one that is refused is read, `most`
/// of it.
async fn receive<S: Send + 'static, E: From<WorkspaceError> + Send + 'static>(
    app: &App,
    app_id: Uuid,
    mut sink: S,
    write: fn(&mut S, &[u8]) -> Result<(), E>,
    mut body: BodyDataStream,
    most: u64,
) -> ApiResult<S>
where
    ApiError: From<E>,
{
    let mut buffer = vec![];
    loop {
        let read = body.next().await;
        let ended = read.is_none();
        if let Some(piece) = read {
            let broken = |_| ApiError::bad_request("incomplete_body", "the body ended early; send it again");
            buffer.extend_from_slice(&piece.map_err(broken)?);
        }
        if buffer.len() >= WRITTEN_AT_ONCE || (ended && !buffer.is_empty()) {
            let piece = std::mem::take(&mut buffer);
            let wrote = reach::job_of(app, app_id, move || write(&mut sink, &piece).map(|()| sink)).await;
            sink = match wrote {
                Ok(sink) => sink,
                Err(error) => {
                    drain(body, most).await;
                    return Err(error.into());
                }
            };
        }
        if ended {
            return Ok(sink);
        }
    }
}

/// The same within the time a body may take.
async fn in_time<T>(receiving: impl Future<Output = ApiResult<T>>) -> ApiResult<T> {
    tokio::time::timeout(BODY_TIME_MAX, receiving).await.unwrap_or_else(|_| {
        let text = "the body took too long; send it again";
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", text))
    })
}

/// Reads what a client still sends of a body that is refused, as much as it may have: who has not sent all of a body
/// does not look for an answer.
async fn drain(mut body: BodyDataStream, most: u64) {
    let mut left = most;
    while let (true, Some(Ok(piece))) = (left > 0, body.next().await) {
        left = left.saturating_sub(piece.len() as u64);
    }
}

/// Changes something while the session's row is held: so what is told is in the order in which it was done, and no
/// session is deleted under it.
async fn changed<T: Send + 'static>(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    session_id: Uuid,
    action: &'static str,
    change: impl FnOnce() -> Result<(Change, T), WorkspaceError> + Send + 'static,
) -> ApiResult<(Change, T)> {
    let app_id = allowed.app().app_id;
    let mut tx = app.tenant_tx(allowed).await?;
    manage::usable(app, &mut tx, session_id).await?;
    let (change, more) = reach::job(app, app_id, change).await?;
    let drafts = vec![Draft::new(log::Kind::FileChanged, None, json!(change))];
    let written = log::write(app, tx.conn(), (session_id, app_id), drafts).await?;
    let entry = audit::Entry::ok(action, format!("session/{session_id}"));
    audit::write(app, &mut tx, allowed, entry.detail(json!({ "path": change.path }))).await?;
    tx.commit().await?;
    written.tell(app);
    Ok((change, more))
}

/// Removes a file, or a directory with all that is in it (row M286).
pub async fn delete(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
    Queried(query): Queried<PathQuery>,
    headers: HeaderMap,
) -> ApiResult<NoContent> {
    let seen = seen(&app, &allowed, path.session_id()?).await?;
    let path = Path::parse_inside(query.path.as_deref().unwrap_or_default())?;
    let missing = || WorkspaceError::NotFound(path.to_string());
    let space = reach::existing(&app, &allowed, seen.with_files).await?.ok_or_else(missing)?;
    let only_if = precondition(&headers);
    let removed = move || space.remove(&path, true, &only_if, By::OUTSIDE).map(|change| (change, ()));
    changed(&app, &allowed, seen.session_id, "sessions.file_delete", removed).await?;
    Ok(NoContent)
}

/// Finds text (row M286).
pub async fn find(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
    Queried(query): Queried<FindQuery>,
) -> ApiResult<Json<Value>> {
    let seen = seen(&app, &allowed, path.session_id()?).await?;
    let path = Path::parse(query.path.as_deref().unwrap_or_default())?;
    let pattern = Pattern::new(query.q.as_deref().unwrap_or_default(), query.regex)
        .map_err(|error| ApiError::invalid(vec![FieldError::new("/q", error.to_string())]))?;
    let limit = query.limit.unwrap_or(WORKSPACE_MATCHES_MAX);
    if !(1..=WORKSPACE_MATCHES_MAX).contains(&limit) {
        let text = format!("`limit` is a number from 1 to {WORKSPACE_MATCHES_MAX}");
        return Err(ApiError::bad_request("bad_limit", text));
    }
    let found = match reach::existing(&app, &allowed, seen.with_files).await? {
        Some(space) => {
            let looked = move || search::find(&space, &path, &pattern, limit);
            reach::job(&app, allowed.app().app_id, looked).await?
        }
        None if path.is_root() => search::Found::default(),
        None => return Err(WorkspaceError::NotFound(path.to_string()).into()),
    };
    Ok(Json(json!(found)))
}

/// Gives all files in an archive (row M283).
pub async fn export(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Response> {
    let seen = seen(&app, &allowed, path.session_id()?).await?;
    let app_id = allowed.app().app_id;
    let space = reach::existing(&app, &allowed, seen.with_files).await?;
    let archive = reach::job(&app, app_id, move || Archive::begin(space)).await?;
    let pieces = stream::unfold(Some(archive), move |archive| {
        let app = app.clone();
        async move {
            let mut archive = archive?;
            let made =
                Box::pin(reach::job(&app, app_id, move || archive.piece().map(|piece| (piece, archive))))
                    .await;
            match made {
                Ok((piece, archive)) => piece.map(|piece| (Ok(Bytes::from(piece)), Some(archive))),
                Err(error) => Some((Err(error), None)),
            }
        }
    });
    let mut answer = Body::from_stream(pieces).into_response();
    as_download(answer.headers_mut(), "application/zip", &format!("session-{}.zip", seen.session_id));
    Ok(answer)
}

/// Takes files from an archive, all or none (row M026).
pub async fn import(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
    Queried(query): Queried<PathQuery>,
    request: Request,
) -> ApiResult<Json<Value>> {
    let seen = seen(&app, &allowed, path.session_id()?).await?;
    let below = Path::parse(query.path.as_deref().unwrap_or_default())?;
    let app_id = allowed.app().app_id;
    let space = reach::to_write(&app, &allowed, seen.with_files).await?;
    let incoming = Incoming::begin(&app, app_id, &space).await?;
    let body = request.into_body().into_data_stream();
    let incoming =
        in_time(receive(&app, app_id, incoming, Incoming::write, body, WORKSPACE_BYTES_MAX)).await?;
    let mut unpacking = reach::job_of(&app, app_id, move || incoming.open(&below)).await?;
    loop {
        let step = move || unpacking.step().map(|more| (more, unpacking));
        let (more, next) = reach::job_of(&app, app_id, step).await?;
        unpacking = next;
        if !more {
            break;
        }
    }
    let mut tx = app.tenant_tx(&allowed).await?;
    manage::usable(&app, &mut tx, seen.session_id).await?;
    let (changes, failed) = reach::job_of(&app, app_id, move || unpacking.place()).await?;
    let told = changes.iter().take(WORKSPACE_CHANGES_TOLD_MAX);
    let drafts = told.map(|change| Draft::new(log::Kind::FileChanged, None, json!(change))).collect();
    let written = log::write(&app, tx.conn(), (seen.session_id, app_id), drafts).await?;
    let taken =
        json!({ "files": changes.len(), "bytes": changes.iter().map(|change| change.size).sum::<u64>() });
    let entry = audit::Entry::ok("sessions.files_import", format!("session/{}", seen.session_id));
    audit::write(&app, &mut tx, &allowed, entry.detail(taken.clone())).await?;
    tx.commit().await?;
    written.tell(&app);
    match failed {
        // The disk's fault, in the middle of it: what is there now is said.
        Some(error) => Err(ApiError::from(error).with("taken", taken)),
        None => Ok(Json(taken)),
    }
}

/// Pushes all files to a repository (row M284).
pub async fn push(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
    Json(input): Json<PushInput>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let seen = seen(&app, &allowed, path.session_id()?).await?;
    let begun = push::begin(&app, &allowed, seen, input).await?;
    Ok((StatusCode::ACCEPTED, Json(json!(begun))))
}

/// Shows what a turn changed, or all of them (row M287).
pub async fn diff(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
    Queried(query): Queried<DiffQuery>,
) -> ApiResult<Json<Value>> {
    let session_id = path.session_id()?;
    let missing = || ApiError::not_found("message");
    let message_id = query.message_id.as_deref().map(Uuid::parse_str).transpose();
    // A session that is not there is told from one that is by nothing else.
    let seen = seen(&app, &allowed, session_id).await?;
    Ok(Json(json!(
        changes(&app, &allowed, seen, message_id.map_err(|_| missing())?).await?.ok_or_else(missing)?
    )))
}

/// What the turn of a message changed, or all turns of a session did; none where there is no such message.
///
/// # Errors
/// [`WorkspaceError`]
pub(crate) async fn changes(
    app: &App,
    proof: &impl InApp,
    Seen { session_id, with_files }: Seen,
    message_id: Option<Uuid>,
) -> Result<Option<diff::Diff>, WorkspaceError> {
    let turns = match message_id {
        Some(message_id) => {
            let mut tx = app.tenant_tx(proof).await?;
            let Some(turn) = store::turn_of(&mut tx, session_id, message_id).await? else { return Ok(None) };
            // A message of no turn changed nothing that is kept.
            Some(Vec::from_iter(turn))
        }
        None if session_id == with_files => None,
        None => {
            let mut tx = app.tenant_tx(proof).await?;
            Some(sessions::turns_from(&mut tx, session_id, i32::MIN).await?)
        }
    };
    let Some(space) = reach::existing(app, proof, with_files).await? else {
        return Ok(Some(diff::Diff::default()));
    };
    reach::job(app, proof.app().app_id, move || diff::of(&space, turns.as_deref())).await.map(Some)
}

impl From<WorkspaceError> for ApiError {
    fn from(error: WorkspaceError) -> ApiError {
        let text = error.to_string();
        match error {
            WorkspaceError::NoSession => SessionError::NotFound.into(),
            WorkspaceError::Gone => ApiError::conflict("workspace_gone", text),
            WorkspaceError::NotFound(_) => ApiError::not_found("file"),
            WorkspaceError::Exists(_) => ApiError::conflict("file_exists", text),
            WorkspaceError::NotADirectory(_) => ApiError::conflict("not_a_directory", text),
            WorkspaceError::IsADirectory(_) => ApiError::conflict("is_a_directory", text),
            WorkspaceError::NotEmpty(_) => ApiError::conflict("not_empty", text),
            WorkspaceError::Invalid(why) => ApiError::invalid(vec![FieldError::new("/path", why)]),
            WorkspaceError::Changed(_) => {
                ApiError::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", text)
            }
            WorkspaceError::TooLarge => {
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", text)
                    .with("limit_bytes", json!(WORKSPACE_FILE_BYTES_MAX))
            }
            WorkspaceError::TooMuch => {
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", text)
                    .with("limit_bytes", json!(WORKSPACE_BYTES_MAX))
            }
            WorkspaceError::TooMany => ApiError::conflict("too_many_files", text),
            WorkspaceError::Full(_) => ApiError::conflict("workspace_full", text),
            WorkspaceError::Io(cause) => {
                ApiError::internal("a workspace could not be read or written", cause)
            }
            WorkspaceError::Db(cause) => cause.into(),
        }
    }
}

impl From<UnpackError> for ApiError {
    fn from(error: UnpackError) -> ApiError {
        let text = error.to_string();
        match error {
            UnpackError::Bad(_) => ApiError::unprocessable("bad_archive", text),
            UnpackError::TooLarge { max, .. } => {
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", text)
                    .with("limit_bytes", json!(max))
            }
            UnpackError::Busy => ApiError::rate_limited("too_many_imports", text, 5),
            UnpackError::Workspace(error) => error.into(),
        }
    }
}

impl From<PushError> for ApiError {
    fn from(error: PushError) -> ApiError {
        let text = error.to_string();
        match error {
            PushError::Invalid(fields) => ApiError::invalid(fields),
            PushError::Session(error) => error.into(),
            PushError::Workspace(error) => error.into(),
            PushError::NoFiles => ApiError::conflict("no_files", text),
            PushError::TooMany => ApiError::rate_limited("too_many_pushes", text, 10),
            // How one ended is told by its artifact.
            PushError::SecretGone
            | PushError::BadSecret
            | PushError::Sealed
            | PushError::Denied
            | PushError::Refused(_)
            | PushError::Remote(_)
            | PushError::Timeout
            | PushError::Stopped => ApiError::internal("a push ended where it should have begun", text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_rfc_9110_says() {
        for (range, size, wanted) in [
            ("bytes=0-0", 10, Part::Of(0, 0)),
            ("bytes=2-", 10, Part::Of(2, 9)),
            ("bytes=-3", 10, Part::Of(7, 9)),
            ("bytes=-30", 10, Part::Of(0, 9)),
            ("bytes=5-99", 10, Part::Of(5, 9)),
            ("bytes=10-", 10, Part::Outside),
            ("bytes=-0", 10, Part::Outside),
            ("bytes=0-", 0, Part::Outside),
            ("bytes=4-2", 10, Part::Whole),
            ("bytes=0-1,3-4", 10, Part::Whole),
            ("bytes=-", 10, Part::Whole),
            ("lines=0-1", 10, Part::Whole),
            ("bytes=a-1", 10, Part::Whole),
        ] {
            assert_eq!(part(range, size), wanted, "{range} of {size}");
        }
    }

    #[test]
    fn a_name_cannot_end_its_header() {
        let mut headers = HeaderMap::new();
        as_download(&mut headers, "application/octet-stream", "a\"; x=ä/b.html");
        assert_eq!(
            headers[header::CONTENT_DISPOSITION],
            "attachment; filename*=UTF-8''a%22%3B%20x%3D%C3%A4%2Fb.html"
        );
    }
}
