//! The integration tests, in one binary.
#![expect(clippy::unwrap_used, reason = "these are tests: their helpers may panic as well")]

mod sandbox;
