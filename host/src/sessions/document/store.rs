//! All SQL of documents.

use super::{Message, Turn};
use crate::{
    sessions::{
        messages::{Kept, MessageKind},
        store::{KEPT, NOT_REVERTED, keepable},
    },
    tenants::TenantTx,
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

/// The place of the last message, or 0.
pub(super) async fn last_place(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<i32> {
    sqlx::query_scalar("select coalesce(max(seq), 0) from session_messages where session_id = $1")
        .bind(session_id)
        .fetch_one(tx.conn())
        .await
}

/// Messages that were not taken back, after a place and up to one.
pub(super) async fn page(
    tx: &mut TenantTx,
    session_id: Uuid,
    after: i32,
    until: i32,
    limit: i64,
) -> sqlx::Result<Vec<Kept>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {KEPT} from session_messages m
         where session_id = $1 and seq > $2 and seq <= $3 and {NOT_REVERTED} order by seq limit $4"
    )))
    .bind(session_id)
    .bind(after)
    .bind(until)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// The latest turns, the oldest of them first.
pub(super) async fn turns(tx: &mut TenantTx, session_id: Uuid, limit: i64) -> sqlx::Result<Vec<Turn>> {
    sqlx::query_as(
        "select * from (
           select turn_id, state, reason, message_id, created_at, started_at, ended_at from session_turns
           where session_id = $1 order by created_at desc, turn_id desc limit $2
         ) latest order by created_at, turn_id",
    )
    .bind(session_id)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Puts the messages of a document in the place of those a session has. The caller holds the session's row.
pub(in crate::sessions) async fn replace(
    tx: &mut TenantTx,
    of: (Uuid, Uuid),
    messages: &[Message],
) -> sqlx::Result<()> {
    sqlx::query("delete from session_messages where session_id = $1").bind(of.0).execute(tx.conn()).await?;
    insert(tx, of, messages, true).await
}

/// Adds the messages of a document to a session that has none, as they were; a new one has none of their turns.
pub(super) async fn insert(
    tx: &mut TenantTx,
    (session_id, app_id): (Uuid, Uuid),
    messages: &[Message],
    of_turns: bool,
) -> sqlx::Result<()> {
    let (said, reasoning): (Vec<Value>, Vec<Option<String>>) =
        messages.iter().map(|message| keepable(&message.message, message.reasoning.as_deref())).unzip();
    sqlx::query(
        "insert into session_messages (session_id, app_id, seq, message_id, turn_id, message, reasoning, kind, created_at)
         select $1, $2, n::int, id, turn_id, message, reasoning, kind, created_at
         from unnest($3::uuid[], $4::uuid[], $5::jsonb[], $6::text[], $7::text[], $8::timestamptz[]) with ordinality
           as m(id, turn_id, message, reasoning, kind, created_at, n)",
    )
    .bind(session_id)
    .bind(app_id)
    .bind(messages.iter().map(|message| message.id).collect::<Vec<_>>())
    .bind(messages.iter().map(|message| message.turn_id.filter(|_| of_turns)).collect::<Vec<_>>())
    .bind(said)
    .bind(reasoning)
    .bind(messages.iter().map(|message| MessageKind::name(message.kind)).collect::<Vec<_>>())
    .bind(messages.iter().map(|message| message.created_at).collect::<Vec<DateTime<Utc>>>())
    .execute(tx.conn())
    .await
    .map(drop)
}
