//! One turn of an agent, in the sandbox.

use super::Agent;
use crate::{
    app::App,
    grants::{GuestGrants, InApp},
    guests::{Chain, Door, Record, limits},
    limits::{STEPS_PER_TURN_MAX, TURN_CPU_TIME_MAX},
    models::{FinishReason, gateway::GatewayError},
    registry::resolve::CodeError,
    sandbox::{AgentError, CallError, CallLimits, Outcome, Turn},
    secrets::scan::Scanner,
    usage::Status,
};
use serde_json::Value;
use std::sync::Arc;

/// What is asked of an agent.
pub struct Task {
    /// `provider/model`.
    pub model: String,
    /// OpenAI chat messages, the conversation so far.
    pub messages: Vec<Value>,
    /// Other fields of the request, for the model.
    pub options: Value,
    /// Tools the client runs.
    pub client_tools: Vec<Value>,
}

/// How a turn ended.
pub struct Ended {
    /// Why.
    pub finish: FinishReason,
    /// The messages it added.
    pub messages: Vec<Value>,
}

/// Why a turn did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A model did not answer.
    #[error("{0}")]
    Model(#[from] GatewayError),
    /// The agent says the request is wrong.
    #[error("the agent refused the request: {0}")]
    InvalidInput(String),
    /// The agent says it could not.
    #[error("the agent failed: {0}")]
    Failed(String),
    /// The guest crashed, or answered nonsense.
    #[error("the agent crashed: {0}")]
    Trap(String),
    /// It took too long.
    #[error("the agent took too long and was stopped")]
    TimedOut,
    /// There is nothing to run it in.
    #[error("{0}")]
    NotReady(String),
    /// The process it ran in is gone.
    #[error("the process this session runs in ended; what was said is kept, ask again")]
    Lost,
    /// The app has too many calls in flight.
    #[error("this app has too many calls in flight; try again when some have ended")]
    TooMany,
    /// The host has.
    #[error("the sandbox is busy; try again")]
    Busy,
    /// Its code could not be had.
    #[error("the agent could not be loaded")]
    Code(#[from] CodeError),
    /// The database.
    #[error("the run could not be written down")]
    Db(#[from] sqlx::Error),
}

/// Runs one turn. What the agent says on the way goes out through the chain.
///
/// # Errors
/// [`RunError`]
pub async fn run(app: &App, chain: &Chain, agent: &Agent, task: Task) -> Result<Ended, RunError> {
    // Of those of requests also where another agent handed it on: the slots of calls by calls are for tools, and agents
    // that wait for agents could take them all.
    let _slot = app.in_flight.take(chain.acting.app().app_id, 0).ok_or(RunError::TooMany)?;
    let component = agent.plugin.component(app, chain.acting.app().app_id).await?;
    let plugin = &agent.plugin;
    let (record, _guard) = Record::start(app, &chain.acting, &agent.name, None, chain.session_id);
    let chain = &chain.within(record.trace());
    let grants = GuestGrants::new(&chain.acting, agent.name.clone(), plugin);
    let wall = chain.time_left();
    let default = CallLimits { wall, cpu: TURN_CPU_TIME_MAX, ..CallLimits::default() };
    let limits = limits::of(&grants, default, wall);
    let door = Arc::new(Door::new(app, grants, chain.clone(), record.clone()));
    let turn = Turn {
        model: task.model,
        instructions: agent.instructions.clone(),
        messages: Value::Array(task.messages).to_string(),
        options: task.options.to_string(),
        client_tools: Value::Array(task.client_tools).to_string(),
        max_steps: agent.steps.unwrap_or(STEPS_PER_TURN_MAX),
        context: chain.context(app),
    };
    let called = chain.place.run_agent(app, &component, door, limits, turn).await;
    let ended = judge(called.result, chain).map_err(|error| error.without_secrets(chain, &record));
    let ended = ended.map(|ended| Ended {
        messages: chain.clean(&record, ended.messages, |scanner, mut messages, found| {
            messages.iter_mut().for_each(|message| scanner.clean_value(message, found));
            messages
        }),
        ..ended
    });
    record.end(if ended.is_ok() { Status::Ok } else { Status::Failed }).await?;
    ended
}

impl RunError {
    /// The same with a guest's words cleaned.
    fn without_secrets(self, chain: &Chain, record: &Record) -> RunError {
        let clean = |text| chain.clean(record, text, Scanner::clean_text);
        match self {
            RunError::InvalidInput(text) => RunError::InvalidInput(clean(text)),
            RunError::Failed(text) => RunError::Failed(clean(text)),
            RunError::Trap(text) => RunError::Trap(clean(text)),
            other => other,
        }
    }
}

fn judge(result: Result<Result<Outcome, AgentError>, CallError>, chain: &Chain) -> Result<Ended, RunError> {
    match result {
        Ok(Ok(outcome)) => read(&outcome),
        // The client is told what the model's provider said, not what a guest made of it.
        Ok(Err(AgentError::Model(text))) => {
            Err(chain.take_failure().map_or(RunError::Failed(text), RunError::Model))
        }
        Ok(Err(AgentError::InvalidInput(text))) => Err(RunError::InvalidInput(text)),
        Ok(Err(AgentError::Failed(text))) => Err(RunError::Failed(text)),
        Err(CallError::TimedOut) => Err(RunError::TimedOut),
        Err(CallError::Busy) => Err(RunError::Busy),
        Err(CallError::Lost) => Err(RunError::Lost),
        Err(other) => Err(RunError::Trap(other.to_string())),
    }
}

/// An outcome is a guest's word: read with care.
fn read(outcome: &Outcome) -> Result<Ended, RunError> {
    let nonsense = |what: &str| RunError::Trap(format!("its outcome makes no sense: {what}"));
    let finish = match outcome.finish_reason.as_str() {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        _ => return Err(nonsense("unknown finish reason")),
    };
    let messages: Vec<Value> =
        serde_json::from_str(&outcome.messages).map_err(|_| nonsense("messages are no list"))?;
    if finish == FinishReason::ToolCalls
        && messages.last().is_none_or(|m| m["tool_calls"].as_array().is_none_or(Vec::is_empty))
    {
        return Err(nonsense("it ends with tool calls and has none"));
    }
    Ok(Ended { finish, messages })
}
