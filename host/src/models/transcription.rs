//! Speech into text: a form with a sound goes to a provider of OpenAI's dialect as it came, but for its model.

use super::error::UpstreamError;
use super::frames::tokens;
use super::openai::request::{ModelId, RequestError};
use super::{Upstream, Usage};
use crate::http::multipart::{self, Part};
use bytes::Bytes;
use serde_json::Value;

/// The largest answer, in bytes: hours of speech with a time for each word.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Bytes of a second of sound where it is coded most tightly: the most seconds a file can hold.
const BYTES_PER_SECOND_MIN: u64 = 750;
/// Bytes of a second of sound as it usually is: an estimate where nobody says how long it was.
const BYTES_PER_SECOND_USUAL: u64 = 16_000;
/// The forms a transcript may have.
const FORMATS: [&str; 6] = ["json", "text", "srt", "vtt", "verbose_json", "diarized_json"];

/// A request for a transcript, checked.
#[derive(Debug, Clone)]
pub struct TranscriptionRequest {
    pub model: ModelId,
    /// How long the sound is.
    bytes: u64,
    /// The form, without its model.
    parts: Vec<Part>,
    /// A boundary that stands in none of them.
    boundary: String,
}

/// A transcript in the form that was asked for.
#[derive(Debug, Clone)]
pub struct Transcript {
    pub media_type: &'static str,
    pub body: Bytes,
    pub usage: Usage,
    /// How long the sound was.
    pub seconds: u64,
}

impl TranscriptionRequest {
    /// Reads a form. `boundary` is one that nobody can guess.
    pub fn from_form(parts: Vec<Part>, boundary: String) -> Result<Self, RequestError> {
        let text = |name: &str| {
            let part = parts.iter().find(|part| part.name == name);
            part.map(|part| String::from_utf8(part.bytes.to_vec())).transpose()
        };
        let text = |name: &str| text(name).map_err(|_| RequestError::wrong_type(name, "text"));
        let model = text("model")?.ok_or_else(|| RequestError::missing("model"))?;
        if text("stream")?.is_some_and(|word| word != "false") {
            let message = "`stream` is not supported: a transcript comes whole. Leave it out.";
            return Err(RequestError::new("stream", "unsupported_parameter", message));
        }
        if text("response_format")?.is_some_and(|word| !FORMATS.contains(&word.as_str())) {
            let rule = "must be `json`, `text`, `srt`, `vtt`, `verbose_json` or `diarized_json`.";
            return Err(RequestError::invalid("response_format", rule));
        }
        let file = parts.iter().find(|part| part.name == "file");
        let bytes = file.map_or(0, |file| file.bytes.len() as u64);
        if bytes == 0 {
            return Err(RequestError::missing("file"));
        }
        let model = ModelId::parse(&model)?;
        let parts = parts.into_iter().filter(|part| part.name != "model").collect();
        Ok(Self { model, bytes, parts, boundary })
    }

    /// Whose request it is, where the client says so.
    pub fn user(&self) -> Option<&str> {
        let part = self.parts.iter().find(|part| part.name == "user")?;
        str::from_utf8(&part.bytes).ok()
    }

    /// The longest the sound can be.
    pub fn seconds_at_most(&self) -> u64 {
        self.bytes.div_ceil(BYTES_PER_SECOND_MIN)
    }
}

/// Asks a provider of OpenAI's dialect.
pub(super) async fn ask(
    upstream: &Upstream,
    model: &str,
    request: &TranscriptionRequest,
) -> Result<Transcript, UpstreamError> {
    let model = upstream.name_of(model);
    let model =
        Part { name: "model".into(), filename: None, media_type: None, bytes: model.to_owned().into() };
    let body = multipart::write(std::iter::once(&model).chain(&request.parts), &request.boundary);
    let media_type = format!("multipart/form-data; boundary={}", request.boundary);
    let fetched = upstream.fetch(&["audio", "transcriptions"], &media_type, body, ANSWER_BYTES_MAX).await;
    let fetched = fetched.map_err(|error| error.of_endpoint("transcripts"))?;
    let is_json = fetched.media_type.as_deref() == Some("application/json");
    let body = fetched.whole().await?;
    if !is_json {
        let text = str::from_utf8(&body).map_err(|_| UpstreamError::bad_reply("it is no text"))?;
        return Ok(Transcript {
            media_type: if text.starts_with("WEBVTT") {
                "text/vtt; charset=utf-8"
            } else {
                "text/plain; charset=utf-8"
            },
            usage: Usage { estimated: true, ..Usage::default() },
            seconds: request.bytes.div_ceil(BYTES_PER_SECOND_USUAL),
            body,
        });
    }
    let said: Value =
        serde_json::from_slice(&body).map_err(|_| UpstreamError::bad_reply("it is not valid JSON"))?;
    Ok(Transcript {
        media_type: "application/json",
        usage: usage(&said),
        seconds: seconds(&said).unwrap_or_else(|| request.bytes.div_ceil(BYTES_PER_SECOND_USUAL)),
        body,
    })
}

/// How long its provider says it was.
fn seconds(said: &Value) -> Option<u64> {
    let number = |pointer: &str| said.pointer(pointer).and_then(Value::as_f64);
    let seconds = number("/usage/seconds").or_else(|| number("/duration"))?;
    // A float becomes the nearest number there is, nought where it is none.
    (seconds >= 0.0).then_some(seconds.ceil() as u64)
}

fn usage(said: &Value) -> Usage {
    let count = |pointer: &str| tokens(said, pointer).unwrap_or(0);
    Usage {
        prompt_tokens: count("/usage/input_tokens"),
        completion_tokens: count("/usage/output_tokens"),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn part(name: &str, text: &str) -> Part {
        Part { name: name.into(), filename: None, media_type: None, bytes: text.to_owned().into() }
    }

    #[test]
    fn m108_a_form_needs_a_model_and_a_sound() {
        let read = |parts: Vec<Part>| TranscriptionRequest::from_form(parts, "b".into());
        let (model, file) = (part("model", "openai/hearer"), part("file", "sound"));
        let request = read(vec![model.clone(), file.clone(), part("user", "ann")]).unwrap();
        assert_eq!((request.user(), request.seconds_at_most()), (Some("ann"), 1));
        for (parts, param) in [
            (vec![model.clone()], "file"),
            (vec![file.clone()], "model"),
            (vec![model.clone(), part("file", "")], "file"),
            (vec![model.clone(), file.clone(), part("stream", "true")], "stream"),
            (vec![model, file, part("response_format", "docx")], "response_format"),
        ] {
            assert_eq!(read(parts).unwrap_err().param.as_deref(), Some(param));
        }
    }

    #[test]
    fn how_long_it_was_is_its_providers_word() {
        assert_eq!(seconds(&json!({ "usage": { "type": "duration", "seconds": 7 } })), Some(7));
        assert_eq!(seconds(&json!({ "duration": 3.2 })), Some(4));
        assert_eq!(seconds(&json!({ "text": "hi" })), None);
        assert_eq!(seconds(&json!({ "duration": -1 })), None);
        let said = json!({ "usage": { "type": "tokens", "input_tokens": 14, "output_tokens": 45 } });
        assert_eq!((usage(&said).prompt_tokens, usage(&said).completion_tokens), (14, 45));
    }
}
