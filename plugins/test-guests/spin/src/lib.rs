//! Test guest: a call that never returns and asks the host for nothing.

use opg_guest::*;

/// Spins for ever.
#[tool]
fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

plugin!(spin);
