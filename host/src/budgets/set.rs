//! Setting and removing budgets, by an app for itself and by the operator for it.

use super::{
    ALERT_PERCENT, BUDGETS_PER_APP_MAX, END_USER_BYTES_MAX, LIMIT_MICRO_USD_MAX, Period, Scope, Unit,
    store::{self, Budget},
};
use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, InApp, action::may, audit},
    tenants,
};
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

/// As a plugin's name.
const NAME_CHARS_MAX: usize = 64;

/// A budget as it is sent.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetInput {
    /// Whose spending it bounds.
    scope: Scope,
    /// Which credential, by its id, or which end user; each by itself unless given.
    subject: Option<String>,
    /// How long it lasts.
    period: Period,
    /// How much may be spent, in micro-dollars (a dollar is 1,000,000).
    limit_micro_usd: u64,
    /// At how much of it, in percent, a row in the audit log says so.
    alert_percent: Option<u8>,
}

/// Why a budget was not set.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// What is wrong, all of it.
    #[error("the budget is wrong")]
    Invalid(Vec<FieldError>),
    /// There is one of this name that bounds something else.
    #[error("`{0}` bounds the spending of others or for another time; delete it, or take another name")]
    Other(String),
    /// There are as many as there may be.
    #[error("there are {BUDGETS_PER_APP_MAX} budgets already; delete some")]
    TooMany,
    /// There is no such app.
    #[error("no such tenant")]
    NoApp,
    /// The database.
    #[error(transparent)]
    Db(#[from] sqlx::Error),
}

