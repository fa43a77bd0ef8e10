//! A chat request on its way to Google.
//!
//! Google wants turns that alternate, an answer for each call in the order of the calls, objects on both sides
//! of a call, and every signature on the very part it came with: never invented, never moved.

use crate::models::media::{self, Media};
use crate::models::openai::request::{
    ChatRequest, Content, Message, RequestError, Role, Tool, ToolCall, ToolChoice,
};
use crate::models::options::{Effort, Format, GOOGLE, Options};
use crate::models::stream::is_made_up;
use crate::models::thought::{Maker, Thought};
use serde_json::{Map, Value, json};

/// Words of OpenAI's that change an answer and have no like here.
const WITHOUT_LIKE: [&str; 3] = ["logit_bias", "prediction", "web_search_options"];
/// What is typed in our request: nothing beside it may set it.
const TYPED: [&str; 5] = ["model", "contents", "systemInstruction", "tools", "toolConfig"];
/// Models of this family take a budget of tokens to think with; later ones take a level.
const BUDGET_FAMILY: &str = "gemini-2";
/// What an effort is to a model that takes a budget, in tokens: Google's own numbers.
const BUDGETS: [(&str, u64); 3] = [("minimal", 1_024), ("low", 1_024), ("medium", 8_192)];
/// The budget of the efforts above.
const BUDGET_MAX: u64 = 24_576;
/// Members of a schema that describe the schema itself: not part of what Google reads.
const ABOUT_A_SCHEMA: [&str; 3] = ["$schema", "$id", "$comment"];

/// The body to send; `model` is Google's own name for the model.
pub fn body(model: &str, request: &ChatRequest) -> Result<Value, RequestError> {
    request.refuse_more_than_one_answer("Google")?;
    let (mut options, mut own) = Options::with_own(request, GOOGLE)?;
    let config = generation_config(model, request, &mut options)?;
    if options.take("parallel_tool_calls") == Some(json!(false)) {
        let message = "Google models cannot be held to one call at a time; leave `parallel_tool_calls` out.";
        return Err(RequestError::new("parallel_tool_calls", "unsupported_value", message));
    }
    options.refuse(&WITHOUT_LIKE, "Google")?;
    options.drop_bookkeeping();
    let own_config = own.remove("generationConfig");
    let mut body = options.into_rest();
    body.extend(own);
    TYPED.iter().for_each(|name| drop(body.remove(*name)));

    body.insert("contents".into(), Value::Array(turns(&request.messages)?));
    let system = system(&request.messages);
    if !system.is_empty() {
        body.insert("systemInstruction".into(), json!({ "parts": system }));
    }
    if !request.tools.is_empty() {
        let declared: Vec<Value> = request.tools.iter().map(declaration).collect();
        body.insert("tools".into(), json!([{ "functionDeclarations": declared }]));
        if let Some(choice) = &request.tool_choice {
            body.insert("toolConfig".into(), json!({ "functionCallingConfig": self::choice(choice) }));
        }
    }
    let mut merged = match own_config {
        Some(Value::Object(own)) => own,
        _ => Map::new(),
    };
    merged.extend(config);
    if !merged.is_empty() {
        body.insert("generationConfig".into(), Value::Object(merged));
    }
    Ok(Value::Object(body))
}

fn generation_config(
    model: &str,
    request: &ChatRequest,
    options: &mut Options,
) -> Result<Map<String, Value>, RequestError> {
    let mut config = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(name.to_owned(), value);
        }
    };
    set("temperature", request.temperature.map(|number| json!(number)));
    set("topP", request.top_p.map(|number| json!(number)));
    set("topK", options.take("top_k"));
    set("seed", options.take("seed"));
    set("presencePenalty", options.take("presence_penalty"));
    set("frequencyPenalty", options.take("frequency_penalty"));
    set("maxOutputTokens", request.output_tokens_max().map(|max| json!(max)));
    set("stopSequences", (!request.stop.is_empty()).then(|| json!(request.stop)));
    set("thinkingConfig", options.take_effort().map(|effort| thinking(model, &effort)));
    match options.take_format()? {
        None | Some(Format::Text) => {}
        Some(Format::JsonObject) => set("responseMimeType", Some(json!("application/json"))),
        Some(Format::JsonSchema { schema, .. }) => {
            set("responseMimeType", Some(json!("application/json")));
            set("responseJsonSchema", Some(cleaned(schema)));
        }
    }
    Ok(config)
}

fn thinking(model: &str, effort: &Effort) -> Value {
    let word = match effort {
        Effort::Off => return json!({ "thinkingBudget": 0 }),
        Effort::As(word) => word.as_str(),
    };
    if model.contains(BUDGET_FAMILY) {
        let budget = BUDGETS.iter().find(|(name, _)| *name == word).map_or(BUDGET_MAX, |(_, budget)| *budget);
        return json!({ "includeThoughts": true, "thinkingBudget": budget });
    }
    let level = match word {
        "minimal" | "low" | "medium" => word,
        _ => "high",
    };
    json!({ "includeThoughts": true, "thinkingLevel": level })
}

fn system(messages: &[Message]) -> Vec<Value> {
    let said = messages.iter().filter(|message| matches!(message.role, Role::System | Role::Developer));
    said.map(Message::plain_text)
        .filter(|text| !text.is_empty())
        .map(|text| json!({ "text": text }))
        .collect()
}

