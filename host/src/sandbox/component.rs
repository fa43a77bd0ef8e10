//! From the bytes of a component to something that can be called.

use super::bindings::{agent, tool};
use super::cache::CodeCache;
use super::compiler::{Compiler, Job};
use super::extism;
use super::first_slice::Habit;
use super::limits::{LOADED_BYTES_MAX, LOADED_COMPONENTS_MAX};
use super::state::{AbortOnDrop, GuestState};
use super::text::clean;
use super::typed::Typed;
use super::verify::{Interface, LoadError, PluginKind, does_not_fit, verify};
use super::wasi;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use wasmtime::Engine;
use wasmtime::component::{HasSelf, InstancePre, Linker};

/// A component, or the core module of an Extism plugin, verified, compiled and linked. Cheap to clone.
#[derive(Clone)]
pub struct Component(Arc<Linked>);

struct Linked {
    digest: String,
    code_bytes: usize,
    export: Export,
    interface: Interface,
    code: Code,
}

/// Machine code in memory.
enum Code {
    Component(wasmtime::component::Component),
    Module(wasmtime::Module),
}

/// A component as it goes to another process of ours.
pub(super) struct Packed {
    pub(super) digest: String,
    pub(super) interface: Interface,
    /// Machine code: whoever takes it in must know whom it comes from.
    pub(super) code: Vec<u8>,
}

/// How the component is called.
#[derive(Clone)]
pub(super) enum Export {
    Tool(Arc<Tool>),
    Agent(agent::PluginPre<GuestState>),
}

/// A plugin of tools, and how its calls go.
pub(super) struct Tool {
    pub(super) abi: Abi,
    pub(super) habit: Habit,
}

/// How the tools in it are called.
pub(super) enum Abi {
    /// As `opg:tool` says.
    Opg(tool::PluginPre<GuestState>),
    /// Each is a function of the component's own.
    Functions(Typed),
    /// Each is a function of an Extism plugin, or as that says.
    Extism(extism::Plugin),
}

impl Component {
    /// The SHA-256 of its bytes, in lower-case hexadecimal.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// What it is.
    pub fn kind(&self) -> PluginKind {
        match self.0.export {
            Export::Tool(_) => PluginKind::Tool,
            Export::Agent(_) => PluginKind::Agent,
        }
    }

    /// Whether it is a core module: an Extism plugin.
    pub fn is_extism(&self) -> bool {
        matches!(&self.0.export, Export::Tool(tool) if matches!(tool.abi, Abi::Extism(_)))
    }

    /// All that another process of ours needs to run it.
    pub(super) fn pack(&self) -> wasmtime::Result<Packed> {
        let code = match &self.0.code {
            Code::Component(component) => component.serialize()?,
            Code::Module(module) => module.serialize()?,
        };
        Ok(Packed { digest: self.0.digest.clone(), interface: self.0.interface.clone(), code })
    }

    pub(super) fn export(&self) -> &Export {
        &self.0.export
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Component")
            .field("digest", &self.0.digest)
            .field("kind", &self.kind())
            .finish()
    }
}

/// The SHA-256 of `wasm`, in lower-case hexadecimal.
pub(super) fn digest(wasm: &[u8]) -> String {
    hex::encode(Sha256::digest(wasm))
}

/// Loads components, each once.
pub(super) struct Loader {
    work: Arc<Work>,
    host: Handle,
    /// Where work that others need not wait for stands back behind theirs.
    behind: Handle,
    loaded: Mutex<Loaded>,
}

struct Work {
    engine: Engine,
    linker: Linker<GuestState>,
    /// For core modules.
    modules: wasmtime::Linker<GuestState>,
    /// None where nothing is kept.
    cache: Option<CodeCache>,
    /// None where nothing is compiled.
    compiler: Option<Compiler>,
    compiled: AtomicU64,
    from_cache: AtomicU64,
}

