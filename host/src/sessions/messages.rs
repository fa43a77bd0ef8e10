//! The messages of a session: as a model reads them, and as people do.

use super::store;
use crate::{limits::OUTPUT_DEPTH_MAX, tenants::TenantTx, tools::output};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::FromRow;
use uuid::Uuid;

/// A message to be added.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    /// Its id; nil: the database gives it one.
    pub message_id: Uuid,
    /// The turn that adds it.
    pub turn_id: Option<Uuid>,
    /// An OpenAI chat message.
    pub message: Value,
    /// What the model thought aloud before it.
    pub reasoning: Option<String>,
    /// Whether it sums up all before it.
    pub kind: MessageKind,
}

/// What a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// Somebody said it.
    #[default]
    Message,
    /// It sums up all before it, which no model reads any more.
    Summary,
}

impl MessageKind {
    /// The name in the table and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            MessageKind::Message => "message",
            MessageKind::Summary => "summary",
        }
    }
}

impl From<String> for MessageKind {
    fn from(name: String) -> MessageKind {
        // The table takes no other.
        if name == MessageKind::Summary.name() { MessageKind::Summary } else { MessageKind::Message }
    }
}

/// A message that is kept.
#[derive(Clone, Debug, FromRow)]
pub struct Kept {
    /// Its place.
    pub seq: i32,
    /// Its id.
    pub message_id: Uuid,
    /// The turn that added it.
    pub turn_id: Option<Uuid>,
    /// An OpenAI chat message.
    pub message: Value,
    /// What the model thought aloud before it.
    pub reasoning: Option<String>,
    /// What it is.
    #[sqlx(try_from = "String")]
    pub kind: MessageKind,
    /// When it was added.
    pub created_at: DateTime<Utc>,
}

/// A message for people: what a tool was asked and what it said are one part.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// Its id.
    pub id: Uuid,
    /// `user`, `assistant`, `system` or `developer`.
    pub role: String,
    /// Whether it sums up all before it.
    pub kind: MessageKind,
    /// The turn that added it.
    pub turn_id: Option<Uuid>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// What it holds, in order.
    pub parts: Vec<Value>,
}

impl View {
    /// The message as the log tells it.
    pub fn told(mut self) -> Value {
        self.parts.iter_mut().for_each(without_data);
        json!({ "message": self })
    }
}

/// A part without what its `data:` URL (RFC 2397) holds: a log is read many times over, and the message has it.
pub(super) fn without_data(part: &mut Value) {
    let url = part["url"].as_str().and_then(|url| url.strip_prefix("data:"));
    let Some((head, data)) = url.and_then(|url| url.split_once(',')) else { return };
    let (head, bytes) = (head.split(';').next().unwrap_or_default().to_owned(), data.len() / 4 * 3);
    part["url"] = json!(format!("data:{head}"));
    part["bytes"] = json!(bytes);
}

/// A page of messages, oldest first: `limit` of them after a place, each with its place.
///
/// # Errors
/// The database's.
pub async fn list(
    tx: &mut TenantTx,
    session_id: Uuid,
    after: i32,
    limit: i64,
) -> sqlx::Result<Vec<(i32, View)>> {
    let rows = store::messages_with_answers(tx.conn(), session_id, after, limit).await?;
    Ok(views(rows))
}

/// Messages as people read them, each with its place. Answers of tools stand with the message that called them.
pub fn views(rows: Vec<Kept>) -> Vec<(i32, View)> {
    let mut views: Vec<(i32, View)> = vec![];
    for row in rows {
        if row.message["role"] == "tool" {
            let views = views.iter_mut().rev().flat_map(|(_, view)| &mut view.parts);
            answer(views, &row.message);
            continue;
        }
        let role = row.message["role"].as_str().unwrap_or("assistant").to_owned();
        let parts = parts(&row.message, row.reasoning.as_deref());
        let Kept { message_id: id, kind, turn_id, created_at, .. } = row;
        let view = View { id, role, kind, turn_id, created_at, parts };
        views.push((row.seq, view));
    }
    views
}

/// Puts what a tool said to the call it answers.
fn answer<'a>(mut parts: impl Iterator<Item = &'a mut Value>, message: &Value) {
    let called = parts.find(|part| {
        part["type"] == "tool" && part["call_id"] == message["tool_call_id"] && part["state"] == "pending"
    });
    if let Some(part) = called {
        part["state"] = json!("completed");
        part["output"] = message["content"].clone();
    }
}

fn parts(message: &Value, reasoning: Option<&str>) -> Vec<Value> {
    let mut parts = vec![];
    parts.extend(reasoning.map(|text| json!({ "type": "reasoning", "text": text })));
    match &message["content"] {
        Value::String(text) if !text.is_empty() => parts.push(json!({ "type": "text", "text": text })),
        Value::Array(blocks) => parts.extend(blocks.iter().map(block)),
        _ => {}
    }
    if let Some(text) = message["refusal"].as_str() {
        parts.push(json!({ "type": "refusal", "text": text }));
    }
    let calls = message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.extend(calls.iter().map(call));
    parts
}

fn block(block: &Value) -> Value {
    match block["type"].as_str() {
        Some("image_url") => json!({ "type": "image", "url": block["image_url"]["url"] }),
        _ => block.clone(),
    }
}

fn call(call: &Value) -> Value {
    let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
    // What a model wrote is not always JSON, nor such as can be read again; then people see what it wrote.
    let shallow = output::depth(arguments) <= OUTPUT_DEPTH_MAX;
    let input = serde_json::from_str(arguments).ok().filter(|_| shallow).unwrap_or_else(|| json!(arguments));
    json!({ "type": "tool", "call_id": call["id"], "tool": call["function"]["name"], "state": "pending", "input": input })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_was_asked_and_what_it_said_are_one_part() {
        let message = |seq, message| Kept {
            seq,
            message_id: Uuid::from_u128(seq.unsigned_abs().into()),
            turn_id: None,
            message,
            reasoning: (seq == 2).then(|| "hm".to_owned()),
            kind: MessageKind::Message,
            created_at: DateTime::default(),
        };
        let call = |id: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{\"x\":1}" } });
        let views = views(vec![
            message(
                1,
                json!({ "role": "user", "content": [{ "type": "text", "text": "go" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } }] }),
            ),
            message(2, json!({ "role": "assistant", "content": null, "tool_calls": [call("a"), call("b")] })),
            message(3, json!({ "role": "tool", "tool_call_id": "b", "content": "2" })),
        ]);
        assert_eq!(views.len(), 2);
        assert_eq!(views[0].1.parts[1], json!({ "type": "image", "url": "data:image/png;base64,AA==" }));
        let parts = &views[1].1.parts;
        assert_eq!(parts[0], json!({ "type": "reasoning", "text": "hm" }));
        assert_eq!(
            parts[1],
            json!({ "type": "tool", "call_id": "a", "tool": "f", "state": "pending", "input": { "x": 1 } })
        );
        assert_eq!((&parts[2]["state"], &parts[2]["output"]), (&json!("completed"), &json!("2")));
    }
}
