//! How long the conversation has become for its model, and summing it up.
//!
//! After each turn `context.info` says what the last model call read and wrote,
//! and, where it is known, how much that model takes. A summary is a message of
//! its own kind, written by a model in a turn of its own ([`summarize`]): models
//! read the last one and what came after it, people all there is. It is made
//! when somebody asks for it, and by itself before a turn of a conversation that
//! takes more than [`COMPACTED_ABOVE_PERCENT`] of what its model takes.
//!
//! [`COMPACTED_ABOVE_PERCENT`]: crate::limits::COMPACTED_ABOVE_PERCENT

pub mod summarize;

use super::log::{Draft, Kind};
use crate::limits::COMPACTED_ABOVE_PERCENT;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// Whether a session is summed up by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compaction {
    /// Before a turn, where the conversation has become long for its model.
    #[default]
    Auto,
    /// When somebody asks for it alone.
    Off,
}

impl Compaction {
    /// The one of this name. The table takes no other.
    pub fn named(name: &str) -> Compaction {
        if name == Compaction::Off.name() { Compaction::Off } else { Compaction::Auto }
    }

    /// The name in the table and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Compaction::Auto => "auto",
            Compaction::Off => "off",
        }
    }
}

/// How much of what its model takes a conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Tokens the last model call read and wrote.
    pub tokens: i64,
    /// Tokens the model takes, where it is known.
    pub limit: Option<i64>,
}

impl Context {
    /// Whether it is time to sum it up.
    pub fn is_long(self) -> bool {
        let above =
            |limit: i64| self.tokens.saturating_mul(100) > limit.saturating_mul(COMPACTED_ABOVE_PERCENT);
        self.limit.is_some_and(above)
    }

    /// What is told of it.
    pub(super) fn told(self, turn_id: Uuid) -> Draft {
        let percent = self.limit.map(|limit| self.tokens.saturating_mul(100) / limit.max(1));
        let data = json!({ "tokens": self.tokens, "limit": self.limit, "percent": percent });
        Draft::new(Kind::ContextInfo, Some(turn_id), data)
    }
}

/// What stands in a model's conversation in the place of what was summed up: the user asked, and the assistant answered,
/// so that it begins and goes on as every provider expects it.
pub(super) fn as_read(summary: &Value) -> [Value; 2] {
    [json!({ "role": "user", "content": "Sum up our conversation so far." }), summary.clone()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_long_above_a_part_of_what_its_model_takes_and_never_where_that_is_not_known() {
        for (tokens, limit, long) in [
            (85, Some(100), false),
            (86, Some(100), true),
            (i64::MAX, None, false),
            (i64::MAX, Some(1), true),
        ] {
            assert_eq!(Context { tokens, limit }.is_long(), long, "{tokens} of {limit:?}");
        }
    }
}
