//! Running a component.
//!
//! A [`Sandbox`] turns the bytes of a component, or of an Extism plugin, into a
//! [`Component`] and calls it. It knows no HTTP, no database and no grants: what a guest may reach is
//! behind a [`Door`].
//!
//! Rules:
//! - Every call has a store, an instance and memory of its own; nothing
//!   survives a call.
//! - Every call ends: loading, `describe`, start functions and answers are
//!   under the same limits of time and memory, waiting for the host included.
//! - Guests run on threads of their own; a call that is expected to end at once
//!   may have its first slice where it is asked for, see `first_slice`. What
//!   guests ask of the host runs on the host's threads, and stops when the call does.
//! - Dropping the future of a call stops its guest.
//! - Components are compiled in a process of its own, which can be killed, and only machine code from there is
//!   loaded.
//!
//! Deliberately absent: sockets, files, the environment, threads, and limits
//! per app, which are the caller's affair.

mod bindings;
mod cache;
mod call;
mod clock;
pub mod compiler;
mod complexity;
mod component;
mod cpu;
mod deadline;
mod describe;
pub mod door;
mod engine;
mod extism;
mod first_slice;
mod imports;
mod lanes;
mod limits;
pub mod remote;
#[doc(hidden)]
pub mod seams;
mod share;
mod shared_code;
mod state;
mod text;
mod typed;
mod verify;
mod wasi;

#[cfg(test)]
mod tests;

pub use call::{CallError, Called, Spent};
pub use component::Component;
pub use describe::{AgentDescription, PluginTool, RequestedCapability};
pub use limits::{COMPONENT_BYTES_MAX, CallLimits};
pub use verify::{LoadError, PluginKind};

use bindings::agent::exports::opg::agent::agent as wit_agent;
use bindings::tool::exports::opg::tool::tool as wit_tool;
use bindings::tool::opg::tool::types::Context as WitContext;
use bytes::Bytes;
use cache::CodeCache;
use call::{CallTool, DescribeAgent, DescribePlugin, DescribeTool, RunAgent};
use compiler::{Compiler, CompilerConfig};
use component::{Abi, Export, Loader, LoaderError};
use door::{ClosedDoor, Door};
use engine::Ticker;
use first_slice::{Place, Places};
use lanes::Lanes;
use limits::{CALL_QUEUE_WAIT, ERROR_TEXT_BYTES_MAX};
use share::{Share, Shares};
use shared_code::SharedCode;
use state::GuestState;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use text::cut;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::timeout;
use wasmtime::Engine;

/// What a sandbox is made with.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Where compiled components are kept. Nobody else may write there.
    pub cache_dir: PathBuf,
    /// How they are compiled.
    pub compiler: CompilerConfig,
    /// Threads that run guests, in each of two lanes: one for each core is right.
    pub worker_threads: usize,
    /// Calls at the same time, of all apps together. Each one reserves
    /// addresses, not memory.
    pub calls_in_flight_max: u32,
    /// Where the host's side of a guest's calls runs, and the children that compile: with timers and I/O.
    pub host: Handle,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A number in the configuration.
    #[error("`{0}` must be at least 1")]
    Config(&'static str),
    /// The engine refused our settings, or the machine has no room for the pool.
    #[error("could not start the WebAssembly engine: {0}")]
    Engine(String),
    /// The directory for compiled components.
    #[error("could not open the cache of compiled components in `{dir}`")]
    Cache {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No thread could be started.
    #[error("could not start the sandbox's threads")]
    Threads(#[source] io::Error),
}

/// What is known of a call from outside: `opg:tool/types.context`. Its time
/// limit is the call's.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CallContext {
    /// The id of this invocation.
    pub invocation_id: String,
    /// The app's slug.
    pub app: String,
    /// The session it belongs to, if any.
    pub session_id: Option<String>,
}

/// Why a tool gave no output, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
pub enum ToolError {
    /// The input does not fit.
    #[error("{0}")]
    InvalidInput(String),
    /// The tool could not do it.
    #[error("{0}")]
    Failed(String),
}

/// One user message for an agent: `opg:agent/agent.turn`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Turn {
    /// The model to ask, `provider/model`.
    pub model: String,
    /// The instructions of a markdown agent.
    pub instructions: Option<String>,
    /// A JSON array of OpenAI chat messages.
    pub messages: String,
    /// A JSON object: other fields of the chat request.
    pub options: String,
    /// A JSON array of tools the client runs.
    pub client_tools: String,
    /// How many model calls the turn may take.
    pub max_steps: u32,
    /// What is known of the call from outside.
    pub context: CallContext,
}

