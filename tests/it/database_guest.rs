//! The app's database from inside the sandbox (row M362): the same parser, the same gate and the same walls as over
//! HTTP, capped by what the plugin was granted and by who calls.

use opg_tests::{
    app::{Answer, Client, TestApp, logs},
    guests,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use std::time::{Duration, Instant};

/// What no message, log line or audit row may ever hold.
const CANARY: &str = "canary-4be2d1";

const CUSTOMERS: &str = "CREATE TABLE app_acme__customers (
    id int PRIMARY KEY, name text NOT NULL, email text UNIQUE);
    INSERT INTO app_acme__customers VALUES (1, 'Ann', 'ann@example.com'), (2, 'Ben', 'ben@example.com')";
const ORDERS: &str = "CREATE TABLE app_acme__orders (
    id int PRIMARY KEY, customer int REFERENCES app_acme__customers ON DELETE CASCADE, total numeric NOT NULL);
    INSERT INTO app_acme__orders VALUES (1, 1, 9.90), (2, 2, 0.10)";

/// An app with the two tables above and the test guest, granted this.
async fn acme(app: &TestApp, grants: &[&str]) -> Client {
    let acme = app.tenant("acme").await;
    apply(&acme, "acme", CUSTOMERS).await;
    apply(&acme, "acme", ORDERS).await;
    install(&acme, grants).await;
    acme
}

/// Makes a change over HTTP.
async fn apply(client: &Client, slug: &str, sql: &str) -> Answer {
    let body = json!({ "sql": sql, "dryRun": false, "confirm": format!("apply:{slug}") });
    let answer = client.post("/v1/sdk/database/execute", &body).await;
    assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
    answer
}

/// The rows of a query over HTTP.
async fn rows(client: &Client, sql: &str) -> Value {
    let answer = client.post("/v1/sdk/database/query", &json!({ "sql": sql })).await;
    assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
    answer.json()["rows"].clone()
}

async fn install(client: &Client, grants: &[&str]) {
    upload(client, "db", guests::DB).await;
    grant(client, grants).await;
}

async fn upload(client: &Client, name: &str, wasm: &'static [u8]) {
    let uploaded = client.put_bytes(&format!("/v1/tenant/tools/{name}"), "application/wasm", wasm).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
}

async fn grant(client: &Client, grants: &[&str]) {
    let grants: Vec<_> = grants.iter().map(|target| ("db", *target)).collect();
    client.grant("tools", "db", &grants).await;
}

/// What the host answered the guest.
async fn seen(client: &Client, tool: &str, input: Value) -> Value {
    let ran = client.invoke(tool, input).await;
    assert_eq!(ran.status, 200, "{}", ran.text());
    ran.json()["output"].clone()
}

async fn query(client: &Client, sql: &str) -> Value {
    seen(client, "db_query", json!({ "sql": sql })).await
}

async fn execute(client: &Client, sql: &str) -> Value {
    seen(client, "db_execute", json!({ "sql": sql })).await
}

/// The text of an error of this kind.
#[track_caller]
fn refused(seen: &Value, kind: &str) -> String {
    assert_eq!(seen["error"], kind, "{seen}");
    seen["message"].as_str().unwrap().to_owned()
}

/// What the newest run reached for.
async fn reached(client: &Client) -> Value {
    let audit = client.get("/v1/tenant/audit?action=tool.run&limit=1").await.json();
    audit["data"][0]["detail"]["reached"].clone()
}

/// A connection to the apps' database as its owner: to look at what no route shows.
async fn apps(app: &TestApp) -> PgConnection {
    PgConnection::connect_with(&app.running.app.server.apps_admin()).await.unwrap()
}

