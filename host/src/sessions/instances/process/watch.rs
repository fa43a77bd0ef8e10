//! What becomes of runners that end, or are silent.

use super::{BEATS_MISSED_MAX, Runner};
use crate::{
    app::App,
    sessions::{
        Status,
        instances::{provision, store},
        log, store as sessions,
        turns::Reason,
    },
};
use std::sync::Arc;

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
    if let Err(cause) = write_down(app, runner, why).await {
        tracing::error!(%cause, session_id = %runner.session_id, "that a runner was lost could not be written down");
    }
    runner.gone.cancel();
    app.runners.end(runner.instance_id);
}

async fn write_down(app: &App, runner: &Runner, why: &str) -> sqlx::Result<()> {
    let mut tx = app.service_tx().await?;
    let Some(session) = sessions::lock_of_any(tx.conn(), runner.session_id).await? else { return Ok(()) };
    let reason = Reason::new("runner_lost", format!("the process this session ran in is gone: {why}"));
    // It was ended: then it went as it should.
    if !store::end_one(tx.conn(), runner.instance_id, &reason.message, app.now()).await? {
        return Ok(());
    }
    let of = (runner.session_id, session.app_id);
    let mut told = vec![];
    let rests = matches!(session.status, Status::Idle | Status::Creating) && session.busy_until.is_none();
    let draft = if rests { provision::fail(app, tx.conn(), of, &reason, &mut told).await? } else { None };
    let written = log::write(app, tx.conn(), of, draft.into_iter().collect()).await?;
    tx.commit().await?;
    told.into_iter().chain([written]).for_each(|written| written.tell(app));
    Ok(())
}

/// Ends the runners of this process whose instance was ended elsewhere, or is gone with its session.
///
/// # Errors
/// The database's.
pub(crate) async fn reap(app: &App) -> sqlx::Result<()> {
    let here = app.runners.ids();
    if here.is_empty() {
        return Ok(());
    }
    let mut asking = app.service_read().await?;
    let living = store::living(asking.conn(), &here).await?;
    asking.done();
    for orphan in here.into_iter().filter(|id| !living.contains(id)) {
        app.runners.end(orphan);
    }
    Ok(())
}
