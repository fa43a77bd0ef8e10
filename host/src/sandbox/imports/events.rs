//! `opg:host/events`.

use crate::sandbox::bindings::host::events::{Error, Host};
use crate::sandbox::state::GuestState;

impl Host for GuestState {
    async fn emit(&mut self, event: String) -> wasmtime::Result<Result<(), Error>> {
        let door = self.host.door.clone();
        Ok(self.host.tell(async move { door.emit(event).await }).await.map_err(Error::from))
    }
}
