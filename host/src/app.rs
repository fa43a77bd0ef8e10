//! `App`: everything one running OPG shares, and the only source of time,
//! randomness and ids.

use crate::{
    config::Config,
    db_proxy::Database,
    egress::Egress,
    grants::{
        authenticate::{Authenticator, LastUsed},
        credential::Pepper,
    },
    guests::{in_flight::InFlight, standing::Changes},
    http::rate_limit::RateLimits,
    mail::Mailer,
    models::catalog::Catalog,
    people::{device::Guesses, oauth::Oauth, password::Passwords},
    postgres::{Pools, Server},
    registry::{blobs::Blobs, compiling::Turns, predefined::Predefined},
    remembered::Remembered,
    sandbox::Sandbox,
    secrets::keyring::Keyring,
    sessions::{
        artifacts::Files as Artifacts,
        instances::process::Runners,
        log::{Hub, Readers},
        turns::running::RunningTurns,
    },
    tasks::RunningTasks,
    telemetry::Metrics,
    traces::Traces,
    typescript::Compiler,
    workspace::Workspaces,
};
use chrono::{DateTime, SubsecRound, TimeZone, Utc};
use std::{
    ops::Deref,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// A handle on the running OPG. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] is made of.
pub struct Parts {
    /// The configuration it was started with.
    pub config: Config,
    /// The clock.
    pub clock: Clock,
    /// The source of randomness.
    pub entropy: Entropy,
    /// The database server, for readiness.
    pub server: Server,
    /// Connections; taken through `tenant_tx` and `service_tx` alone.
    pub(crate) pools: Pools,
    /// The apps' own databases.
    pub database: Database,
    /// Master keys.
    pub keyring: Keyring,
    /// What tokens are hashed with.
    pub pepper: Pepper,
    /// Who may come in.
    pub authenticator: Authenticator,
    /// Where passwords are hashed.
    pub passwords: Passwords,
    /// The way to the mail server, where the operator names one.
    pub mailer: Option<Mailer>,
    /// The way to other providers of accounts, where the operator registered with any.
    pub oauth: Option<Oauth>,
    /// Who typed wrong codes.
    pub guesses: Guesses,
    /// How often.
    pub rate_limits: RateLimits,
    /// Components and their sources, by digest.
    pub blobs: Blobs,
    /// What sessions come to.
    pub artifacts: Artifacts,
    /// What we ship.
    pub predefined: Predefined,
    /// Where guests run.
    pub sandbox: Sandbox,
    /// Makes components of TypeScript files.
    pub typescript: Compiler,
    /// The way out for guests.
    pub guest_egress: Egress,
    /// The way out to model providers.
    pub model_egress: Egress,
    /// The way of spans to whoever collects them.
    pub traces: Traces,
    /// Counters and histograms.
    pub metrics: Metrics,
    /// Cancelled when the process is asked to stop.
    pub stopping: CancellationToken,
    /// Cancelled when what still runs after that must end.
    pub cut_off: CancellationToken,
    /// Ids in the order they were made.
    pub ids: Ids,
    /// Guest calls in flight, by app.
    pub in_flight: InFlight,
    /// Whose turn it is to have something compiled.
    pub compiling: Turns,
    /// What was changed that running guests stand on, by app.
    pub changes: Changes,
    /// What was read of apps, while nothing of it changes.
    pub remembered: Remembered,
    /// Which keys of providers were used lately.
    pub keys_used: LastUsed,
    /// Which models providers offer.
    pub model_catalog: Catalog,
    /// Which sources of the platform do not answer.
    pub circuits: crate::sources::Circuits,
    /// How much is asked of the platform's models that have limits.
    pub paces: crate::sources::Paces,
    /// What providers want back with calls.
    pub seals: crate::models::vault::Vault,
    /// From sessions' writers to their readers.
    pub session_hub: Hub,
    /// Who reads them, by session and app.
    pub readers: Readers,
    /// The turns of sessions that run here.
    pub running_turns: RunningTurns,
    /// The processes that sessions run in.
    pub runners: Runners,
    /// The program that runs, to be started once more for a runner.
    pub program: PathBuf,
    /// The files of sessions.
    pub workspaces: Workspaces,
    /// The tasks that run here.
    pub tasks: RunningTasks,
    /// Work that outlives its request: waited for when the process stops.
    pub background: TaskTracker,
    /// Where background work runs, also when it was started from a guest's thread.
    pub runtime: Handle,
    /// This process, among others on the same database.
    pub process_id: Uuid,
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> App {
        App(Arc::new(parts))
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Runs something that outlives its request.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.background.spawn_on(work, &self.runtime)
    }

    /// A new id: UUIDv7 (RFC 9562), rising within this process.
    pub fn new_id(&self) -> Uuid {
        self.ids.next(self.clock.now(), &self.entropy)
    }
}

impl Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Makes ids that rise, also within one millisecond.
#[derive(Default)]
pub struct Ids(Mutex<(u64, u16)>);

impl Ids {
    fn next(&self, now: DateTime<Utc>, entropy: &Entropy) -> Uuid {
        /// The bits of UUIDv7's `rand_a`, used as a counter (RFC 9562 §6.2, method 1).
        const COUNTER_MAX: u16 = 0x0fff;
        let mut random = entropy.bytes::<10>();
        let now_ms = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        let (ms, count) = {
            let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *last = match *last {
                (ms, _) if now_ms > ms => (now_ms, 0),
                (ms, count) if count < COUNTER_MAX => (ms, count + 1),
                (ms, _) => (ms + 1, 0),
            };
            *last
        };
        random[..2].copy_from_slice(&count.to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
    }
}

/// Digits of a second that PostgreSQL keeps: what is answered is what is stored.
const STORED_DIGITS: u16 = 6;

/// The clock. A test may hold it still and move it.
#[derive(Clone)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock(None)
    }

    /// A clock that stands still until it is moved.
    pub fn manual(at: DateTime<Utc>) -> Clock {
        Clock(Some(Arc::new(AtomicI64::new(at.timestamp_micros()))))
    }

    /// Moves a manual clock; the system's clock takes no notice.
    pub fn advance(&self, by: chrono::Duration) {
        if let Some(micros) = &self.0 {
            micros.fetch_add(by.num_microseconds().unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Some(micros) => Utc.timestamp_micros(micros.load(Ordering::SeqCst)).single().unwrap_or_default(),
            #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
            None => Utc::now().trunc_subsecs(STORED_DIGITS),
        }
    }
}

/// The source of randomness. A test may choose it.
#[derive(Clone)]
pub struct Entropy(Option<Arc<AtomicU64>>);

impl Entropy {
    /// The operating system's.
    pub fn os() -> Entropy {
        Entropy(None)
    }

    /// A sequence a test can repeat. Not random at all.
    pub fn repeatable(seed: u64) -> Entropy {
        Entropy(Some(Arc::new(AtomicU64::new(seed))))
    }

    /// Fills a buffer.
    pub fn fill(&self, buffer: &mut [u8]) {
        match &self.0 {
            None => getrandom::fill(buffer).expect("the operating system gives random bytes once it is up"),
            Some(state) => {
                for chunk in buffer.chunks_mut(8) {
                    chunk.copy_from_slice(&splitmix(state).to_le_bytes()[..chunk.len()]);
                }
            }
        }
    }

    /// `N` bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): good enough to look random in a test.
fn splitmix(state: &AtomicU64) -> u64 {
    let mut z = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
