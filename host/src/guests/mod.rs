//! Running a plugin on somebody's behalf: the host's side of the second door.
//!
//! [`Door`] is what a running guest can reach. Every call through it is judged
//! by `grants::decide`, counted, and at the end of the run written into the
//! audit log and the ledger in one transaction. What the calls of one request
//! share (depth, deadline, budget of model calls, the stream to the client, the
//! secrets that turned up) stands in [`Chain`]. What was granted at the start
//! may be taken away on the way: [`standing`].

pub mod chain;
pub mod door;
pub mod in_flight;
pub mod known;
pub mod limits;
pub mod place;
pub mod record;
pub mod standing;

pub use chain::{Asked, Chain, Delegate, Emitted, Files, Permissions};
pub use door::Door;
pub use place::Place;
pub use record::Record;
