//! What a turn says while it runs, on its way into the log.
//!
//! Pieces are gathered for [`GATHER`] and written together: a model writes
//! faster than anybody reads, and each write is a transaction.

use super::{Running, transcript::Steps};
use crate::{
    app::App,
    grants::Acting,
    guests::record::LogLine,
    limits::{
        SESSION_EVENT_BYTES_MAX, SESSION_EVENTS_PER_TURN_MAX, SESSION_LOG_BYTES_PER_TURN_MAX,
        WORKSPACE_CHANGES_TOLD_MAX,
    },
    sessions::log::{self, Draft, Kind},
    workspace::Change,
};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long pieces wait for others: below what a reader notices.
const GATHER: Duration = Duration::from_millis(50);
/// The same in a turn that has said very much: its log must end some time.
const GATHER_LONG: Duration = Duration::from_secs(1);

/// What is told of a turn. Kept in memory until it is written, so that its end knows all of it.
pub(super) struct Live {
    app: App,
    acting: Acting,
    turn: Running,
    token: Uuid,
    /// What was said so far.
    pub(super) steps: Steps,
    pending: Vec<Draft>,
    since: Option<Instant>,
    bytes: usize,
    written: usize,
    /// How many files were told of.
    changes: usize,
}

/// Why nothing more is written of a turn.
#[derive(Debug, thiserror::Error)]
pub(super) enum LiveError {
    /// The turn was ended by somebody else.
    #[error("the turn was ended from outside")]
    Lost,
    /// The database.
    #[error(transparent)]
    Db(#[from] sqlx::Error),
}

impl Live {
    pub(super) fn new(app: &App, acting: &Acting, turn: Running, token: Uuid) -> Live {
        Live {
            app: app.clone(),
            acting: acting.clone(),
            turn,
            token,
            steps: Steps::default(),
            pending: vec![],
            since: None,
            bytes: 0,
            written: 0,
            changes: 0,
        }
    }

    /// A piece of the answer.
    pub(super) fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let step = self.steps.to_say(|| self.app.new_id());
        step.text.push_str(text);
        let message_id = step.message_id;
        self.piece("text", message_id, text);
    }

    /// A piece of what the model thinks.
    pub(super) fn reasoning(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let step = self.steps.to_say(|| self.app.new_id());
        step.reasoning.push_str(text);
        let message_id = step.message_id;
        self.piece("reasoning", message_id, text);
    }

    /// What an agent tells besides, in the form of `opg:host/events`.
    pub(super) fn told(&mut self, kind: &str, mut event: Map<String, Value>) {
        event.remove("type");
        // A guest's word: as much of it as a log can bear, and no member that an event has by itself.
        if self.written >= SESSION_EVENTS_PER_TURN_MAX {
            return;
        }
        match kind {
            "tool_call" => event.retain(|name, _| matches!(name.as_str(), "id" | "name" | "arguments")),
            "tool_result" => event.retain(|name, _| matches!(name.as_str(), "id" | "name" | "ok" | "output")),
            _ => {}
        }
        let bytes = Value::Object(event.clone()).to_string().len();
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > SESSION_LOG_BYTES_PER_TURN_MAX || bytes > SESSION_EVENT_BYTES_MAX {
            event.retain(|name, value| {
                matches!(name.as_str(), "id" | "name" | "ok") && value.to_string().len() < 256
            });
            event.insert("cut".to_owned(), json!(true));
        }
        let kind = match kind {
            "tool_call" => {
                let message_id = self.steps.call(|| self.app.new_id(), &event);
                event.insert("message_id".to_owned(), json!(message_id));
                Kind::ToolCall
            }
            "tool_result" => {
                let Some(message_id) = self.steps.result(&event) else { return };
                event.insert("message_id".to_owned(), json!(message_id));
                Kind::ToolResult
            }
            other => {
                let inner = std::mem::take(&mut event);
                event.insert("name".to_owned(), json!(other));
                event.insert("event".to_owned(), Value::Object(inner));
                Kind::AgentEvent
            }
        };
        self.push(Draft { kind, turn_id: Some(self.turn.turn_id), data: event });
    }

    /// A file that a guest changed. Beyond so many the list of files, and what the turn changed, tell of them: there is
    /// room for what else the turn has to say.
    pub(super) fn changed(&mut self, change: &Change) {
        if self.changes < WORKSPACE_CHANGES_TOLD_MAX {
            self.changes += 1;
            self.push(Draft::new(Kind::FileChanged, Some(self.turn.turn_id), json!(change)));
        }
    }

    /// What a tool logged in one run: as much of it as a log can bear.
    pub(super) fn logged(&mut self, name: &str, lines: &[LogLine], left_out: usize) {
        let data = json!({ "name": name, "lines": lines, "left_out": left_out });
        self.bytes = self.bytes.saturating_add(data.to_string().len());
        if self.written < SESSION_EVENTS_PER_TURN_MAX && self.bytes <= SESSION_LOG_BYTES_PER_TURN_MAX {
            self.push(Draft::new(Kind::Log, Some(self.turn.turn_id), data));
        }
    }

    fn piece(&mut self, kind: &str, message_id: Uuid, text: &str) {
        let same = |draft: &&mut Draft| {
            draft.kind == Kind::MessageAppend
                && draft.data["message_id"] == json!(message_id)
                && draft.data["part"]["type"] == kind
        };
        // Thoughts and words of one message may come by turns; each goes on where it is.
        if let Some(draft) = self.pending.iter_mut().rev().take(2).find(same)
            && let Some(Value::String(said)) =
                draft.data.get_mut("part").and_then(|part| part.get_mut("text"))
        {
            said.push_str(text);
            return;
        }
        let data =
            json!({ "message_id": message_id, "role": "assistant", "part": { "type": kind, "text": text } });
        self.push(Draft::new(Kind::MessageAppend, Some(self.turn.turn_id), data));
    }

    fn push(&mut self, draft: Draft) {
        self.written += 1;
        self.pending.push(draft);
        self.since.get_or_insert_with(Instant::now);
    }

    /// Until it is time to write; for ever where there is nothing to.
    pub(super) async fn due(&self) {
        match self.since {
            Some(since) => {
                let gather = if self.written > SESSION_EVENTS_PER_TURN_MAX { GATHER_LONG } else { GATHER };
                tokio::time::sleep_until((since + gather).into()).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Writes what is pending.
    pub(super) async fn flush(&mut self) -> Result<(), LiveError> {
        let drafts = self.take();
        if drafts.is_empty() {
            return Ok(());
        }
        let mut tx = self.app.tenant_tx(&self.acting).await?;
        if !crate::sessions::store::holds(&mut tx, self.turn.session_id, self.token).await? {
            return Err(LiveError::Lost);
        }
        let written =
            log::write(&self.app, tx.conn(), (self.turn.session_id, self.turn.app_id), drafts).await?;
        tx.commit().await?;
        written.tell(&self.app);
        Ok(())
    }

    /// What is pending, for whoever writes it.
    pub(super) fn take(&mut self) -> Vec<Draft> {
        self.since = None;
        std::mem::take(&mut self.pending)
    }
}
