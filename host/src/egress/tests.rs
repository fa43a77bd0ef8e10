//! Against servers on the loopback interface, which is exactly what the guard must not let through by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::any;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use url::Url;

use super::*;

struct Server {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(router: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, task }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Says what arrived: method, sorted header names and values, body.
async fn echo(request: Request) -> String {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut headers: Vec<String> =
        parts.headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
    headers.sort();
    format!("{} {}\n{}\n{}", parts.method, parts.uri, headers.join("\n"), String::from_utf8_lossy(&body))
}

fn redirect_to(url: impl Into<String>, status: StatusCode) -> Router {
    let url = url.into();
    Router::new().route(
        "/go",
        any(move || async move { (status, [(header::LOCATION, url)], "moved").into_response() }),
    )
}

fn open() -> Egress {
    Egress::new(EgressPolicy { allow_private: true, ..EgressPolicy::default() }).unwrap()
}

fn closed() -> Egress {
    Egress::new(EgressPolicy::default()).unwrap()
}

fn anything(_: &Method, _: &Url) -> Result<(), Refusal> {
    Ok(())
}

fn get(url: Url) -> EgressRequest<'static> {
    EgressRequest {
        method: Method::GET,
        url,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        timeout: Duration::from_secs(20),
        response_bytes_max: 10_000,
        redirects_max: 3,
        check: &anything,
    }
}

fn text(response: &EgressResponse) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

