//! What a runner asks of the host's API, over the one connection it has.
//!
//! One request after another: a connection that breaks is not made again, for there is nothing to make one with, and
//! the runner ends with it. Events that come while one is under way go together with the next.

use super::{RunnerConfig, ToldError, unreported};
use crate::{
    limits::CHAT_BYTES_MAX,
    sandbox::{CallError, Outcome, door::DoorError, remote::Reports},
};
use anyhow::{Context as _, bail, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};
use uuid::Uuid;
use zeroize::Zeroizing;

/// What an answer may hold, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What is around what a request reports, in bytes.
const AROUND_BYTES: usize = 1 << 10;
/// Reports that wait for their turn: guests wait for theirs.
const REPORTS_WAITING_MAX: usize = 64;
/// Events that go together.
const EVENTS_TOGETHER_MAX: usize = 64;

/// The connection.
pub(super) struct Api {
    connection: SendRequest<Full<Bytes>>,
    /// `Bearer …`, once it has registered.
    credential: Option<Zeroizing<String>>,
}

/// What comes of registering.
#[derive(Deserialize)]
pub(super) struct Registered {
    pub(super) instance_token: String,
    pub(super) sealed_keys: Vec<SealedKey>,
    pub(super) config: RunnerConfig,
}

/// A key that only this runner opens.
#[derive(Deserialize)]
pub(super) struct SealedKey {
    pub(super) name: String,
    pub(super) sealed: String,
}

impl Api {
    pub(super) async fn over(socket: UnixStream) -> anyhow::Result<Api> {
        let (connection, driving) = handshake(TokioIo::new(socket)).await?;
        tokio::spawn(driving);
        Ok(Api { connection, credential: None })
    }

    /// Registers with a token that is good once, and the public half of a key.
    pub(super) async fn register(
        &mut self,
        session_id: Uuid,
        token: &str,
        public_key: &str,
    ) -> anyhow::Result<Registered> {
        let body = json!({ "session_id": session_id, "registration_token": token, "public_key": public_key });
        let (status, answer) = self.post("/internal/register", &body).await?;
        ensure!(status == StatusCode::OK, "the host does not register it: {status}");
        let registered: Registered = serde_json::from_slice(&answer)?;
        self.credential = Some(Zeroizing::new(format!("Bearer {}", registered.instance_token)));
        Ok(registered)
    }

    async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<(StatusCode, Zeroizing<Vec<u8>>)> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, "opg")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(credential) = &self.credential {
            request = request.header(header::AUTHORIZATION, credential.as_str());
        }
        let request = request.body(Full::new(Bytes::from(serde_json::to_vec(body)?)))?;
        self.connection.ready().await?;
        let (head, body) = self.connection.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|cause| anyhow::anyhow!("an answer breaks off: {cause}"))?;
        Ok((head.status, Zeroizing::new(body.to_bytes().to_vec())))
    }

    async fn post_for<T: DeserializeOwned>(&mut self, path: &str, body: &Value) -> anyhow::Result<T> {
        let (status, answer) = self.post(path, body).await?;
        ensure!(status.is_success(), "{path}: {status}");
        serde_json::from_slice(&answer).context("an answer makes no sense")
    }

    /// Says that it lives, and reports what there is, until the host takes no more.
    pub(super) async fn serve(
        mut self,
        every: Duration,
        mut waiting: mpsc::Receiver<Report>,
    ) -> anyhow::Result<()> {
        let mut beat = interval(every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seq = 1;
        let mut next = None;
        loop {
            let report = match next.take() {
                Some(report) => report,
                None => tokio::select! {
                    biased;
                    _ = beat.tick() => {
                        let (status, _) = self.post("/internal/heartbeat", &json!({})).await?;
                        ensure!(status.is_success(), "the host knows it no more: {status}");
                        continue;
                    }
                    report = waiting.recv() => match report {
                        Some(report) => report,
                        None => return Ok(()),
                    },
                },
            };
            match report {
                Report::Outcome { run, outcome, reported } => {
                    let said = self.report_outcome(run, &outcome).await?;
                    drop(reported.send(said));
                }
                Report::Event(event) => {
                    let mut bytes = event.bytes;
                    let mut events = vec![event];
                    while events.len() < EVENTS_TOGETHER_MAX
                        && let Ok(report) = waiting.try_recv()
                    {
                        match report {
                            Report::Event(event)
                                if bytes + event.bytes + AROUND_BYTES * events.len() < CHAT_BYTES_MAX =>
                            {
                                bytes += event.bytes;
                                events.push(event);
                            }
                            other => {
                                next = Some(other);
                                break;
                            }
                        }
                    }
                    self.report_events(&mut seq, events).await?;
                }
            }
        }
    }

    async fn report_outcome(&mut self, run: u64, outcome: &Outcome) -> anyhow::Result<Result<(), CallError>> {
        let json = json!({ "finish_reason": outcome.finish_reason, "messages": outcome.messages });
        let (status, _) = self.post("/internal/session-json", &json!({ "run": run, "json": json })).await?;
        match status {
            status if status.is_success() => Ok(Ok(())),
            // It was cancelled meanwhile.
            StatusCode::NOT_FOUND => Ok(Err(unreported())),
            status => bail!("an outcome was not taken: {status}"),
        }
    }

    /// Reports events under numbers without a gap. They come in order over one connection, so a host that misses one has
    /// lost count, and nothing can be made of that here.
    async fn report_events(&mut self, seq: &mut u64, events: Vec<ReportedEvent>) -> anyhow::Result<()> {
        let numbered = (*seq..).zip(&events);
        let body: Vec<Value> = numbered
            .map(|(seq, event)| json!({ "seq": seq, "run": event.run, "event": event.event }))
            .collect();
        let taken: Taken = self.post_for("/internal/events", &json!({ "events": body })).await?;
        ensure!(
            taken.next_seq == *seq + events.len() as u64 && taken.results.len() == events.len(),
            "events were not taken as they were sent"
        );
        *seq = taken.next_seq;
        for (event, result) in events.into_iter().zip(taken.results) {
            drop(event.reported.send(result.map_or(Ok(()), |error| Err(error.into()))));
        }
        Ok(())
    }
}

