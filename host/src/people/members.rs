//! Who is a member of an app, and as what.
//!
//! A member is named by the person's id, which they find in `GET /v1/me`: asking by address would tell who has an
//! account. Who knows an address alone invites ([`super::invitations`]). An app that has owners keeps one who may sign
//! in. An operator does the same through another door, with the proof that one of the app's own would have.

use super::store;
use crate::{
    app::App,
    grants::{Allowed, AsMyself, InApp, Role, action::may, audit},
    limits::MEMBERS_PER_APP_MAX,
    tenants::TenantTx,
};
use serde_json::json;
use uuid::Uuid;

/// Why the members are as they were.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// No such person, or none who is a member.
    #[error("no such member")]
    NotFound,
    /// There is no person of this id.
    #[error("no such person; they find their id in GET /v1/me, after they signed up")]
    NoSuchPerson,
    /// No such app, or none of the person's.
    #[error("no such app")]
    NoSuchApp,
    /// They are one already.
    #[error("they are a member already; change their role with PATCH")]
    Already,
    /// Nobody could manage the app any more.
    #[error("this is the app's last owner; make another member an owner first")]
    LastOwner,
    /// Too many.
    #[error("this app has {MEMBERS_PER_APP_MAX} members; remove one first")]
    TooMany,
    /// The database.
    #[error("the members could not be read or written")]
    Db(#[from] sqlx::Error),
}

/// Makes a person a member.
///
/// # Errors
/// [`MemberError`]
pub async fn add(
    app: &App,
    allowed: &Allowed<may::MembersWrite>,
    user_id: Uuid,
    role: Role,
) -> Result<(), MemberError> {
    let mut tx = begin(app, allowed).await?;
    if store::find_role(&mut tx, user_id).await?.is_some() {
        return Err(MemberError::Already);
    }
    if store::count_members(&mut tx).await? >= MEMBERS_PER_APP_MAX {
        return Err(MemberError::TooMany);
    }
    match store::insert_member(tx.conn(), allowed.app().app_id, user_id, role, app.now()).await {
        Err(sqlx::Error::Database(cause)) if cause.is_foreign_key_violation() => {
            return Err(MemberError::NoSuchPerson);
        }
        done => done?,
    }
    finish(app, allowed, tx, "members.add", user_id, Some(role)).await
}

/// Gives a member another role.
///
/// # Errors
/// [`MemberError`]
pub async fn change(
    app: &App,
    allowed: &Allowed<may::MembersWrite>,
    user_id: Uuid,
    role: Role,
) -> Result<(), MemberError> {
    let mut tx = begin(app, allowed).await?;
    let before = store::find_role(&mut tx, user_id).await?.ok_or(MemberError::NotFound)?;
    if role != Role::Owner {
        keep_an_owner(&mut tx, user_id, &before).await?;
    }
    store::update_role(&mut tx, user_id, role).await?;
    finish(app, allowed, tx, "members.change", user_id, Some(role)).await
}

/// Removes a member: from the next request on, none of their own credentials opens the app.
///
/// # Errors
/// [`MemberError`]
pub async fn remove(
    app: &App,
    allowed: &Allowed<may::MembersWrite>,
    user_id: Uuid,
) -> Result<(), MemberError> {
    let mut tx = begin(app, allowed).await?;
    let before = store::find_role(&mut tx, user_id).await?.ok_or(MemberError::NotFound)?;
    keep_an_owner(&mut tx, user_id, &before).await?;
    store::delete_member(&mut tx, user_id).await?;
    finish(app, allowed, tx, "members.remove", user_id, None).await
}

/// Takes the caller out of an app of theirs.
///
/// # Errors
/// [`MemberError`]
pub async fn leave(app: &App, allowed: &Allowed<may::MeWrite>, slug: &str) -> Result<(), MemberError> {
    let found = {
        let mut tx = app.person_tx(allowed).await?;
        store::my_app_ids(&mut tx, &[slug.to_owned()]).await?
    };
    let app_id = found.and_then(|ids| ids.first().copied()).ok_or(MemberError::NoSuchApp)?;
    let mut tx = app.service_tx().await?;
    store::lock_members(tx.conn(), app_id).await?;
    if !store::leave(&mut tx, app_id, allowed.me()).await? {
        return Err(MemberError::LastOwner);
    }
    let entry = audit::Entry::ok("members.leave", format!("user/{}", allowed.me()));
    audit::write_platform(app, &mut tx, allowed.credential(), Some(app_id), entry).await?;
    tx.commit().await?;
    app.changes.made(app_id);
    Ok(())
}

/// One change of an app's members at a time: counting and changing are one step.
pub(super) async fn begin(app: &App, allowed: &Allowed<may::MembersWrite>) -> sqlx::Result<TenantTx> {
    let mut tx = app.tenant_tx(allowed).await?;
    store::lock_members(tx.conn(), allowed.app().app_id).await?;
    Ok(tx)
}

async fn keep_an_owner(tx: &mut TenantTx, user_id: Uuid, before: &str) -> Result<(), MemberError> {
    if before == Role::Owner.name() && !store::has_another_owner(tx, user_id).await? {
        return Err(MemberError::LastOwner);
    }
    Ok(())
}

async fn finish(
    app: &App,
    allowed: &Allowed<may::MembersWrite>,
    mut tx: TenantTx,
    action: &'static str,
    user_id: Uuid,
    role: Option<Role>,
) -> Result<(), MemberError> {
    let entry = audit::Entry::ok(action, format!("user/{user_id}")).detail(json!({ "role": role }));
    audit::write(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    app.changes.made(allowed.app().app_id);
    Ok(())
}
