//! What files were before a turn first changed them, turn by turn; and before turns were taken back (`redo`).
//!
//! Kept beside the workspace and counted with it: a file by a second name, not by a copy, for no file is ever written
//! in its place. An index says which is which, a line each, written before the change it is about. What is kept of
//! the oldest turns goes where there is no room for more.
//!
//! Several turns may work on one workspace at once: one of the session's, and those of its subagents. So each entry has
//! a number that rises over all of them, and of several turns it is the lowest that says how a file was before them. A
//! turn's directory is named after it and the turns it is a part of: what is asked of a turn is asked of those too, and
//! they go together.

use super::{
    Amount, Over, Path, WorkspaceError,
    meter::Meter,
    space::{self, Entry},
};
use crate::limits::WORKSPACE_TURNS_KEPT_MAX;
use cap_std::fs::{Dir, OpenOptions};
use std::{
    collections::{BTreeMap, BTreeSet},
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
        /// In whose directory.
        of: Of,
        /// Its name there.
        name: String,
        /// Its length, in bytes.
        size: u64,
    },
}

/// Whose directory something is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A turn's.
    Turn(Uuid),
    /// That of what was taken back in a session; none: the one the workspace is of.
    TakenBack(Option<Uuid>),
}

/// All of them.
pub struct Journals {
    home: Dir,
    dir: Dir,
    /// The oldest first.
    turns: Vec<Journal>,
    /// By session; none: the one the workspace is of.
    redo: BTreeMap<Option<Uuid>, Journal>,
    /// The number of the next entry.
    next: u64,
}

/// One turn's, or of what was taken back.
struct Journal {
    of: Of,
    /// The turn, and those it is a part of; none where it is of none.
    turns: Vec<Uuid>,
    /// When it was begun, counted.
    number: u64,
    /// The directory's name.
    name: String,
    dir: Dir,
    before: BTreeMap<Path, Entered>,
}

/// What was at a path, and when that was noted.
#[derive(Clone)]
struct Entered {
    at: u64,
    was: Before,
}

/// What is kept of what was taken back.
const REDO: &str = "redo";
/// Entries from before there were numbers get one: by turn, then by line. No turn has noted as many.
const OLD_LINES: u64 = 1 << 20;

