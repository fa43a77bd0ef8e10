//! What turns changed, as unified differences (row M287).

use super::{
    Path, Space, WorkspaceError,
    journal::{Before, Journals},
    space::Kind,
};
use crate::limits::{WORKSPACE_DIFF_BYTES_MAX, WORKSPACE_LOOK_TIME_MAX, WORKSPACE_TEXT_BYTES_MAX};
use serde::Serialize;
use similar::TextDiff;
use std::{
    io::Read,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Lines shown around what changed, as everywhere.
const CONTEXT_LINES: usize = 3;
/// How long one file may take: then a difference that is larger than it need be is shown.
const FILE_TIME_MAX: Duration = Duration::from_millis(200);

/// What became of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileDiff {
    /// Which.
    pub path: String,
    /// How it changed.
    pub kind: super::How,
    /// How long it was, in bytes; none: it was not there.
    pub before: Option<u64>,
    /// How long it was afterwards.
    pub after: Option<u64>,
    /// Whether it is no text, before or after, or too large a one: then there is no difference to be shown.
    pub binary: bool,
    /// The unified difference; none: binary, or there was no room for it any more.
    pub diff: Option<String>,
}

/// What became of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// By path.
    #[serde(rename = "data")]
    pub files: Vec<FileDiff>,
    /// Whether some are shown without their text.
    pub truncated: bool,
}

/// One side.
enum Side {
    Absent,
    /// Its length, and its bytes where it is not too large.
    File(u64, Option<Vec<u8>>),
}

impl Side {
    fn size(&self) -> Option<u64> {
        match self {
            Side::Absent => None,
            Side::File(size, _) => Some(*size),
        }
    }

    /// As text; none where it is none.
    fn text(&self) -> Option<&str> {
        match self {
            Side::Absent => Some(""),
            Side::File(_, bytes) => bytes
                .as_deref()
                .filter(|bytes| !bytes.contains(&0))
                .and_then(|bytes| std::str::from_utf8(bytes).ok()),
        }
    }

    fn same(&self, other: &Side) -> bool {
        match (self, other) {
            (Side::Absent, Side::Absent) => true,
            (Side::File(size, Some(one)), Side::File(other_size, Some(other))) => {
                size == other_size && one == other
            }
            _ => false,
        }
    }
}

/// What these turns changed, with those that were a part of them; none: all of which something is kept.
///
/// # Errors
/// The disk's.
pub fn of(space: &Space, turns: Option<&[Uuid]>) -> Result<Diff, WorkspaceError> {
    let state = space.lock()?;
    let is_one = |of: &[Uuid]| turns.is_none_or(|turns| of.iter().any(|turn| turns.contains(turn)));
    let before = state.journals.before(&is_one);
    let ends = Instant::now() + WORKSPACE_LOOK_TIME_MAX;
    let mut diff = Diff::default();
    let mut room = WORKSPACE_DIFF_BYTES_MAX;
    for (path, was) in before {
        let old = kept(&state.journals, &was)?;
        let new = match state.journals.after(&path, &is_one) {
            Some(later) => kept(&state.journals, later)?,
            None => current(space, &path)?,
        };
        if old.same(&new) {
            continue;
        }
        let (binary, text) = match (old.text(), new.text()) {
            (Some(old), Some(new)) => (
                false,
                (Instant::now() < ends).then(|| unified(&path, old, new)).filter(|text| text.len() <= room),
            ),
            _ => (true, None),
        };
        room -= text.as_ref().map_or(0, String::len);
        diff.truncated |= !binary && text.is_none();
        diff.files.push(FileDiff {
            path: path.to_string(),
            kind: match (&old, &new) {
                (Side::Absent, _) => super::How::Created,
                (_, Side::Absent) => super::How::Removed,
                _ => super::How::Modified,
            },
            before: old.size(),
            after: new.size(),
            binary,
            diff: text,
        });
    }
    Ok(diff)
}

fn kept(journals: &Journals, before: &Before) -> Result<Side, WorkspaceError> {
    let Before::File { size, .. } = before else { return Ok(Side::Absent) };
    let file = journals.open_kept(before)?;
    Ok(Side::File(*size, file.map(|file| whole(file, *size)).transpose()?.flatten()))
}

fn current(space: &Space, path: &Path) -> Result<Side, WorkspaceError> {
    if !space.find(path)?.is_some_and(|entry| entry.kind == Kind::File) {
        return Ok(Side::Absent);
    }
    let (file, entry) = space.read(path)?;
    Ok(Side::File(entry.size, whole(file, entry.size)?))
}

fn whole(file: cap_std::fs::File, size: u64) -> Result<Option<Vec<u8>>, WorkspaceError> {
    if size > WORKSPACE_TEXT_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![];
    file.take(WORKSPACE_TEXT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn unified(path: &Path, old: &str, new: &str) -> String {
    let diff = TextDiff::configure().timeout(FILE_TIME_MAX).diff_lines(old, new);
    let (from, to) = (format!("a/{path}"), format!("b/{path}"));
    diff.unified_diff().context_radius(CONTEXT_LINES).header(&from, &to).to_string()
}
