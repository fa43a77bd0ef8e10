//! A small store that outlives the call, one namespace for each plugin of each
//! tenant. Values are JSON; the `_bytes` functions take them as they are.
//!
//! ```
//! use opg_guest::*;
//!
//! let _host = testing::Host::new().kv().start();
//! kv::set("visits", &1)?;
//! assert_eq!(kv::get("visits")?, Some(1));
//! assert_eq!(kv::keys("vis")?, ["visits"]);
//! # Ok::<(), Error>(())
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::host::kv;

/// The value under `key`; none where there is none.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    let Some(bytes) = get_bytes(key)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Error::failed(format_args!("the value stored under `{key}` is not what was expected: {error}"))
    })
}

/// Writes `value` under `key`, replacing what was there.
pub fn set(key: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
    set_bytes(key, &serde_json::to_vec(value)?)
}

/// The bytes under `key`; none where there are none.
pub fn get_bytes(key: &str) -> Result<Option<Vec<u8>>, Error> {
    kv::get(key).map_err(Error::from_host)
}

/// Writes bytes under `key`, replacing what was there.
pub fn set_bytes(key: &str, value: &[u8]) -> Result<(), Error> {
    kv::set(key, value).map_err(Error::from_host)
}

/// Removes `key`. Nothing there is not an error.
pub fn delete(key: &str) -> Result<(), Error> {
    kv::delete(key).map_err(Error::from_host)
}

/// Keys that start with `prefix`, sorted, 1000 at the most.
pub fn keys(prefix: &str) -> Result<Vec<String>, Error> {
    kv::keys(prefix).map_err(Error::from_host)
}
