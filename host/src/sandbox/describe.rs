//! What a plugin says of itself, checked before anyone relies on it.
//!
//! It is shown to the person who reviews the plugin and put before models, so
//! it must be small, and plain text.

use super::bindings::agent::exports::opg::agent::agent;
use super::bindings::tool::{exports::opg::tool::tool, opg::tool::types};
use super::call::CallError;
use super::door::ToolDefinition;
use super::limits::{
    CAPABILITIES_MAX, CAPABILITY_REASON_BYTES_MAX, CAPABILITY_TARGET_BYTES_MAX, DESCRIPTION_BYTES_MAX,
    SCHEMA_BYTES_MAX, TOOL_NAME_BYTES_MAX, TOOLS_MAX,
};
use super::text::clean;
use crate::unseen::{is_invisible, is_reordering};
use std::collections::HashMap;

/// One tool of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PluginTool {
    /// What a model needs to know of it.
    pub definition: ToolDefinition,
    /// What it wants to touch.
    pub capabilities: Vec<RequestedCapability>,
}

/// What an agent says of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AgentDescription {
    /// What it is for.
    pub description: String,
    /// What it wants to touch.
    pub capabilities: Vec<RequestedCapability>,
}

/// One thing a plugin wants to touch, in its own words: kind and target are
/// judged by the registry.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RequestedCapability {
    /// `http`, `secret`, `kv`, `db`, `model`, `tool`.
    pub kind: String,
    /// What of that kind.
    pub target: String,
    /// Why.
    pub reason: String,
}

pub(super) fn tools(definitions: Vec<tool::Definition>) -> Result<Vec<PluginTool>, CallError> {
    check_count("tools", definitions.len(), TOOLS_MAX)?;
    if definitions.is_empty() {
        return Err(refused("it has no tools"));
    }
    let mut names = HashMap::new();
    for definition in &definitions {
        let name = clean(&definition.name, TOOL_NAME_BYTES_MAX);
        match names.insert(look(&definition.name), &definition.name) {
            Some(other) if *other == definition.name => {
                return Err(refused(&format!("two tools have the name `{name}`")));
            }
            Some(other) => {
                let other = clean(other, TOOL_NAME_BYTES_MAX);
                return Err(refused(&format!("the tools `{other}` and `{name}` look alike")));
            }
            None => {}
        }
    }
    definitions.into_iter().map(plugin_tool).collect()
}

pub(super) fn agent(definition: agent::Definition) -> Result<AgentDescription, CallError> {
    check_text("the description", &definition.description, DESCRIPTION_BYTES_MAX)?;
    Ok(AgentDescription {
        description: definition.description,
        capabilities: capabilities(definition.capabilities)?,
    })
}

fn plugin_tool(definition: tool::Definition) -> Result<PluginTool, CallError> {
    check_name(&definition.name)?;
    check_text("a tool's description", &definition.description, DESCRIPTION_BYTES_MAX)?;
    check_schema(&definition)?;
    Ok(PluginTool {
        definition: ToolDefinition {
            name: definition.name,
            description: definition.description,
            input_schema: definition.input_schema,
        },
        capabilities: capabilities(definition.capabilities)?,
    })
}

fn capabilities(wanted: Vec<types::Capability>) -> Result<Vec<RequestedCapability>, CallError> {
    check_count("capabilities", wanted.len(), CAPABILITIES_MAX)?;
    wanted.into_iter().map(capability).collect()
}

fn capability(wanted: types::Capability) -> Result<RequestedCapability, CallError> {
    check_text("a capability's kind", &wanted.kind, CAPABILITY_TARGET_BYTES_MAX)?;
    check_text("a capability's target", &wanted.target, CAPABILITY_TARGET_BYTES_MAX)?;
    check_text("a capability's reason", &wanted.reason, CAPABILITY_REASON_BYTES_MAX)?;
    Ok(RequestedCapability { kind: wanted.kind, target: wanted.target, reason: wanted.reason })
}

/// How a name looks to someone in a hurry: a person who reviews it, or a model.
fn look(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// Names that every object has in JavaScript: a client that keeps tools in one would find these there already.
const TAKEN_NAMES: &[&str] = &["__proto__", "constructor", "prototype"];

fn check_name(name: &str) -> Result<(), CallError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let is_taken = TAKEN_NAMES.contains(&name);
    if name.is_empty() || is_taken || name.len() > TOOL_NAME_BYTES_MAX || !name.bytes().all(fits) {
        return Err(refused(&format!(
            "`{}` is not a tool's name; use 1 to {TOOL_NAME_BYTES_MAX} letters, digits, `_` and `-`",
            clean(name, TOOL_NAME_BYTES_MAX)
        )));
    }
    Ok(())
}

fn check_schema(definition: &tool::Definition) -> Result<(), CallError> {
    let schema = &definition.input_schema;
    if schema.len() > SCHEMA_BYTES_MAX {
        return Err(refused(&format!("a schema has {} bytes, {SCHEMA_BYTES_MAX} are allowed", schema.len())));
    }
    let name = &definition.name;
    let parsed = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(schema)
        .map_err(|error| refused(&format!("the schema of `{name}` is not a JSON object: {error}")))?;
    if parsed.get("type").and_then(serde_json::Value::as_str) != Some("object") {
        return Err(refused(&format!(
            "the schema of `{name}` must have \"type\": \"object\": models give arguments by name"
        )));
    }
    Ok(())
}

fn check_count(what: &str, count: usize, max: usize) -> Result<(), CallError> {
    if count > max {
        return Err(refused(&format!("it has {count} {what}, {max} are allowed")));
    }
    Ok(())
}

