//! An answer on its way: events in order, then the end.

use super::send::ChatError;
use crate::models::{Event, openai::chunks::Head};
use tokio::{sync::mpsc, task::JoinHandle};
use uuid::Uuid;

/// An answer. Dropping it cancels what makes it.
pub struct Answer {
    /// What all of its chunks share.
    pub head: Head,
    /// The session it belongs to.
    pub session_id: Option<Uuid>,
    first: Option<Result<Event, ChatError>>,
    events: mpsc::Receiver<Result<Event, ChatError>>,
    _making: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answer {
    /// Waits for the first event, so that a failure can still be a status.
    ///
    /// # Errors
    /// What the request failed with before anything was said.
    pub(super) async fn begin(
        head: Head,
        session_id: Option<Uuid>,
        mut events: mpsc::Receiver<Result<Event, ChatError>>,
        making: JoinHandle<()>,
    ) -> Result<Answer, ChatError> {
        let making = AbortOnDrop(making);
        match events.recv().await {
            Some(Err(error)) => Err(error),
            first => Ok(Answer { head, session_id, first, events, _making: making }),
        }
    }

    /// The next event; none after the last.
    pub async fn next(&mut self) -> Option<Result<Event, ChatError>> {
        match self.first.take() {
            Some(first) => Some(first),
            None => self.events.recv().await,
        }
    }
}
