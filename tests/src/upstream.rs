//! A model provider that does what a test tells it: a real HTTP server on 127.0.0.1 that speaks the OpenAI
//! dialect, streamed and whole.
//!
//! What it does with a request: the next queued script, else the script of the request's model, else the
//! default, which echoes the last user message, repeats the results of tools, and calls a tool where the
//! message says `call <tool> <json>`. Every request is kept, with whether its client hung up.
//!
//! The server ends with the [`ScriptedUpstream`].

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The models `/models` lists.
pub const MODELS: [&str; 2] = ["scripted", "scripted-large"];
/// What [`Step::HugeFrame`] sends, in bytes: more than any reader should hold.
pub const HUGE_FRAME_BYTES: usize = 8 * 1024 * 1024;

/// One thing the upstream does.
#[derive(Debug, Clone)]
pub enum Step {
    /// A piece of text.
    Text(String),
    /// A piece of reasoning.
    Reasoning(String),
    /// A whole tool call; streamed, its arguments come in two fragments.
    ToolCall { id: String, name: String, arguments: String },
    /// The finish reason. Without one, the upstream says `tool_calls` or `stop` itself.
    Finish(String),
    /// The usage; sent after the finish. Without one it is `{10, 5}`.
    Usage { prompt_tokens: u64, completion_tokens: u64 },
    /// As the first step: answers with this status. Later: an error inside the stream.
    Error { status: u16, message: String, retry_after: Option<String> },
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

    pub fn error(status: u16, message: &str) -> Self {
        Self::Error { status, message: message.to_owned(), retry_after: None }
    }
}

/// A request the upstream received.
#[derive(Debug, Clone)]
pub struct Received {
    pub headers: HeaderMap,
    /// `null` where the body was no JSON.
    pub body: Value,
    /// The client hung up before the answer was complete.
    pub hung_up: bool,
    /// The answer was sent to its end.
    pub completed: bool,
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
    received: watch::Sender<Vec<Received>>,
}

#[derive(Debug, Default)]
struct Scripts {
    queued: VecDeque<Vec<Step>>,
    by_model: HashMap<String, Vec<Step>>,
}

impl ScriptedUpstream {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("127.0.0.1 has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Shared { scripts: Mutex::default(), received: watch::Sender::default() });
        let router = Router::new()
            .route("/v1/chat/completions", post(chat))
            .route("/v1/models", get(models))
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
        self.state.received.borrow().clone()
    }

    /// Waits until what was received satisfies `condition`; panics after five seconds.
    pub async fn wait_until(&self, condition: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let mut received = self.state.received.subscribe();
        let wait = received.wait_for(|received| condition(received));
        let found = tokio::time::timeout(Duration::from_secs(5), wait).await;
        found.expect("it happens within 5 s").expect("the upstream runs").clone()
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

    fn script_of(&self, body: &Value) -> Vec<Step> {
        let mut scripts = self.scripts();
        if let Some(steps) = scripts.queued.pop_front() {
            return steps;
        }
        let model = body["model"].as_str().unwrap_or_default();
        scripts.by_model.get(model).cloned().unwrap_or_else(|| default_script(body))
    }
}

/// Marks a request as hung up when it is dropped before [`Watch::complete`].
struct Watch {
    state: Arc<Shared>,
    position: usize,
    completed: bool,
}

impl Watch {
    fn new(state: &Arc<Shared>, headers: HeaderMap, body: Value) -> Self {
        let mut position = 0;
        state.received.send_modify(|received| {
            position = received.len();
            received.push(Received { headers, body, hung_up: false, completed: false });
        });
        Self { state: Arc::clone(state), position, completed: false }
    }

    fn complete(&mut self) {
        self.completed = true;
        self.state.received.send_modify(|received| received[self.position].completed = true);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.completed {
            self.state.received.send_modify(|received| received[self.position].hung_up = true);
        }
    }
}

async fn models() -> Response {
    let model = |id: &&str| json!({ "id": id, "object": "model", "created": 0, "owned_by": "scripted" });
    axum::Json(json!({ "object": "list", "data": MODELS.iter().map(model).collect::<Vec<_>>() }))
        .into_response()
}

async fn chat(State(state): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut steps: VecDeque<Step> = state.script_of(&body).into();
    let streamed = body["stream"] == json!(true);
    let mut watch = Watch::new(&state, headers, body);
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
                return buffered(steps, watch);
            }
            _ if streamed => return sse(steps, watch),
            _ => return buffered(steps, watch),
        }
    }
}

fn error_response(status: u16, message: &str, retry_after: Option<&str>) -> Response {
    let status = StatusCode::from_u16(status).expect("a test names a status");
    let mut response = (status, axum::Json(error_body(status.as_u16(), message))).into_response();
    if let Some(wait) = retry_after {
        let wait = wait.parse().expect("a test names a header value");
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}

fn error_body(status: u16, message: &str) -> Value {
    json!({ "error": { "message": message, "type": "scripted_error", "param": null, "code": status } })
}

fn buffered(steps: VecDeque<Step>, mut watch: Watch) -> Response {
    let (mut text, mut calls, mut usage, mut finish) = (String::new(), Vec::new(), default_usage(), None);
    for step in steps {
        match step {
            Step::Text(piece) => text.push_str(&piece),
            Step::ToolCall { id, name, arguments } => calls.push(json!({
                "id": id, "type": "function", "function": { "name": name, "arguments": arguments },
            })),
            Step::Usage { prompt_tokens, completion_tokens } => {
                usage = usage_of(prompt_tokens, completion_tokens);
            }
            Step::Finish(reason) => finish = Some(reason),
            _ => {}
        }
    }
    let reason = finish.unwrap_or_else(|| if calls.is_empty() { "stop" } else { "tool_calls" }.to_owned());
    let mut message = json!({ "role": "assistant", "content": text });
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
    }
    watch.complete();
    axum::Json(json!({
        "id": "chatcmpl-scripted", "object": "chat.completion", "created": 1, "model": "scripted",
        "choices": [{ "index": 0, "message": message, "finish_reason": reason }], "usage": usage,
    }))
    .into_response()
}

