//! The roles are the wall: with no parser before them, and by the protocol that takes several statements at once,
//! an app's own logins reach nothing of another app and nothing of the platform.

use super::{
    Workspace, apps, connect,
    corpus::cases,
    fixture::{CANARIES, Fixture, Traps, changes},
    texts,
};
use futures_util::StreamExt;
use opg_tests::app::{Setup, TestApp};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgConnectOptions};
use std::{collections::BTreeMap, time::Duration};

const PASSWORD: &str = "known-to-the-test";
/// No statement here has a reason to take longer; those that sleep are stopped.
const STATEMENT_TIMEOUT: &str = "500";
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// One of an app's logins, used directly.
struct Login {
    options: PgConnectOptions,
    conn: PgConnection,
}

impl Login {
    async fn of(app: &TestApp, role: &str) -> Login {
        let statement = format!("alter role {role} password '{PASSWORD}'");
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut apps(app).await).await.unwrap();
        let options = app.running.app.server.apps_admin().username(role).password(PASSWORD);
        // Own names are found as by the host, so that nothing fails for the wrong reason.
        let schema = role_schema(app, role).await;
        let options = options.options([("statement_timeout", STATEMENT_TIMEOUT), ("search_path", &schema)]);
        let conn = connect(&options).await.expect("the app's login gets in");
        Login { options, conn }
    }

    /// What comes back of a text sent as it is: everything before the first error, and the error.
    async fn send(&mut self, sql: &str) -> (String, Result<(), String>) {
        let mut seen = String::new();
        let mut result = Ok(());
        let answered = async {
            let mut rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(&mut self.conn);
            while let Some(row) = rows.next().await {
                match row {
                    Ok(row) => (0..row.len()).for_each(|at| {
                        let value = row.try_get_raw(at).ok();
                        seen.push_str(
                            value.as_ref().and_then(|value| value.as_str().ok()).unwrap_or_default(),
                        );
                        seen.push('\n');
                    }),
                    Err(error) => {
                        result = Err(shown(&error));
                        break;
                    }
                }
            }
        };
        if tokio::time::timeout(ANSWER_TIME_MAX, answered).await.is_err() {
            result = Err("no answer".to_owned());
        }
        if result.as_ref().is_err_and(|error| !error.starts_with("SQL ")) {
            // Whatever the statement did to this connection, the next one has a new one.
            self.conn = connect(&self.options).await.expect("the app's login gets in again");
        }
        (seen, result)
    }

    /// The same in a transaction that is rolled back, and nothing of the session is left for the next.
    async fn send_and_undo(&mut self, sql: &str) -> (String, Result<(), String>) {
        let began = self.send("BEGIN").await.1;
        let (mut seen, mut result) = self.send(sql).await;
        drop(self.send("ROLLBACK").await);
        // Some want no transaction around them.
        if began.is_err() || result.as_ref().is_err_and(|error| error.starts_with("SQL 25001")) {
            let (more, again) = self.send(sql).await;
            seen.push_str(&more);
            result = again;
        }
        let fresh = self.send("DISCARD ALL").await.1;
        if fresh.is_err() {
            self.conn = connect(&self.options).await.expect("the app's login gets in again");
        }
        (seen, result)
    }
}

/// The schema of the app whose login this is.
async fn role_schema(app: &TestApp, role: &str) -> String {
    let query = format!("select schema_name from opg.workspaces where '{role}' in (owner_role, reader_role)");
    texts(&mut apps(app).await, &query).await.remove(0)
}

fn shown(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(cause) => {
            let detail = cause.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|e| e.detail());
            format!(
                "SQL {} {} {}",
                cause.code().unwrap_or_default(),
                cause.message(),
                detail.unwrap_or_default()
            )
        }
        None => error.to_string(),
    }
}

fn leak(sql: &str, seen: &str) -> Option<&'static str> {
    CANARIES.iter().find(|canary| seen.contains(**canary) && !sql.contains(**canary)).copied()
}

/// A server of its own: what is revoked for the whole server is revoked here too.
async fn start() -> Fixture {
    Fixture::new(Setup { own_database: true, ..Setup::default() }, Traps::None).await
}

