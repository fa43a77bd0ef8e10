//! An incoming chat request, read and bounded.
//!
//! What the host decides by is typed; every other field is kept in `rest` and passed on unread. Nothing in
//! `rest` can override a typed field, because a typed field never gets there. A request for something we
//! would have to leave out of the answer (audio, legacy `functions`) is refused: an answer with less than was
//! asked for is worse than an error. Several answers (`n`) and log probabilities are only some providers': each
//! encoder refuses what its provider has not.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::fmt;

/// Messages in one request; a longer conversation needs summarising before a model is of use.
pub const MESSAGES_MAX: usize = 2_048;
/// Parts in the content of one message.
pub const PARTS_MAX: usize = 256;
/// Tools in one request: OpenAI's own limit.
pub const TOOLS_MAX: usize = 128;
/// Tool calls in one assistant message: as many as there can be tools.
pub const TOOL_CALLS_MAX: usize = 128;
/// Stop sequences: OpenAI's own limit.
pub const STOP_MAX: usize = 4;
/// One stop sequence, in characters.
pub const STOP_CHARS_MAX: usize = 256;
/// A tool's name, in characters: OpenAI's own limit.
pub const TOOL_NAME_CHARS_MAX: usize = 64;
/// A tool call's id, in characters: providers hide signatures in it, so it may be long.
pub const TOOL_CALL_ID_CHARS_MAX: usize = 1_024;
/// A model id, in bytes.
pub const MODEL_BYTES_MAX: usize = 256;
/// An agent's name or a session's id, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Answers to one request: each may be as long as one alone, and all are held at once.
pub const CHOICES_MAX: u32 = 8;
/// Likeliest tokens told of beside each: OpenAI's own limit.
pub const TOP_LOGPROBS_MAX: u64 = 20;
/// The largest `max_tokens`: more than any model writes, small enough to multiply by a price.
pub const MAX_TOKENS_MAX: u64 = 10_000_000;

/// Fields that ask for what we would leave out of the answer, with what to do instead.
const REFUSED_FIELDS: [(&str, &str); 3] = [
    ("functions", "Use `tools`."),
    ("function_call", "Use `tool_choice`."),
    ("audio", "Audio answers are not available here; leave it out."),
];

/// A request we cannot serve as it is. The caller's to fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    pub message: String,
    /// Which field, as in `messages[2].role`.
    pub param: Option<String>,
    pub code: &'static str,
}

impl RequestError {
    pub(in crate::models) fn new(
        param: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { message: message.into(), param: Some(param.into()), code }
    }

    pub(in crate::models) fn missing(param: &str) -> Self {
        Self::new(param, "missing_required_parameter", format!("`{param}` is required."))
    }

    pub(in crate::models) fn wrong_type(param: &str, wanted: &str) -> Self {
        Self::new(param, "invalid_type", format!("`{param}` must be {wanted}."))
    }

    pub(in crate::models) fn invalid(param: &str, rule: &str) -> Self {
        Self::new(param, "invalid_value", format!("`{param}` {rule}"))
    }

    pub(in crate::models) fn too_many(param: &str, count: usize, max: usize) -> Self {
        Self::new(param, "limit_exceeded", format!("`{param}` has {count} items; the most is {max}."))
    }
}

/// A chat request, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    pub model: ModelId,
    pub messages: Vec<Message>,
    pub stream: bool,
    /// The client wants a usage chunk at the end of the stream.
    pub include_usage: bool,
    /// The tools the client declared; the host's own are added by the caller.
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub max_tokens: Option<u64>,
    /// The newer name of `max_tokens`; providers know one or the other.
    pub max_completion_tokens: Option<u64>,
    pub stop: Vec<String>,
    /// How many answers are wanted.
    pub choices: u32,
    /// Whether the probability of each token is wanted, and of how many others in its place.
    pub logprobs: Option<u64>,
    /// Ours, not OpenAI's: which agent answers.
    pub agent: Option<String>,
    /// Ours, not OpenAI's: which session the conversation belongs to.
    pub session_id: Option<String>,
    /// Everything else, for the provider.
    pub rest: Map<String, Value>,
}

