//! Values between JSON and PostgreSQL's text (rows M149, M150).
//!
//! Out: what JSON can hold exactly becomes JSON; `int8` and `numeric` become strings, for a reader's floats would
//! round them; `bytea` becomes base64, times RFC 3339 in UTC; what is left stays PostgreSQL's own text. In: the
//! server says what type each parameter has, and a JSON value is written as that type's text.

use super::wire::{Cell, Oid};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer, ser::SerializeSeq};
use serde_json::{Value, value::RawValue};

/// What a built-in type is to us. Numbers are those of `pg_type.dat`, which never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Bool,
    Integer,
    Float,
    /// Numbers JSON's readers would round.
    ExactNumber,
    Json,
    Bytes,
    TimestampTz,
    Timestamp,
    Text,
}

/// Number, name, the number of its array type, shape.
const BUILT_IN: &[(Oid, &str, Oid, Shape)] = &[
    (16, "bool", 1000, Shape::Bool),
    (17, "bytea", 1001, Shape::Bytes),
    (18, "\"char\"", 1002, Shape::Text),
    (19, "name", 1003, Shape::Text),
    (20, "int8", 1016, Shape::ExactNumber),
    (21, "int2", 1005, Shape::Integer),
    (23, "int4", 1007, Shape::Integer),
    (25, "text", 1009, Shape::Text),
    (26, "oid", 1028, Shape::Integer),
    (114, "json", 199, Shape::Json),
    (600, "point", 1017, Shape::Text),
    (601, "lseg", 1018, Shape::Text),
    (602, "path", 1019, Shape::Text),
    (603, "box", 1020, Shape::Text),
    (604, "polygon", 1027, Shape::Text),
    (628, "line", 629, Shape::Text),
    (650, "cidr", 651, Shape::Text),
    (700, "float4", 1021, Shape::Float),
    (701, "float8", 1022, Shape::Float),
    (705, "unknown", 0, Shape::Text),
    (718, "circle", 719, Shape::Text),
    (790, "money", 791, Shape::Text),
    (829, "macaddr", 1040, Shape::Text),
    (869, "inet", 1041, Shape::Text),
    (1042, "bpchar", 1014, Shape::Text),
    (1043, "varchar", 1015, Shape::Text),
    (1082, "date", 1182, Shape::Text),
    (1083, "time", 1183, Shape::Text),
    (1114, "timestamp", 1115, Shape::Timestamp),
    (1184, "timestamptz", 1185, Shape::TimestampTz),
    (1186, "interval", 1187, Shape::Text),
    (1266, "timetz", 1270, Shape::Text),
    (1560, "bit", 1561, Shape::Text),
    (1562, "varbit", 1563, Shape::Text),
    (1700, "numeric", 1231, Shape::ExactNumber),
    (2249, "record", 2287, Shape::Text),
    (2950, "uuid", 2951, Shape::Text),
    (3614, "tsvector", 3643, Shape::Text),
    (3615, "tsquery", 3645, Shape::Text),
    (3802, "jsonb", 3807, Shape::Json),
    (3904, "int4range", 3905, Shape::Text),
    (3906, "numrange", 3907, Shape::Text),
    (3908, "tsrange", 3909, Shape::Text),
    (3910, "tstzrange", 3911, Shape::Text),
    (3912, "daterange", 3913, Shape::Text),
    (3926, "int8range", 3927, Shape::Text),
    (4072, "jsonpath", 4073, Shape::Text),
    (4451, "int4multirange", 6150, Shape::Text),
    (4532, "nummultirange", 6151, Shape::Text),
    (4533, "tsmultirange", 6152, Shape::Text),
    (4534, "tstzmultirange", 6153, Shape::Text),
    (4535, "datemultirange", 6155, Shape::Text),
    (4536, "int8multirange", 6157, Shape::Text),
];

/// A type as far as we know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Scalar(&'static str, Shape),
    ArrayOf(&'static str, Shape),
    /// A row of a table: its text is shown.
    Other,
}

fn known(oid: Oid) -> Known {
    for (scalar, name, array, shape) in BUILT_IN {
        if *scalar == oid {
            return Known::Scalar(name, *shape);
        }
        if *array == oid {
            return Known::ArrayOf(name, *shape);
        }
    }
    Known::Other
}

