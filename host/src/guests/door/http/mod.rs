//! `http.send`: one request to a granted host, its secrets put in at the boundary.
//!
//! In this order: what the guest sends is checked; the gate is asked for method, host and path; what is sent is
//! searched for secret values a guest may have got hold of; values go in where the text refers to them, each asked
//! for at the gate with its place ([`place`]); the request goes out, and the gate is asked again for every redirect.
//! What comes back is searched for values, so that an upstream that echoes a header does not hand the guest its
//! secret.

pub mod place;

use super::Door;
use crate::{
    egress::{EgressError, EgressRequest, EgressResponse, Refusal},
    grants::{self, HostPort, InApp, Place, Reach},
    guests::record::Record,
    sandbox::door::{DoorError, HttpRequest, HttpResponse},
    secrets::scan::Found,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use place::Placed;
use secrecy::SecretString;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use url::Url;

/// What a guest may get back: half of what its memory may hold would be too much to parse.
pub const RESPONSE_BYTES_MAX: usize = 2 << 20;
/// What a guest may send.
pub const REQUEST_BYTES_MAX: usize = 2 << 20;
/// Redirects followed (row M237).
pub const REDIRECTS_MAX: u32 = 5;
/// Headers of a request: what browsers send, several times over.
const HEADERS_MAX: usize = 100;
/// Names and values of a request's headers together, in bytes: what servers take.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// How long a request may take unless the guest says less.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

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
    let answer = exchange(door, request, time_left).await;
    // An error's text may repeat what an upstream said: where it leads, who it is.
    answer.map_err(|error| door.clean_error(error))
}

async fn exchange(door: &Door, request: HttpRequest, time_left: Duration) -> Result<HttpResponse, DoorError> {
    let Parts { method, url, headers, body } = check(&request)?;
    door.permit(&request_to(&method, &url)?).await?;
    hold_nothing_known(door, &url, &request).await?;

    let mut placed = Placed::default();
    let url = place::in_url(door, url, &mut placed).await?;
    let mut headers = place::in_headers(door, &url, headers, &mut placed).await?;
    let body = place::in_body(door, &url, &headers, body, &mut placed).await?;
    if !placed.values.is_empty() {
        // Half of an answer may hold half of a value.
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
    }
    // What is packed cannot be searched, and may unpack to anything.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    door.chain.known().add(placed.values.clone());

    let hops = Hops::of(door, &url, &placed).await?;
    let check = |method: &Method, next: &Url| hops.judge(method, next);
    let outgoing = EgressRequest {
        method,
        url,
        headers,
        body: Bytes::from(body),
        timeout: request.timeout.unwrap_or(TIMEOUT_DEFAULT).min(time_left),
        response_bytes_max: RESPONSE_BYTES_MAX,
        redirects_max: REDIRECTS_MAX,
        check: &check,
    };
    let answer = door.app.guest_egress.send(outgoing).await.map_err(|error| refused(&error))?;
    without_secrets(door, answer, !placed.values.is_empty())
}

/// What a guest wants to send, once it can be sent.
pub struct Parts {
    /// In capitals.
    pub method: Method,
    /// Absolute.
    pub url: Url,
    /// None that is the host's to set.
    pub headers: Vec<(HeaderName, String)>,
    /// Empty for none.
    pub body: Vec<u8>,
}

/// Checks what a guest wants to send, before anybody is asked whether it may.
///
/// # Errors
/// What is wrong, for its author.
pub fn check(request: &HttpRequest) -> Result<Parts, DoorError> {
    let invalid = |text: &str| DoorError::Invalid(text.to_owned());
    let method = Method::from_bytes(request.method.as_bytes())
        .ok()
        .filter(|method| {
            method.as_str().bytes().all(|b| b.is_ascii_uppercase()) && *method != Method::CONNECT
        })
        .ok_or_else(|| invalid("the method is a word in capitals, such as GET"))?;
    let url = Url::parse(&request.url)
        .map_err(|_| invalid("the URL is not absolute, such as https://api.example.com/x"))?;
    if request.body.as_ref().is_some_and(|body| body.len() > REQUEST_BYTES_MAX) {
        return Err(DoorError::Limit(format!("a request's body is {REQUEST_BYTES_MAX} bytes at the most")));
    }
    Ok(Parts {
        method,
        url,
        headers: names(&request.headers)?,
        body: request.body.clone().unwrap_or_default(),
    })
}

