//! The host's door: one file for each thing a guest can reach.
//!
//! Each asks the gate first (`Door::permit`), then does it.

mod db;
mod events;
mod http;
mod kv;
mod kv_store;
mod model;
mod secrets;
mod tools;

use super::{Chain, Record};
use crate::{
    app::App,
    grants::{Denied, GuestGrants, Reach},
    sandbox::door::{
        self, Completion, DoorError, HttpRequest, HttpResponse, LogLevel, ToolDefinition, ToolInvocation,
    },
};
use async_trait::async_trait;
use std::time::Duration;

/// What a guest gets for a secret's name, and `http.send` replaces.
pub(crate) fn secret_reference(name: &str) -> String {
    secrets::written(name)
}

/// What one run of one plugin can reach.
#[derive(Clone)]
pub struct Door {
    app: App,
    grants: GuestGrants,
    chain: Chain,
    record: Record,
}

impl Door {
    /// The door of a run.
    pub fn new(app: &App, grants: GuestGrants, chain: Chain, record: Record) -> Door {
        Door { app: app.clone(), grants, chain, record }
    }

    /// Asks the gate, and remembers what was asked and answered.
    fn permit(&self, reach: &Reach<'_>) -> Result<(), DoorError> {
        let answer = self.grants.permit(reach);
        self.record.reached(reach, answer.is_ok());
        answer.map_err(|denied: Denied| DoorError::Denied(denied.to_string()))
    }
}

/// The host's fault: logged here, and no more than that said to the guest.
fn unavailable(doing: &'static str) -> impl Fn(sqlx::Error) -> DoorError {
    move |cause| {
        tracing::error!(%cause, doing, "a guest's call failed on our side");
        DoorError::Unavailable(format!("{doing} is not possible right now; try again"))
    }
}

#[async_trait]
impl door::Door for Door {
    fn log(&self, level: LogLevel, message: &str) {
        self.record.log(level, message);
    }

    async fn secret(&self, name: String) -> Result<String, DoorError> {
        secrets::reference(self, &name).await
    }

    async fn http(&self, request: HttpRequest, time_left: Duration) -> Result<HttpResponse, DoorError> {
        http::send(self, request, time_left).await
    }

    async fn kv_get(&self, key: String) -> Result<Option<Vec<u8>>, DoorError> {
        kv::get(self, &key).await
    }

    async fn kv_set(&self, key: String, value: Vec<u8>) -> Result<(), DoorError> {
        kv::set(self, &key, &value).await
    }

    async fn kv_delete(&self, key: String) -> Result<(), DoorError> {
        kv::delete(self, &key).await
    }

    async fn kv_keys(&self, prefix: String) -> Result<Vec<String>, DoorError> {
        kv::keys(self, &prefix).await
    }

    fn db_namespace(&self) -> String {
        db::namespace(self)
    }

    async fn db_query(
        &self,
        statement: String,
        params: String,
        limit: Option<u32>,
        time_left: Duration,
    ) -> Result<String, DoorError> {
        db::query(self, statement, &params, limit, time_left).await
    }

    async fn db_execute(
        &self,
        statement: String,
        params: String,
        time_left: Duration,
    ) -> Result<String, DoorError> {
        db::execute(self, statement, &params, time_left).await
    }

    async fn complete(&self, request: String, _time_left: Duration) -> Result<Completion, DoorError> {
        model::complete(self, &request).await
    }

    fn tools(&self) -> Vec<ToolDefinition> {
        tools::available(self)
    }

    async fn call_tools(
        &self,
        calls: Vec<ToolInvocation>,
        time_left: Duration,
    ) -> Vec<Result<String, DoorError>> {
        tools::call(self, calls, time_left).await
    }

    async fn emit(&self, event: String) -> Result<(), DoorError> {
        events::emit(self, &event).await
    }
}
