//! The layer before every handler: it takes the key of a request that has one, and answers what was answered before.
//!
//! It stands behind authentication and rate limits. What has no key, is no write, or is not allowed goes on as it
//! came; nothing of it was read.

use super::{
    IDEMPOTENCY_KEY,
    claim::{self, Answer, Claim, Found, Names},
    in_progress, is_kept, key, not_kept, reused, streamed, too_large,
};
use crate::{
    app::App,
    error::ApiError,
    grants::{
        Action, Caller, On, Principal, Resource, Standing,
        authenticate::{self, Credential},
        decide,
    },
    http::{
        RequestContext, body, extract,
        render::{self, Shape},
    },
    limits::{IDEMPOTENT_ANSWER_BYTES_MAX, IDEMPOTENT_REQUEST_BYTES_MAX},
    router, tasks,
};
use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method, StatusCode, request, response};
use http_body_util::BodyExt;
use serde::Deserialize;
use tracing::Instrument;

/// Does what has a key once.
pub async fn answer_once(State(app): State<App>, request: Request, next: Next) -> Response {
    if !request.headers().contains_key(IDEMPOTENCY_KEY) || !is_write(request.method()) {
        return next.run(request).await;
    }
    match Box::pin(begin(&app, request)).await {
        Ok(Begun::Unkeyed(request)) => next.run(request).await,
        Ok(Begun::First(first)) => Box::pin(carry_out(app, first, next)).await,
        Ok(Begun::Again(answer)) => answer.again(),
        Err(error) => error.into_response(),
    }
}

fn is_write(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method)
}

/// What a request with a key is.
enum Begun {
    /// One whose key counts for nothing.
    Unkeyed(Request),
    /// The first with this key.
    First(First),
    /// One that was answered before.
    Again(Answer),
}

/// A request that is to be done.
struct First {
    request: Request,
    claim: Claim,
    /// Of its errors, and the id that stands in them.
    shape: Shape,
    request_id: String,
    /// Whether it ends with its client.
    is_given_up: bool,
}

async fn begin(app: &App, request: Request) -> Result<Begun, ApiError> {
    let (mut parts, body) = request.into_parts();
    let Some((caller, action)) = allowed(app, &mut parts).await else {
        return Ok(Begun::Unkeyed(Request::from_parts(parts, body)));
    };
    let key = key(&parts.headers)?;
    let body = body::read(body, IDEMPOTENT_REQUEST_BYTES_MAX).await.map_err(|error| match error.status {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => error,
    })?;
    let shape = Shape::of(parts.uri.path());
    if is_streamed(shape, &body) {
        return Err(streamed());
    }
    let token = authenticate::token_of(&parts.headers);
    let names = Names::of(app, &caller, token.as_deref(), key, &parts, &body);
    match claim::take(app, &names).await? {
        Found::Free(claim) => {
            let request_id =
                parts.extensions.get::<RequestContext>().map(|context| context.request_id.clone());
            let is_given_up = is_given_up(action, &parts.headers);
            let request = Request::from_parts(parts, Body::from(body));
            let request_id = request_id.unwrap_or_default();
            Ok(Begun::First(First { request, claim, shape, request_id, is_given_up }))
        }
        Found::Answered(answer) => Ok(Begun::Again(answer)),
        Found::Running => Err(in_progress()),
        Found::Other => Err(reused()),
        Found::NotKept => Err(not_kept()),
    }
}

/// Who calls, and what for, where the gate lets them; whoever it does not hears why from the handler.
async fn allowed(app: &App, parts: &mut request::Parts) -> Option<(Caller, Action)> {
    let template = parts.extensions.get::<MatchedPath>()?;
    let action = router::action_of(&parts.method, template.as_str())?;
    let Some(Credential::Valid(caller)) = parts.extensions.get::<Credential>().cloned() else { return None };
    let named = extract::named_app(parts, app).await;
    let what = match action.on() {
        On::Platform => Resource::Platform,
        On::Managed if caller.standing == Standing::Operator => Resource::Platform,
        On::App | On::Managed => {
            Resource::App(named.as_ref().map(|named| named.as_deref().unwrap_or_default()))
        }
        On::Person => Resource::Myself,
        On::Guest => return None,
    };
    decide(Principal::Caller(&caller), action, &what).ok()?;
    Some((*caller, action))
}

/// Whether a request of this shape asks for its answer in pieces.
fn is_streamed(shape: Shape, body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Wish {
        #[serde(default)]
        stream: bool,
    }
    let of_a_model = matches!(shape, Shape::OpenAi | Shape::Anthropic);
    of_a_model && serde_json::from_slice(body).is_ok_and(|wish: Wish| wish.stream)
}

/// Whether what is asked for costs while it runs, and leaves nothing where it is given up (row M206).
fn is_given_up(action: Action, headers: &HeaderMap) -> bool {
    matches!(action, Action::ChatSend | Action::AiInvoke) && !tasks::is_preferred(headers)
}

async fn carry_out(app: App, first: First, next: Next) -> Response {
    let First { request, claim, shape, request_id, is_given_up } = first;
    let work = answer(claim, shape, request_id, next.run(request)).in_current_span();
    match is_given_up {
        true => work.await,
        false => app.carry(work).await,
    }
}

/// What an answer is for its key.
enum Outcome {
    Kept(response::Parts, Bytes),
    TooLarge(Response),
    Free(Response),
}

async fn answer(
    claim: Claim,
    shape: Shape,
    request_id: String,
    asking: impl Future<Output = Response>,
) -> Response {
    let answering = async {
        let mut response = asking.await;
        // Here and not at the end of all layers: the text of an error is a part of the answer.
        render::write_error(&mut response, shape, &request_id);
        outcome(response).await
    };
    match claim.while_doing(answering).await {
        Outcome::Kept(parts, body) => {
            claim.keep(Some(Answer::of(&parts, body.clone()))).await;
            Response::from_parts(parts, Body::from(body))
        }
        Outcome::TooLarge(response) => {
            claim.keep(None).await;
            response
        }
        Outcome::Free(response) => {
            claim.free().await;
            response
        }
    }
}

async fn outcome(response: Response) -> Outcome {
    let headers = response.headers();
    let media_type = body::media_type(headers);
    if !is_kept(response.status(), headers) || media_type.is_some_and(|media| media == "text/event-stream") {
        return Outcome::Free(response);
    }
    let (parts, mut rest) = response.into_parts();
    let (mut read, mut bytes) = (vec![], 0);
    while let Some(frame) = rest.frame().await {
        match frame {
            Ok(frame) => {
                let Ok(data) = frame.into_data() else { continue };
                bytes += data.len();
                read.push(Ok(data));
            }
            Err(cause) => {
                read.push(Err(cause));
                let broken = Body::from_stream(stream::iter(read));
                return Outcome::Free(Response::from_parts(parts, broken));
            }
        }
        if bytes > IDEMPOTENT_ANSWER_BYTES_MAX {
            let all = stream::iter(read).chain(rest.into_data_stream());
            return Outcome::TooLarge(Response::from_parts(parts, Body::from_stream(all)));
        }
    }
    let mut read = read.into_iter().filter_map(Result::ok);
    let body = match (read.next(), read.next()) {
        (None, _) => Bytes::new(),
        (Some(only), None) => only,
        (Some(one), Some(two)) => [one, two].into_iter().chain(read).flatten().collect(),
    };
    Outcome::Kept(parts, body)
}
