//! Taking a prompt: it is kept with its turn, and runs when its turn comes.

use super::{
    Prompt, Reason, Running, State,
    content::{self, Part},
    drive, end, store,
};
use crate::{
    app::App,
    chat::send::ChatError,
    error::FieldError,
    grants::{Acting, Allowed, InApp, action::may, audit},
    limits::{PROMPTS_PER_MINUTE, SESSION_TITLE_CHARS, TURNS_WAITING_MAX},
    sessions::{
        SessionError, Status,
        context::summarize::SummarizeInput,
        instances::{self, provision},
        log::{self, Draft, Kind},
        permissions::Policy,
        status, store as sessions, wishes,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// A prompt, as it is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptInput {
    /// What the message holds.
    pub parts: Vec<Part>,
    /// The message's id; one that was sent before is not taken again.
    pub message_id: Option<Uuid>,
    /// The agent that answers.
    pub agent: Option<String>,
    /// The model, `provider/model`.
    pub model: Option<String>,
    /// The session's rules from this turn on.
    pub permissions: Option<Policy>,
    /// What to do while another turn runs or waits.
    #[serde(default)]
    pub when_busy: WhenBusy,
    /// The same as `when_busy: "queue"`.
    #[serde(default)]
    pub queue: bool,
}

/// What to do with a prompt while another turn runs or waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenBusy {
    /// It is refused: 409.
    #[default]
    Reject,
    /// It waits for its turn.
    Queue,
    /// What runs is stopped, and this is next.
    Interrupt,
}

/// A prompt that was taken.
#[derive(Debug, Serialize)]
pub struct Accepted {
    /// Its message.
    pub message_id: Uuid,
    /// Its turn.
    pub turn_id: Uuid,
    /// What to read the log on from, to see all of it.
    pub cursor: Option<i64>,
}

/// Why a prompt was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// Members are wrong.
    #[error("the prompt is wrong")]
    Invalid(Vec<FieldError>),
    /// The session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Another turn runs or waits.
    #[error("a turn runs in this session; send `when_busy` as `queue` or `interrupt`, or wait for it to end")]
    Busy,
    /// Another message has this id.
    #[error("another message of this session has this `message_id`; choose another, or leave it out")]
    MessageTaken,
    /// Too many wait.
    #[error("{TURNS_WAITING_MAX} turns wait in this session already; wait for one to end")]
    TooMany,
    /// Too many came within a minute.
    #[error("more than {PROMPTS_PER_MINUTE} prompts a minute in this session; wait and try again")]
    TooOften(Duration),
    /// All of it is summed up.
    #[error("nothing was said since the last summary")]
    NothingNew,
    /// Who would answer.
    #[error(transparent)]
    Chat(#[from] ChatError),
}

impl From<sqlx::Error> for PromptError {
    fn from(cause: sqlx::Error) -> PromptError {
        PromptError::Session(cause.into())
    }
}

/// Takes a prompt. Once this has returned it is kept, and it runs as soon as it can, on whichever host.
///
/// # Errors
/// [`PromptError`]; then nothing was changed.
pub async fn prompt(
    app: &App,
    allowed: &Allowed<may::SessionsPrompt>,
    session_id: Uuid,
    input: PromptInput,
) -> Result<Accepted, PromptError> {
    let read = content::read(&input.parts).map_err(PromptError::Invalid)?;
    let wrong = input.permissions.as_ref().map(|policy| policy.check("/permissions")).unwrap_or_default();
    if !wrong.is_empty() {
        return Err(PromptError::Invalid(wrong));
    }
    if input.message_id.is_some_and(|id| id.is_nil()) {
        let wrong = FieldError::new("/message_id", "is the nil UUID; choose another, or leave it out");
        return Err(PromptError::Invalid(vec![wrong]));
    }
    let may_chat = Allowed::<may::ChatSend>::judge(Some(allowed.caller()), None).map_err(ChatError::from)?;
    let agent = input.agent.or(read.agent);
    wishes::check(app, &may_chat, agent.as_deref(), input.model.as_deref()).await?;
    for task in &read.subtasks {
        wishes::check(app, &may_chat, Some(&task.agent), task.model.as_deref()).await?;
    }
    let when_busy = if input.queue { WhenBusy::Queue } else { input.when_busy };
    let prompt = Prompt {
        agent,
        model: input.model,
        permissions: input.permissions,
        subtasks: read.subtasks,
        ..Prompt::new(read.content)
    };
    let told = input.parts.iter().map(Part::told).collect();
    let new = New { prompt, message_id: input.message_id, when_busy, told, words: read.words };
    keep(app, allowed, session_id, new).await
}

/// Takes a wish for a summary: a turn of its own, which waits for no other.
///
/// # Errors
/// [`PromptError`]; then nothing was changed.
pub async fn summarize(
    app: &App,
    allowed: &Allowed<may::SessionsPrompt>,
    session_id: Uuid,
    input: SummarizeInput,
) -> Result<Accepted, PromptError> {
    let may_chat = Allowed::<may::ChatSend>::judge(Some(allowed.caller()), None).map_err(ChatError::from)?;
    wishes::check(app, &may_chat, None, input.model.as_deref()).await?;
    let prompt = Prompt::summary(input.model);
    let new =
        New { prompt, message_id: None, when_busy: WhenBusy::Reject, told: vec![], words: String::new() };
    keep(app, allowed, session_id, new).await
}