/// How a turn ended: `opg:agent/agent.outcome`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Outcome {
    /// `stop`, `length`, `tool_calls` or `content_filter`; not checked here.
    pub finish_reason: String,
    /// A JSON array of the messages this turn added; not checked here.
    pub messages: String,
}

/// Why there is no outcome, in the agent's own words.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
pub enum AgentError {
    /// The turn is wrong.
    #[error("{0}")]
    InvalidInput(String),
    /// A model call was refused or failed.
    #[error("{0}")]
    Model(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// What the sandbox has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SandboxStats {
    /// Calls that run now.
    pub calls_in_flight: usize,
    /// Calls that began.
    pub calls: u64,
    /// Calls that were refused because no slot was free.
    pub calls_refused: u64,
    /// Calls that ended without an answer.
    pub calls_failed: u64,
    /// Calls that began on a thread of the host.
    pub first_slices_lent: u64,
    /// Components ready to be called.
    pub components_ready: usize,
    /// Components that were compiled.
    pub components_compiled: u64,
    /// Components that were found compiled on disk.
    pub components_from_cache: u64,
}

/// Runs components. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    engine: Engine,
    shared_code: SharedCode,
    loader: Loader,
    ticker: Ticker,
    /// Taken when the sandbox goes away.
    guests: Option<Lanes>,
    host: Handle,
    /// Threads of the host that are lent for first slices.
    places: Places,
    /// What guests computed lately, by app.
    shares: Shares,
    slots: Arc<Semaphore>,
    calls_in_flight_max: u32,
    calls: AtomicU64,
    calls_refused: AtomicU64,
    calls_failed: AtomicU64,
}

impl Sandbox {
    /// Starts the engine and the guests' threads.
    pub fn new(config: SandboxConfig) -> Result<Self, StartError> {
        let SandboxConfig { cache_dir, compiler, worker_threads, calls_in_flight_max, host } = config;
        if worker_threads == 0 {
            return Err(StartError::Config("worker_threads"));
        }
        if calls_in_flight_max == 0 {
            return Err(StartError::Config("calls_in_flight_max"));
        }
        let shared_code = SharedCode::default();
        // One slot more than calls: the last one may still be on its way back.
        let engine =
            engine::new_engine(calls_in_flight_max.saturating_add(1)).map_err(|error| no_engine(&error))?;
        let loader =
            Loader::new(&engine, &cache_dir, Compiler::new(compiler, shared_code.clone()), host.clone())
                .map_err(|error| match error {
                    LoaderError::Link(error) => no_engine(&error),
                    LoaderError::Cache(source) => StartError::Cache { dir: cache_dir, source },
                })?;
        Sandbox::around(engine, loader, shared_code, worker_threads, calls_in_flight_max, host)
    }

    /// Starts one that neither compiles nor keeps anything: it runs what another made ready.
    fn of_given_code(
        worker_threads: usize,
        calls_in_flight_max: u32,
        host: Handle,
    ) -> Result<Self, StartError> {
        let engine = engine::new_engine_of_given_code(calls_in_flight_max.saturating_add(1))
            .map_err(|error| no_engine(&error))?;
        let loader = Loader::of_given_code(&engine, host.clone()).map_err(|error| no_engine(&error))?;
        let shared_code = SharedCode::default();
        Sandbox::around(engine, loader, shared_code, worker_threads, calls_in_flight_max, host)
    }

