//! What models cost: the operator's table, for every app (row M182).
//!
//! Prices of real models change weekly, so none are built in but those of the demo models. A model without a price
//! is free to use where no budget counts, its cost in the ledger absent rather than zero.
//!
//! A price may also say what a dollar of it is in *points*, the operator's own unit for what its models cost apps: whole
//! milli-points, so that no sum is rounded. Who brings a key pays no points.

pub mod routes;
mod store;

pub(crate) use store::PriceRow;

use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, InApp, action::may, audit},
    models::{Price, catalog::is_full_id, price},
    sources,
    tenants::{ServiceTx, providers::is_provider_id},
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::collections::HashMap;

/// The dearest price taken, in micro-dollars for a million tokens: a million dollars. More is a slip of the pen.
pub const PRICE_MICRO_USD_PER_MTOK_MAX: u64 = 1_000_000_000_000;
/// The longest reply a price may name, in tokens.
pub const OUTPUT_TOKENS_MAX: u64 = 10_000_000;
/// The most a dollar can be, in milli-points: a million points. More is a slip of the pen.
pub const POINTS_RATE_MAX: u64 = 1_000_000_000;
/// Micro-dollars in a dollar.
const MICRO_USD_PER_USD: u128 = 1_000_000;
/// Prices an operator keeps: every model of every provider there is.
pub const PRICES_MAX: i64 = 10_000;
/// The longest `provider/model`, in bytes.
const ID_BYTES_MAX: usize = 200;

/// A model's price, in dollars and in points, and how long its replies can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priced {
    /// The price.
    pub price: Price,
    /// The longest reply, in tokens, if it is known.
    pub output_tokens_max: Option<u64>,
    /// Milli-points that a dollar of its cost is, where it is counted in the operator's points.
    pub points_rate: Option<u64>,
}

/// What so much costs in points, in milli-points: rounded up once, as the cost was, so that nothing is free.
pub fn milli_points(points_rate: u64, cost_micro_usd: u64) -> u64 {
    let product = u128::from(points_rate) * u128::from(cost_micro_usd);
    u64::try_from(product.div_ceil(MICRO_USD_PER_USD)).unwrap_or(u64::MAX)
}

/// Why a price was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// What is wrong, all of it.
    #[error("the price is wrong")]
    Invalid(Vec<FieldError>),
    /// There are as many as there may be.
    #[error("there are {PRICES_MAX} prices already; delete some")]
    TooMany,
    /// Apps may use the model.
    #[error("apps may use `{0}`, which needs a price; change the price, or disable the model first")]
    InUse(String),
    /// The database.
    #[error(transparent)]
    Db(#[from] sqlx::Error),
}

/// Sets the price of a model, from the next call on.
///
/// # Errors
/// [`PriceError`]; nothing was changed then.
pub async fn set(
    app: &App,
    allowed: &Allowed<may::PricesWrite>,
    id: &str,
    priced: Priced,
) -> Result<(), PriceError> {
    let mut tx = app.service_tx().await?;
    let (before, after) = put(&mut tx, id, &priced, app.now()).await?;
    let entry = audit::Entry::ok("prices.write", format!("model/{id}")).change(before.as_ref(), Some(&after));
    audit::write_platform(app, &mut tx, allowed.caller(), None, entry).await?;
    Ok(tx.commit().await?)
}

/// Sets the price of a model in somebody's transaction: what was there, and what is.
///
/// # Errors
/// [`PriceError`]; nothing was changed then.
pub(crate) async fn put(
    tx: &mut ServiceTx,
    id: &str,
    priced: &Priced,
    now: DateTime<Utc>,
) -> Result<(Option<PriceRow>, PriceRow), PriceError> {
    let (provider, model) = check(id, priced).map_err(PriceError::Invalid)?;
    let before = store::find(tx, provider, model).await?;
    if before.is_none() && store::count(tx).await? >= PRICES_MAX {
        return Err(PriceError::TooMany);
    }
    let after = store::set(tx, provider, model, priced, now).await?;
    Ok((before, after))
}

