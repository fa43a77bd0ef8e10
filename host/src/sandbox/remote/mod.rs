//! A sandbox in another process: the guests are there, what they reach is here.
//!
//! The host hands a [`Remote`] the same as a [`Sandbox`]: a component, a
//! [`Door`](super::door::Door), limits. The other process runs the guest, and
//! asks back over a channel whatever the guest asks; the door stays on the host's side, and with it all that it
//! decides, holds and knows. A component goes over as machine code, once; that
//! process compiles nothing.
//!
//! Both ends trust each other differently. What comes from the host is ours.
//! What comes from a runner may be a guest's that got out: each frame is bounded
//! before it is read, it reaches the doors of the runs it was given and no
//! others, and its texts are cut here as they were there.
//!
//! What an agent tells, and what a turn came to, does not come over the channel but is reported by whoever runs
//! [`serve`]: see [`Reports`].

mod child;
mod frame;
mod host;
mod message;
#[cfg(test)]
mod tests;

pub use child::{Reports, serve};
pub use frame::{read as read_frame, write as write_frame};
pub use host::Remote;

use super::limits::{CODE_BYTES_MAX, HOSTCALL_BYTES_MAX};
use super::{Sandbox, StartError};
use std::time::Duration;
use tokio::runtime::Handle;

/// What one message of a runner's may hold, in bytes: as much as a guest hands over at once, and the names around it.
pub const FROM_RUNNER_BYTES_MAX: usize = HOSTCALL_BYTES_MAX + (64 << 10);
/// What one message to a runner may hold, in bytes: the longest conversation or answer, several times over. It is ours.
const TO_RUNNER_BYTES_MAX: usize = 64 << 20;
/// Machine code that goes with a message to a runner, in bytes.
const CODE_MAX: usize = CODE_BYTES_MAX as usize;
/// Calls of a runner's guests that are being answered at once: what all of an app's guests together come to.
const CALLS_OPEN_MAX: usize = 1024;
/// What those calls hold at once, in bytes.
const CALL_BYTES_MAX: usize = 256 << 20;
/// Events of a model call that are sent ahead of the guest.
const EVENTS_AHEAD: u32 = 64;
/// How much longer than its time the host waits for a call in a runner, which stops it by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// A sandbox for [`serve`]: it runs what it is given, compiled, and compiles nothing.
///
/// # Errors
/// [`StartError`]
pub fn sandbox(worker_threads: usize, calls_in_flight_max: u32, host: Handle) -> Result<Sandbox, StartError> {
    Sandbox::of_given_code(worker_threads, calls_in_flight_max, host)
}
