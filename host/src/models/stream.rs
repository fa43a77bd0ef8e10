//! A reply as it comes, with the same promises whatever the provider.
//!
//! A decoder hands over raw events in whatever order its provider sends them. What leaves [`EventStream`]:
//! - tool calls are numbered 0, 1, 2, …; the first piece of each has a name and an id of its own, later
//!   pieces neither;
//! - a call without arguments ends as `{}`;
//! - exactly one [`Event::Finish`], after everything else, its reason in keeping with what was seen;
//! - then exactly one [`Event::Usage`], the provider's last word or else our estimate;
//! - a reply that breaks off before it finished is an error, never a short answer.
//!
//! Dropping the stream drops the connection to the provider: no task runs behind it.

use super::{Event, FinishReason, UpstreamError, Usage, error::UpstreamErrorKind};
use futures_util::{Stream, StreamExt};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

/// Tool calls in one reply; a model that makes more is broken.
pub const TOOL_CALLS_MAX: usize = 128;

/// How an id begins that we gave a call whose provider gave none.
const MADE_UP_PREFIX: &str = "call_";

/// Whether a call's id is our own: its provider never saw it.
pub fn is_made_up(id: &str) -> bool {
    let numbers = id.strip_prefix(MADE_UP_PREFIX).and_then(|rest| rest.split_once('_'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(messages, index)| is_number(messages) && is_number(index))
}

type RawEvents = Pin<Box<dyn Stream<Item = Result<Event, UpstreamError>> + Send>>;

/// What the stream needs to know of the request.
#[derive(Debug, Clone, Default)]
pub struct ReplyTo {
    /// Our estimate of what the model reads.
    pub prompt_tokens: u64,
    /// The most it may write.
    pub completion_tokens_max: Option<u64>,
    /// Messages in the conversation: makes an id for a call whose provider gave none.
    pub messages: usize,
    /// Answers beside the first.
    pub alternatives: u32,
    /// Whether the probabilities of tokens are wanted.
    pub logprobs: bool,
}

type Watcher = Box<dyn FnMut(&Event) + Send>;

/// The events of one reply.
pub struct EventStream {
    raw: Option<RawEvents>,
    watcher: Option<Watcher>,
    order: Order,
    ready: VecDeque<Result<Event, UpstreamError>>,
    /// What [`EventStream::wait_for_first`] waited for.
    first: Option<Event>,
    /// What the provider calls the model that answers, once it said so.
    answered_by: Arc<OnceLock<String>>,
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("order", &self.order).finish_non_exhaustive()
    }
}

impl EventStream {
    /// Puts the raw events of a decoder in order.
    pub fn new(
        raw: impl Stream<Item = Result<Event, UpstreamError>> + Send + 'static,
        reply_to: ReplyTo,
    ) -> Self {
        Self {
            raw: Some(Box::pin(raw)),
            watcher: None,
            order: Order::new(reply_to),
            ready: VecDeque::new(),
            first: None,
            answered_by: Arc::default(),
        }
    }

    /// What the provider calls the model that answers, once it said so.
    pub fn answered_by(&self) -> Option<&str> {
        self.answered_by.get().map(String::as_str)
    }

    /// Learns from whoever reads the reply which model answers.
    pub fn learning(self, answered_by: Arc<OnceLock<String>>) -> Self {
        Self { answered_by, ..self }
    }

    /// Shows every event, in order, before it is handed over.
    pub fn watched(self, watcher: impl FnMut(&Event) + Send + 'static) -> Self {
        Self { watcher: Some(Box::new(watcher)), ..self }
    }

    /// Waits until the first event is here, so that a failure can still become a status.
    pub async fn wait_for_first(mut self) -> Result<Self, UpstreamError> {
        match self.next().await {
            Some(Err(error)) => Err(UpstreamError { used: self.order.usage.map(Box::new), ..error }),
            Some(Ok(event)) => {
                self.first = Some(event);
                Ok(self)
            }
            None => Err(UpstreamError::bad_reply("the reply is empty")),
        }
    }

    /// What the reply used until now: the provider's numbers if it gave any, else an estimate. For a reply
    /// that was dropped or failed half-way.
    pub fn usage_so_far(&self) -> Usage {
        self.order.usage()
    }
}

