//! Configuration: read from the environment once, all mistakes at once.
//!
//! Every variable may also be written with `OPG_` before it, which wins.

use crate::db_proxy::limits::{APP_BYTES, APP_TABLES};
use crate::limits::{ARTIFACTS_RETENTION, CALL_TIME_MAX, RUNNERS_PER_APP_MAX, TOOL_TIME, TURN_TIME};
use crate::mail::{self, MailConfig};
use crate::people::oauth::{Provider, ProviderConfig, config::is_client_id};
use crate::sessions::artifacts::{BucketConfig, parse_bucket_url};
use crate::sessions::instances::Target;
use crate::traces::Collector;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};
use url::Url;

/// Shorter admin tokens are refused in production: 32 characters of base 62 are 190 bits.
pub const ADMIN_TOKEN_CHARS_MIN: usize = 32;

/// The only way of OTLP that is spoken.
const OTLP_PROTOCOL: &str = "http/json";
/// What traces call us, unless configured.
const SERVICE_NAME: &str = "opg";

/// What the process was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// `development` or `production`.
    pub environment: Environment,
    /// Address to listen on (`BIND`, default `127.0.0.1`).
    pub bind: IpAddr,
    /// Port to listen on (`PORT`, default 3000; 0 takes a free one).
    pub port: u16,
    /// Where blobs, the embedded database and generated keys live (`DATA_DIR`).
    pub data_dir: PathBuf,
    /// Compiled components by digest (`OPG_CACHE_DIR`, default `DATA_DIR/cache`).
    pub cache_dir: PathBuf,
    /// A folder of components that replace the shipped ones (`PREDEFINED_DIR`).
    pub predefined_dir: Option<PathBuf>,
    /// An external server for the control plane (`DATABASE_URL`); none: embedded.
    pub database_url: Option<SecretString>,
    /// An external server for apps' own SQL (`DATABASE_APPS_URL`).
    pub apps_database_url: Option<SecretString>,
    /// Where `postgres` and `initdb` are (`OPG_POSTGRES_BIN`); none: look.
    pub postgres_bin: Option<PathBuf>,
    /// Tokens that may do what an operator may (`ADMIN_TOKENS`, comma-separated).
    pub admin_tokens: Vec<SecretString>,
    /// Master keys (`OPG_MASTER_KEY`).
    pub master_key: Option<SecretString>,
    /// The same under the name of the runner's documents (`OPENAGENT_MASTER_KEY`).
    pub master_key_alias: Option<SecretString>,
    /// A file with the same (`OPG_MASTER_KEY_FILE`).
    pub master_key_file: Option<PathBuf>,
    /// What tokens are hashed with (`OPG_TOKEN_PEPPER`); none: generated in `DATA_DIR`.
    pub token_pepper: Option<SecretString>,
    /// Whether anyone may create a tenant (`ALLOW_SELF_REGISTRATION`).
    pub allow_self_registration: bool,
    /// The mail server and the sender of letters (`SMTP_URL`, `SMTP_FROM`); none: no mail is sent.
    pub mail: Option<MailConfig>,
    /// How browsers reach this server, without a slash at the end (`BASE_URL`); none: as each of them says.
    pub base_url: Option<String>,
    /// Whose accounts people may sign in with (`OAUTH_GITHUB_…`, `OAUTH_GOOGLE_…`).
    pub oauth: Vec<ProviderConfig>,
    /// How long a session lives after its last use (`SESSION_TTL`, default `24h`).
    pub session_ttl: Duration,
    /// How long what a session runs on is kept after its last use (`INSTANCE_IDLE_TTL`, default `15m`).
    pub instance_idle_ttl: Duration,
    /// The bucket artifacts go to (`ARTIFACTS_URL` and `ARTIFACTS_S3_…`); none: `DATA_DIR/artifacts`.
    pub artifacts_bucket: Option<BucketConfig>,
    /// How long artifacts are kept at the most (`ARTIFACTS_RETENTION`, default `30d`).
    pub artifacts_retention: Duration,
    /// What sessions may run on (`SESSION_TARGETS`, default `wasm`); the first is what they run on unless told.
    pub session_targets: Vec<Target>,
    /// How many sessions of one app may run in processes of their own on this host (`SESSION_RUNNERS_PER_APP`, default 32).
    pub session_runners_per_app: usize,
    /// How long one call of a tool may take, host waits included (`OPG_TOOL_TIME_LIMIT_MS`, default 30000).
    pub tool_time_limit: Duration,
    /// How long one turn of an agent may take (`OPG_AGENT_TIME_LIMIT_MS`, default 600000).
    pub agent_time_limit: Duration,
    /// Whether model providers may be at private addresses (`OPG_ALLOW_PRIVATE_UPSTREAMS`).
    pub allow_private_upstreams: bool,
    /// Whether guests may reach private addresses they were granted (`OPG_ALLOW_PRIVATE_GUEST_HTTP`).
    pub allow_private_guest_http: bool,
    /// Whether the offline `demo` provider is offered (`OPG_DEMO_PROVIDER`; default: not in production).
    pub demo_provider: bool,
    /// Whether the `mock` provider, for tests, is offered (`OPG_MOCK_PROVIDER`; default: not in production).
    pub mock_provider: bool,
    /// Proxies whose `X-Forwarded-For` is believed (`TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<IpAddr>,
    /// What an app's tables may hold on disk, in bytes (`OPG_DATABASE_BYTES_PER_APP`, default 1 GiB).
    pub database_bytes_max: u64,
    /// How many tables an app may have (`OPG_DATABASE_TABLES_PER_APP`, default 200).
    pub database_tables_max: u32,
    /// Requests per minute for one credential (`OPG_RATE_LIMIT_PER_MINUTE`).
    pub rate_limit_per_minute: u32,
    /// `json` or `text` (`LOG_FORMAT`).
    pub log_json: bool,
    /// What to log (`LOG_LEVEL`, as in `RUST_LOG`; default `info`).
    pub log_filter: String,
    /// A token for `/metrics` from elsewhere than loopback (`OPG_METRICS_TOKEN`).
    pub metrics_token: Option<SecretString>,
    /// Where traces go (`OTEL_EXPORTER_OTLP_ENDPOINT` and its like); none: nowhere.
    pub collector: Option<Collector>,
}

