//! What a plugin asks of its own accord, in the terms of a session's rules.
//!
//! A rule knows it as the tool `<plugin>:<action>`, which no tool can be called, and each of its patterns as an input
//! with the member `pattern`: what is allowed to be asked about says nothing of what may run.

use super::{Rule, Verdict};
use crate::{registry::PluginName, sandbox::door::Question};
use serde_json::{Map, Value, json};

const BETWEEN: char = ':';
const PATTERNS: &str = "patterns";
const ALWAYS: &str = "always";
const PATTERN: &str = "pattern";

/// What rules call it.
pub(super) fn name(plugin: &PluginName, action: &str) -> String {
    format!("{}{BETWEEN}{action}", plugin.name)
}

/// What is shown and kept of it.
pub(super) fn input(question: Question, details: Map<String, Value>) -> Map<String, Value> {
    Map::from_iter([
        (PATTERNS.to_owned(), json!(question.patterns)),
        (ALWAYS.to_owned(), json!(question.always)),
        ("details".to_owned(), Value::Object(details)),
    ])
}

/// The inputs that rules judge: of a tool's call the one it is.
pub(super) fn judged(name: &str, input: &Map<String, Value>) -> Vec<Map<String, Value>> {
    if !is_question(name) {
        return vec![input.clone()];
    }
    let one = |pattern: &str| Map::from_iter([(PATTERN.to_owned(), json!(pattern))]);
    let patterns: Vec<_> = texts(input, PATTERNS).map(one).collect();
    if patterns.is_empty() { vec![Map::new()] } else { patterns }
}

/// The rules that an answer of "always" makes where it names no pattern.
pub(super) fn rules(name: &str, input: &Map<String, Value>) -> Vec<Rule> {
    let rule = |pattern| Rule { tool: name.to_owned(), pattern, action: Verdict::Allow };
    let one = |glob: &str| rule([(PATTERN.to_owned(), glob.to_owned())].into());
    let rules: Vec<_> = texts(input, ALWAYS).map(one).collect();
    if is_question(name) && !rules.is_empty() { rules } else { vec![rule(Default::default())] }
}

fn is_question(name: &str) -> bool {
    name.contains(BETWEEN)
}

fn texts<'a>(input: &'a Map<String, Value>, member: &str) -> impl Iterator<Item = &'a str> {
    input.get(member).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::permissions::Policy;

    fn asked(patterns: &[&str], always: &[&str]) -> Map<String, Value> {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let question = Question {
            action: "push".into(),
            patterns: own(patterns),
            always: own(always),
            details: "{}".into(),
        };
        input(question, Map::new())
    }

    #[test]
    fn every_pattern_of_a_question_must_be_allowed() {
        let rules = rules("git:push", &asked(&[], &["origin/*"]));
        let policy = Policy { mode: Verdict::Ask, rules };
        let verdict =
            |patterns: &[&str]| policy.judge_all("git:push", &judged("git:push", &asked(patterns, &[])));
        assert_eq!(verdict(&["origin/main"]), Verdict::Allow);
        assert_eq!(verdict(&["origin/main", "other/main"]), Verdict::Ask);
        assert_eq!(verdict(&[]), Verdict::Ask);
    }

    #[test]
    fn an_answer_to_a_question_says_nothing_of_a_tool() {
        let policy = Policy { mode: Verdict::Ask, rules: rules("git:push", &asked(&[], &[])) };
        for tool in ["git", "git_push", "push", "git-push"] {
            assert_eq!(policy.judge(tool, &Map::new()), Verdict::Ask, "{tool}");
        }
        assert_eq!(policy.judge("git:push", &Map::new()), Verdict::Allow);
    }

    #[test]
    fn a_tools_own_members_are_no_question() {
        let input = asked(&["a"], &["*"]);
        assert_eq!(judged("git", &input), vec![input.clone()]);
        assert_eq!(rules("git", &input)[0].pattern, Default::default());
    }
}
