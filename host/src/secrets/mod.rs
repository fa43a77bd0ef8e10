//! Secrets at rest: every value in an envelope of its own, every envelope under a master key that can be rotated.
//!
//! A copy of the database without the master key is worth nothing, and so is a ciphertext moved to another row.

pub mod envelope;
pub mod keyring;

/// Where random bytes come from: `&getrandom::fill`, or a test's own.
pub type Random<'a> = &'a dyn Fn(&mut [u8]) -> Result<(), getrandom::Error>;