/// Where this runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// On somebody's machine: `http` providers are fine, short admin tokens too.
    Development,
    /// For others.
    Production,
}

/// Everything wrong with the environment.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is wrong:\n{}", .0.iter().map(|e| format!("  {e}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<String>);

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Every variable that is wrong, with what is expected.
    pub fn from_env() -> Result<Config, ConfigErrors> {
        // Variables that are not text are somebody else's.
        let text = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let text = text.map(|(name, value)| (name, value.to_string_lossy().into_owned()));
        Config::from_vars(text)
    }

    /// Reads these variables.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Config, ConfigErrors> {
        let mut read =
            Reader { vars: vars.into_iter().filter(|(_, value)| !is_unset(value)).collect(), errors: vec![] };
        let config = read.config();
        if read.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(read.errors)) }
    }

    /// Name and effective value of each variable, secrets masked, for `opg config check`.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let secret = |set: bool| if set { "(set)".to_owned() } else { "(not set)".to_owned() };
        let path = |path: &Option<PathBuf>| {
            path.as_ref().map_or("(not set)".to_owned(), |p| p.display().to_string())
        };
        vec![
            ("OPG_ENV", format!("{:?}", self.environment).to_lowercase()),
            ("BIND", self.bind.to_string()),
            ("PORT", self.port.to_string()),
            ("DATA_DIR", self.data_dir.display().to_string()),
            ("OPG_CACHE_DIR", self.cache_dir.display().to_string()),
            ("PREDEFINED_DIR", path(&self.predefined_dir)),
            (
                "DATABASE_URL",
                self.database_url.as_ref().map_or("(embedded PostgreSQL)".into(), |_| "(set)".into()),
            ),
            ("DATABASE_APPS_URL", secret(self.apps_database_url.is_some())),
            ("OPG_POSTGRES_BIN", path(&self.postgres_bin)),
            ("ADMIN_TOKENS", format!("({} tokens)", self.admin_tokens.len())),
            ("OPG_MASTER_KEY", secret(self.master_key.is_some())),
            ("OPG_MASTER_KEY_FILE", path(&self.master_key_file)),
            ("OPG_TOKEN_PEPPER", secret(self.token_pepper.is_some())),
            ("ALLOW_SELF_REGISTRATION", self.allow_self_registration.to_string()),
            ("SMTP_URL", secret(self.mail.is_some())),
            ("SMTP_FROM", self.mail.as_ref().map_or("(not set)".to_owned(), |mail| mail.from.clone())),
            ("BASE_URL", self.base_url.clone().unwrap_or_else(|| "(as browsers say)".to_owned())),
            ("OAUTH_GITHUB_CLIENT_ID", self.oauth_client(Provider::GitHub)),
            ("OAUTH_GITHUB_CLIENT_SECRET", secret(self.provider(Provider::GitHub).is_some())),
            ("OAUTH_GITHUB_URL", self.oauth_url(Provider::GitHub)),
            ("OAUTH_GOOGLE_CLIENT_ID", self.oauth_client(Provider::Google)),
            ("OAUTH_GOOGLE_CLIENT_SECRET", secret(self.provider(Provider::Google).is_some())),
            ("OAUTH_GOOGLE_URL", self.oauth_url(Provider::Google)),
            ("SESSION_TTL", format!("{}m", self.session_ttl.as_secs() / 60)),
            ("INSTANCE_IDLE_TTL", format!("{}m", self.instance_idle_ttl.as_secs() / 60)),
            (
                "ARTIFACTS_URL",
                self.artifacts_bucket.as_ref().map_or("(DATA_DIR/artifacts)".to_owned(), BucketConfig::url),
            ),
            (
                "ARTIFACTS_S3_ENDPOINT",
                self.artifacts_bucket
                    .as_ref()
                    .and_then(|bucket| bucket.endpoint.as_ref())
                    .map_or("(not set)".to_owned(), Url::to_string),
            ),
            (
                "ARTIFACTS_S3_REGION",
                self.artifacts_bucket.as_ref().map_or("(not set)".to_owned(), |bucket| bucket.region.clone()),
            ),
            ("ARTIFACTS_S3_ACCESS_KEY_ID", secret(self.artifacts_bucket.is_some())),
            ("ARTIFACTS_S3_SECRET_ACCESS_KEY", secret(self.artifacts_bucket.is_some())),
            ("ARTIFACTS_RETENTION", format!("{}m", self.artifacts_retention.as_secs() / 60)),
            (
                "SESSION_TARGETS",
                self.session_targets.iter().map(|target| target.name()).collect::<Vec<_>>().join(","),
            ),
            ("SESSION_RUNNERS_PER_APP", self.session_runners_per_app.to_string()),
            ("OPG_TOOL_TIME_LIMIT_MS", self.tool_time_limit.as_millis().to_string()),
            ("OPG_AGENT_TIME_LIMIT_MS", self.agent_time_limit.as_millis().to_string()),
            ("OPG_ALLOW_PRIVATE_UPSTREAMS", self.allow_private_upstreams.to_string()),
            ("OPG_ALLOW_PRIVATE_GUEST_HTTP", self.allow_private_guest_http.to_string()),
            ("OPG_DEMO_PROVIDER", self.demo_provider.to_string()),
            ("OPG_MOCK_PROVIDER", self.mock_provider.to_string()),
            (
                "TRUSTED_PROXIES",
                self.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            ),
            ("OPG_DATABASE_BYTES_PER_APP", self.database_bytes_max.to_string()),
            ("OPG_DATABASE_TABLES_PER_APP", self.database_tables_max.to_string()),
            ("OPG_RATE_LIMIT_PER_MINUTE", self.rate_limit_per_minute.to_string()),
            ("LOG_FORMAT", if self.log_json { "json" } else { "text" }.to_owned()),
            ("LOG_LEVEL", self.log_filter.clone()),
            ("OPG_METRICS_TOKEN", secret(self.metrics_token.is_some())),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", secret(self.collector.is_some())),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", secret(self.collector.is_some())),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                secret(self.collector.as_ref().is_some_and(|to| !to.headers.is_empty())),
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", OTLP_PROTOCOL.to_owned()),
            (
                "OTEL_SERVICE_NAME",
                self.collector.as_ref().map_or_else(|| SERVICE_NAME.to_owned(), |to| to.service_name.clone()),
            ),
        ]
    }

    fn provider(&self, provider: Provider) -> Option<&ProviderConfig> {
        self.oauth.iter().find(|config| config.provider == provider)
    }

    fn oauth_client(&self, provider: Provider) -> String {
        self.provider(provider).map_or("(not set)".to_owned(), |config| config.client_id.clone())
    }

    fn oauth_url(&self, provider: Provider) -> String {
        let url = self.provider(provider).and_then(|config| config.url.as_ref());
        url.map_or("(not set)".to_owned(), Url::to_string)
    }

    /// Whether this is for others.
    pub fn is_production(&self) -> bool {
        self.environment == Environment::Production
    }
}

