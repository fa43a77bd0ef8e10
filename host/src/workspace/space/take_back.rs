//! What turns changed is taken back, and brought back.

use super::{Kind, Space, State, directories::look};
use crate::workspace::{Amount, Change, How, Path, WorkspaceError, journal::Before};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is put back on its way to its place.
const RESTORED: &str = "restored";

impl Space {
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

#[cfg(test)]
mod tests {
    use crate::workspace::{
        By, Space,
        journal::Before,
        meter::OfApp,
        space::tests::{counts_are_right, path, read, space},
    };
    use cap_std::{ambient_authority, fs::Dir};
    use std::{io::Read, sync::Arc};
    use uuid::Uuid;

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
}
