//! The integration tests: one binary, a module each.
#![expect(clippy::unwrap_used, reason = "these are tests: their helpers may panic as well")]

mod bad_input;
mod canary;
mod config;
mod crash;
mod docs;
mod main_job;
mod migrations;
mod ops;
mod readme;
mod register;
mod rls;
mod rotation;
mod sandbox;
mod secrets;
mod tenants;
mod tokens;
mod unauthorised;
mod upstream_client;
