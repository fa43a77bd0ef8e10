//! Sending a chat request: who answers, with what history, and what is kept.

use super::answer::Answer;
use crate::{
    agents::{
        self, Agent, ChooseError,
        run::{self, RunError, Task},
    },
    app::App,
    budgets::END_USER_BYTES_MAX,
    grants::{Allowed, Denied, InApp, action::may},
    guests::{Chain, Emitted, Files},
    models::{
        self, ChatRequest, Event, FinishReason, Message, ModelId, RequestError, UpstreamError, catalog,
        gateway::{self, GatewayError, Origin},
        openai::{
            chunks::{CompletionBuilder, Head},
            request::check_tool_answers,
        },
        options::ANTHROPIC,
        thought,
    },
    sessions::{self, SessionError, Taken, instances},
    tenants::configure,
    tools::{self, catalog::Catalog},
};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Events that wait for a slow client before the model is held up.
const EVENTS_WAITING_MAX: usize = 64;

/// How the id of an answer begins, in OpenAI's chat dialect.
pub(super) const ID_PREFIX: &str = "chatcmpl-";

/// Why a request was not answered, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The request is wrong.
    #[error("{}", .0.message)]
    Request(RequestError),
    /// A tool of the client is named like one of the app.
    #[error("the app has a tool named `{0}`; rename yours")]
    ToolNameConflict(String),
    /// There is no model to ask.
    #[error("no `model` was given, and the app has no default model")]
    NoModel,
    /// The caller may chat, but not in a session.
    #[error("{0}")]
    Denied(#[from] Denied),
    /// The session.
    #[error("{0}")]
    Session(#[from] SessionError),
    /// What the session holds cannot be read.
    #[error("the session's messages cannot be read")]
    History(serde_json::Error),
    /// The agent.
    #[error("{0}")]
    Agent(#[from] ChooseError),
    /// The run.
    #[error("{0}")]
    Run(#[from] RunError),
    /// The model.
    #[error("{0}")]
    Gateway(#[from] GatewayError),
    /// The database.
    #[error("the request could not be prepared")]
    Db(#[from] sqlx::Error),
}

/// Starts answering. `session` is what the header said, `body` the request.
///
/// # Errors
/// [`ChatError`], if it fails before anything was said.
pub async fn send(
    app: &App,
    allowed: &Allowed<may::ChatSend>,
    session: Option<String>,
    body: Value,
) -> Result<(Answer, Asked), ChatError> {
    // A name that is no text is refused with the rest of the body.
    let named = body.get("agent").and_then(Value::as_str).filter(|name| !name.is_empty());
    // Each asks the database a few times, where it does not remember, and none needs another's answer.
    let (configured, catalog, agent) = tokio::join!(
        configure::known(app, allowed),
        tools::catalog::known_offered(app, allowed),
        agents::choose(app, allowed, named),
    );
    let (tenant, catalog) = (configured?, catalog?);
    let agent = agent?.filter(|agent| named.is_some() || agent.own || !catalog.is_empty());
    let wanted = agent.as_ref().and_then(|agent| agent.model.as_deref());
    let mut request = read(body, session, &catalog, wanted.or(tenant.default_model.as_deref()))?;
    let end_user = end_user(&request.rest)?.map(str::to_owned);
    let asked = Asked::of(&request);
    if agent.is_some() {
        let clash = request.tools.iter().find(|tool| catalog.find(&tool.name).is_some());
        if let Some(tool) = clash {
            return Err(ChatError::ToolNameConflict(tool.name.clone()));
        }
        request.refuse_more_than_one_answer("An agent").map_err(ChatError::Request)?;
    }
    if request.session_id.is_some() {
        request.refuse_choices("A session").map_err(ChatError::Request)?;
    }
    // Whoever names an agent names its model with it.
    if let Some(model) = wanted.filter(|_| request.agent.is_some()) {
        request.model = ModelId::parse(model).map_err(ChatError::Request)?;
    }
    let (provider, model) = full_id(app, allowed, &request.model, tenant.default_model.as_deref()).await?;

    let taken = match request.session_id.take() {
        Some(id) => {
            let in_sessions = Allowed::<may::SessionsUse>::judge(Some(allowed.caller()), None)?;
            Some(sessions::take(app, &in_sessions, &id).await?)
        }
        None => None,
    };
    let taken = match taken {
        Some(taken) => Some(continued(taken, &request.messages).await?),
        None => None,
    };

    let head = head(app, &provider, &model);
    if agent.is_none() && taken.is_none() {
        let origin = Origin { plugin: None, session_id: None, end_user };
        let reply = gateway::ask(app, allowed, (&provider, &model), &request, origin).await?;
        return Ok((Answer::of_model(head, reply), asked));
    }
    let session_id = taken.as_ref().map(|taken| taken.session_id);
    let known = taken.as_ref().map(Taken::known);
    let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
    let job =
        Job { app: app.clone(), allowed: allowed.clone(), request, provider, model, end_user, taken, sender };
    let making = match agent {
        Some(agent) => tokio::spawn(job.by_agent(agent, Catalog::clone(&catalog))),
        None => tokio::spawn(job.by_model()),
    };
    let answer = Answer::begin(head, session_id, events, making).await?;
    if let Some(known) = known {
        known.set();
    }
    Ok((answer, asked))
}

/// The session, where these messages go on from what was said in it. Where not, it is given back before anybody is
/// told: whoever corrects the request finds it free.
async fn continued(taken: Taken, new: &[Message]) -> Result<Taken, ChatError> {
    let fits = messages_of(&taken.history).and_then(|history| {
        check_tool_answers(&[history, new.to_vec()].concat()).map_err(ChatError::Request)
    });
    if let Err(error) = fits {
        taken.leave().await?;
        return Err(error);
    }
    Ok(taken)
}

/// How the client wants its answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// As a stream of chunks.
    pub stream: bool,
    /// With a chunk about usage at the end.
    pub include_usage: bool,
    /// Our estimate of what a model reads for it.
    pub prompt_tokens: u64,
}

impl Asked {
    pub(crate) fn of(request: &ChatRequest) -> Asked {
        Asked {
            stream: request.stream,
            include_usage: request.include_usage,
            prompt_tokens: models::tokens::in_request(request),
        }
    }
}

/// What all pieces of a new answer share.
pub(crate) fn head(app: &App, provider: &str, model: &str) -> Head {
    Head {
        id: format!("{ID_PREFIX}{}", app.new_id().simple()),
        created: app.now().timestamp(),
        model: format!("{provider}/{model}"),
    }
}

/// Reads the request, with what the header and the app add to it.
fn read(
    mut body: Value,
    session: Option<String>,
    catalog: &Catalog,
    default_model: Option<&str>,
) -> Result<ChatRequest, ChatError> {
    fill_model(&mut body, default_model)?;
    if let Some(object) = body.as_object_mut() {
        // Into the body before it is checked: tool messages may answer calls of the session's history.
        match (session, object.get("session_id").filter(|id| !id.is_null())) {
            (Some(header), Some(body)) if *body != json!(header) => return Err(session_conflict()),
            (Some(header), None) if header != sessions::NEW && Uuid::parse_str(&header).is_err() => {
                return Err(SessionError::NotFound.into());
            }
            (Some(header), None) => drop(object.insert("session_id".to_owned(), json!(header))),
            (_, _) => {}
        }
    }
    let names: Vec<String> = catalog.definitions().into_iter().map(|tool| tool.name).collect();
    ChatRequest::from_value_with_tools(body, &names).map_err(ChatError::Request)
}

/// A request without a model is for the app's default one.
pub(crate) fn fill_model(body: &mut Value, default_model: Option<&str>) -> Result<(), ChatError> {
    if let Some(object) = body.as_object_mut().filter(|object| object.get("model").is_none_or(Value::is_null))
    {
        object.insert("model".to_owned(), json!(default_model.ok_or(ChatError::NoModel)?));
    }
    Ok(())
}

/// The header and the body may both name the session, if they agree (row M011).
fn session_conflict() -> ChatError {
    ChatError::Request(RequestError {
        message: "`session_id` and the header X-OPG-Session-Id name different sessions; send one of them."
            .into(),
        param: Some("session_id".into()),
        code: "session_conflict",
    })
}

/// Whose request it is: OpenAI's `user`, Anthropic's `metadata.user_id`.
pub(crate) fn end_user(rest: &Map<String, Value>) -> Result<Option<&str>, ChatError> {
    let user = rest.get("user").or_else(|| rest.get(ANTHROPIC)?.get("metadata")?.get("user_id"));
    checked_user(user.and_then(Value::as_str))
}

/// An end user, as the client calls them.
pub(crate) fn checked_user(user: Option<&str>) -> Result<Option<&str>, ChatError> {
    let user = user.filter(|user| !user.is_empty());
    if user.is_some_and(|user| user.len() > END_USER_BYTES_MAX) {
        return Err(ChatError::Request(RequestError {
            message: format!("`user` is {END_USER_BYTES_MAX} bytes at the most."),
            param: Some("user".into()),
            code: "invalid_value",
        }));
    }
    Ok(user)
}

/// The messages a session holds. One that does not read would change what was said: then nothing is.
fn messages_of(history: &[Value]) -> Result<Vec<Message>, ChatError> {
    let read = history.iter().map(|value| serde_json::from_value(value.clone()));
    read.collect::<Result<_, _>>().map_err(ChatError::History)
}

/// The provider and the model of an id. A bare name is one of the app's aliases, its default model's, or that of
/// the one model the app can name that is called so (row M013).
pub(crate) async fn full_id(
    app: &App,
    proof: &impl InApp,
    id: &ModelId,
    default_model: Option<&str>,
) -> Result<(String, String), ChatError> {
    if id.provider.is_none()
        && let Some(full) = configure::model_of_alias(app, proof, &id.model).await?
        && let Some((provider, model)) = full.split_once('/')
    {
        return Ok((provider.to_owned(), model.to_owned()));
    }
    let unknown = match gateway::full_id(id, default_model) {
        Ok(found) => return Ok(found),
        Err(unknown) => unknown,
    };
    let models = catalog::list(app, proof).await?;
    let is_called_so = |model: &&catalog::Model| {
        let name = model.id.split_once('/').map(|(_, name)| name);
        name == Some(id.model.as_str()) || model.alias.as_ref() == Some(&id.model)
    };
    let mut called_so = models.iter().filter(is_called_so).filter_map(|model| model.id.split_once('/'));
    match (called_so.next(), called_so.next()) {
        (Some((provider, model)), None) => Ok((provider.to_owned(), model.to_owned())),
        (Some((a, of_a)), Some((b, of_b))) => Err(ChatError::Request(RequestError {
            message: format!(
                "`{}` is a model of several providers; name one: `{a}/{of_a}`, `{b}/{of_b}`.",
                id.model
            ),
            param: Some("model".into()),
            code: "model_ambiguous",
        })),
        (None, _) => Err(unknown.into()),
    }
}

struct Job {
    app: App,
    allowed: Allowed<may::ChatSend>,
    request: ChatRequest,
    provider: String,
    model: String,
    end_user: Option<String>,
    taken: Option<Taken>,
    sender: mpsc::Sender<Result<Event, ChatError>>,
}

impl Job {
    /// The request goes to the model, with what was said before it in the session.
    async fn by_model(mut self) {
        let sender = self.sender.clone();
        if let Err(error) = Box::pin(self.model_answers()).await {
            // Nobody listening any more is how a cancelled request ends.
            drop(sender.send(Err(error)).await);
        }
    }

    async fn model_answers(&mut self) -> Result<(), ChatError> {
        let new: Vec<Value> = self.request.messages.iter().map(Message::to_value).collect();
        if let Some(taken) = &self.taken {
            let history = messages_of(&taken.history)?;
            self.request.messages.splice(0..0, history);
        }
        let origin = Origin { plugin: None, session_id: self.session_id(), end_user: self.end_user.clone() };
        let mut reply =
            gateway::ask(&self.app, &self.allowed, (&self.provider, &self.model), &self.request, origin)
                .await?;
        let mut whole = CompletionBuilder::default();
        let mut end = vec![];
        while let Some(event) = reply.next().await {
            let event = event.map_err(GatewayError::from)?;
            whole.push(&event);
            match event {
                // Held back until the session is written: the end is the acknowledgement.
                Event::Finish(_) | Event::Usage(_) => end.push(event),
                event => self.say(event).await?,
            }
        }
        self.keep(new, vec![whole.message().to_value()]).await?;
        for event in end {
            self.say(event).await?;
        }
        Ok(())
    }

    /// An agent runs the turn.
    async fn by_agent(mut self, agent: Agent, catalog: Catalog) {
        let sender = self.sender.clone();
        if let Err(error) = self.agent_answers(agent, catalog).await {
            drop(sender.send(Err(error)).await);
        }
    }

    async fn agent_answers(&mut self, agent: Agent, catalog: Catalog) -> Result<(), ChatError> {
        let catalog = Arc::new(catalog.chosen(agent.tools.as_ref()));
        let (emit, mut emitted) = mpsc::channel(EVENTS_WAITING_MAX);
        let time_limit = self.app.config.agent_time_limit;
        let mut chain =
            Chain::start(&self.app, &self.allowed, catalog, self.session_id(), time_limit, Some(emit))
                .of_end_user(self.end_user.as_deref());
        if let Some(taken) = &self.taken {
            let of = (taken.session_id, taken.target);
            let place = instances::place(&self.app, &chain.acting, of).await;
            chain = chain
                .working_on(Files::new(taken.with_files, taken.changes_id))
                .running_in(place.map_err(RunError::from)?);
        }
        let new: Vec<Value> = self.request.messages.iter().map(Message::to_value).collect();
        let task = self.task(&agent, &new);

        // The chain holds the sending half; it must be gone before the receiving half can end.
        let running = {
            let (app, chain) = (self.app.clone(), chain.clone());
            async move { run::run(&app, &chain, &agent, task).await }
        };
        tokio::pin!(running);
        let ended = loop {
            tokio::select! {
                biased;
                Some(event) = emitted.recv() => self.say_emitted(event).await?,
                ended = &mut running => break ended?,
            }
        };
        while let Ok(event) = emitted.try_recv() {
            self.say_emitted(event).await?;
        }
        let calls = ended.messages.last().map(client_calls).unwrap_or_default();
        self.keep(new, ended.messages).await?;
        if ended.finish == FinishReason::ToolCalls {
            for event in calls {
                self.say(event).await?;
            }
        }
        self.say(Event::Finish(ended.finish)).await?;
        self.say(Event::Usage(chain.usage())).await
    }

    fn task(&self, agent: &Agent, new: &[Value]) -> Task {
        let history = self.taken.as_ref().map(|taken| taken.history.as_slice()).unwrap_or_default();
        Task {
            model: format!("{}/{}", self.provider, self.model),
            messages: [history, new].concat(),
            options: options(&self.request, agent.temperature),
            client_tools: self.request.tools.iter().map(models::Tool::to_value).collect(),
        }
    }

    fn session_id(&self) -> Option<Uuid> {
        self.taken.as_ref().map(|taken| taken.session_id)
    }

    /// Adds the turn to the session, if there is one.
    async fn keep(&mut self, new: Vec<Value>, added: Vec<Value>) -> Result<(), ChatError> {
        match self.taken.take() {
            Some(taken) => Ok(taken.finish(&[new, added].concat()).await?),
            None => Ok(()),
        }
    }

    async fn say_emitted(&self, event: Emitted) -> Result<(), ChatError> {
        match event {
            Emitted::Text(text) => self.say(Event::Text(text)).await,
            Emitted::Reasoning(text) => self.say(Event::Reasoning(text)).await,
            // A chat's client has no place for it.
            Emitted::Other { .. } | Emitted::File(_) | Emitted::Logged { .. } | Emitted::Settle(_) => Ok(()),
        }
    }

    /// Says something to the client. One that went away ends the run: the whole task is dropped.
    async fn say(&self, event: Event) -> Result<(), ChatError> {
        // Where the receiver is gone the task is about to be aborted.
        drop(self.sender.send(Ok(event)).await);
        Ok(())
    }
}

/// The fields of a request that are the model's affair, for an agent to pass on.
fn options(request: &ChatRequest, temperature: Option<f64>) -> Value {
    let mut options: Map<String, Value> = request.rest.clone();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            options.insert(name.to_owned(), value);
        }
    };
    set("temperature", request.temperature.or(temperature).map(|t| json!(t)));
    set("top_p", request.top_p.map(|p| json!(p)));
    set("max_tokens", request.max_tokens.map(|n| json!(n)));
    set("max_completion_tokens", request.max_completion_tokens.map(|n| json!(n)));
    set("stop", (!request.stop.is_empty()).then(|| json!(request.stop)));
    set("tool_choice", request.tool_choice.as_ref().map(models::ToolChoice::to_value));
    Value::Object(options)
}

/// The calls the client must run, as events, with the thoughts that led to them.
fn client_calls(message: &Value) -> Vec<Event> {
    let calls = message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut events = Vec::new();
    for (index, call) in (0..).zip(calls) {
        let extra = call.get("extra_content").cloned();
        events.extend(extra.iter().flat_map(thought::in_extra).map(Event::Thought));
        events.push(Event::ToolCall {
            index,
            id: text(&call["id"]),
            name: text(&call["function"]["name"]),
            arguments: text(&call["function"]["arguments"]).unwrap_or_else(|| "{}".to_owned()),
            extra_content: extra.and_then(thought::without_ours),
        });
    }
    events
}

impl From<UpstreamError> for ChatError {
    fn from(error: UpstreamError) -> ChatError {
        ChatError::Gateway(error.into())
    }
}
