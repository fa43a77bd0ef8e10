//! Events into what an Anthropic client reads: the events of a stream, or one whole message.
//!
//! One writer for both: the whole message is made of the same blocks, put together. A block ends where another
//! kind of content begins; calls have a block each, also where their pieces come mixed: those that came too
//! early wait until the block before them is over.

use crate::models::thought::{Maker, Thought};
use crate::models::{Event, FinishReason, Usage};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::fmt::Write;

/// What to send when a stream was silent for a while: Anthropic's own word for it.
pub const PING: &str = "event: ping\ndata: {\"type\":\"ping\"}\n\n";

/// What all events of an answer share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// `msg_…`
    pub id: String,
    /// The model as the client named it.
    pub model: String,
    /// Our estimate of what the model reads: Anthropic says it at the start, most providers at the end.
    pub input_tokens: u64,
}

/// An error of Anthropic's dialect, with our stable `code` beside its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody<'a> {
    /// The status it would have had before the first word.
    pub status: u16,
    pub code: &'a str,
    pub message: &'a str,
    pub request_id: &'a str,
}

impl ErrorBody<'_> {
    /// `{"type": "error", …}`
    pub fn to_value(&self) -> Value {
        let error = json!({ "type": error_kind(self.status), "message": self.message, "code": self.code });
        json!({ "type": "error", "error": error, "request_id": self.request_id })
    }
}

/// The `type` of an error of this status.
fn error_kind(status: u16) -> &'static str {
    match status {
        400 | 409 | 415 | 422 => "invalid_request_error",
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 | 405 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

/// Anthropic's word for why a model stopped.
fn stop_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "end_turn",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter => "refusal",
    }
}

fn usage(usage: &Usage) -> Value {
    let read =
        usage.prompt_tokens.saturating_sub(usage.cached_tokens).saturating_sub(usage.cache_write_tokens);
    let mut value = json!({
        "input_tokens": read,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "output_tokens": usage.completion_tokens,
    });
    if usage.reasoning_tokens > 0 {
        value["output_tokens_details"] = json!({ "thinking_tokens": usage.reasoning_tokens });
    }
    value
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    /// Of this call.
    Call(u32),
}

/// Puts events into blocks; what comes out is a list of Anthropic's events.
#[derive(Debug)]
struct Blocks {
    head: Head,
    started: bool,
    index: u64,
    open: Option<Kind>,
    /// The words of thinking that were written and not signed yet.
    thinking: String,
    /// Pieces of calls that wait for the block before them to end.
    waiting: VecDeque<Event>,
    finish: Option<FinishReason>,
}

impl Blocks {
    fn event(&mut self, event: &Event, out: &mut Vec<Value>) {
        if !std::mem::replace(&mut self.started, true) {
            out.push(self.message_start());
        }
        match event {
            Event::Text(text) | Event::Refusal(text) => {
                self.begin(Kind::Text, json!({ "type": "text", "text": "" }), out);
                self.delta(json!({ "type": "text_delta", "text": text }), out);
            }
            Event::Reasoning(text) => {
                let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
                self.begin(Kind::Thinking, block, out);
                self.thinking.push_str(text);
                self.delta(json!({ "type": "thinking_delta", "thinking": text }), out);
            }
            Event::Thought(thought) => self.thought(thought, out),
            Event::ToolCall { index, .. } => match self.open {
                Some(Kind::Call(open)) if open != *index => self.waiting.push_back(event.clone()),
                _ => self.call(event, out),
            },
            Event::Finish(reason) => {
                self.end_block(out);
                while let Some(event) = self.waiting.pop_front() {
                    self.call_of_the_next(event, out);
                }
                self.end_block(out);
                self.finish = Some(*reason);
            }
            // Of requests that this dialect cannot make.
            Event::Logprobs { .. } | Event::Alternative { .. } | Event::Usage(_) => {}
        }
    }

    fn message_start(&self) -> Value {
        let read = Usage { prompt_tokens: self.head.input_tokens, ..Usage::default() };
        let mut message = message(&self.head, Vec::new(), None, &read);
        message["stop_reason"] = Value::Null;
        json!({ "type": "message_start", "message": message })
    }