/// The conversation in turns that alternate.
fn turns(messages: &[Message]) -> Result<Vec<Value>, RequestError> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    let mut add = |role: &'static str, parts: Vec<Value>| match turns.last_mut() {
        Some((last, all)) if *last == role => all.extend(parts),
        _ => turns.push((role, parts)),
    };
    let mut position = 0;
    while let Some(message) = messages.get(position) {
        match message.role {
            Role::System | Role::Developer => {}
            Role::User => add("user", content(message, position)?),
            Role::Assistant => {
                add("model", said(message, position)?);
                let answers =
                    messages[position + 1..].iter().take_while(|message| message.role == Role::Tool);
                let answers: Vec<&Message> = answers.collect();
                if !message.tool_calls.is_empty() {
                    add("user", results(&message.tool_calls, &answers, position)?);
                }
                position += answers.len();
            }
            Role::Tool => return Err(stray(position)),
        }
        position += 1;
    }
    let turns = turns.into_iter().filter(|(_, parts)| !parts.is_empty());
    Ok(turns.map(|(role, parts)| json!({ "role": role, "parts": parts })).collect())
}

fn stray(position: usize) -> RequestError {
    let rule = "must follow the message whose call it answers.";
    RequestError::invalid(&format!("messages[{position}]"), rule)
}

fn said(message: &Message, position: usize) -> Result<Vec<Value>, RequestError> {
    let mut parts = content(message, position)?;
    for thought in Thought::of_message(message, Maker::Google) {
        sign(&mut parts, &thought);
    }
    for call in &message.tool_calls {
        let args: Map<String, Value> = serde_json::from_str(&call.arguments).unwrap_or_default();
        let mut inner = json!({ "name": call.name, "args": args });
        if !is_made_up(&call.id) {
            inner["id"] = json!(call.id);
        }
        let mut part = json!({ "functionCall": inner });
        let extra = call.rest.get("extra_content");
        if let Some(seal) = extra.and_then(|extra| extra.pointer("/google/thought_signature")) {
            part["thoughtSignature"] = seal.clone();
        }
        parts.push(part);
    }
    Ok(parts)
}

/// Puts a signature on the text it came with: the end of what was said, or nothing at all.
fn sign(parts: &mut Vec<Value>, thought: &Thought) {
    let last = parts.last_mut().and_then(|part| part.get_mut("text"));
    if let Some(Value::String(text)) = last
        && !thought.text.is_empty()
        && let Some(before) = text.strip_suffix(&thought.text)
    {
        let before = before.to_owned();
        parts.pop();
        if !before.is_empty() {
            parts.push(json!({ "text": before }));
        }
        parts.push(json!({ "text": thought.text, "thoughtSignature": thought.seal }));
    } else {
        parts.push(json!({ "text": "", "thoughtSignature": thought.seal }));
    }
}

/// An answer for each call, in the order of the calls; then what the answers hold beside text.
fn results(calls: &[ToolCall], answers: &[&Message], position: usize) -> Result<Vec<Value>, RequestError> {
    let mut parts = Vec::with_capacity(calls.len());
    let mut media = Vec::new();
    for call in calls {
        let answer = answers.iter().find(|answer| answer.tool_call_id.as_ref() == Some(&call.id));
        let answer = answer.ok_or_else(|| {
            let rule = format!("has the call `{}`, which no message after it answers.", call.id);
            RequestError::invalid(&format!("messages[{position}].tool_calls"), &rule)
        })?;
        let mut inner = json!({ "name": call.name, "response": response(answer) });
        if !is_made_up(&call.id) {
            inner["id"] = json!(call.id);
        }
        parts.push(json!({ "functionResponse": inner }));
        media.extend(content(answer, position)?.into_iter().filter(|part| part.get("text").is_none()));
    }
    let extra = answers
        .iter()
        .find(|answer| !calls.iter().any(|call| answer.tool_call_id.as_ref() == Some(&call.id)));
    if extra.is_some() {
        return Err(stray(position + 1));
    }
    parts.extend(media);
    Ok(parts)
}

fn response(answer: &Message) -> Value {
    let text = answer.plain_text();
    if answer.rest.get("is_error") == Some(&json!(true)) {
        return json!({ "error": text });
    }
    match serde_json::from_str(&text) {
        Ok(object @ Value::Object(_)) => object,
        _ => json!({ "output": text }),
    }
}

fn content(message: &Message, position: usize) -> Result<Vec<Value>, RequestError> {
    match &message.content {
        None => Ok(Vec::new()),
        Some(Content::Text(text)) if text.is_empty() => Ok(Vec::new()),
        Some(Content::Text(text)) => Ok(vec![json!({ "text": text })]),
        Some(Content::Parts(parts)) => {
            let said = parts.iter().filter(|part| media::text_of(part) != Some(""));
            said.map(|part| self::part(part, position)).collect()
        }
    }
}

fn part(part: &Map<String, Value>, position: usize) -> Result<Value, RequestError> {
    if let Some(text) = media::text_of(part) {
        return Ok(json!({ "text": text }));
    }
    match Media::of_part(part) {
        Some(Media::Inline { mime, data }) => Ok(json!({ "inlineData": { "mimeType": mime, "data": data } })),
        Some(Media::Url(uri) | Media::FileId(uri)) => Ok(json!({ "fileData": { "fileUri": uri } })),
        None => Err(media::unsupported(position, part, "Google")),
    }
}

fn declaration(tool: &Tool) -> Value {
    let mut value = json!({
        "name": tool.name,
        "parametersJsonSchema": cleaned(Value::Object(tool.parameters.clone())),
    });
    if let Some(description) = &tool.description {
        value["description"] = json!(description);
    }
    value
}

/// A schema without what is said about the schema.
fn cleaned(schema: Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| !ABOUT_A_SCHEMA.contains(&name.as_str()));
            Value::Object(kept.map(|(name, value)| (name, cleaned(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(cleaned).collect()),
        other => other,
    }
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!({ "mode": "AUTO" }),
        ToolChoice::None => json!({ "mode": "NONE" }),
        ToolChoice::Required => json!({ "mode": "ANY" }),
        ToolChoice::Function(name) => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
