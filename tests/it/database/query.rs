//! Asking: what comes back, in which form, how much of it, and what is not asked.

use super::{Db, EXECUTE, QUERY, Workspace, apps, refused, texts};
use base64::{Engine, engine::general_purpose::STANDARD};
use opg_tests::app::{TestApp, logs};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const CROSS_JOIN: &str = "SELECT count(*) FROM generate_series(1,200000) a, generate_series(1,200000) b";
const TIMEOUT: Duration = Duration::from_secs(5);

async fn demo() -> (TestApp, Db) {
    let app = TestApp::start().await;
    let demo = Db::new(&app, "demo").await;
    (app, demo)
}

/// The one value a query has.
async fn value(db: &Db, sql: &str, params: Value) -> Value {
    let answer = db.ask(json!({ "sql": sql, "params": params })).await;
    assert_eq!(answer.status, 200, "{sql} {params}: {}", answer.text());
    let rows = answer.json()["rows"].clone();
    let row = rows[0].as_object().unwrap_or_else(|| panic!("{sql}: {rows}"));
    assert_eq!((rows.as_array().unwrap().len(), row.len()), (1, 1), "{sql}: {rows}");
    row.values().next().unwrap().clone()
}

#[tokio::test]
async fn m097_m098_the_seeds_examples_run_as_they_are_written() {
    let (_app, demo) = demo().await;
    let manifest = demo.client.get("/v1/sdk/database/manifest").await.json();
    assert_eq!(manifest["namespace"], "app_demo__");
    let create = "CREATE TABLE app_demo__customers (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email text NOT NULL)";
    let select = "SELECT * FROM app_demo__customers LIMIT 20";

    let tried = demo.run(json!({ "sql": create, "dryRun": true })).await;
    assert_eq!(tried.status, 200, "{}", tried.text());
    let tried = tried.json();
    assert_eq!((&tried["applied"], &tried["dry_run"]), (&json!(false), &json!(true)));
    let missing = refused(&demo.query(select).await, 422, "sql_error");
    assert_eq!(missing["sqlstate"], "42P01", "it was only tried: {missing}");

    let applied = demo.run(json!({ "sql": create, "dryRun": false, "confirm": "apply:demo" })).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let answer = demo.query(select).await.json();
    assert_eq!(
        (&answer["rows"], &answer["row_count"], &answer["truncated"]),
        (&json!([]), &json!(0), &json!(false))
    );
    assert_eq!(
        answer["columns"],
        json!([{ "name": "id", "type": "uuid" }, { "name": "email", "type": "text" }])
    );
    assert!(answer["ms"].is_number(), "{answer}");

    demo.apply("INSERT INTO app_demo__customers (email) VALUES ('ann@example.com')").await;
    let ordered = "SELECT * FROM app_demo__customers ORDER BY email DESC";
    let answer = demo.ask(json!({ "sql": ordered, "limit": 20 })).await.json();
    assert_eq!((&answer["rows"][0]["email"], &answer["row_count"]), (&json!("ann@example.com"), &json!(1)));
    assert_eq!(answer["rows"][0]["id"].as_str().map(str::len), Some(36));
}

