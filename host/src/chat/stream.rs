//! An answer as server-sent events, in whatever dialect.

use super::answer::Answer;
use crate::{
    error::ApiError,
    models::{Event, openai::chunks::KEEP_ALIVE_AFTER_MS},
};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, header};
use std::{convert::Infallible, time::Duration};

/// Writes the frames of one dialect.
pub trait Encode: Send + 'static {
    /// What to send when nothing was said for a while.
    const SILENCE: &'static str;

    /// The frames for an event; may be none.
    fn event(&mut self, event: &Event) -> String;

    /// The end of a good answer.
    fn done(&mut self) -> String;

    /// The end of an answer that failed half-way.
    fn error(&mut self, error: &ApiError) -> String;
}

/// The stream owns the answer, so a client that goes away ends it.
pub(super) fn streamed<E: Encode>(answer: Answer, encoder: E) -> Response {
    // None: the last frame was written.
    let going = Some(Box::new((answer, encoder)));
    let frames = stream::unfold(going, |going| async move {
        let mut going = going?;
        let (answer, encoder) = &mut *going;
        loop {
            let silence = tokio::time::sleep(Duration::from_millis(KEEP_ALIVE_AFTER_MS));
            let (frame, over) = tokio::select! {
                next = answer.next() => match next {
                    Some(Ok(event)) => (encoder.event(&event), false),
                    Some(Err(error)) => (encoder.error(&error.into()), true),
                    None => (encoder.done(), true),
                },
                () = silence => (E::SILENCE.to_owned(), false),
            };
            // Not every event has a frame of its own.
            if over || !frame.is_empty() {
                return Some((Ok::<_, Infallible>(Bytes::from(frame)), (!over).then_some(going)));
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(frames)).into_response()
}
