//! The app's own database, within what the plugin was granted of its tables.
//!
//! ```
//! use opg_guest::*;
//!
//! #[data]
//! struct Order {
//!     id: i64,
//!     total: String,
//! }
//!
//! /// Lists a customer's orders, newest first.
//! #[tool(db("read:orders", "to look orders up"))]
//! fn orders(customer: i64) -> Result<Vec<Order>, Error> {
//!     let orders = db::table("orders");
//!     db::query(&format!("select id, total from {orders} where customer = $1 order by id desc"), (customer,))
//! }
//!
//! let host = testing::Host::new().db("app_test__orders", [json!({"id": 7, "total": "9.90"})]).start();
//! assert_eq!(orders(1).unwrap()[0].total, "9.90");
//! assert_eq!(host.statements()[0].1, [json!(1)]);
//! ```
//!
//! Values travel as parameters, never inside the text: a tuple, a slice or a
//! `Vec` of what serde can write; `()` for none. What comes back is read by
//! serde too: a row is a struct with a field for each column. `bigint` is an
//! `i64`; `numeric` is a `String`, which rounds nothing; `bytea` is base64,
//! times are RFC 3339, both ways.
//!
//! Each call is a transaction of its own. Statements that belong together go
//! into one [`execute()`], separated by `;`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Error;
use crate::host::db as host;

/// Rows the host answers with at the most.
const ROWS_MAX: u32 = 1000;

/// Rows, and what there is to know of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows<T> {
    /// In the order of the statement.
    pub rows: Vec<T>,
    /// The columns of each, in the order of the statement.
    pub columns: Vec<Column>,
    /// Whether there were more rows than were asked for.
    pub truncated: bool,
    /// Values that were too long, of which the beginning is shown.
    pub clipped: Vec<Clipped>,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Column {
    /// Its name; the second `id` is `id_2`.
    pub name: String,
    /// PostgreSQL's name of its type, such as `int8`.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// A value that was too long to be shown whole.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Clipped {
    /// Which row, from 0.
    pub row: usize,
    /// Which column.
    pub column: String,
    /// How long the value is.
    pub bytes: u64,
}

/// What the name of every table of this app starts with, such as `app_demo__`.
/// A plugin does not know the app it will run in.
pub fn namespace() -> String {
    host::namespace()
}

/// A table, view or sequence of this app as statements name it: `customers` is
/// `app_demo__customers`. In quotes where that is needed, so that no name can
/// become something else.
pub fn table(name: &str) -> String {
    named(&namespace(), name)
}

/// All rows of a statement that only reads.
///
/// `Denied` where a table was not granted, `Invalid` where the statement is
/// wrong, `Limit` where there are more than 1000 rows or a value is longer than
/// 64 KiB: what is here is whole. [`rows`] takes what there is.
pub fn query<T: DeserializeOwned>(sql: &str, params: impl Serialize) -> Result<Vec<T>, Error> {
    whole(rows(sql, params, Some(ROWS_MAX))?)
}

/// The first rows of a statement that only reads, `limit` at the most; 100
/// where it is none, 1000 where it is more. Says whether there were more.
pub fn rows<T: DeserializeOwned>(
    sql: &str,
    params: impl Serialize,
    limit: Option<u32>,
) -> Result<Rows<T>, Error> {
    let limit = limit.map(|limit| limit.min(ROWS_MAX));
    let answer = host::query(sql, &list(&params)?, limit).map_err(Error::from_host)?;
    read::<Answer>(&answer)?.typed()
}

/// Changes rows or defines tables, at once, and says how many rows it changed.
/// Several statements are separated by `;`: all of them are done or none. They
/// take no parameters then.
///
/// Errors are those of [`query`], and nothing was changed then; but where the
/// host itself failed (`Unavailable`), it may have been.
pub fn execute(sql: &str, params: impl Serialize) -> Result<u64, Error> {
    Ok(change(sql, &params)?.affected)
}

/// As [`execute()`], and answers with the rows of the last statement that ends
/// with `RETURNING`: the first 100 of them.
pub fn returning<T: DeserializeOwned>(sql: &str, params: impl Serialize) -> Result<Rows<T>, Error> {
    returned(change(sql, &params)?)
}

