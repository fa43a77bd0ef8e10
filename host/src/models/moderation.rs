//! Whether a text or a picture is harmful: OpenAI's dialect, passed through.

use super::error::UpstreamError;
use super::openai::request::{Fields, ModelId, RequestError};
use super::{Upstream, Usage, tokens};
use serde_json::{Map, Value, json};

/// Inputs of one request: more is a job, not a call somebody waits for.
pub const INPUTS_MAX: usize = 256;
/// The largest answer, in bytes: a few kilobytes for each input.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A request to judge something, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ModerationRequest {
    pub model: ModelId,
    /// A text, texts, or parts with pictures.
    pub input: Value,
    /// Everything else, for the provider.
    pub rest: Map<String, Value>,
}

impl ModerationRequest {
    /// Reads a request.
    pub fn from_value(value: Value) -> Result<Self, RequestError> {
        let mut fields = Fields::new(value, "")?;
        let model = fields.string("model")?.ok_or_else(|| RequestError::missing("model"))?;
        let input = fields.take("input").ok_or_else(|| RequestError::missing("input"))?;
        match &input {
            Value::String(_) => {}
            Value::Array(items) if items.is_empty() => {
                return Err(RequestError::invalid("input", "must hold at least one text."));
            }
            Value::Array(items) if items.len() > INPUTS_MAX => {
                return Err(RequestError::too_many("input", items.len(), INPUTS_MAX));
            }
            Value::Array(items) if items.iter().all(|item| item.is_string() || item.is_object()) => {}
            _ => return Err(RequestError::wrong_type("input", "text, or an array of texts or parts")),
        }
        Ok(Self { model: ModelId::parse(&model)?, input, rest: fields.map })
    }

    /// What is read, in bytes of text.
    pub fn bytes(&self) -> u64 {
        let of = |item: &Value| match item {
            Value::String(text) => text.len(),
            part => part["text"].as_str().map_or(0, str::len),
        };
        let bytes = match &self.input {
            Value::Array(items) => items.iter().map(of).sum(),
            one => of(one),
        };
        bytes as u64
    }
}

/// Asks a provider of OpenAI's dialect; its answer, and our estimate of what it read, which it does not say.
pub(super) async fn ask(
    upstream: &Upstream,
    model: &str,
    request: &ModerationRequest,
) -> Result<(Value, Usage), UpstreamError> {
    let model = upstream.name_of(model);
    let mut body = request.rest.clone();
    body.insert("model".into(), json!(model));
    body.insert("input".into(), request.input.clone());
    let answer = upstream.ask(&["moderations"], &Value::Object(body), ANSWER_BYTES_MAX).await;
    let answer = answer.map_err(|error| error.of_endpoint("judgements"))?;
    if !answer["results"].is_array() {
        return Err(UpstreamError::bad_reply("it has no results"));
    }
    let prompt_tokens = request.bytes().div_ceil(tokens::CHARS_PER_TOKEN);
    Ok((answer, Usage { prompt_tokens, estimated: true, ..Usage::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m108_something_to_judge_is_a_text_texts_or_parts() {
        let read = |input: Value| {
            ModerationRequest::from_value(json!({ "model": "openai/judge", "input": input }))
                .map(|request| request.bytes())
        };
        assert_eq!(read(json!("abc")), Ok(3));
        assert_eq!(read(json!(["ab", "c"])), Ok(3));
        assert_eq!(read(json!([{ "type": "text", "text": "ab" }])), Ok(2));
        for wrong in [json!(null), json!(7), json!([]), json!([7]), json!(vec!["x"; INPUTS_MAX + 1])] {
            assert_eq!(read(wrong.clone()).unwrap_err().param.as_deref(), Some("input"), "{wrong}");
        }
    }
}