/// Empty, or a literal `${NAME}` that some launcher did not fill in (row M032).
fn is_unset(value: &str) -> bool {
    value.trim().is_empty() || (value.starts_with("${") && value.ends_with('}'))
}

struct Reader {
    vars: BTreeMap<String, String>,
    errors: Vec<String>,
}

impl Reader {
    fn config(&mut self) -> Config {
        let environment =
            self.parsed("OPG_ENV", Environment::Development, "`development` or `production`", |v| match v {
                "development" | "dev" => Some(Environment::Development),
                "production" | "prod" => Some(Environment::Production),
                _ => None,
            });
        let production = environment == Environment::Production;
        let data_dir = self.path("DATA_DIR").unwrap_or_else(|| PathBuf::from("./data"));
        Config {
            environment,
            bind: self.parsed(
                "BIND",
                IpAddr::from([127, 0, 0, 1]),
                "an IP address, such as 127.0.0.1 or 0.0.0.0",
                |v| v.parse().ok(),
            ),
            port: self.parsed("PORT", 3000, "a port, 0 to 65535", |v| v.parse().ok()),
            cache_dir: self.path("OPG_CACHE_DIR").unwrap_or_else(|| data_dir.join("cache")),
            data_dir,
            predefined_dir: self.path("PREDEFINED_DIR"),
            database_url: self.secret("DATABASE_URL"),
            apps_database_url: self.secret("DATABASE_APPS_URL"),
            postgres_bin: self.path("OPG_POSTGRES_BIN"),
            admin_tokens: self.admin_tokens(production),
            master_key: self.secret("OPG_MASTER_KEY"),
            master_key_alias: self.secret("OPENAGENT_MASTER_KEY"),
            master_key_file: self.path("OPG_MASTER_KEY_FILE"),
            token_pepper: self.secret("OPG_TOKEN_PEPPER"),
            allow_self_registration: self.flag("ALLOW_SELF_REGISTRATION", false),
            mail: self.mail(production),
            base_url: self.base_url(production),
            oauth: Provider::ALL.into_iter().filter_map(|one| self.oauth(one, production)).collect(),
            session_ttl: self.parsed(
                "SESSION_TTL",
                Duration::from_secs(24 * 60 * 60),
                "a number and `m`, `h` or `d`, such as 30m, 24h or 7d",
                parse_ttl,
            ),
            instance_idle_ttl: self.parsed(
                "INSTANCE_IDLE_TTL",
                Duration::from_secs(15 * 60),
                "a number and `m`, `h` or `d`, such as 15m or 1h",
                parse_ttl,
            ),
            artifacts_bucket: self.bucket(production),
            artifacts_retention: self.parsed(
                "ARTIFACTS_RETENTION",
                ARTIFACTS_RETENTION,
                "a number and `m`, `h` or `d`, such as 7d or 30d",
                parse_ttl,
            ),
            session_targets: self.parsed(
                "SESSION_TARGETS",
                vec![Target::Wasm],
                "`wasm`, `process` or both, comma-separated",
                |v| v.split(',').map(|name| Target::parse(name.trim())).collect(),
            ),
            session_runners_per_app: self.parsed(
                "SESSION_RUNNERS_PER_APP",
                RUNNERS_PER_APP_MAX,
                "a number above 0",
                |v| v.parse().ok().filter(|n| *n > 0),
            ),
            tool_time_limit: self.time_limit("OPG_TOOL_TIME_LIMIT_MS", TOOL_TIME),
            agent_time_limit: self.time_limit("OPG_AGENT_TIME_LIMIT_MS", TURN_TIME),
            allow_private_upstreams: self.flag("OPG_ALLOW_PRIVATE_UPSTREAMS", false),
            allow_private_guest_http: self.flag("OPG_ALLOW_PRIVATE_GUEST_HTTP", false),
            demo_provider: self.flag("OPG_DEMO_PROVIDER", !production),
            mock_provider: self.flag("OPG_MOCK_PROVIDER", !production),
            trusted_proxies: self.parsed("TRUSTED_PROXIES", vec![], "IP addresses, comma-separated", |v| {
                v.split(',').map(|ip| ip.trim().parse().ok()).collect()
            }),
            database_bytes_max: self.parsed(
                "OPG_DATABASE_BYTES_PER_APP",
                APP_BYTES,
                "a number of bytes above 0",
                |v| v.parse().ok().filter(|n| *n > 0),
            ),
            database_tables_max: self.parsed(
                "OPG_DATABASE_TABLES_PER_APP",
                APP_TABLES,
                "a number above 0",
                |v| v.parse().ok().filter(|n| *n > 0),
            ),
            rate_limit_per_minute: self.parsed(
                "OPG_RATE_LIMIT_PER_MINUTE",
                crate::limits::REQUESTS_PER_MINUTE,
                "a number above 0",
                |v| v.parse().ok().filter(|n| *n > 0),
            ),
            log_json: self.parsed("LOG_FORMAT", true, "`json` or `text`", |v| match v {
                "json" => Some(true),
                "text" => Some(false),
                _ => None,
            }),
            log_filter: self.get("LOG_LEVEL").unwrap_or_else(|| "info".to_owned()),
            metrics_token: self.secret("OPG_METRICS_TOKEN"),
            collector: self.collector(),
        }
    }