/// What one step puts on the wire.
enum Wire {
    Send(String),
    Wait(Duration),
    Reset,
    Stall,
    Complete,
}

fn sse(steps: VecDeque<Step>, watch: Watch) -> Response {
    let wire: VecDeque<Wire> = to_wire(steps);
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

fn to_wire(steps: VecDeque<Step>) -> VecDeque<Wire> {
    let mut wire = VecDeque::from([Wire::Send(chunk(json!({ "role": "assistant", "content": "" }), None))]);
    let (mut calls, mut usage, mut finish) = (0, default_usage(), None);
    for step in steps {
        match step {
            Step::Text(text) => wire.push_back(Wire::Send(chunk(json!({ "content": text }), None))),
            Step::Reasoning(text) => {
                wire.push_back(Wire::Send(chunk(json!({ "reasoning_content": text }), None)));
            }
            Step::ToolCall { id, name, arguments } => {
                wire.extend(call_chunks(calls, &id, &name, &arguments).map(Wire::Send));
                calls += 1;
            }
            Step::Finish(reason) => finish = Some(reason),
            Step::Usage { prompt_tokens, completion_tokens } => {
                usage = usage_of(prompt_tokens, completion_tokens);
            }
            Step::Error { status, message, .. } => {
                wire.push_back(Wire::Send(frame(&error_body(status, &message))));
                wire.push_back(Wire::Complete);
                return wire;
            }
            Step::Reset => {
                // Apart from what came before, so that it arrives.
                wire.extend([Wire::Wait(Duration::from_millis(20)), Wire::Reset]);
                return wire;
            }
            Step::Stall => wire.push_back(Wire::Stall),
            Step::Wait(ms) => wire.push_back(Wire::Wait(Duration::from_millis(ms))),
            Step::MalformedFrame => wire.push_back(Wire::Send("data: {\"choices\": [oops\n\n".into())),
            Step::HugeFrame => {
                let text = "x".repeat(HUGE_FRAME_BYTES);
                wire.push_back(Wire::Send(chunk(json!({ "content": text }), None)));
            }
            Step::Comment => wire.push_back(Wire::Send(": SCRIPTED PROCESSING\n\n".into())),
            Step::Raw(text) => wire.push_back(Wire::Send(text)),
            Step::End => {
                wire.push_back(Wire::Complete);
                return wire;
            }
            Step::WrongContentType | Step::Buffered => {}
        }
    }
    let reason = finish.unwrap_or_else(|| if calls == 0 { "stop" } else { "tool_calls" }.to_owned());
    let last = json!({ "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1,
        "model": "scripted", "choices": [], "usage": usage });
    wire.push_back(Wire::Send(chunk(json!({}), Some(&reason))));
    wire.push_back(Wire::Send(frame(&last)));
    wire.push_back(Wire::Send("data: [DONE]\n\n".into()));
    wire.push_back(Wire::Complete);
    wire
}

fn call_chunks(index: usize, id: &str, name: &str, arguments: &str) -> [String; 2] {
    let middle = arguments.char_indices().nth(arguments.chars().count() / 2).map_or(0, |(middle, _)| middle);
    let (head, tail) = arguments.split_at(middle);
    let first = json!({ "index": index, "id": id, "type": "function",
        "function": { "name": name, "arguments": head } });
    let second = json!({ "index": index, "function": { "arguments": tail } });
    [first, second].map(|call| chunk(json!({ "tool_calls": [call] }), None))
}

fn chunk(delta: Value, finish_reason: Option<&str>) -> String {
    frame(&json!({
        "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
    }))
}

fn frame(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn default_usage() -> Value {
    usage_of(10, 5)
}

fn usage_of(prompt_tokens: u64, completion_tokens: u64) -> Value {
    json!({ "prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens.saturating_add(completion_tokens) })
}

/// Calls the tool the user names, repeats results of tools, else echoes.
fn default_script(body: &Value) -> Vec<Step> {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is = |message: &Value, role: &str| message["role"] == json!(role);
    let results: Vec<String> =
        messages.iter().rev().take_while(|message| is(message, "tool")).map(text_of).collect();
    if !results.is_empty() {
        return vec![Step::Text(format!(
            "The tools said: {}",
            results.iter().rev().cloned().collect::<Vec<_>>().join("; ")
        ))];
    }
    let said = messages.iter().rfind(|message| is(message, "user")).map(text_of).unwrap_or_default();
    let calls: Vec<Step> =
        (0..).zip(said.lines()).filter_map(|(line, text)| told_call(text, line, body)).collect();
    if calls.is_empty() { vec![Step::Text(said)] } else { calls }
}

fn told_call(line: &str, position: usize, body: &Value) -> Option<Step> {
    let (name, arguments) = line.trim().strip_prefix("call ")?.split_once(' ')?;
    let offered = body["tools"].as_array()?.iter().any(|tool| tool["function"]["name"] == json!(name));
    offered.then(|| Step::tool_call(&format!("call_scripted_{position}"), name, arguments))
}

fn text_of(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}
