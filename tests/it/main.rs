//! The integration tests: one binary, a module each.
#![expect(clippy::unwrap_used, reason = "these are tests: their helpers may panic as well")]

mod agents;
mod cancellation;
mod chat;
mod chat_sessions;
mod clients;
mod door;
mod main_job;
mod models;
mod predefined;
mod sandbox;
mod seed_curls;
mod tools;
mod upstream_client;