impl ChatRequest {
    /// A request with nothing but a model and messages.
    pub fn new(model: ModelId, messages: Vec<Message>) -> Self {
        Self {
            model,
            messages,
            stream: false,
            include_usage: false,
            tools: Vec::new(),
            tool_choice: None,
            temperature: None,
            top_p: None,
            max_tokens: None,
            max_completion_tokens: None,
            stop: Vec::new(),
            choices: 1,
            logprobs: None,
            agent: None,
            session_id: None,
            rest: Map::new(),
        }
    }

    /// Reads a request from the bytes of a body.
    pub fn from_slice(body: &[u8]) -> Result<Self, RequestError> {
        let value = serde_json::from_slice(body).map_err(|error| RequestError {
            message: format!("The body is not valid JSON: {error}."),
            param: None,
            code: "invalid_json",
        })?;
        Self::from_value(value)
    }

    /// Reads a request where the only tools are those the client declares.
    pub fn from_value(value: Value) -> Result<Self, RequestError> {
        Self::from_value_with_tools(value, &[] as &[&str])
    }

    /// Reads a request that may also name one of the host's tools in `tool_choice`.
    pub fn from_value_with_tools(value: Value, host_tools: &[impl AsRef<str>]) -> Result<Self, RequestError> {
        let mut fields = Fields::new(value, "")?;
        refuse_what_we_would_drop(&mut fields)?;
        let model = fields.string("model")?.ok_or_else(|| RequestError::missing("model"))?;
        let stream_options = fields.take("stream_options");
        let request = Self {
            model: ModelId::parse(&model)?,
            messages: read_messages(fields.take("messages"))?,
            stream: fields.bool("stream")?.unwrap_or(false),
            include_usage: match stream_options {
                Some(options) => {
                    Fields::new(options, "stream_options")?.bool("include_usage")?.unwrap_or(false)
                }
                None => false,
            },
            tools: read_tools(fields.take("tools"))?,
            tool_choice: fields.take("tool_choice").map(ToolChoice::from_value).transpose()?,
            temperature: fields.number("temperature", 0.0, 2.0)?,
            top_p: fields.number("top_p", 0.0, 1.0)?,
            max_tokens: fields.whole("max_tokens", 1, MAX_TOKENS_MAX)?,
            max_completion_tokens: fields.whole("max_completion_tokens", 1, MAX_TOKENS_MAX)?,
            stop: read_stop(fields.take("stop"))?,
            choices: read_choices(&mut fields)?,
            logprobs: read_logprobs(&mut fields)?,
            agent: fields.name("agent")?,
            session_id: fields.name("session_id")?,
            rest: Map::new(),
        };
        for penalty in ["presence_penalty", "frequency_penalty"] {
            if let Some(value) = fields.number(penalty, -2.0, 2.0)? {
                fields.map.insert(penalty.to_owned(), json!(value));
            }
        }
        let request = Self { rest: fields.map, ..request };
        request.check_tool_choice(host_tools)?;
        if request.session_id.is_none() {
            check_tool_answers(&request.messages)?;
        } // else the calls may be in the session's history: the caller checks the whole
        Ok(request)
    }

    /// The most the model may write, whichever field said so.
    pub fn output_tokens_max(&self) -> Option<u64> {
        [self.max_tokens, self.max_completion_tokens].into_iter().flatten().min()
    }

    /// Refuses what only models of OpenAI's dialects have: several answers, and log probabilities.
    pub fn refuse_more_than_one_answer(&self, provider: &str) -> Result<(), RequestError> {
        self.refuse_choices(provider)?;
        if self.logprobs.is_none() {
            return Ok(());
        }
        let message =
            format!("{provider} has no log probabilities; leave `logprobs` and `top_logprobs` out.");
        Err(RequestError::new("logprobs", "unsupported_parameter", message))
    }

    /// Refuses several answers.
    pub fn refuse_choices(&self, provider: &str) -> Result<(), RequestError> {
        if self.choices == 1 {
            return Ok(());
        }
        let message =
            format!("{provider} gives one answer: `n` must be 1. Send a request for each you want.");
        Err(RequestError::new("n", "unsupported_parameter", message))
    }

