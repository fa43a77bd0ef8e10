//! `/platform/v1/ai/prices`

use super::{PriceError, Priced, store};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, action::may},
    http::{Json, NoContent, Page, Paged, Params},
    models::{Price, catalog::is_full_id},
};
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::str::FromStr;

/// A price, in micro-dollars for a million tokens.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceInput {
    /// What the model reads.
    input_micro_usd_per_mtok: u64,
    /// What it reads from its provider's cache; as `input_micro_usd_per_mtok` unless given.
    cached_input_micro_usd_per_mtok: Option<u64>,
    /// What it writes to that cache; as `input_micro_usd_per_mtok` unless given.
    cache_write_micro_usd_per_mtok: Option<u64>,
    /// What it writes.
    output_micro_usd_per_mtok: u64,
    /// A million images, characters or seconds, for a model that makes or hears such.
    unit_micro_usd_per_million: Option<u64>,
    /// Its longest reply, in tokens: what is held against a budget where a request names no limit.
    output_tokens_max: Option<u64>,
    /// Milli-points that a dollar of its cost is, for a model of the platform that is counted in points.
    points_rate: Option<u64>,
}

/// A model in a path: `provider/model`.
#[derive(Deserialize)]
pub struct ModelPath {
    id: String,
}

/// The model a page of prices begins after.
struct After(String);

impl FromStr for After {
    type Err = ();

    fn from_str(text: &str) -> Result<After, ()> {
        if is_full_id(text) { Ok(After(text.to_owned())) } else { Err(()) }
    }
}

/// Lists prices, by model.
pub async fn list(
    State(app): State<App>,
    _allowed: Allowed<may::PricesRead>,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    let after = page.after::<After>()?.map(|after| after.0);
    let mut tx = app.service_tx().await?;
    let rows = store::list(&mut tx, after.as_deref(), page.fetch()).await?;
    let rows = page.of(rows, |row| format!("{}/{}", row.provider, row.model));
    let data = rows.data.iter().map(describe).collect();
    Ok(Json(Paged { data, next_cursor: rows.next_cursor, has_more: rows.has_more }))
}

/// Sets one.
pub async fn put(
    State(app): State<App>,
    allowed: Allowed<may::PricesWrite>,
    Params(path): Params<ModelPath>,
    Json(body): Json<PriceInput>,
) -> ApiResult<NoContent> {
    super::set(&app, &allowed, &path.id, body.into()).await?;
    Ok(NoContent)
}

impl From<PriceInput> for Priced {
    fn from(input: PriceInput) -> Priced {
        let read = input.input_micro_usd_per_mtok;
        let price = Price {
            input_micro_usd_per_mtok: read,
            cached_input_micro_usd_per_mtok: input.cached_input_micro_usd_per_mtok.unwrap_or(read),
            cache_write_micro_usd_per_mtok: input.cache_write_micro_usd_per_mtok.unwrap_or(read),
            output_micro_usd_per_mtok: input.output_micro_usd_per_mtok,
            unit_micro_usd_per_million: input.unit_micro_usd_per_million,
        };
        Priced { price, output_tokens_max: input.output_tokens_max, points_rate: input.points_rate }
    }
}

/// Removes one.
pub async fn delete(
    State(app): State<App>,
    allowed: Allowed<may::PricesWrite>,
    Params(path): Params<ModelPath>,
) -> ApiResult<NoContent> {
    match super::remove(&app, &allowed, &path.id).await? {
        true => Ok(NoContent),
        false => Err(ApiError::not_found("price")),
    }
}

fn describe(row: &store::PriceRow) -> Value {
    let mut shown = json!(row);
    shown["id"] = json!(format!("{}/{}", row.provider, row.model));
    shown
}

impl From<PriceError> for ApiError {
    fn from(error: PriceError) -> ApiError {
        match error {
            PriceError::Invalid(fields) => ApiError::invalid(fields),
            PriceError::InUse(_) => ApiError::conflict("price_in_use", error.to_string()),
            PriceError::TooMany => ApiError::conflict("too_many_prices", error.to_string()),
            PriceError::Db(cause) => cause.into(),
        }
    }
}
