//! Guests, good and bad, run through the sandbox alone: no HTTP, no database.

mod bounds;
mod calls;
mod first_slice;
mod loading;
mod reach;
mod time;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _};
use opg_host::sandbox::compiler::CompilerConfig;
use opg_host::sandbox::door::*;
use opg_host::sandbox::*;
use opg_tests::guests;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// A sandbox with a cache of its own.
struct Bench {
    sandbox: Sandbox,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with_slots(16)
    }

    fn with_slots(slots: u32) -> Self {
        Self::on(Handle::current(), slots)
    }

    fn on(host: Handle, slots: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { sandbox: new_sandbox_on(host, dir.path(), slots), _dir: dir }
    }

    /// Makes short calls until one begins on a thread of the host.
    async fn trust(&self, component: &Component, name: &str, input: Value) {
        let lent = self.sandbox.stats().first_slices_lent;
        let before = Instant::now();
        while self.sandbox.stats().first_slices_lent == lent {
            assert!(before.elapsed() < Duration::from_secs(5), "no call begins on the host");
            output(&self.call(component, name, input.clone()).await);
        }
    }

    /// Makes a call after short ones, until it begins on a thread of the host. A tick may come in between.
    async fn begins_on_host<T>(
        &self,
        component: &Component,
        (short, input): (&str, Value),
        call: impl AsyncFn() -> T,
    ) -> T {
        for _ in 0..10 {
            self.trust(component, short, input.clone()).await;
            let lent = self.sandbox.stats().first_slices_lent;
            let called = call().await;
            if self.sandbox.stats().first_slices_lent > lent {
                return called;
            }
        }
        panic!("it never begins on the host");
    }

    /// The name of the thread on which a guest logs its first line.
    async fn where_it_runs(&self, chatter: &Component, lines: u32) -> String {
        let door = Arc::new(TestDoor::default());
        let input = json!({"lines": lines});
        self.call_with(chatter, door.clone(), CallLimits::default(), "chatter", input).await;
        door.log_threads.lock().unwrap()[0].clone()
    }

    async fn load(&self, wasm: &'static [u8]) -> Component {
        self.sandbox.load(wasm.into()).await.unwrap()
    }

    async fn call(
        &self,
        component: &Component,
        name: &str,
        input: Value,
    ) -> Called<Result<String, ToolError>> {
        self.call_with(component, Arc::new(ClosedDoor), CallLimits::default(), name, input).await
    }

    async fn call_with(
        &self,
        component: &Component,
        door: Arc<dyn Door>,
        limits: CallLimits,
        name: &str,
        input: Value,
    ) -> Called<Result<String, ToolError>> {
        self.sandbox.call_tool(component, door, limits, name, input.to_string(), context()).await
    }
}

fn new_sandbox(dir: &Path, calls_in_flight_max: u32) -> Sandbox {
    new_sandbox_on(Handle::current(), dir, calls_in_flight_max)
}

fn new_sandbox_on(host: Handle, dir: &Path, calls_in_flight_max: u32) -> Sandbox {
    let compiler = CompilerConfig::with(opg_tests::process::binary());
    let config =
        SandboxConfig { cache_dir: dir.to_owned(), compiler, worker_threads: 2, calls_in_flight_max, host };
    Sandbox::new(config).unwrap()
}

/// What the threads that belong to guests are called.
const GUESTS_THREAD: &str = "opg-guest";

fn context() -> CallContext {
    CallContext { invocation_id: "test".into(), app: "test".into(), session_id: None }
}

fn turn(text: &str) -> Turn {
    Turn {
        model: "demo/echo".into(),
        messages: json!([{"role": "user", "content": text}]).to_string(),
        options: "{}".into(),
        client_tools: "[]".into(),
        max_steps: 4,
        context: context(),
        ..Turn::default()
    }
}

fn output(called: &Called<Result<String, ToolError>>) -> Value {
    let output = called.result.as_ref().expect("the call ended").as_ref().expect("the tool answered");
    serde_json::from_str(output).unwrap()
}

/// The one file with machine code below `dir`.
fn compiled_file(dir: &Path) -> std::path::PathBuf {
    let engine =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
    std::fs::read_dir(engine.unwrap()).unwrap().next().unwrap().unwrap().path()
}

