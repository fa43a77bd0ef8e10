//! Artifacts: what a session comes to, kept in the object store, to go back to.
//!
//! After each turn its document ([`super::document`]) is written there, and a
//! row says where and with which checksum. The latest [`ARTIFACTS_KEPT`] stay.
//! A session is brought back to one by [`restore`]: the same id, the messages as
//! they were, and nothing runs again. They go with the session, or when they are
//! older than `ARTIFACTS_RETENTION`. What is to be removed is written down with
//! the end of the row that named it, and tried until it is gone (`removal`). The
//! store is a directory of this host, or a bucket (`files`).
//!
//! [`ARTIFACTS_KEPT`]: crate::limits::ARTIFACTS_KEPT

mod bucket;
mod files;
mod removal;
pub mod restore;
pub mod routes;
pub(crate) mod store;

pub use bucket::{BucketConfig, parse as parse_bucket_url};
pub use files::{Files, FilesError};
pub(super) use removal::{owe_all, remove};

use super::{SessionError, document::export};
use crate::{
    app::App,
    grants::{Acting, InApp},
    limits::{ARTIFACTS_KEPT, SESSION_DOCUMENT_BYTES_MAX},
};
use bytes::{Bytes, BytesMut};
use chrono::Duration;
use futures_util::StreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::pin::pin;
use uuid::Uuid;

/// A document of a session, among artifacts.
const SESSION_JSON: &str = "session_json";
/// How many sessions are looked up at once, in sweeping.
const BATCH: usize = 500;

/// Why nothing was kept.
#[derive(Debug, thiserror::Error)]
enum SaveError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("the session could not be read or written")]
    Db(#[from] sqlx::Error),
    #[error("the object store failed")]
    Files(#[from] FilesError),
}

/// Keeps what a session has come to, in the background: a turn that has ended has ended, whether or not this works.
pub(super) fn save_later(app: &App, acting: &Acting, session_id: Uuid) {
    let work = {
        let (app, acting) = (app.clone(), acting.clone());
        async move {
            match save(&app, &acting, session_id).await {
                Ok(()) | Err(SaveError::Session(SessionError::NotFound | SessionError::Expired)) => {}
                Err(cause) => {
                    tracing::error!(%cause, %session_id, "a session could not be kept as an artifact");
                }
            }
        }
    };
    app.spawn(work);
}

async fn save(app: &App, acting: &Acting, session_id: Uuid) -> Result<(), SaveError> {
    let Some(bytes) = document(app, acting, session_id).await? else {
        tracing::warn!(%session_id, "a session is larger than a document may be; it is kept in the database alone");
        return Ok(());
    };
    let artifact_id = app.new_id();
    let path = format!("{session_id}/{artifact_id}.json");
    let new = store::Artifact {
        artifact_id,
        kind: SESSION_JSON.to_owned(),
        state: "done".to_owned(),
        path: Some(path.clone()),
        bytes: i64::try_from(bytes.len()).ok(),
        sha256: Some(hex::encode(Sha256::digest(&bytes))),
        location: None,
        detail: json!({}),
        created_at: app.now(),
        ended_at: Some(app.now()),
    };
    // Before the row that names it.
    app.artifacts.put(&path, bytes).await?;
    let mut tx = app.tenant_tx(acting).await?;
    let app_id = acting.app().app_id;
    let old = if super::store::lock(&mut tx, session_id).await?.is_some() {
        store::insert(&mut tx, (session_id, app_id), &new).await?;
        store::forget_older(&mut tx, session_id, SESSION_JSON, ARTIFACTS_KEPT).await?
    } else {
        // Deleted meanwhile.
        vec![path]
    };
    let owed: Vec<_> = old.iter().map(|path| (app_id, path.clone())).collect();
    store::owe(tx.conn(), &owed, app.now()).await?;
    tx.commit().await?;
    removal::pay(app, old).await?;
    Ok(())
}

/// The document of a session, whole; none where it is too large.
async fn document(app: &App, acting: &Acting, session_id: Uuid) -> Result<Option<Bytes>, SaveError> {
    let mut pieces = pin!(export::stream(app, acting.clone(), session_id).await?);
    let mut whole = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        whole.extend_from_slice(&piece?);
        if whole.len() > SESSION_DOCUMENT_BYTES_MAX {
            return Ok(None);
        }
    }
    Ok(Some(whole.freeze()))
}

/// Removes what this host keeps of sessions that are not there any more.
pub(super) async fn sweep(app: &App) -> sqlx::Result<()> {
    let folders = match app.artifacts.folders_here().await {
        Ok(folders) => folders,
        Err(cause) => {
            tracing::warn!(%cause, "artifacts could not be listed");
            return Ok(());
        }
    };
    let ids: Vec<Uuid> = folders.iter().filter_map(|name| Uuid::parse_str(name).ok()).collect();
    for batch in ids.chunks(BATCH) {
        let gone = {
            let mut tx = app.service_tx().await?;
            store::not_there(&mut tx, batch).await?
        };
        for session_id in gone {
            removal::remove_from_here(app, &removal::folder(session_id)).await;
        }
    }
    Ok(())
}

/// Brings to the bucket what waits for it, and removes what is older than it may be and what was not removed yet. Whoever calls can wait: a bucket
/// may take its time.
///
/// # Errors
/// The database's. What the store does not do now is tried again the next time; it says so itself.
pub async fn tidy(app: &App) -> sqlx::Result<()> {
    match app.artifacts.bring().await {
        Ok(0) => {}
        Ok(brought) => tracing::info!(brought, "artifacts that had waited are in the bucket"),
        // Said once, when it began to fail.
        Err(FilesError::Bucket(_)) => {}
        Err(cause) => tracing::warn!(%cause, "artifacts that wait could not be read"),
    }
    let now = app.now();
    let since = now - Duration::from_std(app.config.artifacts_retention).unwrap_or(Duration::MAX);
    loop {
        let mut tx = app.service_tx().await?;
        let old = store::forget_before(&mut tx, since, now, BATCH).await?;
        let count = old.len();
        let owed: Vec<_> =
            old.into_iter().filter_map(|(app_id, path)| path.map(|path| (app_id, path))).collect();
        store::owe(tx.conn(), &owed, now).await?;
        tx.commit().await?;
        if count < BATCH {
            break;
        }
    }
    if app.artifacts.bucket_is_up() != Some(false) {
        removal::pay_all(app).await?;
    }
    match app.artifacts.remove_older(since, now).await {
        Ok(()) | Err(FilesError::Bucket(_)) => {}
        Err(cause) => tracing::warn!(%cause, "artifacts whose time is over could not be looked for"),
    }
    Ok(())
}
