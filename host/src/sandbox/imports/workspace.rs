//! `opg:host/workspace`.

use crate::sandbox::bindings::host::workspace::{Entry, Error, Host, Kind, Match, Part};
use crate::sandbox::door::{DoorError, FileAnswer, FileError, FileRequest};
use crate::sandbox::state::{GuestState, host_failed};
use crate::workspace::{self, search};

impl GuestState {
    async fn files(&mut self, request: FileRequest) -> Result<FileAnswer, Error> {
        let door = self.host.door.clone();
        let answer = self.host.ask(async move { Ok(door.workspace(request).await) }).await;
        answer.unwrap_or_else(|error| Err(error.into())).map_err(Error::from)
    }
}

/// What a door answers to another call than it was asked.
fn mixed_up() -> Error {
    FileError::Door(host_failed()).into()
}

fn done(answer: FileAnswer) -> Result<(), Error> {
    if matches!(answer, FileAnswer::Done) { Ok(()) } else { Err(mixed_up()) }
}

impl Host for GuestState {
    async fn read(
        &mut self,
        path: String,
        offset: u64,
        length: u64,
    ) -> wasmtime::Result<Result<Part, Error>> {
        Ok(match self.files(FileRequest::Read { path, offset, length }).await {
            Ok(FileAnswer::Part(bytes, size)) => Ok(Part { bytes, size }),
            Ok(_) => Err(mixed_up()),
            Err(error) => Err(error),
        })
    }

    async fn write(&mut self, path: String, contents: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.files(FileRequest::Write { path, contents }).await.and_then(done))
    }

    async fn write_at(
        &mut self,
        path: String,
        offset: Option<u64>,
        contents: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.files(FileRequest::WriteAt { path, offset, contents }).await.and_then(done))
    }

    async fn stat(&mut self, path: String) -> wasmtime::Result<Result<Entry, Error>> {
        Ok(match self.files(FileRequest::Stat { path }).await {
            Ok(FileAnswer::Entries(entries)) => {
                entries.into_iter().next().map(Entry::from).ok_or_else(mixed_up)
            }
            Ok(_) => Err(mixed_up()),
            Err(error) => Err(error),
        })
    }

    async fn entries(
        &mut self,
        path: String,
        after: Option<String>,
    ) -> wasmtime::Result<Result<Vec<Entry>, Error>> {
        Ok(match self.files(FileRequest::Entries { path, after }).await {
            Ok(FileAnswer::Entries(entries)) => Ok(entries.into_iter().map(Entry::from).collect()),
            Ok(_) => Err(mixed_up()),
            Err(error) => Err(error),
        })
    }

    async fn make_directory(&mut self, path: String) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.files(FileRequest::MakeDirectory { path }).await.and_then(done))
    }

    async fn remove(&mut self, path: String, all: bool) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.files(FileRequest::Remove { path, all }).await.and_then(done))
    }

    async fn rename(&mut self, source: String, target: String) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.files(FileRequest::Rename { source, target }).await.and_then(done))
    }

    async fn find(
        &mut self,
        path: String,
        text: String,
        is_regex: bool,
    ) -> wasmtime::Result<Result<Vec<Match>, Error>> {
        Ok(match self.files(FileRequest::Find { path, text, is_regex }).await {
            Ok(FileAnswer::Matches(matches)) => Ok(matches.into_iter().map(Match::from).collect()),
            Ok(_) => Err(mixed_up()),
            Err(error) => Err(error),
        })
    }
}

impl From<workspace::Entry> for Entry {
    fn from(entry: workspace::Entry) -> Self {
        Self {
            kind: match entry.kind {
                workspace::Kind::File => Kind::File,
                workspace::Kind::Directory => Kind::Directory,
            },
            size: entry.size,
            modified_ms: u64::try_from(entry.modified_at.timestamp_millis()).unwrap_or_default(),
            path: entry.path,
        }
    }
}

impl From<search::Match> for Match {
    fn from(found: search::Match) -> Self {
        Self { path: found.path, line: found.line, column: found.column, text: found.text }
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Door(DoorError::Denied(text)) => Self::Denied(text),
            FileError::Door(DoorError::Invalid(text)) => Self::Invalid(text),
            FileError::Door(DoorError::Limit(text)) => Self::Limit(text),
            FileError::Door(DoorError::Failed(text) | DoorError::Unavailable(text)) => {
                Self::Unavailable(text)
            }
            FileError::NoSession(text) => Self::NoSession(text),
            FileError::Gone(text) => Self::Gone(text),
            FileError::NotFound(text) => Self::NotFound(text),
            FileError::Exists(text) => Self::Exists(text),
            FileError::NotADirectory(text) => Self::NotADirectory(text),
            FileError::IsADirectory(text) => Self::IsADirectory(text),
            FileError::NotEmpty(text) => Self::NotEmpty(text),
        }
    }
}
