//! The OPG server.

pub mod sandbox;