fn check_text(what: &str, text: &str, bytes_max: usize) -> Result<(), CallError> {
    if text.len() > bytes_max {
        return Err(refused(&format!("{what} has {} bytes, {bytes_max} are allowed", text.len())));
    }
    let hidden = |character: char| {
        character.is_control() && !matches!(character, '\n' | '\t')
            || is_reordering(character)
            || is_invisible(character)
    };
    match text.chars().find(|&character| hidden(character)) {
        Some(character) => {
            Err(refused(&format!("{what} holds the invisible character {}", character.escape_default())))
        }
        None => Ok(()),
    }
}

fn refused(why: &str) -> CallError {
    CallError::BadDescription(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool_named(name: &str) -> tool::Definition {
        tool::Definition {
            name: name.to_owned(),
            description: "Adds.\nTwo numbers.".to_owned(),
            input_schema: r#"{"type":"object"}"#.to_owned(),
            capabilities: vec![],
        }
    }

    fn why(definitions: Vec<tool::Definition>) -> String {
        tools(definitions).unwrap_err().to_string()
    }

    #[test]
    fn a_plain_description_is_kept_as_it_is() {
        let kept = tools(vec![tool_named("add"), tool_named("sub-2_")]).unwrap();
        assert_eq!(kept[1].definition.name, "sub-2_");
        assert_eq!(kept[0].definition.description, "Adds.\nTwo numbers.");
    }

    #[test]
    fn names_are_what_models_accept_and_differ() {
        for name in ["", "a b", "ä", &"x".repeat(65), "a\n"] {
            assert!(why(vec![tool_named(name)]).contains("is not a tool's name"), "{name:?}");
        }
        for name in ["__proto__", "constructor"] {
            assert!(why(vec![tool_named(name)]).contains("is not a tool's name"), "{name:?}");
        }
        assert!(why(vec![tool_named("a"), tool_named("a")]).contains("two tools have the name `a`"));
        let alike = why(vec![tool_named("to-day"), tool_named("To_Day")]);
        assert!(alike.contains("`to-day` and `To_Day` look alike"), "{alike}");
    }

    #[test]
    fn there_is_an_end_to_everything() {
        assert!(why(vec![]).contains("no tools"));
        assert!(
            why((0..65).map(|n| tool_named(&n.to_string())).collect()).contains("65 tools, 64 are allowed")
        );
        let long = tool::Definition { description: "x".repeat(9000), ..tool_named("a") };
        assert!(why(vec![long]).contains("9000 bytes"));
        let greedy = types::Capability { kind: "http".into(), target: "a".into(), reason: "b".into() };
        let greedy = tool::Definition { capabilities: vec![greedy; 33], ..tool_named("a") };
        assert!(why(vec![greedy]).contains("33 capabilities"));
    }

    #[test]
    fn what_a_reviewer_cannot_see_is_refused() {
        let hidden = tool::Definition { description: "good\u{202e}live".into(), ..tool_named("a") };
        assert!(why(vec![hidden]).contains(r"\u{202e}"));
        let tagged = tool::Definition { description: "good\u{e0041}".into(), ..tool_named("a") };
        assert!(why(vec![tagged]).contains(r"\u{e0041}"));
        let emoji =
            tool::Definition { description: "good ❤\u{fe0f} 👩\u{200d}🔬".into(), ..tool_named("a") };
        assert!(tools(vec![emoji]).is_ok());
        let hidden =
            types::Capability { kind: "http".into(), target: "a\u{1b}[8m".into(), reason: "b".into() };
        assert!(
            why(vec![tool::Definition { capabilities: vec![hidden], ..tool_named("a") }]).contains("target")
        );
    }

    #[test]
    fn a_schema_is_a_json_object_of_reasonable_depth() {
        for schema in ["", "[]", "{", "true", &format!("{}1{}", "{\"a\":".repeat(1000), "}".repeat(1000))] {
            let broken = tool::Definition { input_schema: schema.to_owned(), ..tool_named("a") };
            assert!(why(vec![broken]).contains("not a JSON object"), "{schema:.20}");
        }
        for schema in ["{}", r#"{"type":"array"}"#, r#"{"type":["object"]}"#] {
            let broken = tool::Definition { input_schema: schema.to_owned(), ..tool_named("a") };
            assert!(why(vec![broken]).contains("must have \"type\": \"object\""), "{schema}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            failure_persistence: None,
            ..proptest::prelude::ProptestConfig::with_cases(256)
        })]

        #[test]
        fn what_is_kept_is_what_a_reviewer_sees(
            name in "\\PC{0,8}|[a-z_-]{0,70}|__proto__",
            text in "(\\PC|[\u{0}\u{1b}\u{202e}\u{200b}\u{e0041}]){0,20}",
            kind in "\\PC{0,8}",
        ) {
            let capability = types::Capability { kind, target: text.clone(), reason: text.clone() };
            let definition = tool::Definition {
                description: text,
                capabilities: vec![capability],
                ..tool_named(&name)
            };
            if let Ok(kept) = tools(vec![definition]) {
                let [kept] = kept.as_slice() else { panic!("one tool") };
                let wish = &kept.capabilities[0];
                for text in [&kept.definition.name, &kept.definition.description, &wish.kind, &wish.target] {
                    let seen = text.chars().all(|c| !is_reordering(c) && !is_invisible(c) && (!c.is_control() || "\n\t".contains(c)));
                    proptest::prop_assert!(seen, "{text:?}");
                }
                proptest::prop_assert!(kept.definition.name.is_ascii() && !TAKEN_NAMES.contains(&name.as_str()));
            }
        }
    }
}
