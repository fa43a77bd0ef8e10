//! `opg:host/kv`.

use crate::sandbox::bindings::host::kv::{Error, Host};
use crate::sandbox::state::GuestState;

impl Host for GuestState {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        let door = self.host.door.clone();
        Ok(self.host.ask(async move { door.kv_get(key).await }).await.map_err(Error::from))
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        let door = self.host.door.clone();
        Ok(self.host.ask(async move { door.kv_set(key, value).await }).await.map_err(Error::from))
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), Error>> {
        let door = self.host.door.clone();
        Ok(self.host.ask(async move { door.kv_delete(key).await }).await.map_err(Error::from))
    }

    async fn keys(&mut self, prefix: String) -> wasmtime::Result<Result<Vec<String>, Error>> {
        let door = self.host.door.clone();
        Ok(self.host.ask(async move { door.kv_keys(prefix).await }).await.map_err(Error::from))
    }
}
