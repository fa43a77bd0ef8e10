//! Models: every provider behind one request type and one event type.
//!
//! A client speaks a dialect ([`openai`], [`anthropic`], [`responses`]); it becomes a [`ChatRequest`], goes to a
//! [`Provider`] (these three, and [`google`]), comes back as an [`EventStream`] and leaves in the client's dialect.
//! A new provider is a decoder into [`Event`] and an encoder from [`ChatRequest`]; a new client dialect is the
//! reverse; neither knows the other. [`ChatRequest`] is OpenAI's chat request because that is what guests speak;
//! what another dialect says beyond it stands in members named after the dialect, and goes to its own providers
//! as it came: see [`options`].
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
//! Where a request goes, and who is asked next where somebody does not answer, is [`route`]'s affair.
//!
//! Deliberately absent: retries with the same provider (a call costs money: the caller decides), budgets
//! (`budgets`), and the choice of model (`chat`).

pub mod anthropic;
pub mod catalog;
pub mod demo;
pub mod embeddings;
pub mod error;
pub mod event;
pub mod frames;
pub mod gateway;
pub mod google;
pub mod media;
pub mod openai;
pub mod options;
pub mod price;
pub mod providers;
pub mod responses;
pub mod route;
pub mod sse;
pub mod stream;
pub mod thought;
pub mod tokens;
pub mod upstream;
pub mod vault;

pub use error::{UpstreamError, UpstreamErrorKind};
pub use event::{Event, FinishReason, Usage};
pub use openai::request::{ChatRequest, Message, ModelId, RequestError, Role, Tool, ToolCall, ToolChoice};
pub use price::Price;
pub use providers::Kind;
pub use route::PaidBy;
pub use stream::EventStream;
pub use thought::Thought;
pub use upstream::Upstream;

/// Where a request goes.
#[derive(Debug, Clone)]
pub enum Provider {
    /// Somewhere else, in the dialect of its [`Kind`].
    Upstream(Upstream),
    /// Built in, offline, deterministic.
    Demo(demo::Demo),
}

impl Provider {
    /// Asks a model; `model` is the provider's own name for it. Returns once the first event is here.
    pub async fn stream(&self, model: &str, request: &ChatRequest) -> Result<EventStream, UpstreamError> {
        match self {
            Self::Upstream(upstream) => upstream.stream(model, request).await,
            Self::Demo(demo) => demo.stream(model, request).await,
        }
    }

    /// For a request that others were asked first for, in vain.
    pub(crate) fn after(self, spent: std::time::Duration) -> Self {
        match self {
            Self::Upstream(upstream) => Self::Upstream(upstream.after(spent)),
            Self::Demo(demo) => Self::Demo(demo),
        }
    }

    /// Asks for embeddings; `model` is the provider's own name for it.
    pub async fn embed(
        &self,
        model: &str,
        request: &embeddings::EmbeddingRequest,
    ) -> Result<embeddings::Embeddings, UpstreamError> {
        match self {
            Self::Upstream(upstream) => embeddings::ask(upstream, model, request).await,
            Self::Demo(_) => Err(embeddings::none_here("The demo provider")),
        }
    }

    /// How many tokens a model would read; None where its provider does not count for us.
    pub async fn count(&self, model: &str, request: &ChatRequest) -> Result<Option<u64>, UpstreamError> {
        match self {
            Self::Upstream(upstream) => upstream.count(model, request).await,
            Self::Demo(_) => Ok(None),
        }
    }
}
