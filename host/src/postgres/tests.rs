//! Real servers, real kills. A test that needs another process runs this test binary again with a variable set.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqlSafeStr};

use super::*;

/// Set in a child: the directory it shall serve.
const CHILD_DIR: &str = "OPG_TEST_CHILD_DIR";
const PATIENCE: Duration = Duration::from_secs(60);

fn quick(data_dir: &Path) -> EmbeddedConfig {
    EmbeddedConfig { durable: false, ..EmbeddedConfig::new(data_dir) }
}

fn durable(data_dir: &Path) -> EmbeddedConfig {
    EmbeddedConfig::new(data_dir)
}

fn here(data_dir: &Path) -> PostgresConfig {
    PostgresConfig { location: Location::Embedded(quick(data_dir)), databases: DatabaseNames::default() }
}

async fn connect(server: &Embedded) -> PgConnection {
    server.admin("postgres").connect().await.unwrap()
}

async fn numbers(connection: &mut PgConnection) -> Vec<i32> {
    sqlx::query_scalar("select n from numbers order by n").fetch_all(connection).await.unwrap()
}

async fn execute(connection: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.unwrap();
}

fn exists(pid: u32) -> bool {
    // A zombie no longer serves.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn kill(pid: u32) {
    // SAFETY: plain system call; callers pass processes they started.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
}

/// The server and every process it forked.
fn family(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().map(|child| child.parse().unwrap());
    std::iter::once(pid).chain(children).collect()
}

/// Another process that runs only `serve_until_killed`, on `data_dir`.
struct OtherOpg {
    child: Child,
    ready: PathBuf,
}

impl OtherOpg {
    fn start(data_dir: &Path, user: Option<u32>) -> Self {
        let ready = data_dir.join("ready");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "postgres::tests::serve_until_killed", "--ignored", "--nocapture"]);
        command.env(CHILD_DIR, data_dir).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(id) = user {
            command.uid(id).gid(id);
        }
        Self { child: command.spawn().unwrap(), ready }
    }

    /// The id of its server.
    async fn ready(&mut self) -> u32 {
        let started = Instant::now();
        loop {
            if let Some(pid) = std::fs::read_to_string(&self.ready).ok().and_then(|text| text.parse().ok()) {
                return pid;
            }
            assert_eq!(self.child.try_wait().unwrap(), None, "the other opg ended");
            assert!(started.elapsed() < PATIENCE, "the other opg is not ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for OtherOpg {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
#[ignore = "the other process of other tests"]
async fn serve_until_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR).map(PathBuf::from) else { return };
    let server = Embedded::start(&durable(&dir)).await.unwrap();
    let mut connection = connect(&server).await;
    execute(&mut connection, "create table numbers (n int); insert into numbers values (1), (2)").await;
    let (new, ready) = (dir.join("ready.new"), dir.join("ready"));
    std::fs::write(&new, server.pid().unwrap().to_string()).unwrap();
    std::fs::rename(new, ready).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_cold_start_makes_a_private_server_and_a_warm_start_finds_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let server = Embedded::start(&quick(dir.path())).await.unwrap();
    let mut connection = connect(&server).await;
    execute(&mut connection, "create table numbers (n int); insert into numbers values (1)").await;
    let settings: Vec<(String, String)> = sqlx::query_as(
        "select name, setting from pg_settings where name in ('listen_addresses', 'data_checksums', \
         'server_encoding', 'lc_ctype', 'jit', 'fsync', 'unix_socket_permissions') order by name",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let settings: Vec<_> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        settings.join(" "),
        "data_checksums=on fsync=off jit=off lc_ctype=C listen_addresses= server_encoding=UTF8 \
         unix_socket_permissions=0700"
    );
    let pid = server.pid().unwrap();
    server.stop().await;
    assert!(!server.is_alive() && !exists(pid));

    let server = Embedded::start(&quick(dir.path())).await.unwrap();
    assert_eq!(numbers(&mut connect(&server).await).await, [1]);
}

#[tokio::test]
async fn fsync_is_on_unless_a_test_turns_it_off() {
    let dir = tempfile::tempdir().unwrap();
    let server = Embedded::start(&durable(dir.path())).await.unwrap();
    let fsync: String =
        sqlx::query_scalar("show fsync").fetch_one(&mut connect(&server).await).await.unwrap();
    assert_eq!(fsync, "on");
    server.stop().await;
}

#[tokio::test]
async fn nobody_gets_in_without_the_password_and_debug_does_not_show_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Embedded::start(&quick(dir.path())).await.unwrap();
    let error = server.admin("postgres").password("wrong").connect().await.unwrap_err();
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    let file = dir.path().join("postgres/superuser.password");
    let password = std::fs::read_to_string(&file).unwrap();
    assert_eq!(password.len(), 64);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!dir.path().join("postgres/initdb.password").exists());
    assert!(!format!("{server:?}").contains(&password));
}

