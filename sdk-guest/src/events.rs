//! What the caller sees while the guest runs.
//!
//! ```
//! use opg_guest::*;
//!
//! let host = testing::Host::new().start();
//! events::text("Looking that up …")?;
//! assert_eq!(host.events(), [json!({"type": "text", "text": "Looking that up …"})]);
//! # Ok::<(), Error>(())
//! ```

use serde::Serialize;
use serde_json::json;

use crate::Error;
use crate::host::events;

/// Streams a piece of the answer.
pub fn text(text: &str) -> Result<(), Error> {
    emit(&json!({"type": "text", "text": text}))
}

/// Streams a piece of the thoughts behind the answer.
pub fn reasoning(text: &str) -> Result<(), Error> {
    emit(&json!({"type": "reasoning", "text": text}))
}

/// Sends any event: an object with a `type`. Types the host does not know are
/// kept for the session's log. `Limit` once the answer is too large.
pub fn emit(event: &impl Serialize) -> Result<(), Error> {
    events::emit(&serde_json::to_string(event)?).map_err(Error::from_host)
}