    /// The mail server. What is wrong with its URL is not said: a password may be in it.
    fn mail(&mut self, production: bool) -> Option<MailConfig> {
        let (url, from) = (self.get("SMTP_URL"), self.get("SMTP_FROM"));
        let from = from.map(|from| from.trim().to_owned());
        if from.as_deref().is_some_and(|from| !mail::is_sender(from)) {
            self.errors.push("SMTP_FROM: expected an address, or `Name <address>`".to_owned());
            return None;
        }
        let (url, from) = match (url, from) {
            (Some(url), Some(from)) => (url, from),
            (Some(_), None) => {
                self.errors.push("SMTP_FROM: missing; SMTP_URL needs it".to_owned());
                return None;
            }
            // A sender without a server sends nothing.
            (None, _) => return None,
        };
        let config = mail::parse_url(url.trim(), from, production);
        if config.is_none() {
            let text = "expected smtps://user:password@host:port or smtp://user:password@host:port, both encrypted; \
                        `?tls=none` after the second is for development and this machine";
            self.errors.push(format!("SMTP_URL: {text}"));
        }
        config
    }

    /// How browsers reach us: a scheme, a host and a port.
    fn base_url(&mut self, production: bool) -> Option<String> {
        let text = self.get("BASE_URL")?;
        let url = server(&text, production).filter(|url| url.path() == "/");
        if url.is_none() {
            let text = "expected a scheme and a host, such as https://opg.example.com; `http` is for development \
                        and this machine";
            self.errors.push(format!("BASE_URL: {text}"));
        }
        url.map(|url| url.origin().ascii_serialization())
    }

