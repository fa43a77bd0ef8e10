//! A chat request on its way to Anthropic.
//!
//! Anthropic wants turns that alternate, all results of a turn's tools first in one user message, arguments as
//! objects, no empty text, and thinking before everything else of its turn.

use crate::models::media::{self, Media};
use crate::models::openai::request::{ChatRequest, Content, Message, RequestError, Role, Tool, ToolChoice};
use crate::models::options::{ANTHROPIC, Effort, Format, Options};
use crate::models::thought::{Maker, Thought};
use serde_json::{Map, Value, json};

/// What a model may write where nobody said: Anthropic wants a number, and every model it has can write this.
const MAX_TOKENS_DEFAULT: u64 = 8_192;
/// The highest temperature Anthropic takes.
const TEMPERATURE_MAX: f64 = 1.0;
/// Words of OpenAI's that change an answer and have no like here.
const WITHOUT_LIKE: [&str; 6] =
    ["logit_bias", "presence_penalty", "frequency_penalty", "prediction", "web_search_options", "top_a"];
/// What is typed in our request: nothing beside it may set it.
const TYPED: [&str; 9] = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "max_tokens",
    "stop_sequences",
    "temperature",
    "top_p",
];

/// The body to send. `model` is Anthropic's own name for the model.
pub fn body(model: &str, request: &ChatRequest) -> Result<Value, RequestError> {
    request.refuse_more_than_one_answer("Anthropic")?;
    let (mut options, own) = Options::with_own(request, ANTHROPIC)?;
    let mut body = Map::new();
    let parallel = options.take("parallel_tool_calls");
    say_effort(&mut body, options.take_effort());
    say_format(&mut body, options.take_format()?)?;
    if let Some(user) = options.take("user").filter(|user| user.is_string()) {
        body.insert("metadata".into(), json!({ "user_id": user }));
    }
    options.refuse(&WITHOUT_LIKE, "Anthropic")?;
    options.drop_bookkeeping();
    drop(options.take("seed")); // the same answer twice is more than anybody promises
    body.extend(options.into_rest());
    for (name, value) in own {
        match (body.get_mut(&name), value) {
            (Some(Value::Object(ours)), Value::Object(theirs)) => ours.extend(theirs),
            (_, value) => drop(body.insert(name, value)),
        }
    }
    TYPED.iter().for_each(|name| drop(body.remove(*name)));

    body.insert("model".into(), json!(model));
    body.insert("stream".into(), json!(true));
    body.insert("max_tokens".into(), json!(request.output_tokens_max().unwrap_or(MAX_TOKENS_DEFAULT)));
    let system = system(&request.messages);
    if !system.is_empty() {
        body.insert("system".into(), Value::Array(system));
    }
    body.insert("messages".into(), Value::Array(turns(&request.messages)?));
    if !request.tools.is_empty() {
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
        if let Some(choice) = choice(request.tool_choice.as_ref(), parallel.as_ref()) {
            body.insert("tool_choice".into(), choice);
        }
    }
    if let Some(temperature) = request.temperature {
        if temperature > TEMPERATURE_MAX {
            let message = "Anthropic models take a `temperature` of 0 to 1.";
            return Err(RequestError::new("temperature", "unsupported_value", message));
        }
        body.insert("temperature".into(), json!(temperature));
    }
    if let Some(top_p) = request.top_p {
        body.insert("top_p".into(), json!(top_p));
    }
    if !request.stop.is_empty() {
        body.insert("stop_sequences".into(), json!(request.stop));
    }
    Ok(Value::Object(body))
}

/// The model decides for itself when to think, and an effort how much; a budget is for whoever says
/// `thinking` in Anthropic's own words.
fn say_effort(body: &mut Map<String, Value>, effort: Option<Effort>) {
    match effort {
        None => {}
        Some(Effort::Off) => drop(body.insert("thinking".into(), json!({ "type": "disabled" }))),
        Some(Effort::As(word)) => {
            let word = if word == "minimal" { "low" } else { word.as_str() };
            body.insert("thinking".into(), json!({ "type": "adaptive" }));
            body.insert("output_config".into(), json!({ "effort": word }));
        }
    }
}

fn say_format(body: &mut Map<String, Value>, format: Option<Format>) -> Result<(), RequestError> {
    match format {
        None | Some(Format::Text) => Ok(()),
        Some(Format::JsonObject) => Err(RequestError::new(
            "response_format",
            "unsupported_value",
            "Anthropic models write JSON of a schema only: use `json_schema`.",
        )),
        Some(Format::JsonSchema { schema, .. }) => {
            let config = body.entry("output_config").or_insert_with(|| json!({}));
            config["format"] = json!({ "type": "json_schema", "schema": schema });
            Ok(())
        }
    }
}

fn system(messages: &[Message]) -> Vec<Value> {
    let said = messages.iter().filter(|message| matches!(message.role, Role::System | Role::Developer));
    said.flat_map(|message| match &message.content {
        Some(Content::Text(text)) => block_of_text(text, None).into_iter().collect::<Vec<_>>(),
        Some(Content::Parts(parts)) => parts.iter().filter_map(text_block).collect(),
        None => Vec::new(),
    })
    .collect()
}