/// A client that gives up its turn hundreds of times while it signs in waits for seconds on a busy server.
#[tokio::test]
async fn signing_in_takes_few_turns_also_where_an_older_version_made_the_database() {
    let turns = async |server: &Embedded| {
        let options = server.admin("postgres");
        let mut connecting = std::pin::pin!(options.connect());
        let mut turns = 0;
        let connected = std::future::poll_fn(|context| {
            turns += 1;
            connecting.as_mut().poll(context)
        });
        connected.await.unwrap();
        turns
    };
    let dir = tempfile::tempdir().unwrap();
    let server = Embedded::start(&durable(dir.path())).await.unwrap();
    assert!(turns(&server).await < 50);
    // As the server makes it from a password.
    let password = std::fs::read_to_string(dir.path().join("postgres/superuser.password")).unwrap();
    execute(&mut connect(&server).await, &format!("alter role opg_admin password '{password}'")).await;
    assert!(turns(&server).await > 500, "what this is about");
    server.stop().await;

    let server = Embedded::start(&durable(dir.path())).await.unwrap();
    assert!(turns(&server).await < 50);
    server.stop().await;
}

#[tokio::test]
async fn committed_rows_survive_a_kill_of_the_whole_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Embedded::start(&durable(dir.path())).await.unwrap();
    let mut connection = connect(&server).await;
    execute(&mut connection, "create table numbers (n int)").await;
    for n in 0..50 {
        sqlx::query("insert into numbers values ($1)").bind(n).execute(&mut connection).await.unwrap();
    }
    execute(&mut connection, "begin; insert into numbers values (1000)").await;
    assert!(server.is_alive());
    family(server.pid().unwrap()).into_iter().for_each(kill);
    tokio::time::timeout(PATIENCE, server.died()).await.unwrap();
    assert!(!server.is_alive(), "a dead server is seen");
    drop(server);

    let server = Embedded::start(&durable(dir.path())).await.unwrap();
    assert_eq!(numbers(&mut connect(&server).await).await, (0..50).collect::<Vec<_>>());
    server.stop().await;
}

#[tokio::test]
async fn the_server_dies_with_a_killed_parent_and_its_rows_are_there_for_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = OtherOpg::start(dir.path(), None);
    let pid = other.ready().await;
    assert!(exists(pid));

    let second = Embedded::start(&durable(dir.path())).await;
    assert!(matches!(&second, Err(StartError::Layout(LayoutError::Taken { .. }))), "{second:?}");
    assert!(exists(pid), "the refused one left the server alone");

    other.kill();
    // At once: the old server may still be shutting down.
    let server = Embedded::start(&durable(dir.path())).await.unwrap();
    assert_eq!(numbers(&mut connect(&server).await).await, [1, 2]);
    until("the old server is gone", || !exists(pid)).await;
    server.stop().await;
}

#[tokio::test]
async fn an_ordinary_user_can_run_it_too() {
    const NOBODY: u32 = 65534;
    // SAFETY: plain system call.
    if unsafe { libc::geteuid() } != 0 {
        return; // every other test shows it
    }
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut other = OtherOpg::start(dir.path(), Some(NOBODY));
    let pid = other.ready().await;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains(&format!("Uid:\t{NOBODY}\t{NOBODY}")), "{status}");
    other.kill();
    until("the server is gone", || !exists(pid)).await;
}

#[tokio::test]
async fn the_server_never_runs_as_root() {
    let dir = tempfile::tempdir().unwrap();
    let server = Embedded::start(&quick(dir.path())).await.unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid().unwrap())).unwrap();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(!line("Uid:").split_whitespace().skip(1).any(|id| id == "0"), "{status}");
    assert!(!line("Groups:").split_whitespace().skip(1).any(|id| id == "0"), "{status}");
    assert_eq!(line("NoNewPrivs:"), "NoNewPrivs:\t1");
}