    /// A provider of accounts. Values are not said where they are wrong: the secret may stand in the wrong place.
    fn oauth(&mut self, provider: Provider, production: bool) -> Option<ProviderConfig> {
        let [id, secret, url] =
            ["CLIENT_ID", "CLIENT_SECRET", "URL"].map(|end| format!("{}_{end}", provider.variables()));
        let at = self.get(&url).map(|text| server(&text, production));
        if at == Some(None) {
            let text =
                "expected a URL such as https://git.example.com; `http` is for development and this machine";
            self.errors.push(format!("{url}: {text}"));
        }
        let Some(client_id) = self.get(&id).map(|text| text.trim().to_owned()) else {
            if self.get(&secret).or_else(|| self.get(&format!("{secret}_FILE"))).is_some() {
                self.errors.push(format!("{id}: missing; {secret} needs it"));
            }
            return None;
        };
        if !is_client_id(&client_id) {
            self.errors.push(format!("{id}: expected what the provider calls this server, without spaces"));
        }
        let client_secret = self.needed_secret(&secret, &id)?;
        Some(ProviderConfig { provider, client_id, client_secret, url: at.flatten() })
    }

    /// Where artifacts go besides the data directory. Values are not said where they are wrong: a key may be in one.
    fn bucket(&mut self, production: bool) -> Option<BucketConfig> {
        let url = self.get("ARTIFACTS_URL")?;
        let place = parse_bucket_url(url.trim());
        if place.is_none() {
            self.errors.push("ARTIFACTS_URL: expected `s3://bucket` or `s3://bucket/prefix`".to_owned());
        }
        let endpoint = self.get("ARTIFACTS_S3_ENDPOINT").map(|text| server(&text, production));
        if endpoint == Some(None) {
            let text =
                "expected a URL such as https://s3.example.com; `http` is for development and this machine";
            self.errors.push(format!("ARTIFACTS_S3_ENDPOINT: {text}"));
        }
        let region = self.get("ARTIFACTS_S3_REGION").unwrap_or_else(|| "us-east-1".to_owned());
        let access_key_id = self.needed_secret("ARTIFACTS_S3_ACCESS_KEY_ID", "ARTIFACTS_URL");
        let secret_access_key = self.needed_secret("ARTIFACTS_S3_SECRET_ACCESS_KEY", "ARTIFACTS_URL");
        let (bucket, prefix) = place?;
        Some(BucketConfig {
            bucket,
            prefix,
            endpoint: endpoint.flatten(),
            region,
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?,
        })
    }

    /// A secret that must be there: in the variable, or in the file that the variable with `_FILE` after it names.
    fn needed_secret(&mut self, name: &str, needed_by: &str) -> Option<SecretString> {
        let in_file = format!("{name}_FILE");
        let read = match (self.get(name), self.get(&in_file)) {
            (Some(value), None) => Ok(value),
            (None, Some(path)) => std::fs::read_to_string(&path)
                .map_err(|cause| format!("{in_file}: cannot be read: {cause}"))
                .map(|text| text.trim().to_owned())
                .and_then(
                    |text| if text.is_empty() { Err(format!("{in_file}: is empty")) } else { Ok(text) },
                ),
            (Some(_), Some(_)) => Err(format!("{name}: set this or {in_file}, not both")),
            (None, None) => Err(format!("{name}: missing; {needed_by} needs it, or {in_file}")),
        };
        read.map(|text| SecretString::from(text.trim().to_owned()))
            .map_err(|error| self.errors.push(error))
            .ok()
    }

    /// OpenTelemetry's own names. The address for traces is taken as it is, the common one gets a path.
    fn collector(&mut self) -> Option<Collector> {
        let expected = "an absolute URL, such as http://localhost:4318";
        let web = |text: &str| Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let of_traces =
            self.parsed("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", None, expected, |v| web(v).map(Some));
        let of_all = self.parsed("OTEL_EXPORTER_OTLP_ENDPOINT", None, expected, |v| {
            let mut url = web(v)?;
            url.path_segments_mut().ok()?.pop_if_empty().extend(["v1", "traces"]);
            Some(Some(url))
        });
        let only = format!(
            "`{OTLP_PROTOCOL}`, which is all that is spoken here and what collectors take at the same port"
        );
        self.parsed("OTEL_EXPORTER_OTLP_PROTOCOL", (), &only, |v| (v == OTLP_PROTOCOL).then_some(()));
        let headers = self.headers("OTEL_EXPORTER_OTLP_HEADERS");
        let service_name = self.get("OTEL_SERVICE_NAME").unwrap_or_else(|| SERVICE_NAME.to_owned());
        Some(Collector { url: of_traces.or(of_all)?, headers, service_name })
    }

