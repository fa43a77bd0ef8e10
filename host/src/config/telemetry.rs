//! What is told of what happens, and to whom: log lines, numbers, and traces by OpenTelemetry's own variables.

use super::{
    Config,
    reader::Reader,
    shown::{self, Line},
};
use crate::traces::Collector;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

/// The only way of OTLP that is spoken.
const OTLP_PROTOCOL: &str = "http/json";
/// What traces call us, unless configured.
const SERVICE_NAME: &str = "opg";

pub(super) struct Telemetry {
    pub(super) log_json: bool,
    pub(super) log_filter: String,
    pub(super) metrics_token: Option<SecretString>,
    pub(super) collector: Option<Collector>,
}

impl Telemetry {
    pub(super) fn read(vars: &mut Reader) -> Telemetry {
        Telemetry {
            log_json: vars.parsed("LOG_FORMAT", true, "`json` or `text`", |v| match v {
                "json" => Some(true),
                "text" => Some(false),
                _ => None,
            }),
            log_filter: vars.get("LOG_LEVEL").unwrap_or_else(|| "info".to_owned()),
            metrics_token: vars.secret("OPG_METRICS_TOKEN"),
            collector: collector(vars),
        }
    }
}

/// The address for traces is taken as it is, the common one gets a path.
fn collector(vars: &mut Reader) -> Option<Collector> {
    let expected = "an absolute URL, such as http://localhost:4318";
    let web = |text: &str| Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let of_traces = vars.parsed("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", None, expected, |v| web(v).map(Some));
    let of_all = vars.parsed("OTEL_EXPORTER_OTLP_ENDPOINT", None, expected, |v| {
        let mut url = web(v)?;
        url.path_segments_mut().ok()?.pop_if_empty().extend(["v1", "traces"]);
        Some(Some(url))
    });
    let only = format!(
        "`{OTLP_PROTOCOL}`, which is all that is spoken here and what collectors take at the same port"
    );
    vars.parsed("OTEL_EXPORTER_OTLP_PROTOCOL", (), &only, |v| (v == OTLP_PROTOCOL).then_some(()));
    let headers = headers(vars, "OTEL_EXPORTER_OTLP_HEADERS");
    let service_name = vars.get("OTEL_SERVICE_NAME").unwrap_or_else(|| SERVICE_NAME.to_owned());
    Some(Collector { url: of_traces.or(of_all)?, headers, service_name })
}

/// `name=value,name=value`, values percent-encoded. They may be secret, and so are not said where they are wrong.
fn headers(vars: &mut Reader, name: &str) -> HeaderMap {
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some((name.trim().parse::<HeaderName>().ok()?, value))
    };
    let Some(text) = vars.get(name) else { return HeaderMap::new() };
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.map(header).collect::<Option<HeaderMap>>().unwrap_or_else(|| {
        vars.wrong(name, "expected `name=value`, comma-separated, values percent-encoded");
        HeaderMap::new()
    })
}

pub(super) fn describe(config: &Config) -> Vec<Line> {
    let collector = config.collector.as_ref();
    let service_name = collector.map_or(SERVICE_NAME, |to| to.service_name.as_str());
    vec![
        ("LOG_FORMAT", if config.log_json { "json" } else { "text" }.to_owned()),
        ("LOG_LEVEL", config.log_filter.clone()),
        ("OPG_METRICS_TOKEN", shown::secret(config.metrics_token.is_some())),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", shown::secret(collector.is_some())),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", shown::secret(collector.is_some())),
        ("OTEL_EXPORTER_OTLP_HEADERS", shown::secret(collector.is_some_and(|to| !to.headers.is_empty()))),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", OTLP_PROTOCOL.to_owned()),
        ("OTEL_SERVICE_NAME", service_name.to_owned()),
    ]
}
