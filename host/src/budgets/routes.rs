//! `/v1/tenant/budgets`, `/v1/usage/balance`, `/v1/admin/tenants/{id}/budgets`

use super::{
    HoldError, Period,
    set::{self, BudgetInput, SetError},
    store,
};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, InApp, action::may},
    http::{Json, NoContent, Params},
    tenants,
};
use axum::extract::State;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

/// Credentials and end users whose spending is listed, the dearest first: who wants all has the ledger.
const BALANCES_LISTED_MAX: i64 = 200;

/// A budget in a path.
#[derive(Deserialize)]
pub struct BudgetPath {
    name: String,
}

/// A budget of an app in a path.
#[derive(Deserialize)]
pub struct AppBudgetPath {
    id: String,
    name: String,
}

/// An app in a path.
#[derive(Deserialize)]
pub struct AppPath {
    id: String,
}

/// Lists the app's budgets: its own, and the operator's for it.
pub async fn list(State(app): State<App>, allowed: Allowed<may::BudgetsRead>) -> ApiResult<Json<Value>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let budgets = store::list(tx.conn(), allowed.app().app_id).await?;
    Ok(Json(json!({ "data": budgets })))
}

/// Sets one.
pub async fn put(
    State(app): State<App>,
    allowed: Allowed<may::BudgetsWrite>,
    Params(path): Params<BudgetPath>,
    Json(body): Json<BudgetInput>,
) -> ApiResult<Json<Value>> {
    Ok(Json(json!(set::own(&app, &allowed, &path.name, body).await?)))
}

/// Removes one.
pub async fn delete(
    State(app): State<App>,
    allowed: Allowed<may::BudgetsWrite>,
    Params(path): Params<BudgetPath>,
) -> ApiResult<NoContent> {
    removed(set::remove_own(&app, &allowed, &path.name).await?)
}

/// Lists an app's budgets for the operator.
pub async fn list_of_app(
    State(app): State<App>,
    _allowed: Allowed<may::AppBudgetsRead>,
    Params(path): Params<AppPath>,
) -> ApiResult<Json<Value>> {
    let app_id = tenants::find_id(&app, &path.id).await?.ok_or(SetError::NoApp)?;
    let mut tx = app.service_tx().await?;
    let budgets = store::list(tx.conn(), app_id).await?;
    Ok(Json(json!({ "data": budgets })))
}

/// Sets one of the operator's.
pub async fn put_of_app(
    State(app): State<App>,
    allowed: Allowed<may::AppBudgetsWrite>,
    Params(path): Params<AppBudgetPath>,
    Json(body): Json<BudgetInput>,
) -> ApiResult<Json<Value>> {
    Ok(Json(json!(set::of_app(&app, &allowed, (&path.id, &path.name), body).await?)))
}

/// Removes one of the operator's.
pub async fn delete_of_app(
    State(app): State<App>,
    allowed: Allowed<may::AppBudgetsWrite>,
    Params(path): Params<AppBudgetPath>,
) -> ApiResult<NoContent> {
    removed(set::remove_of_app(&app, &allowed, (&path.id, &path.name)).await?)
}

/// What is left of each budget (row M128).
pub async fn balance(State(app): State<App>, allowed: Allowed<may::UsageRead>) -> ApiResult<Json<Value>> {
    let now = app.now();
    let mut tx = app.tenant_tx(&allowed).await?;
    let budgets = store::list(tx.conn(), allowed.app().app_id).await?;
    let starts = [Period::Day, Period::Month, Period::Total].map(|period| period.start(now));
    let balances = store::balances(&mut tx, &starts, BALANCES_LISTED_MAX).await?;
    let data = budgets.iter().map(|budget| {
        let start = budget.period.start(now);
        let of_it = |balance: &&store::Balance| {
            balance.budget_id == budget.budget_id && balance.period_start == start
        };
        let spending = balances.iter().filter(of_it).map(|balance| {
            let mut shown = json!(balance);
            let used = balance.spent_micro_usd.saturating_add(balance.reserved_micro_usd);
            shown["left_micro_usd"] = json!(budget.limit_micro_usd.saturating_sub(used).max(0));
            shown
        });
        let mut shown = json!(budget);
        shown["resets_at"] = json!(budget.period.end(now));
        shown["spending"] = spending.collect();
        shown
    });
    Ok(Json(json!({ "data": data.collect::<Vec<_>>() })))
}

fn removed(was_there: bool) -> ApiResult<NoContent> {
    if was_there { Ok(NoContent) } else { Err(ApiError::not_found("budget")) }
}

impl From<HoldError> for ApiError {
    fn from(error: HoldError) -> ApiError {
        let text = error.to_string();
        let error = match error {
            HoldError::Db(_) => {
                return ApiError::unavailable("the database cannot be reached right now; try again");
            }
            HoldError::NoPrice { model, name } => ApiError::conflict("price_unknown", text)
                .with("model", json!(model))
                .with("budget", json!(name)),
            HoldError::Exceeded {
                name,
                limit_micro_usd,
                spent_micro_usd,
                reserved_micro_usd,
                needed_micro_usd,
                resets_at,
            } => ApiError::new(StatusCode::PAYMENT_REQUIRED, "budget_exceeded", text)
                .with("budget", json!(name))
                .with("limit_micro_usd", json!(limit_micro_usd))
                .with("spent_micro_usd", json!(spent_micro_usd))
                .with("reserved_micro_usd", json!(reserved_micro_usd))
                .with("needed_micro_usd", json!(needed_micro_usd))
                .with("resets_at", json!(resets_at)),
        };
        // Client libraries try 409 again by themselves; here that helps nobody.
        error.header(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"))
    }
}

impl From<SetError> for ApiError {
    fn from(error: SetError) -> ApiError {
        let text = error.to_string();
        match error {
            SetError::Invalid(fields) => ApiError::invalid(fields),
            SetError::Other(_) => ApiError::conflict("another_budget", text),
            SetError::TooMany => ApiError::conflict("too_many_budgets", text),
            SetError::NoApp => ApiError::not_found("tenant"),
            SetError::Db(cause) => cause.into(),
        }
    }
}
