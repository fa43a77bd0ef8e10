//! Sealing to a runner's key: only whoever made it for this once opens what was sealed.
//!
//! HPKE (RFC 9180) in its base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//! AES-256-GCM. What is sealed for one session and one purpose opens for no
//! other.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hpke::{
    Deserializable, Kem as _, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256,
    kem::X25519HkdfSha256, single_shot_open, single_shot_seal,
};
use uuid::Uuid;
use zeroize::Zeroizing;

type Kem = X25519HkdfSha256;

/// A public key, in bytes.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// What stands before the sealed text: the sender's key for this once.
const ENCAPSULATED_BYTES: usize = 32;
/// What all of it is for; another use would have another name.
const PURPOSE: &str = "opg runner 1";

/// It does not open: not sealed to this key, for this session, or under this name.
#[derive(Debug, thiserror::Error)]
#[error("what was sealed does not open")]
pub struct SealError;

/// A key for one registration. Overwritten when it is dropped.
pub struct SecretKey(<Kem as hpke::Kem>::PrivateKey);

impl SecretKey {
    /// Makes one; and what others seal to, in base64.
    pub fn make() -> (SecretKey, String) {
        let (secret, public) = Kem::gen_keypair();
        (SecretKey(secret), STANDARD.encode(public.to_bytes()))
    }

    /// Opens what was sealed under this name for this session.
    ///
    /// # Errors
    /// [`SealError`]
    pub fn open(&self, session_id: Uuid, name: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let sealed = STANDARD.decode(sealed).map_err(|_| SealError)?;
        let (key, text) = sealed.split_at_checked(ENCAPSULATED_BYTES).ok_or(SealError)?;
        let key = <Kem as hpke::Kem>::EncappedKey::from_bytes(key).map_err(|_| SealError)?;
        let (info, aad) = (info(name), session_id.as_bytes());
        single_shot_open::<AesGcm256, HkdfSha256, Kem>(&OpModeR::Base, &self.0, &key, &info, text, aad)
            .map(Zeroizing::new)
            .map_err(|_| SealError)
    }
}

/// Seals under this name for this session to a public key.
///
/// # Errors
/// Where the key is none.
pub fn seal(
    public_key: &[u8; PUBLIC_KEY_BYTES],
    session_id: Uuid,
    name: &str,
    what: &[u8],
) -> Result<String, SealError> {
    let key = <Kem as hpke::Kem>::PublicKey::from_bytes(public_key).map_err(|_| SealError)?;
    let (info, aad) = (info(name), session_id.as_bytes());
    let (encapsulated, text) =
        single_shot_seal::<AesGcm256, HkdfSha256, Kem>(&OpModeS::Base, &key, &info, what, aad)
            .map_err(|_| SealError)?;
    Ok(STANDARD.encode([encapsulated.to_bytes().as_slice(), text.as_slice()].concat()))
}

fn info(name: &str) -> Vec<u8> {
    format!("{PURPOSE}/{name}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m315_what_is_sealed_opens_with_its_key_for_its_session_and_under_its_name_alone() {
        let (session, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (key, public) = SecretKey::make();
        let (stranger, _) = SecretKey::make();
        let public: [u8; PUBLIC_KEY_BYTES] = STANDARD.decode(public).unwrap().try_into().unwrap();
        let sealed = seal(&public, session, "channel", b"secret").unwrap();
        assert_eq!(key.open(session, "channel", &sealed).unwrap().as_slice(), b"secret");
        assert_ne!(sealed, seal(&public, session, "channel", b"secret").unwrap(), "each time anew");
        assert!(!STANDARD.decode(&sealed).unwrap().windows(6).any(|part| part == b"secret"));
        assert!(stranger.open(session, "channel", &sealed).is_err());
        assert!(key.open(other, "channel", &sealed).is_err());
        assert!(key.open(session, "other", &sealed).is_err());
        for broken in ["", "AAAA", "no base64!", &sealed[..sealed.len() - 8]] {
            assert!(key.open(session, "channel", broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        // With it every secret would come to the same: RFC 9180 wants it refused.
        assert!(seal(&[0; PUBLIC_KEY_BYTES], Uuid::nil(), "channel", b"secret").is_err());
    }
}
