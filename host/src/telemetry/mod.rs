//! What the process says about itself: log lines on stdout and numbers for Prometheus.
//!
//! Every line passes [`redact`] after it is formatted, so that a secret that found its way into a message, a field
//! or somebody else's error does not leave the process. That is the last line of defence, not a licence to log.
//!
//! Deliberately absent: log files and rotation (the service manager's), an HTTP listener for the numbers (the
//! router serves [`Metrics::render`]), and colours.

mod metrics;
mod redact;

use std::io;

use tracing::{Span, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

pub use metrics::{Metrics, MetricsError};
pub use redact::{RedactingWriter, redact, redact_json_line};

#[derive(Debug, Clone)]
pub struct LogConfig {
    pub format: LogFormat,
    /// Directives such as `info,opg_host::chat=debug`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Json, filter: "info".into() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One object a line, for machines.
    Json,
    /// For people.
    Text,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log filter `{filter}` is not understood: {reason}")]
    BadFilter { filter: String, reason: String },
    #[error("logging was already set up")]
    AlreadySet,
}

/// Sets up the process's log. Once, early in `main`.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    subscriber(config, io::stdout)?.try_init().map_err(|_| LogError::AlreadySet)
}

/// The log as [`init`] sets it up, to another place; for tests that read their own lines.
pub fn subscriber<W>(config: &LogConfig, out: W) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| LogError::BadFilter { filter: config.filter.clone(), reason: error.to_string() })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(RedactingWriter::new(out, config.format));
    Ok(match config.format {
        LogFormat::Json => Box::new(
            builder.json().flatten_event(true).with_current_span(true).with_span_list(false).finish(),
        ),
        LogFormat::Text => Box::new(builder.finish()),
    })
}

/// The span of one request: every line inside it carries the id.
pub fn request_span(request_id: &str) -> Span {
    tracing::info_span!("request", request_id)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `action` runs.
    fn log(format: LogFormat, filter: &str, action: impl FnOnce()) -> String {
        let captured = Captured::default();
        let out = captured.clone();
        let config = LogConfig { format, filter: filter.into() };
        tracing::subscriber::with_default(subscriber(&config, move || out.clone()).unwrap(), action);
        String::from_utf8(captured.0.lock().unwrap().clone()).unwrap()
    }

    fn objects(log: &str) -> Vec<Value> {
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    #[test]
    fn a_line_is_one_object_with_the_requests_id() {
        let log = log(LogFormat::Json, "info", || {
            let _span = request_span("req-1").entered();
            tracing::info!(app = "acme", count = 3, "two\nlines");
            tracing::debug!("not shown");
        });
        let lines = objects(&log);
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!(line["message"], "two\nlines");
        assert_eq!(
            (&line["app"], &line["count"], &line["level"]),
            (&"acme".into(), &3.into(), &"INFO".into())
        );
        assert_eq!(line["span"]["request_id"], "req-1");
    }

    #[test]
    fn secrets_in_messages_fields_spans_and_errors_are_masked() {
        let secret = "ocs_acme_s3cr3ts3cr3ts3cr3t";
        for format in [LogFormat::Json, LogFormat::Text] {
            let log = log(format, "info", || {
                let _span = tracing::info_span!("request", who = "ann@example.com").entered();
                let error = io::Error::other(format!("upstream said \"\n{secret}\t\" to us"));
                tracing::error!(%error, ?error, token = secret, authorization = 17, "with {secret}\\n{secret}");
            });
            assert!(!log.contains("s3cr3t") && !log.contains("ann@"), "{log}");
            if format == LogFormat::Json {
                let lines = objects(&log);
                assert_eq!(lines.len(), 1);
                assert_eq!(lines[0]["authorization"], "[redacted]");
                assert_eq!(lines[0]["span"]["who"], "[email]");
                assert_eq!(lines[0]["message"], "with ocs_[redacted]\\nocs_[redacted]");
            }
        }
    }

    #[test]
    fn a_filter_nobody_understands_is_refused_by_name() {
        let config = LogConfig { filter: "info,=,,x=nonsense".into(), ..LogConfig::default() };
        let error = subscriber(&config, io::sink).err().unwrap().to_string();
        assert!(error.contains("nonsense"), "{error}");
    }
}