impl Journals {
    pub(super) fn open(home: &Dir) -> Result<Journals, WorkspaceError> {
        let dir = space::subdirectory(home, "journal")?;
        let mut turns = vec![];
        for entry in dir.entries()? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if let Some((number, of_turns)) = parse(&name) {
                turns.push(Journal::open(&dir, name, Of::Turn(of_turns[0]), number, of_turns)?);
            }
        }
        turns.sort_unstable_by_key(|journal| journal.number);
        let mut redo = BTreeMap::from([(None, taken_back(home, None)?)]);
        for entry in home.entries()? {
            let name = entry?.file_name();
            let session = name.to_str().and_then(|name| name.strip_prefix(REDO)?.strip_prefix('.'));
            if let Some(session) = session.and_then(|id| Uuid::parse_str(id).ok()) {
                redo.insert(Some(session), taken_back(home, Some(session))?);
            }
        }
        let all = turns.iter().chain(redo.values());
        let last = all.flat_map(|journal| journal.before.values()).map(|entered| entered.at).max();
        let next = last.map_or(0, |last| last + 1);
        Ok(Journals { home: home.try_clone()?, dir, turns, redo, next })
    }

    pub(super) fn holding(&self) -> Amount {
        let mut holds = Amount::default();
        self.turns.iter().chain(self.redo.values()).for_each(|journal| holds += journal.holding());
        holds
    }

    /// Keeps what is at `path` before a turn changes it; once it has, nothing more. `turns` are that turn and those it
    /// is a part of.
    pub(super) fn remember(
        &mut self,
        turns: &[Uuid],
        meter: &Arc<Meter>,
        path: &Path,
        there: Option<(&Dir, &str, u64)>,
    ) -> Result<(), WorkspaceError> {
        let Some((turn, top)) = turns.first().zip(turns.last()) else { return Ok(()) };
        let is_its = |journal: &Journal| journal.turns.first() == Some(turn);
        if !self.turns.iter().any(is_its) {
            self.begin(turns, meter)?;
        }
        loop {
            let at = self.next;
            let older = self.turns.first().is_some_and(|oldest| oldest.turns.last() != Some(top));
            let Some(journal) = self.turns.iter_mut().rev().find(|journal| is_its(journal)) else {
                return Ok(());
            };
            match journal.keep(meter, path, there, at) {
                // The oldest give way to the newest.
                Err(WorkspaceError::Full(Over::SessionBytes | Over::SessionFiles)) if older => {
                    self.forget_oldest(meter)?;
                }
                kept => {
                    self.next += 1;
                    return kept;
                }
            }
        }
    }

    fn begin(&mut self, turns: &[Uuid], meter: &Arc<Meter>) -> Result<(), WorkspaceError> {
        let top = turns.last();
        let others = |journals: &[Journal]| {
            let tops = journals.iter().map(|journal| journal.turns.last()).filter(|other| *other != top);
            tops.collect::<BTreeSet<_>>().len()
        };
        while others(&self.turns) >= WORKSPACE_TURNS_KEPT_MAX
            && self.turns.first().is_some_and(|oldest| oldest.turns.last() != top)
        {
            self.forget_oldest(meter)?;
        }
        let number = self.turns.last().map_or(0, |journal| journal.number) + 1;
        let ids: Vec<String> = turns.iter().map(Uuid::to_string).collect();
        let name = format!("{number:016}-{}", ids.join("."));
        let of = turns.first().copied().map_or(Of::TakenBack(None), Of::Turn);
        self.turns.push(Journal::open(&self.dir, name, of, number, turns.to_vec())?);
        Ok(())
    }

    /// Forgets the oldest turn, with those that were a part of it.
    fn forget_oldest(&mut self, meter: &Arc<Meter>) -> Result<(), WorkspaceError> {
        let Some(top) = self.turns.first().and_then(|oldest| oldest.turns.last().copied()) else {
            return Ok(());
        };
        let goes = |journal: &Journal| journal.turns.last() == Some(&top);
        while let Some(at) = self.turns.iter().position(goes) {
            let gone = self.turns.remove(at);
            self.dir.remove_dir_all(&gone.name).or_else(space::absent_is_fine)?;
            meter.release(gone.holding());
        }
        Ok(())
    }

    /// Whether of all these turns it is still kept what they changed. `of` is asked for each with those it is a part of.
    pub(super) fn knows(&self, of: &dyn Fn(&[Uuid]) -> bool) -> bool {
        // The oldest goes first: where one that is older than these turns is there, they are too.
        self.turns.first().is_none_or(|oldest| oldest.number == 1 || !of(&oldest.turns))
    }

    /// What was at each path that these turns changed, before the first of them that did.
    pub(super) fn before(&self, of: &dyn Fn(&[Uuid]) -> bool) -> BTreeMap<Path, Before> {
        let mut first: BTreeMap<&Path, &Entered> = BTreeMap::new();
        for journal in self.turns.iter().filter(|journal| of(&journal.turns)) {
            for (path, entered) in &journal.before {
                let known = first.entry(path).or_insert(entered);
                if entered.at < known.at {
                    *known = entered;
                }
            }
        }
        first.into_iter().map(|(path, entered)| (path.clone(), entered.was.clone())).collect()
    }

    /// What was at a path after these turns: what the next other that changed it found there; none: what is there now.
    pub(super) fn after(&self, path: &Path, of: &dyn Fn(&[Uuid]) -> bool) -> Option<&Before> {
        let (mut last, mut others) = (0, vec![]);
        for journal in &self.turns {
            match journal.before.get(path) {
                Some(entered) if of(&journal.turns) => last = last.max(entered.at),
                Some(entered) => others.push(entered),
                None => {}
            }
        }
        others
            .into_iter()
            .filter(|entered| entered.at > last)
            .min_by_key(|entered| entered.at)
            .map(|next| &next.was)
    }

    pub(super) fn keep_redo(
        &mut self,
        session: Option<Uuid>,
        meter: &Arc<Meter>,
        path: &Path,
        there: Option<(&Dir, &str, u64)>,
    ) -> Result<(), WorkspaceError> {
        let at = self.next;
        self.next += 1;
        if !self.redo.contains_key(&session) {
            self.redo.insert(session, taken_back(&self.home, session)?);
        }
        let Some(redo) = self.redo.get_mut(&session) else { return Ok(()) };
        redo.keep_anyway(meter, path, there, at)
    }

    pub(super) fn redo(&self, session: Option<Uuid>) -> BTreeMap<Path, Before> {
        let entries = self.redo.get(&session).into_iter().flat_map(|redo| &redo.before);
        entries.map(|(path, entered)| (path.clone(), entered.was.clone())).collect()
    }

    pub(super) fn forget_redo(
        &mut self,
        session: Option<Uuid>,
        meter: &Arc<Meter>,
    ) -> Result<(), WorkspaceError> {
        let Some(redo) = self.redo.remove(&session) else { return Ok(()) };
        meter.release(redo.holding());
        self.home.remove_dir_all(&redo.name).or_else(space::absent_is_fine)?;
        Ok(())
    }

    fn of(&self, of: Of) -> Option<&Journal> {
        match of {
            Of::TakenBack(session) => self.redo.get(&session),
            Of::Turn(_) => self.turns.iter().find(|journal| journal.of == of),
        }
    }

    /// A kept file, open to be read.
    pub(super) fn open_kept(&self, before: &Before) -> io::Result<Option<cap_std::fs::File>> {
        let Before::File { of, name, .. } = before else { return Ok(None) };
        self.of(*of).map(|journal| space::open_to_read(&journal.dir, name)).transpose()
    }

    /// Gives a kept file another name in another directory.
    pub(super) fn copy_out(&self, before: &Before, to: &Dir, as_name: &str) -> io::Result<()> {
        let Before::File { of, name, .. } = before else { return Ok(()) };
        let Some(journal) = self.of(*of) else { return Err(io::ErrorKind::NotFound.into()) };
        to.remove_file(as_name).or_else(space::absent_is_fine)?;
        link(&journal.dir, name, to, as_name)
    }

    /// Whether what is there is the kept file itself.
    pub(super) fn is_same(&self, before: &Before, there: &Entry) -> bool {
        use cap_std::fs::MetadataExt;
        let Before::File { of, name, .. } = before else { return false };
        let kept = self.of(*of).and_then(|journal| journal.dir.symlink_metadata(name).ok());
        kept.is_some_and(|kept| there.version.starts_with(&format!("{:x}-", kept.ino())))
    }

    #[cfg(test)]
    pub(super) fn turns(&self) -> impl Iterator<Item = Uuid> {
        self.turns.iter().filter_map(|journal| journal.turns.first().copied())
    }
}