#[tokio::test]
async fn m144_without_the_parser_no_statement_of_the_corpus_reaches_another_app() {
    let fixture = start().await;
    let mut admin = apps(&fixture.app).await;

    // That a leak would be seen: the neighbour itself sees its rows by the same way.
    let mut theirs = Login::of(&fixture.app, &fixture.theirs.reader).await;
    let (seen, result) = theirs.send_and_undo("SELECT * FROM app_other.app_other__secrets").await;
    assert!(result.is_ok() && leak("", &seen).is_some(), "{result:?}");
    drop(theirs);
    let before = fixture.state(&mut admin, true).await;

    let mut cases: Vec<_> = cases().into_iter().filter(|case| case.expect == "reject").collect();
    // Those that end the transaction around them really change the app's own things: last.
    let ends = |sql: &str| {
        ["COMMIT", "END", "ROLLBACK", "ABORT"].iter().any(|word| sql.to_uppercase().contains(word))
    };
    cases.sort_by_key(|case| ends(&case.sql));
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = vec![];
    for role in [&fixture.own.reader, &fixture.own.owner] {
        let mut login = Login::of(&fixture.app, role).await;
        for case in &cases {
            for sql in fixture.spellings(&case.sql) {
                let (seen, result) = login.send_and_undo(&sql).await;
                let said = result.err().unwrap_or_default();
                let state = said.strip_prefix("SQL ").map_or("other", |rest| &rest[..5]);
                let outcome = if said.is_empty() { "done" } else { state };
                *outcomes.entry(outcome.to_owned()).or_default() += 1;
                if let Some(canary) = leak(&sql, &seen).or_else(|| leak(&sql, &said)) {
                    failed.push(format!("{} as {role} leaks {canary}: {sql}", case.id));
                }
            }
        }
    }
    println!("without the parser: {outcomes:?}");
    assert!(failed.is_empty(), "{failed:#?}");
    // Most are refused for want of a right, not because a name is wrong.
    assert!(outcomes["42501"] > 200, "{outcomes:?}");

    let own = |change: &String| change.contains("app_demo") || change.contains(&fixture.own.owner);
    let changed = changes(&before, &fixture.state(&mut admin, true).await);
    let reached: Vec<_> = changed.into_iter().filter(|change| !own(change)).collect();
    assert!(reached.is_empty(), "it reached what is not its own: {reached:#?}");
}