impl Stream for EventStream {
    type Item = Result<Event, UpstreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(event) = this.first.take() {
            return Poll::Ready(Some(Ok(event)));
        }
        loop {
            if let Some(item) = this.ready.pop_front() {
                if let (Some(watcher), Ok(event)) = (this.watcher.as_mut(), &item) {
                    watcher(event);
                }
                return Poll::Ready(Some(item));
            }
            let Some(raw) = this.raw.as_mut() else { return Poll::Ready(None) };
            let result = match raw.as_mut().poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(event))) => this.order.push(event, &mut this.ready),
                Poll::Ready(Some(Err(error))) => {
                    this.raw = None;
                    this.order.end_with(error, &mut this.ready)
                }
                Poll::Ready(None) => {
                    this.raw = None;
                    this.order.end(&mut this.ready)
                }
            };
            if let Err(error) = result {
                this.raw = None; // lets go of the connection at once
                this.ready.push_back(Err(error));
            }
        }
    }
}

type Ready = VecDeque<Result<Event, UpstreamError>>;

/// What another answer says, marked as its own; what all used is said once.
fn of_other(index: u32, own: Ready) -> impl Iterator<Item = Result<Event, UpstreamError>> {
    own.into_iter().filter(|item| !matches!(item, Ok(Event::Usage(_)))).map(move |item| {
        let event = Box::new(item?);
        Ok(Event::Alternative { index, event })
    })
}

#[derive(Debug)]
struct Order {
    reply_to: ReplyTo,
    /// Of the answers beside this one, by their number.
    others: BTreeMap<u32, Order>,
    calls: Vec<Call>,
    /// Two calls with one id could not be answered apart.
    ids: HashSet<String>,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
    chars: u64,
}

#[derive(Debug, Default)]
struct Call {
    raw_index: u32,
    id: Option<String>,
    /// Held back until the name is known.
    held: String,
    extra_content: Option<serde_json::Value>,
    announced: bool,
    has_arguments: bool,
}

impl Order {
    fn new(reply_to: ReplyTo) -> Self {
        Self {
            reply_to,
            others: BTreeMap::new(),
            calls: Vec::new(),
            ids: HashSet::new(),
            finish: None,
            usage: None,
            chars: 0,
        }
    }

    fn push(&mut self, event: Event, ready: &mut Ready) -> Result<(), UpstreamError> {
        match event {
            Event::Text(text) | Event::Reasoning(text) if text.is_empty() => {}
            Event::Text(text) => {
                self.count(&text);
                ready.push_back(Ok(Event::Text(text)));
            }
            Event::Reasoning(text) => {
                self.count(&text);
                ready.push_back(Ok(Event::Reasoning(text)));
            }
            Event::Refusal(text) if text.is_empty() => {}
            Event::Refusal(text) => {
                self.count(&text);
                ready.push_back(Ok(Event::Refusal(text)));
            }
            Event::Thought(thought) => ready.push_back(Ok(Event::Thought(thought))),
            Event::Logprobs { tokens, .. } if tokens.is_empty() || !self.reply_to.logprobs => {}
            event @ Event::Logprobs { .. } => ready.push_back(Ok(event)),
            Event::Alternative { index, event } => return self.push_other(index, *event, ready),
            Event::ToolCall { index, id, name, arguments, extra_content } => {
                self.count(&arguments);
                return self.push_call(index, id, name, arguments, extra_content, ready);
            }
            Event::Finish(reason) => self.finish = Some(reason),
            Event::Usage(usage) if usage.total_tokens() > 0 => self.usage = Some(usage),
            Event::Usage(_) => {}
        }
        Ok(())
    }

