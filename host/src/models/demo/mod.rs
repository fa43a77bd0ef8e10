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

pub(super) mod script;

use super::error::{ErrorDetail, UpstreamError};
use super::openai::request::ChatRequest;
use super::{EventStream, offline};
use std::time::Duration;

/// The provider's name.
pub const PROVIDER: &str = "demo";
/// Its models, the default first.
pub const MODELS: [&str; 3] = ["assistant", "slow", "error"];
/// The pause of `slow` before each piece.
pub const SLOW_DELTA_MS: u64 = 200;

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
        offline::refuse(request, "Demo")?;
        let events = offline::events(PROVIDER, request, &script::answer(request));
        offline::stream(events, pause).await
    }
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

#[cfg(test)]
mod tests;
