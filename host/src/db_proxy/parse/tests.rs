//! What may pass, what may not, and what is said about it.

mod attacks;
mod generated;
mod legitimate;
mod limits;

use super::{Mode, Namespace, Parsed, Refused, RefusedKind, Statement, parse};
use std::collections::BTreeSet;

fn demo() -> Namespace {
    Namespace::of_slug("demo")
}

/// Parses on a stack like the pool's, which is larger than a test's.
fn guarded(sql: &str, mode: Mode) -> Result<Parsed, Refused> {
    let sql = sql.to_owned();
    std::thread::Builder::new()
        .stack_size(super::limits::STACK_BYTES)
        .spawn(move || parse(&sql, &demo(), mode))
        .unwrap()
        .join()
        .unwrap()
}

fn query(sql: &str) -> Result<Parsed, Refused> {
    parse(sql, &demo(), Mode::Query)
}

fn execute(sql: &str) -> Result<Parsed, Refused> {
    parse(sql, &demo(), Mode::Execute)
}

/// The only statement of `sql`, in the mode it belongs to.
fn one(sql: &str) -> Statement {
    let parsed = query(sql).or_else(|_| execute(sql)).unwrap_or_else(|refused| panic!("{sql}: {refused}"));
    assert_eq!(parsed.statements.len(), 1, "{sql}");
    parsed.statements.into_iter().next().unwrap()
}

fn names(set: &BTreeSet<String>) -> Vec<&str> {
    set.iter().map(String::as_str).collect()
}

fn codes(sql: &str) -> Vec<&'static str> {
    one(sql).warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn a_slug_becomes_a_prefix_and_a_schema() {
    let namespace = Namespace::of_slug("my-app");
    assert_eq!((namespace.as_str(), namespace.schema()), ("app_my_app__", "app_my_app"));
}

#[test]
fn a_name_is_inside_when_it_is_longer_than_the_prefix_and_fits() {
    for (name, inside) in [
        ("app_demo__x", true),
        ("app_demo__", false),
        ("app_demo_x", false),
        ("APP_DEMO__x", false),
        ("appXdemoYYx", false),
        ("app_demo2__x", false),
        ("xapp_demo__x", false),
    ] {
        assert_eq!(demo().owns(name), inside, "{name}");
    }
    assert!(demo().owns(&format!("app_demo__{}", "x".repeat(53))));
    assert!(!demo().owns(&format!("app_demo__{}", "x".repeat(54))));
}

/// A statement, its kind, and what it reads, writes and defines.
type Touches<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str]);

#[test]
fn a_statement_tells_what_it_reads_writes_and_defines() {
    let cases: &[Touches<'_>] = &[
        (
            "SELECT * FROM app_demo__a, (SELECT 1 FROM app_demo__b) x",
            "select",
            &["app_demo__a", "app_demo__b"],
            &[],
            &[],
        ),
        ("WITH a AS (SELECT * FROM app_demo__a) SELECT * FROM a", "select", &["app_demo__a"], &[], &[]),
        (
            "INSERT INTO app_demo__a SELECT * FROM app_demo__b",
            "insert",
            &["app_demo__b"],
            &["app_demo__a"],
            &[],
        ),
        ("INSERT INTO app_demo__a VALUES (1) RETURNING *", "insert", &["app_demo__a"], &["app_demo__a"], &[]),
        ("UPDATE app_demo__a SET x = 1", "update", &[], &["app_demo__a"], &[]),
        ("UPDATE app_demo__a SET x = 1 WHERE y = 2", "update", &["app_demo__a"], &["app_demo__a"], &[]),
        (
            "DELETE FROM app_demo__a USING app_demo__b WHERE true",
            "delete",
            &["app_demo__a", "app_demo__b"],
            &["app_demo__a"],
            &[],
        ),
        (
            "MERGE INTO app_demo__a USING app_demo__b ON true WHEN MATCHED THEN DELETE",
            "merge",
            &["app_demo__a", "app_demo__b"],
            &["app_demo__a"],
            &[],
        ),
        (
            "WITH g AS (DELETE FROM app_demo__a RETURNING *) INSERT INTO app_demo__b SELECT * FROM g",
            "insert",
            &["app_demo__a"],
            &["app_demo__a", "app_demo__b"],
            &[],
        ),
        ("TRUNCATE app_demo__a, app_demo__b", "truncate", &[], &["app_demo__a", "app_demo__b"], &[]),
        (
            "CREATE TABLE app_demo__a (id int REFERENCES app_demo__b)",
            "create_table",
            &["app_demo__b"],
            &[],
            &["app_demo__a"],
        ),
        (
            "CREATE TABLE app_demo__a AS SELECT * FROM app_demo__b",
            "create_table_as",
            &["app_demo__b"],
            &[],
            &["app_demo__a"],
        ),
        (
            "CREATE INDEX app_demo__i ON app_demo__a (x)",
            "create_index",
            &[],
            &[],
            &["app_demo__a", "app_demo__i"],
        ),
        (
            "CREATE VIEW app_demo__v AS SELECT * FROM app_demo__a",
            "create_view",
            &["app_demo__a"],
            &[],
            &["app_demo__v"],
        ),
        ("CREATE SEQUENCE app_demo__s", "create_sequence", &[], &[], &["app_demo__s"]),
        (
            "ALTER TABLE app_demo__a ADD FOREIGN KEY (x) REFERENCES app_demo__b",
            "alter_table",
            &["app_demo__b"],
            &[],
            &["app_demo__a"],
        ),
        (
            "ALTER TABLE app_demo__a RENAME TO app_demo__b",
            "rename",
            &[],
            &[],
            &["app_demo__a", "app_demo__b"],
        ),
        ("DROP VIEW app_demo__v", "drop", &[], &[], &["app_demo__v"]),
        ("COMMENT ON COLUMN app_demo__a.x IS 'y'", "comment", &[], &[], &["app_demo__a"]),
        ("ANALYZE app_demo__a", "analyze", &[], &[], &["app_demo__a"]),
        (
            "INSERT INTO app_demo__a VALUES (nextval('app_demo__s'))",
            "insert",
            &[],
            &["app_demo__a", "app_demo__s"],
            &[],
        ),
        (
            "CREATE TABLE app_demo__a (x int DEFAULT nextval('app_demo__s'))",
            "create_table",
            &["app_demo__s"],
            &[],
            &["app_demo__a"],
        ),
    ];
    for (sql, kind, reads, writes, defines) in cases {
        let statement = one(sql);
        assert_eq!(statement.kind.name(), *kind, "{sql}");
        assert_eq!(names(&statement.reads), *reads, "reads of {sql}");
        assert_eq!(names(&statement.writes), *writes, "writes of {sql}");
        assert_eq!(names(&statement.defines), *defines, "defines of {sql}");
    }
}