    fn check_tool_choice(&self, host_tools: &[impl AsRef<str>]) -> Result<(), RequestError> {
        match &self.tool_choice {
            Some(ToolChoice::Function(name)) => {
                let declared = self.tools.iter().any(|tool| tool.name == *name);
                if declared || host_tools.iter().any(|tool| tool.as_ref() == name) {
                    return Ok(());
                }
                Err(RequestError::invalid("tool_choice", "names a tool that is not in `tools`."))
            }
            Some(ToolChoice::Required) if self.tools.is_empty() && host_tools.is_empty() => {
                Err(RequestError::invalid("tool_choice", "is `required`, but there are no tools."))
            }
            _ => Ok(()),
        }
    }
}

/// Checks that every `tool` message answers a call made earlier in `messages`.
///
/// [`ChatRequest::from_value`] does it for a whole conversation; with a session, check again once the history
/// is in front.
pub fn check_tool_answers(messages: &[Message]) -> Result<(), RequestError> {
    let mut known = HashSet::new();
    for (position, message) in messages.iter().enumerate() {
        known.extend(message.tool_calls.iter().map(|call| call.id.as_str()));
        if let Some(id) = &message.tool_call_id
            && !known.contains(id.as_str())
        {
            let param = format!("messages[{position}].tool_call_id");
            let rule = "answers no tool call of an earlier assistant message.";
            return Err(RequestError::invalid(&param, rule));
        }
    }
    Ok(())
}

/// `provider/model`, or a bare name for the caller to resolve.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelId {
    pub provider: Option<String>,
    /// The provider's own name for it; may contain `/`.
    pub model: String,
}

impl ModelId {
    /// Reads a model id.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        let bad = |rule: &str| Err(RequestError::invalid("model", rule));
        if text.is_empty() || text.len() > MODEL_BYTES_MAX {
            return bad("must be 1 to 256 bytes long.");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/@+-".contains(&b)) {
            return bad("may hold letters, digits and . _ : / @ + - only.");
        }
        let Some((provider, model)) = text.split_once('/') else {
            return Ok(Self { provider: None, model: text.to_owned() });
        };
        if provider.is_empty() || model.is_empty() {
            return bad("must look like `provider/model`.");
        }
        Ok(Self { provider: Some(provider.to_owned()), model: model.to_owned() })
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.provider {
            Some(provider) => write!(f, "{provider}/{}", self.model),
            None => f.write_str(&self.model),
        }
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    System,
    /// OpenAI's newer word for `system`.
    Developer,
    User,
    Assistant,
    Tool,
}

impl Role {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    /// The kinds of content parts this role may send.
    fn part_kinds(self) -> &'static [&'static str] {
        match self {
            Self::System | Self::Developer => &["text"],
            Self::User => &["text", "image_url", "input_audio", "file"],
            Self::Assistant => &["text", "refusal"],
            Self::Tool => &["text", "image_url"],
        }
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Message {
    pub role: Role,
    pub content: Option<Content>,
    pub tool_calls: Vec<ToolCall>,
    /// Which call a `tool` message answers.
    pub tool_call_id: Option<String>,
    /// Everything else (`name`, `reasoning_content`, …), passed on.
    pub rest: Map<String, Value>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Text(String),
    /// Text, images, audio and files, passed on as they came.
    Parts(Vec<Map<String, Value>>),
}

/// A call an assistant made.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// JSON text, as the model wrote it: it may be invalid.
    pub arguments: String,
    /// Everything else (`extra_content` with its signature), passed on.
    pub rest: Map<String, Value>,
}

