//! What the providers have in common that are built in: no network, no language model, the same answer to the same
//! conversation.

use super::error::UpstreamError;
use super::openai::request::{ChatRequest, Content};
use super::stream::ReplyTo;
use super::{Event, EventStream, FinishReason, Usage, media, tokens};
use futures_util::{StreamExt, stream};
use std::time::Duration;

/// A piece of arguments, in characters: small enough that a call comes in several.
const ARGUMENTS_CHARS: usize = 16;

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Text(String),
    Calls(Vec<Call>),
}

/// One call of a tool.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    /// JSON text; as the user wrote it where the user wrote it, valid or not.
    pub(super) arguments: String,
}

/// Says these events, each after a pause if there is one. Returns once the first is here.
pub(super) async fn stream(
    events: impl IntoIterator<Item = Event, IntoIter: Send + 'static>,
    pause: Option<Duration>,
) -> Result<EventStream, UpstreamError> {
    let raw = stream::iter(events).then(move |event| async move {
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        Ok(event)
    });
    EventStream::new(raw, ReplyTo::default()).wait_for_first().await
}

/// Refuses what rules cannot answer, and must not seem to: pictures, and what only a model has.
pub(super) fn refuse(request: &ChatRequest, provider: &str) -> Result<(), UpstreamError> {
    for (position, message) in request.messages.iter().enumerate() {
        let Some(Content::Parts(parts)) = &message.content else { continue };
        if let Some(part) = parts.iter().find(|part| media::text_of(part).is_none()) {
            return Err(UpstreamError::unsupported(media::unsupported(position, part, provider)));
        }
    }
    request.refuse_more_than_one_answer(provider).map_err(UpstreamError::unsupported)
}

/// A whole reply to a request, in pieces; it honours `max_tokens` and `stop`.
pub(super) fn events(provider: &str, request: &ChatRequest, answer: &Answer) -> Vec<Event> {
    let mut budget = Budget::new(request.output_tokens_max());
    let mut events = Vec::new();
    let finish = match answer {
        Answer::Text(text) => {
            let text = cut_at_stop(text, &request.stop);
            events.extend(words(budget.take(text)).map(|word| Event::Text(word.to_owned())));
            FinishReason::Stop
        }
        Answer::Calls(calls) => {
            for (index, call) in (0..).zip(calls) {
                push_call(&mut events, index, (provider, call), request.messages.len(), &mut budget);
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

fn push_call(
    events: &mut Vec<Event>,
    index: u32,
    (provider, call): (&str, &Call),
    messages: usize,
    budget: &mut Budget,
) {
    if budget.is_over {
        return;
    }
    let event = |first: bool, arguments: &str| Event::ToolCall {
        index,
        id: first.then(|| format!("call_{provider}_{messages}_{index}")), // a conversation only grows: unique in it
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
