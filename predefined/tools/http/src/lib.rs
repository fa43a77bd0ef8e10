//! Predefined tool: one HTTP request.
//!
//! It asks for every host because it cannot know which ones a tenant needs;
//! the tenant grants the hosts it wants, and the host refuses all others.
//! Redirects, private addresses and sizes are the host's business too.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use opg_guest::http::{Response, request};
use opg_guest::{Error, data, plugin, tool};

/// Makes one HTTP request and returns the status, headers and body of the
/// answer. An error status is an answer, not a failure. Only hosts the tenant
/// granted can be reached.
#[tool(http("*", "to make the requests a model asks for; grant only the hosts it may reach"))]
fn http(
    /// The absolute URL, `http` or `https`.
    url: String,
    /// The method; `GET` unless given.
    method: Option<String>,
    /// Request headers, a value for each name.
    headers: Option<BTreeMap<String, String>>,
    /// The request body, as text.
    body: Option<String>,
) -> Result<Answer, Error> {
    let mut request = request(method.as_deref().unwrap_or("GET").to_ascii_uppercase(), url);
    for (name, value) in headers.unwrap_or_default() {
        request = request.header(name, value);
    }
    if let Some(body) = body {
        request = request.body(body);
    }
    request.send().map(Answer::from)
}

plugin!(http);

/// What the server answered.
#[data]
struct Answer {
    status: u16,
    /// By name, in lower case; several values of one name are joined by commas.
    headers: BTreeMap<String, String>,
    body: String,
    /// Whether the body is not text and therefore in base64.
    body_is_base64: bool,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in response.headers {
            headers
                .entry(name)
                .and_modify(|values| {
                    values.push_str(", ");
                    values.push_str(&value);
                })
                .or_insert(value);
        }
        let (body, body_is_base64) = match String::from_utf8(response.body) {
            Ok(text) => (text, false),
            Err(error) => (BASE64_STANDARD.encode(error.as_bytes()), true),
        };
        Self { status: response.status, headers, body, body_is_base64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Answer::from(Response { status: 200, headers, body: body.into() })
    }

    #[test]
    fn a_text_body_stays_text_and_any_other_is_base64() {
        let text = answer(&[], "grüß dich".as_bytes());
        assert_eq!((text.body.as_str(), text.body_is_base64), ("grüß dich", false));
        let bytes = answer(&[], &[0xFF, 0x00]);
        assert_eq!((bytes.body.as_str(), bytes.body_is_base64), ("/wA=", true));
    }

    #[test]
    fn no_value_of_a_repeated_header_is_lost() {
        let answer = answer(&[("vary", "a"), ("x", "1"), ("vary", "b")], b"");
        assert_eq!(answer.headers["vary"], "a, b");
        assert_eq!(answer.headers["x"], "1");
    }
}
