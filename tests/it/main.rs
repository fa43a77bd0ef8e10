//! The integration tests: one binary, a module each.
#![expect(clippy::unwrap_used, reason = "these are tests: their helpers may panic as well")]

mod crash;
mod docs;
mod main_job;
mod readme;
mod rotation;
mod sandbox;
mod upstream_client;
