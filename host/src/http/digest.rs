//! Digests a client sends with a body (RFC 9530), so that what was damaged or exchanged on the way is not taken.
//!
//! `Repr-Digest` and `Content-Digest` are alike here: no body has a content coding. `Digest`, which they replace, is
//! read as well. Algorithms we do not know are passed over, as the RFC has it; of those we know each must be right.

use crate::error::{ApiError, ApiResult};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use sha2::{Digest as _, Sha256, Sha512};

const HEADERS: [&str; 3] = ["repr-digest", "content-digest", "digest"];

/// What a client says the body's digests are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Digests(Vec<(Algorithm, Vec<u8>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    fn parse(name: &str) -> Option<Algorithm> {
        match name.trim().to_ascii_lowercase().as_str() {
            "sha-256" => Some(Algorithm::Sha256),
            "sha-512" => Some(Algorithm::Sha512),
            _ => None,
        }
    }

    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Algorithm::Sha256 => Sha256::digest(bytes).to_vec(),
            Algorithm::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

impl Digests {
    /// Reads the headers of a request.
    ///
    /// # Errors
    /// 400 where a digest of an algorithm we know cannot be read.
    pub(crate) fn of(headers: &HeaderMap) -> ApiResult<Digests> {
        let mut digests = vec![];
        for value in HEADERS.iter().flat_map(|name| headers.get_all(*name)) {
            for member in value.to_str().map_err(|_| unreadable())?.split(',') {
                let (name, digest) = member.split_once('=').ok_or_else(unreadable)?;
                let Some(algorithm) = Algorithm::parse(name) else { continue };
                let digest = digest.trim();
                // A byte sequence stands between colons; in the header of old it did not.
                let inside = digest.strip_prefix(':').and_then(|rest| rest.split_once(':'));
                let digest = STANDARD.decode(inside.map_or(digest, |(inside, _)| inside));
                digests.push((algorithm, digest.map_err(|_| unreadable())?));
            }
        }
        Ok(Digests(digests))
    }

    /// Whether these bytes are the ones that were meant.
    ///
    /// # Errors
    /// 422 where one of the digests is of other bytes.
    pub(crate) fn check(&self, bytes: &[u8]) -> ApiResult<()> {
        if self.0.iter().all(|(algorithm, digest)| algorithm.of(bytes) == *digest) {
            return Ok(());
        }
        let text = "these bytes have another digest than the request says; send the file it is of";
        Err(ApiError::unprocessable("digest_mismatch", text))
    }
}

fn unreadable() -> ApiError {
    let text = "a digest is `sha-256=:<base64>:` or `sha-512=:<base64>:`, as RFC 9530 has it";
    ApiError::bad_request("bad_digest", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(headers: &[(&'static str, &str)]) -> Result<Digests, u16> {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let mut map = HeaderMap::new();
        for (name, text) in headers {
            map.append(*name, value(text));
        }
        Digests::of(&map).map_err(|error| error.status.as_u16())
    }

    #[test]
    fn m363_each_digest_we_know_must_be_right_and_others_are_passed_over() {
        // Of `hello`.
        let sha256 = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
        let sha512 = STANDARD.encode(Sha512::digest(b"hello"));
        let both = format!("sha-256=:{sha256}:, sha-512=:{sha512}:");
        for headers in [
            vec![],
            vec![("repr-digest", both.as_str())],
            vec![("content-digest", both.as_str()), ("repr-digest", "unixsum=:AA==:, crc32c=:AA==:")],
        ] {
            assert!(of(&headers).unwrap().check(b"hello").is_ok(), "{headers:?}");
        }
        let old = format!("SHA-256={sha256}");
        assert!(of(&[("digest", &old)]).unwrap().check(b"hello").is_ok());
        assert!(of(&[("digest", &old)]).unwrap().check(b"hallo").is_err());
        let one_wrong = format!("sha-256=:{sha256}:, sha-512=:{sha256}:");
        let error = of(&[("repr-digest", &one_wrong)]).unwrap().check(b"hello").unwrap_err();
        assert_eq!((error.status.as_u16(), error.code.as_str()), (422, "digest_mismatch"));
        let apart = [("repr-digest", both.as_str()), ("content-digest", one_wrong.as_str())];
        assert!(of(&apart).unwrap().check(b"hello").is_err(), "all of them");
        for wrong in ["", "sha-256", "sha-256=:!:", "sha-256=:AA", "sha-256=?1"] {
            assert_eq!(of(&[("repr-digest", wrong)]), Err(400), "{wrong}");
        }
    }
}
