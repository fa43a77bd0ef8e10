//! `/v1/tenant/members…`, and the same for operators as well: `/platform/v1/apps/{app}/admins…`.

use super::{
    invitations,
    members::{self, MemberError},
    routes::IdPath,
    store,
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, Manages, Role, action::may},
    http::{Json, NoContent, Page, Paged, Params},
    tenants::{self, routes::is_email},
};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// An app in a path.
#[derive(Deserialize)]
pub struct AppPath {
    pub(super) app: String,
}

/// The proof that one of the app's own would have, from whoever manages the app of this path.
pub(super) async fn inside<A: Manages>(
    app: &App,
    allowed: Allowed<A>,
    path: &AppPath,
) -> ApiResult<Allowed<A::Inside>> {
    let found = match allowed.is_operators() {
        true => tenants::find_ref(app, &path.app).await?,
        false => None,
    };
    allowed.inside(found).ok_or_else(|| ApiError::not_found("app"))
}

/// Lists the app's members.
pub async fn list(
    State(app): State<App>,
    allowed: Allowed<may::MembersRead>,
    page: Page,
) -> ApiResult<Json<Paged<impl serde::Serialize>>> {
    page_of(&app, &allowed, &page).await
}

/// The same by the other door.
pub async fn list_admins(
    State(app): State<App>,
    allowed: Allowed<may::AdminsRead>,
    Params(path): Params<AppPath>,
    page: Page,
) -> ApiResult<Json<Paged<impl serde::Serialize>>> {
    page_of(&app, &inside(&app, allowed, &path).await?, &page).await
}

async fn page_of(
    app: &App,
    allowed: &Allowed<may::MembersRead>,
    page: &Page,
) -> ApiResult<Json<Paged<store::Member>>> {
    let mut tx = app.tenant_tx(allowed).await?;
    let rows = store::list_members(&mut tx, page.after()?, page.fetch()).await?;
    Ok(Json(page.of(rows, |row| row.user_id.to_string())))
}

/// `POST /v1/tenant/members`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMember {
    /// The person's id, as `GET /v1/me` tells them: they are a member at once.
    user_id: Option<String>,
    /// Or their address: they are invited.
    email: Option<String>,
    /// As what.
    role: Role,
}

/// Makes a person a member of the app, or invites them.
pub async fn add(
    State(app): State<App>,
    allowed: Allowed<may::MembersWrite>,
    Json(body): Json<AddMember>,
) -> ApiResult<Response> {
    add_or_invite(&app, &allowed, body).await
}

/// The same by the other door.
pub async fn add_admin(
    State(app): State<App>,
    allowed: Allowed<may::AdminsWrite>,
    Params(path): Params<AppPath>,
    Json(body): Json<AddMember>,
) -> ApiResult<Response> {
    add_or_invite(&app, &inside(&app, allowed, &path).await?, body).await
}

async fn add_or_invite(
    app: &App,
    allowed: &Allowed<may::MembersWrite>,
    body: AddMember,
) -> ApiResult<Response> {
    match (body.user_id, body.email) {
        (Some(user_id), None) => {
            let user_id = Uuid::parse_str(&user_id).map_err(|_| MemberError::NoSuchPerson)?;
            members::add(app, allowed, user_id, body.role).await?;
            let answer = Json(json!({ "id": user_id, "role": body.role }));
            Ok((StatusCode::CREATED, answer).into_response())
        }
        (None, Some(email)) if is_email(email.trim()) => {
            let invitation = invitations::invite(app, allowed, &email, body.role).await?;
            Ok((StatusCode::ACCEPTED, Json(invitation)).into_response())
        }
        (None, Some(_)) => {
            Err(ApiError::invalid(vec![FieldError::new("/email", "expected an e-mail address")]))
        }
        _ => Err(ApiError::invalid(vec![FieldError::new("", "expected either `user_id` or `email`")])),
    }
}

/// `PATCH /v1/tenant/members/{id}`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeMember {
    /// As what from now on.
    role: Role,
}

/// Gives a member another role.
pub async fn change(
    State(app): State<App>,
    allowed: Allowed<may::MembersWrite>,
    Params(path): Params<IdPath>,
    Json(body): Json<ChangeMember>,
) -> ApiResult<Json<Value>> {
    change_role(&app, &allowed, &path, body.role).await
}

/// The same by the other door.
pub async fn change_admin(
    State(app): State<App>,
    allowed: Allowed<may::AdminsWrite>,
    Params(of): Params<AppPath>,
    Params(path): Params<IdPath>,
    Json(body): Json<ChangeMember>,
) -> ApiResult<Json<Value>> {
    change_role(&app, &inside(&app, allowed, &of).await?, &path, body.role).await
}

async fn change_role(
    app: &App,
    allowed: &Allowed<may::MembersWrite>,
    path: &IdPath,
    role: Role,
) -> ApiResult<Json<Value>> {
    let user_id = id(path)?;
    members::change(app, allowed, user_id, role).await?;
    Ok(Json(json!({ "id": user_id, "role": role })))
}

/// Removes a member.
pub async fn remove(
    State(app): State<App>,
    allowed: Allowed<may::MembersWrite>,
    Params(path): Params<IdPath>,
) -> ApiResult<NoContent> {
    members::remove(&app, &allowed, id(&path)?).await?;
    Ok(NoContent)
}

/// The same by the other door.
pub async fn remove_admin(
    State(app): State<App>,
    allowed: Allowed<may::AdminsWrite>,
    Params(of): Params<AppPath>,
    Params(path): Params<IdPath>,
) -> ApiResult<NoContent> {
    members::remove(&app, &inside(&app, allowed, &of).await?, id(&path)?).await?;
    Ok(NoContent)
}

fn id(path: &IdPath) -> Result<Uuid, MemberError> {
    Uuid::parse_str(&path.id).map_err(|_| MemberError::NotFound)
}

impl From<MemberError> for ApiError {
    fn from(error: MemberError) -> ApiError {
        let text = error.to_string();
        match error {
            MemberError::NotFound => ApiError::not_found("member"),
            MemberError::NoSuchApp => ApiError::not_found("app"),
            MemberError::NoSuchPerson => ApiError::unprocessable("no_such_person", text),
            MemberError::Already => ApiError::conflict("already_a_member", text),
            MemberError::LastOwner => ApiError::conflict("last_owner", text),
            MemberError::TooMany => ApiError::conflict("too_many_members", text),
            MemberError::Db(cause) => cause.into(),
        }
    }
}
