//! The host's end: from runs to the doors they have.

use super::message::{Answer, Answered, Ask, Shown, ToHost, ToRunner, What};
use super::{CALL_BYTES_MAX, CALLS_OPEN_MAX, EVENTS_AHEAD, FROM_RUNNER_BYTES_MAX, PATIENCE, frame};
use crate::sandbox::call::{CallError, Called, Spent};
use crate::sandbox::component::{Component, Packed};
use crate::sandbox::door::{Door, DoorError, LogLevel};
use crate::sandbox::limits::{ERROR_TEXT_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, PERSON_TIME_MAX};
use crate::sandbox::text::clean;
use crate::sandbox::{AgentError, CallContext, CallLimits, Outcome, PluginKind, ToolError, Turn};
use futures_util::StreamExt as _;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Frames that wait for the runner to read them.
const FRAMES_WAITING_MAX: usize = 64;

/// A sandbox in another process. Cheap to clone.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

struct Shared {
    out: mpsc::Sender<Vec<u8>>,
    runs: Mutex<HashMap<u64, Run>>,
    calls: Mutex<HashMap<u64, Call>>,
    runs_begun: AtomicU64,
    /// What the calls that are being answered hold, in bytes.
    held: AtomicUsize,
    gone: CancellationToken,
    host: Handle,
}

/// A guest that runs there.
struct Run {
    door: Arc<dyn Door>,
    until: Instant,
    log_lines: u32,
    outcome: Option<Outcome>,
    said: mpsc::Sender<Said>,
}

/// What is heard of a run.
enum Said {
    Missing,
    Ended(Result<Answered, CallError>, Spent),
}

/// A guest's call that is being answered.
struct Call {
    run: u64,
    task: AbortHandle,
    /// How many of a model's events the guest takes.
    credit: Arc<Semaphore>,
}

impl Remote {
    /// The one at the other end of these two. It is gone when either ends, or `gone` is cancelled; and cancels it.
    pub fn over(
        mut reader: impl AsyncRead + Send + Unpin + 'static,
        mut writer: impl AsyncWrite + Send + Unpin + 'static,
        host: Handle,
        gone: CancellationToken,
    ) -> Remote {
        let (out, mut frames) = mpsc::channel::<Vec<u8>>(FRAMES_WAITING_MAX);
        let shared = Arc::new(Shared {
            out,
            runs: Mutex::default(),
            calls: Mutex::default(),
            runs_begun: 0.into(),
            held: 0.into(),
            gone,
            host: host.clone(),
        });
        host.spawn(shared.clone().until_gone(async move {
            while let Some(frame) = frames.recv().await {
                if writer.write_all(&frame).await.is_err() {
                    return;
                }
            }
        }));
        let reading = shared.clone();
        host.spawn(shared.clone().until_gone(async move {
            loop {
                match frame::read(&mut reader, FROM_RUNNER_BYTES_MAX).await {
                    Ok(Some(message)) => reading.hear(message),
                    Ok(None) => return,
                    Err(cause) => {
                        tracing::warn!(%cause, "a runner said something that makes no sense");
                        return;
                    }
                }
            }
        }));
        Remote(shared)
    }

    /// As [`Sandbox::run_agent`](crate::sandbox::Sandbox::run_agent).
    pub async fn run_agent(
        &self,
        component: &Component,
        door: Arc<dyn Door>,
        limits: CallLimits,
        turn: Turn,
    ) -> Called<Result<Outcome, AgentError>> {
        if component.kind() != PluginKind::Agent {
            return Called::refused(crate::sandbox::not_a("agent"));
        }
        let (called, outcome) = self.run(component, door, limits, What::Agent(turn)).await;
        called.and_then(|answered| match (answered, outcome) {
            (Answered::Agent(Ok(())), Some(outcome)) => {
                let bytes = outcome.messages.len() + outcome.finish_reason.len();
                if bytes > limits.clamped().output_bytes_max {
                    return Err(CallError::OutputTooLarge);
                }
                Ok(Ok(outcome))
            }
            (Answered::Agent(Err(error)), _) => Ok(Err(error.shortened())),
            (Answered::Agent(Ok(())), None) | (Answered::Tool(_), _) => Err(nonsense()),
        })
    }

