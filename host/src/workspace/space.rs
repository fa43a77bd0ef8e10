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

use super::{
    Amount, By, Change, How, Path, WorkspaceError,
    journal::{Before, Journals, link},
    meter::{Meter, OfApp, Reserved},
};
use crate::limits::{WORKSPACE_FILE_BYTES_MAX, WORKSPACE_FILES_MAX};
use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, File, Metadata, MetadataExt, OpenOptions};
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use uuid::Uuid;

/// What a walk looks at before it gives up: a directory somebody filled behind our back is not waited for.
const LOOKED_AT_MAX: u64 = WORKSPACE_FILES_MAX * 2;
/// What is copied at once.
const PIECE_BYTES: usize = 64 << 10;

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

/// What must be so before a file is written or removed.
#[derive(Clone, Debug, Default)]
pub struct Precondition {
    /// Nothing is there.
    pub absent: bool,
    /// One of these versions is there; `*` is any.
    pub any_of: Option<Vec<String>>,
}

impl Precondition {
    fn check(&self, path: &Path, there: Option<&Entry>) -> Result<(), WorkspaceError> {
        let is = |entry: &Entry| {
            let wanted = self.any_of.as_deref().unwrap_or_default();
            wanted.iter().any(|version| version == "*" || *version == entry.version)
        };
        let holds = !(self.absent && there.is_some()) && (self.any_of.is_none() || there.is_some_and(is));
        if holds { Ok(()) } else { Err(WorkspaceError::Changed(path.to_string())) }
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

    /// Moves what was written to its place.
    ///
    /// # Errors
    /// [`WorkspaceError`]; what was there is there still.
    pub fn place(
        &self,
        staged: Staged,
        path: &Path,
        only_if: &Precondition,
        by: By<'_>,
    ) -> Result<Change, WorkspaceError> {
        let mut state = self.lock_for(by)?;
        self.place_locked(&mut state, staged, path, only_if, by)
    }

    /// Moves many files to their places, and makes directories. Whether all can be is found out before anything is
    /// moved: what fails then is the disk, and what was moved before it did is said.
    ///
    /// # Errors
    /// [`WorkspaceError`]; nothing was changed then.
    pub(super) fn place_all(
        &self,
        directories: &[Path],
        files: Vec<(Path, Staged)>,
        by: By<'_>,
    ) -> Result<(Vec<Change>, Option<WorkspaceError>), WorkspaceError> {
        let mut state = self.lock_for(by)?;
        let mut missing: BTreeSet<Path> = BTreeSet::new();
        for path in directories {
            self.check_directories(path, &mut missing)?;
        }
        for (path, _) in &files {
            self.check_directories(&path.split().0, &mut missing)?;
            if self.find(path)?.is_some_and(|entry| entry.kind == Kind::Directory) {
                return Err(WorkspaceError::IsADirectory(path.to_string()));
            }
        }
        // Until they are counted by themselves.
        let _room = self.reserve(Amount { bytes: 0, files: missing.len() as u64 })?;
        let mut changes = vec![];
        let all = || -> Result<(), WorkspaceError> {
            for path in directories.iter().chain(&missing) {
                self.make_directories(path, false)?;
            }
            for (path, staged) in files {
                let anyway = Precondition::default();
                changes.push(self.place_locked(&mut state, staged, &path, &anyway, by)?);
            }
            Ok(())
        };
        let failed = all().err();
        Ok((changes, failed))
    }

    /// Whether this may be a directory, and which of those it is in are not there.
    fn check_directories(&self, path: &Path, missing: &mut BTreeSet<Path>) -> Result<(), WorkspaceError> {
        let mut path = path.clone();
        while !path.is_root() && !missing.contains(&path) {
            match self.find(&path)? {
                Some(Entry { kind: Kind::File, .. }) => {
                    return Err(WorkspaceError::NotADirectory(path.to_string()));
                }
                Some(_) => return Ok(()),
                None => {
                    let above = path.split().0;
                    missing.insert(std::mem::replace(&mut path, above));
                }
            }
        }
        Ok(())
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

    fn place_locked(
        &self,
        state: &mut State,
        staged: Staged,
        path: &Path,
        only_if: &Precondition,
        by: By<'_>,
    ) -> Result<Change, WorkspaceError> {
        let (parent, name) = path.split();
        let there = self.find(path)?;
        only_if.check(path, there.as_ref())?;
        if there.as_ref().is_some_and(|entry| entry.kind == Kind::Directory) {
            return Err(WorkspaceError::IsADirectory(path.to_string()));
        }
        let dir = self.make_directories(&parent, true)?;
        self.remember(state, path, Some((&dir, name)).zip(there.as_ref()), by)?;
        let size = staged.size;
        staged.move_to(&dir, name)?;
        let kind = match there {
            Some(old) => {
                self.meter.release(old.amount());
                How::Modified
            }
            None => How::Created,
        };
        Ok(Change { path: path.to_string(), kind, size })
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

    /// Puts files back to what they were before these turns, for a session below the one they are of, or that one
    /// (none). What they were until now is kept, to be brought back; `anew`: nothing is taken back in it at the moment,
    /// what was kept before is of no use any more.
    ///
    /// # Errors
    /// The disk's.
    pub fn put_back(
        &self,
        session: Option<Uuid>,
        is_taken_back: &dyn Fn(&[Uuid]) -> bool,
        anew: bool,
    ) -> Result<Vec<Change>, WorkspaceError> {
        let mut state = self.lock()?;
        if anew {
            state.journals.forget_redo(session, &self.meter)?;
        }
        let wanted = state.journals.before(is_taken_back);
        for path in wanted.keys() {
            let there = self.find(path)?.filter(|entry| entry.kind == Kind::File);
            let (parent, name) = path.split();
            let dir = there.as_ref().map(|_| self.directory(&parent)).transpose()?;
            let there = dir.as_ref().zip(there.as_ref()).map(|(dir, entry)| (dir, name, entry.size));
            state.journals.keep_redo(session, &self.meter, path, there)?;
        }
        self.restore(&state, wanted)
    }

    /// Undoes [`Self::put_back`].
    ///
    /// # Errors
    /// The disk's.
    pub fn bring_back(&self, session: Option<Uuid>) -> Result<Vec<Change>, WorkspaceError> {
        let mut state = self.lock()?;
        let wanted = state.journals.redo(session);
        let changes = self.restore(&state, wanted)?;
        state.journals.forget_redo(session, &self.meter)?;
        Ok(changes)
    }

    /// Forgets what was taken back in a session below: it is gone.
    ///
    /// # Errors
    /// The disk's.
    pub fn forget_taken_back(&self, session: Uuid) -> Result<(), WorkspaceError> {
        self.lock()?.journals.forget_redo(Some(session), &self.meter)
    }

    /// Gives another workspace, which is empty, the files of this one as they were before these turns; as they are now
    /// where that is not known of all of them any more. True where it was known. They share what is on the disk, for no
    /// file is ever written in its place, and each counts all of it.
    ///
    /// # Errors
    /// The disk's, and where the app has no room for them.
    pub(super) fn copy_to(
        &self,
        other: &Space,
        turns: &dyn Fn(&[Uuid]) -> bool,
    ) -> Result<bool, WorkspaceError> {
        let state = self.lock()?;
        let known = state.journals.knows(turns);
        let earlier = if known { state.journals.before(turns) } else { BTreeMap::new() };
        for (path, before) in &earlier {
            let Before::File { size, .. } = before else { continue };
            other.adopt(path, *size, &|dir, name| state.journals.copy_out(before, dir, name))?;
        }
        let all = self.everything(&Path::default())?;
        let has_something: BTreeSet<&str> =
            all.iter().filter_map(|entry| entry.path.rsplit_once('/').map(|(parent, _)| parent)).collect();
        for entry in &all {
            let path = Path::parse_inside(&entry.path)?;
            let given = match entry.kind {
                Kind::File if earlier.contains_key(&path) => continue,
                Kind::File => {
                    let (parent, name) = path.split();
                    let from = self.directory(&parent)?;
                    other.adopt(&path, entry.size, &|dir, to| link(&from, name, dir, to))
                }
                // Others are there because of what is in them.
                Kind::Directory if has_something.contains(entry.path.as_str()) => continue,
                Kind::Directory => other.make_directories(&path, true).map(drop),
            };
            match given {
                // What those turns put in the place of something else.
                Err(WorkspaceError::NotADirectory(_) | WorkspaceError::IsADirectory(_)) => {}
                given => given?,
            }
        }
        Ok(known)
    }

    /// Takes a file that is somewhere else, and that nothing is written to, under another name.
    fn adopt(
        &self,
        path: &Path,
        size: u64,
        give: &dyn Fn(&Dir, &str) -> io::Result<()>,
    ) -> Result<(), WorkspaceError> {
        let (parent, name) = path.split();
        let dir = self.make_directories(&parent, true)?;
        if look(&dir, path, name)?.is_some() {
            return Err(WorkspaceError::IsADirectory(path.to_string()));
        }
        let reserved = self.reserve(Amount::file(size))?;
        give(&dir, name)?;
        reserved.keep();
        Ok(())
    }

    /// Makes these paths what they were. What is in the way of one and is none of them stays, and so the one is not
    /// put back: nothing is lost that nobody asked to lose.
    fn restore(&self, state: &State, wanted: BTreeMap<Path, Before>) -> Result<Vec<Change>, WorkspaceError> {
        let mut changes = vec![];
        // What goes, first: it may stand where a directory was.
        for path in wanted.iter().filter(|(_, before)| **before == Before::Absent).map(|(path, _)| path) {
            if self.find(path)?.is_some_and(|entry| entry.kind == Kind::File) {
                changes.push(self.take_away(path)?);
            }
        }
        for (path, before) in &wanted {
            let Before::File { size, .. } = before else { continue };
            let there = self.find(path)?;
            let same = there.as_ref().is_some_and(|entry| state.journals.is_same(before, entry));
            if same || there.as_ref().is_some_and(|entry| entry.kind == Kind::Directory) {
                continue;
            }
            let (parent, name) = path.split();
            let dir = match self.make_directories(&parent, false) {
                Ok(dir) => dir,
                Err(WorkspaceError::NotADirectory(_)) => continue,
                Err(error) => return Err(error),
            };
            state.journals.copy_out(before, &self.staging, RESTORED)?;
            self.staging.rename(RESTORED, &dir, name)?;
            self.meter.count(Amount::file(*size));
            let kind = match there {
                Some(old) => {
                    self.meter.release(old.amount());
                    How::Modified
                }
                None => How::Created,
            };
            changes.push(Change { path: path.to_string(), kind, size: *size });
        }
        Ok(changes)
    }

    /// Removes a file and the directories that are empty without it.
    fn take_away(&self, path: &Path) -> Result<Change, WorkspaceError> {
        let (mut parent, name) = path.split();
        let dir = self.directory(&parent)?;
        if let Some(entry) = look(&dir, path, name)? {
            dir.remove_file(name)?;
            self.meter.release(entry.amount());
        }
        while !parent.is_root() {
            let (above, name) = parent.split();
            if self.directory(&above)?.remove_dir(name).is_err() {
                break;
            }
            self.meter.release(Amount::file(0));
            parent = above;
        }
        Ok(Change { path: path.to_string(), kind: How::Removed, size: 0 })
    }
}

/// What is put back on its way to its place.
const RESTORED: &str = "restored";

/// A file that is being written. Removed when it is dropped before it was moved to its place.
pub struct Staged {
    space: Arc<Space>,
    name: String,
    /// None once it is whole: many may wait for their places together.
    file: Option<File>,
    size: u64,
    reserved: Option<Reserved>,
}

impl Staged {
    /// An empty one.
    ///
    /// # Errors
    /// Where the session or the app has too many files, and the disk's.
    pub fn begin(space: &Arc<Space>) -> Result<Staged, WorkspaceError> {
        let name = {
            let mut state = space.lock()?;
            state.staged += 1;
            state.staged.to_string()
        };
        let reserved = space.reserve(Amount::file(0))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).follow(FollowSymlinks::No);
        let file = Some(space.staging.open_with(&name, &options)?);
        Ok(Staged { space: space.clone(), name, file, size: 0, reserved: Some(reserved) })
    }

    /// Adds bytes to it.
    ///
    /// # Errors
    /// Where it, the session's or the app's files become too large, and the disk's.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WorkspaceError> {
        self.reserve(bytes.len() as u64)?;
        self.file()?.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Ends the writing: it takes no more, and waits for its place.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    fn file(&mut self) -> io::Result<&mut File> {
        self.file.as_mut().ok_or_else(|| io::Error::other("the file is closed"))
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), WorkspaceError> {
        if self.size.saturating_add(bytes) > WORKSPACE_FILE_BYTES_MAX {
            return Err(WorkspaceError::TooLarge);
        }
        let reserved = self.reserved.as_mut().expect("it is there until the file is at its place");
        reserved.more(bytes).map_err(WorkspaceError::Full)
    }

    fn move_to(mut self, dir: &Dir, name: &str) -> Result<(), WorkspaceError> {
        self.space.staging.rename(&self.name, dir, name)?;
        if let Some(reserved) = self.reserved.take() {
            reserved.keep();
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.reserved.is_some() {
            // It is removed at the next start otherwise.
            drop(self.space.staging.remove_file(&self.name));
        }
    }
}

// --- directories ---

/// A directory of ours inside another, made if it is not there.
pub(super) fn subdirectory(dir: &Dir, name: &str) -> io::Result<Dir> {
    match dir.create_dir(name) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => dir.open_dir_nofollow(name),
    }
}

pub(super) fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

pub(super) fn open_to_read(dir: &Dir, name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No);
    dir.open_with(name, &options)
}

/// Copies a file into another directory, where a second name for it cannot be had.
pub(super) fn copy(from: &Dir, name: &str, to: &Dir, to_name: &str) -> io::Result<()> {
    let mut old = open_to_read(from, name)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).follow(FollowSymlinks::No);
    let mut new = to.open_with(to_name, &options)?;
    io::copy(&mut old, &mut new).map(drop)
}