#[test]
fn a_statement_is_cut_out_of_a_text_with_comments_and_wide_characters() {
    let sql = "/* é */ INSERT INTO app_demo__a VALUES ('é;ü') -- done; é\n;;\n\n -- 東京\n DELETE FROM app_demo__a WHERE x = '🚀' /* b */ ; -- end";
    let statements = execute(sql).unwrap().statements;
    let texts: Vec<_> = statements.iter().map(|statement| &sql[statement.text.clone()]).collect();
    assert_eq!(texts, ["INSERT INTO app_demo__a VALUES ('é;ü')", "DELETE FROM app_demo__a WHERE x = '🚀'"]);
}

#[test]
fn what_is_logged_has_no_values_and_no_comments() {
    for (sql, logged) in [
        (
            "INSERT INTO app_demo__a /* s3cret */ VALUES ('s3cret',  42, 4.2, E'\\x', $1, B'1', X'1f', $$s3cret$$) -- s3cret",
            "INSERT INTO app_demo__a VALUES (?, ?, ?, ?, $1, ?, ?, ?)",
        ),
        (
            "CREATE TABLE app_demo__a (x varchar(20) DEFAULT 's3cret' CHECK (x <> U&'s3cret'))",
            "CREATE TABLE app_demo__a (x varchar(?) DEFAULT ? CHECK (x <> ?))",
        ),
        ("COMMENT ON TABLE app_demo__a IS 's3cret'", "COMMENT ON TABLE app_demo__a IS ?"),
        ("SELECT 1 AS \"a b\" WHERE N's3cret' = 'x'\n'y'", "SELECT ? AS \"a b\" WHERE N? = ?"),
    ] {
        assert_eq!(one(sql).normalized, logged);
    }
}

#[test]
fn the_highest_parameter_is_counted_wherever_it_stands() {
    for (sql, params) in [
        ("SELECT 1", 0),
        ("SELECT $1, $3 FROM app_demo__a LIMIT $2", 3),
        ("WITH a AS (SELECT $7::int) SELECT * FROM a", 7),
        ("UPDATE app_demo__a SET x = $1 WHERE y = ANY($2)", 2),
    ] {
        assert_eq!(one(sql).params, params, "{sql}");
    }
}

#[test]
fn dangerous_shapes_are_warned_about() {
    let cases: &[(&str, &[&str])] = &[
        ("UPDATE app_demo__a SET x = 1", &["update_without_where"]),
        ("UPDATE app_demo__a SET x = 1 WHERE y", &[]),
        ("DELETE FROM app_demo__a -- WHERE x", &["delete_without_where"]),
        ("DELETE FROM app_demo__a WHERE x = 'DROP TABLE'", &[]),
        ("TRUNCATE app_demo__a CASCADE", &["truncate", "cascade"]),
        ("DROP TABLE app_demo__a CASCADE", &["drop", "cascade"]),
        ("ALTER TABLE app_demo__a DROP COLUMN x", &["drop_column"]),
        ("ALTER TABLE app_demo__a ALTER x TYPE smallint", &["column_type_change"]),
        ("ALTER TABLE app_demo__a DROP CONSTRAINT c CASCADE", &["cascade", "drop_constraint"]),
        ("ALTER TABLE app_demo__a ALTER x SET NOT NULL", &["set_not_null"]),
        ("ALTER TABLE app_demo__a ADD x int NOT NULL", &["not_null_without_default"]),
        ("ALTER TABLE app_demo__a ADD x int NOT NULL DEFAULT 0, ADD y bigserial NOT NULL", &[]),
        ("ALTER TABLE app_demo__a ADD x int GENERATED ALWAYS AS IDENTITY PRIMARY KEY", &[]),
        ("CREATE TABLE app_demo__a (x int)", &["no_primary_key"]),
        ("CREATE TABLE app_demo__a (x int PRIMARY KEY)", &[]),
        ("CREATE TABLE app_demo__a (x int, y int, PRIMARY KEY (x, y))", &[]),
        ("CREATE TABLE app_demo__a (LIKE app_demo__b INCLUDING ALL)", &[]),
        ("CREATE UNLOGGED TABLE app_demo__a (x int PRIMARY KEY)", &["unlogged"]),
        (
            "INSERT INTO app_demo__a VALUES (nextval('app_demo__s'), nextval('app_demo__s'))",
            &["sequence_advance"],
        ),
        ("SELECT 'DELETE FROM x' -- TRUNCATE", &[]),
    ];
    for (sql, expected) in cases {
        assert_eq!(codes(sql), *expected, "{sql}");
    }
}

