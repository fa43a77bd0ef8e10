//! Text that comes from a guest, made fit for people and logs.

use crate::unseen::is_reordering;
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
