//! One workspace on the disk. Everything here blocks: it is called on threads made for that (`reach`).
//!
//! ```text
//! files/     what there is
//! staging/   what is being written; moved to its place when it is whole
//! journal/   files as they were before a turn first changed them
//! redo/      files as they were before turns were taken back
//! ```
//!
//! Changes come one after another, under one lock; who reads a file keeps the one that was there when it was opened.
//!
//! - `place`: how a file gets to its place, and many of an archive together.
//! - `take_back`: what turns changed is taken back, and brought back.
//! - `copy_to`: files are given to another workspace.
//! - `directories`: what is in one on the disk, and nothing outside.

mod copy_to;
mod directories;
mod place;
mod take_back;

pub(super) use directories::{absent_is_fine, copy, next_piece, open_to_read, subdirectory, walk};
pub use place::{Precondition, Staged};

use super::{
    Amount, By, Change, How, Path, WorkspaceError,
    journal::Journals,
    meter::{Meter, OfApp, Reserved},
};
use crate::limits::WORKSPACE_FILES_MAX;
use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, File, Metadata, MetadataExt, OpenOptions};
use chrono::{DateTime, SubsecRound, Utc};
use directories::{children, holding, look};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It has bytes.
    File,
    /// It has others in it.
    Directory,
}

/// Something there is, as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Where.
    pub path: String,
    /// What.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// How long, in bytes; of a directory 0.
    pub size: u64,
    /// When it was last written.
    pub modified_at: DateTime<Utc>,
    /// Another one whenever it was written; for preconditions.
    #[serde(skip)]
    pub version: String,
}

impl Entry {
    /// None where it is something that is not shown: a link, a device.
    fn of(path: &Path, metadata: &Metadata) -> Option<Entry> {
        let kind = match metadata.file_type() {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Directory,
            _ => return None,
        };
        let modified_at = DateTime::from_timestamp(metadata.mtime(), 0).unwrap_or_default().trunc_subsecs(0);
        Some(Entry {
            path: path.as_str().to_owned(),
            kind,
            size: if kind == Kind::File { metadata.len() } else { 0 },
            modified_at,
            version: format!(
                "{:x}-{:x}-{:x}-{:x}",
                metadata.ino(),
                metadata.mtime(),
                metadata.mtime_nsec(),
                metadata.len()
            ),
        })
    }

    /// The workspace itself, where nothing was ever written to it.
    pub(crate) fn root() -> Entry {
        Entry {
            path: String::new(),
            kind: Kind::Directory,
            size: 0,
            modified_at: DateTime::default(),
            version: String::new(),
        }
    }

    fn amount(&self) -> Amount {
        Amount::file(self.size)
    }
}

/// A workspace that is open.
pub struct Space {
    meter: Arc<Meter>,
    pub(super) files: Dir,
    staging: Dir,
    state: Mutex<State>,
}

pub(super) struct State {
    /// Its session was deleted.
    gone: bool,
    staged: u64,
    pub(super) journals: Journals,
}

impl Space {
    /// Opens what is in `home`, which is made ready first. What it holds is counted in `app` already.
    pub(super) fn open(app: Arc<OfApp>, home: &Dir) -> Result<Arc<Space>, WorkspaceError> {
        let files = subdirectory(home, "files")?;
        let journals = Journals::open(home)?;
        let mut holds = holding(&files);
        holds += journals.holding();
        Ok(Arc::new(Space {
            meter: Meter::new(app, holds),
            staging: subdirectory(home, "staging")?,
            files,
            state: Mutex::new(State { gone: false, staged: 0, journals }),
        }))
    }

    /// What a workspace that nobody has open holds. What was being written when the process died is removed.
    pub(super) fn count(home: &Dir) -> Result<Amount, WorkspaceError> {
        home.remove_dir_all("staging").or_else(absent_is_fine)?;
        let mut holds = holding(&subdirectory(home, "files")?);
        holds += Journals::open(home)?.holding();
        Ok(holds)
    }