    fn push_call(
        &mut self,
        raw_index: u32,
        id: Option<String>,
        name: Option<String>,
        arguments: String,
        extra_content: Option<serde_json::Value>,
        ready: &mut Ready,
    ) -> Result<(), UpstreamError> {
        let position = match self.calls.iter().position(|call| call.raw_index == raw_index) {
            Some(position) => position,
            None if self.calls.len() == TOOL_CALLS_MAX => {
                return Err(UpstreamError::bad_reply("too many tool calls"));
            }
            None => {
                self.calls.push(Call { raw_index, ..Call::default() });
                self.calls.len() - 1
            }
        };
        let index = u32::try_from(position).expect("there are at most TOOL_CALLS_MAX calls");
        let call = &mut self.calls[position];
        call.has_arguments |= !arguments.trim().is_empty();
        if call.announced {
            if !arguments.is_empty() {
                ready.push_back(Ok(Event::ToolCall {
                    index,
                    id: None,
                    name: None,
                    arguments,
                    extra_content: None,
                }));
            }
            return Ok(());
        }
        call.id = call.id.take().or(id.filter(|id| !id.is_empty()));
        call.extra_content = extra_content.or(call.extra_content.take());
        call.held.push_str(&arguments);
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(()) };
        call.announced = true;
        let made_up = || format!("{MADE_UP_PREFIX}{}_{index}", self.reply_to.messages);
        let id = call.id.take().filter(|id| !self.ids.contains(id)).unwrap_or_else(made_up);
        self.ids.insert(id.clone());
        ready.push_back(Ok(Event::ToolCall {
            index,
            id: Some(id),
            name: Some(name),
            arguments: std::mem::take(&mut call.held),
            extra_content: call.extra_content.take(),
        }));
        Ok(())
    }

    /// Something of another answer; one that nobody asked for is passed over.
    fn push_other(&mut self, index: u32, event: Event, ready: &mut Ready) -> Result<(), UpstreamError> {
        if !(1..=self.reply_to.alternatives).contains(&index) {
            return Ok(());
        }
        let alone = ReplyTo { alternatives: 0, ..self.reply_to.clone() };
        let other = self.others.entry(index).or_insert_with(|| Order::new(alone));
        let mut own = Ready::new();
        other.push(event, &mut own)?;
        ready.extend(of_other(index, own));
        Ok(())
    }

    /// Ends the other answers, of which there must be as many as were asked for.
    fn end_others(&mut self, ready: &mut Ready) -> Result<(), UpstreamError> {
        if self.others.len() != self.reply_to.alternatives as usize {
            return Err(UpstreamError::bad_reply("it has fewer answers than were asked for"));
        }
        for (index, other) in &mut self.others {
            let mut own = Ready::new();
            other.end(&mut own)?;
            ready.extend(of_other(*index, own));
        }
        Ok(())
    }

    fn end(&mut self, ready: &mut Ready) -> Result<(), UpstreamError> {
        let Some(reason) = self.finish else {
            return Err(UpstreamError::bad_reply("it ended before it was finished"));
        };
        if self.calls.iter().any(|call| !call.announced) {
            return Err(UpstreamError::bad_reply("a tool call has no name"));
        }
        for (index, _) in (0..).zip(&self.calls).filter(|(_, call)| !call.has_arguments) {
            let arguments = "{}".to_owned();
            ready.push_back(Ok(Event::ToolCall {
                index,
                id: None,
                name: None,
                arguments,
                extra_content: None,
            }));
        }
        self.end_others(ready)?;
        let reason = match (reason, self.calls.is_empty()) {
            (FinishReason::Stop, false) => FinishReason::ToolCalls,
            (FinishReason::ToolCalls, true) => FinishReason::Stop,
            (reason, _) => reason,
        };
        ready.push_back(Ok(Event::Finish(reason)));
        ready.push_back(Ok(Event::Usage(self.usage())));
        Ok(())
    }

    /// A connection that breaks after the reply was finished harms nobody.
    fn end_with(&mut self, error: UpstreamError, ready: &mut Ready) -> Result<(), UpstreamError> {
        use UpstreamErrorKind::{BadReply, TimedOut, Unreachable};
        let finished = self.finish.is_some() && self.others.values().all(|other| other.finish.is_some());
        if finished && matches!(error.kind, BadReply | TimedOut | Unreachable) {
            return self.end(ready);
        }
        Err(error)
    }

    fn count(&mut self, text: &str) {
        self.chars = self.chars.saturating_add(text.chars().count() as u64);
    }

    fn usage(&self) -> Usage {
        let all = self.others.values().map(|other| other.chars).fold(self.chars, u64::saturating_add);
        let seen = all.div_ceil(super::tokens::CHARS_PER_TOKEN);
        let most = self.reply_to.completion_tokens_max.unwrap_or(u64::MAX);
        let seen = seen.min(most.saturating_mul(u64::from(self.reply_to.alternatives) + 1));
        match self.usage {
            Some(usage) if self.finish.is_some() || seen <= usage.completion_tokens => usage,
            // Said at the start, when there was nothing to count.
            Some(usage) => Usage { completion_tokens: seen, estimated: true, ..usage },
            None => Usage {
                prompt_tokens: self.reply_to.prompt_tokens,
                completion_tokens: seen,
                estimated: true,
                ..Usage::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn call(index: u32, id: &str, name: &str, arguments: &str) -> Event {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let arguments = arguments.to_owned();
        Event::ToolCall { index, id: some(id), name: some(name), arguments, extra_content: None }
    }

    async fn ordered(raw: Vec<Result<Event, UpstreamError>>) -> String {
        let reply_to =
            ReplyTo { prompt_tokens: 9, completion_tokens_max: Some(2), messages: 3, ..ReplyTo::default() };
        let events = EventStream::new(stream::iter(raw), reply_to);
        let lines = events.map(|item| match item {
            Ok(event) => event.to_guest_json(),
            Err(error) => format!("error: {error}"),
        });
        lines.collect::<Vec<_>>().await.join("\n")
    }

    #[tokio::test]
    async fn calls_are_renumbered_named_once_and_never_without_arguments() {
        let raw = [
            Event::Finish(FinishReason::Stop),
            Event::Text(String::new()),
            call(5, "a", "", ""),
            call(5, "b", "first", "{\"x\""),
            call(9, "", "second", ""),
            call(5, "c", "again", ":1}"),
            call(2, "a", "third", "{}"),
        ];
        insta::assert_snapshot!(ordered(raw.map(Ok).into()).await, @r##"
        {"arguments":"{\"x\"","id":"a","index":0,"name":"first","type":"tool_call"}
        {"arguments":"","id":"call_3_1","index":1,"name":"second","type":"tool_call"}
        {"arguments":":1}","index":0,"type":"tool_call"}
        {"arguments":"{}","id":"call_3_2","index":2,"name":"third","type":"tool_call"}
        {"arguments":"{}","index":1,"type":"tool_call"}
        {"reason":"tool_calls","type":"finish"}
        {"cached_tokens":0,"completion_tokens":2,"estimated":true,"prompt_tokens":9,"reasoning_tokens":0,"type":"usage"}
        "##);
    }

    #[test]
    fn an_id_we_made_is_known_again() {
        assert!(is_made_up("call_3_1"));
        for theirs in ["call_abc123", "toolu_01", "call_3_", "call_demo_1_0", ""] {
            assert!(!is_made_up(theirs), "{theirs}");
        }
    }

    #[tokio::test]
    async fn the_last_word_on_usage_counts_and_an_empty_one_does_not() {
        let usage =
            |tokens| Event::Usage(Usage { completion_tokens: tokens, prompt_tokens: 1, ..Usage::default() });
        let zero = Event::Usage(Usage::default());
        let raw =
            [usage(1), Event::Text("hi".into()), usage(4), zero, Event::Finish(FinishReason::ToolCalls)];
        insta::assert_snapshot!(ordered(raw.map(Ok).into()).await, @r##"
        {"text":"hi","type":"text"}
        {"reason":"stop","type":"finish"}
        {"cached_tokens":0,"completion_tokens":4,"estimated":false,"prompt_tokens":1,"reasoning_tokens":0,"type":"usage"}
        "##);
    }

    #[tokio::test]
    async fn a_reply_that_breaks_off_is_an_error_unless_it_was_finished() {
        let broken = || Err(UpstreamError::new(UpstreamErrorKind::Unreachable));
        let text = || Ok(Event::Text("a longer text than it may be".into()));
        insta::assert_snapshot!(ordered(vec![text()]).await, @r##"
        {"text":"a longer text than it may be","type":"text"}
        error: The model provider's reply could not be read to its end: it ended before it was finished.
        "##);
        insta::assert_snapshot!(ordered(vec![text(), broken()]).await, @r##"
        {"text":"a longer text than it may be","type":"text"}
        error: The model provider could not be reached.
        "##);
        insta::assert_snapshot!(ordered(vec![text(), Ok(Event::Finish(FinishReason::Stop)), broken()]).await, @r##"
        {"text":"a longer text than it may be","type":"text"}
        {"reason":"stop","type":"finish"}
        {"cached_tokens":0,"completion_tokens":2,"estimated":true,"prompt_tokens":9,"reasoning_tokens":0,"type":"usage"}
        "##);
    }

    #[tokio::test]
    async fn what_a_provider_says_at_the_start_is_not_taken_for_all_that_was_written() {
        let early = Event::Usage(Usage { prompt_tokens: 40, completion_tokens: 1, ..Usage::default() });
        let text = Event::Text("a text of twenty-four ch".into());
        let raw = stream::iter([Ok(early), Ok(text)]).chain(stream::pending());
        let events = EventStream::new(raw, ReplyTo::default()).wait_for_first().await.expect("a first event");
        let usage = events.usage_so_far();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.estimated), (40, 6, true));
    }

    #[tokio::test]
    async fn what_was_seen_of_a_dropped_reply_is_known() {
        let raw = stream::iter([Ok(Event::Text("twelve chars".into()))]).chain(stream::pending());
        let reply_to = ReplyTo { prompt_tokens: 5, ..ReplyTo::default() };
        let events = EventStream::new(raw, reply_to).wait_for_first().await.expect("a first event");
        let usage = events.usage_so_far();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.estimated), (5, 3, true));
    }
}
