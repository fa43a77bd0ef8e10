//! What has to be done every now and then, until the process stops.

use crate::{
    ai, app::App, budgets, db_proxy, idempotency, people, registry::kept, secrets::rotate, sessions, tasks,
    telemetry::Metrics, workspace,
};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often turns are looked for whose host died: a part of a lease.
const LEASES_EVERY: Duration = Duration::from_secs(10);
/// How often expired sessions are removed and idle buckets forgotten. A session past its time answers 410 either way.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Keeps things tidy until the process stops.
pub async fn run(app: App) {
    rewrap_data_keys(&app).await;
    if let Err(cause) = budgets::sweep::at_start(&app).await {
        tracing::error!(%cause, "what a dead process held against budgets could not be let go");
    }
    if let Err(cause) = sessions::sweep::artifacts(&app).await {
        tracing::error!(%cause, "artifacts of deleted sessions could not be looked for");
    }
    if let Err(cause) = tasks::sweep::at_start(&app).await {
        tracing::error!(%cause, "tasks of a dead process could not be ended");
    }
    if let Err(cause) = idempotency::sweep::at_start(&app).await {
        tracing::error!(%cause, "idempotency keys of a dead process could not be made free");
    }
    let mut keeping: Option<JoinHandle<()>> = None;
    let mut removing: Option<JoinHandle<()>> = None;
    let mut leases = tokio::time::interval(LEASES_EVERY);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut metrics = tokio::time::interval(Metrics::UPKEEP_INTERVAL);
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            _ = metrics.tick() => app.metrics.upkeep(),
            _ = leases.tick() => {
                if let Err(cause) = sessions::sweep::left_behind(&app).await {
                    tracing::error!(%cause, "turns of dead processes could not be ended");
                }
                if let Err(cause) = sessions::instances::process::watch::reap(&app).await {
                    tracing::error!(%cause, "runners that nobody needs could not be ended");
                }
                if let Err(cause) = sessions::instances::process::watch::of_dead_hosts(&app).await {
                    tracing::error!(%cause, "runners of dead processes could not be ended");
                }
                if let Err(cause) = tasks::sweep::left_behind(&app).await {
                    tracing::error!(%cause, "tasks of dead processes could not be ended");
                }
            }
            _ = sweep.tick() => {
                app.session_hub.tidy();
                if let Err(cause) = sessions::sweep::unused(&app).await {
                    tracing::error!(%cause, "sessions nobody uses could not be stopped");
                }
                app.rate_limits.forget_idle();
                app.paces.forget_idle(app.now().timestamp());
                app.compiling.tidy(app.now());
                app.database.tidy();
                if let Err(cause) = db_proxy::sweep::expired(&app).await {
                    tracing::error!(%cause, "workspaces of deleted apps could not be dropped");
                }
                if let Err(cause) = budgets::sweep::expired(&app).await {
                    tracing::error!(%cause, "what dead processes held against budgets could not be let go");
                }
                if let Err(cause) = budgets::sweep::past(&app).await {
                    tracing::error!(%cause, "what was counted in times that are over could not be removed");
                }
                if let Err(cause) = people::sweep::all(&app).await {
                    tracing::error!(%cause, "what ended of people's sign-ins could not be removed");
                }
                if let Err(cause) = idempotency::sweep::all(&app).await {
                    tracing::error!(%cause, "idempotency keys whose time is over could not be removed");
                }
                if let Err(cause) = ai::files::sweep(&app).await {
                    tracing::error!(%cause, "pictures whose time is over could not be removed");
                }
                if let Err(cause) = tasks::sweep::expired(&app).await {
                    tracing::error!(%cause, "tasks whose time is over could not be removed");
                }
                if let Err(cause) = sessions::sweep::expired(&app).await {
                    tracing::error!(%cause, "expired sessions could not be removed");
                }
                if keeping.as_ref().is_none_or(JoinHandle::is_finished) {
                    keeping = Some(keep_artifacts(&app));
                }
                if removing.as_ref().is_none_or(JoinHandle::is_finished) {
                    removing = Some(remove_unneeded(&app));
                }
                if let Err(cause) = workspace::push::end_lost(&app).await {
                    tracing::error!(%cause, "pushes of dead processes could not be ended");
                }
                if let Err(cause) = workspace::sweep::orphans(&app).await {
                    tracing::error!(%cause, "files of sessions that are gone could not be removed");
                }
            }
        }
    }
}

/// Aside: a bucket may take its time, and leases must not wait for it.
fn keep_artifacts(app: &App) -> JoinHandle<()> {
    let here = app.clone();
    app.spawn(async move {
        tokio::select! {
            () = here.stopping.cancelled() => {}
            kept = sessions::artifacts::tidy(&here) => if let Err(cause) = kept {
                tracing::error!(%cause, "artifacts whose time is over could not be removed");
            }
        }
    })
}

/// Aside: there may be thousands of files.
fn remove_unneeded(app: &App) -> JoinHandle<()> {
    let here = app.clone();
    app.spawn(async move {
        tokio::select! {
            () = here.stopping.cancelled() => {}
            removed = kept::sweep::all(&here) => if let Err(cause) = removed {
                tracing::error!(%cause, "versions and bytes of plugins that nobody needs could not be removed");
            }
        }
    })
}

/// After a start with a newer master key (row M314): old keys may go once this says that nothing is left.
async fn rewrap_data_keys(app: &App) {
    match rotate::rotate(app).await {
        Ok(rotate::Rotated { rewrapped: 0, refused: 0 }) => {}
        Ok(done) => {
            tracing::info!(done.rewrapped, done.refused, "data keys were wrapped by the newest master key");
        }
        Err(cause) => {
            tracing::error!(%cause, "data keys could not be wrapped anew; the next start tries again");
        }
    }
}
