//! Requests to the outside, to granted hosts only.
//!
//! ```
//! use opg_guest::*;
//!
//! let host = testing::Host::new().http("https://api.example.com/", testing::json(200, &[1, 2])).start();
//! let found: Vec<u8> = http::get("https://api.example.com/search").query("q", "a b").send()?.success()?.json()?;
//! assert_eq!(found, [1, 2]);
//! assert_eq!(host.requests()[0].url, "https://api.example.com/search?q=a%20b");
//! # Ok::<(), Error>(())
//! ```

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::http as host;
use crate::{Error, secrets};

/// Starts a `GET`.
pub fn get(url: impl Into<String>) -> Request {
    request("GET", url)
}

/// Starts a `POST`.
pub fn post(url: impl Into<String>) -> Request {
    request("POST", url)
}

/// Starts a request with any method, in capitals.
pub fn request(method: impl Into<String>, url: impl Into<String>) -> Request {
    Request { method: method.into(), url: url.into(), headers: Vec::new(), body: None, timeout_ms: None }
}

/// A request in the making. Nothing leaves before [`send`](Self::send).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    timeout_ms: Option<u32>,
}

impl Request {
    /// Adds a query parameter, percent-encoded, to the URL.
    pub fn query(mut self, name: &str, value: impl Display) -> Self {
        let fragment = self.url.find('#').map(|at| self.url.split_off(at));
        self.url.push(if self.url.contains('?') { '&' } else { '?' });
        encode(name, &mut self.url);
        self.url.push('=');
        encode(&value.to_string(), &mut self.url);
        self.url.extend(fragment);
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a header whose value is `prefix` and then the secret `name`; the
    /// host puts it in, this guest never sees it.
    ///
    /// `Denied` where the secret was not granted, `Invalid` where the tenant
    /// has not stored it yet.
    pub fn secret_header(self, header: impl Into<String>, prefix: &str, name: &str) -> Result<Self, Error> {
        let reference = secrets::get(name)?;
        Ok(self.header(header, format!("{prefix}{reference}")))
    }

    /// Adds a query parameter whose value is the secret `name`; the host puts it
    /// in, this guest never sees it. It takes the capability
    /// `secret("NAME@host query:parameter", …)`. URLs are kept in logs on the
    /// way: use a header where the API takes one.
    ///
    /// Errors are those of [`secret_header`](Self::secret_header).
    pub fn secret_query(self, parameter: &str, name: &str) -> Result<Self, Error> {
        let reference = secrets::get(name)?;
        Ok(self.query(parameter, reference))
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets a JSON body and its content type.
    pub fn json(self, body: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(body)?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// Waits no longer than this for the whole answer.
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.timeout_ms = Some(timeout_ms);
        self
    }

    /// Sends it and waits for the whole answer. An error status is an answer;
    /// see [`Response::success`].
    ///
    /// `Denied` where the method, host or path is not granted, `Limit` where the answer is too
    /// large or too slow, `Failed` where none came.
    pub fn send(self) -> Result<Response, Error> {
        let request = host::Request {
            method: self.method,
            url: self.url,
            headers: self.headers,
            body: self.body,
            timeout_ms: self.timeout_ms,
        };
        let response = host::send(&request).map_err(Error::from_host)?;
        Ok(Response { status: response.status, headers: response.headers, body: response.body })
    }
}

/// The answer, redirects followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status, 100–599.
    pub status: u16,
    /// Header names (lower case) and values, in order.
    pub headers: Vec<(String, String)>,
    /// The decoded body.
    pub body: Vec<u8>,
}

impl Response {
    /// Fails where the status is not 2xx, with the start of the body.
    pub fn success(self) -> Result<Self, Error> {
        /// Enough of an error page to know what went wrong.
        const EXCERPT_CHARS_MAX: usize = 200;
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let excerpt: String = String::from_utf8_lossy(&self.body).chars().take(EXCERPT_CHARS_MAX).collect();
        Err(Error::failed(format_args!("the server answered {}: {excerpt}", self.status)))
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(self) -> Result<String, Error> {
        String::from_utf8(self.body).map_err(|_| Error::failed("the server's answer is not text"))
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::failed(format_args!("the server's answer is not the expected JSON: {error}"))
        })
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(text: &str, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(byte.into());
        } else {
            into.push('%');
            into.push(HEX[usize::from(byte >> 4)].into());
            into.push(HEX[usize::from(byte & 0xF)].into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_value_cannot_break_out_of_its_parameter() {
        let request = get("https://a.example/x#top").query("q", "a b&c=d/ü#").query("n", 3);
        assert_eq!(request.url, "https://a.example/x?q=a%20b%26c%3Dd%2F%C3%BC%23&n=3#top");
    }

    #[test]
    fn a_json_body_brings_its_content_type() {
        let request = post("https://a.example").json(&[1, 2]).unwrap();
        assert_eq!(request.body.as_deref(), Some(b"[1,2]".as_slice()));
        assert_eq!(request.headers, [("content-type".to_owned(), "application/json".to_owned())]);
    }

    #[test]
    fn an_error_status_is_an_answer_until_success_is_asked_for() {
        let response = Response {
            status: 404,
            headers: vec![("content-type".into(), "text/plain".into())],
            body: b"gone".into(),
        };
        assert_eq!(response.header("Content-Type"), Some("text/plain"));
        assert_eq!(response.success(), Err(Error::failed("the server answered 404: gone")));
    }

    #[test]
    fn a_body_that_is_not_the_expected_json_is_the_servers_fault() {
        let response = Response { status: 200, headers: vec![], body: b"<html>".into() };
        assert_eq!(response.json::<u8>().unwrap_err().kind(), "failed");
    }
}
