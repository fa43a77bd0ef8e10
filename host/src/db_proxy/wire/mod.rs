//! PostgreSQL's own protocol, as far as a statement nobody trusts needs it.
//!
//! The proxy does what a general client does not offer: values travel as text in both directions, so that any
//! type works and the server infers what a parameter is; how many rows and how many bytes of each are read is
//! bounded *while* reading, so that a row of a gigabyte never is in our memory; and a transaction's begin and the
//! statement's parse share one round trip. User SQL goes through the extended protocol alone, where one message
//! holds one statement ([`Connection::begin_and_prepare`]); [`Connection::simple`] is for our own text.
//!
//! Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol"; messages and SCRAM are encoded by the
//! `postgres-protocol` crate. Deliberately absent: COPY, notifications, passwords in clear text or MD5 (our logins
//! have SCRAM verifiers), a cache of prepared statements (it would outlive a change of the schema).

mod connection;
mod error;
mod read;
mod target;
mod tls;

pub(super) use connection::{Bounds, Canceller, Column, Connection};
pub(super) use error::{ServerError, WireError};
pub(super) use read::{Cell, Row};
pub(super) use target::Target;

/// A type's number in the server's catalog.
pub(super) type Oid = u32;
