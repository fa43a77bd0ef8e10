//! Making sessions, changing, waking, stopping and deleting them.

use super::{
    SessionError, Status, artifacts,
    context::Compaction,
    instances::{self, Target, provision},
    log::{self, Draft, Kind, Owner},
    permissions::Policy,
    status, store, subagents,
    turns::{Reason, Running, State, end, store as turns},
    wishes,
};
use crate::{
    app::App,
    chat::send::ChatError,
    error::FieldError,
    grants::{Acting, Allowed, InApp, action::may, audit},
    limits::{SESSION_TITLE_BYTES_MAX, SESSIONS_LIVE_PER_APP_MAX},
    workspace::{self, Space, WorkspaceError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

/// What is said of a new session.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInput {
    /// What people call it.
    pub title: Option<String>,
    /// What it runs on; the first of those there are, unless given.
    pub target: Option<Target>,
    /// The agent of its turns.
    pub agent: Option<String>,
    /// The model of its turns, `provider/model`.
    pub model: Option<String>,
    /// Whether its tools may run.
    pub permissions: Option<Policy>,
    /// Whether it is summed up by itself.
    #[serde(default)]
    pub compaction: Compaction,
}

/// What is changed of a session; what is left out stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeInput {
    /// What people call it.
    pub title: Option<String>,
    /// The agent of its turns.
    pub agent: Option<String>,
    /// The model of its turns, `provider/model`.
    pub model: Option<String>,
    /// Whether its tools may run.
    pub permissions: Option<Policy>,
    /// Whether it is summed up by itself.
    pub compaction: Option<Compaction>,
}

/// Why a session is not as it was wished.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// Members are wrong.
    #[error("the session is wrong")]
    Invalid(Vec<FieldError>),
    /// The session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Its agent or model.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The app has too many.
    #[error("this app has {SESSIONS_LIVE_PER_APP_MAX} live sessions; stop or delete some")]
    TooMany,
    /// Nothing runs that could be stopped.
    #[error("no turn runs in this session")]
    NothingRuns,
    /// There is no message of this id in it.
    #[error("no such message in this session")]
    NoMessage,
    /// The turn is a chat request's.
    #[error("the turn that runs belongs to a chat request; end it by closing that request")]
    OfARequest,
    /// Its files.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

impl From<sqlx::Error> for ManageError {
    fn from(cause: sqlx::Error) -> ManageError {
        ManageError::Session(cause.into())
    }
}

