//! All SQL of the ledger.

use super::{Use, What, routes::By};
use crate::{
    grants::Caller,
    tenants::{TenantStatement, TenantTx},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, FromRow, Postgres, Row, postgres::PgArguments, query::Query};
use uuid::Uuid;

/// Totals given at once: end users may be many; the dearest come first.
const TOTALS_MAX: u32 = 1_000;

pub(super) struct NewUse<'a> {
    pub(super) usage_id: Uuid,
    pub(super) at: DateTime<Utc>,
    pub(super) app_id: Uuid,
    pub(super) caller: &'a Caller,
    pub(super) what: &'a Use,
}

const INSERT: &str =
    "insert into usage_events (usage_id, app_id, occurred_at, kind, credential_id, session_id, request_id, plugin,
                               provider, model, prompt_tokens, completion_tokens, cached_tokens, cost_micro_usd,
                               price, duration_ms, status, surface, end_user, attempts, paid_by, units, points_rate,
                               milli_points)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
             $24)";

const RECORD: &str =
    "select record_use($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                                        $19, $20, $21, $22, $23, $24, $25, $26, $27, $28)";

pub(super) async fn insert(tx: &mut TenantTx, new: &NewUse<'_>) -> sqlx::Result<()> {
    bound(INSERT, new).execute(tx.conn()).await.map(drop)
}

/// Writes a use down, charges budgets and lets go of what was held, all in one statement; false, and nothing was done,
/// where somebody has to be told of a budget.
pub(super) async fn record(
    mut at: TenantStatement,
    new: &NewUse<'_>,
    hold_id: Option<Uuid>,
    [day, month, total]: [DateTime<Utc>; 3],
) -> sqlx::Result<bool> {
    let query = bound(RECORD, new).bind(hold_id).bind(day).bind(month).bind(total);
    let row = query.fetch_one(at.conn()).await?;
    at.done();
    row.try_get(0)
}

/// Both statements begin with the same, in the same order.
fn bound<'q>(statement: &'static str, new: &NewUse<'q>) -> Query<'q, Postgres, PgArguments> {
    let (kind, tokens) = match &new.what.what {
        What::Tokens { provider, model, usage, units, price, .. } => {
            (units.map_or("tokens", |(unit, _)| unit.name()), Some((provider, model, usage, units, price)))
        }
        What::Tool => ("tool", None),
        What::Agent => ("agent", None),
    };
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let usage = tokens.map(|(_, _, usage, ..)| *usage).unwrap_or_default();
    let units = tokens.and_then(|(.., units, _)| *units).map_or(0, |(_, units)| units);
    let price = tokens.and_then(|(.., price)| price.as_ref());
    let (attempts, paid_by, points_rate) = match &new.what.what {
        What::Tokens { attempts, paid_by, points_rate, .. } => (*attempts, *paid_by, *points_rate),
        What::Tool | What::Agent => (1, None, None),
    };
    sqlx::query(statement)
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
        .bind(new.what.cost_micro_usd().map(count))
        .bind(price.map(|price| json!(price)))
        .bind(i64::try_from(new.what.took.as_millis()).unwrap_or(i64::MAX))
        .bind(new.what.status.name())
        .bind(new.caller.surface.name())
        .bind(&new.what.end_user)
        .bind(i16::try_from(attempts).unwrap_or(i16::MAX))
        .bind(paid_by.map(crate::models::PaidBy::name))
        .bind(count(units))
        .bind(points_rate.map(count))
        .bind(new.what.milli_points().map(count))
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
    /// Images, characters or seconds, as the kind says.
    pub(super) units: i64,
    pub(super) cost_micro_usd: Option<i64>,
    /// What it cost in points, and what a dollar was; none: it cost no points.
    pub(super) milli_points: Option<i64>,
    pub(super) points_rate: Option<i64>,
    pub(super) duration_ms: i64,
    pub(super) status: String,
    pub(super) session_id: Option<Uuid>,
    pub(super) credential_id: Option<Uuid>,
    pub(super) request_id: String,
    pub(super) end_user: Option<String>,
    pub(super) attempts: i16,
    pub(super) paid_by: Option<String>,
}

/// Which uses are wanted: all of what is given must hold.
pub(super) struct Wanted<'a> {
    pub(super) kind: Option<&'a str>,
    pub(super) request_id: Option<&'a str>,
    /// `provider/model`, or the provider's name for it alone.
    pub(super) model: Option<&'a str>,
    pub(super) status: Option<&'a str>,
    pub(super) end_user: Option<&'a str>,
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) to: Option<DateTime<Utc>>,
}

/// Uses, newest first, `limit` of them older than `before`.
pub(super) async fn list(
    tx: &mut TenantTx,
    before: Option<Uuid>,
    wanted: &Wanted<'_>,
    limit: i64,
) -> sqlx::Result<Vec<UseRow>> {
    sqlx::query_as(
        "select usage_id, occurred_at, kind, plugin, provider, model, prompt_tokens, completion_tokens, cached_tokens,
                units, cost_micro_usd, milli_points, points_rate, duration_ms, status, session_id, credential_id, request_id, end_user, attempts,
                paid_by
         from usage_events
         where ($1::uuid is null or usage_id < $1) and ($2::text is null or kind = $2)
           and ($3::text is null or request_id = $3)
           and ($4::text is null or model = $4 or provider || '/' || model = $4)
           and ($5::text is null or status = $5) and ($6::text is null or end_user = $6)
           and ($7::timestamptz is null or occurred_at >= $7) and ($8::timestamptz is null or occurred_at < $8)
         order by usage_id desc limit $9",
    )
    .bind(before)
    .bind(wanted.kind)
    .bind(wanted.request_id)
    .bind(wanted.model)
    .bind(wanted.status)
    .bind(wanted.end_user)
    .bind(wanted.from)
    .bind(wanted.to)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Totals by model and plugin.
#[derive(FromRow, Serialize)]
pub(super) struct Total {
    #[serde(flatten)]
    #[sqlx(json)]
    pub(super) of: Value,
    pub(super) count: i64,
    pub(super) prompt_tokens: i64,
    pub(super) completion_tokens: i64,
    pub(super) cached_tokens: i64,
    pub(super) units: i64,
    pub(super) cost_micro_usd: i64,
    pub(super) milli_points: i64,
}

pub(super) async fn totals(
    tx: &mut TenantTx,
    by: By,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> sqlx::Result<Vec<Total>> {
    let of = match by {
        By::Model => {
            "jsonb_build_object('kind', kind, 'provider', provider, 'model', model, 'plugin', plugin)"
        }
        By::Day => "jsonb_build_object('day', to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD'))",
        By::Credential => "jsonb_build_object('credential_id', credential_id)",
        By::Surface => "jsonb_build_object('surface', surface)",
        By::EndUser => "jsonb_build_object('end_user', end_user)",
    };
    let query = format!(
        "select {of} as of, count(*) as count, sum(prompt_tokens)::bigint as prompt_tokens,
                sum(completion_tokens)::bigint as completion_tokens, sum(cached_tokens)::bigint as cached_tokens,
                sum(units)::bigint as units,
                coalesce(sum(cost_micro_usd), 0)::bigint as cost_micro_usd,
                coalesce(sum(milli_points), 0)::bigint as milli_points
         from usage_events
         where ($1::timestamptz is null or occurred_at >= $1) and ($2::timestamptz is null or occurred_at < $2)
         group by 1 order by cost_micro_usd desc, count desc, 1 limit {TOTALS_MAX}"
    );
    sqlx::query_as(AssertSqlSafe(query)).bind(from).bind(to).fetch_all(tx.conn()).await
}