    /// As [`Sandbox::call_tool`](crate::sandbox::Sandbox::call_tool).
    pub async fn call_tool(
        &self,
        component: &Component,
        door: Arc<dyn Door>,
        limits: CallLimits,
        name: &str,
        input: String,
        context: CallContext,
    ) -> Called<Result<String, ToolError>> {
        if component.kind() != PluginKind::Tool {
            return Called::refused(crate::sandbox::not_a("tool"));
        }
        let what = What::Tool { name: name.to_owned(), input, context };
        let (called, _) = self.run(component, door, limits, what).await;
        called.and_then(|answered| match answered {
            Answered::Tool(Ok(output)) if output.len() > limits.clamped().output_bytes_max => {
                Err(CallError::OutputTooLarge)
            }
            Answered::Tool(Ok(output)) => Ok(Ok(output)),
            Answered::Tool(Err(error)) => Ok(Err(error.shortened())),
            Answered::Agent(_) => Err(nonsense()),
        })
    }

    /// What the agent of a run tells.
    ///
    /// # Errors
    /// As the run's door says; also where nothing of that number runs.
    pub async fn emit(&self, run: u64, event: String) -> Result<(), DoorError> {
        let door = lock(&self.0.runs).get(&run).map(|run| run.door.clone());
        match door {
            Some(door) => door.emit(event).await,
            None => Err(DoorError::Unavailable("nobody listens to this call's events".to_owned())),
        }
    }

    /// What the agent of a run came to; false where nothing of that number runs.
    pub fn came_to(&self, run: u64, outcome: Outcome) -> bool {
        let mut runs = lock(&self.0.runs);
        let Some(run) = runs.get_mut(&run) else { return false };
        run.outcome = Some(outcome);
        true
    }

    /// Whether it is gone.
    pub fn is_gone(&self) -> bool {
        self.0.gone.is_cancelled()
    }

    /// Runs one guest: what it came to, and the outcome that was reported of it.
    async fn run(
        &self,
        component: &Component,
        door: Arc<dyn Door>,
        limits: CallLimits,
        what: What,
    ) -> (Called<Answered>, Option<Outcome>) {
        let shared = &self.0;
        let run = shared.runs_begun.fetch_add(1, Ordering::Relaxed);
        let limits = limits.clamped();
        let shown = Shown { tools: door.tools(), db_namespace: door.db_namespace() };
        let digest = component.digest().to_owned();
        let begin =
            match frame::encode(&ToRunner::Run { run, digest, limits, what: Box::new(what), shown }, &[]) {
                Ok(frame) => frame,
                Err(cause) => return (Called::refused(CallError::Engine(cause.to_string())), None),
            };
        let (said, mut heard) = mpsc::channel(2);
        let until = Instant::now() + limits.wall + PERSON_TIME_MAX;
        lock(&shared.runs).insert(run, Run { door, until, log_lines: 0, outcome: None, said });
        let mut running = Running { shared: shared.clone(), run, ended: false };
        let ending = async {
            shared.send(begin.clone()).await?;
            let mut heard_now = heard.recv().await;
            if matches!(heard_now, Some(Said::Missing)) {
                shared.send(code_of(component).await?).await?;
                shared.send(begin).await?;
                heard_now = heard.recv().await;
            }
            match heard_now {
                Some(Said::Ended(result, spent)) => Ok((result, spent)),
                Some(Said::Missing) => Err(nonsense()),
                None => Err(CallError::Lost),
            }
        };
        let ended = tokio::select! {
            ended = timeout_at(until + PATIENCE, ending) => ended.unwrap_or(Err(CallError::TimedOut)),
            () = shared.gone.cancelled() => Err(CallError::Lost),
        };
        match ended {
            Ok((result, spent)) => {
                running.ended = true;
                let outcome = lock(&shared.runs).get_mut(&run).and_then(|run| run.outcome.take());
                (Called { result: result.map_err(as_told), spent }, outcome)
            }
            Err(error) => (Called::refused(error), None),
        }
    }
}

