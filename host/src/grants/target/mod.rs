//! Targets: what a capability opens of its kind, as text a person can read, and what that text means.
//!
//! One grammar for all kinds, a target and what narrows it: `<what>[ <more>]`. A file for each kind whose target has
//! parts. Every parser takes the canonical form and forms that mean the same; `Display` writes the canonical one.

pub(super) mod host;
pub(super) mod http;
pub(super) mod kv;
pub(super) mod limit;
pub(super) mod model;
pub(super) mod secret;
pub(super) mod table;
