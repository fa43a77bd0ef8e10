//! Tools written in TypeScript: from an opencode tool file to a component.
//!
//! A component like any other comes out, so everything after (description,
//! review, limits, versions, rollback, calls) is one path. The file itself is
//! kept beside it, to be shown.
//!
//! 1. `nesting`, `strip`: types off, imports checked, the lines remembered.
//! 2. `wishes`: hosts and secrets the file names, for the person who reviews it.
//! 3. `snapshot`: the file is loaded in the runtime (`predefined/runtimes/javascript`), and what then is in
//!    memory becomes the component: a call starts where loading ended.
//!
//! Rules:
//! - The file is hostile: all of this is done by the compiler's child, which can be killed and can only compute; its
//!   top level runs there in a store with limits and no imports. One at a time.
//! - Every refusal names the author's line, and what to do.
//! - The same file gives the same component, byte for byte.
//!
//! Deliberately absent: checking types, importing packages, bundling.

mod limits;
mod nesting;
mod place;
mod snapshot;
mod strip;
mod wishes;

#[cfg(test)]
mod tests;

pub use limits::{READER_STACK_BYTES, SOURCE_BYTES_MAX};
pub use place::Place;

use crate::sandbox::{LoadError, RequestedCapability, Sandbox, compiler::Job};
use bytes::Bytes;
use limits::TURN_WAIT;
use serde::{Deserialize, Serialize};
use snapshot::{Runtime, SnapshotError};
use std::collections::BTreeMap;
use std::sync::Arc;
use strip::Stripped;
use tokio::sync::{OnceCell, Semaphore};
use wasmtime::Engine;

/// Why a file became no component.
#[derive(Debug, thiserror::Error)]
pub enum TypeScriptError {
    /// The author's to fix.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// Others are being made.
    #[error("too many files are being made into tools; try again later")]
    Busy,
    /// Our fault.
    #[error("the file could not be made a component: {0}")]
    Engine(String),
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{why}{}", place.as_ref().map(|place| format!("\n{place}")).unwrap_or_default())]
pub struct Invalid {
    /// What is wrong, and what to do.
    pub why: String,
    /// Where, if it is at one place.
    pub place: Option<Place>,
}

/// Makes components of files. Cheap to clone.
#[derive(Clone)]
pub struct Compiler(Arc<Inner>);

struct Inner {
    core: &'static [u8],
    core_sha256: String,
    sandbox: Sandbox,
    /// For the child. Compiled when the first file comes: most hosts never see one.
    runtime: OnceCell<Bytes>,
    turn: Semaphore,
}

impl Compiler {
    /// Takes the core module of the runtime, and the sandbox where what is made of it will run.
    pub fn new(core: &'static [u8], sandbox: &Sandbox) -> Compiler {
        let (runtime, turn) = (OnceCell::new(), Semaphore::new(1));
        let core_sha256 = Sandbox::digest(core);
        Compiler(Arc::new(Inner { core, core_sha256, sandbox: sandbox.clone(), runtime, turn }))
    }

    /// Which runtime it makes them of: another one makes another component of the same file.
    pub fn runtime_sha256(&self) -> &str {
        &self.0.core_sha256
    }

    /// Makes the component of a tool's file. `name` is the plugin's.
    ///
    /// # Errors
    /// [`TypeScriptError`]
    pub async fn component(&self, name: &str, source: String) -> Result<Vec<u8>, TypeScriptError> {
        let waiting = tokio::time::timeout(TURN_WAIT, self.0.turn.acquire()).await;
        let _turn = waiting.map_err(|_| TypeScriptError::Busy)?.expect("the semaphore is never closed");
        let runtime = self.runtime().await?;
        let told = serde_json::to_vec(&File::new(name, &source)).map_err(engine)?;
        let heard = self.0.sandbox.in_child(Job::TypeScript, runtime, told.into()).await;
        Made::parse(heard.map_err(not_made)?).ok_or_else(|| engine("the child's answer makes no sense"))?.0
    }

    /// The runtime as the child takes it. One at a time gets here, so none is compiled in vain.
    async fn runtime(&self) -> Result<Bytes, TypeScriptError> {
        let compile = || async {
            let compiler = self.clone();
            let compile = move || snapshot::pack(compiler.0.core, &compiler.0.sandbox.engine_for_loading()?);
            let packed = tokio::task::spawn_blocking(compile).await.map_err(engine)?;
            packed.map(Bytes::from).map_err(|error| engine(format!("{error:#}")))
        };
        self.0.runtime.get_or_try_init(compile).await.cloned()
    }
}

fn engine(cause: impl std::fmt::Display) -> TypeScriptError {
    TypeScriptError::Engine(cause.to_string())
}

/// What the runtime is given to load. Written as it is: a file may have a million places.
#[derive(Serialize)]
struct Given<'a> {
    file: &'a str,
    plugin: &'a str,
    source: &'a str,
    lines: &'a [u32],
    capabilities: &'a [RequestedCapability],
    secrets: BTreeMap<&'a str, String>,
}

