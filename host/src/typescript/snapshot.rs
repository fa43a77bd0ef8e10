//! From JavaScript to a component: load it in the runtime, and write what then is in memory into a module.
//!
//! The file's top level runs here, before anybody reviewed it. So it runs in the
//! compiler's child, in an engine and a store of its own, under limits of time
//! and memory, and every import traps: it can compute, and nothing else. What
//! comes out is bytes of a component, judged afterwards like any upload.
//!
//! A pure function of its arguments, with no clock and no chance in it: the
//! same file gives the same component.

use super::limits::{
    ANSWER_BYTES_MAX, LOAD_MEMORY_BYTES_MAX, LOAD_TABLE_ELEMENTS_MAX, LOAD_TICK, LOAD_TIME_MAX,
};
use serde::Deserialize;
use std::time::Instant;
use wasmtime::{
    Engine, Instance, Linker, Memory, Module, Store, StoreLimits, StoreLimitsBuilder, Trap, TypedFunc,
    UpdateDeadline, Val,
};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    /// The file's own top level failed, or what it exports is no tool.
    #[error("{text}")]
    Load {
        /// What it says.
        text: String,
        /// The author's line and column, from 1.
        place: Option<(usize, usize)>,
    },
    /// The top level does not end.
    #[error(
        "the top level of the file runs for more than {} s; move the work into `execute`",
        LOAD_TIME_MAX.as_secs()
    )]
    TooSlow,
    /// The top level wants more memory than there is.
    #[error(
        "the top level of the file takes more than {} MiB of memory; move the work into `execute`",
        LOAD_MEMORY_BYTES_MAX >> 20
    )]
    TooMuchMemory,
    /// The top level calls itself too deeply for the runtime to notice.
    #[error("the top level of the file nests or recurses too deeply")]
    TooDeep,
    /// Our fault.
    #[error("the runtime failed: {0}")]
    Engine(#[from] wasmtime::Error),
}

/// The bytes of a length in what is packed.
const LENGTH_BYTES: usize = 8;

/// The host's side: compiles the runtime's core module, once for a process. Packed for a child: `<length><core><code>`.
pub(super) fn pack(core: &[u8], engine: &Engine) -> wasmtime::Result<Vec<u8>> {
    let (_, instrumented) = wizer().instrument(core)?;
    let code = Module::new(engine, instrumented)?.serialize()?;
    Ok([&(core.len() as u64).to_le_bytes()[..], core, &code].concat())
}

/// Ticks, so that what runs in the engine can be interrupted. Returns once it does.
pub(super) fn start_clock(engine: &Engine) -> std::io::Result<()> {
    let (tell, told) = std::sync::mpsc::channel();
    let engine = engine.clone();
    std::thread::Builder::new().name("opg-load-clock".to_owned()).spawn(move || {
        loop {
            engine.increment_epoch();
            // Nobody listens to all but the first.
            let _ = tell.send(());
            std::thread::park_timeout(LOAD_TICK);
        }
    })?;
    told.recv().map_err(std::io::Error::other)
}

/// The child's side: the runtime, ready to load a file.
pub(super) struct Runtime<'a> {
    core: &'a [u8],
    engine: &'a Engine,
    module: Module,
}

impl Runtime<'_> {
    /// Takes what [`pack`] made, with an engine of the same settings that nothing else runs in, and whose clock ticks.
    #[expect(unsafe_code, reason = "machine code can only be loaded on trust; see below")]
    pub(super) fn unpack<'a>(engine: &'a Engine, packed: &'a [u8]) -> wasmtime::Result<Runtime<'a>> {
        let part = packed.split_first_chunk::<LENGTH_BYTES>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
        });
        let (core, code) = part.ok_or_else(|| wasmtime::Error::msg("this is no packed runtime"))?;
        // SAFETY: `code` is what `pack` serialized in the process that started this one, of our own runtime, and it
        // came over a pipe that nobody else holds; the engine checks that it is for one of these settings.
        let module = unsafe { Module::deserialize(engine, code)? };
        Ok(Runtime { core, engine, module })
    }

    /// Loads `given`, which is JSON for the runtime's `opg-load`, and makes a component of what comes of it.
    pub(super) fn snapshot(&self, given: &[u8]) -> Result<Vec<u8>, SnapshotError> {
        let mut store = Store::new(self.engine, State::new());
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(1);
        let ends = Instant::now() + LOAD_TIME_MAX;
        store.epoch_deadline_callback(move |_| {
            Ok(if Instant::now() < ends { UpdateDeadline::Continue(1) } else { UpdateDeadline::Interrupt })
        });
        let taken = self.take(&mut store, given);
        // The process ends with this. To tidy up an instance asks the kernel for more than the child may.
        std::mem::forget(store);
        component(&taken?)
    }

    /// The module with what is in memory once `given` is loaded.
    fn take(&self, store: &mut Store<State>, given: &[u8]) -> Result<Vec<u8>, SnapshotError> {
        let instance = match self.load(store, given) {
            Ok(instance) => instance,
            Err(SnapshotError::Engine(error)) => return Err(judged(error, store.data())),
            // The file's code may have been told so, and caught it.
            Err(_) if store.data().limits.refused => return Err(SnapshotError::TooMuchMemory),
            Err(other) => return Err(other),
        };
        // As `instrument` was: its answer borrows the bytes, so it is asked again rather than kept.
        let wizer = wizer();
        let (context, _) = wizer.instrument(self.core)?;
        Ok(at_once(wizer.snapshot(&context, &mut Taken { store, instance }))?)
    }

    fn load(&self, store: &mut Store<State>, given: &[u8]) -> Result<Instance, SnapshotError> {
        let mut linker = Linker::new(self.engine);
        linker.define_unknown_imports_as_traps(&self.module)?;
        let instance = linker.instantiate(&mut *store, &self.module)?;
        let memory = instance.get_memory(&mut *store, "memory").ok_or_else(|| foreign("memory"))?;
        let alloc: TypedFunc<u32, u32> = instance.get_typed_func(&mut *store, "opg-alloc")?;
        let load: TypedFunc<(u32, u32), u32> = instance.get_typed_func(&mut *store, "opg-load")?;
        let size = u32::try_from(given.len()).map_err(|_| foreign("the size of the file"))?;
        let at = alloc.call(&mut *store, size)?;
        memory.write(&mut *store, at as usize, given).map_err(|_| foreign("opg-alloc"))?;
        let answer = load.call(&mut *store, (at, size))?;
        match read_answer(store, memory, answer)? {
            Answer { error: None, .. } => Ok(instance),
            Answer { error: Some(error) } => Err(SnapshotError::Load {
                text: error.text,
                place: error.line.map(|line| (line, error.column.unwrap_or(1))),
            }),
        }
    }
}

