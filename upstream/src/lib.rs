//! A model provider that does what a test tells it: a real HTTP server on 127.0.0.1 that speaks OpenAI's chat and
//! responses dialects, Anthropic's and Google's, each under its own path, streamed and whole; and OpenAI's addresses
//! for what is no chat ([`media`]), which Google's models say in their own dialect ([`google_media`]).
//!
//! What it does with a request: the next queued script, else the script of the request's model, else what
//! [`chaos`] does for models of that name, else the default, which echoes the last user message, repeats the
//! results of tools, and calls a tool where the message says `call <tool> <json>`. Requests are kept, with
//! whether their client hung up.
//!
//! Tests hold it in their hands; people tell it over HTTP ([`scripting`]). The server ends with the
//! [`ScriptedUpstream`].

mod anthropic;
pub mod chaos;
mod chat;
mod google;
pub mod google_media;
pub mod media;
mod responses;
pub mod scripting;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The models `/models` lists.
pub const MODELS: [&str; 2] = ["scripted", "scripted-large"];
/// What [`Step::HugeFrame`] sends, in bytes: more than any reader should hold.
pub const HUGE_FRAME_BYTES: usize = 8 * 1024 * 1024;
/// How long a request may be, in bytes: images and files travel inside.
const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long after the last words a connection breaks, so that they arrive.
const RESET_AFTER: Duration = Duration::from_millis(20);

/// One thing the upstream does. In JSON: `{"text": "hello"}`, `"reset"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// A piece of text.
    Text(String),
    /// A piece of reasoning.
    Reasoning(String),
    /// A stretch of thinking with what the provider wants back with it.
    Thought { text: String, seal: String },
    /// Thinking whose words are kept from us (Anthropic's alone).
    Redacted(String),
    /// Why the model will not answer; then it is finished.
    Refusal(String),
    /// A tool call with a signature of its own (Google's).
    SignedCall { id: String, name: String, arguments: String, seal: String },
    /// A whole tool call; streamed, its arguments come in two fragments.
    ToolCall { id: String, name: String, arguments: String },
    /// The finish reason. Without one, the upstream says `tool_calls` or `stop` itself.
    Finish(String),
    /// The usage; sent after the finish. Without one it is `{10, 5}`.
    Usage { prompt_tokens: u64, completion_tokens: u64 },
    /// The usage with what came from a cache, went into one, and was thought. Google writes no cache.
    DetailedUsage(Tokens),
    /// As the first step: answers with this status. Later: an error inside the stream.
    Error {
        status: u16,
        message: String,
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// Breaks the connection.
    Reset,
    /// Says nothing more and keeps the connection open.
    Stall,
    /// Waits, in milliseconds; as the first step before the head of the answer.
    Wait(u64),
    /// A frame that is no JSON.
    MalformedFrame,
    /// A frame of [`HUGE_FRAME_BYTES`].
    HugeFrame,
    /// As the first step: says that the answer is a web page, and sends one.
    WrongContentType,
    /// A keep-alive comment.
    Comment,
    /// These bytes as they are.
    Raw(String),
    /// Ends the answer without finish, usage and `[DONE]`.
    End,
    /// As the first step: plain JSON although a stream was asked for.
    Buffered,
}

impl Step {
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub fn tool_call(id: &str, name: &str, arguments: &str) -> Self {
        Self::ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
    }

    pub fn thought(text: &str, seal: &str) -> Self {
        Self::Thought { text: text.to_owned(), seal: seal.to_owned() }
    }

    pub fn error(status: u16, message: &str) -> Self {
        Self::Error { status, message: message.to_owned(), retry_after: None }
    }
}

/// What a reply used.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// All that was read.
    pub prompt: u64,
    /// All that was written.
    pub completion: u64,
    /// Of the prompt.
    pub cached: u64,
    /// Of the prompt.
    pub written_to_cache: u64,
    /// Of the completion.
    pub thought: u64,
}

/// A request the upstream received.
#[derive(Debug, Clone)]
pub struct Received {
    /// With its query.
    pub path: String,
    pub headers: HeaderMap,
    /// `null` where the body was no JSON.
    pub body: Value,
    /// The client hung up before the answer was complete.
    pub hung_up: bool,
    /// The answer was sent to its end.
    pub completed: bool,
    /// When either was seen.
    pub ended_at: Option<Instant>,
}

