//! What becomes of runners that end, or are silent, or whose host has died.

use super::{BEATS_MISSED_MAX, HOST_SILENT_MAX, Runner};
use crate::{
    app::App,
    sessions::{
        Status,
        instances::{provision, store},
        log, store as sessions,
        turns::{Reason, store as turns},
    },
};
use chrono::{DateTime, Duration, Utc};
use std::sync::Arc;
use uuid::Uuid;

/// How many of dead hosts are ended in one pass, so that none is long.
const BATCH: i64 = 500;

/// Waits for the beats of a runner that has registered. One that is silent is lost.
pub(super) fn listen(app: &App, runner: &Arc<Runner>) {
    let (app, runner) = (app.clone(), runner.clone());
    let work = {
        let app = app.clone();
        async move {
            loop {
                let until = runner.silent_until();
                tokio::select! {
                    () = runner.gone.cancelled() => return,
                    () = app.cut_off.cancelled() => return,
                    () = tokio::time::sleep_until(until) => {}
                }
                if runner.is_asking() {
                    runner.heard();
                } else if runner.silent_until() <= until {
                    break;
                }
            }
            lost(&app, &runner, &format!("it said nothing for {BEATS_MISSED_MAX} beats")).await;
        }
    };
    app.spawn(work);
}

/// A runner is not there any more: its instance has failed, and its session is kept. A turn that ran in it ends by
/// itself, with what was said; the next one gets another runner.
pub(super) async fn lost(app: &App, runner: &Runner, why: &str) {
    // First: once it is told to go, others notice as well and know less of why.
    if let Err(cause) = write_down(app, (runner.session_id, runner.instance_id), None, why).await {
        tracing::error!(%cause, session_id = %runner.session_id, "that a runner was lost could not be written down");
    }
    runner.gone.cancel();
    app.runners.end(runner.instance_id);
}

/// With `silent_since` it is lost where nobody has said since that it is there.
async fn write_down(
    app: &App,
    (session_id, instance_id): (Uuid, Uuid),
    silent_since: Option<DateTime<Utc>>,
    why: &str,
) -> sqlx::Result<()> {
    let mut tx = app.service_tx().await?;
    let Some(session) = sessions::lock_of_any(tx.conn(), session_id).await? else { return Ok(()) };
    let reason = Reason::new("runner_lost", format!("the process this session ran in is gone: {why}"));
    // It was ended: then it went as it should.
    if !store::end_one(tx.conn(), instance_id, silent_since, &reason.message, app.now()).await? {
        return Ok(());
    }
    let of = (session_id, session.app_id);
    let mut told = vec![];
    let rests = matches!(session.status, Status::Idle | Status::Creating) && session.busy_until.is_none();
    // What waited for a host that died runs on another, which makes it a runner.
    let goes_on = silent_since.is_some() && turns::count_queued(tx.conn(), session_id).await? > 0;
    let draft =
        if rests && !goes_on { provision::fail(app, tx.conn(), of, &reason, &mut told).await? } else { None };
    let written = log::write(app, tx.conn(), of, draft.into_iter().collect()).await?;
    tx.commit().await?;
    told.into_iter().chain([written]).for_each(|written| written.tell(app));
    Ok(())
}

/// Ends the runners of hosts that died. To be called after [`reap`], by which this host says what it has itself.
///
/// # Errors
/// The database's.
pub(crate) async fn of_dead_hosts(app: &App) -> sqlx::Result<()> {
    let since = app.now() - Duration::from_std(HOST_SILENT_MAX).unwrap_or(Duration::MAX);
    let silent = {
        let mut tx = app.service_tx().await?;
        store::silent(&mut tx, since, BATCH).await?
    };
    for (instance_id, session_id) in silent {
        // One that cannot be ended must not keep others from it.
        if let Err(cause) = write_down(app, (session_id, instance_id), Some(since), "its host died").await {
            tracing::error!(%cause, %session_id, "a runner of a dead host could not be ended");
        }
    }
    Ok(())
}

/// Says of the runners of this process that they are there, and ends those whose instance was ended elsewhere, or is
/// gone with its session.
///
/// # Errors
/// The database's.
pub(crate) async fn reap(app: &App) -> sqlx::Result<()> {
    let here = app.runners.ids();
    if here.is_empty() {
        return Ok(());
    }
    let living = {
        let mut tx = app.service_tx().await?;
        let living = store::beat(&mut tx, &here, app.now()).await?;
        tx.commit().await?;
        living
    };
    for orphan in here.into_iter().filter(|id| !living.contains(id)) {
        app.runners.end(orphan);
    }
    Ok(())
}
