//! Going back: taking messages back with what their turns did to files, and beginning another session with some of
//! them.

use super::{
    SessionError, Status,
    context::Compaction,
    instances::{self, Target, provision},
    log::{self, Draft, Kind},
    manage::ManageError,
    status, store,
};
use crate::{
    app::App,
    grants::{Acting, Allowed, InApp, action::may, audit},
    limits::{SESSIONS_LIVE_PER_APP_MAX, WORKSPACE_CHANGES_TOLD_MAX},
    tenants::TenantTx,
    workspace::{self, Change, Space, WorkspaceError},
};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

/// Takes back a message and all after it. They come back with [`unrevert`], until the next prompt removes them for good.
///
/// # Errors
/// [`ManageError`]
pub(crate) async fn revert(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    session_id: Uuid,
    message_id: Uuid,
) -> Result<store::Shown, ManageError> {
    let mut tx = app.tenant_tx(allowed).await?;
    let before = at_rest(app, &mut tx, session_id).await?;
    let seq = store::place(&mut tx, session_id, message_id).await?.ok_or(ManageError::NoMessage)?;
    let turns = store::turns_from(&mut tx, session_id, seq).await?;
    let anew = before.reverted_from.is_none();
    let (with_files, below) = with_files(&mut tx, session_id, &before).await?;
    let is_taken_back = move |of: &[Uuid]| of.iter().any(|turn| turns.contains(turn));
    let back = move |space: &Space| space.put_back(below, &is_taken_back, anew);
    let files = files(app, allowed, with_files, back).await?;
    set(app, allowed, tx, session_id, Some((seq, message_id)), files, "sessions.revert").await
}

/// Brings back what was taken back.
///
/// # Errors
/// [`ManageError`]
pub(crate) async fn unrevert(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    session_id: Uuid,
) -> Result<store::Shown, ManageError> {
    let mut tx = app.tenant_tx(allowed).await?;
    let before = at_rest(app, &mut tx, session_id).await?;
    let (with_files, below) = with_files(&mut tx, session_id, &before).await?;
    let files = match before.reverted_from {
        Some(_) => files(app, allowed, with_files, move |space| space.bring_back(below)).await?,
        None => vec![],
    };
    set(app, allowed, tx, session_id, None, files, "sessions.unrevert").await
}

/// The session whose files this one works on; and this one, where that is another.
async fn with_files(
    tx: &mut TenantTx,
    session_id: Uuid,
    session: &store::Locked,
) -> sqlx::Result<(Uuid, Option<Uuid>)> {
    let with_files = store::with_files(tx.conn(), session_id, session.parent_id).await?;
    Ok((with_files, (with_files != session_id).then_some(session_id)))
}

/// Changes what files are, where the session has any here. Before the messages: where those are not changed after
/// all, doing it once more does no harm.
async fn files(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    session_id: Uuid,
    change: impl FnOnce(&Space) -> Result<Vec<Change>, WorkspaceError> + Send + 'static,
) -> Result<Vec<Draft>, WorkspaceError> {
    let changes = workspace::reach::where_it_is(app, allowed.app().app_id, session_id, change).await?;
    let told = changes.unwrap_or_default().into_iter().take(WORKSPACE_CHANGES_TOLD_MAX);
    Ok(told.map(|change| Draft::new(Kind::FileChanged, None, json!(change))).collect())
}

async fn set(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    mut tx: TenantTx,
    session_id: Uuid,
    from: Option<(i32, Uuid)>,
    files: Vec<Draft>,
    action: &'static str,
) -> Result<store::Shown, ManageError> {
    store::set_reverted(&mut tx, session_id, from.map(|(seq, _)| seq)).await?;
    // How long it is then nobody knows before the next turn.
    store::set_context(tx.conn(), session_id, None).await?;
    let data = json!({ "reverted_from": from.map(|(_, message_id)| message_id) });
    let drafts = files.into_iter().chain([Draft::new(Kind::SessionUpdated, None, data)]).collect();
    let written = log::write(app, tx.conn(), (session_id, allowed.app().app_id), drafts).await?;
    let entry = audit::Entry::ok(action, format!("session/{session_id}"));
    audit::write(app, &mut tx, allowed, entry).await?;
    let shown = store::find(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    tx.commit().await?;
    written.tell(app);
    Ok(shown)
}

/// Whose files a session that was forked has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Files {
    /// Those of the other, as they were at its place.
    AsThen,
    /// Those of the other, as they are: what they were is not kept any more.
    AsNow,
    /// None: the other had none.
    None,
    /// None: those of the other are lost, or on another host.
    Gone,
}

/// A session that was forked.
#[derive(Debug, Serialize)]
pub(crate) struct Forked {
    #[serde(flatten)]
    pub(crate) session: store::Shown,
    pub(crate) files: Files,
}

