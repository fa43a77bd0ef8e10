//! Running the turns of a session, one after another.

use super::{
    Prompt, Reason, Running, State,
    end::{self, Answer},
    live::{Live, LiveError},
    store,
};
use crate::{
    agents::{
        self, Agent,
        run::{self, RunError},
    },
    app::App,
    chat::send::{ChatError, full_id},
    error::ApiError,
    grants::{Acting, Allowed, action::may, authenticate},
    guests::{Chain, Emitted, Files},
    limits::{SESSION_BYTES_MAX, SESSION_LEASE, SESSION_MESSAGES_MAX, SUMMARY_BYTES_MAX},
    models::{
        ChatRequest, Event, FinishReason, ModelId, Usage,
        gateway::{self, GatewayError, Origin},
        openai::chunks::CompletionBuilder,
    },
    sessions::{
        SessionError, Status, artifacts,
        context::{Context, summarize},
        instances::{self, Target},
        log,
        messages::{MessageKind, NewMessage},
        permissions::{self, gate::Gate},
        status, store as sessions,
        subagents::{
            self, Subtask,
            run::Source,
            tool::{self, Task},
        },
        take,
    },
    sources,
    tenants::configure,
    tools::{self, catalog::Catalog},
    traces::TraceContext,
};
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

/// What an agent says that waits to be heard.
const EMITTED_WAITING_MAX: usize = 64;

/// Runs what waits in a session, in the background, until nothing does. May be called at any time: one turn runs at
/// once, whoever calls.
pub(crate) fn drive(app: &App, session_id: Uuid) {
    let work = {
        let app = app.clone();
        async move {
            while !app.stopping.is_cancelled() {
                match begin(&app, session_id).await {
                    Ok(Next::Turn(begun)) => drop(turn(&app, *begun).await),
                    Ok(Next::Another) => {}
                    Ok(Next::Nothing) => return,
                    Err(cause) => {
                        tracing::error!(%cause, %session_id, "a turn could not begin; it is tried again later");
                        return;
                    }
                }
            }
        }
    };
    app.spawn(work);
}

enum Next {
    Turn(Box<Begun>),
    /// One that could not begin, or has to wait for another; there are or may be others.
    Another,
    Nothing,
}

/// A turn that has begun: it has the session's lease.
pub(crate) struct Begun {
    pub(crate) turn: Running,
    pub(crate) token: Uuid,
    /// Cancelled when the turn is ended from outside.
    pub(crate) cut: CancellationToken,
    pub(crate) allowed: Allowed<may::ChatSend>,
    pub(crate) prompt: Prompt,
    /// The chain it is a part of, where another agent asked for it.
    pub(crate) under: Option<Chain>,
}

/// Takes the session for the turn that is next, in one transaction with its message.
async fn begin(app: &App, session_id: Uuid) -> sqlx::Result<Next> {
    let now = app.now();
    let mut tx = app.service_tx().await?;
    let Some(session) = sessions::lock_of_any(tx.conn(), session_id).await? else { return Ok(Next::Nothing) };
    let free = session.status == Status::Idle && session.busy_until.is_none_or(|until| until <= now);
    if !free || session.expires_at <= now {
        return Ok(Next::Nothing);
    }
    let Some(next) = store::next(tx.conn(), session_id).await? else { return Ok(Next::Nothing) };
    let turn = Running { session_id, app_id: next.app_id, turn_id: next.turn_id };
    // As it is now, not as it was when the prompt was taken: one gate for both.
    let trace = next.traceparent.as_deref().and_then(TraceContext::parse);
    let caller =
        authenticate::caller(app, &mut tx, next.credential_id, next.app_id, &next.request_id, trace).await?;
    let allowed = match Allowed::<may::ChatSend>::judge(caller.as_ref(), None) {
        Err(denied) => {
            Err(Reason::new("not_allowed", format!("the credential this was asked with may not: {denied}")))
        }
        Ok(allowed) => {
            let is_full = is_full(tx.conn(), session_id).await?;
            if is_full {
                Err(Reason::new("session_full", SessionError::Full.to_string()))
            } else {
                Ok(allowed)
            }
        }
    };
    let is_long = session.context.is_some_and(Context::is_long) && !next.prompt.summarize;
    let (next, written) = match allowed {
        Ok(_) if is_long => (Next::Another, sum_up_first(app, tx.conn(), turn, &next).await?),
        Ok(allowed) => {
            let token = app.new_id();
            let written = start(app, tx.conn(), turn, token, next.message_id, &next.prompt).await?;
            // Before anybody can know of it, and cut it.
            let cut = app.running_turns.enter(turn.turn_id);
            let begun = Begun { turn, token, cut, allowed, prompt: next.prompt.0, under: None };
            (Next::Turn(Box::new(begun)), written)
        }
        Err(reason) => {
            (Next::Another, end::drop_waiting(app, tx.conn(), turn, State::Failed, &reason).await?)
        }
    };
    if let Err(cause) = tx.commit().await {
        app.running_turns.leave(turn.turn_id);
        return Err(cause);
    }
    written.tell(app);
    Ok(next)
}