/// The frame that brings a component over.
async fn code_of(component: &Component) -> Result<Vec<u8>, CallError> {
    let failed = |cause: String| CallError::Engine(format!("the plugin could not be handed over: {cause}"));
    let component = component.clone();
    let packing = tokio::task::spawn_blocking(move || {
        let Packed { digest, interface, code } = component.pack().map_err(|error| format!("{error:#}"))?;
        let interface = serde_json::to_string(&interface).map_err(|error| error.to_string())?;
        frame::encode(&ToRunner::Load { digest, interface }, &code).map_err(|error| error.to_string())
    });
    packing.await.map_err(|error| failed(error.to_string()))?.map_err(failed)
}

/// Forgets a run; where it has not ended, its guest is stopped. What it asked for is given up with it.
struct Running {
    shared: Arc<Shared>,
    run: u64,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        let (shared, run) = (&self.shared, self.run);
        lock(&shared.runs).remove(&run);
        lock(&shared.calls).retain(|_, call| {
            let stays = call.run != run;
            if !stays {
                call.task.abort();
            }
            stays
        });
        if !self.ended && !shared.gone.is_cancelled() {
            let shared = shared.clone();
            shared.host.clone().spawn(async move {
                drop(shared.say(&ToRunner::Cancel { run }).await);
            });
        }
    }
}

impl Shared {
    /// Does `work` until it ends or the other side is gone; then all is over.
    async fn until_gone(self: Arc<Self>, work: impl Future<Output = ()>) {
        tokio::select! {
            () = self.gone.cancelled() => {}
            () = work => {}
        }
        self.gone.cancel();
        lock(&self.runs).clear();
        for (_, call) in lock(&self.calls).drain() {
            call.task.abort();
        }
    }

    async fn send(&self, frame: Vec<u8>) -> Result<(), CallError> {
        self.out.send(frame).await.map_err(|_| CallError::Lost)
    }

    async fn say(&self, message: &ToRunner) -> io::Result<()> {
        let frame = frame::encode(message, &[])?;
        self.send(frame).await.map_err(io::Error::other)
    }

    /// Hears one message. Waits for nothing: the next may be what it would wait for.
    fn hear(self: &Arc<Self>, message: ToHost) {
        match message {
            ToHost::Missing { run } => self.tell(run, Said::Missing),
            ToHost::Ended { run, result, spent } => self.tell(run, Said::Ended(result, spent)),
            ToHost::Log { run, level, message } => self.log(run, level, &message),
            ToHost::Ask { run, call, time_left, ask } => self.ask((run, call), time_left, ask),
            ToHost::Forget { call } => {
                if let Some(call) = lock(&self.calls).remove(&call) {
                    call.task.abort();
                }
            }
            ToHost::More { call, events } => {
                let credit = lock(&self.calls).get(&call).map(|call| call.credit.clone());
                if let Some(credit) = credit {
                    let room = (EVENTS_AHEAD as usize).saturating_sub(credit.available_permits());
                    credit.add_permits(room.min(events as usize));
                }
            }
        }
    }

    fn tell(&self, run: u64, said: Said) {
        let sender = lock(&self.runs).get(&run).map(|run| run.said.clone());
        // Whoever says more than there is room for says it twice.
        drop(sender.map(|sender| sender.try_send(said)));
    }

    fn log(&self, run: u64, level: LogLevel, message: &str) {
        let mut runs = lock(&self.runs);
        let Some(run) = runs.get_mut(&run).filter(|run| run.log_lines < LOG_LINES_MAX) else { return };
        run.log_lines += 1;
        let door = run.door.clone();
        drop(runs);
        // Escaped there already: here only what was not.
        door.log(level, &clean(message, LOG_LINE_BYTES_MAX));
    }

    fn ask(self: &Arc<Self>, (run, call): (u64, u64), time_left: Duration, ask: Ask) {
        let found = lock(&self.runs).get(&run).map(|run| (run.door.clone(), run.until));
        // Cancelled meanwhile: nobody waits for an answer.
        let Some((door, until)) = found else { return };
        let time_left = time_left.min(until.saturating_duration_since(Instant::now()));
        let bytes = ask.bytes();
        let held = self.held.fetch_add(bytes, Ordering::Relaxed);
        let holds = Held { shared: self.clone(), bytes };
        let credit = Arc::new(Semaphore::new(EVENTS_AHEAD as usize));
        let mut calls = lock(&self.calls);
        let too_much = calls.len() >= CALLS_OPEN_MAX || held.saturating_add(bytes) > CALL_BYTES_MAX;
        let (shared, of_events) = (self.clone(), credit.clone());
        let task = self.host.spawn(async move {
            if too_much {
                let error = DoorError::Limit("this session's guests ask for too much at once".to_owned());
                drop(shared.answer(call, refused(&ask, error)).await);
            } else {
                drop(shared.open(call, door, time_left, ask, &of_events).await);
            }
            lock(&shared.calls).remove(&call);
            drop(holds);
        });
        // Two of one number: the runner's mistake, and its loss.
        if let Some(other) = calls.insert(call, Call { run, task: task.abort_handle(), credit }) {
            other.task.abort();
        }
    }

