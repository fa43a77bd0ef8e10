//! Pictures that were made, kept for a day under an id of their own.
//!
//! They are in the control plane's database, so that they are the app's alone, go with it, and are in no backup of
//! their own. An app that keeps more than it may loses its oldest: what was just paid for is never refused.

use super::store;
use crate::{
    app::App,
    grants::{Allowed, InApp, action::may},
};
use bytes::Bytes;
use chrono::Duration;
use uuid::Uuid;

/// How long a picture is kept: to be fetched once, and again the same day.
pub const FILE_LIFE: Duration = Duration::hours(24);
/// What an app's pictures may hold together, in bytes: a hundred large ones.
pub const FILES_BYTES_PER_APP_MAX: i64 = 256 << 20;
/// How many expired ones go in one transaction, so that none is long.
const BATCH: i64 = 100;

/// One that was kept.
#[derive(Debug, sqlx::FromRow)]
pub struct File {
    /// What it is.
    pub media_type: String,
    /// What it holds.
    pub content: Vec<u8>,
}

/// Keeps a file; answers with the path it is under.
///
/// # Errors
/// The database's.
pub async fn keep(
    app: &App,
    allowed: &Allowed<may::AiInvoke>,
    media_type: &str,
    content: Bytes,
) -> sqlx::Result<String> {
    let file_id = app.new_id();
    let mut tx = app.tenant_tx(allowed).await?;
    let new = store::NewFile {
        file_id,
        app_id: allowed.app().app_id,
        media_type,
        content: &content,
        expires_at: app.now() + FILE_LIFE,
    };
    store::insert(&mut tx, new).await?;
    store::delete_oldest(&mut tx, FILES_BYTES_PER_APP_MAX).await?;
    tx.commit().await?;
    Ok(format!("/{}/v1/ai/files/{file_id}", allowed.app().slug))
}

/// A file that is still kept.
///
/// # Errors
/// The database's.
pub async fn find(app: &App, allowed: &Allowed<may::AiRead>, file_id: Uuid) -> sqlx::Result<Option<File>> {
    let mut tx = app.tenant_tx(allowed).await?;
    store::find(&mut tx, file_id, app.now()).await
}

/// Removes every file whose time is over.
///
/// # Errors
/// The database's.
pub async fn sweep(app: &App) -> sqlx::Result<()> {
    loop {
        let mut tx = app.service_tx().await?;
        let count = store::delete_expired(&mut tx, app.now(), BATCH).await?;
        tx.commit().await?;
        if count < BATCH.unsigned_abs() {
            return Ok(());
        }
    }
}
