//! The way out: one request to a provider that speaks the OpenAI dialect.
//!
//! No task runs behind a reply: whoever drops the future or the stream drops the connection, before the
//! first byte as well as after. The only retry is for a connection that could not be made, when nothing was
//! sent; everything else is the caller's to repeat, because a model call costs money.

use super::decode::Decoder;
use super::encode;
use super::request::ChatRequest;
use crate::models::error::{ErrorDetail, UpstreamError, UpstreamErrorKind};
use crate::models::providers::Dialect;
use crate::models::stream::ReplyTo;
use crate::models::{Event, EventStream, tokens};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

/// Until the head of the answer: providers queue a request for as long as they like, people do not.
pub const HEAD_TIMEOUT_MS: u64 = 120_000;
/// Between two pieces of the answer. Models that think in silence take minutes.
pub const IDLE_TIMEOUT_MS: u64 = 180_000;
/// For the whole answer, however steadily it drips.
pub const TOTAL_TIMEOUT_MS: u64 = 30 * 60_000;
/// For what may still come after the finish reason: usage and `[DONE]`.
pub const AFTER_FINISH_TIMEOUT_MS: u64 = 5_000;
/// The most we read of an error's body, in bytes.
pub const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;

/// How long to wait for what. The time to connect is the HTTP client's own.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    pub head: Duration,
    pub idle: Duration,
    pub total: Duration,
    pub after_finish: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_millis(HEAD_TIMEOUT_MS),
            idle: Duration::from_millis(IDLE_TIMEOUT_MS),
            total: Duration::from_millis(TOTAL_TIMEOUT_MS),
            after_finish: Duration::from_millis(AFTER_FINISH_TIMEOUT_MS),
        }
    }
}

/// A provider that speaks the OpenAI dialect, with the credentials to use it.
#[derive(Debug, Clone)]
pub struct Upstream {
    base_url: Url,
    api_key: SecretString,
    http: reqwest::Client,
    dialect: Dialect,
    timeouts: Timeouts,
}

impl Upstream {
    /// `http` is the guarded client of `egress`: it decides which addresses may be reached and follows no
    /// redirects. An empty `api_key` sends none.
    pub fn new(base_url: Url, api_key: SecretString, http: reqwest::Client) -> Self {
        Self { base_url, api_key, http, dialect: Dialect::default(), timeouts: Timeouts::default() }
    }

    /// For a provider that leaves out a part of the dialect.
    pub fn with_dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// For a caller with less patience.
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Sends the request and waits for the first event, so that a failure can still become a status.
    /// `model` is the provider's own name for the model.
    pub async fn stream(&self, model: &str, request: &ChatRequest) -> Result<EventStream, UpstreamError> {
        let body = Bytes::from(encode::body(model, request, self.dialect).to_string());
        let deadline = Instant::now() + self.timeouts.total;
        let response = timeout(self.timeouts.head, self.send(body)).await.map_err(|_| timed_out())??;
        if !response.status().is_success() {
            return Err(self.read_error(response).await);
        }
        let reply = Reply {
            bytes: Box::pin(response.bytes_stream()),
            decoder: Decoder::default(),
            ready: VecDeque::new(),
            ended: false,
            timeouts: self.timeouts,
            deadline,
        };
        let upstream = self.clone();
        let raw =
            stream::unfold(reply, Reply::next).map(move |item| item.map_err(|error| upstream.scrub(error)));
        let reply_to = ReplyTo {
            prompt_tokens: tokens::in_request(request),
            completion_tokens_max: request.output_tokens_max(),
            messages: request.messages.len(),
        };
        EventStream::new(raw, reply_to).wait_for_first().await
    }

    async fn send(&self, body: Bytes) -> Result<reqwest::Response, UpstreamError> {
        let post = || {
            let request = self.http.post(self.completions_url()?).headers(self.headers()?).body(body.clone());
            Ok::<_, UpstreamError>(request.send())
        };
        let result = match post()?.await {
            Err(error) if error.is_connect() => post()?.await,
            result => result,
        };
        result.map_err(|error| transport_error(&error))
    }