    /// A thought belongs to the thinking before it. One without words before it, or of another maker, has a
    /// block of its own.
    fn thought(&mut self, thought: &Thought, out: &mut Vec<Value>) {
        let signs_the_open_block = self.open == Some(Kind::Thinking) && self.thinking == thought.text;
        if thought.maker == Maker::Anthropic && !thought.redacted && signs_the_open_block {
            self.delta(json!({ "type": "signature_delta", "signature": thought.seal }), out);
            self.end_block(out);
            return;
        }
        self.end_block(out);
        if thought.maker == Maker::Anthropic && !thought.redacted && thought.text.is_empty() {
            let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
            self.begin(Kind::Thinking, block, out);
            self.delta(json!({ "type": "signature_delta", "signature": thought.seal }), out);
            self.end_block(out);
            return;
        }
        // Its words were said already, or it is no thinking of Anthropic's: a client keeps it unread.
        let is_own = thought.maker == Maker::Anthropic && thought.redacted;
        let data = if is_own { thought.seal.clone() } else { thought.to_opaque() };
        self.whole_block(json!({ "type": "redacted_thinking", "data": data }), out);
    }

    fn call(&mut self, event: &Event, out: &mut Vec<Value>) {
        let Event::ToolCall { index, id, name, arguments, extra_content } = event else { return };
        if self.open != Some(Kind::Call(*index)) {
            self.end_block(out);
            if let Some(seal) = signature_of(extra_content.as_ref()) {
                let thought = Thought { id: id.clone(), ..Thought::sealed(Maker::Google, seal) };
                self.whole_block(json!({ "type": "redacted_thinking", "data": thought.to_opaque() }), out);
            }
            self.begin(
                Kind::Call(*index),
                json!({ "type": "tool_use", "id": id, "name": name, "input": {} }),
                out,
            );
        }
        if !arguments.is_empty() {
            self.delta(json!({ "type": "input_json_delta", "partial_json": arguments }), out);
        }
    }

    /// A piece that waited, with all others of its call.
    fn call_of_the_next(&mut self, event: Event, out: &mut Vec<Value>) {
        let Event::ToolCall { index: first, .. } = event else { return };
        self.call(&event, out);
        let waiting = std::mem::take(&mut self.waiting);
        for event in waiting {
            match event {
                Event::ToolCall { index, .. } if index == first => self.call(&event, out),
                event => self.waiting.push_back(event),
            }
        }
    }

    fn begin(&mut self, kind: Kind, block: Value, out: &mut Vec<Value>) {
        if self.open == Some(kind) {
            return;
        }
        self.end_block(out);
        self.open = Some(kind);
        out.push(json!({ "type": "content_block_start", "index": self.index, "content_block": block }));
    }

    fn delta(&self, delta: Value, out: &mut Vec<Value>) {
        out.push(json!({ "type": "content_block_delta", "index": self.index, "delta": delta }));
    }

    fn end_block(&mut self, out: &mut Vec<Value>) {
        if self.open.take().is_some() {
            self.thinking.clear();
            out.push(json!({ "type": "content_block_stop", "index": self.index }));
            self.index += 1;
        }
    }

    fn whole_block(&mut self, block: Value, out: &mut Vec<Value>) {
        out.push(json!({ "type": "content_block_start", "index": self.index, "content_block": block }));
        out.push(json!({ "type": "content_block_stop", "index": self.index }));
        self.index += 1;
    }
}

fn signature_of(extra_content: Option<&Value>) -> Option<&str> {
    extra_content?.pointer("/google/thought_signature")?.as_str()
}

fn message(head: &Head, content: Vec<Value>, finish: Option<FinishReason>, used: &Usage) -> Value {
    json!({
        "id": head.id,
        "type": "message",
        "role": "assistant",
        "model": head.model,
        "content": content,
        "stop_reason": finish.map(stop_reason),
        "stop_sequence": null,
        "usage": usage(used),
    })
}

