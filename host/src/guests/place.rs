//! Where the guests of a chain run: in this host's sandbox, or in a runner's.
//!
//! What they reach is the same either way: the door stays here.

use super::Door;
use crate::{
    app::App,
    sandbox::{
        AgentError, CallContext, CallLimits, Called, Component, Outcome, ToolError, Turn, remote::Remote,
    },
};
use std::sync::Arc;

/// A place for guests.
#[derive(Clone, Default)]
pub enum Place {
    /// In this process.
    #[default]
    Here,
    /// In a process of its session's own.
    Runner(Remote),
}

impl Place {
    /// Runs one turn of an agent there.
    pub async fn run_agent(
        &self,
        app: &App,
        component: &Component,
        door: Arc<Door>,
        limits: CallLimits,
        turn: Turn,
    ) -> Called<Result<Outcome, AgentError>> {
        match self {
            Place::Here => app.sandbox.run_agent(component, door, limits, turn).await,
            Place::Runner(runner) => runner.run_agent(component, door, limits, turn).await,
        }
    }

    /// Runs one tool there.
    #[expect(clippy::too_many_arguments, reason = "the sandbox's, and whose")]
    pub async fn call_tool(
        &self,
        app: &App,
        component: &Component,
        door: Arc<Door>,
        limits: CallLimits,
        name: &str,
        input: String,
        context: CallContext,
    ) -> Called<Result<String, ToolError>> {
        match self {
            Place::Here => app.sandbox.call_tool(component, door, limits, name, input, context).await,
            Place::Runner(runner) => runner.call_tool(component, door, limits, name, input, context).await,
        }
    }
}
