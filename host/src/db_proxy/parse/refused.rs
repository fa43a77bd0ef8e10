//! Why a text is refused, in words that say what to write instead.

use super::limits::ECHO_CHARS_MAX;
use crate::unseen::{is_invisible, is_reordering};
use std::fmt::Write as _;

/// A text the guard does not let through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// What sort of refusal it is.
    pub kind: RefusedKind,
    /// What was refused and what to write instead. Safe to show.
    pub message: String,
    /// Which statement of several, from 0; none where there is one, or the text as a whole is refused.
    pub statement: Option<usize>,
}

/// What sort of refusal it is; callers choose a status by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusedKind {
    /// It names something outside the app's namespace. The message is the same whether that exists or not.
    Namespace,
    /// A statement or a clause that apps may not use, or that belongs into the other mode.
    Statement,
    /// It calls a function, or uses an operator or collation, that is not on the list.
    Function,
    /// It uses a type that is not on the list.
    Type,
    /// PostgreSQL's grammar does not accept it.
    Syntax,
    /// Nested too deeply, too many parameters or too long a name.
    Complexity,
    /// Over `SQL_BYTES_MAX`.
    Length,
    /// Over `STATEMENTS_MAX`, or more than one in a query.
    Count,
    /// Our fault: the parser failed.
    Internal,
}

impl RefusedKind {
    /// The code in answers.
    pub const fn code(self) -> &'static str {
        match self {
            RefusedKind::Namespace => "namespace_violation",
            RefusedKind::Statement => "statement_denied",
            RefusedKind::Function => "function_denied",
            RefusedKind::Type => "type_denied",
            RefusedKind::Syntax => "syntax_error",
            RefusedKind::Complexity => "too_complex",
            RefusedKind::Length => "sql_too_long",
            RefusedKind::Count => "too_many_statements",
            RefusedKind::Internal => "parser_failed",
        }
    }
}

impl Refused {
    /// A refusal of this kind.
    pub(super) fn new(kind: RefusedKind, message: impl Into<String>) -> Refused {
        Refused { kind, message: message.into(), statement: None }
    }

    /// `what` is not to be had; `instead` says what is.
    pub(super) fn statement(what: &str, instead: &str) -> Refused {
        Refused::new(RefusedKind::Statement, format!("{what} is not available to apps; {instead}"))
    }

    /// The tree has a shape that the grammar does not make.
    pub(super) fn shape() -> Refused {
        Refused::new(
            RefusedKind::Statement,
            "a part of this statement could not be understood; write it in a simpler way",
        )
    }
}

/// The user's own text as a message repeats it: short, on one line, visible.
pub(super) fn echo(text: &str) -> String {
    let mut echoed = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == ECHO_CHARS_MAX {
            echoed.push('…');
            break;
        }
        if is_plain(c) {
            echoed.push(c);
        } else {
            // Writing to a string does not fail.
            let _ = write!(echoed, "\\u{{{:x}}}", u32::from(c));
        }
    }
    echoed
}

/// Neither a control character nor one that hides or reorders its neighbours.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && c != '`'
        && !is_reordering(c)
        && !is_invisible(c)
        // What joins letters hides as well, in a name.
        && !matches!(c, '\u{200c}' | '\u{200d}')
}
