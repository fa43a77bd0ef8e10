//! What is different about a version, in sentences: what a reviewer reads before anything of it reaches a model.

use super::{Description, Requested, markdown, words};
use crate::{grants::Capability, sandbox::door::ToolDefinition};
use serde::Serialize;
use serde_json::Value;

/// A description in a sentence; the whole is in the version itself.
const EXCERPT_CHARS_MAX: usize = 300;

/// What a version asks for and says.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// What it said it is.
    pub description: &'a Description,
    /// What it asks for.
    pub requested: &'a [Requested],
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What sort of difference, for programs.
    pub change: What,
    /// In words, for people.
    pub text: String,
    /// The capability it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<Capability>,
}

/// Sorts of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Asks for something nobody was asked for before.
    CapabilityAdded,
    /// Asks for more of something.
    CapabilityWidened,
    /// Asks for less of something.
    CapabilityNarrowed,
    /// No longer asks for something.
    CapabilityRemoved,
    /// Gives another reason for the same.
    ReasonChanged,
    /// Has a tool more.
    ToolAdded,
    /// Has a tool less.
    ToolRemoved,
    /// Says something else of itself.
    DescriptionChanged,
    /// A tool takes another input.
    SchemaChanged,
    /// Wants another model.
    ModelChanged,
    /// Wants other tools.
    ToolsChanged,
}

/// How `after` differs from what runs; from nothing, where nothing does.
pub fn changes(before: Option<Side<'_>>, after: Side<'_>) -> Vec<Change> {
    let had = before.map(|before| before.requested).unwrap_or_default();
    let mut changes = capabilities(had, after.requested);
    changes.extend(described(before.map(|before| before.description), after.description));
    changes
}

fn change(change: What, text: String) -> Change {
    Change { change, text, capability: None }
}

fn capabilities(had: &[Requested], wants: &[Requested]) -> Vec<Change> {
    let (mut changes, mut narrowed) = (vec![], vec![]);
    for wish in wants {
        let capability = &wish.capability;
        let now = words::of(capability);
        let reason = &wish.reason;
        let same = had.iter().find(|old| old.capability == *capability);
        let wider = had.iter().find(|old| capability.within(&old.capability));
        let narrower = had.iter().find(|old| old.capability.within(capability));
        let (what, text) = match (same, wider, narrower) {
            (Some(old), ..) if old.reason == *reason => continue,
            (Some(_), ..) => {
                (What::ReasonChanged, format!("May still {now}; it gives another reason: {reason}"))
            }
            (_, Some(old), _) => {
                narrowed.push(&old.capability);
                (
                    What::CapabilityNarrowed,
                    format!("May now only {now}; before: {}", words::of(&old.capability)),
                )
            }
            (_, _, Some(old)) => (
                What::CapabilityWidened,
                format!(
                    "May now {now}; before only: {}; it gives as reason: {reason}",
                    words::of(&old.capability)
                ),
            ),
            _ if had.is_empty() => {
                (What::CapabilityAdded, format!("May {now}; it gives as reason: {reason}"))
            }
            _ => (What::CapabilityAdded, format!("May now also {now}; it gives as reason: {reason}")),
        };
        changes.push(Change { change: what, text, capability: Some(capability.clone()) });
    }
    for old in had {
        let still_asked = wants.iter().any(|wish| old.capability.within(&wish.capability));
        if !still_asked && !narrowed.contains(&&old.capability) {
            let text = format!("No longer asks to {}", words::of(&old.capability));
            changes.push(Change {
                change: What::CapabilityRemoved,
                text,
                capability: Some(old.capability.clone()),
            });
        }
    }
    changes
}

fn described(before: Option<&Description>, after: &Description) -> Vec<Change> {
    match (before, after) {
        (before, Description::Tools { tools }) => {
            self::tools(before.map(Description::tools).unwrap_or_default(), tools)
        }
        (Some(Description::Agent { description: old }), Description::Agent { description }) => {
            text_changed("the agent", old, description).into_iter().collect()
        }
        (Some(Description::Markdown(old)), Description::Markdown(new)) => agent(old, new),
        (_, Description::Agent { description })
        | (_, Description::Markdown(markdown::Agent { description, .. })) => {
            let text = format!("Is an agent that says of itself: {}", excerpt(description));
            vec![change(What::DescriptionChanged, text)]
        }
    }
}

fn tools(before: &[ToolDefinition], after: &[ToolDefinition]) -> Vec<Change> {
    let mut changes = vec![];
    for tool in after {
        let name = &tool.name;
        match before.iter().find(|old| old.name == *name) {
            None => changes.push(change(
                What::ToolAdded,
                format!("Has a tool {name} that models are told of as: {}", excerpt(&tool.description)),
            )),
            Some(old) => {
                changes.extend(text_changed(
                    &format!("the tool {name}"),
                    &old.description,
                    &tool.description,
                ));
                changes.extend(schema_changed(name, &old.input_schema, &tool.input_schema));
            }
        }
    }
    for old in before.iter().filter(|old| !after.iter().any(|tool| tool.name == old.name)) {
        changes.push(change(What::ToolRemoved, format!("No longer has the tool {}", old.name)));
    }
    changes
}

