//! `/v1/tenant/budgets`, `/v1/usage/balance`, `/v1/admin/tenants/{id}/budgets`

use super::{
    HoldError, points,
    set::{self, BudgetInput, SetError},
    store::{self, Budget},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, InApp, action::may},
    http::{Json, NoContent, Page, Paged, Params, extract::Queried},
    tenants,
};
use axum::extract::State;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::str::FromStr;
use uuid::Uuid;

/// Credentials and end users whose spending is listed with every budget, the dearest first: as many as a page has.
const BALANCES_LISTED_MAX: usize = 200;

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

/// `?budget=…&subject=…`: of which budget, and of which credential or end user.
#[derive(Deserialize)]
pub struct BalanceOf {
    budget: Option<String>,
    subject: Option<String>,
}

/// The counter a page begins after.
struct After(Uuid, String);

impl FromStr for After {
    type Err = ();

    fn from_str(text: &str) -> Result<After, ()> {
        let (budget_id, subject) = text.split_once('/').ok_or(())?;
        Ok(After(budget_id.parse().map_err(drop)?, subject.to_owned()))
    }
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

/// What is left of each budget, and of the app's points (row M128). Of each budget the dearest are listed; of one that is
/// named all, in pages.
pub async fn balance(
    State(app): State<App>,
    allowed: Allowed<may::UsageRead>,
    page: Page,
    Queried(of): Queried<BalanceOf>,
) -> ApiResult<Json<Value>> {
    let (now, app_id) = (app.now(), allowed.app().app_id);
    let (periods, subject) = (super::periods(now), of.subject.as_deref());
    let after = page.after::<After>()?.map(|After(budget_id, subject)| (budget_id, subject));
    let mut tx = app.tenant_tx(&allowed).await?;
    let budgets = store::list(tx.conn(), app_id).await?;
    let listed = match &of.budget {
        None => {
            let data = store::dearest(&mut tx, periods, subject, BALANCES_LISTED_MAX as i64 + 1).await?;
            Paged { data, next_cursor: None, has_more: false }
        }
        Some(name) => {
            let rows = store::balances_of(&mut tx, name, periods, subject, after, page.fetch()).await?;
            page.of(rows, |row| format!("{}/{}", row.budget_id, row.subject))
        }
    };
    let is_asked = |budget: &&Budget| of.budget.as_ref().is_none_or(|name| *name == budget.name);
    let show = |budget: &Budget| {
        let of_it = listed.data.iter().filter(|balance| balance.budget_id == budget.budget_id);
        let mut spending: Vec<Value> = of_it.map(|balance| left(balance, budget)).collect();
        let mut shown = json!(budget);
        shown["resets_at"] = json!(budget.period.end(now));
        if of.budget.is_none() {
            shown["has_more"] = json!(spending.len() > BALANCES_LISTED_MAX);
            spending.truncate(BALANCES_LISTED_MAX);
        }
        shown["spending"] = json!(spending);
        shown
    };
    let data: Vec<Value> = budgets.iter().filter(is_asked).map(show).collect();
    let points = points::left(&mut tx, app_id, now).await?;
    let (next_cursor, has_more) = (&listed.next_cursor, listed.has_more);
    Ok(Json(json!({ "data": data, "points": points, "next_cursor": next_cursor, "has_more": has_more })))
}

fn left(balance: &store::Balance, budget: &Budget) -> Value {
    let mut shown = json!(balance);
    let used = balance.spent_micro_usd.saturating_add(balance.reserved_micro_usd);
    shown["left_micro_usd"] = json!(budget.limit_micro_usd.saturating_sub(used).max(0));
    shown
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
            HoldError::TooFewPoints {
                limit_milli_points,
                spent_milli_points,
                reserved_milli_points,
                needed_milli_points,
                resets_at,
            } => ApiError::new(StatusCode::PAYMENT_REQUIRED, "points_exceeded", text)
                .with("limit_milli_points", json!(limit_milli_points))
                .with("spent_milli_points", json!(spent_milli_points))
                .with("reserved_milli_points", json!(reserved_milli_points))
                .with("needed_milli_points", json!(needed_milli_points))
                .with("resets_at", json!(resets_at)),
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
