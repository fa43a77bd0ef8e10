//! Test guest: an output as large as asked for.

use opg_guest::*;

/// Returns a text of so many bytes.
#[tool]
fn shout(
    /// How long the text is.
    bytes: u32,
) -> String {
    "A".repeat(bytes as usize)
}

/// Fails with a text of so many bytes.
#[tool]
fn shout_error(
    /// How long the text is.
    bytes: u32,
) -> Result<(), Error> {
    Err(Error::failed("A".repeat(bytes as usize)))
}

plugin!(shout, shout_error);
