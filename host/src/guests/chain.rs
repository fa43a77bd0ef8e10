//! What the guest calls of one request share.

use crate::{
    app::App,
    grants::{Acting, GuestGrants, InApp},
    guests::{
        Place, Record,
        known::Known,
        record::LogLine,
        standing::{Fallen, Standing},
    },
    limits::{
        ANSWER_BYTES_MAX, CALL_DEPTH_MAX, QUESTIONS_PER_TURN_MAX, STEPS_PER_TURN_MAX, TOOL_CALLS_PER_TURN_MAX,
    },
    models::{Usage, gateway::GatewayError},
    registry::PluginName,
    sandbox::{
        CallContext,
        door::{DoorError, Question, ToolDefinition},
    },
    secrets::scan::{Found, Scanner},
    tools::catalog::{Catalog, Tool},
    traces::TraceContext,
    workspace::Change,
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
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// What an agent streams to the client.
#[derive(Debug)]
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
    /// A file of the session that a guest changed; the host says so.
    File(Change),
    /// What a guest logged in a run; the host says so.
    Logged {
        /// The tool, or the agent.
        name: String,
        /// The first lines.
        lines: Vec<LogLine>,
        /// How many there were besides.
        left_out: usize,
    },
    /// Wants to be told when all that came before it can be read by others.
    Settle(oneshot::Sender<()>),
}

/// How long [`Chain::settle`] waits: longer than a write takes. What is told out of order is still told.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(2);

/// Says whether a tool may run now, where it is not for its capabilities to say: in a session somebody may be asked.
#[async_trait]
pub trait Permissions: Send + Sync {
    /// Whether `tool` may run with this input, JSON text; may wait for as long as the chain has. Gives back the input as
    /// it was judged.
    async fn permit(&self, chain: &Chain, tool: &Tool, input: String) -> Result<String, DoorError>;

    /// Whether a plugin may do what it asks about; may wait for as long as the chain has.
    async fn ask(&self, chain: &Chain, asked: Asked) -> Result<(), DoorError>;
}

/// What a plugin asks about, of its own accord.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who asks.
    pub plugin: PluginName,
    /// What it may touch.
    pub capabilities: Vec<String>,
    /// What it is about to do, and to what.
    pub question: Question,
    /// What else helps to decide.
    pub details: Map<String, Value>,
}

/// Has another agent do something, where the session of a turn lets its agent do so. To a model it is a tool.
#[async_trait]
pub trait Delegate: Send + Sync {
    /// What a model needs to know of it.
    fn definition(&self) -> &ToolDefinition;
    /// Runs it as a part of this chain: input and answer are JSON text.
    async fn run(&self, chain: &Chain, input: String) -> Result<String, DoorError>;
}

/// One request's chain of guest calls. Cheap to clone; a nested call gets a
/// deeper one with the same budgets.
#[derive(Clone)]
pub struct Chain {
    /// For whom.
    pub acting: Acting,
    /// The session it belongs to.
    pub session_id: Option<Uuid>,
    /// The turn of it that runs in the background, where it is one.
    pub turn_id: Option<Uuid>,
    /// The files its tools work on, where it belongs to a session.
    pub files: Option<Files>,
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
    /// Who does what its agent hands on; none: nobody.
    pub delegate: Option<Arc<dyn Delegate>>,
    /// Where its guests run.
    pub place: Place,
    events: Option<mpsc::Sender<Emitted>>,
    tally: Arc<Tally>,
    shared: Arc<Shared>,
}

/// Whose files are worked on, and as part of what it is kept how they were before.
#[derive(Clone)]
pub struct Files {
    /// The session they are of.
    pub session_id: Uuid,
    /// The turn, and then those it is a part of.
    pub turns: Arc<[Uuid]>,
}

impl Files {
    /// Those of this session, in a turn that is a part of no other.
    pub fn new(session_id: Uuid, turn_id: Uuid) -> Files {
        Files { session_id, turns: Arc::new([turn_id]) }
    }

    /// The same in a turn that is a part of that one.
    fn within(&self, turn_id: Uuid) -> Files {
        let turns = std::iter::once(turn_id).chain(self.turns.iter().copied()).collect();
        Files { session_id: self.session_id, turns }
    }
}

/// What one agent's model calls came to; also counted for the agent that handed the work on.
#[derive(Default)]
struct Tally {
    usage: Mutex<Usage>,
    last: Mutex<Option<Usage>>,
    failure: Mutex<Option<GatewayError>>,
    above: Option<Arc<Tally>>,
}

