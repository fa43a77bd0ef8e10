//! What a client of Anthropic's dialect asks, in the words we go on with.
//!
//! The messages become OpenAI's, which every agent and session here speaks; thinking goes along in
//! `reasoning_details`, `cache_control` stays on the part it came with. What is left of the request stands in
//! the member `anthropic` and goes to Anthropic as it came; see [`options`](crate::models::options) for what
//! other providers make of it. What only Anthropic itself can run (its own tools, files it searches) is refused.

use crate::models::openai::request::{
    Fields, MESSAGES_MAX, PARTS_MAX, RequestError, STOP_CHARS_MAX, STOP_MAX, TOOLS_MAX,
};
use crate::models::options::ANTHROPIC;
use crate::models::thought::{DETAILS, Maker, Thought};
use serde_json::{Map, Value, json};

/// Fields that are ours beside Anthropic's.
const OURS: [&str; 2] = ["agent", "session_id"];

/// The request as one of OpenAI's dialect.
pub fn to_chat(body: Value) -> Result<Value, RequestError> {
    let mut fields = Fields::new(body, "")?;
    let mut chat = Map::new();
    for name in ["model", "stream", "temperature", "top_p"].into_iter().chain(OURS) {
        if let Some(value) = fields.take(name) {
            chat.insert(name.to_owned(), value);
        }
    }
    if let Some(max) = fields.take("max_tokens") {
        chat.insert("max_tokens".into(), max);
    }
    if let Some(stop) = stop_sequences(&mut fields)? {
        chat.insert("stop".into(), stop);
    }
    let mut messages = system(fields.take("system"))?;
    messages.extend(conversation(fields.take("messages"))?);
    chat.insert("messages".into(), Value::Array(messages));
    if let Some(tools) = fields.take("tools") {
        chat.insert("tools".into(), self::tools(tools)?);
    }
    if let Some(choice) = fields.take("tool_choice") {
        let (choice, parallel) = tool_choice(choice)?;
        chat.insert("tool_choice".into(), choice);
        if let Some(parallel) = parallel {
            chat.insert("parallel_tool_calls".into(), json!(parallel));
        }
    }
    if !fields.map.is_empty() {
        chat.insert(ANTHROPIC.into(), Value::Object(fields.map));
    }
    Ok(Value::Object(chat))
}

fn stop_sequences(fields: &mut Fields) -> Result<Option<Value>, RequestError> {
    let Some(value) = fields.take("stop_sequences") else { return Ok(None) };
    let wrong = || RequestError::wrong_type("stop_sequences", "an array of texts");
    let texts = value.as_array().ok_or_else(wrong)?;
    if texts.len() > STOP_MAX {
        return Err(RequestError::too_many("stop_sequences", texts.len(), STOP_MAX));
    }
    let fits = |text: &Value| text.as_str().is_some_and(|text| text.chars().count() <= STOP_CHARS_MAX);
    if !texts.iter().all(fits) {
        return Err(wrong());
    }
    Ok((!texts.is_empty()).then_some(value))
}

fn system(value: Option<Value>) -> Result<Vec<Value>, RequestError> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => Ok(Vec::new()),
        Some(text @ Value::String(_)) => Ok(vec![json!({ "role": "system", "content": text })]),
        Some(Value::Array(blocks)) if blocks.is_empty() => Ok(Vec::new()),
        Some(Value::Array(blocks)) => {
            let parts = blocks.into_iter().enumerate().map(|(position, block)| {
                let path = format!("system.{position}");
                let block = Fields::new(block, &path)?;
                match block.map.get("type").and_then(Value::as_str) {
                    Some("text") => text_part(block),
                    _ => Err(RequestError::invalid(&format!("{path}.type"), "must be `text`.")),
                }
            });
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            Ok(vec![json!({ "role": "system", "content": parts })])
        }
        Some(_) => Err(RequestError::wrong_type("system", "text or an array of text blocks")),
    }
}

fn conversation(value: Option<Value>) -> Result<Vec<Value>, RequestError> {
    let Value::Array(items) = value.ok_or_else(|| RequestError::missing("messages"))? else {
        return Err(RequestError::wrong_type("messages", "an array of messages"));
    };
    if items.is_empty() {
        return Err(RequestError::invalid("messages", "must hold at least one message."));
    }
    if items.len() > MESSAGES_MAX {
        return Err(RequestError::too_many("messages", items.len(), MESSAGES_MAX));
    }
    let mut messages = Vec::new();
    for (position, item) in items.into_iter().enumerate() {
        let path = format!("messages.{position}");
        let mut fields = Fields::new(item, &path)?;
        let role = fields.string("role")?.ok_or_else(|| RequestError::missing(&fields.param("role")))?;
        let content = blocks(fields.take("content"), &fields.param("content"))?;
        match role.as_str() {
            "user" => user(content, &path, &mut messages)?,
            "assistant" => messages.extend(assistant(content, &path)?),
            "system" => messages.extend(system(Some(Value::Array(content)))?),
            _ => {
                let rule = "must be `user` or `assistant`.";
                return Err(RequestError::invalid(&fields.param("role"), rule));
            }
        }
    }
    if messages.is_empty() {
        return Err(RequestError::invalid("messages", "say nothing."));
    }
    Ok(messages)
}

