//! Why a statement was not run, for whoever sent it: a person over HTTP, a guest through its import.

use super::{
    limits::{DRY_RUN_TIME_MAX, EXECUTE_TIME_MAX, PARAMS_MAX, QUERY_TIME_MAX, RESULT_BYTES_MAX, ROWS_MAX},
    logins::TakeError,
    parse::Refused,
    wire::{ServerError, WireError},
};
use crate::grants::Denied;

/// Why not. The text says what to do next and names nothing that is not the caller's.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The parser refused it.
    #[error(transparent)]
    Refused(Refused),
    /// The gate refused it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The server refused it.
    #[error("{message}")]
    Sql {
        /// SQLSTATE.
        sqlstate: String,
        /// What the server says, without hint and detail.
        message: String,
        /// The character of the statement it is about, from 1.
        position: Option<u32>,
    },
    /// Another number of parameters than the statement has.
    #[error(
        "the statement has {wanted} parameters and {given} were given; pass one value for each of $1, $2, …"
    )]
    ParamsMismatch {
        /// How many it has.
        wanted: usize,
        /// How many there are.
        given: usize,
    },
    /// A parameter that cannot be what it is for.
    #[error("parameter ${number}: {message}")]
    BadParam {
        /// From 1.
        number: usize,
        /// What is expected.
        message: String,
    },
    /// Too many parameters.
    #[error("a statement takes {PARAMS_MAX} parameters at the most; pass an array or JSON instead")]
    TooManyParams,
    /// Parameters with more than one statement.
    #[error("parameters go with one statement; send each statement that has some by itself")]
    ParamsWithMany,
    /// Another number of rows than can be asked for.
    #[error("`limit` is 1 to {ROWS_MAX}; ask for the next page with a WHERE on the last row's key")]
    BadLimit,
    /// It took too long.
    #[error(
        "the statement took too long and was stopped (a query has {} s, a dry run {} s, a change {} s); add an index, \
         a WHERE or a LIMIT, or do it in parts",
        QUERY_TIME_MAX.as_secs(), DRY_RUN_TIME_MAX.as_secs(), EXECUTE_TIME_MAX.as_secs()
    )]
    Timeout,
    /// It waited too long for another statement of the same app.
    #[error("the statement waited too long for another one of this app that holds a lock; try again")]
    LockTimeout,
    /// It needed more memory or temporary files than a statement has.
    #[error(
        "the statement needs more memory or temporary space than one may use; work on fewer rows at a time"
    )]
    Resources,
    /// The result is too large.
    #[error(
        "the result is larger than {} MiB; ask for fewer rows or columns, or for parts of long values (`left(…)`)",
        RESULT_BYTES_MAX >> 20
    )]
    TooLarge,
    /// Applying was not confirmed.
    #[error("{0}")]
    NotConfirmed(String),
    /// The app has used up its space.
    #[error("{0}")]
    Quota(String),
    /// Every connection is in use.
    #[error("too many statements of this app at once; try again in a moment")]
    Busy,
    /// Our fault, or the server's.
    #[error("the database cannot be reached right now; try again")]
    Unavailable,
    /// A statement of several, from 0.
    #[error("statement {index}: {cause}")]
    At {
        /// Which.
        index: usize,
        /// Why.
        cause: Box<DatabaseError>,
    },
}

impl DatabaseError {
    /// Names the statement it is about, where there are several.
    pub(super) fn at(self, index: usize, of: usize) -> DatabaseError {
        if of > 1 { DatabaseError::At { index, cause: Box::new(self) } } else { self }
    }

