//! What a running guest can reach: the host's side of `opg:host`, in plain types.
//!
//! The sandbox carries a call from the guest to a [`Door`] and its answer back;
//! what is behind the door, and whether it opens, is not the sandbox's affair.
//! There are three: the host's own, where every call is judged by
//! `grants::decide`; [`ClosedDoor`], for `describe`; and in a runner one that asks
//! the host (`remote`).

use crate::workspace::{Entry, search::Match};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Why the host did not do what a guest asked: `opg:host/types.error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum DoorError {
    /// No grant covers it.
    #[error("{0}")]
    Denied(String),
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// Over a limit.
    #[error("{0}")]
    Limit(String),
    /// What was called failed.
    #[error("{0}")]
    Failed(String),
    /// The host's fault.
    #[error("{0}")]
    Unavailable(String),
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For the author.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
}

/// `opg:host/http.request`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HttpRequest {
    /// In capitals.
    pub method: String,
    /// Absolute.
    pub url: String,
    /// In order.
    pub headers: Vec<(String, String)>,
    /// The body, if any.
    pub body: Option<Vec<u8>>,
    /// How long the guest is ready to wait.
    pub timeout: Option<Duration>,
}

/// `opg:host/http.response`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HttpResponse {
    /// 100–599.
    pub status: u16,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Decoded.
    pub body: Vec<u8>,
}

/// `opg:host/tools.definition`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolDefinition {
    /// The name to call it by.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its input, as text.
    pub input_schema: String,
}

/// `opg:host/tools.invocation`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ToolInvocation {
    /// The tool's name.
    pub name: String,
    /// JSON text.
    pub input: String,
}

/// `opg:host/permission.question`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// What the plugin is about to do.
    pub action: String,
    /// What it would do it to.
    pub patterns: Vec<String>,
    /// The patterns for which "always" would hold.
    pub always: Vec<String>,
    /// JSON text: an object.
    pub details: String,
}

/// A call of `opg:host/workspace`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileRequest {
    /// `read`.
    Read { path: String, offset: u64, length: u64 },
    /// `write`.
    Write { path: String, contents: Vec<u8> },
    /// `write-at`.
    WriteAt { path: String, offset: Option<u64>, contents: Vec<u8> },
    /// `stat`.
    Stat { path: String },
    /// `entries`.
    Entries { path: String, after: Option<String> },
    /// `make-directory`.
    MakeDirectory { path: String },
    /// `remove`.
    Remove { path: String, all: bool },
    /// `rename`.
    Rename { source: String, target: String },
    /// `find`.
    Find { path: String, text: String, is_regex: bool },
}

/// What it is answered with.
#[derive(Debug, Serialize, Deserialize)]
pub enum FileAnswer {
    /// It is done.
    Done,
    /// To `read`: bytes, and how long the whole file is.
    Part(Vec<u8>, u64),
    /// To `stat`, one; to `entries`.
    Entries(Vec<Entry>),
    /// To `find`.
    Matches(Vec<Match>),
}

/// Why not: `opg:host/workspace.error`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FileError {
    /// What any call of the host may be told.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The call belongs to no session.
    #[error("{0}")]
    NoSession(String),
    /// The files are not here any more.
    #[error("{0}")]
    Gone(String),
    /// Nothing is there.
    #[error("{0}")]
    NotFound(String),
    /// Something is there.
    #[error("{0}")]
    Exists(String),
    /// It is no directory.
    #[error("{0}")]
    NotADirectory(String),
    /// It is a directory.
    #[error("{0}")]
    IsADirectory(String),
    /// Something is in it.
    #[error("{0}")]
    NotEmpty(String),
}

/// Events of one model call, each the JSON text documented in `opg:host/model`.
/// Dropping it cancels the call.
pub type Completion = BoxStream<'static, Result<String, DoorError>>;

/// The host's side of `opg:host`. `time_left` is what is left of the call; a
/// door may take less, never more.
#[async_trait]
pub trait Door: Send + Sync + 'static {
    /// `log.write`; the sandbox has cut and counted the line.
    fn log(&self, level: LogLevel, message: &str);
    /// `secrets.get`: an opaque reference, never a value.
    async fn secret(&self, name: String) -> Result<String, DoorError>;
    /// `http.send`.
    async fn http(&self, request: HttpRequest, time_left: Duration) -> Result<HttpResponse, DoorError>;
    /// `kv.get`.
    async fn kv_get(&self, key: String) -> Result<Option<Vec<u8>>, DoorError>;
    /// `kv.set`.
    async fn kv_set(&self, key: String, value: Vec<u8>) -> Result<(), DoorError>;
    /// `kv.delete`.
    async fn kv_delete(&self, key: String) -> Result<(), DoorError>;
    /// `kv.keys`.
    async fn kv_keys(&self, prefix: String) -> Result<Vec<String>, DoorError>;
    /// `db.namespace`.
    fn db_namespace(&self) -> String;
    /// `db.query`: parameters and the answer are JSON text.
    async fn db_query(
        &self,
        statement: String,
        params: String,
        limit: Option<u32>,
        time_left: Duration,
    ) -> Result<String, DoorError>;
    /// `db.execute`: as `db_query`, applied.
    async fn db_execute(
        &self,
        statement: String,
        params: String,
        time_left: Duration,
    ) -> Result<String, DoorError>;
    /// `model.complete`.
    async fn complete(&self, request: String, time_left: Duration) -> Result<Completion, DoorError>;
    /// `tools.available`.
    fn tools(&self) -> Vec<ToolDefinition>;
    /// `tools.call`: side by side, answers in order.
    async fn call_tools(
        &self,
        calls: Vec<ToolInvocation>,
        time_left: Duration,
    ) -> Vec<Result<String, DoorError>>;
    /// `events.emit`.
    async fn emit(&self, event: String) -> Result<(), DoorError>;
    /// `permission.ask`: comes back once it may. Takes `PERSON_TIME_MAX` at the most, which is not the call's.
    async fn ask_permission(&self, question: Question) -> Result<(), DoorError>;
    /// `workspace`. Where nothing else is said, there is no session.
    async fn workspace(&self, _request: FileRequest) -> Result<FileAnswer, FileError> {
        Err(FileError::NoSession("this call belongs to no session, and so there are no files".to_owned()))
    }
}

/// Nothing is behind it: for `describe`, which must not depend on anything outside.
#[derive(Debug)]
pub struct ClosedDoor;

fn closed<T>() -> Result<T, DoorError> {
    Err(DoorError::Denied("`describe` cannot reach anything outside".to_owned()))
}

#[async_trait]
impl Door for ClosedDoor {
    fn log(&self, _level: LogLevel, _message: &str) {}
    async fn secret(&self, _name: String) -> Result<String, DoorError> {
        closed()
    }
    async fn http(&self, _request: HttpRequest, _time_left: Duration) -> Result<HttpResponse, DoorError> {
        closed()
    }
    async fn kv_get(&self, _key: String) -> Result<Option<Vec<u8>>, DoorError> {
        closed()
    }
    async fn kv_set(&self, _key: String, _value: Vec<u8>) -> Result<(), DoorError> {
        closed()
    }
    async fn kv_delete(&self, _key: String) -> Result<(), DoorError> {
        closed()
    }
    async fn kv_keys(&self, _prefix: String) -> Result<Vec<String>, DoorError> {
        closed()
    }
    fn db_namespace(&self) -> String {
        String::new()
    }
    async fn db_query(
        &self,
        _statement: String,
        _params: String,
        _limit: Option<u32>,
        _time_left: Duration,
    ) -> Result<String, DoorError> {
        closed()
    }
    async fn db_execute(
        &self,
        _statement: String,
        _params: String,
        _time_left: Duration,
    ) -> Result<String, DoorError> {
        closed()
    }
    async fn complete(&self, _request: String, _time_left: Duration) -> Result<Completion, DoorError> {
        closed()
    }
    fn tools(&self) -> Vec<ToolDefinition> {
        vec![]
    }
    async fn call_tools(
        &self,
        calls: Vec<ToolInvocation>,
        _time_left: Duration,
    ) -> Vec<Result<String, DoorError>> {
        calls.iter().map(|_| closed()).collect()
    }
    async fn emit(&self, _event: String) -> Result<(), DoorError> {
        closed()
    }
    async fn ask_permission(&self, _question: Question) -> Result<(), DoorError> {
        closed()
    }
    async fn workspace(&self, _request: FileRequest) -> Result<FileAnswer, FileError> {
        closed().map_err(FileError::Door)
    }
}
