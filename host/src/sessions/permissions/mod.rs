//! Permissions: whether a tool may run in a session now, or somebody is asked first.
//!
//! A capability says what a plugin may touch at all; a permission is about one
//! call in one session. Rules say `allow`, `ask` or `deny` by the tool's name and
//! what it is given; the last that matches wins, and where none does the
//! session's mode decides. What is asked is a row and an event; the call waits,
//! without a connection, until somebody answers or time is up, which means no.
//! So a run that nobody watches never hangs.
//!
//! A session below another is judged by its own rules and by those of all above
//! it; the strictest counts.

pub mod answer;
pub mod gate;
mod question;
pub(crate) mod store;

use super::log::{Draft, Kind};
use crate::{error::FieldError, limits::PERMISSION_RULES_MAX};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The longest glob, in bytes.
const GLOB_BYTES_MAX: usize = 1024;

/// What a rule says; the stricter is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It runs.
    Allow,
    /// Somebody is asked.
    Ask,
    /// It does not run.
    Deny,
}

/// One rule. What a plugin asks about itself is the tool `<plugin>:<action>`, with the member `pattern`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The tool's name; `*` stands for any text.
    pub tool: String,
    /// Members of the input and what they must be, `*` standing for any text. Each must be there, and be text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pattern: BTreeMap<String, String>,
    /// What it says.
    pub action: Verdict,
}

/// The rules of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What holds where no rule matches.
    #[serde(default = "allow")]
    pub mode: Verdict,
    /// In order; the last that matches wins.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

const fn allow() -> Verdict {
    Verdict::Allow
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { mode: allow(), rules: vec![] }
    }
}

impl Policy {
    /// What holds for this call.
    pub fn judge(&self, tool: &str, input: &Map<String, Value>) -> Verdict {
        let last = self.rules.iter().rev().find(|rule| rule.matches(tool, input));
        last.map_or(self.mode, |rule| rule.action)
    }

    /// What holds for these inputs together: the strictest that holds for one of them.
    fn judge_all(&self, tool: &str, inputs: &[Map<String, Value>]) -> Verdict {
        inputs.iter().map(|input| self.judge(tool, input)).max().unwrap_or(Verdict::Deny)
    }

    /// What is wrong with it, `at` being where it stands in a body.
    pub fn check(&self, at: &str) -> Vec<FieldError> {
        let mut wrong = vec![];
        if self.rules.len() > PERMISSION_RULES_MAX {
            wrong.push(FieldError::new(
                format!("{at}/rules"),
                format!("{PERMISSION_RULES_MAX} rules at the most"),
            ));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            let globs = rule.pattern.values().chain([&rule.tool]);
            if rule.tool.is_empty() || globs.into_iter().any(|glob| glob.len() > GLOB_BYTES_MAX) {
                let text =
                    format!("names a tool (`*` for all); {GLOB_BYTES_MAX} bytes at the most, patterns too");
                wrong.push(FieldError::new(format!("{at}/rules/{index}"), text));
            }
        }
        wrong
    }
}

impl Rule {
    /// Whether it speaks of this call.
    fn matches(&self, tool: &str, input: &Map<String, Value>) -> bool {
        let fits = |(name, glob): (&String, &String)| {
            input.get(name).and_then(Value::as_str).is_some_and(|text| is_like(text, glob))
        };
        is_like(tool, &self.tool) && self.pattern.iter().all(fits)
    }
}

/// Whether a text is like a glob, in which `*` stands for any text. Takes no longer than text times glob.
fn is_like(text: &str, glob: &str) -> bool {
    let mut pieces = glob.split('*');
    let Some(rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    let mut rest = rest;
    for piece in pieces {
        // The first place is the best: it leaves the most for what follows.
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// What holds for all of these inputs in a session with its rules and those above it; none at all: it is gone, and runs nothing more.
pub fn strictest(policies: &[Policy], tool: &str, inputs: &[Map<String, Value>]) -> Verdict {
    policies.iter().map(|policy| policy.judge_all(tool, inputs)).max().unwrap_or(Verdict::Deny)
}

/// What is said to an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// This call may run.
    Once,
    /// This one and all like it, in this session.
    Always,
    /// It may not.
    Reject,
}

impl Response {
    /// The name in the table and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Response::Once => "once",
            Response::Always => "always",
            Response::Reject => "reject",
        }
    }
}

/// Answers all that a turn still asks, when it ends: no.
pub(super) async fn close(
    conn: &mut PgConnection,
    turn_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Draft>> {
    let message = "the turn ended before anybody answered";
    let closed = store::close(conn, turn_id, message, now).await?;
    Ok(closed.into_iter().map(|id| resolved(turn_id, id, Response::Reject, Some(message))).collect())
}

fn resolved(turn_id: Uuid, permission_id: Uuid, response: Response, message: Option<&str>) -> Draft {
    let data = json!({ "permission_id": permission_id, "response": response, "message": message });
    Draft::new(Kind::PermissionResolved, Some(turn_id), data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(tool: &str, pattern: &[(&str, &str)], action: Verdict) -> Rule {
        let own = |(name, glob): &(&str, &str)| ((*name).to_owned(), (*glob).to_owned());
        Rule { tool: tool.to_owned(), pattern: pattern.iter().map(own).collect(), action }
    }

    #[test]
    fn the_last_rule_that_matches_wins_and_the_mode_where_none_does() {
        let policy = Policy {
            mode: Verdict::Ask,
            rules: vec![
                rule("git*", &[], Verdict::Allow),
                rule("*", &[("path", "/etc/*")], Verdict::Deny),
                rule("git_push", &[], Verdict::Ask),
            ],
        };
        let input = |value: Value| value.as_object().unwrap().clone();
        let nothing = input(json!({}));
        assert_eq!(policy.judge("git_status", &nothing), Verdict::Allow);
        assert_eq!(policy.judge("git_push", &nothing), Verdict::Ask);
        assert_eq!(policy.judge("other", &nothing), Verdict::Ask);
        assert_eq!(policy.judge("git_log", &input(json!({ "path": "/etc/passwd" }))), Verdict::Deny);
        assert_eq!(policy.judge("git_log", &input(json!({ "path": ["/etc/passwd"] }))), Verdict::Allow);
    }

    #[test]
    fn of_the_rules_of_a_session_and_those_above_it_the_strictest_counts() {
        let of = |mode| Policy { mode, rules: vec![] };
        let of_all = |modes: &[Verdict]| {
            let policies: Vec<_> = modes.iter().map(|mode| of(*mode)).collect();
            strictest(&policies, "f", &[Map::new()])
        };
        assert_eq!(of_all(&[Verdict::Allow, Verdict::Ask]), Verdict::Ask);
        assert_eq!(of_all(&[Verdict::Deny, Verdict::Allow]), Verdict::Deny);
        assert_eq!(of_all(&[Verdict::Allow]), Verdict::Allow);
        assert_eq!(of_all(&[]), Verdict::Deny, "one that is gone");
    }

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_does() {
        for (text, glob, fits) in [
            ("abc", "abc", true),
            ("abc", "a*c", true),
            ("abc", "*", true),
            ("", "*", true),
            ("", "", true),
            ("a.c", "a.c", true),
            ("abc", "a.c", false),
            ("abc", "ab", false),
            ("abab", "*ab", true),
            ("aXbYc", "a*b*c", true),
            ("ab", "a*b*b", false),
            ("a", "a*a", false),
            ("ünï", "ü*ï", true),
        ] {
            assert_eq!(is_like(text, glob), fits, "{text} {glob}");
        }
    }
}
