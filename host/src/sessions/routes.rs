//! `/v1/sessions/{id}`

use super::{SessionError, store};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, action::may, audit},
    http::{NoContent, Params},
};
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use uuid::Uuid;

/// A session in a path.
#[derive(Deserialize)]
pub struct SessionPath {
    id: String,
}

/// Deletes a session and its messages.
pub async fn delete(
    State(app): State<App>,
    allowed: Allowed<may::SessionsDelete>,
    Params(path): Params<SessionPath>,
) -> ApiResult<NoContent> {
    let session_id = Uuid::parse_str(&path.id).map_err(|_| SessionError::NotFound)?;
    let mut tx = app.tenant_tx(&allowed).await?;
    if !store::delete(&mut tx, session_id).await? {
        return Err(SessionError::NotFound.into());
    }
    audit::write(
        &app,
        &mut tx,
        &allowed,
        audit::Entry::ok("sessions.delete", format!("session/{session_id}")),
    )
    .await?;
    tx.commit().await?;
    Ok(NoContent)
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> ApiError {
        let text = error.to_string();
        match error {
            SessionError::NotFound => ApiError::not_found("session"),
            SessionError::Expired => ApiError::new(StatusCode::GONE, "session_expired", text),
            SessionError::Busy => ApiError::conflict("session_busy", text),
            SessionError::Full => ApiError::conflict("session_full", text),
            SessionError::Db(cause) => cause.into(),
        }
    }
}
