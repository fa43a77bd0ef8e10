//! The words of what was written after a command, as a POSIX shell splits them, and nothing else that a shell does: no
//! variables, no patterns, no commands.

use std::{iter::Peekable, str::Chars};

/// A quote that is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quote at character {at} is not closed")]
pub struct Unclosed {
    /// Which character it is, from 1.
    pub at: usize,
}

/// Splits at white space that is not in quotes and has no backslash before it. In single quotes everything stands for
/// itself; in double quotes a backslash does unless `"`, `\`, `$` or a backquote comes after it.
pub(super) fn split(text: &str) -> Result<Vec<String>, Unclosed> {
    let (mut words, mut word) = (vec![], None::<String>);
    let mut rest = Characters { chars: text.chars().peekable(), at: 0 };
    while let Some(c) = rest.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => rest.single(word.get_or_insert_default())?,
            '"' => rest.double(word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(rest.next().unwrap_or('\\')),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

struct Characters<'a> {
    chars: Peekable<Chars<'a>>,
    /// How many were read.
    at: usize,
}

impl Characters<'_> {
    fn next(&mut self) -> Option<char> {
        self.at += 1;
        self.chars.next()
    }

    fn single(&mut self, word: &mut String) -> Result<(), Unclosed> {
        let at = self.at;
        loop {
            match self.next().ok_or(Unclosed { at })? {
                '\'' => return Ok(()),
                c => word.push(c),
            }
        }
    }

    fn double(&mut self, word: &mut String) -> Result<(), Unclosed> {
        let at = self.at;
        loop {
            match self.next().ok_or(Unclosed { at })? {
                '"' => return Ok(()),
                '\\' if matches!(self.chars.peek(), Some('"' | '\\' | '$' | '`')) => {
                    word.extend(self.next());
                }
                c => word.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_a_shell_makes_of_them() {
        for (text, words) in [
            ("", &[][..]),
            ("  a\t b\nc ", &["a", "b", "c"]),
            (r#"a "b c" d"#, &["a", "b c", "d"]),
            (r"a 'b  c' d", &["a", "b  c", "d"]),
            (r#"a"b c"'d e'f"#, &["ab cd ef"]),
            (r#""" ''"#, &["", ""]),
            (r"a\ b \' \\ \a", &["a b", "'", r"\", "a"]),
            (r#""a\"b" "\a" "\\" "\$x" "\`""#, &[r#"a"b"#, r"\a", r"\", "$x", "`"]),
            (r"'a\b' 'c\'", &[r"a\b", r"c\"]),
            (r#""it's" '"'"#, &["it's", "\""]),
            ("$HOME *.rs $(x) `y` ~ #z", &["$HOME", "*.rs", "$(x)", "`y`", "~", "#z"]),
            (r"a\", &[r"a\"]),
            ("ä\u{3000}日本", &["ä", "日本"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn a_quote_that_is_not_closed_is_named_by_its_place() {
        for (text, at) in
            [("\"", 1), ("ä 'b", 3), (r#"a "b" "c"#, 7), (r#""a\""#, 1), (r"'a\'b'", 6), ("a \" ' ", 3)]
        {
            assert_eq!(split(text), Err(Unclosed { at }), "{text}");
        }
    }
}
