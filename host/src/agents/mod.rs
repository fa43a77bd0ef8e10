//! Agents: whole turns, run as guests.
//!
//! An agent is a component with a loop of its own, or markdown that the
//! predefined `default` agent runs. Either way a turn is one call into the
//! sandbox; models and tools are reached through the door.

pub mod choose;
pub mod routes;
pub mod run;

pub use choose::{Agent, ChooseError, choose};
