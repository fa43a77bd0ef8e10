//! `/t/{app}/opencode/file`, `…/find`, `…/session/{id}/diff`
//!
//! opencode has one directory, in which all its sessions work; here each session has its own. So these routes are about
//! the files of the session that `workspace` names, or the last part of `directory`. Where none is named there are
//! none.

use super::{DIRECTORY, ids, routes::SessionPath};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, InApp, action::may},
    http::{Json, Params, extract::Queried},
    limits::WORKSPACE_READ_BYTES_MAX,
    sessions::{SessionError, manage::ManageError},
    workspace::{
        How, Kind, Path, Space, WorkspaceError,
        diff::{Diff, FileDiff},
        reach,
        routes::{self as workspace, Seen},
        search::{self, Match, Pattern},
    },
};
use axum::extract::State;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// Lines that are found, as there.
const FOUND_MAX: usize = 10;
/// Files that are found by their name unless a client says how many, and the most it may say.
const NAMES_FOUND: usize = 100;
const NAMES_FOUND_MAX: usize = 200;

/// Which session's files.
#[derive(Deserialize)]
pub struct OfSession {
    workspace: Option<String>,
    directory: Option<String>,
}

/// Which of them.
#[derive(Deserialize)]
pub struct FileQuery {
    #[serde(flatten)]
    of: OfSession,
    path: Option<String>,
}

/// What is looked for in them.
#[derive(Deserialize)]
pub struct FindQuery {
    #[serde(flatten)]
    of: OfSession,
    pattern: Option<String>,
}

/// What their names are like.
#[derive(Deserialize)]
pub struct NameQuery {
    #[serde(flatten)]
    of: OfSession,
    query: Option<String>,
    dirs: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    limit: Option<String>,
}

/// Whose changes.
#[derive(Deserialize)]
pub struct DiffQuery {
    #[serde(rename = "messageID")]
    message_id: Option<String>,
}

impl OfSession {
    /// The session that is named; none where what is named is no session, as the directory of all of them.
    fn session_id(&self) -> Option<Uuid> {
        let by_directory = || self.directory.as_deref()?.trim_end_matches('/').rsplit('/').next();
        ids::parse_session(self.workspace.as_deref().or_else(by_directory)?)
    }

    async fn seen(&self, app: &App, proof: &impl InApp) -> Result<Option<Seen>, SessionError> {
        match self.session_id() {
            Some(session_id) => workspace::seen(app, proof, session_id).await.map(Some),
            None => Ok(None),
        }
    }

    /// Does something with its files; none where there are none.
    async fn with<T: Send + 'static>(
        &self,
        app: &App,
        proof: &impl InApp,
        work: impl FnOnce(&Arc<Space>) -> Result<T, WorkspaceError> + Send + 'static,
    ) -> ApiResult<Option<T>> {
        let Some(seen) = self.seen(app, proof).await? else { return Ok(None) };
        let Some(space) = reach::existing(app, proof, seen.with_files).await? else { return Ok(None) };
        Ok(Some(reach::job(app, proof.app().app_id, move || work(&space)).await?))
    }
}

/// Lists a directory.
pub async fn list(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Queried(query): Queried<FileQuery>,
) -> ApiResult<Json<Value>> {
    let path = Path::parse(query.path.as_deref().unwrap_or_default())?;
    let listed = query.of.with(&app, &allowed, move |space| space.list(&path, None, usize::MAX)).await?;
    let mut entries = listed.unwrap_or_default();
    entries.sort_by_key(|entry| entry.kind == Kind::File);
    let node = |path: &str, kind: Kind| {
        json!({
            "name": path.rsplit('/').next(), "path": path, "absolute": format!("{DIRECTORY}/{path}"),
            "type": kind, "ignored": false,
        })
    };
    Ok(Json(entries.iter().map(|entry| node(&entry.path, entry.kind)).collect()))
}

/// Gives what a file holds.
pub async fn content(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Queried(query): Queried<FileQuery>,
) -> ApiResult<Json<Value>> {
    let path = Path::parse_inside(query.path.as_deref().unwrap_or_default())?;
    let read = move |space: &Arc<Space>| space.read_part(&path, 0, WORKSPACE_READ_BYTES_MAX);
    let (bytes, size) =
        query.of.with(&app, &allowed, read).await?.ok_or_else(|| ApiError::not_found("file"))?;
    if size > WORKSPACE_READ_BYTES_MAX {
        return Err(ApiError::too_large(usize::try_from(WORKSPACE_READ_BYTES_MAX).unwrap_or(usize::MAX)));
    }
    Ok(Json(match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => json!({ "type": "text", "content": text }),
        other => {
            let bytes = other.map_or_else(std::string::FromUtf8Error::into_bytes, String::into_bytes);
            json!({
                "type": "binary", "content": STANDARD.encode(bytes), "encoding": "base64",
                "mimeType": "application/octet-stream",
            })
        }
    }))
}

/// Lists what turns changed.
pub async fn status(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Queried(of): Queried<OfSession>,
) -> ApiResult<Json<Value>> {
    let Some(seen) = of.seen(&app, &allowed).await? else { return Ok(Json(json!([]))) };
    let changed = workspace::changes(&app, &allowed, seen, None).await?.unwrap_or_default();
    let file = |file: &FileDiff| {
        let (added, removed) = lines(file);
        json!({ "path": file.path, "added": added, "removed": removed, "status": how(file) })
    };
    Ok(Json(changed.files.iter().map(file).collect()))
}