/// The name of a type, for a reader; `composite` for a row of a table.
pub(super) fn type_name(oid: Oid) -> String {
    match known(oid) {
        Known::Scalar(name, _) => name.to_owned(),
        Known::ArrayOf(name, _) => format!("{name}[]"),
        Known::Other => "composite".to_owned(),
    }
}

// --- out ---

/// A value of a result.
#[derive(Debug)]
pub(super) enum Out {
    /// SQL's null.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// An integer of at most 32 bits.
    Integer(i64),
    /// A finite float.
    Float(f64),
    /// Text of any type.
    Text(String),
    /// JSON as it is stored.
    Json(Box<RawValue>),
    /// An array.
    List(Vec<Out>),
}

impl Serialize for Out {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Out::Null => serializer.serialize_none(),
            Out::Bool(value) => serializer.serialize_bool(*value),
            Out::Integer(value) => serializer.serialize_i64(*value),
            Out::Float(value) => serializer.serialize_f64(*value),
            Out::Text(text) => serializer.serialize_str(text),
            Out::Json(json) => json.serialize(serializer),
            Out::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
        }
    }
}

/// A cell as JSON, and its full size in bytes where it was cut to `cell_bytes_max`. What is cut is shown as the
/// beginning of its text, whatever its type.
pub(super) fn out(cell: Option<Cell>, oid: Oid, cell_bytes_max: usize) -> (Out, Option<usize>) {
    let Some(cell) = cell else { return (Out::Null, None) };
    let kind = known(oid);
    // Two hexadecimal digits for a byte, after `\x`.
    let size = if matches!(kind, Known::Scalar(_, Shape::Bytes)) {
        cell.bytes.saturating_sub(2) / 2
    } else {
        cell.bytes
    };
    if size > cell_bytes_max {
        let text = String::from_utf8_lossy(&cell.text[..cell_bytes_max.min(cell.text.len())]).into_owned();
        // A character that was cut in two leaves a mark behind.
        return (Out::Text(text.trim_end_matches('\u{fffd}').to_owned()), Some(size));
    }
    let text =
        String::from_utf8(cell.text).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
    let value = match kind {
        Known::Scalar(_, shape) => scalar(text, shape),
        Known::ArrayOf(_, shape) => match array(&text, shape) {
            Some(list) => list,
            None => Out::Text(text),
        },
        Known::Other => Out::Text(text),
    };
    (value, None)
}

fn scalar(text: String, shape: Shape) -> Out {
    match shape {
        Shape::Bool => Out::Bool(text == "t"),
        Shape::Integer => text.parse().map_or(Out::Text(text), Out::Integer),
        // NaN and Infinity are no JSON.
        Shape::Float => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Out::Float(value),
            _ => Out::Text(text),
        },
        Shape::Json => match RawValue::from_string(text) {
            Ok(json) => Out::Json(json),
            Err(_) => Out::Null,
        },
        Shape::Bytes => match text.strip_prefix("\\x").and_then(|digits| hex::decode(digits).ok()) {
            Some(bytes) => Out::Text(STANDARD.encode(bytes)),
            None => Out::Text(text),
        },
        Shape::TimestampTz => Out::Text(rfc3339(&text, true)),
        Shape::Timestamp => Out::Text(rfc3339(&text, false)),
        Shape::ExactNumber | Shape::Text => Out::Text(text),
    }
}

/// `2026-01-02 03:04:05.6+00` as `2026-01-02T03:04:05.6Z`; `infinity` and years before our era as they are.
fn rfc3339(text: &str, zoned: bool) -> String {
    let Some((date, time)) = text.split_once(' ').filter(|(_, time)| !time.contains(' ')) else {
        return text.to_owned();
    };
    match time.strip_suffix("+00") {
        Some(time) if zoned => format!("{date}T{time}Z"),
        _ => format!("{date}T{time}"),
    }
}

/// Arrays inside arrays: PostgreSQL has six dimensions at the most.
const DIMENSIONS_MAX: usize = 6;

/// An array's text (`{1,NULL,"a b",{…}}`) as a list. None where it is not of that shape, as with bounds of its own
/// (`[0:1]={…}`).
fn array(text: &str, shape: Shape) -> Option<Out> {
    let mut rest = text;
    let list = array_at(&mut rest, shape, DIMENSIONS_MAX)?;
    rest.is_empty().then_some(list)
}

