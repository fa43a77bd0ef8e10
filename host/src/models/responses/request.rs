//! What a client of the responses dialect asks, in the words we go on with.
//!
//! The items become OpenAI's chat messages, which every agent and session here speaks: the reasoning, words and
//! calls of one turn are one message. Nothing is stored, so what names something stored (`previous_response_id`,
//! `conversation`, `item_reference`) is refused, and so are the tools that only OpenAI runs.

use crate::models::openai::request::{Fields, MESSAGES_MAX, PARTS_MAX, RequestError, TOOLS_MAX};
use crate::models::options::RESPONSES;
use crate::models::thought::{DETAILS, Maker, Thought};
use serde_json::{Map, Value, json};

/// Fields that mean the same in the chat dialect.
const SHARED: [&str; 6] = ["model", "stream", "temperature", "top_p", "agent", "session_id"];
/// Fields that ask for what is not there, with what to do instead.
const REFUSED: [(&str, &str); 5] = [
    ("previous_response_id", "Send the whole conversation in `input`, or name a session in `session_id`."),
    ("conversation", "Send the whole conversation in `input`, or name a session in `session_id`."),
    ("prompt", "Prompts kept at OpenAI are not available here; send the text."),
    ("n", "There is one response to a request."),
    ("max_tool_calls", "The tools it counts are not available here."),
];
/// Fields of a client's bookkeeping, and those that an answer only repeats.
const BOOKKEEPING: [&str; 4] = ["store", "client_metadata", "metadata", "stream_options"];
/// What may be asked to be included: the probability of each token. The rest that can be comes of tools that are not
/// offered, or always is.
pub(super) const LOGPROBS: &str = "message.output_text.logprobs";

/// The request as one of the chat dialect, and what its answer repeats of it.
pub fn to_chat(body: Value) -> Result<(Value, Echo), RequestError> {
    let mut fields = Fields::new(body, "")?;
    let echo = Echo::of(&fields.map);
    refuse_what_is_not_there(&mut fields)?;
    let mut chat = Map::new();
    for name in SHARED {
        if let Some(value) = fields.take(name) {
            chat.insert(name.to_owned(), value);
        }
    }
    say_logprobs(&mut fields, &mut chat)?;
    if let Some(max) = fields.take("max_output_tokens") {
        chat.insert("max_completion_tokens".into(), max);
    }
    let mut messages = Vec::new();
    if let Some(text) = fields.string("instructions")? {
        messages.push(json!({ "role": "system", "content": text }));
    }
    messages.extend(input(fields.take("input"))?);
    chat.insert("messages".into(), Value::Array(messages));
    if let Some(tools) = fields.take("tools") {
        let tools = self::tools(tools)?;
        if tools.as_array().is_some_and(|tools| !tools.is_empty()) {
            chat.insert("tools".into(), tools);
        }
    }
    if let Some(choice) = fields.take("tool_choice") {
        chat.insert("tool_choice".into(), tool_choice(choice)?);
    }
    if let Some(text) = fields.take("text") {
        say_text(Fields::new(text, "text")?, &mut chat)?;
    }
    let mut own = Map::new();
    if let Some(reasoning) = fields.take("reasoning") {
        let mut reasoning = Fields::new(reasoning, "reasoning")?;
        if let Some(effort) = reasoning.string("effort")? {
            chat.insert("reasoning_effort".into(), json!(effort));
        }
        reasoning.map.retain(|_, value| !value.is_null());
        if !reasoning.map.is_empty() {
            own.insert("reasoning".into(), Value::Object(reasoning.map));
        }
    }
    BOOKKEEPING.iter().for_each(|name| drop(fields.take(name)));
    fields.map.retain(|_, value| !value.is_null());
    for (name, value) in fields.map {
        chat.insert(name, value);
    }
    if !own.is_empty() {
        chat.insert(RESPONSES.into(), Value::Object(own));
    }
    Ok((Value::Object(chat), echo))
}

