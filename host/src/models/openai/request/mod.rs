//! An incoming chat request, read and bounded.
//!
//! What the host decides by is typed; every other field is kept in `rest` and passed on unread. Nothing in
//! `rest` can override a typed field, because a typed field never gets there. A request for something we
//! would have to leave out of the answer (audio, legacy `functions`) is refused: an answer with less than was
//! asked for is worse than an error. Several answers (`n`) and log probabilities are only some providers': each
//! encoder refuses what its provider has not.

mod fields;
mod message;
mod tool;

pub(in crate::models) use fields::Fields;
pub use message::{Content, Message, Role, ToolCall};
pub use tool::{Tool, ToolChoice, is_tool_name};

use message::read_messages;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::fmt;
use tool::read_tools;

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

#[cfg(test)]
mod tests;
