//! Running the turns of a session, one after another.

use super::{
    Prompt, Reason, Running, State,
    end::{self, Answer},
    live::{Live, LiveError},
    store,
};
use crate::{
    agents::{self, Agent, run},
    app::App,
    chat::send::{ChatError, full_id},
    error::ApiError,
    grants::{Acting, Allowed, action::may, authenticate},
    guests::{Chain, Emitted},
    limits::{SESSION_BYTES_MAX, SESSION_LEASE, SESSION_MESSAGES_MAX},
    models::{
        ChatRequest, Event, FinishReason, ModelId,
        gateway::{self, GatewayError, Origin},
        openai::chunks::CompletionBuilder,
    },
    sessions::{
        SessionError, Status, log,
        messages::NewMessage,
        permissions::{self, gate::Gate},
        status, store as sessions, take,
    },
    tenants::configure,
    tools::{self, catalog::Catalog},
    traces::TraceContext,
};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
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
                    Ok(Next::Turn(begun)) => Box::pin(turn(&app, *begun)).await,
                    Ok(Next::Dropped) => {}
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
    /// One that could not begin; there may be others.
    Dropped,
    Nothing,
}

struct Begun {
    turn: Running,
    token: Uuid,
    /// Cancelled when the turn is ended from outside.
    cut: CancellationToken,
    allowed: Allowed<may::ChatSend>,
    prompt: Prompt,
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
    let (next, written) = match allowed {
        Ok(allowed) => {
            let token = app.new_id();
            let written = start(app, tx.conn(), turn, token, &next).await?;
            // Before anybody can know of it, and cut it.
            let cut = app.running_turns.enter(turn.turn_id);
            (Next::Turn(Box::new(Begun { turn, token, cut, allowed, prompt: next.prompt.0 })), written)
        }
        Err(reason) => {
            (Next::Dropped, end::drop_waiting(app, tx.conn(), turn, State::Failed, &reason).await?)
        }
    };
    if let Err(cause) = tx.commit().await {
        app.running_turns.leave(turn.turn_id);
        return Err(cause);
    }
    written.tell(app);
    Ok(next)
}

/// Takes the session for this turn, and adds its message to the history.
async fn start(
    app: &App,
    conn: &mut PgConnection,
    turn: Running,
    token: Uuid,
    next: &store::Waiting,
) -> sqlx::Result<log::Written> {
    let Running { session_id, app_id, turn_id } = turn;
    let now = app.now();
    sessions::take(conn, session_id, token, now + SESSION_LEASE, now, now + app.config.session_ttl).await?;
    store::start(conn, turn_id, now).await?;
    sessions::forget_reverted(conn, session_id).await?;
    let message = NewMessage {
        message_id: next.message_id,
        turn_id: Some(turn_id),
        message: json!({ "role": "user", "content": next.prompt.content }),
        reasoning: None,
    };
    sessions::append(conn, (session_id, app_id), &[message], now).await?;
    let mut drafts: Vec<_> = status::go(conn, session_id, Status::Active, None).await?.into_iter().collect();
    if let Some(policy) = &next.prompt.permissions {
        permissions::store::set_policy(conn, session_id, policy).await?;
        drafts.push(log::Draft::new(log::Kind::SessionUpdated, None, json!({ "permissions": policy })));
    }
    let data = json!({ "message_id": next.message_id });
    drafts.push(log::Draft::new(log::Kind::TurnStarted, Some(turn_id), data));
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
}

/// Runs one turn to its end, however it ends.
async fn turn(app: &App, begun: Begun) {
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
    if let Err(cause) = ended {
        tracing::error!(%cause, turn_id = %turn.turn_id, "a turn's end could not be written down; its lease will run out");
    }
}

/// As an HTTP client would be told.
fn reason(error: TurnError) -> Reason {
    match error {
        TurnError::Chat(error) => {
            let error = ApiError::from(error);
            Reason::new(error.code.clone(), error.detail.clone())
        }
        TurnError::TimedOut => Reason::new("turn_timeout", error.to_string()),
        TurnError::Live(_) => Reason::new("unavailable", "the session could not be written; ask again"),
    }
}

