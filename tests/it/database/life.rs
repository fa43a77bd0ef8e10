//! The life of a workspace: made with its app, apart from every other, gone some days after it.

use super::{Db, EXECUTE, Workspace, apps, connect, refused, texts};
use chrono::Duration;
use opg_host::{
    app::Clock,
    db_proxy::{parse::Namespace, sweep},
    tenants::slug,
};
use opg_tests::{app::TestApp, process::OpgProcess};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

/// How long a deleted app's data is kept.
const KEPT: Duration = Duration::days(7);

#[tokio::test]
async fn m144_an_app_has_two_logins_that_may_do_their_work_and_nothing_else() {
    let app = TestApp::start().await;
    Db::new(&app, "demo").await;
    Db::new(&app, "other").await;
    let (own, theirs) = (Workspace::of(&app, "demo").await, Workspace::of(&app, "other").await);
    assert_eq!((own.schema.as_str(), own.prefix.as_str()), ("app_demo", "app_demo__"));
    assert_eq!(own.reader, format!("{}_ro", own.owner));
    let mut admin = apps(&app).await;
    let yes = async |conn: &mut PgConnection, query: String| {
        texts(conn, &format!("select ({query})::text")).await == ["true"]
    };
    let control = texts(&mut app.owner().await, "select current_database()::text").await.remove(0);
    for role in [&own.owner, &own.reader] {
        let powers = format!(
            "select rolsuper or rolinherit or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls
                or not rolcanlogin or rolconnlimit not between 1 and 20 from pg_roles where rolname = '{role}'"
        );
        assert!(!yes(&mut admin, powers).await, "{role} has a power, or no limit");
        let short =
            format!("select rolpassword like 'SCRAM-SHA-256$1:%' from pg_authid where rolname = '{role}'");
        assert!(yes(&mut admin, short).await, "{role}'s password is random: no rounds for each login");
        let memberships =
            format!("select count(*) > 0 from pg_auth_members where member = '{role}'::regrole");
        assert!(!yes(&mut admin, memberships).await, "{role} is a member of something");
        for (what, may) in [
            (format!("has_schema_privilege('{role}', '{}', 'usage')", own.schema), true),
            (format!("has_schema_privilege('{role}', '{}', 'create')", own.schema), *role == own.owner),
            (format!("has_schema_privilege('{role}', '{}', 'usage')", theirs.schema), false),
            (format!("has_schema_privilege('{role}', '{}', 'create')", theirs.schema), false),
            (format!("has_schema_privilege('{role}', 'public', 'create')"), false),
            (format!("has_schema_privilege('{role}', 'opg', 'create')"), false),
            (
                format!("has_any_column_privilege('{role}', 'opg.workspaces', 'select, insert, update')"),
                false,
            ),
            (format!("has_database_privilege('{role}', current_database(), 'connect')"), true),
            (format!("has_database_privilege('{role}', current_database(), 'temporary')"), false),
            (format!("has_database_privilege('{role}', current_database(), 'create')"), false),
            (format!("has_database_privilege('{role}', '{control}', 'connect')"), false),
            (format!("has_language_privilege('{role}', 'sql', 'usage')"), false),
            (format!("has_language_privilege('{role}', 'plpgsql', 'usage')"), false),
        ] {
            assert_eq!(yes(&mut admin, what.clone()).await, may, "{what}");
        }
    }
    let demo = Db { client: app.tenant("third").await, slug: "third".to_owned() };
    let third = Workspace::of(&app, "third").await;
    demo.apply("CREATE TABLE app_third__t (id int PRIMARY KEY)").await;
    for (right, may) in [
        ("select", true),
        ("insert", false),
        ("update", false),
        ("delete", false),
        ("truncate", false),
        ("references", false),
        ("trigger", false),
    ] {
        let what = format!("has_table_privilege('{}', 'app_third.app_third__t', '{right}')", third.reader);
        assert_eq!(yes(&mut admin, what.clone()).await, may, "{what}");
        for nobody in [&own.owner, &own.reader] {
            let what = format!("has_table_privilege('{nobody}', 'app_third.app_third__t', '{right}')");
            assert!(!yes(&mut admin, what.clone()).await, "{what}");
        }
    }
}

