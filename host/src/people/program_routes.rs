//! `/platform/v1/auth/token`: how a program that was let in gets its tokens, and the next ones.
//!
//! Errors are problems like all others, and carry `error` as well, where programs that know OAuth look for the code.

use super::{
    authorize::{self, Client, Redemption},
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

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// `POST /platform/v1/auth/token`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// `urn:ietf:params:oauth:grant-type:device_code`, or `device_code` for short; `refresh_token`; or
    /// `authorization_code`.
    grant_type: String,
    device_code: Option<String>,
    refresh_token: Option<String>,
    code: Option<String>,
    redirect_uri: Option<String>,
    client_id: Option<String>,
    code_verifier: Option<String>,
}

/// Gives a program its tokens, once it was let in, and then the next ones.
pub async fn token(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    Json(body): Json<TokenRequest>,
) -> ApiResult<Json<Value>> {
    let ip = context.ip;
    let done = match body.grant_type.as_str() {
        DEVICE_CODE | "device_code" => {
            let [code] = body.exactly(["device_code"])?;
            device::poll(&app, context, code).await
        }
        "refresh_token" => {
            let [token] = body.exactly(["refresh_token"])?;
            programs::refresh(&app, context, token).await
        }
        "authorization_code" => redeem(&app, context, &body).await?,
        _ => {
            let expected = "expected `device_code`, `refresh_token` or `authorization_code`";
            return Err(ApiError::invalid(vec![FieldError::new("/grant_type", expected)]));
        }
    };
    if let Err(TokenError::Invalid) = done {
        app.rate_limits.auth_failure(ip)?;
    }
    Ok(Json(describe(&done?)))
}

async fn redeem(
    app: &App,
    context: RequestContext,
    body: &TokenRequest,
) -> ApiResult<Result<Tokens, TokenError>> {
    let fields = ["code", "redirect_uri", "client_id", "code_verifier"];
    let [code, redirect_uri, client_id, code_verifier] = body.exactly(fields)?;
    if !authorize::is_verifier(code_verifier) {
        let expected = "expected 43 to 128 letters, digits and `-._~`";
        return Err(ApiError::invalid(vec![FieldError::new("/code_verifier", expected)]));
    }
    let Some(client) = Client::find(client_id) else { return Ok(Err(TokenError::UnknownClient)) };
    let by = Redemption { code, client, redirect_uri, code_verifier };
    Ok(authorize::redeem(app, context, &by).await)
}

impl TokenRequest {
    /// What goes with a grant, if all of it is there and nothing of another's.
    fn exactly<const N: usize>(&self, names: [&str; N]) -> ApiResult<[&str; N]> {
        let fields = [
            ("device_code", &self.device_code),
            ("refresh_token", &self.refresh_token),
            ("code", &self.code),
            ("redirect_uri", &self.redirect_uri),
            ("client_id", &self.client_id),
            ("code_verifier", &self.code_verifier),
        ];
        let given = |name: &str| {
            fields.iter().find(|(found, _)| *found == name).and_then(|(_, value)| value.as_deref())
        };
        let missing = names.iter().filter(|name| given(name).is_none());
        let missing =
            missing.map(|name| FieldError::new(format!("/{name}"), "expected with this grant_type"));
        let others = fields.iter().filter(|(name, value)| value.is_some() && !names.contains(name));
        let others =
            others.map(|(name, _)| FieldError::new(format!("/{name}"), "not expected with this grant_type"));
        let wrong: Vec<_> = missing.chain(others).collect();
        if !wrong.is_empty() {
            return Err(ApiError::invalid(wrong));
        }
        Ok(names.map(|name| given(name).unwrap_or_default()))
    }
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
            ApproveError::NotSignedIn => ApiError::not_signed_in(),
            ApproveError::Standing(cause) => cause.into(),
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
            TokenError::UnknownClient => "invalid_client",
            TokenError::Db(cause) => return cause.into(),
        };
        oauth(code, text)
    }
}
