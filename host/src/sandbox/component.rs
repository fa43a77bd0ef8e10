//! From the bytes of a component to something that can be called.

use super::bindings::{agent, tool};
use super::cache::CodeCache;
use super::first_slice::Habit;
use super::limits::{COMPILE_WAIT, LOADED_BYTES_MAX, LOADED_COMPONENTS_MAX};
use super::state::{AbortOnDrop, GuestState};
use super::text::clean;
use super::verify::{LoadError, PluginKind, does_not_fit, verify};
use super::wasi;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;
use wasmtime::Engine;
use wasmtime::component::{HasSelf, InstancePre, Linker};

/// A component, verified, compiled and linked. Cheap to clone.
#[derive(Clone)]
pub struct Component(Arc<Linked>);

struct Linked {
    digest: String,
    code_bytes: usize,
    export: Export,
}

/// How the component is called.
#[derive(Clone)]
pub(super) enum Export {
    Tool(Arc<Tool>),
    Agent(agent::PluginPre<GuestState>),
}

/// A plugin of tools, and how its calls go.
pub(super) struct Tool {
    pub(super) pre: tool::PluginPre<GuestState>,
    pub(super) habit: Habit,
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

/// Compiles one component to machine code. A pure function of its arguments:
/// the place to put a child process with limits of its own.
fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    engine.precompile_component(wasm)
}

/// Loads components, each once.
pub(super) struct Loader {
    work: Arc<Work>,
    host: Handle,
    loaded: Mutex<Loaded>,
}

struct Work {
    engine: Engine,
    linker: Linker<GuestState>,
    cache: CodeCache,
    /// One compilation at a time.
    compiler: Arc<Semaphore>,
    compiled: AtomicU64,
    from_cache: AtomicU64,
}

impl Loader {
    pub(super) fn new(engine: &Engine, cache_dir: &Path, host: Handle) -> Result<Self, LoaderError> {
        let work = Work {
            engine: engine.clone(),
            linker: linker(engine)?,
            cache: CodeCache::open(cache_dir, engine)?,
            compiler: Arc::new(Semaphore::new(1)),
            compiled: 0.into(),
            from_cache: 0.into(),
        };
        Ok(Self { work: Arc::new(work), host, loaded: Mutex::default() })
    }

    /// Components that were compiled, and that came from the cache on disk.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.work.compiled.load(Ordering::Relaxed), self.work.from_cache.load(Ordering::Relaxed))
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

    async fn load_now(&self, digest: &str, wasm: Bytes) -> Result<Component, LoadError> {
        let (work, key) = (self.work.clone(), digest.to_owned());
        let found = self.blocking(move || work.find_or_verify(&key, wasm)).await??;
        let wasm = match found {
            Found::Ready(component) => return Ok(component),
            Found::Verified(wasm) => wasm,
        };
        let waiting = timeout(COMPILE_WAIT, self.work.compiler.clone().acquire_owned()).await;
        let turn = waiting.map_err(|_| LoadError::Busy)?.expect("the semaphore is never closed");
        let (work, key) = (self.work.clone(), digest.to_owned());
        let compiling = self.blocking(move || {
            // The turn ends with the work, not with whoever waits for it.
            let _turn = turn;
            work.compile_and_keep(&key, &wasm)
        });
        timeout(COMPILE_WAIT, compiling).await.map_err(|_| LoadError::CompileTimedOut)??
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LoadError> {
        AbortOnDrop(self.host.spawn_blocking(work))
            .await
            .map_err(|_| LoadError::Compile("the compiler stopped unexpectedly".to_owned()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    Verified(Bytes),
}

impl Work {
    fn find_or_verify(&self, digest: &str, wasm: Bytes) -> Result<Found, LoadError> {
        // Also what comes from the cache: the rules may have become stricter since.
        let kind = verify(&wasm)?;
        let Some(code) = self.cache.read(digest) else { return Ok(Found::Verified(wasm)) };
        match self.link(digest, kind, &code) {
            Ok(component) => {
                self.from_cache.fetch_add(1, Ordering::Relaxed);
                Ok(Found::Ready(component))
            }
            Err(error) => {
                tracing::warn!(digest, %error, "a compiled component could not be used; it is compiled again");
                Ok(Found::Verified(wasm))
            }
        }
    }

    fn compile_and_keep(&self, digest: &str, wasm: &[u8]) -> Result<Component, LoadError> {
        let kind = verify(wasm)?;
        let code = compile(&self.engine, wasm).map_err(|error| LoadError::Compile(short(&error)))?;
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let component = self.link(digest, kind, &code)?;
        if let Err(error) = self.cache.write(digest, &code) {
            tracing::warn!(digest, %error, "a compiled component could not be kept; the next start compiles it again");
        }
        Ok(component)
    }

    #[expect(unsafe_code, reason = "machine code can only be loaded on trust; see below")]
    fn link(&self, digest: &str, kind: PluginKind, code: &[u8]) -> Result<Component, LoadError> {
        // SAFETY: `code` is what this engine's `precompile_component` returned: either just now, or in an
        // earlier run, which `CodeCache::read` has proved with our MAC over these very bytes in memory.
        let component = unsafe { wasmtime::component::Component::deserialize(&self.engine, code) }
            .map_err(|error| does_not_fit(&error))?;
        let pre =
            self.linker.instantiate_pre(&component).map_err(|error| LoadError::Mismatch(short(&error)))?;
        Ok(Component(Arc::new(Linked {
            digest: digest.to_owned(),
            code_bytes: code.len(),
            export: export(kind, pre).map_err(|error| LoadError::Mismatch(short(&error)))?,
        })))
    }
}

fn export(kind: PluginKind, pre: InstancePre<GuestState>) -> wasmtime::Result<Export> {
    Ok(match kind {
        PluginKind::Tool => {
            Export::Tool(Arc::new(Tool { pre: tool::PluginPre::new(pre)?, habit: Habit::default() }))
        }
        PluginKind::Agent => Export::Agent(agent::PluginPre::new(pre)?),
    })
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
