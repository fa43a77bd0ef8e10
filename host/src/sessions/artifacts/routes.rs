//! `/v1/sessions/{id}/artifacts`, `/v1/sessions/{id}/restore`

use super::{
    FilesError,
    restore::{self, RestoreError, RestoreInput},
    store,
};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, action::may},
    http::{Json, Page, Params},
    sessions::{SessionError, routes::SessionPath, store as sessions},
};
use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};

/// Lists what was made of a session, the latest first (rows M285, M302).
pub async fn list(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
    Params(path): Params<SessionPath>,
    page: Page,
) -> ApiResult<Json<Value>> {
    let session_id = path.session_id()?;
    let mut tx = app.tenant_tx(&allowed).await?;
    let session = sessions::find(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    if session.expires_at <= app.now() {
        return Err(SessionError::Expired.into());
    }
    let rows = store::list(&mut tx, session_id, page.after()?, page.fetch()).await?;
    Ok(Json(json!(page.of(rows, |row| row.artifact_id.to_string()))))
}

/// Brings a session back to what was kept of it (row M320).
pub async fn restore(
    State(app): State<App>,
    allowed: Allowed<may::SessionsWrite>,
    Params(path): Params<SessionPath>,
    Json(input): Json<RestoreInput>,
) -> ApiResult<Json<Value>> {
    let restored = restore::restore(&app, &allowed, path.session_id()?, input.artifact_id).await?;
    Ok(Json(json!(restored)))
}

impl From<RestoreError> for ApiError {
    fn from(error: RestoreError) -> ApiError {
        let text = error.to_string();
        match error {
            RestoreError::Manage(error) => error.into(),
            RestoreError::NoArtifact => ApiError::new(StatusCode::NOT_FOUND, "no_artifact", text),
            RestoreError::Corrupt { previous } => {
                ApiError::conflict("artifact_corrupt", text).with("previous", json!(previous))
            }
            RestoreError::Files(FilesError::Bucket(cause)) => {
                tracing::warn!(cause, "an artifact could not be read from the bucket");
                ApiError::unavailable(
                    "the artifact could not be read just now; nothing was changed, try again",
                )
            }
            RestoreError::Files(cause) => ApiError::internal("an artifact could not be read", cause),
        }
    }
}
