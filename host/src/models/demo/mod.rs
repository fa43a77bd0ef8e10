//! The provider `demo`: answers without a language model, so that everything runs offline.
//!
//! It is honest about what it is: fixed rules, the same answer to the same conversation. What it does with
//! the last message of the user, in this order:
//! 1. lines like `call <tool> <json>` or `use <tool> with <json>`: those calls, side by side;
//! 2. the name of an offered tool and a quoted text: that tool, its required inputs filled from the quoted
//!    texts and numbers in the order they come;
//! 3. a question for its tools: their names and descriptions;
//! 4. anything else: it says what it is and what it can do.
//!
//! When the last messages are results of tools, it repeats them in a sentence. It honours `tool_choice`,
//! `max_tokens` and `stop`, ignores every other parameter, and refuses images, sounds and files.
//!
//! Models: `assistant`; `slow`, which says the same with a pause before each piece; `error`, which fails as an
//! overloaded provider does.

mod script;

use super::error::{ErrorDetail, UpstreamError};
use super::openai::request::{ChatRequest, Content};
use super::stream::ReplyTo;
use super::{Event, EventStream, FinishReason, Usage, media, tokens};
use futures_util::{StreamExt, stream};
use script::{Answer, Call};
use std::time::Duration;

/// The provider's name.
pub const PROVIDER: &str = "demo";
/// Its models, the default first.
pub const MODELS: [&str; 3] = ["assistant", "slow", "error"];
/// The pause of `slow` before each piece.
pub const SLOW_DELTA_MS: u64 = 200;
/// A piece of arguments, in characters: small enough that a call comes in several.
const ARGUMENTS_CHARS: usize = 16;

/// The provider; see the module.
#[derive(Debug, Clone)]
pub struct Demo {
    /// The pause of `slow` before each piece.
    pub slow_delta: Duration,
}

impl Default for Demo {
    fn default() -> Self {
        Self { slow_delta: Duration::from_millis(SLOW_DELTA_MS) }
    }
}

impl Demo {
    /// Answers a request. `model` is one of [`MODELS`].
    pub async fn stream(&self, model: &str, request: &ChatRequest) -> Result<EventStream, UpstreamError> {
        let pause = match model {
            "assistant" => None,
            "slow" => Some(self.slow_delta),
            "error" => return Err(UpstreamError::from_status(503, ErrorDetail::default(), None)),
            _ => return Err(unknown_model(model)),
        };
        refuse_media(request)?;
        let events = events(request);
        let raw = stream::iter(events).then(move |event| async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            Ok(event)
        });
        EventStream::new(raw, ReplyTo::default()).wait_for_first().await
    }
}

/// A model of rules sees no pictures, and must not seem to.
fn refuse_media(request: &ChatRequest) -> Result<(), UpstreamError> {
    for (position, message) in request.messages.iter().enumerate() {
        let Some(Content::Parts(parts)) = &message.content else { continue };
        if let Some(part) = parts.iter().find(|part| media::text_of(part).is_none()) {
            return Err(UpstreamError::unsupported(media::unsupported(position, part, "Demo")));
        }
    }
    Ok(())
}

fn unknown_model(model: &str) -> UpstreamError {
    let detail = ErrorDetail {
        message: Some(format!(
            "There is no model `demo/{model}`. Use `demo/assistant`, `demo/slow` or `demo/error`."
        )),
        code: Some("model_not_found".into()),
        kind: None,
    };
    UpstreamError::from_status(404, detail, None)
}

/// The whole reply to a request, in pieces.
fn events(request: &ChatRequest) -> Vec<Event> {
    let answer = script::answer(request);
    let mut budget = Budget::new(request.output_tokens_max());
    let mut events = Vec::new();
    let finish = match &answer {
        Answer::Text(text) => {
            let text = cut_at_stop(text, &request.stop);
            events.extend(words(budget.take(text)).map(|word| Event::Text(word.to_owned())));
            FinishReason::Stop
        }
        Answer::Calls(calls) => {
            for (index, call) in (0..).zip(calls) {
                push_call(&mut events, index, call, request.messages.len(), &mut budget);
            }
            FinishReason::ToolCalls
        }
    };
    events.push(Event::Finish(if budget.is_over { FinishReason::Length } else { finish }));
    events.push(Event::Usage(Usage {
        prompt_tokens: tokens::in_request(request),
        completion_tokens: budget.used.div_ceil(tokens::CHARS_PER_TOKEN),
        ..Usage::default()
    }));
    events
}

fn push_call(events: &mut Vec<Event>, index: u32, call: &Call, messages: usize, budget: &mut Budget) {
    if budget.is_over {
        return;
    }
    let event = |first: bool, arguments: &str| Event::ToolCall {
        index,
        id: first.then(|| format!("call_demo_{messages}_{index}")), // a conversation only grows: unique in it
        name: first.then(|| call.name.clone()),
        arguments: arguments.to_owned(),
        extra_content: None,
    };
    events.push(event(true, ""));
    let mut rest = budget.take(&call.arguments);
    while !rest.is_empty() {
        let end = rest.char_indices().nth(ARGUMENTS_CHARS).map_or(rest.len(), |(end, _)| end);
        let (piece, tail) = rest.split_at(end);
        events.push(event(false, piece));
        rest = tail;
    }
}

fn cut_at_stop<'a>(text: &'a str, stop: &[String]) -> &'a str {
    let end = stop.iter().filter_map(|word| text.find(word.as_str())).min();
    &text[..end.unwrap_or(text.len())]
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

/// The characters `max_tokens` leaves room for.
struct Budget {
    chars_left: u64,
    used: u64,
    is_over: bool,
}

impl Budget {
    fn new(tokens_max: Option<u64>) -> Self {
        let chars_left = tokens_max.map_or(u64::MAX, |tokens| tokens.saturating_mul(tokens::CHARS_PER_TOKEN));
        Self { chars_left, used: 0, is_over: false }
    }

    /// As much of `text` as there is room for.
    fn take<'a>(&mut self, text: &'a str) -> &'a str {
        let chars = text.chars().count() as u64;
        let taken = chars.min(self.chars_left);
        self.chars_left -= taken;
        self.used += taken;
        self.is_over |= taken < chars;
        let end = usize::try_from(taken).ok().and_then(|taken| text.char_indices().nth(taken));
        &text[..end.map_or(text.len(), |(end, _)| end)]
    }
}

#[cfg(test)]
mod tests;
