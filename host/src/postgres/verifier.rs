//! What a server keeps of a password, made by us: it never sees the password itself.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Rounds of PBKDF2. They make guessing a *weak* password dear; ours are 256 random bits, which nobody guesses. And
/// they are paid at each login: the client of `sqlx` gives up its turn some 800 times in the usual 4,096 of them, so
/// that a new connection took seconds on a busy server, and calls were refused for want of one.
pub(crate) const ITERATIONS: u32 = 1;
/// As PostgreSQL itself has it.
pub(crate) const SALT_BYTES: usize = 16;

/// The SCRAM-SHA-256 verifier of a password of ours, as `pg_authid` keeps it (RFC 5803; RFC 5802 §3).
///
/// For random passwords alone: see [`ITERATIONS`].
pub(crate) fn scram_verifier(password: &str, salt: [u8; SALT_BYTES]) -> String {
    // Hi(password, salt, 1) is the first round of PBKDF2: one HMAC over the salt and the number of the block.
    let salted = hmac(password.as_bytes(), &[salt.as_slice(), &1_u32.to_be_bytes()].concat());
    let stored = Sha256::digest(hmac(&salted, b"Client Key"));
    let server = hmac(&salted, b"Server Key");
    let [salt, stored, server] =
        [salt.as_slice(), stored.as_slice(), &server].map(|bytes| STANDARD.encode(bytes));
    format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}")
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}