/// Makes a session. It is `creating` at first; prompts may be sent at once.
///
/// # Errors
/// [`ManageError`]
pub(crate) async fn create(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    input: NewInput,
) -> Result<store::Shown, ManageError> {
    let policy = input.permissions.unwrap_or_default();
    let runs_on = target_of(app, input.target)?;
    check(
        app,
        allowed,
        Some(&policy),
        input.title.as_deref(),
        input.agent.as_deref(),
        input.model.as_deref(),
    )
    .await?;
    let now = app.now();
    let (session_id, app_id, instance_id) = (app.new_id(), allowed.app().app_id, app.new_id());
    let mut tx = app.tenant_tx(allowed).await?;
    if store::count_live(&mut tx, now).await? >= SESSIONS_LIVE_PER_APP_MAX {
        return Err(ManageError::TooMany);
    }
    let new = store::NewSession {
        title: input.title.as_deref().unwrap_or_default(),
        agent: input.agent.as_deref(),
        model: input.model.as_deref(),
        permissions: policy,
        compaction: input.compaction,
        target: runs_on,
        ..store::NewSession::new(session_id, allowed, now, now + app.config.session_ttl)
    };
    store::insert(&mut tx, &new).await?;
    instances::store::begin(tx.conn(), (session_id, app_id), instance_id, runs_on, false, now).await?;
    let drafts = vec![status::changed(None, Status::Creating, None)];
    let written = log::write(app, tx.conn(), (session_id, app_id), drafts).await?;
    audit::write(app, &mut tx, allowed, audit::Entry::ok("sessions.create", target(session_id))).await?;
    let shown = store::find(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    tx.commit().await?;
    written.tell(app);
    provision::start(app, Acting::of(allowed), session_id, instance_id, input.agent, runs_on);
    Ok(shown)
}

/// Changes a session.
///
/// # Errors
/// [`ManageError`]; nothing was changed then.
pub(crate) async fn change(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    session_id: Uuid,
    input: ChangeInput,
) -> Result<store::Shown, ManageError> {
    let ChangeInput { title, agent, model, permissions, compaction } = &input;
    check(app, allowed, permissions.as_ref(), title.as_deref(), agent.as_deref(), model.as_deref()).await?;
    let mut tx = app.tenant_tx(allowed).await?;
    usable(app, &mut tx, session_id).await?;
    let changes = store::Changes {
        title: title.as_deref(),
        agent: agent.as_deref(),
        model: model.as_deref(),
        permissions: permissions.as_ref(),
        compaction: *compaction,
    };
    store::change(&mut tx, session_id, &changes).await?;
    let shown = store::find(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    let data = json!({ "title": shown.title, "agent": shown.agent, "model": shown.model, "permissions": shown.permissions,
        "compaction": shown.compaction });
    let drafts = vec![Draft::new(Kind::SessionUpdated, None, data)];
    let written = log::write(app, tx.conn(), (session_id, allowed.app().app_id), drafts).await?;
    audit::write(app, &mut tx, allowed, audit::Entry::ok("sessions.change", target(session_id))).await?;
    tx.commit().await?;
    written.tell(app);
    Ok(shown)
}

/// Wakes a session; whether there was anything to do.
///
/// # Errors
/// [`ManageError`]
pub(crate) async fn resume(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    session_id: Uuid,
) -> Result<(bool, store::Shown), ManageError> {
    let now = app.now();
    let (app_id, instance_id) = (allowed.app().app_id, app.new_id());
    let mut tx = app.tenant_tx(allowed).await?;
    let session = usable(app, &mut tx, session_id).await?;
    let wakes = !session.status.is_live();
    let mut written = None;
    if wakes {
        instances::store::begin(tx.conn(), (session_id, app_id), instance_id, session.target, false, now)
            .await?;
        store::touch(&mut tx, session_id, now, now + app.config.session_ttl).await?;
        let drafts = status::go(tx.conn(), session_id, Status::Creating, None).await?;
        written = Some(log::write(app, tx.conn(), (session_id, app_id), drafts.into_iter().collect()).await?);
        audit::write(app, &mut tx, allowed, audit::Entry::ok("sessions.resume", target(session_id))).await?;
    }
    let shown = store::find(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    tx.commit().await?;
    if let Some(written) = written {
        written.tell(app);
        provision::start(app, Acting::of(allowed), session_id, instance_id, session.agent, session.target);
    }
    Ok((wakes, shown))
}

/// Stops the turn that runs; what it has said stays, and what waits comes next.
///
/// # Errors
/// [`ManageError::NothingRuns`], and others.
pub(crate) async fn abort(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    session_id: Uuid,
) -> Result<Uuid, ManageError> {
    let mut tx = app.tenant_tx(allowed).await?;
    // Also where its time is over: what runs can be stopped.
    let session = store::lock(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    let Some(turn_id) = turns::running(tx.conn(), session_id).await? else {
        let taken = session.busy_until.is_some_and(|until| until > app.now());
        return Err(if taken { ManageError::OfARequest } else { ManageError::NothingRuns });
    };
    let turn = Running { session_id, app_id: session.app_id, turn_id };
    let reason = Reason::new("aborted", "somebody stopped it");
    let written = end::cut(app, tx.conn(), turn, State::Aborted, &reason).await?;
    tx.commit().await?;
    if let Some(written) = written {
        written.tell(app);
    }
    end::after_cut(app, turn);
    Ok(turn_id)
}

/// Stops a session: what runs and what waits is aborted, its data is kept. One that is stopped stays so.
///
/// # Errors
/// [`ManageError`]
pub(crate) async fn stop(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    session_id: Uuid,
) -> Result<store::Shown, ManageError> {
    let now = app.now();
    let mut tx = app.tenant_tx(allowed).await?;
    let session = usable(app, &mut tx, session_id).await?;
    let of = (session_id, session.app_id);
    let reason = Reason::new("stopped", "the session was stopped");
    let mut told = vec![];
    let running = turns::running(tx.conn(), session_id).await?;
    if let Some(turn_id) = running {
        let turn = Running { session_id, app_id: session.app_id, turn_id };
        told.extend(end::cut(app, tx.conn(), turn, State::Aborted, &reason).await?);
    }
    for turn_id in turns::queued(tx.conn(), session_id).await? {
        let turn = Running { session_id, app_id: session.app_id, turn_id };
        told.push(end::drop_waiting(app, tx.conn(), turn, State::Aborted, &reason).await?);
    }
    // A chat request that has it finds that it was taken away.
    store::let_go(tx.conn(), session_id).await?;
    instances::store::end(tx.conn(), session_id, false, "stopped", now).await?;
    let draft = status::go(tx.conn(), session_id, Status::Stopped, Some("somebody stopped it")).await?;
    told.push(log::write(app, tx.conn(), of, draft.into_iter().collect()).await?);
    audit::write(app, &mut tx, allowed, audit::Entry::ok("sessions.stop", target(session_id))).await?;
    let shown = store::find(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    tx.commit().await?;
    told.into_iter().for_each(|written| written.tell(app));
    if let Some(turn_id) = running {
        app.running_turns.cut(turn_id);
    }
    instances::ended(app, session_id);
    Ok(shown)
}

/// Deletes a session with all that belongs to it; what runs is stopped.
///
/// # Errors
/// [`SessionError`]
pub(crate) async fn delete(
    app: &App,
    allowed: &Allowed<may::SessionsDelete>,
    session_id: Uuid,
) -> Result<(), SessionError> {
    let mut tx = app.tenant_tx(allowed).await?;
    let session = store::lock(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    let with_files = store::with_files(tx.conn(), session_id, session.parent_id).await?;
    // What is below it goes with it.
    let family = subagents::store::family(&mut tx, session_id).await?;
    for turn_id in family.iter().filter_map(|(_, running)| *running) {
        turns::tell_cut(tx.conn(), turn_id).await?;
    }
    let app_id = allowed.app().app_id;
    artifacts::owe_all(app, tx.conn(), family.iter().map(|(gone, _)| (*gone, app_id))).await?;
    store::delete(&mut tx, session_id).await?;
    let owner = Owner::of(allowed);
    for (gone, _) in &family {
        log::store::tell_gone(tx.conn(), *gone, owner).await?;
    }
    audit::write(app, &mut tx, allowed, audit::Entry::ok("sessions.delete", target(session_id))).await?;
    tx.commit().await?;
    let gone: Vec<Uuid> = family.iter().map(|(session_id, _)| *session_id).collect();
    artifacts::remove(app, &gone).await;
    for (session_id, running) in family {
        if let Some(turn_id) = running {
            app.running_turns.cut(turn_id);
        }
        instances::ended(app, session_id);
        app.session_hub.gone(session_id, owner);
        if let Err(cause) = workspace::reach::remove(app, app_id, session_id).await {
            tracing::error!(%cause, %session_id, "the files of a deleted session are there still; the sweep tries again");
        }
        if !gone.contains(&with_files) {
            let forgotten = move |space: &Space| space.forget_taken_back(session_id);
            if let Err(cause) = workspace::reach::where_it_is(app, app_id, with_files, forgotten).await {
                tracing::warn!(%cause, %session_id, "what was taken back in a deleted session is kept still");
            }
        }
    }
    Ok(())
}

/// The session's row, held, where its time is not over.
pub(crate) async fn usable(
    app: &App,
    tx: &mut crate::tenants::TenantTx,
    session_id: Uuid,
) -> Result<store::Locked, SessionError> {
    let session = store::lock(tx, session_id).await?.ok_or(SessionError::NotFound)?;
    if session.expires_at <= app.now() { Err(SessionError::Expired) } else { Ok(session) }
}

/// Whether what a session is to be makes sense.
async fn check(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    policy: Option<&Policy>,
    title: Option<&str>,
    agent: Option<&str>,
    model: Option<&str>,
) -> Result<(), ManageError> {
    let mut wrong = policy.map(|policy| policy.check("/permissions")).unwrap_or_default();
    if title.is_some_and(|title| title.len() > SESSION_TITLE_BYTES_MAX) {
        wrong.push(FieldError::new("/title", format!("{SESSION_TITLE_BYTES_MAX} bytes at the most")));
    }
    if !wrong.is_empty() {
        return Err(ManageError::Invalid(wrong));
    }
    wishes::check(app, allowed, agent, model).await?;
    Ok(())
}

/// What a session is to run on, where the operator lets it.
pub(super) fn target_of(app: &App, wanted: Option<Target>) -> Result<Target, ManageError> {
    let enabled = &app.config.session_targets;
    let target = wanted.or_else(|| enabled.first().copied()).unwrap_or_default();
    if enabled.contains(&target) {
        return Ok(target);
    }
    let names: Vec<_> = enabled.iter().map(|target| format!("`{}`", target.name())).collect();
    let text = format!("`{}` is not enabled on this server, {} is", target.name(), names.join(", "));
    Err(ManageError::Invalid(vec![FieldError::new("/target", text)]))
}

fn target(session_id: Uuid) -> String {
    format!("session/{session_id}")
}
