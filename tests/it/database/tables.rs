//! What there is: the manifest, the tables, and types made from them.

use super::{Db, refused};
use opg_tests::app::{TestApp, send};
use serde_json::{Value, json};

const TABLES: &str = "/v1/sdk/database/tables";
const MANIFEST: &str = "/v1/sdk/database/manifest";

async fn find<'a>(list: &'a Value, name: &str) -> &'a Value {
    let rows = list["data"].as_array().unwrap();
    rows.iter().find(|table| table["name"] == name).unwrap_or_else(|| panic!("no {name}: {list}"))
}

#[tokio::test]
async fn m095_the_manifest_says_the_namespace_the_limits_and_what_is_allowed() {
    let app = TestApp::start().await;
    let demo = Db::new(&app, "demo").await;
    let dashed = Db::new(&app, "my-shop").await;
    let answer = demo.client.get(MANIFEST).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "private, max-age=60");
    let manifest = answer.json();
    assert_eq!(manifest["namespace"], "app_demo__");
    let limits = &manifest["limits"];
    for (name, value) in [
        ("rows_default", 100),
        ("rows", 1000),
        ("timeout_ms", 5000),
        ("execute_timeout_ms", 15000),
        ("bytes", 4 << 20),
        ("cell_bytes", 64 << 10),
        ("sql_bytes", 32 << 10),
        ("statements", 50),
    ] {
        assert_eq!(limits[name], json!(value), "{name}: {limits}");
    }
    assert!(limits["params"].as_u64().is_some_and(|params| params >= 20), "{limits}");
    assert!(manifest["quota"]["bytes"].as_u64() > Some(0) && manifest["quota"]["tables"].as_u64() > Some(0));
    let functions: Vec<_> =
        manifest["functions"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for allowed in ["count", "lower", "jsonb_agg", "gen_random_uuid", "date_trunc", "percentile_cont"] {
        assert!(functions.contains(&allowed), "{allowed}");
    }
    for denied in
        ["set_config", "pg_sleep", "query_to_xml", "pg_read_file", "lo_import", "dblink", "current_setting"]
    {
        assert!(!functions.contains(&denied), "{denied}");
    }
    assert!(!manifest["statements"]["query"].as_array().unwrap().is_empty());
    assert!(!manifest["statements"]["execute"].as_array().unwrap().is_empty());
    // It tells of no way to the database itself.
    for word in ["postgres", "password", "opg_", "socket", "127.0.0.1"] {
        assert!(!manifest.to_string().to_lowercase().contains(word), "{word}: {manifest}");
    }

    let tag = answer.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() > 10, "{tag}");
    let again = send(demo.client.request("GET", MANIFEST).header("if-none-match", &tag)).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), tag);
    let others = dashed.client.get(MANIFEST).await;
    assert_eq!(others.json()["namespace"], "app_my_shop__");
    assert_ne!(others.header("etag"), tag);
    dashed.apply("CREATE TABLE app_my_shop__orders (id int PRIMARY KEY)").await;
}

#[tokio::test]
async fn m095_every_function_the_manifest_names_is_let_through() {
    let app = TestApp::start().await;
    let demo = Db::new(&app, "demo").await;
    let manifest = demo.client.get(MANIFEST).await.json();
    let functions = manifest["functions"].as_array().unwrap();
    assert!(functions.len() > 100, "{}", functions.len());
    for name in functions.iter().filter_map(Value::as_str) {
        // With no argument most are wrong, which is for the database to say, not for the guard.
        let answer = demo.query(&format!("SELECT \"{name}\"()")).await;
        assert_ne!(answer.json()["code"], "function_denied", "{name}: {}", answer.text());
    }
}

