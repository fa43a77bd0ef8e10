//! What the sandbox costs: a fresh instance and one call of a Rust tool,
//! through `Sandbox::call_tool` and with the engine alone.
//!
//! Both run the same component on the same engine in the same process. After
//! criterion's numbers come the ratios, from runs that take turns: a busy
//! machine then slows both. Both have the same cores: one worker of a runtime
//! for each, as `opg serve` has them. `hop` is what it costs to hand
//! an empty task to another runtime and to wait for it.

use criterion::{Criterion, criterion_group};
use opg_host::sandbox::compiler::CompilerConfig;
use opg_host::sandbox::door::ClosedDoor;
use opg_host::sandbox::{CallContext, CallLimits, Component, Sandbox, SandboxConfig};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use wasmtime::Store;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

mod guests {
    include!(concat!(env!("OUT_DIR"), "/guests.rs"));
}

mod bindings {
    wasmtime::component::bindgen!({
        path: ["../wit/host", "../wit/tool"],
        world: "opg:tool/plugin",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

const INPUT: &str = r#"{"text":"the quick brown fox jumps over the lazy dog","top":3}"#;

/// The engine alone: no door, no limits but the epoch's.
struct Bare {
    engine: wasmtime::Engine,
    pre: bindings::PluginPre<BareState>,
}

struct BareState {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for BareState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Bare {
    fn new(engine: &wasmtime::Engine) -> wasmtime::Result<Self> {
        let component = wasmtime::component::Component::new(engine, guests::EXAMPLE_WORD_COUNT)?;
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = bindings::PluginPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine: engine.clone(), pre })
    }

    async fn call(&self) -> String {
        let state = BareState { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_epoch_deadline(1);
        let plugin = self.pre.instantiate_async(&mut store).await.expect("it runs");
        let context = bindings::opg::tool::types::Context {
            invocation_id: String::new(),
            app: String::new(),
            session_id: None,
            time_limit_ms: 30_000,
        };
        let called = plugin.opg_tool_tool().call_call(&mut store, "word_count", INPUT, &context).await;
        called.expect("it runs").expect("it answers")
    }
}

/// Everything the runs share.
struct Bench {
    runtime: Runtime,
    /// For `hop`: like the one the sandbox runs its guests on.
    guests: Runtime,
    sandbox: Sandbox,
    component: Component,
    bare: Bare,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime =
            Builder::new_multi_thread().worker_threads(threads).enable_all().build().expect("threads");
        let guests = Builder::new_multi_thread().worker_threads(threads).build().expect("threads");
        let dir = tempfile::tempdir().expect("a directory");
        let sandbox = Sandbox::new(SandboxConfig {
            cache_dir: dir.path().to_owned(),
            compiler: CompilerConfig::with(opg_tests::process::binary()),
            worker_threads: threads,
            calls_in_flight_max: 64,
            host: runtime.handle().clone(),
        })
        .expect("a sandbox");
        let component =
            runtime.block_on(sandbox.load(guests::EXAMPLE_WORD_COUNT.into())).expect("a component");
        let bare = Bare::new(sandbox.engine()).expect("a component");
        Self { runtime, guests, sandbox, component, bare, _dir: dir }
    }

    async fn sandboxed(&self) -> String {
        let called = self.sandbox.call_tool(
            &self.component,
            Arc::new(ClosedDoor),
            CallLimits::default(),
            "word_count",
            INPUT.to_owned(),
            CallContext::default(),
        );
        called.await.result.expect("it runs").expect("it answers")
    }

    async fn hop(&self) {
        self.guests.spawn(async {}).await.expect("it ends");
    }
}

fn call_a_tool(criterion: &mut Criterion) {
    let bench = Bench::new();
    let mut group = criterion.benchmark_group("a fresh instance and one call");
    group
        .bench_function("bare engine", |bencher| bencher.to_async(&bench.runtime).iter(|| bench.bare.call()));
    group.bench_function("sandbox", |bencher| bencher.to_async(&bench.runtime).iter(|| bench.sandboxed()));
    group.bench_function("hop", |bencher| bencher.to_async(&bench.runtime).iter(|| bench.hop()));
    group.finish();
}

/// Takes turns, and prints how many times as long the sandbox takes: one call
/// at a time, where threads must be woken, and many at once, where they are awake.
fn print_ratio() {
    const ROUNDS: usize = 5;
    let bench = Arc::new(Bench::new());
    bench.runtime.block_on(async { assert_eq!(bench.bare.call().await, bench.sandboxed().await) });
    for callers in [1, 16] {
        let (mut bare, mut sandboxed) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            bare.push(bench.time_of_a_call(callers, |bench| async move { bench.bare.call().await }));
            sandboxed.push(bench.time_of_a_call(callers, |bench| async move { bench.sandboxed().await }));
        }
        let (bare, sandboxed) = (median(bare), median(sandboxed));
        let ratio = sandboxed.as_secs_f64() / bare.as_secs_f64();
        println!(
            "{callers:>2} at once: bare engine {bare:?}, sandbox {sandboxed:?} a call: {ratio:.2} times"
        );
    }
}

impl Bench {
    fn time_of_a_call<F: Future<Output = String> + Send>(
        self: &Arc<Self>,
        callers: u32,
        call: impl Fn(Arc<Self>) -> F + Copy + Send + Sync + 'static,
    ) -> Duration {
        const CALLS: u32 = 8_000;
        let started = Instant::now();
        let callers = (0..callers).map(|_| {
            let bench = self.clone();
            self.runtime.spawn(async move {
                for _ in 0..CALLS / callers {
                    black_box(call(bench.clone()).await);
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            self.runtime.block_on(caller).expect("it ends");
        }
        started.elapsed() / CALLS
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

criterion_group!(benches, call_a_tool);

fn main() {
    benches();
    print_ratio();
    Criterion::default().configure_from_args().final_summary();
}