/// The running server.
#[derive(Debug)]
pub struct ScriptedUpstream {
    base_url: String,
    state: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    scripts: Mutex<Scripts>,
    received: watch::Sender<Log>,
    kept_max: usize,
    models: Vec<&'static str>,
}

/// The newest requests, oldest first.
#[derive(Debug, Default)]
struct Log {
    /// How many came before and are not kept.
    forgotten: usize,
    kept: Vec<Received>,
}

impl Log {
    /// Adds one; its number.
    fn push(&mut self, received: Received, kept_max: usize) -> usize {
        if self.kept.len() >= kept_max {
            let half = kept_max.div_ceil(2).max(1).min(self.kept.len()); // so that most requests move nothing
            self.kept.drain(..half);
            self.forgotten += half;
        }
        self.kept.push(received);
        self.forgotten + self.kept.len() - 1
    }

    /// One that is still kept.
    fn get(&mut self, number: usize) -> Option<&mut Received> {
        self.kept.get_mut(number.checked_sub(self.forgotten)?)
    }
}

#[derive(Debug, Default)]
struct Scripts {
    queued: VecDeque<Vec<Step>>,
    by_model: HashMap<String, Vec<Step>>,
}

impl ScriptedUpstream {
    /// Starts on a free port of 127.0.0.1, and keeps every request: for tests.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("127.0.0.1 has a free port");
        Self::serve(listener, usize::MAX, MODELS.to_vec(), Router::new())
    }

    /// The same on a socket of one's own, which keeps about so many requests.
    pub fn start_on(listener: TcpListener, kept_max: usize) -> Self {
        Self::serve(listener, kept_max, MODELS.to_vec(), Router::new())
    }

    fn serve(
        listener: TcpListener,
        kept_max: usize,
        models: Vec<&'static str>,
        more: Router<Arc<Shared>>,
    ) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Shared {
            scripts: Mutex::default(),
            received: watch::Sender::default(),
            kept_max,
            models,
        });
        let router = Router::new()
            .route("/v1/chat/completions", post(answer::<chat::Chat>))
            .route("/v1/responses", post(answer::<responses::Responses>))
            .route("/v1/messages", post(answer::<anthropic::Messages>))
            .route("/v1/messages/count_tokens", post(count_tokens))
            .route("/v1/embeddings", post(embeddings))
            .route("/v1/images/generations", post(media::images))
            .route("/v1/pictures/{name}", get(media::picture))
            .route("/v1/audio/speech", post(media::speech))
            .route("/v1/audio/transcriptions", post(media::transcriptions).layer(DefaultBodyLimit::disable()))
            .route("/v1/moderations", post(media::moderations))
            .route("/v1/models", get(models_list))
            .route("/v1beta/models", get(google::models))
            .route("/v1beta/models/{model}", post(google_methods))
            .merge(more)
            .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
            .with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a bound socket serves");
        });
        Self { base_url: format!("http://{address}/v1/"), state, server }
    }

    /// Where to send requests: ends in `/v1/`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Where to send requests in Google's dialect: ends in `/v1beta/`.
    pub fn google_base_url(&self) -> String {
        self.base_url.replace("/v1/", "/v1beta/")
    }

    /// What to do with the next request nobody queued a script for yet.
    pub fn script(&self, steps: Vec<Step>) {
        self.state.scripts().queued.push_back(steps);
    }

    /// What to do with every request for this model, unless a script is queued.
    pub fn script_for_model(&self, model: &str, steps: Vec<Step>) {
        self.state.scripts().by_model.insert(model.to_owned(), steps);
    }

    /// The chat requests until now, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.borrow().kept.clone()
    }

    /// Waits until what was received satisfies `condition`; panics after five seconds.
    pub async fn wait_until(&self, condition: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let mut received = self.state.received.subscribe();
        let wait = received.wait_for(|received| condition(&received.kept));
        let found = tokio::time::timeout(Duration::from_secs(5), wait).await;
        found.expect("it happens within 5 s").expect("the upstream runs").kept.clone()
    }
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn scripts(&self) -> MutexGuard<'_, Scripts> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script_of(&self, model: &str, said: impl FnOnce() -> Said) -> Vec<Step> {
        let mut scripts = self.scripts();
        if let Some(steps) = scripts.queued.pop_front() {
            return steps;
        }
        let script = scripts.by_model.get(model).cloned().or_else(|| chaos::script(model));
        script.unwrap_or_else(|| said().default_script())
    }
}

