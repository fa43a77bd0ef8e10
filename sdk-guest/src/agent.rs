//! From a Rust function to what the host calls of an agent: the JSON in a
//! turn is read here once, the outcome written.

use serde_json::{Map, Value};

use crate::bindings::agent::exports::opg::agent::agent as export;
use crate::{Capability, Context, Error};

/// One user message to its final answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// The model to ask, `provider/model`.
    pub model: String,
    /// The instructions of a markdown agent, to stand before the messages.
    pub instructions: Option<String>,
    /// The conversation so far as OpenAI chat messages, the user's last.
    pub messages: Vec<Value>,
    /// Other fields of the chat request, to be passed to the model.
    pub options: Map<String, Value>,
    /// Tools the client runs, in OpenAI's shape. A call of one ends the turn.
    pub client_tools: Vec<Value>,
    /// How many model calls the turn may take.
    pub max_steps: u32,
    /// What is known of the call from outside.
    pub context: Context,
}

/// How the turn ended. The text itself went out through [`crate::events`].
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// The messages this turn added, in order, as OpenAI chat messages.
    pub messages: Vec<Value>,
}

/// Why a turn or a model's answer ended, in OpenAI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The answer is complete.
    Stop,
    /// A limit was reached.
    Length,
    /// Tools are to be called.
    ToolCalls,
    /// The provider withheld the rest.
    ContentFilter,
}

impl FinishReason {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }

    /// From the wire; none for a word we do not know.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Stop, Self::Length, Self::ToolCalls, Self::ContentFilter]
            .into_iter()
            .find(|reason| reason.as_str() == text)
    }
}

pub fn definition(description: &str, capabilities: &[Capability]) -> export::Definition {
    export::Definition {
        description: description.to_owned(),
        capabilities: capabilities.iter().copied().map(Capability::to_wit).collect(),
    }
}

pub fn run(
    turn: export::Turn,
    agent: impl FnOnce(Turn) -> Result<Outcome, Error>,
) -> Result<export::Outcome, export::Error> {
    read(turn).and_then(agent).map(write).map_err(|error| match error {
        Error::InvalidInput(text) => export::Error::InvalidInput(text),
        Error::Model(inner) => export::Error::Model(inner.message().to_owned()),
        other => export::Error::Failed(other.to_string()),
    })
}

fn read(turn: export::Turn) -> Result<Turn, Error> {
    fn parse<T: serde::de::DeserializeOwned>(field: &str, json: &str) -> Result<T, Error> {
        serde_json::from_str(json).map_err(|error| {
            Error::invalid_input(format_args!("`{field}` of the turn does not fit: {error}"))
        })
    }
    Ok(Turn {
        messages: parse("messages", &turn.messages)?,
        options: parse("options", &turn.options)?,
        client_tools: parse("client-tools", &turn.client_tools)?,
        model: turn.model,
        instructions: turn.instructions,
        max_steps: turn.max_steps,
        context: turn.context.into(),
    })
}

fn write(outcome: Outcome) -> export::Outcome {
    export::Outcome {
        finish_reason: outcome.finish_reason.as_str().to_owned(),
        messages: Value::Array(outcome.messages).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bindings::tool::opg::tool::types;

    fn turn(messages: &str, options: &str, client_tools: &str) -> export::Turn {
        export::Turn {
            model: "demo/echo".into(),
            instructions: None,
            messages: messages.into(),
            options: options.into(),
            client_tools: client_tools.into(),
            max_steps: 3,
            context: types::Context {
                invocation_id: "i".into(),
                app: "acme".into(),
                session_id: None,
                time_limit_ms: 1000,
            },
        }
    }

    #[test]
    fn an_agent_gets_the_turn_as_values_and_its_outcome_goes_out_as_json() {
        let outcome = run(turn(r#"[{"role":"user"}]"#, r#"{"temperature":0}"#, "[]"), |turn| {
            assert_eq!(turn.messages, [json!({"role": "user"})]);
            assert_eq!(turn.options["temperature"], 0);
            assert_eq!(turn.context.app, "acme");
            Ok(Outcome { finish_reason: FinishReason::ContentFilter, messages: turn.messages })
        })
        .unwrap();
        assert_eq!(outcome.finish_reason, "content_filter");
        assert_eq!(outcome.messages, r#"[{"role":"user"}]"#);
    }

    #[test]
    fn a_turn_that_is_not_what_it_should_be_is_invalid_input_and_names_the_field() {
        for (bad, field) in [
            (turn("{}", "{}", "[]"), "`messages`"),
            (turn("[]", "[]", "[]"), "`options`"),
            (turn("[]", "{}", "nonsense"), "`client-tools`"),
        ] {
            match run(bad, |_| unreachable!("the turn is refused before")) {
                Err(export::Error::InvalidInput(text)) => assert!(text.contains(field), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_error_of_the_model_is_told_apart_from_one_of_a_tool() {
        let from = |error: Error| run(turn("[]", "{}", "[]"), |_| Err(error)).unwrap_err();
        let limit = Error::Limit("over budget".into());
        assert!(
            matches!(from(Error::Model(Box::new(limit.clone()))), export::Error::Model(text) if text == "over budget")
        );
        assert!(matches!(from(limit), export::Error::Failed(text) if text == "limit: over budget"));
    }

    #[test]
    fn a_finish_reason_reads_back_as_it_was_written() {
        for word in ["stop", "length", "tool_calls", "content_filter"] {
            assert_eq!(FinishReason::parse(word).unwrap().as_str(), word);
        }
        assert_eq!(FinishReason::parse("function_call"), None);
    }
}
