//! What can go wrong on a connection.

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;

/// What the server said was wrong. Its hint, its detail and where in its sources it happened are left out: they
/// may tell of what is not the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::db_proxy) struct ServerError {
    /// SQLSTATE, five characters (PostgreSQL documentation, appendix A).
    pub(in crate::db_proxy) code: String,
    /// One line.
    pub(in crate::db_proxy) message: String,
    /// The character of the statement it is about, from 1.
    pub(in crate::db_proxy) position: Option<u32>,
}

impl ServerError {
    pub(super) fn read(mut fields: ErrorFields<'_>) -> ServerError {
        let mut error = ServerError { code: String::new(), message: String::new(), position: None };
        while let Ok(Some(field)) = fields.next() {
            let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => error.code = text(),
                b'M' => error.message = text(),
                b'P' => error.position = text().parse().ok(),
                _ => {}
            }
        }
        error
    }
}

/// Why a statement did not go through.
#[derive(Debug, thiserror::Error)]
pub(in crate::db_proxy) enum WireError {
    /// The server refused it. The connection can be used on once the transaction is rolled back.
    #[error("{} ({})", .0.message, .0.code)]
    Server(ServerError),
    /// More bytes than a result may have.
    #[error("the result is too large")]
    TooLarge,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The server said what it should not have said here.
    #[error("unexpected from the server: {0}")]
    Protocol(&'static str),
    /// The server cannot be spoken to as configured.
    #[error("{0}")]
    SignIn(&'static str),
}
