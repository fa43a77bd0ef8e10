//! The runner's end: it runs guests, and asks the host whatever they ask.

use super::message::{Answer, Answered, Ask, Shown, ToHost, ToRunner, What};
use super::{CODE_MAX, EVENTS_AHEAD, TO_RUNNER_BYTES_MAX, frame};
use crate::sandbox::component::{Component, Packed};
use crate::sandbox::door::{
    Completion, Door, DoorError, FileAnswer, FileError, FileRequest, HttpRequest, HttpResponse, LogLevel,
    Question, ToolDefinition, ToolInvocation,
};
use crate::sandbox::state::host_failed;
use crate::sandbox::{CallError, CallLimits, Outcome, Sandbox};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// After so many of a model's events the host is told that there is room for as many.
const EVENTS_TAKEN: u32 = EVENTS_AHEAD / 2;

/// Takes what is reported of runs to the host, and waits until it is there.
#[async_trait]
pub trait Reports: Send + Sync + 'static {
    /// What an agent tells.
    async fn event(&self, run: u64, event: String) -> Result<(), DoorError>;
    /// What an agent's turn came to.
    async fn outcome(&self, run: u64, outcome: Outcome) -> Result<(), CallError>;
}

/// Runs what the host at the other end of these two wants run, until it is gone.
///
/// # Errors
/// Where what is said makes no sense.
pub async fn serve(
    mut reader: impl AsyncRead + Send + Unpin,
    mut writer: impl AsyncWrite + Send + Unpin + 'static,
    sandbox: Sandbox,
    reports: Arc<dyn Reports>,
) -> io::Result<()> {
    let (out, mut frames) = mpsc::unbounded_channel::<Vec<u8>>();
    let writing = tokio::spawn(async move {
        while let Some(frame) = frames.recv().await {
            writer.write_all(&frame).await?;
            writer.flush().await?;
        }
        io::Result::Ok(())
    });
    let child = Arc::new(Child {
        out,
        sandbox,
        reports,
        runs: Mutex::default(),
        waiting: Mutex::default(),
        asked: 0.into(),
    });
    while let Some((message, code)) =
        frame::read_with_code(&mut reader, TO_RUNNER_BYTES_MAX, CODE_MAX).await?
    {
        child.hear(message, code).await?;
    }
    writing.abort();
    Ok(())
}

struct Child {
    /// Bounded by what guests ask at once, who wait for their answers.
    out: mpsc::UnboundedSender<Vec<u8>>,
    sandbox: Sandbox,
    reports: Arc<dyn Reports>,
    runs: Mutex<HashMap<u64, AbortHandle>>,
    waiting: Mutex<HashMap<u64, Waiting>>,
    asked: AtomicU64,
}

/// Whoever waits for an answer.
struct Waiting {
    answer: Option<oneshot::Sender<Answer>>,
    /// And for a model's events after it.
    events: Option<mpsc::UnboundedSender<Result<String, DoorError>>>,
}

impl Child {
    async fn hear(self: &Arc<Self>, message: ToRunner, code: Vec<u8>) -> io::Result<()> {
        match message {
            ToRunner::Load { digest, interface } => {
                let interface = serde_json::from_str(&interface)?;
                let packed = Packed { digest, interface, code };
                self.sandbox.0.loader.take(packed).await.map_err(io::Error::other)?;
            }
            ToRunner::Run { run, digest, limits, what, shown } => match self.sandbox.find(&digest) {
                None => self.say(&ToHost::Missing { run }),
                Some(component) => self.begin(run, component, limits, *what, shown),
            },
            ToRunner::Cancel { run } => {
                if let Some(task) = lock(&self.runs).remove(&run) {
                    task.abort();
                }
            }
            ToRunner::Answer { call, answer } => self.answered(call, answer),
            ToRunner::Event { call, event } => {
                let mut waiting = lock(&self.waiting);
                match event {
                    None => drop(waiting.remove(&call)),
                    Some(event) => {
                        let events = waiting.get(&call).and_then(|waiting| waiting.events.as_ref());
                        // Nobody takes it any more: the host was told, or is being told.
                        drop(events.map(|events| events.send(event)));
                    }
                }
            }
        }
        Ok(())
    }

