//! `/platform/v1/tokens…`.

use super::{
    personal_tokens::{self, Made, TokenError, Wanted},
    routes::IdPath,
    store,
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, Scopes, action::may},
    http::{Json, NoContent, Page, Paged, Params},
    limits::{PERSONAL_TOKEN_LIFE_SECONDS_MAX, ROTATION_GRACE_SECONDS_MAX},
};
use axum::{extract::State, response::IntoResponse};
use chrono::Duration;
use http::StatusCode;
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

/// `POST /platform/v1/tokens`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatePersonalToken {
    /// For people, 100 characters at the most.
    name: String,
    /// What it may do.
    scopes: Vec<String>,
    /// In which apps alone; in all of the person's, unless given.
    app_ids: Option<Vec<String>>,
    /// Seconds until it ends, a year at the most.
    expires_in: u64,
}

impl CreatePersonalToken {
    fn check(self) -> ApiResult<Wanted> {
        let mut wrong: Vec<_> = check_name(&self.name).into_iter().collect();
        let scopes = match Scopes::parse(&self.scopes) {
            Ok(scopes) if scopes != Scopes::NONE => scopes,
            Ok(scopes) => {
                wrong.push(FieldError::new("/scopes", "expected at least one scope"));
                scopes
            }
            Err(unknown) => {
                wrong.push(FieldError::new("/scopes", unknown.to_string()));
                Scopes::NONE
            }
        };
        wrong.extend(check_life("/expires_in", Some(self.expires_in), PERSONAL_TOKEN_LIFE_SECONDS_MAX));
        if wrong.is_empty() {
            Ok(Wanted { name: self.name, scopes, apps: self.app_ids, expires_in: seconds(self.expires_in) })
        } else {
            Err(ApiError::invalid(wrong))
        }
    }
}

fn check_name(name: &str) -> Option<FieldError> {
    (name.chars().count() > 100 || name.chars().any(char::is_control))
        .then(|| FieldError::new("/name", "expected at most 100 characters, none of them control characters"))
}

/// What is wrong with how long something is to live.
pub(super) fn check_life(pointer: &str, seconds: Option<u64>, most: u64) -> Option<FieldError> {
    seconds
        .filter(|s| *s == 0 || *s > most)
        .map(|_| FieldError::new(pointer, format!("expected 1 to {most} seconds")))
}

fn seconds(count: u64) -> Duration {
    i64::try_from(count).ok().and_then(Duration::try_seconds).unwrap_or_default()
}

/// Makes a personal token; it is in this answer and nowhere else.
pub async fn create(
    State(app): State<App>,
    allowed: Allowed<may::PatsWrite>,
    Json(body): Json<CreatePersonalToken>,
) -> ApiResult<impl IntoResponse> {
    let made = personal_tokens::create(&app, &allowed, body.check()?).await?;
    Ok((StatusCode::CREATED, Json(describe(&made))))
}

fn describe(made: &Made) -> Value {
    json!({
        "id": made.credential_id,
        "token": made.token.expose_secret(),
        "last4": made.last4,
        "scopes": made.scopes,
        "expires_at": made.expires_at,
    })
}

/// Lists the caller's live personal tokens, newest first, without their secrets.
pub async fn list(
    State(app): State<App>,
    allowed: Allowed<may::PatsRead>,
    page: Page,
) -> ApiResult<Json<Paged<impl serde::Serialize>>> {
    let mut tx = app.person_tx(&allowed).await?;
    let rows = store::list_personal_tokens(&mut tx, app.now(), page.after()?, page.fetch()).await?;
    Ok(Json(page.of(rows, |row| row.credential_id.to_string())))
}

/// `PATCH /platform/v1/tokens/{id}`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameToken {
    name: String,
}

/// Gives a token another name.
pub async fn rename(
    State(app): State<App>,
    allowed: Allowed<may::PatsWrite>,
    Params(path): Params<IdPath>,
    Json(body): Json<RenameToken>,
) -> ApiResult<NoContent> {
    if let Some(wrong) = check_name(&body.name) {
        return Err(ApiError::invalid(vec![wrong]));
    }
    personal_tokens::rename(&app, &allowed, &path.id, &body.name).await?;
    Ok(NoContent)
}

/// Revokes a token.
pub async fn revoke(
    State(app): State<App>,
    allowed: Allowed<may::PatsWrite>,
    Params(path): Params<IdPath>,
) -> ApiResult<NoContent> {
    personal_tokens::revoke(&app, &allowed, &path.id).await?;
    Ok(NoContent)
}

/// `POST /platform/v1/tokens/{id}/rotate`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateToken {
    /// Seconds the old one lives on; none, unless given.
    #[serde(default)]
    grace: u64,
}

/// Makes a token's successor; it is in this answer and nowhere else.
pub async fn rotate(
    State(app): State<App>,
    allowed: Allowed<may::PatsWrite>,
    Params(path): Params<IdPath>,
    Json(body): Json<RotateToken>,
) -> ApiResult<impl IntoResponse> {
    if body.grace > ROTATION_GRACE_SECONDS_MAX {
        let expected = format!("expected at most {ROTATION_GRACE_SECONDS_MAX} seconds");
        return Err(ApiError::invalid(vec![FieldError::new("/grace", expected)]));
    }
    let made = personal_tokens::rotate(&app, &allowed, &path.id, seconds(body.grace)).await?;
    Ok((StatusCode::CREATED, Json(describe(&made))))
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> ApiError {
        let text = error.to_string();
        match error {
            TokenError::Wider(_) => ApiError::forbidden("wider_than_own", text),
            TokenError::NoSuchApp(field) => ApiError::invalid(vec![field]),
            TokenError::NotFound => ApiError::not_found("token"),
            TokenError::TooMany => ApiError::conflict("too_many_tokens", text),
            TokenError::Standing(cause) => cause.into(),
            TokenError::Db(cause) => cause.into(),
        }
    }
}
