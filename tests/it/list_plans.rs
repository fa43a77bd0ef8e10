//! A list reads what it shows, and not what others have: every row comes by an index (row M308). So does upkeep, which
//! reads what there is to do.

use opg_host::{
    app::App,
    idempotency,
    limits::{IDEMPOTENCY_KEY_LIFE, IDEMPOTENCY_KEYS_PER_CREDENTIAL_MAX},
    registry::kept,
};
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

/// Rows of a table that were read so far, in whichever way.
async fn rows_read(conn: &mut PgConnection, table: &str) -> i64 {
    let read = "select seq_tup_read + coalesce(idx_tup_fetch, 0) + coalesce((select sum(idx_tup_read)::bigint
                  from pg_stat_user_indexes i where i.relid = t.relid), 0)
                from pg_stat_user_tables t where relname = $1";
    sqlx::query_scalar(read).bind(table).fetch_one(conn).await.unwrap()
}

/// What upkeep of a kind reads of a table in some rounds, as counted when its connections ended. Nothing else reads it.
async fn read_by(
    app: TestApp,
    table: &str,
    rounds: usize,
    upkeep: impl AsyncFn(&App) -> sqlx::Result<()>,
) -> (TestApp, i64) {
    // What it does by itself at a start is over then.
    let app = app.restart().await;
    upkeep(&app.running.app).await.unwrap();
    let app = app.restart().await;
    upkeep(&app.running.app).await.unwrap();
    let app = app.restart().await;
    let before = rows_read(&mut app.owner().await, table).await;
    for _ in 0..rounds {
        upkeep(&app.running.app).await.unwrap();
    }
    let app = app.restart().await;
    let after = rows_read(&mut app.owner().await, table).await;
    (app, after - before)
}

/// So many keys, each owner having some, answered so many minutes ago.
fn keys(rows: i64, owners: i64, minutes_ago: i64) -> String {
    let life = IDEMPOTENCY_KEY_LIFE.as_secs();
    format!(
        "insert into idempotency_keys (idempotency_key_id, key_hash, owner_hash, request_hash, process_id, created_at,
                                       expires_at, answered_at, answer_bytes)
         select gen_random_uuid(), uuid_send(gen_random_uuid()), int8send({minutes_ago} * 1000 + n % {owners}), '',
                gen_random_uuid(), at - n * interval '1 microsecond', at + interval '{life} seconds', at, 10
         from generate_series(1, {rows}) n, (select now() - interval '{minutes_ago} minutes' as at) t"
    )
}

#[tokio::test]
async fn m307_trimming_idempotency_keys_reads_what_there_is_to_trim() {
    const ROUNDS: usize = 20;
    const TABLE: &str = "idempotency_keys";
    let (most, day) = (IDEMPOTENCY_KEYS_PER_CREDENTIAL_MAX, 24 * 60);
    let app = TestApp::start().await;
    let mut conn = app.owner().await;
    run(&mut conn, keys(100_000, 100, 60)).await;
    run(&mut conn, "analyze".to_owned()).await;
    let (app, read) = read_by(app, TABLE, ROUNDS, idempotency::sweep::all).await;
    // What each start looks for, of processes that died and of older master keys, is not what is measured; it is little.
    assert!(read < 20 * ROUNDS as i64, "{read} rows were read in {ROUNDS} minutes with nothing to do");

    // Too old, too many of one credential, and as many as it may have of another.
    let mut conn = app.owner().await;
    run(&mut conn, keys(1_200, 7, day + 1)).await;
    run(&mut conn, keys(most + 700, 1, 1)).await;
    run(&mut conn, keys(most, 1, 2)).await;
    let before = read_whole(&mut conn).await;
    idempotency::sweep::all(&app.running.app).await.unwrap();
    let app = app.restart().await;
    let read = read_whole(&mut app.owner().await).await[TABLE] - before[TABLE];
    assert!(read < 100_000, "{read} rows were read by reading all of them");
    let left = "select count(*)::text from idempotency_keys group by owner_hash
                having count(*) >= 10000 or min(expires_at) <= now() order by 1";
    assert_eq!(app.sql(left).await, ["10000", "10000"]);
    assert_eq!(app.sql("select count(*)::text from idempotency_keys").await, ["120000"]);
}

#[tokio::test]
async fn m368_looking_for_bytes_that_nobody_needs_reads_what_is_due() {
    const ROUNDS: usize = 20;
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let agent = "---\ndescription: Counts\n---\nCount.\n";
    assert_eq!(acme.put_bytes("/v1/tenant/agents/counter", "text/markdown", agent).await.status, 201);
    let mut conn = app.owner().await;
    run(&mut conn, "set session_replication_role = replica".to_owned()).await;
    let different = "'plugin_id', gen_random_uuid(), 'sha256', 'x' || n, 'source_sha256', 'y' || n";
    copy(&mut conn, "plugin_versions", OTHERS, different).await;
    let notes = "insert into blob_checks select 'z' || n, null, now() + interval '1 day' from generate_series(1, 50000) n";
    run(&mut conn, notes.to_owned()).await;
    run(&mut conn, "analyze".to_owned()).await;
    let (app, read) = read_by(app, "blob_checks", ROUNDS, kept::sweep::all).await;
    assert!(read < 20 * ROUNDS as i64, "{read} notes were read in {ROUNDS} minutes with nothing to do");

    // Of 300 that are due, one after the other.
    let mut conn = app.owner().await;
    run(&mut conn, "update blob_checks set due_at = now() where sha256 in (select 'z' || n from generate_series(1, 300) n)".to_owned()).await;
    let before = read_whole(&mut conn).await;
    kept::sweep::all(&app.running.app).await.unwrap();
    assert_eq!(app.sql("select count(*)::text from blob_checks where sha256 like 'z%'").await, ["49700"]);
    let app = app.restart().await;
    let after = read_whole(&mut app.owner().await).await;
    // Once an hour, and at a start, all plugins are asked for how many versions they have.
    let read = after["plugin_versions"] - before["plugin_versions"];
    assert!(read < 10 * OTHERS, "{read} versions were read by reading all of them");
}
