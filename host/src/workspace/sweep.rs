//! Removes workspaces whose session is gone, or over for long enough that nothing can be running in it.

use super::{WorkspaceError, reach, store};
use crate::{app::App, limits::CALL_TIME_MAX};
use chrono::Duration;
use uuid::Uuid;

/// How many sessions are asked about at once.
const BATCH: usize = 500;

/// Removes what nobody can reach any more; how many it was.
///
/// # Errors
/// The database's, or the disk's.
pub async fn orphans(app: &App) -> Result<u64, WorkspaceError> {
    let here = app.clone();
    let there = reach::job(app, Uuid::nil(), move || Ok(here.workspaces.on_disk()?)).await?;
    let since = app.now() - Duration::from_std(CALL_TIME_MAX).unwrap_or(Duration::MAX);
    let mut removed = 0;
    for batch in there.chunks(BATCH) {
        let sessions: Vec<Uuid> = batch.iter().map(|(_, session)| *session).collect();
        let alive = {
            let mut tx = app.service_tx().await?;
            store::alive(&mut tx, &sessions, since).await?
        };
        for (app_id, session_id) in batch.iter().filter(|(_, session)| !alive.contains(session)) {
            reach::remove(app, *app_id, *session_id).await?;
            removed += 1;
        }
    }
    app.workspaces.tidy();
    Ok(removed)
}
