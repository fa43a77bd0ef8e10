//! The text beside the tree: where statements begin and end, what they look
//! like without their values, and where a syntax error is.
//!
//! It reads the tokens of PostgreSQL's own lexer, so that comments, dollar
//! quotes and escapes are what the server takes them for.

use super::limits::IDENTIFIER_BYTES_MAX;
use super::refused::{Refused, RefusedKind, echo};
use pg_query::protobuf::Token;
use std::ops::Range;

/// A text and its tokens, comments left out.
pub(super) struct Text<'a> {
    sql: &'a str,
    tokens: Vec<Lexeme>,
}

struct Lexeme {
    range: Range<usize>,
    kind: Token,
}

impl<'a> Text<'a> {
    /// Reads the tokens of a text the grammar has accepted.
    pub(super) fn read(sql: &'a str) -> Result<Self, Refused> {
        let tokens = lexemes(sql).map_err(|_| internal())?;
        if tokens.iter().any(|token| sql.get(token.range.clone()).is_none()) {
            return Err(internal());
        }
        Ok(Text { sql, tokens })
    }

    /// Refuses names that the server would cut off.
    pub(super) fn check_identifiers(&self) -> Result<(), Refused> {
        let too_long = self.tokens.iter().find(|token| {
            matches!(token.kind, Token::Ident | Token::Uident)
                && token.range.len() > IDENTIFIER_BYTES_MAX
                && unquoted(&self.sql[token.range.clone()]).len() > IDENTIFIER_BYTES_MAX
        });
        match too_long {
            None => Ok(()),
            Some(token) => Err(Refused::new(
                RefusedKind::Complexity,
                format!(
                    "the name `{}` has more than {IDENTIFIER_BYTES_MAX} bytes; shorten it",
                    echo(unquoted(&self.sql[token.range.clone()]))
                ),
            )),
        }
    }

    /// Where the statement is that the tree places here: from its first token
    /// to its last, without `;` and comments around it. A length of zero means
    /// the rest of the text.
    pub(super) fn statement(&self, location: i32, len: i32) -> Result<Range<usize>, Refused> {
        let start = usize::try_from(location).map_err(|_| internal())?;
        let end = match usize::try_from(len).map_err(|_| internal())? {
            0 => self.sql.len(),
            len => start + len,
        };
        let tokens = self.tokens_in(start..end);
        let last = tokens.iter().rfind(|token| token.kind != Token::Ascii59);
        match (tokens.first(), last) {
            (Some(first), Some(last)) => Ok(first.range.start..last.range.end),
            _ => Err(internal()),
        }
    }

    /// The tokens of `range` with `?` in place of every literal, and without
    /// comments: what may be logged.
    pub(super) fn normalized(&self, range: &Range<usize>) -> String {
        let mut normalized = String::new();
        let mut end = range.start;
        for token in self.tokens_in(range.clone()) {
            if token.range.start > end {
                normalized.push(' ');
            }
            end = token.range.end;
            match token.kind {
                Token::Sconst
                | Token::Usconst
                | Token::Bconst
                | Token::Xconst
                | Token::Fconst
                | Token::Iconst => normalized.push('?'),
                _ => normalized.push_str(&self.sql[token.range.clone()]),
            }
        }
        normalized
    }

    fn tokens_in(&self, range: Range<usize>) -> &[Lexeme] {
        let first = self.tokens.partition_point(|token| token.range.start < range.start);
        let last = self.tokens.partition_point(|token| token.range.end <= range.end);
        self.tokens.get(first..last).unwrap_or_default()
    }
}

fn lexemes(sql: &str) -> Result<Vec<Lexeme>, pg_query::Error> {
    Ok(pg_query::scan_tokens(sql)?
        .into_iter()
        .map(|token| Lexeme {
            range: usize::try_from(token.start).unwrap_or(usize::MAX)
                ..usize::try_from(token.end).unwrap_or(usize::MAX),
            kind: token.token(),
        })
        .filter(|token| !matches!(token.kind, Token::SqlComment | Token::CComment))
        .collect())
}

/// An identifier without its quotes; escapes inside count as they are written.
fn unquoted(identifier: &str) -> &str {
    let inner = identifier.find('"').map_or(identifier, |quote| &identifier[quote + 1..]);
    inner.strip_suffix('"').unwrap_or(inner)
}

fn internal() -> Refused {
    Refused::new(RefusedKind::Internal, "the statement could not be read; report this, with the statement")
}

/// What to answer when the grammar does not accept `sql`.
pub(super) fn syntax_error(sql: &str, error: &pg_query::Error) -> Refused {
    match error {
        pg_query::Error::Decode(error) if error.to_string().contains("recursion limit") => too_complex(),
        pg_query::Error::Parse(message) if message.contains("memory exhausted") => too_complex(),
        pg_query::Error::Parse(message) if message.contains("stack depth") => too_complex(),
        pg_query::Error::Parse(message) if message.contains("nested too deeply") => too_complex(),
        pg_query::Error::Parse(message) => {
            let message = message.strip_prefix("Invalid statement: ").unwrap_or(message);
            let place = position(sql, message)
                .map_or_else(String::new, |characters| format!(" (character {})", characters + 1));
            Refused::new(
                RefusedKind::Syntax,
                format!("{}{place}; correct the statement", echo_message(message)),
            )
        }
        _ => internal(),
    }
}

/// The answer to deep nesting.
pub(super) fn too_complex() -> Refused {
    Refused::new(
        RefusedKind::Complexity,
        "the statement is nested too deeply; split it, or replace long chains of operators by lists (`IN (…)`, `concat(…)`)",
    )
}

/// PostgreSQL's message repeats the user's text: both halves are kept short.
fn echo_message(message: &str) -> String {
    match message.split_once(" at or near ") {
        Some((problem, near)) => format!("{} at or near {}", echo(problem), echo(near)),
        None => echo(message),
    }
}

/// How many characters stand before the error. The parser keeps that to
/// itself, so it is found again: the first token with which the error occurs.
fn position(sql: &str, message: &str) -> Option<usize> {
    let at = match lexemes(sql) {
        _ if message.ends_with("at end of input") => sql.len(),
        _ if message.ends_with("near \"..\"") => return None,
        Ok(tokens) => tokens[first_failing(sql, &tokens, message)?].range.start,
        Err(_) => {
            let near = message.split_once(" at or near \"")?.1.strip_suffix('"')?;
            if sql.ends_with(near) { sql.len() - near.len() } else { sql.find(near)? }
        }
    };
    Some(sql.get(..at)?.chars().count())
}

/// A token that the lexer knows and SQL has no use for.
const NEVER: &str = " ..";

/// A parser that reads from the left stops at the first wrong token, so that
/// every longer text fails in the same way and every shorter one otherwise:
/// at [`NEVER`], which also saves it from building a tree.
fn first_failing(sql: &str, tokens: &[Lexeme], message: &str) -> Option<usize> {
    let (mut low, mut high) = (0, tokens.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let prefix = sql.get(..tokens[middle].range.end)?;
        match pg_query::parse(&format!("{prefix}{NEVER}"), 0) {
            Err(pg_query::Error::Parse(other)) if other == message => high = middle,
            _ => low = middle + 1,
        }
    }
    (low < tokens.len()).then_some(low)
}
