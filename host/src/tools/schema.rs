//! Tools' input schemas: a tenant's text, compiled and run on our side.
//!
//! JSON Schema is a language: a `$ref` that doubles at each of 40 levels takes
//! hours to check, and a list under a hundred `allOf` gives a million errors. So
//! what is taken is a part of it that costs no more than the schema's size times
//! the input's: no references, bounded size, depth and width, simple patterns.
//! The guest SDK writes nothing else.

use crate::error::FieldError;
use serde_json::Value;

/// A schema, in bytes.
const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// Keywords and values in a schema.
const NODES_MAX: usize = 2000;
/// How deep it goes.
const DEPTH_MAX: usize = 20;
/// Schemas under one `allOf`, `anyOf` or `oneOf`: each is tried on every value.
const ALTERNATIVES_MAX: usize = 16;
/// Combinators within combinators, which multiply.
const NESTED_ALTERNATIVES_MAX: usize = 2;
/// A regular expression.
const PATTERN_BYTES_MAX: usize = 200;
/// An input's values times a schema's: more is refused before it is checked.
const WORK_MAX: usize = 20_000_000;
/// Errors told: nobody reads more.
const ERRORS_MAX: usize = 20;

/// Keywords that make checking cost more than the schema is long.
const REFUSED: &[&str] = &[
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "$dynamicAnchor",
    "$recursiveAnchor",
    "$anchor",
    "$id",
    "uniqueItems",
    "unevaluatedProperties",
    "unevaluatedItems",
    "contains",
    "dependentSchemas",
    "$vocabulary",
    // Not a keyword: a client in JavaScript would change all its objects with it.
    "__proto__",
];

/// Whether a schema may be a tool's.
///
/// # Errors
/// What is wrong, for the author.
pub fn check(text: &str) -> Result<(), String> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(format!("it is larger than {SCHEMA_BYTES_MAX} bytes"));
    }
    let schema: Value = serde_json::from_str(text).map_err(|_| "it is not JSON".to_owned())?;
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err("expected an object: `\"type\": \"object\"`".to_owned());
    }
    let mut nodes = 0;
    walk(&schema, 0, 0, &mut nodes)?;
    compile(&schema).map(drop)
}

fn walk(value: &Value, depth: usize, alternatives: usize, nodes: &mut usize) -> Result<(), String> {
    *nodes += 1;
    if *nodes > NODES_MAX || depth > DEPTH_MAX {
        return Err(format!(
            "it is too large: {NODES_MAX} keywords and values, {DEPTH_MAX} deep, at the most"
        ));
    }
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if REFUSED.contains(&key.as_str()) {
                    return Err(format!("`{key}` is not taken here; write the schema out"));
                }
                let combines = matches!(key.as_str(), "allOf" | "anyOf" | "oneOf" | "if" | "not");
                let wide = inner.as_array().is_some_and(|list| list.len() > ALTERNATIVES_MAX);
                if combines && (wide || alternatives >= NESTED_ALTERNATIVES_MAX) {
                    return Err(format!(
                        "`{key}` is too wide or too deep: {ALTERNATIVES_MAX} schemas, {NESTED_ALTERNATIVES_MAX} levels, at the most"
                    ));
                }
                let long = inner.as_str().is_some_and(|pattern| pattern.len() > PATTERN_BYTES_MAX);
                if key == "pattern" && long {
                    return Err(format!("a `pattern` is {PATTERN_BYTES_MAX} bytes at the most"));
                }
                walk(inner, depth + 1, alternatives + usize::from(combines), nodes)?;
            }
            Ok(())
        }
        Value::Array(list) => list.iter().try_for_each(|inner| walk(inner, depth + 1, alternatives, nodes)),
        _ => Ok(()),
    }
}

fn compile(schema: &Value) -> Result<jsonschema::Validator, String> {
    jsonschema::options()
        // Linear in the text, whatever the pattern.
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(schema)
        .map_err(|error| format!("it is not a JSON Schema: {}", error.masked()))
}

