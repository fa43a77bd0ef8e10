//! From the log of a turn to opencode's events, in the order opencode has them.
//!
//! A turn's state is what was told of it so far, so it is also what its
//! messages are before they are kept.

use super::{
    ids,
    shape::{self, Answer, Call, Of, Outcome, Tokens, Words},
};
use crate::{limits::OUTPUT_DEPTH_MAX, sessions::log::Event, tools::output};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// An event: its type and its properties.
pub(super) type Said = (&'static str, Value);

/// The reason of an answer that went on with calls of tools.
const TOOL_CALLS: &str = "tool-calls";

/// A turn that waits or runs.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) of: Of,
    turn_id: Uuid,
    /// When it was asked for.
    created: i64,
    /// The parts of the prompt, as we tell them.
    prompt: Vec<Value>,
    answers: Vec<Answer>,
    tokens: Tokens,
    cost_micro_usd: i64,
    /// It never began, and its prompt is not part of the conversation.
    taken_back: bool,
}

impl Turn {
    pub(super) fn new(of: Of, turn_id: Uuid, created: i64) -> Turn {
        Turn {
            of,
            turn_id,
            created,
            prompt: vec![],
            answers: vec![],
            tokens: Tokens::default(),
            cost_micro_usd: 0,
            taken_back: false,
        }
    }

    /// What it cost, as the ledger has it.
    pub(super) fn charge(&mut self, micro_usd: i64) {
        self.cost_micro_usd = micro_usd;
    }

    /// The prompt as a message.
    pub(super) fn user(&self) -> Value {
        json!({ "info": self.of.user(self.created), "parts": self.of.user_parts(&self.prompt) })
    }

    /// The answers so far as messages.
    pub(super) fn answers(&self) -> Vec<Value> {
        let shown =
            |answer: &Answer| json!({ "info": answer.info(&self.of), "parts": answer.parts(&self.of) });
        self.answers.iter().map(shown).collect()
    }

    /// The call of this tool that runs, and whose it is.
    pub(super) fn open_call(&self, tool: &str) -> Option<(Uuid, &str)> {
        let answer = self.answers.last()?;
        let open = |call: &&Call| call.tool == tool && call.outcome.is_none();
        Some((answer.id, &answer.calls.iter().find(open)?.id))
    }

    /// What is said of an event of this turn.
    pub(super) fn hear(&mut self, event: &Event) -> Vec<Said> {
        let now = event.time.timestamp_millis();
        let data = &event.data;
        let mut said = vec![];
        match event.kind.as_str() {
            "message.append" if text(data, "role") == "user" => self.asked(data, now, &mut said),
            "message.append" => self.append(data, now, &mut said),
            "tool.call" => self.call(data, now, &mut said),
            "tool.result" => self.result(data, now, &mut said),
            "message.complete" => {
                if let Some(message) = data.get("message") {
                    self.complete(message, now, &mut said);
                }
            }
            "message.removed" => {
                let id = id(data, "message_id");
                self.answers.retain(|answer| answer.id != id);
                self.taken_back |= id == self.of.parent;
                let session = ids::session(self.of.session_id);
                said.push((
                    "message.removed",
                    json!({ "sessionID": session, "messageID": ids::message(id) }),
                ));
            }
            "token.usage" => self.tokens = tokens(data),
            "turn.ended" => self.end(data, now, &mut said),
            _ => {}
        }
        said
    }

    /// A part of the prompt.
    fn asked(&mut self, data: &Map<String, Value>, now: i64, said: &mut Vec<Said>) {
        let Some(part) = data.get("part") else { return };
        if self.prompt.is_empty() {
            said.push(self.message(self.of.user(self.created)));
        }
        let before = self.of.user_parts(&self.prompt).len();
        self.prompt.push(part.clone());
        let fresh = self.of.user_parts(&self.prompt).into_iter().skip(before);
        said.extend(fresh.map(|part| self.part(now, part)));
    }

    fn append(&mut self, data: &Map<String, Value>, now: i64, said: &mut Vec<Said>) {
        let at = self.answer(id(data, "message_id"), now, said);
        let Some(part) = data.get("part").and_then(Value::as_object) else { return };
        let (is_text, piece) = (text(part, "type") == "text", text(part, "text"));
        let answer = &mut self.answers[at];
        let words = if is_text { &mut answer.text } else { &mut answer.reasoning };
        let is_new = words.is_none();
        if is_new {
            *words = Some(Words { text: String::new(), start: now, end: None });
        }
        let answer = &self.answers[at];
        let shown = if is_text { answer.text_part(&self.of) } else { answer.reasoning_part(&self.of) };
        let Some(shown) = shown else { return };
        let delta = json!({
            "sessionID": shown["sessionID"], "messageID": shown["messageID"], "partID": shown["id"],
            "field": "text", "delta": piece,
        });
        if is_new {
            said.push(self.part(now, shown));
        }
        said.push(("message.part.delta", delta));
        let answer = &mut self.answers[at];
        let words = if is_text { &mut answer.text } else { &mut answer.reasoning };
        if let Some(words) = words {
            words.text.push_str(piece);
        }
    }

