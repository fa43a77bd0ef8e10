//! What a model thought, as its provider wants it back.
//!
//! Providers sign or seal what their models think and refuse, or answer worse, where it does not come back
//! unchanged with the conversation. To us it is unread. It travels
//! - to OpenAI clients in `reasoning_details` of a message, in the shape OpenRouter made common;
//! - to Anthropic clients as `thinking` and `redacted_thinking`, to Responses clients as `reasoning` items;
//!   a seal of another maker in the field that both give back unread, see [`Thought::to_opaque`];
//! - to guests, whose contract has no thoughts, in `extra_content` of the call that followed it, which every
//!   agent gives back: see [`ForGuest`].
//!
//! A provider is sent thoughts of its own maker alone.

use super::Event;
use super::openai::request::Message;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

/// The member of a message that holds its thoughts.
pub const DETAILS: &str = "reasoning_details";
/// The member of a call's `extra_content` that holds the thoughts before it.
const IN_EXTRA: &str = "opg";
/// How an opaque text of ours begins.
const OPAQUE_PREFIX: &str = "opg1.";

/// Whose models can read a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    Anthropic,
    Google,
    OpenAi,
}

impl Maker {
    const ALL: [Self; 3] = [Self::Anthropic, Self::Google, Self::OpenAi];

    fn format(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic-claude-v1",
            Self::Google => "google-gemini-v1",
            Self::OpenAi => "openai-responses-v1",
        }
    }
}

/// One stretch of thinking, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thought {
    pub maker: Maker,
    /// The provider's id for it, where it has one.
    pub id: Option<String>,
    /// What was thought, as far as the provider shows it. Of Google's: the text the seal came with.
    pub text: String,
    /// A signature over the text, or the thought itself, encrypted.
    pub seal: String,
    /// Anthropic's: the words are kept from us.
    pub redacted: bool,
}

impl Thought {
    /// A thought of nothing but a seal.
    pub fn sealed(maker: Maker, seal: impl Into<String>) -> Self {
        Self { maker, id: None, text: String::new(), seal: seal.into(), redacted: false }
    }

    /// An item of `reasoning_details`.
    pub fn to_detail(&self) -> Value {
        let mut detail = Map::from_iter([("format".to_owned(), json!(self.maker.format()))]);
        let mut set = |key: &str, value: Value| drop(detail.insert(key.to_owned(), value));
        let signed = self.maker == Maker::Anthropic && !self.redacted;
        if signed {
            set("type", json!("reasoning.text"));
            set("signature", json!(self.seal));
        } else {
            set("type", json!("reasoning.encrypted"));
            set("data", json!(self.seal));
        }
        if signed || !self.text.is_empty() {
            set("text", json!(self.text));
        }
        if let Some(id) = &self.id {
            set("id", json!(id));
        }
        Value::Object(detail)
    }

    /// Reads an item of `reasoning_details`; None for one that no provider wants back.
    pub fn from_detail(detail: &Value) -> Option<Self> {
        let text = |key: &str| detail.get(key).and_then(Value::as_str).map(str::to_owned);
        let format = text("format")?;
        let maker = Maker::ALL.into_iter().find(|maker| maker.format() == format)?;
        let signed = text("type")? == "reasoning.text";
        let seal = if signed { text("signature") } else { text("data") }?;
        let redacted = maker == Maker::Anthropic && !signed;
        let text_of = text("text").filter(|_| !redacted).unwrap_or_default();
        Some(Self { maker, id: text("id"), text: text_of, seal, redacted }).filter(|it| !it.seal.is_empty())
    }

    /// The thought as a text that a client keeps without reading it.
    pub fn to_opaque(&self) -> String {
        format!("{OPAQUE_PREFIX}{}", URL_SAFE_NO_PAD.encode(self.to_detail().to_string()))
    }

    /// Reads what [`Thought::to_opaque`] wrote; None where the text is a provider's own.
    pub fn from_opaque(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(OPAQUE_PREFIX)?).ok()?;
        Self::from_detail(&serde_json::from_slice(&bytes).ok()?)
    }

    /// What a provider of `maker` wants back with this message: what the message says, or else what went
    /// with its calls.
    pub fn of_message(message: &Message, maker: Maker) -> Vec<Self> {
        let said = message.rest.get(DETAILS).and_then(Value::as_array);
        let said: Vec<Self> = said.into_iter().flatten().filter_map(Self::from_detail).collect();
        let all = if said.is_empty() {
            message
                .tool_calls
                .iter()
                .filter_map(|call| call.rest.get("extra_content"))
                .flat_map(in_extra)
                .collect()
        } else {
            said
        };
        all.into_iter().filter(|thought| thought.maker == maker).collect()
    }
}

