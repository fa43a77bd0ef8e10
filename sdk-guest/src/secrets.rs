//! References to secrets the tenant stored. A guest never sees a value.
//!
//! ```
//! use opg_guest::*;
//!
//! let _host = testing::Host::new().secret("API_KEY").start();
//! let reference = secrets::get("API_KEY")?;
//! assert!(!reference.is_empty());
//! assert_eq!(secrets::get("OTHER").unwrap_err().kind(), "denied");
//! # Ok::<(), Error>(())
//! ```

use crate::Error;
use crate::host::secrets;

/// An opaque reference to put into the value of a request header, alone or
/// inside text; or, where that was granted, into the value of a query parameter
/// (`secret("NAME@host query:key", …)`) or a text body (`"NAME@host body"`). The
/// host replaces it with the secret at the boundary, in the place and for the
/// host it was granted for and no other.
///
/// `Denied` where the name was not granted, `Invalid` where the tenant has not
/// stored it yet, `Limit` where it was asked too often.
///
/// Most have an easier time with
/// [`secret_header`](crate::http::Request::secret_header).
pub fn get(name: &str) -> Result<String, Error> {
    secrets::get(name).map_err(Error::from_host)
}
