//! Tools written in TypeScript: from an opencode tool file to a component.
//!
//! A component like any other comes out, so everything after (description,
//! review, limits, versions, rollback, calls) is one path. The file itself is
//! kept beside it, to be shown.
//!
//! 1. `nesting`, `strip`: types off, imports checked, the lines remembered.
//! 2. `wishes`: hosts and secrets the file names, for the person who reviews it. Both in the compiler's child.
//! 3. `snapshot`: the file is loaded in the runtime (`predefined/runtimes/javascript`), and what then is in
//!    memory becomes the component: a call starts where loading ended.
//!
//! Rules:
//! - The file is hostile: it is read by the compiler's child, which can be killed and can only compute; its top
//!   level runs in a store with limits and no imports. One at a time.
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
use limits::{LOADER_STACK_BYTES, TURN_WAIT};
use serde::{Deserialize, Serialize};
use snapshot::{Runtime, SnapshotError};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use strip::Stripped;
use tokio::sync::Semaphore;

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
    /// Compiled when the first file comes: most hosts never see one.
    runtime: OnceLock<Runtime>,
    turn: Arc<Semaphore>,
}

impl Compiler {
    /// Takes the core module of the runtime, and the sandbox where what is made of it will run.
    pub fn new(core: &'static [u8], sandbox: &Sandbox) -> Compiler {
        let (runtime, turn) = (OnceLock::new(), Arc::new(Semaphore::new(1)));
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
        let waiting = tokio::time::timeout(TURN_WAIT, self.0.turn.clone().acquire_owned()).await;
        let turn = waiting.map_err(|_| TypeScriptError::Busy)?.expect("the semaphore is never closed");
        let file = File::new(name, &source);
        let stripped = self.read_in_child(&file).await?;
        let (compiler, name) = (self.clone(), name.to_owned());
        let (tell, told) = tokio::sync::oneshot::channel();
        let loader =
            std::thread::Builder::new().name("opg-typescript".to_owned()).stack_size(LOADER_STACK_BYTES);
        let work = move || {
            // The turn ends with the work, not with whoever waits for it.
            let _turn = turn;
            // Nobody may be waiting any more.
            drop(tell.send(compiler.load(&name, &file, &stripped)));
        };
        loader.spawn(work).map_err(|error| TypeScriptError::Engine(error.to_string()))?;
        told.await.unwrap_or_else(|_| Err(TypeScriptError::Engine("it stopped unexpectedly".to_owned())))
    }

    async fn read_in_child(&self, file: &File) -> Result<Stripped, TypeScriptError> {
        let engine = |error: &dyn std::fmt::Display| TypeScriptError::Engine(error.to_string());
        let told = serde_json::to_vec(file).map_err(|error| engine(&error))?;
        let heard = self.0.sandbox.in_child(Job::TypeScript, told.into()).await.map_err(unread)?;
        let read: Result<Stripped, Invalid> =
            serde_json::from_slice(&heard).map_err(|error| engine(&error))?;
        Ok(read?)
    }

    fn load(&self, name: &str, file: &File, stripped: &Stripped) -> Result<Vec<u8>, TypeScriptError> {
        let given = Given {
            file: &file.name,
            plugin: name,
            source: &stripped.code,
            lines: &stripped.lines,
            capabilities: &stripped.wishes,
            secrets: stripped.secrets.iter().map(|name| (&**name, crate::secrets::reference(name))).collect(),
        };
        let given = serde_json::to_vec(&given).map_err(|error| TypeScriptError::Engine(error.to_string()))?;
        let refused = |error| refused(error, &file.name, &file.source);
        self.runtime().map_err(refused)?.snapshot(&given).map_err(refused)
    }

    fn runtime(&self) -> Result<&Runtime, SnapshotError> {
        if let Some(runtime) = self.0.runtime.get() {
            return Ok(runtime);
        }
        // One at a time, so none is compiled in vain.
        let runtime = Runtime::new(self.0.core, self.0.sandbox.engine_for_loading()?)?;
        Ok(self.0.runtime.get_or_init(|| runtime))
    }
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

/// A file as it is read.
#[derive(Serialize, Deserialize)]
struct File {
    name: String,
    source: String,
}

impl File {
    fn new(plugin: &str, source: &str) -> File {
        // What editors put before a file is no part of it.
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        File { name: format!("{plugin}.ts"), source: source.to_owned() }
    }

    fn read(&self) -> Result<Stripped, Invalid> {
        nesting::check(&self.name, &self.source)?;
        strip::strip(&self.name, &self.source)
    }
}

/// The child's side: a file as the host tells it to what is made of it, or what is wrong with it. Takes a stack of
/// [`READER_STACK_BYTES`].
///
/// # Errors
/// Where it is told something else.
pub fn read(told: &[u8]) -> serde_json::Result<Vec<u8>> {
    let file: File = serde_json::from_slice(told)?;
    serde_json::to_vec(&file.read())
}

/// What a child that gave no answer says of the file.
fn unread(error: LoadError) -> TypeScriptError {
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
