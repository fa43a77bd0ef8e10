//! `opg:host/http`.

use crate::sandbox::bindings::host::http::{Error, Host, Request, Response};
use crate::sandbox::door::{DoorError, HttpRequest, HttpResponse};
use crate::sandbox::limits::HTTP_IN_FLIGHT_MAX;
use crate::sandbox::state::{GuestState, host_failed};
use std::collections::HashMap;
use std::time::Duration;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{sleep, timeout};

impl Host for GuestState {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, Error>> {
        let (door, time_left) = (self.host.door.clone(), self.host.time_left());
        let request = HttpRequest::from(request);
        let answer = self.host.ask(async move { door.http(request, time_left).await }).await;
        Ok(answer.map(Response::from).map_err(Error::from))
    }

    async fn start(&mut self, request: Request) -> wasmtime::Result<Result<u32, Error>> {
        if self.requests.running.len() >= HTTP_IN_FLIGHT_MAX {
            return Ok(Err(Error::Limit(format!(
                "{HTTP_IN_FLIGHT_MAX} requests are on their way, which is the most at once; wait for one first"
            ))));
        }
        let (door, time_left) = (self.host.door.clone(), self.host.time_left());
        let request = HttpRequest::from(request);
        let work = async move { door.http(request, time_left).await };
        Ok(Ok(self.requests.start(work, &self.host.host)))
    }

    async fn wait(
        &mut self,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Option<(u32, Result<Response, Error>)>> {
        // A guest cannot sleep beyond its deadline: the call is stopped there.
        let patience = timeout_ms.map(|timeout_ms| Duration::from_millis(timeout_ms.into()));
        let answer = self.requests.next(patience).await;
        Ok(answer.map(|(id, answer)| (id, answer.map(Response::from).map_err(Error::from))))
    }

    async fn cancel(&mut self, id: u32) -> wasmtime::Result<()> {
        self.requests.cancel(id);
        Ok(())
    }
}

/// The requests a call has started and not yet waited for. Dropping it stops them.
#[derive(Default)]
pub(in crate::sandbox) struct Requests {
    tasks: JoinSet<Result<HttpResponse, DoorError>>,
    /// Each by its task; those given up are no longer here.
    running: HashMap<Id, (u32, AbortHandle)>,
    started: u32,
}

impl Requests {
    /// Begins `work` on the host's runtime; gives its number.
    fn start(
        &mut self,
        work: impl Future<Output = Result<HttpResponse, DoorError>> + Send + 'static,
        host: &tokio::runtime::Handle,
    ) -> u32 {
        let task = self.tasks.spawn_on(work, host);
        self.started = self.started.wrapping_add(1);
        self.running.insert(task.id(), (self.started, task));
        self.started
    }

    /// The next answer, by number.
    async fn next(&mut self, patience: Option<Duration>) -> Option<(u32, Result<HttpResponse, DoorError>)> {
        let Some(patience) = patience else { return self.answered().await };
        if self.running.is_empty() {
            sleep(patience).await;
            return None;
        }
        timeout(patience, self.answered()).await.unwrap_or_default()
    }

    async fn answered(&mut self) -> Option<(u32, Result<HttpResponse, DoorError>)> {
        while let Some(done) = self.tasks.join_next_with_id().await {
            let (task, answer) = match done {
                Ok((task, answer)) => (task, answer),
                Err(error) => (error.id(), Err(host_failed())),
            };
            if let Some((id, _)) = self.running.remove(&task) {
                return Some((id, answer));
            }
        }
        None
    }

    fn cancel(&mut self, id: u32) {
        self.running.retain(|_, (running, task)| {
            let keep = *running != id;
            if !keep {
                task.abort();
            }
            keep
        });
    }
}

impl From<Request> for HttpRequest {
    fn from(request: Request) -> Self {
        Self {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body,
            timeout: request.timeout_ms.map(|timeout_ms| Duration::from_millis(timeout_ms.into())),
        }
    }
}

impl From<HttpResponse> for Response {
    fn from(response: HttpResponse) -> Self {
        Self { status: response.status, headers: response.headers, body: response.body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Handle;

    async fn failed(after_ms: u64) -> Result<HttpResponse, DoorError> {
        sleep(Duration::from_millis(after_ms)).await;
        Err(DoorError::Failed(after_ms.to_string()))
    }

    #[tokio::test]
    async fn answers_come_as_they_are_ready_and_none_of_what_was_given_up() {
        let mut requests = Requests::default();
        let slow = requests.start(failed(300), &Handle::current());
        let fast = requests.start(failed(1), &Handle::current());
        let never = requests.start(failed(2), &Handle::current());
        requests.cancel(never);
        assert_eq!(requests.next(None).await.unwrap().0, fast);
        assert!(requests.next(Some(Duration::from_millis(20))).await.is_none(), "the time passed first");
        assert_eq!(requests.next(None).await.unwrap().0, slow);
        assert!(requests.next(None).await.is_none(), "nothing is on its way");
        assert!(requests.next(Some(Duration::from_millis(1))).await.is_none());
    }
}