    fn call(&mut self, data: &Map<String, Value>, now: i64, said: &mut Vec<Said>) {
        let at = self.answer(id(data, "message_id"), now, said);
        self.end_words(at, now, said);
        let raw = text(data, "arguments").to_owned();
        let call = Call {
            id: text(data, "id").to_owned(),
            tool: text(data, "name").to_owned(),
            input: input(&raw),
            raw,
            start: now,
            outcome: None,
        };
        let answer = &mut self.answers[at];
        answer.calls.push(call);
        let (answer, last) = (&self.answers[at], self.answers[at].calls.len() - 1);
        let states = [answer.pending_part(&self.of, last), answer.call_part(&self.of, last)];
        said.extend(states.into_iter().flatten().map(|part| self.part(now, part)));
    }

    fn result(&mut self, data: &Map<String, Value>, now: i64, said: &mut Vec<Said>) {
        let called = text(data, "id");
        let found = self.answers.iter().enumerate().rev().find_map(|(at, answer)| {
            let open = |call: &Call| call.id == called && call.outcome.is_none();
            answer.calls.iter().position(open).map(|which| (at, which))
        });
        let Some((at, which)) = found else { return };
        let ok = data.get("ok").and_then(Value::as_bool).unwrap_or(true);
        let outcome = outcome(ok, text(data, "output"), now);
        self.answers[at].calls[which].outcome = Some(outcome);
        said.extend(self.answers[at].call_part(&self.of, which).map(|part| self.part(now, part)));
    }