/// The headers' names, checked.
fn names(given: &[(String, String)]) -> Result<Vec<(HeaderName, String)>, DoorError> {
    if given.len() > HEADERS_MAX {
        return Err(DoorError::Limit(format!("a request has {HEADERS_MAX} headers at the most")));
    }
    let bytes: usize = given.iter().map(|(name, text)| name.len() + text.len()).sum();
    if bytes > HEADER_BYTES_MAX {
        return Err(DoorError::Limit(format!(
            "a request's headers have {HEADER_BYTES_MAX} bytes together at the most"
        )));
    }
    let name = |(name, text): &(String, String)| {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            DoorError::Invalid("the name of a header has characters that no header's has".into())
        })?;
        if REFUSED_HEADERS.contains(&name.as_str()) {
            return Err(DoorError::Invalid(format!("the header `{name}` is set by the host; leave it out")));
        }
        Ok((name, text.clone()))
    };
    given.iter().map(name).collect()
}

/// The first request and those it is redirected to.
struct Hops {
    grants: grants::GuestGrants,
    record: Record,
    door: Door,
    first: url::Origin,
    in_body: bool,
    redirected: AtomicBool,
}

impl Hops {
    async fn of(door: &Door, first: &Url, placed: &Placed) -> Result<Hops, DoorError> {
        Ok(Hops {
            grants: door.grants_now().await?,
            record: door.record.clone(),
            door: door.clone(),
            first: first.origin(),
            in_body: placed.in_body,
            redirected: AtomicBool::new(false),
        })
    }

    /// Whether the next request may be made. Each is judged with its own method, host and path.
    fn judge(&self, method: &Method, next: &Url) -> Result<(), Refusal> {
        let refused = |error: DoorError| Refusal::NotAllowed(error.to_string());
        let reach = request_to(method, next).map_err(refused)?;
        let judged = self.grants.permit(&reach);
        // The first was judged and counted before, in the guest's spelling; now it is in canonical form.
        if self.redirected.swap(true, Ordering::Relaxed) {
            self.record.reached(&reach, judged.is_ok());
            self.carries_nothing(next)?;
        }
        judged.map_err(|denied| Refusal::NotAllowed(denied.to_string()))
    }

    /// Whether a redirect to another origin leaves every secret behind. Headers are taken out on the way.
    fn carries_nothing(&self, next: &Url) -> Result<(), Refusal> {
        if next.origin() == self.first {
            return Ok(());
        }
        let scanner = self.door.chain.known().scanner();
        let in_url = scanner.is_some_and(|scanner| !names_in_url(&scanner, next.as_str()).is_empty());
        if in_url || self.in_body {
            let text = "a redirect to another host that would take a secret along is not followed";
            return Err(Refusal::NotAllowed(text.to_owned()));
        }
        Ok(())
    }
}

/// What the gate is asked for a request.
///
/// # Errors
/// Where the URL leads to no web server.
pub fn request_to<'a>(method: &'a Method, url: &'a Url) -> Result<Reach<'a>, DoorError> {
    Ok(Reach::Http(grants::HttpRequest { method: method.as_str(), at: host_of(url)?, path: url.path() }))
}

/// Where a URL leads.
///
/// # Errors
/// Where that is no web server.
pub fn host_of(url: &Url) -> Result<HostPort<'_>, DoorError> {
    let scheme_port = match url.scheme() {
        "http" => 80,
        "https" => 443,
        _ => return Err(DoorError::Invalid("the URL's scheme is http or https".into())),
    };
    let host = url.host_str().ok_or_else(|| DoorError::Invalid("the URL names no host".into()))?;
    let port = url.port().unwrap_or(scheme_port);
    Ok(HostPort { host: host.strip_suffix('.').unwrap_or(host), port, default_port: port == scheme_port })
}

/// A guest has references, not values. One that holds a value all the same, from its input perhaps, may send it only
/// where the secret may go.
///
/// The values looked for are those that turned up in the chain and those this plugin was granted: for a plugin with
/// granted secrets that is one query and one automaton in its first request of a chain, for all others nothing.
async fn hold_nothing_known(door: &Door, url: &Url, request: &HttpRequest) -> Result<(), DoorError> {
    learn_granted(door).await?;
    let Some(scanner) = door.chain.known().scanner() else { return Ok(()) };
    let mut held = names_in_url(&scanner, &request.url);
    for (name, value) in &request.headers {
        held.extend(scanner.names_in(name.as_bytes()));
        held.extend(scanner.names_in(value.as_bytes()));
    }
    held.extend(scanner.names_in(request.body.as_deref().unwrap_or_default()));
    held.sort_unstable();
    held.dedup();
    for name in held {
        let to = Reach::SecretTo { name, host: host_of(url)?, place: None };
        door.permit(&to).await.map_err(|error| match error {
            DoorError::Denied(why) => {
                DoorError::Denied(format!("the request holds the value of the secret `{name}`: {why}"))
            }
            other => other,
        })?;
    }
    Ok(())
}

