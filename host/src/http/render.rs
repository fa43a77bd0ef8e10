//! Writes the body of an error, in the shape its route promises, and the
//! headers every answer carries.

use super::RequestContext;
use crate::error::ApiError;
use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderValue, StatusCode, header};

/// Renders an [`ApiError`] left in a response's extensions.
pub async fn render_errors(State(app): State<crate::app::App>, request: Request, next: Next) -> Response {
    let openai = is_openai_shaped(request.uri().path());
    let request_id =
        request.extensions().get::<RequestContext>().map(|c| c.request_id.clone()).unwrap_or_default();
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        write(&mut response, &error, openai, &request_id);
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    // Nothing here is the same for two callers unless a route says so.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if app.config.is_production() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}

fn write(response: &mut Response, error: &ApiError, openai: bool, request_id: &str) {
    let (content_type, body) = if openai {
        ("application/json", error.openai())
    } else {
        ("application/problem+json", error.problem(request_id))
    };
    for (name, value) in &error.headers {
        response.headers_mut().insert(name, value.clone());
    }
    if openai && error.status == StatusCode::PAYMENT_REQUIRED {
        response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body.to_string());
}

/// Whether clients of OpenAI's API call this path, under `/v1` or `/<app>/v1`.
pub fn is_openai_shaped(path: &str) -> bool {
    let rest = path.strip_prefix("/v1/").or_else(|| {
        let (_app, rest) = path.strip_prefix('/')?.split_once('/')?;
        rest.strip_prefix("v1/")
    });
    rest.is_some_and(|rest| {
        ["chat/completions", "models", "embeddings", "responses"].iter().any(|prefix| {
            rest.strip_prefix(prefix).is_some_and(|tail| tail.is_empty() || tail.starts_with('/'))
        })
    })
}