#[tokio::test]
async fn m159_deleting_an_app_shuts_its_logins_at_once_and_its_data_goes_after_seven_days() {
    let app = TestApp::at(Clock::manual(Clock::system().now()), |_| {}).await;
    let (demo, other) = (Db::new(&app, "demo").await, Db::new(&app, "other").await);
    for db in [&demo, &other] {
        let prefix = format!("app_{}__", db.slug);
        db.apply(&format!("CREATE TABLE {prefix}t (id int PRIMARY KEY); INSERT INTO {prefix}t VALUES (1)"))
            .await;
        assert_eq!(db.rows(&format!("SELECT id FROM {prefix}t")).await, json!([{ "id": 1 }]));
    }
    let own = Workspace::of(&app, "demo").await;
    let mut admin = apps(&app).await;
    for role in [&own.owner, &own.reader] {
        let password = format!("alter role {role} password 'known'");
        sqlx::raw_sql(AssertSqlSafe(password)).execute(&mut admin).await.unwrap();
    }
    let login = |role: &str| app.running.app.server.apps_admin().username(role).password("known");
    drop(connect(&login(&own.owner)).await.expect("it may log in while its app is there"));

    assert_eq!(app.operator().delete("/v1/admin/tenants/demo?confirm=demo").await.status, 204);
    assert_eq!(demo.query("SELECT 1").await.status, 401);
    for role in [&own.owner, &own.reader] {
        let refused = connect(&login(role)).await;
        assert!(refused.is_err(), "{role} still gets in");
    }
    let connections = format!(
        "select usename::text from pg_stat_activity where usename in ('{}', '{}')",
        own.owner, own.reader
    );
    let closed = Instant::now() + std::time::Duration::from_secs(5);
    while !texts(&mut admin, &connections).await.is_empty() {
        assert!(Instant::now() < closed, "a connection of a deleted app stays");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    let rows = "select id::text from app_demo.app_demo__t";
    app.clock.advance(KEPT - Duration::hours(1));
    sweep::expired(&app.running.app).await.unwrap();
    assert_eq!(texts(&mut admin, rows).await, ["1"], "it is kept for seven days");
    app.clock.advance(Duration::hours(2));
    for _again in 0..2 {
        sweep::expired(&app.running.app).await.unwrap();
        let left = format!(
            "select nspname::text from pg_namespace where nspname = '{}'
             union all select rolname::text from pg_roles where rolname in ('{}', '{}')
             union all select schema_name::text from opg.workspaces where schema_name = '{}'",
            own.schema, own.owner, own.reader, own.schema
        );
        assert_eq!(texts(&mut admin, &left).await, Vec::<String>::new());
    }
    assert_eq!(
        other.rows("SELECT id FROM app_other__t").await,
        json!([{ "id": 1 }]),
        "its neighbour is untouched"
    );
    other.apply("INSERT INTO app_other__t VALUES (2)").await;
}

#[tokio::test]
async fn m159_an_app_whose_workspace_cannot_be_made_is_not_made() {
    let app = TestApp::start().await;
    Db::new(&app, "other").await;
    let mut admin = apps(&app).await;
    let there = "select rolname::text from pg_roles where rolname like 'opg\\_%' union all select nspname::text from pg_namespace order by 1";
    let before = texts(&mut admin, there).await;
    let block =
        "alter table opg.workspaces add constraint broken check (schema_name <> 'app_broken') not valid";
    sqlx::raw_sql(block).execute(&mut admin).await.unwrap();
    let body = json!({ "id": "broken", "name": "Broken" });
    let answer = app.operator().post("/v1/admin/tenants", &body).await;
    assert!(answer.status >= 500, "{}", answer.text());
    assert_eq!(app.operator().get("/v1/admin/tenants/broken").await.status, 404);
    let schemas = "select nspname::text from pg_namespace where nspname = 'app_broken'";
    assert!(texts(&mut admin, schemas).await.is_empty(), "no schema is left");
    sqlx::raw_sql("alter table opg.workspaces drop constraint broken").execute(&mut admin).await.unwrap();
    let broken = Db::new(&app, "broken").await;
    broken.apply("CREATE TABLE app_broken__t (id int PRIMARY KEY)").await;
    let after = texts(&mut admin, there).await;
    assert!(before.iter().all(|name| after.contains(name)));
}

#[tokio::test]
async fn m159_an_app_from_before_there_were_workspaces_gets_one_when_it_is_first_used() {
    let app = TestApp::start().await;
    let demo = Db::new(&app, "demo").await;
    let own = Workspace::of(&app, "demo").await;
    let mut admin = apps(&app).await;
    let undo = format!(
        "delete from opg.workspaces where schema_name = '{schema}'; drop schema {schema} cascade;
         drop owned by {owner}, {reader} cascade; drop role {owner}, {reader}",
        schema = own.schema,
        owner = own.owner,
        reader = own.reader
    );
    sqlx::raw_sql(AssertSqlSafe(undo)).execute(&mut admin).await.unwrap();
    sqlx::raw_sql("delete from database_logins").execute(&mut app.owner().await).await.unwrap();

    // Of many at once that find none, one makes it.
    let asked = (0..8).map(|_| demo.query("SELECT 1 AS one"));
    for answer in futures_util::future::join_all(asked).await {
        assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
    }
    assert_eq!(demo.rows("SELECT 1 AS one").await, json!([{ "one": 1 }]));
    demo.apply("CREATE TABLE app_demo__t (id int PRIMARY KEY)").await;
    let made = Workspace::of(&app, "demo").await;
    assert_eq!((made.schema, made.owner), (own.schema, own.owner));
    assert_eq!(app.sql("select access from database_logins order by 1").await, ["owner", "reader"]);
}

#[tokio::test]
async fn m314_tables_and_logins_outlive_a_restart_and_a_new_master_key() {
    const OLD: &str = "1:q8Vb0m3XkQyq3dY1i8cJq0cJm7o0mQ0m9m2Jc1yq7b4=";
    const NEW: &str = "2:5m1X2s0q8Vb0m3XkQyq3dY1i8cJq0cJm7o0mQ0m9m2Q=";
    let key = |text: String| Some(SecretString::from(text));
    let app = TestApp::with(|config| config.master_key = key(OLD.to_owned())).await;
    let demo = Db::new(&app, "demo").await;
    demo.apply("CREATE TABLE app_demo__t (id int PRIMARY KEY); INSERT INTO app_demo__t VALUES (1)").await;
    let after = |app: &TestApp| Db { client: app.client(Some(demo.client.token())), slug: "demo".to_owned() };

    let app = app.restart_with(|config| config.master_key = key(format!("{OLD},{NEW}"))).await;
    let versions = "select key_version::text from database_logins";
    let wrapped = Instant::now() + std::time::Duration::from_secs(10);
    while app.sql(versions).await != ["2", "2"] {
        assert!(Instant::now() < wrapped, "{:?}", app.sql(versions).await);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let app = app.restart_with(|config| config.master_key = key(NEW.to_owned())).await;
    assert_eq!(after(&app).rows("SELECT id FROM app_demo__t").await, json!([{ "id": 1 }]));
    after(&app).apply("INSERT INTO app_demo__t VALUES (2)").await;
}

#[tokio::test]
async fn m156_after_a_kill_each_row_has_its_audit_row_and_no_acknowledged_one_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let opg = OpgProcess::start(dir.path()).await;
    let demo = Db { client: opg.tenant("demo").await, slug: "demo".to_owned() };
    demo.apply("CREATE TABLE app_demo__t (id int PRIMARY KEY)").await;
    let acknowledged = Arc::new(Mutex::new(vec![]));
    let mut work = tokio::task::JoinSet::new();
    for worker in 0..2 {
        let (demo, acknowledged) = (demo.clone(), acknowledged.clone());
        work.spawn(async move {
            for n in 0.. {
                let id = worker * 1_000_000 + n;
                let body = json!({ "sql": "INSERT INTO app_demo__t VALUES ($1)", "params": [id],
                    "dryRun": false, "confirm": "apply:demo" });
                let sent = demo.client.request("POST", EXECUTE).json(&body).send().await;
                let Ok(answer) = sent else { return };
                let said: Result<Value, _> = answer.json().await;
                if said.is_ok_and(|said| said["applied"] == true) {
                    acknowledged.lock().unwrap().push(id);
                }
            }
        });
    }
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    opg.kill_9().await;
    while work.join_next().await.is_some() {}
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > 10, "there was work: {}", acknowledged.len());

    let opg = OpgProcess::start(dir.path()).await;
    let demo = Db { client: opg.client(Some(demo.client.token())), slug: "demo".to_owned() };
    let counted = demo.rows("SELECT count(*)::int4 AS n FROM app_demo__t").await[0]["n"].as_u64().unwrap();
    for chunk in acknowledged.chunks(500) {
        let sql = "SELECT count(*)::int4 AS n FROM app_demo__t WHERE id = ANY($1)";
        let found = demo.ask(json!({ "sql": sql, "params": [chunk] })).await.json();
        assert_eq!(found["rows"], json!([{ "n": chunk.len() }]), "what was acknowledged is there");
    }
    let (mut applied, mut path) = (0, "/v1/sdk/database/history?limit=200".to_owned());
    loop {
        let page = demo.client.get(&path).await.json();
        let rows = page["data"].as_array().unwrap();
        let inserts =
            rows.iter().filter(|row| row["applied"] == true && row["statements"] == json!(["insert"]));
        applied += inserts.count() as u64;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/sdk/database/history?limit=200&cursor={cursor}");
    }
    assert_eq!(applied, counted, "the history tells of each row that is there, and of none that is not");
    opg.stop().await;
}

