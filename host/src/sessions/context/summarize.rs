//! Summing a conversation up: what a model is asked, and what is made of its answer.

use crate::{
    limits::SUMMARY_PART_BYTES_MAX,
    models::{ChatRequest, RequestError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What the model is told to do.
const PROMPT: &str = include_str!("summary.md");

/// A wish for a summary, as it is sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SummarizeInput {
    /// The model that writes it, `provider/model`; the session's, unless given.
    pub model: Option<String>,
}

/// The request for a summary of these messages, the oldest first.
///
/// # Errors
/// Where that is no request, which should not be.
pub(crate) fn request(model: &str, history: &[Value]) -> Result<ChatRequest, RequestError> {
    // As one text: a conversation with calls of tools is taken only where the tools are offered again, and a model that
    // is in a conversation goes on with it.
    let conversation = written_out(history);
    ChatRequest::from_value(json!({ "model": model, "messages": [
        { "role": "system", "content": PROMPT },
        { "role": "user", "content": format!("<conversation>\n{conversation}</conversation>\n\nNow sum it up.") },
    ] }))
}

/// A conversation as a text.
fn written_out(history: &[Value]) -> String {
    let mut text = String::new();
    // Writing to a text does not fail.
    let mut say = |who: &str, what: &str| {
        let end = what.floor_char_boundary(SUMMARY_PART_BYTES_MAX);
        let _ = writeln!(text, "[{who}] {}{}", &what[..end], if end < what.len() { " […]" } else { "" });
    };
    for message in history {
        let role = message["role"].as_str().unwrap_or("assistant");
        match &message["content"] {
            Value::String(content) if !content.is_empty() => say(role, content),
            Value::Array(blocks) => {
                for block in blocks {
                    say(role, block["text"].as_str().unwrap_or("(something that is no text)"));
                }
            }
            _ => {}
        }
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            let name = function["name"].as_str().unwrap_or_default();
            let arguments = function["arguments"].as_str().unwrap_or_default();
            say(role, &format!("calls the tool `{name}` with {arguments}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_written_out_with_its_tools_and_without_its_pictures() {
        let call =
            json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{\"x\":1}" } });
        let history = [
            json!({ "role": "user", "content": [{ "type": "text", "text": "look" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }] }),
            json!({ "role": "assistant", "content": null, "tool_calls": [call] }),
            json!({ "role": "tool", "tool_call_id": "c", "content": "é".repeat(SUMMARY_PART_BYTES_MAX) }),
            json!({ "role": "assistant", "content": "One." }),
        ];
        let text = written_out(&history);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..2], ["[user] look", "[user] (something that is no text)"]);
        assert_eq!(lines[2], "[assistant] calls the tool `f` with {\"x\":1}");
        assert!(lines[3].starts_with("[tool] éé") && lines[3].ends_with("é […]"));
        assert_eq!(lines[4], "[assistant] One.");
        assert!(!text.contains("AAAA") && text.len() < SUMMARY_PART_BYTES_MAX + 200);
    }
}