fn taken_back(home: &Dir, session: Option<Uuid>) -> Result<Journal, WorkspaceError> {
    let name = session.map_or(REDO.to_owned(), |session| format!("{REDO}.{session}"));
    Journal::open(home, name, Of::TakenBack(session), 0, vec![])
}

/// The number and the turns in a directory's name; none where it is another's.
fn parse(name: &str) -> Option<(u64, Vec<Uuid>)> {
    let (number, ids) = name.split_once('-')?;
    let turns: Option<Vec<Uuid>> = ids.split('.').map(|id| Uuid::parse_str(id).ok()).collect();
    Some((number.parse().ok()?, turns?))
}

pub(super) fn link(from: &Dir, name: &str, to: &Dir, to_name: &str) -> io::Result<()> {
    match from.hard_link(name, to, to_name) {
        // Some file systems have no second names.
        Err(error) if error.kind() != io::ErrorKind::NotFound => space::copy(from, name, to, to_name),
        linked => linked,
    }
}

impl Journal {
    fn open(
        parent: &Dir,
        name: String,
        of: Of,
        number: u64,
        turns: Vec<Uuid>,
    ) -> Result<Journal, WorkspaceError> {
        let dir = space::subdirectory(parent, &name)?;
        let mut before = BTreeMap::new();
        match space::open_to_read(&dir, INDEX) {
            Ok(index) => {
                for (count, line) in (0..).zip(io::BufReader::new(index).lines()) {
                    // A last line that is torn is about a change that was not made.
                    let Ok((path, kept, size, at)) = entry(&line?, number, count) else { continue };
                    let was = match kept {
                        Some(name) => Before::File { of, name, size },
                        None => Before::Absent,
                    };
                    if let Ok(path) = Path::parse_inside(&path) {
                        before.entry(path).or_insert(Entered { at, was });
                    }
                }
            }
            Err(error) => space::absent_is_fine(error)?,
        }
        Ok(Journal { of, turns, number, name, dir, before })
    }

