//! The PostgreSQL server OPG owns when it is given no other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use super::find::{Binaries, FindError, Places};
use super::layout::{Layout, LayoutError, SOCKET_PORT, at};
use super::process::{Process, confine};
use super::server::describe;
use super::verifier::{ITERATIONS, SALT_BYTES, scram_verifier};

/// The superuser `initdb` makes. Not `postgres`, so that a tenant's guess at a name is wrong.
const SUPERUSER: &str = "opg_admin";
/// Address space of each server process. A hostile `repeat(repeat(…))` asks for gigabytes, and the statement
/// timeout does not stop it; with this limit it is a clean error in that one backend.
const MEMORY_BYTES_MAX: u64 = 1_500 << 20;
/// Our own pools, the logins of single apps, and some for the operator.
const CONNECTIONS_MAX: u32 = 100;
/// A start without recovery takes a tenth of a second; a loaded machine may take much longer.
const START_WAIT: Duration = Duration::from_secs(60);
/// Replaying the log after a crash is slow but sure: wait as long as the server says it is on its way.
const RECOVERY_WAIT: Duration = Duration::from_secs(600);
/// After a kill, the old server's lock file and shared memory linger until the kernel has cleaned up.
const STALE_LOCK_WAIT: Duration = Duration::from_secs(8);
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const READY_POLL: Duration = Duration::from_millis(20);

/// What the server may be told. [`EmbeddedConfig::new`] has sensible values for all but the directory.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// OPG's data directory; the server lives in `postgres/` inside it.
    pub data_dir: PathBuf,
    /// `OPG_POSTGRES_BIN`.
    pub bin_dir: Option<PathBuf>,
    /// A short directory for the socket (`XDG_RUNTIME_DIR`), used only when `data_dir` is too long for one.
    pub runtime_dir: Option<PathBuf>,
    /// `RLIMIT_AS` of each server process.
    pub memory_bytes_max: u64,
    pub connections_max: u32,
    /// `false` only in tests: commits are then not flushed to the disk.
    pub durable: bool,
}

impl EmbeddedConfig {
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            bin_dir: None,
            runtime_dir: None,
            memory_bytes_max: MEMORY_BYTES_MAX,
            connections_max: CONNECTIONS_MAX,
            durable: true,
        }
    }
}

/// A running server of our own. Call [`Embedded::stop`]; dropping it stops the server too, but blocks the thread.
pub struct Embedded {
    process: Process,
    binaries: Binaries,
    socket_dir: PathBuf,
    password: SecretString,
}

