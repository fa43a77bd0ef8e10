//! Test guest: writes to the log as much as asked for.

use opg_guest::*;

/// Writes so many lines to the log and says how many.
#[tool]
fn chatter(
    /// How many lines.
    lines: u32,
    /// How long each is; as long as its number unless given.
    line_bytes: Option<u32>,
) -> u32 {
    for line in 1..=lines {
        match line_bytes {
            Some(bytes) => log::info("x".repeat(bytes as usize)),
            None => log::info(line),
        }
    }
    lines
}

plugin!(chatter);
