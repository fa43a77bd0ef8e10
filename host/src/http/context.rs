//! What is known of a request before anything else: its id, and where it came from.

use crate::{
    app::App,
    limits::REQUEST_ID_CHARS_MAX,
    router,
    traces::{SpanKind, TraceContext, TraceSpan},
};
use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};
use tracing::Instrument;

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// In the extensions of every request.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The client's id for it, or ours (row M045).
    pub request_id: String,
    /// The client's address, through trusted proxies only.
    pub ip: Option<IpAddr>,
    /// Which trace it belongs to, as far as anybody says.
    pub trace: Option<TraceContext>,
}

/// Names the request, logs and counts it once it was answered.
pub async fn name_request(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let method = request.method().clone();
    // The template, never the path: a path may hold a token (row M007).
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", |path| path.as_str()).to_owned();
    let mut trace = trace(&app, &request, &route);
    let context = RequestContext {
        request_id: given_id(request.headers()).unwrap_or_else(|| app.new_id().to_string()),
        ip: client_ip(&app, &request),
        trace: trace.context(),
    };
    request.extensions_mut().insert(context.clone());

    let span = tracing::info_span!("request", request_id = %context.request_id, %method, route);
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status().as_u16(), started.elapsed());
    let ms = took.as_secs_f64() * 1e3;
    span.in_scope(|| match router::is_runners(&route) {
        // One for each piece of an answer.
        true => tracing::debug!(status, ms, "answered"),
        false => tracing::info!(status, ms, "answered"),
    });
    app.metrics.request(label(&method), &route, status, took);
    trace.set("http.response.status_code", u64::from(status));
    if response.status().is_server_error() {
        trace.failed(response.status().as_str());
    }

    if let Ok(id) = HeaderValue::from_str(&context.request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// How the client reaches us: as the operator says, or as it says itself. What is written to it, nobody else reads.
pub(crate) fn own_origin(app: &App, headers: &HeaderMap) -> String {
    if let Some(origin) = &app.config.base_url {
        return origin.clone();
    }
    let scheme = if app.config.is_production() { "https" } else { "http" };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let plain = |host: &&str| {
        host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
    };
    format!("{scheme}://{}", host.filter(plain).unwrap_or("localhost"))
}

/// The span of a request, to its answer's head; none of what monitors and runners ask for.
fn trace(app: &App, request: &Request, route: &str) -> TraceSpan {
    let method = label(request.method());
    let by_a_monitor = request.method() == Method::GET && router::is_public(request.method(), route);
    if by_a_monitor || router::is_runners(route) {
        return TraceSpan::none();
    }
    let parent = TraceContext::of(request.headers());
    let mut trace = TraceSpan::begin(app, parent, SpanKind::Server, &format!("{method} {route}"));
    trace.set("http.request.method", method);
    trace.set("http.route", route);
    trace
}

/// A method as a label: a client may make up as many methods as it likes.
fn label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

fn given_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let fine = !id.is_empty()
        && id.len() <= REQUEST_ID_CHARS_MAX
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'));
    fine.then(|| id.to_owned())
}

/// The peer, or what a trusted proxy says it forwarded: the last address that is not itself a trusted proxy.
fn client_ip(app: &App, request: &Request) -> Option<IpAddr> {
    let peer =
        request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical())?;
    let trusted = |ip: &IpAddr| app.config.trusted_proxies.contains(ip);
    if !trusted(&peer) {
        return Some(peer);
    }
    let forwarded = request.headers().get_all("x-forwarded-for").iter();
    let hops: Vec<&str> = forwarded.flat_map(|v| v.to_str().unwrap_or_default().split(',')).collect();
    // From the nearest hop on, and no further than the first that says nothing we understand: what is
    // beyond it, the client itself may have written.
    let understood = hops.iter().rev().map_while(|hop| address(hop));
    let mut last = peer;
    for hop in understood {
        last = hop;
        if !trusted(&hop) {
            break;
        }
    }
    Some(last)
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`: proxies write all of these.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|at| at.ip());
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(with_port).map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_understood_with_and_without_port() {
        for (text, ip) in [
            (" 192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(address(text), Some(ip.parse().unwrap()), "{text}");
        }
        for text in ["", "unknown", "_hidden", "example.com", "192.0.2"] {
            assert_eq!(address(text), None, "{text}");
        }
    }
}
