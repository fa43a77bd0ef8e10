//! A session's log in the events of AG-UI, the Agent–User Interaction Protocol (docs.ag-ui.com).
//!
//! A turn is a run, the session its thread. Runs follow one another; what
//! happens outside of any is not told, and one that is read from its middle
//! begins as if it had begun there. A run that ends without an answer is the
//! last thing told: so the protocol has it, and a client comes back with its
//! cursor. What the protocol has no event for is `CUSTOM`, under its own name.

use super::log::{Event, Kind};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use uuid::Uuid;

/// What stands before the ids of what a model thought: its message has the id already.
const THOUGHT: &str = "thought-";
/// What stands before the ids of what tools said.
const RESULT: &str = "result-";

/// Who writes it. Keeps what the next event depends on.
#[derive(Debug, Default)]
pub(super) struct AgUi {
    run: Option<Uuid>,
    /// The message whose words are being told.
    text: Option<String>,
    /// The message whose thoughts are being told.
    thought: Option<String>,
    /// What was asked, by turns that have not begun.
    asked: HashMap<Uuid, Vec<(String, String)>>,
}

/// What an event of the log comes to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) events: Vec<Value>,
    /// Whether nothing may follow.
    pub(super) is_last: bool,
}

impl AgUi {
    /// The events that tell this one; none, where it is not part of a run.
    pub(super) fn tell(&mut self, event: &Event) -> Told {
        let mut told = Told::default();
        let Some(turn_id) = event.turn_id else { return told };
        let text = |name: &str| event.data.get(name).and_then(Value::as_str).unwrap_or_default();
        let is = |kind: Kind| event.kind == kind.name();
        if is(Kind::MessageAppend) && text("role") == "user" {
            // Said before its turn began.
            if let Some(said) = event.data.get("part").and_then(|part| part["text"].as_str()) {
                let asked = self.asked.entry(turn_id).or_default();
                asked.push((text("message_id").to_owned(), said.to_owned()));
            }
            return told;
        }
        if is(Kind::TurnQueued) || (is(Kind::MessageRemoved) && self.run != Some(turn_id)) {
            return told;
        }
        if is(Kind::TurnEnded) && self.run != Some(turn_id) {
            // One that never began.
            self.asked.remove(&turn_id);
            return told;
        }
        let mut out = Out { event, events: &mut told.events };
        if self.run != Some(turn_id) {
            self.run = Some(turn_id);
            out.say("RUN_STARTED", json!({ "threadId": event.session_id, "runId": turn_id }));
            for (message_id, said) in self.asked.remove(&turn_id).unwrap_or_default() {
                out.say("TEXT_MESSAGE_START", json!({ "messageId": message_id, "role": "user" }));
                if !said.is_empty() {
                    out.say("TEXT_MESSAGE_CONTENT", json!({ "messageId": message_id, "delta": said }));
                }
                out.say("TEXT_MESSAGE_END", json!({ "messageId": message_id }));
            }
        }
        if is(Kind::TurnStarted) {
            return told;
        }
        if is(Kind::MessageAppend) {
            let part = &event.data.get("part").cloned().unwrap_or_default();
            let piece = part["text"].as_str().unwrap_or_default();
            match part["type"].as_str() {
                Some("text") => self.words(&mut out, text("message_id"), piece),
                Some("reasoning") => self.thoughts(&mut out, text("message_id"), piece),
                _ => {}
            }
        } else if is(Kind::MessageComplete) {
            self.close(&mut out);
            let message = &event.data.get("message").cloned().unwrap_or_default();
            // A summary was told by nothing else.
            if message["kind"] == "summary" {
                out.say("CUSTOM", json!({ "name": event.kind, "value": event.data }));
            }
        } else if is(Kind::ToolCall) {
            self.close(&mut out);
            let id = text("id");
            let parent = event.data.get("message_id");
            let start = json!({ "toolCallId": id, "toolCallName": text("name"), "parentMessageId": parent });
            out.say("TOOL_CALL_START", start);
            if !text("arguments").is_empty() {
                out.say("TOOL_CALL_ARGS", json!({ "toolCallId": id, "delta": text("arguments") }));
            }
            out.say("TOOL_CALL_END", json!({ "toolCallId": id }));
        } else if is(Kind::ToolResult) {
            let (id, content) = (text("id"), text("output"));
            let message_id = format!("{RESULT}{id}");
            let result =
                json!({ "messageId": message_id, "toolCallId": id, "content": content, "role": "tool" });
            out.say("TOOL_CALL_RESULT", result);
        } else if is(Kind::TurnEnded) {
            self.close(&mut out);
            self.run = None;
            if text("state") == "done" {
                let result = json!({ "finish_reason": text("finish_reason") });
                let end = json!({ "threadId": event.session_id, "runId": turn_id, "result": result });
                out.say("RUN_FINISHED", end);
            } else {
                let reason = &event.data.get("reason").cloned().unwrap_or_default();
                out.say("RUN_ERROR", json!({ "message": reason["message"], "code": reason["code"] }));
                told.is_last = true;
            }
        } else {
            out.say("CUSTOM", json!({ "name": event.kind, "value": event.data }));
        }
        told
    }

