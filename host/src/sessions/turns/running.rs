//! The turns that run in this process, to be stopped.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What other hosts are told of a turn that was cut.
pub const CUT: &str = "cut";

/// By turn.
#[derive(Default)]
pub struct RunningTurns(Mutex<HashMap<Uuid, CancellationToken>>);

impl RunningTurns {
    /// A turn begins here; the token is cancelled when it is cut from outside.
    pub(in crate::sessions) fn enter(&self, turn_id: Uuid) -> CancellationToken {
        let token = CancellationToken::new();
        self.lock().insert(turn_id, token.clone());
        token
    }

    /// A turn has ended here.
    pub(in crate::sessions) fn leave(&self, turn_id: Uuid) {
        self.lock().remove(&turn_id);
    }

    /// Stops this turn, if it runs here: it has ended already, in the database.
    pub fn cut(&self, turn_id: Uuid) {
        if let Some(token) = self.lock().get(&turn_id) {
            token.cancel();
        }
    }

    /// Whether this turn runs here, and was not cut.
    pub fn runs(&self, turn_id: Uuid) -> bool {
        self.lock().get(&turn_id).is_some_and(|token| !token.is_cancelled())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
