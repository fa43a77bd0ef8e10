//! Who somebody is, by Google's word: the ID token that comes for the code.
//!
//! The token's signature is not checked. It came from the token endpoint itself, over a connection whose certificate
//! was, and went through nobody else's hands: OpenID Connect Core 1.0, section 3.1.3.7 (6), takes that for the
//! signature. Everything else that section asks of a client is checked.

use super::{
    Person,
    client::{AskError, Client},
    is_subject,
};
use crate::limits::OAUTH_CLOCK_SKEW;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// Who an answer of the token endpoint is about, if it is for this sign-in.
pub(super) fn person(
    client: &Client,
    answer: &Value,
    nonce: &str,
    now: DateTime<Utc>,
) -> Result<Person, AskError> {
    let token = answer["id_token"].as_str().ok_or(AskError::Lacks("ID token"))?;
    let claims = claims(token).ok_or(AskError::Lacks("ID token that can be read"))?;
    check(&claims, &client.at.issuer, &client.client_id, nonce, now)?;
    read(&claims)
}

/// What a JSON Web Token says (RFC 7519), without a look at its signature.
fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = URL_SAFE_NO_PAD.decode(claims).ok().filter(|_| parts.next().is_none())?;
    serde_json::from_slice(&bytes).ok().filter(Value::is_object)
}

fn check(
    claims: &Value,
    issuer: &str,
    client_id: &str,
    nonce: &str,
    now: DateTime<Utc>,
) -> Result<(), AskError> {
    let said = |what: &str| claims[what].as_str();
    // Google leaves the scheme away in some, and says that either is it.
    let bare = issuer.strip_prefix("https://").unwrap_or(issuer);
    if !said("iss").is_some_and(|iss| iss == issuer || iss == bare) {
        return Err(AskError::Claims("another issuer"));
    }
    let for_us = match &claims["aud"] {
        Value::String(one) => one == client_id,
        Value::Array(all) => all.len() == 1 && all[0] == client_id,
        _ => false,
    };
    if !for_us || said("azp").is_some_and(|azp| azp != client_id) {
        return Err(AskError::Claims("another audience"));
    }
    let until = claims["exp"].as_i64().unwrap_or_default();
    if until.saturating_add(OAUTH_CLOCK_SKEW.as_secs().cast_signed()) <= now.timestamp() {
        return Err(AskError::Claims("its time is over"));
    }
    // Made for this sign-in, and known to nobody before it: no secret to compare slowly.
    if said("nonce") != Some(nonce) {
        return Err(AskError::Claims("another nonce"));
    }
    Ok(())
}

fn read(claims: &Value) -> Result<Person, AskError> {
    let subject = claims["sub"].as_str().filter(|text| is_subject(text)).ok_or(AskError::Lacks("subject"))?;
    // Some of its tokens have it as text.
    let verified = claims["email_verified"] == Value::Bool(true) || claims["email_verified"] == "true";
    let email = claims["email"].as_str().filter(|_| verified).map(str::to_owned);
    Ok(Person { subject: subject.to_owned(), email })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use serde_json::json;

    const ISSUER: &str = "https://accounts.google.com";

    #[test]
    fn m073_an_id_token_is_taken_for_its_issuer_audience_time_and_nonce_alone() {
        let now = Utc.timestamp_opt(1_000_000, 0).unwrap();
        let with = |changes: Value| {
            let mut claims =
                json!({ "iss": ISSUER, "aud": "us", "exp": 1_000_100, "nonce": "n", "sub": "7" });
            claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            check(&claims, ISSUER, "us", "n", now).map_err(|error| error.to_string())
        };
        for fine in [
            json!({}),
            json!({ "iss": "accounts.google.com" }),
            json!({ "aud": ["us"], "azp": "us" }),
            json!({ "exp": 999_941 }),
        ] {
            assert_eq!(with(fine.clone()), Ok(()), "{fine}");
        }
        for (wrong, why) in [
            (json!({ "iss": "https://accounts.google.com.evil.example" }), "issuer"),
            (json!({ "iss": "http://accounts.google.com" }), "issuer"),
            (json!({ "iss": null }), "issuer"),
            (json!({ "aud": "them" }), "audience"),
            (json!({ "aud": ["us", "them"] }), "audience"),
            (json!({ "aud": [] }), "audience"),
            (json!({ "aud": null }), "audience"),
            (json!({ "azp": "them" }), "audience"),
            (json!({ "exp": 999_940 }), "time"),
            (json!({ "exp": "1000100" }), "time"),
            (json!({ "exp": null }), "time"),
            (json!({ "exp": i64::MIN }), "time"),
            (json!({ "nonce": "m" }), "nonce"),
            (json!({ "nonce": null }), "nonce"),
        ] {
            assert!(with(wrong.clone()).is_err_and(|said| said.contains(why)), "{wrong}");
        }
    }

    #[test]
    fn m073_what_is_no_token_or_names_nobody_is_refused() {
        let token = |claims: &str| format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(claims(&token(r#"{"sub":"7"}"#)), Some(json!({ "sub": "7" })));
        for text in ["", "a.b", "e30.e30.x.y", "e30.!.x", &token("[]"), &token("null"), &token("{")] {
            assert_eq!(claims(text), None, "{text}");
        }
        for sub in [json!(null), json!(7), json!(""), json!("a b"), json!("a\0"), json!("x".repeat(256))] {
            assert!(read(&json!({ "sub": sub })).is_err(), "{sub}");
        }
        let email = |verified: Value| {
            read(&json!({ "sub": "7", "email": "a@x.example", "email_verified": verified })).unwrap().email
        };
        assert!(email(json!(true)).is_some() && email(json!("true")).is_some());
        for said in [json!(false), json!("false"), json!("yes"), json!(1), json!(null)] {
            assert_eq!(email(said.clone()), None, "{said}");
        }
    }
}
