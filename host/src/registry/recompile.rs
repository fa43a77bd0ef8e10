//! After an upgrade of the engine: what the old one compiled is compiled anew
//! in the background, the most recently used first, while OPG serves.
//!
//! Whoever calls a plugin before its turn has it compiled then and there, as if
//! it were new.

use super::blobs::BlobError;
use crate::{app::App, sandbox::LoadError};

/// Does it all, or as much as there is time for before the process stops.
pub async fn run(app: App) {
    let stale = match app.sandbox.stale() {
        Ok(stale) if stale.is_empty() => return,
        Ok(stale) => stale,
        Err(cause) => {
            tracing::error!(%cause, "the cache of compiled components cannot be read");
            return;
        }
    };
    let all = stale.len();
    tracing::info!(components = all, "the engine changed; compiling anew what the old one had compiled");
    let mut compiled = 0_usize;
    for digest in &stale {
        let done = tokio::select! {
            done = one(&app, digest) => done,
            () = app.stopping.cancelled() => {
                tracing::info!(compiled, left = all - compiled, "stopping; the next start goes on");
                return;
            }
        };
        match done {
            Ok(()) => compiled += 1,
            // Called meanwhile, or deleted, or refused by newer rules: whoever calls it is told.
            Err(cause) => tracing::warn!(digest, %cause, "a component was not compiled anew"),
        }
    }
    if let Err(cause) = app.sandbox.forget_stale() {
        tracing::warn!(%cause, "what the old engine compiled could not be removed");
    }
    tracing::info!(compiled, all, "compiled anew for this engine");
}

#[derive(Debug, thiserror::Error)]
enum NotDone {
    #[error(transparent)]
    Bytes(#[from] BlobError),
    #[error(transparent)]
    Load(#[from] LoadError),
}

async fn one(app: &App, digest: &str) -> Result<(), NotDone> {
    if app.sandbox.find(digest).is_none() {
        app.sandbox.load(app.blobs.get(digest).await?).await?;
    }
    Ok(())
}