fn array_at(rest: &mut &str, shape: Shape, depth: usize) -> Option<Out> {
    *rest = rest.strip_prefix('{').filter(|_| depth > 0)?;
    let mut items = vec![];
    if let Some(after) = rest.strip_prefix('}') {
        *rest = after;
        return Some(Out::List(items));
    }
    loop {
        items.push(if rest.starts_with('{') {
            array_at(rest, shape, depth - 1)?
        } else {
            item(rest, shape)?
        });
        let separator = rest.chars().next()?;
        *rest = &rest[separator.len_utf8()..];
        match separator {
            // `box` alone is separated by semicolons.
            ',' | ';' => {}
            '}' => return Some(Out::List(items)),
            _ => return None,
        }
    }
}

fn item(rest: &mut &str, shape: Shape) -> Option<Out> {
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([',', ';', '}'])?;
        let (bare, after) = rest.split_at(end);
        *rest = after;
        return Some(if bare == "NULL" { Out::Null } else { scalar(bare.to_owned(), shape) });
    };
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => text.push(chars.next()?.1),
            '"' => {
                *rest = &quoted[at + 1..];
                return Some(scalar(text, shape));
            }
            c => text.push(c),
        }
    }
    None
}

// --- in ---

/// Why a parameter cannot be what it was given for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadParameter(pub(super) String);

/// A JSON value as the text of a parameter of this type; none for null.
pub(super) fn parameter(value: &Value, oid: Oid) -> Result<Option<Vec<u8>>, BadParameter> {
    let kind = known(oid);
    let text = match (value, kind) {
        (Value::Null, _) => return Ok(None),
        // As other drivers do: a string is taken for JSON text, the rest is written as JSON.
        (Value::String(text), Known::Scalar(_, Shape::Json)) => text.clone(),
        (value, Known::Scalar(_, Shape::Json)) => value.to_string(),
        (Value::String(text), Known::Scalar(_, Shape::Bytes)) if !text.starts_with("\\x") => {
            let bytes = STANDARD.decode(text).map_err(|_| {
                BadParameter("expected base64 (or `\\x` and hexadecimal digits) for a bytea".into())
            })?;
            format!("\\x{}", hex::encode(bytes))
        }
        (Value::String(text), _) => text.clone(),
        (Value::Bool(value), _) => value.to_string(),
        (Value::Number(value), _) => value.to_string(),
        (Value::Array(items), Known::ArrayOf(_, shape)) => array_text(items, shape, DIMENSIONS_MAX)?,
        (Value::Array(_), Known::Other) => {
            return Err(BadParameter(
                "an array cannot be passed for this type; pass its PostgreSQL text".into(),
            ));
        }
        (Value::Array(_) | Value::Object(_), Known::Scalar(name, _) | Known::ArrayOf(name, _)) => {
            return Err(BadParameter(format!(
                "expected a {name}, got JSON; cast the parameter (`$1::jsonb`, `$1::text[]`) if that is meant"
            )));
        }
        (Value::Object(_), Known::Other) => {
            return Err(BadParameter(
                "an object cannot be passed for this type; pass its PostgreSQL text".into(),
            ));
        }
    };
    if text.contains('\0') {
        return Err(BadParameter("text cannot hold U+0000; leave it out".into()));
    }
    Ok(Some(text.into_bytes()))
}

