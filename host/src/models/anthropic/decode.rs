//! Anthropic's reply into events.
//!
//! Blocks are numbered over text, thinking and calls alike; our calls are numbered among themselves. What the
//! model read stands in the first event, what it wrote in the last, and both may be corrected in between.

use super::paused::{Paused, Said};
use crate::models::error::{ErrorDetail, UpstreamError};
use crate::models::frames::{self, Read, embedded_error, items, text, tokens};
use crate::models::thought::{Maker, Thought};
use crate::models::{Event, FinishReason, Usage};
use serde_json::{Value, json};
use std::{collections::BTreeMap, mem};

/// Decodes one reply.
pub type Decoder = frames::Decoder<Messages>;

/// Reads the events of a stream, or a whole message.
#[derive(Debug, Default)]
pub struct Messages {
    /// Blocks that have not ended.
    open: BTreeMap<u64, Block>,
    calls: u32,
    usage: Value,
    /// Of the stretches of a turn that was paused.
    before: Usage,
    said: Said,
    paused: bool,
    finished: bool,
    done: bool,
}

#[derive(Debug)]
enum Block {
    Text,
    Thinking {
        text: String,
        signature: String,
    },
    Call {
        index: u32,
    },
    /// Of a kind that only Anthropic runs or reads.
    Other,
}

