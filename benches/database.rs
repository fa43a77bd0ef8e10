//! The benchmarks of the database workspace: what a statement costs through the proxy against the same statement on
//! a kept connection of the same login, in one run; what the guard costs; what many apps cost in connections.
//!
//! The two are measured in turns, so that a noisy machine is noisy for both.

use opg_host::{
    app::App,
    db_proxy::{
        check,
        parse::{Mode, Namespace, Parser},
        query,
    },
    grants::{Allowed, AppRef, Caller, CredentialKind, Scopes, Standing, Surface, action::may},
};
use opg_tests::app::{Client, Setup, TestApp};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::time::{Duration, Instant};

/// Turns of each measurement; the median of them is shown.
const TURNS: usize = 15;
/// How long one of the two is measured in a turn.
const TURN_TIME: Duration = Duration::from_millis(150);
/// Apps that are made and asked something.
const APPS: [usize; 3] = [1, 100, 1000];

#[tokio::main]
async fn main() {
    let app = TestApp::set_up(Setup { own_database: true, ..Setup::default() }, |_| {}).await;
    let demo = app.tenant("demo").await;
    fill(&demo).await;
    against_direct(&app, &demo).await;
    guard().await;
    many_apps(&app).await;
    app.running.stop().await;
}

/// 10,000 customers.
async fn fill(demo: &Client) {
    for sql in [
        "CREATE TABLE app_demo__customers (id bigint PRIMARY KEY, email text NOT NULL, plan text NOT NULL, balance numeric(12,2) NOT NULL, created_at timestamptz NOT NULL)",
        "INSERT INTO app_demo__customers SELECT g, 'c' || g || '@example.com', (ARRAY['free','pro','team'])[1 + g % 3], g * 1.25, timestamptz '2026-01-01' + g * interval '1 minute' FROM generate_series(1, 10000) g",
        "ANALYZE app_demo__customers",
    ] {
        let body = json!({ "sql": sql, "dryRun": false, "confirm": "apply:demo" });
        let answer = demo.post("/v1/sdk/database/execute", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

const STATEMENTS: &[(&str, &str)] = &[
    ("by key, 1 row", "SELECT * FROM app_demo__customers WHERE id = 4711"),
    (
        "a page, 20 of 10,000 rows sorted",
        "SELECT * FROM app_demo__customers ORDER BY created_at DESC LIMIT 20",
    ),
    ("100 rows", "SELECT * FROM app_demo__customers WHERE id <= 100"),
    (
        "aggregate over 10,000 rows",
        "SELECT plan, count(*), sum(balance) FROM app_demo__customers GROUP BY plan",
    ),
];

async fn against_direct(app: &TestApp, demo: &Client) {
    let mut direct = direct_login(app).await;
    let host = &app.running.app;
    let allowed = allowed(app).await;
    println!(
        "{:<38} {:>11} {:>11} {:>11} {:>8}",
        "query, median", "direct µs", "proxied µs", "HTTP µs", "ratio"
    );
    for (name, sql) in STATEMENTS {
        let (mut plain, mut proxied, mut http) = (vec![], vec![], vec![]);
        for _ in 0..TURNS {
            plain.push(time(async || ask_direct(&mut direct, sql).await).await);
            proxied.push(time(async || ask_proxied(host, &allowed, sql).await).await);
            http.push(time(async || ask_http(demo, sql).await).await);
        }
        let (plain, proxied, http) = (median(plain), median(proxied), median(http));
        println!("{name:<38} {plain:>11.0} {proxied:>11.0} {http:>11.0} {:>7.2}x", proxied / plain);
    }
    println!(
        "direct: sqlx on a kept connection of the app's reader, all rows fetched, the statement not kept prepared"
    );
    println!();
}

/// Microseconds a call takes, over a turn.
async fn time(mut call: impl AsyncFnMut()) -> f64 {
    let started = Instant::now();
    let mut calls = 0_u32;
    while started.elapsed() < TURN_TIME {
        call().await;
        calls += 1;
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

async fn ask_direct(connection: &mut PgConnection, sql: &'static str) {
    let rows = sqlx::query(sql).persistent(false).fetch_all(connection).await.expect("the statement runs");
    assert!(!rows.is_empty());
}

async fn ask_proxied(app: &App, allowed: &Allowed<may::DbRead>, sql: &str) {
    let checked = check::query(app, allowed, sql.to_owned()).await.expect("the statement is allowed");
    let rows = query::run(app, &checked, &[], None).await.expect("the statement runs");
    assert!(rows.row_count > 0 && serde_json::to_vec(&rows).is_ok());
}

async fn ask_http(demo: &Client, sql: &str) {
    let answer = demo.post("/v1/sdk/database/query", &json!({ "sql": sql })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A connection of the app's reader. It gets a password of ours for a moment, and its own one back: the host signs in
/// with that whenever it opens another connection.
async fn direct_login(app: &TestApp) -> PgConnection {
    let server = &app.running.app.server;
    let mut admin = PgConnection::connect_with(&server.apps_admin()).await.expect("the database answers");
    let (reader, verifier): (String, String) = sqlx::query_as(
        "select rolname::text, rolpassword from pg_authid
         where rolname = (select reader_role from opg.workspaces where schema_name = 'app_demo')",
    )
    .fetch_one(&mut admin)
    .await
    .expect("the app has a workspace");
    set_password(&mut admin, &reader, "bench").await;
    let login = server.apps_login(&reader, &"bench".to_owned().into());
    let mut direct = PgConnection::connect_with(&login).await.expect("the login is let in");
    set_password(&mut admin, &reader, &verifier).await;
    sqlx::raw_sql("set search_path = app_demo").execute(&mut direct).await.expect("a setting is taken");
    direct
}

async fn set_password(admin: &mut PgConnection, role: &str, password: &str) {
    let statement = format!("alter role {role} password '{password}'");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(admin).await.expect("a password can be set");
}

/// A proof that somebody may read the demo app's database.
async fn allowed(app: &TestApp) -> Allowed<may::DbRead> {
    let app_id: String = app.sql("select app_id::text from apps where slug = 'demo'").await.remove(0);
    let standing = Standing::App(AppRef {
        app_id: app_id.parse().expect("an id is one"),
        slug: "demo".to_owned(),
        suspended: false,
    });
    let caller = Caller {
        kind: CredentialKind::TenantToken,
        credential_id: None,
        user_id: None,
        standing,
        scopes: Scopes::app(),
        expires_at: None,
        surface: Surface::Rest,
        ip: None,
        request_id: "bench".to_owned(),
        version: None,
        trace: None,
    };
    Allowed::judge(Some(&caller), None).expect("a tenant may read its database")
}

async fn guard() {
    let parser = Parser::start().expect("there are threads");
    println!("{:<38} {:>11} {:>11}", "guard", "p50 µs", "p99 µs");
    let long_in = format!("SELECT * FROM app_demo__customers WHERE id IN ({})", vec!["1"; 1000].join(","));
    let statements = STATEMENTS.iter().map(|(name, sql)| (*name, (*sql).to_owned()));
    for (name, sql) in statements.chain([("a list of 1,000 numbers", long_in)]) {
        let mut times = vec![];
        for _ in 0..1000 {
            let started = Instant::now();
            parser.parse(sql.clone(), Namespace::of_slug("demo"), Mode::Query).await.expect("it is allowed");
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        println!("{name:<38} {:>11.0} {:>11.0}", times[500], times[990]);
    }
    println!();
}

async fn many_apps(app: &TestApp) {
    println!("{:<38} {:>11} {:>11} {:>11}", "apps, each asked once", "made ms", "asked ms", "connections");
    let mut made = 0;
    for apps in APPS {
        let started = Instant::now();
        let mut clients = vec![];
        while made < apps {
            made += 1;
            clients.push(app.tenant(&format!("app-{made}")).await);
        }
        let making = started.elapsed() / u32::try_from(clients.len()).unwrap_or(u32::MAX);
        let started = Instant::now();
        for client in &clients {
            ask_http(client, "SELECT 1").await;
        }
        let asking = started.elapsed() / u32::try_from(clients.len()).unwrap_or(u32::MAX);
        println!(
            "{apps:<38} {:>11.1} {:>11.1} {:>11}",
            making.as_secs_f64() * 1e3,
            asking.as_secs_f64() * 1e3,
            app.running.app.database.connections()
        );
    }
}
