//! Agents written as text: YAML front matter and a prompt, in opencode's format.
//!
//! ```text
//! ---
//! description: Answers questions about orders
//! model: openai/gpt-4o
//! temperature: 0.2
//! tools:
//!   word-count: true
//!   http: false
//! ---
//! You answer questions about orders. …
//! ```
//!
//! `tools` is a map of names to booleans, or a list of names. Left out, every
//! tool of the app is offered; a list, or a map with a `true`, offers only what
//! it names; a map of `false` offers all others. Keys of opencode that mean
//! nothing here (`mode`, `permission`, `color`, …) are taken and ignored.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A markdown agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// What it is for.
    pub description: String,
    /// The model it wants, `provider/model`; the request's or the app's, unless given.
    pub model: Option<String>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// How many model calls a turn may take.
    pub steps: Option<u32>,
    /// Which tools it is offered.
    pub tools: Option<Tools>,
    /// The prompt.
    pub instructions: String,
}

impl Eq for Agent {}

/// Which tools an agent is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Tools {
    /// Those with `true`, or all but those with `false`.
    Map(BTreeMap<String, bool>),
    /// Those.
    List(Vec<String>),
}

impl Tools {
    /// Whether the agent is offered this tool of this plugin. What is said of
    /// the tool itself counts before what is said of its plugin.
    pub fn offers(&self, tool: &str, plugin: &str) -> bool {
        match self {
            Tools::List(names) => names.iter().any(|name| name == tool || name == plugin),
            Tools::Map(map) => match map.get(tool).or_else(|| map.get(plugin)) {
                Some(offered) => *offered,
                None => map.get("*").copied().unwrap_or(!map.values().any(|offered| *offered)),
            },
        }
    }

    /// The tools it names to have.
    pub fn named(&self) -> Vec<&str> {
        match self {
            Tools::List(names) => names.iter().map(String::as_str).collect(),
            Tools::Map(map) => {
                map.iter().filter(|(name, on)| **on && *name != "*").map(|(name, _)| name.as_str()).collect()
            }
        }
    }
}

/// What is wrong with a markdown agent, and on which line, from 1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct MarkdownError {
    /// The line of the file.
    pub line: usize,
    /// What is wrong and what is expected.
    pub message: String,
}

/// Front matter is a few lines; what is read of it is read several times over.
const FRONT_MATTER_BYTES_MAX: usize = 8 << 10;

/// Whether a line of YAML sets or uses an anchor. An alias of a list in a list of
/// aliases multiplies: 20 KiB of them are half a GiB once read.
fn has_anchor(line: &str) -> bool {
    let mut quote = None;
    // What stands before, spaces aside: an anchor stands where a value begins.
    let mut before = '\n';
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let begins = matches!(before, '\n' | ':' | '-' | '[' | ',' | '{' | '?' | '!');
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if begins && matches!(c, '"' | '\'') => quote = Some(c),
            None if begins && matches!(c, '&' | '*') && chars.peek().is_some_and(|n| !n.is_whitespace()) => {
                return true;
            }
            None => {}
        }
        if !c.is_whitespace() {
            before = c;
        }
    }
    false
}

#[derive(Deserialize)]
struct FrontMatter {
    description: Option<String>,
    model: Option<String>,
    temperature: Option<f64>,
    #[serde(alias = "maxSteps")]
    steps: Option<u32>,
    tools: Option<Tools>,
}

