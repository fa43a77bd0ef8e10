//! Google's `generateContent`.

use super::{Said, Shared, Speak, Step, Tokens, frame, names, object};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Google {
    refused: bool,
}

impl Speak for Google {
    fn model(path: &str, _body: &Value) -> String {
        let last = path.rsplit('/').next().unwrap_or_default();
        last.split(':').next().unwrap_or_default().to_owned()
    }

    fn is_streamed(path: &str, _body: &Value) -> bool {
        path.ends_with(":streamGenerateContent")
    }

    fn said(body: &Value) -> Said {
        let last =
            body["contents"].as_array().and_then(|turns| turns.iter().rfind(|turn| turn["role"] == "user"));
        let parts = last.and_then(|turn| turn["parts"].as_array()).map(Vec::as_slice).unwrap_or_default();
        let result = |part: &Value| {
            let response = part.pointer("/functionResponse/response")?;
            Some(response["output"].as_str().map_or_else(|| response.to_string(), str::to_owned))
        };
        let text = parts.iter().filter_map(|part| part["text"].as_str());
        let tools = names(&body["tools"][0]["functionDeclarations"], "/name");
        Said { user: text.collect(), results: parts.iter().filter_map(result).collect(), tools }
    }

    fn start(&mut self, _usage: Tokens) -> String {
        String::from(": nothing yet\n\n")
    }

    fn say(&mut self, step: &Step) -> String {
        self.refused |= matches!(step, Step::Refusal(_));
        let parts = parts(step);
        if parts.is_empty() { String::new() } else { chunk(parts) }
    }

    fn finish(&mut self, reason: Option<&str>, usage: Tokens) -> String {
        let reason = reason.unwrap_or(if self.refused { "SAFETY" } else { "STOP" });
        let candidate = json!({ "content": { "role": "model", "parts": [{ "text": "" }] }, "index": 0,
            "finishReason": reason });
        let last = json!({ "candidates": [candidate], "usageMetadata": usage_of(usage) });
        frame(None, &last)
    }

    fn error(status: u16, message: &str) -> String {
        frame(None, &error_of(status, message))
    }

    fn whole(steps: &[Step], reason: Option<&str>, usage: Tokens) -> Value {
        let parts: Vec<Value> = steps.iter().flat_map(parts).collect();
        let content = json!({ "role": "model", "parts": parts });
        json!({
            "candidates": [{ "content": content, "finishReason": reason.unwrap_or("STOP"), "index": 0 }],
            "usageMetadata": usage_of(usage), "modelVersion": "scripted",
        })
    }
}

/// An error as Google says it.
pub(super) fn error_of(status: u16, message: &str) -> Value {
    let word = match status {
        400 => "INVALID_ARGUMENT",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        _ => "UNAVAILABLE",
    };
    json!({ "error": { "code": status, "message": message, "status": word } })
}

pub(super) async fn models(State(state): State<Arc<Shared>>) -> Response {
    let model = |id: &&str| json!({ "name": format!("models/{id}"), "supportedGenerationMethods": ["generateContent"] });
    let other = json!({ "name": "models/painter", "supportedGenerationMethods": ["predict"] });
    let models: Vec<Value> = state.models.iter().map(model).chain([other]).collect();
    axum::Json(json!({ "models": models })).into_response()
}

pub(super) fn embeddings(body: &Value) -> Response {
    let requests = body["requests"].as_array().cloned().unwrap_or_default();
    let length = |request: &Value| request["content"]["parts"][0]["text"].as_str().map_or(0, str::len);
    let embeddings: Vec<Value> = (0..)
        .zip(&requests)
        .map(|(index, request): (usize, &Value)| json!({ "values": [length(request), index] }))
        .collect();
    axum::Json(json!({ "embeddings": embeddings })).into_response()
}

fn parts(step: &Step) -> Vec<Value> {
    let call =
        |name: &str, arguments: &str| json!({ "functionCall": { "name": name, "args": object(arguments) } });
    match step {
        Step::Text(text) | Step::Refusal(text) => vec![json!({ "text": text })],
        Step::Reasoning(text) => vec![json!({ "text": text, "thought": true })],
        Step::Thought { text, seal } => {
            vec![json!({ "text": text, "thought": true }), json!({ "text": "", "thoughtSignature": seal })]
        }
        Step::ToolCall { name, arguments, .. } => vec![call(name, arguments)],
        Step::SignedCall { id, name, arguments, seal } => {
            let mut part = call(name, arguments);
            part["functionCall"]["id"] = json!(id); // as models do that sign
            part["thoughtSignature"] = json!(seal);
            vec![part]
        }
        _ => Vec::new(),
    }
}

fn chunk(parts: Vec<Value>) -> String {
    let content = json!({ "role": "model", "parts": parts });
    frame(None, &json!({ "candidates": [{ "content": content, "index": 0 }], "modelVersion": "scripted" }))
}

fn usage_of(usage: Tokens) -> Value {
    json!({
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.completion.saturating_sub(usage.thought),
        "thoughtsTokenCount": usage.thought,
        "cachedContentTokenCount": usage.cached,
        "totalTokenCount": usage.prompt.saturating_add(usage.completion),
    })
}