impl Read for Messages {
    fn read(&mut self, value: &Value, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let index = value.get("index").and_then(Value::as_u64).unwrap_or(0);
        match text(value, "type").unwrap_or_default() {
            "message" => self.read_whole(value, events)?,
            "message_start" => {
                self.read_usage(value.pointer("/message/usage"));
                self.say_usage(events);
            }
            "content_block_start" => self.start(index, &value["content_block"], events),
            "content_block_delta" => {
                self.said.add(index, &value["delta"]);
                self.add(index, &value["delta"], events);
            }
            "content_block_stop" => self.stop(index, events),
            "message_delta" => {
                self.read_usage(value.get("usage"));
                if let Some(reason) = value.pointer("/delta/stop_reason").and_then(Value::as_str) {
                    self.finish(reason, events);
                }
                self.say_usage(events);
            }
            "message_stop" => self.done = true,
            "ping" => {}
            "error" => return Err(embedded_error(ErrorDetail::find(value).unwrap_or_default())),
            // Anthropic adds events and asks that unknown ones be passed over; what is no event is an error.
            "" => {
                let detail = ErrorDetail::find(value).map(embedded_error);
                return Err(
                    detail.unwrap_or_else(|| UpstreamError::bad_reply("a frame is no event of a message"))
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn done(&mut self, _events: &mut Vec<Event>) {
        self.done = true;
    }

    fn take_paused(&mut self) -> Option<Paused> {
        if !mem::take(&mut self.paused) {
            return None;
        }
        let used = self.used();
        let output_tokens = used.completion_tokens.saturating_sub(self.before.completion_tokens);
        (self.before, self.usage, self.done) = (used, Value::Null, false);
        self.open.clear();
        Some(Paused { content: mem::take(&mut self.said).into_content(), output_tokens })
    }
}

impl Messages {
    fn read_whole(&mut self, message: &Value, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        for (index, block) in (0..).zip(items(message, "content")) {
            self.start(index, block, events);
            self.stop(index, events);
        }
        self.read_usage(message.get("usage"));
        let reason = text(message, "stop_reason")
            .ok_or_else(|| UpstreamError::bad_reply("a message has no stop reason"))?;
        self.finish(reason, events);
        self.say_usage(events);
        Ok(())
    }

    /// A block begins; what it has already counts like a first piece.
    fn start(&mut self, index: u64, block: &Value, events: &mut Vec<Event>) {
        self.said.start(index, block);
        let begun = match text(block, "type").unwrap_or_default() {
            "text" => {
                events.extend(text(block, "text").map(|text| Event::Text(text.to_owned())));
                Block::Text
            }
            "thinking" => {
                self.open.insert(index, Block::Thinking { text: String::new(), signature: String::new() });
                self.add_to_thinking(index, text(block, "thinking"), text(block, "signature"), events);
                return;
            }
            "redacted_thinking" => {
                let seal = text(block, "data").unwrap_or_default();
                events.push(Event::Thought(Thought {
                    redacted: true,
                    ..Thought::sealed(Maker::Anthropic, seal)
                }));
                Block::Other
            }
            "tool_use" => self.start_call(block, events),
            _ => Block::Other,
        };
        self.open.insert(index, begun);
    }

    fn start_call(&mut self, block: &Value, events: &mut Vec<Event>) -> Block {
        let index = self.calls;
        self.calls = self.calls.saturating_add(1);
        let input =
            block.get("input").filter(|input| input.as_object().is_some_and(|input| !input.is_empty()));
        events.push(Event::ToolCall {
            index,
            id: text(block, "id").map(str::to_owned),
            name: text(block, "name").map(str::to_owned),
            arguments: input.map(Value::to_string).unwrap_or_default(),
            extra_content: None,
        });
        Block::Call { index }
    }

    fn add(&mut self, index: u64, delta: &Value, events: &mut Vec<Event>) {
        match (text(delta, "type").unwrap_or_default(), self.open.get(&index)) {
            ("text_delta", _) => {
                events.extend(text(delta, "text").map(|text| Event::Text(text.to_owned())));
            }
            ("thinking_delta", _) => self.add_to_thinking(index, text(delta, "thinking"), None, events),
            ("signature_delta", _) => self.add_to_thinking(index, None, text(delta, "signature"), events),
            ("input_json_delta", Some(Block::Call { index })) => events.push(Event::ToolCall {
                index: *index,
                id: None,
                name: None,
                arguments: text(delta, "partial_json").unwrap_or_default().to_owned(),
                extra_content: None,
            }),
            _ => {}
        }
    }

    fn add_to_thinking(
        &mut self,
        index: u64,
        more: Option<&str>,
        seal: Option<&str>,
        events: &mut Vec<Event>,
    ) {
        let Some(Block::Thinking { text, signature }) = self.open.get_mut(&index) else { return };
        if let Some(more) = more {
            text.push_str(more);
            events.push(Event::Reasoning(more.to_owned()));
        }
        signature.push_str(seal.unwrap_or_default());
    }

    fn stop(&mut self, index: u64, events: &mut Vec<Event>) {
        if let Some(Block::Thinking { text, signature }) = self.open.remove(&index)
            && !signature.is_empty()
        {
            events.push(Event::Thought(Thought { text, ..Thought::sealed(Maker::Anthropic, signature) }));
        }
    }

    fn finish(&mut self, reason: &str, events: &mut Vec<Event>) {
        if reason == "pause_turn" {
            self.paused = true; // not the end: see `paused`
            return;
        }
        self.finished = true;
        events.push(Event::Finish(match reason {
            "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
            "tool_use" => FinishReason::ToolCalls,
            "refusal" => FinishReason::ContentFilter,
            // `end_turn`, `stop_sequence`
            _ => FinishReason::Stop,
        }));
    }

    /// Later numbers replace earlier ones: they are totals.
    fn read_usage(&mut self, usage: Option<&Value>) {
        let Some(Value::Object(usage)) = usage else { return };
        if !self.usage.is_object() {
            self.usage = json!({});
        }
        for (name, value) in usage.iter().filter(|(_, value)| !value.is_null()) {
            self.usage[name] = value.clone();
        }
    }

    fn say_usage(&mut self, events: &mut Vec<Event>) {
        events.push(Event::Usage(self.used()));
    }

    /// All of it, with what was used before a pause.
    fn used(&self) -> Usage {
        let count = |pointer: &str| tokens(&self.usage, pointer).unwrap_or(0);
        let cached = count("/cache_read_input_tokens");
        let written = count("/cache_creation_input_tokens");
        let read = count("/input_tokens").saturating_add(cached).saturating_add(written);
        let before = &self.before;
        Usage {
            prompt_tokens: before.prompt_tokens.saturating_add(read),
            completion_tokens: before.completion_tokens.saturating_add(count("/output_tokens")),
            cached_tokens: before.cached_tokens.saturating_add(cached),
            cache_write_tokens: before.cache_write_tokens.saturating_add(written),
            reasoning_tokens: before
                .reasoning_tokens
                .saturating_add(count("/output_tokens_details/thinking_tokens")),
            estimated: false,
        }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
