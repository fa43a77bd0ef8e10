//! The OPG server: one folder a domain.

pub mod models;
