//! Commands: prompts with a name, to be filled in with arguments.
//!
//! A template holds `$ARGUMENTS` for all that was written after the name, or
//! `$1` to `$9` for its words; the highest of them takes what is left. Without
//! any, the arguments stand below the text.

pub mod routes;
pub(crate) mod store;

use crate::{
    error::FieldError,
    limits::{COMMAND_BYTES_MAX, JSON_BYTES_MAX},
};

/// The longest name.
const NAME_BYTES_MAX: usize = 64;

/// Whether this can name a command: letters, digits, `-` and `_`.
pub fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(fits)
}

/// What is wrong with a command.
pub fn check(name: &str, template: &str, description: &str) -> Vec<FieldError> {
    let mut wrong = vec![];
    if !is_name(name) {
        let text = format!("a command's name is letters, digits, `-` and `_`, {NAME_BYTES_MAX} at the most");
        wrong.push(FieldError::new("/name", text));
    }
    if template.trim().is_empty() {
        wrong.push(FieldError::new("/template", "is empty; write what the agent is to be told"));
    }
    for (field, text) in [("/template", template), ("/description", description)] {
        if text.len() > COMMAND_BYTES_MAX {
            wrong.push(FieldError::new(field, format!("{COMMAND_BYTES_MAX} bytes at the most")));
        }
    }
    wrong
}

/// A template with its arguments; none where that is more than a prompt may be.
pub fn fill(template: &str, arguments: &str) -> Option<String> {
    let arguments = arguments.trim();
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let highest = (1..=9_usize).rev().find(|n| template.contains(&format!("${n}")));
    let mut filled = String::with_capacity(template.len() + arguments.len());
    let mut rest = template;
    // In one pass, so that what was filled in is not filled in again.
    while let Some(at) = rest.find('$') {
        if filled.len() > JSON_BYTES_MAX {
            return None;
        }
        filled.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let digit = after.chars().next().and_then(|c| c.to_digit(10)).filter(|n| *n > 0).map(|n| n as usize);
        if let Some(after) = after.strip_prefix("ARGUMENTS") {
            filled.push_str(arguments);
            rest = after;
        } else if let Some(n) = digit {
            let last = highest == Some(n);
            let of_it = words.get(n - 1..).unwrap_or_default();
            filled.push_str(&if last {
                of_it.join(" ")
            } else {
                of_it.first().copied().unwrap_or_default().to_owned()
            });
            rest = &after[1..];
        } else {
            filled.push('$');
            rest = after;
        }
    }
    filled.push_str(rest);
    if highest.is_none() && !template.contains("$ARGUMENTS") && !arguments.is_empty() {
        filled.push_str("\n\n");
        filled.push_str(arguments);
    }
    (filled.len() <= JSON_BYTES_MAX).then_some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_go_where_the_template_says_and_are_not_filled_in_again() {
        for (template, arguments, filled) in [
            ("Review $ARGUMENTS now", " a b ", "Review a b now"),
            ("From $1 to $2", "here over there", "From here to over there"),
            ("Only $2", "one", "Only "),
            ("Plain", "more words", "Plain\n\nmore words"),
            ("Plain", "", "Plain"),
            ("$1 and $1", "$ARGUMENTS", "$ARGUMENTS and $ARGUMENTS"),
            ("costs $ 5 and $0 $x", "", "costs $ 5 and $0 $x"),
            ("ends with $", "", "ends with $"),
            ("$1ü", "ü", "üü"),
        ] {
            assert_eq!(fill(template, arguments).as_deref(), Some(filled), "{template}");
        }
        assert_eq!(fill(&"$ARGUMENTS".repeat(3000), &"x".repeat(1 << 20)), None, "a little that grows");
    }

    #[test]
    fn a_command_has_a_plain_name_and_says_something() {
        assert!(check("fix-it_2", "Fix it", "").is_empty());
        let wrong = check("fix it", " ", "");
        let pointers: Vec<_> = wrong.iter().map(|field| field.pointer.as_str()).collect();
        assert_eq!(pointers, ["/name", "/template"]);
    }
}
