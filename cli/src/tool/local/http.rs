//! `http.send`, here: the server's guarded way out, its gate and its rules for secrets.

use super::{door::LocalDoor, secrets};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use opg_host::{
    egress::{EgressError, EgressRequest, Refusal},
    grants::{HostPort, Reach},
    sandbox::door::{DoorError, HttpRequest, HttpResponse},
};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use url::Url;

/// As the server has it: a request's body and an answer's, in bytes.
const BODY_BYTES_MAX: usize = 2 << 20;
/// As the server has it.
const REDIRECTS_MAX: u32 = 5;
/// As the server has it.
const HEADERS_MAX: usize = 100;
/// As the server has it.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Set by the host.
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
    door: &LocalDoor,
    request: HttpRequest,
    time_left: Duration,
) -> Result<HttpResponse, DoorError> {
    let invalid = |text: &str| DoorError::Invalid(text.to_owned());
    let method = Method::from_bytes(request.method.as_bytes())
        .ok()
        .filter(|m| m.as_str().bytes().all(|b| b.is_ascii_uppercase()) && *m != Method::CONNECT)
        .ok_or_else(|| invalid("the method is a word in capitals, such as GET"))?;
    let url = Url::parse(&request.url)
        .map_err(|_| invalid("the URL is not absolute, such as https://api.example.com/x"))?;
    if !secrets::references(url.as_str()).is_empty() {
        return Err(invalid("a secret cannot stand in a URL; put it into a header"));
    }
    if request.body.as_ref().is_some_and(|body| body.len() > BODY_BYTES_MAX) {
        return Err(DoorError::Limit(format!("a request's body is {BODY_BYTES_MAX} bytes at the most")));
    }
    door.permit(&Reach::Http(host_of(&url)?))?;
    let (headers, values) = with_secrets(door, &url, &request.headers)?;
    let check = |next: &Url| {
        let judged = host_of(next).and_then(|host| door.permit(&Reach::Http(host)));
        judged.map_err(|denied| Refusal::NotAllowed(denied.to_string()))
    };
    let outgoing = EgressRequest {
        method,
        url,
        headers,
        body: request.body.map(Into::into).unwrap_or_default(),
        timeout: request.timeout.unwrap_or(TIMEOUT_DEFAULT).min(time_left),
        response_bytes_max: BODY_BYTES_MAX,
        redirects_max: REDIRECTS_MAX,
        check: &check,
    };
    let answer = door.egress.send(outgoing).await.map_err(|error| refused(&error))?;
    let clean =
        |bytes: &[u8]| values.iter().fold(bytes.to_vec(), |bytes, (name, value)| scrub(bytes, name, value));
    let text = |value: &HeaderValue| String::from_utf8_lossy(&clean(value.as_bytes())).into_owned();
    Ok(HttpResponse {
        status: answer.status.as_u16(),
        headers: answer.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: clean(&answer.body),
    })
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

type Values = Vec<(String, SecretString)>;

fn with_secrets(
    door: &LocalDoor,
    url: &Url,
    given: &[(String, String)],
) -> Result<(HeaderMap, Values), DoorError> {
    if given.len() > HEADERS_MAX {
        return Err(DoorError::Limit(format!("a request has {HEADERS_MAX} headers at the most")));
    }
    let (mut headers, mut values) = (HeaderMap::new(), Values::new());
    for (name, text) in given {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            DoorError::Invalid("the name of a header has characters that no header's has".into())
        })?;
        if REFUSED_HEADERS.contains(&name.as_str()) {
            return Err(DoorError::Invalid(format!("the header `{name}` is set by the host; leave it out")));
        }
        let mut filled = text.clone();
        for secret in secrets::references(text) {
            let value = reveal(door, secret, url)?;
            filled = filled.replace(&secrets::written(secret), value.expose_secret());
            values.push((secret.to_owned(), value));
        }
        let mut value = HeaderValue::from_str(&filled).map_err(|_| {
            DoorError::Invalid(format!("the value of header `{name}` has characters that no header's has"))
        })?;
        value.set_sensitive(filled != *text || matches!(name.as_str(), "authorization" | "cookie"));
        headers.append(name, value);
    }
    // The longest first: one value may stand inside another.
    values.sort_by_key(|(_, value)| std::cmp::Reverse(value.expose_secret().len()));
    Ok((headers, values))
}

fn reveal(door: &LocalDoor, name: &str, url: &Url) -> Result<SecretString, DoorError> {
    if url.scheme() != "https" && !door.allow_private {
        return Err(DoorError::Invalid("a secret goes out over https only".to_owned()));
    }
    door.permit(&Reach::SecretTo { name, host: host_of(url)? })?;
    door.secret_of(name)
}

/// As the server has it: shorter values would match by chance.
const SCRUBBED_BYTES_MIN: usize = 6;

/// Removes a value as it was sent, and as JSON or base64 repeats it.
fn scrub(bytes: Vec<u8>, name: &str, value: &SecretString) -> Vec<u8> {
    let value = value.expose_secret();
    if value.len() < SCRUBBED_BYTES_MIN {
        return bytes;
    }
    let quoted = serde_json::Value::from(value).to_string();
    let spellings = [value.to_owned(), quoted.trim_matches('"').to_owned(), BASE64_STANDARD.encode(value)];
    spellings.iter().fold(bytes, |bytes, spelling| {
        let mut clean = Vec::with_capacity(bytes.len());
        let mut rest = bytes.as_slice();
        while let Some(at) = rest.windows(spelling.len()).position(|window| window == spelling.as_bytes()) {
            clean.extend_from_slice(&rest[..at]);
            clean.extend_from_slice(secrets::written(name).as_bytes());
            rest = &rest[at + spelling.len()..];
        }
        clean.extend_from_slice(rest);
        clean
    })
}

fn refused(error: &EgressError) -> DoorError {
    let text = error.to_string();
    match error {
        EgressError::Refused(Refusal::Private { .. }) => {
            DoorError::Denied(format!("{text}; with --allow-private this command lets it through"))
        }
        EgressError::Refused(_) => DoorError::Denied(text),
        EgressError::TooLarge { .. } | EgressError::Timeout { .. } | EgressError::TooManyRedirects { .. } => {
            DoorError::Limit(text)
        }
        _ => DoorError::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echoed_value_is_taken_out_as_it_is_and_as_json_and_base64_repeat_it() {
        let value = SecretString::from("sec/\"ret");
        for echoed in ["sec/\"ret", r#"sec/\"ret"#, "c2VjLyJyZXQ="] {
            let clean = scrub(format!("a {echoed} b").into_bytes(), "KEY", &value);
            assert_eq!(String::from_utf8(clean).unwrap(), "a {{secret:KEY}} b");
        }
    }
}
