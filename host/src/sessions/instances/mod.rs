//! Instances: what a session runs on.
//!
//! A driver makes one ready. There is one driver so far: `wasm`, whose turns run
//! in this host's sandbox, so that an instance is an agent that can be had; it
//! holds nothing between turns, so there is nothing to end or to ask it. At most
//! one lives for each session, which the database sees to.

pub mod provision;
pub(super) mod store;
mod wasm;

use crate::{app::App, grants::Acting};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long making an instance ready may take (row M317).
pub const PROVISION_TIME_MAX: Duration = Duration::from_secs(30);

/// The drivers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// In this host's sandbox.
    #[default]
    Wasm,
}

impl Target {
    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Target::Wasm => "wasm",
        }
    }

    /// The driver of this name.
    pub fn driver(self) -> &'static dyn Driver {
        match self {
            Target::Wasm => &wasm::Wasm,
        }
    }
}

/// What an instance is to run.
pub struct Spec {
    /// For whom.
    pub acting: Acting,
    /// The session's agent; none: the app's default.
    pub agent: Option<String>,
}

/// Why an instance is not ready.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProvisionError(pub String);

/// What makes instances.
#[async_trait]
pub trait Driver: Send + Sync {
    /// Makes one ready.
    async fn provision(&self, app: &App, spec: &Spec) -> Result<(), ProvisionError>;
}