/// Waits until `happened`, which it must within two seconds.
async fn eventually(happened: impl Fn() -> bool) {
    let before = Instant::now();
    while !happened() {
        assert!(before.elapsed() < Duration::from_secs(2), "it did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A door with something behind it, that keeps what it hears.
#[derive(Default)]
struct TestDoor {
    http: Http,
    model_stalls: bool,
    tools: Option<(Sandbox, Component, Weak<Self>)>,
    logs: Mutex<Vec<(LogLevel, String)>>,
    log_threads: Mutex<Vec<String>>,
    events: Mutex<Vec<String>>,
    kv: Mutex<std::collections::BTreeMap<String, Vec<u8>>>,
    time_left: Mutex<Duration>,
    tool_calls: AtomicU32,
    started: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    person_takes: Duration,
}

#[derive(Default, Clone, Copy)]
enum Http {
    #[default]
    Never,
    Answers(u16),
    Panics,
}

/// Says when it is dropped.
struct Stopped(Arc<AtomicBool>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Door for TestDoor {
    fn log(&self, level: LogLevel, message: &str) {
        let thread = std::thread::current();
        self.log_threads.lock().unwrap().push(thread.name().unwrap_or_default().to_owned());
        self.logs.lock().unwrap().push((level, message.to_owned()));
    }

    async fn secret(&self, name: String) -> Result<String, DoorError> {
        Ok(format!("ref:{name}"))
    }

    async fn http(&self, request: HttpRequest, time_left: Duration) -> Result<HttpResponse, DoorError> {
        *self.time_left.lock().unwrap() = time_left;
        let _stopped = Stopped(self.stopped.clone());
        self.started.store(true, Ordering::SeqCst);
        match self.http {
            Http::Never => std::future::pending().await,
            Http::Panics => panic!("as the test wants"),
            Http::Answers(status) => Ok(HttpResponse {
                status,
                headers: vec![],
                body: format!("{} {}", request.method, request.url).into_bytes(),
            }),
        }
    }

    async fn kv_get(&self, key: String) -> Result<Option<Vec<u8>>, DoorError> {
        Ok(self.kv.lock().unwrap().get(&key).cloned())
    }

    async fn kv_set(&self, key: String, value: Vec<u8>) -> Result<(), DoorError> {
        self.kv.lock().unwrap().insert(key, value);
        Ok(())
    }

    async fn kv_delete(&self, key: String) -> Result<(), DoorError> {
        self.kv.lock().unwrap().remove(&key);
        Ok(())
    }

    async fn kv_keys(&self, prefix: String) -> Result<Vec<String>, DoorError> {
        Ok(self.kv.lock().unwrap().keys().filter(|key| key.starts_with(&prefix)).cloned().collect())
    }

    fn db_namespace(&self) -> String {
        "app_acme__".to_owned()
    }

    async fn db_query(
        &self,
        statement: String,
        params: String,
        limit: Option<u32>,
        time_left: Duration,
    ) -> Result<String, DoorError> {
        *self.time_left.lock().unwrap() = time_left;
        Ok(json!({"statement": statement, "params": params, "limit": limit}).to_string())
    }

    async fn db_execute(
        &self,
        _statement: String,
        _params: String,
        _time_left: Duration,
    ) -> Result<String, DoorError> {
        let _stopped = Stopped(self.stopped.clone());
        self.started.store(true, Ordering::SeqCst);
        std::future::pending().await
    }

    async fn complete(&self, _request: String, _time_left: Duration) -> Result<Completion, DoorError> {
        let stopped = Stopped(self.stopped.clone());
        let text = |text: &str| Ok(json!({"type": "text", "text": text}).to_string());
        let said =
            stream::iter([text("hel"), text("lo"), Ok(r#"{"type":"finish","reason":"stop"}"#.to_owned())]);
        if self.model_stalls {
            let never = stream::once(async move {
                let _stopped = stopped;
                std::future::pending().await
            });
            return Ok(said.take(1).chain(never).boxed());
        }
        Ok(said.boxed())
    }

    fn tools(&self) -> Vec<ToolDefinition> {
        vec![ToolDefinition { name: "adder".into(), description: "Adds.".into(), input_schema: "{}".into() }]
    }

    async fn call_tools(
        &self,
        calls: Vec<ToolInvocation>,
        time_left: Duration,
    ) -> Vec<Result<String, DoorError>> {
        let (sandbox, component, itself) = self.tools.clone().expect("the test gave tools");
        let limits = CallLimits { wall: time_left, ..CallLimits::default() };
        let mut answers = vec![];
        for call in calls {
            self.tool_calls.fetch_add(1, Ordering::SeqCst);
            let door = itself.upgrade().expect("the door is in use");
            let called = sandbox.call_tool(&component, door, limits, &call.name, call.input, context()).await;
            answers.push(match called.result {
                Ok(Ok(output)) => Ok(output),
                Ok(Err(error)) => Err(DoorError::Failed(error.to_string())),
                Err(error) => Err(DoorError::Failed(error.to_string())),
            });
        }
        answers
    }

    async fn emit(&self, event: String) -> Result<(), DoorError> {
        self.events.lock().unwrap().push(event);
        Ok(())
    }

    async fn ask_permission(&self, question: Question) -> Result<(), DoorError> {
        self.events.lock().unwrap().push(format!("{question:?}"));
        tokio::time::sleep(self.person_takes).await;
        if question.action == "no" { Err(DoorError::Denied("no".into())) } else { Ok(()) }
    }
}
