//! One call into a component: a store, an instance, an answer, and all of it
//! dropped.
//!
//! Whatever happens inside, a call ends: by its answer, by a trap, by its CPU
//! time, by its deadline, or because nobody waits for it any more.

use super::bindings::{agent, tool};
use super::component::{Abi, Tool};
use super::cpu::Stopwatch;
use super::deadline::Deadline;
use super::extism::TooMuch;
use super::first_slice::Habit;
use super::limits::{CallLimits, GUEST_HANDLES_MAX, HOST_CALLS_MAX, HOSTCALL_BYTES_MAX, SHORT_CALL_TIME};
use super::state::GuestState;
use super::text::clean;
use super::wasi::finish_output;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};
use wasmtime_wasi::I32Exit;

/// What a call came to, and what it used.
#[derive(Debug)]
pub struct Called<T> {
    /// The answer, or why there is none.
    pub result: Result<T, CallError>,
    /// What it used, also where there is no answer.
    pub spent: Spent,
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Spent {
    /// From its slot to its end, host waits included.
    pub wall: Duration,
    /// CPU time, without host waits.
    pub cpu: Duration,
    /// Memories and tables together, at their largest.
    pub memory_bytes_peak: usize,
    /// Log lines over the limit.
    pub log_lines_dropped: u32,
}

/// Why a call gave no answer. The first five are the guest's doing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
pub enum CallError {
    /// It crashed.
    #[error("the plugin crashed: {0}")]
    Trap(String),
    /// It used up its time: [`Spent`] says which, CPU or wall.
    #[error("the plugin did not finish in its time limit")]
    TimedOut,
    /// It used up its memory.
    #[error("the plugin needs more memory than it may have")]
    OutOfMemory,
    /// It answered too much, or handed the host too much at once.
    #[error("the plugin's output is larger than allowed; return less")]
    OutputTooLarge,
    /// `describe` said something that cannot be kept.
    #[error("the plugin's description of itself was refused: {0}")]
    BadDescription(String),
    /// The process it ran in is gone.
    #[error("the process this session runs in ended; send it again, and it gets another")]
    Lost,
    /// No slot was free.
    #[error("too many plugins are running; try again")]
    Busy,
    /// The caller's or our fault.
    #[error("the plugin could not be run: {0}")]
    Engine(String),
}

impl<T> Called<T> {
    /// A call that never began.
    pub(super) fn refused(error: CallError) -> Self {
        Self { result: Err(error), spent: Spent::default() }
    }

    pub(super) fn and_then<U>(self, then: impl FnOnce(T) -> Result<U, CallError>) -> Called<U> {
        Called { result: self.result.and_then(then), spent: self.spent }
    }
}

/// What is called, with its arguments.
pub(super) trait Export: Send + 'static {
    type Output: Send + 'static;

    fn call(
        &self,
        store: &mut Store<GuestState>,
    ) -> impl Future<Output = wasmtime::Result<Self::Output>> + Send;

    /// How calls of this go, if they may end without waiting for anything.
    fn habit(&self) -> Option<&Habit> {
        None
    }
}

pub(super) struct DescribeTool(pub(super) tool::PluginPre<GuestState>);

impl Export for DescribeTool {
    type Output = Vec<tool::exports::opg::tool::tool::Definition>;

    async fn call(&self, store: &mut Store<GuestState>) -> wasmtime::Result<Self::Output> {
        let plugin = self.0.instantiate_async(&mut *store).await?;
        plugin.opg_tool_tool().call_describe(store).await
    }
}

/// A tool that must be run to say what it is, and whose words are not WIT's.
pub(super) struct DescribePlugin(pub(super) Arc<Tool>);

impl Export for DescribePlugin {
    type Output = Result<Vec<tool::exports::opg::tool::tool::Definition>, String>;

    async fn call(&self, store: &mut Store<GuestState>) -> wasmtime::Result<Self::Output> {
        match &self.0.abi {
            Abi::Extism(plugin) => plugin.describe(store).await,
            Abi::Opg(_) | Abi::Functions(_) => Err(wasmtime::Error::msg("it is no Extism plugin")),
        }
    }
}

pub(super) struct DescribeAgent(pub(super) agent::PluginPre<GuestState>);

impl Export for DescribeAgent {
    type Output = agent::exports::opg::agent::agent::Definition;

    async fn call(&self, store: &mut Store<GuestState>) -> wasmtime::Result<Self::Output> {
        let plugin = self.0.instantiate_async(&mut *store).await?;
        plugin.opg_agent_agent().call_describe(store).await
    }
}

pub(super) struct CallTool {
    pub(super) tool: Arc<Tool>,
    pub(super) name: String,
    pub(super) input: String,
    pub(super) context: tool::opg::tool::types::Context,
}

impl Export for CallTool {
    type Output = Result<String, tool::exports::opg::tool::tool::Error>;

