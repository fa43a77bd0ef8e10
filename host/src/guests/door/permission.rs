//! `permission.ask`: a plugin that would rather ask before it goes on.
//!
//! There is no capability for it: with the answer nothing can be done that could not be done without it. So nothing
//! is asked of the gate but whether the caller still stands.

use super::Door;
use crate::{
    guests::Asked,
    limits::{OUTPUT_DEPTH_MAX, PERMISSION_INPUT_BYTES_MAX, QUESTION_PATTERNS_MAX, QUESTIONS_PER_TURN_MAX},
    sandbox::door::{DoorError, Question},
    tools::output,
};
use serde_json::{Map, Value, json};

/// The name of what a plugin is about to do.
const ACTION_BYTES_MAX: usize = 64;
/// What it would do it to, such as a path or a command.
const PATTERN_BYTES_MAX: usize = 1024;
/// All of it, as JSON, with room for the names of its members.
const BYTES_MAX: usize = PERMISSION_INPUT_BYTES_MAX - 256;

pub(super) async fn ask(door: &Door, question: Question) -> Result<(), DoorError> {
    let question = clean(door, question);
    let details = check(&question)?;
    if !door.chain.take_question() {
        return Err(DoorError::Limit(format!(
            "the tools of one turn ask {QUESTIONS_PER_TURN_MAX} questions at the most; ask once for several things"
        )));
    }
    let grants = door.grants_now().await?;
    let Some(permissions) = &door.chain.permissions else {
        return Err(DoorError::Denied(
            "nobody can be asked: this call belongs to no session's turn; what a tool may touch at all is granted when it is reviewed".into(),
        ));
    };
    let asked = Asked {
        plugin: grants.plugin().clone(),
        capabilities: grants.effective().map(ToString::to_string).collect(),
        question,
        details,
    };
    permissions.ask(&door.chain, asked).await
}

fn clean(door: &Door, question: Question) -> Question {
    let all = |texts: Vec<String>| texts.into_iter().map(|text| door.clean_text(text)).collect();
    Question {
        action: question.action,
        patterns: all(question.patterns),
        always: all(question.always),
        details: door.clean_json(question.details),
    }
}

/// What is wrong with it; its details, read.
fn check(question: &Question) -> Result<Map<String, Value>, DoorError> {
    let invalid = |text: String| Err(DoorError::Invalid(text));
    if !is_action(&question.action) {
        return invalid(format!(
            "an action is 1 to {ACTION_BYTES_MAX} letters, digits, `.`, `_` and `-`, such as `push`"
        ));
    }
    for patterns in [&question.patterns, &question.always] {
        if patterns.len() > QUESTION_PATTERNS_MAX || !patterns.iter().all(|pattern| is_pattern(pattern)) {
            return invalid(format!(
                "a question has {QUESTION_PATTERNS_MAX} patterns at the most, each 1 to {PATTERN_BYTES_MAX} bytes without control characters"
            ));
        }
    }
    // Shown whole, or not at all: whoever decides must see what "always" would hold for.
    let texts = json!([question.patterns, question.always]).to_string().len();
    if texts + question.details.len() > BYTES_MAX || output::depth(&question.details) >= OUTPUT_DEPTH_MAX {
        return invalid(format!(
            "a question is {BYTES_MAX} bytes of JSON at the most, and its details less than {OUTPUT_DEPTH_MAX} deep"
        ));
    }
    serde_json::from_str(&question.details)
        .or_else(|_| invalid("details are a JSON object; `{}` where there are none".to_owned()))
}

fn is_action(text: &str) -> bool {
    (1..=ACTION_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn is_pattern(text: &str) -> bool {
    (1..=PATTERN_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(action: &str, pattern: &str, details: &str) -> Question {
        let patterns = vec![pattern.to_owned()];
        Question { action: action.into(), always: patterns.clone(), patterns, details: details.into() }
    }

    #[test]
    fn a_question_is_short_and_plain() {
        assert_eq!(check(&question("git.push-2", "origin/ünï *", r#"{"a": 1}"#)).unwrap()["a"], 1);
        let long = "x".repeat(PATTERN_BYTES_MAX + 1);
        for (action, pattern, details) in [
            ("", "p", "{}"),
            ("a:b", "p", "{}"),
            ("a b", "p", "{}"),
            ("a", "", "{}"),
            ("a", "clear\u{1b}[2J", "{}"),
            ("a", long.as_str(), "{}"),
            ("a", "p", "[]"),
            ("a", "p", ""),
        ] {
            let wrong = check(&question(action, pattern, details));
            assert!(matches!(wrong, Err(DoorError::Invalid(_))), "{action} {pattern} {details}");
        }
        let many =
            Question { patterns: vec!["p".into(); QUESTION_PATTERNS_MAX + 1], ..question("a", "p", "{}") };
        assert!(check(&many).is_err());
    }
}
