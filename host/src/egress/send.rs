//! One request with a whole, bounded answer: what guests and webhooks use.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode};
use url::Url;

use super::{Egress, EgressError, Refusal, translate};

/// Headers of an answer. The client itself reads no more than a hundred over HTTP/1; HTTP/2 has no such number.
const RESPONSE_HEADERS_MAX: usize = 100;
/// Names and values of an answer's headers, in bytes: what servers send at the most is half of it.
const RESPONSE_HEADER_BYTES_MAX: usize = 64 << 10;

/// What to send and how far to go for the answer.
pub struct EgressRequest<'a> {
    pub method: Method,
    pub url: Url,
    /// Values marked sensitive ([`http::HeaderValue::set_sensitive`]) do not follow a redirect to another origin.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// For everything together: look-up, connect, redirects and the last byte.
    pub timeout: Duration,
    /// Of the body as it comes over the wire.
    pub response_bytes_max: usize,
    pub redirects_max: u32,
    /// The caller's own rule, asked for the first request and for each redirect, with the URL in canonical form.
    pub check: &'a (dyn Fn(&Method, &Url) -> Result<(), Refusal> + Send + Sync),
}

#[derive(Debug)]
pub struct EgressResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Where the answer came from, after redirects.
    pub url: Url,
}

impl Egress {
    /// Follows redirects by its own rules and reads the whole body.
    pub async fn send(&self, request: EgressRequest<'_>) -> Result<EgressResponse, EgressError> {
        let timeout = request.timeout;
        match tokio::time::timeout(timeout, self.follow(request)).await {
            Ok(result) => result,
            Err(_) => Err(EgressError::Timeout { waited: timeout }),
        }
    }

    async fn follow(&self, request: EgressRequest<'_>) -> Result<EgressResponse, EgressError> {
        let EgressRequest { method, url, headers, body, timeout, response_bytes_max, redirects_max, check } =
            request;
        let mut hop = Hop { method, url: self.guard.check(&url)?, headers: end_to_end(headers), body };
        for _ in 0..=redirects_max {
            check(&hop.method, &hop.url)?;
            let response = self
                .client
                .request(hop.method.clone(), hop.url.clone())
                .headers(hop.headers.clone())
                .body(hop.body.clone())
                .send()
                .await
                .map_err(|error| translate(&error, &hop.url, timeout))?;
            self.guard.check_reached(&hop.url, response.remote_addr())?;
            check_headers(response.headers())?;
            match hop.redirect(response.status(), response.headers())? {
                Some(next) => hop = Hop { url: self.guard.check(&next.url)?, ..next },
                None => return read(response, hop.url, response_bytes_max, timeout).await,
            }
        }
        Err(EgressError::TooManyRedirects { redirects_max })
    }
}

/// Whether an answer's headers are of a size anybody needs.
fn check_headers(headers: &HeaderMap) -> Result<(), EgressError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > RESPONSE_HEADERS_MAX || bytes > RESPONSE_HEADER_BYTES_MAX {
        return Err(EgressError::TooManyHeaders {
            headers_max: RESPONSE_HEADERS_MAX,
            bytes_max: RESPONSE_HEADER_BYTES_MAX,
        });
    }
    Ok(())
}

/// One request of a chain.
struct Hop {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

impl Hop {
    /// The next request, or `None` when this answer is the last.
    fn redirect(&self, status: StatusCode, answered: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let keeps_method = match status {
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
            // As browsers do it: only a POST becomes a GET.
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method != Method::POST,
            StatusCode::SEE_OTHER => self.method == Method::HEAD || self.method == Method::GET,
            _ => return Ok(None),
        };
        let Some(location) = answered.get(header::LOCATION) else { return Ok(None) };
        let location = location.to_str().map_err(|_| Refusal::BadRedirect)?;
        let url = self.url.join(location).map_err(|_| Refusal::BadRedirect)?;
        if self.url.scheme() == "https" && url.scheme() == "http" {
            return Err(Refusal::Downgrade);
        }
        let mut next =
            Self { method: self.method.clone(), headers: self.headers.clone(), body: self.body.clone(), url };
        if !keeps_method {
            next.method = Method::GET;
            next.body = Bytes::new();
            remove(&mut next.headers, |name, _| name.as_str().starts_with("content-"));
        }
        if next.url.origin() != self.url.origin() {
            remove(&mut next.headers, |name, sensitive| sensitive || CREDENTIALS.contains(&name.as_str()));
        }
        Ok(Some(next))
    }
}

/// Never sent to another origin, marked or not.
const CREDENTIALS: &[&str] = &["authorization", "cookie"];

/// About the connection, not the message. `Host` above all: it could name another site than the one that was judged.
const HOP_BY_HOP: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-authorization",
    "proxy-authenticate",
    "keep-alive",
    "proxy-connection",
];

pub(super) fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    remove(&mut headers, |name, _| HOP_BY_HOP.contains(&name.as_str()));
    headers
}

/// Removes a header when any of its values matches.
fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName, bool) -> bool) {
    let names: Vec<HeaderName> = headers
        .iter()
        .filter(|(name, value)| unwanted(name, value.is_sensitive()))
        .map(|(name, _)| name.clone())
        .collect();
    for name in names {
        headers.remove(name);
    }
}

async fn read(
    mut response: reqwest::Response,
    url: Url,
    bytes_max: usize,
    timeout: Duration,
) -> Result<EgressResponse, EgressError> {
    if response.content_length().is_some_and(|announced| announced > bytes_max as u64) {
        return Err(EgressError::TooLarge { bytes_max });
    }
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| translate(&error, &url, timeout))? {
        if chunk.len() > bytes_max - body.len() {
            return Err(EgressError::TooLarge { bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(EgressResponse { status, headers, body: body.freeze(), url })
}

#[cfg(test)]
pub(super) mod tests {
    use http::HeaderValue;

    use super::*;

    /// Where a 302 at `from` leads.
    pub(in crate::egress) fn redirect_from(from: &str, to: &str) -> Result<Option<String>, Refusal> {
        let hop = Hop {
            method: Method::GET,
            url: Url::parse(from).expect("a test's URL"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let location = HeaderValue::from_str(to).expect("a test's URL");
        let headers = HeaderMap::from_iter([(header::LOCATION, location)]);
        Ok(hop.redirect(StatusCode::FOUND, &headers)?.map(|next| next.url.into()))
    }
}