fn refuse_what_is_not_there(fields: &mut Fields) -> Result<(), RequestError> {
    let refuse = |param: &str, why: &str| {
        Err(RequestError::new(param, "unsupported_parameter", format!("`{param}` is not supported. {why}")))
    };
    for (name, instead) in REFUSED {
        if fields.take(name).is_some_and(|value| value != json!(0)) {
            return refuse(name, instead);
        }
    }
    if fields.bool("background")? == Some(true) {
        return refuse("background", "An answer is waited for.");
    }
    if fields.string("truncation")?.is_some_and(|word| word != "disabled") {
        return refuse("truncation", "A conversation that is too long is an error.");
    }
    Ok(())
}

/// Asking for the likeliest tokens asks for their probabilities.
fn say_logprobs(fields: &mut Fields, chat: &mut Map<String, Value>) -> Result<(), RequestError> {
    let included = match fields.take("include") {
        None => false,
        Some(Value::Array(wanted)) => wanted.contains(&json!(LOGPROBS)),
        Some(_) => return Err(RequestError::wrong_type("include", "an array of texts")),
    };
    let top = fields.take("top_logprobs").filter(|top| *top != json!(0));
    if included || top.is_some() {
        chat.insert("logprobs".into(), json!(true));
    }
    chat.extend(top.map(|top| ("top_logprobs".to_owned(), top)));
    Ok(())
}

fn say_text(mut text: Fields, chat: &mut Map<String, Value>) -> Result<(), RequestError> {
    if let Some(verbosity) = text.take("verbosity") {
        chat.insert("verbosity".into(), verbosity);
    }
    let Some(format) = text.take("format") else { return Ok(()) };
    let mut format = Fields::new(format, "text.format")?;
    let kind = format.string("type")?.unwrap_or_default();
    let said = match kind.as_str() {
        "text" => return Ok(()),
        "json_object" => json!({ "type": "json_object" }),
        "json_schema" => {
            format.map.retain(|_, value| !value.is_null());
            json!({ "type": "json_schema", "json_schema": format.map })
        }
        _ => {
            let rule = "must be `text`, `json_object` or `json_schema`.";
            return Err(RequestError::invalid("text.format.type", rule));
        }
    };
    chat.insert("response_format".into(), said);
    Ok(())
}

/// The messages of an input; a text alone is the user's.
fn input(value: Option<Value>) -> Result<Vec<Value>, RequestError> {
    let items = match value {
        None => return Err(RequestError::missing("input")),
        Some(text @ Value::String(_)) => return Ok(vec![json!({ "role": "user", "content": text })]),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(RequestError::wrong_type("input", "text or an array of items")),
    };
    if items.is_empty() {
        return Err(RequestError::invalid("input", "must hold at least one item."));
    }
    if items.len() > MESSAGES_MAX {
        return Err(RequestError::too_many("input", items.len(), MESSAGES_MAX));
    }
    let mut conversation = Conversation::default();
    for (position, item) in items.into_iter().enumerate() {
        conversation.add(Fields::new(item, &format!("input[{position}]"))?)?;
    }
    Ok(conversation.end())
}

/// Messages, the assistant's turn of which is put together from several items.
#[derive(Default)]
struct Conversation {
    messages: Vec<Value>,
    turn: Option<Turn>,
}

#[derive(Default)]
struct Turn {
    parts: Vec<Value>,
    calls: Vec<Value>,
    thoughts: Vec<Thought>,
    words: String,
}

impl Conversation {
    fn add(&mut self, mut item: Fields) -> Result<(), RequestError> {
        let kind = item.string("type")?.unwrap_or_else(|| "message".to_owned());
        match kind.as_str() {
            "message" => self.add_message(item),
            "function_call" => {
                let call = call(item)?;
                self.turn().calls.push(call);
                Ok(())
            }
            "reasoning" => self.add_reasoning(item),
            "function_call_output" => {
                let message = output(item)?;
                self.end_turn();
                self.messages.push(message);
                Ok(())
            }
            kind => {
                let message = format!("An item of type `{kind}` is not supported here.");
                Err(RequestError::new(item.param("type"), "unsupported_input", message))
            }
        }
    }