#[tokio::test]
async fn m144_m145_without_the_parser_an_apps_logins_cannot_leave_their_schema_their_database_or_their_role()
{
    let fixture = start().await;
    let Fixture { own, theirs, .. } = &fixture;
    let mut admin = apps(&fixture.app).await;
    let superuser = texts(&mut admin, "select current_user::text").await.remove(0);
    let before = fixture.state(&mut admin, true).await;
    let other = &theirs.owner;
    let statements: Vec<String> = vec![
        // Becoming somebody else.
        format!("SET ROLE {other}"),
        format!("SET SESSION AUTHORIZATION {other}"),
        format!("SET ROLE {superuser}"),
        format!("SET SESSION AUTHORIZATION {superuser}"),
        format!("SELECT set_config('role', '{other}', false)"),
        format!("SELECT set_config('role', '{superuser}', true)"),
        format!("SELECT set_config('session_authorization', '{other}', false)"),
        format!("SELECT r, query_to_xml('select * from app_other.app_other__secrets', true, false, '') FROM (SELECT set_config('role', '{other}', true) r) x"),
        format!("GRANT {other} TO {}", own.owner),
        format!("GRANT {superuser} TO {}", own.owner),
        format!("ALTER ROLE {other} PASSWORD 'x'"),
        format!("ALTER ROLE {other} SET search_path = app_demo"),
        format!("ALTER ROLE {} SUPERUSER", own.owner),
        format!("ALTER ROLE {} CREATEROLE", own.owner),
        format!("ALTER ROLE {} CONNECTION LIMIT 100", own.owner),
        "CREATE ROLE app_demo__r LOGIN".to_owned(),
        format!("DROP ROLE {other}"),
        format!("DROP OWNED BY {other}"),
        format!("REASSIGN OWNED BY {} TO {other}", own.owner),
        // Another app's things.
        "SELECT * FROM app_other.app_other__secrets".to_owned(),
        "SELECT * FROM app_other.app_other__v".to_owned(),
        "SELECT * FROM app_other.app_other__mv".to_owned(),
        "SELECT app_other.app_other__lookup(1)".to_owned(),
        "SELECT last_value FROM app_other.app_other__ticket_seq".to_owned(),
        "SELECT nextval('app_other.app_other__ticket_seq')".to_owned(),
        "CALL app_other.app_other__purge()".to_owned(),
        "INSERT INTO app_other.app_other__secrets VALUES (9, 'x')".to_owned(),
        "UPDATE app_other.app_other__secrets SET secret = 'x'".to_owned(),
        "DELETE FROM app_other.app_other__secrets".to_owned(),
        "TRUNCATE app_other.app_other__secrets".to_owned(),
        "DROP TABLE app_other.app_other__secrets".to_owned(),
        "LOCK TABLE app_other.app_other__secrets".to_owned(),
        "ALTER TABLE app_other.app_other__secrets ADD COLUMN x int".to_owned(),
        "CREATE TABLE app_other.planted (id int)".to_owned(),
        "CREATE TABLE app_demo.app_demo__fk (id int REFERENCES app_other.app_other__secrets (id))".to_owned(),
        "CREATE TABLE app_demo.app_demo__child () INHERITS (app_other.app_other__customers)".to_owned(),
        "CREATE VIEW app_demo.app_demo__peep AS SELECT * FROM app_other.app_other__secrets".to_owned(),
        "CREATE TABLE app_demo.app_demo__t AS SELECT * FROM app_other.app_other__secrets".to_owned(),
        "CREATE TRIGGER t AFTER INSERT ON app_demo.app_demo__scratch FOR EACH ROW EXECUTE FUNCTION app_other.app_other__trg()".to_owned(),
        "COMMENT ON TABLE app_other.app_other__secrets IS 'x'".to_owned(),
        "SELECT query_to_xml('select * from app_other.app_other__secrets', true, false, '')".to_owned(),
        "SELECT table_to_xml('app_other.app_other__secrets', true, false, '')".to_owned(),
        "SELECT schema_to_xml('app_other', true, false, '')".to_owned(),
        "SELECT database_to_xml(true, false, '')".to_owned(),
        "SELECT ts_stat('select tsv from app_other.app_other__docs')".to_owned(),
        "COPY app_other.app_other__secrets TO STDOUT".to_owned(),
        // The platform's.
        "SELECT * FROM public.cp_tenants".to_owned(),
        "SELECT * FROM opg.workspaces".to_owned(),
        "CREATE TABLE public.planted (id int)".to_owned(),
        "CREATE SCHEMA planted".to_owned(),
        "CREATE TEMP TABLE planted (id int)".to_owned(),
        "SELECT rolpassword FROM pg_authid".to_owned(),
        "SELECT * FROM pg_shadow".to_owned(),
        "SELECT * FROM pg_statistic".to_owned(),
        "SELECT * FROM pg_hba_file_rules".to_owned(),
        "UPDATE pg_class SET relname = 'x' WHERE relname = 'app_other__secrets'".to_owned(),
        // Code, and what runs it.
        "CREATE FUNCTION app_demo.f() RETURNS int LANGUAGE sql AS 'select 1'".to_owned(),
        "CREATE FUNCTION app_demo.f() RETURNS int LANGUAGE plpgsql AS 'begin return 1; end'".to_owned(),
        "CREATE FUNCTION app_demo.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'select 1'".to_owned(),
        "CREATE FUNCTION app_demo.f(int) RETURNS int LANGUAGE internal AS 'int4pl'".to_owned(),
        "CREATE FUNCTION app_demo.f(int) RETURNS int LANGUAGE c AS '/lib/x86_64-linux-gnu/libc.so.6', 'system'".to_owned(),
        "CREATE PROCEDURE app_demo.p() LANGUAGE sql AS 'select 1'".to_owned(),
        "DO 'begin null; end'".to_owned(),
        "DO LANGUAGE plpgsql 'begin null; end'".to_owned(),
        "CREATE EXTENSION dblink".to_owned(),
        "CREATE EXTENSION postgres_fdw".to_owned(),
        "CREATE EXTENSION file_fdw".to_owned(),
        "CREATE EXTENSION plpython3u".to_owned(),
        "CREATE LANGUAGE plpython3u".to_owned(),
        "SELECT dblink('dbname=postgres', 'select 1')".to_owned(),
        "SELECT dblink_connect('dbname=postgres')".to_owned(),
        "LOAD '/tmp/x.so'".to_owned(),
        "CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION suppress_redundant_updates_trigger()".to_owned(),
        "CREATE PUBLICATION p FOR ALL TABLES".to_owned(),
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p".to_owned(),
        "CREATE FOREIGN DATA WRAPPER w".to_owned(),
        "CREATE CAST (text AS int4) WITH INOUT".to_owned(),
        // The machine.
        "SELECT pg_read_file('/etc/passwd')".to_owned(),
        "SELECT pg_read_binary_file('/etc/passwd')".to_owned(),
        "SELECT pg_ls_dir('/')".to_owned(),
        "SELECT pg_stat_file('/etc/passwd')".to_owned(),
        "SELECT lo_import('/etc/passwd')".to_owned(),
        "SELECT lo_export(1, '/tmp/opg-planted')".to_owned(),
        "COPY app_demo.app_demo__scratch FROM '/etc/passwd'".to_owned(),
        "COPY (SELECT 1) TO '/tmp/opg-planted'".to_owned(),
        "COPY app_demo.app_demo__scratch FROM PROGRAM 'id'".to_owned(),
        "COPY (SELECT 1) TO PROGRAM 'id'".to_owned(),
        // The server.
        "CREATE DATABASE planted".to_owned(),
        "CREATE TABLESPACE planted LOCATION '/tmp'".to_owned(),
        "ALTER SYSTEM SET statement_timeout = 0".to_owned(),
        "SELECT pg_reload_conf()".to_owned(),
        "SELECT pg_rotate_logfile()".to_owned(),
        "SELECT pg_switch_wal()".to_owned(),
        "SELECT pg_create_restore_point('x')".to_owned(),
        "SELECT pg_promote()".to_owned(),
        "CHECKPOINT".to_owned(),
        "SET session_replication_role = replica".to_owned(),
        "SET temp_file_limit = -1".to_owned(),
        "SET log_statement = 'all'".to_owned(),
        format!("SELECT pg_terminate_backend(pid) FROM (SELECT {} AS pid) x", backend(&mut admin).await),
        format!("SELECT pg_cancel_backend({})", backend(&mut admin).await),
    ];
    let mut let_through = vec![];
    for role in [&own.reader, &own.owner] {
        let mut login = Login::of(&fixture.app, role).await;
        for sql in &statements {
            let (seen, result) = login.send_and_undo(sql).await;
            assert_eq!(leak(sql, &seen), None, "{role}: {sql}");
            if result.is_ok() {
                let_through.push(format!("{role}: {sql}"));
            }
        }
        // Other databases of the server.
        let control =
            texts(&mut fixture.app.owner().await, "select current_database()::text").await.remove(0);
        for database in [control.as_str(), "postgres", "template1"] {
            let refused = connect(&login.options.clone().database(database)).await.map(drop);
            let code =
                refused.map_err(|error| error.as_database_error().and_then(|e| e.code().map(String::from)));
            assert_eq!(code, Err(Some("42501".to_owned())), "{role} gets into {database}");
        }
    }
    assert!(let_through.is_empty(), "{let_through:#?}");
    assert_eq!(texts(&mut admin, "select 'alive'").await, ["alive"]);
    let changed = changes(&before, &fixture.state(&mut admin, true).await);
    let changed: Vec<_> = changed.into_iter().filter(|change| !change.starts_with("role ")).collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

/// The process of a connection.
async fn backend(conn: &mut PgConnection) -> String {
    texts(conn, "select pg_backend_pid()::text").await.remove(0)
}

#[tokio::test]
async fn m146_what_the_platform_tells_an_apps_login_is_of_its_own_schema_alone() {
    let fixture = start().await;
    let Fixture { own, theirs, .. } = &fixture;
    for (role, schema, foreign) in
        [(&own.reader, "app_demo", "app_other"), (&theirs.owner, "app_other", "app_demo")]
    {
        let mut login = Login::of(&fixture.app, role).await;
        for set_up in [
            "",
            "SET search_path = app_other, app_demo, public;",
            "SET ROLE NONE;",
            "SET row_security = off;",
        ] {
            let asked = format!("{set_up} SELECT opg.relations(true); SELECT opg.own_usage()");
            let (seen, result) = login.send_and_undo(&asked).await;
            assert_eq!(result, Ok(()), "{asked}");
            assert!(seen.contains(&format!("{schema}__customers")), "{asked}: {seen}");
            assert!(!seen.contains(foreign) && leak(&asked, &seen).is_none(), "{asked}: {seen}");
        }
        for asked in
            ["SELECT opg.own_workspace()", "SELECT opg.fence_definitions()", "SELECT * FROM opg.workspaces"]
        {
            assert!(login.send_and_undo(asked).await.1.is_err(), "{asked}");
        }
    }
}

#[tokio::test]
async fn m144_without_the_parser_a_reader_changes_nothing_at_all() {
    let fixture = start().await;
    let mut admin = apps(&fixture.app).await;
    let mut reader = Login::of(&fixture.app, &fixture.own.reader).await;
    let before = fixture.state(&mut admin, true).await;
    for sql in [
        "INSERT INTO app_demo.app_demo__scratch VALUES (3, 'x')",
        "UPDATE app_demo.app_demo__scratch SET v = 'x'",
        "DELETE FROM app_demo.app_demo__scratch",
        "TRUNCATE app_demo.app_demo__scratch",
        "WITH d AS (DELETE FROM app_demo.app_demo__scratch RETURNING *) SELECT * FROM d",
        "MERGE INTO app_demo.app_demo__scratch s USING app_demo.app_demo__tree t ON s.id = t.id WHEN MATCHED THEN DELETE",
        "SELECT * FROM app_demo.app_demo__scratch FOR UPDATE",
        "CREATE TABLE app_demo.app_demo__new (id int)",
        "SELECT * INTO app_demo.app_demo__new FROM app_demo.app_demo__scratch",
        "CREATE VIEW app_demo.app_demo__new AS SELECT 1 AS one",
        "CREATE INDEX ON app_demo.app_demo__scratch (v)",
        "ALTER TABLE app_demo.app_demo__scratch ADD COLUMN x int",
        "DROP TABLE app_demo.app_demo__scratch",
        "GRANT ALL ON app_demo.app_demo__scratch TO PUBLIC",
        "COMMENT ON TABLE app_demo.app_demo__scratch IS 'x'",
        "SELECT nextval('app_demo.app_demo__ticket_seq')",
        "SELECT setval('app_demo.app_demo__ticket_seq', 99)",
        "REFRESH MATERIALIZED VIEW app_demo.app_demo__mv_daily",
        "SELECT lo_create(0)",
    ] {
        for sql in [
            sql.to_owned(),
            format!("SET default_transaction_read_only = off; SET TRANSACTION READ WRITE; {sql}"),
        ] {
            let result = reader.send_and_undo(&sql).await.1;
            assert!(result.is_err(), "{sql}");
            // Not undone either.
            drop(reader.send(&sql).await);
            drop(reader.send("DISCARD ALL").await);
        }
    }
    assert_eq!(changes(&before, &fixture.state(&mut admin, true).await), Vec::<String>::new());
    let (seen, result) = reader.send("SELECT v FROM app_demo.app_demo__scratch ORDER BY id").await;
    assert_eq!((seen.as_str(), result), ("one\ntwo\n", Ok(())), "what it is for, it can do");
}

#[tokio::test]
async fn m157_an_apps_logins_have_few_connections_and_a_password_nobody_knows() {
    let fixture = start().await;
    let Workspace { owner, .. } = &fixture.own;
    let options = fixture.app.running.app.server.apps_admin().username(owner);
    for password in ["", owner.as_str(), "demo", "password"] {
        assert!(connect(&options.clone().password(password)).await.is_err(), "{password:?} opens it");
    }
    let mut admin = apps(&fixture.app).await;
    let stored = format!("select rolpassword from pg_authid where rolname = '{owner}'");
    assert!(texts(&mut admin, &stored).await[0].starts_with("SCRAM-SHA-256$"));
    let login = Login::of(&fixture.app, owner).await;
    let mut open = vec![];
    let refused = loop {
        match connect(&login.options).await {
            Ok(conn) => open.push(conn),
            Err(error) => break error,
        }
        assert!(open.len() < 30, "it takes as many connections as it likes");
    };
    assert_eq!(refused.as_database_error().and_then(|e| e.code()).as_deref(), Some("53300"), "{refused}");
    for conn in open {
        drop(conn.close().await);
    }
    let neighbour = fixture.other.rows("SELECT 1 AS one").await;
    assert_eq!(neighbour, serde_json::json!([{ "one": 1 }]));
}
