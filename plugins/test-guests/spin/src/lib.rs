//! Test guest: a call that computes and asks the host for nothing.

use std::time::{Duration, Instant};

use opg_guest::*;

/// Spins.
#[tool]
fn spin(
    /// For how long; for ever unless given.
    ms: Option<u32>,
) {
    let started = Instant::now();
    while ms.is_none_or(|ms| started.elapsed() < Duration::from_millis(ms.into())) {
        std::hint::spin_loop();
    }
}

plugin!(spin);
