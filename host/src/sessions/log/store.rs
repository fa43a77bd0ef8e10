//! All SQL of the log.

use super::{Draft, Event, Kind, Owner};
use crate::tenants::TenantTx;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::{FromRow, PgConnection, types::Json};
use std::collections::HashMap;
use uuid::Uuid;

/// What other hosts are told by: `<session> <last number> <first number> <app> <person or ->`, of the events of one
/// write; `<session> gone <app> <person or ->`; or `<turn> cut`. `listen` reads it.
pub(crate) const CHANNEL: &str = "opg_sessions";

/// What other hosts are told of a session that was deleted.
pub(super) const GONE: &str = "gone";

/// Adds events, and says the number of the last and whose session it is; tells the other hosts with the commit.
pub(super) async fn append(
    conn: &mut PgConnection,
    session_id: Uuid,
    app_id: Uuid,
    drafts: &[Draft],
    now: DateTime<Utc>,
) -> sqlx::Result<(i64, Option<Uuid>)> {
    let kinds: Vec<&str> = drafts.iter().map(|draft| draft.kind.name()).collect();
    let turns: Vec<Option<Uuid>> = drafts.iter().map(|draft| draft.turn_id).collect();
    let data: Vec<Json<&Map<String, Value>>> = drafts.iter().map(|draft| Json(&draft.data)).collect();
    sqlx::query_as(
        "with numbered as (
           update sessions set last_seq = last_seq + cardinality($3::text[]) where session_id = $1
           returning last_seq, user_id
         ), added as (
           insert into session_events (session_id, app_id, seq, kind, turn_id, data, created_at)
           select $1, $2, last_seq - cardinality($3::text[]) + n, kind, turn_id, data, $6
           from numbered, unnest($3::text[], $4::uuid[], $5::jsonb[]) with ordinality as e(kind, turn_id, data, n)
         ), told as (
           select pg_notify($7, concat_ws(' ', $1, last_seq, last_seq - cardinality($3::text[]) + 1, $2,
             coalesce(user_id::text, '-'))) from numbered
         )
         select last_seq, user_id from numbered, told",
    )
    .bind(session_id)
    .bind(app_id)
    .bind(kinds)
    .bind(turns)
    .bind(data)
    .bind(now)
    .bind(CHANNEL)
    .fetch_one(conn)
    .await
}

#[derive(FromRow)]
struct Row {
    seq: i64,
    kind: String,
    turn_id: Option<Uuid>,
    data: Json<Map<String, Value>>,
    created_at: DateTime<Utc>,
}

impl Row {
    fn into_event(self, session_id: Uuid) -> Event {
        let Row { seq, kind, turn_id, data: Json(data), created_at: time } = self;
        Event { seq, time, session_id, kind, turn_id, data }
    }
}

/// The first and the last number that are there; none where there is no such session.
pub(super) async fn bounds(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Option<(i64, i64)>> {
    sqlx::query_as("select first_seq, last_seq from sessions where session_id = $1")
        .bind(session_id)
        .fetch_optional(tx.conn())
        .await
}

/// Where the logs of an owner's sessions stand that something may be written to, the newest of them.
pub(super) async fn places(
    tx: &mut TenantTx,
    owner: Owner,
    at_most: usize,
) -> sqlx::Result<HashMap<Uuid, i64>> {
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(
        "select session_id, last_seq from sessions
         where app_id = $1 and user_id is not distinct from $2 and status in ('creating', 'active', 'idle')
         order by session_id desc limit $3",
    )
    .bind(owner.app_id)
    .bind(owner.user_id)
    .bind(i64::try_from(at_most).unwrap_or(i64::MAX))
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().collect())
}

/// Tells other hosts that a session is gone, with the commit.
pub(crate) async fn tell_gone(conn: &mut PgConnection, session_id: Uuid, owner: Owner) -> sqlx::Result<()> {
    sqlx::query("select pg_notify($1, concat_ws(' ', $2, $3, $4, coalesce($5::text, '-')))")
        .bind(CHANNEL)
        .bind(session_id)
        .bind(GONE)
        .bind(owner.app_id)
        .bind(owner.user_id)
        .execute(conn)
        .await
        .map(drop)
}

/// Events after a number, in order.
pub(crate) async fn after(
    tx: &mut TenantTx,
    session_id: Uuid,
    seq: i64,
    limit: i64,
) -> sqlx::Result<Vec<Event>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select seq, kind, turn_id, data, created_at from session_events
         where session_id = $1 and seq > $2 order by seq limit $3",
    )
    .bind(session_id)
    .bind(seq)
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| row.into_event(session_id)).collect())
}

/// What was said in one turn and what its tools did, in order.
pub(crate) async fn of_turn(
    conn: &mut PgConnection,
    session_id: Uuid,
    turn_id: Uuid,
) -> sqlx::Result<Vec<Event>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select seq, kind, turn_id, data, created_at from session_events
         where session_id = $1 and turn_id = $2 and kind = any($3) order by seq",
    )
    .bind(session_id)
    .bind(turn_id)
    .bind([Kind::MessageAppend, Kind::ToolCall, Kind::ToolResult].map(Kind::name))
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.into_event(session_id)).collect())
}

/// What was told of one turn before an event, in order.
pub(crate) async fn of_turn_before(
    tx: &mut TenantTx,
    session_id: Uuid,
    turn_id: Uuid,
    seq: i64,
) -> sqlx::Result<Vec<Event>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select seq, kind, turn_id, data, created_at from session_events
         where session_id = $1 and turn_id = $2 and seq < $3 order by seq",
    )
    .bind(session_id)
    .bind(turn_id)
    .bind(seq)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| row.into_event(session_id)).collect())
}

/// Removes the oldest events where there are more than `kept`.
pub(crate) async fn prune(conn: &mut PgConnection, session_id: Uuid, kept: i64) -> sqlx::Result<()> {
    sqlx::query(
        "with pruned as (
           update sessions set first_seq = last_seq - $2 + 1
           where session_id = $1 and last_seq - first_seq >= $2 returning first_seq
         )
         delete from session_events using pruned where session_id = $1 and seq < pruned.first_seq",
    )
    .bind(session_id)
    .bind(kept)
    .execute(conn)
    .await
    .map(drop)
}