    fn answered(&self, call: u64, answer: Answer) {
        let mut all = lock(&self.waiting);
        let Some(waiting) = all.get_mut(&call) else { return };
        let sender = waiting.answer.take();
        let goes_on = waiting.events.is_some() && matches!(answer, Answer::Nothing(Ok(())));
        if !goes_on {
            all.remove(&call);
        }
        drop(all);
        drop(sender.map(|sender| sender.send(answer)));
    }

    fn begin(self: &Arc<Self>, run: u64, component: Component, limits: CallLimits, what: What, shown: Shown) {
        let child = self.clone();
        // Held over the start: its end takes it out again.
        let mut runs = lock(&self.runs);
        let task = tokio::spawn(async move {
            let door = Arc::new(AskingDoor { child: child.clone(), run, shown });
            let (result, spent) = match what {
                What::Agent(turn) => {
                    let called = child.sandbox.run_agent(&component, door, limits, turn).await;
                    let result = match called.result {
                        Ok(Ok(outcome)) => child.reports.outcome(run, outcome).await.map(|()| Ok(())),
                        Ok(Err(error)) => Ok(Err(error)),
                        Err(error) => Err(error),
                    };
                    (result.map(Answered::Agent), called.spent)
                }
                What::Tool { name, input, context } => {
                    let called =
                        child.sandbox.call_tool(&component, door, limits, &name, input, context).await;
                    (called.result.map(Answered::Tool), called.spent)
                }
            };
            lock(&child.runs).remove(&run);
            child.say(&ToHost::Ended { run, result, spent });
        });
        runs.insert(run, task.abort_handle());
    }

    fn say(&self, message: &ToHost) {
        match frame::encode(message, &[]) {
            // Where nobody writes any more, this process ends.
            Ok(frame) => drop(self.out.send(frame)),
            Err(cause) => eprintln!("a message could not be written: {cause}"),
        }
    }
}

/// A call that waits: given up where it is dropped before its end.
struct Asked {
    child: Arc<Child>,
    call: u64,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if lock(&self.child.waiting).remove(&self.call).is_some() {
            self.child.say(&ToHost::Forget { call: self.call });
        }
    }
}

/// The door of one run: what it is asked, it asks the host.
struct AskingDoor {
    child: Arc<Child>,
    run: u64,
    shown: Shown,
}

impl AskingDoor {
    /// Asks; `events` are what comes after the answer.
    fn begin(
        &self,
        time_left: Duration,
        ask: Ask,
        events: Option<mpsc::UnboundedSender<Result<String, DoorError>>>,
    ) -> (Asked, oneshot::Receiver<Answer>) {
        let call = self.child.asked.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.child.waiting).insert(call, Waiting { answer: Some(answer), events });
        let asked = Asked { child: self.child.clone(), call };
        self.child.say(&ToHost::Ask { run: self.run, call, time_left, ask });
        (asked, answered)
    }

    async fn ask(&self, time_left: Duration, ask: Ask) -> Option<Answer> {
        let (_asked, answered) = self.begin(time_left, ask, None);
        answered.await.ok()
    }

    async fn nothing(&self, ask: Ask) -> Result<(), DoorError> {
        match self.ask(Duration::MAX, ask).await {
            Some(Answer::Nothing(answer)) => answer,
            _ => Err(host_failed()),
        }
    }

    async fn text(&self, time_left: Duration, ask: Ask) -> Result<String, DoorError> {
        match self.ask(time_left, ask).await {
            Some(Answer::Text(answer)) => answer,
            _ => Err(host_failed()),
        }
    }
}

