//! Signatures of uploads (row M363): where an app trusts keys, it takes nothing that none of them signed.
//!
//! They are minisign's (Ed25519), each in a file of its own that is sent along in a header. What is signed are the bytes
//! that are sent: a component, a file, a manifest. Who trusts a key is the app, by its configuration, which takes
//! another scope than uploading. Of a version stays by which key it came in; it begins to run, by a review or a
//! rollback too, only as long as that key is trusted. What runs already when keys are named goes on.
//!
//! - [`Sent`]: what a client sent.
//! - [`Signer`]: the proof that it was looked at, without which nothing is uploaded.
//!
//! Deliberately absent: signatures by an older form of minisign's (of the bytes themselves, not of their hash), keys of
//! people or of the operator, transparency logs, what a signature's comments say.

use super::store;
use crate::{app::App, grants::InApp};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::HeaderMap;
use minisign_verify::{Error, PublicKey, Signature};
use std::fmt::{self, Display};

/// The header a signature is sent in: base64 of the `.minisig` file.
pub const HEADER: &str = "x-opg-signature";
/// Keys an app trusts at the most: everybody who publishes for it, and one that takes over.
pub const TRUSTED_KEYS_MAX: usize = 20;
/// A `.minisig` file, in bytes: four lines, of which two are comments somebody may write much into.
pub const SIGNATURE_BYTES_MAX: usize = 4 << 10;

/// How a key and a signature begin: `Ed`, and where the hash is signed `ED`.
const ALGORITHM: &[u8] = b"Ed";
const HASHED: &[u8] = b"ED";
/// Where the number of a key stands in both.
const KEY_ID: std::ops::Range<usize> = 2..10;
/// A key: algorithm, number, and Ed25519's 32 bytes.
const KEY_BYTES: usize = 42;

/// What a client sent as a signature, if it sent any.
#[derive(Clone, Debug)]
pub struct Sent(Vec<Vec<u8>>);

/// Which key signed an upload; none where the app trusts none.
#[derive(Clone, Debug)]
pub struct Signer(Option<String>);

/// Why an upload is not signed as it must be.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// None was sent, and the app trusts keys.
    #[error(
        "this app takes only what one of its trusted keys signed ({0}): sign the file, as by `minisign -S -m FILE`, and \
         send base64 of FILE.minisig in the header X-OPG-Signature, or `opg tool publish FILE --signature FILE.minisig`"
    )]
    Missing(Ids),
    /// One was sent, and the app trusts none.
    #[error(
        "this app trusts no key, so it can take no signature: leave it out, or name keys as `trustedKeys` in PUT \
         /v1/tenant"
    )]
    NoKeys,
    /// It is none.
    #[error("the header X-OPG-Signature is not base64 of one .minisig file of minisign's")]
    Unreadable,
    /// It is of the old form.
    #[error(
        "the signature is of minisign's old form: sign the file again with minisign 0.11 or newer, or with `-H`"
    )]
    OldForm,
    /// It is by another key.
    #[error("the signature is by the key {by}, which this app does not trust; it trusts {trusted}")]
    Untrusted {
        /// The key's number.
        by: Ids,
        /// Those it trusts.
        trusted: Ids,
    },
    /// It is of other bytes.
    #[error("the signature is not of these bytes; sign the file that is sent, as it is")]
    Mismatch,
    /// The database.
    #[error("the app's trusted keys could not be read")]
    Db(#[from] sqlx::Error),
}

/// Numbers of keys, as minisign shows them.
#[derive(Debug, PartialEq, Eq)]
pub struct Ids(Vec<[u8; 8]>);

impl Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, id) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{:016X}", u64::from_le_bytes(*id))?;
        }
        Ok(())
    }
}

impl Ids {
    fn of(keys: &[String]) -> Ids {
        Ids(keys.iter().filter_map(|key| id_of(key)).collect())
    }
}

fn id_of(base64: &str) -> Option<[u8; 8]> {
    STANDARD.decode(base64).ok()?.get(KEY_ID)?.try_into().ok()
}

/// Whether this is a key of minisign's, as its second line says it: `RW…`.
pub fn is_key(text: &str) -> bool {
    let bytes = STANDARD.decode(text).ok();
    bytes.is_some_and(|bytes| bytes.len() == KEY_BYTES && bytes.starts_with(ALGORITHM))
        && PublicKey::from_base64(text).is_ok()
}

