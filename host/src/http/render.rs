//! Writes the body of an error, in the shape its route promises, and the
//! headers every answer carries.

use super::RequestContext;
use crate::{error::ApiError, opencode};
use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderValue, StatusCode, header};

/// Renders an [`ApiError`] left in a response's extensions.
pub async fn render_errors(State(app): State<crate::app::App>, request: Request, next: Next) -> Response {
    let shape = Shape::of(request.uri().path());
    let request_id =
        request.extensions().get::<RequestContext>().map(|c| c.request_id.clone()).unwrap_or_default();
    let mut response = next.run(request).await;
    write_error(&mut response, shape, &request_id);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // A page says which style is its own.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    // Nothing here is the same for two callers unless a route says so.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if app.config.is_production() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}

/// Writes the body of the [`ApiError`] that an answer is, if it is one.
pub(crate) fn write_error(response: &mut Response, shape: Shape, request_id: &str) {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        write(response, &error, shape, request_id);
    }
}

fn write(response: &mut Response, error: &ApiError, shape: Shape, request_id: &str) {
    let (content_type, body) = match shape {
        Shape::OpenAi => ("application/json", error.openai()),
        Shape::Anthropic => ("application/json", error.anthropic(request_id)),
        Shape::OpenCode => ("application/json", opencode::render::body(error)),
        Shape::Problem => ("application/problem+json", error.problem(request_id)),
    };
    for (name, value) in &error.headers {
        response.headers_mut().insert(name, value.clone());
    }
    if shape == Shape::OpenCode {
        *response.status_mut() = opencode::render::status(error);
        if error.status == StatusCode::UNAUTHORIZED {
            // Its clients know no other scheme.
            let basic = HeaderValue::from_static("Basic realm=\"opg\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
        }
    }
    if matches!(shape, Shape::OpenAi | Shape::Anthropic) && error.status == StatusCode::PAYMENT_REQUIRED {
        response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body.to_string());
}

/// The shape of the errors of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// RFC 9457.
    Problem,
    /// Where clients of OpenAI's API call.
    OpenAi,
    /// Where clients of Anthropic's API call.
    Anthropic,
    /// Where opencode's clients call.
    OpenCode,
}

impl Shape {
    /// The shape of a path under `/v1`, `/<app>/v1` or `/t/<app>/opencode`.
    pub fn of(path: &str) -> Shape {
        let mount = path.strip_prefix("/t/").and_then(|rest| rest.split_once('/'));
        if mount.is_some_and(|(_app, rest)| rest == "opencode" || rest.starts_with("opencode/")) {
            return Shape::OpenCode;
        }
        let rest = path.strip_prefix("/v1/").or_else(|| {
            let (app, rest) = path.strip_prefix('/')?.split_once('/')?;
            // The operator's routes stand there as well, and are nobody's dialect.
            rest.strip_prefix("v1/").filter(|_| app != "platform")
        });
        let is_under = |prefix: &&str| {
            rest.and_then(|rest| rest.strip_prefix(prefix))
                .is_some_and(|tail| tail.is_empty() || tail.starts_with('/'))
        };
        if ["chat/completions", "models", "embeddings", "responses", "ai"].iter().any(is_under) {
            Shape::OpenAi
        } else if is_under(&"messages") {
            Shape::Anthropic
        } else {
            Shape::Problem
        }
    }
}
