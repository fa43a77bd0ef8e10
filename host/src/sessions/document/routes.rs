//! `/v1/sessions/{id}/export.json`, `/v1/sessions/import`

use super::{Document, export, import};
use crate::{
    app::App,
    error::ApiResult,
    grants::{Acting, Allowed, action::may},
    http::{Json, Params, body},
    limits::SESSION_DOCUMENT_BYTES_MAX,
    sessions::routes::SessionPath,
};
use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// Writes a session out (rows M319, M349).
pub async fn get(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
) -> ApiResult<Response> {
    let session_id = path.session_id()?;
    let document = export::stream(&app, Acting::of(&allowed), session_id).await?;
    let name = format!("attachment; filename=\"session-{session_id}.json\"");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment")),
        ),
    ];
    Ok((headers, Body::from_stream(document)).into_response())
}

/// Makes a session of what was written out (row M320).
pub async fn post(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    request: Request,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let document: Document = body::fit(body::read_json(request, SESSION_DOCUMENT_BYTES_MAX).await?)?;
    let session = import::import(&app, &allowed, document).await?;
    let mut shown = json!(session);
    shown["stream"] = json!(format!("/v1/sessions/{}/stream", session.session_id));
    Ok((StatusCode::CREATED, Json(shown)))
}
