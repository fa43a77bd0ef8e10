//! How a file gets to its place: written beside the workspace, and moved when it is whole. Many of an archive together,
//! or none.

use super::{Entry, Kind, Space, State};
use crate::{
    limits::WORKSPACE_FILE_BYTES_MAX,
    workspace::{Amount, By, Change, How, Path, WorkspaceError, meter::Reserved},
};
use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, File, OpenOptions};
use std::{
    collections::BTreeSet,
    io::{self, Write},
    sync::Arc,
};

/// What must be so before a file is written or removed.
#[derive(Clone, Debug, Default)]
pub struct Precondition {
    /// Nothing is there.
    pub absent: bool,
    /// One of these versions is there; `*` is any.
    pub any_of: Option<Vec<String>>,
}

impl Precondition {
    pub(super) fn check(&self, path: &Path, there: Option<&Entry>) -> Result<(), WorkspaceError> {
        let is = |entry: &Entry| {
            let wanted = self.any_of.as_deref().unwrap_or_default();
            wanted.iter().any(|version| version == "*" || *version == entry.version)
        };
        let holds = !(self.absent && there.is_some()) && (self.any_of.is_none() || there.is_some_and(is));
        if holds { Ok(()) } else { Err(WorkspaceError::Changed(path.to_string())) }
    }
}

impl Space {
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
    pub(in crate::workspace) fn place_all(
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

    pub(super) fn place_locked(
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
}

/// A file that is being written. Removed when it is dropped before it was moved to its place.
pub struct Staged {
    space: Arc<Space>,
    name: String,
    /// None once it is whole: many may wait for their places together.
    file: Option<File>,
    pub(super) size: u64,
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
    pub(in crate::workspace) fn close(&mut self) {
        self.file = None;
    }

    pub(super) fn file(&mut self) -> io::Result<&mut File> {
        self.file.as_mut().ok_or_else(|| io::Error::other("the file is closed"))
    }

    pub(super) fn reserve(&mut self, bytes: u64) -> Result<(), WorkspaceError> {
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
