//! Statements and texts that nobody wrote.

use super::*;
use proptest::prelude::*;

/// Where a relation can stand; `{}` is the relation.
const POSITIONS: [&str; 48] = [
    "SELECT * FROM {}",
    "TABLE {}",
    "SELECT x.* FROM {} AS x",
    "SELECT * FROM ONLY {}",
    "SELECT * FROM app_demo__a, {}",
    "SELECT * FROM app_demo__a NATURAL JOIN {}",
    "SELECT * FROM app_demo__a LEFT JOIN ({} x JOIN app_demo__b ON true) ON true",
    "SELECT * FROM app_demo__a, LATERAL (SELECT * FROM {}) x",
    "SELECT * FROM {} TABLESAMPLE SYSTEM (1)",
    "SELECT (SELECT count(*) FROM {})",
    "SELECT ARRAY(SELECT 1 FROM {})",
    "SELECT 1 WHERE EXISTS (TABLE {})",
    "SELECT 1 WHERE 1 = ANY (SELECT 1 FROM {})",
    "SELECT 1 WHERE 1 IN (SELECT 1 FROM {})",
    "SELECT 1 GROUP BY (SELECT 1 FROM {})",
    "SELECT 1 GROUP BY ROLLUP ((SELECT 1 FROM {}))",
    "SELECT 1 HAVING (SELECT true FROM {})",
    "SELECT 1 ORDER BY (SELECT 1 FROM {})",
    "SELECT 1 LIMIT (SELECT 1 FROM {})",
    "SELECT 1 OFFSET (SELECT 1 FROM {})",
    "SELECT sum(1) FILTER (WHERE (SELECT true FROM {})) FROM app_demo__a",
    "SELECT sum(1) OVER (PARTITION BY (SELECT 1 FROM {})) FROM app_demo__a",
    "SELECT sum(1) OVER w FROM app_demo__a WINDOW w AS (ORDER BY (SELECT 1 FROM {}))",
    "SELECT CASE WHEN true THEN (SELECT 1 FROM {}) END",
    "SELECT coalesce((SELECT 1 FROM {}), greatest(1, 2))",
    "SELECT ((SELECT ARRAY[1] FROM {}))[1]",
    "SELECT JSON_OBJECT('a': (SELECT 1 FROM {}))",
    "SELECT JSON_ARRAY(SELECT 1 FROM {})",
    "SELECT 1 UNION ALL SELECT 1 FROM {}",
    "VALUES ((SELECT 1 FROM {}))",
    "WITH c AS (SELECT * FROM {}) SELECT * FROM c",
    "WITH RECURSIVE c AS (SELECT 1 UNION SELECT 1 FROM c, {}) SELECT * FROM c",
    "SELECT * FROM generate_series(1, (SELECT 1 FROM {})) g",
    "INSERT INTO {} VALUES (1)",
    "INSERT INTO app_demo__a SELECT * FROM {}",
    "INSERT INTO app_demo__a VALUES (1) ON CONFLICT (x) DO UPDATE SET y = (SELECT 1 FROM {})",
    "INSERT INTO app_demo__a VALUES (1) RETURNING (SELECT 1 FROM {})",
    "UPDATE {} SET x = 1 WHERE true",
    "UPDATE app_demo__a SET (x, y) = (SELECT 1, 2 FROM {})",
    "UPDATE app_demo__a SET x = 1 FROM {} WHERE true",
    "DELETE FROM app_demo__a USING {} WHERE true",
    "MERGE INTO app_demo__a USING {} ON true WHEN MATCHED THEN DELETE",
    "TRUNCATE app_demo__a, {}",
    "CREATE TABLE app_demo__n (LIKE {})",
    "CREATE TABLE app_demo__n (x int REFERENCES {})",
    "CREATE VIEW app_demo__n AS SELECT * FROM {}",
    "DROP TABLE app_demo__a, {}",
    "ANALYZE app_demo__a, {}",
];

/// Ways to write a name that is the same name.
fn written(name: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        Just(name.to_owned()),
        Just(format!("\"{name}\"")),
        Just(name.to_ascii_uppercase()),
        Just(format!("U&\"\\{:04x}{}\"", u32::from(name.as_bytes()[0]), &name[1..])),
        Just(format!("/* app_demo__a */\n{name} -- app_demo__a\n")),
    ]
}

