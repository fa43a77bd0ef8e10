//! What a trace says of a call of a model: a span with the attributes of OpenTelemetry's conventions for generative
//! AI. Never a prompt, an answer, a key or an address.

use super::{ChatRequest, FinishReason, Spent, UpstreamError};
use tracing::{Span, field::Empty, info_span};

/// What our ids of providers are called there, where that is another word.
const PROVIDER_NAMES: [(&str, &str); 4] =
    [("google", "gcp.gemini"), ("mistral", "mistral_ai"), ("xai", "x_ai"), ("bedrock", "aws.bedrock")];

/// A span of a call. It is held, not entered: lines that are logged meanwhile are the request's.
pub(super) fn call(operation: &'static str, provider: &str, model: &str) -> Span {
    let known = PROVIDER_NAMES.iter().find(|(ours, _)| *ours == provider);
    info_span!(
        "model_call",
        otel.name = format!("{operation} {model}"),
        otel.kind = "client",
        gen_ai.operation.name = operation,
        gen_ai.provider.name = known.map_or(provider, |(_, theirs)| theirs),
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
    )
}

/// A span of a chat.
pub(super) fn chat(provider: &str, model: &str, request: &ChatRequest) -> Span {
    let span = call("chat", provider, model);
    if let Some(max) = request.output_tokens_max() {
        span.record("gen_ai.request.max_tokens", max);
    }
    if let Some(temperature) = request.temperature {
        span.record("gen_ai.request.temperature", temperature);
    }
    if let Some(top_p) = request.top_p {
        span.record("gen_ai.request.top_p", top_p);
    }
    if request.choices > 1 {
        span.record("gen_ai.request.choice.count", request.choices);
    }
    span
}

/// Why a model stopped, and which it was as its provider calls it.
pub(super) fn answered(span: &Span, reason: FinishReason, model: Option<&str>) {
    span.record("gen_ai.response.finish_reasons", reason.as_str());
    if let Some(model) = model {
        span.record("gen_ai.response.model", model);
    }
}

/// What a call used.
pub(super) fn spent(span: &Span, spent: &Spent) {
    let usage = &spent.usage;
    if usage.total_tokens() == 0 {
        return;
    }
    span.record("gen_ai.usage.input_tokens", usage.prompt_tokens);
    span.record("gen_ai.usage.output_tokens", usage.completion_tokens);
    for (name, tokens) in [
        ("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens),
        ("gen_ai.usage.cache_creation.input_tokens", usage.cache_write_tokens),
    ] {
        if tokens > 0 {
            span.record(name, tokens);
        }
    }
}

/// How a call failed: the code a client reads.
pub(super) fn failed(span: &Span, error: &UpstreamError) {
    span.record("error.type", error.code.as_str());
}
