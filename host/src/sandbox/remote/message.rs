//! What the two ends say to each other.

use crate::sandbox::door::{
    DoorError, FileAnswer, FileError, FileRequest, HttpRequest, HttpResponse, LogLevel, Question,
    ToolDefinition, ToolInvocation,
};
use crate::sandbox::{AgentError, CallContext, CallError, CallLimits, Spent, ToolError, Turn};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// From the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToRunner {
    /// A component to be kept ready; its machine code goes with it. `interface` is JSON.
    Load { digest: String, interface: String },
    /// A guest to be run.
    Run { run: u64, digest: String, limits: CallLimits, what: Box<What>, shown: Shown },
    /// Nobody waits for this one any more.
    Cancel { run: u64 },
    /// What a guest's call came to.
    Answer { call: u64, answer: Answer },
    /// The next of a model's events; none: there are no more.
    Event { call: u64, event: Option<Result<String, DoorError>> },
}

/// What is run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum What {
    Agent(Turn),
    Tool { name: String, input: String, context: CallContext },
}

/// What a door shows without being asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Shown {
    pub(super) tools: Vec<ToolDefinition>,
    pub(super) db_namespace: String,
}

/// From a runner.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToHost {
    /// It has no component of this digest: [`ToRunner::Load`], and the run again.
    Missing { run: u64 },
    /// A guest asks for something.
    Ask { run: u64, call: u64, time_left: Duration, ask: Ask },
    /// It waits for the answer no more.
    Forget { call: u64 },
    /// It took in so many of a model's events, and takes as many more.
    More { call: u64, events: u32 },
    /// It logged a line.
    Log { run: u64, level: LogLevel, message: String },
    /// A run is over.
    Ended { run: u64, result: Result<Answered, CallError>, spent: Spent },
}

/// A call of a door's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Secret(String),
    Http(HttpRequest),
    KvGet(String),
    KvSet(String, Vec<u8>),
    KvDelete(String),
    KvKeys(String),
    DbQuery { statement: String, params: String, limit: Option<u32> },
    DbExecute { statement: String, params: String },
    Complete(String),
    CallTools(Vec<ToolInvocation>),
    Permission(Question),
    Workspace(FileRequest),
}

impl Ask {
    /// About what it holds in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Ask::Secret(text)
            | Ask::KvGet(text)
            | Ask::KvDelete(text)
            | Ask::KvKeys(text)
            | Ask::Complete(text) => text.len(),
            Ask::Http(request) => {
                let headers: usize =
                    request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
                request.url.len() + headers + request.body.as_ref().map_or(0, Vec::len)
            }
            Ask::KvSet(key, value) => key.len() + value.len(),
            Ask::DbQuery { statement, params, .. } | Ask::DbExecute { statement, params } => {
                statement.len() + params.len()
            }
            Ask::CallTools(calls) => calls.iter().map(|call| call.name.len() + call.input.len()).sum(),
            Ask::Permission(question) => {
                let patterns = question.patterns.iter().chain(&question.always).map(String::len);
                question.details.len() + patterns.sum::<usize>()
            }
            Ask::Workspace(request) => match request {
                FileRequest::Write { contents, .. } | FileRequest::WriteAt { contents, .. } => contents.len(),
                _ => 0,
            },
        }
    }
}

/// What it came to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Nothing(Result<(), DoorError>),
    Text(Result<String, DoorError>),
    Texts(Result<Vec<String>, DoorError>),
    Bytes(Result<Option<Vec<u8>>, DoorError>),
    Http(Result<HttpResponse, DoorError>),
    Tools(Vec<Result<String, DoorError>>),
    File(Result<FileAnswer, FileError>),
}

/// What a run came to. What an agent's turn did is reported, and here only that it was.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answered {
    Agent(Result<(), AgentError>),
    Tool(Result<String, ToolError>),
}
