//! All SQL of turns.

use super::{Prompt, Running, State, running::CUT};
use crate::{
    sessions::log::CHANNEL,
    tenants::{ServiceTx, TenantTx},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

pub(in crate::sessions) struct NewTurn<'a> {
    pub(in crate::sessions) turn_id: Uuid,
    pub(in crate::sessions) session_id: Uuid,
    pub(in crate::sessions) app_id: Uuid,
    /// Before all that wait, rather than after them.
    pub(in crate::sessions) first: bool,
    pub(in crate::sessions) message_id: Uuid,
    pub(in crate::sessions) prompt: &'a Prompt,
    pub(in crate::sessions) credential_id: Option<Uuid>,
    pub(in crate::sessions) request_id: &'a str,
    /// The turn it is a part of.
    pub(in crate::sessions) parent_turn_id: Option<Uuid>,
    /// The trace it belongs to, as `traceparent` has it.
    pub(in crate::sessions) traceparent: Option<String>,
    pub(in crate::sessions) now: DateTime<Utc>,
}

pub(in crate::sessions) async fn insert(conn: &mut PgConnection, new: &NewTurn<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into session_turns (turn_id, session_id, app_id, position, state, message_id, prompt, credential_id,
           request_id, created_at, parent_turn_id, traceparent)
         select $1, $2, $3, case when $4 then coalesce(min(position), 0) - 1 else coalesce(max(position), 0) + 1 end,
           'queued', $5, $6, $7, $8, $9, $10, $11
         from session_turns where session_id = $2",
    )
    .bind(new.turn_id)
    .bind(new.session_id)
    .bind(new.app_id)
    .bind(new.first)
    .bind(new.message_id)
    .bind(Json(new.prompt))
    .bind(new.credential_id)
    .bind(new.request_id)
    .bind(new.now)
    .bind(new.parent_turn_id)
    .bind(&new.traceparent)
    .execute(conn)
    .await
    .map(drop)
}

/// The turn that a message of this id began.
pub(super) async fn of_message(
    tx: &mut TenantTx,
    session_id: Uuid,
    message_id: Uuid,
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar("select turn_id from session_turns where session_id = $1 and message_id = $2")
        .bind(session_id)
        .bind(message_id)
        .fetch_optional(tx.conn())
        .await
}

/// The message a turn began with, or is to write.
pub(super) async fn message_of(conn: &mut PgConnection, turn_id: Uuid) -> sqlx::Result<Uuid> {
    sqlx::query_scalar("select message_id from session_turns where turn_id = $1")
        .bind(turn_id)
        .fetch_one(conn)
        .await
}

/// How many turns wait.
pub(crate) async fn count_queued(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from session_turns where session_id = $1 and state = 'queued'")
        .bind(session_id)
        .fetch_one(conn)
        .await
}

/// The turn that runs.
pub(crate) async fn running(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar("select turn_id from session_turns where session_id = $1 and state = 'running'")
        .bind(session_id)
        .fetch_optional(conn)
        .await
}

/// The turns that run in a person's sessions, those of sessions below others last: they end with those.
pub(super) async fn running_of_person(tx: &mut ServiceTx, user_id: Uuid) -> sqlx::Result<Vec<Running>> {
    let rows: Vec<(Uuid, Uuid, Uuid)> = sqlx::query_as(
        "select t.session_id, t.app_id, t.turn_id from session_turns t join sessions s using (session_id)
         where s.user_id = $1 and t.state = 'running' order by s.parent_id nulls first",
    )
    .bind(user_id)
    .fetch_all(tx.conn())
    .await?;
    let running = rows.into_iter();
    Ok(running.map(|(session_id, app_id, turn_id)| Running { session_id, app_id, turn_id }).collect())
}

#[derive(FromRow)]
pub(super) struct Waiting {
    pub(super) turn_id: Uuid,
    pub(super) app_id: Uuid,
    pub(super) message_id: Uuid,
    pub(super) prompt: Json<Prompt>,
    pub(super) credential_id: Option<Uuid>,
    pub(super) request_id: String,
    pub(super) traceparent: Option<String>,
}