struct Shared {
    standing: Standing,
    known: Known,
    tokens: Mutex<BTreeMap<PluginName, u64>>,
    emitted_bytes: AtomicUsize,
    model_calls: AtomicU32,
    tool_calls: AtomicU32,
    questions: AtomicU32,
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
            turn_id: None,
            files: None,
            end_user: None,
            depth: 0,
            deadline: Instant::now() + time_limit,
            tools,
            permissions: None,
            delegate: None,
            place: Place::Here,
            events,
            tally: Arc::default(),
            shared: Arc::new(Shared {
                standing: Standing::begin(app, proof.app().app_id),
                known: Known::default(),
                tokens: Mutex::default(),
                emitted_bytes: AtomicUsize::default(),
                model_calls: AtomicU32::default(),
                tool_calls: AtomicU32::default(),
                questions: AtomicU32::default(),
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

    /// The same in a turn that runs in the background.
    pub fn in_turn(self, turn_id: Uuid) -> Chain {
        Chain { turn_id: Some(turn_id), ..self }
    }

    /// The same, whose tools work on these files.
    pub fn working_on(self, files: Files) -> Chain {
        Chain { files: Some(files), ..self }
    }

    /// The same, in which tools run as these permissions say.
    pub fn asking(self, permissions: Arc<dyn Permissions>) -> Chain {
        Chain { permissions: Some(permissions), ..self }
    }

    /// The same, whose guests run there.
    pub fn running_in(self, place: Place) -> Chain {
        Chain { place, ..self }
    }

    /// The same, whose agent may hand work on.
    pub fn delegating(self, delegate: Arc<dyn Delegate>) -> Chain {
        Chain { delegate: Some(delegate), ..self }
    }

    /// The chain of an agent that does a part of this one's work, as a turn of a session of its own: with these tools,
    /// telling what it does to `events`. Deadline and budgets stay this chain's, and so do the files.
    pub fn handed_on(
        &self,
        (session_id, turn_id): (Uuid, Uuid),
        tools: Arc<Catalog>,
        events: mpsc::Sender<Emitted>,
    ) -> Chain {
        let tally = Tally { above: Some(self.tally.clone()), ..Tally::default() };
        Chain {
            session_id: Some(session_id),
            files: self.files.as_ref().map(|files| files.within(turn_id)),
            tools,
            events: Some(events),
            tally: Arc::new(tally),
            permissions: None,
            delegate: None,
            ..self.clone()
        }
    }

    /// The chain of a call made by a call of this one; none where it is deep enough. What a tool does is its own: it
    /// hands nothing on to agents.
    pub fn deeper(&self, time_left: Duration) -> Option<Chain> {
        (self.depth < CALL_DEPTH_MAX).then(|| Chain {
            depth: self.depth + 1,
            deadline: self.deadline.min(Instant::now() + time_left),
            delegate: None,
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

    /// Takes one question to a person from the budget; false where it is spent.
    pub fn take_question(&self) -> bool {
        self.shared.questions.fetch_add(1, Ordering::Relaxed) < QUESTIONS_PER_TURN_MAX
    }

    /// Counts tokens of this plugin's model calls.
    pub fn add_tokens(&self, plugin: &PluginName, tokens: u64) {
        let mut used = self.shared.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let used = used.entry(plugin.clone()).or_default();
        *used = used.saturating_add(tokens);
    }

    /// Adds what a model call used.
    pub fn add_usage(&self, usage: &Usage) {
        *lock(&self.tally.last) = Some(*usage);
        let mut tally = Some(&self.tally);
        while let Some(of) = tally {
            let mut total = lock(&of.usage);
            *total = total.and(usage);
            tally = of.above.as_ref();
        }
    }

    /// What its model calls used, and those of the agents it handed work to.
    pub fn usage(&self) -> Usage {
        *lock(&self.tally.usage)
    }

    /// What the last model call of its own used: how long the conversation has become.
    pub fn last_usage(&self) -> Option<Usage> {
        *lock(&self.tally.last)
    }

    /// Keeps a model's failure: the client is told that, not what a guest makes of it.
    pub fn keep_failure(&self, failure: GatewayError) {
        *lock(&self.tally.failure) = Some(failure);
    }

    /// The last model call's failure, if it failed.
    pub fn take_failure(&self) -> Option<GatewayError> {
        lock(&self.tally.failure).take()
    }

    /// Tells whoever watches the session of this turn what a run of it logged.
    pub async fn tell_logs(&self, name: &str, logs: &[LogLine]) {
        if self.turn_id.is_none() || logs.is_empty() {
            return;
        }
        let lines = LogLine::first(logs).to_vec();
        let left_out = logs.len() - lines.len();
        // Nobody needs to listen.
        drop(self.emit(Emitted::Logged { name: name.to_owned(), lines, left_out }).await);
    }

    /// Streams a piece of the answer.
    ///
    /// # Errors
    /// Where nobody listens, or the answer is too large.
    pub async fn emit(&self, event: Emitted) -> Result<(), EmitError> {
        let Some(events) = &self.events else { return Err(EmitError::NobodyListens) };
        if let Emitted::Text(text) | Emitted::Reasoning(text) = &event {
            let before = self.shared.emitted_bytes.fetch_add(text.len(), Ordering::Relaxed);
            if before.saturating_add(text.len()) > ANSWER_BYTES_MAX {
                return Err(EmitError::TooLarge);
            }
        }
        events.send(event).await.map_err(|_| EmitError::NobodyListens)
    }

    /// Waits until what was said so far can be read by others: what is told next by another way then stands after it.
    pub async fn settle(&self) {
        let Some(events) = &self.events else { return };
        let (settled, is_settled) = oneshot::channel();
        let settling = async {
            if events.send(Emitted::Settle(settled)).await.is_ok() {
                // Whoever does not keep what is said lets go of it.
                let _ = is_settled.await;
            }
        };
        let _ = tokio::time::timeout(SETTLE_TIME_MAX, settling).await;
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
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
