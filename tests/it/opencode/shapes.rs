//! opencode's own schemas, of its OpenAPI document.

use serde_json::{Value, json};
use std::sync::OnceLock;

/// What `schemas.json` holds.
pub(super) struct Shapes(Value);

impl Shapes {
    pub(super) fn load() -> &'static Shapes {
        static SHAPES: OnceLock<Shapes> = OnceLock::new();
        SHAPES.get_or_init(|| Shapes(serde_json::from_str(include_str!("schemas.json")).unwrap()))
    }

    /// The paths whose answers it knows.
    pub(super) fn answers(&self) -> impl Iterator<Item = &str> {
        self.0["answers"].as_object().unwrap().keys().map(String::as_str)
    }

    /// Checks what a path answered.
    pub(super) fn check_answer(&self, path: &str, answer: &Value) {
        self.fits(path, &self.0["answers"][path], answer);
    }

    /// Checks a value against a schema by name.
    pub(super) fn check(&self, name: &str, value: &Value) {
        self.fits(name, &json!({ "$ref": format!("#/components/schemas/{name}") }), value);
    }

    /// Checks an event against the schema of its type.
    pub(super) fn check_event(&self, event: &Value) {
        // Which the document does not have.
        if event["type"] == "server.heartbeat" {
            return;
        }
        let events = self.0["events"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let of_type = |name: &&str| {
            self.0["components"]["schemas"][*name]["properties"]["type"]["enum"][0] == event["type"]
        };
        let name = events.into_iter().find(of_type).unwrap_or_else(|| panic!("no schema for {event}"));
        self.check(name, event);
    }

    fn fits(&self, what: &str, schema: &Value, value: &Value) {
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let wrong: Vec<String> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{what}: {wrong:#?}\n{value:#}");
    }
}
