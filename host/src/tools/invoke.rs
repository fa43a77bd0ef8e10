//! Running one tool once: check the input, run it in a fresh sandbox, write it down.

use crate::{
    app::App,
    error::FieldError,
    grants::{GuestGrants, InApp},
    guests::{Chain, Door, Record, limits, record::LogLine},
    registry::resolve::CodeError,
    sandbox::{CallError, CallLimits, Spent, ToolError},
    secrets::scan::Scanner,
    tools::{catalog::Tool, output, runs::Failure},
    usage::Status,
};
use std::sync::Arc;

/// A run that gave an output.
#[derive(Debug)]
pub struct Done {
    /// JSON text.
    pub output: String,
    /// What the tool logged.
    pub logs: Vec<LogLine>,
    /// What it took.
    pub spent: Spent,
}

/// What a run that failed leaves for the reader.
#[derive(Debug)]
pub struct Left {
    /// What the tool logged.
    pub logs: Vec<LogLine>,
    /// What it took.
    pub spent: Spent,
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// There is no such tool, or none that runs.
    #[error("no such tool")]
    NotFound,
    /// The input does not fit the tool's schema.
    #[error("the input does not fit the tool's schema")]
    BadInput(Vec<FieldError>),
    /// The app has too many calls in flight.
    #[error("this app has too many calls in flight; try again when some have ended")]
    TooMany,
    /// The host has.
    #[error("the sandbox is busy; try again")]
    Busy,
    /// The tool says the input is wrong.
    #[error("the tool refused its input: {0}")]
    InvalidInput(String, Left),
    /// The tool says it could not.
    #[error("the tool failed: {0}")]
    Failed(String, Left),
    /// The guest crashed.
    #[error("the tool crashed: {0}")]
    Trap(String, Left),
    /// It took too long.
    #[error("the tool took too long and was stopped")]
    TimedOut(Left),
    /// It wanted too much memory.
    #[error("the tool wanted more memory than it may have and was stopped")]
    OutOfMemory(Left),
    /// Its answer is too large.
    #[error("the tool's output is larger than it may be")]
    OutputTooLarge(Left),
    /// Its answer is not what a tool answers with.
    #[error("the tool's output cannot be used: {0}; return JSON text")]
    BadOutput(String, Left),
    /// Its code could not be had.
    #[error("the tool could not be loaded")]
    Code(#[from] CodeError),
    /// The database.
    #[error("the run could not be written down")]
    Db(#[from] sqlx::Error),
}

impl InvokeError {
    /// As in the API's errors.
    pub fn code(&self) -> &'static str {
        match self {
            InvokeError::NotFound => "not_found",
            InvokeError::BadInput(_) => "invalid_request",
            InvokeError::TooMany => "too_many_calls",
            InvokeError::Busy => "unavailable",
            InvokeError::InvalidInput(..) => "tool_refused_input",
            InvokeError::Failed(..) => "tool_failed",
            InvokeError::Trap(..) => "tool_trap",
            InvokeError::OutOfMemory(_) => "tool_oom",
            InvokeError::OutputTooLarge(_) => "tool_output_too_large",
            InvokeError::BadOutput(..) => "tool_bad_output",
            InvokeError::TimedOut(_) => "tool_timeout",
            InvokeError::Code(cause) if cause.is_busy() => "unavailable",
            InvokeError::Code(_) | InvokeError::Db(_) => "internal",
        }
    }

    /// For the story of the run. A guest's text may hold what the database does not take.
    fn failure(&self) -> Failure {
        Failure { code: self.code(), text: self.to_string().replace('\0', "\u{fffd}") }
    }

    /// What another guest, and so perhaps a model, is told.
    pub fn for_guest(&self) -> String {
        match self {
            InvokeError::BadInput(fields) => {
                let wrong: Vec<_> = fields.iter().map(|f| format!("{}: {}", f.pointer, f.message)).collect();
                format!("the input does not fit the tool's schema: {}", wrong.join("; "))
            }
            other => other.to_string(),
        }
    }
}

/// Runs the tool of this name with this input, as part of a chain.
///
/// # Errors
/// [`InvokeError`]
pub async fn invoke(app: &App, chain: &Chain, name: &str, input: String) -> Result<Done, InvokeError> {
    let tool = chain.tools.find(name).ok_or(InvokeError::NotFound)?;
    run(app, chain, tool, input).await
}

/// Runs this tool, whether or not the chain's guests may call it.
///
/// # Errors
/// [`InvokeError`]
pub async fn run(app: &App, chain: &Chain, tool: &Tool, input: String) -> Result<Done, InvokeError> {
    super::schema::fit(&tool.definition.input_schema, &input).map_err(InvokeError::BadInput)?;
    let _slot = app.in_flight.take(chain.acting.app().app_id, chain.depth).ok_or(InvokeError::TooMany)?;
    let component = tool.plugin.component(app, chain.acting.app().app_id).await?;

    let plugin = &tool.plugin;
    let (record, _guard) =
        Record::start(app, &chain.acting, &plugin.name, Some(&tool.inner_name), chain.session_id);
    let chain = &chain.within(record.trace());
    let grants = GuestGrants::new(&chain.acting, plugin.name.clone(), plugin);
    record.of_version(plugin.version);
    let default = CallLimits { wall: app.config.tool_time_limit, ..CallLimits::default() };
    let limits = limits::of(&grants, default, chain.time_left());
    let door = Arc::new(Door::new(app, grants, chain.clone(), record.clone()));
    let (name, context) = (&tool.inner_name, chain.context(app));
    let called = chain.place.call_tool(app, &component, door, limits, name, input, context).await;
    let result = without_secrets(chain, &record, called.result);

    // Lines from before a secret turned up may hold it too.
    let logs: Vec<_> = record
        .logs()
        .into_iter()
        .map(|line| LogLine { message: chain.clean(&record, line.message, Scanner::clean_text), ..line })
        .collect();
    record.tell(&logs);
    chain.tell_logs(&tool.definition.name, &logs).await;
    let left = Left { logs, spent: called.spent };
    let ended = match result {
        Ok(Ok(output)) => match output::check(&output) {
            Ok(()) => Ok(Done { output, logs: left.logs, spent: left.spent }),
            Err(why) => Err(InvokeError::BadOutput(why, left)),
        },
        Ok(Err(ToolError::InvalidInput(text))) => Err(InvokeError::InvalidInput(text, left)),
        Ok(Err(ToolError::Failed(text))) => Err(InvokeError::Failed(text, left)),
        Err(error) => Err(stopped(error, left)),
    };
    if let Err(error) = &ended {
        record.failed(error.failure());
    }
    record.end(if ended.is_ok() { Status::Ok } else { Status::Failed }).await?;
    ended
}

/// What a guest says last, without the secrets its chain knows.
fn without_secrets(
    chain: &Chain,
    record: &Record,
    result: Result<Result<String, ToolError>, CallError>,
) -> Result<Result<String, ToolError>, CallError> {
    let clean = |text| chain.clean(record, text, Scanner::clean_text);
    match result {
        Ok(Ok(output)) => Ok(Ok(chain.clean(record, output, Scanner::clean_json))),
        Ok(Err(ToolError::InvalidInput(text))) => Ok(Err(ToolError::InvalidInput(clean(text)))),
        Ok(Err(ToolError::Failed(text))) => Ok(Err(ToolError::Failed(clean(text)))),
        Err(CallError::Trap(text)) => Err(CallError::Trap(clean(text))),
        Err(other) => Err(other),
    }
}

fn stopped(error: CallError, left: Left) -> InvokeError {
    match error {
        CallError::TimedOut => InvokeError::TimedOut(left),
        CallError::OutOfMemory => InvokeError::OutOfMemory(left),
        CallError::OutputTooLarge => InvokeError::OutputTooLarge(left),
        CallError::Busy => InvokeError::Busy,
        other => InvokeError::Trap(other.to_string(), left),
    }
}
