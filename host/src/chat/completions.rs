//! OpenAI's chat completions.

use super::{
    answer::Answer,
    dialect::{Dialect, Gather},
    send::Asked,
    stream::Encode,
};
use crate::{
    error::ApiError,
    models::{
        Event,
        openai::chunks::{ChunkEncoder, CompletionBuilder, ErrorBody, Head, KEEP_ALIVE},
    },
};
use serde_json::Value;

/// The dialect of `/v1/chat/completions`.
#[derive(Debug)]
pub struct Completions;

impl Dialect for Completions {
    type Streamed = ChunkEncoder;
    type Whole = Completion;

    fn read(body: Value) -> Result<(Value, Self), ApiError> {
        Ok((body, Self))
    }

    fn streamed(self, answer: &Answer, asked: &Asked, _request_id: &str) -> ChunkEncoder {
        ChunkEncoder::new(answer.head.clone(), asked.include_usage)
    }

    fn whole(self, answer: &Answer, _asked: &Asked) -> Completion {
        Completion { head: answer.head.clone(), builder: CompletionBuilder::default() }
    }
}

/// A completion in the making.
#[derive(Debug)]
pub struct Completion {
    head: Head,
    builder: CompletionBuilder,
}

impl Gather for Completion {
    fn push(&mut self, event: &Event) {
        self.builder.push(event);
    }

    fn whole(self) -> Option<Value> {
        self.builder.completion(&self.head)
    }
}

impl Encode for ChunkEncoder {
    const SILENCE: &'static str = KEEP_ALIVE;

    fn event(&mut self, event: &Event) -> String {
        ChunkEncoder::event(self, event)
    }

    fn done(&mut self) -> String {
        ChunkEncoder::done(self)
    }

    fn error(&mut self, error: &ApiError) -> String {
        ChunkEncoder::error(self, &error_body(error))
    }
}

fn error_body(error: &ApiError) -> ErrorBody {
    let object = &error.openai()["error"];
    let text = |name: &str| object[name].as_str().map(str::to_owned);
    ErrorBody {
        message: text("message").unwrap_or_default(),
        kind: text("type").unwrap_or_default(),
        param: text("param"),
        code: text("code"),
    }
}
