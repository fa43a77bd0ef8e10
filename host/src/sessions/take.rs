//! Taking a session for a turn of a request's own: chat's way.
//!
//! The request adds its messages to what the session holds, and waits for the
//! answer itself. It takes the session with a lease, so that a host that dies
//! does not keep it; what it added is told in the log when it has ended well.

use super::{
    NEW, SessionError, Status, artifacts,
    instances::{self, Target},
    log::{self, Draft, Kind},
    messages::{self, MessageKind, NewMessage},
    status, store,
    turns::{drive, end},
};
use crate::{
    app::App,
    grants::{Acting, InApp},
    limits::{
        EVENTS_KEPT_MAX, SESSION_BYTES_MAX, SESSION_LEASE, SESSION_LEASE_RENEWED_EVERY, SESSION_MESSAGES_MAX,
    },
};
use serde_json::Value;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use uuid::Uuid;

/// A session taken for one turn. Given back when it is dropped.
pub struct Taken {
    app: App,
    acting: Acting,
    /// Its id.
    pub session_id: Uuid,
    token: Uuid,
    /// The session whose files it works on.
    pub with_files: Uuid,
    /// What is changed of them is kept under this, as under a turn.
    pub changes_id: Uuid,
    /// What its guests run on.
    pub target: Target,
    /// The messages it holds, oldest first.
    pub history: Vec<Value>,
    known: Known,
    _renewing: AbortOnDrop,
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether the client knows the session's id. One made for a turn that failed
/// before anything was said goes again: nobody could ever name it.
#[derive(Clone, Default)]
pub struct Known(Arc<AtomicBool>);

impl Known {
    /// The client was told.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Takes the session of this id for one turn, or makes a new one.
///
/// # Errors
/// [`SessionError`]
pub async fn take(app: &App, proof: &impl InApp, id: &str) -> Result<Taken, SessionError> {
    let acting = Acting::of(proof);
    let token = app.new_id();
    let (now, expires_at) = (app.now(), app.now() + app.config.session_ttl);
    let busy_until = now + SESSION_LEASE;
    let known = Known::default();
    let mut tx = app.tenant_tx(&acting).await?;
    let mut told = None;
    let (session_id, with_files, target, history, begun) = if id == NEW {
        let session_id = app.new_id();
        let new = store::NewSession {
            status: Status::Active,
            lease: Some((token, busy_until)),
            ..store::NewSession::new(session_id, &acting, now, expires_at)
        };
        store::insert(&mut tx, &new).await?;
        (session_id, session_id, Target::Wasm, vec![], Some(status::changed(None, Status::Active, None)))
    } else {
        let session_id = Uuid::parse_str(id).map_err(|_| SessionError::NotFound)?;
        let row = store::lock(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
        if row.expires_at <= now {
            return Err(SessionError::Expired);
        }
        if row.busy_until.is_some_and(|until| until > now) {
            return Err(SessionError::Busy);
        }
        // A turn whose host died: what it said stays, and is part of what is read below.
        told = end::overdue(app, tx.conn(), (session_id, acting.app().app_id)).await?;
        let (messages, bytes) = store::size(tx.conn(), session_id).await?;
        if messages >= SESSION_MESSAGES_MAX || bytes >= SESSION_BYTES_MAX {
            return Err(SessionError::Full);
        }
        store::take(tx.conn(), session_id, token, busy_until, now, expires_at).await?;
        store::forget_reverted(tx.conn(), session_id).await?;
        known.set();
        let begun = status::go(tx.conn(), session_id, Status::Active, None).await?;
        let with_files = store::with_files(tx.conn(), session_id, row.parent_id).await?;
        (session_id, with_files, row.target, store::messages(&mut tx, session_id).await?, begun)
    };
    let of = (session_id, acting.app().app_id);
    // Another is made ready when its guests are to run.
    if target == Target::Wasm {
        instances::store::begin(tx.conn(), of, app.new_id(), target, true, now).await?;
    }
    let written = log::write(app, tx.conn(), of, begun.into_iter().collect()).await?;
    // Before the commit: whoever goes away during it leaves a session that is given back.
    let renewing = AbortOnDrop(tokio::spawn(renew(app.clone(), acting.clone(), session_id, token)));
    let taken = Taken {
        app: app.clone(),
        acting,
        session_id,
        token,
        with_files,
        changes_id: app.new_id(),
        target,
        history,
        known,
        _renewing: renewing,
    };
    tx.commit().await?;
    told.into_iter().chain([written]).for_each(|written| written.tell(app));
    Ok(taken)
}

/// Renews the lease of a turn until it is dropped with the turn, or somebody else has it.
pub(super) async fn renew(app: App, acting: Acting, session_id: Uuid, token: Uuid) {
    loop {
        tokio::time::sleep(SESSION_LEASE_RENEWED_EVERY).await;
        let renewed = async {
            let mut tx = app.tenant_tx(&acting).await?;
            let ours = store::renew(&mut tx, session_id, token, app.now() + SESSION_LEASE).await?;
            tx.commit().await.map(|()| ours)
        };
        match renewed.await {
            Ok(true) => {}
            Ok(false) => return,
            Err(cause) => tracing::warn!(%cause, %session_id, "a session's lease could not be renewed"),
        }
    }
}

impl Taken {
    /// To say that the client knows the session's id.
    pub fn known(&self) -> Known {
        self.known.clone()
    }

    /// Gives the session back with nothing added.
    ///
    /// # Errors
    /// The database's; then it is tried once more behind the caller's back.
    pub async fn leave(mut self) -> sqlx::Result<()> {
        give_back(&self.app, &self.acting, self.session_id, self.token, self.known.get()).await?;
        self.token = Uuid::nil();
        Ok(())
    }

    /// Adds the messages of a turn and gives the session back, in one transaction.
    ///
    /// # Errors
    /// [`SessionError`]; nothing was added then.
    pub async fn finish(mut self, messages: &[Value]) -> Result<(), SessionError> {
        let of = (self.session_id, self.acting.app().app_id);
        let now = self.app.now();
        let mut tx = self.app.tenant_tx(&self.acting).await?;
        let expires_at = now + self.app.config.session_ttl;
        let released = store::release(&mut tx, self.session_id, self.token, now, expires_at).await?;
        // Its lease ran out and another turn has it: what came after must not be mixed with this.
        let others_wait = released.ok_or(SessionError::Busy)?;
        let new = |message: &Value| NewMessage {
            // In the order of the conversation.
            message_id: self.app.new_id(),
            turn_id: None,
            message: message.clone(),
            reasoning: None,
            kind: MessageKind::Message,
        };
        let new: Vec<_> = messages.iter().map(new).collect();
        let kept = store::append(tx.conn(), of, &new, Some(self.changes_id), now).await?;
        let views = messages::views(kept).into_iter();
        let mut drafts: Vec<_> =
            views.map(|(_, view)| Draft::new(Kind::MessageComplete, None, view.told())).collect();
        drafts.extend(status::go(tx.conn(), self.session_id, Status::Idle, None).await?);
        let written = log::write(&self.app, tx.conn(), of, drafts).await?;
        log::store::prune(tx.conn(), self.session_id, EVENTS_KEPT_MAX).await?;
        tx.commit().await?;
        self.token = Uuid::nil();
        written.tell(&self.app);
        artifacts::save_later(&self.app, &self.acting, self.session_id);
        if others_wait {
            drive::drive(&self.app, self.session_id);
        }
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.token.is_nil() {
            return;
        }
        let (app, acting, session_id, token) =
            (self.app.clone(), self.acting.clone(), self.session_id, self.token);
        let known = self.known.get();
        self.app.spawn(async move {
            if let Err(cause) = give_back(&app, &acting, session_id, token, known).await {
                tracing::error!(%cause, %session_id, "a session could not be given back; its lease will run out");
            }
        });
    }
}

/// Gives a session back with nothing added; one that nobody knows of goes.
async fn give_back(
    app: &App,
    acting: &Acting,
    session_id: Uuid,
    token: Uuid,
    known: bool,
) -> sqlx::Result<()> {
    let mut tx = app.tenant_tx(acting).await?;
    if !known && store::delete_unused(&mut tx, session_id, token).await? {
        return tx.commit().await;
    }
    let expires_at = app.now() + app.config.session_ttl;
    let Some(others_wait) = store::release(&mut tx, session_id, token, app.now(), expires_at).await? else {
        return Ok(());
    };
    let idle = status::go(tx.conn(), session_id, Status::Idle, None).await?;
    let of = (session_id, acting.app().app_id);
    let written = log::write(app, tx.conn(), of, idle.into_iter().collect()).await?;
    tx.commit().await?;
    written.tell(app);
    if others_wait {
        drive::drive(app, session_id);
    }
    Ok(())
}
