//! From sessions' writers to their readers, within this process: of one session, or of all of an owner's.

use super::{Event, Owner};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::broadcast::{Receiver, Sender, channel};
use uuid::Uuid;

/// Events a reader may be behind before it is told to come back with its cursor: a page of the log, half a
/// minute of a model that writes fast. They are shared, so a reader costs no more for it.
const BEHIND_MAX: usize = 512;

/// What a reader is told.
#[derive(Clone, Debug)]
pub(super) enum Signal {
    /// This happened.
    Event(Arc<Event>),
    /// Something did, up to this number, on another host.
    News(i64),
    /// The session is gone.
    Gone,
}

/// What a reader of all of an owner's sessions is told.
#[derive(Clone, Debug)]
pub(super) enum OwnerSignal {
    /// Events of a session were written, from this number to that.
    Written {
        session_id: Uuid,
        first_seq: i64,
        last_seq: i64,
        /// They; none: they were written on another host, or are too many to be handed around.
        events: Vec<Arc<Event>>,
    },
    /// This session is gone.
    Gone(Uuid),
    /// Something may have been written of which nothing was heard.
    Missed,
}

/// Who reads what.
#[derive(Default)]
pub struct Hub {
    sessions: Topics<Uuid, Signal>,
    owners: Topics<Owner, OwnerSignal>,
}

impl Hub {
    /// Signals of a session from now on.
    pub(super) fn subscribe(&self, session_id: Uuid) -> Receiver<Signal> {
        self.sessions.subscribe(session_id)
    }

    /// Signals of all sessions of an owner from now on.
    pub(super) fn subscribe_all(&self, owner: Owner) -> Receiver<OwnerSignal> {
        self.owners.subscribe(owner)
    }

    /// Tells events that were written together, in order.
    pub(super) fn publish(&self, session_id: Uuid, owner: Owner, events: Vec<Arc<Event>>) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
        let (first_seq, last_seq) = (first.seq, last.seq);
        // More than a reader may be behind: it reads the log for itself.
        if events.len() > BEHIND_MAX / 2 {
            return self.news(session_id, owner, first_seq, last_seq);
        }
        for event in &events {
            self.sessions.signal(session_id, Signal::Event(event.clone()));
        }
        self.owners.signal(owner, OwnerSignal::Written { session_id, first_seq, last_seq, events });
    }

    /// Tells that there is something up to `last_seq`, by another host or by this one.
    pub(super) fn news(&self, session_id: Uuid, owner: Owner, first_seq: i64, last_seq: i64) {
        self.sessions.signal(session_id, Signal::News(last_seq));
        let written = OwnerSignal::Written { session_id, first_seq, last_seq, events: vec![] };
        self.owners.signal(owner, written);
    }

    /// Tells that nobody knows what was missed: readers look for themselves.
    pub(super) fn news_of_all(&self) {
        self.sessions.signal_all(&Signal::News(i64::MAX));
        self.owners.signal_all(&OwnerSignal::Missed);
    }

    /// Tells that a session was deleted.
    pub fn gone(&self, session_id: Uuid, owner: Owner) {
        self.sessions.signal(session_id, Signal::Gone);
        self.owners.signal(owner, OwnerSignal::Gone(session_id));
    }

    /// Forgets topics that nobody reads any more.
    pub fn tidy(&self) {
        self.sessions.tidy();
        self.owners.tidy();
    }
}

/// Who reads of what.
struct Topics<K, S>(Mutex<HashMap<K, Sender<S>>>);

impl<K, S> Default for Topics<K, S> {
    fn default() -> Self {
        Topics(Mutex::default())
    }
}

impl<K: Copy + Eq + Hash, S: Clone> Topics<K, S> {
    fn subscribe(&self, topic: K) -> Receiver<S> {
        self.lock().entry(topic).or_insert_with(|| channel(BEHIND_MAX).0).subscribe()
    }

    /// Sends to whoever is there; a topic without readers is forgotten.
    fn signal(&self, topic: K, signal: S) {
        let mut topics = self.lock();
        let Some(readers) = topics.get(&topic) else { return };
        if readers.send(signal).is_err() {
            topics.remove(&topic);
        }
    }

    fn signal_all(&self, signal: &S) {
        for readers in self.lock().values() {
            drop(readers.send(signal.clone()));
        }
    }

    fn tidy(&self) {
        self.lock().retain(|_, readers| readers.receiver_count() > 0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Sender<S>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
