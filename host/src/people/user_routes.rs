//! `/platform/v1/users…`, for operators.

use super::{
    account,
    routes::IdPath,
    store,
    users::{self, UserError},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, action::may},
    http::{Json, Page, Paged, Params, extract::Queried},
    tenants::routes::is_email,
};
use axum::{extract::State, response::IntoResponse};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

/// `?email=&disabled=`
#[derive(Deserialize)]
pub struct Filter {
    email: Option<String>,
    disabled: Option<bool>,
}

/// Lists people, newest first.
pub async fn list(
    State(app): State<App>,
    _allowed: Allowed<may::UsersRead>,
    Queried(filter): Queried<Filter>,
    page: Page,
) -> ApiResult<Json<Paged<impl serde::Serialize>>> {
    let mut tx = app.service_tx().await?;
    let email = filter.email.as_deref().map(str::trim);
    let rows = store::list_users(&mut tx, email, filter.disabled, page.after()?, page.fetch()).await?;
    Ok(Json(page.of(rows, |row| row.user_id.to_string())))
}

/// Shows somebody, with the apps they are in.
pub async fn get(
    State(app): State<App>,
    _allowed: Allowed<may::UsersRead>,
    Params(path): Params<IdPath>,
) -> ApiResult<Json<Value>> {
    Ok(Json(users::show(&app, id(&path)?).await?))
}

/// `POST /platform/v1/users`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteUser {
    /// Whose account it is to be.
    email: String,
    /// How they are called.
    name: Option<String>,
}

/// Makes an account for whoever has this address, and writes to them.
pub async fn invite(
    State(app): State<App>,
    allowed: Allowed<may::UsersWrite>,
    Json(body): Json<InviteUser>,
) -> ApiResult<impl IntoResponse> {
    let name = body.name.unwrap_or_default();
    let mut wrong: Vec<_> = account::check_name(&name).into_iter().collect();
    if !is_email(body.email.trim()) {
        wrong.insert(0, FieldError::new("/email", "expected an e-mail address"));
    }
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    let invited = users::invite(&app, &allowed, &body.email, &name).await?;
    let mut answer = invited.user;
    answer["mailed"] = invited.mailed.into();
    Ok((StatusCode::CREATED, Json(answer)))
}

/// `PATCH /platform/v1/users/{id}`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    /// Whether they are let in nowhere.
    disabled: bool,
}

/// Disables somebody, or enables them again.
pub async fn change(
    State(app): State<App>,
    allowed: Allowed<may::UsersWrite>,
    Params(path): Params<IdPath>,
    Json(body): Json<ChangeUser>,
) -> ApiResult<Json<Value>> {
    let user_id = id(&path)?;
    users::set_disabled(&app, &allowed, user_id, body.disabled).await?;
    Ok(Json(users::show(&app, user_id).await?))
}

/// Disables somebody.
pub async fn disable(
    State(app): State<App>,
    allowed: Allowed<may::UsersWrite>,
    Params(path): Params<IdPath>,
) -> ApiResult<Json<Value>> {
    let user_id = id(&path)?;
    users::set_disabled(&app, &allowed, user_id, true).await?;
    Ok(Json(users::show(&app, user_id).await?))
}

fn id(path: &IdPath) -> Result<Uuid, UserError> {
    Uuid::parse_str(&path.id).map_err(|_| UserError::NotFound)
}

impl From<UserError> for ApiError {
    fn from(error: UserError) -> ApiError {
        match error {
            UserError::NotFound => ApiError::not_found("user"),
            UserError::Taken => ApiError::conflict("address_taken", error.to_string()),
            UserError::Signup(cause) => cause.into(),
            UserError::Db(cause) => cause.into(),
        }
    }
}
