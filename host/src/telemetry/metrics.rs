//! The numbers, for Prometheus to fetch.

use std::sync::OnceLock;
use std::time::Duration;

use crate::usage::{Uncharged, Use, What};
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

    /// Counts an answered request. `route` is the template, never the path: labels hold no text of users.
    pub fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels =
            [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.to_string())];
        metrics::counter!("opg_requests_total", &labels).increment(1);
        metrics::histogram!("opg_request_seconds", "route" => route.to_owned()).record(took);
    }

    /// Counts a use as the ledger has it. Models are counted by provider: a model's name is text of a tenant.
    pub fn used(&self, used: &Use) {
        let status = used.status.name();
        match &used.what {
            What::Tokens { usage, .. } => {
                metrics::counter!("opg_model_calls_total", "status" => status).increment(1);
                metrics::counter!("opg_prompt_tokens_total").increment(usage.prompt_tokens);
                metrics::counter!("opg_completion_tokens_total").increment(usage.completion_tokens);
                if let Some(cost) = used.cost_micro_usd() {
                    metrics::counter!("opg_cost_micro_usd_total").increment(cost);
                }
                metrics::histogram!("opg_model_call_seconds").record(used.took);
            }
            What::Tool => {
                metrics::counter!("opg_tool_runs_total", "status" => status).increment(1);
                metrics::histogram!("opg_tool_run_seconds").record(used.took);
            }
            What::Agent => {
                metrics::counter!("opg_agent_runs_total", "status" => status).increment(1);
                metrics::histogram!("opg_agent_run_seconds").record(used.took);
            }
        }
    }

    /// Counts a use of a model that was charged nothing: what an operator sets an alarm on.
    pub fn uncharged(&self, why: Uncharged) {
        metrics::counter!("opg_model_calls_uncharged_total", "reason" => why.name()).increment(1);
    }

    /// Counts values of secrets that were taken out of what guests got or said.
    pub fn redacted(&self, times: u64) {
        if times > 0 {
            metrics::counter!("opg_secrets_redacted_total").increment(times);
        }
    }

    /// Counts versions of plugins that are kept no longer.
    pub fn versions_removed(&self, count: usize) {
        if count > 0 {
            metrics::counter!("opg_plugin_versions_removed_total").increment(count as u64);
        }
    }

    /// Counts blobs that nothing referred to any more, and their bytes.
    pub fn blobs_removed(&self, blobs: u64, bytes: u64) {
        metrics::counter!("opg_blobs_removed_total").increment(blobs);
        metrics::counter!("opg_blobs_removed_bytes_total").increment(bytes);
    }

    /// Records how things stand at this moment.
    pub fn gauge(&self, name: &'static str, value: f64) {
        metrics::gauge!(name).set(value);
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
