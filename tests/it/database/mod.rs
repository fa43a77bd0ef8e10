//! The database workspace: SQL from people, models and guests, all of it taken for hostile (rows M095 to M099
//! and M142 to M159).

mod backup;
mod corpus;
mod execute;
mod fixture;
mod guest;
mod life;
mod load;
mod query;
mod tables;
mod walls;

use opg_host::{grants::Action, router};
use opg_tests::app::{Answer, Client, TestApp};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgConnectOptions};
use std::collections::BTreeMap;

const QUERY: &str = "/v1/sdk/database/query";
const EXECUTE: &str = "/v1/sdk/database/execute";

/// An app that speaks SQL.
#[derive(Clone)]
struct Db {
    client: Client,
    slug: String,
}

impl Db {
    /// A new app.
    async fn new(app: &TestApp, slug: &str) -> Db {
        Db { client: app.tenant(slug).await, slug: slug.to_owned() }
    }

    /// A query as it is sent.
    async fn ask(&self, body: Value) -> Answer {
        self.client.post(QUERY, &body).await
    }

    async fn query(&self, sql: &str) -> Answer {
        self.ask(json!({ "sql": sql })).await
    }

    /// The rows of a query that is answered.
    async fn rows(&self, sql: &str) -> Value {
        let answer = self.query(sql).await;
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        answer.json()["rows"].clone()
    }

    /// A change as it is sent.
    async fn run(&self, body: Value) -> Answer {
        self.client.post(EXECUTE, &body).await
    }

    async fn dry_run(&self, sql: &str) -> Answer {
        self.run(json!({ "sql": sql })).await
    }

    async fn try_apply(&self, sql: &str) -> Answer {
        self.run(json!({ "sql": sql, "dryRun": false, "confirm": format!("apply:{}", self.slug) })).await
    }

    /// A change that is made.
    async fn apply(&self, sql: &str) -> Value {
        let answer = self.try_apply(sql).await;
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        let json = answer.json();
        assert_eq!((&json["applied"], &json["dry_run"]), (&json!(true), &json!(false)), "{json}");
        json
    }
}

/// An error of this status and code; its body.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) -> Value {
    assert_eq!(answer.status, status, "expected {code}: {}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json", "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["code"], code, "{json}");
    json
}

/// What an app has in the apps' database.
#[derive(Clone, Debug)]
struct Workspace {
    schema: String,
    prefix: String,
    owner: String,
    reader: String,
}

impl Workspace {
    async fn of(app: &TestApp, slug: &str) -> Workspace {
        let query = "select app_id::text from apps where slug = $1";
        let app_id: String =
            sqlx::query_scalar(query).bind(slug).fetch_one(&mut app.owner().await).await.unwrap();
        let query =
            "select schema_name, prefix, owner_role, reader_role from opg.workspaces where app_id::text = $1";
        let row = sqlx::query(query).bind(app_id).fetch_one(&mut apps(app).await).await.unwrap();
        Workspace { schema: row.get(0), prefix: row.get(1), owner: row.get(2), reader: row.get(3) }
    }
}

/// A connection to the apps' database as its owner: to look at what no route shows.
async fn apps(app: &TestApp) -> PgConnection {
    connect(&app.running.app.server.apps_admin()).await.unwrap()
}

async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    PgConnection::connect_with(options).await
}

/// The first column of each row, as text.
async fn texts(conn: &mut PgConnection, query: &str) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(conn).await;
    let rows = rows.unwrap_or_else(|error| panic!("{query}: {error}"));
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}

#[test]
fn every_route_of_the_workspace_is_in_the_list_the_tests_are_made_from_under_both_prefixes() {
    let routes = router::all_routes();
    for (method, path, scopes) in [
        ("GET", "/v1/sdk/database/manifest", &["db:read"][..]),
        ("GET", "/v1/sdk/database/tables", &["db:read"]),
        ("POST", "/v1/sdk/database/query", &["db:read"]),
        ("GET", "/v1/sdk/database/history", &["db:read"]),
        ("GET", "/v1/sdk/database/backup", &["db:read"]),
        ("GET", "/v1/sdk/types", &["db:read"]),
        ("POST", "/v1/sdk/database/execute", &["db:write", "db:apply"]),
    ] {
        for path in [path.to_owned(), format!("/{{app}}{path}")] {
            let found = routes.iter().find(|(route, at)| route.method == method && *at == path);
            let action = found.unwrap_or_else(|| panic!("{method} {path} is not there")).0.action;
            let action = action.unwrap_or_else(|| panic!("{method} {path} asks for nothing"));
            let taken: Vec<_> = action.any_of().iter().map(|scope| scope.name()).collect();
            assert_eq!(taken, scopes, "{method} {path}");
        }
    }
    let backup = routes.iter().find(|(_, path)| path == "/v1/admin/tenants/{id}/database/backup");
    let action: Option<Action> = backup.expect("operators have a route too").0.action;
    assert!(action.is_some_and(|action| action.on() == opg_host::grants::On::Platform));
}

