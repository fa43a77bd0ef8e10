//! One request whose answer is read as it comes: what model providers use.
//!
//! No redirects: an API that moves is a configuration to correct, and a key must not travel. Dropping the stream
//! closes the connection, which is how an upstream learns that nobody listens any more.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::send::end_to_end;
use super::{Egress, EgressError, translate};

/// What to send, and how long to wait between signs of life.
pub struct StreamRequest {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Until the answer's headers. Connecting has its own, shorter limit.
    pub head_timeout: Duration,
    /// Between two pieces of the body.
    pub idle_timeout: Duration,
}

/// The answer: its head at once, its body piece by piece.
#[derive(Debug)]
pub struct EgressStream {
    pub status: StatusCode,
    pub headers: HeaderMap,
    response: reqwest::Response,
    url: Url,
    idle_timeout: Duration,
}

impl Egress {
    /// Sends and returns when the answer's head is here, whatever its status.
    pub async fn stream(&self, request: StreamRequest) -> Result<EgressStream, EgressError> {
        let StreamRequest { method, url, headers, body, head_timeout, idle_timeout } = request;
        let url = self.guard.check(&url)?;
        let sending = self.client.request(method, url.clone()).headers(end_to_end(headers)).body(body).send();
        let mut response = tokio::time::timeout(head_timeout, sending)
            .await
            .map_err(|_| EgressError::Timeout { waited: head_timeout })?
            .map_err(|error| translate(&error, &url, head_timeout))?;
        self.guard.check_reached(&url, response.remote_addr())?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        Ok(EgressStream { status, headers, response, url, idle_timeout })
    }
}

impl EgressStream {
    /// The next piece; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        match tokio::time::timeout(self.idle_timeout, self.response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| translate(&error, &self.url, self.idle_timeout)),
            Err(_) => Err(EgressError::Timeout { waited: self.idle_timeout }),
        }
    }

    /// The body as a stream. It ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, EgressError>> + Send {
        futures_util::stream::unfold(Some(self), |stream| async {
            let mut stream = stream?;
            match stream.chunk().await {
                Ok(chunk) => chunk.map(|chunk| (Ok(chunk), Some(stream))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// The whole body, if it is small: an error's text, an answer that was not asked for as a stream.
    pub async fn collect(mut self, bytes_max: usize) -> Result<Bytes, EgressError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if chunk.len() > bytes_max - body.len() {
                return Err(EgressError::TooLarge { bytes_max });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}