#[tokio::test]
async fn a_directory_the_server_cannot_reach_is_refused_with_a_reason() {
    use std::os::unix::fs::PermissionsExt;
    // SAFETY: plain system call.
    if unsafe { libc::geteuid() } != 0 {
        return; // an ordinary user's server is that user
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let error = Embedded::start(&quick(&home.path().join("data"))).await.unwrap_err();
    assert!(matches!(error, StartError::Layout(LayoutError::DirUnreachable { .. })), "{error}");
    assert!(error.to_string().contains("DATA_DIR"), "{error}");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_one() {
    let (dir, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for shared in [dir.path(), run.path()] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(shared, std::fs::Permissions::from_mode(0o711)).unwrap();
    }
    let config =
        EmbeddedConfig { runtime_dir: Some(run.path().into()), ..quick(&dir.path().join("long".repeat(30))) };
    let server = Embedded::start(&config).await.unwrap();
    execute(&mut connect(&server).await, "select 1").await;
    assert_eq!(std::fs::read_dir(run.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_stale_lock_file_of_a_dead_process_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let server = Embedded::start(&quick(dir.path())).await.unwrap();
    let data = dir.path().join("postgres").join(format!("data-{}", server.major()));
    family(server.pid().unwrap()).into_iter().for_each(kill);
    server.died().await;
    drop(server);
    // The id in it belongs to a living process now, for a while: the worst case the kernel can arrange.
    let mut stranger = Command::new("sleep").arg("2").spawn().unwrap();
    let pid_file = data.join("postmaster.pid");
    let text = std::fs::read_to_string(&pid_file).unwrap();
    let rest = text.split_once('\n').unwrap().1;
    std::fs::write(&pid_file, format!("{}\n{rest}", stranger.id())).unwrap();
    let reaper = std::thread::spawn(move || stranger.wait().unwrap());
    let server = Embedded::start(&quick(dir.path())).await.unwrap();
    assert!(server.is_alive());
    reaper.join().unwrap();
}

#[tokio::test]
async fn a_first_start_that_was_cut_short_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let major = Places::of_this_machine(None).find_all().unwrap()[0].major;
    let half_made = dir.path().join("postgres").join(format!("data-{major}.new"));
    std::fs::create_dir_all(half_made.join("base")).unwrap();
    std::fs::write(half_made.join("PG_VERSION"), major.to_string()).unwrap();
    let server = Embedded::start(&quick(dir.path())).await.unwrap();
    execute(&mut connect(&server).await, "select 1").await;
    assert!(!half_made.exists());
}

#[tokio::test]
async fn data_of_another_major_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("postgres/data-99")).unwrap();
    let error = Embedded::start(&quick(dir.path())).await.unwrap_err();
    assert!(matches!(error, StartError::OtherMajor { has: 99, .. }), "{error}");
    assert!(error.to_string().contains("pg_upgrade"), "{error}");
}

#[tokio::test]
async fn a_directory_without_a_database_is_not_taken_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let major = Places::of_this_machine(None).find_all().unwrap()[0].major;
    let data = dir.path().join(format!("postgres/data-{major}"));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("precious"), "x").unwrap();
    let error = Embedded::start(&quick(dir.path())).await.unwrap_err();
    assert!(matches!(error, StartError::NotADatabase { .. }), "{error}");
    assert!(data.join("precious").exists());
}

#[tokio::test]
async fn a_directory_without_programs_is_an_error_that_names_the_ways_out() {
    let (dir, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = EmbeddedConfig { bin_dir: Some(empty.path().into()), ..quick(dir.path()) };
    let message = Embedded::start(&config).await.unwrap_err().to_string();
    assert!(message.contains("OPG_POSTGRES_BIN") && message.contains("DATABASE_URL"), "{message}");
}

#[tokio::test]
async fn a_memory_bomb_is_an_error_of_its_own_and_the_server_lives() {
    let dir = tempfile::tempdir().unwrap();
    let server = Embedded::start(&quick(dir.path())).await.unwrap();
    let (mut bomber, mut other) = (connect(&server).await, connect(&server).await);
    let bomb = "select repeat(repeat(repeat('x',1000),1000),1000)";
    let error = sqlx::query(bomb).fetch_all(&mut bomber).await.unwrap_err();
    let error = error.as_database_error().unwrap_or_else(|| panic!("not a clean error: {error}"));
    assert!(["53200", "54000"].contains(&&*error.code().unwrap()), "{error}");
    execute(&mut bomber, "select 1").await;
    execute(&mut other, "select 1").await;
    assert!(server.is_alive());
}

#[tokio::test]
async fn dropping_the_server_stops_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Embedded::start(&quick(dir.path())).await.unwrap();
    let pid = server.pid().unwrap();
    drop(server);
    assert!(!exists(pid));
}

