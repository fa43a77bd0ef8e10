//! All SQL of sessions and their messages.

use super::{
    Status,
    context::{self, Compaction, Context},
    instances::Target,
    log::without_nul,
    messages::{Kept, MessageKind, NewMessage},
    permissions::Policy,
};
use crate::{
    grants::InApp,
    tenants::{ServiceTx, TenantTx},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

/// A session to be.
pub(super) struct NewSession<'a> {
    pub(super) session_id: Uuid,
    pub(super) app_id: Uuid,
    /// Whose it is; none: the app's.
    pub(super) user_id: Option<Uuid>,
    /// The session it does a task for.
    pub(super) parent_id: Option<Uuid>,
    pub(super) forked_from: Option<Uuid>,
    pub(super) title: &'a str,
    pub(super) status: Status,
    pub(super) agent: Option<&'a str>,
    pub(super) model: Option<&'a str>,
    pub(super) permissions: Policy,
    pub(super) compaction: Compaction,
    /// What it runs on.
    pub(super) target: Target,
    pub(super) now: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    /// Who takes it at once, and until when.
    pub(super) lease: Option<(Uuid, DateTime<Utc>)>,
}

impl NewSession<'_> {
    /// One of whoever acts.
    pub(super) fn new(
        session_id: Uuid,
        proof: &impl InApp,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Self {
        NewSession {
            session_id,
            app_id: proof.app().app_id,
            user_id: proof.user_id(),
            parent_id: None,
            forked_from: None,
            title: "",
            status: Status::Creating,
            agent: None,
            model: None,
            permissions: Policy::default(),
            compaction: Compaction::default(),
            target: Target::default(),
            now,
            expires_at,
            lease: None,
        }
    }
}

pub(super) async fn insert(tx: &mut TenantTx, new: &NewSession<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into sessions (session_id, app_id, forked_from, title, status, agent, model, permissions, created_at,
           last_accessed_at, expires_at, busy_token, busy_until, user_id, parent_id, compaction, target)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(new.session_id)
    .bind(new.app_id)
    .bind(new.forked_from)
    .bind(new.title)
    .bind(new.status.name())
    .bind(new.agent)
    .bind(new.model)
    .bind(Json(&new.permissions))
    .bind(new.now)
    .bind(new.expires_at)
    .bind(new.lease.map(|(token, _)| token))
    .bind(new.lease.map(|(_, until)| until))
    .bind(new.user_id)
    .bind(new.parent_id)
    .bind(new.compaction.name())
    .bind(new.target.name())
    .execute(tx.conn())
    .await
    .map(drop)
}

/// A session whose row is held until the end of the transaction.
pub(crate) struct Locked {
    pub(super) app_id: Uuid,
    pub(super) status: Status,
    pub(super) title: String,
    pub(super) agent: Option<String>,
    /// What it runs on.
    pub(super) target: Target,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) busy_until: Option<DateTime<Utc>>,
    /// How long its conversation has become, where that is known and it may be summed up by itself.
    pub(super) context: Option<Context>,
    pub(super) reverted_from: Option<i32>,
    pub(super) parent_id: Option<Uuid>,
}

#[derive(FromRow)]
struct LockedRow {
    app_id: Uuid,
    status: String,
    title: String,
    agent: Option<String>,
    target: String,
    expires_at: DateTime<Utc>,
    busy_until: Option<DateTime<Utc>>,
    compaction: String,
    context_tokens: Option<i64>,
    context_limit: Option<i64>,
    reverted_from: Option<i32>,
    parent_id: Option<Uuid>,
}

pub(super) async fn lock(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Option<Locked>> {
    lock_of_any(tx.conn(), session_id).await
}

/// The same for the platform itself, whose apps are all of them.
pub(super) async fn lock_of_any(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<Option<Locked>> {
    let row: Option<LockedRow> = sqlx::query_as(
        "select app_id, status, title, agent, target, expires_at, busy_until, compaction, context_tokens, context_limit,
                reverted_from, parent_id
         from sessions where session_id = $1 for update",
    )
    .bind(session_id)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Locked {
        app_id: row.app_id,
        // The table takes no other.
        status: Status::parse(&row.status).unwrap_or(Status::Error),
        title: row.title,
        agent: row.agent,
        target: Target::named(&row.target),
        expires_at: row.expires_at,
        busy_until: row.busy_until,
        context: row
            .context_tokens
            .filter(|_| row.compaction == Compaction::Auto.name())
            .map(|tokens| Context { tokens, limit: row.context_limit }),
        reverted_from: row.reverted_from,
        parent_id: row.parent_id,
    }))
}