/// Lets a turn wait for another that sums the conversation up, with the same model. It is tried once: where that fails,
/// the turn runs with the conversation as it is.
async fn sum_up_first(
    app: &App,
    conn: &mut PgConnection,
    turn: Running,
    next: &store::Waiting,
) -> sqlx::Result<log::Written> {
    let (turn_id, message_id) = (app.new_id(), app.new_id());
    let prompt = Prompt::summary(next.prompt.model.clone());
    let new = store::NewTurn {
        turn_id,
        session_id: turn.session_id,
        app_id: turn.app_id,
        first: true,
        message_id,
        prompt: &prompt,
        credential_id: next.credential_id,
        request_id: &next.request_id,
        parent_turn_id: None,
        traceparent: next.traceparent.clone(),
        now: app.now(),
    };
    store::insert(conn, &new).await?;
    sessions::set_context(conn, turn.session_id, None).await?;
    let drafts = vec![prompt.draft(log::Kind::TurnQueued, turn_id, message_id)];
    log::write(app, conn, (turn.session_id, turn.app_id), drafts).await
}

/// Takes the session for this turn, and adds its message to the history.
pub(in crate::sessions) async fn start(
    app: &App,
    conn: &mut PgConnection,
    turn: Running,
    token: Uuid,
    message_id: Uuid,
    prompt: &Prompt,
) -> sqlx::Result<log::Written> {
    let Running { session_id, app_id, turn_id } = turn;
    let now = app.now();
    sessions::take(conn, session_id, token, now + SESSION_LEASE, now, now + app.config.session_ttl).await?;
    store::start(conn, turn_id, now).await?;
    // A summary says nothing in the place of what was taken back until it is there.
    if !prompt.summarize {
        sessions::forget_reverted(conn, session_id).await?;
        let message = NewMessage {
            message_id,
            turn_id: Some(turn_id),
            message: json!({ "role": "user", "content": prompt.content }),
            reasoning: None,
            kind: MessageKind::Message,
        };
        sessions::append(conn, (session_id, app_id), &[message], None, now).await?;
    }
    let mut drafts: Vec<_> = status::go(conn, session_id, Status::Active, None).await?.into_iter().collect();
    if let Some(policy) = &prompt.permissions {
        permissions::store::set_policy(conn, session_id, policy).await?;
        drafts.push(log::Draft::new(log::Kind::SessionUpdated, None, json!({ "permissions": policy })));
    }
    drafts.push(prompt.draft(log::Kind::TurnStarted, turn_id, message_id));
    log::write(app, conn, (session_id, app_id), drafts).await
}

