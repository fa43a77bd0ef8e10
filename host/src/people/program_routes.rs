//! `/platform/v1/auth/token`: how a program that was let in gets its tokens, and the next ones.
//!
//! Errors are problems like all others, and carry `error` as well, where programs that know OAuth look for the code.

use super::{
    device,
    programs::{self, ApproveError, NotGrantable, TokenError, Tokens},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    http::{Json, RequestContext},
};
use axum::{Extension, extract::State};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

/// `POST /platform/v1/auth/token`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// `urn:ietf:params:oauth:grant-type:device_code`, or `device_code` for short; or `refresh_token`.
    grant_type: String,
    device_code: Option<String>,
    refresh_token: Option<String>,
}

/// Gives a program its tokens, once it was let in, and then the next ones.
pub async fn token(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    Json(body): Json<TokenRequest>,
) -> ApiResult<Json<Value>> {
    let ip = context.ip;
    let done = match (body.grant_type.as_str(), body.device_code, body.refresh_token) {
        ("urn:ietf:params:oauth:grant-type:device_code" | "device_code", Some(code), None) => {
            device::poll(&app, context, &code).await
        }
        ("refresh_token", None, Some(token)) => programs::refresh(&app, context, &token).await,
        ("urn:ietf:params:oauth:grant-type:device_code" | "device_code", ..) => {
            return Err(ApiError::invalid(vec![FieldError::new(
                "/device_code",
                "expected with this grant_type, alone",
            )]));
        }
        ("refresh_token", ..) => {
            return Err(ApiError::invalid(vec![FieldError::new(
                "/refresh_token",
                "expected with this grant_type, alone",
            )]));
        }
        _ => {
            return Err(ApiError::invalid(vec![FieldError::new(
                "/grant_type",
                "expected `device_code` or `refresh_token`",
            )]));
        }
    };
    if let Err(TokenError::Invalid) = done {
        app.rate_limits.auth_failure(ip)?;
    }
    Ok(Json(describe(&done?)))
}

fn describe(tokens: &Tokens) -> Value {
    json!({
        "access_token": tokens.access.expose_secret(),
        "token_type": "Bearer",
        "refresh_token": tokens.refresh.expose_secret(),
        "expires_in": tokens.expires_in.as_secs(),
        "scope": tokens.scopes.names().join(" "),
    })
}

/// An error with its code where OAuth has it too.
fn oauth(code: &str, text: String) -> ApiError {
    ApiError::bad_request(code, text).with("error", json!(code))
}

impl From<NotGrantable> for ApiError {
    fn from(error: NotGrantable) -> ApiError {
        oauth("invalid_scope", error.to_string())
    }
}

impl From<ApproveError> for ApiError {
    fn from(error: ApproveError) -> ApiError {
        let text = error.to_string();
        match error {
            ApproveError::Wider(_) => ApiError::forbidden("wider_than_asked", text),
            ApproveError::NoSuchApp => ApiError::not_found("app"),
            ApproveError::Db(cause) => cause.into(),
        }
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> ApiError {
        let text = error.to_string();
        let code = match error {
            TokenError::Pending => "authorization_pending",
            TokenError::SlowDown => "slow_down",
            TokenError::Expired => "expired_token",
            TokenError::Denied => "access_denied",
            TokenError::Invalid => "invalid_grant",
            TokenError::Db(cause) => return cause.into(),
        };
        oauth(code, text)
    }
}
