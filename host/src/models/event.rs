//! What a model says, in one vocabulary for every provider.
//!
//! A decoder turns a provider's reply into [`Event`]s, [`EventStream`](super::EventStream) puts them in
//! order, and encoders turn them into what a client or a guest reads. Nothing else knows a wire format.
//! Deliberately absent: audio; a request that asks for it is refused instead of answered with less.

use super::Thought;
use serde_json::{Value, json};

/// One step of a reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A piece of the answer.
    Text(String),
    /// A piece of what the model thought before it answered.
    Reasoning(String),
    /// The end of a stretch of thinking: what its provider wants back with the conversation. The words of it
    /// came before, as [`Event::Reasoning`], as far as the provider shows them.
    Thought(Thought),
    /// A piece of why the model will not answer, from a provider that keeps it apart from the text.
    Refusal(String),
    /// How likely the tokens of the next piece were, for a request that asked: in OpenAI's chat words.
    Logprobs {
        /// Each with its `token`, `logprob`, `bytes` and `top_logprobs`.
        tokens: Vec<Value>,
        /// Whether they are of a refusal.
        of_refusal: bool,
    },
    /// Something of another answer to the same request, for one that asked for several.
    Alternative {
        /// Which: 1, 2, …; the first answer's events stand by themselves.
        index: u32,
        /// Never one of these, and never the usage, which all share.
        event: Box<Event>,
    },
    /// A piece of a tool call.
    ToolCall {
        /// Which call of this reply: 0, 1, 2, …
        index: u32,
        /// In the first piece of a call, and only there.
        id: Option<String>,
        /// In the first piece of a call, and only there.
        name: Option<String>,
        /// A fragment of JSON text; the fragments of a call, joined, are its arguments.
        arguments: String,
        /// What the provider wants back, unread, with the call (Gemini's thought signatures).
        extra_content: Option<Value>,
    },
    /// The reply is complete. No text, reasoning or tool call follows.
    Finish(FinishReason),
    /// What the reply used, in total; once, after [`Event::Finish`].
    Usage(Usage),
}

/// Probabilities as OpenAI's chat dialect has them, from those of either of its dialects; what is none is left out.
pub(super) fn logprobs(items: &[Value]) -> Vec<Value> {
    let one = |item: &Value| {
        let (token, logprob) = (item.get("token")?.as_str()?, item.get("logprob")?.as_f64()?);
        Some(json!({ "token": token, "logprob": logprob, "bytes": item.get("bytes") }))
    };
    let whole = |item: &Value| {
        let mut all = one(item)?;
        let top = item.get("top_logprobs").and_then(Value::as_array).into_iter().flatten();
        all["top_logprobs"] = top.filter_map(one).collect();
        Some(all)
    };
    items.iter().filter_map(whole).collect()
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
}

impl FinishReason {
    /// The word of the OpenAI dialect.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }
}

/// Tokens used by one reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Everything the model read, the cached part included.
    pub prompt_tokens: u64,
    /// Everything the model wrote, reasoning included.
    pub completion_tokens: u64,
    /// The part of `prompt_tokens` that came from the provider's cache.
    pub cached_tokens: u64,
    /// The part of `prompt_tokens` that was written to the provider's cache, which some charge more for.
    pub cache_write_tokens: u64,
    /// The part of `completion_tokens` that was reasoning.
    pub reasoning_tokens: u64,
    /// The provider did not say; the numbers are our own rough count.
    pub estimated: bool,
}

impl Usage {
    /// All tokens, read and written.
    pub fn total_tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }

    /// This and another reply's.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self.completion_tokens.saturating_add(other.completion_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
            estimated: self.estimated || other.estimated,
        }
    }

    /// The `usage` object of the OpenAI dialect.
    pub fn to_openai_json(&self) -> Value {
        let mut usage = json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens(),
            "prompt_tokens_details": { "cached_tokens": self.cached_tokens },
            "completion_tokens_details": { "reasoning_tokens": self.reasoning_tokens },
        });
        if self.cache_write_tokens > 0 {
            usage["prompt_tokens_details"]["cache_write_tokens"] = json!(self.cache_write_tokens);
        }
        usage
    }
}

impl Event {
    /// The event as a guest reads it: see `interface model` in `wit/host/types.wit`. A guest knows no
    /// refusals, they are text to it, and passes over thoughts: see [`ForGuest`](super::thought::ForGuest).
    pub fn to_guest_json(&self) -> String {
        let value = match self {
            Self::Text(text) | Self::Refusal(text) => json!({ "type": "text", "text": text }),
            Self::Thought(thought) => json!({ "type": "thought", "detail": thought.to_detail() }),
            // Of requests that guests cannot make.
            Self::Logprobs { .. } => json!({ "type": "logprobs" }),
            Self::Alternative { .. } => json!({ "type": "alternative" }),
            Self::Reasoning(text) => json!({ "type": "reasoning", "text": text }),
            Self::ToolCall { index, id, name, arguments, extra_content } => {
                let mut value = json!({ "type": "tool_call", "index": index });
                if let Some(id) = id {
                    value["id"] = json!(id);
                }
                if let Some(name) = name {
                    value["name"] = json!(name);
                }
                value["arguments"] = json!(arguments);
                if let Some(extra) = extra_content {
                    value["extra_content"] = extra.clone();
                }
                value
            }
            Self::Finish(reason) => json!({ "type": "finish", "reason": reason.as_str() }),
            Self::Usage(usage) => {
                let mut value = json!({
                    "type": "usage",
                    "prompt_tokens": usage.prompt_tokens,
                    "completion_tokens": usage.completion_tokens,
                    "cached_tokens": usage.cached_tokens,
                    "reasoning_tokens": usage.reasoning_tokens,
                    "estimated": usage.estimated,
                });
                if usage.cache_write_tokens > 0 {
                    value["cache_write_tokens"] = json!(usage.cache_write_tokens);
                }
                value
            }
        };
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_reads_the_events_the_contract_documents() {
        let call = |id: Option<&str>, arguments: &str| Event::ToolCall {
            index: 0,
            id: id.map(String::from),
            name: id.map(|_| "add".into()),
            arguments: arguments.into(),
            extra_content: None,
        };
        let events = [
            Event::Text("hi".into()),
            Event::Reasoning("hm".into()),
            call(Some("c1"), "{\"a\""),
            call(None, ":1}"),
            Event::Finish(FinishReason::ToolCalls),
            Event::Usage(Usage { prompt_tokens: 3, completion_tokens: 2, ..Usage::default() }),
        ];
        let lines: Vec<String> = events.iter().map(Event::to_guest_json).collect();
        insta::assert_snapshot!(lines.join("\n"), @r##"
        {"text":"hi","type":"text"}
        {"text":"hm","type":"reasoning"}
        {"arguments":"{\"a\"","id":"c1","index":0,"name":"add","type":"tool_call"}
        {"arguments":":1}","index":0,"type":"tool_call"}
        {"reason":"tool_calls","type":"finish"}
        {"cached_tokens":0,"completion_tokens":2,"estimated":false,"prompt_tokens":3,"reasoning_tokens":0,"type":"usage"}
        "##);
    }
}