/// A file as it is told to the child.
#[derive(Serialize, Deserialize)]
struct File {
    plugin: String,
    source: String,
}

impl File {
    fn new(plugin: &str, source: &str) -> File {
        // What editors put before a file is no part of it.
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        File { plugin: plugin.to_owned(), source: source.to_owned() }
    }

    fn name(&self) -> String {
        format!("{}.ts", self.plugin)
    }

    fn read(&self) -> Result<Stripped, Invalid> {
        nesting::check(&self.name(), &self.source)?;
        strip::strip(&self.name(), &self.source)
    }

    fn make(&self, runtime: &Runtime<'_>) -> Result<Vec<u8>, TypeScriptError> {
        let stripped = self.read()?;
        let name = self.name();
        let given = Given {
            file: &name,
            plugin: &self.plugin,
            source: &stripped.code,
            lines: &stripped.lines,
            capabilities: &stripped.wishes,
            secrets: stripped.secrets.iter().map(|name| (&**name, crate::secrets::reference(name))).collect(),
        };
        let given = serde_json::to_vec(&given).map_err(engine)?;
        runtime.snapshot(&given).map_err(|error| refused(error, &name, &self.source))
    }
}

/// What the child makes, or why it makes nothing: one byte, and the component, what is wrong with the file as JSON, or
/// a text.
struct Made(Result<Vec<u8>, TypeScriptError>);

impl Made {
    const COMPONENT: u8 = 0;
    const INVALID: u8 = 1;
    const ENGINE: u8 = 2;

    fn into_bytes(self) -> serde_json::Result<Vec<u8>> {
        let (tag, mut bytes) = match self.0 {
            Ok(component) => (Made::COMPONENT, component),
            Err(TypeScriptError::Invalid(invalid)) => (Made::INVALID, serde_json::to_vec(&invalid)?),
            Err(other) => (Made::ENGINE, other.to_string().into_bytes()),
        };
        bytes.insert(0, tag);
        Ok(bytes)
    }

    fn parse(mut bytes: Vec<u8>) -> Option<Made> {
        let tag = *bytes.first()?;
        bytes.remove(0);
        Some(Made(match tag {
            Made::COMPONENT => Ok(bytes),
            Made::INVALID => Err(serde_json::from_slice::<Invalid>(&bytes).ok()?.into()),
            Made::ENGINE => Err(engine(String::from_utf8_lossy(&bytes))),
            _ => return None,
        }))
    }
}

/// The child's side, before it shuts itself in: what loads a file, and the clock that ends it.
pub struct Maker(Engine);

impl Maker {
    /// Takes an engine as [`Sandbox::engine_for_loading`] gives, in which nothing else runs.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(engine: Engine) -> std::io::Result<Maker> {
        snapshot::start_clock(&engine)?;
        Ok(Maker(engine))
    }

    /// Makes the component of the file that it is told, with the runtime as the host packed it; or says what is wrong
    /// with it. Takes a stack of [`READER_STACK_BYTES`].
    ///
    /// # Errors
    /// Where it is told something else.
    pub fn make(&self, runtime: &[u8], file: &[u8]) -> anyhow::Result<Vec<u8>> {
        let file: File = serde_json::from_slice(file)?;
        let runtime = Runtime::unpack(&self.0, runtime).map_err(|error| anyhow::anyhow!("{error:#}"))?;
        Ok(Made(file.make(&runtime)).into_bytes()?)
    }
}

/// Reads a file as the child does first: an error in words, or nothing. Takes a stack, as [`Maker::make`].
///
/// # Errors
/// What is wrong with it.
#[doc(hidden)]
pub fn read(plugin: &str, source: &str) -> Result<(), Invalid> {
    File::new(plugin, source).read().map(drop)
}

/// What a child that gave no answer says of the file.
fn not_made(error: LoadError) -> TypeScriptError {
    let invalid = |why: &str| Invalid { why: why.to_owned(), place: None }.into();
    match error {
        LoadError::Busy => TypeScriptError::Busy,
        LoadError::CompileTimedOut => invalid("the file takes too long to read; leave parts out"),
        LoadError::CompileOutOfMemory | LoadError::Compile(_) => {
            invalid("the file takes too much memory to read: something in it nests without end; leave it out")
        }
        other => TypeScriptError::Engine(other.to_string()),
    }
}

fn refused(error: SnapshotError, file: &str, source: &str) -> TypeScriptError {
    match error {
        SnapshotError::Engine(cause) => TypeScriptError::Engine(format!("{cause:#}")),
        SnapshotError::Load { text, place } => {
            let place = place.map(|(line, column)| Place::on(file, source, line, column));
            Invalid { why: format!("the file does not load: {text}"), place }.into()
        }
        other => Invalid { why: other.to_string(), place: None }.into(),
    }
}