#[tokio::test]
async fn a_request_goes_out_whole_and_comes_back_whole() {
    let server = Server::start(Router::new().fallback(echo)).await;
    let mut headers = HeaderMap::new();
    headers.insert("x-mine", HeaderValue::from_static("yes"));
    headers.insert(header::HOST, HeaderValue::from_static("internal.example"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("3"));
    let request =
        EgressRequest { method: Method::PUT, headers, body: "hello".into(), ..get(server.url("/a?b=c#d")) };
    let response = open().send(request).await.unwrap();
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(response.url, server.url("/a?b=c"));
    let expected = format!(
        "PUT /a?b=c\naccept=*/*\ncontent-length=5\nhost={}\nuser-agent={USER_AGENT}\nx-mine=yes\nhello",
        server.address
    );
    assert_eq!(text(&response), expected, "nothing added, nothing about the connection taken over");
}

#[tokio::test]
async fn a_private_address_is_refused_by_number_and_by_name() {
    let touched = Arc::new(AtomicBool::new(false));
    let router = {
        let touched = touched.clone();
        Router::new().fallback(move || async move { touched.store(true, Ordering::SeqCst) })
    };
    let server = Server::start(router).await;
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost", "localhost.", "0x7f.1", "[::ffff:127.0.0.1]", "0"] {
        let url = Url::parse(&format!("http://{host}:{port}/")).unwrap();
        let error = closed().send(get(url.clone())).await.unwrap_err();
        assert!(matches!(error, EgressError::Refused(Refusal::Private { .. })), "{host}: {error}");
        let error = closed().stream(streaming(url)).await.unwrap_err();
        assert!(matches!(error, EgressError::Refused(Refusal::Private { .. })), "{host}: {error}");
    }
    assert!(!touched.load(Ordering::SeqCst));
    open().send(get(server.url("/"))).await.unwrap();
    assert!(touched.load(Ordering::SeqCst), "the test's server works");
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_refused() {
    let inside = Server::start(Router::new().fallback(echo)).await;
    for location in [
        inside.url("/").to_string(),
        format!("//localhost:{}/", inside.address.port()),
        "http://169.254.169.254/latest/meta-data".into(),
        "file:///etc/passwd".into(),
    ] {
        let outside = Server::start(redirect_to(&location, StatusCode::FOUND)).await;
        let egress = Egress::new(EgressPolicy {
            private_allowed: vec![("127.0.0.1".into(), outside.address.port())],
            ..EgressPolicy::default()
        });
        let error = egress.unwrap().send(get(outside.url("/go"))).await.unwrap_err();
        let refused = matches!(error, EgressError::Refused(Refusal::Private { .. } | Refusal::Scheme));
        assert!(refused, "{location}: {error}");
    }
}

#[tokio::test]
async fn the_callers_rule_is_asked_for_every_hop() {
    let last = Server::start(Router::new().fallback(echo)).await;
    let first = Server::start(redirect_to(last.url("/end"), StatusCode::FOUND)).await;
    let forbidden = last.address.port();
    let check = move |_: &Method, url: &Url| match url.port() {
        Some(port) if port == forbidden => Err(Refusal::NotAllowed("not on the list".into())),
        _ => Ok(()),
    };
    let request = EgressRequest { check: &check, ..get(first.url("/go")) };
    let error = open().send(request).await.unwrap_err();
    assert!(matches!(error, EgressError::Refused(Refusal::NotAllowed(_))), "{error}");
    assert_eq!(open().send(get(first.url("/go"))).await.unwrap().url, last.url("/end"));
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    let other = Server::start(Router::new().fallback(echo)).await;
    let mut secret = HeaderValue::from_static("key-1");
    secret.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", secret);
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer key-2"));
    headers.insert(header::COOKIE, HeaderValue::from_static("key-3"));
    headers.insert("x-plain", HeaderValue::from_static("kept"));
    let across = Server::start(redirect_to(other.url("/"), StatusCode::TEMPORARY_REDIRECT)).await;
    let request = EgressRequest { headers: headers.clone(), ..get(across.url("/go")) };
    let response = open().send(request).await.unwrap();
    assert!(
        !text(&response).contains("key-") && text(&response).contains("x-plain=kept"),
        "{}",
        text(&response)
    );

    let within = Server::start(redirect_to("/end", StatusCode::TEMPORARY_REDIRECT).fallback(echo)).await;
    let response = open().send(EgressRequest { headers, ..get(within.url("/go")) }).await.unwrap();
    for key in ["key-1", "key-2", "key-3"] {
        assert!(text(&response).contains(key), "{key}");
    }
}

#[tokio::test]
async fn a_redirect_changes_the_method_as_the_standard_says() {
    for (status, method, expected) in [
        (StatusCode::MOVED_PERMANENTLY, Method::POST, "GET"),
        (StatusCode::FOUND, Method::POST, "GET"),
        (StatusCode::FOUND, Method::PUT, "PUT"),
        (StatusCode::SEE_OTHER, Method::PUT, "GET"),
        (StatusCode::SEE_OTHER, Method::POST, "GET"),
        (StatusCode::TEMPORARY_REDIRECT, Method::POST, "POST"),
        (StatusCode::PERMANENT_REDIRECT, Method::PATCH, "PATCH"),
    ] {
        let server = Server::start(redirect_to("/end", status).fallback(echo)).await;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let request = EgressRequest {
            method: method.clone(),
            headers,
            body: "payload".into(),
            ..get(server.url("/go"))
        };
        let response = open().send(request).await.unwrap();
        let arrived = text(&response);
        assert!(arrived.starts_with(&format!("{expected} /end")), "{status} {method}: {arrived}");
        let kept = expected == method.as_str();
        assert_eq!((arrived.contains("payload"), arrived.contains("content-type")), (kept, kept), "{status}");
    }
}

#[tokio::test]
async fn redirects_are_counted() {
    let server = Server::start(Router::new().route("/go", any(async || Redirect::temporary("/go")))).await;
    let error = open().send(get(server.url("/go"))).await.unwrap_err();
    assert!(matches!(error, EgressError::TooManyRedirects { redirects_max: 3 }), "{error}");
    let request = EgressRequest { redirects_max: 0, ..get(server.url("/go")) };
    assert!(matches!(open().send(request).await, Err(EgressError::TooManyRedirects { redirects_max: 0 })));
}

#[tokio::test]
async fn too_large_is_cut_whether_announced_or_not() {
    let announced = any(async || vec![b'x'; 10_001]);
    let endless = any(async || {
        Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1000]))))
    });
    let exact = any(async || vec![b'x'; 10_000]);
    let router =
        Router::new().route("/announced", announced).route("/endless", endless).route("/exact", exact);
    let server = Server::start(router).await;
    for path in ["/announced", "/endless"] {
        let error = open().send(get(server.url(path))).await.unwrap_err();
        assert!(matches!(error, EgressError::TooLarge { bytes_max: 10_000 }), "{path}: {error}");
    }
    assert_eq!(open().send(get(server.url("/exact"))).await.unwrap().body.len(), 10_000);
    let stream = open().stream(streaming(server.url("/endless"))).await.unwrap();
    assert!(matches!(stream.collect(500).await, Err(EgressError::TooLarge { bytes_max: 500 })));
}