    /// The error itself, and which statement it is about where there are several.
    pub(super) fn cause(&self) -> (&DatabaseError, Option<usize>) {
        match self {
            DatabaseError::At { index, cause } => (cause, Some(*index)),
            other => (other, None),
        }
    }

    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            DatabaseError::Refused(refused) => refused.kind.code(),
            DatabaseError::Denied(_) => "denied",
            DatabaseError::Sql { .. } => "sql_error",
            DatabaseError::ParamsMismatch { .. } => "params_mismatch",
            DatabaseError::BadParam { .. } => "bad_param",
            DatabaseError::TooManyParams => "too_many_params",
            DatabaseError::ParamsWithMany => "params_with_many_statements",
            DatabaseError::BadLimit => "bad_limit",
            DatabaseError::Timeout => "statement_timeout",
            DatabaseError::LockTimeout => "lock_timeout",
            DatabaseError::Resources => "resource_limit",
            DatabaseError::TooLarge => "result_too_large",
            DatabaseError::NotConfirmed(_) => "confirm_required",
            DatabaseError::Quota(_) => "quota_exceeded",
            DatabaseError::Busy => "database_busy",
            DatabaseError::Unavailable => "unavailable",
            DatabaseError::At { cause, .. } => cause.code(),
        }
    }

    /// The server's answer; a position is counted from the user's own text, which `ours` characters precede.
    fn of_server(error: ServerError, ours: usize) -> DatabaseError {
        match error.code.as_str() {
            // query_canceled: by the statement's timeout, for nobody else cancels without going away
            "57014" => DatabaseError::Timeout,
            // lock_not_available
            "55P03" => DatabaseError::LockTimeout,
            // out_of_memory, configuration_limit_exceeded (temporary files), disk_full,
            // program_limit_exceeded, statement_too_complex
            "53200" | "53400" | "53100" | "54000" | "54001" => DatabaseError::Resources,
            // too_many_connections, cannot_connect_now, admin_shutdown, crash_shutdown
            "53300" | "57P03" | "57P01" | "57P02" => DatabaseError::Unavailable,
            _ => DatabaseError::Sql {
                sqlstate: error.code,
                message: error.message,
                position: error
                    .position
                    .and_then(|at| at.checked_sub(u32::try_from(ours).ok()?))
                    .filter(|at| *at > 0),
            },
        }
    }

    /// What went wrong on a connection, where `ours` characters of ours precede the user's text.
    pub(super) fn of_wire(error: WireError, ours: usize) -> DatabaseError {
        match error {
            WireError::Server(error) => DatabaseError::of_server(error, ours),
            WireError::TooLarge => DatabaseError::TooLarge,
            cause @ (WireError::Io(_) | WireError::Protocol(_) | WireError::SignIn(_)) => {
                tracing::warn!(%cause, "a connection to the apps' database broke");
                DatabaseError::Unavailable
            }
        }
    }

    /// Whether the connection it happened on can be used on, once the transaction is rolled back.
    pub(super) fn keeps_connection(&self) -> bool {
        match self {
            DatabaseError::Sql { .. }
            | DatabaseError::LockTimeout
            | DatabaseError::ParamsMismatch { .. }
            | DatabaseError::BadParam { .. }
            | DatabaseError::NotConfirmed(_)
            | DatabaseError::Quota(_) => true,
            DatabaseError::At { cause, .. } => cause.keeps_connection(),
            _ => false,
        }
    }
}

impl From<Refused> for DatabaseError {
    fn from(refused: Refused) -> DatabaseError {
        match refused.statement {
            Some(index) => DatabaseError::At { index, cause: Box::new(DatabaseError::Refused(refused)) },
            None => DatabaseError::Refused(refused),
        }
    }
}

impl From<WireError> for DatabaseError {
    fn from(error: WireError) -> DatabaseError {
        DatabaseError::of_wire(error, 0)
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(cause: sqlx::Error) -> DatabaseError {
        tracing::error!(%cause, "the control plane's database failed in the middle of a statement of an app");
        DatabaseError::Unavailable
    }
}

impl From<TakeError> for DatabaseError {
    fn from(error: TakeError) -> DatabaseError {
        match error {
            TakeError::Busy => DatabaseError::Busy,
            // `too_many_connections` of the login, by another host's connections.
            TakeError::Wire(WireError::Server(error)) if error.code == "53300" => DatabaseError::Busy,
            cause => {
                tracing::error!(%cause, "no connection to the apps' database");
                DatabaseError::Unavailable
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: &str, position: Option<u32>) -> DatabaseError {
        let error = ServerError { code: code.to_owned(), message: "m".to_owned(), position };
        DatabaseError::of_wire(WireError::Server(error), 10)
    }

    #[test]
    fn a_position_is_counted_in_the_users_own_text() {
        for (said, shown) in [(Some(11), Some(1)), (Some(10), None), (Some(3), None), (None, None)] {
            let DatabaseError::Sql { position, .. } = server("42703", said) else { panic!("an SQL error") };
            assert_eq!(position, shown);
        }
    }

    #[test]
    fn what_stopped_a_statement_closes_its_connection_and_what_was_wrong_with_it_does_not() {
        for (code, kept) in
            [("42703", true), ("23505", true), ("57014", false), ("53200", false), ("57P01", false)]
        {
            assert_eq!(server(code, None).keeps_connection(), kept, "{code}");
            assert_eq!(server(code, None).at(1, 2).keeps_connection(), kept, "{code}");
        }
    }
}