async fn is_full(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<bool> {
    let (messages, bytes) = sessions::size(conn, session_id).await?;
    Ok(messages >= SESSION_MESSAGES_MAX || bytes >= SESSION_BYTES_MAX)
}

/// Why a turn has no answer.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error(transparent)]
    Chat(#[from] ChatError),
    #[error(transparent)]
    Live(#[from] LiveError),
    #[error("the turn took too long and was stopped")]
    TimedOut,
    #[error("the model wrote no summary that can be used; try again, or name another `model`")]
    NoSummary,
}

/// Runs one turn to its end, however it ends; what it said last, where it ended with its answer. Boxed: a turn may be a
/// part of another.
pub(in crate::sessions) fn turn(app: &App, begun: Begun) -> BoxFuture<'_, Option<String>> {
    Box::pin(run_turn(app, begun))
}

async fn run_turn(app: &App, begun: Begun) -> Option<String> {
    let Begun { turn, token, .. } = begun;
    let acting = Acting::of(&begun.allowed);
    let mut live = Live::new(app, &acting, turn, token);
    let answered = tokio::select! {
        biased;
        // It has its end in the database already.
        () = begun.cut.cancelled() => None,
        () = take::renew(app.clone(), acting.clone(), turn.session_id, token) => None,
        () = app.cut_off.cancelled() => {
            Some(Err(Reason::new("host_stopping", "the host was stopped; what was said is kept, ask again")))
        }
        answered = answer(app, &begun, &mut live) => match answered {
            Err(TurnError::Live(LiveError::Lost)) => None,
            Err(error) => Some(Err(reason(error))),
            Ok(answer) => Some(Ok(answer)),
        },
    };
    app.running_turns.leave(turn.turn_id);
    let said = answered.as_ref().and_then(|answered| answered.as_ref().ok()).map(Answer::last_words);
    let ended = match answered {
        None => Ok(()),
        Some(Ok(answer)) => match end::complete(app, &acting, turn, token, &mut live, answer).await {
            Ok(()) | Err(LiveError::Lost) => Ok(()),
            // What was said is in the log, or most of it.
            Err(LiveError::Db(cause)) => {
                tracing::error!(%cause, turn_id = %turn.turn_id, "a turn's answer could not be written down");
                let reason = Reason::new("unavailable", "the answer could not be written down; ask again");
                end::fail(app, &acting, turn, State::Failed, reason).await
            }
        },
        Some(Err(reason)) => {
            // What was said and not yet written is part of what stays.
            let flushed = live.flush().await;
            if let Err(cause) = flushed {
                tracing::warn!(%cause, "the last words of a turn could not be written down");
            }
            end::fail(app, &acting, turn, State::Failed, reason).await
        }
    };
    artifacts::save_later(app, &acting, turn.session_id);
    if let Err(cause) = ended {
        tracing::error!(%cause, turn_id = %turn.turn_id, "a turn's end could not be written down; its lease will run out");
        return None;
    }
    said
}

/// As an HTTP client would be told.
fn reason(error: TurnError) -> Reason {
    match error {
        TurnError::Chat(error) => {
            let error = ApiError::from(error);
            Reason::new(error.code.clone(), error.detail.clone())
        }
        TurnError::TimedOut => Reason::new("turn_timeout", error.to_string()),
        TurnError::NoSummary => Reason::new("no_summary", error.to_string()),
        TurnError::Live(_) => Reason::new("unavailable", "the session could not be written; ask again"),
    }
}

async fn answer(app: &App, begun: &Begun, live: &mut Live) -> Result<Answer, TurnError> {
    let plan = plan(app, begun).await?;
    let mut history = {
        let mut tx = app.tenant_tx(&begun.allowed).await.map_err(ChatError::from)?;
        sessions::messages(&mut tx, begun.turn.session_id).await.map_err(ChatError::from)?
    };
    let time = app.config.agent_time_limit;
    if begun.prompt.summarize {
        let asking = summary(app, begun, &plan, &history);
        return tokio::time::timeout(time, asking).await.unwrap_or(Err(TurnError::TimedOut));
    }
    let (emit, mut emitted) = mpsc::channel(EMITTED_WAITING_MAX);
    let source = Source {
        app: app.clone(),
        allowed: begun.allowed.clone(),
        turn: begun.turn,
        model: format!("{}/{}", plan.provider, plan.model),
    };
    let mut chain = chain(&source, begun, &plan, emit).await.map_err(ChatError::from)?;
    // A part of another turn runs where that does; without an agent no guest runs.
    let has_guests = plan.agent.is_some() || !begun.prompt.subtasks.is_empty();
    if begun.under.is_none() && has_guests {
        let acting = Acting::of(&begun.allowed);
        let place = instances::place(app, &acting, (begun.turn.session_id, plan.target)).await;
        chain = chain.running_in(place.map_err(RunError::from).map_err(ChatError::from)?);
    }
    let handed_on = hand_on(&source, &begun.prompt.subtasks, &chain, (&mut emitted, &mut *live)).await?;
    history.extend(handed_on.iter().cloned());
    let mut answer = match plan.agent {
        Some(ref agent) => by_agent(app, &chain, (&mut emitted, live), agent, &source.model, history).await?,
        None => {
            let asking = Box::pin(by_model(app, begun, live, &plan, &chain, history));
            tokio::time::timeout(chain.time_left(), asking).await.unwrap_or(Err(TurnError::TimedOut))?
        }
    };
    answer.messages.splice(0..0, handed_on);
    if let Some(context) = &mut answer.context {
        context.limit = plan.context_limit;
    }
    Ok(answer)
}

/// The chain of a turn: one of its own, or a part of that of the agent that asked for it.
async fn chain(
    source: &Source,
    begun: &Begun,
    plan: &Plan,
    emit: mpsc::Sender<Emitted>,
) -> sqlx::Result<Chain> {
    let app = &source.app;
    let tools = plan.agent.as_ref().and_then(|agent| agent.tools.as_ref());
    let catalog = Arc::new(plan.catalog.clone().chosen(tools));
    let Running { session_id, turn_id, .. } = begun.turn;
    let chain = match &begun.under {
        Some(under) => under.handed_on((session_id, turn_id), catalog, emit),
        None => {
            let time = app.config.agent_time_limit;
            Chain::start(app, &begun.allowed, catalog, Some(session_id), time, Some(emit))
                .working_on(Files::new(plan.with_files, turn_id))
        }
    };
    let gate = Arc::new(Gate::new(app, &Acting::of(&begun.allowed), begun.turn));
    let chain = chain.in_turn(turn_id).asking(gate.clone());
    let Some(agent) = &plan.agent else { return Ok(chain) };
    Ok(match Task::of(source, &gate, agent).await? {
        Some(task) => chain.delegating(task),
        None => chain,
    })
}

/// Lets other agents do what the prompt asks of them, side by side; what is said of it in the conversation: as if the
/// model had called the tool. One that fails is told to the model like any other call that does.
async fn hand_on(
    source: &Source,
    tasks: &[Subtask],
    chain: &Chain,
    (emitted, live): (&mut mpsc::Receiver<Emitted>, &mut Live),
) -> Result<Vec<Value>, TurnError> {
    if tasks.is_empty() {
        return Ok(vec![]);
    }
    let members = |value: Value| value.as_object().cloned().unwrap_or_default();
    let mut calls = vec![];
    for task in tasks {
        let id = format!("task_{}", source.app.new_id().simple());
        let arguments = json!(task).to_string();
        live.told("tool_call", members(json!({ "id": id, "name": tool::NAME, "arguments": arguments })));
        let function = json!({ "name": tool::NAME, "arguments": arguments });
        calls.push(json!({ "id": id, "type": "function", "function": function }));
    }
    let chain = chain.deeper(chain.time_left()).unwrap_or_else(|| chain.clone());
    // Tasks of their own: one that holds a row goes on while what is told here waits for it.
    let running = join_all(tasks.iter().cloned().map(|task| {
        let (source, chain) = (source.clone(), chain.clone());
        let running = async move { subagents::run::run(&source, &chain, &task).await };
        AbortOnDropHandle::new(tokio::spawn(running))
    }));
    tokio::pin!(running);
    let results = loop {
        tokio::select! {
            biased;
            () = live.due() => live.flush().await?,
            Some(event) = emitted.recv() => hear(live, event).await?,
            results = &mut running => break results,
        }
    };
    let mut messages = vec![json!({ "role": "assistant", "content": null, "tool_calls": calls })];
    for (call, result) in calls.iter().zip(results) {
        let (ok, content) = match result {
            Ok(Ok(said)) => (true, said),
            Ok(Err(error)) => (false, format!("Error: {error}")),
            Err(_) => (false, "Error: the task was broken off".to_owned()),
        };
        let told = json!({ "id": call["id"], "name": tool::NAME, "ok": ok, "output": content });
        live.told("tool_result", members(told));
        messages.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": content }));
    }
    Ok(messages)
}

/// Who answers, with what.
struct Plan {
    agent: Option<Agent>,
    provider: String,
    model: String,
    /// How many tokens the model takes, where that is known.
    context_limit: Option<i64>,
    catalog: Catalog,
    /// The session whose files it works on.
    with_files: Uuid,
    /// What guests run on.
    target: Target,
}

async fn plan(app: &App, begun: &Begun) -> Result<Plan, ChatError> {
    let allowed = &begun.allowed;
    let (wishes, with_files) = {
        let (mut tx, session_id) = (app.tenant_tx(allowed).await?, begun.turn.session_id);
        let wishes = sessions::wishes(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
        let with_files = sessions::with_files(tx.conn(), session_id, wishes.parent_id).await?;
        (wishes, with_files)
    };
    let (tenant, _providers) = configure::read(app, allowed).await?;
    let catalog = tools::catalog::load(app, allowed).await?.offered();
    let target = wishes.target();
    let named = begun.prompt.agent.clone().or(wishes.agent);
    let agent = agents::choose(app, allowed, named.as_deref()).await?;
    let of_agent = agent.as_ref().and_then(|agent| agent.model.clone());
    // The nearest word counts: this message's, the session's, the agent's, the app's.
    let wanted =
        begun.prompt.model.clone().or(wishes.model).or(of_agent).or_else(|| tenant.default_model.clone());
    let id = ModelId::parse(&wanted.ok_or(ChatError::NoModel)?).map_err(ChatError::Request)?;
    let (provider, model) = full_id(app, allowed, &id, tenant.default_model.as_deref()).await?;
    let context_limit = sources::context_of(app, begun.turn.app_id, &provider, &model).await?;
    Ok(Plan { agent, provider, model, context_limit, catalog, with_files, target })
}

async fn by_agent(
    app: &App,
    chain: &Chain,
    (emitted, live): (&mut mpsc::Receiver<Emitted>, &mut Live),
    agent: &Agent,
    model: &str,
    history: Vec<Value>,
) -> Result<Answer, TurnError> {
    let options = agent.temperature.map(|temperature| json!({ "temperature": temperature }));
    let task = run::Task {
        model: model.to_owned(),
        messages: history,
        options: options.unwrap_or_else(|| json!({})),
        client_tools: vec![],
    };
    let running = run::run(app, chain, agent, task);
    tokio::pin!(running);
    let ended = loop {
        tokio::select! {
            biased;
            () = live.due() => live.flush().await?,
            Some(event) = emitted.recv() => hear(live, event).await?,
            ended = &mut running => break ended,
        }
    };
    while let Ok(event) = emitted.try_recv() {
        hear(live, event).await?;
    }
    let ended = ended.map_err(ChatError::from)?;
    Ok(Answer {
        messages: ended.messages,
        finish: ended.finish.as_str(),
        usage: chain.usage(),
        context: chain.last_usage().map(context_of),
        summary: None,
    })
}

/// How long a conversation is after this call.
fn context_of(usage: Usage) -> Context {
    Context { tokens: i64::try_from(usage.total_tokens()).unwrap_or(i64::MAX), limit: None }
}

/// A model sums the conversation up. Nothing of it is told before it is whole: one that fails leaves nothing behind.
async fn summary(app: &App, begun: &Begun, plan: &Plan, history: &[Value]) -> Result<Answer, TurnError> {
    let full = format!("{}/{}", plan.provider, plan.model);
    let request = summarize::request(&full, history).map_err(ChatError::Request)?;
    let origin = Origin { session_id: Some(begun.turn.session_id), ..Origin::default() };
    let asked = gateway::ask(app, &begun.allowed, (&plan.provider, &plan.model), &request, origin);
    let mut reply = asked.await.map_err(ChatError::from)?;
    let (mut text, mut finish) = (String::new(), FinishReason::Stop);
    while let Some(event) = reply.next().await {
        match event.map_err(|error| ChatError::from(GatewayError::from(error)))? {
            Event::Text(piece) if text.len() < SUMMARY_BYTES_MAX => text.push_str(&piece),
            Event::Finish(reason) => finish = reason,
            _ => {}
        }
    }
    if finish != FinishReason::Stop || text.trim().is_empty() || text.len() > SUMMARY_BYTES_MAX {
        return Err(TurnError::NoSummary);
    }
    // What the next call reads at the least.
    let written = Usage { prompt_tokens: 0, ..reply.usage() };
    let context = Context { limit: plan.context_limit, ..context_of(written) };
    Ok(Answer {
        messages: vec![],
        finish: finish.as_str(),
        usage: reply.usage(),
        context: Some(context),
        summary: Some(text.trim().to_owned()),
    })
}

async fn hear(live: &mut Live, event: Emitted) -> Result<(), LiveError> {
    match event {
        Emitted::Text(text) => live.text(&text),
        Emitted::Reasoning(text) => live.reasoning(&text),
        Emitted::Other { kind, event } => live.told(&kind, event),
        Emitted::File(change) => live.changed(&change),
        Emitted::Logged { name, lines, left_out } => live.logged(&name, &lines, left_out),
        Emitted::Settle(settled) => {
            live.flush().await?;
            // Nobody waits any more where it took too long.
            let _ = settled.send(());
        }
    }
    Ok(())
}

/// Without an agent the model answers as it is.
async fn by_model(
    app: &App,
    begun: &Begun,
    live: &mut Live,
    plan: &Plan,
    chain: &Chain,
    history: Vec<Value>,
) -> Result<Answer, TurnError> {
    let full = format!("{}/{}", plan.provider, plan.model);
    let body =
        Map::from_iter([("model".to_owned(), json!(full)), ("messages".to_owned(), Value::Array(history))]);
    let request = ChatRequest::from_value(Value::Object(body)).map_err(ChatError::Request)?;
    let origin = Origin { session_id: Some(begun.turn.session_id), ..Origin::default() };
    let asked = gateway::ask(app, &begun.allowed, (&plan.provider, &plan.model), &request, origin);
    let mut reply = asked.await.map_err(ChatError::from)?;
    let (mut whole, mut finish) = (CompletionBuilder::default(), FinishReason::Stop);
    loop {
        let event = tokio::select! {
            biased;
            () = live.due() => {
                live.flush().await?;
                continue;
            }
            event = reply.next() => event,
        };
        let Some(event) = event else { break };
        let event = event.map_err(|error| ChatError::from(GatewayError::from(error)))?;
        whole.push(&event);
        match &event {
            Event::Text(text) | Event::Refusal(text) => live.text(text),
            Event::Reasoning(text) => live.reasoning(text),
            Event::Finish(reason) => finish = *reason,
            Event::Usage(_)
            | Event::Thought(_)
            | Event::ToolCall { .. }
            | Event::Logprobs { .. }
            | Event::Alternative { .. } => {}
        }
    }
    Ok(Answer {
        messages: vec![whole.message().to_value()],
        finish: finish.as_str(),
        usage: chain.usage().and(&reply.usage()),
        context: Some(context_of(reply.usage())),
        summary: None,
    })
}
