//! The integration tests: one binary, a module each.
#![expect(clippy::unwrap_used, reason = "these are tests: their helpers may panic as well")]

mod agents;
mod bad_input;
mod canary;
mod cancellation;
mod chat;
mod chat_sessions;
mod clients;
mod config;
mod crash;
mod database;
mod database_guest;
mod database_managed;
mod docs;
mod door;
mod main_job;
mod migrations;
mod models;
mod ops;
mod predefined;
mod readme;
mod register;
mod rls;
mod rotation;
mod sandbox;
mod secrets;
mod seed_curls;
mod tenants;
mod tokens;
mod tools;
mod typescript;
mod unauthorised;
mod upstream_client;
