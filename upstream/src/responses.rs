//! OpenAI's responses.

use super::{Said, Speak, Step, Tokens, frame, halves, names, text_of};
use serde_json::{Value, json};

#[derive(Default)]
pub(super) struct Responses {
    output: Vec<Value>,
    sequence: u64,
}

impl Speak for Responses {
    fn model(_path: &str, body: &Value) -> String {
        body["model"].as_str().unwrap_or_default().to_owned()
    }

    fn is_streamed(_path: &str, body: &Value) -> bool {
        body["stream"] == json!(true)
    }

    fn said(body: &Value) -> Said {
        let items = body["input"].as_array().map(Vec::as_slice).unwrap_or_default();
        let results = items.iter().rev().take_while(|item| item["type"] == "function_call_output");
        let mut results: Vec<String> = results.map(|item| text_of(&item["output"])).collect();
        results.reverse();
        let user = items.iter().rfind(|item| item["role"] == "user");
        let user = user.map(|item| text_of(&item["content"])).unwrap_or_default();
        Said { user, results, tools: names(&body["tools"], "/name") }
    }

    fn start(&mut self, _usage: Tokens) -> String {
        let response = response(&[], "in_progress", None);
        self.event("response.created", json!({ "response": response }))
            + &self.event("response.in_progress", json!({ "response": response }))
    }

    fn say(&mut self, step: &Step) -> String {
        let at = self.output.len();
        let Some(item) = item(step, at) else { return String::new() };
        let id = item["id"].clone();
        let mut begun = item.clone();
        for (name, empty) in [("content", json!([])), ("summary", json!([])), ("arguments", json!(""))] {
            if begun.get(name).is_some() {
                begun[name] = empty;
            }
        }
        let mut out = self.event("response.output_item.added", json!({ "output_index": at, "item": begun }));
        let mut pieces = |responses: &mut Self, kind: &str, text: &str| {
            let (head, tail) = halves(text);
            for piece in [head, tail] {
                out += &responses.event(kind, json!({ "output_index": at, "item_id": id, "delta": piece }));
            }
        };
        match step {
            Step::Text(text) => pieces(self, "response.output_text.delta", text),
            Step::Refusal(text) => pieces(self, "response.refusal.delta", text),
            Step::Reasoning(text) | Step::Thought { text, .. } => {
                pieces(self, "response.reasoning_summary_text.delta", text);
            }
            Step::ToolCall { arguments, .. } | Step::SignedCall { arguments, .. } => {
                pieces(self, "response.function_call_arguments.delta", arguments);
            }
            _ => {}
        }
        out += &self.event("response.output_item.done", json!({ "output_index": at, "item": item }));
        self.output.push(item);
        out
    }

    fn finish(&mut self, reason: Option<&str>, usage: Tokens) -> String {
        let mut response = response(&self.output, status(reason), Some(usage));
        if let Some(reason) = reason {
            response["incomplete_details"] = json!({ "reason": reason });
        }
        let kind = format!("response.{}", status(reason));
        self.event(&kind, json!({ "response": response }))
    }

    fn error(status: u16, message: &str) -> String {
        let code = match status {
            400 => "invalid_request_error",
            429 => "rate_limit_exceeded",
            _ => "server_error",
        };
        let value =
            json!({ "type": "error", "code": code, "message": message, "param": null, "sequence_number": 9 });
        frame(Some("error"), &value)
    }

    fn whole(steps: &[Step], reason: Option<&str>, usage: Tokens) -> Value {
        let output: Vec<Value> = (0..).zip(steps).filter_map(|(at, step)| item(step, at)).collect();
        let mut response = response(&output, status(reason), Some(usage));
        if let Some(reason) = reason {
            response["incomplete_details"] = json!({ "reason": reason });
        }
        response
    }
}

impl Responses {
    fn event(&mut self, kind: &str, mut value: Value) -> String {
        value["type"] = json!(kind);
        value["sequence_number"] = json!(self.sequence);
        self.sequence += 1;
        frame(Some(kind), &value)
    }
}

fn status(reason: Option<&str>) -> &'static str {
    if reason.is_some() { "incomplete" } else { "completed" }
}

fn item(step: &Step, at: usize) -> Option<Value> {
    let reasoning = |text: &str, seal: Option<&str>| {
        let summary = json!([{ "type": "summary_text", "text": text }]);
        json!({ "type": "reasoning", "id": format!("rs_{at}"), "summary": summary, "encrypted_content": seal })
    };
    let message = |part: Value| {
        json!({ "type": "message", "id": format!("msg_{at}"), "role": "assistant", "status": "completed",
            "content": [part] })
    };
    Some(match step {
        Step::Text(text) => message(json!({ "type": "output_text", "text": text, "annotations": [] })),
        Step::Refusal(text) => message(json!({ "type": "refusal", "refusal": text })),
        Step::Reasoning(text) => reasoning(text, None),
        Step::Thought { text, seal } => reasoning(text, Some(seal)),
        Step::ToolCall { id, name, arguments } | Step::SignedCall { id, name, arguments, .. } => json!({
            "type": "function_call", "id": format!("fc_{at}"), "call_id": id, "name": name,
            "arguments": arguments, "status": "completed",
        }),
        _ => return None,
    })
}

fn response(output: &[Value], status: &str, usage: Option<Tokens>) -> Value {
    let usage = usage.map(|usage| {
        json!({
            "input_tokens": usage.prompt,
            "input_tokens_details": { "cached_tokens": usage.cached, "cache_write_tokens": usage.written_to_cache },
            "output_tokens": usage.completion,
            "output_tokens_details": { "reasoning_tokens": usage.thought },
            "total_tokens": usage.prompt.saturating_add(usage.completion),
        })
    });
    json!({ "id": "resp_scripted", "object": "response", "created_at": 1, "status": status, "model": "scripted",
        "output": output, "error": null, "incomplete_details": null, "usage": usage })
}
