//! Messages, and the calls in them.

use super::{Fields, MESSAGES_MAX, PARTS_MAX, RequestError, TOOL_CALL_ID_CHARS_MAX, TOOL_CALLS_MAX};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

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

pub(super) fn read_messages(value: Option<Value>) -> Result<Vec<Message>, RequestError> {
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