    fn completions_url(&self) -> Result<Url, UpstreamError> {
        crate::models::providers::endpoint(&self.base_url, &["chat", "completions"])
            .ok_or_else(|| UpstreamError::new(UpstreamErrorKind::Unreachable))
    }

    fn headers(&self) -> Result<HeaderMap, UpstreamError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
        let key = self.api_key.expose_secret();
        if !key.is_empty() {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                .map_err(|_| UpstreamError::new(UpstreamErrorKind::Credentials))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    async fn read_error(&self, response: reqwest::Response) -> UpstreamError {
        let status = response.status().as_u16();
        let retry_after = retry_after_s(response.headers());
        let body = timeout(self.timeouts.after_finish, read_capped(response)).await.unwrap_or_default();
        let detail = serde_json::from_slice(&body).ok().and_then(|value| ErrorDetail::find(&value));
        self.scrub(UpstreamError::from_status(status, detail.unwrap_or_default(), retry_after))
    }

    fn scrub(&self, error: UpstreamError) -> UpstreamError {
        error.scrub(&self.secrets())
    }

    /// What must never be in a message.
    fn secrets(&self) -> [&str; 3] {
        let path = self.base_url.path().trim_end_matches('/');
        [self.api_key.expose_secret(), self.base_url.host_str().unwrap_or_default(), path]
    }
}

/// The state of a reply that is being read.
struct Reply {
    bytes: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    decoder: Decoder,
    ready: VecDeque<Result<Event, UpstreamError>>,
    ended: bool,
    timeouts: Timeouts,
    deadline: Instant,
}

impl Reply {
    async fn next(mut self) -> Option<(Result<Event, UpstreamError>, Self)> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some((item, self));
            }
            if self.ended {
                return None;
            }
            let mut events = Vec::new();
            let result = self.read(&mut events).await;
            self.ready.extend(events.into_iter().map(Ok));
            if let Err(error) = result {
                self.ended = true;
                self.ready.push_back(Err(error));
            }
        }
    }

    async fn read(&mut self, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let patience =
            if self.decoder.is_finished() { self.timeouts.after_finish } else { self.timeouts.idle };
        let until = (Instant::now() + patience).min(self.deadline);
        match timeout_at(until, self.bytes.next()).await.map_err(|_| timed_out())? {
            Some(Ok(bytes)) => {
                self.decoder.push(&bytes, events)?;
                self.ended = self.decoder.is_done();
                Ok(())
            }
            Some(Err(error)) => Err(transport_error(&error)),
            None => {
                self.ended = true;
                self.decoder.end(events)
            }
        }
    }
}

fn timed_out() -> UpstreamError {
    UpstreamError::new(UpstreamErrorKind::TimedOut)
}

/// The words of the HTTP client are dropped: they hold the URL.
fn transport_error(error: &reqwest::Error) -> UpstreamError {
    if error.is_timeout() {
        timed_out()
    } else if error.is_body() || error.is_decode() {
        UpstreamError::bad_reply("the connection broke")
    } else {
        UpstreamError::new(UpstreamErrorKind::Unreachable)
    }
}

fn retry_after_s(headers: &HeaderMap) -> Option<u64> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1_000.0).or_else(|| number(RETRY_AFTER.as_str()))?;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds.ceil() as u64)
}

async fn read_capped(mut response: reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = response.chunk().await {
        let room = ERROR_BODY_BYTES_MAX - body.len();
        body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if body.len() == ERROR_BODY_BYTES_MAX {
            break;
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_may_be_given_in_seconds_or_milliseconds_and_a_date_is_not_read() {
        let wait = |name: &'static str, value: &'static str| {
            retry_after_s(&HeaderMap::from_iter([(
                http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(wait("retry-after", "7"), Some(7));
        assert_eq!(wait("retry-after-ms", "1500"), Some(2));
        assert_eq!(wait("retry-after", "-1"), None);
        assert_eq!(wait("retry-after", "NaN"), None);
        assert_eq!(wait("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
