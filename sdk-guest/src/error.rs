//! Why a guest has no answer, or why the host gave none.

use std::fmt;

use crate::bindings::host::opg::host::types::Error as HostError;

/// One type for all that goes wrong in a guest. The text goes to the model or
/// the caller, so it says what to do next.
///
/// Any `std::error::Error` turns into [`Error::Failed`] by `?`. For that to be
/// possible, this type is not a `std::error::Error` itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The input does not fit; the model may correct it.
    InvalidInput(String),
    /// The host: no grant covers this.
    Denied(String),
    /// The host: the request is wrong.
    Invalid(String),
    /// The host: over a limit; ask for less, or later.
    Limit(String),
    /// It could not be done: here, upstream, or in another tool.
    Failed(String),
    /// The host: its own fault; a retry may help.
    Unavailable(String),
    /// A model call gave one of the above.
    Model(Box<Error>),
}

impl Error {
    /// The input does not fit, and how to correct it.
    pub fn invalid_input(message: impl fmt::Display) -> Self {
        Self::InvalidInput(message.to_string())
    }

    /// The plugin could not do it, and why.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// One word for the kind, as in the host's WIT.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::InvalidInput(_) => "invalid-input",
            Self::Denied(_) => "denied",
            Self::Invalid(_) => "invalid",
            Self::Limit(_) => "limit",
            Self::Failed(_) => "failed",
            Self::Unavailable(_) => "unavailable",
            Self::Model(inner) => inner.kind(),
        }
    }

    /// The text alone.
    pub fn message(&self) -> &str {
        match self {
            Self::InvalidInput(text)
            | Self::Denied(text)
            | Self::Invalid(text)
            | Self::Limit(text)
            | Self::Failed(text)
            | Self::Unavailable(text) => text,
            Self::Model(inner) => inner.message(),
        }
    }

    /// A function and not a `From`, which the one for every error shadows.
    pub(crate) fn from_host(error: HostError) -> Self {
        match error {
            HostError::Denied(text) => Self::Denied(text),
            HostError::Invalid(text) => Self::Invalid(text),
            HostError::Limit(text) => Self::Limit(text),
            HostError::Failed(text) => Self::Failed(text),
            HostError::Unavailable(text) => Self::Unavailable(text),
        }
    }

    pub(crate) fn from_model(error: HostError) -> Self {
        Self::Model(Box::new(Self::from_host(error)))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidInput(text) | Self::Failed(text) => f.write_str(text),
            other => write!(f, "{}: {}", other.kind(), other.message()),
        }
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_error_keeps_its_kind_and_its_text() {
        let cases = [
            (HostError::Denied("a".into()), "denied", "a"),
            (HostError::Invalid("b".into()), "invalid", "b"),
            (HostError::Limit("c".into()), "limit", "c"),
            (HostError::Failed("d".into()), "failed", "d"),
            (HostError::Unavailable("e".into()), "unavailable", "e"),
        ];
        for (host, kind, text) in cases {
            let error = Error::from_host(host.clone());
            assert_eq!((error.kind(), error.message()), (kind, text));
            let error = Error::from_model(host);
            assert!(matches!(error, Error::Model(_)), "{error:?}");
            assert_eq!((error.kind(), error.message()), (kind, text));
        }
    }

    #[test]
    fn an_error_of_any_library_fails_the_call_with_its_text() {
        fn parse(text: &str) -> Result<u8, Error> {
            Ok(text.parse::<u8>()?)
        }
        assert_eq!(parse("7"), Ok(7));
        assert_eq!(parse("x"), Err(Error::Failed("invalid digit found in string".into())));
    }

    #[test]
    fn the_kind_is_told_where_the_text_alone_would_not_say_whose_fault_it_is() {
        assert_eq!(Error::Denied("no grant".into()).to_string(), "denied: no grant");
        assert_eq!(Error::failed("no such note").to_string(), "no such note");
    }
}
