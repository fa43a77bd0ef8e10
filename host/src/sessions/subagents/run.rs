//! Running a task of another agent, from the session it is made for to what it says.

use super::{Subtask, store};
use crate::{
    app::App,
    chat::send::ChatError,
    grants::{Acting, Allowed, action::may, audit},
    guests::Chain,
    limits::{
        SESSIONS_LIVE_PER_APP_MAX, SUBAGENT_DEPTH_MAX, SUBAGENT_RESULT_BYTES_MAX, SUBAGENTS_AT_WORK_MAX,
        SUBAGENTS_PER_SESSION_MAX,
    },
    sandbox::door::DoorError,
    sessions::{
        Status,
        instances::{self, Target},
        log::{self, Draft, Kind},
        status, store as sessions,
        turns::{
            Prompt, Reason, Running, State,
            drive::{self, Begun},
            end::{self, ABOVE_ENDED},
            prompt::title,
            store as turns,
        },
        wishes,
    },
};
use serde_json::json;

/// Where a task comes from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) app: App,
    pub(crate) allowed: Allowed<may::ChatSend>,
    /// The turn it is a part of.
    pub(crate) turn: Running,
    /// The model of that turn, `provider/model`.
    pub(crate) model: String,
}

/// Why a task has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// The agent or the model is not there.
    #[error("{0}")]
    Wish(ChatError),
    /// The turn it is a part of has ended.
    #[error("the turn has ended")]
    Ended,
    /// It would be too deep.
    #[error("agents hand tasks on {SUBAGENT_DEPTH_MAX} deep at the most; do this one yourself")]
    TooDeep,
    /// Too many work for this turn.
    #[error("{SUBAGENTS_AT_WORK_MAX} agents work for this turn already; wait for one to end")]
    TooMany,
    /// Too many were made in this session.
    #[error("{SUBAGENTS_PER_SESSION_MAX} tasks were handed on in this session already; do this one yourself")]
    Full,
    /// Too many sessions run in the app.
    #[error("this app has {SESSIONS_LIVE_PER_APP_MAX} live sessions; do this one yourself")]
    TooManyLive,
    /// It ran and has no answer.
    #[error("the agent did not finish the task ({state}): {why}")]
    Unfinished { state: String, why: String },
    /// The database.
    #[error("the task could not be written down")]
    Db(#[from] sqlx::Error),
}

impl From<TaskError> for DoorError {
    fn from(error: TaskError) -> DoorError {
        let text = error.to_string();
        match error {
            TaskError::Wish(_) => DoorError::Invalid(text),
            TaskError::Ended => DoorError::Denied(text),
            TaskError::TooDeep | TaskError::TooMany | TaskError::Full | TaskError::TooManyLive => {
                DoorError::Limit(text)
            }
            TaskError::Unfinished { .. } => DoorError::Failed(text),
            TaskError::Db(cause) => {
                tracing::error!(%cause, "a task could not be handed on");
                DoorError::Unavailable(format!("{text}; try again"))
            }
        }
    }
}

/// Runs a task as a part of this chain, and says what it came to. Dropped before, it ends the task.
///
/// # Errors
/// [`TaskError`]
pub(crate) async fn run(source: &Source, chain: &Chain, task: &Subtask) -> Result<String, TaskError> {
    let (app, acting) = (&source.app, Acting::of(&source.allowed));
    let begun = begin(source, chain, task).await?;
    let below = begun.turn;
    let mut guard =
        Guard { app: app.clone(), acting: acting.clone(), above: source.turn, below: Some(below) };
    let said = drive::turn(app, begun).await;
    guard.below = None;
    let (state, reason) = finished(app, &acting, source.turn, below).await?;
    // Somebody may have asked it something meanwhile.
    drive::drive(app, below.session_id);
    match said.filter(|_| state == State::Done.name()) {
        Some(said) => Ok(short(said)),
        None => Err(TaskError::Unfinished { state, why: reason.unwrap_or_default() }),
    }
}