    async fn answer(&self, call: u64, answer: Answer) -> io::Result<()> {
        self.say(&ToRunner::Answer { call, answer }).await
    }

    /// Does what a guest asks for.
    async fn open(
        &self,
        call: u64,
        door: Arc<dyn Door>,
        time_left: Duration,
        ask: Ask,
        credit: &Semaphore,
    ) -> io::Result<()> {
        let answer = match ask {
            Ask::Secret(name) => Answer::Text(door.secret(name).await),
            Ask::Http(request) => Answer::Http(door.http(request, time_left).await),
            Ask::KvGet(key) => Answer::Bytes(door.kv_get(key).await),
            Ask::KvSet(key, value) => Answer::Nothing(door.kv_set(key, value).await),
            Ask::KvDelete(key) => Answer::Nothing(door.kv_delete(key).await),
            Ask::KvKeys(prefix) => Answer::Texts(door.kv_keys(prefix).await),
            Ask::DbQuery { statement, params, limit } => {
                Answer::Text(door.db_query(statement, params, limit, time_left).await)
            }
            Ask::DbExecute { statement, params } => {
                Answer::Text(door.db_execute(statement, params, time_left).await)
            }
            Ask::CallTools(calls) => Answer::Tools(door.call_tools(calls, time_left).await),
            Ask::Permission(question) => Answer::Nothing(door.ask_permission(question).await),
            Ask::Workspace(request) => Answer::File(door.workspace(request).await),
            Ask::Complete(request) => match door.complete(request, time_left).await {
                Err(error) => Answer::Nothing(Err(error)),
                Ok(mut completion) => {
                    self.answer(call, Answer::Nothing(Ok(()))).await?;
                    loop {
                        // Never closed: only how many there are changes.
                        if let Ok(permit) = credit.acquire().await {
                            permit.forget();
                        }
                        let event = completion.next().await;
                        let is_last = event.is_none();
                        self.say(&ToRunner::Event { call, event }).await?;
                        if is_last {
                            return Ok(());
                        }
                    }
                }
            },
        };
        self.answer(call, answer).await
    }
}

/// The answer to a call that is not even begun.
fn refused(ask: &Ask, error: DoorError) -> Answer {
    match ask {
        Ask::Secret(_) | Ask::DbQuery { .. } | Ask::DbExecute { .. } => Answer::Text(Err(error)),
        Ask::Http(_) => Answer::Http(Err(error)),
        Ask::KvGet(_) => Answer::Bytes(Err(error)),
        Ask::KvKeys(_) => Answer::Texts(Err(error)),
        Ask::CallTools(calls) => Answer::Tools(calls.iter().map(|_| Err(error.clone())).collect()),
        Ask::Workspace(_) => Answer::File(Err(error.into())),
        Ask::KvSet(..) | Ask::KvDelete(_) | Ask::Complete(_) | Ask::Permission(_) => {
            Answer::Nothing(Err(error))
        }
    }
}

/// Counts what a call holds until it is dropped.
struct Held {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why a run failed, as a runner tells it.
fn as_told(error: CallError) -> CallError {
    match error {
        CallError::Trap(text) => CallError::Trap(clean(&text, ERROR_TEXT_BYTES_MAX)),
        CallError::Engine(text) => CallError::Engine(clean(&text, ERROR_TEXT_BYTES_MAX)),
        CallError::BadDescription(_) | CallError::Lost => nonsense(),
        other => other,
    }
}

fn nonsense() -> CallError {
    CallError::Engine("the process it ran in gave an answer that makes no sense".to_owned())
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
