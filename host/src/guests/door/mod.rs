//! The host's door: one file for each thing a guest can reach.
//!
//! Each asks the gate first (`Door::permit`), then does it. What a guest hands over is searched for the secrets its
//! chain of calls knows before it goes anywhere: a guest has none, unless somebody gave it one by another way.

mod db;
mod events;
pub mod http;
mod kv;
mod kv_store;
mod model;
mod permission;
mod secrets;
mod tools;
mod workspace;

use super::{Chain, Record, standing::Fallen};
use crate::{
    app::App,
    grants::{Denied, GuestGrants, Reach},
    limits::REACHES_PER_RUN_MAX,
    sandbox::door::{
        self, Completion, DoorError, FileAnswer, FileError, FileRequest, HttpRequest, HttpResponse, LogLevel,
        Question, ToolDefinition, ToolInvocation,
    },
    secrets::scan::{Found, Scanner},
};
use async_trait::async_trait;
use std::time::Duration;

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

    /// Asks the gate as things stand now, and remembers what was asked and answered.
    async fn permit(&self, reach: &Reach<'_>) -> Result<(), DoorError> {
        if !self.record.take_reach() {
            return Err(DoorError::Limit(format!(
                "one run reaches for something {REACHES_PER_RUN_MAX} times at the most; ask for more at once, or less often"
            )));
        }
        let answer = self.grants_now().await?.permit(reach);
        self.record.reached(reach, answer.is_ok());
        answer.map_err(|denied: Denied| DoorError::Denied(denied.to_string()))
    }

    /// What the plugin was granted, as that stands now.
    async fn grants_now(&self) -> Result<GuestGrants, DoorError> {
        match self.chain.as_of_now(&self.app, &self.grants).await {
            Ok(now) => Ok(now.unwrap_or_else(|| self.grants.clone())),
            Err(ended @ Fallen::Ended) => Err(DoorError::Denied(ended.to_string())),
            Err(Fallen::Db(cause)) => Err(unavailable("checking what is granted")(cause)),
        }
    }

    /// A text of the guest's without the secrets the chain knows.
    fn clean_text(&self, text: String) -> String {
        self.clean(text, Scanner::clean_text)
    }

    /// The same for JSON.
    fn clean_json(&self, text: String) -> String {
        self.clean(text, Scanner::clean_json)
    }

    fn clean<T>(&self, what: T, clean: impl FnOnce(&Scanner, T, &mut Found) -> T) -> T {
        self.chain.clean(&self.record, what, clean)
    }

    fn clean_error(&self, error: DoorError) -> DoorError {
        match error {
            DoorError::Denied(text) => DoorError::Denied(self.clean_text(text)),
            DoorError::Invalid(text) => DoorError::Invalid(self.clean_text(text)),
            DoorError::Limit(text) => DoorError::Limit(self.clean_text(text)),
            DoorError::Failed(text) => DoorError::Failed(self.clean_text(text)),
            DoorError::Unavailable(text) => DoorError::Unavailable(self.clean_text(text)),
        }
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
        self.record.log(level, &self.clean_text(message.to_owned()));
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
        let value = self.clean(value, |scanner, value, found| scanner.clean(&value, found).into_owned());
        kv::set(self, &self.clean_text(key), &value).await
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
        db::query(self, self.clean_text(statement), &self.clean_json(params), limit, time_left).await
    }

    async fn db_execute(
        &self,
        statement: String,
        params: String,
        time_left: Duration,
    ) -> Result<String, DoorError> {
        db::execute(self, self.clean_text(statement), &self.clean_json(params), time_left).await
    }

    async fn complete(&self, request: String, _time_left: Duration) -> Result<Completion, DoorError> {
        model::complete(self, &self.clean_json(request)).await
    }

    fn tools(&self) -> Vec<ToolDefinition> {
        tools::available(self)
    }

    async fn call_tools(
        &self,
        calls: Vec<ToolInvocation>,
        time_left: Duration,
    ) -> Vec<Result<String, DoorError>> {
        let calls =
            calls.into_iter().map(|call| ToolInvocation { input: self.clean_json(call.input), ..call });
        tools::call(self, calls.collect(), time_left).await
    }

    async fn emit(&self, event: String) -> Result<(), DoorError> {
        events::emit(self, &self.clean_json(event)).await
    }

    async fn ask_permission(&self, question: Question) -> Result<(), DoorError> {
        permission::ask(self, question).await
    }

    async fn workspace(&self, request: FileRequest) -> Result<FileAnswer, FileError> {
        let clean = |bytes: Vec<u8>| {
            self.clean(bytes, |scanner, bytes: Vec<u8>, found| scanner.clean(&bytes, found).into_owned())
        };
        let request = match request {
            FileRequest::Write { path, contents } => {
                FileRequest::Write { path: self.clean_text(path), contents: clean(contents) }
            }
            FileRequest::WriteAt { path, offset, contents } => {
                FileRequest::WriteAt { path: self.clean_text(path), offset, contents: clean(contents) }
            }
            FileRequest::MakeDirectory { path } => FileRequest::MakeDirectory { path: self.clean_text(path) },
            FileRequest::Rename { source, target } => {
                FileRequest::Rename { source, target: self.clean_text(target) }
            }
            other => other,
        };
        workspace::ask(self, request).await
    }
}