async fn answer(app: &App, begun: &Begun, live: &mut Live) -> Result<Answer, TurnError> {
    let plan = plan(app, begun).await?;
    let history = {
        let mut tx = app.tenant_tx(&begun.allowed).await.map_err(ChatError::from)?;
        sessions::messages(&mut tx, begun.turn.session_id).await.map_err(ChatError::from)?
    };
    match plan.agent {
        Some(ref agent) => by_agent(app, begun, live, agent, &plan, history).await,
        None => {
            let time = app.config.agent_time_limit;
            let asking = by_model(app, begun, live, &plan, history);
            tokio::time::timeout(time, asking).await.unwrap_or(Err(TurnError::TimedOut))
        }
    }
}

/// Who answers, with what.
struct Plan {
    agent: Option<Agent>,
    provider: String,
    model: String,
    catalog: Catalog,
}

async fn plan(app: &App, begun: &Begun) -> Result<Plan, ChatError> {
    let allowed = &begun.allowed;
    let (session_agent, session_model) = {
        let mut tx = app.tenant_tx(allowed).await?;
        sessions::wishes(&mut tx, begun.turn.session_id).await?.ok_or(SessionError::NotFound)?
    };
    let (tenant, _providers) = configure::read(app, allowed).await?;
    let catalog = tools::catalog::load(app, allowed).await?.offered();
    let named = begun.prompt.agent.clone().or(session_agent);
    let agent = agents::choose(app, allowed, named.as_deref()).await?;
    let of_agent = agent.as_ref().and_then(|agent| agent.model.clone());
    // The nearest word counts: this message's, the session's, the agent's, the app's.
    let wanted =
        begun.prompt.model.clone().or(session_model).or(of_agent).or_else(|| tenant.default_model.clone());
    let id = ModelId::parse(&wanted.ok_or(ChatError::NoModel)?).map_err(ChatError::Request)?;
    let (provider, model) = full_id(app, allowed, &id, tenant.default_model.as_deref()).await?;
    Ok(Plan { agent, provider, model, catalog })
}

async fn by_agent(
    app: &App,
    begun: &Begun,
    live: &mut Live,
    agent: &Agent,
    plan: &Plan,
    history: Vec<Value>,
) -> Result<Answer, TurnError> {
    let (emit, mut emitted) = mpsc::channel(EMITTED_WAITING_MAX);
    let acting = Acting::of(&begun.allowed);
    let gate = Gate::new(app, &acting, begun.turn);
    let catalog = Arc::new(plan.catalog.clone().chosen(agent.tools.as_ref()));
    let time_limit = app.config.agent_time_limit;
    let session_id = Some(begun.turn.session_id);
    let chain =
        Chain::start(app, &begun.allowed, catalog, session_id, time_limit, Some(emit)).asking(Arc::new(gate));
    let options = agent.temperature.map(|temperature| json!({ "temperature": temperature }));
    let task = run::Task {
        model: format!("{}/{}", plan.provider, plan.model),
        messages: history,
        options: options.unwrap_or_else(|| json!({})),
        client_tools: vec![],
    };
    let running = run::run(app, &chain, agent, task);
    tokio::pin!(running);
    let ended = loop {
        tokio::select! {
            biased;
            () = live.due() => live.flush().await?,
            Some(event) = emitted.recv() => hear(live, event),
            ended = &mut running => break ended,
        }
    };
    while let Ok(event) = emitted.try_recv() {
        hear(live, event);
    }
    let ended = ended.map_err(ChatError::from)?;
    Ok(Answer { messages: ended.messages, finish: ended.finish.as_str(), usage: chain.usage() })
}

fn hear(live: &mut Live, event: Emitted) {
    match event {
        Emitted::Text(text) => live.text(&text),
        Emitted::Reasoning(text) => live.reasoning(&text),
        Emitted::Other { kind, event } => live.told(&kind, event),
    }
}

/// Without an agent the model answers as it is.
async fn by_model(
    app: &App,
    begun: &Begun,
    live: &mut Live,
    plan: &Plan,
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
    Ok(Answer { messages: vec![whole.message().to_value()], finish: finish.as_str(), usage: reply.usage() })
}
