//! What a request asks beside messages and tools, in the words of each dialect.
//!
//! Inside, options have OpenAI's chat words. What another dialect says beyond them stands in a member named
//! after it ([`ANTHROPIC`], [`GOOGLE`], [`RESPONSES`]): a provider of that dialect gets it as it came; for any other, what has
//! a word there is put into it, what changes nothing in the answer is left out, and the rest is refused,
//! because an answer with less than was asked for is worse than an error.

use super::openai::request::{ChatRequest, RequestError};
use serde_json::{Map, Value, json};

/// The member with what only Anthropic's dialect says.
pub const ANTHROPIC: &str = "anthropic";
/// The member with what only Google's dialect says.
pub const GOOGLE: &str = "google";

/// The member with what only OpenAI's responses dialect says.
pub const RESPONSES: &str = "openai_responses";

/// Thinking budgets in tokens that stand for an effort, and the effort: up to the first it is `low`.
const EFFORT_OF_BUDGET: [(u64, &str); 2] = [(4_096, "low"), (16_384, "medium")];
/// What Anthropic's clients say of their bookkeeping; it changes no answer.
const ANTHROPIC_BOOKKEEPING: [&str; 6] =
    ["metadata", "context_management", "service_tier", "inference_geo", "cache_control", "speed"];
/// What OpenAI's clients say of their bookkeeping, or as a hint.
const OPENAI_BOOKKEEPING: [&str; 10] = [
    "store",
    "metadata",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "service_tier",
    "verbosity",
    "stream_options",
];

/// The form an answer must have.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of this schema.
    JsonSchema {
        name: String,
        schema: Value,
        strict: Option<bool>,
    },
}

/// How hard a model should think.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effort {
    /// Not at all.
    Off,
    /// As hard as this word says: `minimal`, `low`, `medium`, `high`, …
    As(String),
}

/// The options of a request on their way to a provider; each is taken out as it is understood.
#[derive(Debug)]
pub struct Options {
    rest: Map<String, Value>,
}

impl Options {
    /// For a provider of OpenAI's dialects: Anthropic's words put into OpenAI's.
    pub fn in_openai_words(request: &ChatRequest) -> Result<Self, RequestError> {
        let mut rest = request.rest.clone();
        [GOOGLE, RESPONSES].iter().for_each(|other| drop(rest.remove(*other)));
        if let Some(Value::Object(theirs)) = rest.remove(ANTHROPIC) {
            translate(theirs, &mut rest)?;
        }
        Ok(Self { rest })
    }

    /// For a provider whose own words stand in the member `own`, which are given apart.
    pub fn with_own(request: &ChatRequest, own: &str) -> Result<(Self, Map<String, Value>), RequestError> {
        let mut rest = request.rest.clone();
        let theirs = match rest.remove(own) {
            Some(Value::Object(theirs)) => theirs,
            _ => Map::new(),
        };
        let request = ChatRequest { rest, ..ChatRequest::new(request.model.clone(), Vec::new()) };
        if own == ANTHROPIC {
            let mut rest = request.rest;
            [GOOGLE, RESPONSES].iter().for_each(|other| drop(rest.remove(*other)));
            return Ok((Self { rest }, theirs));
        }
        Ok((Self::in_openai_words(&request)?, theirs))
    }

    /// Takes an option out.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.rest.remove(name).filter(|value| !value.is_null())
    }

    /// How hard to think: `reasoning_effort`, or OpenRouter's `reasoning.effort`.
    pub fn take_effort(&mut self) -> Option<Effort> {
        let reasoning = self.take("reasoning");
        let word = self.take("reasoning_effort").or_else(|| reasoning?.get("effort").cloned())?;
        match word.as_str()? {
            "none" => Some(Effort::Off),
            word => Some(Effort::As(word.to_owned())),
        }
    }

    /// The form of the answer: `response_format`.
    pub fn take_format(&mut self) -> Result<Option<Format>, RequestError> {
        let Some(value) = self.take("response_format") else { return Ok(None) };
        let wrong = |rule: &str| {
            RequestError::new("response_format", "invalid_value", format!("`response_format` {rule}"))
        };
        match value.get("type").and_then(Value::as_str) {
            Some("text") => Ok(Some(Format::Text)),
            Some("json_object") => Ok(Some(Format::JsonObject)),
            Some("json_schema") => {
                let body = value.get("json_schema").ok_or_else(|| wrong("lacks `json_schema`."))?;
                let schema = body.get("schema").filter(|schema| schema.is_object());
                Ok(Some(Format::JsonSchema {
                    name: body.get("name").and_then(Value::as_str).unwrap_or("answer").to_owned(),
                    schema: schema.ok_or_else(|| wrong("lacks a `schema`."))?.clone(),
                    strict: body.get("strict").and_then(Value::as_bool),
                }))
            }
            _ => Err(wrong("must be of type `text`, `json_object` or `json_schema`.")),
        }
    }

    /// Leaves out what keeps OpenAI's books.
    pub fn drop_bookkeeping(&mut self) {
        OPENAI_BOOKKEEPING.iter().for_each(|name| drop(self.rest.remove(*name)));
    }

    /// Refuses an option that a provider has no word for, unless it asks for nothing.
    pub fn refuse(&mut self, names: &[&str], provider: &str) -> Result<(), RequestError> {
        for name in names {
            let Some(value) = self.take(name) else { continue };
            let asks_for_nothing = value.as_f64() == Some(0.0)
                || value == json!(false)
                || value.as_object().is_some_and(Map::is_empty)
                || value.as_array().is_some_and(Vec::is_empty);
            if !asks_for_nothing {
                let message = format!("{provider} models have no `{name}`; leave it out.");
                return Err(RequestError::new(*name, "unsupported_parameter", message));
            }
        }
        Ok(())
    }

    /// What nobody asked for: passed on, for the provider to understand or refuse.
    pub fn into_rest(self) -> Map<String, Value> {
        self.rest
    }
}

