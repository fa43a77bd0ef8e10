//! Sessions, messages and their parts as opencode's clients read them.

use super::{DIRECTORY, PROJECT, VERSION, ids};
use crate::sessions::{
    permissions::{Policy, Verdict},
    store::{Shown, Used},
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The agent of turns for which none was named.
pub(super) const DEFAULT_AGENT: &str = "default";
/// What is said of a call that never came to its end.
const UNFINISHED: &str = "the turn ended before this call did";

/// Where the parts of an answer stand. Tools that it called stand between its words and its end.
const STEP_START: u16 = 0;
const REASONING: u16 = 1;
const TEXT: u16 = 2;
const CALLS: u16 = 3;
const STEP_FINISH: u16 = 0xfff;

/// A session.
pub(super) fn session(shown: &Shown, used: Option<&Used>) -> Value {
    let updated = shown.last_accessed_at.max(shown.created_at).timestamp_millis();
    let mut session = json!({
        "id": ids::session(shown.session_id),
        "slug": shown.session_id.simple().to_string(),
        "projectID": PROJECT,
        "directory": DIRECTORY,
        "path": "",
        "title": shown.title,
        "version": VERSION,
        "time": { "created": shown.created_at.timestamp_millis(), "updated": updated },
        "permission": rules(&shown.permissions),
    });
    if shown.title.is_empty() {
        session["title"] =
            json!(format!("New session - {}", shown.created_at.to_rfc3339_opts(SecondsFormat::Millis, true)));
    }
    if let Some(parent) = shown.parent_id {
        session["parentID"] = json!(ids::session(parent));
    }
    if let Some(agent) = &shown.agent {
        session["agent"] = json!(agent);
    }
    if let Some((provider, model)) = shown.model.as_deref().and_then(|model| model.split_once('/')) {
        session["model"] = json!({ "id": model, "providerID": provider });
    }
    if let Some(message_id) = shown.reverted_from {
        session["revert"] = json!({ "messageID": ids::message(message_id) });
    }
    if let Some(used) = used {
        session["cost"] = json!(dollars(used.cost_micro_usd));
        session["tokens"] = json!({
            "input": used.prompt_tokens - used.cached_tokens,
            "output": used.completion_tokens,
            "reasoning": 0,
            "cache": { "read": used.cached_tokens, "write": 0 },
        });
    }
    session
}

/// What is left of a session that is gone: its id, and what every session has.
pub(super) fn gone(session_id: Uuid, now: DateTime<Utc>) -> Value {
    let created = ids::made_at(session_id, now);
    json!({
        "id": ids::session(session_id), "slug": session_id.simple().to_string(), "projectID": PROJECT,
        "directory": DIRECTORY, "title": "", "version": VERSION,
        "time": { "created": created, "updated": now.timestamp_millis().max(created) },
    })
}

/// A session's rules; one that asks for members of the input by name has no like there.
fn rules(policy: &Policy) -> Vec<Value> {
    let rule = |tool: &str, action: Verdict| json!({ "permission": tool, "pattern": "*", "action": action });
    let whole = policy.rules.iter().filter(|rule| rule.pattern.is_empty());
    std::iter::once(rule("*", policy.mode)).chain(whole.map(|of| rule(&of.tool, of.action))).collect()
}

/// Something that is asked.
pub(super) fn permission(
    (session_id, permission_id): (Uuid, Uuid),
    tool: &str,
    input: &Value,
    call: Option<(Uuid, &str)>,
) -> Value {
    let mut shown = json!({
        "id": ids::permission(permission_id),
        "sessionID": ids::session(session_id),
        "permission": tool,
        "patterns": [input.to_string()],
        "metadata": object(input.clone()),
        "always": ["*"],
    });
    if let Some((message_id, call_id)) = call {
        shown["tool"] = json!({ "messageID": ids::message(message_id), "callID": call_id });
    }
    shown
}

/// What is the same of all messages of a turn.
#[derive(Clone, Debug)]
pub(super) struct Of {
    pub(super) session_id: Uuid,
    /// The prompt.
    pub(super) parent: Uuid,
    pub(super) agent: String,
    pub(super) provider: String,
    pub(super) model: String,
}

impl Of {
    /// A user's message.
    pub(super) fn user(&self, created: i64) -> Value {
        json!({
            "id": ids::message(self.parent),
            "sessionID": ids::session(self.session_id),
            "role": "user",
            "time": { "created": created },
            "agent": self.agent,
            "model": { "providerID": self.provider, "modelID": self.model },
        })
    }

    /// Its parts, from ours. An agent that is named is a member of the message, and no part.
    pub(super) fn user_parts(&self, parts: &[Value]) -> Vec<Value> {
        let spoken = parts.iter().filter(|part| part["type"] != "agent");
        let shown = (0..).zip(spoken).map(|(place, part)| {
            let more = match part["url"].as_str() {
                Some(url) => file(url, part["filename"].as_str()),
                None => json!({ "type": "text", "text": part["text"].as_str().unwrap_or_default() }),
            };
            self.part(self.parent, place, more)
        });
        shown.collect()
    }

    fn part(&self, message_id: Uuid, place: u16, more: Value) -> Value {
        let mut part = json!({
            "id": ids::part(message_id, place),
            "sessionID": ids::session(self.session_id),
            "messageID": ids::message(message_id),
        });
        if let (Value::Object(part), Value::Object(more)) = (&mut part, more) {
            part.extend(more);
        }
        part
    }
}

fn file(url: &str, filename: Option<&str>) -> Value {
    let of_data = url.strip_prefix("data:").map(|rest| rest.split([';', ',']).next().unwrap_or_default());
    let mut part = json!({ "type": "file", "mime": of_data.unwrap_or("image/*"), "url": url });
    if let Some(filename) = filename {
        part["filename"] = json!(filename);
    }
    part
}

/// Words of an answer.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub(super) text: String,
    pub(super) start: i64,
    pub(super) end: Option<i64>,
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) tool: String,
    pub(super) input: Map<String, Value>,
    /// As the model wrote it.
    pub(super) raw: String,
    pub(super) start: i64,
    pub(super) outcome: Option<Outcome>,
}

