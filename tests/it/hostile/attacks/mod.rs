//! What each hostile guest is made to do, and what must come of it.
//!
//! An attack may be repeated: it does not count on being the first.
#![deny(dead_code, reason = "an attack without a guest")]

mod answers;
mod memory;
mod outside;
mod time;
mod uploads;

pub(super) use answers::*;
pub(super) use memory::*;
pub(super) use outside::*;
pub(super) use time::*;
pub(super) use uploads::*;

/// Whether guests must be allowed to reach this machine for an attack to come as far as it is meant to.
pub(super) fn needs_local(guest: &str) -> bool {
    ["endless-response", "rebinding", "secret-thief"].contains(&guest)
}
