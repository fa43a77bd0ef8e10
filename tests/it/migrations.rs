//! The schema: brought up to date, once, by whichever host comes first; never by one that is too old (row M312).

use opg_host::{
    app::Entropy,
    config::Config,
    postgres::{MIGRATOR, MigrateError, MigrationStatus, check, run},
    serve,
};
use opg_tests::app::{DATABASE_URL, Setup, TestApp};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use std::{path::PathBuf, str::FromStr};

/// A new, empty database on the tests' server; none where each test starts its own.
async fn empty_database() -> Option<PgConnectOptions> {
    let admin = PgConnectOptions::from_str(&std::env::var(DATABASE_URL).ok()?).unwrap();
    let name: String = Entropy::os().bytes::<6>().iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("opg_migrations_{name}");
    let mut conn = PgConnection::connect_with(&admin.clone().database("postgres")).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut conn).await.unwrap();
    Some(admin.database(&name))
}

#[tokio::test]
async fn m312_an_empty_database_is_migrated_once_also_by_many_hosts_at_once() {
    let Some(database) = empty_database().await else { return };
    let all: Vec<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();
    assert!(all.len() >= 4 && all.is_sorted());
    assert_eq!(check(&MIGRATOR, &database).await.unwrap(), MigrationStatus::Pending(all.clone()));
    let hosts = (0..4).map(|_| run(&MIGRATOR, &database));
    let mut ran: Vec<_> =
        futures_util::future::join_all(hosts).await.into_iter().map(Result::unwrap).collect();
    ran.sort();
    assert_eq!(ran, [vec![], vec![], vec![], all]);
    assert_eq!(check(&MIGRATOR, &database).await.unwrap(), MigrationStatus::Current);
    assert!(run(&MIGRATOR, &database).await.unwrap().is_empty(), "and again: nothing to do");
}

#[tokio::test]
async fn m312_a_newer_schema_is_refused_and_left_alone() {
    let app = TestApp::start().await;
    let mut conn = app.owner().await;
    let admin = app.running.app.server.admin();
    sqlx::query("insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (99990101000001, 'from the future', true, '', 0)")
        .execute(&mut conn).await.unwrap();
    assert_eq!(check(&MIGRATOR, &admin).await.unwrap(), MigrationStatus::Newer(vec![99_990_101_000_001]));
    let error = run(&MIGRATOR, &admin).await.unwrap_err();
    assert!(matches!(error, MigrateError::Newer { .. }), "{error}");
    assert!(error.to_string().contains("upgrade opg"), "{error}");
    sqlx::query("delete from _sqlx_migrations where version > 90000000000000")
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::query("update _sqlx_migrations set checksum = 'x' where version = (select min(version) from _sqlx_migrations)")
        .execute(&mut conn).await.unwrap();
    assert!(matches!(run(&MIGRATOR, &admin).await.unwrap_err(), MigrateError::Changed { .. }));
}

#[tokio::test]
async fn m312_migrate_check_says_what_is_missing_and_changes_nothing() {
    let Some(database) = empty_database().await else { return };
    let dir: PathBuf = std::env::temp_dir().join(format!("opg-migrate-{}", database.get_database().unwrap()));
    let url = std::env::var(DATABASE_URL).unwrap();
    let mut url = url::Url::parse(&url).unwrap();
    url.set_path(database.get_database().unwrap());
    let vars = [("ADMIN_TOKENS", "x"), ("DATA_DIR", dir.to_str().unwrap()), ("DATABASE_URL", url.as_str())];
    let config = Config::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
    let names = serve::migrate(&config, true).await.unwrap();
    assert!(matches!(&names, MigrationStatus::Pending(all) if all.len() >= 4), "{names:?}");
    assert_eq!(serve::migrate(&config, true).await.unwrap(), names, "asking changed nothing");
    assert_eq!(serve::migrate(&config, false).await.unwrap(), MigrationStatus::Current);
    assert_eq!(serve::migrate(&config, true).await.unwrap(), MigrationStatus::Current);
    drop(std::fs::remove_dir_all(dir));
}

#[tokio::test]
async fn an_embedded_server_is_no_other_than_an_external_one() {
    let app = TestApp::set_up(Setup { own_database: true, ..Setup::default() }, |_| {}).await;
    assert!(app.running.app.server.embedded().is_some());
    let acme = app.tenant("acme").await;
    assert_eq!(acme.chat("demo/assistant", "hello").await.status, 200);
    let token = acme.token().to_owned();
    let app = app.restart().await;
    let acme = app.client(Some(&token));
    assert_eq!(acme.get("/v1/tenant").await.status, 200, "what was there is there after a restart");
    assert!(!acme.get("/v1/usage/ai-logs").await.json()["data"].as_array().unwrap().is_empty());
    app.running.stop().await;
}

#[tokio::test]
async fn a_token_that_could_do_everything_can_do_what_is_new_and_a_narrower_one_cannot() {
    const ADDS_SCOPES: i64 = 20_261_130_000_021;
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let narrow = acme.with_scopes(&["chat:write", "tokens:write"]).await;
    let mut conn = app.owner().await;
    let old = "update credentials set scopes = array_remove(array_remove(scopes, 'ai:read'), 'ai:invoke')";
    sqlx::query(old).execute(&mut conn).await.unwrap();
    let migration = MIGRATOR.iter().find(|migration| migration.version == ADDS_SCOPES).unwrap();
    sqlx::raw_sql(migration.sql.clone()).execute(&mut conn).await.unwrap();
    let forced =
        app.sql("select relforcerowsecurity::text from pg_class where relname = 'credentials'").await;
    assert_eq!(forced, ["true"]);
    let app = app.restart().await;
    let again = |token: &str| app.client(Some(token));
    assert_eq!(again(acme.token()).get("/v1/ai/models").await.status, 200);
    assert_eq!(again(narrow.token()).get("/v1/ai/models").await.status, 403);
}
