//! The numbers, for Prometheus to fetch.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// Upper bounds of histograms, in seconds: from a warm guest call to a long model turn.
const SECONDS_BUCKETS: &[f64] =
    &[0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// A handle on everything recorded with the `metrics` macros. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// How often [`Metrics::upkeep`] wants to be called.
    pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

    /// The process's numbers. The first call starts the recording, later ones return the same.
    pub fn global() -> Result<Self, MetricsError> {
        static GLOBAL: OnceLock<Result<Metrics, MetricsError>> = OnceLock::new();
        GLOBAL
            .get_or_init(|| {
                let recorder = recorder()?;
                let handle = recorder.handle();
                metrics::set_global_recorder(recorder).map_err(|_| MetricsError::Taken)?;
                Ok(Self { handle })
            })
            .clone()
    }

    /// Everything, in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds what histograms have collected, so that memory does not grow while nobody fetches.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum MetricsError {
    #[error("another metrics recorder was installed first")]
    Taken,
    #[error("the metrics recorder cannot be set up: {0}")]
    Setup(String),
}

fn recorder() -> Result<PrometheusRecorder, MetricsError> {
    let builder = PrometheusBuilder::new()
        .set_buckets(SECONDS_BUCKETS)
        .map_err(|error| MetricsError::Setup(error.to_string()))?;
    Ok(builder.build_recorder())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_rendered() {
        let recorder = recorder().unwrap();
        let metrics = Metrics { handle: recorder.handle() };
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("opg_requests_total", "route" => "/v1/chat").increment(2);
            metrics::histogram!("opg_request_seconds").record(0.02);
        });
        metrics.upkeep();
        let text = metrics.render();
        assert!(text.contains("opg_requests_total{route=\"/v1/chat\"} 2"), "{text}");
        assert!(text.contains("opg_request_seconds_bucket{le=\"0.05\"} 1"), "{text}");
        assert!(text.contains("opg_request_seconds_bucket{le=\"0.01\"} 0"), "{text}");
    }

    #[test]
    fn the_global_recorder_can_be_asked_for_twice() {
        let (one, two) = (Metrics::global().unwrap(), Metrics::global().unwrap());
        metrics::counter!("opg_test_total").increment(1);
        assert!(one.render().contains("opg_test_total 1") && two.render().contains("opg_test_total 1"));
    }
}