impl Message {
    /// A message of nothing but text.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            content: Some(Content::Text(text.into())),
            tool_calls: Vec::new(),
            tool_call_id: None,
            rest: Map::new(),
        }
    }

    /// The answer of a tool.
    pub fn tool_result(tool_call_id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { tool_call_id: Some(tool_call_id.into()), ..Self::text(Role::Tool, text) }
    }

    /// All text of the message, without the other parts.
    pub fn plain_text(&self) -> String {
        match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
                texts.collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// The message on the wire.
    pub fn to_value(&self) -> Value {
        let mut map = self.rest.clone();
        map.insert("role".into(), json!(self.role.as_str()));
        let content = match &self.content {
            None => Value::Null,
            Some(Content::Text(text)) => json!(text),
            Some(Content::Parts(parts)) => json!(parts),
        };
        map.insert("content".into(), content);
        if !self.tool_calls.is_empty() {
            map.insert("tool_calls".into(), self.tool_calls.iter().map(ToolCall::to_value).collect());
        }
        if let Some(id) = &self.tool_call_id {
            map.insert("tool_call_id".into(), json!(id));
        }
        Value::Object(map)
    }

    fn read(value: Value, path: &str) -> Result<Self, RequestError> {
        let mut fields = Fields::new(value, path)?;
        let role = read_role(&mut fields)?;
        let content = fields.take("content");
        let content = content.map(|value| read_content(value, role, &fields.param("content"))).transpose()?;
        let mut message =
            Self { role, content, tool_calls: Vec::new(), tool_call_id: None, rest: Map::new() };
        match role {
            Role::Assistant => message.tool_calls = read_tool_calls(&mut fields)?,
            Role::Tool => message.tool_call_id = Some(read_call_id(&mut fields, "tool_call_id")?),
            _ => {}
        }
        for key in ["tool_calls", "tool_call_id"] {
            if fields.take(key).is_some() {
                let param = fields.param(key);
                return Err(RequestError::invalid(&param, "does not belong in a message of this role."));
            }
        }
        if fields.take("function_call").is_some() {
            let param = fields.param("function_call");
            return Err(RequestError::new(&param, "unsupported_parameter", "Use `tool_calls`."));
        }
        let says_something = message.content.is_some()
            || !message.tool_calls.is_empty()
            || (role == Role::Assistant
                && ["refusal", "reasoning_content"].iter().any(|key| fields.map.contains_key(*key)));
        if !says_something {
            return Err(RequestError::missing(&fields.param("content")));
        }
        message.rest = fields.map;
        Ok(message)
    }
}

impl TryFrom<Value> for Message {
    type Error = RequestError;

    fn try_from(value: Value) -> Result<Self, RequestError> {
        Self::read(value, "message")
    }
}

impl From<Message> for Value {
    fn from(message: Message) -> Self {
        message.to_value()
    }
}

impl ToolCall {
    /// The call on the wire.
    pub fn to_value(&self) -> Value {
        let mut map = self.rest.clone();
        map.insert("id".into(), json!(self.id));
        map.insert("type".into(), json!("function"));
        map.insert("function".into(), json!({ "name": self.name, "arguments": self.arguments }));
        Value::Object(map)
    }
}

/// A function the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// A JSON Schema with `"type": "object"`.
    pub parameters: Map<String, Value>,
    /// Everything else of `function` (`strict`), passed on.
    pub rest: Map<String, Value>,
}

impl Tool {
    /// The tool on the wire.
    pub fn to_value(&self) -> Value {
        let mut function = self.rest.clone();
        function.insert("name".into(), json!(self.name));
        if let Some(description) = &self.description {
            function.insert("description".into(), json!(description));
        }
        function.insert("parameters".into(), Value::Object(self.parameters.clone()));
        json!({ "type": "function", "function": function })
    }
}

/// Whether the model must, may or must not call a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    Auto,
    None,
    Required,
    Function(String),
}

impl ToolChoice {
    /// The choice on the wire.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Auto => json!("auto"),
            Self::None => json!("none"),
            Self::Required => json!("required"),
            Self::Function(name) => json!({ "type": "function", "function": { "name": name } }),
        }
    }

    fn from_value(value: Value) -> Result<Self, RequestError> {
        let wrong = || {
            let rule = "must be `none`, `auto`, `required` or {\"type\": \"function\", \"function\": {\"name\": …}}.";
            RequestError::invalid("tool_choice", rule)
        };
        match value.as_str() {
            Some("auto") => return Ok(Self::Auto),
            Some("none") => return Ok(Self::None),
            Some("required") => return Ok(Self::Required),
            Some(_) => return Err(wrong()),
            None => {}
        }
        let is_function = value.get("type").and_then(Value::as_str) == Some("function");
        let name = value.pointer("/function/name").and_then(Value::as_str).filter(|_| is_function);
        name.map(|name| Self::Function(name.to_owned())).ok_or_else(wrong)
    }
}

