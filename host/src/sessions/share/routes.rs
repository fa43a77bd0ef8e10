//! `/v1/sessions/{id}/share`, `/s/{token}`

use super::{ShareError, ShareInput, open, share, unshare};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, action::may},
    http::{Json, NoContent, Page, Params, RequestContext, own_origin},
    sessions::routes::SessionPath,
};
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

/// A link in a path.
#[derive(Deserialize)]
pub struct LinkPath {
    token: String,
}

/// Makes a link to the conversation (row M288).
pub async fn create(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
    headers: HeaderMap,
    Json(input): Json<ShareInput>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let link = share(&app, &allowed, path.session_id()?, &input).await?;
    let url = link.url(&own_origin(&app, &headers));
    Ok((StatusCode::CREATED, Json(json!({ "url": url, "expires_at": link.expires_at }))))
}

/// Ends the link (row M288).
pub async fn delete(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
) -> ApiResult<NoContent> {
    unshare(&app, &allowed, path.session_id()?).await?;
    Ok(NoContent)
}

/// Shows a conversation to whoever has its link (row M288).
pub async fn read(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    Params(path): Params<LinkPath>,
    page: Page,
) -> Response {
    let mut response = match shown(&app, &context, &path.token, &page).await {
        Ok(shown) => Json(shown).into_response(),
        Err(error) => error.into_response(),
    };
    // The link is the secret: it goes on to no other site, into no cache and into no index.
    let headers = [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn shown(app: &App, context: &RequestContext, token: &str, page: &Page) -> ApiResult<Value> {
    app.rate_limits.shared_read(context.ip)?;
    let after = page.after::<i32>()?.unwrap_or_default();
    let opened = open(app, token, after, page.fetch()).await?;
    let mut opened = opened.ok_or_else(|| ApiError::not_found("resource"))?;
    let paged = page.of(std::mem::take(&mut opened.messages), |(seq, _)| seq.to_string());
    let mut shown = json!(opened);
    shown["messages"] = paged.data.into_iter().map(|(_, message)| message).collect();
    shown["next_cursor"] = json!(paged.next_cursor);
    shown["has_more"] = json!(paged.has_more);
    Ok(shown)
}

impl From<ShareError> for ApiError {
    fn from(error: ShareError) -> ApiError {
        let text = error.to_string();
        match error {
            ShareError::Invalid(fields) => ApiError::invalid(fields),
            ShareError::Session(error) => error.into(),
            ShareError::Off => ApiError::new(StatusCode::FORBIDDEN, "sharing_off", text),
        }
    }
}