impl Sent {
    /// Takes it from a request's headers.
    pub fn of(headers: &HeaderMap) -> Sent {
        Sent(headers.get_all(HEADER).iter().map(|value| value.as_bytes().to_vec()).collect())
    }

    /// The lines of the one file that was sent.
    fn read(&self) -> Result<Option<String>, SignatureError> {
        let base64 = match self.0.as_slice() {
            [] => return Ok(None),
            [one] if one.len() <= SIGNATURE_BYTES_MAX.div_ceil(3) * 4 => one,
            _ => return Err(SignatureError::Unreadable),
        };
        let file = STANDARD.decode(base64).map_err(|_| SignatureError::Unreadable)?;
        String::from_utf8(file).map(Some).map_err(|_| SignatureError::Unreadable)
    }
}

impl Signer {
    /// The key.
    pub(super) fn key(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Whether these keys, which may be others by now, let it in.
    ///
    /// # Errors
    /// [`SignatureError`]
    pub(super) fn check(&self, trusted: &[String]) -> Result<(), SignatureError> {
        match &self.0 {
            _ if is_trusted(self.key(), trusted) => Ok(()),
            None => Err(SignatureError::Missing(Ids::of(trusted))),
            Some(key) => {
                let by = Ids::of(std::slice::from_ref(key));
                Err(SignatureError::Untrusted { by, trusted: Ids::of(trusted) })
            }
        }
    }
}

/// Whether what was signed by this key, or by none, may begin to run.
pub(super) fn is_trusted(signed_by: Option<&str>, trusted: &[String]) -> bool {
    trusted.is_empty() || signed_by.is_some_and(|key| trusted.iter().any(|trusted| trusted == key))
}

/// Finds out which key signed these bytes.
///
/// # Errors
/// [`SignatureError`], where one the app trusts had to and did not.
pub async fn signer(
    app: &App,
    proof: &impl InApp,
    sent: &Sent,
    bytes: &Bytes,
) -> Result<Signer, SignatureError> {
    let trusted = {
        let mut tx = app.tenant_tx(proof).await?;
        store::trusted_keys(&mut tx).await?
    };
    let file = match sent.read()? {
        None if trusted.is_empty() => return Ok(Signer(None)),
        None => return Err(SignatureError::Missing(Ids::of(&trusted))),
        Some(_) if trusted.is_empty() => return Err(SignatureError::NoKeys),
        Some(file) => file,
    };
    let bytes = bytes.clone();
    // Hashing megabytes takes its time.
    let verifying = tokio::task::spawn_blocking(move || verify(&file, &bytes, &trusted)).await;
    verifying.unwrap_or(Err(SignatureError::Unreadable)).map(|key| Signer(Some(key)))
}

/// The key that made the signature in this file.
fn verify(file: &str, bytes: &[u8], trusted: &[String]) -> Result<String, SignatureError> {
    let signature = Signature::decode(file).map_err(|_| SignatureError::Unreadable)?;
    let inside = file.lines().nth(1).and_then(|line| STANDARD.decode(line.trim()).ok());
    let inside = inside.ok_or(SignatureError::Unreadable)?;
    if inside.starts_with(ALGORITHM) {
        return Err(SignatureError::OldForm);
    }
    if !inside.starts_with(HASHED) {
        return Err(SignatureError::Unreadable);
    }
    let mut is_known = false;
    for key in trusted {
        let Ok(public) = PublicKey::from_base64(key) else { continue };
        match public.verify(bytes, &signature, false) {
            Ok(()) => return Ok(key.clone()),
            Err(Error::UnexpectedKeyId) => {}
            Err(_) => is_known = true,
        }
    }
    if is_known {
        return Err(SignatureError::Mismatch);
    }
    let by = inside.get(KEY_ID).and_then(|id| id.try_into().ok()).into_iter().collect();
    Err(SignatureError::Untrusted { by: Ids(by), trusted: Ids::of(trusted) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by minisign 0.11 for this test; what was signed is `test`.
    const KEY: &str = "RWTKmdZk6MDZo9zHm8IOE98rbWjMO0p35YARUhD1rdLoBbJJSZYexPEW";
    const HASHED_TEST: &str = "untrusted comment: signature from minisign secret key
RUTKmdZk6MDZo3XinP9ItnQYdP75npu2InV4qg+80sK5QARJArVA7DTTPtzHuqd+Cw2FWWk9RwDsddHh3Tqu7Tfk5PG8AiAmmAA=
trusted comment: timestamp:1764547200\tfile:test
Fw3R25IjrRFw9JKZob1gGhmx/3keZqQl5XWa2u8xzxoPAymYxv16rkz5/JRdr1MwIp/JVwwT7/RKq7oNK3BZCA==";
    const OLD_TEST: &str = "untrusted comment: signature from minisign secret key
RWTKmdZk6MDZo6t6pTokvmI8I9xAW+gpMexO396Yj+0joVwrutLcDL59amt83/opJckPMCEl6YXHn1MKZ7sP26wNuN4LPN3QewE=
trusted comment: timestamp:1764547200\tfile:test
urfrQ7KWSIIVMwrHngP6vOdsA+LLv/K+RH1afGEvIcyLJeX29mN/+KT/K3Vcf41BGFFi53/5ByMyPIGf3fdLBg==";

    fn keys() -> Vec<String> {
        vec![KEY.to_owned()]
    }

    #[test]
    fn m363_a_signature_is_of_these_bytes_by_a_key_that_is_trusted_or_it_is_refused() {
        assert_eq!(verify(HASHED_TEST, b"test", &keys()).unwrap(), KEY);
        let refused = |file: &str, bytes: &[u8], keys: &[String]| verify(file, bytes, keys).unwrap_err();
        assert!(matches!(refused(HASHED_TEST, b"Test", &keys()), SignatureError::Mismatch));
        assert!(matches!(refused(OLD_TEST, b"test", &keys()), SignatureError::OldForm));
        // Another key, of another number.
        let mut other = STANDARD.decode(KEY).unwrap();
        other[2] = 0;
        let other = vec![STANDARD.encode(&other)];
        let told = refused(HASHED_TEST, b"test", &other).to_string();
        assert!(told.contains("by the key A3D9C0E864D699CA"), "{told}");
        assert!(told.contains("trusts A3D9C0E864D69900"), "{told}");
        // Its comment is signed as well.
        let changed = HASHED_TEST.replace("1764547200", "1764547201");
        assert!(matches!(refused(&changed, b"test", &keys()), SignatureError::Mismatch));
    }

    #[test]
    fn m363_what_is_no_signature_is_refused_and_breaks_nothing() {
        let lines: Vec<&str> = HASHED_TEST.lines().collect();
        let bare_comment = format!("{}\n{}\ntrusted\n{}", lines[0], lines[1], lines[3]);
        for file in ["", "\n\n\n\n", "x", &lines[..3].join("\n"), &lines[1..].join("\n"), &bare_comment] {
            let refused = verify(file, b"test", &keys()).unwrap_err();
            assert!(
                matches!(refused, SignatureError::Unreadable | SignatureError::Mismatch),
                "{file:?}: {refused}"
            );
        }
        for sent in [
            vec![b"?".to_vec()],
            vec![vec![b'A'; 1 << 16]],
            vec![b"AAAA".to_vec(); 2],
            vec![b"/w==".to_vec()],
        ] {
            assert!(matches!(Sent(sent).read(), Err(SignatureError::Unreadable)));
        }
        assert!(matches!(Sent(vec![]).read(), Ok(None)));
    }

    #[test]
    fn m363_a_key_is_the_line_that_minisign_writes() {
        assert!(is_key(KEY));
        let other_algorithm = STANDARD.encode([b"Xx".as_slice(), &[0; 40]].concat());
        let short = STANDARD.encode([b"Ed".as_slice(), &[0; 39]].concat());
        for wrong in ["", "RW", " ", &KEY[1..], &format!("{KEY}\n"), &other_algorithm, &short] {
            assert!(!is_key(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn m363_everything_is_let_in_where_no_key_is_trusted_and_nothing_else_where_one_is() {
        assert!(is_trusted(None, &[]) && is_trusted(Some("RWx"), &[]));
        assert!(is_trusted(Some(KEY), &keys()));
        assert!(!is_trusted(None, &keys()) && !is_trusted(Some("RWx"), &keys()));
        assert!(Signer(None).check(&[]).is_ok());
        assert!(matches!(Signer(None).check(&keys()), Err(SignatureError::Missing(_))));
    }
}