#[tokio::test]
async fn m096_tables_are_listed_with_their_columns_keys_and_indexes_and_no_others() {
    let app = TestApp::start().await;
    let (demo, other) = (Db::new(&app, "demo").await, Db::new(&app, "other").await);
    let near = Db::new(&app, "demo-x").await;
    assert_eq!(demo.client.get(TABLES).await.json()["data"], json!([]));
    demo.apply(
        "CREATE TABLE app_demo__customers (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email text NOT NULL UNIQUE,
            plan text DEFAULT 'free', tags text[] NOT NULL DEFAULT '{}', balance numeric(12,2), at timestamptz DEFAULT now());
         CREATE TABLE app_demo__lines (order_id int, n int, qty int NOT NULL DEFAULT 1, PRIMARY KEY (order_id, n));
         CREATE INDEX app_demo__customers_plan ON app_demo__customers (plan);
         CREATE VIEW app_demo__paying AS SELECT id, email FROM app_demo__customers WHERE plan <> 'free'",
    )
    .await;
    other.apply("CREATE TABLE app_other__secrets (id int PRIMARY KEY, secret text)").await;
    near.apply("CREATE TABLE app_demo_x__near (id int PRIMARY KEY)").await;
    demo.apply(
        "INSERT INTO app_demo__customers (email) SELECT g || '@example.com' FROM generate_series(1, 500) g",
    )
    .await;
    demo.apply("ANALYZE app_demo__customers").await;

    let answer = demo.client.get(TABLES).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let listed = answer.json();
    let names: Vec<_> =
        listed["data"].as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["app_demo__customers", "app_demo__lines", "app_demo__paying"]);
    let customers = find(&listed, "app_demo__customers").await;
    assert_eq!(customers["kind"], "table");
    assert_eq!(customers["primary_key"], json!(["id"]));
    let columns: Vec<_> = customers["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| json!([column["name"], column["type"], column["nullable"]]))
        .collect();
    assert_eq!(
        columns,
        [
            json!(["id", "uuid", false]),
            json!(["email", "text", false]),
            json!(["plan", "text", true]),
            json!(["tags", "text[]", false]),
            json!(["balance", "numeric(12,2)", true]),
            json!(["at", "timestamp with time zone", true]),
        ]
    );
    assert_eq!(customers["columns"][0]["default"], "gen_random_uuid()");
    assert_eq!(customers["columns"][1]["default"], Value::Null);
    let indexes = customers["indexes"].as_array().unwrap();
    assert_eq!(indexes.len(), 3, "{indexes:?}");
    let plan = indexes.iter().find(|index| index["name"] == "app_demo__customers_plan").unwrap();
    assert_eq!(plan["unique"], false);
    assert!(plan["definition"].as_str().is_some_and(|text| text.contains("(plan)")), "{plan}");
    assert!(customers["bytes"].as_u64() >= Some(8192), "{customers}");
    assert_eq!(customers["rows_estimate"], 500, "{customers}");
    assert_eq!(find(&listed, "app_demo__lines").await["primary_key"], json!(["order_id", "n"]));
    let paying = find(&listed, "app_demo__paying").await;
    assert_eq!((&paying["kind"], &paying["columns"][1]["name"]), (&json!("view"), &json!("email")));
    for word in ["app_other", "secret", "demo_x", "opg_", "pg_"] {
        assert!(!answer.text().contains(word), "{word}: {}", answer.text());
    }
    let theirs = other.client.get(TABLES).await.text();
    assert!(theirs.contains("app_other__secrets") && !theirs.contains("app_demo"), "{theirs}");

    // Page by page it is the same.
    let (mut names_paged, mut path) = (vec![], format!("{TABLES}?limit=1"));
    loop {
        let page = demo.client.get(&path).await.json();
        assert_eq!(page["data"].as_array().unwrap().len(), 1);
        names_paged.push(page["data"][0]["name"].as_str().unwrap().to_owned());
        assert_eq!(page["has_more"], !page["next_cursor"].is_null());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("{TABLES}?limit=1&cursor={cursor}");
    }
    assert_eq!(names_paged, names);
}

#[tokio::test]
async fn m099_types_are_made_from_the_apps_own_tables() {
    let app = TestApp::start().await;
    let (demo, other) = (Db::new(&app, "demo").await, Db::new(&app, "other").await);
    demo.apply(
        "CREATE TABLE app_demo__customers (id uuid PRIMARY KEY, n int4, big int8 NOT NULL, price numeric NOT NULL,
            ok bool NOT NULL, meta jsonb, tags text[] NOT NULL, at timestamptz NOT NULL, \"odd name\" text, photo bytea)",
    )
    .await;
    other.apply("CREATE TABLE app_other__secrets (id int PRIMARY KEY)").await;
    let answer = demo.client.get("/v1/sdk/types?lang=ts").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("content-type").starts_with("text/plain"), "{}", answer.header("content-type"));
    let text = answer.text();
    // As queries answer: what JSON's numbers cannot hold is a string.
    for line in [
        "id: string",
        "n: number | null",
        "big: string",
        "price: string",
        "ok: boolean",
        "tags: string[]",
        "at: string",
        "\"odd name\": string | null",
        "photo: string | null",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.contains("export interface"), "{text}");
    assert!(!text.contains("app_other") && !text.to_lowercase().contains("secrets"), "{text}");
    for query in ["?lang=python", "?lang=", "?lang=TS", ""] {
        let answer = demo.client.get(&format!("/v1/sdk/types{query}")).await;
        if query.is_empty() && answer.status == 200 {
            continue;
        }
        assert!(matches!(answer.status, 400 | 422), "{query}: {}", answer.text());
        assert!(
            answer.json()["detail"].as_str().is_some_and(|detail| detail.contains("ts")),
            "{query}: {}",
            answer.text()
        );
    }
    refused(&demo.client.get("/v1/sdk/types?lang=python").await, 422, "invalid_request");
}
