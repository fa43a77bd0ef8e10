//! `/v1/usage/ai-logs`, `/v1/usage/summary`

use super::store;
use crate::{
    app::App,
    error::ApiResult,
    grants::{Allowed, action::may},
    http::{Json, Page, Paged, extract::Queried},
};
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

/// Which uses: all of what is given must hold.
#[derive(Deserialize)]
pub struct Filter {
    kind: Option<String>,
    request_id: Option<String>,
    model: Option<String>,
    status: Option<String>,
    end_user: Option<String>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

/// What totals are by.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Kind, provider, model and plugin.
    #[default]
    Model,
    /// Day, UTC.
    Day,
    /// Credential.
    Credential,
    /// The door it came through.
    Surface,
    /// End user.
    EndUser,
}

/// `?by=…&from=…&to=…`
#[derive(Deserialize)]
pub struct Summary {
    #[serde(default)]
    by: By,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

/// Lists uses, newest first (row M126).
pub async fn list(
    State(app): State<App>,
    allowed: Allowed<may::UsageRead>,
    page: Page,
    Queried(filter): Queried<Filter>,
) -> ApiResult<Json<Paged<impl serde::Serialize>>> {
    let wanted = store::Wanted {
        kind: filter.kind.as_deref(),
        request_id: filter.request_id.as_deref(),
        model: filter.model.as_deref(),
        status: filter.status.as_deref(),
        end_user: filter.end_user.as_deref(),
        from: filter.from,
        to: filter.to,
    };
    let mut tx = app.tenant_tx(&allowed).await?;
    let rows = store::list(&mut tx, page.after()?, &wanted, page.fetch()).await?;
    Ok(Json(page.of(rows, |row| row.usage_id.to_string())))
}

/// Totals, those that cost most first (row M127).
pub async fn summary(
    State(app): State<App>,
    allowed: Allowed<may::UsageRead>,
    Queried(wanted): Queried<Summary>,
) -> ApiResult<Json<Value>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let totals = store::totals(&mut tx, wanted.by, wanted.from, wanted.to).await?;
    let cost: i64 = totals.iter().map(|total| total.cost_micro_usd).sum();
    let points: i64 = totals.iter().map(|total| total.milli_points).sum();
    Ok(Json(json!({ "data": totals, "cost_micro_usd": cost, "milli_points": points })))
}