/// The blocks of a message; a text alone is one.
fn blocks(value: Option<Value>, path: &str) -> Result<Vec<Value>, RequestError> {
    match value {
        None => Err(RequestError::missing(path)),
        Some(text @ Value::String(_)) => Ok(vec![json!({ "type": "text", "text": text })]),
        Some(Value::Array(blocks)) if blocks.len() > PARTS_MAX => {
            Err(RequestError::too_many(path, blocks.len(), PARTS_MAX))
        }
        Some(Value::Array(blocks)) => Ok(blocks),
        Some(_) => Err(RequestError::wrong_type(path, "text or an array of content blocks")),
    }
}

/// A user's message: results of tools are messages of their own, in front.
fn user(blocks: Vec<Value>, path: &str, messages: &mut Vec<Value>) -> Result<(), RequestError> {
    let mut parts = Vec::new();
    for (position, block) in blocks.into_iter().enumerate() {
        let fields = Fields::new(block, &format!("{path}.content.{position}"))?;
        match fields.map.get("type").and_then(Value::as_str).unwrap_or_default() {
            "tool_result" => messages.push(tool_result(fields)?),
            _ => parts.extend(part(fields)?),
        }
    }
    if !parts.is_empty() {
        messages.push(json!({ "role": "user", "content": parts }));
    }
    Ok(())
}

fn tool_result(mut fields: Fields) -> Result<Value, RequestError> {
    let id =
        fields.string("tool_use_id")?.ok_or_else(|| RequestError::missing(&fields.param("tool_use_id")))?;
    let path = fields.param("content");
    let mut parts = Vec::new();
    if let Some(content) = fields.take("content") {
        for (position, block) in blocks(Some(content), &path)?.into_iter().enumerate() {
            let block = Fields::new(block, &format!("{path}.{position}"))?;
            let kind = block.map.get("type").and_then(Value::as_str).unwrap_or_default();
            if !["text", "image"].contains(&kind) {
                return Err(unsupported_block(&block));
            }
            parts.extend(part(block)?);
        }
    }
    let content = if parts.is_empty() { json!("") } else { Value::Array(parts) };
    let mut message = json!({ "role": "tool", "tool_call_id": id, "content": content });
    for name in ["is_error", "cache_control"] {
        if let Some(value) = fields.take(name).filter(|value| *value != json!(false)) {
            message[name] = value;
        }
    }
    Ok(message)
}

/// A part of a user's message; None for a text that says nothing.
fn part(fields: Fields) -> Result<Option<Value>, RequestError> {
    match fields.map.get("type").and_then(Value::as_str).unwrap_or_default() {
        "text" if fields.map.get("text") == Some(&json!("")) => Ok(None),
        "text" => text_part(fields).map(Some),
        "image" => media_part(fields, |url, _| json!({ "type": "image_url", "image_url": { "url": url } })),
        "document" => media_part(
            fields,
            |url, title| json!({ "type": "file", "file": { "file_data": url, "filename": title.unwrap_or(json!("document")) } }),
        ),
        _ => Err(unsupported_block(&fields)),
    }
}

fn text_part(mut fields: Fields) -> Result<Value, RequestError> {
    let text = fields.string("text")?.ok_or_else(|| RequestError::missing(&fields.param("text")))?;
    Ok(with_cache_control(json!({ "type": "text", "text": text }), &mut fields))
}

fn media_part(
    mut fields: Fields,
    make: impl Fn(String, Option<Value>) -> Value,
) -> Result<Option<Value>, RequestError> {
    let path = fields.param("source");
    let source = fields.take("source").ok_or_else(|| RequestError::missing(&path))?;
    let mut source = Fields::new(source, &path)?;
    let mut text = |key: &str| source.string(key);
    let url = match text("type")?.as_deref() {
        Some("base64") => {
            let (mime, data) = (text("media_type")?.unwrap_or_default(), text("data")?.unwrap_or_default());
            format!("data:{mime};base64,{data}")
        }
        Some("url") => text("url")?.unwrap_or_default(),
        _ => {
            let rule = "must be `base64` or `url`; files kept at Anthropic are not available here.";
            return Err(RequestError::invalid(&format!("{path}.type"), rule));
        }
    };
    let title = fields.take("title");
    Ok(Some(with_cache_control(make(url, title), &mut fields)))
}

fn with_cache_control(mut part: Value, fields: &mut Fields) -> Value {
    if let Some(control) = fields.take("cache_control") {
        part["cache_control"] = control;
    }
    part
}

