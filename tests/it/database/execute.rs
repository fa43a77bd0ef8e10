//! Changing: tried first, applied on the app's own word, all or nothing, and always written down.

use super::{Db, apps, refused, texts};
use opg_tests::app::{Client, TestApp, logs};
use serde_json::{Value, json};

/// What may stand in a table and nowhere else.
const SECRET: &str = "canary-value-7f3a9c";

async fn demo() -> (TestApp, Db) {
    let app = TestApp::start().await;
    let demo = Db::new(&app, "demo").await;
    (app, demo)
}

/// With `app_demo__notes (id int primary key, text text)` and two rows.
async fn with_notes() -> (TestApp, Db) {
    let (app, demo) = demo().await;
    demo.apply(
        "CREATE TABLE app_demo__notes (id int PRIMARY KEY, text text);
         INSERT INTO app_demo__notes VALUES (1, 'one'), (2, 'two')",
    )
    .await;
    (app, demo)
}

async fn notes(demo: &Db) -> Value {
    demo.rows("SELECT id, text FROM app_demo__notes ORDER BY id").await
}

fn two_notes() -> Value {
    json!([{ "id": 1, "text": "one" }, { "id": 2, "text": "two" }])
}

async fn tables(demo: &Db) -> Vec<String> {
    let listed = demo.client.get("/v1/sdk/database/tables?limit=200").await.json();
    listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| table["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn audit(client: &Client, action: &str) -> Vec<Value> {
    let listed = client.get(&format!("/v1/tenant/audit?limit=200&action={action}")).await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    listed.json()["data"].as_array().unwrap().clone()
}

fn codes(answer: &Value) -> Vec<String> {
    let warnings = answer["warnings"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let mut codes: Vec<_> =
        warnings.iter().map(|warning| warning["code"].as_str().unwrap().to_owned()).collect();
    codes.sort();
    codes
}

#[tokio::test]
async fn m151_a_change_is_tried_unless_told_otherwise_and_says_what_it_would_do() {
    let (_app, demo) = with_notes().await;
    let update =
        demo.dry_run("UPDATE app_demo__notes SET text = 'new' WHERE id = 1 RETURNING id, text").await;
    assert_eq!(update.status, 200, "{}", update.text());
    let update = update.json();
    assert_eq!(
        (&update["applied"], &update["dry_run"], &update["affected"]),
        (&json!(false), &json!(true), &json!(1))
    );
    let statement = &update["statements"][0];
    assert_eq!((&statement["index"], &statement["affected"]), (&json!(0), &json!(1)), "{statement}");
    assert_eq!(statement["returned"]["rows"], json!([{ "id": 1, "text": "new" }]));
    assert!(!statement["plan"].is_null(), "{statement}");
    assert!(update["audit_id"].is_string() && update["ms"].is_number(), "{update}");

    let create = demo.dry_run("CREATE TABLE app_demo__more (id int PRIMARY KEY)").await.json();
    assert!(create["diff"]["created"].to_string().contains("app_demo__more"), "{create}");
    assert_eq!((&create["diff"]["dropped"], &create["diff"]["changed"]), (&json!([]), &json!([])));
    let drop = demo.dry_run("DROP TABLE app_demo__notes").await.json();
    assert!(drop["diff"]["dropped"].to_string().contains("app_demo__notes"), "{drop}");
    let alter = demo.dry_run("ALTER TABLE app_demo__notes ADD COLUMN at timestamptz").await.json();
    assert!(alter["diff"]["changed"].to_string().contains("app_demo__notes"), "{alter}");
    for sql in [
        "INSERT INTO app_demo__notes VALUES (3, 'three')",
        "DELETE FROM app_demo__notes WHERE id = 1",
        "TRUNCATE app_demo__notes",
        "ALTER TABLE app_demo__notes RENAME COLUMN text TO body",
        "CREATE INDEX app_demo__i ON app_demo__notes (text)",
        "INSERT INTO app_demo__notes VALUES (3, 'three'); DELETE FROM app_demo__notes WHERE id = 3",
    ] {
        let answer = demo.dry_run(sql).await;
        assert_eq!(
            (answer.status, answer.json()["applied"].clone()),
            (200, json!(false)),
            "{sql}: {}",
            answer.text()
        );
    }
    let said = demo.run(json!({ "sql": "DELETE FROM app_demo__notes WHERE id = 1", "dryRun": true, "confirm": "apply:demo" })).await;
    assert_eq!(said.json()["applied"], false, "a word too much does not make it so: {}", said.text());
    assert_eq!(notes(&demo).await, two_notes());
    assert_eq!(tables(&demo).await, ["app_demo__notes"]);
}

#[tokio::test]
async fn m151_a_dry_run_finds_what_only_a_commit_would() {
    let (_app, demo) = with_notes().await;
    demo.apply(
        "CREATE TABLE app_demo__tags (note_id int REFERENCES app_demo__notes (id) DEFERRABLE INITIALLY DEFERRED, tag text)",
    )
    .await;
    let orphan = "INSERT INTO app_demo__tags VALUES (99, 'orphan')";
    let tried = refused(&demo.dry_run(orphan).await, 422, "sql_error");
    assert_eq!(tried["sqlstate"], "23503", "{tried}");
    let applied = refused(&demo.try_apply(orphan).await, 422, "sql_error");
    assert_eq!(applied["sqlstate"], "23503", "{applied}");
    let both =
        "INSERT INTO app_demo__tags VALUES (3, 'early'); INSERT INTO app_demo__notes VALUES (3, 'three')";
    assert_eq!(demo.dry_run(both).await.status, 200, "in the end it is right");
    demo.apply(both).await;
}

#[tokio::test]
async fn m151_what_cannot_be_undone_is_refused_or_warned_of() {
    let (_app, demo) = with_notes().await;
    for sql in [
        "CREATE INDEX CONCURRENTLY app_demo__i ON app_demo__notes (text)",
        "VACUUM app_demo__notes",
        "REINDEX TABLE CONCURRENTLY app_demo__notes",
        "SELECT setval('app_demo__s', 1)",
        "NOTIFY platform",
        "INSERT INTO app_demo__notes SELECT 9, pg_advisory_lock(1)::text",
    ] {
        let answer = demo.dry_run(sql).await;
        assert_eq!(answer.status, 422, "{sql}: {}", answer.text());
    }
    demo.apply(
        "CREATE TABLE app_demo__counted (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, text text)",
    )
    .await;
    let insert = "INSERT INTO app_demo__counted (text) VALUES ('x')";
    assert_eq!(demo.dry_run(insert).await.status, 200);
    assert_eq!(demo.rows("SELECT id FROM app_demo__counted").await, json!([]));
}

#[tokio::test]
async fn m152_applying_takes_the_apps_own_word_in_the_body() {
    let (app, demo) = with_notes().await;
    let delete = "DELETE FROM app_demo__notes WHERE id = 1";
    for confirm in [
        Value::Null,
        json!(""),
        json!("apply"),
        json!("apply:"),
        json!("apply:other"),
        json!("apply:DEMO"),
        json!(" apply:demo"),
        json!("apply:demo "),
        json!("demo"),
        json!("yes"),
    ] {
        let mut body = json!({ "sql": delete, "dryRun": false });
        if !confirm.is_null() {
            body["confirm"] = confirm.clone();
        }
        let problem = refused(&demo.run(body).await, 409, "confirm_required");
        assert!(problem["detail"].as_str().unwrap().contains("apply:demo"), "it says which word: {problem}");
    }
    let in_query = demo
        .client
        .post("/v1/sdk/database/execute?confirm=apply:demo", &json!({ "sql": delete, "dryRun": false }))
        .await;
    assert!(matches!(in_query.status, 400 | 409), "{}", in_query.text());
    assert_eq!(notes(&demo).await, two_notes());

    let answer = demo.run(json!({ "sql": delete, "dryRun": false, "confirm": "apply:demo" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert_eq!((&json["applied"], &json["affected"]), (&json!(true), &json!(1)));
    assert_eq!(notes(&demo).await, json!([{ "id": 2, "text": "two" }]));
    let rows = app.sql("select audit_id::text from audit_events where action = 'db.apply' order by audit_id desc limit 1").await;
    assert_eq!(json["audit_id"], json!(rows[0]), "it says where that is written down");
}

#[tokio::test]
async fn m153_emptying_a_table_takes_one_word_more() {
    let (_app, demo) = with_notes().await;
    let truncate = "TRUNCATE app_demo__notes";
    assert_eq!(demo.dry_run(truncate).await.status, 200);
    let problem = refused(&demo.try_apply(truncate).await, 409, "confirm_required");
    assert!(problem["detail"].as_str().unwrap().contains("truncate"), "{problem}");
    assert_eq!(notes(&demo).await, two_notes());
    let without_confirm = json!({ "sql": truncate, "dryRun": false, "allow": ["truncate"] });
    refused(&demo.run(without_confirm).await, 409, "confirm_required");
    let unknown =
        json!({ "sql": truncate, "dryRun": false, "confirm": "apply:demo", "allow": ["everything"] });
    refused(&demo.run(unknown).await, 422, "invalid_request");
    assert_eq!(notes(&demo).await, two_notes());
    let allowed = json!({ "sql": truncate, "dryRun": false, "confirm": "apply:demo", "allow": ["truncate"] });
    assert_eq!(demo.run(allowed).await.status, 200);
    assert_eq!(notes(&demo).await, json!([]));
}

#[tokio::test]
async fn m153_what_is_no_table_work_is_refused_with_what_it_was() {
    let (app, demo) = with_notes().await;
    for sql in [
        "DO $$ BEGIN CREATE TABLE unprefixed (id int); END $$",
        "CREATE FUNCTION app_demo__f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE PROCEDURE app_demo__p() LANGUAGE sql AS 'SELECT 1'",
        "CREATE EXTENSION dblink",
        "CREATE ROLE app_demo__r",
        "ALTER ROLE CURRENT_USER SET statement_timeout = 0",
        "GRANT SELECT ON app_demo__notes TO PUBLIC",
        "COPY app_demo__notes FROM STDIN",
        "COPY app_demo__notes TO PROGRAM 'id'",
        "SET statement_timeout = 0",
        "LISTEN x",
        "CREATE TRIGGER t BEFORE INSERT ON app_demo__notes FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE RULE r AS ON INSERT TO app_demo__notes DO NOTHING",
        "CREATE SCHEMA app_demo__s",
        "CREATE TEMP TABLE app_demo__t (id int)",
        "BEGIN",
        "COMMIT",
        "LOCK TABLE app_demo__notes",
        "SELECT 1",
    ] {
        let answer = demo.dry_run(sql).await;
        let problem = answer.json();
        assert!(matches!(answer.status, 403 | 422), "{sql}: {problem}");
        assert!(
            ["statement_denied", "namespace_violation"].contains(&problem["code"].as_str().unwrap()),
            "{sql}: {problem}"
        );
        let applied = demo.try_apply(sql).await;
        assert_eq!(
            (applied.status, &applied.json()["code"]),
            (answer.status, &problem["code"]),
            "{sql}: no word opens it"
        );
    }
    assert_eq!(tables(&demo).await, ["app_demo__notes"]);
    let mut admin = apps(&app).await;
    let elsewhere = "select relname::text from pg_class where relname in ('unprefixed', 'app_demo__t')";
    assert!(texts(&mut admin, elsewhere).await.is_empty());
}

#[tokio::test]
async fn m154_dangerous_shapes_are_warned_of_by_what_they_are_and_not_by_their_words() {
    let (_app, demo) = with_notes().await;
    let warned = async |sql: &str| {
        let answer = demo.dry_run(sql).await;
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        let json = answer.json();
        for warning in json["warnings"].as_array().unwrap() {
            assert!(warning["message"].as_str().is_some_and(|text| text.len() > 10), "{warning}");
            assert_eq!(warning["statement"], 0, "{warning}");
        }
        codes(&json)
    };
    for (sql, code) in [
        ("UPDATE app_demo__notes SET text = 'x'", "update_without_where"),
        ("DELETE FROM app_demo__notes", "delete_without_where"),
        ("DROP TABLE app_demo__notes", "drop"),
        ("ALTER TABLE app_demo__notes DROP COLUMN text", "drop_column"),
        ("ALTER TABLE app_demo__notes ALTER COLUMN text TYPE varchar(5)", "column_type_change"),
        ("CREATE TABLE app_demo__keyless (id int)", "no_primary_key"),
    ] {
        let found = warned(sql).await;
        assert!(!found.is_empty(), "{sql} has no warning");
        assert!(found.iter().any(|found| found == code), "{sql}: {found:?}");
    }
    for sql in [
        "UPDATE app_demo__notes SET text = 'DELETE FROM x; DROP TABLE y' WHERE id = 1",
        "/* DROP TABLE app_demo__notes; UPDATE */ INSERT INTO app_demo__notes VALUES (3, 'TRUNCATE') -- DELETE",
        "CREATE TABLE app_demo__keyed (id int PRIMARY KEY, \"drop\" text DEFAULT 'delete')",
        "CREATE TABLE app_demo__keyed (a int, b int, PRIMARY KEY (a, b))",
        "DELETE FROM app_demo__notes WHERE id = 1",
    ] {
        assert_eq!(warned(sql).await, Vec::<String>::new(), "{sql}");
    }
    let second =
        demo.dry_run("INSERT INTO app_demo__notes VALUES (3, 'x'); DELETE FROM app_demo__notes").await.json();
    assert_eq!(second["warnings"][0]["statement"], 1, "it says which statement: {second}");
}

#[tokio::test]
async fn m155_several_statements_are_one_change_and_the_failing_one_is_named() {
    let (_app, demo) = with_notes().await;
    let script = "CREATE TABLE app_demo__a (id int PRIMARY KEY);
        INSERT INTO app_demo__a VALUES (1), (2);
        ALTER TABLE app_demo__a ADD COLUMN text text;
        UPDATE app_demo__a SET text = 'x';
        INSERT INTO app_demo__notes SELECT id + 10, text FROM app_demo__a";
    let tried = demo.dry_run(script).await.json();
    let affected: Vec<_> =
        tried["statements"].as_array().unwrap().iter().map(|s| s["affected"].clone()).collect();
    assert_eq!(
        affected,
        [json!(null), json!(2), json!(null), json!(2), json!(2)],
        "DDL counts no rows: {tried}"
    );
    assert_eq!(tried["affected"], 6);
    assert_eq!(tables(&demo).await, ["app_demo__notes"]);

    for (script, index, sqlstate) in [
        (
            "CREATE TABLE app_demo__b (id int PRIMARY KEY); INSERT INTO app_demo__b VALUES (1), (1); DROP TABLE app_demo__notes",
            1,
            "23505",
        ),
        ("DELETE FROM app_demo__notes WHERE id = 1; DROP TABLE app_demo__nope", 1, "42P01"),
        ("UPDATE app_demo__notes SET nope = 1; DELETE FROM app_demo__notes WHERE id = 1", 0, "42703"),
        (
            "DELETE FROM app_demo__notes WHERE id = 1;\n\n-- a comment; with a semicolon\nUPDATE app_demo__notes SET id = id / 0",
            1,
            "22012",
        ),
    ] {
        for answer in [demo.dry_run(script).await, demo.try_apply(script).await] {
            let problem = refused(&answer, 422, "sql_error");
            assert_eq!(
                (&problem["statement"], &problem["sqlstate"]),
                (&json!(index), &json!(sqlstate)),
                "{problem}"
            );
        }
    }
    // Refused before anything ran: the same member says which.
    for answer in [
        demo.try_apply("DELETE FROM app_demo__notes WHERE id = 1; DELETE FROM app_other__notes").await,
        demo.try_apply("DELETE FROM app_demo__notes WHERE id = 1; COMMIT").await,
    ] {
        assert!(matches!(answer.status, 403 | 422), "{}", answer.text());
        assert_eq!(answer.json()["statement"], 1, "{}", answer.text());
    }
    assert_eq!(notes(&demo).await, two_notes());
    assert_eq!(tables(&demo).await, ["app_demo__notes"]);

    let many = |count: usize| {
        (0..count)
            .map(|n| format!("INSERT INTO app_demo__notes VALUES ({}, 'x')", n + 100))
            .collect::<Vec<_>>()
            .join(";\n")
    };
    refused(&demo.try_apply(&many(51)).await, 422, "too_many_statements");
    assert_eq!(notes(&demo).await, two_notes());
    let applied = demo.apply(&many(50)).await;
    assert_eq!(applied["statements"].as_array().unwrap().len(), 50);
    assert_eq!(demo.rows("SELECT count(*)::int4 AS n FROM app_demo__notes").await, json!([{ "n": 52 }]));
    let numbered = "DELETE FROM app_demo__notes WHERE id = $1; DELETE FROM app_demo__notes WHERE id = $2";
    let answer = demo.run(json!({ "sql": numbered, "params": [1, 2] })).await;
    refused(&answer, 422, "params_with_many_statements");
}

#[tokio::test]
async fn m156_every_change_tried_or_made_is_written_down_without_what_was_in_it() {
    let (app, demo) = with_notes().await;
    let before = (audit(&demo.client, "db.dry_run").await.len(), audit(&demo.client, "db.apply").await.len());
    let statement = format!("UPDATE app_demo__notes SET text = '{SECRET}' WHERE id = 1 AND text <> $1");
    let sent = json!({ "sql": statement, "params": [SECRET] });
    let tried = demo.run(sent.clone()).await.json();
    let mut applied = sent;
    applied["dryRun"] = json!(false);
    applied["confirm"] = json!("apply:demo");
    let made = demo.run(applied).await.json();
    assert_eq!(made["affected"], 1, "{made}");
    // What was refused or failed was tried as well.
    refused(
        &demo.dry_run(&format!("INSERT INTO app_demo__notes VALUES (1, '{SECRET}')")).await,
        422,
        "sql_error",
    );
    for (action, count, answer) in [("db.dry_run", before.0 + 2, &tried), ("db.apply", before.1 + 1, &made)] {
        let rows = audit(&demo.client, action).await;
        assert_eq!(rows.len(), count, "{action}: {rows:?}");
        let row =
            rows.iter().find(|row| row["audit_id"] == answer["audit_id"] || row["id"] == answer["audit_id"]);
        let row = row.unwrap_or_else(|| panic!("{action} {answer}: {rows:?}"));
        let detail = &row["detail"];
        assert_eq!(detail["sql_sha256"].as_str().map(str::len), Some(64), "{row}");
        assert_eq!(detail["affected"], 1, "{row}");
        let sql = detail["sql"].as_str().unwrap_or_else(|| panic!("{row}"));
        assert!(sql.contains("app_demo__notes") && sql.to_uppercase().contains("UPDATE"), "{row}");
        assert_eq!(row["surface"], "rest", "{row}");
        assert!(row["actor"].as_str().is_some_and(|actor| !actor.is_empty()), "{row}");
    }
    let kept = app.sql("select coalesce(string_agg(a::text, ' '), '') from audit_events a").await.remove(0);
    assert!(!kept.contains(SECRET), "no literal and no parameter is in the audit log");
    assert!(!logs().contains(SECRET), "nor in the log");
    let listed = demo.client.get("/v1/tenant/audit?limit=200").await.text();
    assert!(!listed.contains(SECRET));
    // The hash tells whether it was this text, and nothing else.
    let hashes: Vec<_> =
        audit(&demo.client, "db.apply").await.iter().map(|row| row["detail"]["sql_sha256"].clone()).collect();
    let distinct: std::collections::BTreeSet<_> = hashes.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), hashes.len());
}

#[tokio::test]
async fn m156_what_cannot_be_written_down_is_not_done() {
    let (app, demo) = with_notes().await;
    let block = "alter table audit_events add constraint full_disk check (action not like 'db.%') not valid";
    sqlx::raw_sql(block).execute(&mut app.owner().await).await.unwrap();
    for answer in [
        demo.try_apply("DELETE FROM app_demo__notes").await,
        demo.try_apply("CREATE TABLE app_demo__unseen (id int PRIMARY KEY)").await,
        demo.dry_run("DELETE FROM app_demo__notes").await,
    ] {
        assert!(answer.status >= 500, "{}", answer.text());
        assert!(!answer.text().contains("full_disk"), "{}", answer.text());
    }
    assert_eq!(notes(&demo).await, two_notes());
    assert_eq!(tables(&demo).await, ["app_demo__notes"]);
    sqlx::raw_sql("alter table audit_events drop constraint full_disk")
        .execute(&mut app.owner().await)
        .await
        .unwrap();
    demo.apply("DELETE FROM app_demo__notes WHERE id = 1").await;
}

#[tokio::test]
async fn m157_an_app_has_so_many_tables_and_bytes_and_may_always_make_room() {
    let app = TestApp::with(|config| {
        config.database_tables_max = 2;
        config.database_bytes_max = 1 << 20;
    })
    .await;
    let (demo, other) = (Db::new(&app, "demo").await, Db::new(&app, "other").await);
    let manifest = demo.client.get("/v1/sdk/database/manifest").await.json();
    assert_eq!(manifest["quota"], json!({ "bytes": 1 << 20, "tables": 2 }));
    demo.apply("CREATE TABLE app_demo__a (id int PRIMARY KEY, text text)").await;
    demo.apply("CREATE TABLE app_demo__b (id int PRIMARY KEY)").await;
    for sql in [
        "CREATE TABLE app_demo__c (id int PRIMARY KEY)",
        "DROP TABLE app_demo__b; CREATE TABLE app_demo__c (id int PRIMARY KEY); CREATE TABLE app_demo__d (id int PRIMARY KEY)",
        "CREATE TABLE app_demo__c AS SELECT 1 AS id",
    ] {
        let problem = refused(&demo.try_apply(sql).await, 507, "quota_exceeded");
        assert!(problem["detail"].as_str().unwrap().contains('2'), "it says the limit: {problem}");
    }
    assert_eq!(tables(&demo).await, ["app_demo__a", "app_demo__b"]);

    let fill = async |first: u32, rows: u32| {
        let rows = format!("generate_series({first}, {})", first + rows - 1);
        demo.try_apply(&format!("INSERT INTO app_demo__a SELECT g, repeat('x', 1000) FROM {rows} g")).await
    };
    let count = "SELECT count(*)::int4 AS n FROM app_demo__a";
    refused(&fill(1, 3000).await, 507, "quota_exceeded");
    assert_eq!(demo.rows(count).await, json!([{ "n": 0 }]), "it was not done");
    // What was undone is not in the way: an empty table is not full.
    assert_eq!(fill(1, 500).await.status, 200);
    demo.dry_run("INSERT INTO app_demo__a SELECT g, repeat('x', 1000) FROM generate_series(1000, 1200) g")
        .await;
    assert_eq!(fill(501, 100).await.status, 200);
    refused(&fill(601, 1000).await, 507, "quota_exceeded");
    assert_eq!(demo.rows(count).await, json!([{ "n": 600 }]), "it can still be read");
    other.apply("CREATE TABLE app_other__a (id int PRIMARY KEY); INSERT INTO app_other__a VALUES (1)").await;
    // Rows that are gone make room for others, though their table is no smaller.
    demo.apply("DELETE FROM app_demo__a WHERE id % 2 = 0").await;
    refused(&fill(2000, 3000).await, 507, "quota_exceeded");
    assert_eq!(fill(2000, 200).await.status, 200);

    demo.apply("DROP TABLE app_demo__a").await;
    demo.apply("CREATE TABLE app_demo__c (id int PRIMARY KEY); INSERT INTO app_demo__c VALUES (1)").await;
}

#[tokio::test]
async fn m158_what_was_applied_is_listed_newest_first() {
    let (app, demo) = with_notes().await;
    let other = Db::new(&app, "other").await;
    other.apply("CREATE TABLE app_other__secrets (id int PRIMARY KEY)").await;
    demo.dry_run("CREATE TABLE app_demo__tried (id int PRIMARY KEY)").await;
    refused(&demo.try_apply("DROP TABLE app_demo__nope").await, 422, "sql_error");
    let last = demo
        .apply(&format!(
            "UPDATE app_demo__notes SET text = '{SECRET}' WHERE id = 2; DROP TABLE app_demo__notes"
        ))
        .await;
    let answer = demo.client.get("/v1/sdk/database/history").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let history = answer.json();
    let rows = history["data"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "applied ones alone: {history}");
    let newest = &rows[0];
    assert_eq!(newest["audit_id"], last["audit_id"]);
    assert_eq!((&newest["applied"], &newest["affected"]), (&json!(true), &json!(1)));
    assert_eq!(newest["statements"].as_array().unwrap().len(), 2, "{newest}");
    assert!(newest["at"].as_str().unwrap().ends_with('Z'), "{newest}");
    assert_eq!(newest["sql_sha256"].as_str().unwrap().len(), 64);
    assert!(newest["sql"].as_str().unwrap().contains("app_demo__notes"), "{newest}");
    assert!(newest["actor"].is_string() && newest["surface"].is_string(), "{newest}");
    let text = answer.text();
    assert!(!text.contains(SECRET) && !text.contains("app_other") && !text.contains("tried"), "{text}");
    let first = demo.client.get("/v1/sdk/database/history?limit=1").await.json();
    assert_eq!((&first["data"][0], &first["has_more"]), (newest, &json!(true)));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = demo.client.get(&format!("/v1/sdk/database/history?limit=1&cursor={cursor}")).await.json();
    assert_eq!((&second["data"][0], &second["has_more"]), (&rows[1], &json!(false)));
}

#[tokio::test]
async fn m155_two_changes_at_once_wait_for_each_other_or_say_that_they_could_not() {
    let (_app, demo) = demo().await;
    demo.apply("CREATE TABLE app_demo__counter (id int PRIMARY KEY, n int NOT NULL); INSERT INTO app_demo__counter VALUES (1, 0)").await;
    let add = (0..12).map(|_| demo.try_apply("UPDATE app_demo__counter SET n = n + 1 WHERE id = 1"));
    let answers = futures_util::future::join_all(add).await;
    let applied = answers.iter().filter(|answer| answer.status == 200).count();
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert!(matches!(answer.status, 408 | 409 | 422 | 429 | 503), "{} {}", answer.status, answer.text());
    }
    assert!(applied > 0);
    assert_eq!(
        demo.rows("SELECT n FROM app_demo__counter").await,
        json!([{ "n": applied }]),
        "none is lost, none is doubled"
    );
}
