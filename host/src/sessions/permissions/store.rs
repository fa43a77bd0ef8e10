//! All SQL of permissions.

use super::{Policy, Response};
use crate::{sessions::store::FAMILY, tenants::TenantTx};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

/// The rules of a session and of those above it, itself first.
pub(crate) async fn policies(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Vec<(Uuid, Policy)>> {
    let found: Vec<(Uuid, Json<Policy>)> = sqlx::query_as(
        "with recursive line as (
           select session_id, parent_id, permissions, 0 as above from sessions where session_id = $1
           union all
           select s.session_id, s.parent_id, s.permissions, above + 1 from sessions s
             join line l on s.session_id = l.parent_id
         )
         select session_id, permissions from line order by above",
    )
    .bind(session_id)
    .fetch_all(tx.conn())
    .await?;
    Ok(found.into_iter().map(|(session_id, Json(policy))| (session_id, policy)).collect())
}

pub(crate) async fn set_policy(
    conn: &mut PgConnection,
    session_id: Uuid,
    policy: &Policy,
) -> sqlx::Result<()> {
    sqlx::query("update sessions set permissions = $2 where session_id = $1")
        .bind(session_id)
        .bind(Json(policy))
        .execute(conn)
        .await
        .map(drop)
}

/// Something that is asked.
#[derive(Clone, Debug, FromRow, Serialize)]
pub(crate) struct Pending {
    /// Its id.
    #[serde(rename = "id")]
    pub permission_id: Uuid,
    /// The session that asks.
    pub session_id: Uuid,
    /// The turn that waits.
    pub turn_id: Uuid,
    /// The tool that would run.
    pub tool: String,
    /// What it would be given.
    pub input: Value,
    /// What its plugin may touch.
    pub capabilities: Vec<String>,
    /// Since when it is asked.
    pub created_at: DateTime<Utc>,
    /// When it is answered with no by itself.
    pub expires_at: DateTime<Utc>,
}

pub(super) async fn insert(tx: &mut TenantTx, app_id: Uuid, asked: &Pending) -> sqlx::Result<()> {
    sqlx::query(
        "insert into pending_permissions
           (permission_id, session_id, app_id, turn_id, tool, input, capabilities, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(asked.permission_id)
    .bind(asked.session_id)
    .bind(app_id)
    .bind(asked.turn_id)
    .bind(&asked.tool)
    .bind(&asked.input)
    .bind(&asked.capabilities)
    .bind(asked.created_at)
    .bind(asked.expires_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// What is asked in a session and the ones below it, the oldest first.
pub(crate) async fn open(tx: &mut TenantTx, session_id: Uuid, limit: i64) -> sqlx::Result<Vec<Pending>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "{FAMILY}
         select permission_id, session_id, turn_id, tool, input, capabilities, created_at, expires_at
         from pending_permissions join family using (session_id)
         where resolved_at is null order by created_at, permission_id limit $2"
    )))
    .bind(session_id)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// What is asked in all sessions of whoever acts, the oldest first.
pub(crate) async fn open_of_all(tx: &mut TenantTx, limit: i64) -> sqlx::Result<Vec<Pending>> {
    sqlx::query_as(
        "select permission_id, session_id, turn_id, tool, input, capabilities, created_at, expires_at
         from pending_permissions where resolved_at is null order by created_at, permission_id limit $1",
    )
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// The session something was asked in.
pub(crate) async fn session_of(tx: &mut TenantTx, permission_id: Uuid) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar("select session_id from pending_permissions where permission_id = $1")
        .bind(permission_id)
        .fetch_optional(tx.conn())
        .await
}

/// How something stands that was asked.
#[derive(FromRow)]
pub(super) struct Asked {
    pub(super) session_id: Uuid,
    pub(super) turn_id: Uuid,
    pub(super) tool: String,
    pub(super) input: Value,
    pub(super) response: Option<String>,
    pub(super) message: Option<String>,
}

/// Something that was asked in a session or one below it.
pub(super) async fn find(
    tx: &mut TenantTx,
    session_id: Uuid,
    permission_id: Uuid,
) -> sqlx::Result<Option<Asked>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "{FAMILY}
         select session_id, turn_id, tool, input, response, message from pending_permissions
         where permission_id = $2 and session_id in (select session_id from family)"
    )))
    .bind(session_id)
    .bind(permission_id)
    .fetch_optional(tx.conn())
    .await
}

/// Answers; false where it was answered before.
pub(super) async fn resolve(
    tx: &mut TenantTx,
    permission_id: Uuid,
    response: Response,
    message: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "update pending_permissions set resolved_at = $2, response = $3, message = $4
         where permission_id = $1 and resolved_at is null",
    )
    .bind(permission_id)
    .bind(now)
    .bind(response.name())
    .bind(message)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Answers all that a turn still asks with no; which they were.
pub(super) async fn close(
    conn: &mut PgConnection,
    turn_id: Uuid,
    message: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "update pending_permissions set resolved_at = $2, response = 'reject', message = $3
         where turn_id = $1 and resolved_at is null returning permission_id",
    )
    .bind(turn_id)
    .bind(now)
    .bind(message)
    .fetch_all(conn)
    .await
}

/// What is asked in a session at this moment: id, turn, tool, and what it would be given.
pub(super) async fn open_of_session(
    tx: &mut TenantTx,
    session_id: Uuid,
) -> sqlx::Result<Vec<(Uuid, Uuid, String, Value)>> {
    sqlx::query_as(
        "select permission_id, turn_id, tool, input from pending_permissions
         where session_id = $1 and resolved_at is null order by created_at, permission_id",
    )
    .bind(session_id)
    .fetch_all(tx.conn())
    .await
}