/// Finds lines by a regular expression.
pub async fn find(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Queried(query): Queried<FindQuery>,
) -> ApiResult<Json<Value>> {
    if query.of.session_id().is_none() {
        return Ok(Json(json!([])));
    }
    let pattern = Pattern::new(query.pattern.as_deref().unwrap_or_default(), true)
        .map_err(|error| ApiError::invalid(vec![FieldError::new("/pattern", error.to_string())]))?;
    let looked = move |space: &Arc<Space>| search::find(space, &Path::default(), &pattern, FOUND_MAX);
    let found = query.of.with(&app, &allowed, looked).await?.unwrap_or_default();
    let line = |found: &Match| {
        let hit = found.span.and_then(|(start, end)| Some((start, end, found.text.get(start..end)?)));
        let hits = hit.into_iter();
        json!({
            "path": { "text": found.path }, "lines": { "text": found.text }, "line_number": found.line,
            "absolute_offset": found.offset,
            "submatches": hits
                .map(|(start, end, text)| json!({ "match": { "text": text }, "start": start, "end": end }))
                .collect::<Vec<_>>(),
        })
    };
    Ok(Json(found.matches.iter().map(line).collect()))
}

/// Finds files and directories by letters of their names, in their order.
pub async fn find_file(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Queried(query): Queried<NameQuery>,
) -> ApiResult<Json<Value>> {
    let limit = query.limit.as_deref().and_then(|limit| limit.parse().ok()).unwrap_or(NAMES_FOUND);
    let no_directories = query.dirs.as_deref() == Some("false");
    let wanted = match query.kind.as_deref() {
        Some("directory") => Some(Kind::Directory),
        Some("file") => Some(Kind::File),
        _ => no_directories.then_some(Kind::File),
    };
    let everything = query.of.with(&app, &allowed, |space| space.everything(&Path::default())).await?;
    let entries = everything.unwrap_or_default().into_iter();
    let names = entries.filter(|entry| wanted.is_none_or(|kind| entry.kind == kind)).map(|entry| {
        let end = if entry.kind == Kind::Directory { "/" } else { "" };
        format!("{}{end}", entry.path)
    });
    let found = like(query.query.as_deref().unwrap_or_default(), names.collect());
    Ok(Json(json!(found.into_iter().take(limit.min(NAMES_FOUND_MAX)).collect::<Vec<_>>())))
}

/// The names in which these letters come in this order, those in which they stand together first.
fn like(letters: &str, mut names: Vec<String>) -> Vec<String> {
    let letters = letters.to_lowercase();
    let rank = |name: &String| {
        let lower = name.to_lowercase();
        let mut rest = lower.chars();
        let is_like = letters.chars().all(|letter| rest.any(|other| other == letter));
        is_like.then(|| (!lower.contains(&letters), name.len()))
    };
    names.retain(|name| rank(name).is_some());
    names.sort_by_cached_key(|name| (rank(name), name.clone()));
    names
}

/// Shows what the turn of a message changed, or all turns.
pub async fn diff(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
    Queried(query): Queried<DiffQuery>,
) -> ApiResult<Json<Value>> {
    let seen = workspace::seen(&app, &allowed, path.session_id()?).await?;
    let parse = |id: &str| ids::parse_message(id).ok_or(ManageError::NoMessage);
    let message_id = query.message_id.as_deref().map(parse).transpose()?;
    let changed: Option<Diff> = workspace::changes(&app, &allowed, seen, message_id).await?;
    let file = |file: &FileDiff| {
        let (added, removed) = lines(file);
        let mut shown =
            json!({ "file": file.path, "additions": added, "deletions": removed, "status": how(file) });
        if let Some(patch) = &file.diff {
            shown["patch"] = json!(patch);
        }
        shown
    };
    Ok(Json(changed.ok_or(ManageError::NoMessage)?.files.iter().map(file).collect()))
}

const fn how(file: &FileDiff) -> &'static str {
    match file.kind {
        How::Created => "added",
        How::Modified => "modified",
        How::Removed => "deleted",
    }
}

/// How many lines came, and how many went; 0 where nobody counts them.
fn lines(file: &FileDiff) -> (usize, usize) {
    // Two lines say which files they are of.
    let body = || file.diff.as_deref().unwrap_or_default().lines().skip(2);
    (body().filter(|line| line.starts_with('+')).count(), body().filter(|line| line.starts_with('-')).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_by_its_id_or_at_the_end_of_a_directory() {
        let id = Uuid::parse_str("0190f3c4-bbbb-7000-8000-000000000001").unwrap();
        let written = ids::session(id);
        let of = |workspace: Option<&str>, directory: Option<&str>| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            OfSession { workspace: text(workspace), directory: text(directory) }.session_id()
        };
        assert_eq!(of(Some(&written), None), Some(id));
        assert_eq!(of(None, Some(&format!("{DIRECTORY}/{written}/"))), Some(id));
        assert_eq!(of(None, Some(DIRECTORY)).or_else(|| of(None, None)), None);
    }

    #[test]
    fn letters_are_found_in_order_and_together_first() {
        let names = ["src/main.rs", "src/domain/ai.rs", "README.md", "mai"].map(str::to_owned).to_vec();
        assert_eq!(like("MAI", names.clone()), ["mai", "src/main.rs", "src/domain/ai.rs"]);
        assert_eq!(like("", names).len(), 4);
    }
}
