//! What the guest calls of one request share.

use crate::{
    app::App,
    grants::{Acting, GuestGrants, InApp},
    guests::{
        Record,
        known::Known,
        standing::{Fallen, Standing},
    },
    limits::{ANSWER_BYTES_MAX, CALL_DEPTH_MAX, STEPS_PER_TURN_MAX, TOOL_CALLS_PER_TURN_MAX},
    models::{Usage, gateway::GatewayError},
    registry::PluginName,
    sandbox::{CallContext, door::DoorError},
    secrets::scan::{Found, Scanner},
    tools::catalog::{Catalog, Tool},
    traces::TraceContext,
};
use async_trait::async_trait;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use uuid::Uuid;

/// What an agent streams to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emitted {
    /// A piece of the answer.
    Text(String),
    /// A piece of what the model thought.
    Reasoning(String),
    /// What else an agent tells of itself, for whoever watches its session.
    Other {
        /// What kind of event it says it is.
        kind: String,
        /// The event, whole.
        event: Map<String, Value>,
    },
}

/// Says whether a tool may run now, where it is not for its capabilities to say: in a session somebody may be asked.
#[async_trait]
pub trait Permissions: Send + Sync {
    /// Whether `tool` may run with this input, JSON text; may wait for `time_left`. Gives back the input as it was judged.
    async fn permit(&self, tool: &Tool, input: String, time_left: Duration) -> Result<String, DoorError>;
}

/// One request's chain of guest calls. Cheap to clone; a nested call gets a
/// deeper one with the same budgets.
#[derive(Clone)]
pub struct Chain {
    /// For whom.
    pub acting: Acting,
    /// The session it belongs to.
    pub session_id: Option<Uuid>,
    /// Whose request it is, where the client says so.
    pub end_user: Option<Arc<str>>,
    /// How deep this call is: 0 is what the request itself started.
    pub depth: u32,
    /// When the whole must have ended.
    pub deadline: Instant,
    /// The tools that may be called.
    pub tools: Arc<Catalog>,
    /// Who is asked before one of them runs; none: nobody.
    pub permissions: Option<Arc<dyn Permissions>>,
    shared: Arc<Shared>,
}

struct Shared {
    standing: Standing,
    known: Known,
    tokens: Mutex<BTreeMap<PluginName, u64>>,
    events: Option<mpsc::Sender<Emitted>>,
    emitted_bytes: AtomicUsize,
    model_calls: AtomicU32,
    tool_calls: AtomicU32,
    usage: Mutex<Usage>,
    model_failure: Mutex<Option<GatewayError>>,
}

impl Chain {
    /// The chain a request starts. `events` is where an agent's answer goes.
    pub fn start(
        app: &App,
        proof: &impl InApp,
        tools: Arc<Catalog>,
        session_id: Option<Uuid>,
        time_limit: Duration,
        events: Option<mpsc::Sender<Emitted>>,
    ) -> Chain {
        Chain {
            acting: Acting::of(proof),
            session_id,
            end_user: None,
            depth: 0,
            deadline: Instant::now() + time_limit,
            tools,
            permissions: None,
            shared: Arc::new(Shared {
                standing: Standing::begin(app, proof.app().app_id),
                known: Known::default(),
                tokens: Mutex::default(),
                events,
                emitted_bytes: AtomicUsize::default(),
                model_calls: AtomicU32::default(),
                tool_calls: AtomicU32::default(),
                usage: Mutex::default(),
                model_failure: Mutex::default(),
            }),
        }
    }

    /// The same, for what one run of it leads to.
    #[must_use]
    pub fn within(&self, trace: Option<TraceContext>) -> Chain {
        Chain { acting: self.acting.within(trace), ..self.clone() }
    }

    /// The same for an end user of the client's.
    pub fn of_end_user(self, end_user: Option<&str>) -> Chain {
        Chain { end_user: end_user.map(Arc::from), ..self }
    }

    /// The same, in which tools run as these permissions say.
    pub fn asking(self, permissions: Arc<dyn Permissions>) -> Chain {
        Chain { permissions: Some(permissions), ..self }
    }

