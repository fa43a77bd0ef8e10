//! Tools a client declares, and which it wants called.

use super::{Fields, RequestError, TOOL_NAME_CHARS_MAX, TOOLS_MAX};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

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

    pub(super) fn from_value(value: Value) -> Result<Self, RequestError> {
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

pub(super) fn read_tools(value: Option<Value>) -> Result<Vec<Tool>, RequestError> {
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
