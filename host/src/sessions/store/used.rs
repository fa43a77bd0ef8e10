//! The SQL of what sessions used, by the ledger.

use super::family::FAMILY;
use crate::tenants::TenantTx;
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

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
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "{FAMILY}, counted as (
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
         from usage_events where app_id = current_app_id() and session_id in (select session_id from counted)"
    )))
    .bind(session_id)
    .bind(with_itself)
    .fetch_one(tx.conn())
    .await
}