/// What a tool said.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) ok: bool,
    pub(super) output: String,
    pub(super) end: i64,
}

/// What an answer used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tokens {
    pub(super) prompt: i64,
    pub(super) completion: i64,
    pub(super) reasoning: i64,
    pub(super) cached: i64,
    pub(super) cache_written: i64,
    pub(super) cost_micro_usd: i64,
}

impl Tokens {
    fn shown(self) -> Value {
        json!({
            "total": self.prompt + self.completion,
            "input": (self.prompt - self.cached - self.cache_written).max(0),
            "output": (self.completion - self.reasoning).max(0),
            "reasoning": self.reasoning,
            "cache": { "read": self.cached, "write": self.cache_written },
        })
    }
}

/// One answer of a model: a message of an assistant.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) id: Uuid,
    pub(super) created: i64,
    pub(super) reasoning: Option<Words>,
    pub(super) text: Option<Words>,
    pub(super) calls: Vec<Call>,
    pub(super) completed: Option<i64>,
    /// Why it ended.
    pub(super) finish: Option<String>,
    /// As opencode has errors: `name` and `data`.
    pub(super) error: Option<Value>,
    pub(super) tokens: Tokens,
}

impl Answer {
    pub(super) fn new(id: Uuid, created: i64) -> Answer {
        Answer {
            id,
            created,
            reasoning: None,
            text: None,
            calls: vec![],
            completed: None,
            finish: None,
            error: None,
            tokens: Tokens::default(),
        }
    }

    /// The message.
    pub(super) fn info(&self, of: &Of) -> Value {
        let mut info = json!({
            "id": ids::message(self.id),
            "sessionID": ids::session(of.session_id),
            "role": "assistant",
            "time": { "created": self.created },
            "parentID": ids::message(of.parent),
            "modelID": of.model,
            "providerID": of.provider,
            "mode": of.agent,
            "agent": of.agent,
            "path": { "cwd": DIRECTORY, "root": DIRECTORY },
            "cost": dollars(self.tokens.cost_micro_usd),
            "tokens": self.tokens.shown(),
        });
        if let Some(completed) = self.completed {
            info["time"]["completed"] = json!(completed.max(self.created));
        }
        if let Some(finish) = &self.finish {
            info["finish"] = json!(finish);
        }
        if let Some(error) = &self.error {
            info["error"] = error.clone();
        }
        info
    }

