//! Seals of calls, for clients and agents that drop them.
//!
//! A provider refuses a conversation whose calls come back without the signature or the thinking they were made
//! with, and many clients give back a call's id, name and arguments and nothing else. So what a provider wants
//! back is remembered for a while by the id of the call, and put where the client left it out.
//!
//! It is a cache: bounded, of this process alone, and an answer never depends on it where the client kept what it
//! was given. An id we made ourselves is not unique, so nothing is kept under it.

use super::Event;
use super::openai::request::ChatRequest;
use super::stream::is_made_up;
use super::thought::{DETAILS, ForGuest};
use serde_json::Value;
use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};
use uuid::Uuid;

/// What is remembered at the most, in bytes of JSON: some thousands of calls.
pub const VAULT_BYTES_MAX: usize = 32 << 20;
/// What is remembered of one call, in bytes of JSON: long thinking with room to spare.
pub const SEAL_BYTES_MAX: usize = 256 << 10;

type Key = (Uuid, String);

/// Seals of this process.
#[derive(Debug, Clone, Default)]
pub struct Vault(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// `extra_content` of a call, as JSON text.
    by_call: HashMap<Key, String>,
    /// The oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

/// The seals of one app.
#[derive(Debug, Clone)]
pub struct Seals {
    vault: Vault,
    app_id: Uuid,
}

impl Vault {
    /// The seals of an app.
    pub fn of(&self, app_id: Uuid) -> Seals {
        Seals { vault: self.clone(), app_id }
    }
}

impl Seals {
    /// The request with what its client left out of calls we remember.
    pub fn fill<'a>(&self, request: &'a ChatRequest) -> Cow<'a, ChatRequest> {
        let mut request = Cow::Borrowed(request);
        for position in 0..request.messages.len() {
            let message = &request.messages[position];
            let bare = message.tool_calls.iter().all(|call| !call.rest.contains_key("extra_content"));
            if message.tool_calls.is_empty() || !bare || message.rest.contains_key(DETAILS) {
                continue; // its client keeps what it is given
            }
            let found: Vec<_> = message.tool_calls.iter().map(|call| self.find(&call.id)).collect();
            for (call, extra) in found.into_iter().enumerate() {
                if let Some(extra) = extra {
                    let rest = &mut request.to_mut().messages[position].tool_calls[call].rest;
                    rest.insert("extra_content".into(), extra);
                }
            }
        }
        request
    }

    /// Watches a reply go by; `thoughts` gathers what leads to a call.
    pub fn watch(&self, thoughts: &mut ForGuest, event: &Event) {
        if !matches!(event, Event::Thought(_) | Event::ToolCall { .. }) {
            return;
        }
        if let Some(Event::ToolCall { id: Some(id), extra_content: Some(extra), .. }) =
            thoughts.event(event.clone())
        {
            self.keep(id, &extra);
        }
    }

    fn find(&self, id: &str) -> Option<Value> {
        let kept = self.vault.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = kept.by_call.get(&(self.app_id, id.to_owned()))?;
        serde_json::from_str(text).ok()
    }

    fn keep(&self, id: String, extra: &Value) {
        let text = extra.to_string();
        if is_made_up(&id) || text.len() > SEAL_BYTES_MAX {
            return;
        }
        let mut kept = self.vault.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.app_id, id);
        kept.bytes += size(&key, &text);
        match kept.by_call.insert(key.clone(), text) {
            Some(before) => kept.bytes = kept.bytes.saturating_sub(size(&key, &before)),
            None => kept.order.push_back(key),
        }
        while kept.bytes > VAULT_BYTES_MAX {
            let Some(oldest) = kept.order.pop_front() else { return };
            if let Some(text) = kept.by_call.remove(&oldest) {
                kept.bytes = kept.bytes.saturating_sub(size(&oldest, &text));
            }
        }
    }
}

fn size(key: &Key, text: &str) -> usize {
    key.1.len() + text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(id: &str, seal: &str) -> Event {
        Event::ToolCall {
            index: 0,
            id: Some(id.to_owned()),
            name: Some("f".into()),
            arguments: "{}".into(),
            extra_content: Some(json!({ "google": { "thought_signature": seal } })),
        }
    }

    fn filled(seals: &Seals, id: &str) -> Option<Value> {
        let call = json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
        let messages = json!([{ "role": "assistant", "content": null, "tool_calls": [call] }]);
        let request = ChatRequest::from_value(json!({ "model": "m", "messages": messages })).unwrap();
        seals.fill(&request).messages[0].tool_calls[0].rest.get("extra_content").cloned()
    }

    #[test]
    fn a_seal_is_found_by_its_app_and_call_alone_and_never_under_an_id_of_ours() {
        let vault = Vault::default();
        let (mine, theirs) = (vault.of(Uuid::from_u128(1)), vault.of(Uuid::from_u128(2)));
        for id in ["toolu_1", "call_3_0"] {
            mine.watch(&mut ForGuest::default(), &call(id, "s"));
        }
        assert_eq!(filled(&mine, "toolu_1").unwrap()["google"]["thought_signature"], "s");
        for (seals, id) in [(&theirs, "toolu_1"), (&mine, "toolu_2"), (&mine, "call_3_0")] {
            assert_eq!(filled(seals, id), None, "{id}");
        }
    }

    #[test]
    fn the_oldest_go_when_there_is_no_room_and_the_largest_never_come() {
        let vault = Vault::default();
        let seals = vault.of(Uuid::from_u128(1));
        let long = "x".repeat(SEAL_BYTES_MAX - 100);
        for number in 0..=VAULT_BYTES_MAX / SEAL_BYTES_MAX + 1 {
            seals.watch(&mut ForGuest::default(), &call(&format!("c{number}"), &long));
        }
        assert_eq!(filled(&seals, "c0"), None);
        assert!(filled(&seals, "c9").is_some());
        assert!(vault.0.lock().unwrap().bytes <= VAULT_BYTES_MAX);
        seals.watch(&mut ForGuest::default(), &call("huge", &"x".repeat(SEAL_BYTES_MAX)));
        assert_eq!(filled(&seals, "huge"), None);
    }
}
