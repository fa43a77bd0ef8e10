//! The SQL of an app's members.

use crate::{
    grants::Role,
    tenants::{ServiceTx, TenantTx},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// A member, as the app reads them.
#[derive(FromRow, Serialize)]
pub(in crate::people) struct Member {
    #[serde(rename = "id")]
    pub(in crate::people) user_id: Uuid,
    pub(in crate::people) email: Option<String>,
    pub(in crate::people) name: String,
    pub(in crate::people) role: String,
    /// Whether an operator disabled them: then they may nothing, and are no owner that counts.
    pub(in crate::people) disabled: bool,
    pub(in crate::people) created_at: DateTime<Utc>,
}

/// Takes the lock of an app's members until the transaction ends.
pub(in crate::people) async fn lock_members(conn: &mut PgConnection, app_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("members/{app_id}"))
        .execute(conn)
        .await
        .map(drop)
}

/// The app's members, by when they were made people, `limit` of them after `after`.
pub(in crate::people) async fn list_members(
    tx: &mut TenantTx,
    after: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Member>> {
    sqlx::query_as(
        "select m.user_id, u.email, u.name, m.role, u.disabled_at is not null as disabled, m.created_at from app_members m join users u using (user_id)
         where m.app_id = current_app_id() and ($1::uuid is null or m.user_id > $1) order by m.user_id limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

pub(in crate::people) async fn find_role(tx: &mut TenantTx, user_id: Uuid) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select role from app_members where app_id = current_app_id() and user_id = $1")
        .bind(user_id)
        .fetch_optional(tx.conn())
        .await
}

pub(in crate::people) async fn count_members(tx: &mut TenantTx) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from app_members where app_id = current_app_id()")
        .fetch_one(tx.conn())
        .await
}

/// Whether somebody else is an owner of the app and may sign in.
pub(in crate::people) async fn has_another_owner(tx: &mut TenantTx, but: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from app_members m join users u using (user_id)
           where m.app_id = current_app_id() and m.role = 'owner' and m.user_id <> $1 and u.disabled_at is null)",
    )
    .bind(but)
    .fetch_one(tx.conn())
    .await
}

pub(in crate::people) async fn insert_member(
    conn: &mut PgConnection,
    app_id: Uuid,
    user_id: Uuid,
    role: Role,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("insert into app_members (app_id, user_id, role, created_at) values ($1, $2, $3, $4)")
        .bind(app_id)
        .bind(user_id)
        .bind(role.name())
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
}

pub(in crate::people) async fn update_role(tx: &mut TenantTx, user_id: Uuid, role: Role) -> sqlx::Result<()> {
    sqlx::query("update app_members set role = $2 where app_id = current_app_id() and user_id = $1")
        .bind(user_id)
        .bind(role.name())
        .execute(tx.conn())
        .await
        .map(drop)
}

pub(in crate::people) async fn delete_member(tx: &mut TenantTx, user_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from app_members where app_id = current_app_id() and user_id = $1")
        .bind(user_id)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Removes a person from an app, unless they are its last owner; false where they are.
pub(in crate::people) async fn leave(tx: &mut ServiceTx, app_id: Uuid, user_id: Uuid) -> sqlx::Result<bool> {
    sqlx::query(
        "delete from app_members where app_id = $1 and user_id = $2 and (role <> 'owner' or exists (
           select from app_members o join users u using (user_id)
           where o.app_id = $1 and o.role = 'owner' and o.user_id <> $2 and u.disabled_at is null))",
    )
    .bind(app_id)
    .bind(user_id)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}
