//! Tools written in TypeScript: from an opencode tool file to a component.
//!
//! A component like any other comes out, so everything after (description,
//! review, limits, versions, rollback, calls) is one path. The file itself is
//! kept beside it, to be shown.
//!
//! 1. [`nesting`], [`strip`]: types off, imports checked, the lines remembered.
//! 2. [`wishes`]: hosts and secrets the file names, for the person who reviews it.
//! 3. [`snapshot`]: the file is loaded in the runtime (`predefined/runtimes/javascript`), and what then is in
//!    memory becomes the component: a call starts where loading ended.
//!
//! Rules:
//! - The file is hostile: reading it has a thread and a stack of its own, running its top level a store with
//!   limits and no imports. One at a time.
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

pub use limits::SOURCE_BYTES_MAX;
pub use place::Place;

use crate::sandbox::Sandbox;
use limits::{READER_STACK_BYTES, TURN_WAIT};
use serde_json::json;
use snapshot::{Runtime, SnapshotError};
use std::sync::{Arc, OnceLock};
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    sandbox: Sandbox,
    /// Compiled when the first file comes: most hosts never see one.
    runtime: OnceLock<Runtime>,
    turn: Arc<Semaphore>,
}

impl Compiler {
    /// Takes the core module of the runtime, and the sandbox where what is made of it will run.
    pub fn new(core: &'static [u8], sandbox: &Sandbox) -> Compiler {
        let (runtime, turn) = (OnceLock::new(), Arc::new(Semaphore::new(1)));
        Compiler(Arc::new(Inner { core, sandbox: sandbox.clone(), runtime, turn }))
    }

    /// Makes the component of a tool's file. `name` is the plugin's.
    ///
    /// # Errors
    /// [`TypeScriptError`]
    pub async fn component(&self, name: &str, source: String) -> Result<Vec<u8>, TypeScriptError> {
        let waiting = tokio::time::timeout(TURN_WAIT, self.0.turn.clone().acquire_owned()).await;
        let turn = waiting.map_err(|_| TypeScriptError::Busy)?.expect("the semaphore is never closed");
        let (compiler, name) = (self.clone(), name.to_owned());
        let (tell, told) = tokio::sync::oneshot::channel();
        let reader =
            std::thread::Builder::new().name("opg-typescript".to_owned()).stack_size(READER_STACK_BYTES);
        let work = move || {
            // The turn ends with the work, not with whoever waits for it.
            let _turn = turn;
            // Nobody may be waiting any more.
            drop(tell.send(compiler.make(&name, &source)));
        };
        reader.spawn(work).map_err(|error| TypeScriptError::Engine(error.to_string()))?;
        told.await.unwrap_or_else(|_| Err(TypeScriptError::Engine("it stopped unexpectedly".to_owned())))
    }

    fn make(&self, name: &str, source: &str) -> Result<Vec<u8>, TypeScriptError> {
        let file = format!("{name}.ts");
        // What editors put before a file is no part of it.
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        nesting::check(&file, source)?;
        let stripped = strip::strip(&file, source)?;
        let references = stripped
            .secrets
            .iter()
            .map(|name| (name.clone(), crate::guests::door::secret_reference(name).into()));
        let given = json!({
            "file": file,
            "plugin": name,
            "source": stripped.code,
            "lines": stripped.lines,
            "capabilities": stripped.wishes,
            "secrets": references.collect::<serde_json::Map<_, _>>(),
        });
        let runtime = self.runtime().map_err(|error| refused(error, &file, source))?;
        runtime.snapshot(given.to_string().as_bytes()).map_err(|error| refused(error, &file, source))
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