/// Checks an input against a schema that passed [`check`].
///
/// # Errors
/// What does not fit, the first `ERRORS_MAX` of it.
pub fn fit(schema: &str, input: &str) -> Result<(), Vec<FieldError>> {
    let wrong = |message: String| vec![FieldError::new("", message)];
    let value: Value =
        serde_json::from_str(input).map_err(|error| wrong(format!("the input is not JSON: {error}")))?;
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    if count(&value).saturating_mul(count(&schema)) > WORK_MAX {
        return Err(wrong("the input holds too many values for this tool's schema; send less".to_owned()));
    }
    let validator =
        compile(&schema).map_err(|_| wrong("the tool's schema is broken; upload the tool again".into()))?;
    if validator.is_valid(&value) {
        return Ok(());
    }
    let error = |error: jsonschema::ValidationError<'_>| {
        FieldError::new(error.instance_path().to_string(), error.masked().to_string())
    };
    Err(validator.iter_errors(&value).take(ERRORS_MAX).map(error).collect())
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fmt::Write;

    #[test]
    fn a_schema_that_would_take_hours_is_refused_at_upload() {
        let mut doubling = String::from(r##"{"type":"object","$ref":"#/$defs/a0","$defs":{"##);
        for level in 0..40 {
            let next = level + 1;
            write!(
                doubling,
                r##""a{level}":{{"allOf":[{{"$ref":"#/$defs/a{next}"}},{{"$ref":"#/$defs/a{next}"}}]}},"##
            )
            .unwrap();
        }
        doubling.push_str(r#""a40":{}}}"#);
        assert!(check(&doubling).unwrap_err().contains("`$"), "references");
        let wide = json!({ "type": "object", "properties": { "x": { "items": { "allOf": vec![json!({ "type": "string" }); 100] } } } });
        assert!(check(&wide.to_string()).unwrap_err().contains("allOf"));
        let mut deep = json!({});
        for _ in 0..30 {
            deep = json!({ "items": deep });
        }
        assert!(check(&json!({ "type": "object", "properties": { "x": deep } }).to_string()).is_err());
        let nested = json!({ "type": "object", "anyOf": [{ "anyOf": [{ "anyOf": [{}] }] }] });
        assert!(check(&nested.to_string()).is_err());
        assert!(check(&json!({ "type": "object", "pattern": "x".repeat(300) }).to_string()).is_err());
        let taken = r#"{"type":"object","properties":{"__proto__":{"type":"string"}}}"#;
        assert!(check(taken).unwrap_err().contains("`__proto__`"));
        assert!(check("[]").is_err() && check("{}").is_err() && check("nonsense").is_err());
    }

    #[test]
    fn what_the_sdk_writes_is_taken() {
        let schema = json!({
            "type": "object",
            "properties": {
                "text": { "type": "string", "description": "The text." },
                "top": { "type": ["integer", "null"], "minimum": 0 },
                "kind": { "anyOf": [{ "type": "string", "enum": ["a", "b"] }, { "type": "null" }] },
            },
            "required": ["text"],
            "additionalProperties": false,
        });
        assert_eq!(check(&schema.to_string()), Ok(()));
    }

    #[test]
    fn of_a_flood_of_errors_a_few_are_told() {
        let schema =
            json!({ "type": "object", "properties": { "x": { "items": { "type": "string" } } } }).to_string();
        let input = json!({ "x": vec![1; 1000] }).to_string();
        let errors = fit(&schema, &input).unwrap_err();
        assert_eq!(errors.len(), ERRORS_MAX);
        assert_eq!(errors[0].pointer, "/x/0");
        let huge = json!({ "x": vec![1; 4_000_000] }).to_string();
        assert_eq!(fit(&schema, &huge).unwrap_err().len(), 1, "too much to check is said without checking");
    }

    #[test]
    fn a_catastrophic_pattern_takes_no_longer_than_its_text() {
        let schema = json!({ "type": "object", "properties": { "x": { "pattern": "^(a+)+$" } } }).to_string();
        assert_eq!(check(&schema), Ok(()));
        let input = json!({ "x": format!("{}!", "a".repeat(100_000)) }).to_string();
        assert!(fit(&schema, &input).is_err());
    }
}
