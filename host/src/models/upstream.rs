//! The way out: one request to a provider, in its dialect.
//!
//! No task runs behind a reply: whoever drops the future or the stream drops the connection, before the
//! first byte as well as after. The only retry here is for a connection that could not be made, when nothing was
//! sent; asking somebody else is `route`'s affair, everything else the caller's, because a model call costs money.

use super::anthropic::paused::Paused;
use super::error::{ErrorDetail, UpstreamError, UpstreamErrorKind};
use super::frames::{Decode, tokens};
use super::openai::request::ChatRequest;
use super::providers::{Dialect, Kind, endpoint};
use super::stream::ReplyTo;
use super::thought::ForGuest;
use super::vault::Seals;
use super::{Event, EventStream, FinishReason, RequestError, anthropic, google, openai, responses};
use crate::egress::Egress;
use crate::traces::{TRACEPARENT, TraceContext};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
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
/// How often one turn may be paused: each time the model reads everything anew.
const PAUSES_MAX: u32 = 8;
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

/// A provider, with the credentials to use it.
#[derive(Debug, Clone)]
pub struct Upstream {
    base_url: Url,
    api_key: SecretString,
    http: reqwest::Client,
    kind: Kind,
    dialect: Dialect,
    timeouts: Timeouts,
    seals: Option<Seals>,
    /// What it calls the model, if not as we do.
    model: Option<String>,
    /// Who judges its address before each request, where the client behind it does not.
    judge: Option<Egress>,
    /// What a call of it belongs to.
    trace: Option<TraceContext>,
}

impl Upstream {
    /// `http` is the guarded client of `egress`: it decides which addresses may be reached and follows no
    /// redirects. An empty `api_key` sends none.
    pub fn new(base_url: Url, api_key: SecretString, http: reqwest::Client) -> Self {
        let (kind, dialect, timeouts) = Default::default();
        Self {
            base_url,
            api_key,
            http,
            kind,
            dialect,
            timeouts,
            seals: None,
            model: None,
            judge: None,
            trace: None,
        }
    }

    /// For a provider that speaks another dialect than OpenAI's.
    pub fn with_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// For a provider that leaves out a part of OpenAI's dialect.
    pub fn with_dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// For clients that drop what a provider wants back.
    pub fn with_seals(self, seals: Seals) -> Self {
        Self { seals: Some(seals), ..self }
    }

    /// For one that calls the model something else.
    pub fn with_name_of_model(self, model: Option<String>) -> Self {
        Self { model, ..self }
    }

    /// For one that is asked through a proxy, which resolves names itself.
    pub fn judged_by(self, egress: Egress) -> Self {
        Self { judge: Some(egress), ..self }
    }

    /// For a call that belongs to a trace, which it is told.
    #[must_use]
    pub fn with_trace(self, trace: Option<TraceContext>) -> Self {
        Self { trace, ..self }
    }

    /// For a request that others were asked first for, in vain.
    #[must_use]
    pub fn after(self, spent: Duration) -> Self {
        let Timeouts { head, idle, total, after_finish } = self.timeouts;
        let (head, total) = (head.saturating_sub(spent), total.saturating_sub(spent));
        self.with_timeouts(Timeouts { head, idle, total, after_finish })
    }

    /// Its own name for a model that we call `model`.
    pub fn name_of<'a>(&'a self, model: &'a str) -> &'a str {
        self.model.as_deref().unwrap_or(model)
    }

    /// For a caller with less patience.
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Sends the request and waits for the first event, so that a failure can still become a status.
    /// `model` is the provider's own name for the model, unless it was given another.
    pub async fn stream(&self, model: &str, request: &ChatRequest) -> Result<EventStream, UpstreamError> {
        let model = self.name_of(model);
        let filled = self.seals.as_ref().map(|seals| seals.fill(request));
        let request = filled.as_deref().unwrap_or(request);
        let body = self.body(model, request).map_err(UpstreamError::unsupported)?;
        let url = self.url(model)?;
        let deadline = Instant::now() + self.timeouts.total;
        let response = self.post(url.clone(), &body).await?;
        let answered_by = Arc::new(OnceLock::new());
        let reply = Reply {
            upstream: self.clone(),
            url,
            body,
            pauses: 0,
            answered_by: answered_by.clone(),
            bytes: Box::pin(response.bytes_stream()),
            decoder: self.decoder(request.choices),
            ready: VecDeque::new(),
            ended: false,
            deadline,
        };
        let upstream = self.clone();
        let raw =
            stream::unfold(reply, Reply::next).map(move |item| item.map_err(|error| upstream.scrub(error)));
        let reply_to = ReplyTo {
            prompt_tokens: super::tokens::in_request(request),
            completion_tokens_max: request.output_tokens_max(),
            messages: request.messages.len(),
            alternatives: request.choices - 1,
            logprobs: request.logprobs.is_some(),
        };
        let events = match self.seals.clone() {
            None => EventStream::new(raw, reply_to),
            Some(seals) => {
                let mut thoughts = ForGuest::default();
                EventStream::new(raw, reply_to).watched(move |event| seals.watch(&mut thoughts, event))
            }
        };
        events.learning(answered_by).wait_for_first().await
    }

