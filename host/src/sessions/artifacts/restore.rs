//! Bringing a session back to what was kept of it.

use super::{FilesError, SESSION_JSON, store};
use crate::{
    app::App,
    grants::{Allowed, InApp, action::may, audit},
    sessions::{
        SessionError,
        branch::at_rest,
        document::{self, Document},
        log::{self, Draft, Kind},
        manage::ManageError,
        store as sessions,
    },
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Which artifact, as it is sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreInput {
    /// Its id; the latest, unless given.
    pub artifact_id: Option<Uuid>,
}

/// Why a session was not brought back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The session, or what runs in it.
    #[error(transparent)]
    Manage(#[from] ManageError),
    /// There is no such artifact.
    #[error("no such artifact; GET …/artifacts lists them")]
    NoArtifact,
    /// What is kept is not what was kept.
    #[error("this artifact is damaged; nothing was changed")]
    Corrupt {
        /// The one before it, as it is listed.
        previous: Option<Value>,
    },
    /// The object store.
    #[error("the artifact could not be read")]
    Files(#[from] FilesError),
}

impl From<sqlx::Error> for RestoreError {
    fn from(cause: sqlx::Error) -> RestoreError {
        RestoreError::Manage(cause.into())
    }
}

/// Puts the messages of an artifact in the place of those the session has.
///
/// # Errors
/// [`RestoreError`]; nothing was changed then.
pub(crate) async fn restore(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    session_id: Uuid,
    artifact_id: Option<Uuid>,
) -> Result<sessions::Shown, RestoreError> {
    let (artifact, previous) = {
        let mut tx = app.tenant_tx(allowed).await?;
        sessions::find(&mut tx, session_id).await?.ok_or(ManageError::from(SessionError::NotFound))?;
        let mut kept = store::of_kind(&mut tx, session_id, SESSION_JSON).await?.into_iter();
        let wanted = kept.by_ref().find(|artifact| artifact_id.is_none_or(|id| artifact.artifact_id == id));
        (wanted.ok_or(RestoreError::NoArtifact)?, kept.next())
    };
    let corrupt = || RestoreError::Corrupt { previous: previous.as_ref().map(|artifact| json!(artifact)) };
    let path = artifact.path.as_deref().ok_or_else(corrupt)?;
    let bytes = app.artifacts.get(path).await?.ok_or_else(corrupt)?;
    if artifact.sha256 != Some(hex::encode(Sha256::digest(&bytes))) {
        return Err(corrupt());
    }
    // What an older release wrote is read by its name; of a newer one's this one knows nothing.
    let document: Document = serde_json::from_slice(&bytes).map_err(|_| corrupt())?;

    let mut tx = app.tenant_tx(allowed).await?;
    at_rest(app, &mut tx, session_id).await?;
    let of = (session_id, allowed.app().app_id);
    document::replace(&mut tx, of, &document.messages).await?;
    sessions::set_reverted(&mut tx, session_id, None).await?;
    sessions::set_context(tx.conn(), session_id, None).await?;
    let told = Draft::new(Kind::SessionUpdated, None, json!({ "restored_from": artifact.artifact_id }));
    let written = log::write(app, tx.conn(), of, vec![told]).await?;
    let entry = audit::Entry::ok("sessions.restore", format!("session/{session_id}"));
    audit::write(app, &mut tx, allowed, entry.detail(json!({ "artifact": artifact.artifact_id }))).await?;
    let shown = sessions::find(&mut tx, session_id).await?;
    let shown = shown.ok_or(ManageError::from(SessionError::NotFound))?;
    tx.commit().await?;
    written.tell(app);
    Ok(shown)
}
