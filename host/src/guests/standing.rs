//! Whether what was allowed when a request began still is: a grant, a credential or an app taken away bites at the
//! next thing a running guest reaches for.
//!
//! A chain of calls reads its standing again when something of its app changed in this process ([`Changes`]), and
//! otherwise at most every [`REREAD_AFTER`], which is how soon a change made on another host is noticed. Where it
//! cannot be read, nothing is allowed.

use crate::{
    app::App,
    grants::{Acting, Capability, InApp, Live, Role, live, live_role},
    registry::{PluginName, resolve},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use uuid::Uuid;

/// How long a chain goes by what it read. Most calls end before; of a turn of minutes it is a query or two a second.
pub const REREAD_AFTER: Duration = Duration::from_millis(500);

/// How often something that guests stand on was changed, app by app, in this process.
#[derive(Default)]
pub struct Changes(Mutex<HashMap<Uuid, u64>>);

impl Changes {
    /// Something of this app was changed and committed: grants, reviews, secrets, credentials, the app itself.
    pub fn made(&self, app_id: Uuid) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(app_id).or_default() += 1;
    }

    fn count(&self, app_id: Uuid) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&app_id).copied().unwrap_or_default()
    }
}

/// What was read last.
#[derive(Debug)]
pub struct Now {
    /// Whether the operator stopped the app's traffic.
    pub suspended: bool,
    grants: Vec<(PluginName, Capability)>,
}

impl Now {
    /// What this plugin stands granted by review.
    pub fn granted_to<'a>(&'a self, plugin: &'a PluginName) -> impl Iterator<Item = &'a Capability> {
        self.grants.iter().filter(move |(name, _)| name == plugin).map(|(_, capability)| capability)
    }
}

/// Why a guest may reach for nothing any more.
#[derive(Debug, thiserror::Error)]
pub enum Fallen {
    /// The credential was revoked or ended, or the app was deleted.
    #[error("the credential this call runs for is no longer valid")]
    Ended,
    /// The database.
    #[error("whether this is still allowed cannot be checked right now; try again")]
    Db(#[from] sqlx::Error),
}

/// The standing of one chain.
pub struct Standing(tokio::sync::Mutex<Seen>);

struct Seen {
    changes: u64,
    read_at: Instant,
    /// None: what the chain began with.
    now: Option<Arc<Now>>,
}

impl Standing {
    /// What a chain of this app begins with, just read.
    pub fn begin(app: &App, app_id: Uuid) -> Standing {
        let changes = app.changes.count(app_id);
        Standing(tokio::sync::Mutex::new(Seen { changes, read_at: Instant::now(), now: None }))
    }

    /// What stands now; none while it is what the chain began with.
    ///
    /// # Errors
    /// [`Fallen`]; then nothing is allowed.
    pub async fn now(&self, app: &App, acting: &Acting) -> Result<Option<Arc<Now>>, Fallen> {
        let mut seen = self.0.lock().await;
        // Before reading: what is changed while we read is read again.
        let changes = app.changes.count(acting.app().app_id);
        if changes != seen.changes || seen.read_at.elapsed() >= REREAD_AFTER {
            seen.now = Some(Arc::new(read(app, acting).await?));
            (seen.changes, seen.read_at) = (changes, Instant::now());
        }
        Ok(seen.now.clone())
    }
}

/// How whoever acts stands at this moment.
///
/// # Errors
/// The database's.
pub(crate) async fn live_now(app: &App, acting: &Acting) -> sqlx::Result<Live> {
    if !person_still_may(app, acting).await? {
        return Ok(Live::Ended);
    }
    let mut tx = app.tenant_tx(acting).await?;
    let of_app = acting.caller().credential_id.filter(|_| acting.user_id().is_none());
    live(&mut tx, of_app, app.now()).await
}

async fn read(app: &App, acting: &Acting) -> Result<Now, Fallen> {
    let suspended = match live_now(app, acting).await? {
        Live::Ended => return Err(Fallen::Ended),
        Live::Suspended => true,
        Live::Yes => false,
    };
    let mut tx = app.tenant_tx(acting).await?;
    Ok(Now { suspended, grants: resolve::granted(&mut tx).await? })
}

/// Whether a person's credential is still in use and their role still allows what it did when they asked.
async fn person_still_may(app: &App, acting: &Acting) -> sqlx::Result<bool> {
    let (caller, Some(user_id)) = (acting.caller(), acting.user_id()) else { return Ok(true) };
    let mut tx = app.service_tx().await?;
    let role = live_role(&mut tx, acting.app().app_id, user_id, caller.credential_id, app.now()).await?;
    let role = role.as_deref().and_then(Role::parse);
    Ok(role.is_some_and(|role| role.cap(caller.scopes) == caller.scopes))
}