/// What the logins of the app with this prefix do at this moment, other than being kept.
async fn busy(conn: &mut PgConnection, prefix: &str) -> Vec<String> {
    let sql = format!(
        "select concat_ws(': ', state, query) from pg_stat_activity, opg.workspaces
         where prefix = '{prefix}' and usename in (owner_role, reader_role) and state is distinct from 'idle'"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(conn).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Waits until nothing of the app is busy in the database.
async fn settle(conn: &mut PgConnection, prefix: &str) {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let busy = busy(conn, prefix).await;
        if busy.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "something goes on: {busy:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// --- what it may ----------------------------------------------------------

#[tokio::test]
async fn m362_a_guest_reads_and_writes_what_it_was_granted_and_no_other_table() {
    let app = TestApp::start().await;
    let acme = acme(&app, &[]).await;
    let select = "SELECT id, name FROM app_acme__customers ORDER BY id";
    let insert = "INSERT INTO app_acme__customers VALUES (3, 'Cem', NULL)";

    for seen in [query(&acme, select).await, execute(&acme, insert).await] {
        let text = refused(&seen, "denied");
        assert!(text.contains("/review"), "it says what to do: {text}");
    }
    assert_eq!(rows(&acme, "SELECT count(*) AS n FROM app_acme__customers").await, json!([{ "n": "2" }]));

    grant(&acme, &["write:customers"]).await;
    let answer = &query(&acme, select).await["ok"];
    assert_eq!(answer["rows"], json!([{ "id": 1, "name": "Ann" }, { "id": 2, "name": "Ben" }]), "{answer}");
    assert_eq!(
        answer["columns"],
        json!([{ "name": "id", "type": "int4" }, { "name": "name", "type": "text" }]),
        "{answer}"
    );
    assert_eq!((&answer["row_count"], &answer["truncated"]), (&json!(2), &json!(false)), "{answer}");
    assert_eq!(reached(&acme).await, json!({ "db:read:customers": { "allowed": 1, "denied": 0 } }));
    let answer = &execute(&acme, insert).await["ok"];
    assert_eq!((&answer["applied"], &answer["affected"]), (&json!(true), &json!(1)), "{answer}");
    assert_eq!(reached(&acme).await, json!({ "db:write:customers": { "allowed": 1, "denied": 0 } }));
    assert_eq!(rows(&acme, "SELECT count(*) AS n FROM app_acme__customers").await, json!([{ "n": "3" }]));

    // A table that was not granted is not to be had by way of one that was.
    for sql in [
        "SELECT * FROM app_acme__orders",
        "SELECT c.name FROM app_acme__customers c WHERE EXISTS (SELECT FROM app_acme__orders WHERE customer = c.id)",
        "SELECT name, (SELECT max(total) FROM app_acme__orders) FROM app_acme__customers",
        "WITH o AS (SELECT * FROM app_acme__orders) SELECT * FROM o",
        "SELECT 1 FROM app_acme__customers UNION ALL TABLE app_acme__orders",
    ] {
        let text = refused(&query(&acme, sql).await, "denied");
        assert!(text.contains("db:read:orders"), "{sql}: {text}");
    }
    assert_eq!(reached(&acme).await["db:read:orders"], json!({ "allowed": 0, "denied": 1 }));
    for (sql, wanted) in [
        ("DELETE FROM app_acme__orders", "db:write:orders"),
        ("INSERT INTO app_acme__customers SELECT id + 10, 'x', NULL FROM app_acme__orders", "db:read:orders"),
        (
            "UPDATE app_acme__customers c SET name = 'x' FROM app_acme__orders o WHERE o.customer = c.id",
            "db:read:orders",
        ),
        (
            "WITH gone AS (DELETE FROM app_acme__orders RETURNING id) INSERT INTO app_acme__customers SELECT id + 10, 'x' FROM gone",
            "orders",
        ),
        (
            "INSERT INTO app_acme__customers VALUES (9, 'x', NULL); DELETE FROM app_acme__orders",
            "db:write:orders",
        ),
    ] {
        let text = refused(&execute(&acme, sql).await, "denied");
        assert!(text.contains(wanted), "{sql}: {text}");
    }
    assert_eq!(rows(&acme, "SELECT count(*) AS n FROM app_acme__customers").await, json!([{ "n": "3" }]));
    assert_eq!(rows(&acme, "SELECT count(*) AS n FROM app_acme__orders").await, json!([{ "n": "2" }]));

    grant(&acme, &[]).await;
    refused(&query(&acme, select).await, "denied");
}

#[tokio::test]
async fn m362_reading_is_not_writing_and_writing_is_not_defining() {
    let app = TestApp::start().await;
    let acme = acme(&app, &["read:customers"]).await;
    let reads = "SELECT count(*)::int AS n FROM app_acme__customers";
    let writes = [
        "INSERT INTO app_acme__customers VALUES (7, 'x', NULL)",
        "UPDATE app_acme__customers SET name = 'x'",
        "DELETE FROM app_acme__customers WHERE id = 7",
        "MERGE INTO app_acme__customers c USING (VALUES (7)) v(id) ON c.id = v.id WHEN MATCHED THEN DELETE",
    ];
    let defines = [
        "TRUNCATE app_acme__customers CASCADE",
        "ALTER TABLE app_acme__customers ADD phone text",
        "CREATE INDEX ON app_acme__customers (name)",
        "COMMENT ON TABLE app_acme__customers IS 'x'",
        "DROP TABLE app_acme__customers CASCADE",
        "CREATE TABLE app_acme__new (id int PRIMARY KEY)",
        "CREATE TABLE app_acme__copy AS SELECT * FROM app_acme__customers",
        "CREATE VIEW app_acme__view AS SELECT * FROM app_acme__customers",
        "ALTER TABLE app_acme__customers RENAME TO app_acme__clients",
    ];

    assert_eq!(query(&acme, reads).await["ok"]["rows"], json!([{ "n": 2 }]));
    for sql in writes.iter().chain(&defines) {
        refused(&execute(&acme, sql).await, "denied");
    }
    grant(&acme, &["write:customers"]).await;
    assert_eq!(query(&acme, reads).await["ok"]["rows"], json!([{ "n": 2 }]), "to write is to read");
    for sql in &defines {
        let text = refused(&execute(&acme, sql).await, "denied");
        assert!(text.contains("db:alter:"), "{sql}: {text}");
    }
    let unchanged = rows(&acme, "SELECT id, name FROM app_acme__customers ORDER BY id").await;
    assert_eq!(unchanged, json!([{ "id": 1, "name": "Ann" }, { "id": 2, "name": "Ben" }]));
    for sql in &writes {
        assert_eq!(execute(&acme, sql).await["ok"]["applied"], true, "{sql}");
    }
    grant(&acme, &["alter:customers"]).await;
    for sql in &defines[1..4] {
        let seen = execute(&acme, sql).await;
        assert_eq!(seen["ok"]["applied"], true, "{sql}: {seen}");
    }
    assert_eq!(query(&acme, "SELECT phone FROM app_acme__customers").await["ok"]["row_count"], 2);
    for sql in &defines[5..] {
        refused(&execute(&acme, sql).await, "denied");
    }
    grant(&acme, &["alter:*"]).await;
    let cleared = execute(&acme, "TRUNCATE app_acme__customers, app_acme__orders").await;
    assert_eq!(
        cleared["ok"]["applied"], true,
        "what is confirmed over HTTP was confirmed at review: {cleared}"
    );
    assert_eq!(query(&acme, reads).await["ok"]["rows"], json!([{ "n": 0 }]));
}

#[tokio::test]
async fn m362_a_guest_may_no_more_than_whoever_calls_it() {
    let app = TestApp::start().await;
    let acme = acme(&app, &["alter:*"]).await;
    let select = "SELECT name FROM app_acme__customers WHERE id = 1";
    let update = "UPDATE app_acme__customers SET name = 'Anna' WHERE id = 1";
    for (scopes, reads, writes) in [
        (&["tools:run"][..], false, false),
        (&["tools:run", "db:read"], true, false),
        // Trying a change over HTTP is not making one.
        (&["tools:run", "db:read", "db:write"], true, false),
        (&["tools:run", "db:apply"], false, false),
        (&["tools:run", "db:read", "db:apply"], true, true),
    ] {
        let caller = acme.with_scopes(scopes).await;
        for (seen, may, scope) in [
            (query(&caller, select).await, reads, "db:read"),
            (execute(&caller, update).await, writes, "db:"),
        ] {
            if may {
                assert!(seen["ok"].is_object(), "{scopes:?}: {seen}");
            } else {
                let text = refused(&seen, "denied");
                assert!(text.contains("scope") && text.contains(scope), "{scopes:?}: {text}");
            }
        }
    }
    assert_eq!(rows(&acme, select).await, json!([{ "name": "Anna" }]));
    // Without a WHERE it reads nothing, and db:apply is enough.
    let applier = acme.with_scopes(&["tools:run", "db:apply"]).await;
    let seen = execute(&applier, "INSERT INTO app_acme__customers VALUES (3, 'Cem', NULL)").await;
    assert_eq!(seen["ok"]["applied"], true, "{seen}");
}

#[tokio::test]
async fn m362_what_was_not_declared_cannot_be_granted_and_a_target_follows_its_grammar() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    upload(&acme, "customers", guests::CUSTOMERS).await;
    let review = "/v1/tenant/tools/customers/review";
    let grant = |target: &str| json!({ "grant": [{ "kind": "db", "target": target }] });
    for wider in ["alter:customers", "read:*", "write:orders", "write:customers2"] {
        let answer = acme.post(review, &grant(wider)).await;
        assert_eq!(answer.status, 422, "{wider}: {}", answer.text());
    }
    for wrong in
        ["customers", "read", "read:", "own:customers", "read:a b", "READ:customers", "read:a.b", "*"]
    {
        let answer = acme.post(review, &grant(wrong)).await;
        assert_eq!(answer.status, 422, "{wrong}: {}", answer.text());
    }
    let answer = acme.post(review, &grant("write:customers")).await.json();
    assert_eq!(answer["granted"], json!([{ "kind": "db", "target": "write:customers" }]), "{answer}");
    let listed = acme.get("/v1/tenant/tools/customers").await.json();
    let asked = listed["requested_capabilities"].as_array().unwrap_or_else(|| panic!("{listed}"));
    let asked: Vec<_> = asked.iter().map(|c| (c["kind"].as_str(), c["target"].as_str())).collect();
    assert_eq!(asked, [(Some("db"), Some("read:customers")), (Some("db"), Some("write:customers"))]);
}

// --- the same as over HTTP --------------------------------------------------

#[tokio::test]
async fn m362_what_is_refused_over_http_is_refused_to_a_guest_in_the_same_words() {
    let app = TestApp::start().await;
    let acme = acme(&app, &["alter:*"]).await;
    let rival = app.tenant("rival").await;
    apply(&rival, "rival", &format!("CREATE TABLE app_rival__secrets (s text PRIMARY KEY); INSERT INTO app_rival__secrets VALUES ('{CANARY}')")).await;
    let queries = [
        "SELECT * FROM app_rival__secrets",
        "SELECT * FROM app_rival__nothing",
        "SELECT * FROM app_rival.app_rival__secrets",
        "SELECT * FROM app_acme.app_acme__customers",
        "SELECT * FROM customers",
        "SELECT relname FROM pg_class",
        "SELECT * FROM pg_catalog.pg_roles",
        "SELECT * FROM information_schema.tables",
        "SELECT 1; SELECT 2",
        "SELECT 1; COMMIT; DROP TABLE app_acme__customers",
        "DELETE FROM app_acme__customers",
        "WITH d AS (DELETE FROM app_acme__customers RETURNING *) SELECT * FROM d",
        "SELECT * INTO app_acme__x FROM app_acme__customers",
        "SELECT * FROM app_acme__customers FOR UPDATE",
        "SELECT pg_sleep(10)",
        "SELECT set_config('role', 'postgres', false)",
        "SELECT current_setting('data_directory')",
        "SELECT query_to_xml('select 1', true, false, '')",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT 'pg_class'::regclass",
        "SELECT nope FROM app_acme__customers",
        "SELECT * FROM app_acme__nothing",
        "SELECT FROM WHERE",
        "",
        "EXPLAIN SELECT 1",
        "COPY app_acme__customers TO STDOUT",
    ];
    let changes = [
        "INSERT INTO app_rival__secrets VALUES ('x')",
        "CREATE TABLE app_rival__more (id int PRIMARY KEY)",
        "CREATE TABLE elsewhere (id int PRIMARY KEY)",
        "SELECT 1",
        "DO $$ BEGIN END $$",
        "CREATE FUNCTION app_acme__f() RETURNS int LANGUAGE sql AS 'select 1'",
        "SET ROLE postgres",
        "BEGIN; DELETE FROM app_acme__customers; COMMIT",
        "GRANT ALL ON app_acme__customers TO public",
        "CREATE EXTENSION dblink",
        "COPY app_acme__customers FROM PROGRAM 'id'",
        "LISTEN x",
        "VACUUM app_acme__customers",
        "CREATE INDEX CONCURRENTLY ON app_acme__customers (name)",
        "INSERT INTO app_acme__customers VALUES (1, 'again', NULL)",
        "INSERT INTO app_acme__customers VALUES (5, 'a', NULL); INSERT INTO app_acme__customers VALUES (5, 'b', NULL)",
        "DROP TABLE app_acme__nothing",
    ];
    let queries = queries.map(|sql| (sql, "db_query", "query"));
    let changes = changes.map(|sql| (sql, "db_execute", "execute"));
    for (sql, tool, route) in queries.into_iter().chain(changes) {
        let over_http = acme.post(&format!("/v1/sdk/database/{route}"), &json!({ "sql": sql })).await;
        let kind = match over_http.status {
            403 => "denied",
            422 => "invalid",
            status => panic!("{sql}: {status} {}", over_http.text()),
        };
        let (said, told) = (over_http.json(), refused(&seen(&acme, tool, json!({ "sql": sql })).await, kind));
        let detail = said["detail"].as_str().unwrap();
        let told = told.split(" (SQLSTATE").next().unwrap();
        assert_eq!(told, detail, "{sql}: {said}");
        assert!(!told.contains(CANARY), "{told}");
    }
    assert_eq!(rows(&acme, "SELECT count(*) AS n FROM app_acme__customers").await, json!([{ "n": "2" }]));
}

/// 60 cases of the corpus through a guest, each compared with the same over HTTP.
#[tokio::test]
async fn m362_a_sample_of_the_corpus_goes_through_a_guest_as_it_does_over_http() {
    const CASES: &str = include_str!("../corpus/sql_cases.jsonl");
    const REFUSED: usize = 46;
    const ALLOWED: &[&str] = &[
        "okq-03", "okq-09", "okq-12", "okq-25", "okq-29", "okq-38", "okq-60", "okq-68", "okq-84", "okx-01",
        "okx-05", "okx-10", "okx-14", "okx-46",
    ];
    let app = TestApp::start().await;
    let demo = app.tenant("demo").await;
    for part in CORPUS_TABLES {
        apply(&demo, "demo", part).await;
    }
    install(&demo, &["alter:*"]).await;
    let mut conn = apps(&app).await;
    let before = state(&mut conn).await;

    let cases: Vec<Value> = CASES.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rejected: Vec<&Value> = cases.iter().filter(|case| case["expect"] == "reject").collect();
    let allowed: Vec<&Value> =
        cases.iter().filter(|case| ALLOWED.contains(&case["id"].as_str().unwrap())).collect();
    assert_eq!(allowed.len(), ALLOWED.len());
    let mut wrong = vec![];
    let mut count = [(0, 0); 2];
    for at in 0..REFUSED {
        let case = rejected[at * rejected.len() / REFUSED];
        let (told, said) = both(&demo, case).await;
        let text = told["message"].as_str().unwrap_or_default().split(" (SQLSTATE").next().unwrap();
        let right = ["denied", "invalid", "limit"].contains(&told["error"].as_str().unwrap_or_default())
            && said["detail"] == text;
        count[0] = (count[0].0 + u32::from(right), count[0].1 + 1);
        if !right {
            wrong.push(format!("{}: {told} and over HTTP {said}", case["sql"]));
        }
    }
    assert_eq!(state(&mut conn).await, before, "what was refused changed nothing");
    for case in allowed {
        let (told, said) = both(&demo, case).await;
        let right = told["ok"].is_object()
            && told["ok"]["rows"] == said["rows"]
            && told["ok"]["affected"] == said["affected"];
        count[1] = (count[1].0 + u32::from(right), count[1].1 + 1);
        if !right {
            wrong.push(format!("{}: {told} and over HTTP {said}", case["sql"]));
        }
    }
    println!("through a guest: refused {}/{}, allowed {}/{}", count[0].0, count[0].1, count[1].0, count[1].1);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What a guest is told of a case, and what one is told over HTTP, where a change is only tried.
async fn both(client: &Client, case: &Value) -> (Value, Value) {
    let (tool, route) =
        if case["mode"] == "query" { ("db_query", "query") } else { ("db_execute", "execute") };
    let input = json!({ "sql": case["sql"] });
    let said = client.post(&format!("/v1/sdk/database/{route}"), &input).await.json();
    (seen(client, tool, input).await, said)
}

/// What the cases above are about, of the corpus's own fixture.
const CORPUS_TABLES: &[&str] = &[
    "CREATE TABLE app_demo__customers (
       id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL, email text UNIQUE,
       plan text NOT NULL DEFAULT 'free', balance numeric(12,2) NOT NULL DEFAULT 0, meta jsonb NOT NULL DEFAULT '{}',
       tags text[] NOT NULL DEFAULT '{}', created_at timestamptz NOT NULL DEFAULT now());
     CREATE TABLE app_demo__orders (
       id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
       customer_id uuid NOT NULL REFERENCES app_demo__customers(id) ON DELETE CASCADE,
       total_cents int NOT NULL CHECK (total_cents >= 0), status text NOT NULL DEFAULT 'new', notes text,
       placed_at timestamptz NOT NULL DEFAULT now());
     CREATE TABLE app_demo__events (
       id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, ts timestamptz NOT NULL DEFAULT now(),
       kind text NOT NULL, payload jsonb NOT NULL DEFAULT '{}');
     CREATE TABLE app_demo__tree (
       id int PRIMARY KEY, parent_id int REFERENCES app_demo__tree(id), name text NOT NULL);
     CREATE TABLE app_demo__settings (key text PRIMARY KEY, value text);
     CREATE TABLE app_demo__scratch (id int PRIMARY KEY, v text)",
    "INSERT INTO app_demo__customers(id, name, email, plan, balance, meta, tags, created_at)
       SELECT ('00000000-0000-4000-8000-' || lpad(g::text, 12, '0'))::uuid, 'Customer ' || g, 'c' || g || '@example.com',
         (ARRAY['free', 'pro', 'team'])[1 + g % 3], g * 1.25, jsonb_build_object('tier', g % 5, 'city', 'Oslo'),
         ARRAY['t' || g % 4, 'x'], timestamptz '2026-01-01 00:00+00' + g * interval '1 hour'
       FROM generate_series(1, 30) g;
     INSERT INTO app_demo__orders(customer_id, total_cents, status)
       SELECT ('00000000-0000-4000-8000-' || lpad((1 + g % 30)::text, 12, '0'))::uuid, g * 37,
         (ARRAY['new', 'paid', 'shipped', 'cancelled'])[1 + g % 4]
       FROM generate_series(1, 60) g;
     INSERT INTO app_demo__tree VALUES (1, NULL, 'root'), (2, 1, 'a'), (3, 1, 'b'), (4, 2, 'a1'), (5, 4, 'a11');
     INSERT INTO app_demo__settings VALUES ('theme', 'dark'), ('select', 'keyword key');
     INSERT INTO app_demo__scratch VALUES (1, 'one'), (2, 'two')",
];

/// All relations of apps by name, and what is in the tables.
async fn state(conn: &mut PgConnection) -> Vec<String> {
    let sql = "select concat_ws(' ', n.nspname, c.relname, c.relkind, c.relacl::text,
                 (select count(*) from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped))
               from pg_class c join pg_namespace n on n.oid = relnamespace where n.nspname like 'app\\_%' order by 1";
    let mut state: Vec<String> =
        sqlx::query(sql).fetch_all(&mut *conn).await.unwrap().iter().map(|row| row.get(0)).collect();
    for table in ["customers", "orders", "events", "tree", "settings", "scratch"] {
        let sql = format!(
            "select coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from app_demo.app_demo__{table} t"
        );
        state.push(sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *conn).await.unwrap().get(0));
    }
    state
}

