//! A browser with an authenticator, as Web Authentication (Level 3) has them: it makes passkeys and signs in with them.
//!
//! It does what a real one does, and lies where a test says so. Its keys are P-256 (ES256), its attestation none.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

/// Somebody was there, and was known to be its owner (§6.1).
const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
/// A key follows.
const ATTESTED: u8 = 0x40;

/// A passkey, as its authenticator keeps it.
pub struct Key {
    /// What the authenticator calls it.
    pub id: Vec<u8>,
    /// Whose it is, as the server said.
    pub user_handle: Vec<u8>,
    rp_id: String,
    pair: EcdsaKeyPair,
}

/// One, with the page it is open at.
pub struct Authenticator {
    /// Where the page is from.
    pub origin: String,
    /// For which name it answers, if not for the one it is asked for.
    pub rp_id: Option<String>,
    /// Whether it makes sure that its owner is there.
    pub verifies: bool,
    /// How often it signed; one that syncs its keys says 0.
    pub counter: u32,
    /// What it keeps.
    pub keys: Vec<Key>,
}

impl Authenticator {
    /// One that knows its owner, at a page from here.
    pub fn at(origin: &str) -> Authenticator {
        Authenticator { origin: origin.to_owned(), rp_id: None, verifies: true, counter: 1, keys: vec![] }
    }

    /// `navigator.credentials.create({publicKey})`, as JSON: `None` where it has a key that is not to be made again.
    pub fn create(&mut self, asked: &Value) -> Option<Value> {
        let selection = &asked["authenticatorSelection"];
        assert_eq!(selection["residentKey"], "required", "signing in asks for no address: {asked}");
        assert_eq!(selection["userVerification"], "required", "{asked}");
        let algorithms = asked["pubKeyCredParams"].as_array().expect("algorithms");
        assert!(algorithms.iter().any(|one| one["alg"] == -7), "ES256 is always there: {asked}");
        let excluded = asked["excludeCredentials"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mine = |id: &Value| self.keys.iter().any(|key| *id == BASE64.encode(&key.id));
        if excluded.iter().any(|one| mine(&one["id"])) {
            return None;
        }
        let random = SystemRandom::new();
        let mut id = vec![0; 32];
        random.fill(&mut id).expect("random bytes");
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random);
        let key = Key {
            id,
            user_handle: BASE64.decode(asked["user"]["id"].as_str().expect("whose")).expect("base64url"),
            rp_id: asked["rp"]["id"].as_str().expect("a name").to_owned(),
            pair: pair.expect("a key"),
        };
        let mut data = self.data(&key.rp_id, ATTESTED);
        data.extend([0; 16]);
        data.extend(u16::try_from(key.id.len()).expect("short").to_be_bytes());
        data.extend(&key.id);
        data.extend(cose(key.pair.public_key().as_ref()));
        let client_data = self.client_data("webauthn.create", asked);
        let made = json!({
            "id": BASE64.encode(&key.id),
            "rawId": BASE64.encode(&key.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": { "credProps": { "rk": true } },
            "response": {
                "clientDataJSON": BASE64.encode(client_data),
                "attestationObject": BASE64.encode(attestation(&data)),
                "transports": ["internal"],
            },
        });
        self.keys.push(key);
        Some(made)
    }

    /// `navigator.credentials.get({publicKey})`, as JSON: with the newest key that it has for that name.
    pub fn get(&mut self, asked: &Value) -> Option<Value> {
        assert_eq!(asked["userVerification"], "required", "{asked}");
        let rp_id = asked["rpId"].as_str().expect("a name");
        let key = self.keys.iter().rev().find(|key| key.rp_id == rp_id)?;
        if self.counter > 0 {
            self.counter += 1;
        }
        let (data, client_data) = (self.data(&key.rp_id, 0), self.client_data("webauthn.get", asked));
        let signed = [data.as_slice(), digest(&SHA256, client_data.as_bytes()).as_ref()].concat();
        let signature = key.pair.sign(&SystemRandom::new(), &signed).expect("a signature");
        Some(json!({
            "id": BASE64.encode(&key.id),
            "rawId": BASE64.encode(&key.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": BASE64.encode(client_data),
                "authenticatorData": BASE64.encode(data),
                "signature": BASE64.encode(signature),
                "userHandle": BASE64.encode(&key.user_handle),
            },
        }))
    }

    /// Authenticator data (§6.1), up to the key.
    fn data(&self, rp_id: &str, flags: u8) -> Vec<u8> {
        let rp_id = self.rp_id.as_deref().unwrap_or(rp_id);
        let flags = flags | PRESENT | if self.verifies { VERIFIED } else { 0 };
        [digest(&SHA256, rp_id.as_bytes()).as_ref(), &[flags], &self.counter.to_be_bytes()].concat()
    }

    /// What the browser says of the page (§5.8.1).
    fn client_data(&self, what: &str, asked: &Value) -> String {
        let (challenge, origin) = (&asked["challenge"], &self.origin);
        json!({ "type": what, "challenge": challenge, "origin": origin, "crossOrigin": false }).to_string()
    }
}

/// A P-256 key as COSE has it (RFC 9053 §7.1), in CBOR.
fn cose(point: &[u8]) -> Vec<u8> {
    let (x, y) = point[1..].split_at(32);
    [&[0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20], x, &[0x22, 0x58, 0x20], y].concat()
}

/// An attestation object that attests nothing (§8.7), in CBOR.
fn attestation(data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len()).expect("short");
    [b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".as_slice(), &[length], data].concat()
}
