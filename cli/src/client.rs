//! What curl would do: a method, a path, a token, a body, and what came back.

use reqwest::{Body, Method, RequestBuilder, Response};
use serde_json::Value;
use std::time::{Duration, Instant};

/// The longest answer is an upload's, which may wait a minute for the compiler and as long for its own turn;
/// this ends a command whose server hangs.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(150);
/// Of a body that is not what we expected, in characters.
const SHOWN_CHARS_MAX: usize = 300;

/// Somebody with a token.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
    app: Option<String>,
}

/// What came back, and how long it took.
pub(crate) struct Answer {
    pub(crate) body: Value,
    pub(crate) request_id: String,
    /// Whether the server keeps a session for this.
    pub(crate) session: bool,
    pub(crate) took: Duration,
}

/// What came back piece by piece.
pub(crate) struct Streamed {
    pub(crate) text: String,
    pub(crate) pieces: usize,
    pub(crate) first_after: Duration,
    pub(crate) request_id: String,
    pub(crate) session: bool,
    pub(crate) took: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("no HTTP client can be made: {0}")]
    Make(reqwest::Error),
    #[error("{method} {path} was not answered: {}", innermost(cause))]
    Send { method: Method, path: String, cause: reqwest::Error },
    #[error("{method} {path} was answered {status}: {detail}")]
    Refused { method: Method, path: String, status: u16, code: String, detail: String, body: Box<Value> },
    #[error("{method} {path} was answered with something else than JSON ({cause}); is this an OPG?")]
    Nonsense { method: Method, path: String, cause: serde_json::Error },
    #[error("{path} did not stream as it should: {why}")]
    Stream { path: String, why: String },
}

impl ClientError {
    /// The machine-readable code of a refusal.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            ClientError::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl Client {
    /// One for this server, with this token, or none where it is empty.
    pub(crate) fn new(url: &str, token: &str) -> Result<Client, ClientError> {
        // Fails where one is installed already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        #[expect(clippy::disallowed_methods, reason = "this is a client, not the host")]
        let builder = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIME_MAX);
        let http = builder.build().map_err(ClientError::Make)?;
        Ok(Client { http, url: url.to_owned(), token: token.to_owned(), app: None })
    }

    /// The same somebody, who says with every request which app is meant.
    pub(crate) fn in_app(self, app: Option<String>) -> Client {
        Client { app, ..self }
    }

    /// The same server with another token.
    pub(crate) fn with_token(&self, token: &str) -> Client {
        Client { token: token.to_owned(), ..self.clone() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.send(Method::GET, path, |request| request).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer, ClientError> {
        self.send(Method::POST, path, |request| request.json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Answer, ClientError> {
        self.send(Method::DELETE, path, |request| request).await
    }

    pub(crate) async fn put(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Result<Answer, ClientError> {
        let body = body.into();
        let with = |request: RequestBuilder| {
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        };
        self.send(Method::PUT, path, |request| with(request).body(body)).await
    }

    /// Posts a chat request that asks for a stream and reads it to its end.
    pub(crate) async fn stream(&self, path: &str, body: &Value) -> Result<Streamed, ClientError> {
        let started = Instant::now();
        let (method, failed) = (Method::POST, |cause| self.failed(Method::POST, path, cause));
        let request = self.request(&method, path).json(body);
        let mut response = self.accept(&method, path, request.send().await.map_err(failed)?).await?;
        let (request_id, session) = told(&response);
        let (mut bytes, mut first_after) = (Vec::new(), None);
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            first_after.get_or_insert(started.elapsed());
            bytes.extend_from_slice(&chunk);
        }
        let wrong = |why: &str| ClientError::Stream { path: path.to_owned(), why: why.to_owned() };
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let pieces = pieces(&text).map_err(wrong)?;
        Ok(Streamed {
            text: pieces.concat(),
            pieces: pieces.len(),
            first_after: first_after.ok_or_else(|| wrong("it is empty"))?,
            request_id,
            session,
            took: started.elapsed(),
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        finish: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Answer, ClientError> {
        let started = Instant::now();
        let sent = finish(self.request(&method, path)).send().await;
        let response = sent.map_err(|cause| self.failed(method.clone(), path, cause))?;
        let response = self.accept(&method, path, response).await?;
        let (request_id, session) = told(&response);
        let bytes = response.bytes().await.map_err(|cause| self.failed(method.clone(), path, cause))?;
        let body =
            read(&bytes).map_err(|cause| ClientError::Nonsense { method, path: path.to_owned(), cause })?;
        Ok(Answer { body, request_id, session, took: started.elapsed() })
    }

    fn request(&self, method: &Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method.clone(), format!("{}{path}", self.url));
        let request = if self.token.is_empty() { request } else { request.bearer_auth(&self.token) };
        match &self.app {
            Some(app) => request.header("x-opg-app", app),
            None => request,
        }
    }

    async fn accept(&self, method: &Method, path: &str, response: Response) -> Result<Response, ClientError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        // A problem document, or an error as OpenAI writes it.
        let either =
            |problem: &Value, openai: &Value| problem.as_str().or_else(|| openai.as_str()).map(str::to_owned);
        let detail = either(&body["detail"], &body["error"]["message"]);
        Err(ClientError::Refused {
            method: method.clone(),
            path: path.to_owned(),
            status: status.as_u16(),
            code: either(&body["code"], &body["error"]["code"]).unwrap_or_default(),
            detail: detail.unwrap_or_else(|| text.chars().take(SHOWN_CHARS_MAX).collect()),
            body: Box::new(body),
        })
    }

    fn failed(&self, method: Method, path: &str, cause: reqwest::Error) -> ClientError {
        ClientError::Send { method, path: path.to_owned(), cause: cause.without_url() }
    }
}

/// No body at all is what some answers have.
fn read(bytes: &[u8]) -> serde_json::Result<Value> {
    if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(bytes) }
}

/// The first cause says what happened; the layers above it say where, which we say ourselves.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn told(response: &Response) -> (String, bool) {
    let id = response.headers().get("x-request-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    (id.to_owned(), response.headers().contains_key("x-opg-session-id"))
}

/// The text of a stream of chat chunks, piece by piece.
fn pieces(stream: &str) -> Result<Vec<String>, &'static str> {
    let data: Vec<&str> = stream.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let Some((&"[DONE]", chunks)) = data.split_last() else { return Err("it does not end with [DONE]") };
    let mut pieces = Vec::new();
    for chunk in chunks {
        let chunk: Value = serde_json::from_str(chunk).map_err(|_| "a chunk is not JSON")?;
        if !chunk["error"].is_null() {
            return Err("it ends with an error");
        }
        pieces.extend(chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_stream_is_its_pieces_in_order() {
        let stream = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n: keep-alive\n\n\
                      data: {\"choices\":[{\"delta\":{\"content\":\"one \"}}]}\n\n\
                      data: {\"choices\":[{\"delta\":{\"content\":\"two\"}}]}\n\ndata: [DONE]\n\n";
        assert_eq!(pieces(stream).unwrap(), ["one ", "two"]);
    }

    #[test]
    fn a_stream_that_breaks_off_or_carries_an_error_is_none() {
        let begun = "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n";
        assert!(pieces(begun).is_err());
        assert!(pieces(&format!("{begun}data: {{\"error\":{{}}}}\n\ndata: [DONE]\n\n")).is_err());
        assert!(pieces("data: [DONE]\n\n").unwrap().is_empty());
    }
}
