//! All SQL of sessions below others.

use crate::{sessions::store::FAMILY, tenants::TenantTx};
use sqlx::PgConnection;
use uuid::Uuid;

/// How many sessions stand above this one.
pub(super) async fn depth(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "with recursive line as (
           select parent_id from sessions where session_id = $1
           union all select s.parent_id from sessions s join line l on s.session_id = l.parent_id
         ) select count(parent_id) from line",
    )
    .bind(session_id)
    .fetch_one(tx.conn())
    .await
}

/// How many sessions stand directly below this one: all, and those at work for this turn.
pub(super) async fn count(tx: &mut TenantTx, session_id: Uuid, turn_id: Uuid) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(
        "select (select count(*) from sessions where parent_id = $1),
           (select count(*) from session_turns where parent_turn_id = $2 and state = 'running')",
    )
    .bind(session_id)
    .bind(turn_id)
    .fetch_one(tx.conn())
    .await
}

/// The turns that run for this one in sessions below, each with its session.
pub(crate) async fn running_for(conn: &mut PgConnection, turn_id: Uuid) -> sqlx::Result<Vec<(Uuid, Uuid)>> {
    sqlx::query_as(
        "select session_id, turn_id from session_turns where parent_turn_id = $1 and state = 'running'
         order by session_id",
    )
    .bind(turn_id)
    .fetch_all(conn)
    .await
}

/// A session and all below it, each with the turn that runs in it.
pub(crate) async fn family(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Vec<(Uuid, Option<Uuid>)>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "{FAMILY}
         select f.session_id, t.turn_id from family f
           left join session_turns t on t.session_id = f.session_id and t.state = 'running'"
    )))
    .bind(session_id)
    .fetch_all(tx.conn())
    .await
}

/// How a turn ended, and why.
pub(super) async fn ending(
    tx: &mut TenantTx,
    turn_id: Uuid,
) -> sqlx::Result<Option<(String, Option<String>)>> {
    sqlx::query_as("select state, reason from session_turns where turn_id = $1")
        .bind(turn_id)
        .fetch_optional(tx.conn())
        .await
}