impl Loader {
    pub(super) fn new(
        engine: &Engine,
        cache_dir: &Path,
        compiler: Compiler,
        host: Handle,
    ) -> Result<Self, LoaderError> {
        let cache = CodeCache::open(cache_dir, engine)?;
        Ok(Self::around(engine, Some(cache), Some(compiler), host)?)
    }

    /// One that compiles nothing and keeps nothing on disk.
    pub(super) fn of_given_code(engine: &Engine, host: Handle) -> wasmtime::Result<Self> {
        Self::around(engine, None, None, host)
    }

    fn around(
        engine: &Engine,
        cache: Option<CodeCache>,
        compiler: Option<Compiler>,
        host: Handle,
    ) -> wasmtime::Result<Self> {
        let work = Work {
            engine: engine.clone(),
            linker: linker(engine)?,
            modules: extism::linker(engine)?,
            cache,
            compiler,
            compiled: 0.into(),
            from_cache: 0.into(),
        };
        Ok(Self { work: Arc::new(work), behind: host.clone(), host, loaded: Mutex::default() })
    }

    /// With threads that stand back, for what others need not wait for.
    pub(super) fn with_threads_behind(self, behind: Handle) -> Self {
        Self { behind, ..self }
    }

    /// Components that were compiled, and that came from the cache on disk.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.work.compiled.load(Ordering::Relaxed), self.work.from_cache.load(Ordering::Relaxed))
    }

    /// What other engines compiled, see [`CodeCache`].
    pub(super) fn cache(&self) -> Option<&CodeCache> {
        self.work.cache.as_ref()
    }

    /// How many components are known, ready or being loaded.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.lock().cells.len()
    }

    /// How many components are ready.
    pub(super) fn ready(&self) -> usize {
        self.lock().cells.values().filter(|entry| entry.cell.initialized()).count()
    }

    /// The component with this digest, if it is ready.
    pub(super) fn find(&self, digest: &str) -> Option<Component> {
        self.lock().touch(digest)?.get().cloned()
    }

    pub(super) async fn load(&self, wasm: Bytes) -> Result<Component, LoadError> {
        let (digest, wasm) = self.blocking(move || (digest(&wasm), wasm)).await?;
        let loading = Loading { cell: self.lock().cell(&digest), digest: &digest, loader: self };
        // Whoever comes while one load runs waits for it; if it is given up, the next one takes over.
        let component = loading.cell.get_or_try_init(|| self.load_now(&digest, wasm)).await?.clone();
        self.lock().evict(&digest);
        Ok(component)
    }

    /// Takes in what another process of ours made ready.
    pub(super) async fn take(&self, packed: Packed) -> Result<(), LoadError> {
        let Packed { digest, interface, code } = packed;
        let loading = Loading { cell: self.lock().cell(&digest), digest: &digest, loader: self };
        let (work, key) = (self.work.clone(), digest.clone());
        let component = self.blocking(move || work.link(&key, &interface, &code)).await??;
        // Where it is there already, that one is as good.
        drop(loading.cell.set(component));
        self.lock().evict(&digest);
        Ok(())
    }

    async fn load_now(&self, digest: &str, wasm: Bytes) -> Result<Component, LoadError> {
        let (work, key) = (self.work.clone(), digest.to_owned());
        let kept = self.blocking(move || work.cache.as_ref().and_then(|cache| cache.read(&key))).await?;
        // What nobody has compiled yet will have to wait anyway, and may be anything: others go before it.
        let threads = if kept.is_some() { &self.host } else { &self.behind };
        let (work, key) = (self.work.clone(), digest.to_owned());
        let found = blocking_on(threads, move || work.verify_and_link(&key, wasm, kept)).await??;
        let (interface, wasm) = match found {
            Found::Ready(component) => return Ok(component),
            Found::Verified(interface, wasm) => (interface, wasm),
        };
        let code = self.in_child(interface.job(), Bytes::new(), wasm).await?;
        let (work, key) = (self.work.clone(), digest.to_owned());
        self.blocking(move || work.link_and_keep(&key, &interface, &code)).await?
    }

    /// On the host's runtime, whoever asks; given up with whoever waits.
    pub(super) async fn in_child(&self, job: Job, ours: Bytes, input: Bytes) -> Result<Vec<u8>, LoadError> {
        let work = self.work.clone();
        let compile = async move {
            match &work.compiler {
                Some(compiler) => compiler.run(job, &ours, &input).await,
                None => Err(LoadError::Engine("nothing is compiled here".to_owned())),
            }
        };
        AbortOnDrop(self.host.spawn(compile)).await.map_err(|_| stopped())?
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LoadError> {
        blocking_on(&self.host, work).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what takes a while on one of these threads; given up with whoever waits.
async fn blocking_on<T: Send + 'static>(
    threads: &Handle,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, LoadError> {
    AbortOnDrop(threads.spawn_blocking(work)).await.map_err(|_| stopped())
}

/// One load of a component: leaves nothing behind when it fails or is given up.
struct Loading<'a> {
    loader: &'a Loader,
    digest: &'a str,
    cell: Arc<OnceCell<Component>>,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.loader.lock().forget(self.digest, &self.cell);
    }
}

