//! The engine's settings, and the clock that interrupts guests.
//!
//! The list of WebAssembly features is ours, not the engine's default: an
//! upgrade of the engine must not widen what a tenant may run. [`FEATURES`] is
//! used to validate and to compile, so that the two cannot differ.

use super::limits::{
    CALL_STACK_BYTES, CORE_INSTANCES_PER_CALL_MAX, EPOCH_TICK, INSTANCE_BYTES_MAX, MEMORIES_PER_CALL_MAX,
    MEMORY_BYTES_CEILING, MEMORY_KEEP_RESIDENT_BYTES, SMALL_KEEP_RESIDENT_BYTES, TABLE_ELEMENTS_MAX,
    TABLES_PER_CALL_MAX, TICKER_SILENCE_MAX, WASM_STACK_BYTES,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasmparser::WasmFeatures;
use wasmtime::{
    CacheStore, Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    Strategy,
};

/// WebAssembly 2.0, constants that add, and components. Absent on purpose:
/// 64-bit memories, threads, several memories in a module, garbage collection,
/// exceptions, relaxed SIMD (not deterministic), component-model async.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .difference(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Makes the engine, with slots for `calls_max` calls at once.
pub(super) fn new_engine(calls_max: u32) -> wasmtime::Result<Engine> {
    Engine::new(&config(calls_max))
}

/// The same, to run what another one compiled, where nothing of the system is asked: which of its pages were written to
/// it does not ask either.
pub(super) fn new_engine_of_given_code(calls_max: u32) -> wasmtime::Result<Engine> {
    let (mut config, mut pool) = (config(calls_max), pool(calls_max));
    pool.pagemap_scan(Enabled::No);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// The same as [`new_engine`], of which functions that are in `code` already are not compiled again.
pub(super) fn new_engine_with(calls_max: u32, code: Arc<dyn CacheStore>) -> wasmtime::Result<Engine> {
    let mut config = config(calls_max);
    config.enable_incremental_compilation(code)?;
    Engine::new(&config)
}

/// An engine for the runtime of TypeScript tools alone, to compile it and to load a file in it. It begins with a copy
/// of its memory rather than a mapped file: where files are loaded, none can be made.
pub(super) fn new_loading_engine(code: Option<Arc<dyn CacheStore>>) -> wasmtime::Result<Engine> {
    let mut config = config(1);
    config.memory_init_cow(false);
    if let Some(code) = code {
        config.enable_incremental_compilation(code)?;
    }
    Engine::new(&config)
}

fn config(calls_max: u32) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_features(FEATURES.complement(), false)
        .wasm_features(FEATURES, true)
        .concurrency_support(false)
        .shared_memory(false)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES)
        // A stack goes from tenant to tenant.
        .async_stack_zeroing(true)
        .memory_init_cow(true)
        // A backtrace costs time that a guest could make us spend, and is of no use to a tenant.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        // One compilation uses one core; the others keep serving.
        .parallel_compilation(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(calls_max)));
    config
}

fn pool(calls_max: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls_max)
        .total_stacks(calls_max)
        .total_core_instances(calls_max.saturating_mul(CORE_INSTANCES_PER_CALL_MAX))
        .total_memories(calls_max.saturating_mul(MEMORIES_PER_CALL_MAX))
        .total_tables(calls_max.saturating_mul(TABLES_PER_CALL_MAX))
        .max_core_instances_per_component(CORE_INSTANCES_PER_CALL_MAX)
        .max_memories_per_component(MEMORIES_PER_CALL_MAX)
        .max_tables_per_component(TABLES_PER_CALL_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(MEMORY_BYTES_CEILING)
        .max_unused_warm_slots(calls_max)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
        .table_keep_resident(SMALL_KEEP_RESIDENT_BYTES)
        .async_stack_keep_resident(SMALL_KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// A thread that ticks while the engine lives, and says when it last did.
///
/// It outlives the [`Sandbox`](super::Sandbox): a guest that still spins when
/// the sandbox goes away must be interrupted as well.
pub(super) struct Ticker {
    shared: Arc<Ticks>,
}

struct Ticks {
    started: Instant,
    last_tick_ms: AtomicU64,
    /// Only tests stop it, to see that calls are then refused.
    stopped: AtomicBool,
}

impl Ticker {
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Ticks {
            started: Instant::now(),
            last_tick_ms: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        let (weak, ticks) = (engine.weak(), shared.clone());
        std::thread::Builder::new().name("opg-epoch".to_owned()).spawn(move || {
            while !ticks.stopped.load(Ordering::Relaxed) {
                std::thread::sleep(EPOCH_TICK);
                let Some(engine) = weak.upgrade() else { return };
                engine.increment_epoch();
                ticks.last_tick_ms.store(ticks.now_ms(), Ordering::Relaxed);
            }
        })?;
        Ok(Self { shared })
    }

    /// Whether it has ticked lately: without it, a spinning guest never stops.
    pub(super) fn is_alive(&self) -> bool {
        let silent_ms = self.shared.now_ms().saturating_sub(self.shared.last_tick_ms.load(Ordering::Relaxed));
        Duration::from_millis(silent_ms) < TICKER_SILENCE_MAX
    }

    #[cfg(test)]
    pub(super) fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }
}

impl Ticks {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