/// Makes the session and begins its turn, in one transaction.
async fn begin(source: &Source, chain: &Chain, task: &Subtask) -> Result<Begun, TaskError> {
    let Source { app, allowed, turn: above, .. } = source;
    let agent = wishes::check(app, allowed, Some(&task.agent), task.model.as_deref()).await;
    let of_agent = agent.map_err(TaskError::Wish)?.and_then(|agent| agent.model);
    let model = task.model.clone().or(of_agent).unwrap_or_else(|| source.model.clone());
    // The call of the tool is told before what comes of it.
    chain.settle().await;
    let now = app.now();
    let (session_id, app_id, turn_id) = (app.new_id(), above.app_id, app.new_id());
    let (of, below) = ((session_id, app_id), Running { session_id, app_id, turn_id });
    let mut tx = app.tenant_tx(allowed).await?;
    // Whoever ends the turn holds the row: nothing begins below it after that.
    let session_above = sessions::lock(&mut tx, above.session_id).await?.ok_or(TaskError::Ended)?;
    if turns::running(tx.conn(), above.session_id).await? != Some(above.turn_id) {
        return Err(TaskError::Ended);
    }
    if store::depth(&mut tx, above.session_id).await? >= SUBAGENT_DEPTH_MAX {
        return Err(TaskError::TooDeep);
    }
    let (all, at_work) = store::count(&mut tx, above.session_id, above.turn_id).await?;
    if at_work >= SUBAGENTS_AT_WORK_MAX {
        return Err(TaskError::TooMany);
    }
    if all >= SUBAGENTS_PER_SESSION_MAX {
        return Err(TaskError::Full);
    }
    if sessions::count_live(&mut tx, now).await? >= SESSIONS_LIVE_PER_APP_MAX {
        return Err(TaskError::TooManyLive);
    }
    let titled = title(task.description.as_deref().unwrap_or(&task.prompt));
    let new = sessions::NewSession {
        parent_id: Some(above.session_id),
        title: &titled,
        agent: Some(&task.agent),
        model: Some(&model),
        target: session_above.target,
        ..sessions::NewSession::new(session_id, allowed, now, now + app.config.session_ttl)
    };
    sessions::insert(&mut tx, &new).await?;
    // In a process its guests run in that of the session above.
    if session_above.target == Target::Wasm {
        instances::store::begin(tx.conn(), of, app.new_id(), Target::Wasm, true, now).await?;
    }
    let message_id = app.new_id();
    let prompt = Prompt::new(json!(task.prompt));
    let new = turns::NewTurn {
        turn_id,
        session_id,
        app_id,
        first: false,
        message_id,
        prompt: &prompt,
        credential_id: allowed.caller().credential_id,
        request_id: &allowed.caller().request_id,
        parent_turn_id: Some(above.turn_id),
        traceparent: allowed.caller().trace.map(|trace| trace.to_string()),
        now,
    };
    turns::insert(tx.conn(), &new).await?;
    let part = json!({ "type": "text", "text": task.prompt });
    let drafts = vec![
        status::changed(None, Status::Creating, None),
        Draft::new(
            Kind::MessageAppend,
            Some(turn_id),
            json!({ "message_id": message_id, "role": "user", "part": part }),
        ),
    ];
    let made = log::write(app, tx.conn(), of, drafts).await?;
    let token = app.new_id();
    let started = drive::start(app, tx.conn(), below, token, message_id, &prompt).await?;
    let data = json!({
        "child_session_id": session_id, "child_turn_id": turn_id, "agent": task.agent, "title": titled,
        "model": model,
    });
    let drafts = vec![Draft::new(Kind::SubagentStarted, Some(above.turn_id), data)];
    let told = log::write(app, tx.conn(), (above.session_id, app_id), drafts).await?;
    let entry = audit::Entry::ok("sessions.create", format!("session/{session_id}"))
        .detail(json!({ "parent": above.session_id, "agent": task.agent }));
    audit::write_guest(app, &mut tx, allowed, entry).await?;
    let cut = app.running_turns.enter(turn_id);
    if let Err(cause) = tx.commit().await {
        app.running_turns.leave(turn_id);
        return Err(cause.into());
    }
    [made, started, told].into_iter().for_each(|written| written.tell(app));
    Ok(Begun { turn: below, token, cut, allowed: allowed.clone(), prompt, under: Some(chain.clone()) })
}

/// Tells in the log above that a task has ended, and says how.
async fn finished(
    app: &App,
    acting: &Acting,
    above: Running,
    below: Running,
) -> sqlx::Result<(String, Option<String>)> {
    let mut tx = app.tenant_tx(acting).await?;
    let gone = || (State::Aborted.name().to_owned(), Some("its session was deleted".to_owned()));
    let is_there = sessions::lock(&mut tx, above.session_id).await?.is_some();
    let (state, reason) = store::ending(&mut tx, below.turn_id).await?.unwrap_or_else(gone);
    // Whoever ended the turn above has told it.
    if is_there && reason.as_deref() != Some(ABOVE_ENDED) {
        let draft = finished_draft(above, below, &state, reason.as_deref());
        let written = log::write(app, tx.conn(), (above.session_id, above.app_id), vec![draft]).await?;
        tx.commit().await?;
        written.tell(app);
    }
    Ok((state, reason))
}

/// What is told of a task that has ended.
pub(crate) fn finished_draft(above: Running, below: Running, state: &str, reason: Option<&str>) -> Draft {
    let data = json!({
        "child_session_id": below.session_id, "child_turn_id": below.turn_id, "state": state, "reason": reason,
    });
    Draft::new(Kind::SubagentFinished, Some(above.turn_id), data)
}

/// What is said, as much of it as is handed back.
fn short(said: String) -> String {
    if said.is_empty() {
        return "(The agent ended without a word.)".to_owned();
    }
    let end = said.floor_char_boundary(SUBAGENT_RESULT_BYTES_MAX);
    if end == said.len() {
        return said;
    }
    format!("{}\n[{} bytes more]", &said[..end], said.len() - end)
}

/// Ends a task that nobody waits for any more.
struct Guard {
    app: App,
    acting: Acting,
    above: Running,
    below: Option<Running>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(below) = self.below.take() else { return };
        let (app, acting, above) = (self.app.clone(), self.acting.clone(), self.above);
        self.app.running_turns.leave(below.turn_id);
        self.app.spawn(async move {
            let reason = Reason::new("aborted", "nobody waits for it any more");
            let ended = async {
                end::fail(&app, &acting, below, State::Aborted, reason).await?;
                finished(&app, &acting, above, below).await
            };
            if let Err(cause) = ended.await {
                tracing::error!(%cause, turn_id = %below.turn_id, "a task could not be ended; its lease will run out");
            }
            drive::drive(&app, below.session_id);
        });
    }
}
