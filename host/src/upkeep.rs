//! What has to be done every now and then, until the process stops.

use crate::{app::App, sessions, telemetry::Metrics};
use std::time::Duration;

/// How often expired sessions are removed and idle buckets forgotten. A session past its time answers 410 either way.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Keeps things tidy until the process stops.
pub async fn run(app: App) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut metrics = tokio::time::interval(Metrics::UPKEEP_INTERVAL);
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            _ = metrics.tick() => app.metrics.upkeep(),
            _ = sweep.tick() => {
                app.rate_limits.forget_idle();
                if let Err(cause) = sessions::sweep::expired(&app).await {
                    tracing::error!(%cause, "expired sessions could not be removed");
                }
            }
        }
    }
}