/// Why the loader could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoaderError {
    #[error(transparent)]
    Link(#[from] wasmtime::Error),
    #[error(transparent)]
    Cache(#[from] std::io::Error),
}

enum Found {
    Ready(Component),
    Verified(Interface, Bytes),
}

fn stopped() -> LoadError {
    LoadError::Engine("it stopped unexpectedly".to_owned())
}

impl Work {
    fn verify_and_link(&self, digest: &str, wasm: Bytes, kept: Option<Vec<u8>>) -> Result<Found, LoadError> {
        // Also what comes from the cache: the rules may have become stricter since.
        let interface = verify(&wasm)?;
        let Some(code) = kept else { return Ok(Found::Verified(interface, wasm)) };
        match self.link(digest, &interface, &code) {
            Ok(component) => {
                self.from_cache.fetch_add(1, Ordering::Relaxed);
                Ok(Found::Ready(component))
            }
            Err(error) => {
                tracing::warn!(digest, %error, "a compiled component could not be used; it is compiled again");
                Ok(Found::Verified(interface, wasm))
            }
        }
    }

    fn link_and_keep(
        &self,
        digest: &str,
        interface: &Interface,
        code: &[u8],
    ) -> Result<Component, LoadError> {
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let component = self.link(digest, interface, code)?;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.write(digest, code)
        {
            tracing::warn!(digest, %error, "a compiled component could not be kept; the next start compiles it again");
        }
        Ok(component)
    }

    fn link(&self, digest: &str, interface: &Interface, code: &[u8]) -> Result<Component, LoadError> {
        let mismatch = |error| LoadError::Mismatch(short(&error));
        let tool = |abi| Export::Tool(Arc::new(Tool { abi, habit: Habit::default() }));
        let code_bytes = code.len();
        let (export, code) = match interface {
            Interface::Tool => {
                let (component, pre) = self.component(code)?;
                let abi = Abi::Opg(tool::PluginPre::new(pre).map_err(mismatch)?);
                (tool(abi), Code::Component(component))
            }
            Interface::Functions(docs) => {
                let (component, pre) = self.component(code)?;
                let abi = Abi::Functions(Typed::new(&self.engine, &component, pre, docs)?);
                (tool(abi), Code::Component(component))
            }
            Interface::Agent => {
                let (component, pre) = self.component(code)?;
                let pre = agent::PluginPre::new(pre).map_err(mismatch)?;
                (Export::Agent(pre), Code::Component(component))
            }
            Interface::Extism(shape) => {
                let module = self.module(code)?;
                let pre = self.modules.instantiate_pre(&module).map_err(mismatch)?;
                (tool(Abi::Extism(extism::Plugin::new(&module, pre, shape)?)), Code::Module(module))
            }
        };
        let (digest, interface) = (digest.to_owned(), interface.clone());
        Ok(Component(Arc::new(Linked { digest, code_bytes, export, interface, code })))
    }

    #[expect(unsafe_code, reason = "machine code can only be loaded on trust; see below")]
    fn component(
        &self,
        code: &[u8],
    ) -> Result<(wasmtime::component::Component, InstancePre<GuestState>), LoadError> {
        // SAFETY: `code` is what `precompile_component` returned for an engine with our settings, in a child of
        // ours: either just now, over a pipe that nobody else holds, or in an earlier run, which
        // `CodeCache::read` has proved with our MAC over these very bytes in memory. A runner has it from the host,
        // whose child it is, over such a pipe as well.
        let component = unsafe { wasmtime::component::Component::deserialize(&self.engine, code) }
            .map_err(|error| does_not_fit(&error))?;
        let pre =
            self.linker.instantiate_pre(&component).map_err(|error| LoadError::Mismatch(short(&error)))?;
        Ok((component, pre))
    }

    #[expect(unsafe_code, reason = "machine code can only be loaded on trust; see below")]
    fn module(&self, code: &[u8]) -> Result<wasmtime::Module, LoadError> {
        // SAFETY: as for a component; `code` is what `precompile_module` returned there. Which of the two it is, the
        // engine reads from it again.
        unsafe { wasmtime::Module::deserialize(&self.engine, code) }.map_err(|error| does_not_fit(&error))
    }
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker)?;
    tool::Plugin::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, GuestState::asked)?;
    Ok(linker)
}

