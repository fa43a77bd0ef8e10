//! The log of a session: what happened in it, in order, for whoever watches.
//!
//! One row an event, numbered from 1 without a gap, written in the transaction
//! of the state it tells (row M325). Whoever reads keeps a cursor, the number of
//! the last event it has; it may go away and come back on any host. Within this
//! process events go from the writer to the readers through [`Hub`]; other hosts
//! are told by `NOTIFY` ([`listen`]).
//!
//! Old events are removed, oldest first, beyond [`EVENTS_KEPT_MAX`]: what they
//! led to is in the session's messages.
//!
//! [`EVENTS_KEPT_MAX`]: crate::limits::EVENTS_KEPT_MAX

pub mod feed;
mod hub;
pub mod listen;
pub mod read;
mod readers;
pub(crate) mod store;

pub use feed::{Feed, FeedError, News};
pub use hub::Hub;
pub use read::{Item, Reader};
pub use readers::{Place, Readers, TooManyReaders};
pub(super) use store::CHANNEL;

use crate::{app::App, grants::InApp};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use std::sync::Arc;
use uuid::Uuid;

/// What kinds of events there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A piece of a message.
    MessageAppend,
    /// A message, whole: what its pieces came to.
    MessageComplete,
    /// A message whose pieces were told is not part of the conversation after all.
    MessageRemoved,
    /// The session went from one state to another.
    SessionStatus,
    /// What it is to run on is a step further, or was not made ready.
    SessionStep,
    /// Its title, model, agent or permissions were changed.
    SessionUpdated,
    /// A turn waits its turn.
    TurnQueued,
    /// A turn runs.
    TurnStarted,
    /// A turn ended, and how.
    TurnEnded,
    /// A tool is called.
    ToolCall,
    /// What it said.
    ToolResult,
    /// Somebody has to answer.
    PermissionRequest,
    /// Somebody did, or nobody in time.
    PermissionResolved,
    /// What a turn used.
    TokenUsage,
    /// How long the conversation has become for its model.
    ContextInfo,
    /// Another agent begins a task, in a session below.
    SubagentStarted,
    /// It has ended, and how.
    SubagentFinished,
    /// A file of the workspace was changed.
    FileChanged,
    /// What a tool logged in one run.
    Log,
    /// What an agent told of itself, in a form of its own.
    AgentEvent,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: &[Kind] = &[
        Kind::MessageAppend,
        Kind::MessageComplete,
        Kind::MessageRemoved,
        Kind::SessionStatus,
        Kind::SessionStep,
        Kind::SessionUpdated,
        Kind::TurnQueued,
        Kind::TurnStarted,
        Kind::TurnEnded,
        Kind::ToolCall,
        Kind::ToolResult,
        Kind::PermissionRequest,
        Kind::PermissionResolved,
        Kind::TokenUsage,
        Kind::ContextInfo,
        Kind::SubagentStarted,
        Kind::SubagentFinished,
        Kind::FileChanged,
        Kind::Log,
        Kind::AgentEvent,
    ];

    /// The name on the wire and in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::MessageAppend => "message.append",
            Kind::MessageComplete => "message.complete",
            Kind::MessageRemoved => "message.removed",
            Kind::SessionStatus => "session.status",
            Kind::SessionStep => "session.step",
            Kind::SessionUpdated => "session.updated",
            Kind::TurnQueued => "turn.queued",
            Kind::TurnStarted => "turn.started",
            Kind::TurnEnded => "turn.ended",
            Kind::ToolCall => "tool.call",
            Kind::ToolResult => "tool.result",
            Kind::PermissionRequest => "permission.request",
            Kind::PermissionResolved => "permission.resolved",
            Kind::TokenUsage => "token.usage",
            Kind::ContextInfo => "context.info",
            Kind::SubagentStarted => "subagent.started",
            Kind::SubagentFinished => "subagent.finished",
            Kind::FileChanged => "file.changed",
            Kind::Log => "log",
            Kind::AgentEvent => "agent.event",
        }
    }
}

/// An event before it has its number.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What kind.
    pub kind: Kind,
    /// The turn it belongs to.
    pub turn_id: Option<Uuid>,
    /// Its members, as documented in `docs/sessions.md`.
    pub data: Map<String, Value>,
}

