//! How many points an app may use in a month: a budget of the operator's in milli-points, under a name no other can
//! have.

use super::{
    ALERT_PERCENT, Period, Scope, Unit,
    store::{self, Budget},
};
use crate::{
    app::App,
    tenants::{ServiceTx, TenantTx},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

/// The most points an app can have for a month: more than anybody counts.
pub(crate) const POINTS_PER_MONTH_MAX: u64 = 1_000_000_000_000;
/// No budget can be called so: see `set::is_name`.
pub(super) const NAME: &str = "points/month";
const MILLI: i64 = 1_000;

/// Sets how many points an app may use in a month, from the next request on; none: as many as it likes.
pub(crate) async fn set(
    app: &App,
    tx: &mut ServiceTx,
    app_id: Uuid,
    per_month: Option<u64>,
) -> sqlx::Result<()> {
    store::lock(tx.conn(), app_id).await?;
    let before = store::find(tx.conn(), app_id, ("platform", NAME), Unit::MilliPoints).await?;
    let Some(per_month) = per_month else {
        return match before {
            Some(before) => store::delete(tx.conn(), before.budget_id).await,
            None => Ok(()),
        };
    };
    let budget = Budget {
        budget_id: before.map_or_else(|| app.new_id(), |before| before.budget_id),
        name: NAME.to_owned(),
        set_by: "platform".to_owned(),
        scope: Scope::App,
        subject: None,
        period: Period::Month,
        unit: Unit::MilliPoints,
        limit_micro_usd: i64::try_from(per_month).unwrap_or(i64::MAX).saturating_mul(MILLI),
        alert_percent: i16::from(ALERT_PERCENT),
        updated_at: app.now(),
    };
    store::set(tx.conn(), app_id, &budget).await
}

/// How many an app may use in a month; none: as many as it likes.
pub(crate) async fn per_month(tx: &mut ServiceTx, app_id: Uuid) -> sqlx::Result<Option<i64>> {
    let found = store::find(tx.conn(), app_id, ("platform", NAME), Unit::MilliPoints).await?;
    Ok(found.map(|budget| budget.limit_micro_usd / MILLI))
}

/// What is left of an app's points.
#[derive(Serialize)]
pub(super) struct Left {
    per_month: i64,
    spent_milli_points: i64,
    reserved_milli_points: i64,
    left_milli_points: i64,
    resets_at: Option<DateTime<Utc>>,
}

/// What is left of an app's points this month; none where it has as many as it likes.
pub(super) async fn left(tx: &mut TenantTx, app_id: Uuid, now: DateTime<Utc>) -> sqlx::Result<Option<Left>> {
    let start = Period::Month.start(now);
    let Some(points) = store::points(tx, app_id, NAME, start).await? else { return Ok(None) };
    let used = points.spent.saturating_add(points.reserved);
    Ok(Some(Left {
        per_month: points.limit / MILLI,
        spent_milli_points: points.spent,
        reserved_milli_points: points.reserved,
        left_milli_points: points.limit.saturating_sub(used).max(0),
        resets_at: Period::Month.end(now),
    }))
}