#[tokio::test]
async fn m362_an_error_tells_nothing_of_others_nor_of_tables_that_were_not_granted() {
    let app = TestApp::start().await;
    let acme = acme(&app, &["read:customers", "read:missing"]).await;
    let rival = app.tenant("rival").await;
    apply(&rival, "rival", "CREATE TABLE app_rival__real (id int PRIMARY KEY)").await;

    let told = async |name: &str, kind: &str| {
        let text = refused(&query(&acme, &format!("SELECT * FROM {name}")).await, kind);
        text.replace(name.trim_start_matches("app_acme__"), "…").replace(name, "…")
    };
    // Whether it is there cannot be told, of another app's and of the own app's.
    assert_eq!(told("app_rival__real", "denied").await, told("app_rival__none", "denied").await);
    assert_eq!(told("app_acme__orders", "denied").await, told("app_acme__nowhere", "denied").await);
    // Of what was granted it can.
    let text = refused(&query(&acme, "SELECT * FROM app_acme__missing").await, "invalid");
    assert!(text.contains("does not exist") && text.contains("42P01"), "{text}");

    // Hints and details quote what one did not ask about; a position is counted in the text that was sent.
    grant(&acme, &["write:customers"]).await;
    let text = refused(&query(&acme, "SELECT nam FROM app_acme__customers").await, "invalid");
    assert_eq!(text, "column \"nam\" does not exist (SQLSTATE 42703, character 8)");
    let twice = format!("INSERT INTO app_acme__customers VALUES (8, 'x', '{CANARY}'), (9, 'y', '{CANARY}')");
    let text = refused(&execute(&acme, &twice).await, "invalid");
    assert!(text.contains("duplicate key") && text.contains("(SQLSTATE 23505)"), "{text}");
    assert!(!text.contains(CANARY), "{text}");
    let referred = refused(&execute(&acme, "DROP TABLE app_acme__customers").await, "denied");
    assert!(!referred.contains("orders"), "{referred}");
}

