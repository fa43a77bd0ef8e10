//! The OPG server: one folder a domain.

pub mod postgres;
pub mod secrets;