fn wizer() -> Wizer {
    Wizer::new()
}

/// What the runtime said of a file.
#[derive(Deserialize)]
struct Answer {
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    text: String,
    line: Option<usize>,
    column: Option<usize>,
}

/// What the runtime answers stands in memory that the file's own code could reach through a bug: taken for hostile.
fn read_answer(store: &Store<State>, memory: Memory, at: u32) -> Result<Answer, SnapshotError> {
    let data = memory.data(store);
    let number = |at: usize| Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?) as usize);
    let place = number(at as usize).zip(number(at as usize + 4));
    let text = place
        .filter(|(_, size)| *size <= ANSWER_BYTES_MAX)
        .and_then(|(at, size)| data.get(at..at.checked_add(size)?));
    text.and_then(|text| serde_json::from_slice(text).ok()).ok_or_else(|| foreign("opg-load"))
}

fn foreign(what: &str) -> SnapshotError {
    SnapshotError::Engine(wasmtime::Error::msg(format!(
        "the module is not the runtime this host knows: {what}"
    )))
}

/// Whose fault a trap was.
fn judged(error: wasmtime::Error, state: &State) -> SnapshotError {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => SnapshotError::TooSlow,
        Some(Trap::StackOverflow) => SnapshotError::TooDeep,
        _ if state.limits.refused => SnapshotError::TooMuchMemory,
        _ => SnapshotError::Engine(error),
    }
}

/// Makes a component of the module: its interfaces stand in it, where the bindings put them.
fn component(module: &[u8]) -> Result<Vec<u8>, SnapshotError> {
    let encoded =
        wit_component::ComponentEncoder::default().module(module).and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| SnapshotError::Engine(wasmtime::Error::msg(format!("{error:#}"))))
}

/// What the store holds: its bounds.
struct State {
    limits: Limits,
}

impl State {
    fn new() -> State {
        let bounds = StoreLimitsBuilder::new()
            .memory_size(LOAD_MEMORY_BYTES_MAX)
            .table_elements(LOAD_TABLE_ELEMENTS_MAX)
            .instances(1)
            .memories(1)
            .tables(1)
            .build();
        State { limits: Limits { bounds, refused: false } }
    }
}

struct Limits {
    bounds: StoreLimits,
    /// Whether it asked for more.
    refused: bool,
}

impl wasmtime::ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = self.bounds.memory_growing(current, desired, max)?;
        self.refused |= !granted;
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.bounds.table_growing(current, desired, max)
    }

    fn instances(&self) -> usize {
        self.bounds.instances()
    }

    fn tables(&self) -> usize {
        self.bounds.tables()
    }

    fn memories(&self) -> usize {
        self.bounds.memories()
    }
}

/// An instance whose state is read, for `wasmtime-wizer`. Its own adapter would bring features of the engine that are off here.
struct Taken<'a> {
    store: &'a mut Store<State>,
    instance: Instance,
}

impl InstanceState for Taken<'_> {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut *self.store, name).expect("exported by `instrument`");
        match global.get(&mut *self.store) {
            Val::I32(value) => SnapshotVal::I32(value),
            Val::I64(value) => SnapshotVal::I64(value),
            Val::F32(bits) => SnapshotVal::F32(bits),
            Val::F64(bits) => SnapshotVal::F64(bits),
            Val::V128(value) => SnapshotVal::V128(value.as_u128()),
            other => unreachable!("`instrument` refuses globals of type {:?}", other.ty(&*self.store)),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        let memory = self.instance.get_memory(&mut *self.store, name).expect("exported by `instrument`");
        contents(memory.data(&*self.store));
    }
}

/// The answer of a future that has nothing to wait for: [`Taken`] is ready at once.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(future).expect("nothing in it waits")
}
