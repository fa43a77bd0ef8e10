//! Starting and stopping OPG.
//!
//! Start: database, migrations, keys, sandbox, predefined plugins, then the
//! port; what fails says so in one line. Stop: no new connections, running
//! requests finish within a limit, background work is waited for, then the
//! pools close and the embedded database stops.

use crate::{
    app::{App, Clock, Entropy, Ids, Parts},
    config::Config,
    db_proxy::{Database, posture::Finding},
    egress::{Egress, EgressError, EgressPolicy},
    grants::{authenticate::Authenticator, credential::Pepper},
    hardening,
    http::rate_limit::RateLimits,
    limits::DRAIN_TIME_MAX,
    mail::{self, Mailer},
    people::{device::Guesses, oauth::Oauth, password::Passwords},
    postgres::{
        self, EmbeddedConfig, Location, MIGRATOR, MIGRATOR_APPS, MigrateError, MigrationStatus, Pools,
        PostgresConfig, Server,
    },
    registry::{
        blobs::{BlobError, Blobs},
        predefined::{Predefined, PredefinedError, Shipped},
        recompile, remake,
    },
    router,
    sandbox::{Sandbox, SandboxConfig, compiler::CompilerConfig},
    secrets::keyring::{KeySource, Keyring, KeyringError},
    sessions,
    telemetry::Metrics,
    traces::{self, Traces},
    upkeep,
};
use axum::extract::ConnectInfo;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use secrecy::SecretString;
use std::{
    fs, io, net::SocketAddr, os::unix::fs::OpenOptionsExt, path::Path, pin::pin, sync::Arc, time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// How long a client may take to send its headers: longer is a client that holds a connection for nothing.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);
/// Files and connections of this process, where the system lets it have as many: most readers of sessions' logs wait,
/// and one that waits costs a few kilobytes.
const FILES_MAX: u64 = 16_384;
/// Of those, in quarters, how many may be connections of clients: the database and the outside need some too.
const CONNECTIONS_QUARTERS: u64 = 3;
/// How long no connection is accepted after one could not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Threads that run guests, for each core: they wait for models and hosts more than they compute.
const GUEST_THREADS_PER_CORE: usize = 1;
/// Where Ollama listens.
const OLLAMA_PORT: u16 = 11434;
/// Guest calls at once, for the whole process: below the pool's size.
const GUEST_CALLS_MAX: u32 = 512;

/// Why OPG did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database server.
    #[error("{0}")]
    Database(#[from] postgres::OpenError),
    /// The migrations.
    #[error("{0}")]
    Migrate(#[from] MigrateError),
    /// The apps' database.
    #[error("{0}")]
    AppsDatabase(#[from] crate::db_proxy::OpenError),
    /// A question to it.
    #[error("the apps' database does not answer: {0}")]
    Ask(#[from] sqlx::Error),
    /// The connections.
    #[error("{0}")]
    Pools(#[from] postgres::PoolError),
    /// The master keys.
    #[error("{0}")]
    Keys(#[from] KeyringError),
    /// The data directory.
    #[error("DATA_DIR {0}: {1}")]
    DataDir(String, io::Error),
    /// The blobs.
    #[error("{0}")]
    Blobs(#[from] BlobError),
    /// The artifacts.
    #[error("{0}")]
    Artifacts(#[from] sessions::artifacts::FilesError),
    /// The mail server.
    #[error("{0}")]
    Mail(#[from] mail::OpenError),
    /// This program's own file, which compiles components.
    #[error("cannot find the program that runs: {0}")]
    Program(io::Error),
    /// The sandbox.
    #[error("{0}")]
    Sandbox(#[from] crate::sandbox::StartError),
    /// The way out.
    #[error("{0}")]
    Egress(#[from] EgressError),
    /// What we ship.
    #[error("{0}")]
    Predefined(#[from] PredefinedError),
    /// The metrics.
    #[error("metrics cannot be set up: {0}")]
    Metrics(String),
    /// The port.
    #[error("cannot listen on {0}: {1}; choose another with PORT or BIND")]
    Listen(SocketAddr, io::Error),
}

/// What a test chooses and a process takes as it is.
pub struct Surroundings {
    /// The clock.
    pub clock: Clock,
    /// The source of randomness.
    pub entropy: Entropy,
    /// The database; from the configuration, unless given.
    pub postgres: Option<PostgresConfig>,
    /// How components are compiled; by this very program, unless given.
    pub compiler: Option<CompilerConfig>,
}

impl Default for Surroundings {
    fn default() -> Surroundings {
        Surroundings { clock: Clock::system(), entropy: Entropy::os(), postgres: None, compiler: None }
    }
}

/// An OPG that serves.
pub struct Running {
    /// Its parts.
    pub app: App,
    /// Where it listens.
    pub addr: SocketAddr,
    serving: JoinHandle<()>,
}

/// Starts OPG and returns once it serves. `javascript` is the core module of the runtime of TypeScript tools.
///
/// # Errors
/// [`StartError`]
pub async fn start(
    config: Config,
    shipped: &[Shipped],
    javascript: &'static [u8],
    surroundings: Surroundings,
) -> Result<Running, StartError> {
    let app = assemble(config, shipped, javascript, surroundings).await?;
    // Before anybody can take a session: what is taken was taken by a process that died.
    if let Err(cause) = sessions::sweep::at_start(&app).await {
        tracing::error!(%cause, "what a dead process left of sessions could not be ended");
    }
    let at = SocketAddr::new(app.config.bind, app.config.port);
    let listener = TcpListener::bind(at).await.map_err(|cause| StartError::Listen(at, cause))?;
    let addr = listener.local_addr().map_err(|cause| StartError::Listen(at, cause))?;
    let serving = tokio::spawn(serve(app.clone(), listener));
    app.spawn(upkeep::run(app.clone()));
    app.spawn(recompile::run(app.clone()));
    app.spawn(sessions::log::listen::run(app.clone()));
    // Where the operator says, so it may be a private address.
    let to_collector = Egress::new(EgressPolicy { allow_private: true, ..EgressPolicy::default() })?;
    app.spawn(traces::export::run(app.clone(), to_collector));
    app.spawn(remake::run(app.clone()));
    tracing::info!(%addr, environment = ?app.config.environment, "serving");
    Ok(Running { app, addr, serving })
}

impl Running {
    /// Stops: running requests finish, then everything closes.
    pub async fn stop(self) {
        let app = self.app;
        app.stopping.cancel();
        if let Err(cause) = self.serving.await {
            tracing::error!(%cause, "serving ended badly");
        }
        app.background.close();
        if tokio::time::timeout(DRAIN_TIME_MAX, app.background.wait()).await.is_err() {
            tracing::warn!("background work did not end in time");
        }
        app.database.close().await;
        app.pools.close().await;
        app.server.stop().await;
        tracing::info!("stopped");
    }
}

/// Brings the database's schema up to date, or says what is missing.
///
/// # Errors
/// [`StartError`]
pub async fn migrate(config: &Config, only_check: bool) -> Result<MigrationStatus, StartError> {
    prepare_data_dir(&config.data_dir)?;
    let server = Server::open(&postgres_config(config)).await?;
    let status = async {
        if !only_check {
            postgres::run(&MIGRATOR, &server.admin()).await?;
            postgres::run(&MIGRATOR_APPS, &server.apps_admin()).await?;
        }
        let control = postgres::check(&MIGRATOR, &server.admin()).await?;
        let apps = postgres::check(&MIGRATOR_APPS, &server.apps_admin()).await?;
        Ok(control.and(apps))
    };
    let status: Result<_, MigrateError> = status.await;
    server.stop().await;
    Ok(status?)
}

/// Which walls of the apps' database are up, on a server of nobody else's at this moment.
///
/// # Errors
/// [`StartError`]
pub async fn posture(config: &Config) -> Result<Vec<Finding>, StartError> {
    prepare_data_dir(&config.data_dir)?;
    let server = Server::open(&postgres_config(config)).await?;
    let findings = async {
        let database = Database::open(&server).await?;
        let findings = database.posture().await;
        database.close().await;
        Ok(findings?)
    };
    let findings = findings.await;
    server.stop().await;
    findings
}

async fn assemble(
    config: Config,
    shipped: &[Shipped],
    javascript: &'static [u8],
    surroundings: Surroundings,
) -> Result<App, StartError> {
    prepare_data_dir(&config.data_dir)?;
    let metrics = Metrics::global().map_err(|cause| StartError::Metrics(cause.to_string()))?;
    // Before the database: a master key may be made only where there is none yet.
    let keyring = keyring(&config, &surroundings.entropy)?;
    let pepper = pepper(&config, &surroundings.entropy)?;
    let postgres = surroundings.postgres.unwrap_or_else(|| postgres_config(&config));
    let server = Server::open(&postgres).await?;
    postgres::run(&MIGRATOR, &server.admin()).await?;
    let pools = Pools::open(&server).await?;
    let database = Database::open(&server).await?;
    let compiler = match surroundings.compiler {
        Some(compiler) => compiler,
        None => CompilerConfig::this_program().map_err(StartError::Program)?,
    };
    let program = compiler.program.clone();
    let threads = std::thread::available_parallelism().map_or(1, usize::from) * GUEST_THREADS_PER_CORE;
    let sandbox = Sandbox::new(SandboxConfig {
        cache_dir: config.cache_dir.clone(),
        compiler,
        worker_threads: threads,
        calls_in_flight_max: GUEST_CALLS_MAX,
        host: tokio::runtime::Handle::current(),
    })?;
    let predefined = Predefined::load(&sandbox, shipped, config.predefined_dir.as_deref()).await?;
    let egress = |allow_private, private_allowed| {
        Egress::new(EgressPolicy { allow_private, private_allowed, ..EgressPolicy::default() })
    };
    // A model on the developer's own machine is what `ollama` means; in production an operator says so.
    let own_machine =
        if config.is_production() { vec![] } else { vec![("127.0.0.1".to_owned(), OLLAMA_PORT)] };
    let process_id = uuid::Builder::from_random_bytes(surroundings.entropy.bytes()).into_uuid();
    Ok(App::new(Parts {
        process_id,
        workspaces: crate::workspace::Workspaces::in_directory(config.data_dir.join("workspaces")),
        blobs: Blobs::in_directory(&config.data_dir.join("blobs"))?,
        artifacts: sessions::artifacts::Files::open(
            &config.data_dir.join("artifacts"),
            config.artifacts_bucket.as_ref(),
        )?,
        authenticator: Authenticator::new(&config.admin_tokens),
        passwords: Passwords::default(),
        mailer: config.mail.as_ref().map(Mailer::open).transpose()?,
        oauth: Oauth::open(&config.oauth)?,
        guesses: Guesses::default(),
        rate_limits: RateLimits::new(config.rate_limit_per_minute),
        guest_egress: egress(config.allow_private_guest_http, vec![])?,
        model_egress: egress(config.allow_private_upstreams, own_machine)?,
        clock: surroundings.clock,
        entropy: surroundings.entropy,
        server,
        pools,
        database,
        keyring,
        pepper,
        predefined,
        typescript: crate::typescript::Compiler::new(javascript, &sandbox),
        sandbox,
        metrics,
        traces: Traces::new(config.collector.as_ref()),
        stopping: CancellationToken::new(),
        cut_off: CancellationToken::new(),
        ids: Ids::default(),
        in_flight: crate::guests::in_flight::InFlight::default(),
        compiling: crate::registry::compiling::Turns::default(),
        changes: crate::guests::standing::Changes::default(),
        remembered: crate::remembered::Remembered::default(),
        keys_used: crate::grants::authenticate::LastUsed::default(),
        model_catalog: crate::models::catalog::Catalog::default(),
        circuits: crate::sources::Circuits::default(),
        paces: crate::sources::Paces::default(),
        seals: crate::models::vault::Vault::default(),
        session_hub: sessions::log::Hub::default(),
        readers: sessions::log::Readers::default(),
        runners: sessions::instances::process::Runners::default(),
        program,
        running_turns: sessions::turns::running::RunningTurns::default(),
        tasks: crate::tasks::RunningTasks::default(),
        background: TaskTracker::new(),
        runtime: tokio::runtime::Handle::current(),
        config,
    }))
}

fn postgres_config(config: &Config) -> PostgresConfig {
    let location = match &config.database_url {
        Some(url) => Location::External { url: url.clone(), apps_url: config.apps_database_url.clone() },
        None => {
            let embedded = EmbeddedConfig::new(&config.data_dir);
            Location::Embedded(EmbeddedConfig { bin_dir: config.postgres_bin.clone(), ..embedded })
        }
    };
    PostgresConfig { location, databases: postgres::DatabaseNames::default() }
}

fn prepare_data_dir(dir: &Path) -> Result<(), StartError> {
    fs::create_dir_all(dir).map_err(|cause| StartError::DataDir(dir.display().to_string(), cause))
}

fn keyring(config: &Config, entropy: &Entropy) -> Result<Keyring, KeyringError> {
    let random = |buffer: &mut [u8]| {
        entropy.fill(buffer);
        Ok(())
    };
    // Never a new key beside an old database: what it holds would not open again.
    let has_key = config.data_dir.join("master.key").exists();
    let is_new = config.database_url.is_none() && !config.data_dir.join("postgres").exists();
    let source = KeySource {
        master_key: config.master_key.clone(),
        master_key_alias: config.master_key_alias.clone(),
        file: config.master_key_file.clone(),
        generate_in: (has_key || is_new).then(|| config.data_dir.clone()),
    };
    Keyring::load(&source, &random)
}

fn pepper(config: &Config, entropy: &Entropy) -> Result<Pepper, StartError> {
    if let Some(pepper) = &config.token_pepper {
        return Ok(Pepper::new(pepper.clone()));
    }
    let path = config.data_dir.join("token.pepper");
    let failed = |cause| StartError::DataDir(path.display().to_string(), cause);
    if !path.exists() {
        let made = hex::encode(entropy.bytes::<32>());
        // Whole or not at all, also where two start at once.
        let draft = config.data_dir.join(format!(".token.pepper.{}", hex::encode(entropy.bytes::<8>())));
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(failed)?;
        io::Write::write_all(&mut file, made.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        match fs::hard_link(&draft, &path) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(failed(cause)),
            _ => fs::remove_file(&draft).map_err(failed)?,
        }
    }
    let text = fs::read_to_string(&path).map_err(failed)?;
    Ok(Pepper::new(SecretString::from(text.trim().to_owned())))
}

async fn serve(app: App, listener: TcpListener) {
    let router = router::router(app.clone());
    let connections = TaskTracker::new();
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADERS_TIMEOUT);
    let connections_max = hardening::files_max(FILES_MAX) / 4 * CONNECTIONS_QUARTERS;
    let slots = Arc::new(Semaphore::new(usize::try_from(connections_max).unwrap_or(Semaphore::MAX_PERMITS)));
    loop {
        let accepted = tokio::select! {
            () = app.stopping.cancelled() => break,
            // Beyond the limit the kernel's queue holds what comes.
            accepted = accept(&listener, &slots) => accepted,
        };
        let (stream, peer, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(cause) => {
                // Out of file descriptors, most likely: wait for some to be free again.
                tracing::warn!(%cause, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        drop(stream.set_nodelay(true));
        let slot = Slot(Arc::new(slot));
        let held = slot.clone();
        let service = router.clone().map_request(move |mut request: http::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(held.clone());
            request.map(axum::body::Body::new)
        });
        let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        // A stream may be asked for as a WebSocket.
        let connection = connection.with_upgrades();
        let (stopping, cut_off) = (app.stopping.clone(), app.cut_off.clone());
        connections.spawn(async move {
            let mut connection = pin!(connection);
            tokio::select! {
                // A client that breaks off is no event.
                ended = &mut connection => return drop(ended),
                () = stopping.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            // What it has begun may end.
            tokio::select! {
                ended = connection => drop(ended),
                () = cut_off.cancelled() => {}
            }
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN_TIME_MAX, connections.wait()).await.is_err() {
        tracing::warn!("some requests did not end in time and are cut off");
    }
    // What hangs on a connection (a run, a model's stream) ends with it, and is written down.
    app.cut_off.cancel();
}

/// A place among the connections there may be. A WebSocket outlives the request it began with, and keeps its place.
#[derive(Clone)]
pub struct Slot(
    #[expect(dead_code, reason = "it is given back when it is dropped")] Arc<OwnedSemaphorePermit>,
);

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, slot))
}
