//! Taking turns: so many of one kind at once, the others wait.

use super::limits::TURN_TIME_MAX;
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// For each key, a queue. What is dropped gives its turn to the next.
pub(super) struct Turns<K> {
    at_once: fn(&K) -> usize,
    queues: Mutex<HashMap<K, Arc<Semaphore>>>,
}

impl<K: Copy + Eq + Hash> Turns<K> {
    /// Queues in which `at_once` of a key go at once.
    pub(super) fn new(at_once: fn(&K) -> usize) -> Turns<K> {
        Turns { at_once, queues: Mutex::default() }
    }

    /// Waits for a turn. None where it takes too long.
    pub(super) async fn take(&self, key: K) -> Option<OwnedSemaphorePermit> {
        let queue = self.queue(key);
        tokio::time::timeout(TURN_TIME_MAX, queue.acquire_owned()).await.ok()?.ok()
    }

    /// Forgets keys nobody waits for.
    pub(super) fn forget_idle(&self) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|_, queue| Arc::strong_count(queue) > 1);
    }

    fn queue(&self, key: K) -> Arc<Semaphore> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(key).or_insert_with(|| Arc::new(Semaphore::new((self.at_once)(&key)))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_key_waits_for_itself_and_for_no_other() {
        let turns = Turns::new(|_: &u8| 1);
        let first = turns.take(1).await;
        assert!(first.is_some() && turns.take(2).await.is_some());
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), turns.take(1)).await;
        assert!(waits.is_err());
        drop(first);
        assert!(turns.take(1).await.is_some());
        turns.forget_idle();
        assert!(turns.queues.lock().unwrap().is_empty());
    }
}