#[tokio::test]
async fn m149_every_type_comes_back_as_it_is_documented() {
    let (_app, demo) = demo().await;
    for (sql, expected) in [
        ("true", json!(true)),
        ("1::int2", json!(1)),
        ("(-2147483648)::int4", json!(-2_147_483_648_i64)),
        ("9223372036854775807::int8", json!("9223372036854775807")),
        ("count(*)", json!("1")),
        ("0.1::float8", json!(0.1)),
        ("1.5::float4", json!(1.5)),
        ("1e300::float8", json!(1e300)),
        ("12345678901234567890.0123456789", json!("12345678901234567890.0123456789")),
        ("1.10::numeric(10,2)", json!("1.10")),
        ("'NaN'::numeric", json!("NaN")),
        ("'Zoë – 東京 🚀'", json!("Zoë – 東京 🚀")),
        ("''", json!("")),
        ("'ab'::char(4)", json!("ab  ")),
        ("'a\"b\\c'::varchar", json!("a\"b\\c")),
        ("E'a\\tb\\nc'", json!("a\tb\nc")),
        ("'\\x00ff10'::bytea", json!(STANDARD.encode([0, 255, 16]))),
        ("''::bytea", json!("")),
        ("'{\"b\": [1, null, \"x\"], \"a\": {}}'::jsonb", json!({ "a": {}, "b": [1, null, "x"] })),
        ("'{\"n\": 1.5}'::json", json!({ "n": 1.5 })),
        ("'null'::jsonb", Value::Null),
        ("'\"text\"'::jsonb", json!("text")),
        ("'00000000-0000-4000-8000-000000000001'::uuid", json!("00000000-0000-4000-8000-000000000001")),
        ("date '2026-01-02'", json!("2026-01-02")),
        ("time '03:04:05.6'", json!("03:04:05.6")),
        ("interval '1 day 2 hours'", json!("P1DT2H")),
        ("inet '10.0.0.1/8'", json!("10.0.0.1/8")),
        ("int4range(1, 10)", json!("[1,10)")),
        ("B'101'", json!("101")),
        ("point '(1,2)'", json!("(1,2)")),
        ("to_tsvector('simple', 'a b')", json!("'a':1 'b':2")),
        ("NULL::int4", Value::Null),
        ("NULL::jsonb", Value::Null),
        ("NULL", Value::Null),
        ("ARRAY[1,2]", json!([1, 2])),
        ("ARRAY[1,NULL]", json!([1, null])),
        ("ARRAY['a','b,\"c']", json!(["a", "b,\"c"])),
        ("ARRAY[ARRAY[1,2],ARRAY[3,4]]", json!([[1, 2], [3, 4]])),
        ("'{}'::text[]", json!([])),
        ("ARRAY[9007199254740993::int8]", json!(["9007199254740993"])),
        ("ARRAY[1.10::numeric]", json!(["1.10"])),
        ("ARRAY[true, false]", json!([true, false])),
        ("ARRAY['{\"a\":1}'::jsonb]", json!([{ "a": 1 }])),
        ("ARRAY['\\xff'::bytea]", json!([STANDARD.encode([255])])),
    ] {
        assert_eq!(value(&demo, &format!("SELECT {sql} AS v"), json!([])).await, expected, "{sql}");
    }
    // Instants are one instant however they were written, and say so.
    for (sql, instant) in [
        ("timestamptz '2026-01-02 03:04:05.123456+02'", "2026-01-02T01:04:05.123456Z"),
        ("timestamptz '2026-01-02 00:00:00Z'", "2026-01-02T00:00:00Z"),
        ("(ARRAY[timestamptz '2026-01-02 00:00:00Z'])[1]", "2026-01-02T00:00:00Z"),
    ] {
        let text = value(&demo, &format!("SELECT {sql} AS v"), json!([])).await;
        let text = text.as_str().unwrap_or_else(|| panic!("{sql}: {text}")).to_owned();
        let parse = |text: &str| {
            chrono::DateTime::parse_from_rfc3339(text).unwrap_or_else(|e| panic!("{sql}: {text}: {e}"))
        };
        assert_eq!(parse(&text), parse(instant), "{sql}: {text}");
        assert_eq!(parse(&text).offset().local_minus_utc(), 0, "{sql}: {text}");
    }
    // What JSON has no number for, and what no calendar of RFC 3339 holds, still is an answer.
    for (sql, text) in [
        ("'NaN'::float8", "NaN"),
        ("'-Infinity'::float8", "-Infinity"),
        ("'infinity'::timestamptz", "infinity"),
    ] {
        assert_eq!(value(&demo, &format!("SELECT {sql} AS v"), json!([])).await, json!(text), "{sql}");
    }
}