#[tokio::test]
async fn m098_one_scope_tries_and_another_changes() {
    let app = TestApp::start().await;
    let demo = Db::new(&app, "demo").await;
    demo.apply("CREATE TABLE app_demo__notes (id int PRIMARY KEY)").await;
    let with =
        async |scopes: &[&str]| Db { client: demo.client.with_scopes(scopes).await, slug: "demo".to_owned() };
    let insert = "INSERT INTO app_demo__notes VALUES (1)";
    let applied = json!({ "sql": insert, "dryRun": false, "confirm": "apply:demo" });

    let reader = with(&["db:read"]).await;
    assert_eq!(reader.rows("SELECT id FROM app_demo__notes").await, json!([]));
    refused(&reader.dry_run(insert).await, 403, "insufficient_scope");
    refused(&reader.run(applied.clone()).await, 403, "insufficient_scope");

    let writer = with(&["db:write"]).await;
    assert_eq!(writer.dry_run(insert).await.status, 200);
    let problem = refused(&writer.run(applied.clone()).await, 403, "insufficient_scope");
    assert!(problem["required"].to_string().contains("db:apply"), "it says which one is missing: {problem}");
    refused(&writer.query("SELECT id FROM app_demo__notes").await, 403, "insufficient_scope");
    assert_eq!(demo.rows("SELECT id FROM app_demo__notes").await, json!([]), "nothing happened so far");

    let applier = with(&["db:apply"]).await;
    let answer = applier.run(applied).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(demo.rows("SELECT id FROM app_demo__notes").await, json!([{ "id": 1 }]));
}

#[tokio::test]
async fn m142_two_apps_have_the_same_names_and_not_the_same_rows() {
    let app = TestApp::start().await;
    let (demo, other) = (Db::new(&app, "demo").await, Db::new(&app, "other").await);
    for (db, word) in [(&demo, "ours"), (&other, "theirs")] {
        let prefix = format!("app_{}__", db.slug);
        db.apply(&format!("CREATE TABLE {prefix}notes (id int PRIMARY KEY, text text)")).await;
        db.apply(&format!("INSERT INTO {prefix}notes VALUES (1, '{word}')")).await;
    }
    assert_eq!(demo.rows("SELECT text FROM app_demo__notes").await, json!([{ "text": "ours" }]));
    assert_eq!(other.rows("SELECT text FROM app_other__notes").await, json!([{ "text": "theirs" }]));
    let mut refusals = BTreeMap::new();
    for (name, sql) in [
        ("app_other__notes", "SELECT text FROM app_other__notes"),
        ("app_other__never", "SELECT text FROM app_other__never"),
        ("app_nobody__notes", "SELECT text FROM app_nobody__notes"),
        ("cp_tenants", "SELECT text FROM cp_tenants"),
    ] {
        let problem = refused(&demo.query(sql).await, 403, "namespace_violation");
        assert!(problem["detail"].as_str().unwrap().contains(name), "it names the object: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("app_demo__"), "and what to write: {problem}");
        let mut told = problem;
        told["request_id"] = Value::Null;
        refusals.insert(name, told.to_string().replace(name, "NAME"));
    }
    let all: std::collections::BTreeSet<_> = refusals.values().collect();
    assert_eq!(all.len(), 1, "what exists and what does not are told apart: {refusals:?}");
    for sql in [
        "INSERT INTO app_other__notes VALUES (2, 'planted')",
        "UPDATE app_other__notes SET text = 'planted'",
        "DELETE FROM app_other__notes",
        "DROP TABLE app_other__notes",
        "DROP TABLE app_demo__notes, app_other__notes",
        "CREATE TABLE app_other__planted (id int)",
        "ALTER TABLE app_demo__notes RENAME TO app_other__planted",
    ] {
        refused(&demo.try_apply(sql).await, 403, "namespace_violation");
    }
    assert_eq!(
        other.rows("SELECT id, text FROM app_other__notes").await,
        json!([{ "id": 1, "text": "theirs" }])
    );
    assert_eq!(demo.rows("SELECT id, text FROM app_demo__notes").await, json!([{ "id": 1, "text": "ours" }]));
}

#[tokio::test]
async fn m008_the_workspace_answers_under_the_apps_own_prefix_too() {
    let app = TestApp::start().await;
    let (demo, other) = (Db::new(&app, "demo").await, Db::new(&app, "other").await);
    let asked = json!({ "sql": "SELECT 1 AS one" });
    let answer = demo.client.post("/demo/v1/sdk/database/query", &asked).await;
    assert_eq!(answer.json()["rows"], json!([{ "one": 1 }]), "{}", answer.text());
    refused(&other.client.post("/demo/v1/sdk/database/query", &asked).await, 403, "app_mismatch");
}
