//! `opg:host/secrets`.

use crate::sandbox::bindings::host::secrets::{Error, Host};
use crate::sandbox::state::GuestState;

impl Host for GuestState {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, Error>> {
        let door = self.host.door.clone();
        Ok(self.host.ask(async move { door.secret(name).await }).await.map_err(Error::from))
    }
}