fn migration(version: i64, sql: &'static str) -> Migration {
    Migration::new(version, "test".into(), MigrationType::Simple, sql.into_sql_str(), false)
}

const ROLES: &str = "create role opg_app nologin; create role opg_service nologin; \
    create table things (n int); grant select on things to opg_app; \
    grant select, insert on things to opg_service;";

#[tokio::test]
async fn a_connection_for_statements_comes_back_when_its_statement_was_read_and_else_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(&here(dir.path())).await.unwrap();
    run(&Migrator::with_migrations(vec![migration(1, ROLES)]), &server.admin()).await.unwrap();
    let pools = Pools::open(&server).await.unwrap();
    let who = async |one: &mut Statement| {
        let who = "select current_user::text, pg_backend_pid()";
        sqlx::query_as::<_, (String, i32)>(who).fetch_one(one.conn()).await.unwrap()
    };
    let mut one = pools.app_statements.take().await.unwrap();
    let first = who(&mut one).await;
    assert_eq!(first.0, "opg_app");
    one.done();
    let mut again = pools.app_statements.take().await.unwrap();
    assert_eq!(who(&mut again).await, first, "the same one");
    let mut beside = pools.app_statements.take().await.unwrap();
    assert_ne!(who(&mut beside).await, first);
    assert_eq!(pools.app_statements.size(), 2);
    beside.done();
    // Nobody said that it was read to its end.
    drop(again);
    assert_eq!(pools.app_statements.size(), 1);
    let mut third = pools.app_statements.take().await.unwrap();
    assert_ne!(who(&mut third).await, first);
    assert_eq!(who(&mut pools.service_statements.take().await.unwrap()).await.0, "opg_service");
    third.done();
    pools.close().await;
    assert_eq!(pools.size(), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_server_is_opened_migrated_and_its_pools_act_as_their_roles() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(&here(dir.path())).await.unwrap();
    assert!(matches!(Pools::open(&server).await, Err(PoolError::NoRole { role: "opg_app" })));

    let one = Migrator::with_migrations(vec![migration(1, ROLES)]);
    assert_eq!(check(&one, &server.admin()).await.unwrap(), MigrationStatus::Pending(vec![1]));
    assert_eq!(run(&one, &server.admin()).await.unwrap(), [1]);
    assert_eq!(run(&one, &server.admin()).await.unwrap(), [0_i64; 0]);
    assert_eq!(check(&one, &server.admin()).await.unwrap(), MigrationStatus::Current);

    let pools = Pools::open(&server).await.unwrap();
    let facts = "select current_user::text, current_setting('statement_timeout'), \
                 current_setting('application_name'), current_database()::text";
    let of = async |pool| {
        sqlx::query_as::<_, (String, String, String, String)>(facts).fetch_one(pool).await.unwrap()
    };
    let expected = |role: &str| (role.into(), "30s".into(), "opg".into(), "opg".into());
    assert_eq!(of(&pools.app).await, expected("opg_app"));
    assert_eq!(of(&pools.service).await, expected("opg_service"));
    let insert = "insert into things values (1)";
    assert!(sqlx::query(insert).execute(&pools.app).await.is_err());
    sqlx::query(insert).execute(&pools.service).await.unwrap();
    pools.close().await;
    assert!(pools.app_statements.take().await.is_err(), "none is given out after the end");

    let password = std::fs::read_to_string(dir.path().join("postgres/superuser.password")).unwrap();
    assert!(!format!("{server:?} {pools:?}").contains(&password));
    server.stop().await;
    assert!(!server.is_alive());
}

