//! Test guest: panics, which is a trap to the host.

use opg_guest::*;

/// Panics.
#[tool]
fn trap(
    /// What to say while doing so.
    message: Option<String>,
) {
    panic!("{}", message.unwrap_or_else(|| "as asked".into()));
}

plugin!(trap);
