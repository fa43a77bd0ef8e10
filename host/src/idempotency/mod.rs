//! A write that is sent again with the same `Idempotency-Key` is answered as the first one was, and not done again
//! (row M049; draft-ietf-httpapi-idempotency-key-header).
//!
//! Rules:
//! - a key belongs to one credential in one app, for a day; another's same key is another key;
//! - it stands for one request: its method, its path and query, its body. With another one it is refused;
//! - of two at once one is done, and the other is told to come back;
//! - what says nothing about the request is not kept, and the key is free again: our faults, too often, too slow, no
//!   credit, not allowed, and whatever says when to come back (`is_kept`);
//! - a write is carried through also where its client goes away: it may have been done when nobody could be told any
//!   more, and who comes back with the key is to hear of it. What asks models is given up with its client, as without
//!   a key, and its key is free again;
//! - a key is held by a lease that is renewed while the work goes on, so that one whose host died is free soon;
//! - every answer is an envelope: some hold a token that is shown once, and no list of those routes can be forgotten.
//!   Neither keys nor requests are kept, but what only this installation can make of them;
//! - the gate is asked before anything is read, kept or answered again ([`layer`]): who may not, learns nothing.
//!
//! Deliberately absent: streams of events, which are refused with a key, and requests without a credential.

mod claim;
pub mod layer;
mod store;
pub mod sweep;

use crate::{
    error::ApiError,
    limits::{IDEMPOTENCY_KEY_CHARS_MAX, IDEMPOTENT_ANSWER_BYTES_MAX, IDEMPOTENT_REQUEST_BYTES_MAX},
    secrets::Place,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

/// What a client sends.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// What stands in an answer that was given before.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// What OpenAI's and Anthropic's clients read before they send something again by themselves.
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// When to come back for the answer to what is being done.
const RETRY_AFTER_SECONDS: u64 = 1;

pub(crate) const PLACE: Place =
    Place { table: "idempotency_keys", key: "idempotency_key_id", field: "encrypted_value" };

/// The key of a request that has one.
///
/// # Errors
/// 400 where it is none, or where there are two.
fn key(headers: &HeaderMap) -> Result<&[u8], ApiError> {
    let wrong = || {
        let text = format!(
            "`Idempotency-Key` must be 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters, and stand there \
             once; a new UUID for each thing you want done is a good one"
        );
        ApiError::bad_request("bad_idempotency_key", text)
    };
    let mut all = headers.get_all(IDEMPOTENCY_KEY).iter();
    let key = all.next().map(HeaderValue::as_bytes).unwrap_or_default();
    let fits = (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    if !fits || all.next().is_some() {
        return Err(wrong());
    }
    Ok(key)
}

/// Whether an answer is the one that is given from now on; else the key is free again.
fn is_kept(status: StatusCode, headers: &HeaderMap) -> bool {
    let comes_back = [
        StatusCode::UNAUTHORIZED,
        StatusCode::PAYMENT_REQUIRED,
        StatusCode::FORBIDDEN,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    !status.is_server_error() && !comes_back.contains(&status) && !headers.contains_key(header::RETRY_AFTER)
}

fn reused() -> ApiError {
    let text = "this `Idempotency-Key` was sent before with another request: another method, path, query or body. \
                Send a new key for a new request, and the same request for the same key";
    ApiError::unprocessable("idempotency_key_reused", text)
}

fn in_progress() -> ApiError {
    let text = "the request with this `Idempotency-Key` is being worked on; send it again for its answer";
    ApiError::conflict("idempotency_in_progress", text)
        .header(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS))
}

/// It was done; doing it again is what a key is there to prevent.
fn not_kept() -> ApiError {
    let text = format!(
        "the request with this `Idempotency-Key` was done, and its answer was not kept: it is larger than \
         {IDEMPOTENT_ANSWER_BYTES_MAX} bytes, or no master key opens it any more. Look what there is before you send \
         it with a new key"
    );
    ApiError::conflict("idempotency_answer_not_kept", text)
        .header(X_SHOULD_RETRY, HeaderValue::from_static("false"))
}

fn too_large() -> ApiError {
    let text = format!(
        "with an `Idempotency-Key` a request may have at most {IDEMPOTENT_REQUEST_BYTES_MAX} bytes; send it without \
         one"
    );
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "idempotency_request_too_large", text)
        .with("limit_bytes", json!(IDEMPOTENT_REQUEST_BYTES_MAX))
}

fn streamed() -> ApiError {
    let text = "a streamed answer cannot be given again: send the request without `stream`, or without its \
                `Idempotency-Key`";
    ApiError::bad_request("idempotency_stream", text).param("stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_and_there_once() {
        let of = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
            }
            key(&headers).map(<[u8]>::to_vec).ok()
        };
        let longest = "x".repeat(IDEMPOTENCY_KEY_CHARS_MAX);
        for good in ["a", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "!~", &longest] {
            assert_eq!(of(&[good.as_bytes()]).unwrap(), good.as_bytes());
        }
        let longer = format!("{longest}x");
        for bad in [&b""[..], b"a b", b"a\tb", b"\xc3\xa4", b"\xff", longer.as_bytes()] {
            assert_eq!(of(&[bad]), None, "{bad:?}");
        }
        assert_eq!(of(&[b"a", b"a"]), None);
    }

    #[test]
    fn what_says_nothing_about_the_request_is_not_kept() {
        let none = HeaderMap::new();
        for kept in [200, 201, 202, 204, 400, 404, 409, 412, 413, 415, 422] {
            assert!(is_kept(StatusCode::from_u16(kept).unwrap(), &none), "{kept}");
        }
        for free in [401, 402, 403, 408, 429, 500, 502, 503, 504, 507] {
            assert!(!is_kept(StatusCode::from_u16(free).unwrap(), &none), "{free}");
        }
        let later = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from(1_u64))]);
        assert!(!is_kept(StatusCode::CONFLICT, &later));
    }
}
