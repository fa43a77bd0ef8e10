//! `opg:host`, one file for each interface: from the guest's types to the
//! [`Door`](super::door::Door) and back. Nothing is decided here.

mod db;
mod events;
mod http;
mod kv;
mod log;
mod model;
mod permission;
mod secrets;
mod tools;
mod workspace;

pub(super) use http::Requests;
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use model::Completing;

use super::bindings::host::types;
use super::door::DoorError;

impl types::Host for super::state::GuestState {}
impl super::bindings::tool::opg::tool::types::Host for super::state::GuestState {}

impl From<DoorError> for types::Error {
    fn from(error: DoorError) -> Self {
        match error {
            DoorError::Denied(text) => Self::Denied(text),
            DoorError::Invalid(text) => Self::Invalid(text),
            DoorError::Limit(text) => Self::Limit(text),
            DoorError::Failed(text) => Self::Failed(text),
            DoorError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}
