//! Events into what a client of the responses dialect reads: the events of a stream, or one whole response.
//!
//! One writer for both: a stream's last event holds the whole response, made of the items that were written. An
//! item ends where another kind begins; calls have an item each, and may overlap.

use super::encode::summary;
use super::request::Echo;
use crate::models::thought::{Maker, Thought};
use crate::models::{Event, FinishReason, Usage};
use serde_json::{Value, json};
use std::fmt::Write;

/// What all events of an answer share.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Without its prefix: the response and all of its items are named by it.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The model as the client named it.
    pub model: String,
    /// What the answer repeats of its request.
    pub echo: Echo,
}

/// An item that was begun.
#[derive(Debug)]
enum Item {
    Message { text: String, refusal: String, logprobs: Vec<Value> },
    Reasoning { text: String, seal: Option<String> },
    Call { index: u32, call_id: String, name: String, arguments: String },
}

/// Writes an answer, as a stream and as a whole.
#[derive(Debug)]
pub struct ResponseEncoder {
    head: Head,
    sequence: u64,
    items: Vec<Item>,
    /// The message or reasoning that goes on; calls are open until the end.
    open: Option<usize>,
    /// How likely the tokens of the next words were.
    logprobs: Vec<Value>,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
    started: bool,
    ended: bool,
}

impl ResponseEncoder {
    pub fn new(head: Head) -> Self {
        Self {
            head,
            sequence: 0,
            items: Vec::new(),
            open: None,
            logprobs: Vec::new(),
            finish: None,
            usage: None,
            started: false,
            ended: false,
        }
    }

