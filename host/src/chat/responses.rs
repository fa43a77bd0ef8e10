//! `/v1/responses`: for clients of OpenAI's responses API.

use super::{
    answer::Answer,
    routes::{session_header, session_of},
    send::{self, ChatError},
    stream::{Encode, streamed},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, action::may},
    http::{Json, body},
    limits::CHAT_BYTES_MAX,
    models::{
        Event,
        openai::chunks::KEEP_ALIVE,
        responses::{
            events::{Head, ResponseEncoder},
            request::{Echo, to_chat},
        },
    },
};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde_json::Value;

/// Answers a request, whole or as a stream.
pub async fn create(
    State(app): State<App>,
    allowed: Allowed<may::ChatSend>,
    request: Request,
) -> ApiResult<Response> {
    let session = session_of(&request)?;
    let body = body::read_json(request, CHAT_BYTES_MAX).await?;
    let (body, echo) = to_chat(body).map_err(ChatError::Request)?;
    let (answer, asked) = send::send(&app, &allowed, session, body).await?;
    let headers = session_header(&answer);
    let encoder = ResponseEncoder::new(head(&answer, echo));
    if asked.stream {
        Ok((headers, streamed(answer, encoder)).into_response())
    } else {
        Ok((headers, whole(answer, encoder).await?).into_response())
    }
}

fn head(answer: &Answer, echo: Echo) -> Head {
    Head {
        id: answer.head.id.trim_start_matches(send::ID_PREFIX).to_owned(),
        created: answer.head.created,
        model: answer.head.model.clone(),
        echo,
    }
}

async fn whole(mut answer: Answer, mut encoder: ResponseEncoder) -> ApiResult<Json<Value>> {
    while let Some(event) = answer.next().await {
        encoder.event(&event?);
    }
    let response = encoder.into_response();
    response.map(Json).ok_or_else(|| ApiError::internal("an answer ended unfinished", "no finish event"))
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
