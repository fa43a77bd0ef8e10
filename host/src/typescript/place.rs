//! A place in the author's file, and how it is shown.

use super::limits::SHOWN_LINE_CHARS_MAX;
use std::fmt;

/// Where in a file, and what stands there.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// The line itself; a part of it, where it is long.
    pub text: String,
    /// Which character of `text` is meant, from 0.
    caret: usize,
}

impl Place {
    /// The place of the byte at `offset`.
    pub(super) fn at(file: &str, source: &str, offset: usize) -> Place {
        let mut offset = offset.min(source.len());
        while !source.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &source[..offset];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        Place::on(file, source, line, source[start..offset].chars().count() + 1)
    }

    /// The place of a line and column, both from 1.
    pub(super) fn on(file: &str, source: &str, line: usize, column: usize) -> Place {
        let whole = source.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let skipped = column.saturating_sub(SHOWN_LINE_CHARS_MAX / 2 + 1);
        let skipped = if whole.chars().count() > SHOWN_LINE_CHARS_MAX { skipped } else { 0 };
        // A tab would move the mark.
        let text =
            whole.chars().skip(skipped).take(SHOWN_LINE_CHARS_MAX).map(|c| if c == '\t' { ' ' } else { c });
        Place {
            file: file.to_owned(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            text: text.collect(),
            caret: column.saturating_sub(1 + skipped),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, line, column, text, caret } = self;
        let number = line.to_string();
        let (margin, caret) = (" ".repeat(number.len()), " ".repeat(*caret));
        write!(f, "{file}:{line}:{column}\n{number} | {text}\n{margin} | {caret}^")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_shows_its_line_with_a_mark_under_it() {
        let source = "first\nconst é = ;\nlast";
        let place = Place::at("a.ts", source, source.find(';').unwrap());
        assert_eq!((place.line, place.column), (2, 11));
        assert_eq!(place.to_string(), "a.ts:2:11\n2 | const é = ;\n  |           ^");
        assert_eq!(Place::at("a.ts", "", 7).to_string(), "a.ts:1:1\n1 | \n  | ^");
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let source = format!("{}HERE{}", "a".repeat(5000), "b".repeat(5000));
        let place = Place::at("a.ts", &source, 5000);
        assert_eq!(place.column, 5001);
        assert!(place.text.len() <= SHOWN_LINE_CHARS_MAX && place.text.contains("HERE"));
        assert!(place.to_string().ends_with(&format!("{}^", " ".repeat(place.text.find("HERE").unwrap()))));
    }
}
