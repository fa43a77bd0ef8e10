//! What the host sees of a function with `#[tool]`.

use opg_guest::__private::{call, tool_definition as definition};
use opg_guest::bindings::tool::exports::opg::tool::tool::Error as Refused;
use opg_guest::bindings::tool::opg::tool::types;
use opg_guest::*;

/// Repeats a word.
///
/// At least once.
#[tool(http("a.example", "to ask"), secret("KEY@a.example", "to sign in"))]
fn repeat(
    /// What to repeat.
    word: String,
    /// How often; once unless given.
    times: Option<u32>,
    context: Context,
) -> Result<String, Error> {
    match times {
        Some(0) => Err(Error::invalid_input("at least once")),
        Some(13) => Err(Error::Denied("no grant".into())),
        times => Ok(format!("{}@{}", word.repeat(times.unwrap_or(1) as usize), context.app)),
    }
}

/// Places an order.
#[tool]
fn order(input: Order) -> u32 {
    input.items.iter().map(|item| item.count).sum()
}

/// An order.
#[input]
struct Order {
    /// What to buy.
    items: Vec<Item>,
}

#[input]
struct Item {
    count: u32,
}

/// Answers nothing.
#[tool]
fn ping() {}

/// Says which of the reserved words it got.
#[tool]
fn r#match(#[serde(default)] r#type: String, mut input: String) -> String {
    input.push_str(&r#type);
    input
}

fn run<T: Tool>(input: Value) -> Result<String, Refused> {
    let context = types::Context {
        invocation_id: "i".into(),
        app: "acme".into(),
        session_id: None,
        time_limit_ms: 1000,
    };
    call::<T>(&input.to_string(), context)
}

fn schema<T: Tool>() -> Value {
    serde_json::from_str(&definition::<T>().input_schema).unwrap()
}

fn refusal<T: Tool>(input: Value) -> String {
    match run::<T>(input) {
        Err(Refused::InvalidInput(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn name_description_and_capabilities_come_from_the_function() {
    let definition = definition::<repeat>();
    assert_eq!(definition.name, "repeat");
    assert_eq!(definition.description, "Repeats a word.\n\nAt least once.");
    let capabilities: Vec<_> = definition
        .capabilities
        .iter()
        .map(|capability| (capability.kind.as_str(), capability.target.as_str(), capability.reason.as_str()))
        .collect();
    assert_eq!(capabilities, [("http", "a.example", "to ask"), ("secret", "KEY@a.example", "to sign in")]);
}

#[test]
fn each_parameter_is_a_field_and_the_context_is_none() {
    let expected = json!({
        "type": "object",
        "properties": {
            "word": {"type": "string", "description": "What to repeat."},
            "times": {
                "type": ["integer", "null"],
                "format": "uint32",
                "minimum": 0,
                "description": "How often; once unless given.",
            },
        },
        "required": ["word"],
        "additionalProperties": false,
    });
    assert_eq!(schema::<repeat>(), expected);
}

#[test]
fn an_input_type_is_the_whole_input_without_references() {
    let expected = json!({
        "type": "object",
        "description": "An order.",
        "properties": {
            "items": {
                "type": "array",
                "description": "What to buy.",
                "items": {
                    "type": "object",
                    "properties": {"count": {"type": "integer", "format": "uint32", "minimum": 0}},
                    "required": ["count"],
                    "additionalProperties": false,
                },
            },
        },
        "required": ["items"],
        "additionalProperties": false,
    });
    assert_eq!(schema::<order>(), expected);
    assert_eq!(run::<order>(json!({"items": [{"count": 2}, {"count": 3}]})).unwrap(), "5");
}

#[test]
fn a_tool_without_parameters_still_takes_an_object() {
    assert_eq!(schema::<ping>(), json!({"type": "object", "properties": {}, "additionalProperties": false}));
    assert_eq!(run::<ping>(json!({})).unwrap(), "null");
    assert!(refusal::<ping>(json!({"x": 1})).contains("unknown field `x`"));
}

#[test]
fn a_call_reads_the_input_and_writes_the_output_as_json() {
    assert_eq!(run::<repeat>(json!({"word": "ha", "times": 2})).unwrap(), r#""haha@acme""#);
    assert_eq!(run::<repeat>(json!({"word": "ha"})).unwrap(), r#""ha@acme""#);
    assert_eq!(run::<repeat>(json!({"word": "ha", "times": null})).unwrap(), r#""ha@acme""#);
}

#[test]
fn input_that_does_not_fit_is_refused_and_the_model_is_told_why() {
    let cases = [
        (json!({}), "missing field `word`"),
        (json!({"word": 1}), "invalid type: integer `1`, expected a string"),
        (json!({"word": "a", "tims": 2}), "unknown field `tims`, expected `word` or `times`"),
        (json!(["a", 2]), "it must be a JSON object"),
        (json!(null), "it must be a JSON object"),
    ];
    for (input, expected) in cases {
        let text = refusal::<repeat>(input);
        assert!(text.starts_with("the input of `repeat` does not fit: "), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn an_error_keeps_whose_fault_it_is() {
    assert_eq!(refusal::<repeat>(json!({"word": "a", "times": 0})), "at least once");
    let denied = run::<repeat>(json!({"word": "a", "times": 13}));
    assert!(matches!(&denied, Err(Refused::Failed(text)) if text == "denied: no grant"), "{denied:?}");
}

#[test]
fn reserved_words_and_serde_attributes_work_as_in_a_struct() {
    let definition = definition::<r#match>();
    assert_eq!(definition.name, "match");
    assert_eq!(schema::<r#match>()["required"], json!(["input"]));
    assert_eq!(run::<r#match>(json!({"input": "a", "type": "b"})).unwrap(), r#""ab""#);
}
