//! `/v1/tenant/invitations…`, the same for operators as well: `/platform/v1/apps/{app}/invitations…`; and
//! `/v1/me/invitations/{id}/…` for whoever is invited. Inviting is adding a member by address ([`super::member_routes`]).

use super::{
    invitations::{self, Accepted, InviteError},
    member_routes::{AppPath, inside},
    routes::IdPath,
    store,
};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, action::may},
    http::{Json, NoContent, Page, Paged, Params},
};
use axum::extract::State;

/// Lists the app's invitations that nobody has answered, newest first.
pub async fn list(
    State(app): State<App>,
    allowed: Allowed<may::MembersRead>,
    page: Page,
) -> ApiResult<Json<Paged<impl serde::Serialize>>> {
    page_of(&app, &allowed, &page).await
}

/// The same by the other door.
pub async fn list_of_app(
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
) -> ApiResult<Json<Paged<store::Invitation>>> {
    let mut tx = app.tenant_tx(allowed).await?;
    let rows = store::list_invitations(&mut tx, app.now(), page.after()?, page.fetch()).await?;
    Ok(Json(page.of(rows, |row| row.invitation_id.to_string())))
}

/// Takes an invitation back.
pub async fn withdraw(
    State(app): State<App>,
    allowed: Allowed<may::MembersWrite>,
    Params(path): Params<IdPath>,
) -> ApiResult<NoContent> {
    invitations::withdraw(&app, &allowed, &path.id).await?;
    Ok(NoContent)
}

/// The same by the other door.
pub async fn withdraw_of_app(
    State(app): State<App>,
    allowed: Allowed<may::AdminsWrite>,
    Params(of): Params<AppPath>,
    Params(path): Params<IdPath>,
) -> ApiResult<NoContent> {
    invitations::withdraw(&app, &inside(&app, allowed, &of).await?, &path.id).await?;
    Ok(NoContent)
}

/// Makes the caller a member of the app they were invited to.
pub async fn accept(
    State(app): State<App>,
    allowed: Allowed<may::MeWrite>,
    Params(path): Params<IdPath>,
) -> ApiResult<Json<Accepted>> {
    Ok(Json(invitations::accept(&app, &allowed, &path.id).await?))
}

/// Answers an invitation of the caller's with no.
pub async fn decline(
    State(app): State<App>,
    allowed: Allowed<may::MeWrite>,
    Params(path): Params<IdPath>,
) -> ApiResult<NoContent> {
    invitations::decline(&app, &allowed, &path.id).await?;
    Ok(NoContent)
}

impl From<InviteError> for ApiError {
    fn from(error: InviteError) -> ApiError {
        let text = error.to_string();
        match error {
            InviteError::NotFound => ApiError::not_found("invitation"),
            InviteError::Already => ApiError::conflict("already_a_member", text),
            InviteError::AppFull => ApiError::conflict("too_many_members", text),
            InviteError::TooMany => ApiError::conflict("invitations_full", text),
            InviteError::TooOften(error) => error,
            InviteError::Db(cause) => cause.into(),
        }
    }
}
