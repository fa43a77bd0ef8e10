//! An answer on its way: events in order, then the end.

use super::send::ChatError;
use crate::models::{
    Event,
    gateway::{GatewayError, Metered},
    openai::chunks::Head,
};
use std::collections::VecDeque;
use tokio::{sync::mpsc, task::JoinHandle};
use uuid::Uuid;

/// An answer. Dropping it cancels what makes it.
pub struct Answer {
    /// What all of its chunks share.
    pub head: Head,
    /// The session it belongs to.
    pub session_id: Option<Uuid>,
    maker: Maker,
}

/// Who makes it.
enum Maker {
    /// A turn: an agent, or a model in a session.
    Turn {
        first: Option<Result<Event, ChatError>>,
        events: mpsc::Receiver<Result<Event, ChatError>>,
        _making: AbortOnDrop,
    },
    /// A model, with nobody in between.
    Model {
        reply: Box<Metered>,
        /// Held back until the use is written down: the end is the acknowledgement.
        end: VecDeque<Event>,
    },
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
            first => Ok(Answer { head, session_id, maker: Maker::Turn { first, events, _making: making } }),
        }
    }

    /// The answer of a model itself, whose first event is here.
    pub(crate) fn of_model(head: Head, reply: Metered) -> Answer {
        let maker = Maker::Model { reply: Box::new(reply), end: VecDeque::new() };
        Answer { head, session_id: None, maker }
    }

    /// The next event; none after the last.
    pub async fn next(&mut self) -> Option<Result<Event, ChatError>> {
        match &mut self.maker {
            Maker::Turn { first, events, .. } => match first.take() {
                Some(first) => Some(first),
                None => events.recv().await,
            },
            Maker::Model { reply, end } => loop {
                match reply.next().await {
                    Some(Ok(event @ (Event::Finish(_) | Event::Usage(_)))) => end.push_back(event),
                    Some(Ok(event)) => return Some(Ok(event)),
                    Some(Err(error)) => return Some(Err(GatewayError::from(error).into())),
                    None => return end.pop_front().map(Ok),
                }
            },
        }
    }
}