/// Whether `name` is a tool name every provider accepts: `^[a-zA-Z0-9_-]{1,64}$`.
pub fn is_tool_name(name: &str) -> bool {
    (1..=TOOL_NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn refuse_what_we_would_drop(fields: &mut Fields) -> Result<(), RequestError> {
    let refuse = |param: &str, message: &str| Err(RequestError::new(param, "unsupported_parameter", message));
    for (field, instead) in REFUSED_FIELDS {
        if fields.take(field).is_some() {
            return refuse(field, &format!("`{field}` is not supported. {instead}"));
        }
    }
    match fields.take("modalities") {
        None => Ok(()),
        Some(value) if value == json!(["text"]) => Ok(()),
        Some(_) => refuse("modalities", "Only `[\"text\"]` is available here."),
    }
}

fn read_messages(value: Option<Value>) -> Result<Vec<Message>, RequestError> {
    let Value::Array(items) = value.ok_or_else(|| RequestError::missing("messages"))? else {
        return Err(RequestError::wrong_type("messages", "an array of messages"));
    };
    if items.is_empty() {
        return Err(RequestError::invalid("messages", "must hold at least one message."));
    }
    if items.len() > MESSAGES_MAX {
        return Err(RequestError::too_many("messages", items.len(), MESSAGES_MAX));
    }
    let read = |(position, value)| Message::read(value, &format!("messages[{position}]"));
    items.into_iter().enumerate().map(read).collect()
}

fn read_role(fields: &mut Fields) -> Result<Role, RequestError> {
    let param = fields.param("role");
    let role = fields.string("role")?.ok_or_else(|| RequestError::missing(&param))?;
    let all = [Role::System, Role::Developer, Role::User, Role::Assistant, Role::Tool];
    all.into_iter().find(|known| known.as_str() == role).ok_or_else(|| {
        RequestError::invalid(&param, "must be `system`, `developer`, `user`, `assistant` or `tool`.")
    })
}

fn read_content(value: Value, role: Role, path: &str) -> Result<Content, RequestError> {
    let parts = match value {
        Value::String(text) => return Ok(Content::Text(text)),
        Value::Array(parts) => parts,
        _ => return Err(RequestError::wrong_type(path, "text or an array of content parts")),
    };
    if parts.is_empty() {
        return Err(RequestError::invalid(path, "must hold at least one part."));
    }
    if parts.len() > PARTS_MAX {
        return Err(RequestError::too_many(path, parts.len(), PARTS_MAX));
    }
    let read = |(position, part)| read_part(part, role, &format!("{path}[{position}]"));
    parts.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Content::Parts)
}

fn read_part(value: Value, role: Role, path: &str) -> Result<Map<String, Value>, RequestError> {
    let Value::Object(part) = value else {
        return Err(RequestError::wrong_type(path, "an object"));
    };
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    if !role.part_kinds().contains(&kind) {
        let kinds = role.part_kinds().join("`, `");
        let rule = format!("must be `{kinds}` in a message of role `{}`.", role.as_str());
        return Err(RequestError::invalid(&format!("{path}.type"), &rule));
    }
    let body = part.get(kind);
    match kind {
        "text" | "refusal" if !body.is_some_and(Value::is_string) => {
            Err(RequestError::wrong_type(&format!("{path}.{kind}"), "text"))
        }
        "image_url" => {
            let url = body.and_then(|image| image.get("url")).and_then(Value::as_str).unwrap_or_default();
            let known = ["https://", "http://", "data:"].iter().any(|scheme| url.starts_with(scheme));
            let param = format!("{path}.image_url.url");
            if known {
                Ok(part)
            } else {
                Err(RequestError::invalid(&param, "must be an http(s) or data URL."))
            }
        }
        "input_audio" | "file" if !body.is_some_and(Value::is_object) => {
            Err(RequestError::wrong_type(&format!("{path}.{kind}"), "an object"))
        }
        _ => Ok(part),
    }
}

fn read_tool_calls(fields: &mut Fields) -> Result<Vec<ToolCall>, RequestError> {
    let param = fields.param("tool_calls");
    let items = match fields.take("tool_calls") {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(RequestError::wrong_type(&param, "an array")),
    };
    if items.len() > TOOL_CALLS_MAX {
        return Err(RequestError::too_many(&param, items.len(), TOOL_CALLS_MAX));
    }
    let mut ids = HashSet::new();
    let mut calls = Vec::with_capacity(items.len());
    for (position, item) in items.into_iter().enumerate() {
        let path = format!("{param}[{position}]");
        let call = read_tool_call(item, &path)?;
        if !ids.insert(call.id.clone()) {
            return Err(RequestError::invalid(&format!("{path}.id"), "is used twice in this message."));
        }
        calls.push(call);
    }
    Ok(calls)
}

fn read_tool_call(value: Value, path: &str) -> Result<ToolCall, RequestError> {
    let mut fields = Fields::new(value, path)?;
    let id = read_call_id(&mut fields, "id")?;
    if fields.string("type")?.is_some_and(|kind| kind != "function") {
        return Err(RequestError::invalid(&fields.param("type"), "must be `function`."));
    }
    let function_path = fields.param("function");
    let function = fields.take("function").ok_or_else(|| RequestError::missing(&function_path))?;
    let mut function = Fields::new(function, &function_path)?;
    let name = function.tool_name()?;
    let arguments = function.string("arguments")?.filter(|text| !text.trim().is_empty());
    let arguments = arguments.unwrap_or_else(|| "{}".to_owned());
    fields.map.remove("index"); // a streamed call sent back; not part of a message
    Ok(ToolCall { id, name, arguments, rest: fields.map })
}

fn read_call_id(fields: &mut Fields, key: &str) -> Result<String, RequestError> {
    let param = fields.param(key);
    let id = fields.string(key)?.ok_or_else(|| RequestError::missing(&param))?;
    if id.is_empty() || id.chars().count() > TOOL_CALL_ID_CHARS_MAX {
        return Err(RequestError::invalid(&param, "must be 1 to 1024 characters long."));
    }
    Ok(id)
}

fn read_tools(value: Option<Value>) -> Result<Vec<Tool>, RequestError> {
    let items = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(RequestError::wrong_type("tools", "an array")),
    };
    if items.len() > TOOLS_MAX {
        return Err(RequestError::too_many("tools", items.len(), TOOLS_MAX));
    }
    let mut names = HashSet::new();
    let mut tools = Vec::with_capacity(items.len());
    for (position, item) in items.into_iter().enumerate() {
        let path = format!("tools[{position}]");
        let tool = read_tool(item, &path)?;
        if !names.insert(tool.name.clone()) {
            let rule = format!("is `{}`, which another tool has already.", tool.name);
            return Err(RequestError::invalid(&format!("{path}.function.name"), &rule));
        }
        tools.push(tool);
    }
    Ok(tools)
}

