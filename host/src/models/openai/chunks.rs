//! Events into what an OpenAI client reads: chunks of a stream, or one whole completion.
//!
//! Time and ids come from the caller. The rules here are those that client libraries break on; each is in a
//! test below.

use super::request::{Content, Message, RequestError, Role, ToolCall};
use crate::models::thought::DETAILS;
use crate::models::{Event, FinishReason, UpstreamError, Usage};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What to send when a stream was silent for a while. Some hand-written clients break on comments, so not
/// sooner than [`KEEP_ALIVE_AFTER_MS`].
pub const KEEP_ALIVE: &str = ": keep-alive\n\n";
/// Silence before a keep-alive: under the 30 s after which common proxies hang up.
pub const KEEP_ALIVE_AFTER_MS: u64 = 15_000;

/// What all chunks of an answer share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// `chatcmpl-…`
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The model as the client named it.
    pub model: String,
}

/// The error object of the OpenAI dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody {
    pub message: String,
    /// The `type` field.
    pub kind: String,
    pub param: Option<String>,
    pub code: Option<String>,
}

impl ErrorBody {
    /// `{"error": {…}}`
    pub fn to_value(&self) -> Value {
        json!({ "error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        } })
    }
}

impl From<&UpstreamError> for ErrorBody {
    fn from(error: &UpstreamError) -> Self {
        Self {
            message: error.message.clone(),
            kind: error.openai_type().into(),
            param: error.param.clone(),
            code: Some(error.code.clone()),
        }
    }
}

impl From<&RequestError> for ErrorBody {
    fn from(error: &RequestError) -> Self {
        Self {
            message: error.message.clone(),
            kind: "invalid_request_error".into(),
            param: error.param.clone(),
            code: Some(error.code.into()),
        }
    }
}

/// How likely the tokens of an answer were.
#[derive(Debug, Default)]
struct Logprobs {
    content: Vec<Value>,
    refusal: Vec<Value>,
}

impl Logprobs {
    fn add(&mut self, tokens: &[Value], of_refusal: bool) {
        if of_refusal { &mut self.refusal } else { &mut self.content }.extend_from_slice(tokens);
    }

    /// Null for a list without any: what was not asked for is not there.
    fn to_value(&self) -> Value {
        let list = |tokens: &[Value]| if tokens.is_empty() { Value::Null } else { json!(tokens) };
        if self.content.is_empty() && self.refusal.is_empty() {
            return Value::Null;
        }
        json!({ "content": list(&self.content), "refusal": list(&self.refusal) })
    }
}

/// Writes a streamed answer as server-sent events.
#[derive(Debug)]
pub struct ChunkEncoder {
    head: Head,
    include_usage: bool,
    /// The answers that began.
    started: BTreeSet<u32>,
    /// Of words that are still to come, by answer.
    logprobs: BTreeMap<u32, Logprobs>,
    finished: bool,
    ended: bool,
    usage: Option<Usage>,
}

impl ChunkEncoder {
    pub fn new(head: Head, include_usage: bool) -> Self {
        Self {
            head,
            include_usage,
            started: BTreeSet::new(),
            logprobs: BTreeMap::new(),
            finished: false,
            ended: false,
            usage: None,
        }
    }

    /// The frames for one event; may be none. Nothing is written after the end.
    pub fn event(&mut self, event: &Event) -> String {
        let mut out = String::new();
        match event {
            Event::Usage(usage) => self.usage = Some(*usage),
            _ if self.finished || self.ended => {}
            Event::Alternative { index, event } => self.say(*index, event, &mut out),
            event => {
                self.say(0, event, &mut out);
                self.finished = matches!(event, Event::Finish(_));
            }
        }
        out
    }

    fn say(&mut self, choice: u32, event: &Event, out: &mut String) {
        let delta = match event {
            Event::Text(text) => json!({ "content": text }),
            Event::Reasoning(text) => json!({ "reasoning_content": text }),
            Event::Refusal(text) => json!({ "refusal": text }),
            Event::Thought(thought) => json!({ (DETAILS): [thought.to_detail()] }),
            Event::ToolCall { index, id, name, arguments, extra_content } => {
                let call =
                    call_delta(*index, id.as_deref(), name.as_deref(), arguments, extra_content.as_ref());
                json!({ "tool_calls": [call] })
            }
            Event::Finish(_) => json!({}),
            Event::Logprobs { tokens, of_refusal } => {
                self.logprobs.entry(choice).or_default().add(tokens, *of_refusal);
                return; // they go with the words they are of
            }
            Event::Alternative { .. } | Event::Usage(_) => return,
        };
        if self.started.insert(choice) {
            self.write_choice(out, choice, json!({ "role": "assistant" }), None, None);
        }
        let reason = match event {
            Event::Finish(reason) => Some(*reason),
            _ => None,
        };
        let logprobs = match event {
            Event::Text(_) | Event::Refusal(_) | Event::Finish(_) => self.logprobs.remove(&choice),
            _ => None,
        };
        self.write_choice(out, choice, delta, reason, logprobs);
    }

    /// The end of the answer: usage where it was asked for, then `[DONE]`. An answer that never finished is
    /// an error, not a success.
    pub fn done(&mut self) -> String {
        if !self.finished {
            return self
                .error(&ErrorBody::from(&UpstreamError::bad_reply("it ended before it was finished")));
        }
        let mut out = String::new();
        if !std::mem::replace(&mut self.ended, true) {
            if self.include_usage {
                let usage = self.usage.unwrap_or_default().to_openai_json();
                self.write(&mut out, json!([]), usage);
            }
            out.push_str("data: [DONE]\n\n");
        }
        out
    }

    /// The end of an answer that failed half-way: the error, and no `[DONE]`.
    pub fn error(&mut self, error: &ErrorBody) -> String {
        if std::mem::replace(&mut self.ended, true) {
            return String::new();
        }
        format!("data: {}\n\n", error.to_value())
    }

    fn write_choice(
        &self,
        out: &mut String,
        index: u32,
        delta: Value,
        reason: Option<FinishReason>,
        logprobs: Option<Logprobs>,
    ) {
        let reason = reason.map(FinishReason::as_str);
        let mut choice = json!({ "index": index, "delta": delta, "finish_reason": reason });
        if let Some(logprobs) = logprobs {
            choice["logprobs"] = logprobs.to_value();
        }
        self.write(out, json!([choice]), Value::Null);
    }

    fn write(&self, out: &mut String, choices: Value, usage: Value) {
        let mut chunk = json!({
            "id": self.head.id,
            "object": "chat.completion.chunk",
            "created": self.head.created,
            "model": self.head.model,
            "choices": choices,
        });
        if self.include_usage {
            chunk["usage"] = usage;
        }
        write!(out, "data: {chunk}\n\n").expect("writing to a String does not fail");
    }
}

fn call_delta(
    index: u32,
    id: Option<&str>,
    name: Option<&str>,
    arguments: &str,
    extra_content: Option<&Value>,
) -> Value {
    let mut function = Map::new();
    let mut call = Map::from_iter([("index".to_owned(), json!(index))]);
    if let Some(id) = id {
        call.insert("id".into(), json!(id));
        call.insert("type".into(), json!("function"));
    }
    if let Some(name) = name {
        function.insert("name".into(), json!(name));
    }
    function.insert("arguments".into(), json!(arguments));
    call.insert("function".into(), Value::Object(function));
    if let Some(extra) = extra_content {
        call.insert("extra_content".into(), extra.clone());
    }
    Value::Object(call)
}

/// Gathers events into a whole answer: a completion for a client, or a message for the next turn.
#[derive(Debug, Default)]
pub struct CompletionBuilder {
    text: String,
    reasoning: String,
    refusal: String,
    thoughts: Vec<Value>,
    tool_calls: Vec<ToolCall>,
    logprobs: Logprobs,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
    /// The other answers, by their number.
    others: BTreeMap<u32, CompletionBuilder>,
}

impl CompletionBuilder {
    pub fn push(&mut self, event: &Event) {
        match event {
            Event::Text(text) => self.text.push_str(text),
            Event::Reasoning(text) => self.reasoning.push_str(text),
            Event::Refusal(text) => self.refusal.push_str(text),
            Event::Thought(thought) => self.thoughts.push(thought.to_detail()),
            Event::ToolCall { index, id, name, arguments, extra_content } => {
                let index = *index as usize;
                if index == self.tool_calls.len() {
                    let extra = extra_content.clone().map(|extra| ("extra_content".to_owned(), extra));
                    self.tool_calls.push(ToolCall {
                        id: id.clone().unwrap_or_default(),
                        name: name.clone().unwrap_or_default(),
                        arguments: arguments.clone(),
                        rest: extra.into_iter().collect(),
                    });
                } else if let Some(call) = self.tool_calls.get_mut(index) {
                    call.arguments.push_str(arguments);
                }
            }
            Event::Logprobs { tokens, of_refusal } => self.logprobs.add(tokens, *of_refusal),
            Event::Alternative { index, event } => self.others.entry(*index).or_default().push(event),
            Event::Finish(reason) => self.finish = Some(*reason),
            Event::Usage(usage) => self.usage = Some(*usage),
        }
    }

    pub fn tool_calls(&self) -> &[ToolCall] {
        &self.tool_calls
    }

    /// None until the reply finished.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// The answer as a message of the conversation.
    pub fn message(&self) -> Message {
        let mut rest = Map::new();
        if !self.reasoning.is_empty() {
            rest.insert("reasoning_content".into(), json!(self.reasoning));
        }
        if !self.thoughts.is_empty() {
            rest.insert(DETAILS.into(), json!(self.thoughts));
        }
        if !self.refusal.is_empty() {
            rest.insert("refusal".into(), json!(self.refusal));
        }
        let says_otherwise = !self.tool_calls.is_empty() || !self.refusal.is_empty();
        let content = (!self.text.is_empty() || !says_otherwise).then(|| Content::Text(self.text.clone()));
        Message {
            role: Role::Assistant,
            content,
            tool_calls: self.tool_calls.clone(),
            tool_call_id: None,
            rest,
        }
    }

    /// The answer as a `chat.completion`; None while it has not finished.
    pub fn completion(&self, head: &Head) -> Option<Value> {
        let others = self.others.iter().map(|(index, other)| other.choice(*index));
        let choices = std::iter::once(self.choice(0)).chain(others).collect::<Option<Vec<_>>>()?;
        Some(json!({
            "id": head.id,
            "object": "chat.completion",
            "created": head.created,
            "model": head.model,
            "choices": choices,
            "usage": self.usage.unwrap_or_default().to_openai_json(),
        }))
    }

    /// The answer as one of several; None while it has not finished.
    fn choice(&self, index: u32) -> Option<Value> {
        let reason = self.finish?.as_str();
        let mut message = self.message().to_value();
        if self.tool_calls.is_empty() {
            message["tool_calls"] = Value::Null;
        }
        Some(json!({
            "index": index,
            "message": message,
            "logprobs": self.logprobs.to_value(),
            "finish_reason": reason,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head { id: "chatcmpl-1".into(), created: 1_737_475_200, model: "demo/assistant".into() }
    }

    fn call(index: u32, id: Option<&str>, arguments: &str) -> Event {
        Event::ToolCall {
            index,
            id: id.map(String::from),
            name: id.map(|_| "add".into()),
            arguments: arguments.into(),
            extra_content: None,
        }
    }

    fn conversation() -> Vec<Event> {
        vec![
            Event::Reasoning("hm".into()),
            Event::Text("Let me ".into()),
            Event::Text("see".into()),
            call(0, Some("c0"), ""),
            call(0, None, "{\"a\":"),
            call(1, Some("c1"), "{}"),
            call(0, None, "1}"),
            Event::Finish(FinishReason::ToolCalls),
            Event::Usage(Usage {
                prompt_tokens: 5,
                completion_tokens: 7,
                cached_tokens: 2,
                ..Usage::default()
            }),
        ]
    }

    fn streamed(events: &[Event], include_usage: bool) -> String {
        let mut encoder = ChunkEncoder::new(head(), include_usage);
        let mut out: String = events.iter().map(|event| encoder.event(event)).collect();
        out.push_str(&encoder.done());
        out
    }

    #[test]
    fn a_stream_is_role_content_calls_finish_and_done() {
        insta::assert_snapshot!(streamed(&conversation(), false), @r##"
        data: {"choices":[{"delta":{"role":"assistant"},"finish_reason":null,"index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk"}

        data: {"choices":[{"delta":{"reasoning_content":"hm"},"finish_reason":null,"index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk"}

        data: {"choices":[{"delta":{"content":"Let me "},"finish_reason":null,"index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk"}

        data: {"choices":[{"delta":{"content":"see"},"finish_reason":null,"index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk"}

        data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"","name":"add"},"id":"c0","index":0,"type":"function"}]},"finish_reason":null,"index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk"}

        data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{\"a\":"},"index":0}]},"finish_reason":null,"index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk"}

        data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{}","name":"add"},"id":"c1","index":1,"type":"function"}]},"finish_reason":null,"index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk"}

        data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"1}"},"index":0}]},"finish_reason":null,"index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk"}

        data: {"choices":[{"delta":{},"finish_reason":"tool_calls","index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk"}

        data: [DONE]
        "##);
    }

    #[test]
    fn usage_comes_last_where_it_was_asked_for_and_is_null_elsewhere() {
        let events = [
            Event::Text("hi".into()),
            Event::Finish(FinishReason::Stop),
            Event::Usage(Usage { prompt_tokens: 5, completion_tokens: 7, ..Usage::default() }),
        ];
        insta::assert_snapshot!(streamed(&events, true), @r##"
        data: {"choices":[{"delta":{"role":"assistant"},"finish_reason":null,"index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk","usage":null}

        data: {"choices":[{"delta":{"content":"hi"},"finish_reason":null,"index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk","usage":null}

        data: {"choices":[{"delta":{},"finish_reason":"stop","index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk","usage":null}

        data: {"choices":[],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk","usage":{"completion_tokens":7,"completion_tokens_details":{"reasoning_tokens":0},"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":0},"total_tokens":12}}

        data: [DONE]
        "##);
    }

    #[test]
    fn a_failure_half_way_is_an_error_chunk_without_done() {
        let mut encoder = ChunkEncoder::new(head(), true);
        let mut out = encoder.event(&Event::Text("hi".into()));
        out += &encoder.error(&ErrorBody::from(&UpstreamError::bad_reply("the connection broke")));
        out += &encoder.event(&Event::Text("more".into()));
        out += &encoder.done();
        insta::assert_snapshot!(out, @r##"
        data: {"choices":[{"delta":{"role":"assistant"},"finish_reason":null,"index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk","usage":null}

        data: {"choices":[{"delta":{"content":"hi"},"finish_reason":null,"index":0}],"created":1737475200,"id":"chatcmpl-1","model":"demo/assistant","object":"chat.completion.chunk","usage":null}

        data: {"error":{"code":"provider_bad_reply","message":"The model provider's reply could not be read to its end: the connection broke.","param":null,"type":"upstream_error"}}
        "##);
    }

    #[test]
    fn an_answer_that_never_finished_does_not_end_in_done() {
        let out = streamed(&[Event::Text("hi".into())], false);
        assert!(!out.contains("[DONE]") && out.contains("provider_bad_reply"), "{out}");
    }

    #[test]
    fn the_whole_answer_has_text_arguments_and_usage() {
        let mut builder = CompletionBuilder::default();
        conversation().iter().for_each(|event| builder.push(event));
        let completion = builder.completion(&head()).expect("it finished");
        insta::assert_snapshot!(serde_json::to_string_pretty(&completion).unwrap(), @r##"
        {
          "choices": [
            {
              "finish_reason": "tool_calls",
              "index": 0,
              "logprobs": null,
              "message": {
                "content": "Let me see",
                "reasoning_content": "hm",
                "role": "assistant",
                "tool_calls": [
                  {
                    "function": {
                      "arguments": "{\"a\":1}",
                      "name": "add"
                    },
                    "id": "c0",
                    "type": "function"
                  },
                  {
                    "function": {
                      "arguments": "{}",
                      "name": "add"
                    },
                    "id": "c1",
                    "type": "function"
                  }
                ]
              }
            }
          ],
          "created": 1737475200,
          "id": "chatcmpl-1",
          "model": "demo/assistant",
          "object": "chat.completion",
          "usage": {
            "completion_tokens": 7,
            "completion_tokens_details": {
              "reasoning_tokens": 0
            },
            "prompt_tokens": 5,
            "prompt_tokens_details": {
              "cached_tokens": 2
            },
            "total_tokens": 12
          }
        }
        "##);
    }

    #[test]
    fn an_empty_answer_has_empty_content_and_an_unfinished_one_is_none() {
        let mut builder = CompletionBuilder::default();
        assert_eq!(builder.completion(&head()), None);
        builder.push(&Event::Finish(FinishReason::Stop));
        let message = builder.completion(&head()).expect("it finished")["choices"][0]["message"].clone();
        assert_eq!(message, json!({ "role": "assistant", "content": "", "tool_calls": null }));
    }

    #[test]
    fn a_signature_reaches_the_client_and_the_next_turn() {
        let extra = json!({ "google": { "thought_signature": "sig" } });
        let event = Event::ToolCall {
            index: 0,
            id: Some("c0".into()),
            name: Some("add".into()),
            arguments: "{}".into(),
            extra_content: Some(extra.clone()),
        };
        let mut builder = CompletionBuilder::default();
        builder.push(&event);
        assert_eq!(builder.message().to_value()["tool_calls"][0]["extra_content"], extra);
        assert!(ChunkEncoder::new(head(), false).event(&event).contains("thought_signature"));
    }
}
