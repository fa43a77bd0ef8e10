//! Google's reply into events.
//!
//! A call comes whole, a stream ends without a word, and a reason to stop that is the model's failure is an
//! error here, not an answer.

use crate::models::error::{ErrorDetail, UpstreamError};
use crate::models::frames::{self, Read, embedded_error, items, text, tokens};
use crate::models::thought::{Maker, Thought};
use crate::models::{Event, FinishReason, Usage};
use serde_json::{Value, json};

/// Decodes one reply.
pub type Decoder = frames::Decoder<Contents>;

/// Reads the chunks of a stream, or a whole reply: they are alike.
#[derive(Debug, Default)]
pub struct Contents {
    calls: u32,
    finished: bool,
}

impl Read for Contents {
    fn read(&mut self, value: &Value, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        if let Some(detail) = ErrorDetail::find(value) {
            return Err(embedded_error(detail));
        }
        // A stream that was not asked for as events is a list of its chunks.
        if let Value::Array(chunks) = value {
            return chunks.iter().try_for_each(|chunk| self.read(chunk, events));
        }
        let is_first = |candidate: &&Value| candidate.get("index").and_then(Value::as_u64).unwrap_or(0) == 0;
        let candidate = items(value, "candidates").iter().find(is_first);
        let blocked = value.pointer("/promptFeedback/blockReason").and_then(Value::as_str);
        if candidate.is_none() && blocked.is_none() && value.get("usageMetadata").is_none() {
            return Err(UpstreamError::bad_reply("a frame is no part of a reply"));
        }
        for part in
            candidate.and_then(|candidate| candidate.get("content")).map_or(&[][..], |c| items(c, "parts"))
        {
            self.read_part(part, events);
        }
        let reason = candidate.and_then(|candidate| text(candidate, "finishReason"));
        if let Some(reason) = reason {
            self.finished = true;
            events.push(Event::Finish(read_reason(reason)?));
        } else if blocked.is_some() && candidate.is_none() {
            self.finished = true;
            events.push(Event::Finish(FinishReason::ContentFilter));
        }
        if let Some(usage) = value.get("usageMetadata").filter(|usage| usage.is_object()) {
            events.push(Event::Usage(read_usage(usage)));
        }
        Ok(())
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn is_done(&self) -> bool {
        false
    }

    fn done(&mut self, _events: &mut Vec<Event>) {}
}

impl Contents {
    fn read_part(&mut self, part: &Value, events: &mut Vec<Event>) {
        let seal = text(part, "thoughtSignature").filter(|seal| !seal.is_empty());
        if let Some(call) = part.get("functionCall") {
            events.push(self.read_call(call, seal));
            return;
        }
        let said = text(part, "text").unwrap_or_default();
        let is_thought = part.get("thought") == Some(&json!(true));
        events.push(if is_thought {
            Event::Reasoning(said.to_owned())
        } else {
            Event::Text(said.to_owned())
        });
        if let Some(seal) = seal {
            let text = if is_thought { String::new() } else { said.to_owned() };
            events.push(Event::Thought(Thought { text, ..Thought::sealed(Maker::Google, seal) }));
        }
    }

    fn read_call(&mut self, call: &Value, seal: Option<&str>) -> Event {
        let index = self.calls;
        self.calls = self.calls.saturating_add(1);
        let args = call.get("args").filter(|args| args.is_object());
        Event::ToolCall {
            index,
            id: text(call, "id").map(str::to_owned),
            name: text(call, "name").map(str::to_owned),
            arguments: args.map_or_else(|| "{}".to_owned(), Value::to_string),
            extra_content: seal.map(|seal| json!({ "google": { "thought_signature": seal } })),
        }
    }
}

pub(super) fn read_reason(reason: &str) -> Result<FinishReason, UpstreamError> {
    match reason {
        // Or calls, if there were any: the stream sees to that. The second is no word of Google's own; others who
        // speak its dialect say it where they call (aimock does).
        "STOP" | "FUNCTION_CALL" => Ok(FinishReason::Stop),
        "MAX_TOKENS" => Ok(FinishReason::Length),
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "LANGUAGE"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => Ok(FinishReason::ContentFilter),
        // `MALFORMED_FUNCTION_CALL`, `MISSING_THOUGHT_SIGNATURE`, `OTHER` and whatever is added: no answer.
        reason => {
            let known = reason.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            let word = if known { reason } else { "an unknown reason" };
            Err(UpstreamError::bad_reply(&format!("the model broke off with {word}")))
        }
    }
}

pub(super) fn read_usage(usage: &Value) -> Usage {
    let count = |name: &str| tokens(usage, name).unwrap_or(0);
    let thoughts = count("/thoughtsTokenCount");
    let prompt_tokens = count("/promptTokenCount").saturating_add(count("/toolUsePromptTokenCount"));
    Usage {
        prompt_tokens,
        completion_tokens: count("/candidatesTokenCount").saturating_add(thoughts),
        cached_tokens: count("/cachedContentTokenCount").min(prompt_tokens),
        reasoning_tokens: thoughts,
        ..Usage::default()
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
