//! One span: what was done, from when to when, and how it ended.

use super::TraceContext;
use crate::app::App;
use serde_json::{Value, json};
use std::time::Instant;

/// The longest text of an attribute, in characters: names of models and tools are tenants' text.
const TEXT_CHARS_MAX: usize = 256;

/// Who did it for whom, as OTLP counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// We, for nobody outside.
    Internal = 1,
    /// We, for a client.
    Server = 2,
    /// Somebody else, for us.
    Client = 3,
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// A whole number.
    Count(u64),
    /// Any other.
    Number(f64),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Attribute {
        Attribute::Text(text.chars().take(TEXT_CHARS_MAX).collect())
    }
}

impl From<u64> for Attribute {
    fn from(count: u64) -> Attribute {
        Attribute::Count(count)
    }
}

impl From<f64> for Attribute {
    fn from(number: f64) -> Attribute {
        Attribute::Number(number)
    }
}

/// A span that is under way. It ends when it is dropped.
#[derive(Debug)]
pub struct TraceSpan {
    context: Option<TraceContext>,
    /// None where nobody collects it.
    open: Option<Box<Open>>,
}

#[derive(Debug)]
struct Open {
    app: AppHandle,
    ended: Ended,
    began: Instant,
}

/// To where it is sent when it ends.
struct AppHandle(App);

impl std::fmt::Debug for AppHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("App")
    }
}

/// A span that ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    context: TraceContext,
    parent: Option<TraceContext>,
    kind: SpanKind,
    name: String,
    start_ns: i64,
    took_ns: i64,
    attributes: Vec<(&'static str, Attribute)>,
    failed: bool,
}

impl TraceSpan {
    /// A span that nobody keeps.
    pub fn none() -> TraceSpan {
        TraceSpan { context: None, open: None }
    }

    /// Begins a span below `parent`. Where nothing is exported, what is below it is below `parent`; where whoever
    /// began the trace does not keep it, it is not exported either.
    pub fn begin(app: &App, parent: Option<TraceContext>, kind: SpanKind, name: &str) -> TraceSpan {
        if !app.traces.are_exported() {
            return TraceSpan { context: parent, open: None };
        }
        let context = TraceContext::next(parent, &app.entropy);
        let open = context.sampled.then(|| {
            let ended = Ended {
                context,
                parent,
                kind,
                name: name.chars().take(TEXT_CHARS_MAX).collect(),
                start_ns: app.now().timestamp_nanos_opt().unwrap_or_default(),
                took_ns: 0,
                attributes: vec![],
                failed: false,
            };
            Box::new(Open { app: AppHandle(app.clone()), ended, began: Instant::now() })
        });
        TraceSpan { context: Some(context), open }
    }

    /// What is below it.
    pub fn context(&self) -> Option<TraceContext> {
        self.context
    }

    /// Says something of it.
    pub fn set(&mut self, name: &'static str, value: impl Into<Attribute>) {
        if let Some(open) = &mut self.open {
            open.ended.attributes.push((name, value.into()));
        }
    }

    /// Says why it failed, in a word of ours.
    pub fn failed(&mut self, code: &str) {
        self.set("error.type", code);
        if let Some(open) = &mut self.open {
            open.ended.failed = true;
        }
    }
}

impl Drop for TraceSpan {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let Open { app: AppHandle(app), mut ended, began } = *open;
            ended.took_ns = i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX);
            app.traces.ended(ended);
        }
    }
}

impl Ended {
    /// As OTLP writes it in JSON.
    pub(super) fn to_otlp(&self) -> Value {
        let end_ns = self.start_ns.saturating_add(self.took_ns);
        let mut span = json!({
            "traceId": hex::encode(self.context.trace_id),
            "spanId": hex::encode(self.context.span_id),
            "name": self.name,
            "kind": self.kind as u8,
            // Numbers of 64 bits are texts in protobuf's JSON.
            "startTimeUnixNano": self.start_ns.to_string(),
            "endTimeUnixNano": end_ns.to_string(),
            "attributes": self.attributes.iter().map(|(name, value)| attribute(name, value)).collect::<Vec<_>>(),
            "status": if self.failed { json!({ "code": 2 }) } else { json!({}) },
        });
        if let Some(parent) = self.parent {
            span["parentSpanId"] = json!(hex::encode(parent.span_id));
        }
        span
    }
}

/// An attribute as OTLP writes it.
pub(super) fn attribute(name: &str, value: &Attribute) -> Value {
    let value = match value {
        Attribute::Text(text) => json!({ "stringValue": text }),
        Attribute::Count(count) => json!({ "intValue": count.to_string() }),
        Attribute::Number(number) => json!({ "doubleValue": number }),
        Attribute::Texts(texts) => {
            let texts: Vec<_> = texts.iter().map(|text| json!({ "stringValue": text })).collect();
            json!({ "arrayValue": { "values": texts } })
        }
    };
    json!({ "key": name, "value": value })
}
