//! The most a reply may cost, before it is asked for.

use crate::{
    models::{ChatRequest, Message, Price, Usage, openai::request::Content},
    prices::Priced,
};

/// Tokens a model reads beside what is sent: what its provider puts around messages and tools.
const PROMPT_OVERHEAD_TOKENS: u64 = 1_000;
/// Tokens an image, a sound or a file takes at the most that is usual: a large image in full detail, a long document.
const MEDIA_TOKENS_MAX: u64 = 20_000;
/// Tokens of a reply where neither the request nor the price says how long it can be.
const OUTPUT_TOKENS_ASSUMED: u64 = 32_768;

/// The most this request may cost, in micro-dollars.
///
/// A token is at least one byte of text, so the bytes sent bound the tokens read; a request that wants replies bounded
/// tightly names `max_tokens`.
pub(super) fn cost_at_most(priced: &Priced, request: &ChatRequest) -> u64 {
    let asked = request.max_completion_tokens.or(request.max_tokens);
    let usage = Usage {
        prompt_tokens: prompt_tokens_at_most(request),
        completion_tokens: asked.or(priced.output_tokens_max).unwrap_or(OUTPUT_TOKENS_ASSUMED),
        ..Usage::default()
    };
    dearest(&priced.price).cost_micro_usd(&usage)
}

/// A cache may be dearer than reading anew.
fn dearest(price: &Price) -> Price {
    let input = price.input_micro_usd_per_mtok.max(price.cached_input_micro_usd_per_mtok);
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
        assert_eq!(cost_at_most(&priced(None), &request(json!({ "max_tokens": 5 }))), read + 10);
        assert_eq!(cost_at_most(&priced(Some(7)), &request(json!({}))), read + 14);
        assert_eq!(cost_at_most(&priced(None), &request(json!({}))), read + 2 * OUTPUT_TOKENS_ASSUMED);
        let image = json!({ "max_tokens": 5, "messages": [{ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } } ] }] });
        let with_image = cost_at_most(&priced(None), &request(image));
        assert_eq!(with_image, PROMPT_OVERHEAD_TOKENS + MEDIA_TOKENS_MAX + 10);
    }
}