/// The turn that is next.
pub(super) async fn next(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<Option<Waiting>> {
    sqlx::query_as(
        "select turn_id, app_id, message_id, prompt, credential_id, request_id, traceparent from session_turns
         where session_id = $1 and state = 'queued' order by position limit 1",
    )
    .bind(session_id)
    .fetch_optional(conn)
    .await
}

/// The turns that wait, in order.
pub(crate) async fn queued(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select turn_id from session_turns where session_id = $1 and state = 'queued' order by position",
    )
    .bind(session_id)
    .fetch_all(conn)
    .await
}

pub(super) async fn start(conn: &mut PgConnection, turn_id: Uuid, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("update session_turns set state = 'running', started_at = $2 where turn_id = $1")
        .bind(turn_id)
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
}

/// Ends a turn that waits or runs, and says which message began it; none where it has ended already.
pub(super) async fn end(
    conn: &mut PgConnection,
    turn_id: Uuid,
    state: State,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar(
        "update session_turns set state = $2, reason = $3, ended_at = $4
         where turn_id = $1 and state in ('queued', 'running') returning message_id",
    )
    .bind(turn_id)
    .bind(state.name())
    .bind(reason)
    .bind(now)
    .fetch_optional(conn)
    .await
}

/// A turn that waits, as it is shown.
#[derive(Debug, FromRow, Serialize)]
pub(crate) struct ShownWaiting {
    pub(crate) turn_id: Uuid,
    pub(crate) message_id: Uuid,
    pub(crate) prompt: Json<Prompt>,
    pub(crate) created_at: DateTime<Utc>,
}

/// The turns that wait, as they are shown, in order.
pub(crate) async fn shown_waiting(
    conn: &mut PgConnection,
    session_id: Uuid,
) -> sqlx::Result<Vec<ShownWaiting>> {
    sqlx::query_as(
        "select turn_id, message_id, prompt, created_at from session_turns
         where session_id = $1 and state = 'queued' order by position",
    )
    .bind(session_id)
    .fetch_all(conn)
    .await
}

/// A turn, as whoever tells of it needs it.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Told {
    pub(crate) turn_id: Uuid,
    pub(crate) message_id: Uuid,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    /// The agent and the model the prompt names.
    pub(crate) agent: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
    /// What its model calls used.
    pub(crate) prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
    pub(crate) cached_tokens: i64,
    pub(crate) cost_micro_usd: i64,
}

/// These turns of a session, in order.
pub(crate) async fn told(tx: &mut TenantTx, session_id: Uuid, turns: &[Uuid]) -> sqlx::Result<Vec<Told>> {
    sqlx::query_as(
        "select t.turn_id, t.message_id, t.state, t.reason, t.prompt ->> 'agent' as agent,
           t.prompt ->> 'model' as model, t.ended_at,
           coalesce(used.prompt_tokens, 0)::bigint as prompt_tokens,
           coalesce(used.completion_tokens, 0)::bigint as completion_tokens,
           coalesce(used.cached_tokens, 0)::bigint as cached_tokens,
           coalesce(used.cost_micro_usd, 0)::bigint as cost_micro_usd
         from session_turns t left join (
           select request_id, sum(prompt_tokens) as prompt_tokens, sum(completion_tokens) as completion_tokens,
             sum(cached_tokens) as cached_tokens, sum(cost_micro_usd) as cost_micro_usd
           from usage_events where session_id = $1 and kind = 'tokens' group by request_id
         ) as used using (request_id)
         where t.session_id = $1 and t.turn_id = any($2) order by t.created_at, t.turn_id",
    )
    .bind(session_id)
    .bind(turns)
    .fetch_all(tx.conn())
    .await
}

/// Tells other hosts that a turn was cut.
pub(crate) async fn tell_cut(conn: &mut PgConnection, turn_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("select pg_notify($1, $2::text || ' ' || $3)")
        .bind(CHANNEL)
        .bind(turn_id)
        .bind(CUT)
        .execute(conn)
        .await
        .map(drop)
}
