//! What is known of a request before anything else: its id, and where it came from.

use crate::{app::App, limits::REQUEST_ID_CHARS_MAX};
use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue};
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
}

/// Names the request, logs and counts it once it was answered.
pub async fn name_request(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let context = RequestContext {
        request_id: given_id(request.headers()).unwrap_or_else(|| app.new_id().to_string()),
        ip: client_ip(&app, &request),
    };
    let method = request.method().clone();
    // The template, never the path: a path may hold a token (row M007).
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", |path| path.as_str()).to_owned();
    request.extensions_mut().insert(context.clone());

    let span = tracing::info_span!("request", request_id = %context.request_id, %method, route);
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status().as_u16(), started.elapsed());
    span.in_scope(|| tracing::info!(status, ms = took.as_secs_f64() * 1e3, "answered"));
    app.metrics.request(method.as_str(), &route, status, took);

    if let Ok(id) = HeaderValue::from_str(&context.request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
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
    let forwarded =
        request.headers().get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<IpAddr> =
        forwarded.flat_map(|v| v.split(',')).filter_map(|ip| ip.trim().parse().ok()).collect();
    Some(hops.into_iter().rev().find(|ip| !trusted(ip)).unwrap_or(peer))
}
