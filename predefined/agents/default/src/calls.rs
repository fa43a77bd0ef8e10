//! Tool calls as a model streams them: in pieces, and not always as they
//! should be.

use std::collections::{BTreeMap, BTreeSet};

use opg_guest::model::ToolCallFragment;
use opg_guest::serde_json;
use opg_guest::{Map, Value, json};

/// A tool call with all its pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// Unique in its step.
    pub(crate) id: String,
    pub(crate) name: String,
    /// The JSON text of an object, or what is wrong with what the model wrote.
    pub(crate) input: Result<String, String>,
    /// What the provider wants back with the call, unread (Gemini refuses a
    /// conversation without its signatures).
    pub(crate) extra_content: Option<Value>,
}

impl Call {
    /// The input for the conversation. What the model wrote stands in the
    /// error it gets; here, text that is no JSON object would break providers
    /// that want an object.
    pub(crate) fn input_text(&self) -> &str {
        self.input.as_deref().unwrap_or("{}")
    }

    /// As it stands in an assistant message.
    pub(crate) fn to_message(&self) -> Value {
        let mut call = json!({
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.input_text()},
        });
        if let Some(extra) = &self.extra_content {
            call["extra_content"] = extra.clone();
        }
        call
    }
}

/// Puts the pieces together by their index.
#[derive(Default)]
pub(crate) struct Collector(BTreeMap<u32, Pieces>);

#[derive(Default)]
struct Pieces {
    id: String,
    name: String,
    arguments: String,
    extra_content: Option<Value>,
}

impl Collector {
    pub(crate) fn add(&mut self, fragment: ToolCallFragment) {
        let pieces = self.0.entry(fragment.index).or_default();
        // Some providers repeat id and name in every piece.
        if pieces.id.is_empty() {
            pieces.id = fragment.id.unwrap_or_default();
        }
        if pieces.name.is_empty() {
            pieces.name = fragment.name.unwrap_or_default();
        }
        pieces.arguments.push_str(&fragment.arguments);
        pieces.extra_content = pieces.extra_content.take().or(fragment.extra_content);
    }

    /// The calls in the order of their index. Without an id of its own, a call
    /// is named after the step and its place in it.
    pub(crate) fn finish(self, step: u32) -> Vec<Call> {
        let mut ids = BTreeSet::new();
        let mut calls = Vec::new();
        for (place, pieces) in self.0.into_values().enumerate() {
            let mut id = pieces.id;
            if id.is_empty() || ids.contains(&id) {
                id = format!("call_{step}_{place}");
            }
            ids.insert(id.clone());
            let (name, input) = (pieces.name, read_input(pieces.arguments));
            calls.push(Call { id, name, input, extra_content: pieces.extra_content });
        }
        calls
    }
}

/// No arguments at all mean none are needed.
fn read_input(arguments: String) -> Result<String, String> {
    /// Enough for the model to see what it did.
    const EXCERPT_CHARS_MAX: usize = 200;
    if arguments.trim().is_empty() {
        return Ok("{}".to_owned());
    }
    match serde_json::from_str::<Map<String, Value>>(&arguments) {
        Ok(_) => Ok(arguments),
        Err(error) => {
            let excerpt: String = arguments.chars().take(EXCERPT_CHARS_MAX).collect();
            Err(format!("the arguments must be one JSON object ({error}); you sent: {excerpt}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(index: u32, id: &str, name: &str, arguments: &str) -> ToolCallFragment {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ToolCallFragment {
            index,
            id: some(id),
            name: some(name),
            arguments: arguments.to_owned(),
            extra_content: None,
        }
    }

    fn collect(fragments: impl IntoIterator<Item = ToolCallFragment>) -> Vec<Call> {
        let mut collector = Collector::default();
        fragments.into_iter().for_each(|fragment| collector.add(fragment));
        collector.finish(2)
    }

    #[test]
    fn pieces_of_calls_that_come_mixed_are_put_together_by_index() {
        let calls = collect([
            fragment(1, "b", "two", ""),
            fragment(0, "a", "one", r#"{"x""#),
            fragment(1, "", "", r#"{"y":2}"#),
            fragment(0, "a", "one", ":1}"),
        ]);
        let expected = [("a", "one", r#"{"x":1}"#), ("b", "two", r#"{"y":2}"#)];
        let expected = expected.map(|(id, name, input)| Call {
            id: id.into(),
            name: name.into(),
            input: Ok(input.into()),
            extra_content: None,
        });
        assert_eq!(calls, expected);
    }

    #[test]
    fn a_call_without_an_id_or_with_that_of_another_gets_its_own() {
        let calls = collect([fragment(0, "a", "n", ""), fragment(4, "a", "n", ""), fragment(7, "", "n", "")]);
        let ids: Vec<_> = calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["a", "call_2_1", "call_2_2"]);
    }

    #[test]
    fn what_the_provider_wants_back_stands_in_the_message() {
        let signature = json!({"google": {"thought_signature": "s"}});
        let signed =
            ToolCallFragment { extra_content: Some(signature.clone()), ..fragment(0, "a", "n", "{") };
        let calls = collect([signed, fragment(0, "", "", "}"), fragment(1, "b", "n", "")]);
        assert_eq!(calls[0].to_message()["extra_content"], signature);
        assert_eq!(calls[1].to_message().get("extra_content"), None);
    }

    #[test]
    fn arguments_are_one_object_or_nothing() {
        let input = |arguments: &str| collect([fragment(0, "a", "n", arguments)]).remove(0).input;
        assert_eq!(input(""), Ok("{}".into()));
        assert_eq!(input(" \n"), Ok("{}".into()));
        for bad in ["{\"x\":", "[1]", "null", "{} {}", "\"text\""] {
            let problem = input(bad).unwrap_err();
            assert!(problem.ends_with(&format!("you sent: {bad}")), "{problem}");
        }
    }
}
