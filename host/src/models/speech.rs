//! A text, spoken: OpenAI's dialect in, OpenAI's or Google's out; the sound as it comes.

use super::error::UpstreamError;
use super::openai::request::{Fields, ModelId, RequestError};
use super::{Kind, Upstream, Usage, google};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde_json::{Map, Value, json};

/// The longest text, in characters (row M107): OpenAI's own limit.
pub const INPUT_CHARS_MAX: usize = 4_096;
/// The longest sound, in bytes: the longest text slowly and uncompressed.
const SOUND_BYTES_MAX: usize = 96 << 20;
/// How a voice may be called, in characters.
const VOICE_CHARS_MAX: usize = 128;

/// The forms a sound may have, and what each is called in an answer.
const FORMATS: [(&str, &str); 6] = [
    ("mp3", "audio/mpeg"),
    ("opus", "audio/ogg"),
    ("aac", "audio/aac"),
    ("flac", "audio/flac"),
    ("wav", "audio/wav"),
    ("pcm", "audio/pcm"),
];

/// A request to speak, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeechRequest {
    pub model: ModelId,
    pub input: String,
    pub voice: String,
    /// Of `FORMATS`; none: as whoever speaks does it by itself, OpenAI's as MP3, Google's as WAV.
    pub format: Option<&'static str>,
    /// Everything else, for the provider.
    pub rest: Map<String, Value>,
}

impl SpeechRequest {
    /// Reads a request.
    pub fn from_value(value: Value) -> Result<Self, RequestError> {
        let mut fields = Fields::new(value, "")?;
        let mut needed = |name: &str| fields.string(name)?.ok_or_else(|| RequestError::missing(name));
        let (model, input, voice) = (needed("model")?, needed("input")?, needed("voice")?);
        if input.is_empty() || input.chars().count() > INPUT_CHARS_MAX {
            return Err(RequestError::invalid("input", "must be 1 to 4096 characters long."));
        }
        if voice.is_empty() || voice.chars().count() > VOICE_CHARS_MAX {
            return Err(RequestError::invalid("voice", "is no voice's name."));
        }
        if fields.string("stream_format")?.is_some_and(|format| format != "audio") {
            let message = "`stream_format` must be `audio`: sound comes as it is. Leave it out.";
            return Err(RequestError::new("stream_format", "unsupported_parameter", message));
        }
        // OpenAI's word for it, or the shorter one.
        let (long, short) = (fields.string("response_format")?, fields.string("format")?);
        let param = if long.is_some() { "response_format" } else { "format" };
        let unknown =
            || RequestError::invalid(param, "must be `mp3`, `opus`, `aac`, `flac`, `wav` or `pcm`.");
        let known = |word: String| FORMATS.iter().find(|(name, _)| *name == word).map(|(name, _)| *name);
        let format = long.or(short).map(|word| known(word).ok_or_else(unknown)).transpose()?;
        if let Some(speed) = fields.number("speed", 0.25, 4.0)? {
            fields.map.insert("speed".into(), json!(speed));
        }
        Ok(Self { model: ModelId::parse(&model)?, input, voice, format, rest: fields.map })
    }

    /// What is charged for.
    pub fn characters(&self) -> u64 {
        self.input.chars().count() as u64
    }
}

/// A sound that is not read here. Dropping it drops the connection.
pub struct Spoken {
    /// What it is called in an answer.
    pub media_type: &'static str,
    /// What comes; ends with the first error.
    pub bytes: BoxStream<'static, Result<Bytes, UpstreamError>>,
    /// What it took in tokens, where whoever speaks says so.
    pub usage: Usage,
}

/// Whether whoever speaks says what that took in tokens, as Google's models do, which are paid so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InTokens {
    Never,
    /// Some of those that may be asked do.
    Sometimes,
    Always,
}

/// Asks a provider of OpenAI's dialect or of Google's. Returns once the head of a good answer is here.
pub(super) async fn ask(
    upstream: &Upstream,
    model: &str,
    request: &SpeechRequest,
) -> Result<Spoken, UpstreamError> {
    let model = upstream.name_of(model);
    if upstream.kind() == Kind::Google {
        return google::media::speak(upstream, model, request).await;
    }
    let (format, media_type) =
        FORMATS.iter().find(|(name, _)| Some(*name) == request.format).copied().unwrap_or(FORMATS[0]);
    let mut body = request.rest.clone();
    body.insert("model".into(), json!(model));
    body.insert("input".into(), json!(request.input));
    body.insert("voice".into(), json!(request.voice));
    body.insert("response_format".into(), json!(format));
    let body = Value::Object(body).to_string().into();
    let fetched = upstream.fetch(&["audio", "speech"], "application/json", body, SOUND_BYTES_MAX).await;
    let fetched = fetched.map_err(|error| error.of_endpoint("speech"))?;
    // What is no sound must not be passed off as one.
    let is_sound = |media: &str| media.starts_with("audio/") || media == "application/octet-stream";
    if fetched.media_type.as_deref().is_some_and(is_sound) {
        return Ok(Spoken { media_type, bytes: fetched.bytes, usage: Usage::default() });
    }
    Err(UpstreamError::bad_reply("it is no sound"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m107_a_request_names_a_model_a_text_a_voice_and_a_form() {
        let request = |more: Value| {
            let mut body = json!({ "model": "openai/speaker", "input": "hi", "voice": "alloy" });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            SpeechRequest::from_value(body)
        };
        let of = |more: Value| request(more).unwrap().format;
        assert_eq!(of(json!({})), None, "whoever speaks may choose");
        assert_eq!(of(json!({ "format": "wav" })), Some("wav"));
        assert_eq!(of(json!({ "response_format": "opus", "format": "wav" })), Some("opus"));
        for (wrong, param) in [
            (json!({ "input": "x".repeat(INPUT_CHARS_MAX + 1) }), "input"),
            (json!({ "input": "" }), "input"),
            (json!({ "voice": null }), "voice"),
            (json!({ "format": "midi" }), "format"),
            (json!({ "response_format": "midi" }), "response_format"),
            (json!({ "speed": 9 }), "speed"),
            (json!({ "stream_format": "sse" }), "stream_format"),
        ] {
            assert_eq!(request(wrong.clone()).unwrap_err().param.as_deref(), Some(param), "{wrong}");
        }
        assert_eq!(request(json!({ "input": "ä".repeat(INPUT_CHARS_MAX) })).unwrap().characters(), 4_096);
    }
}
