//! OpenAI's responses.

use super::{
    answer::Answer,
    dialect::{Dialect, Gather},
    send::{self, Asked, ChatError},
    stream::Encode,
};
use crate::{
    error::ApiError,
    models::{
        Event,
        openai::chunks::KEEP_ALIVE,
        responses::{
            events::{Head, ResponseEncoder},
            request::{Echo, to_chat},
        },
    },
};
use serde_json::Value;

/// The dialect of `/v1/responses`.
#[derive(Debug)]
pub struct Responses(Echo);

impl Dialect for Responses {
    type Streamed = ResponseEncoder;
    type Whole = ResponseEncoder;

    fn read(body: Value) -> Result<(Value, Self), ApiError> {
        let (body, echo) = to_chat(body).map_err(ChatError::Request)?;
        Ok((body, Self(echo)))
    }

    fn streamed(self, answer: &Answer, _asked: &Asked, _request_id: &str) -> ResponseEncoder {
        self.encoder(answer)
    }

    fn whole(self, answer: &Answer, _asked: &Asked) -> ResponseEncoder {
        self.encoder(answer)
    }
}

impl Responses {
    fn encoder(self, answer: &Answer) -> ResponseEncoder {
        ResponseEncoder::new(Head {
            id: answer.head.id.trim_start_matches(send::ID_PREFIX).to_owned(),
            created: answer.head.created,
            model: answer.head.model.clone(),
            echo: self.0,
        })
    }
}

impl Gather for ResponseEncoder {
    fn push(&mut self, event: &Event) {
        drop(ResponseEncoder::event(self, event));
    }

    fn whole(self) -> Option<Value> {
        self.into_response()
    }
}

impl Encode for ResponseEncoder {
    const SILENCE: &'static str = KEEP_ALIVE;

    fn event(&mut self, event: &Event) -> String {
        ResponseEncoder::event(self, event)
    }

    fn done(&mut self) -> String {
        ResponseEncoder::done(self)
    }

    fn error(&mut self, error: &ApiError) -> String {
        ResponseEncoder::error(self, &error.code, &error.detail, error.param.as_deref())
    }
}
