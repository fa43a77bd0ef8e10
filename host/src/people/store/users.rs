//! The SQL of what operators do with people.

use crate::tenants::ServiceTx;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

/// Somebody, as an operator reads them.
#[derive(FromRow, Serialize)]
pub(in crate::people) struct User {
    #[serde(rename = "id")]
    pub(in crate::people) user_id: Uuid,
    pub(in crate::people) email: Option<String>,
    pub(in crate::people) name: String,
    pub(in crate::people) created_at: DateTime<Utc>,
    pub(in crate::people) email_proved_at: Option<DateTime<Utc>>,
    pub(in crate::people) disabled_at: Option<DateTime<Utc>>,
}

const USER_COLUMNS: &str = "user_id, email, name, created_at, email_proved_at, disabled_at";

/// People, the newest first, `limit` of them older than `before`: those of an address, and those who are disabled or
/// are not, where that is asked for.
pub(in crate::people) async fn list_users(
    tx: &mut ServiceTx,
    email: Option<&str>,
    disabled: Option<bool>,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<User>> {
    // Each has an index that fits.
    let of_address = if email.is_some() { "lower(email) = lower($1)" } else { "$1::text is null" };
    let of_state = match disabled {
        None => "true",
        Some(true) => "disabled_at is not null",
        Some(false) => "disabled_at is null",
    };
    sqlx::query_as(AssertSqlSafe(format!(
        "select {USER_COLUMNS} from users where {of_address} and {of_state} and ($2::uuid is null or user_id < $2)
         order by user_id desc limit $3",
    )))
    .bind(email)
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

pub(in crate::people) async fn find_user(tx: &mut ServiceTx, user_id: Uuid) -> sqlx::Result<Option<User>> {
    sqlx::query_as(AssertSqlSafe(format!("select {USER_COLUMNS} from users where user_id = $1")))
        .bind(user_id)
        .fetch_optional(tx.conn())
        .await
}

/// An app of somebody's, as an operator reads it.
#[derive(FromRow, Serialize)]
pub(in crate::people) struct AppOfUser {
    #[serde(skip)]
    pub(in crate::people) app_id: Uuid,
    #[serde(rename = "id")]
    pub(in crate::people) slug: String,
    pub(in crate::people) role: String,
    /// Whether nobody else who may sign in is its owner.
    pub(in crate::people) only_owner: bool,
}

pub(in crate::people) async fn apps_of_user(
    tx: &mut ServiceTx,
    user_id: Uuid,
) -> sqlx::Result<Vec<AppOfUser>> {
    sqlx::query_as(
        "select a.app_id, a.slug, m.role, m.role = 'owner' and not exists (
             select from app_members o join users u using (user_id)
             where o.app_id = a.app_id and o.role = 'owner' and o.user_id <> $1 and u.disabled_at is null
           ) as only_owner
         from app_members m join apps a using (app_id)
         where m.user_id = $1 and a.status <> 'deleted' order by a.slug",
    )
    .bind(user_id)
    .fetch_all(tx.conn())
    .await
}

/// Whether somebody is disabled, held until the transaction ends; none where there is no such person.
pub(in crate::people) async fn lock_user(tx: &mut ServiceTx, user_id: Uuid) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar("select disabled_at is not null from users where user_id = $1 for update")
        .bind(user_id)
        .fetch_optional(tx.conn())
        .await
}

pub(in crate::people) async fn set_disabled(
    tx: &mut ServiceTx,
    user_id: Uuid,
    at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query("update users set disabled_at = $2 where user_id = $1")
        .bind(user_id)
        .bind(at)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Removes what somebody could still sign in with: codes that were mailed, and command lines that were let in and have
/// not come for their tokens.
pub(in crate::people) async fn forget_sign_ins(tx: &mut ServiceTx, user_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from sign_in_codes where user_id = $1").bind(user_id).execute(tx.conn()).await?;
    sqlx::query("delete from device_requests where user_id = $1")
        .bind(user_id)
        .execute(tx.conn())
        .await
        .map(drop)
}
