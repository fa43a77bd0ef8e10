//! The SQL of invitations.

use crate::{
    grants::Role,
    tenants::{ServiceTx, TenantTx},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// An invitation to insert.
pub(in crate::people) struct NewInvitation<'a> {
    pub(in crate::people) invitation_id: Uuid,
    pub(in crate::people) app_id: Uuid,
    pub(in crate::people) email: &'a str,
    pub(in crate::people) address: &'a str,
    pub(in crate::people) role: Role,
    pub(in crate::people) invited_by: Option<Uuid>,
    pub(in crate::people) credential_id: Option<Uuid>,
    pub(in crate::people) now: DateTime<Utc>,
    pub(in crate::people) expires_at: DateTime<Utc>,
}

/// Removes what the app has asked of this address before, and what nobody answered in time.
pub(in crate::people) async fn make_room(
    tx: &mut TenantTx,
    address: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "delete from app_invitations where app_id = current_app_id() and (address = $1 or expires_at <= $2)",
    )
    .bind(address)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

pub(in crate::people) async fn count_invitations(tx: &mut TenantTx) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from app_invitations where app_id = current_app_id()")
        .fetch_one(tx.conn())
        .await
}

pub(in crate::people) async fn insert_invitation(
    tx: &mut TenantTx,
    new: &NewInvitation<'_>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into app_invitations (invitation_id, app_id, email, address, role, invited_by, credential_id,
                                      created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(new.invitation_id)
    .bind(new.app_id)
    .bind(new.email)
    .bind(new.address)
    .bind(new.role.name())
    .bind(new.invited_by)
    .bind(new.credential_id)
    .bind(new.now)
    .bind(new.expires_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// An invitation, as the app that made it reads it.
#[derive(FromRow, Serialize)]
pub(in crate::people) struct Invitation {
    #[serde(rename = "id")]
    pub(in crate::people) invitation_id: Uuid,
    pub(in crate::people) email: String,
    pub(in crate::people) role: String,
    pub(in crate::people) created_at: DateTime<Utc>,
    pub(in crate::people) expires_at: DateTime<Utc>,
}

/// The app's that may still be answered, newest first, `limit` of them older than `before`.
pub(in crate::people) async fn list_invitations(
    tx: &mut TenantTx,
    now: DateTime<Utc>,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Invitation>> {
    sqlx::query_as(
        "select invitation_id, email, role, created_at, expires_at from app_invitations
         where app_id = current_app_id() and expires_at > $1 and ($2::uuid is null or invitation_id < $2)
         order by invitation_id desc limit $3",
    )
    .bind(now)
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Withdraws one of the app's; false where there is none.
pub(in crate::people) async fn withdraw_invitation(
    tx: &mut TenantTx,
    invitation_id: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query("delete from app_invitations where app_id = current_app_id() and invitation_id = $1")
        .bind(invitation_id)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}

/// The address that a person proved; none where they did not, or were disabled.
pub(in crate::people) async fn proved_email(
    tx: &mut ServiceTx,
    user_id: Uuid,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "select email from users where user_id = $1 and email_proved_at is not null and disabled_at is null",
    )
    .bind(user_id)
    .fetch_optional(tx.conn())
    .await
    .map(Option::flatten)
}

/// An invitation of somebody's, and what it stands on.
#[derive(FromRow)]
pub(in crate::people) struct FoundInvitation {
    pub(in crate::people) invitation_id: Uuid,
    pub(in crate::people) app_id: Uuid,
    pub(in crate::people) slug: String,
    pub(in crate::people) role: String,
    pub(in crate::people) created_at: DateTime<Utc>,
    pub(in crate::people) expires_at: DateTime<Utc>,
    pub(in crate::people) invited_by: Option<Uuid>,
    /// What whoever invited is in the app now, where they are a person who may sign in.
    pub(in crate::people) inviters_role: Option<String>,
    /// Whether the app's token that invited lives; also where none did.
    pub(in crate::people) token_lives: bool,
}

/// The invitations for an address into apps that are in use, newest first; only this one, where one is named.
pub(in crate::people) async fn invitations_for(
    tx: &mut ServiceTx,
    address: &str,
    only: Option<Uuid>,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<FoundInvitation>> {
    sqlx::query_as(
        "select i.invitation_id, i.app_id, a.slug, i.role, i.created_at, i.expires_at, i.invited_by,
                m.role as inviters_role,
                i.credential_id is null or exists (select from credentials c where c.credential_id = i.credential_id
                  and c.revoked_at is null and (c.expires_at is null or c.expires_at > $3)) as token_lives
         from app_invitations i join apps a using (app_id)
           left join users u on u.user_id = i.invited_by and u.disabled_at is null
           left join app_members m on m.app_id = i.app_id and m.user_id = u.user_id
         where i.address = $1 and ($2::uuid is null or i.invitation_id = $2) and i.expires_at > $3
           and a.status = 'active'
         order by i.invitation_id desc limit $4",
    )
    .bind(address)
    .bind(only)
    .bind(now)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Takes an invitation out, so that nobody answers it again; false where somebody has.
pub(in crate::people) async fn take_invitation(
    tx: &mut ServiceTx,
    invitation_id: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query("delete from app_invitations where invitation_id = $1")
        .bind(invitation_id)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}

/// Whether a person is a member of an app, and how many are.
pub(in crate::people) async fn members_with(
    conn: &mut PgConnection,
    app_id: Uuid,
    user_id: Uuid,
) -> sqlx::Result<(bool, i64)> {
    sqlx::query_as(
        "select coalesce(bool_or(user_id = $2), false), count(*) from app_members where app_id = $1",
    )
    .bind(app_id)
    .bind(user_id)
    .fetch_one(conn)
    .await
}

/// Removes invitations that expired before `before`.
pub(in crate::people) async fn delete_invitations(
    tx: &mut ServiceTx,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("delete from app_invitations where expires_at < $1")
        .bind(before)
        .execute(tx.conn())
        .await
        .map(drop)
}
