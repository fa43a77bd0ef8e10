//! Signatures as minisign makes them, for bytes that are there only when the tests are.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use blake2::{Blake2b512, Digest as _};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// Somebody with a key of minisign's.
pub struct Signer {
    pair: Ed25519KeyPair,
    id: [u8; 8],
}

impl Signer {
    /// Each seed is somebody else.
    pub fn new(seed: u8) -> Signer {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed is 32 bytes");
        Signer { pair, id: [seed; 8] }
    }

    /// The public key, as the second line of a `.pub` file has it.
    pub fn key(&self) -> String {
        STANDARD.encode([&b"Ed"[..], &self.id, self.pair.public_key().as_ref()].concat())
    }

    /// The `.minisig` file for these bytes.
    pub fn file(&self, bytes: &[u8]) -> String {
        let signature = self.pair.sign(Blake2b512::digest(bytes).as_slice());
        let comment = "timestamp:1764547200";
        let global = self.pair.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        format!(
            "untrusted comment: signature from a test\n{}\ntrusted comment: {comment}\n{}\n",
            STANDARD.encode([&b"ED"[..], &self.id, signature.as_ref()].concat()),
            STANDARD.encode(global.as_ref()),
        )
    }

    /// The same as it is sent.
    pub fn sign(&self, bytes: &[u8]) -> String {
        STANDARD.encode(self.file(bytes))
    }
}
