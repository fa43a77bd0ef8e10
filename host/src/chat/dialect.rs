//! The dialects a chat request may come in, and what each answer is written with.

use super::{answer::Answer, send::Asked, stream::Encode};
use crate::{error::ApiError, models::Event};
use serde_json::Value;

/// One dialect: how a request in it is read, and what writes its answer.
pub trait Dialect: Sized + Send + 'static {
    /// Writes an answer as a stream.
    type Streamed: Encode;
    /// Puts an answer together.
    type Whole: Gather;

    /// Reads a request into OpenAI's chat words; keeps what the answer needs of it.
    ///
    /// # Errors
    /// What is wrong with it, in the words of the dialect.
    fn read(body: Value) -> Result<(Value, Self), ApiError>;

    /// What writes the answer piece by piece.
    fn streamed(self, answer: &Answer, asked: &Asked, request_id: &str) -> Self::Streamed;

    /// What writes it at once.
    fn whole(self, answer: &Answer, asked: &Asked) -> Self::Whole;
}

/// Puts an answer together from its events.
pub trait Gather: Send + 'static {
    /// Takes the next event.
    fn push(&mut self, event: &Event);

    /// The whole answer; none while it has not finished.
    fn whole(self) -> Option<Value>;
}