    /// A piece of a message.
    fn words(&mut self, out: &mut Out<'_>, message_id: &str, piece: &str) {
        if self.text.as_deref() != Some(message_id) {
            self.close(out);
            self.text = Some(message_id.to_owned());
            out.say("TEXT_MESSAGE_START", json!({ "messageId": message_id, "role": "assistant" }));
        }
        self.close_thought(out);
        out.say("TEXT_MESSAGE_CONTENT", json!({ "messageId": message_id, "delta": piece }));
    }

    /// A piece of what a model thinks. It may come between the words of its message.
    fn thoughts(&mut self, out: &mut Out<'_>, message_id: &str, piece: &str) {
        let id = format!("{THOUGHT}{message_id}");
        if self.thought.as_ref() != Some(&id) {
            self.close_thought(out);
            out.say("REASONING_START", json!({ "messageId": id }));
            out.say("REASONING_MESSAGE_START", json!({ "messageId": id, "role": "reasoning" }));
            self.thought = Some(id.clone());
        }
        out.say("REASONING_MESSAGE_CONTENT", json!({ "messageId": id, "delta": piece }));
    }

    fn close_thought(&mut self, out: &mut Out<'_>) {
        let Some(id) = self.thought.take() else { return };
        out.say("REASONING_MESSAGE_END", json!({ "messageId": id }));
        out.say("REASONING_END", json!({ "messageId": id }));
    }

    /// Ends what is being told of a message.
    fn close(&mut self, out: &mut Out<'_>) {
        self.close_thought(out);
        if let Some(id) = self.text.take() {
            out.say("TEXT_MESSAGE_END", json!({ "messageId": id }));
        }
    }
}

/// Where events go, all of them at the time of the one they tell.
struct Out<'a> {
    event: &'a Event,
    events: &'a mut Vec<Value>,
}

