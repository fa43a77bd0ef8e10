//! What is to be removed from the object store: written down in the transaction that ends the rows which named it, tried
//! at once, and until it is gone (row M352). So a store that fails, or a host that dies in between, leaves nothing behind.

use super::{BATCH, store};
use crate::{app::App, sessions::artifacts::FilesError};
use sqlx::PgConnection;
use uuid::Uuid;

/// All that is kept of a session.
pub(super) fn folder(session_id: Uuid) -> String {
    format!("{session_id}/")
}

/// Writes down that all which is kept of these sessions, each with its app, is to be removed. To be called in the
/// transaction that deletes them.
///
/// # Errors
/// The database's.
pub(in crate::sessions) async fn owe_all(
    app: &App,
    conn: &mut PgConnection,
    sessions: impl Iterator<Item = (Uuid, Uuid)>,
) -> sqlx::Result<()> {
    let owed: Vec<_> = sessions.map(|(session_id, app_id)| (app_id, folder(session_id))).collect();
    store::owe(conn, &owed, app.now()).await
}

/// Removes all that is kept of these sessions, which were deleted. Nobody waits for a bucket.
pub(in crate::sessions) async fn remove(app: &App, sessions: &[Uuid]) {
    let owed: Vec<String> = sessions.iter().copied().map(folder).collect();
    for folder in &owed {
        remove_from_here(app, folder).await;
    }
    let work = {
        let app = app.clone();
        async move {
            if let Err(cause) = pay(&app, owed).await {
                tracing::warn!(%cause, "that artifacts were removed could not be written down; they are looked for again");
            }
        }
    };
    app.spawn(work);
}

/// Removes what this host has; what fails is tried again.
pub(super) async fn remove_from_here(app: &App, path: &str) {
    if let Err(cause) = app.artifacts.remove_from_here(path).await {
        tracing::warn!(%cause, path, "artifacts could not be removed; it is tried again");
    }
}

/// Removes what was written down, as far as the store does it now; whether it did all.
pub(super) async fn pay(app: &App, owed: Vec<String>) -> sqlx::Result<bool> {
    let (count, mut done) = (owed.len(), vec![]);
    for path in owed {
        match app.artifacts.remove(&path).await {
            Ok(()) => done.push(path),
            // Said once, when it began to fail.
            Err(FilesError::Bucket(_)) => {}
            Err(cause) => tracing::warn!(%cause, path, "an artifact could not be removed; it is tried again"),
        }
    }
    if !done.is_empty() {
        let mut tx = app.service_tx().await?;
        store::paid(&mut tx, &done).await?;
        tx.commit().await?;
    }
    Ok(done.len() == count)
}

/// Removes all that was written down and is due, until the store fails.
pub(super) async fn pay_all(app: &App) -> sqlx::Result<()> {
    loop {
        let owed = {
            let mut tx = app.service_tx().await?;
            let owed = store::due(&mut tx, app.now(), BATCH).await?;
            tx.commit().await?;
            owed
        };
        let count = owed.len();
        if !pay(app, owed).await? || count < BATCH {
            return Ok(());
        }
    }
}
