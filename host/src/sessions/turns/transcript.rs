//! What a turn said, as it was told: step by step, a step being one answer of the model and what its tools said to it.
//!
//! The same whether it is heard while the turn runs or read from the log after its host died.

use super::super::{
    log::{Event, Kind},
    messages::{MessageKind, NewMessage},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// What a call is answered with that never came to its end.
const UNFINISHED: &str = "Error: the turn ended before this call did";

/// One answer of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The message it becomes.
    pub message_id: Uuid,
    /// What it says.
    pub text: String,
    /// What it thought aloud.
    pub reasoning: String,
    /// The tools it called.
    pub calls: Vec<Call>,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    id: String,
    name: String,
    arguments: String,
    output: Option<String>,
}

/// All of them, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps(Vec<Step>);

impl Steps {
    /// From the log of a turn.
    pub fn of_events(events: &[Event]) -> Steps {
        let mut steps = Steps::default();
        for event in events {
            let text = |name: &str| event.data.get(name).and_then(Value::as_str).unwrap_or_default();
            let message_id = || Uuid::parse_str(text("message_id")).unwrap_or_default();
            if event.kind == Kind::MessageAppend.name() && text("role") == "assistant" {
                let part = event.data.get("part").and_then(Value::as_object);
                let of_part = |name: &str| {
                    part.and_then(|part| part.get(name)).and_then(Value::as_str).unwrap_or_default()
                };
                let step = steps.to_say(message_id);
                match of_part("type") {
                    "text" => step.text.push_str(of_part("text")),
                    "reasoning" => step.reasoning.push_str(of_part("text")),
                    _ => {}
                }
            } else if event.kind == Kind::ToolCall.name() {
                steps.call(message_id, &event.data);
            } else if event.kind == Kind::ToolResult.name() {
                steps.result(&event.data);
            }
        }
        steps
    }

    /// The step that something is said in: a new one after tools have answered.
    pub fn to_say(&mut self, new_id: impl FnOnce() -> Uuid) -> &mut Step {
        let answered = self.0.last().is_none_or(|step| !step.calls.is_empty());
        self.last_or_new(answered, new_id)
    }

    /// A tool is called, as told with `id`, `name` and `arguments`; says by which message.
    pub fn call(&mut self, new_id: impl FnOnce() -> Uuid, told: &Map<String, Value>) -> Uuid {
        let answered = self.0.last().is_none_or(|step| step.calls.iter().any(|call| call.output.is_some()));
        let step = self.last_or_new(answered, new_id);
        let text = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        // One that was too large to be told: what is there must be JSON all the same.
        let arguments =
            Some(text("arguments")).filter(|text| !text.is_empty()).unwrap_or_else(|| "{}".to_owned());
        step.calls.push(Call { id: text("id"), name: text("name"), arguments, output: None });
        step.message_id
    }

    /// A tool answered, as told with `id` and `output`; says to which message, where anybody asked.
    pub fn result(&mut self, told: &Map<String, Value>) -> Option<Uuid> {
        let text = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default();
        let step = self.0.last_mut()?;
        let call = step.calls.iter_mut().find(|call| call.id == text("id") && call.output.is_none())?;
        call.output = Some(text("output").to_owned());
        Some(step.message_id)
    }