fn text_changed(whose: &str, old: &str, new: &str) -> Option<Change> {
    (old != new).then(|| {
        let text = format!("The description of {whose} changed, from: {} to: {}", excerpt(old), excerpt(new));
        change(What::DescriptionChanged, text)
    })
}

fn schema_changed(tool: &str, old: &str, new: &str) -> Option<Change> {
    if old == new {
        return None;
    }
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let fields = |schema: &Value| -> Vec<String> {
        schema["properties"].as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
    };
    let (old, new) = (read(old), read(new));
    let (had, has) = (fields(&old), fields(&new));
    let list = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let mut details = vec![];
    for (word, names) in [
        ("new", has.iter().filter(|name| !had.contains(name)).collect::<Vec<_>>()),
        ("gone", had.iter().filter(|name| !has.contains(name)).collect()),
        (
            "other",
            has.iter()
                .filter(|name| had.contains(name) && old["properties"][*name] != new["properties"][*name])
                .collect(),
        ),
    ] {
        if !names.is_empty() {
            details.push(format!("{word}: {}", list(names)));
        }
    }
    let details = if details.is_empty() { "outside its fields".to_owned() } else { details.join("; ") };
    Some(change(What::SchemaChanged, format!("The input of the tool {tool} changed ({details})")))
}

fn agent(old: &markdown::Agent, new: &markdown::Agent) -> Vec<Change> {
    let mut changes: Vec<_> =
        text_changed("the agent", &old.description, &new.description).into_iter().collect();
    if old.model != new.model {
        let name = |model: &Option<String>| model.clone().unwrap_or_else(|| "the app's default".to_owned());
        let text = format!("Asks another model: {}; before: {}", name(&new.model), name(&old.model));
        changes.push(change(What::ModelChanged, text));
    }
    if old.tools != new.tools {
        let name = |tools: &Option<markdown::Tools>| match tools {
            None => "every tool of the app".to_owned(),
            Some(tools) if tools.named().is_empty() => "all tools but those it turns off".to_owned(),
            Some(tools) => tools.named().join(", "),
        };
        let text = format!("Is offered other tools: {}; before: {}", name(&new.tools), name(&old.tools));
        changes.push(change(What::ToolsChanged, text));
    }
    changes
}

fn excerpt(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(EXCERPT_CHARS_MAX).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("\u{201c}{start}{more}\u{201d}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::CapabilityKind::{self, Http, Kv};

    fn wish(kind: CapabilityKind, target: &str, reason: &str) -> Requested {
        Requested { capability: Capability::new(kind, target), reason: reason.to_owned() }
    }

    fn tool(name: &str, description: &str, schema: &str) -> ToolDefinition {
        ToolDefinition { name: name.into(), description: description.into(), input_schema: schema.into() }
    }

    #[test]
    fn m220_what_a_version_changes_is_said_in_sentences() {
        let old = Description::Tools {
            tools: vec![
                tool("fetch", "Fetches.", r#"{"properties":{"url":{"type":"string"},"old":{}}}"#),
                tool("gone", "Goes.", "{}"),
            ],
        };
        let new = Description::Tools {
            tools: vec![
                tool("fetch", "Fetches all.", r#"{"properties":{"url":{"type":"integer"},"new":{}}}"#),
                tool("come", "Comes.", "{}"),
            ],
        };
        let had = [
            wish(Http, "GET api.example.com", "to read"),
            wish(Http, "b.org", "to look"),
            wish(Kv, "write", "to remember"),
            wish(Kv, "read", "to recall"),
        ];
        let wants = [
            wish(Http, "api.example.com", "to write"),
            wish(Http, "GET b.org/v1/*", "to look"),
            wish(Http, "POST c.org/v1/*", "to tell"),
            wish(Kv, "read", "to recall better"),
        ];
        let before = Side { description: &old, requested: &had };
        let after = Side { description: &new, requested: &wants };
        let texts: Vec<_> = changes(Some(before), after).into_iter().map(|change| change.text).collect();
        assert_eq!(
            texts,
            [
                "May now send requests of any method to api.example.com; before only: send GET requests to \
                 api.example.com; it gives as reason: to write",
                "May now only send GET requests to b.org under /v1/; before: send requests of any method to b.org",
                "May now also send POST requests to c.org under /v1/; it gives as reason: to tell",
                "May still read every key of its own store; it gives another reason: to recall better",
                "No longer asks to read and write every key of its own store",
                "The description of the tool fetch changed, from: \u{201c}Fetches.\u{201d} to: \u{201c}Fetches all.\u{201d}",
                "The input of the tool fetch changed (new: new; gone: old; other: url)",
                "Has a tool come that models are told of as: \u{201c}Comes.\u{201d}",
                "No longer has the tool gone",
            ]
        );
        assert_eq!(changes(Some(after), after), []);
    }
}
