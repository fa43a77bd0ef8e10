//! The opencode mount: `/t/<app>/opencode`, for opencode's own clients.
//!
//! opencode (sst) is a coding agent whose terminal client, command line and SDK
//! speak HTTP with a server; this is such a server over an app's sessions. It
//! decides nothing: each route judges as its like under `/v1` does, calls the
//! same operation, and translates what comes of it. Nothing is stored for it.
//!
//! - [`ids`]: its ids and ours. `shape`: its sessions, messages and parts.
//! - `encode`: from a turn's log to its events. [`events`]: streams of them.
//! - `messages`: histories. [`routes`]: sessions, prompts, permissions.
//! - [`catalog`]: agents, models, commands, configuration. [`files`]: those of
//!   a session. [`nothing`]: what clients ask for and there is nothing of.
//!
//! Deliberately absent: shells, todos, MCP.

mod bodies;
pub mod catalog;
mod encode;
pub mod events;
pub mod files;
pub mod ids;
mod messages;
pub mod nothing;
pub mod render;
pub mod routes;
mod shape;

/// The release of opencode whose interface this is.
pub const VERSION: &str = "1.18.33";
/// The one project there is, as opencode calls the one outside of any repository.
const PROJECT: &str = "global";
/// Where its files are, each session's own: what names one of them goes on with its id.
const DIRECTORY: &str = "/workspace";