/// The session whose files this one works on: itself, or the one at the top of those it is below.
pub(crate) async fn with_files(
    conn: &mut PgConnection,
    session_id: Uuid,
    parent_id: Option<Uuid>,
) -> sqlx::Result<Uuid> {
    let Some(parent_id) = parent_id else { return Ok(session_id) };
    let top = sqlx::query_scalar(
        "with recursive line as (
           select session_id, parent_id from sessions where session_id = $1
           union all
           select s.session_id, s.parent_id from sessions s join line l on s.session_id = l.parent_id
         ) select session_id from line where parent_id is null",
    );
    Ok(top.bind(parent_id).fetch_optional(conn).await?.unwrap_or(session_id))
}

/// Goes to a state; which it was before, where it was another.
pub(super) async fn set_status(
    conn: &mut PgConnection,
    session_id: Uuid,
    to: Status,
    reason: Option<&str>,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "with before as (select status from sessions where session_id = $1 and status <> $2)
         update sessions set status = $2, status_reason = $3 from before where session_id = $1 returning before.status",
    )
    .bind(session_id)
    .bind(to.name())
    .bind(reason)
    .fetch_optional(conn)
    .await
}

pub(super) async fn take(
    conn: &mut PgConnection,
    session_id: Uuid,
    token: Uuid,
    busy_until: DateTime<Utc>,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update sessions set busy_token = $2, busy_until = $3, last_accessed_at = $4, expires_at = $5
         where session_id = $1",
    )
    .bind(session_id)
    .bind(token)
    .bind(busy_until)
    .bind(now)
    .bind(expires_at)
    .execute(conn)
    .await
    .map(drop)
}

/// Uses a session without taking it.
pub(super) async fn touch(
    tx: &mut TenantTx,
    session_id: Uuid,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("update sessions set last_accessed_at = $2, expires_at = $3 where session_id = $1")
        .bind(session_id)
        .bind(now)
        .bind(expires_at)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Keeps a session taken for longer; false where somebody else has it now.
pub(super) async fn renew(
    tx: &mut TenantTx,
    session_id: Uuid,
    token: Uuid,
    busy_until: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query("update sessions set busy_until = $3 where session_id = $1 and busy_token = $2")
        .bind(session_id)
        .bind(token)
        .bind(busy_until)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}

/// Whether a session is still taken by this token; its row is held from then on.
pub(super) async fn holds(tx: &mut TenantTx, session_id: Uuid, token: Uuid) -> sqlx::Result<bool> {
    let found: Option<i32> =
        sqlx::query_scalar("select 1 from sessions where session_id = $1 and busy_token = $2 for update")
            .bind(session_id)
            .bind(token)
            .fetch_optional(tx.conn())
            .await?;
    Ok(found.is_some())
}

/// Gives a session back, and says whether turns wait in it; none where somebody else has it now.
pub(super) async fn release(
    tx: &mut TenantTx,
    session_id: Uuid,
    token: Uuid,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar(
        "update sessions set busy_token = null, busy_until = null, last_accessed_at = $3, expires_at = $4
         where session_id = $1 and busy_token = $2
         returning exists (select from session_turns where session_id = $1 and state = 'queued')",
    )
    .bind(session_id)
    .bind(token)
    .bind(now)
    .bind(expires_at)
    .fetch_optional(tx.conn())
    .await
}

/// Takes a session from whoever has it.
pub(super) async fn let_go(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("update sessions set busy_token = null, busy_until = null where session_id = $1")
        .bind(session_id)
        .execute(conn)
        .await
        .map(drop)
}

/// How many messages a session holds, and how many bytes of JSON they are.
pub(super) async fn size(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select count(*), coalesce(sum(octet_length(message::text)), 0)::bigint from session_messages m
         where session_id = $1 and {NOT_REVERTED}"
    )))
    .bind(session_id)
    .fetch_one(conn)
    .await
}

/// A message `m` of session `$1` that was not taken back.
pub(super) const NOT_REVERTED: &str =
    "m.seq < coalesce((select reverted_from from sessions where session_id = $1), 2147483647)";