async fn hang() -> Response {
    std::future::pending().await
}

/// A piece every 50 ms, for ever.
async fn drip() -> Body {
    Body::from_stream(stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
    }))
}

#[tokio::test]
async fn too_slow_is_cut_even_when_it_drips() {
    let server = Server::start(Router::new().route("/hang", any(hang)).route("/drip", any(drip))).await;
    for path in ["/hang", "/drip"] {
        let started = Instant::now();
        let request = EgressRequest { timeout: Duration::from_millis(300), ..get(server.url(path)) };
        let error = open().send(request).await.unwrap_err();
        assert!(matches!(error, EgressError::Timeout { .. }), "{path}: {error}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn an_error_repeats_neither_the_query_nor_a_header() {
    // Nothing listens here any more.
    let gone = { Server::start(Router::new()).await.url("/path?token=hunter2") };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("hunter2"));
    let garbage = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = garbage.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut socket, _)) = garbage.accept().await {
            socket.write_all(b"hunter3 is no HTTP\r\n\r\n").await.ok();
        }
    });
    let garbage = Url::parse(&format!("http://{address}/?token=hunter2")).unwrap();
    for url in [gone, garbage] {
        let error = open().send(EgressRequest { headers: headers.clone(), ..get(url) }).await.unwrap_err();
        let told = matches!(error, EgressError::Connect { .. } | EgressError::Exchange { .. });
        assert!(told && !format!("{error} {error:?}").contains("hunter"), "{error:?}");
    }
}

fn streaming(url: Url) -> StreamRequest {
    StreamRequest {
        method: Method::POST,
        url,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        head_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_millis(500),
    }
}

#[tokio::test]
async fn a_stream_arrives_piece_by_piece_and_follows_no_redirect() {
    let server = Server::start(redirect_to("/drip", StatusCode::FOUND).route("/drip", any(drip))).await;
    let mut stream = open().stream(streaming(server.url("/drip"))).await.unwrap();
    assert_eq!(stream.status, StatusCode::OK);
    for _ in 0..3 {
        assert_eq!(stream.chunk().await.unwrap().unwrap(), "x");
    }
    assert_eq!(open().stream(streaming(server.url("/go"))).await.unwrap().status, StatusCode::FOUND);
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_an_error_and_then_the_end() {
    let silent = any(async || {
        let one = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"x"))]);
        Body::from_stream(one.chain(stream::pending()))
    });
    let server = Server::start(Router::new().route("/silent", silent).route("/hang", any(hang))).await;
    let stream = open().stream(streaming(server.url("/silent"))).await.unwrap();
    let pieces: Vec<_> = stream.into_stream().collect().await;
    assert!(matches!(&pieces[..], [Ok(_), Err(EgressError::Timeout { .. })]), "{pieces:?}");

    let request =
        StreamRequest { head_timeout: Duration::from_millis(200), ..streaming(server.url("/hang")) };
    assert!(matches!(open().stream(request).await, Err(EgressError::Timeout { .. })));
}