// --- parameters and answers -------------------------------------------------

#[tokio::test]
async fn m362_values_travel_as_parameters_and_are_never_read_as_sql() {
    let app = TestApp::start().await;
    let acme = acme(&app, &["write:customers"]).await;
    let evil = "x'); DROP TABLE app_acme__customers; --";
    let insert = json!({
        "sql": "INSERT INTO app_acme__customers VALUES ($1, $2, $3) RETURNING id, name",
        "params": [7, evil, null],
    });
    let answer = &seen(&acme, "db_execute", insert).await["ok"];
    assert_eq!(answer["statements"][0]["kind"], "insert", "{answer}");
    assert_eq!(answer["statements"][0]["returned"]["rows"], json!([{ "id": 7, "name": evil }]), "{answer}");
    let select = json!({ "sql": "SELECT id FROM app_acme__customers WHERE name = $1", "params": [evil] });
    assert_eq!(seen(&acme, "db_query", select).await["ok"]["rows"], json!([{ "id": 7 }]));

    let one = "SELECT id FROM app_acme__customers WHERE id = $1";
    for (sql, params, kind, word) in [
        (one, json!([]), "invalid", "parameters"),
        (one, json!([1, 2]), "invalid", "parameters"),
        (one, json!(["x"]), "invalid", "22P02"),
        (one, json!([[1]]), "invalid", "$1"),
        (one, json!({ "id": 1 }), "invalid", "JSON array"),
        (one, json!("not json"), "invalid", "JSON array"),
        (one, json!("[1"), "invalid", "JSON array"),
        (one, json!(vec![1; 1001]), "invalid", "1000"),
    ] {
        let shown: String = params.to_string().chars().take(40).collect();
        let text = refused(&seen(&acme, "db_query", json!({ "sql": sql, "params": params })).await, kind);
        assert!(text.contains(word), "{shown}: {text}");
    }
    let long = json!({ "sql": one, "params": [1], "blanks": 1 << 20 });
    let text = refused(&seen(&acme, "db_query", long).await, "limit");
    assert!(text.contains("1048576 bytes"), "{text}");
    let many = json!({
        "sql": "DELETE FROM app_acme__customers WHERE id = 7; DELETE FROM app_acme__customers WHERE id = 2",
        "params": [1],
    });
    refused(&seen(&acme, "db_execute", many).await, "invalid");
    assert_eq!(rows(&acme, "SELECT count(*) AS n FROM app_acme__customers").await, json!([{ "n": "3" }]));
}