/// The secrets whose values stand in a URL, as it is written and decoded.
pub fn names_in_url<'a>(scanner: &'a crate::secrets::scan::Scanner, url: &str) -> Vec<&'a str> {
    let decoded: Vec<u8> = percent_decode_str(url).collect();
    let mut names = scanner.names_in(url.as_bytes());
    names.extend(scanner.names_in(&decoded));
    names
}

async fn learn_granted(door: &Door) -> Result<(), DoorError> {
    let names: Vec<_> = door.grants.effective().filter_map(grants::Capability::secret).collect();
    if names.is_empty() || !door.chain.known().is_first_of(door.grants.plugin()) {
        return Ok(());
    }
    let values = crate::secrets::reveal_all(&door.app, door.grants.app().app_id, &names);
    door.chain.known().add(values.await.map_err(|cause| {
        tracing::error!(%cause, "the secrets of a plugin could not be opened");
        DoorError::Unavailable("the plugin's secrets cannot be opened right now".to_owned())
    })?);
    Ok(())
}

impl place::Reveal for Door {
    async fn reveal(&self, name: &str, url: &Url, place: Place<'_>) -> Result<SecretString, DoorError> {
        reveal(self, name, url, place).await
    }
}

async fn reveal(door: &Door, name: &str, url: &Url, place: Place<'_>) -> Result<SecretString, DoorError> {
    // In the clear anybody on the way could read it. On one's own machine there is no way.
    if url.scheme() != "https" && !door.app.config.allow_private_guest_http {
        return Err(DoorError::Invalid("a secret goes out over https only".to_owned()));
    }
    door.permit(&Reach::SecretTo { name, host: host_of(url)?, place: Some(place) }).await?;
    let found = crate::secrets::reveal(&door.app, door.grants.app().app_id, name).await.map_err(|cause| {
        tracing::error!(%cause, name, "a secret could not be opened");
        DoorError::Unavailable("the secret cannot be opened right now".to_owned())
    })?;
    found.ok_or_else(|| DoorError::Invalid(format!("the secret `{name}` is not stored")))
}

/// What a guest is told where no answer came.
pub fn refused(error: &EgressError) -> DoorError {
    let text = error.to_string();
    match error {
        EgressError::Refused(_) => DoorError::Denied(text),
        EgressError::TooLarge { .. }
        | EgressError::TooManyHeaders { .. }
        | EgressError::Timeout { .. }
        | EgressError::TooManyRedirects { .. } => DoorError::Limit(text),
        _ => DoorError::Failed(text),
    }
}

fn without_secrets(door: &Door, answer: EgressResponse, carried: bool) -> Result<HttpResponse, DoorError> {
    let packed = answer.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    if packed {
        return Err(DoorError::Failed(
            "the answer is compressed although that was not asked for, so it cannot be searched for secrets"
                .into(),
        ));
    }
    if answer.status == StatusCode::PARTIAL_CONTENT && carried {
        return Err(DoorError::Failed("the answer is a part, in which no secret could be found".into()));
    }
    let scanner = door.chain.known().scanner();
    let mut found = Found::new();
    let mut clean = |bytes: &[u8]| match &scanner {
        Some(scanner) => scanner.clean(bytes, &mut found).into_owned(),
        None => bytes.to_vec(),
    };
    let headers = answer.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(&clean(value.as_bytes())).into_owned())
    });
    let headers = headers.collect();
    let body = clean(&answer.body);
    door.record.redacted(&found);
    Ok(HttpResponse { status: answer.status.as_u16(), headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_headers(headers: Vec<(String, String)>) -> Result<Parts, DoorError> {
        let (method, url) = ("GET".to_owned(), "https://api.example.com/".to_owned());
        check(&HttpRequest { method, url, headers, body: None, timeout: None })
    }

    #[test]
    fn headers_are_bounded_by_number_and_by_size_before_anybody_is_asked() {
        let header = |bytes: usize| ("x-a".to_owned(), "v".repeat(bytes));
        assert!(with_headers(vec![header(HEADER_BYTES_MAX - 3)]).is_ok());
        for headers in [vec![header(HEADER_BYTES_MAX)], vec![header(1); HEADERS_MAX + 1]] {
            assert!(matches!(with_headers(headers), Err(DoorError::Limit(_))));
        }
    }
}
