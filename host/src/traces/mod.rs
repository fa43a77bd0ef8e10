//! Traces: what a request did, as spans for whoever collects them (row M343).
//!
//! - Where a request comes from says `traceparent` (W3C, [`TraceContext`]); it goes through queues, calls of guests and
//!   what they ask for, and on to model providers, whether or not anything is exported. One that is malformed counts as
//!   none.
//! - With `OTEL_EXPORTER_OTLP_ENDPOINT` set, spans of requests, runs of tools and agents and calls of models are sent
//!   to a collector ([`export`]); else none is made.
//! - A span holds what is set on it here and in `models::span`: names, numbers and codes. Never a prompt, an answer, an
//!   input, a key, an address or a path. So nothing that is logged is exported with it.
//!
//! Deliberately absent: `tracestate`, which is other vendors'; a `traceparent` on guests' own HTTP requests, because
//! whom a plugin talks to is not told which requests belong together; and OpenTelemetry's SDK, whose exporter brings
//! a second HTTP client and whose bridge sends log lines along with spans.

mod context;
pub mod export;
mod span;

pub use context::{TRACEPARENT, TraceContext};
pub use export::{Collector, Traces};
pub use span::{Attribute, SpanKind, TraceSpan};
