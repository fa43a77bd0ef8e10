//! `/platform/v1/auth/device…`.

use super::{
    device::{self, Asking, DecideError},
    programs::{self, Approval},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, Scopes, action::may},
    http::{Json, NoContent, RequestContext, own_origin},
    limits::{
        CODES_LOCKED_FOR, DEVICE_NAME_CHARS_MAX, DEVICE_POLL_INTERVAL, DEVICE_REQUEST_LIFE,
        PERSONAL_TOKEN_LIFE_SECONDS_MAX,
    },
};
use axum::{Extension, extract::State, response::IntoResponse};
use chrono::Duration;
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

/// Where a person types the code.
const PAGE: &str = "/device";

/// `POST /platform/v1/auth/device`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginDevice {
    /// What the program calls itself.
    client: String,
    /// What it wants to do; all that a program may, unless given.
    scopes: Option<Vec<String>>,
    /// Which machine it runs on.
    hostname: Option<String>,
}

/// Begins letting a command line in.
pub async fn begin(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    Json(body): Json<BeginDevice>,
) -> ApiResult<Json<Value>> {
    let hostname = body.hostname.unwrap_or_default();
    let mut wrong = vec![];
    if body.client.trim().is_empty() || !is_label(&body.client) {
        wrong.push(label_error("/client"));
    }
    if !is_label(&hostname) {
        wrong.push(label_error("/hostname"));
    }
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    let scopes = match body.scopes {
        None => programs::grantable(),
        Some(names) => programs::wanted(&names)?,
    };
    app.rate_limits.device_request(context.ip)?;
    let asking = Asking { client: body.client, hostname, scopes };
    let begun = device::begin(&app, context, &asking).await?;
    let page = format!("{}{PAGE}", own_origin(&app, &headers));
    Ok(Json(json!({
        "device_code": begun.device_code.expose_secret(),
        "user_code": begun.user_code,
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={}", begun.user_code),
        "expires_in": DEVICE_REQUEST_LIFE.as_secs(),
        "interval": DEVICE_POLL_INTERVAL.as_secs(),
    })))
}

fn is_label(text: &str) -> bool {
    text.chars().count() <= DEVICE_NAME_CHARS_MAX && !text.chars().any(char::is_control)
}

fn label_error(pointer: &str) -> FieldError {
    let expected =
        format!("expected at most {DEVICE_NAME_CHARS_MAX} characters, none of them control characters");
    FieldError::new(pointer, expected)
}

/// A code its person typed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Code {
    user_code: String,
}

/// Shows what asks, to decide on.
pub async fn look(
    State(app): State<App>,
    allowed: Allowed<may::DeviceDecide>,
    Json(body): Json<Code>,
) -> ApiResult<Json<Value>> {
    let request = device::look(&app, &allowed, &body.user_code).await?;
    Ok(Json(json!({
        "client": request.client,
        "hostname": request.hostname,
        "ip": request.ip,
        "scopes": request.scopes,
        "created_at": request.created_at,
        "expires_at": request.expires_at,
    })))
}

/// `POST /platform/v1/auth/device/approve`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    user_code: String,
    /// What of what was asked for; all of it, unless given.
    scopes: Option<Vec<String>>,
    /// In which app alone; in all of the person's, unless given.
    app: Option<String>,
    /// Seconds until it ends; 30 days, unless given.
    expires_in: Option<u64>,
}

/// Lets the program in.
pub async fn approve(
    State(app): State<App>,
    allowed: Allowed<may::DeviceDecide>,
    Json(body): Json<Approve>,
) -> ApiResult<NoContent> {
    let mut wrong = vec![];
    let scopes = match body.scopes.as_deref().map(Scopes::parse) {
        Some(Ok(scopes)) if scopes != Scopes::NONE => Some(scopes),
        Some(Ok(_)) => {
            wrong.push(FieldError::new("/scopes", "expected at least one scope"));
            None
        }
        Some(Err(unknown)) => {
            wrong.push(FieldError::new("/scopes", unknown.to_string()));
            None
        }
        None => None,
    };
    wrong.extend(super::token_routes::check_life(
        "/expires_in",
        body.expires_in,
        PERSONAL_TOKEN_LIFE_SECONDS_MAX,
    ));
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    let expires_in = body.expires_in.and_then(|s| i64::try_from(s).ok()).and_then(Duration::try_seconds);
    let approval = Approval { scopes, app: body.app, expires_in };
    device::approve(&app, &allowed, &body.user_code, &approval).await?;
    Ok(NoContent)
}

/// Turns the program away.
pub async fn deny(
    State(app): State<App>,
    allowed: Allowed<may::DeviceDecide>,
    Json(body): Json<Code>,
) -> ApiResult<impl IntoResponse> {
    device::deny(&app, &allowed, &body.user_code).await?;
    Ok(NoContent)
}

impl From<DecideError> for ApiError {
    fn from(error: DecideError) -> ApiError {
        let text = error.to_string();
        match error {
            DecideError::NoSuchCode => ApiError::new(StatusCode::NOT_FOUND, "no_such_code", text),
            DecideError::Locked => ApiError::rate_limited("codes_locked", text, CODES_LOCKED_FOR.as_secs()),
            DecideError::Expired => ApiError::new(StatusCode::GONE, "code_expired", text),
            DecideError::Approve(cause) => cause.into(),
            DecideError::Standing(cause) => cause.into(),
            DecideError::Db(cause) => cause.into(),
        }
    }
}
