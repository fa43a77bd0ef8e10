//! The most a reply may cost, before it is asked for.

use crate::{
    models::{
        ChatRequest, Message, Price, Usage,
        embeddings::{EmbeddingRequest, Input},
        openai::request::Content,
    },
    prices::Priced,
};

/// Tokens a model reads beside what is sent: what its provider puts around messages and tools.
const PROMPT_OVERHEAD_TOKENS: u64 = 1_000;
/// Tokens an image, a sound or a file takes at the most that is usual: a large image in full detail, a long document.
const MEDIA_TOKENS_MAX: u64 = 20_000;
/// Tokens of a reply where neither the request nor the price says how long it can be.
const OUTPUT_TOKENS_ASSUMED: u64 = 32_768;

/// A request whose use is bounded.
///
/// A token is at least one byte of text, so the bytes sent bound the tokens read; a request that wants its reply
/// bounded tightly names `max_tokens`.
pub(crate) trait Bounded {
    /// The most tokens it may use. `output_tokens_max` is the model's longest reply, if that is known.
    fn usage_at_most(&self, output_tokens_max: Option<u64>) -> Usage;

    /// The most it may cost, in micro-dollars.
    fn cost_at_most(&self, priced: &Priced) -> u64 {
        dearest(&priced.price).cost_micro_usd(&self.usage_at_most(priced.output_tokens_max))
    }
}

impl Bounded for ChatRequest {
    fn usage_at_most(&self, output_tokens_max: Option<u64>) -> Usage {
        let asked = self.max_completion_tokens.or(self.max_tokens);
        Usage {
            prompt_tokens: prompt_tokens_at_most(self),
            completion_tokens: asked.or(output_tokens_max).unwrap_or(OUTPUT_TOKENS_ASSUMED),
            ..Usage::default()
        }
    }
}

impl Bounded for EmbeddingRequest {
    fn usage_at_most(&self, _: Option<u64>) -> Usage {
        let tokens = |input: &Input| match input {
            Input::Text(text) => bytes(text),
            Input::Tokens(tokens) => tokens.len() as u64,
        };
        let prompt_tokens = self.input.iter().map(tokens).fold(0, u64::saturating_add);
        Usage { prompt_tokens, ..Usage::default() }
    }
}

/// A cache may be dearer than reading anew.
fn dearest(price: &Price) -> Price {
    let input = price
        .input_micro_usd_per_mtok
        .max(price.cached_input_micro_usd_per_mtok)
        .max(price.cache_write_micro_usd_per_mtok);
    Price { input_micro_usd_per_mtok: input, ..*price }
}

fn prompt_tokens_at_most(request: &ChatRequest) -> u64 {
    let tools = request.tools.iter().map(|tool| bytes(&tool.to_value().to_string()));
    let all = request.messages.iter().map(of_message).chain(tools);
    all.fold(PROMPT_OVERHEAD_TOKENS, u64::saturating_add)
}

fn of_message(message: &Message) -> u64 {
    let media = match &message.content {
        Some(Content::Parts(parts)) => parts.iter().filter(|part| !part.contains_key("text")).count() as u64,
        _ => 0,
    };
    let calls = message.tool_calls.iter().map(|call| bytes(&call.name) + bytes(&call.arguments));
    calls.fold(bytes(&message.plain_text()), u64::saturating_add) + media * MEDIA_TOKENS_MAX
}

fn bytes(text: &str) -> u64 {
    text.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bound_counts_bytes_media_and_the_longest_reply() {
        let priced = |output_tokens_max| Priced {
            // A micro-dollar a token read, two a token written.
            price: Price {
                input_micro_usd_per_mtok: 1_000_000,
                cached_input_micro_usd_per_mtok: 100_000,
                cache_write_micro_usd_per_mtok: 900_000,
                output_micro_usd_per_mtok: 2_000_000,
            },
            output_tokens_max,
        };
        let request = |more: serde_json::Value| {
            let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "12345678" }] });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ChatRequest::from_value(body).unwrap()
        };
        let read = 8 + PROMPT_OVERHEAD_TOKENS;
        assert_eq!(request(json!({ "max_tokens": 5 })).cost_at_most(&priced(None)), read + 10);
        assert_eq!(request(json!({})).cost_at_most(&priced(Some(7))), read + 14);
        assert_eq!(request(json!({})).cost_at_most(&priced(None)), read + 2 * OUTPUT_TOKENS_ASSUMED);
        let image = json!({ "max_tokens": 5, "messages": [{ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } } ] }] });
        let with_image = request(image).cost_at_most(&priced(None));
        assert_eq!(with_image, PROMPT_OVERHEAD_TOKENS + MEDIA_TOKENS_MAX + 10);
    }
}
