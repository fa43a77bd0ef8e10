//! Finding text in a workspace.

use super::{
    Path, Space, WorkspaceError,
    space::{Kind, walk},
};
use crate::limits::{
    WORKSPACE_FILES_MAX, WORKSPACE_LINE_CHARS_MAX, WORKSPACE_LOOK_TIME_MAX, WORKSPACE_TEXT_BYTES_MAX,
};
use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use std::{io::Read, ops::ControlFlow, time::Instant};

/// A pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 512;
/// What a compiled pattern may take, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Where a file that has a zero byte is taken for one that holds no text, in bytes from its beginning.
const LOOKED_AT_BYTES: usize = 8 << 10;

/// What is looked for.
#[derive(Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// A text as it stands, or a regular expression, in which no match takes longer than its text is long.
    ///
    /// # Errors
    /// [`WorkspaceError::Invalid`]
    pub fn new(text: &str, is_regex: bool) -> Result<Pattern, WorkspaceError> {
        if text.is_empty() || text.len() > PATTERN_BYTES_MAX {
            return Err(WorkspaceError::Invalid(format!(
                "what is looked for is 1 to {PATTERN_BYTES_MAX} bytes"
            )));
        }
        let expression = if is_regex { text.to_owned() } else { regex::escape(text) };
        let built = RegexBuilder::new(&expression)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .build();
        built.map(Pattern).map_err(|cause| WorkspaceError::Invalid(format!("no regular expression: {cause}")))
    }
}

/// A line in which it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: u64,
    /// The character in it, from 1.
    pub column: u64,
    /// The line, or a part of it.
    pub text: String,
    /// Where the line begins in the file, in bytes.
    #[serde(skip)]
    pub offset: u64,
    /// Where in it the match begins and ends, in bytes; none where only a part of the line is there.
    #[serde(skip)]
    pub span: Option<(usize, usize)>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Where, in the order of paths and lines: the first of each line.
    #[serde(rename = "data")]
    pub matches: Vec<Match>,
    /// Whether there may be more: too many, or it took too long.
    pub truncated: bool,
}

/// Looks through the text files at `path` and below it.
///
/// # Errors
/// [`WorkspaceError`]
pub fn find(space: &Space, path: &Path, pattern: &Pattern, limit: usize) -> Result<Found, WorkspaceError> {
    let mut found = Found::default();
    let ends = Instant::now() + WORKSPACE_LOOK_TIME_MAX;
    let is_file =
        space.find(path)?.ok_or_else(|| WorkspaceError::NotFound(path.to_string()))?.kind == Kind::File;
    if is_file {
        let text = text(space, path);
        look_through(path.as_str(), text.as_deref().unwrap_or_default(), pattern, limit, ends, &mut found);
        return Ok(found);
    }
    let mut looked_at = 0;
    let entries = {
        let mut files = vec![];
        let walked = walk(&space.directory(path)?, path, &mut |_, entry| {
            looked_at += 1;
            files.extend((entry.kind == Kind::File).then_some(entry.path));
            if looked_at > WORKSPACE_FILES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        found.truncated = walked?.is_break();
        files
    };
    for file in entries {
        let Ok(path) = Path::parse_inside(&file) else { continue };
        let Some(text) = text(space, &path) else { continue };
        look_through(&file, &text, pattern, limit, ends, &mut found);
        if found.matches.len() >= limit || Instant::now() > ends {
            found.truncated = true;
            break;
        }
    }
    Ok(found)
}

/// A file that is text and not too large; none: another, or gone meanwhile.
fn text(space: &Space, path: &Path) -> Option<Vec<u8>> {
    let (mut file, entry) = space.read(path).ok()?;
    if entry.size > WORKSPACE_TEXT_BYTES_MAX {
        return None;
    }
    let mut bytes = vec![];
    Read::by_ref(&mut file).take(WORKSPACE_TEXT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let beginning = &bytes[..bytes.len().min(LOOKED_AT_BYTES)];
    (!beginning.contains(&0)).then_some(bytes)
}

fn look_through(path: &str, text: &[u8], pattern: &Pattern, limit: usize, ends: Instant, found: &mut Found) {
    let mut next = 0;
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let offset = next;
        next += line.len() as u64 + 1;
        if found.matches.len() >= limit || (number % 1024 == 0 && Instant::now() > ends) {
            found.truncated = true;
            return;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(hit) = pattern.0.find(line) {
            let before = String::from_utf8_lossy(&line[..hit.start()]).chars().count();
            // So that a long line is shown where it matters.
            let from = before.saturating_sub(WORKSPACE_LINE_CHARS_MAX / 2);
            let text: String =
                String::from_utf8_lossy(line).chars().skip(from).take(WORKSPACE_LINE_CHARS_MAX).collect();
            let is_whole = text.as_bytes() == line;
            found.matches.push(Match {
                path: path.to_owned(),
                line: number,
                column: before as u64 + 1,
                text,
                offset,
                span: is_whole.then_some((hit.start(), hit.end())),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, pattern: &str, is_regex: bool) -> Vec<(u64, u64, String)> {
        let mut found = Found::default();
        let pattern = Pattern::new(pattern, is_regex).unwrap();
        let ends = Instant::now() + WORKSPACE_LOOK_TIME_MAX;
        look_through("a", text.as_bytes(), &pattern, 10, ends, &mut found);
        found.matches.into_iter().map(|found| (found.line, found.column, found.text)).collect()
    }

    #[test]
    fn a_line_is_found_by_its_text_or_by_an_expression() {
        assert_eq!(lines("one\r\ntwo\nä b.c", "b.c", false), [(3, 3, "ä b.c".to_owned())]);
        assert_eq!(lines("one\ntwo", "^t.o$", true), [(2, 1, "two".to_owned())]);
        assert_eq!(lines("a.b", "a*b", false), []);
    }

    #[test]
    fn a_long_line_is_shown_where_it_matters() {
        let [(1, 5001, text)] = &lines(&format!("{}x", "-".repeat(5000)), "x", false)[..] else { panic!() };
        assert!(text.ends_with('x') && text.chars().count() <= WORKSPACE_LINE_CHARS_MAX, "{text}");
    }

    #[test]
    fn an_expression_is_bounded() {
        for hostile in ["", "(", "(a{1000}){1000}", "(?=a)", &"a".repeat(513)] {
            assert!(matches!(Pattern::new(hostile, true), Err(WorkspaceError::Invalid(_))), "{hostile:?}");
        }
        assert_eq!(lines(&"a".repeat(50_000), "(a|aa)+$b", true), []);
    }
}
