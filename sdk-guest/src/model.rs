//! Models, through the app's gateway: its keys, its budget, its ledger. Errors
//! from here are [`Error::Model`].
//!
//! ```
//! use opg_guest::*;
//!
//! let _host = testing::Host::new().model(Ok("A short answer.")).start();
//! let mut answer = String::new();
//! for event in model::complete(&json!({"model": "demo/echo", "messages": []}))? {
//!     if let model::Event::Text(piece) = event? {
//!         answer.push_str(&piece);
//!     }
//! }
//! assert_eq!(answer, "A short answer.");
//! # Ok::<(), Error>(())
//! ```

use serde::{Deserialize, Serialize};

use crate::host::model as host;
use crate::{Error, FinishReason};

/// Starts one model call. `request` serializes to an OpenAI chat request with
/// `model` (`provider/model`) and `messages`; the answer always streams.
pub fn complete(request: &impl Serialize) -> Result<Completion, Error> {
    let request = serde_json::to_string(request)?;
    Ok(Completion { inner: host::complete(&request).map_err(Error::from_model)?, ended: false })
}

/// An answer in the making: an iterator of [`Event`]. Dropping it cancels the
/// upstream call. It ends with the last event or the first error.
pub struct Completion {
    inner: host::Completion,
    ended: bool,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A piece of the text.
    Text(String),
    /// A piece of the model's thoughts.
    Reasoning(String),
    /// A piece of a tool call; pieces with the same index belong together.
    ToolCall(ToolCallFragment),
    /// Why the answer ended; none for a word we do not know.
    Finish(Option<FinishReason>),
    /// What it cost in tokens.
    Usage {
        /// Tokens read.
        prompt_tokens: u64,
        /// Tokens written.
        completion_tokens: u64,
    },
}

/// A piece of a tool call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ToolCallFragment {
    /// Which call of this answer it belongs to.
    pub index: u32,
    /// The call's id, in its first piece.
    #[serde(default)]
    pub id: Option<String>,
    /// The tool's name, in its first piece.
    #[serde(default)]
    pub name: Option<String>,
    /// A piece of the JSON text of the input.
    #[serde(default)]
    pub arguments: String,
    /// What the provider wants back with the call, unread: put it into the
    /// call's `extra_content` of the assistant message.
    #[serde(default)]
    pub extra_content: Option<serde_json::Value>,
}

impl Event {
    /// From the host's JSON; none for a type we do not know.
    fn parse(json: &str) -> Result<Option<Self>, Error> {
        let wire = serde_json::from_str(json).map_err(|error| {
            Error::failed(format_args!("the host sent an event that cannot be read: {error}"))
        })?;
        Ok(Some(match wire {
            Wire::Text { text } => Self::Text(text),
            Wire::Reasoning { text } => Self::Reasoning(text),
            Wire::ToolCall(fragment) => Self::ToolCall(fragment),
            Wire::Finish { reason } => Self::Finish(FinishReason::parse(&reason)),
            Wire::Usage { prompt_tokens, completion_tokens } => {
                Self::Usage { prompt_tokens, completion_tokens }
            }
            Wire::Unknown => return Ok(None),
        }))
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Wire {
    Text {
        text: String,
    },
    Reasoning {
        text: String,
    },
    ToolCall(ToolCallFragment),
    Finish {
        reason: String,
    },
    Usage {
        #[serde(default)]
        prompt_tokens: u64,
        #[serde(default)]
        completion_tokens: u64,
    },
    #[serde(other)]
    Unknown,
}

impl Iterator for Completion {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let event = match self.inner.next() {
                Ok(Some(json)) => Event::parse(&json),
                Ok(None) => break,
                Err(error) => Err(Error::from_model(error)),
            };
            self.ended = event.is_err();
            if let Some(event) = event.transpose() {
                return Some(event);
            }
        }
        self.ended = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_the_contract_is_read() {
        let call = |id: Option<&str>, name: Option<&str>, arguments: &str| {
            Event::ToolCall(ToolCallFragment {
                index: 1,
                id: id.map(Into::into),
                name: name.map(Into::into),
                arguments: arguments.into(),
                extra_content: None,
            })
        };
        let signed = Event::ToolCall(ToolCallFragment {
            index: 0,
            extra_content: Some(serde_json::json!({"google": {"thought_signature": "s"}})),
            ..ToolCallFragment::default()
        });
        let cases = [
            (r#"{"type":"text","text":"hi"}"#, Event::Text("hi".into())),
            (r#"{"type":"reasoning","text":"hm"}"#, Event::Reasoning("hm".into())),
            (
                r#"{"type":"tool_call","index":1,"id":"c","name":"n","arguments":"{"}"#,
                call(Some("c"), Some("n"), "{"),
            ),
            (r#"{"type":"tool_call","index":1,"arguments":"}"}"#, call(None, None, "}")),
            (
                r#"{"type":"tool_call","index":0,"arguments":"","extra_content":{"google":{"thought_signature":"s"}}}"#,
                signed,
            ),
            (r#"{"type":"finish","reason":"length"}"#, Event::Finish(Some(FinishReason::Length))),
            (r#"{"type":"finish","reason":"bored"}"#, Event::Finish(None)),
            (
                r#"{"type":"usage","prompt_tokens":1,"completion_tokens":2,"more":3}"#,
                Event::Usage { prompt_tokens: 1, completion_tokens: 2 },
            ),
        ];
        for (json, event) in cases {
            assert_eq!(Event::parse(json), Ok(Some(event)), "{json}");
        }
    }

    #[test]
    fn an_event_of_a_type_from_the_future_is_passed_over() {
        assert_eq!(Event::parse(r#"{"type":"image","data":{"x":[1]}}"#), Ok(None));
    }

    #[test]
    fn an_event_that_is_no_event_is_an_error() {
        for json in ["", "[]", r#"{"text":"hi"}"#, r#"{"type":"text"}"#] {
            assert!(Event::parse(json).is_err(), "{json}");
        }
    }
}