/// The conversation in turns that alternate.
fn turns(messages: &[Message]) -> Result<Vec<Value>, RequestError> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for (position, message) in messages.iter().enumerate() {
        let (role, blocks) = match message.role {
            Role::System | Role::Developer => continue,
            Role::User => ("user", content(message, position)?),
            Role::Assistant => ("assistant", said(message, position)?),
            Role::Tool => ("user", vec![result(message, position)?]),
        };
        match turns.last_mut() {
            Some((last, all)) if *last == role => all.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    let turns = turns.into_iter().filter(|(_, blocks)| !blocks.is_empty());
    Ok(turns.map(|(role, blocks)| json!({ "role": role, "content": results_first(blocks) })).collect())
}

/// Results of tools stand before what the user says to them.
fn results_first(blocks: Vec<Value>) -> Vec<Value> {
    let (results, others): (Vec<_>, Vec<_>) =
        blocks.into_iter().partition(|block| block["type"] == "tool_result");
    [results, others].concat()
}

fn said(message: &Message, position: usize) -> Result<Vec<Value>, RequestError> {
    let mut blocks: Vec<Value> =
        Thought::of_message(message, Maker::Anthropic).iter().map(thought_block).collect();
    blocks.extend(content(message, position)?);
    for call in &message.tool_calls {
        // What the model wrote stands in the error it got; Anthropic takes objects alone.
        let input: Map<String, Value> = serde_json::from_str(&call.arguments).unwrap_or_default();
        let mut block = json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input });
        copy_cache_control(&call.rest, &mut block);
        blocks.push(block);
    }
    Ok(blocks)
}

fn thought_block(thought: &Thought) -> Value {
    if thought.redacted {
        json!({ "type": "redacted_thinking", "data": thought.seal })
    } else {
        json!({ "type": "thinking", "thinking": thought.text, "signature": thought.seal })
    }
}

fn result(message: &Message, position: usize) -> Result<Value, RequestError> {
    let mut block = json!({ "type": "tool_result", "tool_use_id": message.tool_call_id });
    let blocks = content(message, position)?;
    if !blocks.is_empty() {
        block["content"] = Value::Array(blocks);
    }
    if message.rest.get("is_error") == Some(&json!(true)) {
        block["is_error"] = json!(true);
    }
    copy_cache_control(&message.rest, &mut block);
    Ok(block)
}

fn content(message: &Message, position: usize) -> Result<Vec<Value>, RequestError> {
    match &message.content {
        None => Ok(Vec::new()),
        Some(Content::Text(text)) => Ok(block_of_text(text, None).into_iter().collect()),
        Some(Content::Parts(parts)) => {
            let blocks = parts.iter().map(|part| match media::text_of(part) {
                Some(_) => Ok(text_block(part)),
                None => media_block(part, position).map(Some),
            });
            Ok(blocks.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
    }
}

fn text_block(part: &Map<String, Value>) -> Option<Value> {
    block_of_text(media::text_of(part)?, Some(part))
}

fn block_of_text(text: &str, part: Option<&Map<String, Value>>) -> Option<Value> {
    if text.is_empty() {
        return None; // Anthropic refuses it
    }
    let mut block = json!({ "type": "text", "text": text });
    if let Some(part) = part {
        copy_cache_control(part, &mut block);
    }
    Some(block)
}

fn media_block(part: &Map<String, Value>, position: usize) -> Result<Value, RequestError> {
    let unsupported = || media::unsupported(position, part, "Anthropic");
    let is_image = part.get("type") == Some(&json!("image_url"));
    let source = match Media::of_part(part).ok_or_else(unsupported)? {
        Media::Inline { mime, .. } if mime.starts_with("audio/") => return Err(unsupported()),
        Media::Inline { mime, data } => json!({ "type": "base64", "media_type": mime, "data": data }),
        Media::Url(url) => json!({ "type": "url", "url": url }),
        Media::FileId(id) => json!({ "type": "file", "file_id": id }),
    };
    let mut block = json!({ "type": if is_image { "image" } else { "document" }, "source": source });
    if let Some(name) = part.get("file").and_then(|file| file.get("filename")) {
        block["title"] = name.clone();
    }
    copy_cache_control(part, &mut block);
    Ok(block)
}

fn copy_cache_control(from: &Map<String, Value>, block: &mut Value) {
    if let Some(control) = from.get("cache_control") {
        block["cache_control"] = control.clone();
    }
}

fn tool(tool: &Tool) -> Value {
    let mut value = Value::Object(tool.rest.clone());
    value["name"] = json!(tool.name);
    if let Some(description) = &tool.description {
        value["description"] = json!(description);
    }
    value["input_schema"] = Value::Object(tool.parameters.clone());
    value
}

fn choice(choice: Option<&ToolChoice>, parallel: Option<&Value>) -> Option<Value> {
    let one_at_a_time = parallel == Some(&json!(false));
    let mut value = match choice {
        None if one_at_a_time => json!({ "type": "auto" }),
        None => return None,
        Some(ToolChoice::Auto) => json!({ "type": "auto" }),
        Some(ToolChoice::None) => return Some(json!({ "type": "none" })),
        Some(ToolChoice::Required) => json!({ "type": "any" }),
        Some(ToolChoice::Function(name)) => json!({ "type": "tool", "name": name }),
    };
    if one_at_a_time {
        value["disable_parallel_tool_use"] = json!(true);
    }
    Some(value)
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