/// What became of events.
#[derive(Deserialize)]
struct Taken {
    next_seq: u64,
    results: Vec<Option<ToldError>>,
}

/// What is to be reported, and whoever waits for it.
pub(super) enum Report {
    Event(ReportedEvent),
    Outcome { run: u64, outcome: Outcome, reported: oneshot::Sender<Result<(), CallError>> },
}

pub(super) struct ReportedEvent {
    run: u64,
    event: String,
    /// How long it is as a JSON text.
    bytes: usize,
    reported: oneshot::Sender<Result<(), DoorError>>,
}

/// Hands reports to whoever sends them.
pub(super) struct Reporter(mpsc::Sender<Report>);

impl Reporter {
    pub(super) fn new() -> (Reporter, mpsc::Receiver<Report>) {
        let (sender, reports) = mpsc::channel(REPORTS_WAITING_MAX);
        (Reporter(sender), reports)
    }
}

fn unavailable() -> DoorError {
    DoorError::Unavailable("nobody listens to this call's events".to_owned())
}

#[async_trait]
impl Reports for Reporter {
    async fn event(&self, run: u64, event: String) -> Result<(), DoorError> {
        let bytes = serde_json::to_vec(&event).map_or(usize::MAX, |text| text.len());
        if bytes.saturating_add(AROUND_BYTES) > CHAT_BYTES_MAX {
            return Err(DoorError::Limit(format!("an event is {CHAT_BYTES_MAX} bytes at the most")));
        }
        let (reported, report) = oneshot::channel();
        let event = ReportedEvent { run, event, bytes, reported };
        self.0.send(Report::Event(event)).await.map_err(|_| unavailable())?;
        report.await.unwrap_or_else(|_| Err(unavailable()))
    }

    async fn outcome(&self, run: u64, outcome: Outcome) -> Result<(), CallError> {
        let (reported, report) = oneshot::channel();
        self.0.send(Report::Outcome { run, outcome, reported }).await.map_err(|_| unreported())?;
        report.await.unwrap_or_else(|_| Err(unreported()))
    }
}

impl From<DoorError> for ToldError {
    fn from(error: DoorError) -> ToldError {
        let (code, message) = match error {
            DoorError::Denied(text) => ("denied", text),
            DoorError::Invalid(text) => ("invalid", text),
            DoorError::Limit(text) => ("limit", text),
            DoorError::Failed(text) => ("failed", text),
            DoorError::Unavailable(text) => ("unavailable", text),
        };
        ToldError { code: code.to_owned(), message }
    }
}

impl From<ToldError> for DoorError {
    fn from(ToldError { code, message }: ToldError) -> DoorError {
        match code.as_str() {
            "denied" => DoorError::Denied(message),
            "invalid" => DoorError::Invalid(message),
            "limit" => DoorError::Limit(message),
            "failed" => DoorError::Failed(message),
            _ => DoorError::Unavailable(message),
        }
    }
}