    /// `name=value,name=value`, values percent-encoded. They may be secret, and so are not said where they are wrong.
    fn headers(&mut self, name: &str) -> HeaderMap {
        let read = |text: &str| {
            let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
            let header = |pair: &str| {
                let (name, value) = pair.split_once('=')?;
                let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
                let mut value = HeaderValue::from_str(&value).ok()?;
                value.set_sensitive(true);
                Some((name.trim().parse::<HeaderName>().ok()?, value))
            };
            pairs.map(header).collect::<Option<HeaderMap>>()
        };
        let Some(text) = self.get(name) else { return HeaderMap::new() };
        read(&text).unwrap_or_else(|| {
            self.errors
                .push(format!("{name}: expected `name=value`, comma-separated, values percent-encoded"));
            HeaderMap::new()
        })
    }

    fn get(&self, name: &str) -> Option<String> {
        let with_prefix = format!("OPG_{name}");
        self.vars.get(&with_prefix).or_else(|| self.vars.get(name)).cloned()
    }

    fn secret(&self, name: &str) -> Option<SecretString> {
        self.get(name).map(SecretString::from)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    fn parsed<T>(&mut self, name: &str, default: T, expected: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        let Some(text) = self.get(name) else { return default };
        parse(text.trim()).unwrap_or_else(|| {
            self.errors.push(format!("{name}: expected {expected}, got `{text}`"));
            default
        })
    }

    fn time_limit(&mut self, name: &str, default: Duration) -> Duration {
        let expected = format!("milliseconds, 1 to {}", CALL_TIME_MAX.as_millis());
        self.parsed(name, default, &expected, |v| {
            let limit = Duration::from_millis(v.parse().ok()?);
            (limit > Duration::ZERO && limit <= CALL_TIME_MAX).then_some(limit)
        })
    }

    fn flag(&mut self, name: &str, default: bool) -> bool {
        self.parsed(name, default, "true or false", |v| match v.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        })
    }

    fn admin_tokens(&mut self, production: bool) -> Vec<SecretString> {
        let tokens: Vec<SecretString> = self
            .get("ADMIN_TOKENS")
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|token| !token.is_empty())
            .map(SecretString::from)
            .collect();
        if tokens.is_empty() {
            self.errors.push("ADMIN_TOKENS: missing; set one or more tokens, comma-separated (`openssl rand -hex 32` makes one)".into());
        }
        let too_short = |token: &SecretString| token.expose_secret().chars().count() < ADMIN_TOKEN_CHARS_MIN;
        if production && tokens.iter().any(too_short) {
            self.errors.push(format!(
                "ADMIN_TOKENS: each needs at least {ADMIN_TOKEN_CHARS_MIN} characters in production"
            ));
        }
        if tokens.iter().any(|token| ["ocs_", "opg_"].iter().any(|p| token.expose_secret().starts_with(p))) {
            self.errors.push(
                "ADMIN_TOKENS: a token must not start with `ocs_` or `opg_`, which mark other kinds".into(),
            );
        }
        tokens
    }
}

/// Another server's URL, with nothing secret in it: encrypted, or in development, or on this machine.
fn server(text: &str, production: bool) -> Option<Url> {
    let url = Url::parse(text.trim()).ok()?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let is_here = match url.host()? {
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.is_loopback(),
        url::Host::Domain(name) => name == "localhost",
    };
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && (!production || is_here));
    (is_bare && is_safe && url.fragment().is_none()).then_some(url)
}