/// Writes a streamed answer as server-sent events.
#[derive(Debug)]
pub struct EventEncoder {
    blocks: Blocks,
    usage: Usage,
    ended: bool,
}

impl EventEncoder {
    pub fn new(head: Head) -> Self {
        Self { blocks: Blocks::new(head), usage: Usage::default(), ended: false }
    }

    /// The frames for one event; may be none.
    pub fn event(&mut self, event: &Event) -> String {
        if self.ended {
            return String::new();
        }
        if let Event::Usage(usage) = event {
            self.usage = *usage;
        }
        let mut out = Vec::new();
        self.blocks.event(event, &mut out);
        frames(&out)
    }

    /// The end of the answer. One that never finished is an error, not a success.
    pub fn done(&mut self) -> String {
        let Some(reason) = self.blocks.finish else {
            return self.error(&ErrorBody {
                status: 502,
                code: "provider_bad_reply",
                message: "The answer ended before it was finished.",
                request_id: "",
            });
        };
        if std::mem::replace(&mut self.ended, true) {
            return String::new();
        }
        let delta = json!({ "stop_reason": stop_reason(reason), "stop_sequence": null });
        frames(&[
            json!({ "type": "message_delta", "delta": delta, "usage": usage(&self.usage) }),
            json!({ "type": "message_stop" }),
        ])
    }

    /// The end of an answer that failed half-way.
    pub fn error(&mut self, error: &ErrorBody<'_>) -> String {
        if std::mem::replace(&mut self.ended, true) {
            return String::new();
        }
        frames(&[error.to_value()])
    }
}

impl Blocks {
    fn new(head: Head) -> Self {
        Self {
            head,
            started: false,
            index: 0,
            open: None,
            thinking: String::new(),
            waiting: VecDeque::new(),
            finish: None,
        }
    }
}

fn frames(events: &[Value]) -> String {
    let mut text = String::new();
    for event in events {
        let name = event["type"].as_str().unwrap_or_default();
        write!(text, "event: {name}\ndata: {event}\n\n").expect("writing to a String does not fail");
    }
    text
}

/// Gathers events into a whole message.
#[derive(Debug)]
pub struct MessageBuilder {
    blocks: Blocks,
    content: Vec<Map<String, Value>>,
    arguments: String,
    usage: Usage,
}

impl MessageBuilder {
    pub fn new(head: Head) -> Self {
        Self {
            blocks: Blocks::new(head),
            content: Vec::new(),
            arguments: String::new(),
            usage: Usage::default(),
        }
    }

    pub fn push(&mut self, event: &Event) {
        if let Event::Usage(usage) = event {
            self.usage = *usage;
        }
        let mut out = Vec::new();
        self.blocks.event(event, &mut out);
        out.iter().for_each(|event| self.put_together(event));
    }

    /// The message; None while it has not finished.
    pub fn message(self) -> Option<Value> {
        let reason = self.blocks.finish?;
        let content = self.content.into_iter().map(Value::Object).collect();
        Some(message(&self.blocks.head, content, Some(reason), &self.usage))
    }

    fn put_together(&mut self, event: &Value) {
        match event["type"].as_str().unwrap_or_default() {
            "content_block_start" => {
                self.content.extend(event["content_block"].as_object().cloned());
                self.arguments.clear();
            }
            "content_block_delta" => {
                let Some(block) = self.content.last_mut() else { return };
                for key in ["text", "thinking", "signature"] {
                    if let (Some(Value::String(all)), Some(more)) =
                        (block.get_mut(key), event["delta"][key].as_str())
                    {
                        all.push_str(more);
                    }
                }
                self.arguments.push_str(event["delta"]["partial_json"].as_str().unwrap_or_default());
            }
            "content_block_stop" => {
                let Some(block) = self.content.last_mut() else { return };
                if block.get("type") == Some(&json!("tool_use")) {
                    // What a model wrote that is no object cannot be shown as one.
                    let input: Map<String, Value> = serde_json::from_str(&self.arguments).unwrap_or_default();
                    block.insert("input".into(), Value::Object(input));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
