//! What a trace says of a call of a model: a span with the attributes of OpenTelemetry's conventions for generative
//! AI. Never a prompt, an answer, a key or an address.

use super::{ChatRequest, FinishReason, Spent, UpstreamError};
use crate::{
    app::App,
    grants::InApp,
    traces::{Attribute, SpanKind, TraceContext, TraceSpan},
};
use tracing::{Span, debug_span, field::Empty};

/// What our ids of providers are called there, where that is another word.
const PROVIDER_NAMES: [(&str, &str); 4] =
    [("google", "gcp.gemini"), ("mistral", "mistral_ai"), ("xai", "x_ai"), ("bedrock", "aws.bedrock")];

/// The span of a call: for whoever reads spans in this process, and for whoever collects them elsewhere.
pub(super) struct CallSpan {
    /// Held, not entered: lines that are logged meanwhile are the request's.
    here: Span,
    sent: TraceSpan,
}

impl CallSpan {
    /// Of a call that is over, or has not begun.
    pub(super) fn none() -> CallSpan {
        CallSpan { here: Span::none(), sent: TraceSpan::none() }
    }

    /// What whoever is asked is told that it belongs to.
    pub(super) fn context(&self) -> Option<TraceContext> {
        self.sent.context()
    }

    fn count(&mut self, name: &'static str, count: u64) {
        self.here.record(name, count);
        self.sent.set(name, count);
    }

    fn number(&mut self, name: &'static str, number: f64) {
        self.here.record(name, number);
        self.sent.set(name, number);
    }

    fn text(&mut self, name: &'static str, text: &str) {
        self.here.record(name, text);
        self.sent.set(name, text);
    }
}

/// A span of a call.
pub(super) fn call(
    app: &App,
    proof: &impl InApp,
    operation: &'static str,
    provider: &str,
    model: &str,
) -> CallSpan {
    let known = PROVIDER_NAMES.iter().find(|(ours, _)| *ours == provider);
    let provider_name = known.map_or(provider, |(_, theirs)| theirs);
    let name = format!("{operation} {model}");
    let mut sent = TraceSpan::begin(app, proof.caller().trace, SpanKind::Client, &name);
    for (attribute, text) in [
        ("gen_ai.operation.name", operation),
        ("gen_ai.provider.name", provider_name),
        ("gen_ai.request.model", model),
        ("opg.app", proof.app().slug.as_str()),
    ] {
        sent.set(attribute, text);
    }
    // Each field that is recorded later has the log write all of them anew: only where somebody looks.
    let here = debug_span!(
        "model_call",
        otel.name = name,
        otel.kind = "client",
        gen_ai.operation.name = operation,
        gen_ai.provider.name = provider_name,
        gen_ai.request.model = model,
        gen_ai.request.max_tokens = Empty,
        gen_ai.request.temperature = Empty,
        gen_ai.request.top_p = Empty,
        gen_ai.request.choice.count = Empty,
        gen_ai.response.model = Empty,
        gen_ai.response.finish_reasons = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        gen_ai.usage.cache_creation.input_tokens = Empty,
        error.type = Empty,
    );
    CallSpan { here, sent }
}

/// A span of a chat.
pub(super) fn chat(
    app: &App,
    proof: &impl InApp,
    provider: &str,
    model: &str,
    request: &ChatRequest,
) -> CallSpan {
    let mut span = call(app, proof, "chat", provider, model);
    if let Some(max) = request.output_tokens_max() {
        span.count("gen_ai.request.max_tokens", max);
    }
    if let Some(temperature) = request.temperature {
        span.number("gen_ai.request.temperature", temperature);
    }
    if let Some(top_p) = request.top_p {
        span.number("gen_ai.request.top_p", top_p);
    }
    if request.choices > 1 {
        span.count("gen_ai.request.choice.count", u64::from(request.choices));
    }
    span
}

impl CallSpan {
    /// Why a model stopped, and which it was as its provider calls it.
    pub(super) fn answered(&mut self, reason: FinishReason, model: Option<&str>) {
        self.here.record("gen_ai.response.finish_reasons", reason.as_str());
        self.sent.set("gen_ai.response.finish_reasons", Attribute::Texts(vec![reason.as_str().to_owned()]));
        if let Some(model) = model {
            self.text("gen_ai.response.model", model);
        }
    }

    /// What a call used.
    pub(super) fn spent(&mut self, spent: &Spent) {
        let usage = &spent.usage;
        if usage.total_tokens() == 0 {
            return;
        }
        self.count("gen_ai.usage.input_tokens", usage.prompt_tokens);
        self.count("gen_ai.usage.output_tokens", usage.completion_tokens);
        for (name, tokens) in [
            ("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens),
            ("gen_ai.usage.cache_creation.input_tokens", usage.cache_write_tokens),
        ] {
            if tokens > 0 {
                self.count(name, tokens);
            }
        }
    }

    /// How a call failed: the code a client reads.
    pub(super) fn failed(&mut self, error: &UpstreamError) {
        self.here.record("error.type", error.code.as_str());
        self.sent.failed(&error.code);
    }

    /// Whoever wanted it went away.
    pub(super) fn canceled(&mut self) {
        self.sent.failed("canceled");
    }
}
