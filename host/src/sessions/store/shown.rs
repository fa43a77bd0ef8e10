//! The SQL of sessions as they are shown: one, those of a list, those below one.

use crate::{
    sessions::{Status, permissions::Policy},
    tenants::TenantTx,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

/// A session as it is shown.
#[derive(Debug, FromRow, Serialize)]
pub(crate) struct Shown {
    #[serde(rename = "id")]
    pub(crate) session_id: Uuid,
    /// Whose it is; none: the app's.
    pub(crate) user_id: Option<Uuid>,
    pub(crate) parent_id: Option<Uuid>,
    pub(crate) forked_from: Option<Uuid>,
    pub(crate) title: String,
    pub(crate) status: String,
    pub(crate) status_reason: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) permissions: Json<Policy>,
    /// Whether it is summed up by itself: `auto`, or `off`.
    pub(crate) compaction: String,
    /// What it runs on: `wasm`, or `process`.
    pub(crate) target: String,
    /// What its last model call read and wrote, and what that model takes, where it is known.
    pub(crate) context_tokens: Option<i64>,
    pub(crate) context_limit: Option<i64>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) last_accessed_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
    /// Where the log ends: what to read on from.
    #[serde(rename = "cursor")]
    pub(crate) last_seq: i64,
    /// What is asked and not answered, in it and the sessions below it.
    pub(crate) pending_permissions: i64,
    pub(crate) queued_turns: i64,
    /// The first message that was taken back.
    pub(crate) reverted_from: Option<Uuid>,
}

const SHOWN: &str = "session_id, user_id, parent_id, forked_from, title, status, status_reason, agent, model, permissions, compaction,
    target, context_tokens, context_limit, created_at, last_accessed_at, expires_at, last_seq,
    (with recursive family as (
       select s.session_id union select c.session_id from sessions c join family f on c.parent_id = f.session_id
     ) select count(*) from pending_permissions p join family using (session_id) where p.resolved_at is null
    ) as pending_permissions,
    (select count(*) from session_turns t where t.session_id = s.session_id and t.state = 'queued') as queued_turns,
    (select m.message_id from session_messages m where m.session_id = s.session_id and m.seq = s.reverted_from)
      as reverted_from";

pub(crate) async fn find(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Option<Shown>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!("select {SHOWN} from sessions s where session_id = $1")))
        .bind(session_id)
        .fetch_optional(tx.conn())
        .await
}

/// Which sessions are listed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    /// Those below no other.
    Roots,
    /// All of them.
    All,
    /// Those directly below this one.
    Below(Uuid),
}

/// Sessions that have not expired, the newest first: `limit` of them older than `before`.
pub(crate) async fn list(
    tx: &mut TenantTx,
    which: Which,
    status: Option<Status>,
    before: Option<Uuid>,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Shown>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {SHOWN} from sessions s
         where app_id = current_app_id() and expires_at > $3
           and ($1::text is null or status = $1) and ($2::uuid is null or session_id < $2)
           and case when $5::uuid is not null then parent_id = $5 else $6 or parent_id is null end
         order by session_id desc limit $4"
    )))
    .bind(status.map(Status::name))
    .bind(before)
    .bind(now)
    .bind(limit)
    .bind(if let Which::Below(parent_id) = which { Some(parent_id) } else { None })
    .bind(matches!(which, Which::All))
    .fetch_all(tx.conn())
    .await
}

/// The sessions below one, the oldest first.
pub(crate) async fn children(tx: &mut TenantTx, session_id: Uuid, limit: i64) -> sqlx::Result<Vec<Shown>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {SHOWN} from sessions s where parent_id = $1 order by session_id limit $2"
    )))
    .bind(session_id)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}
