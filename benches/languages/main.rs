//! What a call costs by the language of the tool: a fresh instance and one call, the same job for each.
//!
//! Through `Sandbox::call_tool`, with the engine alone, and as a process of Node for each call. The ways take
//! turns, so that a busy machine slows all of them. Then what a live instance takes of memory, and what a call
//! costs while 1 to 10,000 tools are registered. One run, one table; what it lacks (Python, Node) it says.

mod bare;
mod guests;
mod node;
mod process;
mod registered;

use bare::Bare;
use guests::Guest;
use opg_host::sandbox::{
    CallContext, CallLimits, Component, Sandbox, SandboxConfig, compiler::CompilerConfig, door::ClosedDoor,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::{Builder, Runtime};

/// What every tool is given, and what comes of it.
const INPUT: &str = r#"{"text":"the quick brown fox jumps over the lazy dog","top":3}"#;
/// Turns of each way.
const ROUNDS: usize = 5;
/// How long a turn is. Time on a processor is told in hundredths of a second.
const TURN: Duration = Duration::from_millis(800);
/// Instances that live at the same time, to see what one takes.
const INSTANCES: u32 = 200;
/// As many as there are languages, and once more: what one language leaves in its slots is not counted as the next one's.
const SLOTS: u32 = 5 * INSTANCES;

/// What the runs share.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    pub(crate) sandbox: Sandbox,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime =
            Builder::new_multi_thread().worker_threads(threads).enable_all().build().expect("threads");
        let dir = tempfile::tempdir().expect("a directory");
        let sandbox = Sandbox::new(SandboxConfig {
            cache_dir: dir.path().to_owned(),
            compiler: CompilerConfig::with(opg_tests::process::binary()),
            worker_threads: threads,
            calls_in_flight_max: SLOTS,
            host: runtime.handle().clone(),
        })
        .expect("a sandbox");
        Bench { runtime, sandbox, _dir: dir }
    }

    /// One call, as the server makes it.
    pub(crate) async fn call(&self, component: &Component, tool: &str, input: &str) -> String {
        let (door, limits) = (Arc::new(ClosedDoor), CallLimits::default());
        let (input, context) = (input.to_owned(), CallContext::default());
        let called = self.sandbox.call_tool(component, door, limits, tool, input, context).await;
        called.result.expect("it runs").expect("it answers")
    }
}

/// How long calls took, one at a time, and what of a processor all of them.
#[derive(Default)]
pub(crate) struct Calls {
    times: Vec<Duration>,
    cpu: Duration,
}

impl Calls {
    /// One turn.
    pub(crate) async fn turn(&mut self, mut call: impl AsyncFnMut()) {
        let (cpu, began) = (process::cpu(), Instant::now());
        while began.elapsed() < TURN {
            let called = Instant::now();
            call().await;
            self.times.push(called.elapsed());
        }
        self.cpu += process::cpu() - cpu;
    }

    /// The time within which this part of them was done.
    fn within(&self, part: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        // As long as there are calls, that is one of them.
        times[((times.len() - 1) as f64 * part) as usize]
    }

    fn per_cpu_second(&self) -> f64 {
        self.times.len() as f64 / self.cpu.as_secs_f64()
    }

    pub(crate) fn in_words(&self) -> String {
        format!(
            "p50 {:>9} p99 {:>9} {:>7.0}/s a core",
            micros(self.within(0.5)),
            micros(self.within(0.99)),
            self.per_cpu_second()
        )
    }

    /// How many times as long as the other, half of the time.
    fn ratio(&self, other: &Calls) -> f64 {
        self.within(0.5).as_secs_f64() / other.within(0.5).as_secs_f64()
    }
}

fn micros(time: Duration) -> String {
    format!("{:.0} µs", time.as_secs_f64() * 1e6)
}

fn main() {
    // `cargo bench` passes flags of its own; there is one way to run this.
    let bench = Bench::new();
    let guests = bench.runtime.block_on(guests::all(&bench.sandbox));
    let node = node::find();
    let mut process_calls = Calls::default();
    println!("{:<11} {:<13} {:<45} of an instance", "language", "way", "a fresh instance and one call");
    for guest in &guests {
        print_language(&bench, guest, node.then_some(&mut process_calls));
    }
    registered::print(&bench);
}

fn print_language(bench: &Bench, guest: &Guest, mut process_calls: Option<&mut Calls>) {
    let component = bench.runtime.block_on(bench.sandbox.load(guest.wasm.clone())).expect("a component");
    let bare = Bare::new(bench.sandbox.engine(), &guest.wasm).expect("a component");
    bench.runtime.block_on(async {
        let expected: serde_json::Value = serde_json::from_str(guests::OUTPUT).expect("it is JSON");
        for output in [bench.call(&component, guest.tool, INPUT).await, bare.call(guest.tool, INPUT).await] {
            let output: serde_json::Value = serde_json::from_str(&output).expect("it is JSON");
            assert_eq!(output, expected, "{} does the same job", guest.language);
        }
        let (mut sandboxed, mut alone) = (Calls::default(), Calls::default());
        for _ in 0..ROUNDS {
            sandboxed.turn(async || drop(bench.call(&component, guest.tool, INPUT).await)).await;
            alone.turn(async || drop(bare.call(guest.tool, INPUT).await)).await;
            if let Some(calls) = &mut process_calls {
                calls.turn(async || node::call(INPUT).await).await;
            }
        }
        let memory = bare.memory_of_an_instance(guest.tool, INPUT, INSTANCES).await;
        println!("{:<11} {:<13} {}", guest.language, "sandbox", sandboxed.in_words());
        println!("{:<11} {:<13} {} {memory}", "", "bare engine", alone.in_words());
        println!("{:<11} sandbox to bare engine: {:.2} times", "", sandboxed.ratio(&alone));
        if let Some(calls) = process_calls {
            println!("{:<11} {:<13} {}", "", "Node process", calls.in_words());
            println!("{:<11} Node process to sandbox: {:.0} times", "", calls.ratio(&sandboxed));
        }
    });
}