#[tokio::test]
async fn dropping_a_stream_tells_the_upstream() {
    struct Told(Arc<AtomicBool>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let cancelled = Arc::new(AtomicBool::new(false));
    let router = {
        let cancelled = cancelled.clone();
        Router::new().fallback(move || async move {
            let told = Told(cancelled);
            Body::from_stream(stream::unfold(told, |told| async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), told))
            }))
        })
    };
    let server = Server::start(router).await;
    let mut stream = open().stream(streaming(server.url("/"))).await.unwrap();
    stream.chunk().await.unwrap();
    drop(stream);
    let started = Instant::now();
    while !cancelled.load(Ordering::SeqCst) {
        assert!(started.elapsed() < Duration::from_secs(10), "the upstream was not told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_redirect_from_https_to_http_is_not_followed() {
    // No TLS server here: the rule itself.
    let refused = send::tests::redirect_from("https://example.com/a", "http://example.com/b");
    assert_eq!(refused, Err(Refusal::Downgrade));
    assert_eq!(
        send::tests::redirect_from("http://example.com/a", "https://example.com/b"),
        Ok(Some("https://example.com/b".into()))
    );
}

/// A server that answers with these bytes, again and again where `every` says how often, until it is hung up on.
async fn raw(head: Vec<u8>, every: Option<Duration>) -> Url {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = head.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                while stream.write_all(&head).await.is_ok() {
                    match every {
                        Some(every) => tokio::time::sleep(every).await,
                        None => return drop(stream.shutdown().await),
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn headers_of_an_answer_are_bounded_in_number_and_size() {
    let answer =
        |headers: String| format!("HTTP/1.1 200 OK\r\n{headers}content-length: 2\r\n\r\nok").into_bytes();
    let many: String = (0..5000).map(|n| format!("x-{n}: y\r\n")).collect();
    let large: String = (0..90).map(|n| format!("x-{n}: {}\r\n", "y".repeat(1000))).collect();
    let huge = format!("x: {}\r\n", "y".repeat(10 << 20));
    for headers in [many, large, huge] {
        let error = open().send(get(raw(answer(headers), None).await)).await.unwrap_err();
        let bounded = matches!(error, EgressError::TooManyHeaders { .. } | EgressError::Exchange { .. });
        assert!(bounded, "{error}");
    }
    let some: String = (0..50).map(|n| format!("x-{n}: {}\r\n", "y".repeat(500))).collect();
    assert_eq!(text(&open().send(get(raw(answer(some), None).await)).await.unwrap()), "ok");
}

#[tokio::test]
async fn an_answer_that_never_begins_or_never_ends_is_cut_at_the_deadline() {
    let early = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".to_vec();
    let dripping_head = b"x".to_vec();
    for (bytes, what) in [(early, "endless 103"), (dripping_head, "a head that is no head, byte by byte")] {
        let url = raw(bytes, Some(Duration::from_millis(5))).await;
        let begun = Instant::now();
        let request = EgressRequest { timeout: Duration::from_millis(300), ..get(url) };
        let error = open().send(request).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(2), "{what}: {:?}", begun.elapsed());
        assert!(
            matches!(error, EgressError::Timeout { .. } | EgressError::Exchange { .. }),
            "{what}: {error}"
        );
    }
}

#[tokio::test]
async fn each_hop_is_judged_with_its_own_method() {
    let last = Server::start(Router::new().fallback(echo)).await;
    let first = Server::start(redirect_to(last.url("/end"), StatusCode::FOUND)).await;
    let asked = std::sync::Mutex::new(vec![]);
    let check = |method: &Method, url: &Url| {
        asked.lock().unwrap().push(format!("{method} {}", url.path()));
        Ok(())
    };
    let request = EgressRequest { method: Method::POST, check: &check, ..get(first.url("/go")) };
    open().send(request).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["POST /go", "GET /end"]);
}