/// Removes the price of a model; whether there was one.
///
/// # Errors
/// [`PriceError`]; nothing was changed then.
pub async fn remove(app: &App, allowed: &Allowed<may::PricesWrite>, id: &str) -> Result<bool, PriceError> {
    let Some((provider, model)) = id.split_once('/') else { return Ok(false) };
    let mut tx = app.service_tx().await?;
    let Some(before) = store::find(&mut tx, provider, model).await? else { return Ok(false) };
    if sources::prices_model(&mut tx, provider, model).await? {
        return Err(PriceError::InUse(id.to_owned()));
    }
    store::delete(&mut tx, provider, model).await?;
    let entry = audit::Entry::ok("prices.write", format!("model/{id}")).change(Some(&before), None);
    audit::write_platform(app, &mut tx, allowed.caller(), None, entry).await?;
    tx.commit().await?;
    Ok(true)
}

/// What these models cost an app, by id; one whose price is not known is not in it.
///
/// # Errors
/// The database's.
pub async fn of_models(app: &App, proof: &impl InApp, ids: &[&str]) -> sqlx::Result<HashMap<String, Value>> {
    let mut tx = app.tenant_tx(proof).await?;
    let rows = store::of_models(&mut tx, ids).await?;
    let known = rows.iter().map(|row| (format!("{}/{}", row.provider, row.model), json!(row)));
    let built_in = ids.iter().filter_map(|id| {
        let (provider, model) = id.split_once('/')?;
        Some(((*id).to_owned(), json!(price::built_in(provider, model)?)))
    });
    Ok(built_in.chain(known).collect())
}

/// Whether a model of this id can have a price: `provider/model`, of which the model may be anything a provider calls
/// one.
pub(crate) fn is_priced_id(id: &str) -> bool {
    id.len() <= ID_BYTES_MAX
        && is_full_id(id)
        && id.split_once('/').is_some_and(|(provider, _)| is_provider_id(provider))
}

fn check<'a>(id: &'a str, priced: &Priced) -> Result<(&'a str, &'a str), Vec<FieldError>> {
    let mut wrong = vec![];
    if !is_priced_id(id) {
        wrong.push(FieldError::new(
            "/id",
            format!("a model is `provider/model`, {ID_BYTES_MAX} bytes at the most"),
        ));
    }
    let price = &priced.price;
    for (field, value) in [
        ("input_micro_usd_per_mtok", price.input_micro_usd_per_mtok),
        ("cached_input_micro_usd_per_mtok", price.cached_input_micro_usd_per_mtok),
        ("cache_write_micro_usd_per_mtok", price.cache_write_micro_usd_per_mtok),
        ("output_micro_usd_per_mtok", price.output_micro_usd_per_mtok),
        ("unit_micro_usd_per_million", price.unit_micro_usd_per_million.unwrap_or_default()),
    ] {
        if value > PRICE_MICRO_USD_PER_MTOK_MAX {
            wrong.push(FieldError::new(
                format!("/{field}"),
                format!("a price is {PRICE_MICRO_USD_PER_MTOK_MAX} micro-dollars for a million at the most"),
            ));
        }
    }
    if priced.output_tokens_max.is_some_and(|max| max == 0 || max > OUTPUT_TOKENS_MAX) {
        wrong.push(FieldError::new(
            "/output_tokens_max",
            format!("1 to {OUTPUT_TOKENS_MAX} tokens, or left out"),
        ));
    }
    if priced.points_rate.is_some_and(|rate| rate > POINTS_RATE_MAX) {
        let message = format!("at most {POINTS_RATE_MAX} milli-points for a dollar, or left out");
        wrong.push(FieldError::new("/points_rate", message));
    }
    match id.split_once('/') {
        Some(parts) if wrong.is_empty() => Ok(parts),
        _ => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::milli_points;

    #[test]
    fn m059_points_are_whole_and_rounded_up_once() {
        // A hundred points for a dollar.
        assert_eq!(milli_points(100_000, 1_000_000), 100_000);
        assert_eq!(milli_points(100_000, 5), 1, "never nothing");
        assert_eq!(milli_points(100_000, 15), 2);
        assert_eq!((milli_points(0, 15), milli_points(100_000, 0)), (0, 0));
        assert_eq!(milli_points(u64::MAX, u64::MAX), u64::MAX);
    }
}