    async fn call(&self, store: &mut Store<GuestState>) -> wasmtime::Result<Self::Output> {
        match &self.tool.abi {
            Abi::Opg(pre) => {
                let plugin = pre.instantiate_async(&mut *store).await?;
                plugin.opg_tool_tool().call_call(store, &self.name, &self.input, &self.context).await
            }
            Abi::Functions(functions) => functions.call(store, &self.name, &self.input).await,
            Abi::Extism(plugin) => plugin.call(store, &self.name, &self.input).await,
        }
    }

    fn habit(&self) -> Option<&Habit> {
        Some(&self.tool.habit)
    }
}

pub(super) struct RunAgent {
    pub(super) pre: agent::PluginPre<GuestState>,
    pub(super) turn: agent::exports::opg::agent::agent::Turn,
}

impl Export for RunAgent {
    type Output =
        Result<agent::exports::opg::agent::agent::Outcome, agent::exports::opg::agent::agent::Error>;

    async fn call(&self, store: &mut Store<GuestState>) -> wasmtime::Result<Self::Output> {
        let plugin = self.pre.instantiate_async(&mut *store).await?;
        plugin.opg_agent_agent().call_run(store, &self.turn).await
    }
}

/// Runs `export` in a store of its own. `slot` goes back when the store is gone.
pub(super) async fn run<E: Export>(
    engine: Engine,
    slot: impl Send,
    limits: CallLimits,
    state: impl FnOnce(Deadline) -> GuestState + Send,
    export: E,
) -> Called<E::Output> {
    let _slot = slot;
    let started = Instant::now();
    let deadline = Deadline::new(started + limits.wall);
    let mut store = store(&engine, state(deadline.clone()));
    let mut cpu = Duration::ZERO;
    let ended = {
        let call = pin!(export.call(&mut store));
        metered(call, &mut cpu, limits.cpu, &deadline, export.habit()).await
    };
    finish_output(&store.data().host);
    let result = match ended {
        Some(Ok(output)) => Ok(output),
        Some(Err(error)) => Err(blame(&error, store.data())),
        None => Err(CallError::TimedOut),
    };
    let state = store.data();
    Called {
        result,
        spent: Spent {
            wall: started.elapsed(),
            cpu,
            memory_bytes_peak: state.memory.peak(),
            log_lines_dropped: state.host.log.dropped(),
        },
    }
}

fn store(engine: &Engine, state: GuestState) -> Store<GuestState> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store.set_max_component_handles(GUEST_HANDLES_MAX);
    // At each tick back to the runtime, behind all other tasks: a plain yield would let spinning guests
    // starve timers and new calls.
    store.epoch_deadline_callback(|store| {
        if store.data().asked_too_often() {
            return Err(AskedTooOften.into());
        }
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store.set_epoch_deadline(1);
    store
}

/// Polls `call` until it ends (`Some`), or its CPU time or its deadline does (`None`).
///
/// No poll takes longer than a tick, so both are noticed within one. `habit` learns whether the first was enough.
async fn metered<T>(
    mut call: Pin<&mut impl Future<Output = T>>,
    cpu: &mut Duration,
    cpu_max: Duration,
    deadline: &Deadline,
    mut habit: Option<&Habit>,
) -> Option<T> {
    let mut timer = pin!(tokio::time::sleep_until(deadline.at().into()));
    poll_fn(|cx| {
        let stopwatch = Stopwatch::start();
        let polled = call.as_mut().poll(cx);
        *cpu += stopwatch.elapsed();
        if let Some(habit) = habit.take() {
            habit.learn(polled.is_ready() && *cpu <= SHORT_CALL_TIME);
        }
        match polled {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if *cpu >= cpu_max || deadline.time_left().is_zero() => Poll::Ready(None),
            Poll::Pending => {
                // It may have been put off, or be nearer again.
                let at = deadline.at().into();
                if timer.deadline() != at {
                    timer.as_mut().reset(at);
                }
                timer.as_mut().poll(cx).map(|()| None)
            }
        }
    })
    .await
}

/// Ends a call whose guest asked the host for too much.
#[derive(Debug, thiserror::Error)]
#[error("it asked the host for something more than {HOST_CALLS_MAX} times; wait with a poll, not in a loop")]
struct AskedTooOften;

/// What a failed call says about whose fault it was.
fn blame(error: &wasmtime::Error, state: &GuestState) -> CallError {
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError::Busy;
    }
    let cause = error.root_cause().to_string();
    // The engine's type for it is private.
    if error.is::<TooMuch>() || cause.contains("fuel allocated for hostcalls has been exhausted") {
        return CallError::OutputTooLarge;
    }
    // An allocator that gets no memory gives up in its own way: by a trap, an exit, a panic.
    if state.memory.was_refused() {
        return CallError::OutOfMemory;
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let text = trap.to_string();
        return CallError::Trap(text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned());
    }
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        return CallError::Trap(format!("it exited with status {status}"));
    }
    CallError::Trap(clean(&cause, 300))
}
