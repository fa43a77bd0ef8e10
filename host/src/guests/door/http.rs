//! `http.send`: one request to a granted host, its secrets put in at the boundary.
//!
//! The gate is asked for the host of the URL and of every redirect, and for
//! every secret on its way to that host. What comes back is searched for the
//! values that went out, so that an upstream that echoes a header does not hand
//! the guest its secret.

use super::{Door, secrets};
use crate::{
    egress::{EgressError, EgressRequest, EgressResponse, Refusal},
    grants::{HostPort, InApp, Reach},
    sandbox::door::{DoorError, HttpRequest, HttpResponse},
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use url::Url;

/// What a guest may get back: half of what its memory may hold would be too much to parse.
const RESPONSE_BYTES_MAX: usize = 2 << 20;
/// What a guest may send.
const REQUEST_BYTES_MAX: usize = 2 << 20;
/// Redirects followed (row M237).
const REDIRECTS_MAX: u32 = 5;
/// Headers of a request: what browsers send, several times over.
const HEADERS_MAX: usize = 100;
/// How long a request may take unless the guest says less.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Set by the host; a guest that sets them could smuggle a second request.
const REFUSED_HEADERS: &[&str] = &[
    "accept-encoding",
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "upgrade",
    "keep-alive",
    "te",
    "trailer",
    "expect",
    "proxy-authorization",
    "proxy-connection",
    "http2-settings",
];

pub(super) async fn send(
    door: &Door,
    request: HttpRequest,
    time_left: Duration,
) -> Result<HttpResponse, DoorError> {
    let invalid = |text: &str| DoorError::Invalid(text.to_owned());
    let method = Method::from_bytes(request.method.as_bytes())
        .ok()
        .filter(|method| {
            method.as_str().bytes().all(|b| b.is_ascii_uppercase()) && *method != Method::CONNECT
        })
        .ok_or_else(|| invalid("the method is a word in capitals, such as GET"))?;
    let url = Url::parse(&request.url)
        .map_err(|_| invalid("the URL is not absolute, such as https://api.example.com/x"))?;
    if !secrets::references(url.as_str()).is_empty() {
        return Err(invalid("a secret cannot stand in a URL; put it into a header"));
    }
    if request.body.as_ref().is_some_and(|body| body.len() > REQUEST_BYTES_MAX) {
        return Err(DoorError::Limit(format!("a request's body is {REQUEST_BYTES_MAX} bytes at the most")));
    }
    permit_host(door, &url)?;
    let (headers, values) = headers_with_secrets(door, &url, &request.headers).await?;

    let redirected = AtomicBool::new(false);
    let check = |next: &Url| {
        // The first is the one judged above, now in canonical form: one reach, counted once.
        let judged = if redirected.swap(true, Ordering::Relaxed) {
            permit_host(door, next)
        } else {
            still_permitted(door, next)
        };
        judged.map_err(|denied| Refusal::NotAllowed(denied.to_string()))
    };
    let outgoing = EgressRequest {
        method,
        url,
        headers,
        body: request.body.map(Bytes::from).unwrap_or_default(),
        timeout: request.timeout.unwrap_or(TIMEOUT_DEFAULT).min(time_left),
        response_bytes_max: RESPONSE_BYTES_MAX,
        redirects_max: REDIRECTS_MAX,
        check: &check,
    };
    let answer = door.app.guest_egress.send(outgoing).await.map_err(|error| refused(&error))?;
    without_secrets(answer, &values)
}

fn permit_host(door: &Door, url: &Url) -> Result<(), DoorError> {
    door.permit(&Reach::Http(host_of(url)?))
}

fn still_permitted(door: &Door, url: &Url) -> Result<(), DoorError> {
    let reach = Reach::Http(host_of(url)?);
    door.grants.permit(&reach).map_err(|denied| DoorError::Denied(denied.to_string()))
}

fn host_of(url: &Url) -> Result<HostPort<'_>, DoorError> {
    let scheme_port = match url.scheme() {
        "http" => 80,
        "https" => 443,
        _ => return Err(DoorError::Invalid("the URL's scheme is http or https".into())),
    };
    let host = url.host_str().ok_or_else(|| DoorError::Invalid("the URL names no host".into()))?;
    let port = url.port().unwrap_or(scheme_port);
    Ok(HostPort { host: host.strip_suffix('.').unwrap_or(host), port, default_port: port == scheme_port })
}

type Values = BTreeMap<String, SecretString>;

/// The request's headers with references replaced, and the values that went in.
async fn headers_with_secrets(
    door: &Door,
    url: &Url,
    given: &[(String, String)],
) -> Result<(HeaderMap, Values), DoorError> {
    if given.len() > HEADERS_MAX {
        return Err(DoorError::Limit(format!("a request has {HEADERS_MAX} headers at the most")));
    }
    let mut headers = HeaderMap::new();
    let mut values = Values::new();
    for (name, text) in given {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            DoorError::Invalid("the name of a header has characters that no header's has".into())
        })?;
        if REFUSED_HEADERS.contains(&name.as_str()) {
            return Err(DoorError::Invalid(format!("the header `{name}` is set by the host; leave it out")));
        }
        let mut text = text.clone();
        let names: Vec<String> = secrets::references(&text).into_iter().map(str::to_owned).collect();
        for secret in &names {
            let value = match values.get(secret) {
                Some(value) => value.clone(),
                None => reveal(door, secret, url).await?,
            };
            text = text.replace(&secrets::written(secret), value.expose_secret());
            values.insert(secret.clone(), value);
        }
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            DoorError::Invalid(format!("the value of header `{name}` has characters that no header's has"))
        })?;
        // Not shown in logs, not sent on to another origin.
        value.set_sensitive(!names.is_empty() || matches!(name.as_str(), "authorization" | "cookie"));
        headers.append(name, value);
    }
    if !values.is_empty() {
        // Half of an answer may hold half of a value.
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
    }
    Ok((headers, values))
}