    /// Sends a request that is answered at once, and reads the whole answer, `bytes_max` of it.
    pub async fn ask(&self, path: &[&str], body: &Value, bytes_max: usize) -> Result<Value, UpstreamError> {
        let answer = timeout(self.timeouts.idle, async {
            let mut response = self.post(self.endpoint(path)?, body).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|error| transport_error(&error))? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > bytes_max {
                    return Err(UpstreamError::bad_reply("it is too large"));
                }
            }
            serde_json::from_slice(&bytes).map_err(|_| UpstreamError::bad_reply("it is not valid JSON"))
        });
        answer.await.map_err(|_| timed_out())?
    }

    /// Sends a body of any kind and gives back a good answer's bytes as they come, `bytes_max` of them.
    pub async fn fetch(
        &self,
        path: &[&str],
        media_type: &str,
        body: Bytes,
        bytes_max: usize,
    ) -> Result<Fetched, UpstreamError> {
        let media_type =
            HeaderValue::from_str(media_type).map_err(|_| UpstreamError::new(UpstreamErrorKind::Rejected))?;
        let deadline = Instant::now() + self.timeouts.total;
        let response = self.post_as(self.endpoint(path)?, media_type, body).await?;
        let media_type = crate::http::body::media_type(response.headers());
        let idle = self.timeouts.idle;
        let going = Some((Box::pin(response.bytes_stream()), bytes_max));
        let bytes = stream::unfold(going, move |going| async move {
            let (mut bytes, left) = going?;
            let until = (Instant::now() + idle).min(deadline);
            let next = match timeout_at(until, bytes.next()).await {
                Err(_) => Err(timed_out()),
                Ok(None) => return None,
                Ok(Some(Err(error))) => Err(transport_error(&error)),
                Ok(Some(Ok(piece))) if piece.len() > left => Err(UpstreamError::bad_reply("it is too large")),
                Ok(Some(Ok(piece))) => Ok(piece),
            };
            let left = next.as_ref().map_or(0, |piece| left - piece.len());
            let going = next.is_ok().then_some((bytes, left));
            Some((next, going))
        });
        Ok(Fetched { media_type, bytes: bytes.boxed() })
    }

    /// How many tokens a model would read; None where the provider does not count.
    pub async fn count(&self, model: &str, request: &ChatRequest) -> Result<Option<u64>, UpstreamError> {
        let model = self.name_of(model);
        let mut body = self.body(model, request).map_err(UpstreamError::unsupported)?;
        let (path, body, at) = match self.kind {
            Kind::OpenaiCompatible | Kind::OpenaiResponses => return Ok(None),
            Kind::Anthropic => {
                let counted = ["model", "messages", "system", "tools", "tool_choice", "thinking"];
                body.as_object_mut()
                    .into_iter()
                    .for_each(|body| body.retain(|name, _| counted.contains(&name.as_str())));
                (vec!["messages".to_owned(), "count_tokens".to_owned()], body, "/input_tokens")
            }
            Kind::Google => {
                body["model"] = json!(format!("models/{model}"));
                let path = vec!["models".to_owned(), format!("{model}:countTokens")];
                (path, json!({ "generateContentRequest": body }), "/totalTokens")
            }
        };
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let answer = self.ask(&path, &body, ERROR_BODY_BYTES_MAX).await?;
        let count = tokens(&answer, at);
        count.map(Some).ok_or_else(|| UpstreamError::bad_reply("it has no count"))
    }

    /// The dialect it speaks.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn body(&self, model: &str, request: &ChatRequest) -> Result<Value, RequestError> {
        match self.kind {
            Kind::OpenaiCompatible => openai::encode::body(model, request, self.dialect),
            Kind::OpenaiResponses => responses::encode::body(model, request),
            Kind::Anthropic => anthropic::encode::body(model, request),
            Kind::Google => google::encode::body(model, request),
        }
    }

    fn decoder(&self, choices: u32) -> Box<dyn Decode> {
        match self.kind {
            Kind::OpenaiCompatible => {
                Box::new(openai::decode::Decoder::with(openai::decode::Chunks::of(choices)))
            }
            Kind::OpenaiResponses => Box::<responses::decode::Decoder>::default(),
            Kind::Anthropic => Box::<anthropic::decode::Decoder>::default(),
            Kind::Google => Box::<google::decode::Decoder>::default(),
        }
    }

    fn url(&self, model: &str) -> Result<Url, UpstreamError> {
        match self.kind {
            Kind::OpenaiCompatible => self.endpoint(&["chat", "completions"]),
            Kind::OpenaiResponses => self.endpoint(&["responses"]),
            Kind::Anthropic => self.endpoint(&["messages"]),
            Kind::Google => {
                let mut url = self.endpoint(&["models", &format!("{model}:streamGenerateContent")])?;
                url.set_query(Some("alt=sse"));
                Ok(url)
            }
        }
    }

    fn endpoint(&self, path: &[&str]) -> Result<Url, UpstreamError> {
        endpoint(&self.base_url, path).ok_or_else(|| UpstreamError::new(UpstreamErrorKind::Unreachable))
    }

    async fn post(&self, url: Url, body: &Value) -> Result<reqwest::Response, UpstreamError> {
        self.post_as(url, HeaderValue::from_static("application/json"), Bytes::from(body.to_string())).await
    }

    /// Waits for the head of a good answer.
    async fn post_as(
        &self,
        url: Url,
        media_type: HeaderValue,
        body: Bytes,
    ) -> Result<reqwest::Response, UpstreamError> {
        let sent = timeout(self.timeouts.head, self.send(url, media_type, body));
        let response = sent.await.map_err(|_| timed_out())??;
        if response.status().is_success() { Ok(response) } else { Err(self.read_error(response).await) }
    }

    async fn send(
        &self,
        url: Url,
        media_type: HeaderValue,
        body: Bytes,
    ) -> Result<reqwest::Response, UpstreamError> {
        if let Some(egress) = &self.judge {
            let judged = egress.judge_resolved(&url).await;
            judged.map_err(|_| UpstreamError::new(UpstreamErrorKind::Unreachable))?;
        }
        let post = || {
            let mut headers = self.headers()?;
            headers.insert(CONTENT_TYPE, media_type.clone());
            let request = self.http.post(url.clone()).headers(headers).body(body.clone());
            Ok::<_, UpstreamError>(request.send())
        };
        let result = match post()?.await {
            Err(error) if error.is_connect() => post()?.await,
            result => result,
        };
        result.map_err(|error| transport_error(&error))
    }

    fn headers(&self) -> Result<HeaderMap, UpstreamError> {
        let headers = self.kind.headers(&self.api_key);
        let mut headers = headers.map_err(|_| UpstreamError::new(UpstreamErrorKind::Credentials))?;
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json, */*"));
        let trace = self.trace.and_then(|trace| HeaderValue::from_str(&trace.to_string()).ok());
        headers.extend(trace.map(|trace| (TRACEPARENT, trace)));
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

/// An answer that is not read here. Dropping it drops the connection.
pub struct Fetched {
    /// What the provider says it is, without parameters.
    pub media_type: Option<String>,
    /// What comes; ends with the first error.
    pub bytes: BoxStream<'static, Result<Bytes, UpstreamError>>,
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched").field("media_type", &self.media_type).finish_non_exhaustive()
    }
}

impl Fetched {
    /// All of it.
    pub async fn whole(mut self) -> Result<Bytes, UpstreamError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.bytes.next().await {
            whole.extend_from_slice(&piece?);
        }
        Ok(whole.into())
    }
}

/// The state of a reply that is being read.
struct Reply {
    /// For a turn that is paused: who to ask to go on, and what.
    upstream: Upstream,
    url: Url,
    body: Value,
    pauses: u32,
    answered_by: Arc<OnceLock<String>>,
    bytes: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    decoder: Box<dyn Decode>,
    ready: VecDeque<Result<Event, UpstreamError>>,
    ended: bool,
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
            let mut result = self.read(&mut events).await;
            if let Some(model) = self.decoder.model() {
                self.answered_by.get_or_init(|| model.to_owned());
            }
            if result.is_ok()
                && self.ended
                && let Some(paused) = self.decoder.take_paused()
            {
                result = self.go_on(paused, &mut events).await;
            }
            self.ready.extend(events.into_iter().map(Ok));
            if let Err(error) = result {
                self.ended = true;
                self.ready.push_back(Err(error));
            }
        }
    }

    /// Has a turn that was paused go on.
    async fn go_on(&mut self, paused: Paused, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        self.pauses += 1;
        if self.pauses > PAUSES_MAX {
            return Err(UpstreamError::bad_reply("the model paused its turn too often"));
        }
        if !paused.put_into(&mut self.body) {
            events.push(Event::Finish(FinishReason::Length));
            return Ok(());
        }
        let asked = timeout_at(self.deadline, self.upstream.post(self.url.clone(), &self.body));
        let response = asked.await.map_err(|_| timed_out())??;
        self.bytes = Box::pin(response.bytes_stream());
        self.ended = false;
        Ok(())
    }

    async fn read(&mut self, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let timeouts = self.upstream.timeouts;
        let patience = if self.decoder.is_finished() { timeouts.after_finish } else { timeouts.idle };
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