fn read_tool(value: Value, path: &str) -> Result<Tool, RequestError> {
    let mut fields = Fields::new(value, path)?;
    if fields.string("type")?.as_deref() != Some("function") {
        return Err(RequestError::invalid(&fields.param("type"), "must be `function`."));
    }
    let function_path = fields.param("function");
    let function = fields.take("function").ok_or_else(|| RequestError::missing(&function_path))?;
    let mut function = Fields::new(function, &function_path)?;
    let name = function.tool_name()?;
    let description = function.string("description")?;
    let parameters = match function.take("parameters") {
        None => Map::from_iter([("type".to_owned(), json!("object")), ("properties".to_owned(), json!({}))]),
        Some(Value::Object(schema)) if is_object_schema(&schema) => schema,
        Some(_) => {
            let rule = "must be a JSON Schema with \"type\": \"object\".";
            return Err(RequestError::invalid(&function.param("parameters"), rule));
        }
    };
    Ok(Tool { name, description, parameters, rest: function.map })
}

fn is_object_schema(schema: &Map<String, Value>) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object")
        && schema.get("properties").is_none_or(Value::is_object)
        && schema
            .get("required")
            .is_none_or(|names| names.as_array().is_some_and(|names| names.iter().all(Value::is_string)))
}

fn read_choices(fields: &mut Fields) -> Result<u32, RequestError> {
    let wanted = fields.whole("n", 1, CHOICES_MAX.into())?;
    Ok(wanted.and_then(|n| u32::try_from(n).ok()).unwrap_or(1))
}