/// A turn to be.
struct New {
    prompt: Prompt,
    message_id: Option<Uuid>,
    when_busy: WhenBusy,
    /// The parts of its message, as the log tells them.
    told: Vec<Value>,
    /// The words of its message.
    words: String,
}

/// Keeps a turn, and lets it run where nothing stands in its way.
async fn keep(
    app: &App,
    allowed: &Allowed<may::SessionsPrompt>,
    session_id: Uuid,
    new: New,
) -> Result<Accepted, PromptError> {
    let New { prompt, message_id, when_busy, told: parts, words } = new;
    let now = app.now();
    let app_id = allowed.app().app_id;
    let mut tx = app.tenant_tx(allowed).await?;
    let session = sessions::lock(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    if session.expires_at <= now {
        return Err(SessionError::Expired.into());
    }
    let message_id = message_id.unwrap_or_else(|| app.new_id());
    if let Some(turn_id) = store::of_message(&mut tx, session_id, message_id).await? {
        // Sent again by a client that did not hear of the first time.
        return Ok(Accepted { message_id, turn_id, cursor: None });
    }
    if sessions::has_message(&mut tx, session_id, message_id).await? {
        return Err(PromptError::MessageTaken);
    }
    app.rate_limits.prompt(session_id).map_err(PromptError::TooOften)?;
    let running =
        store::running(tx.conn(), session_id).await?.map(|turn_id| Running { session_id, app_id, turn_id });
    let waiting = store::count_queued(tx.conn(), session_id).await?;
    let taken = session.busy_until.is_some_and(|until| until > now);
    if waiting >= TURNS_WAITING_MAX {
        return Err(PromptError::TooMany);
    }
    let interrupts = when_busy == WhenBusy::Interrupt;
    if when_busy == WhenBusy::Reject && (taken || running.is_some() || waiting > 0) {
        return Err(PromptError::Busy);
    }
    // A turn of a chat request cannot be stopped from here: its client waits for it.
    if interrupts && taken && running.is_none() {
        return Err(PromptError::Busy);
    }
    if prompt.summarize && !sessions::says_something_new(&mut tx, session_id).await? {
        return Err(PromptError::NothingNew);
    }
    let mut told = vec![];
    if let Some(running) = running.filter(|_| interrupts) {
        let reason = Reason::new("interrupted", "another prompt took its place");
        told.extend(end::cut(app, tx.conn(), running, State::Aborted, &reason).await?);
    }
    if prompt.permissions.is_some() {
        let entry = audit::Entry::ok("sessions.change", format!("session/{session_id}"));
        audit::write(app, &mut tx, allowed, entry).await?;
    }
    let mut titled = None;
    if session.title.is_empty() && !words.is_empty() {
        let title = title(&words);
        let changes = sessions::Changes { title: Some(&title), ..sessions::Changes::default() };
        sessions::change(&mut tx, session_id, &changes).await?;
        titled = Some(Draft::new(Kind::SessionUpdated, None, json!({ "title": title })));
    }
    let turn_id = app.new_id();
    let new = store::NewTurn {
        turn_id,
        session_id,
        app_id,
        first: interrupts,
        message_id,
        prompt: &prompt,
        credential_id: allowed.caller().credential_id,
        request_id: &allowed.caller().request_id,
        parent_turn_id: None,
        traceparent: allowed.caller().trace.map(|trace| trace.to_string()),
        now,
    };
    store::insert(tx.conn(), &new).await?;
    sessions::touch(&mut tx, session_id, now, now + app.config.session_ttl).await?;
    let mut drafts: Vec<_> = parts
        .into_iter()
        .map(|part| {
            let data = json!({ "message_id": message_id, "role": "user", "part": part });
            Draft::new(Kind::MessageAppend, Some(turn_id), data)
        })
        .collect();
    drafts.extend(titled);
    drafts.push(prompt.draft(Kind::TurnQueued, turn_id, message_id));
    // Where it runs on nothing, it is made ready first.
    let instance_id = app.new_id();
    let wakes = matches!(session.status, Status::Stopped | Status::Error);
    if wakes {
        instances::store::begin(tx.conn(), (session_id, app_id), instance_id, session.target, false, now)
            .await?;
        drafts.extend(status::go(tx.conn(), session_id, Status::Creating, None).await?);
    }
    let written = log::write(app, tx.conn(), (session_id, app_id), drafts).await?;
    let cursor = written.first_seq().map(|first| first - 1);
    tx.commit().await?;
    told.into_iter().chain([written]).for_each(|written| written.tell(app));
    if wakes {
        provision::start(app, Acting::of(allowed), session_id, instance_id, session.agent, session.target);
    } else {
        match running.filter(|_| interrupts) {
            Some(running) => end::after_cut(app, running),
            None => drive::drive(app, session_id),
        }
    }
    Ok(Accepted { message_id, turn_id, cursor })
}

/// The first words of the first message.
pub(in crate::sessions) fn title(words: &str) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    let words = words.join(" ");
    match words.char_indices().nth(SESSION_TITLE_CHARS) {
        Some((end, _)) => format!("{}…", words[..end].trim_end()),
        None => words,
    }
}