/// Marks a request as hung up when it is dropped before [`Watch::complete`].
struct Watch {
    state: Arc<Shared>,
    number: usize,
    completed: bool,
    body: Value,
}

impl Watch {
    fn of(state: &Arc<Shared>, uri: &Uri, headers: HeaderMap, body: &[u8]) -> Self {
        Self::new(state, uri.to_string(), headers, serde_json::from_slice(body).unwrap_or_default())
    }

    fn new(state: &Arc<Shared>, path: String, headers: HeaderMap, body: Value) -> Self {
        let mut number = 0;
        let received =
            Received { path, headers, body: body.clone(), hung_up: false, completed: false, ended_at: None };
        state.received.send_modify(|log| number = log.push(received, state.kept_max));
        Self { state: Arc::clone(state), number, completed: false, body }
    }

    fn complete(&mut self) {
        self.completed = true;
        self.end(|received| received.completed = true);
    }

    fn end(&self, mark: impl FnOnce(&mut Received)) {
        let now = Instant::now();
        self.state.received.send_modify(|log| {
            if let Some(received) = log.get(self.number) {
                received.ended_at = Some(now);
                mark(received);
            }
        });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.completed {
            self.end(|received| received.hung_up = true);
        }
    }
}

async fn models_list(State(state): State<Arc<Shared>>) -> Response {
    let model = |id: &&str| json!({ "id": id, "object": "model", "created": 0, "owned_by": "scripted" });
    axum::Json(json!({ "object": "list", "data": state.models.iter().map(model).collect::<Vec<_>>() }))
        .into_response()
}

/// One dialect, from the provider's side.
trait Speak: Default + Send + 'static {
    /// The model a request is for.
    fn model(path: &str, body: &Value) -> String;
    /// Whether a stream was asked for.
    fn is_streamed(path: &str, body: &Value) -> bool;
    /// What a request says, for the default script.
    fn said(body: &Value) -> Said;
    /// Begins an answer.
    fn start(&mut self, usage: Tokens) -> String;
    /// The frames of a step that says something.
    fn say(&mut self, step: &Step) -> String;
    /// The end of a stream, with the reason in the dialect's own words if the script gave one.
    fn finish(&mut self, reason: Option<&str>, usage: Tokens) -> String;
    /// An error inside a stream.
    fn error(status: u16, message: &str) -> String {
        frame(None, &error_body(status, message))
    }
    /// A whole answer.
    fn whole(steps: &[Step], reason: Option<&str>, usage: Tokens) -> Value;
}

/// What a request says.
#[derive(Debug, Default)]
struct Said {
    /// The last message of the user.
    user: String,
    /// The results of tools at the end.
    results: Vec<String>,
    /// The names of the tools.
    tools: Vec<String>,
}

impl Said {
    /// Calls the tool the user names, repeats results of tools, else echoes.
    fn default_script(self) -> Vec<Step> {
        if !self.results.is_empty() {
            return vec![Step::Text(format!("The tools said: {}", self.results.join("; ")))];
        }
        let lines = (0..).zip(self.user.lines());
        let calls: Vec<Step> = lines.filter_map(|(line, text)| self.told_call(text, line)).collect();
        if calls.is_empty() { vec![Step::Text(self.user)] } else { calls }
    }

    fn told_call(&self, line: &str, position: usize) -> Option<Step> {
        let (name, arguments) = line.trim().strip_prefix("call ")?.split_once(' ')?;
        self.tools.iter().any(|tool| tool == name).then(|| Step::ToolCall {
            id: format!("call_scripted_{position}"),
            name: name.to_owned(),
            arguments: arguments.trim().to_owned(),
        })
    }
}

async fn google_methods(
    state: State<Arc<Shared>>,
    Path(model): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (name, method) = model.split_once(':').unwrap_or((&model, ""));
    match method {
        "generateContent" if google_media::is_asked(&body) => {
            google_media::answer(&state, name, &uri, headers, &body).await
        }
        "countTokens" => {
            Watch::of(&state, &uri, headers, &body).complete();
            axum::Json(json!({ "totalTokens": COUNTED })).into_response()
        }
        "batchEmbedContents" => {
            let mut watch = Watch::of(&state, &uri, headers, &body);
            watch.complete();
            google::embeddings(&watch.body)
        }
        _ => answer::<google::Google>(state, uri, headers, body).await,
    }
}

