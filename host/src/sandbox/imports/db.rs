//! `opg:host/db`.
//!
//! Text goes in and text comes out: what holds a connection, and for how long,
//! is the door's affair, and ends with the call.

use crate::sandbox::bindings::host::db::{Error, Host};
use crate::sandbox::state::GuestState;

impl Host for GuestState {
    fn namespace(&mut self) -> wasmtime::Result<String> {
        Ok(self.host.door.db_namespace())
    }

    async fn query(
        &mut self,
        statement: String,
        params: String,
        limit: Option<u32>,
    ) -> wasmtime::Result<Result<String, Error>> {
        let (door, time_left) = (self.host.door.clone(), self.host.time_left());
        let answer = async move { door.db_query(statement, params, limit, time_left).await };
        Ok(self.host.ask(answer).await.map_err(Error::from))
    }

    async fn execute(
        &mut self,
        statement: String,
        params: String,
    ) -> wasmtime::Result<Result<String, Error>> {
        let (door, time_left) = (self.host.door.clone(), self.host.time_left());
        let answer = async move { door.db_execute(statement, params, time_left).await };
        Ok(self.host.ask(answer).await.map_err(Error::from))
    }
}