fn assistant(blocks: Vec<Value>, path: &str) -> Result<Option<Value>, RequestError> {
    let (mut parts, mut calls, mut thoughts, mut words) = (Vec::new(), Vec::new(), Vec::new(), String::new());
    for (position, block) in blocks.into_iter().enumerate() {
        let mut fields = Fields::new(block, &format!("{path}.content.{position}"))?;
        match fields.map.get("type").and_then(Value::as_str).unwrap_or_default() {
            "text" => parts.extend(part(fields)?),
            "thinking" => {
                let text = fields.string("thinking")?.unwrap_or_default();
                let seal = fields.string("signature")?.unwrap_or_default();
                words.push_str(&text);
                // Without a signature it is no thinking of Anthropic's, and nobody wants it back.
                if !seal.is_empty() {
                    thoughts.push(Thought { text, ..Thought::sealed(Maker::Anthropic, seal) });
                }
            }
            "redacted_thinking" => {
                let seal = fields.string("data")?.unwrap_or_default();
                let own = || Thought { redacted: true, ..Thought::sealed(Maker::Anthropic, &seal) };
                thoughts.push(Thought::from_opaque(&seal).unwrap_or_else(own));
            }
            "tool_use" => calls.push(tool_use(fields)?),
            _ => return Err(unsupported_block(&fields)),
        }
    }
    give_signatures(&mut calls, &mut thoughts);
    if parts.is_empty() && calls.is_empty() && thoughts.is_empty() && words.is_empty() {
        return Ok(None);
    }
    let content = if parts.is_empty() { json!("") } else { Value::Array(parts) };
    let mut message = json!({ "role": "assistant", "content": content });
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
    }
    if !words.is_empty() {
        message["reasoning_content"] = json!(words);
    }
    if !thoughts.is_empty() {
        message[DETAILS] = thoughts.iter().map(Thought::to_detail).collect();
    }
    Ok(Some(message))
}

/// Google's signature of a call came as a thought that names the call: it goes back onto it.
fn give_signatures(calls: &mut [Value], thoughts: &mut Vec<Thought>) {
    thoughts.retain(|thought| {
        let named = calls.iter_mut().find(|call| {
            thought.maker == Maker::Google
                && call["id"].as_str() == thought.id.as_deref()
                && thought.id.is_some()
        });
        let is_of_a_call = named.is_some();
        if let Some(call) = named {
            call["extra_content"] = json!({ "google": { "thought_signature": thought.seal } });
        }
        !is_of_a_call
    });
}

fn tool_use(mut fields: Fields) -> Result<Value, RequestError> {
    let id = fields.string("id")?.ok_or_else(|| RequestError::missing(&fields.param("id")))?;
    let name = fields.tool_name()?;
    let input = match fields.take("input") {
        None => json!({}),
        Some(input @ Value::Object(_)) => input,
        Some(_) => return Err(RequestError::wrong_type(&fields.param("input"), "an object")),
    };
    let call = json!({ "id": id, "type": "function",
        "function": { "name": name, "arguments": input.to_string() } });
    Ok(with_cache_control(call, &mut fields))
}

fn unsupported_block(fields: &Fields) -> RequestError {
    let kind = fields.map.get("type").and_then(Value::as_str).unwrap_or_default();
    let message = format!("A block of type `{kind}` is not supported here.");
    RequestError::new(fields.param("type"), "unsupported_content", message)
}

fn tools(value: Value) -> Result<Value, RequestError> {
    let Value::Array(items) = value else {
        return Err(RequestError::wrong_type("tools", "an array"));
    };
    if items.len() > TOOLS_MAX {
        return Err(RequestError::too_many("tools", items.len(), TOOLS_MAX));
    }
    let read = |(position, item)| {
        let mut fields = Fields::new(item, &format!("tools.{position}"))?;
        if fields.string("type")?.is_some_and(|kind| kind != "custom") {
            let message = "Only tools with a schema of their own are available here; Anthropic's are not.";
            return Err(RequestError::new(fields.param("type"), "unsupported_tool", message));
        }
        let name = fields.tool_name()?;
        let description = fields.string("description")?;
        let path = fields.param("input_schema");
        let schema = fields.take("input_schema").ok_or_else(|| RequestError::missing(&path))?;
        let mut function = json!({ "name": name, "parameters": schema });
        if let Some(description) = description {
            function["description"] = json!(description);
        }
        // `strict`, `cache_control` and their like.
        function
            .as_object_mut()
            .into_iter()
            .for_each(|function| function.extend(std::mem::take(&mut fields.map)));
        Ok(json!({ "type": "function", "function": function }))
    };
    items.into_iter().enumerate().map(read).collect()
}

/// The choice, and whether calls may stand side by side where it says so.
fn tool_choice(value: Value) -> Result<(Value, Option<bool>), RequestError> {
    let mut fields = Fields::new(value, "tool_choice")?;
    let parallel = fields.bool("disable_parallel_tool_use")?.map(|disabled| !disabled);
    let choice = match fields.string("type")?.as_deref() {
        Some("auto") => json!("auto"),
        Some("any") => json!("required"),
        Some("none") => json!("none"),
        Some("tool") => json!({ "type": "function", "function": { "name": fields.tool_name()? } }),
        _ => {
            let rule = "must be `auto`, `any`, `tool` or `none`.";
            return Err(RequestError::invalid("tool_choice.type", rule));
        }
    };
    Ok((choice, parallel))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