/// Puts Anthropic's words into OpenAI's; those OpenAI's clients chose stay.
fn translate(theirs: Map<String, Value>, rest: &mut Map<String, Value>) -> Result<(), RequestError> {
    let mut say = |name: &str, value: Value| {
        rest.entry(name).or_insert(value);
    };
    for (name, value) in theirs {
        match name.as_str() {
            "thinking" => {
                let effort = match value.get("type").and_then(Value::as_str) {
                    Some("enabled") => Some(effort_of(value.get("budget_tokens").and_then(Value::as_u64))),
                    _ => None, // the model decides, or has nothing to decide
                };
                effort.into_iter().for_each(|word| say("reasoning_effort", json!(word)));
            }
            "output_config" => {
                if let Some(effort) = value.get("effort").filter(|effort| effort.is_string()) {
                    let word = if *effort == json!("max") { json!("xhigh") } else { effort.clone() };
                    say("reasoning_effort", word);
                }
                if let Some(schema) = value.get("format").and_then(|format| format.get("schema")) {
                    let body = json!({ "name": "answer", "schema": schema, "strict": true });
                    say("response_format", json!({ "type": "json_schema", "json_schema": body }));
                }
            }
            "top_k" => say("top_k", value),
            name if ANTHROPIC_BOOKKEEPING.contains(&name) => {}
            name => {
                let message = format!("`{name}` is a word of Anthropic models alone; leave it out.");
                return Err(RequestError::new(name, "unsupported_parameter", message));
            }
        }
    }
    Ok(())
}

fn effort_of(budget_tokens: Option<u64>) -> &'static str {
    let budget = budget_tokens.unwrap_or(u64::MAX);
    EFFORT_OF_BUDGET.iter().find(|(most, _)| budget <= *most).map_or("high", |(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(extra: Value) -> ChatRequest {
        let mut value = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
        value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        ChatRequest::from_value(value).unwrap()
    }

    #[test]
    fn anthropics_words_become_openais_and_openais_own_stay() {
        let words = |theirs: Value, more: Value| {
            let mut extra = json!({ "anthropic": theirs });
            extra.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Value::Object(Options::in_openai_words(&request(extra)).unwrap().into_rest())
        };
        let budget = |tokens: u64| json!({ "thinking": { "type": "enabled", "budget_tokens": tokens } });
        assert_eq!(words(budget(1_024), json!({})), json!({ "reasoning_effort": "low" }));
        assert_eq!(words(budget(8_000), json!({})), json!({ "reasoning_effort": "medium" }));
        assert_eq!(words(budget(60_000), json!({})), json!({ "reasoning_effort": "high" }));
        let own = json!({ "reasoning_effort": "minimal" });
        assert_eq!(words(budget(60_000), own.clone()), own);
        let claude_code = json!({ "metadata": { "user_id": "u" }, "thinking": { "type": "adaptive" },
            "output_config": { "effort": "max" }, "context_management": {} });
        assert_eq!(words(claude_code, json!({})), json!({ "reasoning_effort": "xhigh" }));
        let format = json!({ "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } } } });
        assert_eq!(
            words(format, json!({}))["response_format"]["json_schema"]["schema"],
            json!({ "type": "object" })
        );
    }

    #[test]
    fn what_only_one_family_can_do_is_refused_by_the_others() {
        let error =
            Options::in_openai_words(&request(json!({ "anthropic": { "mcp_servers": [] } }))).unwrap_err();
        assert_eq!((error.param.as_deref(), error.code), (Some("mcp_servers"), "unsupported_parameter"));
        let mut options =
            Options::in_openai_words(&request(json!({ "logit_bias": {}, "frequency_penalty": 1 }))).unwrap();
        assert_eq!(options.refuse(&["logit_bias"], "Anthropic"), Ok(()));
        let error = options.refuse(&["frequency_penalty"], "Anthropic").unwrap_err();
        assert_eq!(error.param.as_deref(), Some("frequency_penalty"));
    }

    #[test]
    fn an_effort_and_a_format_are_read_in_either_spelling() {
        let mut options =
            Options::in_openai_words(&request(json!({ "reasoning": { "effort": "high" } }))).unwrap();
        assert_eq!(options.take_effort(), Some(Effort::As("high".into())));
        let mut options = Options::in_openai_words(&request(json!({ "reasoning_effort": "none" }))).unwrap();
        assert_eq!(options.take_effort(), Some(Effort::Off));
        let bad = request(json!({ "response_format": { "type": "json_schema" } }));
        let error = Options::in_openai_words(&bad).unwrap().take_format().unwrap_err();
        assert_eq!(error.param.as_deref(), Some("response_format"));
    }
}
