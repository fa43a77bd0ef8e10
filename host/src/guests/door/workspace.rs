//! `workspace`: the files of the session a call belongs to.

use super::{Door, unavailable};
use crate::{
    grants::{InApp, Reach},
    guests::chain::Emitted,
    limits::{WORKSPACE_ENTRIES_LISTED_MAX, WORKSPACE_MATCHES_MAX, WORKSPACE_READ_BYTES_MAX},
    sandbox::door::{DoorError, FileAnswer, FileError, FileRequest},
    sessions::log,
    workspace::{
        By, Change, Path, Space, WorkspaceError, reach,
        search::{self, Pattern},
        space::Precondition,
    },
};
use std::sync::Arc;
use uuid::Uuid;

pub(super) async fn ask(door: &Door, request: FileRequest) -> Result<FileAnswer, FileError> {
    let wanted = Wanted::read(request)?;
    let reached = if wanted.changes() { Reach::WorkspaceWrite } else { Reach::WorkspaceRead };
    door.permit(&reached).await?;
    let Some((session_id, files)) = door.chain.session_id.zip(door.chain.files.as_ref()) else {
        return Err(FileError::NoSession(
            "this call belongs to no session, and so there are no files".to_owned(),
        ));
    };
    let app = &door.app;
    let space = if wanted.writes() {
        Some(reach::to_write(app, &door.grants, files.session_id).await?)
    } else {
        reach::existing(app, &door.grants, files.session_id).await?
    };
    let Some(space) = space else { return wanted.of_nothing() };
    let (answer, changes) = {
        let (app, turn, turns) = (app.clone(), door.chain.turn_id, files.turns.clone());
        let work = move || {
            let stands = || turn.is_none_or(|turn| app.running_turns.runs(turn));
            wanted.work(&space, By { turns: &turns, stands: &stands })
        };
        reach::job(&door.app, door.grants.app().app_id, work).await?
    };
    for change in changes {
        tell(door, session_id, change).await?;
    }
    Ok(answer)
}

/// A request that may be one: its paths lead nowhere else.
enum Wanted {
    Read(Path, u64, u64),
    Write(Path, Vec<u8>),
    WriteAt(Path, Option<u64>, Vec<u8>),
    Stat(Path),
    Entries(Path, Option<String>),
    MakeDirectory(Path),
    Remove(Path, bool),
    Rename(Path, Path),
    Find(Path, Pattern),
}

impl Wanted {
    fn read(request: FileRequest) -> Result<Wanted, WorkspaceError> {
        Ok(match request {
            FileRequest::Read { path, offset, length } => {
                Wanted::Read(Path::parse_inside(&path)?, offset, length.min(WORKSPACE_READ_BYTES_MAX))
            }
            FileRequest::Write { path, contents } => Wanted::Write(Path::parse_inside(&path)?, contents),
            FileRequest::WriteAt { path, offset, contents } => {
                Wanted::WriteAt(Path::parse_inside(&path)?, offset, contents)
            }
            FileRequest::Stat { path } => Wanted::Stat(Path::parse(&path)?),
            FileRequest::Entries { path, after } => Wanted::Entries(Path::parse(&path)?, after),
            FileRequest::MakeDirectory { path } => Wanted::MakeDirectory(Path::parse(&path)?),
            FileRequest::Remove { path, all } => Wanted::Remove(Path::parse_inside(&path)?, all),
            FileRequest::Rename { source, target } => {
                Wanted::Rename(Path::parse_inside(&source)?, Path::parse_inside(&target)?)
            }
            FileRequest::Find { path, text, is_regex } => {
                Wanted::Find(Path::parse(&path)?, Pattern::new(&text, is_regex)?)
            }
        })
    }

    fn changes(&self) -> bool {
        match self {
            Wanted::Read(..) | Wanted::Stat(_) | Wanted::Entries(..) | Wanted::Find(..) => false,
            Wanted::Write(..)
            | Wanted::WriteAt(..)
            | Wanted::MakeDirectory(_)
            | Wanted::Remove(..)
            | Wanted::Rename(..) => true,
        }
    }

    /// Whether there must be something to write to.
    fn writes(&self) -> bool {
        matches!(self, Wanted::Write(..) | Wanted::WriteAt(..) | Wanted::MakeDirectory(_))
    }