#[async_trait]
impl Door for AskingDoor {
    fn log(&self, level: LogLevel, message: &str) {
        self.child.say(&ToHost::Log { run: self.run, level, message: message.to_owned() });
    }

    async fn secret(&self, name: String) -> Result<String, DoorError> {
        self.text(Duration::MAX, Ask::Secret(name)).await
    }

    async fn http(&self, request: HttpRequest, time_left: Duration) -> Result<HttpResponse, DoorError> {
        match self.ask(time_left, Ask::Http(request)).await {
            Some(Answer::Http(answer)) => answer,
            _ => Err(host_failed()),
        }
    }

    async fn kv_get(&self, key: String) -> Result<Option<Vec<u8>>, DoorError> {
        match self.ask(Duration::MAX, Ask::KvGet(key)).await {
            Some(Answer::Bytes(answer)) => answer,
            _ => Err(host_failed()),
        }
    }

    async fn kv_set(&self, key: String, value: Vec<u8>) -> Result<(), DoorError> {
        self.nothing(Ask::KvSet(key, value)).await
    }

    async fn kv_delete(&self, key: String) -> Result<(), DoorError> {
        self.nothing(Ask::KvDelete(key)).await
    }

    async fn kv_keys(&self, prefix: String) -> Result<Vec<String>, DoorError> {
        match self.ask(Duration::MAX, Ask::KvKeys(prefix)).await {
            Some(Answer::Texts(answer)) => answer,
            _ => Err(host_failed()),
        }
    }

    fn db_namespace(&self) -> String {
        self.shown.db_namespace.clone()
    }

    async fn db_query(
        &self,
        statement: String,
        params: String,
        limit: Option<u32>,
        time_left: Duration,
    ) -> Result<String, DoorError> {
        self.text(time_left, Ask::DbQuery { statement, params, limit }).await
    }

    async fn db_execute(
        &self,
        statement: String,
        params: String,
        time_left: Duration,
    ) -> Result<String, DoorError> {
        self.text(time_left, Ask::DbExecute { statement, params }).await
    }

    async fn complete(&self, request: String, time_left: Duration) -> Result<Completion, DoorError> {
        let (sender, events) = mpsc::unbounded_channel();
        let (asked, answered) = self.begin(time_left, Ask::Complete(request), Some(sender));
        match answered.await {
            Ok(Answer::Nothing(opened)) => opened?,
            _ => return Err(host_failed()),
        }
        let taken = stream::unfold((events, asked, 0_u32), |(mut events, asked, taken)| async move {
            let event = events.recv().await?;
            let taken = if taken + 1 < EVENTS_TAKEN {
                taken + 1
            } else {
                asked.child.say(&ToHost::More { call: asked.call, events: EVENTS_TAKEN });
                0
            };
            Some((event, (events, asked, taken)))
        });
        Ok(taken.boxed())
    }

    fn tools(&self) -> Vec<ToolDefinition> {
        self.shown.tools.clone()
    }

    async fn call_tools(
        &self,
        calls: Vec<ToolInvocation>,
        time_left: Duration,
    ) -> Vec<Result<String, DoorError>> {
        let count = calls.len();
        match self.ask(time_left, Ask::CallTools(calls)).await {
            Some(Answer::Tools(answers)) => answers,
            _ => vec![Err(host_failed()); count],
        }
    }

    async fn emit(&self, event: String) -> Result<(), DoorError> {
        self.child.reports.event(self.run, event).await
    }

    async fn ask_permission(&self, question: Question) -> Result<(), DoorError> {
        self.nothing(Ask::Permission(question)).await
    }

    async fn workspace(&self, request: FileRequest) -> Result<FileAnswer, FileError> {
        match self.ask(Duration::MAX, Ask::Workspace(request)).await {
            Some(Answer::File(answer)) => answer,
            _ => Err(host_failed().into()),
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
