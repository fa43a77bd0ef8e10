//! Test guest: an agent that says a word and then never returns.

use opg_guest::*;

/// Spins for ever.
#[agent]
fn spin(_turn: Turn) -> Result<Outcome, Error> {
    events::text("wait")?;
    loop {
        std::hint::spin_loop();
    }
}