#[tokio::test]
async fn m149_every_column_has_a_name_of_its_own_and_its_type() {
    let (_app, demo) = demo().await;
    let answer = demo.query("SELECT 1 AS a, 'x' AS a, true AS a").await.json();
    assert_eq!(answer["rows"], json!([{ "a": 1, "a_2": "x", "a_3": true }]), "{answer}");
    let named: Vec<_> = answer["columns"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(named, ["a", "a_2", "a_3"]);
    let taken = demo.query("SELECT 1 AS a_2, 2 AS a, 3 AS a, 4 AS a_2").await.json();
    let names: BTreeSet<_> = taken["rows"][0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 4, "no value covers another: {taken}");
    let mut values: Vec<_> = taken["rows"][0].as_object().unwrap().values().cloned().collect();
    values.sort_by_key(Value::to_string);
    assert_eq!(values, [1, 2, 3, 4]);
    let order: Vec<_> = taken["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| taken["rows"][0][c["name"].as_str().unwrap()].clone())
        .collect();
    assert_eq!(order, [1, 2, 3, 4], "the columns are listed in their order: {taken}");
    let odd = demo.query("SELECT 1 AS \"select\", 2 AS \"it's \"\"odd\"\"\", 3").await.json();
    assert_eq!(odd["rows"], json!([{ "select": 1, "it's \"odd\"": 2, "?column?": 3 }]));
    let empty = demo.query("SELECT 1 AS n, 'x'::text AS t WHERE false").await.json();
    assert_eq!(
        empty["columns"],
        json!([{ "name": "n", "type": "int4" }, { "name": "t", "type": "text" }]),
        "also without rows"
    );
}

#[tokio::test]
async fn m147_rows_are_limited_and_it_says_so_where_there_are_more() {
    let (_app, demo) = demo().await;
    for (rows, limit, got, truncated) in [
        (99, None, 99, false),
        (100, None, 100, false),
        (101, None, 100, true),
        (1, Some(1), 1, false),
        (2, Some(1), 1, true),
        (1000, Some(1000), 1000, false),
        (1001, Some(1000), 1000, true),
        (0, Some(1), 0, false),
    ] {
        let mut body = json!({ "sql": format!("SELECT g FROM generate_series(1, {rows}) g ORDER BY g") });
        if let Some(limit) = limit {
            body["limit"] = json!(limit);
        }
        let answer = demo.ask(body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        assert_eq!(
            (&json["row_count"], &json["truncated"]),
            (&json!(got), &json!(truncated)),
            "{rows} {limit:?}"
        );
        assert_eq!(json["rows"].as_array().unwrap().len(), got, "{rows} {limit:?}");
        assert!(got == 0 || json["rows"][0] == json!({ "g": 1 }), "the first ones: {}", json["rows"][0]);
    }
    for limit in [json!(0), json!(1001), json!(-1), json!(1.5), json!("10"), json!(u64::MAX)] {
        let answer = demo.ask(json!({ "sql": "SELECT 1", "limit": limit })).await;
        let problem = refused(&answer, 422, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], "/limit", "{problem}");
    }
}

#[tokio::test]
async fn m149_a_long_cell_is_clipped_and_a_large_result_is_refused() {
    const CELL_BYTES_MAX: usize = 64 << 10;
    let (_app, demo) = demo().await;
    let whole = demo.query("SELECT repeat('x', 65536) AS c").await.json();
    assert_eq!(whole["rows"][0]["c"].as_str().map(str::len), Some(CELL_BYTES_MAX));
    assert_eq!(whole["clipped"], json!([]));
    let clipped = demo.query("SELECT 1 AS n, repeat('x', 65537) AS c").await.json();
    assert_eq!(clipped["clipped"], json!([{ "row": 0, "column": "c", "bytes": 65537 }]));
    assert!(clipped["rows"][0]["c"].as_str().is_some_and(|c| c.len() <= CELL_BYTES_MAX && c.len() > 60_000));
    assert_eq!(clipped["rows"][0]["n"], 1);
    let accents = demo.query("SELECT repeat('é', 40000) AS c").await.json();
    let text = accents["rows"][0]["c"].as_str().unwrap();
    assert!(text.len() <= CELL_BYTES_MAX && text.chars().all(|c| c == 'é'), "no character is cut in two");
    assert_eq!(accents["clipped"][0]["bytes"], 80_000);
    let second = demo
        .query(
            "SELECT CASE WHEN g = 2 THEN repeat('x', 70000) ELSE 'x' END AS c FROM generate_series(1, 3) g",
        )
        .await
        .json();
    assert_eq!(second["clipped"], json!([{ "row": 1, "column": "c", "bytes": 70_000 }]));
    // What cannot be cut and stay what it is.
    for sql in [
        "SELECT to_jsonb(repeat('x', 100000)) AS c",
        "SELECT decode(repeat('ff', 100000), 'hex') AS c",
        "SELECT array_agg(g) AS c FROM generate_series(1, 100000) g",
        "SELECT 1 AS c0, to_jsonb(repeat('x', 9000000)) AS c",
    ] {
        let answer = demo.query(sql).await;
        assert!(answer.body.len() < (1 << 20), "{sql}: {} bytes", answer.body.len());
        assert!(
            answer.status == 413 || answer.json()["clipped"].as_array().is_some_and(|cells| cells.len() == 1),
            "{sql}: {}",
            answer.text()
        );
    }

    let large = "SELECT repeat('x', 60000) AS c FROM generate_series(1, 100)";
    let problem = refused(&demo.query(large).await, 413, "result_too_large");
    assert!(
        problem["detail"].as_str().is_some_and(|detail| detail.contains("fewer rows")),
        "it says what to do: {problem}"
    );
    let fits = demo.ask(json!({ "sql": large, "limit": 60 })).await;
    assert_eq!((fits.status, fits.json()["row_count"].clone()), (200, json!(60)), "3.6 MB are not too large");
}

#[tokio::test]
async fn m148_a_query_that_takes_too_long_is_stopped_and_a_neighbour_does_not_notice() {
    let (app, demo) = demo().await;
    let other = Db::new(&app, "other").await;
    let reader = Workspace::of(&app, "demo").await.reader;
    let mut admin = apps(&app).await;
    let began = Instant::now();
    let bomb = async {
        let answer = demo.query(CROSS_JOIN).await;
        (answer, began.elapsed())
    };
    let meanwhile = async {
        let mut served = 0;
        while began.elapsed() < TIMEOUT - Duration::from_millis(500) {
            assert_eq!(other.rows("SELECT 1 AS one").await, json!([{ "one": 1 }]));
            served += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let running = format!(
            "select usename::text from pg_stat_activity where query like '%200000%' and state = 'active' and usename = '{reader}'"
        );
        let running = texts(&mut admin, &running).await;
        assert_eq!(running, std::slice::from_ref(&reader), "it runs as the app's own reader");
        assert_eq!(
            demo.rows("SELECT 2 AS two").await,
            json!([{ "two": 2 }]),
            "and the app itself is served too"
        );
        served
    };
    let ((answer, took), served) = futures_util::future::join(bomb, meanwhile).await;
    let problem = refused(&answer, 408, "statement_timeout");
    assert!(
        problem["detail"].as_str().is_some_and(|detail| detail.contains('5')),
        "it says the limit: {problem}"
    );
    assert!(took > TIMEOUT - Duration::from_millis(200) && took < 2 * TIMEOUT, "{took:?}");
    assert!(served > 5, "{served}");
    let left = format!("select query from pg_stat_activity where usename = '{reader}' and state <> 'idle'");
    let gone = Instant::now() + TIMEOUT;
    while !texts(&mut admin, &left).await.is_empty() {
        assert!(Instant::now() < gone, "the statement goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(demo.rows("SELECT 1 AS one").await, json!([{ "one": 1 }]));
}

#[tokio::test]
async fn m148_m156_a_statement_nobody_waits_for_any_more_is_stopped_and_a_change_is_written_down() {
    let (app, demo) = demo().await;
    demo.apply("CREATE TABLE app_demo__t (id int PRIMARY KEY); INSERT INTO app_demo__t VALUES (1)").await;
    let own = Workspace::of(&app, "demo").await;
    let mut admin = apps(&app).await;
    let running = format!(
        "select query from pg_stat_activity where usename in ('{}', '{}') and state <> 'idle'",
        own.owner, own.reader
    );
    let change = format!("UPDATE app_demo__t SET id = ({CROSS_JOIN}) + id");
    let apply = json!({ "sql": change, "dryRun": false, "confirm": "apply:demo" });
    for (path, body) in
        [(QUERY, json!({ "sql": CROSS_JOIN })), (EXECUTE, json!({ "sql": change })), (EXECUTE, apply)]
    {
        let waiting = tokio::spawn(demo.client.request("POST", path).json(&body).send());
        let began = Instant::now();
        while texts(&mut admin, &running).await.is_empty() {
            assert!(began.elapsed() < TIMEOUT, "it never ran: {body}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        waiting.abort();
        let left = Instant::now();
        while !texts(&mut admin, &running).await.is_empty() {
            assert!(left.elapsed() < Duration::from_secs(2), "it goes on: {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(demo.rows("SELECT id FROM app_demo__t").await, json!([{ "id": 1 }]));
    for action in ["db.dry_run", "db.apply"] {
        let began = Instant::now();
        let of_this = || async {
            let listed = demo.client.get(&format!("/v1/tenant/audit?action={action}")).await.json();
            let rows = listed["data"].as_array().unwrap().clone();
            rows.into_iter().filter(|row| row["detail"]["error"] == "canceled").collect::<Vec<_>>()
        };
        while of_this().await.is_empty() {
            assert!(began.elapsed() < TIMEOUT, "{action} is written down nowhere");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let row = of_this().await.remove(0);
        assert_eq!(
            (&row["result"], &row["detail"]["statements"]),
            (&json!("failed"), &json!(["update"])),
            "{row}"
        );
    }
}

#[tokio::test]
async fn m149_names_and_nulls_count_and_all_results_of_one_answer_together() {
    let (_app, demo) = demo().await;
    let nulls = vec!["NULL"; 600].join(", ");
    let many = json!({ "sql": format!("SELECT {nulls} FROM generate_series(1, 1000)"), "limit": 1000 });
    refused(&demo.ask(many).await, 413, "result_too_large");

    demo.apply(
        "CREATE TABLE app_demo__t (id int PRIMARY KEY, v text); INSERT INTO app_demo__t VALUES (1, 'kept')",
    )
    .await;
    let one = "UPDATE app_demo__t SET v = repeat('x', 60000) RETURNING v, v, v, v";
    assert_eq!(demo.dry_run(one).await.status, 200);
    let many = vec![one; 40].join("; ");
    let problem = refused(&demo.try_apply(&many).await, 413, "result_too_large");
    assert!(problem["statement"].as_u64().is_some_and(|at| at > 10), "{problem}");
    assert_eq!(
        demo.rows("SELECT v FROM app_demo__t").await,
        json!([{ "v": "kept" }]),
        "nothing of it was kept"
    );
}

#[tokio::test]
async fn m148_a_limit_cannot_be_lifted_for_what_comes_after() {
    let (_app, demo) = demo().await;
    for sql in [
        "SET statement_timeout = 0",
        "SELECT set_config('statement_timeout', '0', false)",
        "SELECT 1; SET statement_timeout = 0",
    ] {
        let answer = demo.query(sql).await;
        assert_eq!(answer.status, 422, "{sql}: {}", answer.text());
    }
    let began = Instant::now();
    refused(&demo.query(CROSS_JOIN).await, 408, "statement_timeout");
    assert!(began.elapsed() < 2 * TIMEOUT);
}

#[tokio::test]
async fn m150_parameters_are_values_of_every_type_and_never_text_of_the_statement() {
    let (_app, demo) = demo().await;
    demo.apply("CREATE TABLE app_demo__people (id uuid PRIMARY KEY, name text, born date, n int8, meta jsonb, tags text[])").await;
    let id = "00000000-0000-4000-8000-000000000001";
    let inserted = demo
        .run(json!({
            "sql": "INSERT INTO app_demo__people VALUES ($1, $2, $3, $4, $5, $6)",
            "params": [id, "Ann", "2001-02-03", "9007199254740993", { "a": [1, null] }, ["x", "y,\"z"]],
            "dryRun": false, "confirm": "apply:demo",
        }))
        .await;
    assert_eq!(inserted.status, 200, "{}", inserted.text());
    let found = demo
        .ask(json!({ "sql": "SELECT * FROM app_demo__people WHERE id = $1 AND name = $2", "params": [id, "Ann"] }))
        .await
        .json();
    let person = json!({ "id": id, "name": "Ann", "born": "2001-02-03", "n": "9007199254740993",
        "meta": { "a": [1, null] }, "tags": ["x", "y,\"z"] });
    assert_eq!(found["rows"], json!([person]), "{found}");

    for (sql, param, expected) in [
        ("$1::int4 + 1", json!(41), json!(42)),
        ("$1::int2", json!(-3), json!(-3)),
        ("$1::int8", json!("9223372036854775807"), json!("9223372036854775807")),
        ("$1::int8", json!(12), json!("12")),
        ("$1::numeric", json!("1.10"), json!("1.10")),
        ("$1::numeric", json!(2.5), json!("2.5")),
        ("$1::float8", json!(0.1), json!(0.1)),
        ("$1::float8", json!(2), json!(2.0)),
        ("$1::bool", json!(true), json!(true)),
        (
            "$1::text",
            json!("it's; DROP TABLE app_demo__people; --"),
            json!("it's; DROP TABLE app_demo__people; --"),
        ),
        ("$1::text", json!(""), json!("")),
        ("$1::text", Value::Null, Value::Null),
        ("$1::int4 IS NULL", Value::Null, json!(true)),
        ("$1::uuid", json!(id), json!(id)),
        ("$1::date + 1", json!("2026-01-01"), json!("2026-01-02")),
        (
            "$1::timestamptz = timestamptz '2026-01-01 00:00Z'",
            json!("2026-01-01T01:00:00+01:00"),
            json!(true),
        ),
        ("$1::interval", json!("1 day"), json!("P1D")),
        ("$1::jsonb", json!({ "a": "b" }), json!({ "a": "b" })),
        ("$1::jsonb", json!([1, 2]), json!([1, 2])),
        // A string is JSON text, as with other clients of PostgreSQL.
        ("$1::jsonb", json!("\"text\""), json!("text")),
        ("$1::jsonb", json!("{\"a\": [1]}"), json!({ "a": [1] })),
        ("$1::jsonb", json!(7), json!(7)),
        ("$1::bytea", json!(STANDARD.encode([0, 255])), json!(STANDARD.encode([0, 255]))),
        ("$1::int4[]", json!([1, null, 3]), json!([1, null, 3])),
        ("$1::int8[]", json!(["9007199254740993"]), json!(["9007199254740993"])),
        ("'b' = ANY($1::text[])", json!(["a", "b"]), json!(true)),
        ("cardinality($1::text[])", json!([]), json!(0)),
        ("$1::inet", json!("10.0.0.1"), json!("10.0.0.1")),
    ] {
        assert_eq!(
            value(&demo, &format!("SELECT {sql} AS v"), json!([param])).await,
            expected,
            "{sql} {param}"
        );
    }
    let many: Vec<_> = (1..=20).collect();
    let sum = many.iter().map(|n| format!("${n}::int4")).collect::<Vec<_>>().join(" + ");
    assert_eq!(value(&demo, &format!("SELECT {sum} AS v"), json!(many)).await, json!(210));
    let again = value(&demo, "SELECT $2::text || $1::text || $2::text AS v", json!(["a", "b"])).await;
    assert_eq!(again, json!("bab"));

    for (sql, params) in [
        ("SELECT 1", json!([1])),
        ("SELECT $1::int4", json!([])),
        ("SELECT $1::int4", json!([1, 2])),
        ("SELECT $2::int4 + $1::int4", json!([1])),
    ] {
        let problem =
            refused(&demo.ask(json!({ "sql": sql, "params": params })).await, 422, "params_mismatch");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(&params.as_array().unwrap().len().to_string())),
            "{problem}"
        );
    }
    refused(&demo.query("SELECT $1::int4").await, 422, "params_mismatch");
    for (sql, param) in [
        ("$1::int4", json!("twelve")),
        ("$1::int4", json!(1.5)),
        ("$1::int2", json!(70_000)),
        ("$1::int4", json!({ "a": 1 })),
        ("$1::int4", json!([1])),
        ("$1::uuid", json!("not-a-uuid")),
        ("$1::bool", json!("perhaps")),
        ("$1::date", json!("2026-13-01")),
        ("$1::text[]", json!("not a list")),
        ("$1::bytea", json!("!!")),
        ("$1::text", json!("a\u{0}b")),
    ] {
        let answer = demo.ask(json!({ "sql": format!("SELECT {sql} AS v"), "params": [param] })).await;
        assert_eq!(answer.status, 422, "{sql} {param}: {} {}", answer.status, answer.text());
    }
    assert_eq!(demo.rows("SELECT count(*)::int4 AS n FROM app_demo__people").await, json!([{ "n": 1 }]));
}

#[tokio::test]
async fn m143_m145_m146_a_query_is_one_select_of_own_tables_and_listed_functions() {
    let (app, demo) = demo().await;
    demo.apply("CREATE TABLE app_demo__t (id int PRIMARY KEY); INSERT INTO app_demo__t VALUES (1)").await;
    for (sql, rows) in [
        ("SELECT id FROM app_demo__t", 1),
        ("select id from APP_DEMO__T;", 1),
        ("WITH x AS (SELECT id FROM app_demo__t) SELECT * FROM x", 1),
        ("VALUES (1), (2)", 2),
        ("TABLE app_demo__t", 1),
        ("(SELECT 1) UNION ALL (SELECT 2)", 2),
        ("/* a; b */ SELECT 1 -- ; c", 1),
        ("SELECT ';', '--', $$;$$", 1),
    ] {
        let answer = demo.query(sql).await;
        assert_eq!(
            (answer.status, answer.json()["row_count"].clone()),
            (200, json!(rows)),
            "{sql}: {}",
            answer.text()
        );
    }
    for (sql, code) in [
        ("INSERT INTO app_demo__t VALUES (2)", "statement_denied"),
        ("UPDATE app_demo__t SET id = 2", "statement_denied"),
        ("DELETE FROM app_demo__t", "statement_denied"),
        ("WITH d AS (DELETE FROM app_demo__t RETURNING id) SELECT * FROM d", "statement_denied"),
        ("SELECT id INTO app_demo__u FROM app_demo__t", "statement_denied"),
        ("SELECT id FROM app_demo__t FOR UPDATE", "statement_denied"),
        ("CREATE TABLE app_demo__u (id int)", "statement_denied"),
        ("EXPLAIN SELECT 1", "statement_denied"),
        ("COPY app_demo__t TO STDOUT", "statement_denied"),
        ("BEGIN", "statement_denied"),
        ("COMMIT", "statement_denied"),
        ("SET search_path = public", "statement_denied"),
        ("SELECT 1; SELECT 2", "too_many_statements"),
        ("SELECT 1; COMMIT; DROP TABLE app_demo__t", "too_many_statements"),
        ("", "syntax_error"),
        (";", "syntax_error"),
        ("-- nothing", "syntax_error"),
        ("SELEC 1", "syntax_error"),
        ("SELECT 'open", "syntax_error"),
        ("SELECT * FROM pg_class", "namespace_violation"),
        ("SELECT * FROM pg_catalog.pg_class", "namespace_violation"),
        ("SELECT * FROM information_schema.tables", "namespace_violation"),
        ("SELECT * FROM app_demo.app_demo__t", "namespace_violation"),
        ("SELECT * FROM customers", "namespace_violation"),
        ("SELECT pg_sleep(1)", "function_denied"),
        ("SELECT set_config('role', 'postgres', true)", "function_denied"),
        ("SELECT query_to_xml('select 1', true, false, '')", "function_denied"),
        ("SELECT pg_read_file('/etc/passwd')", "function_denied"),
        ("SELECT current_setting('data_directory')", "function_denied"),
        ("SELECT lo_import('/etc/passwd')", "function_denied"),
        ("SELECT dblink('', 'select 1')", "function_denied"),
        ("SELECT pg_terminate_backend(1)", "function_denied"),
        ("SELECT 'app_demo__t'::regclass", "type_denied"),
    ] {
        let answer = demo.query(sql).await;
        let status = if code == "namespace_violation" { 403 } else { 422 };
        refused(&answer, status, code);
    }
    let long = format!("SELECT '{}'", "x".repeat(32 << 10));
    refused(&demo.query(&long).await, 422, "sql_too_long");
    let fits = format!("SELECT length('{}') AS n", "x".repeat(32_000));
    assert_eq!(demo.rows(&fits).await, json!([{ "n": 32_000 }]));
    for deep in [
        "1+".repeat(8000) + "1",
        "NOT ".repeat(8000) + "true",
        "SELECT (".repeat(2000) + "1" + &")".repeat(2000),
    ] {
        refused(&demo.query(&format!("SELECT ({deep})")).await, 422, "too_complex");
    }
    // The grammar drops parentheses: these are one number.
    assert_eq!(
        demo.rows(&format!("SELECT {}1{} AS n", "(".repeat(8000), ")".repeat(8000))).await,
        json!([{ "n": 1 }])
    );
    assert_eq!(demo.rows("SELECT id FROM app_demo__t").await, json!([{ "id": 1 }]), "all is as it was");
    assert!(!logs().contains("panicked"));
    assert_eq!(app.anonymous().get("/healthz").await.status, 200);
}

#[tokio::test]
async fn m097_what_the_database_says_of_a_statement_is_passed_on_with_its_place() {
    let (_app, demo) = demo().await;
    demo.apply("CREATE TABLE app_demo__t (id int PRIMARY KEY, name text)").await;
    for (sql, sqlstate, position) in [
        ("SELECT nope FROM app_demo__t", "42703", Some(8)),
        ("SELECT 'é東', nope FROM app_demo__t", "42703", Some(14)),
        ("SELECT id FROM app_demo__nope", "42P01", Some(16)),
        ("SELECT 1 / (id - id) FROM (VALUES (1)) v(id)", "22012", None),
        ("SELECT 'x'::int4", "22P02", Some(8)),
        ("SELECT name + 1 FROM app_demo__t", "42883", Some(13)),
    ] {
        let problem = refused(&demo.query(sql).await, 422, "sql_error");
        assert_eq!(problem["sqlstate"], sqlstate, "{sql}: {problem}");
        assert_eq!(problem["position"].as_u64(), position, "{sql}: {problem}");
        for word in ["DECLARE", "CURSOR", "opg_"] {
            assert!(
                !problem.to_string().contains(word),
                "it speaks of the caller's statement alone: {problem}"
            );
        }
    }
    // A near miss in another schema is not hinted at.
    let problem = refused(&demo.query("SELECT * FROM app_demo__pg_class").await, 422, "sql_error");
    assert!(!problem.to_string().to_lowercase().contains("hint"), "{problem}");
}

#[tokio::test]
async fn m043_a_body_that_is_no_query_is_refused_with_every_wrong_field() {
    let (_app, demo) = demo().await;
    for (body, pointer) in [
        (json!({}), "/sql"),
        (json!({ "sql": null }), "/sql"),
        (json!({ "sql": 1 }), "/sql"),
        (json!({ "sql": ["SELECT 1"] }), "/sql"),
        (json!({ "sql": "SELECT 1", "params": {} }), "/params"),
        (json!({ "sql": "SELECT 1", "params": "x" }), "/params"),
    ] {
        let problem = refused(&demo.ask(body.clone()).await, 422, "invalid_request");
        let text = problem["errors"].to_string();
        assert!(text.contains(pointer) || text.contains(&pointer[1..]), "{body}: {problem}");
        refused(&demo.run(body).await, 422, "invalid_request");
    }
    refused(&demo.ask(json!({ "sql": "SELECT 1", "confirm": "apply:demo" })).await, 422, "invalid_request");
    refused(&demo.run(json!({ "sql": "SELECT 1", "dryrun": false })).await, 422, "invalid_request");
    for sql in ["SELECT '\u{0}'", "\u{0}", "SELECT 1 AS \"\u{0}\""] {
        let answer = demo.query(sql).await;
        assert_eq!(answer.status, 422, "{sql:?}: {}", answer.text());
    }
    for sql in ["\u{feff}SELECT 1", "SELECT 1\u{200b}", "SELECT\u{a0}1", "\u{1F600}", "SELECT '\u{FFFF}'"] {
        let answer = demo.query(sql).await;
        assert!(matches!(answer.status, 200 | 403 | 422), "{sql:?}: {} {}", answer.status, answer.text());
    }
}

#[tokio::test]
async fn m149_what_takes_too_much_memory_ends_as_a_limit_and_the_server_lives() {
    let (app, demo) = demo().await;
    let mut witness = apps(&app).await;
    for sql in [
        "SELECT repeat(repeat(repeat('x',1000),1000),1000)",
        "SELECT length(string_agg(repeat('x', 100000), '')) FROM generate_series(1, 100000)",
        "SELECT array_agg(repeat('x', 1000)) FROM generate_series(1, 10000000)",
    ] {
        let answer = demo.query(sql).await;
        let json = answer.json();
        let ended = match answer.status {
            422 => json["code"] == "resource_limit",
            408 => json["code"] == "statement_timeout",
            413 => json["code"] == "result_too_large",
            _ => false,
        };
        assert!(ended, "{sql}: {} {json}", answer.status);
        assert!(json["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{json}");
    }
    assert_eq!(texts(&mut witness, "select 'alive'").await, ["alive"], "no process of the server died");
    assert_eq!(demo.rows("SELECT 1 AS one").await, json!([{ "one": 1 }]));
}