    /// Its parts, in order.
    pub(super) fn parts(&self, of: &Of) -> Vec<Value> {
        let mut parts = vec![self.step_start(of)];
        parts.extend(self.reasoning_part(of));
        parts.extend(self.text_part(of));
        parts.extend((0..self.calls.len()).filter_map(|at| self.call_part(of, at)));
        parts.extend(self.step_finish(of));
        parts
    }

    pub(super) fn step_start(&self, of: &Of) -> Value {
        of.part(self.id, STEP_START, json!({ "type": "step-start" }))
    }

    pub(super) fn reasoning_part(&self, of: &Of) -> Option<Value> {
        self.reasoning.as_ref().map(|words| of.part(self.id, REASONING, spoken("reasoning", words)))
    }

    pub(super) fn text_part(&self, of: &Of) -> Option<Value> {
        self.text.as_ref().map(|words| of.part(self.id, TEXT, spoken("text", words)))
    }

    /// A call before it runs.
    pub(super) fn pending_part(&self, of: &Of, at: usize) -> Option<Value> {
        let call = self.calls.get(at)?;
        Some(self.with_state(of, at, json!({ "status": "pending", "input": {}, "raw": call.raw })))
    }

    /// A call as it stands.
    pub(super) fn call_part(&self, of: &Of, at: usize) -> Option<Value> {
        let call = self.calls.get(at)?;
        let state = match &call.outcome {
            None => json!({ "status": "running", "input": call.input, "time": { "start": call.start } }),
            Some(Outcome { ok: true, output, end }) => json!({
                "status": "completed", "input": call.input, "output": output, "title": call.tool, "metadata": {},
                "time": { "start": call.start, "end": (*end).max(call.start) },
            }),
            Some(Outcome { ok: false, output, end }) => json!({
                "status": "error", "input": call.input, "error": output,
                "time": { "start": call.start, "end": (*end).max(call.start) },
            }),
        };
        Some(self.with_state(of, at, state))
    }

    fn with_state(&self, of: &Of, at: usize, state: Value) -> Value {
        let call = &self.calls[at];
        // A model asks for 32 at once at the most; beyond the last place they would share one.
        let place = u16::try_from(at).unwrap_or(u16::MAX).saturating_add(CALLS).min(STEP_FINISH - 1);
        let more = json!({ "type": "tool", "callID": call.id, "tool": call.tool, "state": state });
        of.part(self.id, place, more)
    }

    pub(super) fn step_finish(&self, of: &Of) -> Option<Value> {
        let reason = self.finish.as_ref()?;
        let more = json!({ "type": "step-finish", "reason": reason,
            "cost": dollars(self.tokens.cost_micro_usd), "tokens": self.tokens.shown() });
        Some(of.part(self.id, STEP_FINISH, more))
    }

    /// Puts an end to whatever is open.
    pub(super) fn close(&mut self, now: i64) {
        for words in [&mut self.reasoning, &mut self.text].into_iter().flatten() {
            words.end.get_or_insert(now);
        }
        for call in &mut self.calls {
            let unfinished = || Outcome { ok: false, output: UNFINISHED.to_owned(), end: now };
            call.outcome.get_or_insert_with(unfinished);
        }
        self.completed.get_or_insert(now);
    }
}

fn spoken(kind: &str, words: &Words) -> Value {
    let mut time = json!({ "start": words.start });
    if let Some(end) = words.end {
        time["end"] = json!(end.max(words.start));
    }
    json!({ "type": kind, "text": words.text, "time": time })
}

/// The error of a turn that was stopped, or that failed.
pub(super) fn turn_error(state: &str, message: &str) -> Option<Value> {
    match state {
        "aborted" => Some(json!({ "name": "MessageAbortedError", "data": { "message": message } })),
        "failed" => Some(json!({ "name": "UnknownError", "data": { "message": message } })),
        _ => None,
    }
}

/// An input as an object, which all inputs are there.
pub(super) fn object(input: Value) -> Map<String, Value> {
    match input {
        Value::Object(members) => members,
        Value::Null => Map::new(),
        other => Map::from_iter([("input".to_owned(), other)]),
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people: no bill is written from it")]
pub(super) fn dollars(micro_usd: i64) -> f64 {
    micro_usd as f64 / 1e6
}
