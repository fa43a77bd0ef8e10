//! Connections for single statements: those on the way of every request.
//!
//! A pool of `sqlx`'s asks each connection that comes back whether it lives, in a task of its own: a round trip and two
//! switches of threads more for a statement that is one. Here a connection comes back only when its statement was read
//! to the end, which says as much; whatever else happens to it, it is closed.

use super::pools::{ACQUIRE_TIMEOUT, CONNECTION_LIFETIME, IDLE_TIMEOUT, TRUSTED_WITHOUT_PING, set_up};
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The connections of one role. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Statements(Arc<Shared>);

struct Shared {
    options: PgConnectOptions,
    role: &'static str,
    connections_max: u32,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: PgConnection,
    opened_at: Instant,
    idle_since: Instant,
}

/// A connection for one statement.
pub(crate) struct Statement {
    connection: PgConnection,
    opened_at: Instant,
    shared: Arc<Shared>,
    _slot: OwnedSemaphorePermit,
}

impl Statements {
    pub(super) fn new(options: PgConnectOptions, role: &'static str, connections_max: u32) -> Statements {
        let slots = Arc::new(Semaphore::new(connections_max as usize));
        Statements(Arc::new(Shared { options, role, connections_max, slots, idle: Mutex::default() }))
    }

    /// Takes one; opens one where none waits.
    ///
    /// # Errors
    /// The database's, or `PoolTimedOut` where all are taken for [`ACQUIRE_TIMEOUT`].
    pub(crate) async fn take(&self) -> sqlx::Result<Statement> {
        tokio::time::timeout(ACQUIRE_TIMEOUT, self.take_or_open())
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    async fn take_or_open(&self) -> sqlx::Result<Statement> {
        let slot = Arc::clone(&self.0.slots).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let (connection, opened_at) = loop {
            let Some(Idle { mut connection, opened_at, idle_since }) = self.0.pop() else {
                let mut connection = self.0.options.connect().await?;
                set_up(&mut connection, self.0.role).await?;
                break (connection, Instant::now());
            };
            if idle_since.elapsed() < TRUSTED_WITHOUT_PING || connection.ping().await.is_ok() {
                break (connection, opened_at);
            }
        };
        Ok(Statement { connection, opened_at, shared: Arc::clone(&self.0), _slot: slot })
    }

    /// How many are open.
    pub(crate) fn size(&self) -> u32 {
        let free = u32::try_from(self.0.slots.available_permits()).unwrap_or(u32::MAX);
        let idle = u32::try_from(self.0.idle().len()).unwrap_or(u32::MAX);
        self.0.connections_max.saturating_sub(free).saturating_add(idle)
    }

    /// No more are given out, and those that wait are closed.
    pub(super) fn close(&self) {
        self.0.slots.close();
        self.0.idle().clear();
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one used last, so that those not needed grow old; those that are too old are closed.
    fn pop(&self) -> Option<Idle> {
        let mut idle = self.idle();
        idle.retain(|one| {
            one.opened_at.elapsed() < CONNECTION_LIFETIME && one.idle_since.elapsed() < IDLE_TIMEOUT
        });
        idle.pop()
    }
}

impl Statement {
    /// The connection, for a `store`.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// What was asked was read to its end: another may have the connection.
    pub(crate) fn done(self) {
        let Statement { connection, opened_at, shared, _slot } = self;
        if !shared.slots.is_closed() {
            shared.idle().push(Idle { connection, opened_at, idle_since: Instant::now() });
        }
    }
}