fn read_logprobs(fields: &mut Fields) -> Result<Option<u64>, RequestError> {
    let wanted = fields.bool("logprobs")?.unwrap_or(false);
    match fields.whole("top_logprobs", 0, TOP_LOGPROBS_MAX)? {
        Some(_) if !wanted => Err(RequestError::invalid("top_logprobs", "takes `logprobs: true` beside it.")),
        top => Ok(wanted.then_some(top.unwrap_or(0))),
    }
}

fn read_stop(value: Option<Value>) -> Result<Vec<String>, RequestError> {
    let items = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(text) => vec![text],
    };
    if items.len() > STOP_MAX {
        return Err(RequestError::too_many("stop", items.len(), STOP_MAX));
    }
    let read = |item: Value| match item {
        Value::String(text) if (1..=STOP_CHARS_MAX).contains(&text.chars().count()) => Ok(text),
        Value::String(_) => Err(RequestError::invalid("stop", "must be 1 to 256 characters long.")),
        _ => Err(RequestError::wrong_type("stop", "text or an array of texts")),
    };
    items.into_iter().map(read).collect()
}

/// An object being read: what is taken is typed, what remains is the rest. `null` reads as absent.
pub(in crate::models) struct Fields {
    pub(in crate::models) map: Map<String, Value>,
    path: String,
}

impl Fields {
    pub(in crate::models) fn new(value: Value, path: &str) -> Result<Self, RequestError> {
        match value {
            Value::Object(map) => Ok(Self { map, path: path.to_owned() }),
            _ if path.is_empty() => Err(RequestError {
                message: "The body must be a JSON object.".into(),
                param: None,
                code: "invalid_type",
            }),
            _ => Err(RequestError::wrong_type(path, "an object")),
        }
    }

    pub(in crate::models) fn param(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(in crate::models) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    pub(in crate::models) fn string(&mut self, key: &str) -> Result<Option<String>, RequestError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(RequestError::wrong_type(&self.param(key), "text")),
        }
    }

    pub(in crate::models) fn bool(&mut self, key: &str) -> Result<Option<bool>, RequestError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(RequestError::wrong_type(&self.param(key), "true or false")),
        }
    }

    pub(in crate::models) fn number(
        &mut self,
        key: &str,
        min: f64,
        max: f64,
    ) -> Result<Option<f64>, RequestError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| RequestError::wrong_type(&self.param(key), "a number"))?;
        if !(min..=max).contains(&number) {
            return Err(RequestError::invalid(&self.param(key), &format!("must be {min} to {max}.")));
        }
        Ok(Some(number))
    }

    pub(in crate::models) fn whole(
        &mut self,
        key: &str,
        min: u64,
        max: u64,
    ) -> Result<Option<u64>, RequestError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        if !value.is_number() {
            return Err(RequestError::wrong_type(&self.param(key), "a whole number"));
        }
        let number = value.as_u64().filter(|number| (min..=max).contains(number));
        let rule = format!("must be a whole number from {min} to {max}.");
        number.map(Some).ok_or_else(|| RequestError::invalid(&self.param(key), &rule))
    }

    /// One of our own names: an agent or a session.
    fn name(&mut self, key: &str) -> Result<Option<String>, RequestError> {
        let name = self.string(key)?;
        let is_name = |name: &String| {
            (1..=NAME_BYTES_MAX).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        if name.as_ref().is_some_and(|name| !is_name(name)) {
            let rule = "must be 1 to 128 letters, digits, `_`, `.` or `-`.";
            return Err(RequestError::invalid(&self.param(key), rule));
        }
        Ok(name)
    }

    pub(in crate::models) fn tool_name(&mut self) -> Result<String, RequestError> {
        let param = self.param("name");
        let name = self.string("name")?.ok_or_else(|| RequestError::missing(&param))?;
        if is_tool_name(&name) {
            Ok(name)
        } else {
            Err(RequestError::invalid(&param, "must be 1 to 64 letters, digits, `_` or `-`."))
        }
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