fn look(dir: &Dir, path: &Path, name: &str) -> io::Result<Option<Entry>> {
    match dir.symlink_metadata(name) {
        Ok(metadata) => Ok(Entry::of(path, &metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The names in a directory that are paths.
fn children(dir: &Dir, path: &Path) -> Result<Vec<(String, Path)>, WorkspaceError> {
    let mut names = vec![];
    for (looked_at, entry) in dir.entries()?.enumerate() {
        if looked_at as u64 >= LOOKED_AT_MAX {
            return Err(WorkspaceError::TooMany);
        }
        let name = entry?.file_name();
        let child = name.to_str().and_then(|name| Some((name.to_owned(), path.child(name)?)));
        names.extend(child);
    }
    Ok(names)
}

/// Shows everything below a directory to `visit`, until that has enough.
pub(super) fn walk(
    dir: &Dir,
    path: &Path,
    visit: &mut dyn FnMut(&Dir, Entry) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, WorkspaceError> {
    let mut names = children(dir, path)?;
    names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    for (name, child) in names {
        let Some(entry) = look(dir, &child, &name)? else { continue };
        let is_directory = entry.kind == Kind::Directory;
        if visit(dir, entry).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if is_directory {
            match dir.open_dir_nofollow(&name) {
                Ok(inside) => {
                    if walk(&inside, &child, visit)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                // Gone meanwhile.
                Err(error) => absent_is_fine(error)?,
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// What is in a directory and below it. Where there is more than anybody may have, that much and no more.
fn holding(dir: &Dir) -> Amount {
    let mut holds = Amount::default();
    let walked = walk(dir, &Path::default(), &mut |_, entry| {
        holds += entry.amount();
        if holds.files > LOOKED_AT_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if !matches!(walked, Ok(ControlFlow::Continue(()))) {
        // Too much to be counted, or it cannot be: full, either way.
        holds += Amount { bytes: 0, files: LOOKED_AT_MAX };
    }
    holds
}

/// Reads a file in pieces, for whoever sends it on.
pub(super) fn next_piece(file: &mut File, left: u64) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES * 4)];
    let mut read = 0;
    while read < piece.len() {
        match file.read(&mut piece[read..])? {
            0 => break,
            count => read += count,
        }
    }
    piece.truncate(read);
    Ok(piece)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::WORKSPACE_TURNS_KEPT_MAX;
    use cap_std::ambient_authority;

    fn space() -> (tempfile::TempDir, Arc<Space>) {
        let dir = tempfile::tempdir().unwrap();
        let home = Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap();
        let space = Space::open(Arc::new(OfApp::default()), &home).unwrap();
        (dir, space)
    }

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn read(space: &Space, at: &str) -> String {
        String::from_utf8(space.read_part(&path(at), 0, 1000).unwrap().0).unwrap()
    }

    /// What is counted is what a new count finds.
    fn counts_are_right(dir: &tempfile::TempDir, space: &Space) {
        let home = Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap();
        let again = Space::open(Arc::new(OfApp::default()), &home).unwrap();
        assert_eq!(again.holds(), space.holds());
    }

    #[test]
    fn whatever_is_done_the_count_is_right_and_can_be_made_anew() {
        let (dir, space) = space();
        let turns = [[Uuid::from_u128(1)], [Uuid::from_u128(2)]];
        let by = |turn: usize| By { turns: &turns[turn], stands: &|| true };
        space.write(&path("a/b/c"), b"one", By::OUTSIDE).unwrap();
        space.write(&path("d"), b"two", By::OUTSIDE).unwrap();
        space.write(&path("a/b/c"), b"three", by(0)).unwrap();
        space.write(&path("a/b/c"), b"four", by(0)).unwrap();
        space.write_at(&path("holes"), Some(100), b"x", by(0)).unwrap();
        counts_are_right(&dir, &space);
        space.rename(&path("a"), &path("e/f"), by(1)).unwrap();
        space.rename(&path("d"), &path("e/f/b/c"), by(1)).unwrap();
        space.remove(&path("holes"), false, &Precondition::default(), by(1)).unwrap();
        space.write(&path("new/deep/er"), b"", by(1)).unwrap();
        counts_are_right(&dir, &space);
        let space = {
            drop(space);
            let home = Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap();
            Space::open(Arc::new(OfApp::default()), &home).unwrap()
        };
        space.put_back(None, &|turn| turn == turns[1], true).unwrap();
        assert_eq!((read(&space, "a/b/c").as_str(), read(&space, "d").as_str()), ("four", "two"));
        assert_eq!(read(&space, "holes").len(), 101);
        assert!(space.find(&path("new")).unwrap().is_none() && space.find(&path("e")).unwrap().is_none());
        counts_are_right(&dir, &space);
        space.put_back(None, &|_| true, false).unwrap();
        assert_eq!(
            (read(&space, "a/b/c").as_str(), space.find(&path("holes")).unwrap().is_none()),
            ("one", true)
        );
        counts_are_right(&dir, &space);
        space.bring_back(None).unwrap();
        assert_eq!(read(&space, "e/f/b/c"), "two");
        assert!(
            space.find(&path("a/b/c")).unwrap().is_none()
                && space.find(&path("new/deep/er")).unwrap().is_some()
        );
        counts_are_right(&dir, &space);
        space.remove(&path("e"), true, &Precondition::default(), By::OUTSIDE).unwrap();
        counts_are_right(&dir, &space);
        space.end();
        assert_eq!(space.holds(), Amount::default());
        assert!(matches!(space.write(&path("x"), b"", By::OUTSIDE), Err(WorkspaceError::Gone)));
    }

    #[test]
    fn a_turn_that_was_ended_changes_nothing() {
        let (_dir, space) = space();
        let by = By { turns: &[Uuid::from_u128(1)], stands: &|| false };
        assert!(
            space.write(&path("a"), b"x", by).is_err() && space.write_at(&path("a"), None, b"x", by).is_err()
        );
        assert!(space.find(&path("a")).unwrap().is_none());
        assert_eq!(space.holds(), Amount::default());
    }

    #[test]
    fn what_is_kept_of_the_oldest_turns_gives_way() {
        let (dir, space) = space();
        let file = vec![b'x'; 30 << 20];
        for turn in 1..=20_u128 {
            let turns = [Uuid::from_u128(turn)];
            let by = By { turns: &turns, stands: &|| true };
            space.write(&path("a"), &file, by).unwrap();
        }
        counts_are_right(&dir, &space);
        let kept = space.lock().unwrap().journals.turns().count();
        assert!((2..10).contains(&kept), "{kept}");
    }

    #[test]
    fn of_turns_that_run_at_once_the_first_change_says_what_was_before() {
        let (dir, space) = space();
        let (top, below, other) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let write = |at: &str, text: &str, turns: &[Uuid]| {
            space.write(&path(at), text.as_bytes(), By { turns, stands: &|| true }).unwrap();
        };
        write("y", "0", &[]);
        write("x", "0", &[]);
        write("y", "1", &[top]);
        write("x", "1", &[below, top]);
        write("x", "2", &[top]);
        write("x", "3", &[other, top]);
        let before = |of: Uuid| {
            let state = space.lock().unwrap();
            let is = move |turns: &[Uuid]| turns.contains(&of);
            let shown = |before: &Before| match before {
                Before::Absent => "nothing".to_owned(),
                kept @ Before::File { .. } => {
                    let mut text = String::new();
                    state.journals.open_kept(kept).unwrap().unwrap().read_to_string(&mut text).unwrap();
                    text
                }
            };
            let was = shown(&state.journals.before(&is)[&path("x")]);
            (was, state.journals.after(&path("x"), &is).map(shown))
        };
        // The whole turn, with what is a part of it; and the parts.
        assert_eq!(before(top), ("0".to_owned(), None));
        assert_eq!(before(below), ("0".to_owned(), Some("1".to_owned())));
        assert_eq!(before(other), ("2".to_owned(), None));
        let space = {
            drop(space);
            let home = Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap();
            Space::open(Arc::new(OfApp::default()), &home).unwrap()
        };
        // Taken back below and above, each by itself; and it is all there after a new start.
        space.put_back(Some(other), &|turns| turns.contains(&other), true).unwrap();
        assert_eq!(read(&space, "x"), "2");
        space.put_back(None, &|turns| turns.contains(&top), true).unwrap();
        assert_eq!((read(&space, "x").as_str(), read(&space, "y").as_str()), ("0", "0"));
        counts_are_right(&dir, &space);
        space.bring_back(None).unwrap();
        assert_eq!((read(&space, "x").as_str(), read(&space, "y").as_str()), ("2", "1"));
        space.bring_back(Some(other)).unwrap();
        assert_eq!(read(&space, "x"), "3");
        counts_are_right(&dir, &space);
    }

    #[test]
    fn a_copy_is_as_the_files_were_shares_them_and_is_its_own() {
        let (dir, space) = space();
        let (other_dir, other) = self::space();
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        fn by(turns: &[Uuid]) -> By<'_> {
            By { turns, stands: &|| true }
        }
        space.write(&path("mine"), b"0", By::OUTSIDE).unwrap();
        space.make_directory(&path("empty"), By::OUTSIDE).unwrap();
        space.write(&path("a"), b"1", by(&[first])).unwrap();
        space.write(&path("a"), b"2", by(&[second])).unwrap();
        space.write(&path("new/b"), b"2", by(&[second])).unwrap();
        space.remove(&path("mine"), false, &Precondition::default(), by(&[second])).unwrap();
        space.write(&path("mine/inside"), b"2", by(&[second])).unwrap();
        assert!(space.copy_to(&other, &|turns| turns.contains(&second)).unwrap());
        let names = |space: &Space| -> Vec<String> {
            space.everything(&Path::default()).unwrap().into_iter().map(|entry| entry.path).collect()
        };
        assert_eq!(names(&other), ["a", "empty", "mine"]);
        assert_eq!((read(&other, "a").as_str(), read(&other, "mine").as_str()), ("1", "0"));
        counts_are_right(&other_dir, &other);
        other.write(&path("a"), b"mine now", By::OUTSIDE).unwrap();
        space.put_back(None, &|turns| turns.contains(&second), true).unwrap();
        assert_eq!((read(&space, "a").as_str(), read(&other, "a").as_str()), ("1", "mine now"));
        counts_are_right(&dir, &space);
    }

    #[test]
    fn a_copy_is_as_the_files_are_where_nobody_knows_any_more() {
        let (_dir, space) = space();
        let (_other_dir, other) = self::space();
        for turn in 1..=(WORKSPACE_TURNS_KEPT_MAX as u128 + 5) {
            let turns = [Uuid::from_u128(turn)];
            space
                .write(&path("a"), turn.to_string().as_bytes(), By { turns: &turns, stands: &|| true })
                .unwrap();
        }
        assert!(!space.copy_to(&other, &|_| true).unwrap());
        assert_eq!(read(&other, "a"), read(&space, "a"));
        let (_last_dir, last) = self::space();
        let from = Uuid::from_u128(WORKSPACE_TURNS_KEPT_MAX as u128);
        assert!(space.copy_to(&last, &|turns| turns[0] >= from).unwrap());
        assert_eq!(read(&last, "a"), (WORKSPACE_TURNS_KEPT_MAX - 1).to_string());
    }
}
