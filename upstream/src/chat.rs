//! OpenAI's chat completions.

use super::{Said, Speak, Step, Tokens, frame, halves, names, text_of};
use serde_json::{Value, json};

#[derive(Default)]
pub(super) struct Chat {
    calls: usize,
    refused: bool,
}

impl Speak for Chat {
    fn model(_path: &str, body: &Value) -> String {
        body["model"].as_str().unwrap_or_default().to_owned()
    }

    fn is_streamed(_path: &str, body: &Value) -> bool {
        body["stream"] == json!(true)
    }

    fn said(body: &Value) -> Said {
        let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is = |message: &&Value, role: &str| message["role"] == json!(role);
        let results = messages.iter().rev().take_while(|message| is(message, "tool"));
        let mut results: Vec<String> = results.map(|message| text_of(&message["content"])).collect();
        results.reverse();
        let user = messages.iter().rfind(|message| is(message, "user"));
        let user = user.map(|message| text_of(&message["content"])).unwrap_or_default();
        Said { user, results, tools: names(&body["tools"], "/function/name") }
    }

    fn start(&mut self, _usage: Tokens) -> String {
        chunk(json!({ "role": "assistant", "content": "" }), None)
    }

    fn say(&mut self, step: &Step) -> String {
        match step {
            Step::Text(text) => chunk(json!({ "content": text }), None),
            Step::Reasoning(text) => chunk(json!({ "reasoning_content": text }), None),
            Step::Thought { text, seal } => {
                let detail = |more: Value| {
                    let mut detail =
                        json!({ "type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0 });
                    detail
                        .as_object_mut()
                        .into_iter()
                        .for_each(|d| d.extend(more.as_object().cloned().unwrap_or_default()));
                    detail
                };
                let said = json!({ "reasoning_content": text, "reasoning_details": [detail(json!({ "text": text }))] });
                let signed = json!({ "reasoning_details": [detail(json!({ "signature": seal }))] });
                [said, signed].map(|delta| chunk(delta, None)).concat()
            }
            Step::Refusal(text) => {
                self.refused = true;
                chunk(json!({ "refusal": text }), None)
            }
            Step::ToolCall { id, name, arguments } => self.call(id, name, arguments, None),
            Step::SignedCall { id, name, arguments, seal } => self.call(id, name, arguments, Some(seal)),
            _ => String::new(),
        }
    }

    fn finish(&mut self, reason: Option<&str>, usage: Tokens) -> String {
        let last = json!({ "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1,
            "model": "scripted", "choices": [], "usage": usage_of(usage) });
        let reason = reason.unwrap_or(if self.refused || self.calls == 0 { "stop" } else { "tool_calls" });
        [chunk(json!({}), Some(reason)), frame(None, &last), "data: [DONE]\n\n".to_owned()].concat()
    }

    fn whole(steps: &[Step], reason: Option<&str>, usage: Tokens) -> Value {
        let (mut text, mut reasoning, mut calls) = (String::new(), String::new(), Vec::new());
        for step in steps {
            match step {
                Step::Text(piece) => text.push_str(piece),
                Step::Reasoning(piece) => reasoning.push_str(piece),
                Step::ToolCall { id, name, arguments } => calls.push(json!({
                    "id": id, "type": "function", "function": { "name": name, "arguments": arguments },
                })),
                _ => {}
            }
        }
        let reason = reason.unwrap_or(if calls.is_empty() { "stop" } else { "tool_calls" });
        let mut message = json!({ "role": "assistant", "content": text });
        if !reasoning.is_empty() {
            message["reasoning_content"] = json!(reasoning);
        }
        if !calls.is_empty() {
            message["tool_calls"] = Value::Array(calls);
        }
        json!({
            "id": "chatcmpl-scripted", "object": "chat.completion", "created": 1, "model": "scripted",
            "choices": [{ "index": 0, "message": message, "finish_reason": reason }], "usage": usage_of(usage),
        })
    }
}

impl Chat {
    fn call(&mut self, id: &str, name: &str, arguments: &str, seal: Option<&str>) -> String {
        let (head, tail) = halves(arguments);
        let mut first = json!({ "index": self.calls, "id": id, "type": "function",
            "function": { "name": name, "arguments": head } });
        if let Some(seal) = seal {
            first["extra_content"] = json!({ "google": { "thought_signature": seal } });
        }
        let second = json!({ "index": self.calls, "function": { "arguments": tail } });
        self.calls += 1;
        [first, second].map(|call| chunk(json!({ "tool_calls": [call] }), None)).concat()
    }
}

fn chunk(delta: Value, finish_reason: Option<&str>) -> String {
    frame(
        None,
        &json!({
            "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
        }),
    )
}

fn usage_of(usage: Tokens) -> Value {
    let mut value = json!({ "prompt_tokens": usage.prompt, "completion_tokens": usage.completion,
        "total_tokens": usage.prompt.saturating_add(usage.completion) });
    if usage.cached > 0 || usage.written_to_cache > 0 {
        value["prompt_tokens_details"] =
            json!({ "cached_tokens": usage.cached, "cache_write_tokens": usage.written_to_cache });
    }
    if usage.thought > 0 {
        value["completion_tokens_details"] = json!({ "reasoning_tokens": usage.thought });
    }
    value
}
