//! The database workspace on a server where we are no superuser, as managed PostgreSQL has it: the roles hold, what
//! needs a superuser is reported, and nothing depends on it.

use opg_tests::app::{Setup, TestApp};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

async fn managed() -> TestApp {
    TestApp::set_up(Setup { managed: true, ..Setup::default() }, |_| {}).await
}

fn findings(readyz: &Value) -> Vec<(String, bool)> {
    let all = readyz["posture"].as_array().expect("a local caller sees the posture");
    all.iter().map(|f| (f["what"].as_str().unwrap().to_owned(), f["holds"].as_bool().unwrap())).collect()
}

#[tokio::test]
async fn without_a_superuser_an_app_gets_its_workspace_and_the_report_says_what_is_missing() {
    let app = managed().await;
    let demo = app.tenant("demo").await;
    for sql in [
        "CREATE TABLE app_demo__notes (id int PRIMARY KEY, text text)",
        "INSERT INTO app_demo__notes VALUES (1, 'one')",
    ] {
        let body = json!({ "sql": sql, "dryRun": false, "confirm": "apply:demo" });
        let done = demo.post("/v1/sdk/database/execute", &body).await;
        assert_eq!(done.status, 200, "{}", done.text());
    }
    let rows =
        demo.post("/v1/sdk/database/query", &json!({ "sql": "SELECT text FROM app_demo__notes" })).await;
    assert_eq!(rows.json()["rows"], json!([{ "text": "one" }]));

    let ready = app.anonymous().get("/readyz").await;
    assert_eq!(ready.status, 200, "a missing third wall keeps nobody out: {}", ready.text());
    let findings = findings(&ready.json());
    for (what, holds) in [
        ("catalogs_closed", false),
        ("functions_closed", false),
        ("definitions_fenced", false),
        ("schema_public_closed", true),
        ("database_closed", true),
        ("logins_bare", true),
    ] {
        assert!(findings.contains(&(what.to_owned(), holds)), "{what}: {findings:?}");
    }
    let missing =
        ready.json()["posture"].as_array().unwrap().iter().find(|f| f["what"] == "catalogs_closed").cloned();
    assert!(missing.unwrap()["advice"].as_str().unwrap().contains("superuser"));

    let deleted = app.operator().delete("/v1/admin/tenants/demo?confirm=demo").await;
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    app.running.stop().await;
}

#[tokio::test]
async fn on_our_own_server_every_wall_is_up_and_only_a_local_caller_is_told() {
    let app = TestApp::start().await;
    let ready = app.anonymous().get("/readyz").await.json();
    for (what, holds) in findings(&ready) {
        assert!(holds, "{what}: {ready}");
    }
    let from_elsewhere = app.anonymous().request("GET", "/readyz").header("x-forwarded-for", "203.0.113.7");
    let from_elsewhere = opg_tests::app::send(from_elsewhere).await.json();
    assert_eq!(from_elsewhere["checks"]["apps_database"], true);
    assert!(from_elsewhere.get("posture").is_none(), "{from_elsewhere}");
}

#[tokio::test]
async fn even_without_hardening_a_login_reads_no_other_apps_rows_and_the_parser_keeps_names_to_itself() {
    let app = managed().await;
    let (demo, other) = (app.tenant("demo").await, app.tenant("other").await);
    let body = json!({ "sql": "CREATE TABLE app_other__secrets AS SELECT 'canary-5512' AS v", "dryRun": false, "confirm": "apply:other" });
    assert_eq!(other.post("/v1/sdk/database/execute", &body).await.status, 200);
    for sql in [
        "SELECT v FROM app_other__secrets",
        "SELECT relname FROM pg_class",
        "SELECT query_to_xml('select v from app_other__secrets', true, false, '')",
    ] {
        let refused = demo.post("/v1/sdk/database/query", &json!({ "sql": sql })).await;
        assert!([403, 422].contains(&refused.status), "{sql}: {}", refused.text());
        assert!(!refused.text().contains("canary"), "{sql}");
    }
    // The roles alone.
    let server = &app.running.app.server;
    let mut admin = PgConnection::connect_with(&server.apps_admin()).await.unwrap();
    let reader: String =
        sqlx::query_scalar("select reader_role from opg.workspaces where prefix = 'app_demo__'")
            .fetch_one(&mut admin)
            .await
            .unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("alter role {reader} password 'known'")))
        .execute(&mut admin)
        .await
        .unwrap();
    let mut login =
        PgConnection::connect_with(&server.apps_login(&reader, &"known".to_owned().into())).await.unwrap();
    for sql in [
        "select v from app_other.app_other__secrets",
        "select * from opg.workspaces",
        "set role app_other",
        "select query_to_xml('select v from app_other.app_other__secrets', true, false, '')",
    ] {
        let refused = sqlx::raw_sql(sql).execute(&mut login).await.unwrap_err();
        let code = refused.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned();
        assert!(["42501", "22023"].contains(&code.as_str()), "{sql}: {refused}");
    }
}
