//! `/v1/auth/passkey/…`, `/v1/me/passkeys/{id}`.

use super::{
    ceremony::{self, Begun, PasskeyError, check_name, read},
    site::{NoSite, Site},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, action::may, cookie},
    http::{Json, NoContent, Params, RequestContext},
    limits::PASSKEY_CEREMONY_LIFE,
    people::{
        account,
        routes::{IdPath, described, user_agent},
    },
};
use axum::{Extension, extract::State, response::IntoResponse};
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// What a passkey is called unless its person says.
const NAME: &str = "Passkey";

fn told<T>(begun: Begun<T>, asked: impl FnOnce(T) -> serde_json::Result<Value>) -> ApiResult<Json<Value>> {
    let public_key =
        asked(begun.asked).map_err(|cause| ApiError::internal("a passkey cannot be asked for", cause))?;
    Ok(Json(json!({
        "ceremony": begun.ceremony,
        "expires_in": PASSKEY_CEREMONY_LIFE.as_secs(),
        "publicKey": public_key,
    })))
}

/// Begins making a passkey for the caller.
pub async fn begin_making(
    State(app): State<App>,
    allowed: Allowed<may::MeWrite>,
    headers: HeaderMap,
) -> ApiResult<Json<Value>> {
    let site = Site::of(&app, &headers)?;
    let begun = ceremony::begin_making(&app, &allowed, &site).await?;
    told(begun, |asked| serde_json::to_value(asked.public_key))
}

/// `POST /v1/auth/passkey/register/finish`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// What beginning told.
    ceremony: String,
    /// What `navigator.credentials.create` came to, as its `toJSON()` says it.
    credential: Value,
    /// What to call it.
    name: Option<String>,
}

/// Keeps the passkey that was made.
pub async fn finish_making(
    State(app): State<App>,
    allowed: Allowed<may::MeWrite>,
    headers: HeaderMap,
    Json(made): Json<Made>,
) -> ApiResult<impl IntoResponse> {
    let name = made.name.unwrap_or_else(|| NAME.to_owned());
    let mut wrong: Vec<FieldError> = check_name(&name).into_iter().collect();
    let answer = read(made.credential).map_err(|error| wrong.push(error));
    let (Ok(answer), []) = (&answer, wrong.as_slice()) else { return Err(ApiError::invalid(wrong)) };
    let site = Site::of(&app, &headers)?;
    let kept = ceremony::finish_making(&app, &allowed, &site, (&made.ceremony, answer), name.trim()).await?;
    Ok((StatusCode::CREATED, Json(kept)))
}

/// Begins signing somebody in.
pub async fn begin_login(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
) -> ApiResult<Json<Value>> {
    cookie::check_origin(&headers)?;
    let site = Site::of(&app, &headers)?;
    app.rate_limits.login_elsewhere(context.ip)?;
    let begun = ceremony::begin_login(&app, &site).await?;
    told(begun, |asked| serde_json::to_value(asked.public_key))
}

/// `POST /v1/auth/passkey/login/finish`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// What beginning told.
    ceremony: String,
    /// What `navigator.credentials.get` came to, as its `toJSON()` says it.
    credential: Value,
}

/// Signs somebody in with a passkey; the session's token is in the cookie of this answer and nowhere else.
pub async fn finish_login(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    Json(used): Json<Used>,
) -> ApiResult<impl IntoResponse> {
    cookie::check_origin(&headers)?;
    let answer = read(used.credential).map_err(|wrong| ApiError::invalid(vec![wrong]))?;
    let site = Site::of(&app, &headers)?;
    app.rate_limits.login_elsewhere(context.ip)?;
    let by = user_agent(&headers);
    let signed_in = ceremony::finish_login(&app, context, &site, (&used.ceremony, &answer), by).await?;
    described(&app, &signed_in).await
}

/// Removes one of the caller's passkeys.
pub async fn remove(
    State(app): State<App>,
    allowed: Allowed<may::MeWrite>,
    Params(path): Params<IdPath>,
) -> ApiResult<NoContent> {
    account::remove_passkey(&app, &allowed, &path.id).await?;
    Ok(NoContent)
}

impl From<NoSite> for ApiError {
    fn from(error: NoSite) -> ApiError {
        ApiError::conflict("no_passkeys", error.to_string())
    }
}

impl From<PasskeyError> for ApiError {
    fn from(error: PasskeyError) -> ApiError {
        let text = error.to_string();
        match error {
            PasskeyError::Stale => ApiError::bad_request("passkey_stale", text),
            PasskeyError::Elsewhere => ApiError::bad_request("passkey_elsewhere", text),
            PasskeyError::Unfit(_) => ApiError::bad_request("passkey_unfit", text),
            PasskeyError::Known => ApiError::conflict("passkey_known", text),
            PasskeyError::TooMany => ApiError::conflict("too_many_passkeys", text),
            PasskeyError::Standing(cause) => cause.into(),
            PasskeyError::Refused => ApiError::new(StatusCode::UNAUTHORIZED, "passkey_refused", text),
            PasskeyError::Kept(cause) => ApiError::internal("what is kept of a passkey is wrong", cause),
            PasskeyError::Begin(cause) => ApiError::internal("a passkey could not be asked for", cause),
            PasskeyError::Login(cause) => cause.into(),
            PasskeyError::Db(cause) => cause.into(),
        }
    }
}