async fn reveal(door: &Door, name: &str, url: &Url) -> Result<SecretString, DoorError> {
    // In the clear anybody on the way could read it. On one's own machine there is no way.
    if url.scheme() != "https" && !door.app.config.allow_private_guest_http {
        return Err(DoorError::Invalid("a secret goes out over https only".to_owned()));
    }
    door.permit(&Reach::SecretTo { name, host: host_of(url)? })?;
    let found = crate::secrets::reveal(&door.app, door.grants.app().app_id, name).await.map_err(|cause| {
        tracing::error!(%cause, name, "a secret could not be opened");
        DoorError::Unavailable("the secret cannot be opened right now".to_owned())
    })?;
    found.ok_or_else(|| DoorError::Invalid(format!("the secret `{name}` is not stored")))
}

fn refused(error: &EgressError) -> DoorError {
    let text = error.to_string();
    match error {
        EgressError::Refused(_) => DoorError::Denied(text),
        EgressError::TooLarge { .. } | EgressError::Timeout { .. } | EgressError::TooManyRedirects { .. } => {
            DoorError::Limit(text)
        }
        _ => DoorError::Failed(text),
    }
}

fn without_secrets(answer: EgressResponse, values: &Values) -> Result<HttpResponse, DoorError> {
    // Asked for none; in a packed body no value could be found.
    let packed = answer.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    if packed && !values.is_empty() {
        return Err(DoorError::Failed(
            "the answer is compressed although that was not asked for, so it cannot be searched for secrets"
                .into(),
        ));
    }
    if answer.status == StatusCode::PARTIAL_CONTENT && !values.is_empty() {
        return Err(DoorError::Failed("the answer is a part, in which no secret could be found".into()));
    }
    // The longest first: one value may stand inside another.
    let mut longest_first: Vec<_> = values.iter().collect();
    longest_first.sort_by_key(|(_, value)| std::cmp::Reverse(value.expose_secret().len()));
    let clean =
        |bytes: Vec<u8>| longest_first.iter().fold(bytes, |bytes, (name, value)| scrub(bytes, name, value));
    let headers = answer.headers.iter().map(|(name, value)| {
        let value = clean(value.as_bytes().to_vec());
        (name.as_str().to_owned(), String::from_utf8_lossy(&value).into_owned())
    });
    Ok(HttpResponse {
        status: answer.status.as_u16(),
        headers: headers.collect(),
        body: clean(answer.body.to_vec()),
    })
}

/// Shorter values would match by chance and garble what is there.
const SCRUBBED_BYTES_MIN: usize = 6;

/// Removes a value as it was sent, and as JSON, a form or a header of basic authentication would repeat it.
fn scrub(bytes: Vec<u8>, name: &str, value: &SecretString) -> Vec<u8> {
    let value = value.expose_secret();
    if value.len() < SCRUBBED_BYTES_MIN {
        return bytes;
    }
    let quoted = serde_json::Value::from(value).to_string();
    let form: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let mut spellings =
        vec![value.to_owned(), quoted.trim_matches('"').to_owned(), form, BASE64_STANDARD.encode(value)];
    spellings.dedup();
    spellings.iter().fold(bytes, |bytes, spelling| replace(bytes, spelling.as_bytes(), name))
}

fn replace(bytes: Vec<u8>, needle: &[u8], name: &str) -> Vec<u8> {
    if bytes.len() < needle.len() {
        return bytes;
    }
    let mut clean = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(needle) {
            clean.extend_from_slice(secrets::written(name).as_bytes());
            at += needle.len();
        } else {
            clean.push(bytes[at]);
            at += 1;
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(text: &str, value: &str) -> String {
        let clean = scrub(text.as_bytes().to_vec(), "KEY", &SecretString::from(value));
        String::from_utf8(clean).unwrap()
    }

    #[test]
    fn a_value_is_found_as_it_is_and_as_json_forms_and_basic_authentication_repeat_it() {
        for text in ["sec/\"ret", r#"sec/\"ret"#, "sec%2F%22ret", "c2VjLyJyZXQ="] {
            assert_eq!(scrubbed(&format!("a {text} b"), "sec/\"ret"), "a {{secret:KEY}} b");
        }
        assert_eq!(scrubbed("secre", "secret"), "secre");
        assert_eq!(scrubbed("secretsecret", "secret"), "{{secret:KEY}}{{secret:KEY}}");
    }

    #[test]
    fn a_value_too_short_to_be_told_from_chance_stays() {
        assert_eq!(scrubbed("abcde", "abcde"), "abcde");
    }
}
