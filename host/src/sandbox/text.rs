//! Text that comes from a guest, made fit for people and logs.

use std::fmt::Write as _;

/// `text` on one line, its control characters escaped, cut after `bytes_max` bytes.
///
/// Escaped as well are the characters that change the order of what is shown:
/// with them a log line can look like another.
pub(super) fn clean(text: &str, bytes_max: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(bytes_max));
    for (at, character) in text.char_indices() {
        if at >= bytes_max || clean.len() >= bytes_max {
            clean.push('…');
            break;
        }
        if character.is_control() && character != '\t' || is_reordering(character) {
            // Writing to a string cannot fail.
            let _ = write!(clean, "{}", character.escape_default());
        } else {
            clean.push(character);
        }
    }
    clean
}

/// `text` cut after `bytes_max` bytes, nothing escaped: for a model, or for JSON.
pub(super) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
    text
}

/// Line and paragraph separators, and marks that turn the direction of text.
pub(super) fn is_reordering(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters that a person does not see and a model reads: spaces without width, fillers, tags, selectors of
/// variants that no text needs. What joins letters and emoji is not among them.
pub(super) fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'
            | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0e}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::{clean, cut};

    #[test]
    fn a_line_cannot_pose_as_two_or_move_the_cursor() {
        assert_eq!(clean("a\nERROR b\r\u{1b}[2Jc\td", 100), "a\\nERROR b\\r\\u{1b}[2Jc\td");
        assert_eq!(clean("user\u{202e}nimda", 100), "user\\u{202e}nimda");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(clean("ääää", 3), "ää…");
        assert_eq!(cut("ääää".to_owned(), 3), "ä…");
        assert_eq!(cut("abc".to_owned(), 3), "abc");
    }

    #[test]
    fn escaping_cannot_make_a_line_long() {
        assert!(clean(&"\u{1b}".repeat(1000), 100).len() < 110);
    }
}