fn change(sql: &str, params: &impl Serialize) -> Result<Executed, Error> {
    read(&host::execute(sql, &list(params)?).map_err(Error::from_host)?)
}

/// The host's answer to a query, before the rows are what the plugin wants.
#[derive(Deserialize)]
struct Answer {
    columns: Vec<Column>,
    rows: Vec<Map<String, Value>>,
    #[serde(default)]
    truncated: bool,
    #[serde(default)]
    clipped: Vec<Clipped>,
}

/// The host's answer to a change.
#[derive(Deserialize)]
struct Executed {
    affected: u64,
    statements: Vec<Done>,
}

#[derive(Deserialize)]
struct Done {
    #[serde(default)]
    returned: Option<Answer>,
}

impl Answer {
    fn typed<T: DeserializeOwned>(self) -> Result<Rows<T>, Error> {
        let Answer { columns, rows, truncated, clipped } = self;
        let integers: Vec<&str> = columns
            .iter()
            .filter(|column| matches!(column.type_name.as_str(), "int8" | "int8[]"))
            .map(|column| column.name.as_str())
            .collect();
        let one = |(number, mut row): (usize, Map<String, Value>)| {
            for name in &integers {
                if let Some(value) = row.get_mut(*name) {
                    exact(value);
                }
            }
            serde_json::from_value(Value::Object(row)).map_err(|error| {
                Error::failed(format_args!("row {number} of the answer is not what was expected: {error}"))
            })
        };
        let rows = rows.into_iter().enumerate().map(one).collect::<Result<_, _>>()?;
        Ok(Rows { rows, columns, truncated, clipped })
    }
}

/// The host writes 64-bit integers as text, for readers whose numbers are
/// floats. Ours are not.
fn exact(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Ok(number) = text.parse::<i64>() {
                *value = number.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(exact),
        _ => {}
    }
}

fn whole<T>(rows: Rows<T>) -> Result<Vec<T>, Error> {
    if rows.truncated {
        let text = format!("there are more than {ROWS_MAX} rows; add a LIMIT, or read them page by page");
        return Err(Error::Limit(text));
    }
    if let Some(Clipped { row, column, bytes }) = rows.clipped.first() {
        let text = format!(
            "the value of `{column}` in row {row} has {bytes} bytes, which is too long to be shown; select a \
             part of it, such as `left({column}, 10000)`"
        );
        return Err(Error::Limit(text));
    }
    Ok(rows.rows)
}

fn returned<T: DeserializeOwned>(executed: Executed) -> Result<Rows<T>, Error> {
    let made = |problem: &str| Error::failed(format_args!("the change was made, but {problem}"));
    let answer = executed.statements.into_iter().rev().find_map(|done| done.returned);
    let answer = answer.ok_or_else(|| made("it returned no rows; end the statement with RETURNING"))?;
    answer.typed().map_err(|error| made(error.message()))
}

fn read<T: DeserializeOwned>(answer: &str) -> Result<T, Error> {
    serde_json::from_str(answer)
        .map_err(|error| Error::failed(format_args!("the host sent an answer that cannot be read: {error}")))
}

/// Parameters as a JSON array.
fn list(params: &impl Serialize) -> Result<String, Error> {
    let text = serde_json::to_string(params)?;
    match text.as_bytes() {
        [b'[', ..] => Ok(text),
        b"null" => Ok("[]".to_owned()),
        _ => Err(Error::Invalid(
            "the parameters of a statement are a list: `(value,)` for one, `()` for none".to_owned(),
        )),
    }
}

