//! A web site for guests to reach: a real HTTP server on 127.0.0.1 that keeps every request.
//!
//! - `/echo`: the request's headers, as JSON in the body, and `authorization` again in the header `x-echo`.
//! - `/redirect?<url>`: 302 to that URL. `/hop/<n>`: 302 to `/hop/<n-1>`, and an answer at 0.
//! - `/hang`: no answer. `/meet/<n>`: an answer once `n` requests wait there.
//! - `/after/<n>`: `hello`, after `n` ms.
//! - `/packed`: an answer that says it is compressed. `/big/<n>`: `n` bytes.
//! - `/posted`: the request's method, headers and body, as JSON. `/flaky/<n>`: 503 until it was asked `n` times.
//! - `/weather/<city>`, `/issues`, `/items?page=<n>` (three pages): answers of a service, as JSON.
//! - `/search`: results as SearXNG writes them. Anything else: `hello`.
//!
//! The server ends with the [`Site`].

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// A request's body: more than any guest sends here.
const BODY_BYTES_MAX: usize = 4 << 20;

/// A request the site received.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub uri: String,
    /// Its headers.
    pub headers: HeaderMap,
}

/// The running server.
#[derive(Debug)]
pub struct Site {
    /// Its port.
    pub port: u16,
    visits: Arc<watch::Sender<Vec<Visit>>>,
    server: JoinHandle<()>,
}

impl Site {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("127.0.0.1 has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let visits = Arc::new(watch::Sender::default());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&visits));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a bound socket serves");
        });
        Site { port, visits, server }
    }

    /// `localhost:<port>`, to grant.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// The same site by another name: `127.0.0.1:<port>`.
    pub fn other_host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A URL by the first name.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host())
    }

    /// What was asked of it, oldest first.
    pub fn visits(&self) -> Vec<Visit> {
        self.visits.borrow().clone()
    }

    /// Forgets what was asked of it: for a test that measures memory.
    pub fn forget(&self) {
        self.visits.send_replace(Vec::new());
    }

    /// Waits until so many requests came; panics after ten seconds.
    pub async fn wait_for(&self, count: usize) {
        let mut visits = self.visits.subscribe();
        let wait = visits.wait_for(|visits| visits.len() >= count);
        drop(tokio::time::timeout(Duration::from_secs(10), wait).await.expect("they come within 10 s"));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(visits): State<Arc<watch::Sender<Vec<Visit>>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let visit = Visit {
        method: parts.method.to_string(),
        uri: parts.uri.to_string(),
        headers: parts.headers.clone(),
    };
    visits.send_modify(|all| all.push(visit));
    let path = parts.uri.path().to_owned();
    let (first, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let number: usize = rest.parse().unwrap_or_default();
    match first {
        "echo" => echo(&parts.headers),
        "redirect" => redirect(parts.uri.query().unwrap_or_default()),
        "hop" if number > 0 => redirect(&format!("/hop/{}", number - 1)),
        "hang" => std::future::pending().await,
        "meet" => {
            let here = |all: &Vec<Visit>| all.iter().filter(|visit| is_at(&visit.uri, &path)).count();
            drop(visits.subscribe().wait_for(|all| here(all) >= number).await);
            "met".into_response()
        }
        "after" => {
            tokio::time::sleep(Duration::from_millis(number as u64)).await;
            "hello".into_response()
        }
        "posted" => axum::Json(json!({
            "method": parts.method.as_str(),
            "headers": texts(&parts.headers),
            "body": String::from_utf8_lossy(&body),
        }))
        .into_response(),
        "flaky" => {
            let asked = visits.borrow().iter().filter(|visit| is_at(&visit.uri, &path)).count();
            if asked < number { StatusCode::SERVICE_UNAVAILABLE.into_response() } else { "well".into_response() }
        }
        "weather" => axum::Json(json!({ "city": rest, "temp_c": 21.5, "conditions": "clear" })).into_response(),
        "issues" => axum::Json(json!({ "total_count": 2, "items": [
            { "number": 1, "title": "It breaks", "html_url": "https://x.example/1", "labels": [{ "name": "bug" }] },
            { "number": 2, "title": "It is slow", "html_url": "https://x.example/2" },
        ]}))
        .into_response(),
        "items" => {
            let query = parts.uri.query().unwrap_or_default();
            let page: u32 = query.strip_prefix("page=").and_then(|page| page.parse().ok()).unwrap_or(1);
            let next = (page < 3).then(|| page + 1);
            let items: Vec<_> = (1..=2).map(|n| json!({ "name": format!("{page}{n}") })).collect();
            axum::Json(json!({ "items": items, "next": next })).into_response()
        }
        "packed" => ([(header::CONTENT_ENCODING, "gzip")], "not really").into_response(),
        "big" => "x".repeat(number).into_response(),
        "search" => axum::Json(json!({ "results": [
            { "title": "One", "url": "https://one.example", "content": "first" },
            { "title": "Two", "url": "https://two.example", "content": "second" },
        ]}))
        .into_response(),
        _ => "hello".into_response(),
    }
}

fn is_at(uri: &str, path: &str) -> bool {
    uri.parse::<Uri>().is_ok_and(|uri| uri.path() == path)
}

fn text(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn texts(headers: &HeaderMap) -> Map<String, Value> {
    headers.iter().map(|(name, value)| (name.to_string(), json!(text(value)))).collect()
}

fn echo(headers: &HeaderMap) -> Response {
    let again = headers.get(header::AUTHORIZATION).map(text).unwrap_or_default();
    let body = Body::from(Value::Object(texts(headers)).to_string());
    Response::builder().header("x-echo", again).body(body).expect("the header was one before")
}

fn redirect(to: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, to.to_owned())]).into_response()
}
