//! The SQL of messages: adding them, finding them, showing pages of them.

use super::taken_back::NOT_REVERTED;
use crate::{
    sessions::{
        log::without_nul,
        messages::{Kept, NewMessage},
    },
    tenants::TenantTx,
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// What [`Kept`] is read of.
pub(in crate::sessions) const KEPT: &str = "seq, message_id, turn_id, message, reasoning, kind, created_at";

/// A message and its reasoning as they are kept: without what no JSON of PostgreSQL's holds.
pub(in crate::sessions) fn keepable(message: &Value, reasoning: Option<&str>) -> (Value, Option<String>) {
    let mut message = message.clone();
    without_nul(&mut message);
    (message, reasoning.map(|text| text.replace('\0', "\u{fffd}")))
}

/// Adds messages behind those that are there. The caller holds the session's row. `changes_id`: what was changed of
/// files with them is kept under it, where they are part of no turn.
pub(in crate::sessions) async fn append(
    conn: &mut PgConnection,
    (session_id, app_id): (Uuid, Uuid),
    new: &[NewMessage],
    changes_id: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Kept>> {
    let ids: Vec<Option<Uuid>> = new.iter().map(|m| Some(m.message_id).filter(|id| !id.is_nil())).collect();
    let turns: Vec<Option<Uuid>> = new.iter().map(|m| m.turn_id).collect();
    let (messages, reasoning): (Vec<Value>, Vec<Option<String>>) =
        new.iter().map(|m| keepable(&m.message, m.reasoning.as_deref())).unzip();
    let mut kept: Vec<Kept> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "insert into session_messages (session_id, app_id, seq, message_id, turn_id, message, reasoning, created_at, kind,
           changes_id)
         select $1, $2, (select coalesce(max(seq), 0) from session_messages where session_id = $1) + n::int,
           coalesce(id, gen_random_uuid()), turn_id, message, reasoning, $7, kind, $9
         from unnest($3::uuid[], $4::uuid[], $5::jsonb[], $6::text[], $8::text[]) with ordinality
           as m(id, turn_id, message, reasoning, kind, n)
         returning {KEPT}"
    )))
    .bind(session_id)
    .bind(app_id)
    .bind(ids)
    .bind(turns)
    .bind(messages)
    .bind(reasoning)
    .bind(now)
    .bind(new.iter().map(|m| m.kind.name()).collect::<Vec<_>>())
    .bind(changes_id)
    .fetch_all(conn)
    .await?;
    kept.sort_by_key(|message| message.seq);
    Ok(kept)
}

/// Whether a message of this id is in a session.
pub(in crate::sessions) async fn has_message(
    tx: &mut TenantTx,
    session_id: Uuid,
    message_id: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from session_messages where session_id = $1 and message_id = $2)",
    )
    .bind(session_id)
    .bind(message_id)
    .fetch_one(tx.conn())
    .await
}

/// The place of a message that was not taken back.
pub(crate) async fn place(
    tx: &mut TenantTx,
    session_id: Uuid,
    message_id: Uuid,
) -> sqlx::Result<Option<i32>> {
    let place = format!(
        "select seq from session_messages m where session_id = $1 and message_id = $2 and {NOT_REVERTED}"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(place))
        .bind(session_id)
        .bind(message_id)
        .fetch_optional(tx.conn())
        .await
}

/// How many messages a session holds, and how many bytes of JSON they are.
pub(in crate::sessions) async fn size(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select count(*), coalesce(sum(octet_length(message::text)), 0)::bigint from session_messages m
         where session_id = $1 and {NOT_REVERTED}"
    )))
    .bind(session_id)
    .fetch_one(conn)
    .await
}

/// A page of messages with the answers of the tools they called: `limit` messages that are no tool's, after a place.
pub(crate) async fn messages_with_answers(
    conn: &mut PgConnection,
    session_id: Uuid,
    after: i32,
    limit: i64,
) -> sqlx::Result<Vec<Kept>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "with page as (
           select seq from session_messages m
           where session_id = $1 and seq > $2 and message ->> 'role' <> 'tool' and {NOT_REVERTED} order by seq limit $3
         ), bound as (
           select min(m.seq) as next from session_messages m
           where m.session_id = $1 and m.message ->> 'role' <> 'tool' and m.seq > (select max(seq) from page)
         )
         select {KEPT} from session_messages, bound
         where session_id = $1 and seq >= (select min(seq) from page) and (bound.next is null or seq < bound.next)
         order by seq"
    )))
    .bind(session_id)
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// The last messages that are no tool's, with the answers of the tools they called: `limit` of them before a place.
pub(crate) async fn last_messages(
    tx: &mut TenantTx,
    session_id: Uuid,
    before: i32,
    limit: i64,
) -> sqlx::Result<Vec<Kept>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {KEPT} from session_messages m
         where session_id = $1 and seq < $2 and {NOT_REVERTED}
           and seq >= coalesce((
             select min(seq) from (
               select seq from session_messages m
               where session_id = $1 and seq < $2 and message ->> 'role' <> 'tool' and {NOT_REVERTED}
               order by seq desc limit $3
             ) as page), 0)
         order by seq"
    )))
    .bind(session_id)
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// All messages of one turn.
pub(crate) async fn messages_of_turn(
    tx: &mut TenantTx,
    session_id: Uuid,
    turn_id: Uuid,
) -> sqlx::Result<Vec<Kept>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {KEPT} from session_messages m
         where session_id = $1 and turn_id = $2 and {NOT_REVERTED} order by seq"
    )))
    .bind(session_id)
    .bind(turn_id)
    .fetch_all(tx.conn())
    .await
}

/// Copies messages that were not taken back to another session: those before a place, or all. They get these ids, of
/// which there are enough.
pub(in crate::sessions) async fn copy_messages(
    tx: &mut TenantTx,
    (from, to): (Uuid, Uuid),
    until: Option<i32>,
    ids: &[Uuid],
) -> sqlx::Result<()> {
    let copy = format!(
        "with kept as (
           select *, row_number() over (order by seq) as n from session_messages m
           where session_id = $1 and ($3::int is null or seq < $3) and {NOT_REVERTED}
         )
         insert into session_messages (session_id, app_id, seq, message_id, message, reasoning, kind, created_at)
         select $2, app_id, seq, id, message, reasoning, kind, created_at
         from kept join unnest($4::uuid[]) with ordinality as given(id, n) using (n)"
    );
    let copied = sqlx::query(sqlx::AssertSqlSafe(copy)).bind(from).bind(to).bind(until).bind(ids);
    copied.execute(tx.conn()).await.map(drop)
}