impl Draft {
    /// An event with these members; `data` is an object.
    pub fn new(kind: Kind, turn_id: Option<Uuid>, data: Value) -> Draft {
        let data = match data {
            Value::Object(data) => data,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        Draft { kind, turn_id, data }
    }
}

/// An event of the log.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Its number, from 1.
    pub seq: i64,
    /// When.
    pub time: DateTime<Utc>,
    /// Whose log.
    pub session_id: Uuid,
    /// What kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The turn it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<Uuid>,
    /// Its members.
    #[serde(flatten)]
    pub data: Map<String, Value>,
}

/// Whose sessions: an app's own, or a person's in it. Nobody else sees them, by row-level security.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The app.
    pub app_id: Uuid,
    /// The person; none: the app itself.
    pub user_id: Option<Uuid>,
}

impl Owner {
    /// Whoever acts.
    pub fn of(proof: &impl InApp) -> Owner {
        Owner { app_id: proof.app().app_id, user_id: proof.user_id() }
    }
}

/// Events of one session that are written and, once their transaction is committed, to be told.
#[must_use = "call `tell` once the transaction is committed"]
pub struct Written {
    session_id: Uuid,
    /// None where nothing was written.
    owner: Option<Owner>,
    events: Vec<Arc<Event>>,
    /// What was written in other logs by the same transaction.
    others: Vec<Written>,
}

impl Written {
    /// Nothing was written.
    pub fn nothing(session_id: Uuid) -> Written {
        Written { session_id, owner: None, events: vec![], others: vec![] }
    }

    /// The same, with what was written in other logs.
    pub fn with(self, others: Vec<Written>) -> Written {
        Written { others, ..self }
    }

    /// Tells who reads here; other hosts were told by the commit.
    pub fn tell(self, app: &App) {
        if let Some(owner) = self.owner {
            app.session_hub.publish(self.session_id, owner, self.events);
        }
        self.others.into_iter().for_each(|other| other.tell(app));
    }

    /// The number of the first one, where there is one.
    pub fn first_seq(&self) -> Option<i64> {
        self.events.first().map(|event| event.seq)
    }
}

/// Writes events in somebody's transaction. The session's row is locked by it until the end of the transaction.
///
/// # Errors
/// The database's, also where there is no such session.
pub async fn write(
    app: &App,
    conn: &mut PgConnection,
    (session_id, app_id): (Uuid, Uuid),
    mut drafts: Vec<Draft>,
) -> sqlx::Result<Written> {
    for value in drafts.iter_mut().flat_map(|draft| draft.data.values_mut()) {
        without_nul(value);
    }
    let Some(last) = drafts.len().checked_sub(1) else { return Ok(Written::nothing(session_id)) };
    let now = app.now();
    let (last_seq, user_id) = store::append(conn, session_id, app_id, &drafts, now).await?;
    let first_seq = last_seq - i64::try_from(last).unwrap_or(i64::MAX);
    let event = |(seq, draft): (i64, Draft)| {
        Arc::new(Event {
            seq,
            time: now,
            session_id,
            kind: draft.kind.name().to_owned(),
            turn_id: draft.turn_id,
            data: draft.data,
        })
    };
    let owner = Some(Owner { app_id, user_id });
    let events = (first_seq..).zip(drafts).map(event).collect();
    Ok(Written { session_id, owner, events, others: vec![] })
}

/// Puts U+FFFD in the place of U+0000, which PostgreSQL keeps in no JSON: what tools and models say may hold it.
pub(super) fn without_nul(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
        Value::Array(items) => items.iter_mut().for_each(without_nul),
        Value::Object(members) => {
            members.values_mut().for_each(without_nul);
            if members.keys().any(|name| name.contains('\0')) {
                let old = std::mem::take(members);
                members.extend(old.into_iter().map(|(name, value)| (name.replace('\0', "\u{fffd}"), value)));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_database_does_not_keep_is_replaced() {
        let mut value = serde_json::json!({ "a\0": ["x\0y", { "b": "\0" }], "c": 1 });
        without_nul(&mut value);
        assert_eq!(value, serde_json::json!({ "a\u{fffd}": ["x\u{fffd}y", { "b": "\u{fffd}" }], "c": 1 }));
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