impl Embedded {
    /// Starts the server, creating the database on the first start, and returns when it answers.
    pub async fn start(config: &EmbeddedConfig) -> Result<Self, StartError> {
        let prepared = {
            let config = config.clone();
            // On a thread that lives until `initdb` is done: the kernel ties the child to it.
            tokio::task::spawn_blocking(move || prepare(&config))
                .await
                .map_err(|_| StartError::Interrupted)??
        };
        let Prepared { layout, binaries, password } = prepared;
        let give_up = Instant::now() + STALE_LOCK_WAIT;
        loop {
            let command = server_command(config, &layout, &binaries);
            let process =
                Process::spawn(command, Arc::clone(&layout.lock)).await.map_err(StartError::Spawn)?;
            let server = Self {
                process,
                binaries: binaries.clone(),
                socket_dir: layout.socket_dir.clone(),
                password: password.clone(),
            };
            match server.wait_until_ready().await {
                Ok(()) => {
                    tracing::info!(
                        major = server.binaries.major,
                        minor = server.binaries.minor,
                        "postgres started"
                    );
                    return Ok(server);
                }
                Err(StartError::Ended { log }) if is_stale_lock(&log) && Instant::now() < give_up => {
                    tracing::info!("the previous postgres is not gone yet, trying again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(StartError::Ended { log }) if is_stale_lock(&log) => {
                    return Err(StartError::StillRunning { dir: layout.data(binaries.major), log });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the server process still runs; `/readyz` asks.
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// Returns when the server has ended, whoever ended it.
    pub async fn died(&self) {
        self.process.ended().await;
    }

    /// The server's process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// The installation it is of.
    pub(super) fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The major version of the server, and of its data.
    pub fn major(&self) -> u32 {
        self.binaries.major
    }

    /// Rolls back what is open, writes everything down and ends the server. Bounded; harmless when repeated.
    pub async fn stop(&self) {
        self.process.stop().await;
    }

    /// How the superuser reaches `database`.
    pub fn admin(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .port(SOCKET_PORT)
            .ssl_mode(PgSslMode::Disable)
            .username(SUPERUSER)
            .password(self.password.expose_secret())
            .database(database)
            .disable_statement_logging()
    }

    /// The same as a URL that names no database, for another process of ours.
    pub fn admin_url(&self) -> SecretString {
        let mut url = url::Url::parse("postgres://localhost").expect("this is a URL");
        let parts = [
            url.set_username(SUPERUSER),
            url.set_password(Some(self.password.expose_secret())),
            url.set_port(Some(SOCKET_PORT)).map_err(drop),
        ];
        debug_assert!(parts.iter().all(Result::is_ok), "a URL with a host takes these");
        url.query_pairs_mut().append_pair("host", &self.socket_dir.display().to_string());
        SecretString::from(url.to_string())
    }

    async fn wait_until_ready(&self) -> Result<(), StartError> {
        let started = Instant::now();
        let options = self.admin("postgres");
        loop {
            let wait = match options.connect().await {
                Ok(mut connection) => {
                    self.renew_verifier(&mut connection).await?;
                    // The server answers; how the goodbye goes does not matter.
                    drop(connection.close().await);
                    return Ok(());
                }
                Err(sqlx::Error::Database(error)) => match error.code().as_deref() {
                    // cannot_connect_now: starting up or recovering
                    Some("57P03") => RECOVERY_WAIT,
                    Some("28P01") => return Err(StartError::WrongPassword),
                    _ => return Err(StartError::Refused { message: error.message().to_owned() }),
                },
                Err(_) => START_WAIT,
            };
            if !self.process.is_alive() {
                return Err(StartError::Ended { log: self.process.log_tail().await });
            }
            if started.elapsed() > wait {
                return Err(StartError::TooSlow { waited: wait, log: self.process.log_tail().await });
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }
}

impl Embedded {
    /// Lets the server forget a verifier of the usual 4,096 rounds, which databases of older versions have.
    async fn renew_verifier(&self, connection: &mut PgConnection) -> Result<(), StartError> {
        let failed = |error| StartError::Refused { message: describe(&error) };
        let known = "select rolpassword like $1 from pg_authid where rolname = current_user";
        let ours = format!("SCRAM-SHA-256${ITERATIONS}:%");
        let is_ours: Option<bool> =
            sqlx::query_scalar(known).bind(ours).fetch_one(&mut *connection).await.map_err(failed)?;
        if is_ours == Some(true) {
            return Ok(());
        }
        let renew = format!("alter role {SUPERUSER} password '{}'", new_verifier(&self.password)?);
        sqlx::raw_sql(AssertSqlSafe(renew)).execute(connection).await.map(drop).map_err(failed)
    }
}

fn new_verifier(password: &SecretString) -> Result<String, LayoutError> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|_| LayoutError::NoRandomness)?;
    Ok(scram_verifier(password.expose_secret(), salt))
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded")
            .field("pid", &self.pid())
            .field("major", &self.binaries.major)
            .field("socket_dir", &self.socket_dir)
            .finish_non_exhaustive()
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(
        "the database in {} was written by PostgreSQL {has}, but only PostgreSQL {} is installed: \
         install PostgreSQL {has} or set OPG_POSTGRES_BIN to it (or upgrade the data with pg_upgrade)",
        dir.display(), found.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
    )]
    OtherMajor { dir: PathBuf, has: u32, found: Vec<u32> },
    #[error("{} holds no database: move it away, or restore it from your backup", dir.display())]
    NotADatabase { dir: PathBuf },
    #[error("initdb failed: {log}")]
    Init { log: String },
    #[error("could not run postgres: {0}")]
    Spawn(std::io::Error),
    #[error("postgres ended while starting: {log}")]
    Ended { log: String },
    #[error("a PostgreSQL server that is not ours is using {}: stop it first ({log})", dir.display())]
    StillRunning { dir: PathBuf, log: String },
    #[error("postgres did not answer within {} s: {log}", waited.as_secs())]
    TooSlow { waited: Duration, log: String },
    #[error("postgres refused us: {message}")]
    Refused { message: String },
    #[error("the password in superuser.password is not the database's: restore both from the same backup")]
    WrongPassword,
    #[error("the start was interrupted")]
    Interrupted,
}

struct Prepared {
    layout: Layout,
    binaries: Binaries,
    password: SecretString,
}

/// Everything before the server runs: lock, programs, rights, and the database itself on the first start.
fn prepare(config: &EmbeddedConfig) -> Result<Prepared, StartError> {
    let layout = Layout::prepare(&config.data_dir, config.runtime_dir.as_deref())?;
    let binaries = choose(Places::of_this_machine(config.bin_dir.clone()).find_all()?, &layout)?;
    layout.check_reachable(&binaries)?;
    layout.write_hba()?;
    let data = layout.data(binaries.major);
    let password = if data.exists() {
        check_is_database(&data, binaries.major)?;
        layout.read_password()?
    } else {
        init(config, &layout, &binaries)?
    };
    Ok(Prepared { layout, binaries, password })
}

/// The preferred installation, or the one that wrote the data that is here.
fn choose(mut found: Vec<Binaries>, layout: &Layout) -> Result<Binaries, StartError> {
    let Some(has) = layout.existing_major() else { return Ok(found.swap_remove(0)) };
    match found.iter().position(|binaries| binaries.major == has) {
        Some(at) => Ok(found.swap_remove(at)),
        None => {
            let mut found: Vec<u32> = found.iter().map(|binaries| binaries.major).collect();
            found.dedup();
            Err(StartError::OtherMajor { dir: layout.data(has), has, found })
        }
    }
}

fn check_is_database(data: &Path, major: u32) -> Result<(), StartError> {
    match std::fs::read_to_string(data.join("PG_VERSION")) {
        Ok(version) if version.trim() == major.to_string() => Ok(()),
        Ok(version) => match version.trim().parse() {
            Ok(has) => Err(StartError::OtherMajor { dir: data.to_path_buf(), has, found: vec![major] }),
            Err(_) => Err(StartError::NotADatabase { dir: data.to_path_buf() }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(StartError::NotADatabase { dir: data.to_path_buf() })
        }
        Err(error) => Err(at(data)(error).into()),
    }
}

/// Makes the database under another name and renames it when it is whole.
fn init(config: &EmbeddedConfig, layout: &Layout, binaries: &Binaries) -> Result<SecretString, StartError> {
    let (half_made, data) = (layout.half_made(binaries.major), layout.data(binaries.major));
    layout.make_server_dir(&half_made)?;
    let password = layout.make_password()?;
    let lent = layout.lend_verifier(&new_verifier(&password)?)?;
    let mut command = Command::new(binaries.initdb());
    command.arg("--pgdata").arg(&half_made).arg("--pwfile").arg(&lent);
    command.args(["--username", SUPERUSER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]);
    command.args(["--data-checksums", "--no-instructions"]);
    if !config.durable {
        command.arg("--no-sync");
    }
    confine(&mut command, layout.user, None);
    let output = command.output();
    std::fs::remove_file(&lent).map_err(at(&lent))?;
    let output = output.map_err(StartError::Spawn)?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        return Err(StartError::Init { log });
    }
    std::fs::rename(&half_made, &data).map_err(at(&data))?;
    if config.durable {
        std::fs::File::open(&layout.home).and_then(|dir| dir.sync_all()).map_err(at(&layout.home))?;
    }
    Ok(password)
}

fn server_command(config: &EmbeddedConfig, layout: &Layout, binaries: &Binaries) -> Command {
    let mut command = Command::new(binaries.postgres());
    command.arg("-D").arg(layout.data(binaries.major));
    let mut set = |setting: &str, value: &str| {
        command.arg("-c").arg(format!("{setting}={value}"));
    };
    // The socket's directory is UTF-8 without quotes or commas: `layout` saw to it.
    set("unix_socket_directories", &layout.socket_dir.to_string_lossy());
    set("port", &SOCKET_PORT.to_string());
    set("max_connections", &config.connections_max.to_string());
    for (setting, value) in SETTINGS {
        set(setting, value);
    }
    if !config.durable {
        for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
            set(setting, "off");
        }
    }
    let mut hba = std::ffi::OsString::from("hba_file=");
    hba.push(layout.hba());
    command.arg("-c").arg(hba);
    confine(&mut command, layout.user, Some(config.memory_bytes_max));
    command
}

/// Fixed settings. On the command line they win over `postgresql.conf` and `ALTER SYSTEM`.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("password_encryption", "scram-sha-256"),
    // Small: the operating system caches, and a one-person group's data fits in memory anyway.
    ("shared_buffers", "32MB"),
    ("max_wal_size", "512MB"),
    // No replication and no archive: a copy is made with pg_dump.
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    // Short statements: compiling them costs more than it saves, and it loads LLVM into every backend.
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("autovacuum_max_workers", "2"),
    // A sort or a series that spills is stopped before it fills the disk.
    ("temp_file_limit", "1GB"),
    ("idle_in_transaction_session_timeout", "60s"),
    // The log goes to us, line by line. Statements and their values stay out of it, and so do tenants' mistakes.
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_line_prefix", "[%p] "),
    ("log_min_messages", "log"),
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
    ("log_statement", "none"),
    ("log_checkpoints", "off"),
];

fn is_stale_lock(log: &str) -> bool {
    log.contains("postmaster.pid") || log.contains("shared memory block") || log.contains("lock file")
}
