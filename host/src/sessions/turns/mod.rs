//! Turns: one user message to its final answer, run in the background.
//!
//! A prompt is kept with its turn before anybody is told that it was taken
//! ([`prompt`]). One turn of a session runs at a time, whichever host has it
//! ([`drive`]); what it says goes into the session's log as it comes (`live`).
//! It ends by its answer, or is cut: by whoever aborts it, by a failure, or
//! because its host died ([`end`]). Either way what was said stays, and the
//! session's history can be read by a model again.

pub mod content;
pub mod drive;
pub mod end;
mod live;
pub(crate) mod of_person;
pub mod prompt;
pub mod running;
pub(crate) mod store;
pub mod transcript;

use super::{
    log::{Draft, Kind},
    permissions::Policy,
    subagents::Subtask,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// How a turn stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits.
    Queued,
    /// It runs.
    Running,
    /// It has its answer.
    Done,
    /// It could not be answered.
    Failed,
    /// Somebody stopped it.
    Aborted,
}

impl State {
    /// The name in the table and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::Done => "done",
            State::Failed => "failed",
            State::Aborted => "aborted",
        }
    }
}

/// What was asked, as it is kept until its turn comes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prompt {
    /// The user's message, as OpenAI's chat messages hold it: a text, or a list of parts.
    pub content: Value,
    /// The agent that answers; none: the session's, or the app's default.
    pub agent: Option<String>,
    /// The model, `provider/model`; none: the agent's, the session's, or the app's default.
    pub model: Option<String>,
    /// The session's rules from this turn on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Policy>,
    /// What other agents do first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subtasks: Vec<Subtask>,
    /// Nothing is asked: the conversation is summed up.
    #[serde(default, skip_serializing_if = "is_false")]
    pub summarize: bool,
}

impl Prompt {
    /// A prompt with this content that leaves all else to the session.
    pub fn new(content: Value) -> Prompt {
        Prompt { content, agent: None, model: None, permissions: None, subtasks: vec![], summarize: false }
    }

    /// What is told of its turn: by which message it begins, or which it is to write.
    pub(super) fn draft(&self, kind: Kind, turn_id: Uuid, message_id: Uuid) -> Draft {
        let mut data = json!({ "message_id": message_id });
        if self.summarize {
            data["summary"] = json!(true);
        }
        Draft::new(kind, Some(turn_id), data)
    }

    /// A wish for a summary, written by this model.
    pub fn summary(model: Option<String>) -> Prompt {
        Prompt { model, summarize: true, ..Prompt::new(Value::Null) }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Why a turn did not end with an answer, for programs and for people.
#[derive(Clone, Debug, Serialize)]
pub struct Reason {
    /// A stable name.
    pub code: String,
    /// What happened and what to do next.
    pub message: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Reason {
        Reason { code: code.into(), message: message.into() }
    }
}

/// A turn that runs.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Its session.
    pub session_id: Uuid,
    /// The session's app.
    pub app_id: Uuid,
    /// The turn.
    pub turn_id: Uuid,
}
