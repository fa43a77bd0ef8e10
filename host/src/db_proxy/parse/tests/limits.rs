//! What is too much, and that none of it harms the process.

use super::super::limits::DEPTH_MAX;
use super::super::{PARAMS_MAX, SQL_BYTES_MAX, STATEMENTS_MAX, walk};
use super::*;
use pg_query::{Node, NodeEnum, protobuf as pg};

#[test]
fn too_much_is_refused_by_name() {
    let long = format!("SELECT '{}'", "x".repeat(SQL_BYTES_MAX));
    assert_eq!(query(&long).unwrap_err().kind.code(), "sql_too_long");
    let fits = format!("SELECT '{}'", "x".repeat(SQL_BYTES_MAX - 9));
    assert!(query(&fits).is_ok());

    let statement = "DELETE FROM app_demo__a WHERE x;";
    assert!(execute(&statement.repeat(STATEMENTS_MAX)).is_ok());
    let refused = execute(&statement.repeat(STATEMENTS_MAX + 1)).unwrap_err();
    assert_eq!(refused.kind.code(), "too_many_statements");
    assert_eq!(query("SELECT 1; SELECT 2").unwrap_err().kind.code(), "too_many_statements");

    assert!(query(&format!("SELECT ${PARAMS_MAX}")).is_ok());
    for sql in [format!("SELECT ${}", PARAMS_MAX + 1), "SELECT $0".to_owned()] {
        assert_eq!(query(&sql).unwrap_err().kind.code(), "too_complex");
    }
}

#[test]
fn nothing_is_not_a_statement() {
    for sql in ["", "  ", ";", ";;", "-- SELECT 1", "/* */"] {
        assert_eq!(query(sql).unwrap_err().kind, RefusedKind::Syntax, "{sql}");
        assert_eq!(execute(sql).unwrap_err().kind, RefusedKind::Syntax, "{sql}");
    }
    assert_eq!(query("SELECT 1\0").unwrap_err().kind, RefusedKind::Syntax);
}

#[test]
fn a_name_that_the_server_would_cut_off_is_refused() {
    let own = format!("app_demo__{}", "x".repeat(60));
    for sql in [
        format!("SELECT * FROM {own}"),
        format!("SELECT * FROM \"{own}\""),
        format!("SELECT * FROM U&\"{own}\""),
        format!("SELECT 1 AS {own}"),
        format!("WITH {own} AS (SELECT 1) SELECT * FROM {own}y"),
        format!("SELECT * FROM app_demo__{}", "é".repeat(27)),
        format!("SELECT * FROM app_demo__x{}", "é".repeat(27)),
        format!("SELECT * FROM app_demo__{}", "🚀".repeat(20)),
    ] {
        assert_eq!(query(&sql).unwrap_err().kind, RefusedKind::Complexity, "{sql}");
    }
    assert!(query(&format!("SELECT * FROM \"app_demo__{}\"", "x".repeat(53))).is_ok());
}

/// Each fills the text with one more way to nest.
#[test]
fn deep_nesting_is_refused_and_harms_nothing() {
    let nested = |open: &str, middle: &str, close: &str| {
        let times = (SQL_BYTES_MAX - 100) / (open.len() + close.len());
        format!("SELECT {}{middle}{}", open.repeat(times), close.repeat(times))
    };
    for sql in [
        nested("NOT ", "true", ""),
        nested("- ", "1", ""),
        nested("", "1", "+1"),
        nested("", "1", "::int"),
        nested("", "1", " IS NULL"),
        nested("", "'a'", " COLLATE \"C\""),
        nested("ARRAY[", "1", "]"),
        nested("(", "1", ").a"),
        nested("abs(", "1", ")"),
        nested("(SELECT ", "1", ")"),
        nested("CASE WHEN true THEN ", "1", " END"),
        nested("coalesce(", "1", ")"),
        nested("ROW(", "1", ")"),
        nested("", "1", " UNION SELECT 1"),
        nested("JSON_ARRAY(", "1", ")"),
        nested("1 IN (", "1", ")"),
        nested("EXISTS (SELECT ", "1", ")"),
        nested("* FROM (SELECT ", "1", ") x"),
        nested("1 GROUP BY GROUPING SETS (", "1", ")").replace("(1 GROUP BY GROUPING SETS", "(GROUPING SETS"),
        nested("1 FROM ", "a", " JOIN a ON true"),
        format!("WITH {}", "a AS (WITH ".repeat(2000)),
        nested("(VALUES (", "1", "))"),
        nested("(", "1", ")"),
    ] {
        let refused = guarded(&sql, Mode::Query).err().map(|refused| refused.kind);
        assert!(
            matches!(refused, Some(RefusedKind::Complexity | RefusedKind::Syntax)),
            "{}: {refused:?}",
            &sql[..60]
        );
    }
}

#[test]
fn parentheses_alone_leave_nothing_in_the_tree() {
    let sql = format!("SELECT {}1{}", "(".repeat(2000), ")".repeat(2000));
    assert!(guarded(&sql, Mode::Query).is_ok());
}

#[test]
fn a_long_list_is_not_nesting() {
    let list = |item: &str, separator: &str, count| vec![item; count].join(separator);
    for sql in [
        format!("SELECT 1 WHERE 1 IN ({})", list("1", ",", 5000)),
        format!("SELECT 1 WHERE {}", list("1=1", " AND ", 1000)),
        format!("SELECT {}", list("1 AS c", ",", 1600)),
        format!("VALUES {}", list("(1,2,3)", ",", 2000)),
        format!("SELECT a{} FROM app_demo__a", list("[1]", "", 1000)),
        list("SELECT 1", " UNION ALL ", 30),
    ] {
        assert!(guarded(&sql, Mode::Query).is_ok(), "{}", &sql[..60]);
    }
}

/// The decoder stops earlier: only a tree made by hand gets this far.
#[test]
fn the_walk_stops_by_itself() {
    let negated = |node| {
        NodeEnum::BoolExpr(Box::new(pg::BoolExpr {
            args: vec![Node { node: Some(node) }],
            ..Default::default()
        }))
    };
    let nested = |times| {
        let condition = (0..times)
            .fold(NodeEnum::ParamRef(pg::ParamRef { number: 1, location: 0 }), |node, _| negated(node));
        let select = pg::SelectStmt {
            where_clause: Some(Box::new(Node { node: Some(condition) })),
            ..Default::default()
        };
        walk::statement(&Node { node: Some(NodeEnum::SelectStmt(Box::new(select))) }, &demo(), Mode::Query)
            .map(|found| found.params)
            .map_err(|refused| refused.kind)
    };
    assert_eq!(nested(DEPTH_MAX - 2), Ok(1));
    assert_eq!(nested(DEPTH_MAX - 1), Err(RefusedKind::Complexity));
}

/// A newer grammar's node arrives as one without content.
#[test]
fn a_node_that_is_not_known_is_refused() {
    let unknown = Node { node: None };
    let select = pg::SelectStmt { where_clause: Some(Box::new(unknown.clone())), ..Default::default() };
    let select = Node { node: Some(NodeEnum::SelectStmt(Box::new(select))) };
    for node in [&unknown, &select] {
        assert!(walk::statement(node, &demo(), Mode::Query).is_err());
        assert!(walk::statement(node, &demo(), Mode::Execute).is_err());
    }
}
