//! Subagents: an agent hands a task on to another, which works on it in a session below.
//!
//! A prompt asks for it by a part of type `subtask`; an agent by calling the
//! tool [`tool::NAME`], where it may. Either way it is one turn of a new session
//! whose parent is this one: with the same owner, a log of its own, the rules of
//! its parents besides its own ([`super::permissions`]), and time and budgets
//! that are those of the turn it is a part of. What it comes to is what its last
//! message says; a model that asked for it reads that, or why there is nothing
//! to read. It ends with the turn that asked for it, and goes with its parent.
//!
//! Deliberately absent: going on with a session below by the tool, and subagents
//! that outlive the turn that asked for them.

pub mod run;
pub(super) mod store;
pub mod tool;

use crate::{error::FieldError, limits::SUBTASK_BYTES_MAX};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A task for another agent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subtask {
    /// The agent's name.
    pub agent: String,
    /// What it is told.
    pub prompt: String,
    /// What people call it, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The model, `provider/model`; none: the agent's, or that of whoever asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl Subtask {
    /// What is wrong with it, `at` being where it stands in a body.
    pub fn check(&self, at: &str) -> Vec<FieldError> {
        let mut wrong = vec![];
        if self.prompt.trim().is_empty() {
            let text = "is empty; say what the agent is to do";
            wrong.push(FieldError::new(format!("{at}/prompt"), text));
        }
        let description = self.description.as_deref().unwrap_or_default();
        for (field, text) in [("prompt", self.prompt.as_str()), ("description", description)] {
            if text.len() > SUBTASK_BYTES_MAX {
                let message = format!("{SUBTASK_BYTES_MAX} bytes at the most");
                wrong.push(FieldError::new(format!("{at}/{field}"), message));
            }
        }
        wrong
    }

    /// The same for people, in a line or more.
    pub fn words(&self) -> String {
        let title = self.description.as_ref().map(|text| format!("{text}\n\n")).unwrap_or_default();
        format!("For the agent `{}`: {title}{}", self.agent, self.prompt)
    }
}
