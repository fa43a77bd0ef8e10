//! After a release with another JavaScript runtime: tools that were uploaded as TypeScript files are made anew of
//! them in the background, the most recently used first, while OPG serves.
//!
//! Until its turn a tool runs as it was made. Afterwards hosts with this runtime
//! run what was made anew, and hosts with the old one what they ran before.
//!
//! Nobody reviews it again, so it may take the old one's place only where a
//! reviewer would read the same: it describes its tools in the same words and
//! asks for the same. Otherwise, or where the file does not load any more, the
//! old one goes on, and the table says why.
//!
//! Deliberately absent: versions that are not active. Who rolls back to one runs
//! it as it was made, until the next start.

use super::{
    Description, PluginKind, Requested,
    blobs::BlobError,
    kept, store,
    upload::{self, Examined, UploadError},
};
use crate::{
    app::App,
    sandbox::{CallError, LoadError},
    typescript::TypeScriptError,
};
use bytes::Bytes;
use uuid::Uuid;

/// Does it all, or as much as there is time for before the process stops.
pub async fn run(app: App) {
    let waiting = match waiting(&app).await {
        Ok(waiting) if waiting.is_empty() => return,
        Ok(waiting) => waiting,
        Err(cause) => {
            tracing::error!(%cause, "TypeScript tools of another runtime cannot be looked up; the next start tries again");
            return;
        }
    };
    let all = waiting.len();
    tracing::info!(tools = all, "the JavaScript runtime changed; making TypeScript tools anew");
    let (mut made, mut refused) = (0_usize, 0_usize);
    for which in &waiting {
        let done = tokio::select! {
            done = one(&app, *which) => done,
            () = app.stopping.cancelled() => {
                tracing::info!(made, refused, left = all - made - refused, "stopping; the next start goes on");
                return;
            }
        };
        match done {
            Ok(Outcome::Made) => made += 1,
            Ok(Outcome::Refused) => refused += 1,
            Ok(Outcome::Gone) => {}
            Err(cause) => {
                let (plugin_id, version) = *which;
                tracing::warn!(%plugin_id, version, %cause, "a TypeScript tool was not made anew; the next start tries again");
            }
        }
    }
    tracing::info!(made, refused, all, "TypeScript tools were made anew for this runtime");
}

/// What became of one.
enum Outcome {
    /// It runs.
    Made,
    /// The old one goes on, for good.
    Refused,
    /// It is not active any more, or another host was quicker.
    Gone,
}

#[derive(Debug, thiserror::Error)]
enum NotDone {
    #[error("its bytes: {0}")]
    Blob(#[from] BlobError),
    #[error("its file is not text")]
    NoText,
    #[error("{0}")]
    NotNow(UploadError),
    #[error("it took too long to be written down")]
    TookTooLong,
    #[error("the database: {0}")]
    Db(#[from] sqlx::Error),
}

async fn waiting(app: &App) -> sqlx::Result<Vec<(Uuid, i32)>> {
    let mut tx = app.service_tx().await?;
    store::of_other_runtimes(&mut tx, app.typescript.runtime_sha256()).await
}

async fn one(app: &App, which: (Uuid, i32)) -> Result<Outcome, NotDone> {
    let runtime = app.typescript.runtime_sha256();
    let old = {
        let mut tx = app.service_tx().await?;
        store::of_other_runtime(&mut tx, which, runtime).await?
    };
    let Some(old) = old else { return Ok(Outcome::Gone) };
    let source = app.blobs.get(&old.source_sha256).await?;
    let source = String::from_utf8(source.to_vec()).map_err(|_| NotDone::NoText)?;
    let made = match make(app, &old.name, source).await {
        Ok((wasm, examined)) if says_the_same(&old, &examined) => {
            Ok(kept::put::<NotDone>(app, old.app_id, wasm).await?)
        }
        Ok(_) => Err("it would say or ask for something else than what was reviewed".to_owned()),
        Err(cause) if is_the_files(&cause) => Err(cause.to_string()),
        Err(cause) => return Err(NotDone::NotNow(cause)),
    };
    if let Err(why) = &made {
        let (plugin, version) = (&old.name, which.1);
        tracing::warn!(app_id = %old.app_id, plugin, version, why, "a TypeScript tool goes on with the runtime it was made for; uploading its file again asks its reviewer");
    }
    let outcome = if made.is_ok() { Outcome::Made } else { Outcome::Refused };
    let mut tx = app.service_tx().await?;
    store::lock(tx.conn(), old.app_id).await?;
    let digests = made.iter().cloned().collect();
    if !kept::hold(tx.conn(), old.app_id, digests, app.now()).await? {
        return Err(NotDone::TookTooLong);
    }
    let build = store::Build { which, app_id: old.app_id, runtime, made, at: app.now() };
    let is_kept = store::keep_build(tx.conn(), &build).await?;
    kept::trim_builds(tx.conn(), which, old.app_id, app.now()).await?;
    tx.commit().await?;
    Ok(if is_kept { outcome } else { Outcome::Gone })
}

async fn make(app: &App, name: &str, source: String) -> Result<(Bytes, Examined), UploadError> {
    let wasm = Bytes::from(app.typescript.component(name, source).await?);
    let examined = upload::examine(&app.sandbox, PluginKind::Tool, name, wasm.clone()).await?;
    Ok((wasm, examined))
}

fn says_the_same(old: &store::OldBuild, new: &Examined) -> bool {
    says_and_asks_the_same((&old.description, &old.requested), (&new.description, &new.requested))
}

/// Whether what is made of the same file for another runtime may stand for it: a reviewer would read the same.
pub(super) fn says_and_asks_the_same(
    old: (&Description, &[Requested]),
    new: (&Description, &[Requested]),
) -> bool {
    old.0.declares_the_same(new.0) && old.1 == new.1
}

/// Whether the same file would be refused again; else it is this host's trouble of the moment.
fn is_the_files(cause: &UploadError) -> bool {
    match cause {
        UploadError::BadTypeScript(TypeScriptError::Invalid(_))
        | UploadError::BadDescription(_)
        | UploadError::WrongKind { .. } => true,
        UploadError::BadComponent(cause) => {
            !matches!(cause, LoadError::Busy | LoadError::Engine(_) | LoadError::CompileTimedOut)
        }
        UploadError::Describe(cause) => {
            !matches!(cause, CallError::Busy | CallError::Engine(_) | CallError::TimedOut)
        }
        _ => false,
    }
}