    /// The answer where nothing was ever written: the workspace is there, and empty.
    fn of_nothing(self) -> Result<FileAnswer, FileError> {
        match self {
            Wanted::Entries(path, _) if path.is_root() => Ok(FileAnswer::Entries(vec![])),
            Wanted::Find(path, _) if path.is_root() => Ok(FileAnswer::Matches(vec![])),
            Wanted::Stat(path) if path.is_root() => {
                Ok(FileAnswer::Entries(vec![crate::workspace::Entry::root()]))
            }
            Wanted::Read(path, ..)
            | Wanted::Write(path, _)
            | Wanted::WriteAt(path, ..)
            | Wanted::Stat(path)
            | Wanted::Entries(path, _)
            | Wanted::MakeDirectory(path)
            | Wanted::Remove(path, _)
            | Wanted::Rename(path, _)
            | Wanted::Find(path, _) => Err(WorkspaceError::NotFound(path.to_string()).into()),
        }
    }

    fn work(self, space: &Arc<Space>, by: By<'_>) -> Result<(FileAnswer, Vec<Change>), WorkspaceError> {
        let done = |changes| Ok((FileAnswer::Done, changes));
        match self {
            Wanted::Read(path, offset, length) => {
                let (bytes, size) = space.read_part(&path, offset, length)?;
                Ok((FileAnswer::Part(bytes, size), vec![]))
            }
            Wanted::Write(path, contents) => done(vec![space.write(&path, &contents, by)?]),
            Wanted::WriteAt(path, offset, contents) => {
                done(vec![space.write_at(&path, offset, &contents, by)?])
            }
            Wanted::Stat(path) => {
                let entry = space.find(&path)?.ok_or_else(|| WorkspaceError::NotFound(path.to_string()))?;
                Ok((FileAnswer::Entries(vec![entry]), vec![]))
            }
            Wanted::Entries(path, after) => {
                let entries = space.list(&path, after.as_deref(), WORKSPACE_ENTRIES_LISTED_MAX)?;
                Ok((FileAnswer::Entries(entries), vec![]))
            }
            Wanted::MakeDirectory(path) => space.make_directory(&path, by).and_then(|_| done(vec![])),
            Wanted::Remove(path, all) => {
                done(vec![space.remove(&path, all, &Precondition::default(), by)?])
            }
            Wanted::Rename(source, target) => done(space.rename(&source, &target, by)?.into()),
            Wanted::Find(path, pattern) => {
                let found = search::find(space, &path, &pattern, WORKSPACE_MATCHES_MAX)?;
                Ok((FileAnswer::Matches(found.matches), vec![]))
            }
        }
    }
}

/// Tells who watches: among what else its turn tells, in order; of a chat request's turn, which tells nothing until it
/// has ended, at once.
async fn tell(door: &Door, session_id: Uuid, change: Change) -> Result<(), FileError> {
    if door.chain.turn_id.is_some() {
        // Where nobody hears it any more the turn was cut: what was changed is kept with it.
        drop(door.chain.emit(Emitted::File(change)).await);
        return Ok(());
    }
    let told = async {
        let mut tx = door.app.tenant_tx(&door.grants).await?;
        let draft = log::Draft::new(log::Kind::FileChanged, None, serde_json::json!(change));
        let of = (session_id, door.grants.app().app_id);
        let written = log::write(&door.app, tx.conn(), of, vec![draft]).await?;
        tx.commit().await?;
        written.tell(&door.app);
        Ok(())
    };
    told.await.map_err(unavailable("telling of a change")).map_err(FileError::Door)
}

impl From<WorkspaceError> for FileError {
    fn from(error: WorkspaceError) -> FileError {
        let text = error.to_string();
        match error {
            WorkspaceError::NoSession => FileError::NoSession(text),
            WorkspaceError::Gone => FileError::Gone(text),
            WorkspaceError::NotFound(_) => FileError::NotFound(text),
            WorkspaceError::Exists(_) => FileError::Exists(text),
            WorkspaceError::NotADirectory(_) => FileError::NotADirectory(text),
            WorkspaceError::IsADirectory(_) => FileError::IsADirectory(text),
            WorkspaceError::NotEmpty(_) => FileError::NotEmpty(text),
            WorkspaceError::Invalid(_) | WorkspaceError::Changed(_) => {
                FileError::Door(DoorError::Invalid(text))
            }
            WorkspaceError::TooLarge
            | WorkspaceError::TooMuch
            | WorkspaceError::TooMany
            | WorkspaceError::Full(_) => FileError::Door(DoorError::Limit(text)),
            WorkspaceError::Io(cause) => {
                tracing::error!(%cause, "a guest's call of a workspace failed on our side");
                FileError::Door(DoorError::Unavailable(
                    "the files cannot be reached right now; try again".to_owned(),
                ))
            }
            WorkspaceError::Db(cause) => FileError::Door(unavailable("looking up the files")(cause)),
        }
    }
}
