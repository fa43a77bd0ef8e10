//! The gate of a running turn: judges each call of a tool, and asks where it has to.

use super::{
    Policy, Response, Verdict, question, resolved,
    store::{self, Pending},
    strictest,
};
use crate::{
    app::App,
    grants::{Acting, GuestGrants},
    guests::{Asked, Chain, Permissions},
    limits::{OUTPUT_DEPTH_MAX, PERMISSION_INPUT_BYTES_MAX, PERMISSION_TIME},
    sandbox::door::DoorError,
    sessions::{
        log::{self, Draft, Event, Item, Kind, Reader, read::End},
        store as sessions,
        turns::{Running, store as turns},
    },
    tools::{catalog::Tool, output},
};
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use std::time::Duration;
use uuid::Uuid;

/// What is said of an ask that nobody answered.
const NOBODY: &str = "nobody answered in time";

/// What says that not all of an input is shown.
const CUT: &str = "cut";
/// How long to wait before listening again, where a reader ended before an answer came.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// The gate of one turn.
pub struct Gate {
    app: App,
    acting: Acting,
    turn: Running,
}

impl Gate {
    /// The gate of this turn.
    pub fn new(app: &App, acting: &Acting, turn: Running) -> Gate {
        Gate { app: app.clone(), acting: acting.clone(), turn }
    }

    async fn policies(&self) -> sqlx::Result<Vec<Policy>> {
        let mut tx = self.app.tenant_tx(&self.acting).await?;
        let line = store::policies(&mut tx, self.turn.session_id).await?;
        Ok(line.into_iter().map(|(_, policy)| policy).collect())
    }

    /// Whether the rules let nothing of this name run, whatever it is given.
    ///
    /// # Errors
    /// The database's.
    pub async fn refuses(&self, name: &str) -> sqlx::Result<bool> {
        Ok(strictest(&self.policies().await?, name, &[Map::new()]) == Verdict::Deny)
    }

    /// Whether something of this name may run with this input; what its plugin may touch is told to whoever is asked.
    /// Gives back the input as it was judged.
    ///
    /// # Errors
    /// Why not.
    pub async fn permit_call(
        &self,
        chain: &Chain,
        name: &str,
        capabilities: impl FnOnce() -> Vec<String> + Send,
        input: String,
    ) -> Result<String, DoorError> {
        // What is no object fits no pattern; the tool's own schema refuses it later.
        let read: Option<Map<String, Value>> = serde_json::from_str(&input).ok();
        // What was judged is what the tool gets: of a name that stands twice, parsers take one or the other.
        let judged = read.as_ref().map_or(input, |read| Value::Object(read.clone()).to_string());
        let read = read.unwrap_or_default();
        let subject = Subject { name: name.to_owned(), input: read };
        self.decide(chain, subject, capabilities).await.map(|()| judged)
    }

    /// Whether this may be, as the rules say or whoever is asked.
    async fn decide(
        &self,
        chain: &Chain,
        subject: Subject,
        capabilities: impl FnOnce() -> Vec<String> + Send,
    ) -> Result<(), DoorError> {
        let Subject { name, input } = &subject;
        let policies = self.policies().await.map_err(unavailable)?;
        let denied = |why: String| Err(DoorError::Denied(why));
        match strictest(&policies, name, &question::judged(name, input)) {
            Verdict::Allow => Ok(()),
            Verdict::Deny => {
                denied(format!("the rules of this session do not allow `{name}` with this input"))
            }
            Verdict::Ask => match self.put(chain, &subject, capabilities()).await.map_err(unavailable)? {
                Answer::Allowed => Ok(()),
                Answer::Rejected(Some(why)) => denied(format!("`{name}` was not allowed: {why}")),
                Answer::Rejected(None) => denied(format!("the user did not allow `{name}`")),
            },
        }
    }

    /// Asks, and waits for the answer.
    async fn put(&self, chain: &Chain, subject: &Subject, capabilities: Vec<String>) -> sqlx::Result<Answer> {
        // The call of the tool is told before it is asked about.
        chain.settle().await;
        let now = self.app.now();
        // Some of its time is left to the agent, to say that nobody answered.
        let wait = PERMISSION_TIME.min(chain.time_left().mul_f32(0.9));
        let asked = Pending {
            permission_id: self.app.new_id(),
            session_id: self.turn.session_id,
            turn_id: self.turn.turn_id,
            tool: subject.name.clone(),
            input: shown(&subject.input),
            capabilities,
            created_at: now,
            expires_at: now + wait,
        };
        // From before it is asked: no answer is missed.
        let reader = Reader::open(&self.app, &self.acting, self.turn.session_id, None).await;
        let mut tx = self.app.tenant_tx(&self.acting).await?;
        // Whoever ends the turn holds the session's row, and answers what is open: nothing is asked after that.
        sessions::lock(&mut tx, self.turn.session_id).await?;
        if turns::running(tx.conn(), self.turn.session_id).await? != Some(self.turn.turn_id) {
            return Ok(Answer::Rejected(Some("the turn has ended".to_owned())));
        }
        store::insert(&mut tx, self.turn.app_id, &asked).await?;
        let data = json!({ "permission": asked });
        let drafts = vec![Draft::new(Kind::PermissionRequest, Some(self.turn.turn_id), data)];
        let of = (self.turn.session_id, self.turn.app_id);
        let written = log::write(&self.app, tx.conn(), of, drafts).await?;
        tx.commit().await?;
        written.tell(&self.app);
        drop(tokio::time::timeout(wait, self.heard(reader.ok(), asked.permission_id)).await);
        self.close(asked.permission_id).await
    }

