//! Commands: prompts with a name, to be filled in with arguments.
//!
//! A template holds `$ARGUMENTS` for all that was written after the name, as it
//! was written, or `$1` to `$9` for its words, which may be in quotes
//! (`words`); the highest of them takes what is left. Without any, the
//! arguments stand below the text. As opencode has it, but for what quotes are:
//! there no backslash is one, and what is not closed is left out.

pub mod routes;
pub(crate) mod store;
mod words;

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

/// Why a template was not filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// It is more than a prompt may be.
    #[error("with them the prompt is over {JSON_BYTES_MAX} bytes")]
    TooLong,
    /// A quote is not closed.
    #[error(transparent)]
    Words(#[from] words::Unclosed),
}

/// The name and the arguments of a line such as `/review the last draft`; none where it is no such line.
pub fn parse(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix('/')?;
    Some(line.split_once(char::is_whitespace).unwrap_or((line, "")))
}

/// A template with its arguments.
///
/// # Errors
/// [`FillError`]
pub fn fill(template: &str, arguments: &str) -> Result<String, FillError> {
    let arguments = arguments.trim();
    let highest = (1..=9_usize).rev().find(|n| template.contains(&format!("${n}")));
    // Who wants no words may write an apostrophe.
    let words = if highest.is_some() { words::split(arguments)? } else { vec![] };
    let mut filled = String::with_capacity(template.len() + arguments.len());
    let mut rest = template;
    // In one pass, so that what was filled in is not filled in again.
    while let Some(at) = rest.find('$') {
        if filled.len() > JSON_BYTES_MAX {
            return Err(FillError::TooLong);
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
            match of_it.first() {
                Some(_) if last => filled.push_str(&of_it.join(" ")),
                Some(word) => filled.push_str(word),
                None => {}
            }
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
    if filled.len() <= JSON_BYTES_MAX { Ok(filled) } else { Err(FillError::TooLong) }
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
            ("$2 of $1", r#""the last" 'draft one' two"#, "draft one two of the last"),
            ("<$1> <$2>", r#"a\ b """#, "<a b> <>"),
            ("$1: $ARGUMENTS", r#"a "b c""#, r#"a b c: a "b c""#),
            ("Review $ARGUMENTS", "what they're at", "Review what they're at"),
            ("Plain", "it's \"so", "Plain\n\nit's \"so"),
        ] {
            assert_eq!(fill(template, arguments).as_deref(), Ok(filled), "{template}");
        }
        let long = fill(&"$ARGUMENTS".repeat(3000), &"x".repeat(1 << 20));
        assert_eq!(long, Err(FillError::TooLong), "a little that grows");
        let open = fill("$1", " ä \"b c ").unwrap_err().to_string();
        assert_eq!(open, "the quote at character 3 is not closed");
    }

    #[test]
    fn a_line_is_a_name_and_what_comes_after_it() {
        assert_eq!(parse("/review the  last"), Some(("review", "the  last")));
        assert_eq!(parse("/review\ta \"b c\""), Some(("review", "a \"b c\"")));
        assert_eq!(
            (parse("/review"), parse("/"), parse("review")),
            (Some(("review", "")), Some(("", "")), None)
        );
    }

    #[test]
    fn a_command_has_a_plain_name_and_says_something() {
        assert!(check("fix-it_2", "Fix it", "").is_empty());
        let wrong = check("fix it", " ", "");
        let pointers: Vec<_> = wrong.iter().map(|field| field.pointer.as_str()).collect();
        assert_eq!(pointers, ["/name", "/template"]);
    }
}
