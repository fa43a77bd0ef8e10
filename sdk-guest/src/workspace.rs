//! The files of the session a call belongs to: what its agent works on, and
//! people see and download. A call of no session has none.
//!
//! A path is relative (`src/main.rs`) or begins with `/workspace/`.
//!
//! ```
//! use opg_guest::*;
//!
//! /// Adds a line to the notes of this session.
//! #[tool(workspace("read-write", "to keep the notes"))]
//! fn note(line: String) -> Result<usize, Error> {
//!     workspace::append("notes.txt", format!("{line}\n"))?;
//!     Ok(workspace::read_text("notes.txt")?.lines().count())
//! }
//!
//! let host = testing::Host::new().file("notes.txt", "first\n").start();
//! assert_eq!(note("second".into()), Ok(2));
//! assert_eq!(host.file("notes.txt").as_deref(), Some(&b"first\nsecond\n"[..]));
//! ```

use crate::Error;
use crate::bindings::host::opg::host::workspace as wit;
use crate::host::workspace;

pub use wit::{Entry, Kind, Match};

/// What one read asks for: as much as the host gives at once.
const PART_BYTES: u64 = 8 << 20;

/// A file, whole.
pub fn read(path: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![];
    loop {
        let (mut part, size) = read_part(path, bytes.len() as u64, PART_BYTES)?;
        let ended = part.is_empty();
        bytes.append(&mut part);
        if ended || bytes.len() as u64 >= size {
            return Ok(bytes);
        }
    }
}

/// A file that is text, whole.
pub fn read_text(path: &str) -> Result<String, Error> {
    String::from_utf8(read(path)?).map_err(|_| Error::failed(format_args!("`{path}` is no UTF-8 text")))
}

/// Bytes of a file from `offset` on, `length` at the most, and how long the
/// whole is; none past its end.
pub fn read_part(path: &str, offset: u64, length: u64) -> Result<(Vec<u8>, u64), Error> {
    workspace::read(path, offset, length).map(|part| (part.bytes, part.size)).map_err(from_host)
}

/// Writes a file whole, in directories that are made where they are not there.
pub fn write(path: &str, contents: impl AsRef<[u8]>) -> Result<(), Error> {
    workspace::write(path, contents.as_ref()).map_err(from_host)
}

/// Writes into a file from `offset` on; what lies between its end and that is zeros.
pub fn write_at(path: &str, offset: u64, contents: impl AsRef<[u8]>) -> Result<(), Error> {
    workspace::write_at(path, Some(offset), contents.as_ref()).map_err(from_host)
}

/// Writes at the end of a file, which is made where it is not there.
pub fn append(path: &str, contents: impl AsRef<[u8]>) -> Result<(), Error> {
    workspace::write_at(path, None, contents.as_ref()).map_err(from_host)
}

/// What is at a path; none where there is nothing.
pub fn stat(path: &str) -> Result<Option<Entry>, Error> {
    match workspace::stat(path) {
        Ok(entry) => Ok(Some(entry)),
        Err(wit::Error::NotFound(_)) => Ok(None),
        Err(error) => Err(from_host(error)),
    }
}

/// What is in a directory, by name.
pub fn list(path: &str) -> Result<Vec<Entry>, Error> {
    let mut all: Vec<Entry> = vec![];
    loop {
        let after = all.last().map(|entry| entry.path.rsplit('/').next().unwrap_or_default().to_owned());
        let mut more = workspace::entries(path, after.as_deref()).map_err(from_host)?;
        if more.is_empty() {
            return Ok(all);
        }
        all.append(&mut more);
    }
}

/// Makes a directory and those it is in. One that is there is fine.
pub fn make_directory(path: &str) -> Result<(), Error> {
    workspace::make_directory(path).map_err(from_host)
}

/// Removes a file, or a directory with nothing in it.
pub fn remove(path: &str) -> Result<(), Error> {
    workspace::remove(path, false).map_err(from_host)
}

/// Removes a file, or a directory with all that is in it.
pub fn remove_all(path: &str) -> Result<(), Error> {
    workspace::remove(path, true).map_err(from_host)
}

/// Moves a file or a directory. A file in the way is replaced.
pub fn rename(from: &str, to: &str) -> Result<(), Error> {
    workspace::rename(from, to).map_err(from_host)
}

/// Finds a text in the files at a path and below it; an empty path is all of
/// them. The first place of each line, 500 lines at the most.
pub fn find(path: &str, text: &str) -> Result<Vec<Match>, Error> {
    workspace::find(path, text, false).map_err(from_host)
}

/// The same for a regular expression.
pub fn find_regex(path: &str, expression: &str) -> Result<Vec<Match>, Error> {
    workspace::find(path, expression, true).map_err(from_host)
}

fn from_host(error: wit::Error) -> Error {
    match error {
        wit::Error::Denied(text) => Error::Denied(text),
        wit::Error::Invalid(text) => Error::Invalid(text),
        wit::Error::Limit(text) => Error::Limit(text),
        wit::Error::Unavailable(text) => Error::Unavailable(text),
        wit::Error::NoSession(text)
        | wit::Error::Gone(text)
        | wit::Error::NotFound(text)
        | wit::Error::Exists(text)
        | wit::Error::NotADirectory(text)
        | wit::Error::IsADirectory(text)
        | wit::Error::NotEmpty(text) => Error::Failed(text),
    }
}
