//! How deeply a file nests, looked at before the parser sees it.
//!
//! The parser recurses, and what it keeps for each level of functions and
//! classes takes tens of kilobytes: a megabyte of `class A{a=` would take
//! gigabytes. No person and no bundler nests as deeply as [`NESTING_MAX`].
//!
//! It reads tokens roughly, telling a regular expression from a division by what
//! stands before it: a guess that keeps known bombs out. It does not replace
//! limits on the process that parses.

use super::{Invalid, limits::NESTING_MAX, place::Place};

/// What the next characters are part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// `(`: what ends a statement elsewhere does not here.
    Parenthesis,
    /// `[` or `{`.
    Bracket,
    /// A template, outside of its holes.
    Template,
}

/// Refuses a file that nests too deeply.
pub(super) fn check(file: &str, source: &str) -> Result<(), Invalid> {
    let mut reader = Reader {
        bytes: source.as_bytes(),
        at: 0,
        open: vec![],
        heads: 0,
        ends: false,
        before: Before::Operator,
    };
    while reader.at < reader.bytes.len() {
        reader.step();
        if reader.open.len() + reader.heads > NESTING_MAX {
            let why = format!(
                "this nests more than {NESTING_MAX} levels deep; take parts out into functions of their own"
            );
            return Err(Invalid { why, place: Some(Place::at(file, source, reader.at)) });
        }
    }
    Ok(())
}

/// What stood before: after a value, `/` divides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Value,
    Operator,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    open: Vec<Within>,
    /// `if (…) if (…) …`: statements in one another without a bracket.
    heads: usize,
    /// Whether a statement just ended, unless `else` follows.
    ends: bool,
    before: Before,
}

impl Reader<'_> {
    fn step(&mut self) {
        if self.open.last() == Some(&Within::Template) {
            return self.template();
        }
        let rest = &self.bytes[self.at..];
        let is_blank = rest[0].is_ascii_whitespace() || rest.starts_with(b"//") || rest.starts_with(b"/*");
        if self.ends && !is_blank {
            let goes_on = rest.starts_with(b"else") && !rest.get(4).is_some_and(|byte| is_word(*byte));
            self.heads = if goes_on { self.heads } else { 0 };
            self.ends = false;
        }
        match rest {
            [b'/', b'/', ..] => self.skip_to(b"\n"),
            [b'/', b'*', ..] => {
                self.at += 2;
                self.skip_to(b"*/");
            }
            [b'/', ..] if self.before == Before::Operator => self.expression(),
            [quote @ (b'"' | b'\''), ..] => self.string(*quote),
            [b'`', ..] => {
                self.open.push(Within::Template);
                self.at += 1;
            }
            [b'(', ..] => {
                self.open.push(Within::Parenthesis);
                self.one(Before::Operator);
            }
            [b'[' | b'{', ..] => {
                self.open.push(Within::Bracket);
                self.one(Before::Operator);
            }
            [b'}', ..] => {
                self.open.pop();
                self.end_statement();
            }
            [b')' | b']', ..] => {
                self.open.pop();
                self.one(Before::Value);
            }
            [b';', ..] => self.end_statement(),
            [byte, ..] if is_word(*byte) => self.word(),
            [byte, ..] if byte.is_ascii_whitespace() => self.at += 1,
            _ => self.one(Before::Operator),
        }
    }

    fn one(&mut self, before: Before) {
        self.at += 1;
        self.before = before;
    }

    fn end_statement(&mut self) {
        self.ends = self.open.last() != Some(&Within::Parenthesis);
        self.one(Before::Operator);
    }

    fn skip_to(&mut self, end: &[u8]) {
        let found = self.bytes[self.at..].windows(end.len()).position(|window| window == end);
        self.at = found.map_or(self.bytes.len(), |found| self.at + found + end.len());
    }

    fn string(&mut self, quote: u8) {
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == quote || byte == b'\n' {
                break;
            }
        }
        self.before = Before::Value;
    }

    /// A regular expression: it ends at the next `/` outside of a class, at the latest with the line.
    fn expression(&mut self) {
        self.at += 1;
        let mut in_class = false;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += if byte == b'\\' { 2 } else { 1 };
            match byte {
                b'[' => in_class = true,
                b']' => in_class = false,
                b'/' if !in_class => break,
                b'\n' => break,
                _ => {}
            }
        }
        self.before = Before::Value;
    }

    fn template(&mut self) {
        match &self.bytes[self.at..] {
            [b'\\', ..] => self.at += 2,
            [b'`', ..] => {
                self.open.pop();
                self.one(Before::Value);
            }
            [b'$', b'{', ..] => {
                self.open.push(Within::Bracket);
                self.at += 2;
                self.before = Before::Operator;
            }
            _ => self.at += 1,
        }
    }

    fn word(&mut self) {
        let length = self.bytes[self.at..].iter().take_while(|byte| is_word(**byte)).count();
        let word = &self.bytes[self.at..self.at + length];
        self.at += length;
        self.heads += usize::from(matches!(word, b"if" | b"for" | b"while" | b"do" | b"with"));
        let keyword: [&[u8]; 8] = [b"return", b"typeof", b"case", b"in", b"of", b"delete", b"void", b"else"];
        self.before = if keyword.contains(&word) { Before::Operator } else { Before::Value };
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_fine(source: &str) -> bool {
        check("a.ts", source).is_ok()
    }

    #[test]
    fn what_people_and_bundlers_write_is_fine() {
        let zod = include_str!("../../../predefined/runtimes/javascript/vendor/zod/zod.min.js");
        assert!(is_fine(zod));
        assert!(is_fine(&"a(\"(((\", '[[[', `{{{ ${b} (((`, /[/(]\\/[(]/g); // (((\n/* {{{ */".repeat(1000)));
        assert!(is_fine(&"if (a) { b() } else if (c) d();\n".repeat(1000)));
    }

    #[test]
    fn what_only_an_attacker_writes_is_refused_before_it_is_parsed() {
        for bomb in [
            "(",
            "[",
            "{",
            "class A{a=",
            "function a(){",
            "if(1)",
            "for(;;)if(1)",
            "if({})",
            "if(1);else ",
            "if(1){}else ",
            "`${",
            "a=>{",
            "namespace A{",
            "/}}}/;class A{",
            "\"}\";({a:",
        ] {
            assert!(!is_fine(&bomb.repeat(2 * NESTING_MAX)), "{bomb}");
        }
    }
}
