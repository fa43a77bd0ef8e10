//! Removing what is kept no longer: versions, what deleted apps had, and bytes that nothing refers to. May be broken off
//! anywhere, and done by several hosts at once.

use super::{VERSIONS_AT_ONCE, look_at, store, trim};
use crate::{
    app::App,
    db_proxy::limits::KEPT_AFTER_DELETE,
    limits::VERSIONS_KEPT,
    registry::{blobs::BlobError, store::lock},
};
use futures_util::StreamExt;
use std::pin::pin;
use uuid::Uuid;

/// Digests that are read or asked for at once.
const BATCH: i64 = 500;
/// Plugins of a deleted app that go in one transaction, each with some 50 versions.
const PLUGINS_AT_ONCE: i64 = 10;
/// Rows of what they stored that do: a value has up to 256 KiB.
const ROWS_AT_ONCE: i64 = 200;
/// Deleted apps of one round.
const APPS_AT_ONCE: i64 = 50;

/// What was freed.
#[derive(Default)]
struct Freed {
    blobs: u64,
    bytes: u64,
}

/// Removes all of it. What takes going through everything is done once an hour.
///
/// # Errors
/// The database's. What the object store does not do now is tried again the next time.
pub async fn all(app: &App) -> sqlx::Result<()> {
    unneeded(app).await?;
    if app.blobs.are_to_be_looked_through(app.now()) {
        versions(app).await?;
        deleted_apps(app).await?;
        look_through(app).await?;
    }
    Ok(())
}

/// Of plugins nobody uploads to any more: those of older releases, and what a rollback left in the middle.
async fn versions(app: &App) -> sqlx::Result<()> {
    let full = {
        let mut tx = app.service_tx().await?;
        store::with_more_versions(&mut tx, i64::try_from(VERSIONS_KEPT).unwrap_or(i64::MAX)).await?
    };
    for plugin in full {
        loop {
            let mut tx = app.service_tx().await?;
            lock(tx.conn(), plugin.1).await?;
            let gone = trim(tx.conn(), plugin, app.now()).await?;
            tx.commit().await?;
            app.metrics.versions_removed(gone);
            if gone < VERSIONS_AT_ONCE {
                break;
            }
        }
    }
    Ok(())
}

/// As long after it was deleted as its tables are kept, so that somebody may think better of it.
async fn deleted_apps(app: &App) -> sqlx::Result<()> {
    let apps = {
        let mut tx = app.service_tx().await?;
        store::deleted_apps(&mut tx, app.now() - KEPT_AFTER_DELETE, APPS_AT_ONCE).await?
    };
    for app_id in apps {
        while forget_some(app, app_id).await? {}
        tracing::info!(%app_id, "the plugins of a deleted app were removed");
    }
    Ok(())
}

/// Removes some of what plugins of an app were and had; whether there may be more.
async fn forget_some(app: &App, app_id: Uuid) -> sqlx::Result<bool> {
    let mut tx = app.service_tx().await?;
    lock(tx.conn(), app_id).await?;
    let plugins = store::plugins_of(&mut tx, app_id, PLUGINS_AT_ONCE).await?;
    for plugin_id in &plugins {
        super::release(tx.conn(), (*plugin_id, app_id), app.now()).await?;
        store::remove_plugin(&mut tx, *plugin_id).await?;
    }
    let rows = store::remove_leavings(&mut tx, app_id, ROWS_AT_ONCE).await?;
    tx.commit().await?;
    Ok(!plugins.is_empty() || rows > 0)
}

/// Notes what is in the store and nothing refers to, and counts what there is.
async fn look_through(app: &App) -> sqlx::Result<()> {
    let (mut blobs, mut bytes) = (0_u64, 0_u64);
    let mut found = pin!(app.blobs.list().chunks(usize::try_from(BATCH).unwrap_or(1)));
    while let Some(batch) = found.next().await {
        let batch: Vec<_> = match batch.into_iter().collect::<Result<_, BlobError>>() {
            Ok(batch) => batch,
            Err(cause) => {
                tracing::warn!(%cause, "blobs could not be listed");
                return Ok(());
            }
        };
        blobs += batch.len() as u64;
        bytes += batch.iter().map(|(_, bytes)| bytes).sum::<u64>();
        let names: Vec<_> = batch.into_iter().map(|(sha256, _)| sha256).collect();
        let mut tx = app.service_tx().await?;
        let strays = store::unneeded(&mut tx, &names).await?;
        if !strays.is_empty() {
            store::note(tx.conn(), None, &strays, look_at(app.now())).await?;
            tx.commit().await?;
            tracing::info!(blobs = strays.len(), "blobs were found that nothing refers to");
        }
    }
    app.metrics.gauge("opg_blobs", blobs as f64);
    app.metrics.gauge("opg_blobs_bytes", bytes as f64);
    match app.blobs.remove_unfinished().await {
        Ok(0) => {}
        Ok(files) => tracing::info!(files, "what is left of writes that were broken off was removed"),
        Err(cause) => tracing::warn!(%cause, "what is left of writes that were broken off was not removed"),
    }
    app.blobs.were_looked_through(app.now());
    Ok(())
}

/// What became of bytes that were looked at.
enum Looked {
    /// Something refers to them.
    Needed,
    /// They are gone; so many they were.
    Gone(u64),
    /// They are written or looked at by somebody else, or the store does not work.
    NotNow,
}

/// Looks at what is due.
async fn unneeded(app: &App) -> sqlx::Result<()> {
    let mut freed = Freed::default();
    let looked = look_at_all(app, &mut freed).await;
    // Also where it failed then.
    if freed.blobs > 0 {
        app.metrics.blobs_removed(freed.blobs, freed.bytes);
        let Freed { blobs, bytes } = freed;
        tracing::info!(blobs, bytes, "blobs that nothing referred to were removed");
    }
    looked
}

async fn look_at_all(app: &App, freed: &mut Freed) -> sqlx::Result<()> {
    loop {
        let mut due = {
            let mut tx = app.service_tx().await?;
            store::due(&mut tx, app.now(), BATCH).await?
        };
        let are_all = i64::try_from(due.len()).is_ok_and(|count| count < BATCH);
        due.sort();
        due.dedup();
        let mut looked = 0;
        for sha256 in due {
            match look(app, sha256).await? {
                Looked::Needed => looked += 1,
                Looked::Gone(bytes) => {
                    looked += 1;
                    freed.blobs += 1;
                    freed.bytes += bytes;
                }
                Looked::NotNow => {}
            }
        }
        if are_all || looked == 0 {
            return Ok(());
        }
    }
}

/// Looks at the bytes of one digest. The lock is held until they are gone: who wants to write them waits for that.
async fn look(app: &App, sha256: String) -> sqlx::Result<Looked> {
    let mut tx = app.service_tx().await?;
    if !store::try_lock_bytes(&mut tx, &sha256).await? {
        return Ok(Looked::NotNow);
    }
    store::take_due(&mut tx, &sha256, app.now()).await?;
    let names = [sha256];
    let mut looked = Looked::Needed;
    if let [sha256] = store::unneeded(&mut tx, &names).await?.as_slice() {
        match app.blobs.remove(sha256).await {
            Ok(Some(bytes)) => looked = Looked::Gone(bytes),
            // Whoever removed them did not come to say so, or this host's directory is another.
            Ok(None) => {}
            Err(cause) => {
                tracing::warn!(%cause, sha256, "a blob could not be removed; it is tried again");
                return Ok(Looked::NotNow);
            }
        }
    }
    tx.commit().await?;
    Ok(looked)
}
