//! The workspace of a session: a directory of its own, of which its tools read and write, and which people see.
//!
//! Made under `DATA_DIR/workspaces` when something is first written; gone with its session. It is reached by
//! [`Path`]s, which name nothing outside; the directory is held open by `cap-std`, which opens nothing outside
//! either, and each step of a path is taken without following symbolic links: there are none but what somebody with
//! the machine's disk puts there, and those are as if they were not.
//!
//! - What it may hold is counted in one place, before anything is written ([`meter`]).
//! - A file is written beside the workspace and moved to its place when it is whole ([`space`]).
//! - What a turn changes is kept as it was before ([`journal`]): to be shown ([`diff`]) and taken back.
//! - Files come from an archive, all or none ([`unpack`]), and go into one ([`archive`]).
//! - The disk is the truth; the database only remembers that there was one, so that one that is lost, or on another
//!   host, is said to be `gone` and not taken for empty (`reach`).
//!
//! Deliberately absent: symbolic links, permissions, owners, times that can be set, files that run; and surviving
//! the loss of this host's disk.

pub mod archive;
pub mod diff;
pub mod journal;
pub mod meter;
mod path;
pub mod push;
pub(crate) mod reach;
pub mod routes;
pub mod search;
pub mod space;
mod store;
pub mod sweep;
pub mod unpack;

pub use meter::{Amount, Over};
pub use path::Path;
pub use reach::Workspaces;
pub use space::{Entry, Kind, Space};

use crate::limits::{
    WORKSPACE_BYTES_MAX, WORKSPACE_BYTES_PER_APP_MAX, WORKSPACE_FILE_BYTES_MAX, WORKSPACE_FILES_MAX,
    WORKSPACE_FILES_PER_APP_MAX,
};
use std::io;
use uuid::Uuid;

/// Why something could not be done in a workspace.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// There is no such session, or it is another's.
    #[error("no such session")]
    NoSession,
    /// The session had one, and it is not here any more.
    #[error("the files of this session are gone, or on another host; start another session")]
    Gone,
    /// There is nothing of this path.
    #[error("there is no `{0}`")]
    NotFound(String),
    /// There is something else already.
    #[error("there is a `{0}` already")]
    Exists(String),
    /// What should be a directory is none.
    #[error("`{0}` is no directory")]
    NotADirectory(String),
    /// What should be a file is none.
    #[error("`{0}` is a directory")]
    IsADirectory(String),
    /// A directory that should be empty is not.
    #[error("the directory `{0}` is not empty")]
    NotEmpty(String),
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// It changed meanwhile, or is there where it should not be.
    #[error("`{0}` is not as the precondition says")]
    Changed(String),
    /// A file is too large.
    #[error("a file holds {WORKSPACE_FILE_BYTES_MAX} bytes at the most")]
    TooLarge,
    /// There is more than is sent at once.
    #[error(
        "the files are more than {WORKSPACE_BYTES_MAX} bytes or {WORKSPACE_FILES_MAX} files; fetch them one by one"
    )]
    TooMuch,
    /// A directory has too many entries to be looked at.
    #[error("there are more than {WORKSPACE_FILES_MAX} files; remove some")]
    TooMany,
    /// Over what a session or an app may have.
    #[error("{}", over(*.0))]
    Full(Over),
    /// The disk.
    #[error("the workspace could not be read or written")]
    Io(#[from] io::Error),
    /// The database.
    #[error("the workspace could not be looked up")]
    Db(#[from] sqlx::Error),
}

fn over(over: Over) -> String {
    match over {
        Over::SessionBytes => {
            format!("the files of a session hold {WORKSPACE_BYTES_MAX} bytes at the most; remove some")
        }
        Over::SessionFiles => {
            format!("a session has {WORKSPACE_FILES_MAX} files and directories at the most; remove some")
        }
        Over::AppBytes => format!(
            "the files of an app's sessions hold {WORKSPACE_BYTES_PER_APP_MAX} bytes at the most; delete sessions"
        ),
        Over::AppFiles => {
            format!("an app's sessions have {WORKSPACE_FILES_PER_APP_MAX} files at the most; delete sessions")
        }
    }
}

/// How a file was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It was not there.
    Created,
    /// It was another.
    Modified,
    /// It is not there any more.
    Removed,
}

/// A change, as it is told (row M330).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// Of what.
    pub path: String,
    /// How.
    pub kind: How,
    /// How large it is now, in bytes.
    pub size: u64,
}

/// For whom something is changed.
#[derive(Clone, Copy)]
pub struct By<'a> {
    /// In which turn, and then those it is a part of; empty: in no turn's, and nothing is kept of what was before.
    pub turns: &'a [Uuid],
    /// Whether that turn still runs: what was ended changes nothing more. Asked while nobody else changes anything.
    pub stands: &'a dyn Fn() -> bool,
}

impl By<'_> {
    /// A person, or a program, from outside.
    pub const OUTSIDE: By<'static> = By { turns: &[], stands: &|| true };
}