    /// Reads the session's log until this was answered; a reader that ends is followed by another.
    async fn heard(&self, mut reader: Option<Reader>, permission_id: Uuid) {
        loop {
            if let Some(mut reader) = reader.take() {
                while let Some(item) = reader.next().await {
                    match item {
                        Item::Event(event) if answers(&event, permission_id) => return,
                        Item::End(End::Gone | End::Revoked) => return,
                        _ => {}
                    }
                }
            }
            tokio::time::sleep(LISTEN_AGAIN_AFTER).await;
            // What was said in between is found by reading from where it was asked: the row says it all the same.
            reader = Reader::open(&self.app, &self.acting, self.turn.session_id, None).await.ok();
            if self.is_answered(permission_id).await {
                return;
            }
        }
    }

    async fn is_answered(&self, permission_id: Uuid) -> bool {
        let asked = async {
            let mut tx = self.app.tenant_tx(&self.acting).await?;
            store::find(&mut tx, self.turn.session_id, permission_id).await
        };
        asked.await.is_ok_and(|asked| asked.is_none_or(|asked| asked.response.is_some()))
    }

    fn capabilities(&self, tool: &Tool) -> Vec<String> {
        let grants = GuestGrants::new(&self.acting, tool.plugin.name.clone(), &tool.plugin);
        grants.effective().map(ToString::to_string).collect()
    }

    /// The answer, as it is written; where there is none yet, no.
    async fn close(&self, permission_id: Uuid) -> sqlx::Result<Answer> {
        let mut tx = self.app.tenant_tx(&self.acting).await?;
        // The session's row first, as everywhere.
        sessions::lock(&mut tx, self.turn.session_id).await?;
        let Some(asked) = store::find(&mut tx, self.turn.session_id, permission_id).await? else {
            return Ok(Answer::Rejected(None));
        };
        match asked.response.as_deref() {
            Some("once" | "always") => return Ok(Answer::Allowed),
            Some(_) => return Ok(Answer::Rejected(asked.message)),
            None => {}
        }
        store::resolve(&mut tx, permission_id, Response::Reject, Some(NOBODY), self.app.now()).await?;
        let drafts = vec![resolved(self.turn.turn_id, permission_id, Response::Reject, Some(NOBODY))];
        let written =
            log::write(&self.app, tx.conn(), (self.turn.session_id, self.turn.app_id), drafts).await?;
        tx.commit().await?;
        written.tell(&self.app);
        Ok(Answer::Rejected(Some(NOBODY.to_owned())))
    }
}

/// What somebody is asked about.
struct Subject {
    /// The tool that would run, or what a plugin asks about.
    name: String,
    input: Map<String, Value>,
}

enum Answer {
    Allowed,
    Rejected(Option<String>),
}

fn answers(event: &Event, permission_id: Uuid) -> bool {
    event.kind == Kind::PermissionResolved.name()
        && event.data.get("permission_id") == Some(&json!(permission_id))
}

/// The input for whoever decides: whole where it is short enough, else as much of each member as can be shown.
fn shown(input: &Map<String, Value>) -> Value {
    let whole = Value::Object(input.clone());
    let text = whole.to_string();
    if text.len() <= PERMISSION_INPUT_BYTES_MAX && output::depth(&text) <= OUTPUT_DEPTH_MAX {
        return whole;
    }
    let text: String = text.chars().take(PERMISSION_INPUT_BYTES_MAX / 4).collect();
    json!({ CUT: true, "text": text })
}

/// Whether this is not all of what a tool would be given.
pub(super) fn is_cut(input: &Map<String, Value>) -> bool {
    input.get(CUT) == Some(&Value::Bool(true))
}

#[async_trait]
impl Permissions for Gate {
    async fn permit(&self, chain: &Chain, tool: &Tool, input: String) -> Result<String, DoorError> {
        let capabilities = || self.capabilities(tool);
        self.permit_call(chain, &tool.definition.name, capabilities, input).await
    }

    async fn ask(&self, chain: &Chain, asked: Asked) -> Result<(), DoorError> {
        let name = question::name(&asked.plugin, &asked.question.action);
        let input = question::input(asked.question, asked.details);
        self.decide(chain, Subject { name, input }, || asked.capabilities).await
    }
}

fn unavailable(cause: sqlx::Error) -> DoorError {
    tracing::error!(%cause, "whether something is permitted could not be found out");
    DoorError::Unavailable("whether this is permitted cannot be found out right now; try again".into())
}
