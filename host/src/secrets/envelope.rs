//! One sealed value: encrypted with a data key of its own, which is encrypted with a master key.
//!
//! Both are AES-256-GCM, and both are bound to the place the value belongs to ([`Aad`]): what is moved to another
//! row, field or version does not open. Rotating the master key rewraps data keys and leaves the values alone.
//!
//! Nonces are random. A data key seals one value; a master key may wrap 2³² data keys before a nonce is likely
//! to repeat, which is more than any OPG will hold.

use std::fmt;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use super::Random;
use super::keyring::Keyring;

pub(super) const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// The two uses of a key cannot be taken for each other.
const VALUE_DOMAIN: &[u8] = b"opg envelope value 1";
const DATA_KEY_DOMAIN: &[u8] = b"opg envelope data key 1";

/// The place a value belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aad<'a> {
    pub table: &'a str,
    pub row_id: &'a [u8],
    pub field: &'a str,
    /// The value's version, for rows that keep several; otherwise 1. Not the master key's.
    pub version: u32,
}

impl Aad<'_> {
    /// Each part with its length before it, so that no two places read the same.
    fn bytes(&self, domain: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let version = self.version.to_be_bytes();
        for part in [domain, self.table.as_bytes(), self.row_id, self.field.as_bytes(), &version] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

/// What is stored. Field by field the columns `encrypted_value`, `nonce`, `encrypted_data_key`, `data_key_nonce`,
/// `key_version`.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    pub ciphertext: Vec<u8>,
    pub nonce: Vec<u8>,
    pub wrapped_key: Vec<u8>,
    pub wrapped_nonce: Vec<u8>,
    /// The master key that wraps the data key.
    pub key_version: i32,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("key_version", &self.key_version).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the operating system gave no randomness")]
    NoRandomness,
    #[error("the value is too large to seal")]
    TooLarge,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the value is sealed with master key {version}, which is not configured: add it to OPG_MASTER_KEY"
    )]
    UnknownKey { version: i32 },
    /// Deliberately one error: what exactly did not fit is nobody's business.
    #[error("the value does not open: it was changed, moved, or sealed with another master key")]
    Refused,
    #[error("the operating system gave no randomness")]
    NoRandomness,
}

impl Keyring {
    /// Seals with a fresh data key, wrapped by the newest master key.
    pub fn seal(&self, aad: &Aad<'_>, plaintext: &[u8], random: Random<'_>) -> Result<Sealed, SealError> {
        let data_key = fresh_key(random).map_err(|_| SealError::NoRandomness)?;
        let (ciphertext, nonce) = encrypt(&data_key, &aad.bytes(VALUE_DOMAIN), plaintext, random)?;
        let (key_version, master_key) = self.newest();
        let (wrapped_key, wrapped_nonce) =
            encrypt(master_key, &aad.bytes(DATA_KEY_DOMAIN), data_key.as_slice(), random)?;
        Ok(Sealed { ciphertext, nonce, wrapped_key, wrapped_nonce, key_version })
    }

    /// Opens what was sealed for exactly this place, by any key of the ring.
    pub fn open(&self, aad: &Aad<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let data_key = self.unwrap(aad, sealed)?;
        decrypt(&data_key, &aad.bytes(VALUE_DOMAIN), &sealed.nonce, &sealed.ciphertext)
    }

    /// The same value under the newest master key; `None` when it already is. The value itself is not decrypted.
    pub fn rewrap(
        &self,
        aad: &Aad<'_>,
        sealed: &Sealed,
        random: Random<'_>,
    ) -> Result<Option<Sealed>, OpenError> {
        let (key_version, master_key) = self.newest();
        if sealed.key_version == key_version {
            return Ok(None);
        }
        let data_key = self.unwrap(aad, sealed)?;
        let (wrapped_key, wrapped_nonce) =
            encrypt(master_key, &aad.bytes(DATA_KEY_DOMAIN), data_key.as_slice(), random).map_err(
                |error| match error {
                    SealError::NoRandomness => OpenError::NoRandomness,
                    SealError::TooLarge => OpenError::Refused,
                },
            )?;
        Ok(Some(Sealed { wrapped_key, wrapped_nonce, key_version, ..sealed.clone() }))
    }

