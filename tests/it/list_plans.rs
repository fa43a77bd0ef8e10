//! A list reads what it shows, and not what others have: every row comes by an index (row M308).

use opg_tests::{app::TestApp, guests, upstream::ScriptedUpstream};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgConnection};
use std::collections::BTreeMap;

/// Rows of others in each table, and how many apps share them.
const OTHERS: i64 = 20_000;
const OTHER_APPS: i64 = 200;
/// How often each list is asked for: what upkeep reads meanwhile is little beside it.
const ROUNDS: i64 = 25;

/// The tables that grow with use, each with its key and what its lists are.
const LISTS: &[(&str, &str, &[&str])] = &[
    ("sessions", "session_id", &["/v1/sessions", "/v1/sessions?status=idle", "/v1/sessions?roots=false"]),
    ("usage_events", "usage_id", &["/v1/usage/ai-logs", "/v1/usage/ai-logs?status=ok"]),
    ("audit_events", "audit_id", &["/v1/tenant/audit", "/v1/tenant/audit?action=tools.review"]),
    ("tool_runs", "run_id", &["/v1/tenant/tools/word-count/invocations"]),
    ("tasks", "task_id", &["/v1/tasks"]),
];
/// Those of one session.
const OF_A_SESSION: &[(&str, &str)] = &[("session_messages", "messages"), ("session_events", "timeline")];

async fn run(conn: &mut PgConnection, statement: String) {
    let ran = sqlx::raw_sql(AssertSqlSafe(statement.as_str())).execute(conn).await;
    ran.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Copies of a row of a table, with what is said to be different.
async fn copy(conn: &mut PgConnection, table: &str, rows: i64, different: &str) {
    let statement = format!(
        "insert into {table} select (jsonb_populate_record(one, jsonb_build_object({different}))).*
         from (select t as one from {table} t limit 1) as any_row, generate_series(1, {rows}) n"
    );
    run(conn, statement).await;
}

/// How many rows of each table were read by reading all of it.
async fn read_whole(conn: &mut PgConnection) -> BTreeMap<String, i64> {
    let read = sqlx::query_as("select relname::text, seq_tup_read from pg_stat_user_tables");
    read.fetch_all(conn).await.unwrap().into_iter().collect()
}

#[tokio::test]
async fn m308_no_list_reads_a_table_whole() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    assert_eq!(acme.invoke("word-count", json!({ "text": "a" })).await.status, 200);
    let said = json!({ "model": "openai/scripted", "session_id": "new", "messages": [{ "role": "user", "content": "hello" }] });
    let answer = acme.post("/v1/chat/completions", &said).await;
    let session = answer.header("x-opg-session-id").to_owned();
    let mut conn = app.owner().await;
    run(&mut conn, "insert into tasks select gen_random_uuid(), app_id, null, 'image', 'done', null, null, null, null, 'r',
        gen_random_uuid(), now(), now(), now(), now() + interval '1 day' from apps".to_owned()).await;

    // What triggers would refuse: sessions that begin as they cannot.
    run(&mut conn, "set session_replication_role = replica".to_owned()).await;
    copy(&mut conn, "apps", OTHER_APPS, "'app_id', gen_random_uuid(), 'slug', 'other-' || n").await;
    let an_app = format!("(select app_id from apps where slug = 'other-' || (1 + n % {OTHER_APPS}))");
    for (table, key, _) in LISTS {
        let stopped = if *table == "sessions" { ", 'status', 'stopped'" } else { "" };
        let different = format!("'{key}', gen_random_uuid(), 'app_id', {an_app}{stopped}");
        copy(&mut conn, table, OTHERS, &different).await;
    }
    let (other, of) = ("(select session_id from sessions where status = 'stopped' limit 1)", "n + 1000");
    for (table, _) in OF_A_SESSION {
        let message = if *table == "session_messages" { ", 'message_id', gen_random_uuid()" } else { "" };
        copy(&mut conn, table, OTHERS, &format!("'session_id', {other}, 'seq', {of}{message}")).await;
    }
    run(&mut conn, "analyze".to_owned()).await;

    let before = read_whole(&mut conn).await;
    let of_session = OF_A_SESSION.iter().map(|(_, route)| format!("/v1/sessions/{session}/{route}"));
    let routes = LISTS.iter().flat_map(|(_, _, routes)| routes.iter().map(|route| (*route).to_owned()));
    for route in routes.chain(of_session) {
        for _ in 0..ROUNDS {
            let listed = acme.get(&route).await;
            assert_eq!(listed.status, 200, "{route}: {}", listed.text());
            assert!(!listed.text().contains("other-"), "{route}");
        }
    }
    // A connection that ends tells what it read.
    let app = app.restart().await;
    let after = read_whole(&mut app.owner().await).await;
    for table in LISTS.iter().map(|(table, ..)| table).chain(OF_A_SESSION.iter().map(|(table, _)| table)) {
        let read = after[*table] - before[*table];
        assert!(read < ROUNDS * OTHERS / 5, "{table}: {read} rows were read by reading all of it");
    }
}
