//! `/v1/usage/ai-logs`, `/v1/usage/summary`

use super::store;
use crate::{
    app::App,
    error::ApiResult,
    grants::{Allowed, action::may},
    http::{Json, Page, Paged, extract::Queried},
};
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

/// `?kind=tokens|tool|agent&request_id=…`
#[derive(Deserialize)]
pub struct Filter {
    kind: Option<String>,
    request_id: Option<String>,
}

/// Lists uses, newest first.
pub async fn list(
    State(app): State<App>,
    allowed: Allowed<may::UsageRead>,
    page: Page,
    Queried(filter): Queried<Filter>,
) -> ApiResult<Json<Paged<impl serde::Serialize>>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let rows = store::list(
        &mut tx,
        page.after()?,
        filter.kind.as_deref(),
        filter.request_id.as_deref(),
        page.fetch(),
    )
    .await?;
    Ok(Json(page.of(rows, |row| row.usage_id.to_string())))
}

/// Totals by kind, model and plugin.
pub async fn summary(State(app): State<App>, allowed: Allowed<may::UsageRead>) -> ApiResult<Json<Value>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let totals = store::totals(&mut tx).await?;
    let cost: i64 = totals.iter().map(|total| total.cost_micro_usd).sum();
    Ok(Json(json!({ "data": totals, "cost_micro_usd": cost })))
}
