//! The OPG server: one folder a domain.

pub mod egress;
pub mod postgres;
pub mod secrets;
pub mod telemetry;
