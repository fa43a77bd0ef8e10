//! OPG: a self-hosted backend for one-person groups and their agents.
//!
//! **One gate, two doors**: people calling over HTTP and guests calling out of
//! the sandbox are judged by the same [`grants::decide()`].
//!
//! A domain is a folder: `mod.rs` says what it is and its rules, files are named
//! by what they do, `store.rs` holds its SQL, `routes.rs` its HTTP. Start with
//! [`router`] for what there is, [`grants`] for who may, [`sandbox`] and
//! [`guests`] for how a plugin runs, [`chat`] for the main job; `ARCHITECTURE.md`
//! walks through two requests.

pub mod agents;
pub mod ai;
pub mod app;
pub mod budgets;
mod carried;
pub mod chat;
pub mod config;
pub mod db_proxy;
pub mod egress;
pub mod error;
pub mod grants;
pub mod guests;
pub mod hardening;
pub mod http;
pub mod idempotency;
pub mod keys;
pub mod limits;
pub mod mail;
pub mod models;
pub mod opencode;
pub mod ops;
pub mod people;
pub mod postgres;
pub mod prices;
pub mod registry;
pub mod remembered;
pub mod router;
pub mod runner;
pub mod sandbox;
pub mod secrets;
pub mod serve;
pub mod sessions;
pub mod sources;
pub mod tasks;
pub mod telemetry;
pub mod tenants;
pub mod tools;
pub mod traces;
pub mod typescript;
mod unseen;
pub mod upkeep;
pub mod usage;
pub mod workspace;
