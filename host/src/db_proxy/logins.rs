//! Connections as an app's own logins, kept for a while.
//!
//! A fresh connection costs some thirty times a small query, so a few are kept for each login, none longer than
//! [`KEPT_TIME_MAX`] unused, and no more than [`CONNECTIONS_MAX`] in all; where those are all in use, the one
//! unused for longest makes room. A login has so many connections and no more, so that one app's flood waits for
//! itself. A connection that was dropped in the middle of a statement is cancelled and closed.

use super::{
    limits::{
        CONNECTIONS_MAX, KEPT_PER_LOGIN_MAX, KEPT_TIME_MAX, OWNERS_PER_APP_MAX, READERS_PER_APP_MAX,
        TURN_TIME_MAX,
    },
    provision::{self, Access, PLACE, ProvisionError, Workspace},
    session, store,
    turns::Turns,
    wire::{Canceller, Connection, Target, WireError},
};
use crate::app::App;
use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeError {
    /// Every connection is in use, and stayed so.
    #[error("too many statements at once; try again in a moment")]
    Busy,
    /// The server.
    #[error("the apps' database cannot be reached")]
    Wire(#[from] WireError),
    /// The workspace.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// The password.
    #[error("a login cannot be opened with the master keys of this host")]
    Sealed,
    /// The app was deleted meanwhile.
    #[error("the app is gone")]
    Gone,
}

impl From<sqlx::Error> for TakeError {
    fn from(cause: sqlx::Error) -> TakeError {
        TakeError::Provision(ProvisionError::Db(cause))
    }
}

type Key = (Uuid, Access);

struct Kept {
    connection: Connection,
    since: Instant,
    /// Its place among all connections.
    place: OwnedSemaphorePermit,
}

#[derive(Default)]
struct State {
    kept: HashMap<Key, Vec<Kept>>,
    /// How often an app's logins were closed: what was taken before is not kept after.
    generation: HashMap<Uuid, u64>,
}

/// The connections of this host. Clones share them.
#[derive(Clone)]
pub(crate) struct Logins {
    state: Arc<Mutex<State>>,
    turns: Arc<Turns<Key>>,
    places: Arc<Semaphore>,
}

impl Default for Logins {
    fn default() -> Logins {
        let at_once = |(_, access): &Key| match access {
            Access::Reader => READERS_PER_APP_MAX,
            Access::Owner => OWNERS_PER_APP_MAX,
        };
        Logins {
            state: Arc::default(),
            turns: Arc::new(Turns::new(at_once)),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        }
    }
}

impl Logins {
    /// A connection of one of the app's logins, for this statement alone.
    pub(super) async fn take(
        &self,
        app: &App,
        workspace: &Workspace,
        access: Access,
    ) -> Result<Lease, TakeError> {
        let key = (workspace.app_id(), access);
        let turn = self.turns.take(key).await.ok_or(TakeError::Busy)?;
        let (place, kept) = match self.pop(key) {
            Some(kept) => (kept.place, Some(kept.connection)),
            None => {
                self.make_room();
                let place = tokio::time::timeout(TURN_TIME_MAX, self.places.clone().acquire_owned()).await;
                (place.ok().and_then(Result::ok).ok_or(TakeError::Busy)?, None)
            }
        };
        let generation = self.state().generation.get(&key.0).copied().unwrap_or_default();
        let connection = match kept {
            Some(connection) => connection,
            None => open(app, workspace, access).await?,
        };
        Ok(Lease {
            canceller: connection.canceller(),
            connection: Some(connection),
            clean: false,
            key,
            generation,
            place: Some(place),
            turn: Some(turn),
            logins: self.clone(),
            app: app.clone(),
        })
    }

    /// Closes what was unused for too long.
    pub(crate) fn close_idle(&self) {
        let mut state = self.state();
        for kept in state.kept.values_mut() {
            kept.retain(|kept| kept.since.elapsed() < KEPT_TIME_MAX);
        }
        state.kept.retain(|_, kept| !kept.is_empty());
        drop(state);
        self.turns.forget_idle();
    }

    /// Closes all connections of an app, and keeps none that is in use now.
    pub(super) async fn forget(&self, app_id: Uuid) {
        let mut state = self.state();
        *state.generation.entry(app_id).or_default() += 1;
        state.kept.retain(|(id, _), _| *id != app_id);
    }

    /// Connections, in use or kept.
    pub(super) fn connections(&self) -> usize {
        CONNECTIONS_MAX - self.places.available_permits()
    }

    /// Closes all that is unused, before the server stops.
    pub(crate) fn close_all(&self) {
        self.state().kept.clear();
    }

    /// The connection of this login that was used last, if it still is one.
    fn pop(&self, key: Key) -> Option<Kept> {
        let mut state = self.state();
        let all = state.kept.get_mut(&key)?;
        while let Some(mut kept) = all.pop() {
            if !kept.connection.is_stale() {
                return Some(kept);
            }
        }
        None
    }

    /// Closes the connection unused for longest, where all are taken.
    fn make_room(&self) {
        if self.places.available_permits() > 0 {
            return;
        }
        let mut state = self.state();
        let oldest = state.kept.iter().filter_map(|(key, all)| Some((all.first()?.since, *key))).min();
        if let Some(all) = oldest.and_then(|(_, key)| state.kept.get_mut(&key)) {
            all.remove(0);
        }
    }

    fn keep(&self, key: Key, generation: u64, connection: Connection, place: OwnedSemaphorePermit) {
        let mut state = self.state();
        if state.generation.get(&key.0).copied().unwrap_or_default() != generation {
            return;
        }
        let all = state.kept.entry(key).or_default();
        if all.len() < KEPT_PER_LOGIN_MAX {
            all.push(Kept { connection, since: Instant::now(), place });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open(app: &App, workspace: &Workspace, access: Access) -> Result<Connection, TakeError> {
    let password = {
        let mut tx = app.service_tx().await?;
        let found = match store::find_login(&mut tx, workspace.app_id(), access).await? {
            Some(found) => found,
            None => {
                // An app from before there were workspaces.
                if !store::lock_app(&mut tx, workspace.app_id()).await? {
                    return Err(TakeError::Gone);
                }
                let made_meanwhile = store::find_login(&mut tx, workspace.app_id(), access).await?;
                if made_meanwhile.is_none() {
                    provision::provision(app, &mut tx, workspace).await?;
                }
                let found =
                    store::find_login(&mut tx, workspace.app_id(), access).await?.ok_or(TakeError::Gone)?;
                tx.commit().await?;
                found
            }
        };
        app.open_sealed(PLACE, found.0, &found.1).map_err(|_| TakeError::Sealed)?
    };
    let target = Target::new(&app.server.apps_admin(), &workspace.role(access), password);
    let mut connection = Connection::open(&target).await?;
    connection.simple(&session::set_up()).await?;
    Ok(connection)
}

/// A connection in use. It goes back when it was put back ([`Lease::put_back`]); dropped otherwise, what it does is
/// cancelled and it is closed.
pub(super) struct Lease {
    connection: Option<Connection>,
    canceller: Canceller,
    clean: bool,
    key: Key,
    generation: u64,
    place: Option<OwnedSemaphorePermit>,
    turn: Option<OwnedSemaphorePermit>,
    logins: Logins,
    app: App,
}

impl Lease {
    /// Ends the transaction without a trace and puts the connection back, while the caller goes on.
    pub(super) fn put_back(mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let (key, generation, logins) = (self.key, self.generation, self.logins.clone());
        let (place, turn) = (self.place.take(), self.turn.take());
        self.clean = true;
        self.app.spawn(async move {
            let rolled_back = tokio::time::timeout(TURN_TIME_MAX, connection.simple(session::ROLLBACK)).await;
            if let (Ok(Ok(())), Some(place)) = (rolled_back, place) {
                logins.keep(key, generation, connection, place);
            }
            drop(turn);
        });
    }
}

impl Deref for Lease {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("a lease has its connection until it is put back")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a lease has its connection until it is put back")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.clean {
            return;
        }
        // Closing alone does not stop a statement that computes: the server sees it when it writes.
        let (connection, place, turn) = (self.connection.take(), self.place.take(), self.turn.take());
        let canceller = self.canceller.clone();
        self.app.spawn(async move {
            if let Err(cause) = canceller.cancel().await {
                tracing::warn!(%cause, "a statement could not be cancelled");
            }
            drop((connection, place, turn));
        });
    }
}