/// `30m`, `24h`, `7d` (row M247). Zero, other units and bare numbers are refused.
fn parse_ttl(text: &str) -> Option<Duration> {
    let unit_s = match text.chars().last()? {
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let count: u64 =
        if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok()? } else { return None };
    (count > 0)
        .then(|| count.checked_mul(unit_s))?
        .filter(|s| *s <= 366 * 24 * 60 * 60)
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let vars = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::from_vars(std::iter::once(("ADMIN_TOKENS".to_owned(), "admin_secret".to_owned())).chain(vars))
    }

    #[test]
    fn m322_a_bucket_needs_a_url_and_keys_and_no_key_is_shown() {
        let keys = [("ARTIFACTS_S3_ACCESS_KEY_ID", "AKIA1"), ("ARTIFACTS_S3_SECRET_ACCESS_KEY", "s3cr3t")];
        let with = |more: &[(&str, &str)]| read(&[&keys[..], more].concat());
        assert!(with(&[]).unwrap().artifacts_bucket.is_none());
        let config =
            with(&[("ARTIFACTS_URL", "s3://opg/a"), ("OPG_ARTIFACTS_S3_ENDPOINT", "http://minio:9000")])
                .unwrap();
        let bucket = config.artifacts_bucket.as_ref().unwrap();
        assert_eq!((bucket.url().as_str(), bucket.region.as_str()), ("s3://opg/a", "us-east-1"));
        let shown = format!("{config:?} {:?}", config.describe());
        assert!(!shown.contains("AKIA1") && !shown.contains("s3cr3t"), "{shown}");
        for (vars, wrong) in [
            (&[("ARTIFACTS_URL", "https://s3cr3t@opg")][..], "ARTIFACTS_URL"),
            (
                &[("ARTIFACTS_URL", "s3://opg"), ("ARTIFACTS_S3_ENDPOINT", "https://k:s3cr3t@minio")],
                "ENDPOINT",
            ),
            (
                &[
                    ("ARTIFACTS_URL", "s3://opg"),
                    ("ARTIFACTS_S3_ENDPOINT", "http://minio:9000"),
                    ("OPG_ENV", "production"),
                ],
                "ENDPOINT",
            ),
            (&[("ARTIFACTS_URL", "s3://opg"), ("ARTIFACTS_S3_ACCESS_KEY_ID_FILE", "/x")], "not both"),
            (&[("ARTIFACTS_RETENTION", "0d")], "ARTIFACTS_RETENTION"),
        ] {
            let error = with(vars).unwrap_err().to_string();
            assert!(error.contains(wrong) && !error.contains("s3cr3t"), "{error}");
        }
        let missing = read(&[("ARTIFACTS_URL", "s3://opg")]).unwrap_err().to_string();
        assert!(missing.contains("ACCESS_KEY_ID: missing") && missing.contains("SECRET_ACCESS_KEY: missing"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, " s3cr3t\n").unwrap();
        let from_file = read(&[
            ("ARTIFACTS_URL", "s3://opg"),
            ("ARTIFACTS_S3_ACCESS_KEY_ID", "AKIA1"),
            ("ARTIFACTS_S3_SECRET_ACCESS_KEY_FILE", file.to_str().unwrap()),
        ]);
        let secret = from_file.unwrap().artifacts_bucket.unwrap().secret_access_key;
        assert_eq!(secret.expose_secret(), "s3cr3t");
    }

    #[test]
    fn m071_a_mail_server_needs_a_sender_and_its_password_is_shown_nowhere() {
        assert!(read(&[("SMTP_FROM", "a@b.example")]).unwrap().mail.is_none());
        let config =
            read(&[("OPG_SMTP_URL", "smtps://u:canary@h"), ("SMTP_FROM", "OPG <a@b.example>")]).unwrap();
        assert_eq!(config.mail.as_ref().unwrap().host, "h");
        assert!(!format!("{config:?} {:?}", config.describe()).contains("canary"));
        for (url, from, wrong) in [
            ("smtps://u:canary@h", "", "SMTP_FROM: missing"),
            ("smtps://u:canary@h", "OPG", "SMTP_FROM"),
            ("https://u:canary@h", "a@b.example", "SMTP_URL"),
            ("smtp://u:canary@h?tls=none", "a@b.example", "SMTP_URL"),
        ] {
            let vars = [("SMTP_URL", url), ("SMTP_FROM", from), ("OPG_ENV", "production")];
            let error = read(&vars).unwrap_err().to_string();
            assert!(error.contains(wrong) && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn m073_a_provider_needs_an_id_and_a_secret_which_is_shown_nowhere() {
        assert!(read(&[("OAUTH_GITHUB_URL", "https://git.example")]).unwrap().oauth.is_empty());
        let id = ("OAUTH_GITHUB_CLIENT_ID", "Iv1.us");
        let secret = ("OPG_OAUTH_GITHUB_CLIENT_SECRET", "canary");
        let config = read(&[id, secret, ("BASE_URL", "https://opg.example:8443/")]).unwrap();
        assert_eq!((config.oauth.len(), config.oauth[0].provider), (1, Provider::GitHub));
        assert_eq!(config.base_url.as_deref(), Some("https://opg.example:8443"));
        assert!(!format!("{config:?} {:?}", config.describe()).contains("canary"));
        for (vars, wrong) in [
            (&[id][..], "OAUTH_GITHUB_CLIENT_SECRET: missing; OAUTH_GITHUB_CLIENT_ID needs it"),
            (&[secret], "OAUTH_GITHUB_CLIENT_ID: missing"),
            (&[("OAUTH_GITHUB_CLIENT_ID", "canary two"), secret], "OAUTH_GITHUB_CLIENT_ID: expected"),
            (&[id, secret, ("OAUTH_GITHUB_URL", "https://u:canary@git.example")], "OAUTH_GITHUB_URL"),
            (&[id, secret, ("OAUTH_GITHUB_URL", "http://git.example"), ("OPG_ENV", "production")], "_URL"),
            (&[("BASE_URL", "https://opg.example/path")], "BASE_URL"),
            (&[("BASE_URL", "opg.example")], "BASE_URL"),
        ] {
            let error = read(vars).unwrap_err().to_string();
            assert!(error.contains(wrong) && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn m247_a_session_ttl_is_a_number_and_a_unit() {
        for (text, seconds) in [("30m", 1800), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(read(&[("SESSION_TTL", text)]).unwrap().session_ttl.as_secs(), seconds);
        }
        for text in ["0h", "1w", "-1d", "24", "h", "1.5h", "99999999999999999999d", "٣h"] {
            let errors = read(&[("SESSION_TTL", text)]).unwrap_err();
            assert!(errors.to_string().contains("SESSION_TTL"), "{text}: {errors}");
        }
    }

    #[test]
    fn m324_sessions_run_on_what_the_operator_names_and_first_on_the_first() {
        assert_eq!(read(&[]).unwrap().session_targets, [Target::Wasm]);
        let both = read(&[("SESSION_TARGETS", "process, wasm")]).unwrap();
        assert_eq!(both.session_targets, [Target::Process, Target::Wasm]);
        assert_eq!(read(&[("SESSION_RUNNERS_PER_APP", "5")]).unwrap().session_runners_per_app, 5);
        assert!(read(&[("SESSION_RUNNERS_PER_APP", "0")]).is_err());
        for text in ["docker", "wasm,", ","] {
            let errors = read(&[("SESSION_TARGETS", text)]).unwrap_err().to_string();
            assert!(errors.contains("SESSION_TARGETS"), "{text}: {errors}");
        }
    }

    #[test]
    fn m249_a_bad_flag_or_port_names_its_variable_and_all_come_at_once() {
        let errors =
            read(&[("PORT", "70000"), ("ALLOW_SELF_REGISTRATION", "maybe")]).unwrap_err().to_string();
        assert!(errors.contains("PORT") && errors.contains("ALLOW_SELF_REGISTRATION"), "{errors}");
        assert_eq!(read(&[("PORT", "1"), ("OPG_PORT", "2")]).unwrap().port, 2, "the OPG_ spelling wins");
    }

    #[test]
    fn m248_admin_tokens_are_required_and_blanks_ignored() {
        let none: [(String, String); 0] = [];
        assert!(Config::from_vars(none).unwrap_err().to_string().contains("ADMIN_TOKENS"));
        let config = Config::from_vars([("ADMIN_TOKENS".into(), " a , ,b,".into())]).unwrap();
        assert_eq!(config.admin_tokens.len(), 2);
    }

    #[test]
    fn m004_short_admin_tokens_do_not_boot_in_production() {
        let errors = read(&[("OPG_ENV", "production")]).unwrap_err().to_string();
        assert!(errors.contains("32 characters") && !errors.contains("admin_secret"), "{errors}");
    }

    #[test]
    fn a_time_limit_is_a_number_of_milliseconds() {
        assert_eq!(read(&[]).unwrap().tool_time_limit, TOOL_TIME);
        let config = read(&[("OPG_TOOL_TIME_LIMIT_MS", "250"), ("OPG_AGENT_TIME_LIMIT_MS", "1000")]).unwrap();
        assert_eq!(config.tool_time_limit, Duration::from_millis(250));
        assert_eq!(config.agent_time_limit, Duration::from_secs(1));
        for text in ["0", "-1", "30s", "999999999999"] {
            let errors = read(&[("OPG_TOOL_TIME_LIMIT_MS", text)]).unwrap_err().to_string();
            assert!(errors.contains("OPG_TOOL_TIME_LIMIT_MS"), "{text}: {errors}");
        }
    }

    #[test]
    fn a_literal_placeholder_counts_as_unset() {
        assert!(read(&[("DATABASE_URL", "${DATABASE_URL}")]).unwrap().database_url.is_none());
    }

    #[test]
    fn traces_go_where_opentelemetrys_variables_say_and_nowhere_without_them() {
        assert!(read(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=b")]).unwrap().collector.is_none());
        let at = |vars: &[(&str, &str)]| read(vars).unwrap().collector.unwrap().url.to_string();
        let (all, traces) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        assert_eq!(at(&[(all, "http://localhost:4318")]), "http://localhost:4318/v1/traces");
        assert_eq!(at(&[(all, "https://o.example/otlp/")]), "https://o.example/otlp/v1/traces");
        assert_eq!(at(&[(all, "http://a:1"), (traces, "http://b:2/x")]), "http://b:2/x");
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20canary, x-scope = one");
        let config = read(&[(all, "http://u:canary@a:1"), headers]).unwrap();
        let collector = config.collector.clone().unwrap();
        assert_eq!(
            (collector.headers["authorization"].to_str().ok(), collector.headers.len()),
            (Some("Basic canary"), 2)
        );
        assert!(!format!("{:?} {config:?}", config.describe()).contains("canary"));
        for (name, value) in [
            (all, "localhost:4318"),
            (all, "grpc://localhost:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "canary"),
        ] {
            let errors = read(&[(name, value)]).unwrap_err().to_string();
            assert!(errors.contains(name) && !errors.contains("canary"), "{errors}");
        }
    }

    #[test]
    fn the_description_shows_no_secret() {
        let config =
            read(&[("DATABASE_URL", "postgres://u:canary@h/d"), ("OPG_MASTER_KEY", "canary")]).unwrap();
        assert!(!format!("{:?} {config:?}", config.describe()).contains("canary"));
    }
}
