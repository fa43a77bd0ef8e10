//! Anthropic's messages.

use super::{Said, Speak, Step, Tokens, frame, halves, names, object, text_of};
use serde_json::{Value, json};

#[derive(Default)]
pub(super) struct Messages {
    blocks: usize,
    called: bool,
    refused: bool,
}

impl Speak for Messages {
    fn model(_path: &str, body: &Value) -> String {
        body["model"].as_str().unwrap_or_default().to_owned()
    }

    fn is_streamed(_path: &str, body: &Value) -> bool {
        body["stream"] == json!(true)
    }

    fn said(body: &Value) -> Said {
        let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let last = messages.iter().rfind(|message| message["role"] == "user");
        let content = last.map(|message| message["content"].clone()).unwrap_or_default();
        let results = content.as_array().into_iter().flatten().filter(|block| block["type"] == "tool_result");
        let results = results.map(|block| text_of(&block["content"])).collect();
        Said { user: text_of(&content), results, tools: names(&body["tools"], "/name") }
    }

    fn start(&mut self, usage: Tokens) -> String {
        let message = json!({ "id": "msg_scripted", "type": "message", "role": "assistant", "model": "scripted",
            "content": [], "stop_reason": null, "stop_sequence": null, "usage": read(usage) });
        event(&json!({ "type": "message_start", "message": message })) + &event(&json!({ "type": "ping" }))
    }

    fn say(&mut self, step: &Step) -> String {
        let (block, deltas) = match step {
            Step::Text(text) => (json!({ "type": "text", "text": "" }), vec![text_delta(text)]),
            Step::Refusal(text) => {
                self.refused = true;
                (json!({ "type": "text", "text": "" }), vec![text_delta(text)])
            }
            Step::Reasoning(text) => (thinking(), vec![thinking_delta(text)]),
            Step::Thought { text, seal } => {
                let (head, tail) = halves(text);
                let seal = json!({ "type": "signature_delta", "signature": seal });
                (thinking(), vec![thinking_delta(head), thinking_delta(tail), seal])
            }
            Step::Redacted(data) => (json!({ "type": "redacted_thinking", "data": data }), vec![]),
            Step::ToolCall { id, name, arguments } | Step::SignedCall { id, name, arguments, .. } => {
                self.called = true;
                let (head, tail) = halves(arguments);
                let piece = |json: &str| json!({ "type": "input_json_delta", "partial_json": json });
                let block = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
                (block, vec![piece(""), piece(head), piece(tail)])
            }
            _ => return String::new(),
        };
        let index = self.blocks;
        self.blocks += 1;
        let mut out =
            event(&json!({ "type": "content_block_start", "index": index, "content_block": block }));
        for delta in deltas {
            out += &event(&json!({ "type": "content_block_delta", "index": index, "delta": delta }));
        }
        out + &event(&json!({ "type": "content_block_stop", "index": index }))
    }

    fn finish(&mut self, reason: Option<&str>, usage: Tokens) -> String {
        let reason = reason.unwrap_or_else(|| own_reason(self.called, self.refused));
        let mut written = json!({ "output_tokens": usage.completion });
        if usage.thought > 0 {
            written["output_tokens_details"] = json!({ "thinking_tokens": usage.thought });
        }
        let delta = json!({ "stop_reason": reason, "stop_sequence": null });
        event(&json!({ "type": "message_delta", "delta": delta, "usage": written }))
            + &event(&json!({ "type": "message_stop" }))
    }

    fn error(status: u16, message: &str) -> String {
        let kind = match status {
            400 => "invalid_request_error",
            429 => "rate_limit_error",
            529 => "overloaded_error",
            _ => "api_error",
        };
        event(&json!({ "type": "error", "error": { "type": kind, "message": message } }))
    }

    fn whole(steps: &[Step], reason: Option<&str>, usage: Tokens) -> Value {
        let (mut content, mut called) = (Vec::new(), false);
        for step in steps {
            match step {
                Step::Text(text) => content.push(json!({ "type": "text", "text": text })),
                Step::Thought { text, seal } => {
                    content.push(json!({ "type": "thinking", "thinking": text, "signature": seal }));
                }
                Step::Redacted(data) => content.push(json!({ "type": "redacted_thinking", "data": data })),
                Step::ToolCall { id, name, arguments } => {
                    called = true;
                    let input = object(arguments);
                    content.push(json!({ "type": "tool_use", "id": id, "name": name, "input": input }));
                }
                _ => {}
            }
        }
        let mut all = read(usage);
        all["output_tokens"] = json!(usage.completion);
        json!({ "id": "msg_scripted", "type": "message", "role": "assistant", "model": "scripted",
            "content": content, "stop_reason": reason.unwrap_or_else(|| own_reason(called, false)),
            "stop_sequence": null, "usage": all })
    }
}

fn own_reason(called: bool, refused: bool) -> &'static str {
    match (called, refused) {
        (_, true) => "refusal",
        (true, _) => "tool_use",
        _ => "end_turn",
    }
}

/// What was read, and the one token written when it is said.
fn read(usage: Tokens) -> Value {
    json!({
        "input_tokens": usage.prompt - usage.cached - usage.written_to_cache,
        "cache_read_input_tokens": usage.cached,
        "cache_creation_input_tokens": usage.written_to_cache,
        "output_tokens": 1,
    })
}

fn thinking() -> Value {
    json!({ "type": "thinking", "thinking": "", "signature": "" })
}

fn thinking_delta(text: &str) -> Value {
    json!({ "type": "thinking_delta", "thinking": text })
}

fn text_delta(text: &str) -> Value {
    json!({ "type": "text_delta", "text": text })
}

fn event(value: &Value) -> String {
    frame(value["type"].as_str(), value)
}
