//! The host's functions, as this crate's modules call them: on the native
//! target, where there is no host, those of the one a test started.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::host::opg::host::{
    db, events, http, kv, log, model, permission, secrets, tools, workspace,
};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::host::{
    db, events, http, kv, log, model, permission, secrets, tools, workspace,
};
