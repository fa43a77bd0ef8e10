//! A provider's reply, streamed or whole, cut into JSON values for the one that can read them.
//!
//! One decoder for both forms: it looks at the first byte, because providers answer a streamed request with
//! plain JSON, and errors with either. What cannot be understood is an error, never silence.

use super::Event;
use super::anthropic::paused::Paused;
use super::error::{ErrorDetail, UpstreamError};
use super::sse::{Frame, SseReader};
use serde_json::Value;
use std::fmt::Debug;
use std::mem;

/// The largest reply, in bytes, of all frames or of one whole JSON answer.
pub const REPLY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How much of a model's name is kept, in characters.
const MODEL_CHARS_MAX: usize = 256;
/// What one reply can have used, in tokens: a thousand times the largest context there is. A provider's word
/// is held where no sum of a ledger's lifetime can overflow.
const TOKENS_MAX: u64 = 1_000_000_000;

/// Reads the values of one provider's dialect.
pub trait Read: Debug + Default + Send {
    /// Reads a frame of a stream, or a whole reply, and adds what it means to `events`. Events added before an
    /// error still count.
    fn read(&mut self, value: &Value, events: &mut Vec<Event>) -> Result<(), UpstreamError>;

    /// The provider said why the model stopped: only usage is still to come.
    fn is_finished(&self) -> bool;

    /// Nothing more will come, whatever follows.
    fn is_done(&self) -> bool;

    /// The stream said `[DONE]`.
    fn done(&mut self, events: &mut Vec<Event>);

    /// Where the reply was no end but a pause: what to send back. Reading then goes on with what that is answered.
    fn take_paused(&mut self) -> Option<Paused> {
        None
    }
}

/// What a reply's bytes are given to.
pub trait Decode: Debug + Send {
    /// Reads more bytes and adds what they mean to `events`. Events added before an error still count.
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), UpstreamError>;

    /// No more bytes will come.
    fn end(&mut self, events: &mut Vec<Event>) -> Result<(), UpstreamError>;

    /// Only usage is still to come.
    fn is_finished(&self) -> bool;

    /// Whatever follows does not count.
    fn is_done(&self) -> bool;

    /// As [`Read::take_paused`].
    fn take_paused(&mut self) -> Option<Paused>;

    /// What the provider calls the model that answers, once it said so.
    fn model(&self) -> Option<&str>;
}

/// Decodes one reply.
#[derive(Debug, Default)]
pub struct Decoder<R> {
    form: Form,
    bytes: usize,
    reader: R,
    /// Told once, the first time the provider names it.
    model: Option<String>,
}

#[derive(Debug, Default)]
enum Form {
    #[default]
    Unknown,
    Sse(SseReader),
    Json(Vec<u8>),
}

impl<R: Read> Decode for Decoder<R> {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > REPLY_BYTES_MAX {
            return Err(UpstreamError::bad_reply("it is too large"));
        }
        if let Form::Unknown = self.form {
            self.form = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
                None => return Ok(()),
                Some(b'{' | b'[') => Form::Json(Vec::new()),
                Some(b'<') => return Err(UpstreamError::bad_reply("it is a web page")),
                Some(_) => Form::Sse(SseReader::default()),
            };
        }
        match &mut self.form {
            Form::Json(body) => {
                body.extend_from_slice(bytes);
                Ok(())
            }
            Form::Sse(reader) => {
                let mut frames = Vec::new();
                let result = reader.push(bytes, &mut frames);
                self.read_frames(frames, events)?;
                result.map_err(|error| UpstreamError::bad_reply(&error.to_string()))
            }
            Form::Unknown => Ok(()),
        }
    }

    fn end(&mut self, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        match mem::take(&mut self.form) {
            Form::Unknown => Ok(()),
            Form::Json(body) => {
                let value = serde_json::from_slice(&body)
                    .map_err(|_| UpstreamError::bad_reply("it is not valid JSON"))?;
                self.note_model(&value);
                self.reader.read(&value, events)
            }
            Form::Sse(mut reader) => {
                let mut frames = Vec::new();
                let result = reader.end(&mut frames);
                self.read_frames(frames, events)?;
                result.map_err(|error| UpstreamError::bad_reply(&error.to_string()))
            }
        }
    }

    fn is_finished(&self) -> bool {
        self.reader.is_finished()
    }

    fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    fn take_paused(&mut self) -> Option<Paused> {
        let paused = self.reader.take_paused()?;
        self.form = Form::default();
        Some(paused)
    }

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

impl<R: Read> Decoder<R> {
    /// For a reader that was told something.
    pub fn with(reader: R) -> Self {
        Self { reader, ..Self::default() }
    }

    fn read_frames(&mut self, frames: Vec<Frame>, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        for frame in frames {
            let data = frame.data.trim();
            if self.reader.is_done() || data.is_empty() {
                continue;
            }
            if data == "[DONE]" {
                self.reader.done(events);
                continue;
            }
            let value: Value = serde_json::from_str(data)
                .map_err(|_| UpstreamError::bad_reply("a frame is not valid JSON"))?;
            if frame.event == "error" {
                return Err(embedded_error(ErrorDetail::find(&value).unwrap_or_default()));
            }
            self.note_model(&value);
            self.reader.read(&value, events)?;
        }
        Ok(())
    }

    /// Every dialect names the model that answers, each in its own place.
    fn note_model(&mut self, value: &Value) {
        if self.model.is_none() {
            let places = ["/model", "/message/model", "/response/model", "/modelVersion"];
            let named = places.iter().find_map(|place| value.pointer(place)?.as_str());
            self.model = named.map(|name| name.chars().take(MODEL_CHARS_MAX).collect());
        }
    }
}

/// An error the provider sent inside a good answer.
pub fn embedded_error(detail: ErrorDetail) -> UpstreamError {
    UpstreamError::from_status(detail.status(), detail, None)
}

/// A number of tokens a provider gave.
pub fn tokens(usage: &Value, pointer: &str) -> Option<u64> {
    usage.pointer(pointer).and_then(Value::as_u64).map(|count| count.min(TOKENS_MAX))
}

/// The text under a key.
pub fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// The items of a list under a key.
pub fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
