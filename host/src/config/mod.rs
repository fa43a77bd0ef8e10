//! Configuration: read from the environment once, all mistakes at once.
//!
//! Every variable may also be written with `OPG_` before it, which wins.
//!
//! Each part reads its own variables, says what it expects of them, and how they are shown; [`Config`] puts the parts
//! together, and [`Config::describe`] is the one list of all of them.
//!
//! - `server`: where it listens, and where it keeps what. `database`: which PostgreSQL. `keys`: who is an operator, and
//!   what is sealed and hashed with.
//! - `people`: how people come in; with it `mail`, and `accounts` that they have elsewhere.
//! - `sessions`: what they run on, and for how long; with it the `bucket` for artifacts.
//! - `guests`: what plugins and models may. `limits`: how much an app or a caller may.
//! - `telemetry`: what is told of all that.
//!
//! What a part is read with is in `reader`, what it is shown with in `shown`.

mod accounts;
mod bucket;
mod database;
mod guests;
mod keys;
mod limits;
mod mail;
mod people;
mod reader;
mod server;
mod sessions;
mod shown;
mod telemetry;
#[cfg(test)]
mod tests;

pub use server::Environment;

use self::{
    database::Database, guests::Guests, keys::Keys, limits::Limits, people::People, reader::Reader,
    server::Server, sessions::Sessions, telemetry::Telemetry,
};
use crate::{
    mail::MailConfig,
    people::oauth::ProviderConfig,
    sessions::{artifacts::BucketConfig, instances::Target},
    traces::Collector,
};
use secrecy::SecretString;
use std::{net::IpAddr, path::PathBuf, time::Duration};

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
        let mut read = Reader::new(vars);
        let config = Config::read(&mut read);
        if read.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(read.errors)) }
    }

    /// In the order in which mistakes are told.
    fn read(vars: &mut Reader) -> Config {
        let server = Server::read(vars);
        let production = server.environment == Environment::Production;
        let database = Database::read(vars);
        let keys = Keys::read(vars, production);
        let people = People::read(vars, production);
        let sessions = Sessions::read(vars, production);
        let guests = Guests::read(vars, production);
        let limits = Limits::read(vars);
        let telemetry = Telemetry::read(vars);
        Config {
            environment: server.environment,
            bind: server.bind,
            port: server.port,
            data_dir: server.data_dir,
            cache_dir: server.cache_dir,
            predefined_dir: server.predefined_dir,
            database_url: database.control_url,
            apps_database_url: database.apps_url,
            postgres_bin: database.postgres_bin,
            admin_tokens: keys.admin_tokens,
            master_key: keys.master_key,
            master_key_alias: keys.master_key_alias,
            master_key_file: keys.master_key_file,
            token_pepper: keys.token_pepper,
            allow_self_registration: people.allow_self_registration,
            mail: people.mail,
            base_url: people.base_url,
            oauth: people.oauth,
            session_ttl: sessions.ttl,
            instance_idle_ttl: sessions.instance_idle_ttl,
            artifacts_bucket: sessions.artifacts_bucket,
            artifacts_retention: sessions.artifacts_retention,
            session_targets: sessions.targets,
            session_runners_per_app: sessions.runners_per_app,
            tool_time_limit: guests.tool_time_limit,
            agent_time_limit: guests.agent_time_limit,
            allow_private_upstreams: guests.allow_private_upstreams,
            allow_private_guest_http: guests.allow_private_http,
            demo_provider: guests.demo_provider,
            mock_provider: guests.mock_provider,
            trusted_proxies: limits.trusted_proxies,
            database_bytes_max: limits.database_bytes_max,
            database_tables_max: limits.database_tables_max,
            rate_limit_per_minute: limits.rate_limit_per_minute,
            log_json: telemetry.log_json,
            log_filter: telemetry.log_filter,
            metrics_token: telemetry.metrics_token,
            collector: telemetry.collector,
        }
    }

    /// Name and effective value of each variable, secrets masked, for `opg config check`.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        [
            server::describe(self),
            database::describe(self),
            keys::describe(self),
            people::describe(self),
            sessions::describe(self),
            guests::describe(self),
            limits::describe(self),
            telemetry::describe(self),
        ]
        .concat()
    }

    /// Whether this is for others.
    pub fn is_production(&self) -> bool {
        self.environment == Environment::Production
    }
}
