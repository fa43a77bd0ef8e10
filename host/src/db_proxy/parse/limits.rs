//! How large a text may be, each with a unit and a reason.

/// Bytes of one text. A migration of fifty statements has about ten thousand;
/// more than this is data, and data travels in parameters.
pub const SQL_BYTES_MAX: usize = 32 * 1024;

/// Statements of one text. They share a transaction, and so its locks.
pub const STATEMENTS_MAX: usize = 50;

/// The highest `$n`. A hundred rows of ten columns; the protocol stops at 65535.
pub const PARAMS_MAX: u32 = 1000;

/// Bytes of an identifier. PostgreSQL cuts longer ones off without an error,
/// and two names that differ after the cut would become one.
pub const IDENTIFIER_BYTES_MAX: usize = 63;

/// Levels of nesting the walk follows. The decoder of the tree stops at half
/// of it already; this one holds if that limit is ever lifted.
pub(super) const DEPTH_MAX: usize = 100;

/// Characters of the user's text that a message repeats.
pub(super) const ECHO_CHARS_MAX: usize = 80;

/// Threads that parse. A text takes well under a millisecond, so that two keep up.
pub(super) const THREADS: usize = 2;

/// Bytes of stack of such a thread. The grammar's own code recurses once a
/// level and `NOT NOT …` makes eight thousand of [`SQL_BYTES_MAX`].
pub(super) const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Texts that wait for a thread. Whoever comes later waits to be queued.
pub(super) const QUEUE_MAX: usize = 256;