fn array_text(items: &[Value], shape: Shape, depth: usize) -> Result<String, BadParameter> {
    if depth == 0 {
        return Err(BadParameter(format!("an array has {DIMENSIONS_MAX} dimensions at the most")));
    }
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        texts.push(match item {
            Value::Null => "NULL".to_owned(),
            Value::Array(inner) if shape != Shape::Json => array_text(inner, shape, depth - 1)?,
            Value::String(text) => quote(text),
            other => quote(&other.to_string()),
        });
    }
    Ok(format!("{{{}}}", texts.join(",")))
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cell(text: &str) -> Option<Cell> {
        Some(Cell { text: text.as_bytes().to_vec(), bytes: text.len() })
    }

    fn shown(text: &str, oid: Oid) -> Value {
        serde_json::to_value(out(cell(text), oid, 1000).0).unwrap()
    }

    #[test]
    fn m149_what_json_holds_exactly_is_json_and_the_rest_is_text() {
        for (text, oid, expected) in [
            ("t", 16, json!(true)),
            ("-7", 21, json!(-7)),
            ("2147483647", 23, json!(2_147_483_647)),
            ("9007199254740993", 20, json!("9007199254740993")),
            ("1.10", 1700, json!("1.10")),
            ("1.5", 701, json!(1.5)),
            ("NaN", 701, json!("NaN")),
            ("{\"a\": [1, 2]}", 3802, json!({ "a": [1, 2] })),
            ("\\x00ff", 17, json!("AP8=")),
            ("2026-01-02 03:04:05.678+00", 1184, json!("2026-01-02T03:04:05.678Z")),
            ("2026-01-02 03:04:05", 1114, json!("2026-01-02T03:04:05")),
            ("infinity", 1184, json!("infinity")),
            ("0044-03-15 00:00:00+00 BC", 1184, json!("0044-03-15 00:00:00+00 BC")),
            ("{1,NULL,3}", 1007, json!([1, null, 3])),
            ("{\"a b\",\"c\\\"d\\\\\",NULL,\"NULL\",e}", 1009, json!(["a b", "c\"d\\", null, "NULL", "e"])),
            ("{{1,2},{3,4}}", 1007, json!([[1, 2], [3, 4]])),
            ("{}", 1009, json!([])),
            ("{t,f}", 1000, json!([true, false])),
            ("[0:1]={1,2}", 1007, json!("[0:1]={1,2}")),
            ("{unfinished", 1009, json!("{unfinished")),
            ("(1,x)", 999_999, json!("(1,x)")),
        ] {
            assert_eq!(shown(text, oid), expected, "{text} of {oid}");
        }
        assert!(matches!(out(None, 25, 10).0, Out::Null));
    }

    #[test]
    fn a_cell_that_is_too_long_is_cut_between_characters_and_says_how_long_it_was() {
        let (value, full) = out(cell("aé".repeat(10).as_str()), 25, 8);
        assert_eq!((serde_json::to_value(value).unwrap(), full), (json!("aéaéa"), Some(30)));
        let (value, full) = out(cell("{\"a\":1}"), 3802, 3);
        assert_eq!((serde_json::to_value(value).unwrap(), full), (json!("{\"a"), Some(7)));
    }

    #[test]
    fn m150_a_parameter_is_written_as_the_type_the_server_says_it_has() {
        let text = |value: Value, oid| {
            parameter(&value, oid).map(|text| text.map(|bytes| String::from_utf8(bytes).unwrap()))
        };
        for (value, oid, expected) in [
            (json!(null), 25, None),
            (json!("x"), 25, Some("x")),
            (json!(5), 20, Some("5")),
            (json!(true), 16, Some("true")),
            (json!({ "a": 1 }), 3802, Some("{\"a\":1}")),
            (json!([1, "x"]), 3802, Some("[1,\"x\"]")),
            (json!("{\"raw\":1}"), 3802, Some("{\"raw\":1}")),
            (json!(["a", null, "c\"d\\"]), 1009, Some("{\"a\",NULL,\"c\\\"d\\\\\"}")),
            (json!([[1, 2], [3, 4]]), 1007, Some("{{\"1\",\"2\"},{\"3\",\"4\"}}")),
            (json!("AP8="), 17, Some("\\x00ff")),
            (json!("\\x00ff"), 17, Some("\\x00ff")),
        ] {
            assert_eq!(text(value.clone(), oid), Ok(expected.map(str::to_owned)), "{value} of {oid}");
        }
        for (value, oid) in [
            (json!([1]), 23),
            (json!({}), 25),
            (json!("?"), 17),
            (json!("a\u{0}b"), 25),
            (json!([[[[[[[1]]]]]]]), 1007),
        ] {
            assert!(text(value.clone(), oid).is_err(), "{value} of {oid}");
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        for (value, oid) in [
            (json!(["a,b", "{}", "\"", "\\", "", " ", "NULL", "é"]), 1009),
            (json!([[true, false], [null, true]]), 1000),
        ] {
            let text = String::from_utf8(parameter(&value, oid).unwrap().unwrap()).unwrap();
            let text = text.replace("\"true\"", "t").replace("\"false\"", "f");
            assert_eq!(shown(&text, oid), value);
        }
    }
}