    fn unwrap(&self, aad: &Aad<'_>, sealed: &Sealed) -> Result<Zeroizing<[u8; KEY_BYTES]>, OpenError> {
        let version = sealed.key_version;
        let master_key = self.find(version).ok_or(OpenError::UnknownKey { version })?;
        let bytes =
            decrypt(master_key, &aad.bytes(DATA_KEY_DOMAIN), &sealed.wrapped_nonce, &sealed.wrapped_key)?;
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return Err(OpenError::Refused);
        }
        data_key.copy_from_slice(&bytes);
        Ok(data_key)
    }
}

pub(super) fn fresh_key(random: Random<'_>) -> Result<Zeroizing<[u8; KEY_BYTES]>, getrandom::Error> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    random(key.as_mut_slice())?;
    Ok(key)
}

/// Ciphertext and nonce.
fn encrypt(
    key: &[u8; KEY_BYTES],
    aad: &[u8],
    plaintext: &[u8],
    random: Random<'_>,
) -> Result<(Vec<u8>, Vec<u8>), SealError> {
    let mut nonce = [0; NONCE_BYTES];
    random(&mut nonce).map_err(|_| SealError::NoRandomness)?;
    // Room for the tag from the start: growing would leave a copy of the plaintext behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len() + TAG_BYTES));
    buffer.extend_from_slice(plaintext);
    Aes256Gcm::new(key.into())
        .encrypt_in_place(&Nonce::from(nonce), aad, &mut *buffer)
        .map_err(|_| SealError::TooLarge)?;
    Ok((std::mem::take(&mut *buffer), nonce.to_vec()))
}

