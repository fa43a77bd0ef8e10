//! All SQL of the ledger.

use super::{Use, What};
use crate::{grants::Caller, tenants::TenantTx};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::FromRow;
use uuid::Uuid;

pub(super) struct NewUse<'a> {
    pub(super) usage_id: Uuid,
    pub(super) at: DateTime<Utc>,
    pub(super) app_id: Uuid,
    pub(super) caller: &'a Caller,
    pub(super) what: &'a Use,
}

pub(super) async fn insert(tx: &mut TenantTx, new: NewUse<'_>) -> sqlx::Result<()> {
    let (kind, tokens) = match &new.what.what {
        What::Tokens { provider, model, usage, price } => ("tokens", Some((provider, model, usage, price))),
        What::Tool => ("tool", None),
        What::Agent => ("agent", None),
    };
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let usage = tokens.map(|(_, _, usage, _)| *usage).unwrap_or_default();
    let price = tokens.and_then(|(_, _, _, price)| price.as_ref());
    sqlx::query(
        "insert into usage_events (usage_id, app_id, occurred_at, kind, credential_id, session_id, request_id, plugin,
                                   provider, model, prompt_tokens, completion_tokens, cached_tokens, cost_micro_usd,
                                   price, duration_ms, status, surface)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
    )
    .bind(new.usage_id)
    .bind(new.app_id)
    .bind(new.at)
    .bind(kind)
    .bind(new.caller.credential_id)
    .bind(new.what.session_id)
    .bind(&new.caller.request_id)
    .bind(&new.what.plugin)
    .bind(tokens.map(|(provider, ..)| provider))
    .bind(tokens.map(|(_, model, ..)| model))
    .bind(count(usage.prompt_tokens))
    .bind(count(usage.completion_tokens))
    .bind(count(usage.cached_tokens))
    .bind(price.map(|price| count(price.cost_micro_usd(&usage))))
    .bind(price.map(price_json))
    .bind(i64::try_from(new.what.took.as_millis()).unwrap_or(i64::MAX))
    .bind(new.what.status.name())
    .bind(new.caller.surface.name())
    .execute(tx.conn())
    .await
    .map(drop)
}

fn price_json(price: &crate::models::Price) -> Value {
    json!({
        "input_micro_usd_per_mtok": price.input_micro_usd_per_mtok,
        "cached_input_micro_usd_per_mtok": price.cached_input_micro_usd_per_mtok,
        "output_micro_usd_per_mtok": price.output_micro_usd_per_mtok,
    })
}

/// A use as the tenant reads it.
#[derive(FromRow, Serialize)]
pub(super) struct UseRow {
    #[serde(rename = "id")]
    pub(super) usage_id: Uuid,
    #[serde(rename = "time")]
    pub(super) occurred_at: DateTime<Utc>,
    pub(super) kind: String,
    pub(super) plugin: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) model: Option<String>,
    pub(super) prompt_tokens: i64,
    pub(super) completion_tokens: i64,
    pub(super) cached_tokens: i64,
    pub(super) cost_micro_usd: Option<i64>,
    pub(super) duration_ms: i64,
    pub(super) status: String,
    pub(super) session_id: Option<Uuid>,
    pub(super) credential_id: Option<Uuid>,
    pub(super) request_id: String,
}

/// Uses, newest first, `limit` of them older than `before`; of one kind, or of one request.
pub(super) async fn list(
    tx: &mut TenantTx,
    before: Option<Uuid>,
    kind: Option<&str>,
    request_id: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<UseRow>> {
    sqlx::query_as(
        "select usage_id, occurred_at, kind, plugin, provider, model, prompt_tokens, completion_tokens, cached_tokens,
                cost_micro_usd, duration_ms, status, session_id, credential_id, request_id
         from usage_events
         where ($1::uuid is null or usage_id < $1) and ($2::text is null or kind = $2)
           and ($3::text is null or request_id = $3)
         order by usage_id desc limit $4",
    )
    .bind(before)
    .bind(kind)
    .bind(request_id)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Totals by model and plugin.
#[derive(FromRow, Serialize)]
pub(super) struct Total {
    pub(super) kind: String,
    pub(super) provider: Option<String>,
    pub(super) model: Option<String>,
    pub(super) plugin: Option<String>,
    pub(super) count: i64,
    pub(super) prompt_tokens: i64,
    pub(super) completion_tokens: i64,
    pub(super) cost_micro_usd: i64,
}

pub(super) async fn totals(tx: &mut TenantTx) -> sqlx::Result<Vec<Total>> {
    sqlx::query_as(
        "select kind, provider, model, plugin, count(*) as count, sum(prompt_tokens)::bigint as prompt_tokens,
                sum(completion_tokens)::bigint as completion_tokens, coalesce(sum(cost_micro_usd), 0)::bigint as cost_micro_usd
         from usage_events group by 1, 2, 3, 4 order by 1, 2, 3, 4",
    )
    .fetch_all(tx.conn())
    .await
}
