//! Sessions: a conversation that outlives a request, and whoever watches it.
//!
//! It has a state ([`status`]), messages ([`messages`]), one log of what
//! happens in it ([`log`]), and turns: those it runs itself, in the background,
//! one after another ([`turns`]), and those of chat requests, which take it for
//! as long as they run ([`mod@take`]). Either way one at a time, with a lease, so
//! that a host that dies does not keep it. What it runs on is an instance
//! ([`instances`]); whether a tool may run is a matter of its permissions
//! ([`permissions`]). It ends `SESSION_TTL` after its last use; then it is 410
//! until a sweep removes it.
//!
//! Whoever changes a session holds its row from first to last, so all of it is
//! one order: the log's.

pub(crate) mod branch;
pub mod commands;
pub mod instances;
pub mod log;
pub mod manage;
pub mod messages;
pub mod permissions;
pub mod routes;
pub mod status;
pub(crate) mod store;
pub(crate) mod stream;
pub mod sweep;
pub mod take;
pub mod turns;

pub use status::Status;
pub use take::{Known, Taken, take};

use crate::limits::{SESSION_BYTES_MAX, SESSION_MESSAGES_MAX};

/// What to write instead of an id, for a new session.
pub const NEW: &str = "new";

/// Why a session cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is none, or it is another app's.
    #[error("no such session")]
    NotFound,
    /// Its time is over.
    #[error("this session has expired; start another")]
    Expired,
    /// A turn is running.
    #[error("a turn is running in this session; wait for it to end")]
    Busy,
    /// It is full.
    #[error(
        "this session is full ({SESSION_MESSAGES_MAX} messages or {SESSION_BYTES_MAX} bytes); start another"
    )]
    Full,
    /// The database.
    #[error("the session could not be read or written")]
    Db(#[from] sqlx::Error),
}
