//! A session as one document: to keep, to move to another installation, to begin again from.
//!
//! Its form has a name with a version, [`Schema`], and is written down in
//! `docs/session.schema.json`. A release that writes another form gives it
//! another name and goes on reading this one. Deliberately absent: the log,
//! what is asked, who made it, what it cost, and anything sealed or secret.

pub mod export;
pub mod import;
pub mod routes;
mod store;

pub(super) use store::replace;

use super::{context::Compaction, messages::MessageKind, permissions::Policy};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

/// The forms there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Schema {
    /// The first.
    #[serde(rename = "opg.session/1")]
    V1,
}

/// A session, whole.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The form of what follows.
    pub schema: Schema,
    /// When it was written.
    #[schemars(with = "String")]
    pub exported_at: DateTime<Utc>,
    /// The session itself.
    pub session: Head,
    /// Its turns, the oldest first. For the reader alone: an imported session has none of them.
    pub turns: Vec<Turn>,
    /// What was said, the oldest first, without what was taken back.
    pub messages: Vec<Message>,
}

/// What a session is set to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// What it was called by where it comes from. An imported session has another.
    pub id: Uuid,
    /// What people call it.
    pub title: String,
    /// The agent of its turns; none: the app's default.
    pub agent: Option<String>,
    /// The model of its turns, `provider/model`; none: the agent's, or the app's default.
    pub model: Option<String>,
    /// Whether its tools may run.
    pub permissions: Policy,
    /// Whether it is summed up by itself.
    pub compaction: Compaction,
    /// When it was made.
    #[schemars(with = "String")]
    pub created_at: DateTime<Utc>,
}

/// A turn: one user message to its final answer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, FromRow)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Its id.
    #[sqlx(rename = "turn_id")]
    pub id: Uuid,
    /// `queued`, `running`, `done`, `failed` or `aborted`.
    pub state: String,
    /// Why it has no answer.
    pub reason: Option<String>,
    /// The message it began with, or wrote.
    pub message_id: Uuid,
    /// When it was asked for.
    #[schemars(with = "String")]
    pub created_at: DateTime<Utc>,
    /// When it began.
    #[schemars(with = "Option<String>")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[schemars(with = "Option<String>")]
    pub ended_at: Option<DateTime<Utc>>,
}

/// A message.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Its id.
    pub id: Uuid,
    /// Whether it sums up all before it.
    pub kind: MessageKind,
    /// The turn it is a part of.
    pub turn_id: Option<Uuid>,
    /// What was said, as a message of OpenAI's chat completions: `role`, `content`, `tool_calls`, `tool_call_id`.
    #[schemars(with = "std::collections::BTreeMap<String, Value>")]
    pub message: Value,
    /// What the model thought aloud before it.
    pub reasoning: Option<String>,
    /// When it was added.
    #[schemars(with = "String")]
    pub created_at: DateTime<Utc>,
}

/// The form, for programs of others.
pub fn schema() -> Value {
    schemars::schema_for!(Document).to_value()
}
