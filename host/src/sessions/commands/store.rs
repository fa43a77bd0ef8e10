//! All SQL of commands.

use crate::tenants::TenantTx;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

/// A command.
#[derive(Clone, Debug, FromRow, Serialize)]
pub(crate) struct Command {
    /// What it is called by.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What the agent is told.
    pub template: String,
    /// The agent that answers.
    pub agent: Option<String>,
    /// The model, `provider/model`.
    pub model: Option<String>,
    /// When it was last written.
    pub updated_at: DateTime<Utc>,
}

const COLUMNS: &str = "name, description, template, agent, model, updated_at";

/// All of the app's, by name: there are few.
pub(crate) async fn list(tx: &mut TenantTx) -> sqlx::Result<Vec<Command>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!("select {COLUMNS} from commands order by name")))
        .fetch_all(tx.conn())
        .await
}

pub(super) async fn find(tx: &mut TenantTx, name: &str) -> sqlx::Result<Option<Command>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!("select {COLUMNS} from commands where name = $1")))
        .bind(name)
        .fetch_optional(tx.conn())
        .await
}

/// Takes the app's lock on its commands until the transaction ends.
pub(super) async fn lock(tx: &mut TenantTx, app_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("commands/{app_id}"))
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Writes one; false where the app has `most` others already.
pub(super) async fn put(tx: &mut TenantTx, app_id: Uuid, command: &Command, most: i64) -> sqlx::Result<bool> {
    sqlx::query(
        "insert into commands (app_id, name, description, template, agent, model, updated_at)
         select $1, $2, $3, $4, $5, $6, $7
         where (select count(*) from commands where name <> $2) < $8
         on conflict (app_id, name) do update set description = excluded.description, template = excluded.template,
           agent = excluded.agent, model = excluded.model, updated_at = excluded.updated_at",
    )
    .bind(app_id)
    .bind(&command.name)
    .bind(&command.description)
    .bind(&command.template)
    .bind(&command.agent)
    .bind(&command.model)
    .bind(command.updated_at)
    .bind(most)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

pub(super) async fn delete(tx: &mut TenantTx, name: &str) -> sqlx::Result<()> {
    sqlx::query("delete from commands where name = $1").bind(name).execute(tx.conn()).await.map(drop)
}