/// The place of the last summary of session `$1` that was not taken back, or 0.
fn summed_up() -> String {
    format!(
        "coalesce((select max(m.seq) from session_messages m
           where session_id = $1 and kind = 'summary' and {NOT_REVERTED}), 0)"
    )
}

/// The conversation as a model reads it: the last summary, and what came after it.
pub(super) async fn messages(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Vec<Value>> {
    let kept: Vec<(String, Value)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select kind, message from session_messages m
         where session_id = $1 and {NOT_REVERTED} and seq >= {} order by seq",
        summed_up()
    )))
    .bind(session_id)
    .fetch_all(tx.conn())
    .await?;
    let read = |(kind, message): (String, Value)| match MessageKind::from(kind) {
        MessageKind::Message => vec![message],
        MessageKind::Summary => context::as_read(&message).into(),
    };
    Ok(kept.into_iter().flat_map(read).collect())
}

/// Whether something was said since the last summary.
pub(super) async fn says_something_new(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "select exists (select from session_messages m where session_id = $1 and {NOT_REVERTED} and seq > {})",
        summed_up()
    )))
    .bind(session_id)
    .fetch_one(tx.conn())
    .await
}

/// Keeps how long the conversation has become; none: not known.
pub(super) async fn set_context(
    conn: &mut PgConnection,
    session_id: Uuid,
    context: Option<Context>,
) -> sqlx::Result<()> {
    let Some(Context { tokens, limit }) = context else {
        // The platform does this too, and has no right to the rest.
        return sqlx::query("update sessions set context_tokens = null where session_id = $1")
            .bind(session_id)
            .execute(conn)
            .await
            .map(drop);
    };
    sqlx::query("update sessions set context_tokens = $2, context_limit = $3 where session_id = $1")
        .bind(session_id)
        .bind(tokens)
        .bind(limit)
        .execute(conn)
        .await
        .map(drop)
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
           select min(m.seq) as seq from session_messages m
           where m.session_id = $1 and m.message ->> 'role' <> 'tool' and m.seq > (select max(seq) from page)
         )
         select m.seq, m.message_id, m.turn_id, m.message, m.reasoning, m.kind, m.created_at
         from session_messages m, bound
         where m.session_id = $1 and m.seq >= (select min(seq) from page) and (bound.seq is null or m.seq < bound.seq)
         order by m.seq"
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
        "select seq, message_id, turn_id, message, reasoning, kind, created_at from session_messages m
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
        "select seq, message_id, turn_id, message, reasoning, kind, created_at from session_messages m
         where session_id = $1 and turn_id = $2 and {NOT_REVERTED} order by seq"
    )))
    .bind(session_id)
    .bind(turn_id)
    .fetch_all(tx.conn())
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

/// The turns whose messages stand from this place on, also those that were taken back: those of chat requests, too, by
/// what their changes are kept under.
pub(crate) async fn turns_from(tx: &mut TenantTx, session_id: Uuid, seq: i32) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select distinct coalesce(turn_id, changes_id) from session_messages
         where session_id = $1 and seq >= $2 and coalesce(turn_id, changes_id) is not null",
    )
    .bind(session_id)
    .bind(seq)
    .fetch_all(tx.conn())
    .await
}

/// Takes messages back from this place on; none: no more.
pub(super) async fn set_reverted(tx: &mut TenantTx, session_id: Uuid, from: Option<i32>) -> sqlx::Result<()> {
    sqlx::query("update sessions set reverted_from = $2 where session_id = $1")
        .bind(session_id)
        .bind(from)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Removes what was taken back for good: something else is said in its place.
pub(super) async fn forget_reverted(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "with were as (
           select reverted_from from sessions where session_id = $1 and reverted_from is not null
         ), back as (
           update sessions set reverted_from = null from were where session_id = $1
         )
         delete from session_messages using were where session_id = $1 and seq >= were.reverted_from",
    )
    .bind(session_id)
    .execute(conn)
    .await
    .map(drop)
}

