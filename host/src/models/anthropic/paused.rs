//! A turn that Anthropic paused: what came of it goes back as it is, and the model goes on.
//!
//! It happens where Anthropic itself runs something for the model (a request's own MCP servers) and that takes long.
//! Whoever asked sees one answer.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The content of a message, as it was sent.
#[derive(Debug, Default)]
pub(super) struct Said {
    blocks: BTreeMap<u64, Value>,
    /// Of calls: the JSON text that came in pieces.
    inputs: BTreeMap<u64, String>,
}

impl Said {
    pub(super) fn start(&mut self, index: u64, block: &Value) {
        self.blocks.insert(index, block.clone());
    }

    pub(super) fn add(&mut self, index: u64, delta: &Value) {
        let Some(block) = self.blocks.get_mut(&index) else { return };
        let Some(delta) = delta.as_object() else { return };
        for (name, more) in delta.iter().filter(|(name, _)| *name != "type") {
            match (name.as_str(), more) {
                ("partial_json", Value::String(more)) => self.inputs.entry(index).or_default().push_str(more),
                ("citation", more) => match block.get_mut("citations") {
                    Some(Value::Array(all)) => all.push(more.clone()),
                    _ => block["citations"] = json!([more]),
                },
                (name, Value::String(more)) => {
                    let all = block.get(name).and_then(Value::as_str).unwrap_or_default();
                    block[name] = json!(format!("{all}{more}"));
                }
                (name, more) => block[name] = more.clone(),
            }
        }
    }

    pub(super) fn into_content(self) -> Vec<Value> {
        let mut blocks = self.blocks;
        for (index, text) in self.inputs {
            if let (Some(block), Ok(input)) = (blocks.get_mut(&index), serde_json::from_str::<Value>(&text)) {
                block["input"] = input;
            }
        }
        // Anthropic takes no empty text back.
        let is_empty = |block: &Value| block["type"] == "text" && block["text"] == "";
        blocks.into_values().filter(|block| !is_empty(block)).collect()
    }
}

/// What a paused turn said, and how much it wrote.
#[derive(Debug, PartialEq)]
pub struct Paused {
    pub content: Vec<Value>,
    pub output_tokens: u64,
}

impl Paused {
    /// Makes of the request the one that goes on; false where it may write nothing more.
    pub fn put_into(self, body: &mut Value) -> bool {
        let max_tokens = body["max_tokens"].as_u64().unwrap_or(0).saturating_sub(self.output_tokens);
        if max_tokens == 0 {
            return false;
        }
        body["max_tokens"] = json!(max_tokens);
        let Some(messages) = body.get_mut("messages").and_then(Value::as_array_mut) else { return false };
        let last = messages.last_mut().filter(|message| message["role"] == "assistant");
        match last.and_then(|message| message.get_mut("content")).and_then(Value::as_array_mut) {
            Some(content) => content.extend(self.content),
            None => messages.push(json!({ "role": "assistant", "content": self.content })),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_put_together_as_it_was_sent() {
        let mut said = Said::default();
        said.start(1, &json!({ "type": "mcp_tool_use", "id": "m", "name": "find", "input": {} }));
        said.start(0, &json!({ "type": "text", "text": "" }));
        said.start(
            2,
            &json!({ "type": "mcp_tool_result", "tool_use_id": "m", "content": [{ "type": "text" }] }),
        );
        said.start(3, &json!({ "type": "text", "text": "" }));
        said.add(0, &json!({ "type": "text_delta", "text": "I " }));
        said.add(1, &json!({ "type": "input_json_delta", "partial_json": "{\"q\":" }));
        said.add(0, &json!({ "type": "text_delta", "text": "look." }));
        said.add(1, &json!({ "type": "input_json_delta", "partial_json": "1}" }));
        said.add(0, &json!({ "type": "citations_delta", "citation": { "url": "u" } }));
        said.add(9, &json!({ "type": "text_delta", "text": "of nothing" }));
        let expected = [
            json!({ "type": "text", "text": "I look.", "citations": [{ "url": "u" }] }),
            json!({ "type": "mcp_tool_use", "id": "m", "name": "find", "input": { "q": 1 } }),
            json!({ "type": "mcp_tool_result", "tool_use_id": "m", "content": [{ "type": "text" }] }),
        ];
        assert_eq!(said.into_content(), expected);
    }

    #[test]
    fn a_request_that_goes_on_ends_in_what_was_said_and_may_write_the_rest() {
        let paused =
            |output_tokens| Paused { content: vec![json!({ "type": "text", "text": "a" })], output_tokens };
        let mut body = json!({ "max_tokens": 10, "messages": [{ "role": "user", "content": [] }] });
        assert!(paused(4).put_into(&mut body) && paused(4).put_into(&mut body));
        assert_eq!(body["max_tokens"], 2);
        let messages = body["messages"].as_array().unwrap();
        assert_eq!((messages.len(), messages[1]["content"].as_array().unwrap().len()), (2, 2));
        assert!(!paused(2).put_into(&mut body), "there is nothing left to write");
    }
}