    fn add_message(&mut self, mut item: Fields) -> Result<(), RequestError> {
        let role = item.string("role")?.ok_or_else(|| RequestError::missing(&item.param("role")))?;
        if !["user", "assistant", "system", "developer"].contains(&role.as_str()) {
            let rule = "must be `user`, `assistant`, `system` or `developer`.";
            return Err(RequestError::invalid(&item.param("role"), rule));
        }
        let path = item.param("content");
        let parts = match item.take("content") {
            None => return Err(RequestError::missing(&path)),
            Some(text @ Value::String(_)) => vec![json!({ "type": "text", "text": text })],
            Some(Value::Array(parts)) => self::parts(parts, &path)?,
            Some(_) => return Err(RequestError::wrong_type(&path, "text or an array of content parts")),
        };
        if role == "assistant" {
            self.turn().parts.extend(parts);
            return Ok(());
        }
        self.end_turn();
        self.messages.push(json!({ "role": role, "content": plain(parts) }));
        Ok(())
    }

    fn add_reasoning(&mut self, mut item: Fields) -> Result<(), RequestError> {
        let id = item.string("id")?;
        let texts = |list: Option<Value>| {
            let list = list.and_then(|list| list.as_array().cloned()).unwrap_or_default();
            let texts: Vec<String> =
                list.iter().filter_map(|part| part["text"].as_str().map(str::to_owned)).collect();
            texts.join("\n\n")
        };
        let (summary, content) = (texts(item.take("summary")), texts(item.take("content")));
        let seal = item.string("encrypted_content")?.filter(|seal| !seal.is_empty());
        let turn = self.turn();
        turn.words.push_str(if summary.is_empty() { &content } else { &summary });
        if let Some(seal) = seal {
            let own = Thought { id, text: summary, ..Thought::sealed(Maker::OpenAi, &seal) };
            turn.thoughts.push(Thought::from_opaque(&seal).unwrap_or(own));
        }
        Ok(())
    }

    fn turn(&mut self) -> &mut Turn {
        self.turn.get_or_insert_default()
    }

    fn end_turn(&mut self) {
        let Some(mut turn) = self.turn.take() else { return };
        turn.give_signatures();
        let mut message = json!({ "role": "assistant", "content": plain(turn.parts) });
        if !turn.calls.is_empty() {
            message["tool_calls"] = Value::Array(turn.calls);
        }
        if !turn.words.is_empty() {
            message["reasoning_content"] = json!(turn.words);
        }
        if !turn.thoughts.is_empty() {
            message[DETAILS] = turn.thoughts.iter().map(Thought::to_detail).collect();
        }
        self.messages.push(message);
    }

    fn end(mut self) -> Vec<Value> {
        self.end_turn();
        self.messages
    }
}

impl Turn {
    /// Google's signature of a call came as reasoning that names the call: it goes back onto it.
    fn give_signatures(&mut self) {
        let calls = &mut self.calls;
        self.thoughts.retain(|thought| {
            let is_of =
                |call: &&mut Value| thought.id.is_some() && call["id"].as_str() == thought.id.as_deref();
            let named = calls.iter_mut().find(is_of).filter(|_| thought.maker == Maker::Google);
            let is_of_a_call = named.is_some();
            if let Some(call) = named {
                call["extra_content"] = json!({ "google": { "thought_signature": thought.seal } });
            }
            !is_of_a_call
        });
    }
}

/// A text alone is a text; nothing is an empty one.
fn plain(parts: Vec<Value>) -> Value {
    match parts.as_slice() {
        [] => json!(""),
        [part] if part["type"] == "text" => part["text"].clone(),
        _ => Value::Array(parts),
    }
}

fn parts(parts: Vec<Value>, path: &str) -> Result<Vec<Value>, RequestError> {
    if parts.len() > PARTS_MAX {
        return Err(RequestError::too_many(path, parts.len(), PARTS_MAX));
    }
    let read = |(position, value)| part(Fields::new(value, &format!("{path}[{position}]"))?);
    parts.into_iter().enumerate().map(read).collect()
}