    /// The frames for one event; may be none.
    pub fn event(&mut self, event: &Event) -> String {
        let mut out = String::new();
        if self.ended {
            return out;
        }
        if !std::mem::replace(&mut self.started, true) {
            for kind in ["response.created", "response.in_progress"] {
                let response = self.response("in_progress");
                self.write(&mut out, kind, json!({ "response": response }));
            }
        }
        match event {
            Event::Text(text) => self.say(text, false, &mut out),
            Event::Refusal(text) => self.say(text, true, &mut out),
            Event::Reasoning(text) => self.think(text, &mut out),
            Event::Thought(thought) => self.thought(thought, &mut out),
            Event::ToolCall { index, id, name, arguments, extra_content } => {
                if let Some(id) = id {
                    self.begin_call(
                        *index,
                        id,
                        name.as_deref().unwrap_or_default(),
                        extra_content.as_ref(),
                        &mut out,
                    );
                }
                self.add_arguments(*index, arguments, &mut out);
            }
            Event::Finish(reason) => {
                self.close(&mut out);
                self.end_calls(&mut out);
                self.finish = Some(*reason);
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Logprobs { tokens, of_refusal: false } => self.logprobs.extend_from_slice(tokens),
            // Of a refusal there are none here, and another answer nobody can ask for.
            Event::Logprobs { .. } | Event::Alternative { .. } => {}
        }
        out
    }

    /// The end of the answer. One that never finished is an error, not a success.
    pub fn done(&mut self) -> String {
        let Some(reason) = self.finish else {
            return self.error("provider_bad_reply", "The answer ended before it was finished.", None);
        };
        let mut out = String::new();
        if !std::mem::replace(&mut self.ended, true) {
            let kind = if is_whole(reason) { "response.completed" } else { "response.incomplete" };
            let response = self.whole();
            self.write(&mut out, kind, json!({ "response": response }));
            out.push_str("data: [DONE]\n\n");
        }
        out
    }

    /// The end of an answer that failed half-way.
    pub fn error(&mut self, code: &str, message: &str, param: Option<&str>) -> String {
        let mut out = String::new();
        if std::mem::replace(&mut self.ended, true) {
            return out;
        }
        // Said twice in the first event: OpenAI documents the one, its clients raise on the other.
        let error = json!({ "message": message, "type": "server_error", "param": param, "code": code });
        let event = json!({ "code": code, "message": message, "param": param, "error": error });
        self.write(&mut out, "error", event);
        let mut response = self.response("failed");
        response["error"] = json!({ "code": code, "message": message });
        self.write(&mut out, "response.failed", json!({ "response": response }));
        out
    }

    /// The whole response; None while it has not finished.
    pub fn into_response(self) -> Option<Value> {
        self.finish.map(|_| self.whole())
    }

    fn whole(&self) -> Value {
        let finish = self.finish.unwrap_or(FinishReason::Stop);
        let mut response = self.response(if is_whole(finish) { "completed" } else { "incomplete" });
        response["output"] = (0..self.items.len()).map(|at| self.item(at, "completed")).collect();
        response["usage"] = usage(&self.usage.unwrap_or_default());
        response["incomplete_details"] = match finish {
            FinishReason::Length => json!({ "reason": "max_output_tokens" }),
            FinishReason::ContentFilter => json!({ "reason": "content_filter" }),
            FinishReason::Stop | FinishReason::ToolCalls => Value::Null,
        };
        response
    }

    fn response(&self, status: &str) -> Value {
        let mut response = Value::Object(self.head.echo.0.clone());
        let own = json!({
            "id": format!("resp_{}", self.head.id),
            "object": "response",
            "created_at": self.head.created,
            "status": status,
            "model": self.head.model,
            "background": false,
            "error": null,
            "incomplete_details": null,
            "output": [],
            "previous_response_id": null,
            "store": false,
            "truncation": "disabled",
            "usage": null,
        });
        if let (Some(response), Value::Object(own)) = (response.as_object_mut(), own) {
            response.extend(own);
        }
        response
    }

    fn say(&mut self, text: &str, refuses: bool, out: &mut String) {
        let at = match self.open {
            Some(at) if matches!(self.items[at], Item::Message { .. }) => at,
            _ => {
                let (text, refusal) = Default::default();
                self.begin(Item::Message { text, refusal, logprobs: Vec::new() }, out)
            }
        };
        let Item::Message { text: said, refusal, logprobs } = &mut self.items[at] else { return };
        let likely = if refuses { Vec::new() } else { std::mem::take(&mut self.logprobs) };
        logprobs.extend_from_slice(&likely);
        let target = if refuses { refusal } else { said };
        let is_first = target.is_empty();
        target.push_str(text);
        let (kind, part) = if refuses {
            ("response.refusal.delta", json!({ "type": "refusal", "refusal": "" }))
        } else {
            ("response.output_text.delta", output_text("", &[]))
        };
        let content_index = self.content_index(at, refuses);
        let place = json!({ "item_id": self.id(at), "output_index": at, "content_index": content_index });
        if is_first {
            self.write(out, "response.content_part.added", with(&place, json!({ "part": part })));
        }
        let mut delta = json!({ "delta": text });
        if !refuses {
            delta["logprobs"] = json!(likely);
        }
        self.write(out, kind, with(&place, delta));
    }

    fn think(&mut self, text: &str, out: &mut String) {
        let at = match self.open {
            Some(at) if matches!(self.items[at], Item::Reasoning { seal: None, .. }) => at,
            _ => self.begin(Item::Reasoning { text: String::new(), seal: None }, out),
        };
        let Item::Reasoning { text: thought, .. } = &mut self.items[at] else { return };
        let is_first = thought.is_empty();
        thought.push_str(text);
        let place = json!({ "item_id": self.id(at), "output_index": at, "summary_index": 0 });
        if is_first {
            let part = json!({ "part": { "type": "summary_text", "text": "" } });
            self.write(out, "response.reasoning_summary_part.added", with(&place, part));
        }
        self.write(out, "response.reasoning_summary_text.delta", with(&place, json!({ "delta": text })));
    }

    /// A thought seals the reasoning before it; one without any is an item of its own.
    fn thought(&mut self, thought: &Thought, out: &mut String) {
        let at = match self.open {
            Some(at) if matches!(self.items[at], Item::Reasoning { seal: None, .. }) => at,
            _ => self.begin(Item::Reasoning { text: String::new(), seal: None }, out),
        };
        if let Item::Reasoning { seal, .. } = &mut self.items[at] {
            // Wrapped, also OpenAI's own: the id it had there goes back with it, ours does not.
            *seal = Some(thought.to_opaque());
        }
        self.close(out);
    }

    fn begin_call(&mut self, index: u32, id: &str, name: &str, extra: Option<&Value>, out: &mut String) {
        let seal = extra.and_then(|extra| extra.pointer("/google/thought_signature")).and_then(Value::as_str);
        if let Some(seal) = seal {
            self.close(out);
            self.thought(&Thought { id: Some(id.to_owned()), ..Thought::sealed(Maker::Google, seal) }, out);
        }
        let item =
            Item::Call { index, call_id: id.to_owned(), name: name.to_owned(), arguments: String::new() };
        self.begin(item, out);
        self.open = None;
    }

    fn add_arguments(&mut self, index: u32, more: &str, out: &mut String) {
        let is_it = |item: &Item| matches!(item, Item::Call { index: own, .. } if *own == index);
        let Some(at) = self.items.iter().position(is_it).filter(|_| !more.is_empty()) else { return };
        if let Item::Call { arguments, .. } = &mut self.items[at] {
            arguments.push_str(more);
        }
        let delta = json!({ "item_id": self.id(at), "output_index": at, "delta": more });
        self.write(out, "response.function_call_arguments.delta", delta);
    }

    fn begin(&mut self, item: Item, out: &mut String) -> usize {
        self.close(out);
        let at = self.items.len();
        self.items.push(item);
        self.open = Some(at);
        let item = self.item(at, "in_progress");
        self.write(out, "response.output_item.added", json!({ "output_index": at, "item": item }));
        at
    }

    /// Ends the message or reasoning that is open.
    fn close(&mut self, out: &mut String) {
        let Some(at) = self.open.take() else { return };
        match &self.items[at] {
            Item::Message { text, refusal, logprobs } => {
                let (text, refusal, logprobs) = (text.clone(), refusal.clone(), logprobs.clone());
                if !text.is_empty() {
                    let done = json!({ "text": text, "logprobs": logprobs });
                    let part = output_text(&text, &logprobs);
                    self.end_part(at, ("response.output_text.done", done, part), false, out);
                }
                if !refusal.is_empty() {
                    let part = json!({ "type": "refusal", "refusal": refusal });
                    let done = json!({ "refusal": refusal });
                    self.end_part(at, ("response.refusal.done", done, part), true, out);
                }
            }
            Item::Reasoning { text, .. } if !text.is_empty() => {
                let place = json!({ "item_id": self.id(at), "output_index": at, "summary_index": 0 });
                let (done, part) = (json!({ "text": text }), json!({ "type": "summary_text", "text": text }));
                self.write(out, "response.reasoning_summary_text.done", with(&place, done));
                self.write(
                    out,
                    "response.reasoning_summary_part.done",
                    with(&place, json!({ "part": part })),
                );
            }
            Item::Reasoning { .. } | Item::Call { .. } => {}
        }
        self.end_item(at, out);
    }

    fn end_part(
        &mut self,
        at: usize,
        (kind, done, part): (&str, Value, Value),
        refuses: bool,
        out: &mut String,
    ) {
        let content_index = self.content_index(at, refuses);
        let place = json!({ "item_id": self.id(at), "output_index": at, "content_index": content_index });
        self.write(out, kind, with(&place, done));
        self.write(out, "response.content_part.done", with(&place, json!({ "part": part })));
    }

    fn end_calls(&mut self, out: &mut String) {
        for at in 0..self.items.len() {
            let Item::Call { name, arguments, .. } = &self.items[at] else { continue };
            let done =
                json!({ "item_id": self.id(at), "output_index": at, "name": name, "arguments": arguments });
            self.write(out, "response.function_call_arguments.done", done);
            self.end_item(at, out);
        }
    }

    fn end_item(&mut self, at: usize, out: &mut String) {
        let item = self.item(at, "completed");
        self.write(out, "response.output_item.done", json!({ "output_index": at, "item": item }));
    }

    /// A refusal after words is their second part.
    fn content_index(&self, at: usize, refuses: bool) -> u32 {
        u32::from(refuses && matches!(&self.items[at], Item::Message { text, .. } if !text.is_empty()))
    }

    fn id(&self, at: usize) -> String {
        let prefix = match &self.items[at] {
            Item::Message { .. } => "msg",
            Item::Reasoning { .. } => "rs",
            Item::Call { .. } => "fc",
        };
        format!("{prefix}_{}_{at}", self.head.id)
    }

    fn item(&self, at: usize, status: &str) -> Value {
        let id = self.id(at);
        match &self.items[at] {
            Item::Message { text, refusal, logprobs } => {
                let mut content = Vec::new();
                if !text.is_empty() {
                    content.push(output_text(text, logprobs));
                }
                if !refusal.is_empty() {
                    content.push(json!({ "type": "refusal", "refusal": refusal }));
                }
                json!({ "type": "message", "id": id, "status": status, "role": "assistant", "content": content })
            }
            Item::Reasoning { text, seal } => {
                let summary: Vec<Value> = summary(text).collect();
                json!({ "type": "reasoning", "id": id, "summary": summary, "encrypted_content": seal })
            }
            Item::Call { call_id, name, arguments, .. } => json!({
                "type": "function_call", "id": id, "status": status,
                "call_id": call_id, "name": name, "arguments": arguments,
            }),
        }
    }

    fn write(&mut self, out: &mut String, kind: &str, mut event: Value) {
        event["type"] = json!(kind);
        event["sequence_number"] = json!(self.sequence);
        self.sequence += 1;
        write!(out, "event: {kind}\ndata: {event}\n\n").expect("writing to a String does not fail");
    }
}

fn is_whole(reason: FinishReason) -> bool {
    matches!(reason, FinishReason::Stop | FinishReason::ToolCalls)
}

fn output_text(text: &str, logprobs: &[Value]) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": logprobs })
}

fn with(place: &Value, more: Value) -> Value {
    let mut all = place.clone();
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}

fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
        "total_tokens": usage.total_tokens(),
    })
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
