//! Instances: what a session runs on.
//!
//! A driver makes one ready, says how it stands, and ends it. There are two.
//! `wasm` runs the guests of a session in this host's sandbox: an instance is an
//! agent that can be had, and holds nothing between turns. `process` runs them
//! in a process of the session's own, a [runner](crate::runner), so that what
//! gets out of a guest's instance is where nothing but that session is
//! ([`process`]). Which of them may be had is the operator's word
//! (`SESSION_TARGETS`).
//!
//! Making one ready takes steps, each told in the session's log (`step`).
//!
//! At most one lives for each session, which the database sees to. Only the host
//! that started a runner has it: where a turn finds none, it is made anew
//! ([`mod@place`]).

pub mod place;
pub mod process;
pub mod provision;
mod step;
pub(super) mod store;
mod wasm;

pub use place::place;
pub use step::Steps;

use crate::{app::App, grants::Acting, guests::Place};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// How long each step of making an instance ready may take (row M317): to compile an agent, on a busy machine.
pub const STEP_TIME_MAX: Duration = Duration::from_secs(30);

/// The drivers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// In this host's sandbox.
    #[default]
    Wasm,
    /// In a process of the session's own.
    Process,
}

impl Target {
    /// Every driver there is.
    pub const ALL: &[Target] = &[Target::Wasm, Target::Process];

    /// The name in the table and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Target::Wasm => "wasm",
            Target::Process => "process",
        }
    }

    /// The target of this name.
    pub fn parse(name: &str) -> Option<Target> {
        Target::ALL.iter().copied().find(|target| target.name() == name)
    }

    /// The target of this name, as a table has it that takes no other.
    pub(super) fn named(name: &str) -> Target {
        Target::parse(name).unwrap_or_default()
    }

    /// The driver of this name.
    pub fn driver(self) -> &'static dyn Driver {
        match self {
            Target::Wasm => &wasm::Wasm,
            Target::Process => &process::Process,
        }
    }
}

/// What an instance is to run.
pub struct Spec {
    /// For whom.
    pub acting: Acting,
    /// Which session.
    pub session_id: Uuid,
    /// The instance to be: its row is there.
    pub instance_id: Uuid,
    /// The session's agent; none: the app's default.
    pub agent: Option<String>,
}

/// Why an instance is not ready.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProvisionError(pub String);

/// What makes instances, and ends them.
#[async_trait]
pub trait Driver: Send + Sync {
    /// Makes one ready, step by step; where its guests run. Dropped before, it leaves nothing behind.
    async fn provision(&self, app: &App, spec: &Spec, steps: &Steps<'_>) -> Result<Place, ProvisionError>;
    /// Ends one, where it is this host's and there still.
    fn destroy(&self, app: &App, instance_id: Uuid);
    /// How one stands: where its guests run, or nothing where this host has none of this id.
    fn status(&self, app: &App, instance_id: Uuid) -> Option<Place>;
}

/// A session runs on nothing any more: what it ran on here goes. To be called once that is written down.
pub(crate) fn ended(app: &App, session_id: Uuid) {
    app.runners.end_of(session_id);
}