#[test]
fn a_foreign_name_gets_the_same_answer_whether_it_exists_or_not() {
    let message = |name: &str| query(&format!("SELECT * FROM {name}")).unwrap_err().message;
    assert_eq!(
        message("app_other__secrets"),
        "relation `app_other__secrets` is not in this app's namespace; name it `app_demo__…`"
    );
    assert_eq!(message("app_other__nope"), message("app_other__secrets").replace("secrets", "nope"));
    assert_eq!(query("SELECT * FROM app_other__x").unwrap_err().kind.code(), "namespace_violation");
}

#[test]
fn a_message_shows_hidden_characters_and_little_of_the_text() {
    let message = query("SELECT * FROM \"a\u{200b}b\nc\u{202e}\"").unwrap_err().message;
    assert!(message.starts_with("relation `a\\u{200b}b\\u{a}c\\u{202e}` is not"), "{message}");
    let long = format!("SELECT '{}' FROM FROM", "x".repeat(5000));
    assert!(query(&long).unwrap_err().message.len() < 500);
    let long = format!("SELECT '{}", "x".repeat(5000));
    assert!(query(&long).unwrap_err().message.len() < 500);
}

#[test]
fn a_syntax_error_says_where_in_characters() {
    for (sql, message) in [
        ("SELEC 1", "syntax error at or near \"SELEC\" (character 1); correct the statement"),
        (
            "SELECT 'é', é FROM FROM x",
            "syntax error at or near \"FROM\" (character 20); correct the statement",
        ),
        ("SELECT 1 FROM", "syntax error at end of input (character 14); correct the statement"),
        ("SELECT 'é", "unterminated quoted string at or near \"'é\" (character 8); correct the statement"),
        (
            "SELECT 1 /* WHERE */ WHERE WHERE",
            "syntax error at or near \"WHERE\" (character 28); correct the statement",
        ),
    ] {
        let refused = query(sql).unwrap_err();
        assert_eq!((refused.kind, refused.message.as_str()), (RefusedKind::Syntax, message));
    }
}

#[test]
fn each_mode_names_the_other() {
    let refused = execute("SELECT 1").unwrap_err();
    assert_eq!(refused.message, "a SELECT changes nothing; use `query`");
    let refused = query("DELETE FROM app_demo__a").unwrap_err();
    assert!(refused.message.contains("use `execute`"), "{refused}");
}

#[tokio::test]
async fn the_pool_answers_many_at_once() {
    let parser = super::Parser::start().unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|index| {
            let parser = parser.clone();
            tokio::spawn(async move {
                let sql = format!("SELECT ${} FROM app_demo__a", index + 1);
                parser.parse(sql, demo(), Mode::Query).await.unwrap().statements[0].params
            })
        })
        .collect();
    for (index, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap(), u32::try_from(index).unwrap() + 1);
    }
}

/// PostgreSQL calls functions through field notation, also on plain values
/// and on rows of functions, but not on rows of tables and queries.
#[test]
fn a_field_is_refused_where_it_would_call_a_function() {
    for (sql, passes) in [
        ("SELECT ('x'::text).to_regclass", false),
        ("SELECT (x).to_regclass FROM app_demo__a", false),
        ("SELECT f.to_regclass FROM unnest(ARRAY['x']) f", false),
        ("SELECT unnest.to_regclass FROM unnest(ARRAY['x'])", false),
        ("SELECT (SELECT f.to_regclass) FROM unnest(ARRAY['x']) f", false),
        ("SELECT a.to_regclass FROM app_demo__a a", true),
        ("SELECT a.to_regclass FROM app_demo__a a, unnest(ARRAY['x']) f", true),
        ("SELECT v.to_regclass FROM (VALUES (1)) v(to_regclass)", true),
        ("SELECT f.name FROM unnest(ARRAY['x']) f(name)", true),
        ("SELECT (x).upper, (x).name FROM app_demo__a", true),
    ] {
        assert_eq!(query(sql).is_ok(), passes, "{sql}");
    }
}
