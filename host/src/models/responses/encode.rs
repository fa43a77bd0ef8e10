//! A chat request on its way to a provider of OpenAI's responses dialect.
//!
//! Always streamed, never stored, and always with the reasoning in encrypted form, which is the only way it can
//! come back with the next request.

use super::request::LOGPROBS;
use crate::models::media::{self, Media};
use crate::models::openai::request::{ChatRequest, Content, Message, RequestError, Role, Tool, ToolChoice};
use crate::models::options::{Effort, Format, Options, RESPONSES};
use crate::models::thought::{Maker, Thought};
use serde_json::{Map, Value, json};

/// Words of the chat dialect that change an answer and have no like here.
const WITHOUT_LIKE: [&str; 5] =
    ["logit_bias", "presence_penalty", "frequency_penalty", "prediction", "web_search_options"];
/// What is typed in our request: nothing beside it may set it.
const TYPED: [&str; 10] = [
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "max_output_tokens",
    "top_logprobs",
    "temperature",
    "top_p",
    "previous_response_id",
];

/// The body to send. `model` is the provider's own name for the model.
pub fn body(model: &str, request: &ChatRequest) -> Result<Value, RequestError> {
    request.refuse_choices("OpenAI's responses")?;
    let (mut options, own) = Options::with_own(request, RESPONSES)?;
    let mut text = Map::new();
    match options.take_format()? {
        None | Some(Format::Text) => {}
        Some(Format::JsonObject) => drop(text.insert("format".into(), json!({ "type": "json_object" }))),
        Some(Format::JsonSchema { name, schema, strict }) => {
            let format = json!({ "type": "json_schema", "name": name, "schema": schema, "strict": strict });
            text.insert("format".into(), format);
        }
    }
    text.extend(options.take("verbosity").map(|verbosity| ("verbosity".to_owned(), verbosity)));
    let effort = options.take_effort();
    if !request.stop.is_empty() {
        let message = "The responses dialect has no stop sequences; leave `stop` out.";
        return Err(RequestError::new("stop", "unsupported_parameter", message));
    }
    options.refuse(&WITHOUT_LIKE, "OpenAI's responses")?;
    for name in ["seed", "stream_options"] {
        drop(options.take(name)); // nothing of an answer depends on them here
    }
    let parallel = options.take("parallel_tool_calls");
    let mut body = options.into_rest();
    body.extend(own);
    TYPED.iter().for_each(|name| drop(body.remove(*name)));

    if let Some(effort) = effort {
        let word = match effort {
            Effort::Off => "none".to_owned(),
            Effort::As(word) => word,
        };
        let reasoning = body.entry("reasoning").or_insert_with(|| json!({}));
        if let Some(reasoning) = reasoning.as_object_mut() {
            reasoning.insert("effort".into(), json!(word));
        }
    }
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    set("model", Some(json!(model)));
    set("stream", Some(json!(true)));
    set("store", Some(json!(false)));
    let mut include = vec!["reasoning.encrypted_content"];
    include.extend(request.logprobs.map(|_| LOGPROBS));
    set("include", Some(json!(include)));
    set("top_logprobs", request.logprobs.filter(|top| *top > 0).map(|top| json!(top)));
    set("input", Some(Value::Array(input(&request.messages)?)));
    set("text", (!text.is_empty()).then_some(Value::Object(text)));
    set("max_output_tokens", request.output_tokens_max().map(|max| json!(max)));
    set("temperature", request.temperature.map(|number| json!(number)));
    set("top_p", request.top_p.map(|number| json!(number)));
    if !request.tools.is_empty() {
        set("tools", Some(request.tools.iter().map(tool).collect()));
        set("tool_choice", request.tool_choice.as_ref().map(choice));
        set("parallel_tool_calls", parallel);
    }
    Ok(Value::Object(body))
}

fn input(messages: &[Message]) -> Result<Vec<Value>, RequestError> {
    let mut items = Vec::new();
    for (position, message) in messages.iter().enumerate() {
        match message.role {
            Role::System | Role::Developer | Role::User => {
                let content = content(message, position)?;
                items.push(json!({ "type": "message", "role": message.role.as_str(), "content": content }));
            }
            Role::Assistant => said(message, &mut items),
            Role::Tool => items.push(output(message, position)?),
        }
    }
    Ok(items)
}