/// What the upstream says to whoever asks it to count.
pub const COUNTED: u64 = 42;

async fn count_tokens(
    State(state): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    Watch::of(&state, &uri, headers, &body).complete();
    axum::Json(json!({ "input_tokens": COUNTED })).into_response()
}

/// A vector for each input: its length and its place.
async fn embeddings(State(state): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut watch = Watch::of(&state, &uri, headers, &body);
    watch.complete();
    let body = &watch.body;
    let inputs = body["input"].as_array().cloned().unwrap_or_default();
    let length = |input: &Value| input.as_str().map_or(0, str::len);
    let data: Vec<Value> = (0..)
        .zip(&inputs)
        .map(|(index, input)| json!({ "object": "embedding", "index": index, "embedding": [length(input), index] }))
        .collect();
    axum::Json(json!({ "object": "list", "data": data, "model": body["model"],
        "usage": { "prompt_tokens": 7, "total_tokens": 7 } }))
    .into_response()
}

async fn answer<S: Speak>(
    State(state): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut watch = Watch::of(&state, &uri, headers, &body);
    let (path, body) = (uri.path(), watch.body.clone());
    let mut steps: VecDeque<Step> = state.script_of(&S::model(path, &body), || S::said(&body)).into();
    let streamed = S::is_streamed(path, &body);
    loop {
        match steps.front().cloned() {
            Some(Step::Wait(ms)) => {
                steps.pop_front();
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            Some(Step::Stall) => std::future::pending::<()>().await,
            Some(Step::Error { status, message, retry_after }) => {
                watch.complete();
                return error_response(status, &message, retry_after.as_deref());
            }
            Some(Step::WrongContentType) => {
                watch.complete();
                let page = "<!doctype html><title>hello</title>";
                return ([(header::CONTENT_TYPE, "text/html")], page).into_response();
            }
            Some(Step::Buffered) => {
                steps.pop_front();
                return buffered::<S>(steps, watch).await;
            }
            _ if streamed => return sse::<S>(steps, watch),
            _ => return buffered::<S>(steps, watch).await,
        }
    }
}

fn error_response(status: u16, message: &str, retry_after: Option<&str>) -> Response {
    let status = StatusCode::from_u16(status).expect("a script names a status");
    let mut response = (status, axum::Json(error_body(status.as_u16(), message))).into_response();
    if let Some(wait) = retry_after {
        let wait = wait.parse().expect("a script names a header value");
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}

fn error_body(status: u16, message: &str) -> Value {
    json!({ "error": { "message": message, "type": "scripted_error", "param": null, "code": status } })
}

/// The reason and the usage a script gives.
fn end_of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> (Option<String>, Tokens) {
    let mut reason = None;
    let mut usage = Tokens { prompt: 10, completion: 5, ..Tokens::default() };
    for step in steps {
        match step {
            Step::Finish(word) => reason = Some(word.clone()),
            Step::Usage { prompt_tokens, completion_tokens } => {
                usage =
                    Tokens { prompt: *prompt_tokens, completion: *completion_tokens, ..Tokens::default() };
            }
            Step::DetailedUsage(tokens) => usage = *tokens,
            _ => {}
        }
    }
    (reason, usage)
}

/// A whole answer; what would break a stream breaks it, too.
async fn buffered<S: Speak>(mut steps: VecDeque<Step>, mut watch: Watch) -> Response {
    let (reason, usage) = end_of(&steps);
    for step in &mut steps {
        match step {
            Step::HugeFrame => *step = Step::Text("x".repeat(HUGE_FRAME_BYTES)),
            Step::Wait(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Step::Stall => std::future::pending::<()>().await,
            _ => {}
        }
    }
    watch.complete();
    let whole = S::whole(steps.make_contiguous(), reason.as_deref(), usage).to_string();
    let half = Bytes::copy_from_slice(&whole.as_bytes()[..whole.len() / 2]);
    let breaks =
        |step: &&Step| matches!(step, Step::Error { .. } | Step::Reset | Step::MalformedFrame | Step::End);
    let body = match steps.iter().find(breaks) {
        Some(Step::Error { status, message, retry_after }) => {
            return error_response(*status, message, retry_after.as_deref());
        }
        Some(Step::Reset) => {
            let rest = stream::once(async {
                tokio::time::sleep(RESET_AFTER).await;
                Err(std::io::Error::other("scripted reset"))
            });
            Body::from_stream(stream::once(async { Ok(half) }).chain(rest))
        }
        Some(_) => Body::from(half),
        None => Body::from(whole),
    };
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// What one step puts on the wire.
enum Wire {
    Send(String),
    Wait(Duration),
    Reset,
    Stall,
    Complete,
}

fn sse<S: Speak>(steps: VecDeque<Step>, watch: Watch) -> Response {
    let wire: VecDeque<Wire> = to_wire::<S>(&steps);
    let body = stream::unfold((wire, watch), |(mut wire, mut watch)| async move {
        loop {
            match wire.pop_front()? {
                Wire::Send(text) => return Some((Ok(Bytes::from(text)), (wire, watch))),
                Wire::Wait(time) => tokio::time::sleep(time).await,
                Wire::Reset => {
                    watch.complete();
                    return Some((Err(std::io::Error::other("scripted reset")), (wire, watch)));
                }
                Wire::Stall => std::future::pending::<()>().await,
                Wire::Complete => watch.complete(),
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream")];
    (headers, Body::from_stream(body.boxed())).into_response()
}

fn to_wire<S: Speak>(steps: &VecDeque<Step>) -> VecDeque<Wire> {
    let (reason, usage) = end_of(steps);
    let mut speaker = S::default();
    let mut wire = VecDeque::from([Wire::Send(speaker.start(usage))]);
    for step in steps {
        match step {
            Step::Text(_)
            | Step::Reasoning(_)
            | Step::Thought { .. }
            | Step::Redacted(_)
            | Step::Refusal(_)
            | Step::ToolCall { .. }
            | Step::SignedCall { .. } => wire.push_back(Wire::Send(speaker.say(step))),
            Step::Error { status, message, .. } => {
                wire.push_back(Wire::Send(S::error(*status, message)));
                wire.push_back(Wire::Complete);
                return wire;
            }
            Step::Reset => {
                wire.extend([Wire::Wait(RESET_AFTER), Wire::Reset]);
                return wire;
            }
            Step::Stall => wire.push_back(Wire::Stall),
            Step::Wait(ms) => wire.push_back(Wire::Wait(Duration::from_millis(*ms))),
            Step::MalformedFrame => wire.push_back(Wire::Send("data: {\"choices\": [oops\n\n".into())),
            Step::HugeFrame => {
                wire.push_back(Wire::Send(speaker.say(&Step::Text("x".repeat(HUGE_FRAME_BYTES)))));
            }
            Step::Comment => wire.push_back(Wire::Send(": SCRIPTED PROCESSING\n\n".into())),
            Step::Raw(text) => wire.push_back(Wire::Send(text.clone())),
            Step::End => {
                wire.push_back(Wire::Complete);
                return wire;
            }
            Step::Finish(_)
            | Step::Usage { .. }
            | Step::DetailedUsage(_)
            | Step::WrongContentType
            | Step::Buffered => {}
        }
    }
    wire.push_back(Wire::Send(speaker.finish(reason.as_deref(), usage)));
    wire.push_back(Wire::Complete);
    wire
}

fn frame(event: Option<&str>, value: &Value) -> String {
    let event = event.map(|name| format!("event: {name}\n")).unwrap_or_default();
    format!("{event}data: {value}\n\n")
}

/// Two halves of a text, cut between characters.
fn halves(text: &str) -> (&str, &str) {
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(middle, _)| middle);
    text.split_at(middle)
}

/// An object from JSON text; an empty one where it is none.
fn object(text: &str) -> Value {
    serde_json::from_str(text).ok().filter(Value::is_object).unwrap_or_else(|| json!({}))
}

/// The texts of a message's content.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

fn names(tools: &Value, pointer: &str) -> Vec<String> {
    let name = |tool: &Value| tool.pointer(pointer)?.as_str().map(str::to_owned);
    tools.as_array().into_iter().flatten().filter_map(name).collect()
}