#[tokio::test]
async fn m362_an_answer_has_so_many_rows_and_bytes_and_says_what_it_leaves_out() {
    let app = TestApp::start().await;
    let acme = acme(&app, &["write:customers"]).await;
    let series = "SELECT n FROM generate_series(1, 2000) n";
    let ask = async |sql: &str, limit: Option<u32>| {
        seen(&acme, "db_query", json!({ "sql": sql, "limit": limit })).await
    };
    for (limit, count) in [(None, 100), (Some(7), 7), (Some(1000), 1000)] {
        let answer = &ask(series, limit).await["ok"];
        assert_eq!((&answer["row_count"], &answer["truncated"]), (&json!(count), &json!(true)), "{limit:?}");
    }
    for limit in [0, 1001, u32::MAX] {
        refused(&ask(series, Some(limit)).await, "invalid");
    }
    let answer = &ask("SELECT repeat('x', 100000) AS long", None).await["ok"];
    assert_eq!(answer["clipped"], json!([{ "row": 0, "column": "long", "bytes": 100_000 }]), "clipped");
    refused(&ask("SELECT repeat('x', 60000) FROM generate_series(1, 100)", None).await, "limit");

    // Names and punctuation count as well: 1000 rows of 600 long names and nothing in them are 40 MB of JSON.
    let columns: Vec<_> = (0..600).map(|at| format!("n \"{at:03}{}\"", "x".repeat(45))).collect();
    let wide = format!("SELECT {} FROM (SELECT NULL FROM generate_series(1, 1000)) t(n)", columns.join(","));
    assert!(wide.len() < 32 << 10, "{} bytes", wide.len());
    let text = refused(&ask(&wide, Some(1000)).await, "limit");
    assert!(text.contains("4 MiB"), "{text}");
    assert_eq!(ask("SELECT 1 AS one", None).await["ok"]["rows"], json!([{ "one": 1 }]));
}

