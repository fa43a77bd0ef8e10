//! A provider's reply in the OpenAI dialect into events.
//!
//! What it forgives is what providers are known to send; what it cannot understand is an error, never silence.

use crate::models::error::{ErrorDetail, UpstreamError};
use crate::models::frames::{self, Read, embedded_error, tokens};
use crate::models::stream::TOOL_CALLS_MAX;
use crate::models::thought::DETAILS;
use crate::models::{Event, FinishReason, Thought, Usage, event};
use serde_json::Value;
use std::collections::BTreeMap;
use std::mem;

/// Reasons that say the provider failed, in lower case.
const FAILURE_REASONS: [&str; 5] = [
    "error",
    "malformed_function_call",
    "missing_thought_signature",
    "unexpected_tool_call",
    "insufficient_system_resource",
];

/// Decodes one reply.
pub type Decoder = frames::Decoder<Chunks>;

/// Reads chunks of a stream, or a whole completion.
#[derive(Debug, Default)]
pub struct Chunks {
    /// Answers beside the first that were asked for.
    alternatives: u64,
    /// By their number.
    choices: BTreeMap<u64, Choice>,
    done: bool,
}

/// One answer of a reply.
#[derive(Debug, Default)]
struct Choice {
    calls: CallNumbers,
    /// The text of a thought whose signature is still to come.
    thought: String,
    finished: bool,
}

impl Read for Chunks {
    fn is_done(&self) -> bool {
        self.done
    }

    fn is_finished(&self) -> bool {
        (0..=self.alternatives).all(|index| self.choices.get(&index).is_some_and(|choice| choice.finished))
    }

    fn done(&mut self, events: &mut Vec<Event>) {
        self.done = true;
        self.choices.entry(0).or_default();
        for (index, choice) in &mut self.choices {
            if !mem::replace(&mut choice.finished, true) {
                events.push(of(*index, Event::Finish(FinishReason::Stop))); // the provider calls it a success
            }
        }
    }

    /// A chunk has a `delta`, a whole completion a `message`.
    fn read(&mut self, value: &Value, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        if let Some(detail) = ErrorDetail::find(value) {
            return Err(embedded_error(detail));
        }
        let choices = value.get("choices").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut of_choice = None;
        for (place, choice) in (0..).zip(choices) {
            let index = choice.get("index").and_then(Value::as_u64).unwrap_or(place);
            if index > self.alternatives {
                continue; // nobody asked for it
            }
            let mut own = Vec::new();
            let read = self.choices.entry(index).or_default().read(choice, &mut own);
            events.extend(own.into_iter().map(|event| of(index, event)));
            read?;
            of_choice = of_choice.or(choice.get("usage"));
        }
        let usage = [value.get("usage"), value.pointer("/x_groq/usage"), of_choice];
        if let Some(usage) = usage.into_iter().flatten().find(|usage| usage.is_object()) {
            events.push(Event::Usage(read_usage(usage)));
        } else if choices.is_empty() && value.get("choices").is_none() {
            return Err(UpstreamError::bad_reply("a frame is no part of a chat completion"));
        }
        Ok(())
    }
}

impl Chunks {
    /// For a reply of so many answers.
    pub fn of(choices: u32) -> Self {
        Self { alternatives: u64::from(choices.saturating_sub(1)), ..Self::default() }
    }
}

/// An event of the answer of this number.
fn of(index: u64, event: Event) -> Event {
    match u32::try_from(index) {
        Ok(0) | Err(_) => event,
        Ok(index) => Event::Alternative { index, event: Box::new(event) },
    }
}

impl Choice {
    fn read(&mut self, choice: &Value, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        for (name, of_refusal) in [("content", false), ("refusal", true)] {
            let tokens = choice.get("logprobs").map(|logprobs| frames::items(logprobs, name));
            let tokens = event::logprobs(tokens.unwrap_or_default());
            if !tokens.is_empty() {
                events.push(Event::Logprobs { tokens, of_refusal });
            }
        }
        let delta = choice.get("delta").or_else(|| choice.get("message")).unwrap_or(&Value::Null);
        let reasoning = ["reasoning_content", "reasoning"].iter().find_map(|key| delta.get(key)?.as_str());
        if let Some(text) = reasoning {
            events.push(Event::Reasoning(text.to_owned()));
        }
        match delta.get("content") {
            Some(Value::String(text)) => events.push(Event::Text(text.clone())),
            Some(Value::Array(parts)) => parts.iter().for_each(|part| read_part(part, events)),
            _ => {}
        }
        if let Some(text) = delta.get("refusal").and_then(Value::as_str) {
            events.push(Event::Refusal(text.to_owned()));
        }
        for detail in frames::items(delta, DETAILS) {
            events.extend(self.read_detail(detail).map(Event::Thought));
        }
        match delta.get("tool_calls") {
            Some(Value::Array(calls)) => {
                for call in calls {
                    events.push(self.calls.read(call)?);
                }
            }
            Some(call @ Value::Object(_)) => events.push(self.calls.read(call)?),
            _ => {}
        }
        if let Some(error) = choice.get("error").filter(|error| error.is_object()) {
            let detail = ErrorDetail::find(&serde_json::json!({ "error": error }));
            return Err(embedded_error(detail.unwrap_or_default()));
        }
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str)
            && !reason.is_empty()
        {
            self.finished = true;
            events.push(Event::Finish(read_reason(reason)?));
        }
        Ok(())
    }
}

impl Choice {
    /// A stretch of thinking comes in pieces; the last has the signature over all of them.
    fn read_detail(&mut self, detail: &Value) -> Option<Thought> {
        if let Some(text) = frames::text(detail, "text") {
            self.thought.push_str(text);
        }
        let thought = Thought::from_detail(detail)?;
        Some(Thought { text: mem::take(&mut self.thought), ..thought })
    }
}