fn foreign() -> impl Strategy<Value = String> {
    let names = prop_oneof![
        Just("app_other__secrets"),
        Just("app_demo2__a"),
        Just("app_demo_a"),
        Just("app_demo__"),
        Just("cp_tenants"),
        Just("pg_class"),
        Just("c2"),
    ];
    let schema = prop_oneof![Just(""), Just("public."), Just("\"app_other\" . "), Just("corpus.public.")];
    // An own name in a schema is foreign as well.
    prop_oneof![
        (schema, names.prop_flat_map(written)).prop_map(|(schema, name)| format!("{schema}{name}")),
        written("app_demo__a").prop_map(|name| format!("public.{name}")),
    ]
}

/// Things around a statement that must not change the answer.
fn dressed(sql: String) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(sql.clone()),
        1 => Just(format!("/* /* ; */ */ {sql};")),
        1 => Just(format!("-- '\n{sql} -- app_demo__a")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_foreign_relation_passes_nowhere(
        sql in (0..POSITIONS.len(), foreign())
            .prop_flat_map(|(position, name)| dressed(POSITIONS[position].replace("{}", &name)))
    ) {
        prop_assert!(query(&sql).is_err(), "query: {sql}");
        prop_assert!(execute(&sql).is_err(), "execute: {sql}");
    }

    #[test]
    fn an_own_relation_passes_everywhere_in_one_mode(
        sql in (0..POSITIONS.len(), written("app_demo__a"))
            // Upper case folds in names that are not quoted only.
            .prop_flat_map(|(position, name)| dressed(POSITIONS[position].replace("{}", &name)))
    ) {
        prop_assert!(query(&sql).is_ok() != execute(&sql).is_ok(), "{sql}");
    }

    /// A model of the scopes, for names that are no tables: each is visible in
    /// what follows it, in the same list or inside, and nowhere else.
    #[test]
    fn a_with_query_is_seen_where_the_server_sees_it(names in prop::collection::vec(0..4_usize, 1..5), asked in 0..4_usize, recursive: bool) {
        let list: Vec<_> = names.iter().map(|name| format!("w{name} AS (SELECT * FROM w{asked})")).collect();
        let keyword = if recursive { "RECURSIVE " } else { "" };
        let sql = format!("WITH {keyword}{} SELECT 1", list.join(", "));
        let visible = if recursive { names.contains(&asked) } else { false };
        prop_assert_eq!(query(&sql).is_ok(), visible, "{}", sql);

        let list: Vec<_> = names.iter().map(|name| format!("w{name} AS (SELECT 1)")).collect();
        let sql = format!("WITH {} SELECT (SELECT 1 FROM w{asked})", list.join(", "));
        prop_assert_eq!(query(&sql).is_ok(), names.contains(&asked), "{}", sql);
        let sql = format!("SELECT * FROM (WITH {} SELECT 1) x, w{asked}", list.join(", "));
        prop_assert!(query(&sql).is_err(), "{}", sql);
    }

    #[test]
    fn any_text_gets_an_answer(sql in "\\PC{0,200}") {
        let _ = (query(&sql), execute(&sql));
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let sql = String::from_utf8_lossy(&bytes);
        let _ = (query(&sql), execute(&sql));
    }

    #[test]
    fn any_sequence_of_words_gets_an_answer_within_its_text(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "SELECT", "FROM", "WHERE", "WITH", "AS", "(", ")", ",", "*", "app_demo__a", "x", "1", "'é'", "$1",
                "INSERT", "INTO", "VALUES", "UPDATE", "SET", "=", ";", "--\n", "/*", "*/", "$$", "NOT", "NULL",
                "JOIN", "ON", "::", "int", "[", "]", ".", "CREATE", "TABLE", "DROP", "UNION", "E'\\''", "U&\"a\"",
            ]),
            0..25,
        )
    ) {
        let sql = words.join(" ");
        for parsed in [query(&sql), execute(&sql)].into_iter().flatten() {
            for statement in parsed.statements {
                prop_assert!(sql.get(statement.text).is_some());
                prop_assert!(!statement.normalized.contains('é'));
            }
        }
    }
}
