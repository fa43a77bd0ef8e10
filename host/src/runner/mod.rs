//! A runner: this program started once more (`opg runner`), in which the guests of one session run.
//!
//! It is started by the driver `process` (`sessions::instances`) with two
//! sockets and nothing else: no argument, no environment, no file. Over the one
//! host and runner speak of guests (`sandbox::remote`), over the other it calls
//! the host's API, as anybody would: it registers, says that it lives, reports.
//!
//! 1. It gives up privileges, core dumps and outliving the host (`hardening`).
//! 2. It reads who it is to be ([`Orders`]), makes an X25519 key for this once,
//!    registers, and opens what was sealed to that key ([`seal`]).
//! 3. It gives up every system call but those that run guests. It has met no
//!    guest so far.
//! 4. It says over the first socket that it is the one that registered
//!    ([`Hello`]), and serves until the host is gone.
//!
//! What it holds is that session's: no key of a provider, no secret, no other
//! session, no way to a file or to the network. What its guests ask for, it
//! asks the host, where it is judged.

mod api;
pub mod seal;
mod work;

pub use work::work;

use crate::sandbox::CallError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the program is called with to be one.
pub const RUNNER_COMMAND: &str = "runner";

/// What either says to the other before guests are spoken of, in bytes.
pub(crate) const GREETING_BYTES_MAX: usize = 4 << 10;

/// The name of the key that is sealed to a runner: it shows with it that it is the one that registered.
pub const CHANNEL_KEY: &str = "channel";

/// Who a runner is to be: the first it reads.
#[derive(Serialize, Deserialize)]
pub struct Orders {
    /// Its session.
    pub session_id: Uuid,
    /// What it registers with, once.
    pub registration_token: String,
}

/// The first it says over the channel.
#[derive(Serialize, Deserialize)]
pub struct Hello {
    /// What it was given when it registered.
    pub instance_token: String,
    /// What was sealed to it as [`CHANNEL_KEY`].
    pub channel_key: Vec<u8>,
}

/// How a runner works, as it is told when it registers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RunnerConfig {
    /// How often it says that it lives.
    pub heartbeat_ms: u64,
    /// How many guests run in it at once.
    pub calls_max: u32,
    /// Threads that run guests, in each of the sandbox's two lanes.
    pub threads: u32,
}

/// An error of a door's, in JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ToldError {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// What a runner says of a run whose outcome could not be reported.
fn unreported() -> CallError {
    CallError::Engine("what it came to could not be reported".to_owned())
}