impl Out<'_> {
    fn say(&mut self, kind: &str, members: Value) {
        let mut event = Map::from_iter([
            ("type".to_owned(), json!(kind)),
            ("timestamp".to_owned(), json!(self.event.time.timestamp_millis())),
        ]);
        if let Value::Object(members) = members {
            // What the protocol calls optional is left out where it is not known.
            event.extend(members.into_iter().filter(|(_, value)| !value.is_null()));
        }
        self.events.push(Value::Object(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn events(of: &[(u128, Kind, Value)]) -> Vec<Event> {
        let event = |(seq, (turn, kind, data)): (i64, &(u128, Kind, Value))| Event {
            seq,
            time: DateTime::default(),
            session_id: Uuid::from_u128(99),
            kind: kind.name().to_owned(),
            turn_id: Some(Uuid::from_u128(*turn)).filter(|id| !id.is_nil()),
            data: data.as_object().unwrap().clone(),
        };
        (1..).zip(of).map(event).collect()
    }

    fn told(of: &[(u128, Kind, Value)]) -> (Vec<String>, bool) {
        let (mut writer, mut kinds, mut last) = (AgUi::default(), vec![], false);
        for event in events(of) {
            assert!(!last, "nothing follows the last");
            let told = writer.tell(&event);
            kinds.extend(told.events.iter().map(|event| event["type"].as_str().unwrap().to_owned()));
            last = told.is_last;
        }
        (kinds, last)
    }

    fn append(id: &str, role: &str, kind: &str, text: &str) -> Value {
        json!({ "message_id": id, "role": role, "part": { "type": kind, "text": text } })
    }

    #[test]
    fn a_turn_is_a_run_and_each_part_of_it_begins_and_ends() {
        let (kinds, last) = told(&[
            (0, Kind::SessionStatus, json!({ "to": "active" })),
            (1, Kind::MessageAppend, append("u", "user", "text", "hi")),
            (1, Kind::TurnQueued, json!({ "message_id": "u" })),
            (2, Kind::MessageAppend, append("v", "user", "text", "and then")),
            (1, Kind::TurnStarted, json!({ "message_id": "u" })),
            (1, Kind::MessageAppend, append("a", "assistant", "reasoning", "hm")),
            (1, Kind::MessageAppend, append("a", "assistant", "text", "Let me")),
            (1, Kind::MessageAppend, append("a", "assistant", "text", " see.")),
            (1, Kind::ToolCall, json!({ "id": "c", "name": "f", "arguments": "{}", "message_id": "a" })),
            (1, Kind::PermissionRequest, json!({ "permission": {} })),
            (
                1,
                Kind::ToolResult,
                json!({ "id": "c", "name": "f", "ok": true, "output": "1", "message_id": "a" }),
            ),
            (1, Kind::MessageAppend, append("b", "assistant", "text", "One.")),
            (1, Kind::MessageComplete, json!({ "message": { "kind": "message" } })),
            (1, Kind::TurnEnded, json!({ "state": "done", "finish_reason": "stop" })),
            (2, Kind::TurnStarted, json!({ "message_id": "v" })),
            (2, Kind::TurnEnded, json!({ "state": "failed", "reason": { "code": "x", "message": "no" } })),
        ]);
        let expected = [
            "RUN_STARTED",
            "TEXT_MESSAGE_START",
            "TEXT_MESSAGE_CONTENT",
            "TEXT_MESSAGE_END",
            "REASONING_START",
            "REASONING_MESSAGE_START",
            "REASONING_MESSAGE_CONTENT",
            "REASONING_MESSAGE_END",
            "REASONING_END",
            "TEXT_MESSAGE_START",
            "TEXT_MESSAGE_CONTENT",
            "TEXT_MESSAGE_CONTENT",
            "TEXT_MESSAGE_END",
            "TOOL_CALL_START",
            "TOOL_CALL_ARGS",
            "TOOL_CALL_END",
            "CUSTOM",
            "TOOL_CALL_RESULT",
            "TEXT_MESSAGE_START",
            "TEXT_MESSAGE_CONTENT",
            "TEXT_MESSAGE_END",
            "RUN_FINISHED",
            "RUN_STARTED",
            "TEXT_MESSAGE_START",
            "TEXT_MESSAGE_CONTENT",
            "TEXT_MESSAGE_END",
            "RUN_ERROR",
        ];
        assert_eq!((kinds.iter().map(String::as_str).collect::<Vec<_>>(), last), (expected.to_vec(), true));
    }

    #[test]
    fn a_run_that_is_read_from_its_middle_begins_there_and_one_that_never_began_is_not_told() {
        let (kinds, last) = told(&[
            (1, Kind::MessageAppend, append("a", "assistant", "text", "half")),
            (1, Kind::TurnEnded, json!({ "state": "done", "finish_reason": "stop" })),
            (2, Kind::MessageRemoved, json!({ "message_id": "v" })),
            (2, Kind::TurnEnded, json!({ "state": "aborted", "reason": { "code": "x", "message": "no" } })),
        ]);
        let expected =
            ["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_FINISHED"];
        assert_eq!((kinds.iter().map(String::as_str).collect::<Vec<_>>(), last), (expected.to_vec(), false));
    }
}