/// Copies messages that were not taken back to another session: those before a place, or all. They get these ids, of
/// which there are enough.
pub(super) async fn copy_messages(
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

/// Adds messages behind those that are there. The caller holds the session's row. `changes_id`: what was changed of
/// files with them is kept under it, where they are part of no turn.
pub(super) async fn append(
    conn: &mut PgConnection,
    (session_id, app_id): (Uuid, Uuid),
    new: &[NewMessage],
    changes_id: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Kept>> {
    let ids: Vec<Option<Uuid>> = new.iter().map(|m| Some(m.message_id).filter(|id| !id.is_nil())).collect();
    let turns: Vec<Option<Uuid>> = new.iter().map(|m| m.turn_id).collect();
    let clean = |message: &Value| {
        let mut message = message.clone();
        without_nul(&mut message);
        message
    };
    let messages: Vec<Value> = new.iter().map(|m| clean(&m.message)).collect();
    let reasoning: Vec<Option<String>> =
        new.iter().map(|m| m.reasoning.as_deref().map(|text| text.replace('\0', "\u{fffd}"))).collect();
    let mut kept: Vec<Kept> = sqlx::query_as(
        "insert into session_messages (session_id, app_id, seq, message_id, turn_id, message, reasoning, created_at, kind,
           changes_id)
         select $1, $2, (select coalesce(max(seq), 0) from session_messages where session_id = $1) + n::int,
           coalesce(id, gen_random_uuid()), turn_id, message, reasoning, $7, kind, $9
         from unnest($3::uuid[], $4::uuid[], $5::jsonb[], $6::text[], $8::text[]) with ordinality
           as m(id, turn_id, message, reasoning, kind, n)
         returning seq, message_id, turn_id, message, reasoning, kind, created_at",
    )
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

pub(super) async fn delete(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<bool> {
    sqlx::query("delete from sessions where session_id = $1")
        .bind(session_id)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}

/// Deletes a session that is taken by this token, unless a turn waits in it.
pub(super) async fn delete_unused(tx: &mut TenantTx, session_id: Uuid, token: Uuid) -> sqlx::Result<bool> {
    sqlx::query(
        "delete from sessions s where session_id = $1 and busy_token = $2
           and not exists (select from session_turns t where t.session_id = s.session_id and t.state = 'queued')",
    )
    .bind(session_id)
    .bind(token)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Whether a message of this id is in a session.
pub(super) async fn has_message(tx: &mut TenantTx, session_id: Uuid, message_id: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from session_messages where session_id = $1 and message_id = $2)",
    )
    .bind(session_id)
    .bind(message_id)
    .fetch_one(tx.conn())
    .await
}

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

/// How many sessions of the app run on something.
pub(super) async fn count_live(tx: &mut TenantTx, now: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from sessions where status in ('creating', 'active', 'idle') and expires_at > $1",
    )
    .bind(now)
    .fetch_one(tx.conn())
    .await
}

/// What is changed of a session; none: it stays.
#[derive(Default)]
pub(super) struct Changes<'a> {
    pub(super) title: Option<&'a str>,
    pub(super) agent: Option<&'a str>,
    pub(super) model: Option<&'a str>,
    pub(super) permissions: Option<&'a Policy>,
    pub(super) compaction: Option<Compaction>,
}

pub(super) async fn change(tx: &mut TenantTx, session_id: Uuid, changes: &Changes<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "update sessions set title = coalesce($2, title), agent = coalesce($3, agent), model = coalesce($4, model),
           permissions = coalesce($5, permissions), compaction = coalesce($6, compaction)
         where session_id = $1",
    )
    .bind(session_id)
    .bind(changes.title)
    .bind(changes.agent)
    .bind(changes.model)
    .bind(changes.permissions.map(Json))
    .bind(changes.compaction.map(Compaction::name))
    .execute(tx.conn())
    .await
    .map(drop)
}

/// What a session wants of every turn, and the session it is below of.
#[derive(FromRow)]
pub(super) struct Wishes {
    pub(super) agent: Option<String>,
    pub(super) model: Option<String>,
    pub(super) parent_id: Option<Uuid>,
    target: String,
}

impl Wishes {
    /// What its guests run on.
    pub(super) fn target(&self) -> Target {
        Target::named(&self.target)
    }
}