fn part(mut fields: Fields) -> Result<Value, RequestError> {
    let kind = fields.string("type")?.unwrap_or_default();
    let mut text = |name: &str| {
        let param = fields.param(name);
        fields.string(name)?.ok_or_else(|| RequestError::missing(&param))
    };
    match kind.as_str() {
        "input_text" | "output_text" | "text" => Ok(json!({ "type": "text", "text": text("text")? })),
        "refusal" => Ok(json!({ "type": "refusal", "refusal": text("refusal")? })),
        "input_image" => {
            let mut image = json!({ "url": text("image_url")? });
            if let Some(detail) = fields.take("detail") {
                image["detail"] = detail;
            }
            Ok(json!({ "type": "image_url", "image_url": image }))
        }
        "input_file" => {
            let mut file = Map::new();
            for name in ["file_data", "filename", "file_id"] {
                file.extend(fields.take(name).map(|value| (name.to_owned(), value)));
            }
            if let Some(url) = fields.take("file_url") {
                file.insert("file_data".into(), url);
            }
            Ok(json!({ "type": "file", "file": file }))
        }
        "input_audio" => Ok(json!({ "type": "input_audio", "input_audio": fields.take("input_audio") })),
        kind => {
            let message = format!("A content part of type `{kind}` is not supported here.");
            Err(RequestError::new(fields.param("type"), "unsupported_input", message))
        }
    }
}

fn call(mut item: Fields) -> Result<Value, RequestError> {
    let id = item.string("call_id")?.ok_or_else(|| RequestError::missing(&item.param("call_id")))?;
    let name = item.tool_name()?;
    let arguments = item.string("arguments")?.unwrap_or_default();
    Ok(json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } }))
}

fn output(mut item: Fields) -> Result<Value, RequestError> {
    let id = item.string("call_id")?.ok_or_else(|| RequestError::missing(&item.param("call_id")))?;
    let path = item.param("output");
    let content = match item.take("output") {
        None => json!(""),
        Some(text @ Value::String(_)) => text,
        Some(Value::Array(parts)) => plain(self::parts(parts, &path)?),
        Some(_) => return Err(RequestError::wrong_type(&path, "text or an array of content parts")),
    };
    Ok(json!({ "role": "tool", "tool_call_id": id, "content": content }))
}

fn tools(value: Value) -> Result<Value, RequestError> {
    let Value::Array(items) = value else {
        return Err(RequestError::wrong_type("tools", "an array"));
    };
    if items.len() > TOOLS_MAX {
        return Err(RequestError::too_many("tools", items.len(), TOOLS_MAX));
    }
    let read = |(position, item)| {
        let mut fields = Fields::new(item, &format!("tools[{position}]"))?;
        if fields.string("type")?.as_deref() != Some("function") {
            let message = "Only tools of type `function` are available here.";
            return Err(RequestError::new(fields.param("type"), "unsupported_tool", message));
        }
        fields.map.retain(|_, value| !value.is_null());
        Ok(json!({ "type": "function", "function": fields.map }))
    };
    items.into_iter().enumerate().map(read).collect()
}

fn tool_choice(value: Value) -> Result<Value, RequestError> {
    if value.is_string() {
        return Ok(value);
    }
    let mut fields = Fields::new(value, "tool_choice")?;
    if fields.string("type")?.as_deref() != Some("function") {
        let rule = "must be `none`, `auto`, `required` or {\"type\": \"function\", \"name\": …}.";
        return Err(RequestError::invalid("tool_choice", rule));
    }
    Ok(json!({ "type": "function", "function": { "name": fields.tool_name()? } }))
}

/// What an answer repeats of its request.
#[derive(Debug, Clone, PartialEq)]
pub struct Echo(pub(super) Map<String, Value>);

impl Echo {
    fn of(request: &Map<String, Value>) -> Self {
        let default = [
            ("instructions", Value::Null),
            ("max_output_tokens", Value::Null),
            ("metadata", json!({})),
            ("parallel_tool_calls", json!(true)),
            ("reasoning", json!({ "effort": null, "summary": null })),
            ("temperature", json!(1.0)),
            ("text", json!({ "format": { "type": "text" } })),
            ("tool_choice", json!("auto")),
            ("tools", json!([])),
            ("top_p", json!(1.0)),
            ("user", Value::Null),
        ];
        let said = |name: &str| request.get(name).filter(|value| !value.is_null()).cloned();
        Self(
            default.into_iter().map(|(name, value)| (name.to_owned(), said(name).unwrap_or(value))).collect(),
        )
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
