//! How many streams are read at once on this host: of one session, and of all of an app's. Each holds a connection and
//! some tens of KiB; one app's readers must not take what the others need.

use crate::limits::{READERS_PER_APP_MAX, READERS_PER_SESSION_MAX};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use uuid::Uuid;

/// The counts of this process.
#[derive(Clone, Default)]
pub struct Readers(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    sessions: HashMap<Uuid, usize>,
    apps: HashMap<Uuid, usize>,
}

/// A reader's place, until dropped.
pub struct Place {
    readers: Readers,
    app_id: Uuid,
    /// None: it reads of all of them.
    session_id: Option<Uuid>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyReaders {
    /// The session has them all.
    #[error(
        "{READERS_PER_SESSION_MAX} streams of this session are read here already; close one, or come back"
    )]
    OfSession,
    /// The app has.
    #[error(
        "{READERS_PER_APP_MAX} streams of this app's sessions are read here already; close one, or come back"
    )]
    OfApp,
}

impl TooManyReaders {
    /// How many there may be.
    pub const fn limit(self) -> usize {
        match self {
            TooManyReaders::OfSession => READERS_PER_SESSION_MAX,
            TooManyReaders::OfApp => READERS_PER_APP_MAX,
        }
    }
}

impl Readers {
    /// Takes a place for a reader of a session, or of all of an app's.
    ///
    /// # Errors
    /// [`TooManyReaders`]
    pub fn enter(&self, app_id: Uuid, session_id: Option<Uuid>) -> Result<Place, TooManyReaders> {
        let mut counts = self.lock();
        let of = |counts: &HashMap<Uuid, usize>, id| counts.get(&id).copied().unwrap_or_default();
        if session_id.is_some_and(|id| of(&counts.sessions, id) >= READERS_PER_SESSION_MAX) {
            return Err(TooManyReaders::OfSession);
        }
        if of(&counts.apps, app_id) >= READERS_PER_APP_MAX {
            return Err(TooManyReaders::OfApp);
        }
        *counts.apps.entry(app_id).or_default() += 1;
        if let Some(session_id) = session_id {
            *counts.sessions.entry(session_id).or_default() += 1;
        }
        Ok(Place { readers: self.clone(), app_id, session_id })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().apps.values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.readers.lock();
        leave(&mut counts.apps, self.app_id);
        if let Some(session_id) = self.session_id {
            leave(&mut counts.sessions, session_id);
        }
    }
}

fn leave<K: Eq + Hash>(counts: &mut HashMap<K, usize>, of: K) {
    if let Some(count) = counts.get_mut(&of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_and_an_app_have_so_many_readers_and_who_leaves_makes_room() {
        let readers = Readers::default();
        let [app, other, session] = [1, 2, 3].map(Uuid::from_u128);
        let mut of_session: Vec<_> =
            (0..READERS_PER_SESSION_MAX).map(|_| readers.enter(app, Some(session)).unwrap()).collect();
        assert_eq!(readers.enter(app, Some(session)).err(), Some(TooManyReaders::OfSession));
        let rest = READERS_PER_APP_MAX - READERS_PER_SESSION_MAX;
        let mut of_app: Vec<_> = (0..rest).map(|_| readers.enter(app, None).unwrap()).collect();
        let another = Some(Uuid::from_u128(4));
        assert_eq!(readers.enter(app, another).err(), Some(TooManyReaders::OfApp));
        assert!(readers.enter(other, another).is_ok(), "the others have their own");
        of_app.pop();
        assert!(readers.enter(app, another).is_ok());
        of_session.pop();
        assert!(readers.enter(app, Some(session)).is_ok());
        drop((of_session, of_app));
        let counts = readers.lock();
        assert!(counts.apps.is_empty() && counts.sessions.is_empty());
    }
}
