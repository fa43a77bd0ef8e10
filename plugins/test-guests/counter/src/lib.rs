//! Test guest: keeps state where none survives. A fresh instance for each call
//! always answers 1.

use std::sync::atomic::{AtomicU32, Ordering};

use opg_guest::*;

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Counts the calls of this instance.
#[tool]
fn counter() -> u32 {
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

plugin!(counter);