fn decrypt(
    key: &[u8; KEY_BYTES],
    aad: &[u8],
    nonce: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| OpenError::Refused)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    Aes256Gcm::new(key.into())
        .decrypt_in_place(&Nonce::from(nonce), aad, &mut *buffer)
        .map_err(|_| OpenError::Refused)?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use secrecy::SecretString;

    use super::*;

    fn ring(versions: &[u8]) -> Keyring {
        let keys: Vec<String> = versions
            .iter()
            .map(|v| {
                let mut key = [*v; KEY_BYTES];
                key[0] = 0xee;
                format!("{v}:{}", STANDARD.encode(key))
            })
            .collect();
        Keyring::parse("OPG_MASTER_KEY", &SecretString::from(keys.join(","))).unwrap()
    }

    const HERE: Aad<'static> = Aad { table: "secrets", row_id: &[7; 16], field: "value", version: 1 };

    #[test]
    fn what_was_sealed_opens_in_its_place_and_nowhere_else() {
        let ring = ring(&[1]);
        let sealed = ring.seal(&HERE, b"hunter2", &getrandom::fill).unwrap();
        assert_eq!(ring.open(&HERE, &sealed).unwrap().as_slice(), b"hunter2");
        for elsewhere in [
            Aad { table: "provider_keys", ..HERE },
            Aad { row_id: &[8; 16], ..HERE },
            Aad { row_id: &[], ..HERE },
            Aad { field: "other", ..HERE },
            Aad { version: 2, ..HERE },
            // the same bytes, cut at another place
            Aad {
                table: "secret",
                row_id: b"s\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07",
                ..HERE
            },
        ] {
            assert!(matches!(ring.open(&elsewhere, &sealed), Err(OpenError::Refused)), "{elsewhere:?}");
        }
    }

    #[test]
    fn parts_of_two_envelopes_of_one_place_do_not_mix() {
        let ring = ring(&[1]);
        let [one, two] = [b"one", b"two"].map(|value| ring.seal(&HERE, value, &getrandom::fill).unwrap());
        let key_of_two = Sealed {
            wrapped_key: two.wrapped_key.clone(),
            wrapped_nonce: two.wrapped_nonce.clone(),
            ..one.clone()
        };
        let value_of_two = Sealed { ciphertext: two.ciphertext, nonce: two.nonce, ..one.clone() };
        let swapped = Sealed {
            ciphertext: one.wrapped_key.clone(),
            nonce: one.wrapped_nonce.clone(),
            wrapped_key: one.ciphertext.clone(),
            wrapped_nonce: one.nonce,
            key_version: 1,
        };
        for mixed in [key_of_two, value_of_two, swapped] {
            assert!(matches!(ring.open(&HERE, &mixed), Err(OpenError::Refused)));
        }
    }

    #[test]
    fn the_same_value_never_looks_the_same() {
        let ring = ring(&[1]);
        let [one, two] = [0, 1].map(|_| ring.seal(&HERE, b"same", &getrandom::fill).unwrap());
        assert!(
            one.ciphertext != two.ciphertext && one.wrapped_key != two.wrapped_key && one.nonce != two.nonce
        );
    }

    #[test]
    fn rotation_seals_with_the_newest_opens_all_and_rewraps() {
        let (old, both, new) = (ring(&[1]), ring(&[1, 2]), ring(&[2]));
        let sealed = old.seal(&HERE, b"hunter2", &getrandom::fill).unwrap();
        assert_eq!(sealed.key_version, 1);
        assert_eq!(both.open(&HERE, &sealed).unwrap().as_slice(), b"hunter2");
        assert!(matches!(new.open(&HERE, &sealed), Err(OpenError::UnknownKey { version: 1 })));

        assert!(both.rewrap(&Aad { version: 9, ..HERE }, &sealed, &getrandom::fill).is_err());
        let rewrapped = both.rewrap(&HERE, &sealed, &getrandom::fill).unwrap().unwrap();
        assert_eq!((rewrapped.key_version, &rewrapped.ciphertext), (2, &sealed.ciphertext));
        assert_eq!(new.open(&HERE, &rewrapped).unwrap().as_slice(), b"hunter2");
        assert_eq!(both.rewrap(&HERE, &rewrapped, &getrandom::fill).unwrap(), None);
        assert_eq!(both.seal(&HERE, b"", &getrandom::fill).unwrap().key_version, 2);
    }

    #[test]
    fn a_key_of_the_same_version_but_another_value_does_not_open() {
        let sealed = ring(&[1]).seal(&HERE, b"x", &getrandom::fill).unwrap();
        let other =
            format!("1:{}", STANDARD.encode([0xab_u8; 31].iter().chain(&[1]).copied().collect::<Vec<_>>()));
        let other = Keyring::parse("OPG_MASTER_KEY", &SecretString::from(other)).unwrap();
        assert!(matches!(other.open(&HERE, &sealed), Err(OpenError::Refused)));
    }

    #[test]
    fn debug_shows_no_bytes() {
        let sealed = ring(&[3]).seal(&HERE, b"x", &getrandom::fill).unwrap();
        assert_eq!(format!("{sealed:?}"), "Sealed { key_version: 3, .. }");
    }

    #[test]
    fn without_randomness_nothing_is_sealed() {
        let none = |_: &mut [u8]| Err(getrandom::Error::UNSUPPORTED);
        assert!(matches!(ring(&[1]).seal(&HERE, b"x", &none), Err(SealError::NoRandomness)));
    }

    proptest! {
        #[test]
        fn any_value_comes_back_and_any_flipped_bit_is_noticed(
            value in proptest::collection::vec(any::<u8>(), 0..200),
            part in 0..4_usize,
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let ring = ring(&[1]);
            let mut sealed = ring.seal(&HERE, &value, &getrandom::fill).unwrap();
            let opened = ring.open(&HERE, &sealed).unwrap();
            prop_assert_eq!(opened.as_slice(), value.as_slice());
            let parts =
                [&mut sealed.ciphertext, &mut sealed.nonce, &mut sealed.wrapped_key, &mut sealed.wrapped_nonce];
            let part = parts.into_iter().nth(part).unwrap();
            let at = at.index(part.len());
            part[at] ^= 1 << bit;
            prop_assert!(matches!(ring.open(&HERE, &sealed), Err(OpenError::Refused)));
        }

        #[test]
        fn any_shortened_part_is_noticed(part in 0..4_usize, keep in any::<prop::sample::Index>()) {
            let ring = ring(&[1]);
            let mut sealed = ring.seal(&HERE, b"some value", &getrandom::fill).unwrap();
            let parts =
                [&mut sealed.ciphertext, &mut sealed.nonce, &mut sealed.wrapped_key, &mut sealed.wrapped_nonce];
            let part = parts.into_iter().nth(part).unwrap();
            part.truncate(keep.index(part.len()));
            prop_assert!(matches!(ring.open(&HERE, &sealed), Err(OpenError::Refused)));
        }
    }
}