pub(super) async fn wishes(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Option<Wishes>> {
    sqlx::query_as("select agent, model, parent_id, target from sessions where session_id = $1")
        .bind(session_id)
        .fetch_optional(tx.conn())
        .await
}

/// What sessions used, in all.
#[derive(Debug, FromRow, Serialize)]
pub(crate) struct Used {
    pub(crate) model_calls: i64,
    pub(crate) prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
    pub(crate) cached_tokens: i64,
    /// Of the calls whose price is known.
    pub(crate) cost_micro_usd: i64,
    pub(crate) tool_calls: i64,
    /// How long its agents and tools ran, in milliseconds.
    pub(crate) runtime_ms: i64,
    pub(crate) storage_bytes: i64,
}

/// What a session and all below it used, and how much of that was below it.
#[derive(Debug, Serialize)]
pub(crate) struct UsedInAll {
    #[serde(flatten)]
    pub(crate) all: Used,
    subagents: Used,
}

pub(crate) async fn used(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<UsedInAll> {
    let all = used_by(tx, session_id, true).await?;
    Ok(UsedInAll { all, subagents: used_by(tx, session_id, false).await? })
}

/// What the sessions below one used, with or without itself.
async fn used_by(tx: &mut TenantTx, session_id: Uuid, with_itself: bool) -> sqlx::Result<Used> {
    sqlx::query_as(
        "with recursive family as (
           select s.session_id from sessions s where session_id = $1
           union select c.session_id from sessions c join family f on c.parent_id = f.session_id
         ), counted as (
           select session_id from family where $2 or session_id <> $1
         )
         select count(*) filter (where kind = 'tokens') as model_calls,
           coalesce(sum(prompt_tokens), 0)::bigint as prompt_tokens,
           coalesce(sum(completion_tokens), 0)::bigint as completion_tokens,
           coalesce(sum(cached_tokens), 0)::bigint as cached_tokens,
           coalesce(sum(cost_micro_usd), 0)::bigint as cost_micro_usd,
           count(*) filter (where kind = 'tool') as tool_calls,
           coalesce(sum(duration_ms) filter (where kind <> 'tokens'), 0)::bigint as runtime_ms,
           (select coalesce(sum(octet_length(message::text)), 0)::bigint from session_messages
            where session_id in (select session_id from counted)) as storage_bytes
         from usage_events where app_id = current_app_id() and session_id in (select session_id from counted)",
    )
    .bind(session_id)
    .bind(with_itself)
    .fetch_one(tx.conn())
    .await
}

/// Sessions that expired before `before`, a batch of them, held: those that nobody else removes.
pub(super) async fn expired(
    tx: &mut ServiceTx,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select session_id from sessions where expires_at < $1 order by expires_at limit $2 for update skip locked",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// These sessions and all below them, each with its app.
pub(super) async fn families(tx: &mut ServiceTx, of: &[Uuid]) -> sqlx::Result<Vec<(Uuid, Uuid)>> {
    sqlx::query_as(
        "with recursive family as (
           select session_id, app_id from sessions where session_id = any($1)
           union select c.session_id, c.app_id from sessions c join family f on c.parent_id = f.session_id
         ) select session_id, app_id from family",
    )
    .bind(of)
    .fetch_all(tx.conn())
    .await
}

/// Removes sessions, with all below them.
pub(super) async fn delete_all(tx: &mut ServiceTx, of: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query("delete from sessions where session_id = any($1)").bind(of).execute(tx.conn()).await.map(drop)
}

/// Sessions whose lease ended before `until`.
pub(super) async fn overdue(tx: &mut ServiceTx, until: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("select session_id from sessions where busy_until <= $1 order by busy_until limit $2")
        .bind(until)
        .bind(limit)
        .fetch_all(tx.conn())
        .await
}

/// Sessions whose turns wait for nobody: idle, and not taken.
pub(super) async fn waiting(tx: &mut ServiceTx, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select session_id from session_turns t join sessions using (session_id)
         where state = 'queued' and status = 'idle' and busy_until is null and expires_at > $1
         group by session_id order by min(t.created_at) limit $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Sessions that are made ready and came no step further since before `since`: whoever did it has died.
pub(super) async fn stuck(tx: &mut ServiceTx, since: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select session_id from sessions join session_instances using (session_id)
         where status = 'creating' and state = 'provisioning' and beat_at <= $1 limit $2",
    )
    .bind(since)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Sessions that nobody has used since before `since` and that run on something.
pub(super) async fn unused(tx: &mut ServiceTx, since: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select session_id from sessions where status = 'idle' and last_accessed_at <= $1 and busy_until is null
           and not exists (select from session_turns t where t.session_id = sessions.session_id and t.state = 'queued')
         order by last_accessed_at limit $2",
    )
    .bind(since)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}