#[tokio::test]
async fn m362_statements_of_one_call_are_all_done_or_none() {
    let app = TestApp::start().await;
    let acme = acme(&app, &["alter:*"]).await;
    let seen_ = execute(
        &acme,
        "INSERT INTO app_acme__customers VALUES (3, 'Cem', NULL); INSERT INTO app_acme__orders VALUES (9, 99, 1)",
    )
    .await;
    let text = refused(&seen_, "invalid");
    assert!(text.starts_with("statement 1: ") && text.contains("(SQLSTATE 23503)"), "{text}");
    assert_eq!(rows(&acme, "SELECT count(*) AS n FROM app_acme__customers").await, json!([{ "n": "2" }]));
    let both = execute(
        &acme,
        "INSERT INTO app_acme__customers VALUES (3, 'Cem', NULL); INSERT INTO app_acme__orders VALUES (9, 3, 1)",
    )
    .await;
    assert_eq!(both["ok"]["affected"], 2, "{both}");
}

// --- what is left behind ----------------------------------------------------

#[tokio::test]
async fn m362_a_guests_changes_are_written_down_as_a_guests_and_without_values() {
    let app = TestApp::start().await;
    let acme = acme(&app, &["write:customers"]).await;
    let insert =
        json!({ "sql": "INSERT INTO app_acme__customers VALUES ($1, $2, NULL)", "params": [7, CANARY] });
    let done = seen(&acme, "db_execute", insert.clone()).await;
    let literal = format!("UPDATE app_acme__customers SET email = '{CANARY}' WHERE id = 7");
    assert_eq!(execute(&acme, &literal).await["ok"]["affected"], 1);
    refused(&seen(&acme, "db_execute", insert).await, "invalid");
    refused(&execute(&acme, "DELETE FROM app_acme__orders").await, "denied");

    let audit = acme.get("/v1/tenant/audit?action=db.apply").await.json();
    let rows: Vec<&Value> =
        audit["data"].as_array().unwrap().iter().filter(|row| row["surface"] == "wasm").collect();
    let results: Vec<_> = rows.iter().map(|row| row["result"].as_str().unwrap()).collect();
    assert_eq!(
        results,
        ["failed", "ok", "ok"],
        "newest first; what the gate refused is in the run's row: {audit}"
    );
    assert_eq!(rows[1]["detail"]["sql"], "UPDATE app_acme__customers SET email = ? WHERE id = ?");
    assert_eq!(rows[2]["id"], done["ok"]["audit_id"], "{done}");
    assert_eq!(rows[2]["detail"]["affected"], 1);
    assert_eq!(
        reached(&acme).await,
        json!({ "db:write:orders": { "allowed": 0, "denied": 1 } }),
        "the newest run was the refused one"
    );
    let history = acme.get("/v1/sdk/database/history").await.json();
    let by_guests = history["data"].as_array().unwrap().iter().filter(|row| row["surface"] == "wasm").count();
    assert_eq!(by_guests, 2, "{history}");
    let everything = acme.get("/v1/tenant/audit?limit=200").await.text() + &history.to_string() + &logs();
    assert!(!everything.contains(CANARY));
}

