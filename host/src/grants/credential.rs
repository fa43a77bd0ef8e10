//! Tokens: how they look, how they are made, how they are kept.
//!
//! A token is a kind's prefix and 256 random bits in base 62. Only
//! `SHA-256(pepper ‖ token)` is stored; the token is shown once.

use super::CredentialKind;
use crate::app::Entropy;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::fmt;

/// How many base-62 characters hold 256 bits.
const SECRET_CHARS: usize = 43;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The part of every installation's hashes that is not in its database.
#[derive(Clone)]
pub struct Pepper(SecretString);

impl Pepper {
    /// From configuration or from the data directory's own file.
    pub fn new(value: SecretString) -> Pepper {
        Pepper(value)
    }

    /// Something only this installation can make of `text`, for one purpose.
    pub fn derive(&self, purpose: &str, text: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret().as_bytes())
            .expect("HMAC takes a key of any length");
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(text);
        mac.finalize().into_bytes().into()
    }

    /// What is stored of a token.
    pub fn hash(&self, token: &str) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.0.expose_secret().as_bytes());
        hasher.update(token.as_bytes());
        hasher.finalize().into()
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}

/// A token as it came in an `Authorization` header, sorted by its shape alone.
#[derive(Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// `ocs_<slug>_<secret>`.
    Tenant {
        /// The slug in it. What counts is the row its hash finds.
        slug: &'a str,
    },
    /// `opg_dev_<secret>`.
    Dev,
    /// `opg_ses_…`, `opg_plt_…`, `opg_pat_…`: a person's.
    Person,
    /// Anything else: only an admin token can look like it.
    Other,
    /// A prefix of ours that this release does not know.
    Unknown,
}

impl<'a> Token<'a> {
    /// What kind of token this looks like. Never panics, reads no database.
    pub fn of(token: &'a str) -> Token<'a> {
        if let Some(rest) = token.strip_prefix("ocs_") {
            return match rest.split_once('_') {
                Some((slug, secret)) if !slug.is_empty() && !secret.is_empty() => Token::Tenant { slug },
                _ => Token::Unknown,
            };
        }
        let Some(rest) = token.strip_prefix("opg_") else { return Token::Other };
        match rest.split_once('_') {
            Some((_, "")) => Token::Unknown,
            Some(("dev", _)) => Token::Dev,
            // A refresh token is none of these: it opens nothing but the next one.
            Some(("ses" | "plt" | "pat", _)) => Token::Person,
            _ => Token::Unknown,
        }
    }
}

/// The token of an `Authorization` header's value: `Bearer <token>`, the
/// scheme in any case (RFC 9110 §11.1).
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The password of a `Basic` header, for clients that can send nothing else.
pub fn basic_password(header: &str) -> Option<String> {
    let (scheme, encoded) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

/// A token just made: the only time its text is there.
pub struct NewToken {
    /// The text, to be shown once.
    pub token: SecretString,
    /// What identifies it to a person: `ocs_acme_sk`, `opg_dev`.
    pub prefix: String,
    /// Its last four characters.
    pub last4: String,
}

impl NewToken {
    /// A secret that is no credential: a code to be exchanged for one.
    pub fn secret(entropy: &Entropy) -> SecretString {
        SecretString::from(base62(entropy))
    }

    /// Makes a token of this kind, for the app where it is an app's.
    pub fn make(kind: CredentialKind, slug: &str, entropy: &Entropy) -> NewToken {
        let prefix = match kind {
            CredentialKind::TenantToken => format!("ocs_{slug}_sk"),
            CredentialKind::DevGrant => "opg_dev".to_owned(),
            CredentialKind::ConsoleSession => "opg_ses".to_owned(),
            CredentialKind::PlatformToken => "opg_plt".to_owned(),
            CredentialKind::RefreshToken => "opg_rfr".to_owned(),
            CredentialKind::PersonalToken => "opg_pat".to_owned(),
            CredentialKind::AdminToken | CredentialKind::Registration | CredentialKind::Anonymous => {
                unreachable!("only stored kinds are made")
            }
        };
        let secret = base62(entropy);
        let last4 = secret[SECRET_CHARS - 4..].to_owned();
        NewToken { token: SecretString::from(format!("{prefix}_{secret}")), prefix, last4 }
    }
}

fn base62(entropy: &Entropy) -> String {
    let mut text = String::with_capacity(SECRET_CHARS);
    while text.len() < SECRET_CHARS {
        // 248 is the largest multiple of 62 in a byte: above it, a remainder would favour the first letters.
        for byte in entropy.bytes::<64>() {
            if byte < 248 && text.len() < SECRET_CHARS {
                text.push(char::from(BASE62[usize::from(byte) % 62]));
            }
        }
    }
    text
}
