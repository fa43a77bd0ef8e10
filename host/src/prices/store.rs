//! All SQL of prices.

use super::Priced;
use crate::tenants::{ServiceTx, TenantTx};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

/// A price as it is shown.
#[derive(Clone, Debug, FromRow, Serialize)]
pub(crate) struct PriceRow {
    #[serde(skip)]
    pub(super) provider: String,
    #[serde(skip)]
    pub(super) model: String,
    pub(super) input_micro_usd_per_mtok: i64,
    pub(super) cached_input_micro_usd_per_mtok: i64,
    pub(super) cache_write_micro_usd_per_mtok: i64,
    pub(super) output_micro_usd_per_mtok: i64,
    pub(super) output_tokens_max: Option<i64>,
    pub(super) unit_micro_usd_per_million: Option<i64>,
    pub(super) points_rate: Option<i64>,
    pub(super) updated_at: DateTime<Utc>,
}

pub(super) async fn find(tx: &mut ServiceTx, provider: &str, model: &str) -> sqlx::Result<Option<PriceRow>> {
    sqlx::query_as("select * from model_prices where provider = $1 and model = $2 for update")
        .bind(provider)
        .bind(model)
        .fetch_optional(tx.conn())
        .await
}

pub(super) async fn count(tx: &mut ServiceTx) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from model_prices").fetch_one(tx.conn()).await
}

/// By id, `limit` of them after `after`.
pub(super) async fn list(tx: &mut ServiceTx, after: Option<&str>, limit: i64) -> sqlx::Result<Vec<PriceRow>> {
    sqlx::query_as(
        "select * from model_prices where ($1::text is null or (provider || '/' || model) collate \"C\" > $1)
         order by (provider || '/' || model) collate \"C\" limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Of these models, `provider/model`, as an app reads them.
pub(super) async fn of_models(tx: &mut TenantTx, ids: &[&str]) -> sqlx::Result<Vec<PriceRow>> {
    sqlx::query_as("select * from model_prices where provider || '/' || model = any($1)")
        .bind(ids)
        .fetch_all(tx.conn())
        .await
}

pub(super) async fn set(
    tx: &mut ServiceTx,
    provider: &str,
    model: &str,
    priced: &Priced,
    now: DateTime<Utc>,
) -> sqlx::Result<PriceRow> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    sqlx::query_as(
        "insert into model_prices (provider, model, input_micro_usd_per_mtok, cached_input_micro_usd_per_mtok,
                                   cache_write_micro_usd_per_mtok, output_micro_usd_per_mtok, output_tokens_max,
                                   updated_at, unit_micro_usd_per_million, points_rate)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict (provider, model) do update
           set input_micro_usd_per_mtok = excluded.input_micro_usd_per_mtok,
               cached_input_micro_usd_per_mtok = excluded.cached_input_micro_usd_per_mtok,
               cache_write_micro_usd_per_mtok = excluded.cache_write_micro_usd_per_mtok,
               output_micro_usd_per_mtok = excluded.output_micro_usd_per_mtok,
               output_tokens_max = excluded.output_tokens_max, updated_at = excluded.updated_at,
               unit_micro_usd_per_million = excluded.unit_micro_usd_per_million,
               points_rate = excluded.points_rate
         returning *",
    )
    .bind(provider)
    .bind(model)
    .bind(number(priced.price.input_micro_usd_per_mtok))
    .bind(number(priced.price.cached_input_micro_usd_per_mtok))
    .bind(number(priced.price.cache_write_micro_usd_per_mtok))
    .bind(number(priced.price.output_micro_usd_per_mtok))
    .bind(priced.output_tokens_max.map(number))
    .bind(now)
    .bind(priced.price.unit_micro_usd_per_million.map(number))
    .bind(priced.points_rate.map(number))
    .fetch_one(tx.conn())
    .await
}

pub(super) async fn delete(tx: &mut ServiceTx, provider: &str, model: &str) -> sqlx::Result<()> {
    sqlx::query("delete from model_prices where provider = $1 and model = $2")
        .bind(provider)
        .bind(model)
        .execute(tx.conn())
        .await
        .map(drop)
}
