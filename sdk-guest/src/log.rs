//! Lines for the person who runs the plugin. Never fails; long lines are cut
//! and too many of them dropped by the host.
//!
//! ```
//! use opg_guest::*;
//!
//! let host = testing::Host::new().start();
//! log::warn(format_args!("{} rows were odd", 2));
//! assert_eq!(host.logs()[0].1, "2 rows were odd");
//! ```

use std::fmt::Display;

use crate::host::log::{Level, write};

/// Detail for someone looking into a problem.
pub fn debug(message: impl Display) {
    write(Level::Debug, &message.to_string());
}

/// What happened.
pub fn info(message: impl Display) {
    write(Level::Info, &message.to_string());
}

/// Something is odd, the call goes on.
pub fn warn(message: impl Display) {
    write(Level::Warn, &message.to_string());
}

/// Something went wrong.
pub fn error(message: impl Display) {
    write(Level::Error, &message.to_string());
}