fn short(error: &wasmtime::Error) -> String {
    clean(&format!("{error:#}"), 400)
}

/// The components in memory, by digest.
#[derive(Default)]
struct Loaded {
    cells: HashMap<String, Entry>,
    /// Counts uses, so that the least recent one is known.
    uses: u64,
}

struct Entry {
    cell: Arc<OnceCell<Component>>,
    used: u64,
}

impl Loaded {
    fn touch(&mut self, digest: &str) -> Option<&OnceCell<Component>> {
        self.uses += 1;
        let entry = self.cells.get_mut(digest)?;
        entry.used = self.uses;
        Some(&entry.cell)
    }

    fn cell(&mut self, digest: &str) -> Arc<OnceCell<Component>> {
        self.uses += 1;
        let entry =
            self.cells.entry(digest.to_owned()).or_insert_with(|| Entry { cell: Arc::default(), used: 0 });
        entry.used = self.uses;
        entry.cell.clone()
    }

    /// Takes a load that came to nothing out again, unless another waits with the same cell.
    fn forget(&mut self, digest: &str, cell: &Arc<OnceCell<Component>>) {
        let ours = self.cells.get(digest).is_some_and(|entry| Arc::ptr_eq(&entry.cell, cell));
        // Only the map's and ours: all others are made under the lock that we hold.
        if ours && !cell.initialized() && Arc::strong_count(cell) == 2 {
            self.cells.remove(digest);
        }
    }

    /// Makes room, for the least recently used first, never for the one just loaded.
    fn evict(&mut self, keep: &str) {
        while self.cells.len() > LOADED_COMPONENTS_MAX || self.code_bytes() > LOADED_BYTES_MAX {
            let loaded =
                self.cells.iter().filter(|(digest, entry)| *digest != keep && entry.cell.initialized());
            let Some(oldest) = loaded.min_by_key(|(_, entry)| entry.used).map(|(digest, _)| digest.clone())
            else {
                return;
            };
            self.cells.remove(&oldest);
        }
    }

    fn code_bytes(&self) -> usize {
        self.cells.values().filter_map(|entry| entry.cell.get()).map(|component| component.0.code_bytes).sum()
    }
}