/// Makes a session that begins with the messages of another: all, or those before one of them; and with its files, as
/// they were there.
///
/// # Errors
/// [`ManageError`]
pub(crate) async fn fork(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    session_id: Uuid,
    before: Option<Uuid>,
) -> Result<Forked, ManageError> {
    let now = app.now();
    let (app_id, instance_id, forked_id) = (allowed.app().app_id, app.new_id(), app.new_id());
    let space = {
        let seen = workspace::routes::seen(app, allowed, session_id).await?;
        workspace::reach::existing(app, allowed, seen.with_files).await
    };
    let mut tx = app.tenant_tx(allowed).await?;
    // Nothing begins to change its files, nor takes messages back, while they are copied.
    let locked = store::lock(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    let original = store::find(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    if original.expires_at <= now {
        return Err(SessionError::Expired.into());
    }
    if store::count_live(&mut tx, now).await? >= SESSIONS_LIVE_PER_APP_MAX {
        return Err(ManageError::TooMany);
    }
    let until = match before {
        Some(message_id) => {
            Some(store::place(&mut tx, session_id, message_id).await?.ok_or(ManageError::NoMessage)?)
        }
        None => None,
    };
    let (files, being_made) = match space {
        Ok(None) => (Files::None, None),
        Err(WorkspaceError::Gone) => (Files::Gone, None),
        Err(error) => return Err(error.into()),
        Ok(Some(space)) => {
            let turns = turns_between(&mut tx, session_id, until, locked.reverted_from).await?;
            let copied = workspace::reach::copy(app, app_id, space, forked_id, turns).await?;
            (if copied.0 { Files::AsThen } else { Files::AsNow }, Some(copied.1))
        }
    };
    let target = Target::named(&original.target);
    let new = store::NewSession {
        forked_from: Some(session_id),
        title: &original.title,
        agent: original.agent.as_deref(),
        model: original.model.as_deref(),
        permissions: original.permissions.0.clone(),
        compaction: Compaction::named(&original.compaction),
        target,
        ..store::NewSession::new(forked_id, allowed, now, now + app.config.session_ttl)
    };
    store::insert(&mut tx, &new).await?;
    if being_made.is_some() {
        workspace::reach::remember(&mut tx, forked_id, app_id, now).await?;
    }
    // As many as there may be to copy, rising with the conversation.
    let (messages, _bytes) = store::size(tx.conn(), session_id).await?;
    let ids: Vec<Uuid> = (0..messages).map(|_| app.new_id()).collect();
    store::copy_messages(&mut tx, (session_id, forked_id), until, &ids).await?;
    instances::store::begin(tx.conn(), (forked_id, app_id), instance_id, target, false, now).await?;
    let drafts = vec![status::changed(None, Status::Creating, None)];
    let written = log::write(app, tx.conn(), (forked_id, app_id), drafts).await?;
    let entry = audit::Entry::ok("sessions.fork", format!("session/{forked_id}"));
    let detail = json!({ "from": session_id, "files": files });
    audit::write(app, &mut tx, allowed, entry.detail(detail)).await?;
    let session = store::find(&mut tx, forked_id).await?.ok_or(SessionError::NotFound)?;
    tx.commit().await?;
    drop(being_made);
    written.tell(app);
    provision::start(app, Acting::of(allowed), forked_id, instance_id, original.agent, target);
    Ok(Forked { session, files })
}

/// The turns from a place on whose messages are not taken back: what those did to files is undone already.
async fn turns_between(
    tx: &mut TenantTx,
    session_id: Uuid,
    from: Option<i32>,
    until: Option<i32>,
) -> sqlx::Result<Vec<Uuid>> {
    let Some(from) = from else { return Ok(vec![]) };
    let mut turns = store::turns_from(tx, session_id, from).await?;
    if let Some(until) = until {
        let taken_back = store::turns_from(tx, session_id, until).await?;
        turns.retain(|turn| !taken_back.contains(turn));
    }
    Ok(turns)
}

/// Holds the session's row, where nothing runs or waits in it.
pub(super) async fn at_rest(
    app: &App,
    tx: &mut TenantTx,
    session_id: Uuid,
) -> Result<store::Locked, ManageError> {
    let session = store::lock(tx, session_id).await?.ok_or(SessionError::NotFound)?;
    if session.expires_at <= app.now() {
        return Err(SessionError::Expired.into());
    }
    let taken = session.busy_until.is_some_and(|until| until > app.now());
    if taken || super::turns::store::count_queued(tx.conn(), session_id).await? > 0 {
        return Err(SessionError::Busy.into());
    }
    Ok(session)
}
