//! Test guest: an agent whose answer never ends.

use std::time::Duration;

use opg_guest::*;

/// Says a letter now and then; or, asked for a `flood`, as much as it can.
#[agent]
fn drip(turn: Turn) -> Result<Outcome, Error> {
    let floods = turn.messages.last().is_some_and(|message| message["content"] == "flood");
    loop {
        if floods {
            // Whatever the host says to it.
            drop(events::text(&"x".repeat(100_000)));
        } else {
            events::text("x")?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