    /// The chain of a call made by a call of this one; none where it is deep enough.
    pub fn deeper(&self, time_left: Duration) -> Option<Chain> {
        (self.depth < CALL_DEPTH_MAX).then(|| Chain {
            depth: self.depth + 1,
            deadline: self.deadline.min(Instant::now() + time_left),
            ..self.clone()
        })
    }

    /// What is left of its time.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// What a guest is told of its call.
    pub fn context(&self, app: &App) -> CallContext {
        CallContext {
            invocation_id: app.new_id().to_string(),
            app: self.acting.app().slug.clone(),
            session_id: self.session_id.map(|id| id.to_string()),
        }
    }

    /// These grants as they stand at this moment.
    ///
    /// # Errors
    /// Where the caller itself does not stand any more, or that cannot be read.
    pub async fn as_of_now(&self, app: &App, grants: &GuestGrants) -> Result<Option<GuestGrants>, Fallen> {
        let now = self.shared.standing.now(app, &self.acting).await?;
        Ok(now.map(|now| grants.as_of(&now)))
    }

    /// The secrets whose values turned up in this chain.
    pub fn known(&self) -> &Known {
        &self.shared.known
    }

    /// Something a guest says, without the secrets the chain knows; what was taken out is counted in the record.
    pub fn clean<T>(&self, record: &Record, what: T, clean: impl FnOnce(&Scanner, T, &mut Found) -> T) -> T {
        let Some(scanner) = self.known().scanner() else { return what };
        let mut found = Found::new();
        let what = clean(&scanner, what, &mut found);
        record.redacted(&found);
        what
    }

    /// How many tokens this plugin's model calls used.
    pub fn tokens_of(&self, plugin: &PluginName) -> u64 {
        let tokens = self.shared.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(plugin).copied().unwrap_or_default()
    }

    /// Takes one model call from the budget; false where it is spent.
    pub fn take_model_call(&self) -> bool {
        self.shared.model_calls.fetch_add(1, Ordering::Relaxed) < STEPS_PER_TURN_MAX
    }

    /// Takes one call of a tool by a guest from the budget; false where it is spent.
    pub fn take_tool_call(&self) -> bool {
        self.shared.tool_calls.fetch_add(1, Ordering::Relaxed) < TOOL_CALLS_PER_TURN_MAX
    }

    /// Counts tokens of this plugin's model calls.
    pub fn add_tokens(&self, plugin: &PluginName, tokens: u64) {
        let mut used = self.shared.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let used = used.entry(plugin.clone()).or_default();
        *used = used.saturating_add(tokens);
    }

    /// Adds what a model call used.
    pub fn add_usage(&self, usage: &Usage) {
        let mut total = self.shared.usage.lock().unwrap_or_else(PoisonError::into_inner);
        *total = total.and(usage);
    }

    /// What its model calls used.
    pub fn usage(&self) -> Usage {
        *self.shared.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a model's failure: the client is told that, not what a guest makes of it.
    pub fn keep_failure(&self, failure: GatewayError) {
        *self.shared.model_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// The last model call's failure, if it failed.
    pub fn take_failure(&self) -> Option<GatewayError> {
        self.shared.model_failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Streams a piece of the answer.
    ///
    /// # Errors
    /// Where nobody listens, or the answer is too large.
    pub async fn emit(&self, event: Emitted) -> Result<(), EmitError> {
        let Some(events) = &self.shared.events else { return Err(EmitError::NobodyListens) };
        if let Emitted::Text(text) | Emitted::Reasoning(text) = &event {
            let before = self.shared.emitted_bytes.fetch_add(text.len(), Ordering::Relaxed);
            if before.saturating_add(text.len()) > ANSWER_BYTES_MAX {
                return Err(EmitError::TooLarge);
            }
        }
        events.send(event).await.map_err(|_| EmitError::NobodyListens)
    }
}

/// Why a piece of an answer went nowhere.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// Nobody reads it.
    #[error("nobody listens to this call's events")]
    NobodyListens,
    /// There was too much already.
    #[error("the answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
}
