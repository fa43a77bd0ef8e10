//! The provider `mock`: models that do one thing each, so that whatever asks models can be tested offline.
//!
//! - `echo` says the user's last message;
//! - `slow` says the same with a pause before each piece;
//! - `tool` calls the tool it must, or the first it is offered: with the user's message where that is a JSON object,
//!   else with its required inputs filled from it. Results it repeats, and without tools it is `echo`;
//! - `error` fails as a provider does that answers with the status the user's message names, or 500; where the
//!   message says `late`, after the first words.
//!
//! Off in production unless it is turned on (`OPG_MOCK_PROVIDER`).

use super::demo::script;
use super::error::{ErrorDetail, UpstreamError};
use super::offline::{self, Answer};
use super::openai::request::{ChatRequest, Message, Role, ToolChoice};
use super::stream::ReplyTo;
use super::{Event, EventStream};
use futures_util::stream;
use serde_json::Value;
use std::time::Duration;

/// The provider's name.
pub const PROVIDER: &str = "mock";
/// Its models.
pub const MODELS: [&str; 4] = ["echo", "error", "slow", "tool"];
/// The pause of `slow` before each piece, in milliseconds.
pub const SLOW_DELTA_MS: u64 = 200;
/// What `error` fails with where nobody says.
const STATUS: u16 = 500;

/// The provider; see the module.
#[derive(Debug, Clone)]
pub struct Mock {
    /// The pause of `slow` before each piece.
    pub slow_delta: Duration,
}

impl Default for Mock {
    fn default() -> Self {
        Self { slow_delta: Duration::from_millis(SLOW_DELTA_MS) }
    }
}

impl Mock {
    /// Answers a request. `model` is one of [`MODELS`].
    pub async fn stream(&self, model: &str, request: &ChatRequest) -> Result<EventStream, UpstreamError> {
        offline::refuse(request, "Mock")?;
        let said = last_said(request);
        let (answer, pause) = match model {
            "tool" => (tool(request, said), None),
            "slow" => (Answer::Text(said), Some(self.slow_delta)),
            "error" => return fail(&said).await,
            _ => (Answer::Text(said), None),
        };
        offline::stream(offline::events(PROVIDER, request, &answer), pause).await
    }
}

fn last_said(request: &ChatRequest) -> String {
    let is_user = |message: &&Message| message.role == Role::User;
    request.messages.iter().rfind(is_user).map(Message::plain_text).unwrap_or_default()
}

fn tool(request: &ChatRequest, said: String) -> Answer {
    let results = script::trailing_results(&request.messages);
    if !results.is_empty() {
        return Answer::Text(script::tell_results(&request.messages, results));
    }
    let tool = match &request.tool_choice {
        Some(ToolChoice::None) => None,
        Some(ToolChoice::Function(name)) => request.tools.iter().find(|tool| tool.name == *name),
        _ => request.tools.first(),
    };
    let Some(tool) = tool else { return Answer::Text(said) };
    let is_object = serde_json::from_str::<Value>(&said).is_ok_and(|value| value.is_object());
    let call = if is_object {
        offline::Call { name: tool.name.clone(), arguments: said }
    } else {
        script::fill(tool, &said, std::slice::from_ref(&said))
    };
    Answer::Calls(vec![call])
}

async fn fail(said: &str) -> Result<EventStream, UpstreamError> {
    let status = said.split(|c: char| !c.is_ascii_digit()).find_map(|word| word.parse().ok());
    let status = status.filter(|status| (400..600).contains(status)).unwrap_or(STATUS);
    let message = Some(format!("The mock provider failed with {status}, as it was told."));
    let error = UpstreamError::from_status(status, ErrorDetail { message, ..ErrorDetail::default() }, None);
    if !said.contains("late") {
        return Err(error);
    }
    let raw = stream::iter([Ok(Event::Text("This answer breaks ".into())), Err(error)]);
    EventStream::new(raw, ReplyTo::default()).wait_for_first().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use serde_json::json;

    async fn answer(model: &str, said: &str, more: Value) -> String {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": said }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = ChatRequest::from_value(body).unwrap();
        let mock = Mock { slow_delta: Duration::ZERO };
        let mut events = match mock.stream(model, &request).await {
            Ok(events) => events,
            Err(error) => return format!("{} {error}", error.status),
        };
        let mut told = String::new();
        while let Some(event) = events.next().await {
            told += &match event {
                Ok(Event::Text(text)) => text,
                Ok(Event::ToolCall { name, arguments, .. }) => name.unwrap_or_default() + &arguments,
                Ok(Event::Finish(reason)) => format!(" [{}]", reason.as_str()),
                Ok(_) => String::new(),
                Err(error) => format!("[{}]", error.status),
            };
        }
        told
    }

    #[tokio::test]
    async fn m499_each_model_does_its_one_thing() {
        let tools = json!({ "tools": [{ "type": "function", "function": { "name": "add", "parameters": {
            "type": "object", "properties": { "text": { "type": "string" } }, "required": ["text"] } } }] });
        let none = json!({});
        assert_eq!(answer("echo", "one  two", none.clone()).await, "one  two [stop]");
        assert_eq!(answer("slow", "one two", none.clone()).await, "one two [stop]");
        assert_eq!(answer("tool", "hi", none.clone()).await, "hi [stop]");
        assert_eq!(answer("tool", "hi", tools.clone()).await, r#"add{"text":"hi"} [tool_calls]"#);
        assert_eq!(answer("tool", r#"{"a": 1}"#, tools.clone()).await, r#"add{"a": 1} [tool_calls]"#);
        let told =
            [answer("error", "", none.clone()).await, answer("error", "429 please", none.clone()).await];
        assert!(told[0].starts_with("502 ") && told[1].starts_with("429 "), "{told:?}");
        assert_eq!(
            answer("error", "404", none.clone()).await,
            "404 The mock provider failed with 404, as it was told."
        );
        assert_eq!(answer("error", "late 503", none).await, "This answer breaks [502]");
    }

    #[tokio::test]
    async fn what_only_a_model_has_is_refused() {
        let refused = answer("echo", "hi", json!({ "n": 2 })).await;
        assert!(refused.starts_with("400 ") && refused.contains("`n`"), "{refused}");
    }
}
