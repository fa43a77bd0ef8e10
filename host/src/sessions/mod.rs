//! Sessions: a conversation that outlives a request.
//!
//! A request names one with `X-OPG-Session-Id` (or `session_id`), or asks for a
//! new one with the word `new`; its messages are added to what the session
//! holds. One turn at a time: a turn takes the session with a lease, so that a
//! host that dies does not keep it. A session ends `SESSION_TTL` after its last
//! use; then it is 410 until a sweep removes it.

pub mod routes;
mod store;
pub mod sweep;

use crate::{
    app::App,
    grants::{Acting, InApp},
    limits::{SESSION_BYTES_MAX, SESSION_LEASE, SESSION_LEASE_RENEWED_EVERY, SESSION_MESSAGES_MAX},
};
use serde_json::Value;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use uuid::Uuid;

/// What to write instead of an id, for a new session.
pub const NEW: &str = "new";

/// Why a session cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is none, or it is another app's.
    #[error("no such session")]
    NotFound,
    /// Its time is over.
    #[error("this session has expired; start another with `X-OPG-Session-Id: new`")]
    Expired,
    /// A turn is running.
    #[error("a turn is running in this session; wait for it to end")]
    Busy,
    /// It is full.
    #[error(
        "this session is full ({SESSION_MESSAGES_MAX} messages or {SESSION_BYTES_MAX} bytes); start another with \
         `X-OPG-Session-Id: new`"
    )]
    Full,
    /// The database.
    #[error("the session could not be read or written")]
    Db(#[from] sqlx::Error),
}

/// A session taken for one turn. Given back when it is dropped.
pub struct Taken {
    app: App,
    acting: Acting,
    /// Its id.
    pub session_id: Uuid,
    token: Uuid,
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
    let (session_id, history) = if id == NEW {
        let session_id = app.new_id();
        let new =
            store::NewSession { session_id, app_id: acting.app().app_id, now, expires_at, token, busy_until };
        store::insert(&mut tx, &new).await?;
        (session_id, vec![])
    } else {
        let session_id = Uuid::parse_str(id).map_err(|_| SessionError::NotFound)?;
        let row = store::lock(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
        if row.expires_at <= now {
            return Err(SessionError::Expired);
        }
        if row.busy_until.is_some_and(|until| until > now) {
            return Err(SessionError::Busy);
        }
        let (messages, bytes) = store::size(&mut tx, session_id).await?;
        if messages >= SESSION_MESSAGES_MAX || bytes >= SESSION_BYTES_MAX {
            return Err(SessionError::Full);
        }
        store::take(&mut tx, session_id, token, busy_until, now, expires_at).await?;
        known.set();
        (session_id, store::messages(&mut tx, session_id).await?)
    };
    // Before the commit: whoever goes away during it leaves a session that is given back.
    let renewing = AbortOnDrop(tokio::spawn(renew(app.clone(), acting.clone(), session_id, token)));
    let taken = Taken { app: app.clone(), acting, session_id, token, history, known, _renewing: renewing };
    tx.commit().await?;
    Ok(taken)
}

/// Renews the lease of a turn until it is dropped with the turn.
async fn renew(app: App, acting: Acting, session_id: Uuid, token: Uuid) {
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

    /// Adds the messages of a turn and gives the session back, in one transaction.
    ///
    /// # Errors
    /// [`SessionError`]; nothing was added then.
    pub async fn finish(mut self, messages: &[Value]) -> Result<(), SessionError> {
        let mut tx = self.app.tenant_tx(&self.acting).await?;
        let now = self.app.now();
        if !store::release(&mut tx, self.session_id, self.token, now, now + self.app.config.session_ttl)
            .await?
        {
            // Its lease ran out and another turn has it: what came after must not be mixed with this.
            return Err(SessionError::Busy);
        }
        store::append(&mut tx, self.session_id, self.acting.app().app_id, self.history.len(), messages, now)
            .await?;
        tx.commit().await?;
        self.token = Uuid::nil();
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
            let released = async {
                let mut tx = app.tenant_tx(&acting).await?;
                if known {
                    let expires_at = app.now() + app.config.session_ttl;
                    store::release(&mut tx, session_id, token, app.now(), expires_at).await?;
                } else {
                    store::delete(&mut tx, session_id).await?;
                }
                tx.commit().await
            };
            if let Err(cause) = released.await {
                tracing::error!(%cause, %session_id, "a session could not be given back; its lease will run out");
            }
        });
    }
}
