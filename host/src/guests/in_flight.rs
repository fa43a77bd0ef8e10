//! How many guest calls one app has in flight: one tenant's flood must not take
//! another's slots.
//!
//! Calls made by calls are counted apart: an app whose agents hold all its slots
//! could otherwise run no tool for any of them.

use crate::limits::CALLS_IN_FLIGHT_PER_APP_MAX;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use uuid::Uuid;

/// The counts of this process.
#[derive(Clone, Default)]
pub struct InFlight(Arc<Mutex<HashMap<Key, usize>>>);

/// An app, and whether a call of it was made by another call.
type Key = (Uuid, bool);

/// One call in flight, until dropped.
pub struct Slot {
    counts: InFlight,
    key: Key,
}

impl InFlight {
    /// Takes a slot of the app for a call this deep; none where it has used them all.
    pub fn take(&self, app_id: Uuid, depth: u32) -> Option<Slot> {
        let key = (app_id, depth > 0);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        if *count >= CALLS_IN_FLIGHT_PER_APP_MAX {
            return None;
        }
        *count += 1;
        Some(Slot { counts: self.clone(), key })
    }

    /// How many calls are in flight.
    pub fn total(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_app_using_all_its_slots_leaves_the_others_theirs_and_a_dropped_slot_is_free_again() {
        let in_flight = InFlight::default();
        let (flood, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut slots: Vec<_> =
            (0..CALLS_IN_FLIGHT_PER_APP_MAX).map(|_| in_flight.take(flood, 0).unwrap()).collect();
        assert!(in_flight.take(flood, 0).is_none());
        assert!(in_flight.take(other, 0).is_some());
        assert!(in_flight.take(flood, 1).is_some(), "what they call still runs");
        slots.pop();
        assert!(in_flight.take(flood, 0).is_some());
        drop(slots);
        assert_eq!(in_flight.total(), 0);
    }
}