/// The thoughts that [`ForGuest`] put with a call.
pub fn in_extra(extra_content: &Value) -> Vec<Thought> {
    let details =
        extra_content.get(IN_EXTRA).and_then(|ours| ours.get("reasoning")).and_then(Value::as_array);
    details.into_iter().flatten().filter_map(Thought::from_detail).collect()
}

/// What of `extra_content` is the provider's own.
pub fn without_ours(mut extra_content: Value) -> Option<Value> {
    extra_content.as_object_mut()?.remove(IN_EXTRA);
    Some(extra_content).filter(|extra| extra.as_object().is_some_and(|fields| !fields.is_empty()))
}

/// Puts thoughts where guests carry them: with the first call after them.
#[derive(Debug, Default)]
pub struct ForGuest {
    waiting: Vec<Value>,
}

impl ForGuest {
    /// The event for the guest; None for a thought, which waits for its call.
    pub fn event(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Thought(thought) => {
                self.waiting.push(thought.to_detail());
                None
            }
            Event::ToolCall { index, id: id @ Some(_), name, arguments, extra_content }
                if !self.waiting.is_empty() =>
            {
                let mut extra = extra_content.unwrap_or_else(|| json!({}));
                extra[IN_EXTRA] = json!({ "reasoning": std::mem::take(&mut self.waiting) });
                Some(Event::ToolCall { index, id, name, arguments, extra_content: Some(extra) })
            }
            event => Some(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Role, ToolCall};

    fn thoughts() -> Vec<Thought> {
        let signed = Thought { text: "hm".into(), ..Thought::sealed(Maker::Anthropic, "sig") };
        let redacted = Thought { redacted: true, ..Thought::sealed(Maker::Anthropic, "data") };
        let item =
            Thought { id: Some("rs_1".into()), text: "sum".into(), ..Thought::sealed(Maker::OpenAi, "enc") };
        vec![signed, redacted, item, Thought::sealed(Maker::Google, "g")]
    }

    #[test]
    fn a_thought_comes_back_as_it_went_in_every_carrier() {
        for thought in thoughts() {
            assert_eq!(Thought::from_detail(&thought.to_detail()).as_ref(), Some(&thought));
            assert_eq!(Thought::from_opaque(&thought.to_opaque()).as_ref(), Some(&thought));
        }
        insta::assert_snapshot!(thoughts()[0].to_detail(), @r#"{"format":"anthropic-claude-v1","signature":"sig","text":"hm","type":"reasoning.text"}"#);
        insta::assert_snapshot!(thoughts()[2].to_detail(), @r#"{"data":"enc","format":"openai-responses-v1","id":"rs_1","text":"sum","type":"reasoning.encrypted"}"#);
    }

    #[test]
    fn what_is_no_thought_of_ours_is_none() {
        for detail in
            [json!(null), json!({}), json!({ "type": "reasoning.text", "text": "hm", "format": "x" })]
        {
            assert_eq!(Thought::from_detail(&detail), None, "{detail}");
        }
        for text in ["", "opg1.", "opg1.!!", "EqQBCgIYAhIM", "opg1.e30"] {
            assert_eq!(Thought::from_opaque(text), None, "{text}");
        }
    }

    #[test]
    fn a_guest_gets_thoughts_with_the_call_they_led_to_and_gives_them_back_with_it() {
        let call = |id: Option<&str>, extra_content| Event::ToolCall {
            index: 0,
            id: id.map(str::to_owned),
            name: id.map(|_| "f".to_owned()),
            arguments: "{}".into(),
            extra_content,
        };
        let mut carrier = ForGuest::default();
        for thought in thoughts() {
            assert_eq!(carrier.event(Event::Thought(thought)), None);
        }
        assert_eq!(carrier.event(Event::Text("x".into())), Some(Event::Text("x".into())));
        let google = json!({ "google": { "thought_signature": "s" } });
        let Some(Event::ToolCall { extra_content: Some(extra), .. }) =
            carrier.event(call(Some("c1"), Some(google.clone())))
        else {
            panic!("a call");
        };
        assert_eq!(in_extra(&extra), thoughts());
        assert_eq!(without_ours(extra.clone()), Some(google));
        assert_eq!(carrier.event(call(Some("c2"), None)), Some(call(Some("c2"), None)), "once");

        let rest = Map::from_iter([("extra_content".to_owned(), extra)]);
        let call = ToolCall { id: "c1".into(), name: "f".into(), arguments: "{}".into(), rest };
        let message = Message { tool_calls: vec![call], ..Message::text(Role::Assistant, "") };
        assert_eq!(Thought::of_message(&message, Maker::Anthropic), thoughts()[..2]);
        assert_eq!(Thought::of_message(&message, Maker::Google), thoughts()[3..]);
    }
}
