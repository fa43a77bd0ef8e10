//! `opg:host/http`.

use crate::sandbox::bindings::host::http::{Error, Host, Request, Response};
use crate::sandbox::door::{HttpRequest, HttpResponse};
use crate::sandbox::state::GuestState;
use std::time::Duration;

impl Host for GuestState {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, Error>> {
        let (door, time_left) = (self.host.door.clone(), self.host.time_left());
        let request = HttpRequest::from(request);
        let answer = self.host.ask(async move { door.http(request, time_left).await }).await;
        Ok(answer.map(Response::from).map_err(Error::from))
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
