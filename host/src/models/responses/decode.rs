//! A reply in OpenAI's responses dialect into events.
//!
//! A stream says everything twice, in pieces and then whole; what came in pieces is not said again, and what did
//! not is.

use crate::models::error::{ErrorDetail, UpstreamError};
use crate::models::frames::{self, Read, embedded_error, items, text, tokens};
use crate::models::thought::{Maker, Thought};
use crate::models::{Event, FinishReason, Usage, event};
use serde_json::Value;
use std::collections::BTreeMap;

/// Decodes one reply.
pub type Decoder = frames::Decoder<Responses>;

/// Reads the events of a stream, or a whole response.
#[derive(Debug, Default)]
pub struct Responses {
    /// By their place in the output.
    items: BTreeMap<u64, Seen>,
    calls: u32,
    finished: bool,
}

/// What was said of an item already.
#[derive(Debug, Default)]
struct Seen {
    /// The number of the call it is.
    call: Option<u32>,
    said: bool,
    /// Parts of a summary that began.
    parts: u32,
}

impl Read for Responses {
    fn read(&mut self, value: &Value, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let at = value.get("output_index").and_then(Value::as_u64).unwrap_or(0);
        let delta = || text(value, "delta").unwrap_or_default().to_owned();
        match text(value, "type").unwrap_or_default() {
            "response.output_item.added" => self.begin(at, &value["item"], events),
            "response.output_text.delta" => {
                self.items.entry(at).or_default().said = true;
                say_logprobs(value, events);
                events.push(Event::Text(delta()));
            }
            "response.refusal.delta" => {
                self.items.entry(at).or_default().said = true;
                events.push(Event::Refusal(delta()));
            }
            "response.reasoning_summary_part.added" => {
                let seen = self.items.entry(at).or_default();
                seen.parts = seen.parts.saturating_add(1);
                if seen.parts > 1 {
                    events.push(Event::Reasoning("\n\n".into()));
                }
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.items.entry(at).or_default().said = true;
                events.push(Event::Reasoning(delta()));
            }
            "response.function_call_arguments.delta" => self.add_arguments(at, delta(), events),
            "response.output_item.done" => self.end(at, &value["item"], events),
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.finish(&value["response"], events)?;
            }
            "error" => return Err(embedded_error(ErrorDetail::find(value).unwrap_or_default())),
            "" => self.read_whole(value, events)?,
            _ => {} // events are added, and say again what others said
        }
        Ok(())
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn is_done(&self) -> bool {
        self.finished
    }

    fn done(&mut self, _events: &mut Vec<Event>) {}
}

impl Responses {
    fn read_whole(&mut self, value: &Value, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        if text(value, "object") != Some("response") {
            let detail = ErrorDetail::find(value).map(embedded_error);
            return Err(detail.unwrap_or_else(|| UpstreamError::bad_reply("it is no response")));
        }
        for (at, item) in (0..).zip(items(value, "output")) {
            self.begin(at, item, events);
            self.end(at, item, events);
        }
        self.finish(value, events)
    }

    fn begin(&mut self, at: u64, item: &Value, events: &mut Vec<Event>) {
        let mut seen = Seen::default();
        if text(item, "type") == Some("function_call") {
            seen.call = Some(self.calls);
            events.push(Event::ToolCall {
                index: self.calls,
                id: text(item, "call_id").map(str::to_owned),
                name: text(item, "name").map(str::to_owned),
                arguments: String::new(),
                extra_content: None,
            });
            self.calls = self.calls.saturating_add(1);
        }
        self.items.insert(at, seen);
    }

    fn add_arguments(&mut self, at: u64, arguments: String, events: &mut Vec<Event>) {
        let Some(seen) = self.items.get_mut(&at) else { return };
        let Some(index) = seen.call else { return };
        seen.said |= !arguments.is_empty();
        events.push(Event::ToolCall { index, id: None, name: None, arguments, extra_content: None });
    }

    /// An item is whole: says what was not said in pieces.
    fn end(&mut self, at: u64, item: &Value, events: &mut Vec<Event>) {
        let said = self.items.get(&at).is_some_and(|seen| seen.said);
        match text(item, "type").unwrap_or_default() {
            "message" if !said => {
                for part in items(item, "content") {
                    let of = |key: &str| text(part, key).map(str::to_owned);
                    say_logprobs(part, events);
                    events.extend(of("text").map(Event::Text));
                    events.extend(of("refusal").map(Event::Refusal));
                }
            }
            "function_call" => {
                if !self.items.contains_key(&at) {
                    self.begin(at, item, events);
                }
                if !said {
                    self.add_arguments(at, text(item, "arguments").unwrap_or_default().to_owned(), events);
                }
            }
            "reasoning" => end_reasoning(item, said, events),
            _ => {}
        }
    }

    fn finish(&mut self, response: &Value, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        if text(response, "status") == Some("failed") {
            let detail = ErrorDetail::find(response).unwrap_or_default();
            return Err(embedded_error(detail));
        }
        let reason = response.pointer("/incomplete_details/reason").and_then(Value::as_str);
        self.finished = true;
        events.push(Event::Finish(match (reason, self.calls) {
            (Some("content_filter"), _) => FinishReason::ContentFilter,
            (Some(_), _) => FinishReason::Length,
            (None, 0) => FinishReason::Stop,
            (None, _) => FinishReason::ToolCalls,
        }));
        if let Some(usage) = response.get("usage").filter(|usage| usage.is_object()) {
            events.push(Event::Usage(read_usage(usage)));
        }
        Ok(())
    }
}

/// How likely the tokens of a text were, before it.
fn say_logprobs(of: &Value, events: &mut Vec<Event>) {
    let tokens = event::logprobs(items(of, "logprobs"));
    if !tokens.is_empty() {
        events.push(Event::Logprobs { tokens, of_refusal: false });
    }
}

fn end_reasoning(item: &Value, said: bool, events: &mut Vec<Event>) {
    let texts = |key: &str| {
        let texts: Vec<&str> = items(item, key).iter().filter_map(|part| text(part, "text")).collect();
        texts.join("\n\n")
    };
    let (summary, content) = (texts("summary"), texts("content"));
    if !said {
        let shown = if summary.is_empty() { content } else { summary.clone() };
        events.push(Event::Reasoning(shown));
    }
    if let Some(seal) = text(item, "encrypted_content").filter(|seal| !seal.is_empty()) {
        let id = text(item, "id").map(str::to_owned);
        events.push(Event::Thought(Thought { id, text: summary, ..Thought::sealed(Maker::OpenAi, seal) }));
    }
}

fn read_usage(usage: &Value) -> Usage {
    let count = |pointer: &str| tokens(usage, pointer).unwrap_or(0);
    let prompt_tokens = count("/input_tokens");
    Usage {
        prompt_tokens,
        completion_tokens: count("/output_tokens"),
        cached_tokens: count("/input_tokens_details/cached_tokens").min(prompt_tokens),
        cache_write_tokens: count("/input_tokens_details/cache_write_tokens").min(prompt_tokens),
        reasoning_tokens: count("/output_tokens_details/reasoning_tokens"),
        estimated: false,
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
