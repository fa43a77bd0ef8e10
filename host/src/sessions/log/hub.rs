//! From a session's writers to its readers, within this process.

use super::Event;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::broadcast;
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

/// Who reads what.
#[derive(Default)]
pub struct Hub(Mutex<HashMap<Uuid, broadcast::Sender<Signal>>>);

impl Hub {
    /// Signals of a session from now on.
    pub(super) fn subscribe(&self, session_id: Uuid) -> broadcast::Receiver<Signal> {
        let mut topics = self.lock();
        topics.entry(session_id).or_insert_with(|| broadcast::channel(BEHIND_MAX).0).subscribe()
    }

    /// Tells events, in order.
    pub(super) fn publish(&self, session_id: Uuid, events: Vec<Arc<Event>>) {
        // More than a reader may be behind: it reads the log for itself.
        if events.len() > BEHIND_MAX / 2 {
            let last = events.last().map_or(0, |event| event.seq);
            return self.news(session_id, last);
        }
        for event in events {
            self.signal(session_id, Signal::Event(event));
        }
    }

    /// Tells that there is something up to `seq`, by another host or by this one.
    pub(super) fn news(&self, session_id: Uuid, seq: i64) {
        self.signal(session_id, Signal::News(seq));
    }

    /// Tells that nobody knows what was missed: each session's readers look for themselves.
    pub(super) fn news_of_all(&self) {
        for topic in self.lock().values() {
            drop(topic.send(Signal::News(i64::MAX)));
        }
    }

    /// Tells that a session was deleted.
    pub fn gone(&self, session_id: Uuid) {
        self.signal(session_id, Signal::Gone);
    }

    /// Sends to whoever is there; a topic without readers is forgotten.
    fn signal(&self, session_id: Uuid, signal: Signal) {
        let mut topics = self.lock();
        let Some(topic) = topics.get(&session_id) else { return };
        if topic.send(signal).is_err() {
            topics.remove(&session_id);
        }
    }

    /// Forgets topics that nobody reads any more.
    pub fn tidy(&self) {
        self.lock().retain(|_, topic| topic.receiver_count() > 0);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, broadcast::Sender<Signal>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