/// Sets a budget of the caller's own app.
///
/// # Errors
/// [`SetError`]; nothing was changed then.
pub(super) async fn own(
    app: &App,
    allowed: &Allowed<may::BudgetsWrite>,
    name: &str,
    input: BudgetInput,
) -> Result<Budget, SetError> {
    let budget = read(app, "app", name, input).map_err(SetError::Invalid)?;
    let mut tx = app.tenant_tx(allowed).await?;
    let (before, after) = put(tx.conn(), allowed.app().app_id, budget).await?;
    let entry =
        audit::Entry::ok("budgets.write", format!("budget/{name}")).change(before.as_ref(), Some(&after));
    audit::write(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    Ok(after)
}

/// Removes one; whether it was there.
///
/// # Errors
/// The database's.
pub(super) async fn remove_own(
    app: &App,
    allowed: &Allowed<may::BudgetsWrite>,
    name: &str,
) -> sqlx::Result<bool> {
    let mut tx = app.tenant_tx(allowed).await?;
    let found = store::find(tx.conn(), allowed.app().app_id, ("app", name), Unit::MicroUsd).await?;
    let Some(before) = found else { return Ok(false) };
    store::delete(tx.conn(), before.budget_id).await?;
    let entry = audit::Entry::ok("budgets.write", format!("budget/{name}")).change(Some(&before), None);
    audit::write(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    Ok(true)
}

/// Sets a budget of the operator's for an app.
///
/// # Errors
/// [`SetError`]; nothing was changed then.
pub(super) async fn of_app(
    app: &App,
    allowed: &Allowed<may::AppBudgetsWrite>,
    (slug, name): (&str, &str),
    input: BudgetInput,
) -> Result<Budget, SetError> {
    let budget = read(app, "platform", name, input).map_err(SetError::Invalid)?;
    let app_id = tenants::find_id(app, slug).await?.ok_or(SetError::NoApp)?;
    let mut tx = app.service_tx().await?;
    let (before, after) = put(tx.conn(), app_id, budget).await?;
    let entry =
        audit::Entry::ok("budgets.write", format!("budget/{name}")).change(before.as_ref(), Some(&after));
    audit::write_platform(app, &mut tx, allowed.caller(), Some(app_id), entry).await?;
    tx.commit().await?;
    Ok(after)
}

/// Removes one; whether it was there.
///
/// # Errors
/// The database's.
pub(super) async fn remove_of_app(
    app: &App,
    allowed: &Allowed<may::AppBudgetsWrite>,
    (slug, name): (&str, &str),
) -> sqlx::Result<bool> {
    let Some(app_id) = tenants::find_id(app, slug).await? else { return Ok(false) };
    let mut tx = app.service_tx().await?;
    let Some(before) = store::find(tx.conn(), app_id, ("platform", name), Unit::MicroUsd).await? else {
        return Ok(false);
    };
    store::delete(tx.conn(), before.budget_id).await?;
    let entry = audit::Entry::ok("budgets.write", format!("budget/{name}")).change(Some(&before), None);
    audit::write_platform(app, &mut tx, allowed.caller(), Some(app_id), entry).await?;
    tx.commit().await?;
    Ok(true)
}

async fn put(
    conn: &mut PgConnection,
    app_id: Uuid,
    mut budget: Budget,
) -> Result<(Option<Budget>, Budget), SetError> {
    store::lock(conn, app_id).await?;
    let before = store::find(conn, app_id, (&budget.set_by, &budget.name), Unit::MicroUsd).await?;
    match &before {
        Some(before) => {
            let bounds = |budget: &Budget| (budget.scope, budget.subject.clone(), budget.period);
            if bounds(before) != bounds(&budget) {
                return Err(SetError::Other(budget.name));
            }
            budget.budget_id = before.budget_id;
        }
        None => {
            let all = store::list(conn, app_id).await?;
            let of_theirs = all.iter().filter(|other| other.set_by == budget.set_by).count();
            if i64::try_from(of_theirs).unwrap_or(i64::MAX) >= BUDGETS_PER_APP_MAX {
                return Err(SetError::TooMany);
            }
        }
    }
    store::set(conn, app_id, &budget).await?;
    Ok((before, budget))
}

fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn read(app: &App, set_by: &str, name: &str, input: BudgetInput) -> Result<Budget, Vec<FieldError>> {
    let mut wrong = vec![];
    if !is_name(name) {
        wrong.push(FieldError::new(
            "/name",
            format!("a name is 1 to {NAME_CHARS_MAX} of a-z, 0-9 and, but for the first, `-`"),
        ));
    }
    match (input.scope, &input.subject) {
        (Scope::App, Some(_)) => {
            wrong.push(FieldError::new("/subject", "an app's own budget has no subject; leave it out"));
        }
        (Scope::Credential, Some(id)) if Uuid::parse_str(id).is_err() => {
            wrong.push(FieldError::new("/subject", "a credential's id, as GET /v1/tenant/tokens shows it"));
        }
        (Scope::EndUser, Some(user)) if user.is_empty() || user.len() > END_USER_BYTES_MAX => {
            wrong
                .push(FieldError::new("/subject", format!("an end user is 1 to {END_USER_BYTES_MAX} bytes")));
        }
        (_, _) => {}
    }
    if input.limit_micro_usd > LIMIT_MICRO_USD_MAX {
        wrong.push(FieldError::new(
            "/limit_micro_usd",
            format!("a budget is {LIMIT_MICRO_USD_MAX} micro-dollars at the most"),
        ));
    }
    let alert_percent = input.alert_percent.unwrap_or(ALERT_PERCENT);
    if !(1..=100).contains(&alert_percent) {
        wrong.push(FieldError::new("/alert_percent", "1 to 100"));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Budget {
        budget_id: app.new_id(),
        name: name.to_owned(),
        set_by: set_by.to_owned(),
        scope: input.scope,
        // However it was written: it is compared as text.
        subject: match (input.scope, input.subject) {
            (Scope::Credential, Some(id)) => Uuid::parse_str(&id).ok().map(|id| id.to_string()),
            (_, subject) => subject,
        },
        period: input.period,
        unit: Unit::MicroUsd,
        limit_micro_usd: i64::try_from(input.limit_micro_usd).unwrap_or(i64::MAX),
        alert_percent: i16::from(alert_percent),
        updated_at: app.now(),
    })
}
