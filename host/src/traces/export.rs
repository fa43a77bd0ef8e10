//! Sending spans to a collector: OTLP over HTTP, in JSON (`http/json` of
//! <https://opentelemetry.io/docs/specs/otlp/>), with the HTTP client that is there already.
//!
//! A span that ends goes into a queue and nobody waits for it: where the collector is slow or away, spans are lost and
//! counted, and requests are not slower.

use super::span::{Attribute, Ended, attribute};
use crate::{app::App, egress::Egress};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use url::Url;

/// Spans that wait to be sent; more are lost. OpenTelemetry's SDKs have the same numbers.
const QUEUED_MAX: usize = 2048;
/// Spans of one request to the collector.
const BATCH_MAX: usize = 512;
/// How long a span waits for others.
const BATCH_EVERY: Duration = Duration::from_secs(5);
/// How long the collector may take.
const SEND_TIME_MAX: Duration = Duration::from_secs(10);
/// How long to wait before a batch is sent again that the collector could not take just then; once.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long after the last request its spans may still come.
const LAST_SPANS_WITHIN: Duration = Duration::from_millis(300);

/// Where spans go.
#[derive(Clone)]
pub struct Collector {
    /// The whole address, `…/v1/traces`.
    pub url: Url,
    /// What it wants to be told with each request: a key of it, often.
    pub headers: HeaderMap,
    /// What we are called there.
    pub service_name: String,
}

impl fmt::Debug for Collector {
    /// Headers hold keys, and an address may.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("service_name", &self.service_name).finish_non_exhaustive()
    }
}

/// The way from whoever ends a span to the collector.
#[derive(Default)]
pub struct Traces(Option<Queue>);

struct Queue {
    sender: mpsc::Sender<Ended>,
    /// Until somebody sends what comes.
    receiver: Mutex<Option<mpsc::Receiver<Ended>>>,
}

impl Traces {
    /// Exports spans, where there is a collector.
    pub fn new(collector: Option<&Collector>) -> Traces {
        Traces(collector.map(|_| {
            let (sender, receiver) = mpsc::channel(QUEUED_MAX);
            Queue { sender, receiver: Mutex::new(Some(receiver)) }
        }))
    }

    /// Whether anybody wants spans.
    pub fn are_exported(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn ended(&self, span: Ended) {
        let lost = self.0.as_ref().is_some_and(|queue| queue.sender.try_send(span).is_err());
        if lost {
            count_lost(1);
        }
    }
}

fn count_lost(spans: usize) {
    metrics::counter!("opg_spans_lost_total").increment(spans as u64);
}

/// Sends spans until the process stops, and then the last of them. The operator says where, so it may be a private
/// address.
pub async fn run(app: App, egress: Egress) {
    let queue = app.traces.0.as_ref();
    let receiver =
        queue.and_then(|queue| queue.receiver.lock().unwrap_or_else(PoisonError::into_inner).take());
    let (Some(mut receiver), Some(collector)) = (receiver, app.config.collector.clone()) else { return };
    loop {
        let mut batch = vec![];
        tokio::select! {
            () = gather(&mut receiver, &mut batch) => send(&app, &egress, &collector, &batch).await,
            () = app.cut_off.cancelled() => {
                tokio::time::sleep(LAST_SPANS_WITHIN).await;
                while let Ok(span) = receiver.try_recv() {
                    batch.push(span);
                }
                for batch in batch.chunks(BATCH_MAX) {
                    send(&app, &egress, &collector, batch).await;
                }
                return;
            }
        }
    }
}

/// Waits for a span, and a little longer for others.
async fn gather(receiver: &mut mpsc::Receiver<Ended>, batch: &mut Vec<Ended>) {
    if receiver.recv_many(batch, BATCH_MAX).await == 0 {
        return std::future::pending().await;
    }
    let until = Instant::now() + BATCH_EVERY;
    while batch.len() < BATCH_MAX {
        let room = BATCH_MAX - batch.len();
        match tokio::time::timeout_at(until, receiver.recv_many(batch, room)).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

async fn send(app: &App, egress: &Egress, collector: &Collector, batch: &[Ended]) {
    if batch.is_empty() {
        return;
    }
    let body = body(app, collector, batch).to_string();
    let mut failure = None;
    for attempt in 0..2 {
        if attempt > 0 {
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        let request = egress
            .client()
            .post(collector.url.clone())
            .headers(collector.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .timeout(SEND_TIME_MAX)
            .body(body.clone());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => return,
            Ok(answer) => {
                failure = Some(format!("it answered {}", answer.status()));
                if !is_worth_repeating(answer.status()) {
                    break;
                }
            }
            Err(cause) => failure = Some(cause.without_url().to_string()),
        }
    }
    count_lost(batch.len());
    let why = failure.unwrap_or_default();
    tracing::warn!(spans = batch.len(), why, "the collector of traces did not take spans, which are lost");
}

/// As OTLP says.
fn is_worth_repeating(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

fn body(app: &App, collector: &Collector, batch: &[Ended]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [
        ("service.name", collector.service_name.clone()),
        ("service.version", version.to_owned()),
        ("service.instance.id", app.process_id.to_string()),
    ];
    let resource: Vec<_> =
        resource.into_iter().map(|(name, value)| attribute(name, &Attribute::Text(value))).collect();
    let spans: Vec<_> = batch.iter().map(Ended::to_otlp).collect();
    let scope = json!({ "scope": { "name": "opg", "version": version }, "spans": spans });
    json!({ "resourceSpans": [{ "resource": { "attributes": resource }, "scopeSpans": [scope] }] })
}
