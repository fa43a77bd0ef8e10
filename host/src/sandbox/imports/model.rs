//! `opg:host/model`.
//!
//! A completion's stream is read by a task on the host's runtime, a few events
//! ahead of the guest; dropping the resource, or the call, ends the task and
//! with it the upstream request.

use crate::sandbox::bindings::host::model::{Error, Host, HostCompletion};
use crate::sandbox::door::{Completion, DoorError};
use crate::sandbox::limits::{COMPLETION_EVENTS_AHEAD, COMPLETIONS_LIVE_MAX};
use crate::sandbox::state::{AbortOnDrop, GuestState, host_failed};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use wasmtime::component::Resource;

/// A completion as the guest's call holds it.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Completing {
    events: mpsc::Receiver<Result<String, DoorError>>,
    /// None once it was seen to end.
    reader: Option<AbortOnDrop<()>>,
}

impl Host for GuestState {
    async fn complete(&mut self, request: String) -> wasmtime::Result<Result<Resource<Completing>, Error>> {
        if self.completions_live >= COMPLETIONS_LIVE_MAX {
            return Ok(Err(Error::Limit(format!(
                "at most {COMPLETIONS_LIVE_MAX} completions can be open at once; finish or drop one first"
            ))));
        }
        let (door, time_left) = (self.host.door.clone(), self.host.time_left());
        match self.host.ask(async move { door.complete(request, time_left).await }).await {
            Ok(completion) => {
                let resource = self.table.push(self.read(completion))?;
                self.completions_live += 1;
                Ok(Ok(resource))
            }
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl GuestState {
    fn read(&self, mut completion: Completion) -> Completing {
        let (sender, events) = mpsc::channel(COMPLETION_EVENTS_AHEAD);
        let reader = self.host.host.spawn(async move {
            while let Some(event) = completion.next().await {
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
        Completing { events, reader: Some(AbortOnDrop(reader)) }
    }
}

impl HostCompletion for GuestState {
    async fn next(&mut self, this: Resource<Completing>) -> wasmtime::Result<Result<Option<String>, Error>> {
        let completing = self.table.get_mut(&this)?;
        if let Some(event) = completing.events.recv().await {
            return Ok(event.map(Some).map_err(Error::from));
        }
        // The stream is over; or its task died, which must not look like the end of an answer.
        match completing.reader.take() {
            Some(reader) => Ok(reader.await.map(|()| None).map_err(|_| host_failed().into())),
            None => Ok(Ok(None)),
        }
    }

    async fn drop(&mut self, this: Resource<Completing>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        self.completions_live = self.completions_live.saturating_sub(1);
        Ok(())
    }
}