#[tokio::test]
async fn migrations_that_are_newer_changed_or_broken_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(&here(dir.path())).await.unwrap();
    let admin = server.admin();
    let both = Migrator::with_migrations(vec![
        migration(1, "create table a (n int)"),
        migration(2, "create table b (n int)"),
    ]);
    // Two hosts at once.
    let (left, right) = tokio::join!(run(&both, &admin), run(&both, &admin));
    let mut ran = [left.unwrap(), right.unwrap()].concat();
    ran.sort_unstable();
    assert_eq!(ran, [1, 2]);

    let older = Migrator::with_migrations(vec![migration(1, "create table a (n int)")]);
    assert_eq!(check(&older, &admin).await.unwrap(), MigrationStatus::Newer(vec![2]));
    let error = run(&older, &admin).await.unwrap_err();
    assert!(error.to_string().contains("upgrade opg"), "{error}");

    let changed = Migrator::with_migrations(vec![
        migration(1, "create table a (n bigint)"),
        migration(2, "create table b (n int)"),
    ]);
    assert!(matches!(check(&changed, &admin).await, Err(MigrateError::Changed { version: 1 })));
    assert!(matches!(run(&changed, &admin).await, Err(MigrateError::Changed { version: 1 })));

    let broken = Migrator::with_migrations(vec![
        migration(1, "create table a (n int)"),
        migration(2, "create table b (n int)"),
        migration(3, "create table c (n int); select 1/0"),
    ]);
    assert!(matches!(run(&broken, &admin).await, Err(MigrateError::Failed { version: 3, .. })));
    let mut connection = admin.connect().await.unwrap();
    let left_behind: bool =
        sqlx::query_scalar("select to_regclass('c') is not null").fetch_one(&mut connection).await.unwrap();
    assert!(!left_behind, "a failed migration is rolled back");
    assert_eq!(check(&both, &admin).await.unwrap(), MigrationStatus::Current);
}

#[tokio::test]
async fn the_migrations_of_this_binary_run_on_an_empty_database() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(&here(dir.path())).await.unwrap();
    let expected: Vec<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();
    assert_eq!(run(&MIGRATOR, &server.admin()).await.unwrap(), expected);
    assert_eq!(check(&MIGRATOR, &server.admin()).await.unwrap(), MigrationStatus::Current);
}

/// The embedded server's own socket, as someone else's server.
fn url(options: &PgConnectOptions, login: &str, password: &str, database: &str) -> SecretString {
    let socket = options.get_socket().unwrap().display().to_string().replace('/', "%2F");
    format!("postgres://{login}:{password}@{socket}/{database}").into()
}

#[tokio::test]
async fn an_external_login_without_rights_is_told_what_to_run() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Server::open(&here(dir.path())).await.unwrap();
    let mut admin = ours.embedded().unwrap().admin("postgres").connect().await.unwrap();
    let external = |login: &str, database: &str| PostgresConfig {
        location: Location::External {
            url: url(&ours.admin(), login, "secret-pw", database),
            apps_url: None,
        },
        databases: DatabaseNames { control: "unused".into(), apps: format!("{login}_apps") },
    };
    let open = async |config: PostgresConfig| Server::open(&config).await;

    execute(&mut admin, "create role plain login password 'secret-pw'").await;
    execute(&mut admin, "create database plain owner plain").await;
    let error = open(external("plain", "plain")).await.unwrap_err();
    assert!(error.to_string().contains("ALTER ROLE \"plain\" CREATEROLE;"), "{error}");

    execute(&mut admin, "alter role plain createrole; grant connect on database postgres to plain").await;
    let error = open(external("plain", "plain")).await.unwrap_err();
    assert!(error.to_string().contains("CREATE DATABASE \"plain_apps\" OWNER \"plain\";"), "{error}");

    execute(&mut admin, "alter role plain createdb").await;
    let server = open(external("plain", "plain")).await.unwrap();
    assert!(server.embedded().is_none() && server.is_alive());
    assert_eq!(server.admin().get_database(), Some("plain"));
    execute(&mut server.apps_admin().connect().await.unwrap(), "select 1").await;

    let mut wrong = external("plain", "plain");
    wrong.location =
        Location::External { url: url(&ours.admin(), "plain", "other-pw", "plain"), apps_url: None };
    let error = open(wrong).await.unwrap_err();
    assert!(matches!(error, OpenError::Connect { .. }), "{error}");
    for text in
        [format!("{error}"), format!("{error:?}"), format!("{server:?}"), format!("{:?}", external("a", "b"))]
    {
        assert!(!text.contains("-pw"), "{text}");
    }
    admin.close().await.unwrap();
}

#[tokio::test]
async fn a_login_of_an_app_cannot_enter_the_control_plane() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(&here(dir.path())).await.unwrap();
    execute(&mut server.admin().connect().await.unwrap(), "create role tenant login password 'tenant-pw'")
        .await;
    let password = SecretString::from("tenant-pw");
    let options = server.apps_login("tenant", &password);
    options.connect().await.unwrap().close().await.unwrap();
    for database in ["opg", "postgres", "template1"] {
        let error = options.clone().database(database).connect().await.unwrap_err();
        assert!(error.to_string().contains("permission denied for database"), "{database}: {error}");
    }
}