    fn around(
        engine: Engine,
        loader: Loader,
        shared_code: SharedCode,
        worker_threads: usize,
        calls_in_flight_max: u32,
        host: Handle,
    ) -> Result<Self, StartError> {
        let ticker = Ticker::start(&engine).map_err(StartError::Threads)?;
        let guests = Lanes::start(worker_threads).map_err(StartError::Threads)?;
        let inner = Inner {
            loader: loader.with_threads_behind(guests.behind().clone()),
            ticker,
            guests: Some(guests),
            engine,
            shared_code,
            places: Places::on(&host),
            host,
            shares: Shares::default(),
            slots: Arc::new(Semaphore::new(calls_in_flight_max as usize)),
            calls_in_flight_max,
            calls: 0.into(),
            calls_refused: 0.into(),
            calls_failed: 0.into(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The SHA-256 of `wasm`, in lower-case hexadecimal: a component's digest.
    pub fn digest(wasm: &[u8]) -> String {
        component::digest(wasm)
    }

    /// The module of an Extism manifest, with the manifest in it: what [`Sandbox::load`] takes.
    ///
    /// # Errors
    /// What is wrong with the manifest. The module itself is not looked at.
    pub fn module_of_extism_manifest(json: &[u8]) -> Result<Vec<u8>, LoadError> {
        extism::into_module(json)
    }

    /// Does one job shut in, in a child: see [`compiler`]. `ours` is what it takes for that besides the input.
    pub(crate) async fn in_child(
        &self,
        job: compiler::Job,
        ours: Bytes,
        input: Bytes,
    ) -> Result<Vec<u8>, LoadError> {
        self.0.loader.in_child(job, ours, input).await
    }

    /// The component with this digest, if it is ready: saves reading its bytes.
    pub fn find(&self, digest: &str) -> Option<Component> {
        self.0.loader.find(digest)
    }

    /// Verifies a component, compiles it or finds it compiled, and links it.
    pub async fn load(&self, wasm: Bytes) -> Result<Component, LoadError> {
        self.0.loader.load(wasm).await
    }

    /// Digests of components that were compiled for an older engine and not for this one, the most recently
    /// used first: worth loading before somebody waits for them.
    ///
    /// # Errors
    /// Where the cache cannot be read.
    pub fn stale(&self) -> io::Result<Vec<String>> {
        self.0.loader.cache().map_or_else(|| Ok(vec![]), CodeCache::stale)
    }

    /// Removes what was compiled for other engines.
    ///
    /// # Errors
    /// Where the cache cannot be changed.
    pub fn forget_stale(&self) -> io::Result<()> {
        self.0.loader.cache().map_or(Ok(()), CodeCache::forget_others)
    }

    /// What the tools in a plugin say of themselves.
    pub async fn describe_tool(&self, component: &Component) -> Result<Vec<PluginTool>, CallError> {
        let Export::Tool(tool) = component.export() else { return Err(not_a("tool")) };
        let said = match &tool.abi {
            Abi::Opg(pre) => self.describe(DescribeTool(pre.clone())).await?,
            // Its types say it: nothing is run.
            Abi::Functions(functions) => functions.definitions(),
            Abi::Extism(plugin) if plugin.describes_itself() => {
                self.describe(DescribePlugin(tool.clone())).await?.map_err(CallError::BadDescription)?
            }
            Abi::Extism(plugin) => plugin.definitions(),
        };
        describe::tools(said)
    }

    /// What an agent says of itself.
    pub async fn describe_agent(&self, component: &Component) -> Result<AgentDescription, CallError> {
        let Export::Agent(pre) = component.export() else { return Err(not_a("agent")) };
        self.describe(DescribeAgent(pre.clone())).await.and_then(describe::agent)
    }

    /// Runs one tool. `input` is JSON text, and so is the output; neither is parsed here.
    pub async fn call_tool(
        &self,
        component: &Component,
        door: Arc<dyn Door>,
        limits: CallLimits,
        name: &str,
        input: String,
        context: CallContext,
    ) -> Called<Result<String, ToolError>> {
        let Export::Tool(tool) = component.export() else { return Called::refused(not_a("tool")) };
        let (limits, share) = (limits.clamped(), self.0.shares.of(&context.app));
        let call =
            CallTool { tool: tool.clone(), name: name.to_owned(), input, context: context.into_wit(&limits) };
        self.run(door, limits, share, call).await.and_then(|output| match output {
            Ok(output) if output.len() > limits.output_bytes_max => Err(CallError::OutputTooLarge),
            Ok(output) => Ok(Ok(output)),
            Err(error) => Ok(Err(error.into())),
        })
    }

    /// Runs one turn of an agent.
    pub async fn run_agent(
        &self,
        component: &Component,
        door: Arc<dyn Door>,
        limits: CallLimits,
        turn: Turn,
    ) -> Called<Result<Outcome, AgentError>> {
        let Export::Agent(pre) = component.export() else { return Called::refused(not_a("agent")) };
        let (limits, share) = (limits.clamped(), self.0.shares.of(&turn.context.app));
        let call = RunAgent { pre: pre.clone(), turn: turn.into_wit(&limits) };
        self.run(door, limits, share, call).await.and_then(|outcome| match outcome {
            Ok(outcome) if outcome.messages.len() + outcome.finish_reason.len() > limits.output_bytes_max => {
                Err(CallError::OutputTooLarge)
            }
            Ok(outcome) => {
                Ok(Ok(Outcome { finish_reason: outcome.finish_reason, messages: outcome.messages }))
            }
            Err(error) => Ok(Err(error.into())),
        })
    }

    /// The engine, for the benchmark that compares with it alone.
    #[doc(hidden)]
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// An engine for our own runtime to be compiled in: what it compiles is found again in the components made of
    /// it. It has no clock.
    pub fn engine_for_loading(&self) -> wasmtime::Result<Engine> {
        engine::new_loading_engine(Some(self.0.shared_code.to_fill()))
    }

    /// Whether guests can be run: the clock that interrupts them is alive.
    pub fn is_healthy(&self) -> bool {
        self.0.ticker.is_alive()
    }

    /// What it has done so far.
    pub fn stats(&self) -> SandboxStats {
        let inner = &self.0;
        let (components_compiled, components_from_cache) = inner.loader.counts();
        SandboxStats {
            calls_in_flight: (inner.calls_in_flight_max as usize)
                .saturating_sub(inner.slots.available_permits()),
            calls: inner.calls.load(Ordering::Relaxed),
            calls_refused: inner.calls_refused.load(Ordering::Relaxed),
            calls_failed: inner.calls_failed.load(Ordering::Relaxed),
            first_slices_lent: inner.places.taken_times(),
            components_ready: inner.loader.ready(),
            components_compiled,
            components_from_cache,
        }
    }

    async fn describe<E: call::Export>(&self, export: E) -> Result<E::Output, CallError> {
        self.run(Arc::new(ClosedDoor), CallLimits::DESCRIBE, self.0.shares.of(""), export).await.result
    }

    async fn run<E: call::Export>(
        &self,
        door: Arc<dyn Door>,
        limits: CallLimits,
        share: Share,
        export: E,
    ) -> Called<E::Output> {
        let inner = &self.0;
        if !self.is_healthy() {
            return Called::refused(CallError::Engine(
                "the clock that interrupts guests has stopped".to_owned(),
            ));
        }
        let Some(slot) = inner.slot().await else {
            inner.calls_refused.fetch_add(1, Ordering::Relaxed);
            return Called::refused(CallError::Busy);
        };
        inner.calls.fetch_add(1, Ordering::Relaxed);
        let host = inner.host.clone();
        let (memory, asking) = (limits.memory_bytes_max, share.clone());
        let state = move |deadline| GuestState::new(door, host, asking, memory, deadline);
        let place = export.habit().filter(|habit| habit.is_short()).and_then(|_| inner.places.take());
        let call = call::run(inner.engine.clone(), slot, limits, state, export);
        let call = Box::pin(call);
        let called = match place {
            Some(place) => inner.begin_here(place, share, call).await,
            None => inner.guests().run(share, call).await,
        };
        let called = called
            .unwrap_or_else(|| Called::refused(CallError::Engine("it stopped unexpectedly".to_owned())));
        if called.result.is_err() {
            inner.calls_failed.fetch_add(1, Ordering::Relaxed);
        }
        called
    }
}

impl Inner {
    /// Begins a call on this thread. What does not end in its first slice moves on; `None` where it panicked.
    async fn begin_here<T: Send + 'static>(
        &self,
        place: Place<'_>,
        share: Share,
        mut call: Pin<Box<impl Future<Output = T> + Send + 'static>>,
    ) -> Option<T> {
        match first_slice::poll_here(self.guests().fresh(), place, call.as_mut()).await.ok()? {
            Poll::Ready(called) => Some(called),
            Poll::Pending => {
                // Whoever asked may be gone by now: then it gets no second slice.
                yield_now().await;
                self.guests().run(share, call).await
            }
        }
    }

    fn guests(&self) -> &Lanes {
        self.guests.as_ref().expect("only taken when the sandbox is dropped")
    }

    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        match self.slots.clone().try_acquire_owned() {
            Ok(slot) => Some(slot),
            Err(_) => timeout(CALL_QUEUE_WAIT, self.slots.clone().acquire_owned()).await.ok()?.ok(),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(guests) = self.guests.take() {
            // Guests end at their next tick; nobody waits for them here, which may be inside a task.
            guests.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sandbox").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

fn no_engine(error: &wasmtime::Error) -> StartError {
    StartError::Engine(format!("{error:#}"))
}

fn not_a(kind: &str) -> CallError {
    CallError::Engine(format!("the component is not {} {kind}", if kind == "agent" { "an" } else { "a" }))
}

impl CallContext {
    fn into_wit(self, limits: &CallLimits) -> WitContext {
        WitContext {
            invocation_id: self.invocation_id,
            app: self.app,
            session_id: self.session_id,
            time_limit_ms: millis(limits.wall),
        }
    }
}

impl Turn {
    fn into_wit(self, limits: &CallLimits) -> wit_agent::Turn {
        wit_agent::Turn {
            model: self.model,
            instructions: self.instructions,
            messages: self.messages,
            options: self.options,
            client_tools: self.client_tools,
            max_steps: self.max_steps,
            context: self.context.into_wit(limits),
        }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

impl ToolError {
    /// The same, no longer than anybody reads: it is a guest's text.
    fn shortened(self) -> Self {
        match self {
            Self::InvalidInput(text) => Self::InvalidInput(cut(text, ERROR_TEXT_BYTES_MAX)),
            Self::Failed(text) => Self::Failed(cut(text, ERROR_TEXT_BYTES_MAX)),
        }
    }
}

impl AgentError {
    /// The same, no longer than anybody reads: it is a guest's text.
    fn shortened(self) -> Self {
        match self {
            Self::InvalidInput(text) => Self::InvalidInput(cut(text, ERROR_TEXT_BYTES_MAX)),
            Self::Model(text) => Self::Model(cut(text, ERROR_TEXT_BYTES_MAX)),
            Self::Failed(text) => Self::Failed(cut(text, ERROR_TEXT_BYTES_MAX)),
        }
    }
}

impl From<wit_tool::Error> for ToolError {
    fn from(error: wit_tool::Error) -> Self {
        match error {
            wit_tool::Error::InvalidInput(text) => Self::InvalidInput(text),
            wit_tool::Error::Failed(text) => Self::Failed(text),
        }
        .shortened()
    }
}

impl From<wit_agent::Error> for AgentError {
    fn from(error: wit_agent::Error) -> Self {
        match error {
            wit_agent::Error::InvalidInput(text) => Self::InvalidInput(text),
            wit_agent::Error::Model(text) => Self::Model(text),
            wit_agent::Error::Failed(text) => Self::Failed(text),
        }
        .shortened()
    }
}