fn named(namespace: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.chars().all(plain) {
        return format!("{namespace}{name}");
    }
    format!("\"{namespace}{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(json: Value) -> Answer {
        read(&json.to_string()).unwrap()
    }

    #[test]
    fn parameters_are_whatever_is_a_list() {
        #[derive(Serialize)]
        struct NoList {
            a: u8,
        }
        assert_eq!(list(&()), Ok("[]".into()));
        assert_eq!(list(&("a\"b", 1, None::<u8>)), Ok(r#"["a\"b",1,null]"#.into()));
        assert_eq!(list(&[1, 2]), Ok("[1,2]".into()));
        assert_eq!(list(&vec![i64::MAX]), Ok("[9223372036854775807]".into()));
        assert_eq!(list(&(["x", "y"],)), Ok(r#"[["x","y"]]"#.into()));
        for error in [list(&"a").unwrap_err(), list(&1).unwrap_err(), list(&NoList { a: 1 }).unwrap_err()] {
            assert_eq!(error.kind(), "invalid");
            assert!(error.message().contains("(value,)"), "{error}");
        }
    }

    #[test]
    fn no_name_of_a_table_becomes_something_else() {
        for (name, named_) in [
            ("customers", "app_demo__customers"),
            ("order_lines_2", "app_demo__order_lines_2"),
            ("Orders", "\"app_demo__Orders\""),
            ("my table", "\"app_demo__my table\""),
            ("x; drop table y", "\"app_demo__x; drop table y\""),
            ("x\" where \"y", "\"app_demo__x\"\" where \"\"y\""),
        ] {
            assert_eq!(named("app_demo__", name), named_);
        }
    }

    #[test]
    fn a_row_is_a_struct_and_a_64_bit_integer_is_a_number() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Row {
            n: i64,
            many: Vec<Option<i64>>,
            price: String,
            note: Option<String>,
        }
        let got = answer(json!({
            "columns": [
                {"name": "n", "type": "int8"},
                {"name": "many", "type": "int8[]"},
                {"name": "price", "type": "numeric"},
                {"name": "note", "type": "text"},
            ],
            "rows": [{"n": "9223372036854775807", "many": ["1", null], "price": "1.10", "note": null}],
            "row_count": 1, "truncated": false, "clipped": [], "ms": 2, "from the future": true,
        }));
        let expected = Row { n: i64::MAX, many: vec![Some(1), None], price: "1.10".into(), note: None };
        assert_eq!(whole(got.typed().unwrap()), Ok(vec![expected]));
    }

    #[test]
    fn a_row_that_is_something_else_says_which_and_why() {
        let got = answer(json!({"columns": [], "rows": [{"a": 1}, {"a": "x"}]}));
        #[derive(Debug, Deserialize)]
        struct Row {
            #[expect(dead_code, reason = "it is read and never looked at")]
            a: u8,
        }
        let error = got.typed::<Row>().unwrap_err();
        assert_eq!(error.kind(), "failed");
        assert!(error.message().starts_with("row 1 of the answer is not what was expected"), "{error}");
    }

    #[test]
    fn a_query_never_gives_a_part_for_the_whole() {
        let more = json!({"columns": [], "rows": [{}], "truncated": true});
        let cut =
            json!({"columns": [], "rows": [{}], "clipped": [{"row": 0, "column": "text", "bytes": 70000}]});
        for (json, word) in [(more, "LIMIT"), (cut, "left(text, 10000)")] {
            let rows = answer(json).typed::<Value>().unwrap();
            assert_eq!(rows.rows.len(), 1, "`rows` gives it");
            let error = whole(rows).unwrap_err();
            assert_eq!(error.kind(), "limit");
            assert!(error.message().contains(word), "{error}");
        }
    }

    #[test]
    fn what_a_change_returned_is_that_of_its_last_statement_that_returns() {
        let executed = |statements: Value| {
            read::<Executed>(&json!({"applied": true, "affected": 2, "statements": statements}).to_string())
                .unwrap()
        };
        let rows = |id: u8| json!({"columns": [{"name": "id", "type": "int4"}], "rows": [{"id": id}]});
        let two = json!([{"index": 0, "returned": rows(1)}, {"index": 1, "returned": rows(2)}, {"index": 2}]);
        assert_eq!(executed(two).affected, 2);
        let two = json!([{"index": 0, "returned": rows(1)}, {"index": 1, "returned": rows(2)}, {"index": 2}]);
        assert_eq!(returned::<Value>(executed(two)).unwrap().rows, [json!({"id": 2})]);
        for statements in [json!([{"index": 0}]), json!([{"index": 0, "returned": rows(1)}])] {
            let error = returned::<String>(executed(statements)).unwrap_err();
            assert!(error.message().starts_with("the change was made, but "), "{error}");
        }
    }
}