fn read_part(part: &Value, events: &mut Vec<Event>) {
    match part.get("type").and_then(Value::as_str) {
        Some("thinking") => {
            let thoughts = part.get("thinking").and_then(Value::as_array).into_iter().flatten();
            for text in thoughts.filter_map(|thought| thought.get("text").and_then(Value::as_str)) {
                events.push(Event::Reasoning(text.to_owned()));
            }
        }
        _ => {
            if let Some(text) = part.get("text").and_then(Value::as_str) {
                events.push(Event::Text(text.to_owned()));
            }
        }
    }
}

fn read_reason(reason: &str) -> Result<FinishReason, UpstreamError> {
    let reason = reason.to_ascii_lowercase();
    if FAILURE_REASONS.contains(&reason.as_str()) {
        return Err(UpstreamError::bad_reply("the model broke off with an error"));
    }
    Ok(match reason.as_str() {
        "length" | "max_tokens" | "model_length" | "max_output_tokens" => FinishReason::Length,
        "tool_calls" | "tool_use" | "function_call" => FinishReason::ToolCalls,
        "content_filter" | "safety" | "recitation" | "blocklist" | "prohibited_content" | "spii"
        | "language" | "image_safety" | "refusal" | "sensitive" => FinishReason::ContentFilter,
        _ => FinishReason::Stop, // `stop`, or a word of the provider's own for it
    })
}

fn read_usage(usage: &Value) -> Usage {
    let count = |pointer: &str| tokens(usage, pointer);
    let prompt_tokens = count("/prompt_tokens").unwrap_or(0);
    let completion_tokens = count("/completion_tokens").unwrap_or(0);
    // Some providers leave reasoning out of `completion_tokens` and put it into the total only.
    let total = count("/total_tokens").unwrap_or(0);
    let cached = count("/prompt_tokens_details/cached_tokens").or_else(|| count("/prompt_cache_hit_tokens"));
    let written = ["cache_write_tokens", "cache_creation_tokens"];
    let written = written.iter().find_map(|name| count(&format!("/prompt_tokens_details/{name}")));
    Usage {
        prompt_tokens,
        cache_write_tokens: written.unwrap_or(0).min(prompt_tokens),
        completion_tokens: completion_tokens.max(total.saturating_sub(prompt_tokens)),
        cached_tokens: cached.unwrap_or(0).min(prompt_tokens),
        reasoning_tokens: count("/completion_tokens_details/reasoning_tokens").unwrap_or(0),
        estimated: false,
    }
}

/// Which call a piece belongs to, for providers that leave the index out or repeat it.
#[derive(Debug, Default)]
struct CallNumbers {
    calls: Vec<SeenCall>,
}

#[derive(Debug)]
struct SeenCall {
    wire_index: Option<u64>,
    id: String,
    name: String,
    arguments: Completeness,
}

/// Whether an object that arrives in pieces is closed again; reads each byte once, so that a hostile
/// provider cannot make us read it over and over.
#[derive(Debug, Default)]
struct Completeness {
    depth: u32,
    in_string: bool,
    escaped: bool,
    started: bool,
}

impl Completeness {
    fn read(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth = self.depth.saturating_add(1),
                b'}' | b']' if !self.in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            self.started |= !byte.is_ascii_whitespace();
        }
    }

    fn is_complete(&self) -> bool {
        self.started && self.depth == 0 && !self.in_string
    }
}

impl CallNumbers {
    /// The piece as an event, under the number of its call.
    ///
    /// # Errors
    /// Where there are more calls than a reply may have: each new one is looked for among all before it.
    fn read(&mut self, piece: &Value) -> Result<Event, UpstreamError> {
        let function = piece.get("function").unwrap_or(piece);
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = text(piece.get("id"));
        let name = text(function.get("name"));
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(value) => value.to_string(),
        };
        let wire_index = piece.get("index").and_then(Value::as_u64);
        let position = match self.position(wire_index, &id, &name) {
            Some(position) => position,
            None if self.calls.len() >= TOOL_CALLS_MAX => {
                return Err(UpstreamError::bad_reply("it has too many tool calls"));
            }
            None => {
                let (id, name) = (id.clone(), name.clone());
                self.calls.push(SeenCall { wire_index, id, name, arguments: Completeness::default() });
                self.calls.len() - 1
            }
        };
        self.calls[position].arguments.read(&arguments);
        let some = |text: String| (!text.is_empty()).then_some(text);
        Ok(Event::ToolCall {
            index: u32::try_from(position).unwrap_or(u32::MAX),
            id: some(id),
            name: some(name),
            arguments,
            extra_content: piece.get("extra_content").filter(|extra| extra.is_object()).cloned(),
        })
    }

    /// The call a piece continues; None where it starts a new one.
    fn position(&self, wire_index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let Some(wire_index) = wire_index else {
            let same_id = self.calls.iter().rposition(|call| !id.is_empty() && call.id == id);
            return same_id.or_else(|| if name.is_empty() { self.calls.len().checked_sub(1) } else { None });
        };
        let position = self.calls.iter().rposition(|call| call.wire_index == Some(wire_index))?;
        let call = &self.calls[position];
        // The same index for a call of its own: another id and name, and nothing is missing from the last.
        let other = !id.is_empty() && !call.id.is_empty() && call.id != id && !name.is_empty();
        let complete = call.arguments.is_complete() || (!call.arguments.started && call.name != name);
        (!(other && complete)).then_some(position)
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