    fn last_or_new(&mut self, new: bool, new_id: impl FnOnce() -> Uuid) -> &mut Step {
        if new || self.0.is_empty() {
            self.0.push(Step { message_id: new_id(), ..Step::default() });
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// The messages of a turn that was cut: every call has an answer, so that a model can read them.
    pub fn into_messages(self, turn_id: Uuid) -> Vec<NewMessage> {
        let said = self.0.into_iter().filter(|step| !step.text.is_empty() || !step.calls.is_empty());
        said.flat_map(|step| step.into_messages(turn_id)).collect()
    }

    /// The messages an agent says its turn has, under the ids they were told with; and the ids of those that were told
    /// and are none of them.
    pub fn name(
        self,
        turn_id: Uuid,
        messages: Vec<Value>,
        mut new_id: impl FnMut() -> Uuid,
    ) -> (Vec<NewMessage>, Vec<Uuid>) {
        let mut told = self.0.into_iter();
        let named = messages.into_iter().map(|message| {
            let step = if message["role"] == "assistant" { told.next() } else { None };
            let (message_id, reasoning) = match step {
                Some(step) => (step.message_id, Some(step.reasoning).filter(|text| !text.is_empty())),
                None => (new_id(), None),
            };
            let kind = MessageKind::Message;
            NewMessage { message_id, turn_id: Some(turn_id), message, reasoning, kind }
        });
        let named = named.collect();
        (named, told.map(|step| step.message_id).collect())
    }
}

impl Step {
    fn into_messages(self, turn_id: Uuid) -> Vec<NewMessage> {
        let content = if self.text.is_empty() { Value::Null } else { json!(self.text) };
        let mut message = json!({ "role": "assistant", "content": content });
        if !self.calls.is_empty() {
            let call = |call: &Call| {
                json!({ "id": call.id, "type": "function",
                    "function": { "name": call.name, "arguments": call.arguments } })
            };
            message["tool_calls"] = self.calls.iter().map(call).collect();
        }
        let answers = self.calls.into_iter().map(|call| {
            let content = call.output.unwrap_or_else(|| UNFINISHED.to_owned());
            json!({ "role": "tool", "tool_call_id": call.id, "content": content })
        });
        let reasoning = Some(self.reasoning).filter(|text| !text.is_empty());
        let kind = MessageKind::Message;
        let first =
            NewMessage { message_id: self.message_id, turn_id: Some(turn_id), message, reasoning, kind };
        // The database names them: nobody was told of them but as parts of the call.
        let answers = answers.map(|message| NewMessage {
            message_id: Uuid::nil(),
            turn_id: Some(turn_id),
            message,
            reasoning: None,
            kind,
        });
        std::iter::once(first).chain(answers).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> impl FnMut() -> Uuid {
        let mut next = 0;
        move || {
            next += 1;
            Uuid::from_u128(next)
        }
    }

    fn told(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn turn() -> Steps {
        let (mut ids, mut steps) = (ids(), Steps::default());
        steps.to_say(&mut ids).reasoning.push_str("hm");
        steps.to_say(&mut ids).text.push_str("Let me see.");
        steps.call(&mut ids, &told(json!({ "id": "a", "name": "f", "arguments": "{}" })));
        steps.call(&mut ids, &told(json!({ "id": "b", "name": "g", "arguments": "{}" })));
        steps.result(&told(json!({ "id": "b", "output": "2" })));
        steps
    }

    #[test]
    fn a_turn_that_was_cut_can_be_read_by_a_model() {
        let messages = turn().into_messages(Uuid::nil());
        let roles: Vec<_> = messages.iter().map(|m| m.message["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["assistant", "tool", "tool"]);
        assert_eq!(
            (messages[0].message_id, messages[0].reasoning.as_deref()),
            (Uuid::from_u128(1), Some("hm"))
        );
        assert_eq!(
            messages[1].message,
            json!({ "role": "tool", "tool_call_id": "a", "content": UNFINISHED })
        );
        assert_eq!(messages[2].message, json!({ "role": "tool", "tool_call_id": "b", "content": "2" }));
    }

    #[test]
    fn what_was_only_thought_is_no_message() {
        let mut steps = Steps::default();
        steps.to_say(ids()).reasoning.push_str("hm");
        assert_eq!(steps.into_messages(Uuid::nil()), []);
    }

    #[test]
    fn messages_keep_the_ids_they_were_told_with() {
        let mut steps = turn();
        steps.to_say(|| Uuid::from_u128(2)).text.push_str("Two.");
        let said = json!([
            { "role": "assistant", "content": "Let me see.", "tool_calls": [] },
            { "role": "tool", "tool_call_id": "a", "content": "1" },
            { "role": "assistant", "content": "Two." },
        ]);
        let mut ids = (100..).map(Uuid::from_u128);
        let (named, untrue) =
            steps.clone().name(Uuid::nil(), said.as_array().unwrap().clone(), || ids.next().unwrap());
        let named: Vec<_> = named.iter().map(|message| message.message_id.as_u128()).collect();
        assert_eq!((named, untrue), (vec![1, 100, 2], vec![]));
        let (_, untrue) =
            steps.name(Uuid::nil(), vec![json!({ "role": "assistant", "content": "No." })], Uuid::nil);
        assert_eq!(untrue, [Uuid::from_u128(2)], "a step that was told and is no message after all");
    }
}
