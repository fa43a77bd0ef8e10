//! What a person should know before a statement is applied.
//!
//! Warnings come from the tree, so that a comment or a string never causes one.

use super::refused::echo;

/// What goes along is not named.
pub(super) const CASCADE: &str = "cascade";

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What sort of thing; stable.
    pub code: &'static str,
    /// What happens, and what to do if that is not wanted.
    pub message: String,
}

impl Warning {
    fn new(code: &'static str, message: String) -> Warning {
        Warning { code, message }
    }

    pub(super) fn update_all(table: &str) -> Warning {
        let table = echo(table);
        Warning::new(
            "update_without_where",
            format!("changes every row of `{table}`; add WHERE to change some"),
        )
    }

    pub(super) fn delete_all(table: &str) -> Warning {
        let table = echo(table);
        Warning::new(
            "delete_without_where",
            format!("deletes every row of `{table}`; add WHERE to delete some"),
        )
    }

    pub(super) fn truncate(table: &str) -> Warning {
        let table = echo(table);
        Warning::new("truncate", format!("empties `{table}`"))
    }

    pub(super) fn cascade(what: &str) -> Warning {
        Warning::new(
            CASCADE,
            format!(
                "CASCADE: {what} takes everything that depends on it along; leave CASCADE out to be told what does"
            ),
        )
    }

    pub(super) fn drop_relation(name: &str) -> Warning {
        let name = echo(name);
        Warning::new("drop", format!("drops `{name}` and what is in it"))
    }

    pub(super) fn drop_column(table: &str, column: &str) -> Warning {
        let table = echo(table);
        let column = echo(column);
        Warning::new("drop_column", format!("drops the column `{column}` of `{table}` and its values"))
    }

    pub(super) fn drop_constraint(table: &str, constraint: &str) -> Warning {
        let table = echo(table);
        let constraint = echo(constraint);
        Warning::new(
            "drop_constraint",
            format!("`{table}` is no longer checked by the constraint `{constraint}`"),
        )
    }

    pub(super) fn column_type(table: &str, column: &str) -> Warning {
        let table = echo(table);
        let column = echo(column);
        Warning::new(
            "column_type_change",
            format!(
                "rewrites the column `{column}` of `{table}`; values that do not fit the new type fail or are shortened"
            ),
        )
    }

    pub(super) fn not_null(table: &str, column: &str) -> Warning {
        let table = echo(table);
        let column = echo(column);
        Warning::new(
            "not_null_without_default",
            format!(
                "the new column `{column}` is NOT NULL without a default: this fails when `{table}` has rows"
            ),
        )
    }

    pub(super) fn set_not_null(table: &str, column: &str) -> Warning {
        let table = echo(table);
        let column = echo(column);
        Warning::new("set_not_null", format!("fails when the column `{column}` of `{table}` has a NULL"))
    }

    pub(super) fn no_primary_key(table: &str) -> Warning {
        let table = echo(table);
        Warning::new("no_primary_key", format!("`{table}` has no primary key; its rows cannot be told apart"))
    }

    pub(super) fn unlogged(table: &str) -> Warning {
        let table = echo(table);
        Warning::new("unlogged", format!("`{table}` is UNLOGGED: a crash of the database empties it"))
    }

    pub(super) fn sequence(name: &str) -> Warning {
        let name = echo(name);
        Warning::new(
            "sequence_advance",
            format!("takes values from the sequence `{name}`; a dry run does not give them back"),
        )
    }
}
