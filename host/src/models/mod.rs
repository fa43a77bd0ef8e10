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
//! What is no chat ([`images`], [`speech`], [`transcription`], [`moderation`]) is asked of OpenAI's addresses; pictures and
//! speech also of Google's models, which say them instead of words.
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
pub mod images;
pub mod media;
pub mod mock;
pub mod moderation;
pub mod offline;
pub mod openai;
pub mod options;
pub mod price;
pub mod providers;
pub mod responses;
pub mod route;
mod span;
pub mod speech;
pub mod sse;
pub mod stream;
pub mod thought;
pub mod tokens;
pub mod transcription;
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
#[expect(clippy::large_enum_variant, reason = "a call has one of it, and nearly always the large one")]
pub enum Provider {
    /// Somewhere else, in the dialect of its [`Kind`].
    Upstream(Upstream),
    /// Built in, offline, deterministic.
    Demo(demo::Demo),
    /// Built in, for tests of whatever asks models.
    Mock(mock::Mock),
}

impl Provider {
    /// Asks a model; `model` is the provider's own name for it. Returns once the first event is here.
    pub async fn stream(&self, model: &str, request: &ChatRequest) -> Result<EventStream, UpstreamError> {
        match self {
            Self::Upstream(upstream) => upstream.stream(model, request).await,
            Self::Demo(demo) => demo.stream(model, request).await,
            Self::Mock(mock) => mock.stream(model, request).await,
        }
    }

    /// For a call that belongs to a trace.
    pub(crate) fn with_trace(self, trace: Option<crate::traces::TraceContext>) -> Self {
        match self {
            Self::Upstream(upstream) => Self::Upstream(upstream.with_trace(trace)),
            other => other,
        }
    }

    /// For a request that others were asked first for, in vain.
    pub(crate) fn after(self, spent: std::time::Duration) -> Self {
        match self {
            Self::Upstream(upstream) => Self::Upstream(upstream.after(spent)),
            other => other,
        }
    }

    /// The provider, where it makes pictures and speech: those of OpenAI's dialect have addresses for them, and
    /// Google's models say them instead of words.
    fn of_media(&self, what: &str) -> Result<&Upstream, UpstreamError> {
        match self {
            Self::Upstream(upstream) if upstream.kind() == Kind::Google => Ok(upstream),
            _ => self.of_openai(what),
        }
    }

    /// The provider, where it has OpenAI's addresses for what is no chat: transcripts, judgements and their like.
    fn of_openai(&self, what: &str) -> Result<&Upstream, UpstreamError> {
        match self {
            Self::Upstream(upstream) => match upstream.kind() {
                Kind::OpenaiCompatible | Kind::OpenaiResponses => Ok(upstream),
                Kind::Anthropic | Kind::Google => Err(UpstreamError::no_capability(what)),
            },
            Self::Demo(_) | Self::Mock(_) => Err(UpstreamError::no_capability(what)),
        }
    }

    /// Asks for a text to be spoken. Returns once the head of a good answer is here.
    pub async fn speak(
        &self,
        model: &str,
        request: &speech::SpeechRequest,
    ) -> Result<speech::Spoken, UpstreamError> {
        speech::ask(self.of_media("speech")?, model, request).await
    }

    /// How many tokens a model would read; None where its provider does not count for us.
    pub async fn count(&self, model: &str, request: &ChatRequest) -> Result<Option<u64>, UpstreamError> {
        match self {
            Self::Upstream(upstream) => upstream.count(model, request).await,
            Self::Demo(_) | Self::Mock(_) => Ok(None),
        }
    }
}

/// A request that is asked once and answered whole.
pub trait Once: Sync {
    /// The answer.
    type Answer: Send;

    /// What a trace calls it.
    const OPERATION: &'static str = "generate_content";

    /// Asks; `model` is the provider's own name for it.
    fn ask(
        &self,
        provider: &Provider,
        model: &str,
    ) -> impl Future<Output = Result<(Self::Answer, Spent), UpstreamError>> + Send;
}

/// What an answer used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Of tokens.
    pub usage: Usage,
    /// Of what is counted otherwise.
    pub units: Option<(Unit, u64)>,
}

/// What is not counted in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Pictures that were made.
    Images,
    /// Characters that were spoken.
    Characters,
    /// Seconds that were listened to.
    Seconds,
}

impl Unit {
    /// The word in the ledger.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Characters => "characters",
            Self::Seconds => "seconds",
        }
    }
}

impl From<Usage> for Spent {
    fn from(usage: Usage) -> Self {
        Self { usage, units: None }
    }
}

impl Once for embeddings::EmbeddingRequest {
    type Answer = embeddings::Embeddings;

    const OPERATION: &'static str = "embeddings";

    async fn ask(&self, provider: &Provider, model: &str) -> Result<(Self::Answer, Spent), UpstreamError> {
        let embeddings = match provider {
            Provider::Upstream(upstream) => embeddings::ask(upstream, model, self).await?,
            Provider::Demo(_) => return Err(embeddings::none_here("The demo provider")),
            Provider::Mock(_) => return Err(embeddings::none_here("The mock provider")),
        };
        let spent = embeddings.usage.into();
        Ok((embeddings, spent))
    }
}

impl Once for images::ImageRequest {
    type Answer = images::Images;

    async fn ask(&self, provider: &Provider, model: &str) -> Result<(Self::Answer, Spent), UpstreamError> {
        let images = images::ask(provider.of_media("pictures")?, model, self).await?;
        let units = Some((Unit::Images, images.images.len() as u64));
        let spent = Spent { usage: images.usage, units };
        Ok((images, spent))
    }
}

impl Once for transcription::TranscriptionRequest {
    type Answer = transcription::Transcript;

    async fn ask(&self, provider: &Provider, model: &str) -> Result<(Self::Answer, Spent), UpstreamError> {
        let transcript = transcription::ask(provider.of_openai("transcripts")?, model, self).await?;
        let spent = Spent { usage: transcript.usage, units: Some((Unit::Seconds, transcript.seconds)) };
        Ok((transcript, spent))
    }
}

impl Once for moderation::ModerationRequest {
    type Answer = serde_json::Value;

    async fn ask(&self, provider: &Provider, model: &str) -> Result<(Self::Answer, Spent), UpstreamError> {
        let (answer, usage) = moderation::ask(provider.of_openai("judgements")?, model, self).await?;
        Ok((answer, usage.into()))
    }
}