#[tokio::test]
async fn m142_apps_with_names_that_begin_alike_are_apart() {
    let app = TestApp::start().await;
    let longest = "a".repeat(slug::CHARS_MAX);
    let slugs = ["abc", "abc-d", "abc-ro", "abcd", "abc-d-e", "abc-2", longest.as_str()];
    let mut all = vec![];
    for slug in slugs {
        let db = Db::new(&app, slug).await;
        let prefix = format!("app_{}__", slug.replace('-', "_"));
        let manifest = db.client.get("/v1/sdk/database/manifest").await.json();
        assert_eq!(manifest["namespace"], json!(prefix), "{slug}");
        db.apply(&format!("CREATE TABLE {prefix}t (id int PRIMARY KEY, whose text); INSERT INTO {prefix}t VALUES (1, '{slug}')")).await;
        all.push((db, prefix));
    }
    for (db, own) in &all {
        let listed = db.client.get("/v1/sdk/database/tables").await.json();
        let names: Vec<_> =
            listed["data"].as_array().unwrap().iter().map(|table| table["name"].clone()).collect();
        assert_eq!(names, [json!(format!("{own}t"))], "{}", db.slug);
        for (_, prefix) in &all {
            let select = format!("SELECT whose FROM {prefix}t");
            if prefix == own {
                assert_eq!(db.rows(&select).await, json!([{ "whose": db.slug }]));
            } else {
                refused(&db.query(&select).await, 403, "namespace_violation");
                refused(&db.try_apply(&format!("DROP TABLE {prefix}t")).await, 403, "namespace_violation");
                refused(
                    &db.try_apply(&format!("CREATE TABLE {prefix}u (id int PRIMARY KEY)")).await,
                    403,
                    "namespace_violation",
                );
            }
        }
    }
}

