//! `/internal/…`: for runners alone.
//!
//! Their tokens are no credentials: the gate knows nothing of them, no other route takes them, and these routes take
//! nothing else.

use super::{
    Asking, INSTANCE_PREFIX, Runner,
    register::{self, RegisterError, Registering},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::credential::bearer,
    http::{Json, NoContent, RequestContext, body},
    limits::CHAT_BYTES_MAX,
    runner::{ToldError, seal::PUBLIC_KEY_BYTES},
    sandbox::Outcome,
    sessions::instances::store,
};
use axum::{
    Extension,
    extract::{Request, State},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;
use zeroize::Zeroizing;

/// `POST /internal/register`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterInput {
    /// Which session's runner it is.
    session_id: Uuid,
    /// What its orders hold; good once.
    registration_token: String,
    /// The public half of an X25519 key made for this, in base64.
    public_key: String,
}

/// `POST /internal/events`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsInput {
    /// In the order of their numbers.
    events: Vec<EventInput>,
}

/// One event.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventInput {
    /// Its number among all of the runner, from 1.
    seq: u64,
    /// The run that tells it.
    run: u64,
    /// The event: JSON text.
    event: String,
}

/// `POST /internal/session-json`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionJsonInput {
    /// The run.
    run: u64,
    /// What it came to.
    json: OutcomeInput,
}

/// What a turn came to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeInput {
    /// Why it ended.
    finish_reason: String,
    /// The messages it added: JSON text.
    messages: String,
}

/// Registers a runner (row M291).
pub async fn register(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    Json(input): Json<RegisterInput>,
) -> ApiResult<Json<Value>> {
    let token = Zeroizing::new(input.registration_token);
    let bad_key = || {
        let text = format!("{PUBLIC_KEY_BYTES} bytes of an X25519 public key, in base64");
        ApiError::invalid(vec![FieldError::new("/public_key", text)])
    };
    let public_key = STANDARD.decode(&input.public_key).ok().and_then(|key| key.try_into().ok());
    let public_key = public_key.ok_or_else(bad_key)?;
    let ip = context.ip;
    let by = Registering { session_id: input.session_id, token, public_key };
    let given = register::register(&app, context, by).await.map_err(|error| match error {
        RegisterError::Refused => match app.rate_limits.auth_failure(ip) {
            Ok(()) => ApiError::not_signed_in(),
            Err(error) => error,
        },
        RegisterError::BadKey => bad_key(),
        RegisterError::Db(cause) => cause.into(),
    })?;
    let keys = given.sealed_keys.into_iter().map(|(name, sealed)| json!({ "name": name, "sealed": sealed }));
    Ok(Json(json!({
        "instance_token": given.instance_token.as_str(),
        "sealed_keys": keys.collect::<Vec<_>>(),
        "config": given.config,
    })))
}

/// The runner that calls, which asks from now on.
fn calling(app: &App, headers: &HeaderMap, context: &RequestContext) -> ApiResult<(Arc<Runner>, Asking)> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let token = sent.next().and_then(|value| bearer(value.to_str().ok()?));
    let token = token.filter(|token| token.starts_with(INSTANCE_PREFIX) && sent.next().is_none());
    match token.and_then(|token| app.runners.of_token(&app.pepper.hash(token))) {
        Some(runner) => {
            let asking = runner.asks();
            Ok((runner, asking))
        }
        None => {
            app.rate_limits.auth_failure(context.ip)?;
            Err(ApiError::not_signed_in())
        }
    }
}

/// A runner lives (row M292).
pub async fn heartbeat(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
) -> ApiResult<NoContent> {
    let (runner, _asking) = calling(&app, &headers, &context)?;
    let mut asking = app.service_read().await?;
    let living = store::living(asking.conn(), &[runner.instance_id]).await?;
    asking.done();
    if living.is_empty() {
        // Ended on another host, or with its session.
        app.runners.end(runner.instance_id);
        return Err(ApiError::not_signed_in());
    }
    Ok(NoContent)
}

/// Takes what the agents of a runner tell (row M292). One event after another: a number that was taken before is taken
/// no more, and where one is missing nothing after it is.
pub async fn events(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    request: Request,
) -> ApiResult<Json<Value>> {
    let (runner, _asking) = calling(&app, &headers, &context)?;
    let input: EventsInput = body::fit(body::read_json(request, CHAT_BYTES_MAX).await?)?;
    let mut next = runner.next_seq.lock().await;
    let mut results = vec![];
    for event in input.events {
        if event.seq > *next {
            let text = format!("event {} is missing; send all from there on again", *next);
            return Err(ApiError::conflict("sequence_gap", text).with("resend_from", json!(*next)));
        }
        if event.seq < *next {
            results.push(Value::Null);
            continue;
        }
        // Counted before it is told: where this request breaks off, it is not told twice.
        *next += 1;
        let told = match runner.remote.get() {
            Some(remote) => remote.emit(event.run, event.event).await,
            None => Err(crate::sandbox::door::DoorError::Unavailable("nothing runs".to_owned())),
        };
        results.push(told.map_or_else(|error| json!(ToldError::from(error)), |()| Value::Null));
    }
    Ok(Json(json!({ "next_seq": *next, "results": results })))
}

/// Takes what a turn in a runner came to (row M292).
pub async fn session_json(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    request: Request,
) -> ApiResult<NoContent> {
    let (runner, _asking) = calling(&app, &headers, &context)?;
    let input: SessionJsonInput = body::fit(body::read_json(request, CHAT_BYTES_MAX).await?)?;
    let OutcomeInput { finish_reason, messages } = input.json;
    let outcome = Outcome { finish_reason, messages };
    let taken = runner.remote.get().is_some_and(|remote| remote.came_to(input.run, outcome));
    if taken { Ok(NoContent) } else { Err(ApiError::not_found("run")) }
}