    fn holding(&self) -> Amount {
        let mut holds = Amount::default();
        self.before.iter().for_each(|(path, entered)| holds += amount(path, &entered.was));
        holds
    }

    fn keep(
        &mut self,
        meter: &Arc<Meter>,
        path: &Path,
        there: Option<(&Dir, &str, u64)>,
        at: u64,
    ) -> Result<(), WorkspaceError> {
        if self.before.contains_key(path) {
            return Ok(());
        }
        let before = self.to_be(there);
        let reserved = meter.reserve(amount(path, &before)).map_err(WorkspaceError::Full)?;
        self.note(path, before, there, at)?;
        reserved.keep();
        Ok(())
    }

    /// The same whatever the limits say: it was there before.
    fn keep_anyway(
        &mut self,
        meter: &Arc<Meter>,
        path: &Path,
        there: Option<(&Dir, &str, u64)>,
        at: u64,
    ) -> Result<(), WorkspaceError> {
        if self.before.contains_key(path) {
            return Ok(());
        }
        let before = self.to_be(there);
        meter.count(amount(path, &before));
        self.note(path, before, there, at)
    }

    fn to_be(&self, there: Option<(&Dir, &str, u64)>) -> Before {
        match there {
            Some((_, _, size)) => Before::File { of: self.of, name: self.before.len().to_string(), size },
            None => Before::Absent,
        }
    }

    fn note(
        &mut self,
        path: &Path,
        was: Before,
        there: Option<(&Dir, &str, u64)>,
        at: u64,
    ) -> Result<(), WorkspaceError> {
        let mut line = (path.as_str(), None, 0, at);
        if let (Before::File { name, size, .. }, Some((dir, its_name, _))) = (&was, there) {
            self.dir.remove_file(name).or_else(space::absent_is_fine)?;
            link(dir, its_name, &self.dir, name)?;
            line = (path.as_str(), Some(name.as_str()), *size, at);
        }
        let mut text = serde_json::to_string(&line).map_err(io::Error::from)?;
        text.push('\n');
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        self.dir.open_with(INDEX, &options)?.write_all(text.as_bytes())?;
        self.before.insert(path.clone(), Entered { at, was });
        Ok(())
    }
}

/// A line of an index: where, under which name what was there is kept, its size, and the entry's number.
fn entry(line: &str, journal: u64, count: u64) -> serde_json::Result<(String, Option<String>, u64, u64)> {
    serde_json::from_str(line).or_else(|_| {
        let (path, kept, size) = serde_json::from_str(line)?;
        Ok((path, kept, size, journal.saturating_mul(OLD_LINES).saturating_add(count)))
    })
}

fn amount(path: &Path, before: &Before) -> Amount {
    let kept = match before {
        Before::Absent => 0,
        Before::File { size, .. } => *size,
    };
    Amount { bytes: kept + path.as_str().len() as u64 + LINE_BYTES, files: 1 }
}
