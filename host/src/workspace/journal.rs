//! What files were before a turn first changed them, turn by turn; and before turns were taken back (`redo`).
//!
//! Kept beside the workspace and counted with it: a file by a second name, not by a copy, for no file is ever written
//! in its place. An index says which is which, a line each, written before the change it is about. What is kept of
//! the oldest turns goes where there is no room for more.

use super::{
    Amount, Over, Path, WorkspaceError,
    meter::Meter,
    space::{self, Entry},
};
use crate::limits::WORKSPACE_TURNS_KEPT_MAX;
use cap_std::fs::{Dir, OpenOptions};
use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
    sync::Arc,
};
use uuid::Uuid;

/// What one line of an index takes besides its path: an earlier state that is nothing also counts.
const LINE_BYTES: u64 = 64;
/// The file that says which is which.
const INDEX: &str = "index";

/// What was at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Absent,
    /// A file, kept.
    File {
        /// In which turn's directory; none: in the one for what was taken back.
        turn: Option<Uuid>,
        /// Its name there.
        name: String,
        /// Its length, in bytes.
        size: u64,
    },
}

/// All of them.
pub struct Journals {
    home: Dir,
    dir: Dir,
    /// The oldest first.
    turns: Vec<Journal>,
    redo: Journal,
}

/// One turn's.
struct Journal {
    turn: Option<Uuid>,
    /// The directory's name.
    name: String,
    dir: Dir,
    before: BTreeMap<Path, Before>,
}

impl Journals {
    pub(super) fn open(home: &Dir) -> Result<Journals, WorkspaceError> {
        let dir = space::subdirectory(home, "journal")?;
        let mut turns = vec![];
        for entry in dir.entries()? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            let turn = name.split_once('-').and_then(|(_, id)| Uuid::parse_str(id).ok());
            if turn.is_some() {
                turns.push(Journal::open(&dir, name, turn)?);
            }
        }
        turns.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let redo = Journal::open(home, "redo".to_owned(), None)?;
        Ok(Journals { home: home.try_clone()?, dir, turns, redo })
    }

    pub(super) fn holding(&self) -> Amount {
        let mut holds = self.redo.holding();
        self.turns.iter().for_each(|journal| holds += journal.holding());
        holds
    }

    /// Keeps what is at `path` before a turn changes it; once it has, nothing more.
    pub(super) fn remember(
        &mut self,
        turn: Uuid,
        meter: &Arc<Meter>,
        path: &Path,
        there: Option<(&Dir, &str, u64)>,
    ) -> Result<(), WorkspaceError> {
        if self.turns.last().is_none_or(|journal| journal.turn != Some(turn))
            && !self.turns.iter().any(|journal| journal.turn == Some(turn))
        {
            self.begin(turn, meter)?;
        }
        loop {
            let at = self.turns.iter().position(|journal| journal.turn == Some(turn));
            let Some(journal) = at.and_then(|at| self.turns.get_mut(at)) else { return Ok(()) };
            match journal.keep(meter, path, there) {
                // The oldest give way to the newest.
                Err(WorkspaceError::Full(Over::SessionBytes | Over::SessionFiles)) if at > Some(0) => {
                    self.forget_oldest(meter)?;
                }
                kept => return kept,
            }
        }
    }

    fn begin(&mut self, turn: Uuid, meter: &Arc<Meter>) -> Result<(), WorkspaceError> {
        while self.turns.len() >= WORKSPACE_TURNS_KEPT_MAX {
            self.forget_oldest(meter)?;
        }
        let last = self.turns.last().and_then(|journal| journal.name.split_once('-')?.0.parse::<u64>().ok());
        let name = format!("{:016}-{turn}", last.unwrap_or_default() + 1);
        let journal = Journal::open(&self.dir, name, Some(turn))?;
        self.turns.push(journal);
        Ok(())
    }

    fn forget_oldest(&mut self, meter: &Arc<Meter>) -> Result<(), WorkspaceError> {
        let oldest = self.turns.remove(0);
        self.dir.remove_dir_all(&oldest.name).or_else(space::absent_is_fine)?;
        meter.release(oldest.holding());
        Ok(())
    }

    /// What was at each path that these turns changed, before the first of them that did.
    pub(super) fn before(&self, of: &dyn Fn(Uuid) -> bool) -> BTreeMap<Path, Before> {
        let mut before = BTreeMap::new();
        for journal in self.turns.iter().rev().filter(|journal| journal.turn.is_some_and(of)) {
            before.extend(journal.before.clone());
        }
        before
    }

    /// What was at a path after a turn: what the next one that changed it found there; none: what is there now.
    pub(super) fn after(&self, path: &Path, last: Uuid) -> Option<&Before> {
        let later = self.turns.iter().skip_while(|journal| journal.turn != Some(last)).skip(1);
        later.filter_map(|journal| journal.before.get(path)).next()
    }

    /// The turns of which something is kept, in order.
    pub(super) fn turns(&self) -> impl Iterator<Item = Uuid> {
        self.turns.iter().filter_map(|journal| journal.turn)
    }

    pub(super) fn keep_redo(
        &mut self,
        meter: &Arc<Meter>,
        path: &Path,
        there: Option<(&Dir, &str, u64)>,
    ) -> Result<(), WorkspaceError> {
        self.redo.keep_anyway(meter, path, there)
    }

    pub(super) fn redo(&self) -> BTreeMap<Path, Before> {
        self.redo.before.clone()
    }

    pub(super) fn forget_redo(&mut self, meter: &Arc<Meter>) -> Result<(), WorkspaceError> {
        if self.redo.before.is_empty() {
            return Ok(());
        }
        meter.release(self.redo.holding());
        self.home.remove_dir_all(&self.redo.name).or_else(space::absent_is_fine)?;
        self.redo = Journal::open(&self.home, self.redo.name.clone(), None)?;
        Ok(())
    }

    fn of(&self, turn: Option<Uuid>) -> Option<&Journal> {
        match turn {
            None => Some(&self.redo),
            Some(_) => self.turns.iter().find(|journal| journal.turn == turn),
        }
    }

    /// A kept file, open to be read.
    pub(super) fn open_kept(&self, before: &Before) -> io::Result<Option<cap_std::fs::File>> {
        let Before::File { turn, name, .. } = before else { return Ok(None) };
        self.of(*turn).map(|journal| space::open_to_read(&journal.dir, name)).transpose()
    }

    /// Gives a kept file another name in another directory.
    pub(super) fn copy_out(&self, before: &Before, to: &Dir, as_name: &str) -> io::Result<()> {
        let Before::File { turn, name, .. } = before else { return Ok(()) };
        let Some(journal) = self.of(*turn) else { return Err(io::ErrorKind::NotFound.into()) };
        to.remove_file(as_name).or_else(space::absent_is_fine)?;
        link(&journal.dir, name, to, as_name)
    }

    /// Whether what is there is the kept file itself.
    pub(super) fn is_same(&self, before: &Before, there: &Entry) -> bool {
        use cap_std::fs::MetadataExt;
        let Before::File { turn, name, .. } = before else { return false };
        let kept = self.of(*turn).and_then(|journal| journal.dir.symlink_metadata(name).ok());
        kept.is_some_and(|kept| there.version.starts_with(&format!("{:x}-", kept.ino())))
    }
}

