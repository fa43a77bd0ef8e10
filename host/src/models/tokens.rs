//! A rough count of tokens, for when nobody counts better: four characters make one.
//!
//! Good to a factor of two for English text, worse for other scripts. It reserves budget before a call and
//! stands in where a provider reports nothing; a provider's own numbers always win.

use super::openai::request::{ChatRequest, Content, Message};

/// Characters in one token, roughly.
pub const CHARS_PER_TOKEN: u64 = 4;
/// What an image, a sound or a file counts, in tokens: about what providers charge for a middling image.
pub const MEDIA_TOKENS: u64 = 1_000;

/// Tokens in a text.
pub fn in_text(text: &str) -> u64 {
    (text.chars().count() as u64).div_ceil(CHARS_PER_TOKEN)
}

/// Tokens a model reads for this request: all messages and tools.
pub fn in_request(request: &ChatRequest) -> u64 {
    let tools = request.tools.iter().map(|tool| in_text(&tool.to_value().to_string()));
    request.messages.iter().map(in_message).chain(tools).fold(0, u64::saturating_add)
}

fn in_message(message: &Message) -> u64 {
    let media = match &message.content {
        Some(Content::Parts(parts)) => parts.iter().filter(|part| !part.contains_key("text")).count() as u64,
        _ => 0,
    };
    let calls = message.tool_calls.iter().map(|call| in_text(&call.name) + in_text(&call.arguments));
    calls.fold(in_text(&message.plain_text()), u64::saturating_add) + media * MEDIA_TOKENS
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_is_counted_by_four_and_media_by_the_piece() {
        assert_eq!([in_text(""), in_text("abcd"), in_text("abcde"), in_text("éééé")], [0, 1, 2, 1]);
        let request = ChatRequest::from_value(json!({ "model": "m", "messages": [
            { "role": "user", "content": [
                { "type": "text", "text": "12345678" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } } ] } ] }));
        assert_eq!(in_request(&request.unwrap()), 2 + MEDIA_TOKENS);
    }
}