/// Reads a markdown agent.
///
/// # Errors
/// The first thing wrong with it.
pub fn parse(text: &str) -> Result<Agent, MarkdownError> {
    let at = |line: usize, message: &str| MarkdownError { line, message: message.to_owned() };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.split_inclusive('\n');
    if lines.next().map(str::trim_end) != Some("---") {
        return Err(at(1, "expected front matter: a first line `---`, YAML, and another `---`"));
    }
    let mut yaml = String::new();
    let mut closed = false;
    let mut count = 1;
    for line in lines.by_ref() {
        count += 1;
        if line.trim_end() == "---" {
            closed = true;
            break;
        }
        yaml.push_str(line);
    }
    if !closed {
        return Err(at(count, "the front matter does not end: expected a line `---`"));
    }
    if yaml.len() > FRONT_MATTER_BYTES_MAX {
        return Err(MarkdownError {
            line: 1,
            message: format!("the front matter is {FRONT_MATTER_BYTES_MAX} bytes at the most"),
        });
    }
    if let Some(line) = yaml.lines().position(has_anchor) {
        return Err(at(line + 2, "anchors and aliases (`&name`, `*name`) are not read here; write it out"));
    }
    let front: Option<FrontMatter> = yaml_serde::from_str(&yaml).map_err(|error| MarkdownError {
        // The YAML starts on the file's second line.
        line: error.location().map_or(1, |location| location.line() + 1),
        message: format!("the front matter is not what is expected: {error}"),
    })?;
    let front = front.ok_or_else(|| at(2, "the front matter is empty: expected at least `description`"))?;
    let description = front.description.filter(|text| !text.trim().is_empty());
    let description =
        description.ok_or_else(|| at(2, "`description` is missing: say what the agent is for"))?;
    if front.model.as_deref().is_some_and(|id| !crate::models::catalog::is_full_id(id)) {
        return Err(at(2, "`model` is not `provider/model`"));
    }
    if front.temperature.is_some_and(|t| !(0.0..=2.0).contains(&t)) {
        return Err(at(2, "`temperature` is a number from 0 to 2"));
    }
    if front.steps.is_some_and(|steps| !(1..=crate::limits::STEPS_PER_TURN_MAX).contains(&steps)) {
        let message = format!("`steps` is a number from 1 to {}", crate::limits::STEPS_PER_TURN_MAX);
        return Err(MarkdownError { line: 2, message });
    }
    let instructions: String = lines.collect();
    let instructions = instructions.trim().to_owned();
    if instructions.is_empty() {
        return Err(at(count + 1, "there is no prompt below the front matter"));
    }
    Ok(Agent {
        description,
        model: front.model,
        temperature: front.temperature,
        steps: front.steps,
        tools: front.tools,
        instructions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m020_an_opencode_agent_reads_as_it_is() {
        let agent = parse("---\ndescription: Counts\nmode: subagent\nmodel: openai/gpt-4o\ntools:\n  word-count: true\n  http: false\n---\n\nYou count.\n").unwrap();
        assert_eq!(agent.instructions, "You count.");
        let tools = agent.tools.unwrap();
        assert!(
            tools.offers("word-count", "word-count")
                && !tools.offers("http", "http")
                && !tools.offers("other", "other")
        );
        assert_eq!(tools.named(), ["word-count"]);
    }

    #[test]
    fn a_map_of_refusals_offers_the_others() {
        let tools = Tools::Map([("http".to_owned(), false)].into());
        assert!(tools.offers("word-count", "word-count") && !tools.offers("http", "http"));
    }

    #[test]
    fn an_alias_is_refused_before_it_multiplies_and_a_star_in_quotes_is_none() {
        let bomb = "---\ndescription: x\nq: &a [1,1,1,1]\ntools: [*a,*a,*a,*a]\n---\nhi";
        assert_eq!(parse(bomb).unwrap_err().line, 3);
        let agent =
            parse("---\ndescription: R&D is 2 * 3 and *fast*\ntools:\n  \"*\": false\n  http: true\n---\nhi")
                .unwrap();
        assert!(agent.tools.unwrap().offers("http", "http"));
        let long = format!("---\ndescription: {}\n---\nhi", "x".repeat(9 << 10));
        assert!(parse(&long).unwrap_err().message.contains("bytes"));
    }

    #[test]
    fn m020_bad_front_matter_names_its_line() {
        for (text, line) in [
            ("You count.", 1),
            ("---\ndescription: x\nYou count.", 3),
            ("---\ndescription: x\ntemperature: [\n---\nhi", 3),
            ("---\n---\nhi", 2),
            ("---\nmode: x\n---\nhi", 2),
            ("---\ndescription: x\nmodel: gpt\n---\nhi", 2),
            ("---\ndescription: x\ntemperature: 9\n---\nhi", 2),
            ("---\ndescription: x\n---\n  \n", 4),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
        }
    }
}