#[tokio::test]
async fn m362_no_connection_is_held_while_a_guest_runs() {
    let app = TestApp::start().await;
    let acme = acme(&app, &["alter:*"]).await;
    apply(&acme, "acme", "CREATE TABLE app_acme__marks (n int PRIMARY KEY)").await;
    let mut conn = apps(&app).await;
    for (n, spins) in [(1, false), (2, true)] {
        let caller = acme.clone();
        let running = tokio::spawn(async move {
            let sql = format!("INSERT INTO app_acme__marks VALUES ({n})");
            seen(&caller, "db_linger", json!({ "sql": sql, "ms": 3000, "spins": spins })).await
        });
        // Once its row is there for others, it is on its own.
        let until = Instant::now() + Duration::from_secs(20);
        let mark = format!("select count(*) from app_acme.app_acme__marks where n = {n}");
        loop {
            let count: i64 =
                sqlx::query(AssertSqlSafe(mark.clone())).fetch_one(&mut conn).await.unwrap().get(0);
            if count == 1 {
                break;
            }
            assert!(Instant::now() < until && !running.is_finished(), "the guest never wrote");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        settle(&mut conn, "app_acme__").await;
        for _ in 0..20 {
            assert_eq!(busy(&mut conn, "app_acme__").await, Vec::<String>::new(), "spins: {spins}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!running.is_finished(), "it was looked at while it ran");
        assert_eq!(running.await.unwrap()["ok"]["applied"], true);
    }
}

#[tokio::test]
async fn m362_a_statement_ends_with_the_guests_call_or_with_whoever_waits_for_it() {
    const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";
    const CHANGE: &str = "UPDATE app_acme__customers SET name = (SELECT count(*)::text FROM \
         generate_series(1, 1000000) a, generate_series(1, 1000000) b)";
    let app = TestApp::with(|config| config.tool_time_limit = Duration::from_millis(1500)).await;
    let acme = acme(&app, &["alter:*"]).await;
    let mut conn = apps(&app).await;
    for (tool, sql) in [("db_query", ENDLESS), ("db_execute", CHANGE)] {
        let began = Instant::now();
        let answer = acme.invoke(tool, json!({ "sql": sql })).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (504, &json!("tool_timeout")),
            "{}",
            answer.text()
        );
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        settle(&mut conn, "app_acme__").await;
    }
    let caller = acme.clone();
    let running = tokio::spawn(async move { caller.invoke("db_query", json!({ "sql": ENDLESS })).await });
    let until = Instant::now() + Duration::from_secs(10);
    while busy(&mut conn, "app_acme__").await.is_empty() {
        assert!(Instant::now() < until && !running.is_finished(), "the statement never began");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.abort();
    settle(&mut conn, "app_acme__").await;

    assert_eq!(
        query(&acme, "SELECT name FROM app_acme__customers ORDER BY id").await["ok"]["rows"],
        json!([{ "name": "Ann" }, { "name": "Ben" }]),
        "nothing was changed, and the app is served again"
    );
}

// --- an example, and two apps with the same tool -----------------------------

#[tokio::test]
async fn m362_two_apps_with_the_same_tool_see_their_own_rows_alone() {
    let app = TestApp::start().await;
    let (acme, rival) = (app.tenant("acme").await, app.tenant("my-shop").await);
    for (client, slug, prefix) in [(&acme, "acme", "app_acme__"), (&rival, "my-shop", "app_my_shop__")] {
        upload(client, "customers", guests::CUSTOMERS).await;
        client.grant("tools", "customers", &[("db", "write:customers")]).await;
        install(client, &["read:customers"]).await;
        assert_eq!(seen(client, "db_namespace", json!({})).await, prefix);
        let without = client.invoke("customers_find_customers", json!({ "text": "a" })).await;
        assert_eq!(
            (without.status, without.json()["code"].as_str()),
            (502, Some("tool_failed")),
            "no table yet"
        );
        let table = format!(
            "CREATE TABLE {prefix}customers (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL,
             email text NOT NULL UNIQUE, created_at timestamptz NOT NULL DEFAULT now())"
        );
        apply(client, slug, &table).await;
    }
    let add = |name: &str, email: &str| json!({ "name": name, "email": email });
    let added = seen(&acme, "customers_add_customer", add("Ann of Acme", "Ann@Example.com ")).await;
    assert_eq!(
        (&added["name"], &added["email"]),
        (&json!("Ann of Acme"), &json!("ann@example.com")),
        "{added}"
    );
    seen(&rival, "customers_add_customer", add("Ann of the shop", "ann@example.com")).await;
    let again = acme.invoke("customers_add_customer", add("Ann", "ann@example.com")).await;
    assert_eq!(again.status, 422, "{}", again.text());
    assert!(again.text().contains("already"), "{}", again.text());

    for (client, name) in [(&acme, "Ann of Acme"), (&rival, "Ann of the shop")] {
        let found = seen(client, "customers_find_customers", json!({ "text": "ANN" })).await;
        assert_eq!(found["customers"].as_array().map(Vec::len), Some(1), "{found}");
        assert_eq!(
            (&found["customers"][0]["name"], &found["more"]),
            (&json!(name), &json!(false)),
            "{found}"
        );
    }
    for name in ["app_my_shop__customers", "app_my_shop.app_my_shop__customers"] {
        let text = refused(&query(&acme, &format!("SELECT * FROM {name}")).await, "denied");
        assert!(text.contains("not in this app's namespace"), "{text}");
    }
    // A percent sign is a character like others, and so is a quote.
    for text in ["%", "'", "nobody"] {
        assert_eq!(
            seen(&acme, "customers_find_customers", json!({ "text": text })).await["customers"],
            json!([])
        );
    }
    acme.grant("tools", "customers", &[("db", "read:customers")]).await;
    let reader = acme.invoke("customers_add_customer", add("Ben", "ben@example.com")).await;
    assert_eq!(reader.status, 502, "{}", reader.text());
    assert!(reader.text().contains("denied: "), "{}", reader.text());
}