    /// A message, whole. What was told of it in pieces is not told again, unless it came out otherwise.
    fn complete(&mut self, message: &Value, now: i64, said: &mut Vec<Said>) {
        if message["role"] != "assistant" {
            return;
        }
        let Some(id) = message["id"].as_str().and_then(|id| Uuid::parse_str(id).ok()) else { return };
        let at = self.answer(id, now, said);
        let parts = message["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
        for kind in ["reasoning", "text"] {
            let whole: String = parts
                .iter()
                .filter(|part| part["type"] == kind)
                .filter_map(|part| part["text"].as_str())
                .collect();
            let answer = &mut self.answers[at];
            let words = if kind == "text" { &mut answer.text } else { &mut answer.reasoning };
            match words {
                Some(words) if words.text != whole => {
                    *words = Words { text: whole, start: words.start, end: None }
                }
                None if !whole.is_empty() => *words = Some(Words { text: whole, start: now, end: None }),
                _ => {}
            }
        }
        self.end_words(at, now, said);
        let calls: Vec<&Value> = parts.iter().filter(|part| part["type"] == "tool").collect();
        // What a tool said and nobody told, for there was too much to tell.
        for (which, part) in calls.iter().enumerate().take(self.answers[at].calls.len()) {
            let call = &mut self.answers[at].calls[which];
            if call.outcome.is_none() {
                call.outcome = kept_call(part, now).outcome;
                if call.outcome.is_some() {
                    said.extend(self.answers[at].call_part(&self.of, which).map(|part| self.part(now, part)));
                }
            }
        }
        for call in calls.into_iter().skip(self.answers[at].calls.len()) {
            self.answers[at].calls.push(kept_call(call, now));
            let last = self.answers[at].calls.len() - 1;
            said.extend(self.answers[at].call_part(&self.of, last).map(|part| self.part(now, part)));
        }
    }

    fn end(&mut self, data: &Map<String, Value>, now: i64, said: &mut Vec<Said>) {
        let state = text(data, "state");
        if self.answers.is_empty() && !self.taken_back {
            self.answer(self.turn_id, now, said);
        }
        let reason = data.get("reason").and_then(|reason| reason["message"].as_str()).unwrap_or_default();
        let error = shape::turn_error(state, reason);
        let (tokens, cost_micro_usd) = (self.tokens, self.cost_micro_usd);
        if let Some(last) = self.answers.len().checked_sub(1) {
            let answer = &mut self.answers[last];
            answer.tokens = Tokens { cost_micro_usd, ..tokens };
            answer.error.clone_from(&error);
            let finish = text(data, "finish_reason").replace('_', "-");
            self.finish(last, Some(finish).filter(|_| error.is_none()), now, said);
        }
        if let Some(error) = error {
            let session = ids::session(self.of.session_id);
            said.push(("session.error", json!({ "sessionID": session, "error": error })));
        }
    }

    /// The answer of this id; a new one puts an end to the one before.
    fn answer(&mut self, id: Uuid, now: i64, said: &mut Vec<Said>) -> usize {
        if let Some(at) = self.answers.iter().position(|answer| answer.id == id) {
            return at;
        }
        if let Some(last) = self.answers.len().checked_sub(1) {
            self.finish(last, Some(TOOL_CALLS.to_owned()), now, said);
        }
        let answer = Answer::new(
            id,
            ids::made_at(id, chrono::DateTime::from_timestamp_millis(now).unwrap_or_default()),
        );
        said.push(self.message(answer.info(&self.of)));
        said.push(self.part(now, answer.step_start(&self.of)));
        self.answers.push(answer);
        self.answers.len() - 1
    }

    fn end_words(&mut self, at: usize, now: i64, said: &mut Vec<Said>) {
        let answer = &mut self.answers[at];
        let mut open = [false; 2];
        for (words, open) in [&mut answer.reasoning, &mut answer.text].into_iter().zip(&mut open) {
            if let Some(words) = words.as_mut().filter(|words| words.end.is_none()) {
                words.end = Some(now);
                *open = true;
            }
        }
        let answer = &self.answers[at];
        let parts = [answer.reasoning_part(&self.of), answer.text_part(&self.of)];
        let ended = parts.into_iter().zip(open).filter_map(|(part, open)| part.filter(|_| open));
        let ended: Vec<_> = ended.map(|part| self.part(now, part)).collect();
        said.extend(ended);
    }

    fn finish(&mut self, at: usize, finish: Option<String>, now: i64, said: &mut Vec<Said>) {
        self.end_words(at, now, said);
        let answer = &mut self.answers[at];
        let open: Vec<usize> =
            (0..answer.calls.len()).filter(|which| answer.calls[*which].outcome.is_none()).collect();
        answer.close(now);
        answer.finish = finish;
        let answer = &self.answers[at];
        let cut = open.into_iter().filter_map(|which| answer.call_part(&self.of, which));
        let parts: Vec<_> =
            cut.chain(answer.step_finish(&self.of)).map(|part| self.part(now, part)).collect();
        said.extend(parts);
        said.push(self.message(answer.info(&self.of)));
    }

    fn message(&self, info: Value) -> Said {
        ("message.updated", json!({ "sessionID": ids::session(self.of.session_id), "info": info }))
    }

    fn part(&self, now: i64, part: Value) -> Said {
        let session = ids::session(self.of.session_id);
        ("message.part.updated", json!({ "sessionID": session, "part": part, "time": now }))
    }
}

/// So agents begin what they write down of a call that went wrong.
const ERROR: &str = "Error: ";

fn outcome(ok: bool, output: &str, end: i64) -> Outcome {
    let output = if ok { output } else { output.strip_prefix(ERROR).unwrap_or(output) };
    Outcome { ok, output: output.to_owned(), end }
}

/// A call as a message of ours holds it.
pub(super) fn kept_call(part: &Value, now: i64) -> Call {
    // Whether it went well is kept in what it said, and nowhere else.
    let output = part["output"].as_str().map(|output| outcome(!output.starts_with(ERROR), output, now));
    Call {
        id: part["call_id"].as_str().unwrap_or_default().to_owned(),
        tool: part["tool"].as_str().unwrap_or_default().to_owned(),
        input: shape::object(part["input"].clone()),
        raw: String::new(),
        start: now,
        outcome: output,
    }
}

/// What a model wrote as an object; empty where it is none.
fn input(raw: &str) -> Map<String, Value> {
    let shallow = output::depth(raw) <= OUTPUT_DEPTH_MAX;
    serde_json::from_str(raw).ok().filter(|_| shallow).map(shape::object).unwrap_or_default()
}

fn tokens(data: &Map<String, Value>) -> Tokens {
    let number = |name: &str| data.get(name).and_then(Value::as_i64).unwrap_or_default();
    Tokens {
        prompt: number("prompt_tokens"),
        completion: number("completion_tokens"),
        reasoning: number("reasoning_tokens"),
        cached: number("cached_tokens"),
        cache_written: number("cache_write_tokens"),
        cost_micro_usd: 0,
    }
}

fn text<'a>(data: &'a Map<String, Value>, name: &str) -> &'a str {
    data.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn id(data: &Map<String, Value>, name: &str) -> Uuid {
    Uuid::parse_str(text(data, name)).unwrap_or_default()
}