/// Two slugs, often such that one begins like the other.
fn two_slugs() -> impl Strategy<Value = (String, String)> {
    let word = || "[a-z][a-z0-9]{2,5}(-[a-z0-9]{1,4}){0,3}";
    let tail = prop_oneof!["[a-z0-9]{1,3}", "-[a-z0-9]{1,3}", Just("-ro".to_owned()), Just("-2".to_owned())];
    (word(), word(), tail, any::<bool>()).prop_filter_map("two slugs", |(a, b, tail, related)| {
        let b = if related { format!("{a}{tail}") } else { b };
        (a != b && slug::check(&a).is_ok() && slug::check(&b).is_ok()).then_some((a, b))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn m142_no_namespace_begins_with_another(pair in two_slugs()) {
        let (a, b) = pair;
        let (a, b) = (Namespace::of_slug(&a), Namespace::of_slug(&b));
        let (one, two) = (a.as_str(), b.as_str());
        prop_assert!(!one.starts_with(two) && !two.starts_with(one), "{one} {two}");
        prop_assert_ne!(a.schema(), b.schema());
        // What is in one namespace has no name that is in the other, whatever is written after the prefix.
        for (one, two) in [(one, two), (two, one)] {
            for rest in ["t", "_t", "ro", "_ro__t", "__t"] {
                let name = format!("{one}{rest}");
                prop_assert!(!name.starts_with(two), "{name} is in {two}");
            }
            prop_assert!(one.len() <= 63 - 20, "there is room for a table's name: {one}");
        }
    }
}