fn link(from: &Dir, name: &str, to: &Dir, to_name: &str) -> io::Result<()> {
    match from.hard_link(name, to, to_name) {
        // Some file systems have no second names.
        Err(error) if error.kind() != io::ErrorKind::NotFound => space::copy(from, name, to, to_name),
        linked => linked,
    }
}

impl Journal {
    fn open(parent: &Dir, name: String, turn: Option<Uuid>) -> Result<Journal, WorkspaceError> {
        let dir = space::subdirectory(parent, &name)?;
        let mut before = BTreeMap::new();
        match space::open_to_read(&dir, INDEX) {
            Ok(index) => {
                for line in io::BufReader::new(index).lines() {
                    // A last line that is torn is about a change that was not made.
                    let Ok((path, kept, size)) =
                        serde_json::from_str::<(String, Option<String>, u64)>(&line?)
                    else {
                        continue;
                    };
                    let was = match kept {
                        Some(name) => Before::File { turn, name, size },
                        None => Before::Absent,
                    };
                    if let Ok(path) = Path::parse_inside(&path) {
                        before.entry(path).or_insert(was);
                    }
                }
            }
            Err(error) => space::absent_is_fine(error)?,
        }
        Ok(Journal { turn, name, dir, before })
    }

    fn holding(&self) -> Amount {
        let mut holds = Amount::default();
        self.before.iter().for_each(|(path, before)| holds += amount(path, before));
        holds
    }

    fn keep(
        &mut self,
        meter: &Arc<Meter>,
        path: &Path,
        there: Option<(&Dir, &str, u64)>,
    ) -> Result<(), WorkspaceError> {
        if self.before.contains_key(path) {
            return Ok(());
        }
        let before = self.to_be(there);
        let reserved = meter.reserve(amount(path, &before)).map_err(WorkspaceError::Full)?;
        self.note(path, before, there)?;
        reserved.keep();
        Ok(())
    }

    /// The same whatever the limits say: it was there before.
    fn keep_anyway(
        &mut self,
        meter: &Arc<Meter>,
        path: &Path,
        there: Option<(&Dir, &str, u64)>,
    ) -> Result<(), WorkspaceError> {
        if self.before.contains_key(path) {
            return Ok(());
        }
        let before = self.to_be(there);
        meter.count(amount(path, &before));
        self.note(path, before, there)
    }

    fn to_be(&self, there: Option<(&Dir, &str, u64)>) -> Before {
        match there {
            Some((_, _, size)) => Before::File { turn: self.turn, name: self.before.len().to_string(), size },
            None => Before::Absent,
        }
    }

    fn note(
        &mut self,
        path: &Path,
        before: Before,
        there: Option<(&Dir, &str, u64)>,
    ) -> Result<(), WorkspaceError> {
        let mut line = (path.as_str(), None, 0);
        if let (Before::File { name, size, .. }, Some((dir, at, _))) = (&before, there) {
            self.dir.remove_file(name).or_else(space::absent_is_fine)?;
            link(dir, at, &self.dir, name)?;
            line = (path.as_str(), Some(name.as_str()), *size);
        }
        let mut text = serde_json::to_string(&line).map_err(io::Error::from)?;
        text.push('\n');
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        self.dir.open_with(INDEX, &options)?.write_all(text.as_bytes())?;
        self.before.insert(path.clone(), before);
        Ok(())
    }
}

fn amount(path: &Path, before: &Before) -> Amount {
    let kept = match before {
        Before::Absent => 0,
        Before::File { size, .. } => *size,
    };
    Amount { bytes: kept + path.as_str().len() as u64 + LINE_BYTES, files: 1 }
}
