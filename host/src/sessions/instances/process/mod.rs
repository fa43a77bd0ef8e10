//! The `process` driver: a process of the session's own, a [runner](crate::runner).
//!
//! The host starts it, and it registers: once, within [`REGISTRATION_LIFE`], with
//! a token that only its orders hold (`register`). From then on it says every
//! [`BEAT_EVERY`] that it lives, and reports what its agents tell and what their
//! turns came to ([`routes`]), with a token that is good as long as the
//! instance is. One that ends, or is silent for [`BEATS_MISSED_MAX`] beats, is
//! lost (`watch`): what was acknowledged stays, and the next turn gets another.
//! Its host says now and then in the database that it is there; where that was not
//! said for [`HOST_SILENT_MAX`], the host has died, and another says so.
//!
//! No key of a provider is sealed to it: models are asked by the host, as
//! everything else its guests ask for. What is sealed is the key it shows on its
//! channel, by which the host knows that who registered is who it started.

mod drive;
pub(crate) mod register;
pub mod routes;
pub(crate) mod watch;

pub(super) use drive::Process;

use crate::{limits::SESSION_LEASE, sandbox::remote::Remote};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use subtle::ConstantTimeEq;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

/// How long a process may take to register: it does so at once, and a machine may be busy.
pub const REGISTRATION_LIFE: Duration = Duration::from_secs(120);
/// How often a runner says that it lives: often enough that nobody waits for a dead one, and a machine that is busy for a
/// moment is not mistaken for one.
pub const BEAT_EVERY: Duration = Duration::from_secs(5);
/// After so many beats that did not come a runner is lost.
pub const BEATS_MISSED_MAX: u32 = 3;
/// How long a host may not say of its runners that they are there before others take it for dead: as long as the lease
/// of a turn.
pub const HOST_SILENT_MAX: Duration = SESSION_LEASE;
/// Guests that run in one runner at once: as many as the host admits of one app, calls by calls among them.
pub const RUNNER_CALLS_MAX: u32 = 128;
/// Threads that run guests in one runner, in each of two lanes: one that spins holds up no other.
pub const RUNNER_THREADS: u32 = 2;

/// What a runner registers with starts with this.
const REGISTRATION_PREFIX: &str = "opg_reg_";
/// What it then calls with starts with this.
const INSTANCE_PREFIX: &str = "opg_run_";
/// The key that is sealed to it, in bytes.
const CHANNEL_KEY_BYTES: usize = 32;

/// The runners of this process.
#[derive(Default)]
pub struct Runners(Mutex<HashMap<Uuid, Arc<Runner>>>);

/// One of them.
pub(super) struct Runner {
    pub(super) instance_id: Uuid,
    pub(super) session_id: Uuid,
    app_id: Uuid,
    /// Cancelled when it is to end, or has.
    pub(super) gone: CancellationToken,
    registered: OnceLock<Registered>,
    /// Told when it has registered.
    registration: Notify,
    remote: OnceLock<Remote>,
    /// The number of the event that comes next.
    next_seq: tokio::sync::Mutex<u64>,
    heard_at: Mutex<Instant>,
    /// What it asks the API for at this moment: while the host lets it wait, it cannot say that it lives.
    asking: AtomicUsize,
}

/// What one was given when it registered.
struct Registered {
    token_hash: [u8; 32],
    channel_key: Zeroizing<[u8; CHANNEL_KEY_BYTES]>,
}

impl Runners {
    /// Remembers a new one, where its app has room for it: so many at the most.
    fn admit(&self, of: (Uuid, Uuid, Uuid), per_app_max: usize) -> Option<Arc<Runner>> {
        let (_, _, app_id) = of;
        let mut all = self.lock();
        let count = all.values().filter(|runner| runner.app_id == app_id).count();
        (count < per_app_max).then(|| Runners::added(&mut all, of))
    }

    /// Remembers one; the one there is, where there is one of this id.
    fn add(&self, of: (Uuid, Uuid, Uuid)) -> Arc<Runner> {
        Runners::added(&mut self.lock(), of)
    }

    fn added(
        all: &mut HashMap<Uuid, Arc<Runner>>,
        (instance_id, session_id, app_id): (Uuid, Uuid, Uuid),
    ) -> Arc<Runner> {
        let new = || {
            Arc::new(Runner {
                instance_id,
                session_id,
                app_id,
                gone: CancellationToken::new(),
                registered: OnceLock::new(),
                registration: Notify::new(),
                remote: OnceLock::new(),
                next_seq: tokio::sync::Mutex::new(1),
                heard_at: Mutex::new(Instant::now()),
                asking: AtomicUsize::new(0),
            })
        };
        all.entry(instance_id).or_insert_with(new).clone()
    }

    fn find(&self, instance_id: Uuid) -> Option<Arc<Runner>> {
        self.lock().get(&instance_id).cloned()
    }

    /// The one that calls with the token of this hash.
    fn of_token(&self, hash: &[u8; 32]) -> Option<Arc<Runner>> {
        let is_it = |runner: &&Arc<Runner>| {
            runner.registered.get().is_some_and(|given| given.token_hash.ct_eq(hash).into())
        };
        self.lock().values().find(is_it).cloned()
    }

    /// Ends one; whether it was there.
    pub(super) fn end(&self, instance_id: Uuid) -> bool {
        let found = self.lock().remove(&instance_id);
        found.inspect(|runner| runner.gone.cancel()).is_some()
    }

    /// Ends that of a session.
    pub(super) fn end_of(&self, session_id: Uuid) {
        let mut all = self.lock();
        all.retain(|_, runner| {
            let stays = runner.session_id != session_id;
            if !stays {
                runner.gone.cancel();
            }
            stays
        });
    }

    fn ids(&self) -> Vec<Uuid> {
        self.lock().keys().copied().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Runner>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runner {
    /// Whether this is what it was given when it registered.
    fn is(&self, token_hash: &[u8; 32], channel_key: &[u8]) -> bool {
        self.registered.get().is_some_and(|given| {
            let same = given.token_hash.ct_eq(token_hash) & given.channel_key.as_slice().ct_eq(channel_key);
            same.into()
        })
    }

    /// It was heard of.
    fn heard(&self) {
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Until when it must be heard of again.
    fn silent_until(&self) -> Instant {
        let heard_at = *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner);
        heard_at + BEAT_EVERY * BEATS_MISSED_MAX
    }

    /// Whether the host lets it wait.
    fn is_asking(&self) -> bool {
        self.asking.load(Ordering::Relaxed) > 0
    }

    /// It asks for something, until this is dropped.
    fn asks(self: &Arc<Self>) -> Asking {
        self.heard();
        self.asking.fetch_add(1, Ordering::Relaxed);
        Asking(self.clone())
    }
}

/// A request of a runner's that is being answered.
struct Asking(Arc<Runner>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
        self.0.heard();
    }
}
