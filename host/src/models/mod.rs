//! Models: every provider behind one request type and one event type.
//!
//! A client speaks a dialect ([`openai`]); it becomes a [`ChatRequest`], goes to a [`Provider`], comes back as
//! an [`EventStream`] and leaves in the client's dialect. A new provider is a decoder into [`Event`] and an
//! encoder from [`ChatRequest`]; a new client dialect is the reverse; neither knows the other.
//!
//! Rules:
//! - which provider answers is decided by the typed `model` alone, never by other fields of the request;
//! - a reply begins only once the provider's first event is here, so that a failure has a real status;
//! - dropping a reply drops the provider's connection;
//! - every reply ends with what it used.
//!
//! Everything an app asks of a model goes through [`gateway`], which finds the provider and its key and
//! writes down what was used.
//!
//! Deliberately absent: retries and fallbacks (a call costs money: the caller decides), budgets (`usage`),
//! and the choice of model (`chat`).

pub mod catalog;
pub mod demo;
pub mod error;
pub mod event;
pub mod gateway;
pub mod openai;
pub mod price;
pub mod providers;
pub mod sse;
pub mod stream;
pub mod tokens;

pub use error::{UpstreamError, UpstreamErrorKind};
pub use event::{Event, FinishReason, Usage};
pub use openai::client::Upstream;
pub use openai::request::{ChatRequest, Message, ModelId, RequestError, Role, Tool, ToolCall, ToolChoice};
pub use price::Price;
pub use stream::EventStream;

/// Where a request goes.
#[derive(Debug, Clone)]
pub enum Provider {
    /// Anything that speaks the OpenAI dialect.
    OpenAiCompatible(Upstream),
    /// Built in, offline, deterministic.
    Demo(demo::Demo),
}

impl Provider {
    /// Asks a model; `model` is the provider's own name for it. Returns once the first event is here.
    pub async fn stream(&self, model: &str, request: &ChatRequest) -> Result<EventStream, UpstreamError> {
        match self {
            Self::OpenAiCompatible(upstream) => upstream.stream(model, request).await,
            Self::Demo(demo) => demo.stream(model, request).await,
        }
    }
}