fn said(message: &Message, items: &mut Vec<Value>) {
    for thought in Thought::of_message(message, Maker::OpenAi) {
        let summary: Vec<Value> = summary(&thought.text).collect();
        let mut item = json!({ "type": "reasoning", "summary": summary, "encrypted_content": thought.seal });
        if let Some(id) = &thought.id {
            item["id"] = json!(id);
        }
        items.push(item);
    }
    let content = spoken(message);
    if !content.is_empty() {
        items.push(json!({ "type": "message", "role": "assistant", "content": content }));
    }
    items.extend(message.tool_calls.iter().map(|call| {
        json!({ "type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments })
    }));
}

/// The parts of a summary.
pub(super) fn summary(text: &str) -> impl Iterator<Item = Value> {
    (!text.is_empty()).then(|| json!({ "type": "summary_text", "text": text })).into_iter()
}

fn spoken(message: &Message) -> Vec<Value> {
    let text = |text: &str| json!({ "type": "output_text", "text": text });
    let mut content = match &message.content {
        Some(Content::Text(said)) if !said.is_empty() => vec![text(said)],
        Some(Content::Parts(parts)) => {
            let refusal = |part: &Map<String, Value>| {
                let said = part.get("refusal")?.as_str()?;
                Some(json!({ "type": "refusal", "refusal": said }))
            };
            let said = parts.iter().filter(|part| media::text_of(part) != Some(""));
            said.filter_map(|part| refusal(part).or_else(|| media::text_of(part).map(text))).collect()
        }
        _ => Vec::new(),
    };
    let refusal = message.rest.get("refusal").filter(|refusal| refusal.is_string());
    content.extend(refusal.map(|refusal| json!({ "type": "refusal", "refusal": refusal })));
    content
}

fn output(message: &Message, position: usize) -> Result<Value, RequestError> {
    let output = match &message.content {
        Some(Content::Parts(parts)) if parts.iter().any(|part| media::text_of(part).is_none()) => {
            Value::Array(content(message, position)?)
        }
        _ => json!(message.plain_text()),
    };
    Ok(json!({ "type": "function_call_output", "call_id": message.tool_call_id, "output": output }))
}

fn content(message: &Message, position: usize) -> Result<Vec<Value>, RequestError> {
    match &message.content {
        None => Ok(Vec::new()),
        Some(Content::Text(text)) => Ok(vec![json!({ "type": "input_text", "text": text })]),
        Some(Content::Parts(parts)) => parts.iter().map(|part| self::part(part, position)).collect(),
    }
}

fn part(part: &Map<String, Value>, position: usize) -> Result<Value, RequestError> {
    if let Some(text) = media::text_of(part) {
        return Ok(json!({ "type": "input_text", "text": text }));
    }
    let inner = |name: &str| part.get(name).cloned().unwrap_or_default();
    match part.get("type").and_then(Value::as_str).unwrap_or_default() {
        "image_url" => {
            let image = inner("image_url");
            let detail = image.get("detail").cloned().unwrap_or_else(|| json!("auto"));
            Ok(json!({ "type": "input_image", "image_url": image["url"], "detail": detail }))
        }
        "input_audio" => Ok(json!({ "type": "input_audio", "input_audio": inner("input_audio") })),
        "file" => {
            let mut item = json!({ "type": "input_file" });
            match Media::of_part(part) {
                Some(Media::Url(url)) => item["file_url"] = json!(url),
                Some(Media::FileId(id)) => item["file_id"] = json!(id),
                Some(Media::Inline { .. }) => {
                    item["file_data"] = inner("file")["file_data"].clone();
                    item["filename"] = inner("file").get("filename").cloned().unwrap_or(json!("file"));
                }
                None => return Err(media::unsupported(position, part, "OpenAI's responses")),
            }
            Ok(item)
        }
        _ => Err(media::unsupported(position, part, "OpenAI's responses")),
    }
}

fn tool(tool: &Tool) -> Value {
    let mut value = Value::Object(tool.rest.clone());
    if let Some(fields) = value.as_object_mut() {
        fields.remove("cache_control");
        // Strict unless told, here; the chat dialect is the other way round.
        fields.entry("strict").or_insert(json!(false));
    }
    value["type"] = json!("function");
    value["name"] = json!(tool.name);
    if let Some(description) = &tool.description {
        value["description"] = json!(description);
    }
    value["parameters"] = Value::Object(tool.parameters.clone());
    value
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Function(name) => json!({ "type": "function", "name": name }),
        other => other.to_value(),
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