    /// Its session is gone: nothing is written any more, and what it held is free.
    pub(super) fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).gone = true;
        self.meter.release(self.meter.holds());
    }

    /// What it holds.
    pub fn holds(&self) -> Amount {
        self.meter.holds()
    }

    pub(super) fn lock(&self) -> Result<MutexGuard<'_, State>, WorkspaceError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.gone { Err(WorkspaceError::Gone) } else { Ok(state) }
    }

    /// The same for whoever changes something in a turn that must still run.
    fn lock_for(&self, by: By<'_>) -> Result<MutexGuard<'_, State>, WorkspaceError> {
        let state = self.lock()?;
        if (by.stands)() { Ok(state) } else { Err(WorkspaceError::Gone) }
    }

    // --- looking ---

    /// The directory of this path, each step taken without following links.
    pub(super) fn directory(&self, path: &Path) -> Result<Dir, WorkspaceError> {
        let mut dir = self.files.try_clone()?;
        let mut at = Path::default();
        for name in path.names() {
            at = at.child(name).ok_or_else(|| WorkspaceError::NotFound(path.to_string()))?;
            match look(&dir, &at, name)? {
                Some(Entry { kind: Kind::Directory, .. }) => dir = dir.open_dir_nofollow(name)?,
                Some(_) => return Err(WorkspaceError::NotADirectory(at.to_string())),
                None => return Err(WorkspaceError::NotFound(path.to_string())),
            }
        }
        Ok(dir)
    }

    /// What is there; none: nothing, or nothing that is shown.
    ///
    /// # Errors
    /// The disk's.
    pub fn find(&self, path: &Path) -> Result<Option<Entry>, WorkspaceError> {
        if path.is_root() {
            return Ok(Entry::of(path, &self.files.dir_metadata()?));
        }
        let (parent, name) = path.split();
        match self.directory(&parent) {
            Ok(dir) => Ok(look(&dir, path, name)?),
            Err(WorkspaceError::NotFound(_) | WorkspaceError::NotADirectory(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is in a directory, by name: `limit` of them after a name.
    ///
    /// # Errors
    /// Where there is none, or it holds too many.
    pub fn list(&self, path: &Path, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, WorkspaceError> {
        let dir = self.directory(path)?;
        let mut names = children(&dir, path)?;
        names.retain(|(name, _)| after.is_none_or(|after| name.as_str() > after));
        names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let shown = names.into_iter().filter_map(|(name, child)| look(&dir, &child, &name).transpose());
        Ok(shown.take(limit).collect::<io::Result<_>>()?)
    }

    /// A file, open, and what it is. It stays as it is while it is open.
    ///
    /// # Errors
    /// Where there is none.
    pub fn read(&self, path: &Path) -> Result<(File, Entry), WorkspaceError> {
        let (parent, name) = path.split();
        let dir = self.directory(&parent)?;
        match look(&dir, path, name)? {
            None => return Err(WorkspaceError::NotFound(path.to_string())),
            Some(Entry { kind: Kind::Directory, .. }) => {
                return Err(WorkspaceError::IsADirectory(path.to_string()));
            }
            Some(_) => {}
        }
        let file = open_to_read(&dir, name)?;
        let entry = Entry::of(path, &file.metadata()?).filter(|entry| entry.kind == Kind::File);
        Ok((file, entry.ok_or_else(|| WorkspaceError::NotFound(path.to_string()))?))
    }

    /// A part of a file, and how long the whole is.
    ///
    /// # Errors
    /// Where there is none.
    pub fn read_part(
        &self,
        path: &Path,
        offset: u64,
        bytes_max: u64,
    ) -> Result<(Vec<u8>, u64), WorkspaceError> {
        let (mut file, entry) = self.read(path)?;
        let mut part = vec![];
        if offset < entry.size {
            file.seek(SeekFrom::Start(offset))?;
            file.take(bytes_max).read_to_end(&mut part)?;
        }
        Ok((part, entry.size))
    }

    /// Everything in a directory and below it, directories before what is in them.
    ///
    /// # Errors
    /// Where there is none, or there is too much.
    pub fn everything(&self, path: &Path) -> Result<Vec<Entry>, WorkspaceError> {
        let mut all = vec![];
        let walked = walk(&self.directory(path)?, path, &mut |_, entry| {
            all.push(entry);
            if all.len() as u64 > WORKSPACE_FILES_MAX {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if walked?.is_break() { Err(WorkspaceError::TooMany) } else { Ok(all) }
    }

    // --- changing ---

    /// Writes a file whole.
    ///
    /// # Errors
    /// [`WorkspaceError`]; what was there is there still.
    pub fn write(self: &Arc<Self>, path: &Path, bytes: &[u8], by: By<'_>) -> Result<Change, WorkspaceError> {
        let mut staged = Staged::begin(self)?;
        staged.write(bytes)?;
        self.place(staged, path, &Precondition::default(), by)
    }

    /// Writes into a file from `offset` on; at its end where there is none. What lies between its end and `offset`
    /// is zeros, and counts.
    ///
    /// # Errors
    /// [`WorkspaceError`]; what was there is there still.
    pub fn write_at(
        self: &Arc<Self>,
        path: &Path,
        offset: Option<u64>,
        bytes: &[u8],
        by: By<'_>,
    ) -> Result<Change, WorkspaceError> {
        let mut staged = Staged::begin(self)?;
        let mut state = self.lock_for(by)?;
        let old = match self.read(path) {
            Ok((file, entry)) => Some((file, entry.size)),
            Err(WorkspaceError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let old_size = old.as_ref().map_or(0, |(_, size)| *size);
        let offset = offset.unwrap_or(old_size);
        let end = offset.checked_add(bytes.len() as u64).ok_or(WorkspaceError::TooLarge)?;
        staged.reserve(end.max(old_size))?;
        if let Some((mut file, _)) = old {
            io::copy(&mut Read::by_ref(&mut file).take(old_size), staged.file()?)?;
        }
        let file = staged.file()?;
        file.set_len(end.max(old_size))?;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)?;
        staged.size = end.max(old_size);
        self.place_locked(&mut state, staged, path, &Precondition::default(), by)
    }

    /// A file of no name, for what is read while it is needed and then gone, also where the process dies.
    pub(super) fn scratch(&self) -> Result<File, WorkspaceError> {
        let name = {
            let mut state = self.lock()?;
            state.staged += 1;
            state.staged.to_string()
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).follow(FollowSymlinks::No);
        let file = self.staging.open_with(&name, &options)?;
        self.staging.remove_file(&name)?;
        Ok(file)
    }

    /// Makes a directory and those it is in. One that is there is fine; whether there was anything to do.
    ///
    /// # Errors
    /// [`WorkspaceError`]
    pub fn make_directory(&self, path: &Path, by: By<'_>) -> Result<bool, WorkspaceError> {
        let _state = self.lock_for(by)?;
        let was_there = self.find(path)?.is_some();
        self.make_directories(path, true)?;
        Ok(!was_there)
    }

    /// `counted`: within the limits; what is put back is counted all the same.
    fn make_directories(&self, path: &Path, counted: bool) -> Result<Dir, WorkspaceError> {
        let mut dir = self.files.try_clone()?;
        let mut at = Path::default();
        for name in path.names() {
            at = at.child(name).ok_or_else(|| WorkspaceError::NotFound(path.to_string()))?;
            match look(&dir, &at, name)? {
                Some(Entry { kind: Kind::Directory, .. }) => {}
                Some(_) => return Err(WorkspaceError::NotADirectory(at.to_string())),
                None if counted => {
                    let reserved = self.reserve(Amount::file(0))?;
                    dir.create_dir(name)?;
                    reserved.keep();
                }
                None => {
                    dir.create_dir(name)?;
                    self.meter.count(Amount::file(0));
                }
            }
            dir = dir.open_dir_nofollow(name)?;
        }
        Ok(dir)
    }

    /// Removes a file, or a directory: an empty one, or with `all` also what is in it.
    ///
    /// # Errors
    /// [`WorkspaceError`]
    pub fn remove(
        &self,
        path: &Path,
        all: bool,
        only_if: &Precondition,
        by: By<'_>,
    ) -> Result<Change, WorkspaceError> {
        let mut state = self.lock_for(by)?;
        let (parent, name) = path.split();
        let dir = self.directory(&parent)?;
        let there = look(&dir, path, name)?;
        only_if.check(path, there.as_ref())?;
        let there = there.ok_or_else(|| WorkspaceError::NotFound(path.to_string()))?;
        match there.kind {
            Kind::File => {
                self.remember(&mut state, path, Some(((&dir, name), &there)), by)?;
                dir.remove_file(name)?;
                self.meter.release(there.amount());
            }
            Kind::Directory => {
                let inside = self.everything(path)?;
                if !inside.is_empty() && !all {
                    return Err(WorkspaceError::NotEmpty(path.to_string()));
                }
                self.remember_all(&mut state, &inside, by)?;
                dir.remove_dir_all(name)?;
                let mut freed = there.amount();
                inside.iter().for_each(|entry| freed += entry.amount());
                self.meter.release(freed);
            }
        }
        Ok(Change { path: path.to_string(), kind: How::Removed, size: 0 })
    }

    /// Moves a file or a directory. A file that is in the way is replaced, a directory is not.
    ///
    /// # Errors
    /// [`WorkspaceError`]
    pub fn rename(&self, from: &Path, to: &Path, by: By<'_>) -> Result<[Change; 2], WorkspaceError> {
        let mut state = self.lock_for(by)?;
        let (parent, name) = from.split();
        let dir = self.directory(&parent)?;
        let there = look(&dir, from, name)?.ok_or_else(|| WorkspaceError::NotFound(from.to_string()))?;
        let (to_parent, to_name) = to.split();
        let in_the_way = self.find(to)?;
        if from == to {
            return Err(WorkspaceError::Exists(to.to_string()));
        }
        if there.kind == Kind::Directory && to.is_within(from) {
            return Err(WorkspaceError::Invalid("a directory cannot be moved into itself".into()));
        }
        match (&there.kind, &in_the_way) {
            (_, Some(Entry { kind: Kind::Directory, .. })) | (Kind::Directory, Some(_)) => {
                return Err(WorkspaceError::Exists(to.to_string()));
            }
            _ => {}
        }
        let inside = match there.kind {
            Kind::Directory => self.everything(from)?,
            Kind::File => vec![],
        };
        // Deeper than it was: what is inside must still have a path.
        let moved = |path: &str| {
            let rest = path.strip_prefix(from.as_str()).unwrap_or_default();
            Path::parse_inside(&format!("{to}{rest}"))
        };
        let moved_to = inside
            .iter()
            .filter(|entry| entry.kind == Kind::File)
            .map(|entry| moved(&entry.path))
            .collect::<Result<Vec<_>, _>>()?;
        let to_dir = self.make_directories(&to_parent, true)?;
        match there.kind {
            Kind::File => {
                self.remember(&mut state, from, Some(((&dir, name), &there)), by)?;
                self.remember(&mut state, to, Some((&to_dir, to_name)).zip(in_the_way.as_ref()), by)?;
            }
            Kind::Directory => {
                self.remember_all(&mut state, &inside, by)?;
                for path in &moved_to {
                    self.remember(&mut state, path, None, by)?;
                }
            }
        }
        dir.rename(name, &to_dir, to_name)?;
        // Two names of one file: then the system moves nothing.
        if there.kind == Kind::File {
            dir.remove_file(name).or_else(absent_is_fine)?;
        }
        let kind = match in_the_way {
            Some(old) => {
                self.meter.release(old.amount());
                How::Modified
            }
            None => How::Created,
        };
        Ok([
            Change { path: from.to_string(), kind: How::Removed, size: 0 },
            Change { path: to.to_string(), kind, size: there.size },
        ])
    }

    // --- what was before ---

    /// Keeps what is at `path` now, where it is changed in a turn for the first time.
    fn remember(
        &self,
        state: &mut State,
        path: &Path,
        there: Option<((&Dir, &str), &Entry)>,
        by: By<'_>,
    ) -> Result<(), WorkspaceError> {
        let there = there.map(|((dir, name), entry)| (dir, name, entry.size));
        state.journals.remember(by.turns, &self.meter, path, there)
    }

    fn remember_all(&self, state: &mut State, entries: &[Entry], by: By<'_>) -> Result<(), WorkspaceError> {
        if by.turns.is_empty() {
            return Ok(());
        }
        for entry in entries.iter().filter(|entry| entry.kind == Kind::File) {
            let path = Path::parse_inside(&entry.path)?;
            let (parent, name) = path.split();
            let dir = self.directory(&parent)?;
            self.remember(state, &path, Some(((&dir, name), entry)), by)?;
        }
        Ok(())
    }

    fn reserve(&self, amount: Amount) -> Result<Reserved, WorkspaceError> {
        self.meter.reserve(amount).map_err(WorkspaceError::Full)
    }
}

#[cfg(test)]
mod tests;
