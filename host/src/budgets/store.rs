//! All SQL of budgets.

use super::{Period, Scope, Unit, hold::Spender};
use crate::{
    models::Price,
    prices::Priced,
    tenants::{ServiceTx, TenantStatement, TenantTx},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

/// A budget.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Budget {
    #[serde(skip)]
    pub(super) budget_id: Uuid,
    pub(super) name: String,
    /// `app` or `platform`.
    pub(super) set_by: String,
    pub(super) scope: Scope,
    pub(super) subject: Option<String>,
    pub(super) period: Period,
    /// What the limit and all that is counted against it are in, whatever their names say.
    #[serde(skip)]
    pub(super) unit: Unit,
    pub(super) limit_micro_usd: i64,
    pub(super) alert_percent: i16,
    pub(super) updated_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Budget {
    fn from_row(row: &PgRow) -> sqlx::Result<Budget> {
        let (scope, period): (String, String) = (row.try_get("scope")?, row.try_get("period")?);
        let unit: String = row.try_get("unit")?;
        let unknown = |text: &str| sqlx::Error::Decode(format!("`{text}` is not known").into());
        Ok(Budget {
            budget_id: row.try_get("budget_id")?,
            name: row.try_get("name")?,
            set_by: row.try_get("set_by")?,
            scope: Scope::parse(&scope).ok_or_else(|| unknown(&scope))?,
            subject: row.try_get("subject")?,
            period: Period::parse(&period).ok_or_else(|| unknown(&period))?,
            unit: Unit::parse(&unit).ok_or_else(|| unknown(&unit))?,
            limit_micro_usd: row.try_get("limit_micro_usd")?,
            alert_percent: row.try_get("alert_percent")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

impl Budget {
    /// What this spender's calls are counted under; none where they do not count.
    pub(super) fn subject_of(&self, spender: &Spender) -> Option<String> {
        let own = match self.scope {
            Scope::App => Some(String::new()),
            Scope::Credential => spender.credential_id.map(|id| id.to_string()),
            Scope::EndUser => spender.end_user.clone(),
        };
        own.filter(|own| self.subject.as_ref().is_none_or(|only| only == own))
    }
}

/// One counter, and how much is held against it.
pub(super) struct Key {
    pub(super) budget_id: Uuid,
    pub(super) subject: String,
    pub(super) period_start: DateTime<Utc>,
    /// In the budget's unit.
    pub(super) amount: i64,
}

/// The budget that has too little left.
pub(super) struct Refused {
    /// Which of those that were asked, from 0.
    pub(super) position: usize,
    /// In the budget's unit.
    pub(super) spent: i64,
    pub(super) reserved: i64,
}

pub(super) struct NewHold {
    pub(super) hold_id: Uuid,
    pub(super) app_id: Uuid,
    pub(super) process_id: Uuid,
    pub(super) expires_at: DateTime<Utc>,
}

/// The price of a model, if the operator set one, and all budgets of the app, in one round trip.
pub(super) async fn terms(
    tx: &mut TenantTx,
    provider: &str,
    model: &str,
) -> sqlx::Result<(Option<Priced>, Vec<Budget>)> {
    let rows = sqlx::query(
        "select p.input_micro_usd_per_mtok, p.cached_input_micro_usd_per_mtok, p.cache_write_micro_usd_per_mtok,
                p.output_micro_usd_per_mtok, p.output_tokens_max, p.unit_micro_usd_per_million, p.points_rate, b.*
         from (select 1) as one
         left join model_prices p on p.provider = $1 and p.model = $2
         left join budgets b on true
         order by b.budget_id",
    )
    .bind(provider)
    .bind(model)
    .fetch_all(tx.conn())
    .await?;
    let priced = rows.first().map(priced).transpose()?.flatten();
    let budgets = rows.iter().filter(|row| !matches!(row.try_get::<Option<Uuid>, _>("budget_id"), Ok(None)));
    Ok((priced, budgets.map(Budget::from_row).collect::<sqlx::Result<_>>()?))
}

fn priced(row: &PgRow) -> sqlx::Result<Option<Priced>> {
    let number = |column: &str| row.try_get::<Option<i64>, _>(column);
    let whole = |n: i64| u64::try_from(n).unwrap_or_default();
    let (Some(input), Some(cached), Some(written), Some(output)) = (
        number("input_micro_usd_per_mtok")?,
        number("cached_input_micro_usd_per_mtok")?,
        number("cache_write_micro_usd_per_mtok")?,
        number("output_micro_usd_per_mtok")?,
    ) else {
        return Ok(None);
    };
    let price = Price {
        input_micro_usd_per_mtok: whole(input),
        cached_input_micro_usd_per_mtok: whole(cached),
        cache_write_micro_usd_per_mtok: whole(written),
        output_micro_usd_per_mtok: whole(output),
        unit_micro_usd_per_million: number("unit_micro_usd_per_million")?.map(whole),
    };
    Ok(Some(Priced {
        price,
        output_tokens_max: number("output_tokens_max")?.map(whole),
        points_rate: number("points_rate")?.map(whole),
    }))
}

/// Until the transaction ends, nobody else holds or charges for this app, or sets a budget of it.
pub(super) async fn lock(conn: &mut PgConnection, app_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("budgets/{app_id}"))
        .execute(conn)
        .await
        .map(drop)
}

/// The same, where the app has budgets; whether it has.
pub(super) async fn lock_if_budgeted(tx: &mut TenantTx, app_id: Uuid) -> sqlx::Result<bool> {
    let locked = sqlx::query(
        "select pg_advisory_xact_lock(hashtextextended($1, 0)) where exists (select from budgets where app_id = $2)",
    )
    .bind(format!("budgets/{app_id}"))
    .bind(app_id)
    .fetch_optional(tx.conn())
    .await?;
    Ok(locked.is_some())
}

/// Holds an amount against each of these, in one statement; or against none, and says which has too little left.
pub(super) async fn reserve(
    mut at: TenantStatement,
    keys: &[Key],
    new: &NewHold,
) -> sqlx::Result<Option<Refused>> {
    let row =
        sqlx::query("select refused_by, spent, reserved from hold_budgets($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(new.app_id)
            .bind(new.hold_id)
            .bind(new.process_id)
            .bind(new.expires_at)
            .bind(keys.iter().map(|key| key.budget_id).collect::<Vec<_>>())
            .bind(keys.iter().map(|key| key.subject.clone()).collect::<Vec<_>>())
            .bind(keys.iter().map(|key| key.period_start).collect::<Vec<_>>())
            .bind(keys.iter().map(|key| key.amount).collect::<Vec<_>>())
            .fetch_one(at.conn())
            .await?;
    at.done();
    let Some(refused_by) = row.try_get::<Option<i32>, _>("refused_by")? else { return Ok(None) };
    Ok(Some(Refused {
        position: usize::try_from(refused_by - 1).unwrap_or_default(),
        spent: row.try_get("spent")?,
        reserved: row.try_get("reserved")?,
    }))
}

/// Lets go of what one call held; nothing where that was done already.
pub(super) async fn release(tx: &mut TenantTx, hold_id: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "with gone as (delete from budget_holds where hold_id = $1
                       returning budget_id, subject, period_start, amount_micro_usd)
         update budget_counters c set reserved_micro_usd = c.reserved_micro_usd - gone.amount_micro_usd from gone
         where (c.budget_id, c.subject, c.period_start) = (gone.budget_id, gone.subject, gone.period_start)",
    )
    .bind(hold_id)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// A budget that has come to where somebody is told.
#[derive(FromRow)]
pub(super) struct Crossed {
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) unit: String,
    pub(super) limit_micro_usd: i64,
    pub(super) spent_micro_usd: i64,
}

/// Charges a cost, in micro-dollars and milli-points, to every counter it counts for; which of them it took over where somebody is told.
pub(super) async fn charge(
    tx: &mut TenantTx,
    app_id: Uuid,
    spender: &Spender,
    (cost, points): (i64, i64),
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Crossed>> {
    sqlx::query_as(
        "with charged as (
           update budget_counters c
           set spent_micro_usd = c.spent_micro_usd + case b.unit when 'milli_points' then $8 else $2 end from budgets b
           where b.budget_id = c.budget_id and b.app_id = $1
             and c.period_start = case b.period when 'day' then $3 when 'month' then $4 else $5 end
             and c.subject = case b.scope when 'app' then '' when 'credential' then $6 else $7 end
           returning b.name, c.subject, b.unit, b.limit_micro_usd, c.spent_micro_usd, b.alert_percent,
                     case b.unit when 'milli_points' then $8 else $2 end as amount)
         select name, subject, unit, limit_micro_usd, spent_micro_usd from charged
         where spent_micro_usd::numeric * 100 >= limit_micro_usd::numeric * alert_percent
           and (spent_micro_usd - amount)::numeric * 100 < limit_micro_usd::numeric * alert_percent",
    )
    .bind(app_id)
    .bind(cost)
    .bind(Period::Day.start(now))
    .bind(Period::Month.start(now))
    .bind(Period::Total.start(now))
    .bind(spender.credential_id.map(|id| id.to_string()))
    .bind(&spender.end_user)
    .bind(points)
    .fetch_all(tx.conn())
    .await
}

/// Budgets in dollars, by who set them and name.
pub(super) async fn list(conn: &mut PgConnection, app_id: Uuid) -> sqlx::Result<Vec<Budget>> {
    sqlx::query_as("select * from budgets where app_id = $1 and unit = 'micro_usd' order by set_by, name")
        .bind(app_id)
        .fetch_all(conn)
        .await
}

pub(super) async fn find(
    conn: &mut PgConnection,
    app_id: Uuid,
    (set_by, name): (&str, &str),
    unit: Unit,
) -> sqlx::Result<Option<Budget>> {
    let query =
        "select * from budgets where app_id = $1 and set_by = $2 and name = $3 and unit = $4 for update";
    sqlx::query_as(query).bind(app_id).bind(set_by).bind(name).bind(unit.name()).fetch_optional(conn).await
}

/// Makes a budget, or changes its limit and when somebody is told; never whose it is.
pub(super) async fn set(conn: &mut PgConnection, app_id: Uuid, budget: &Budget) -> sqlx::Result<()> {
    sqlx::query(
        "insert into budgets (budget_id, app_id, name, set_by, scope, subject, period, limit_micro_usd, alert_percent,
                              updated_at, unit)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict (app_id, set_by, name) do update
           set limit_micro_usd = excluded.limit_micro_usd, alert_percent = excluded.alert_percent,
               updated_at = excluded.updated_at",
    )
    .bind(budget.budget_id)
    .bind(app_id)
    .bind(&budget.name)
    .bind(&budget.set_by)
    .bind(budget.scope.name())
    .bind(&budget.subject)
    .bind(budget.period.name())
    .bind(budget.limit_micro_usd)
    .bind(budget.alert_percent)
    .bind(budget.updated_at)
    .bind(budget.unit.name())
    .execute(conn)
    .await
    .map(drop)
}

pub(super) async fn delete(conn: &mut PgConnection, budget_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from budgets where budget_id = $1").bind(budget_id).execute(conn).await.map(drop)
}

/// How an allowance of points stands.
#[derive(FromRow)]
pub(super) struct Points {
    pub(super) limit: i64,
    pub(super) spent: i64,
    pub(super) reserved: i64,
}

/// How an app's allowance stands in the month that began at `start`: as its counter says, or the ledger where nothing was
/// held against it yet.
pub(super) async fn points(
    tx: &mut TenantTx,
    app_id: Uuid,
    name: &str,
    start: DateTime<Utc>,
) -> sqlx::Result<Option<Points>> {
    sqlx::query_as(
        "select b.limit_micro_usd as limit, coalesce(c.reserved_micro_usd, 0) as reserved,
                coalesce(c.spent_micro_usd, (select sum(milli_points) from usage_events
                                             where app_id = $1 and occurred_at >= $3)::bigint, 0) as spent
         from budgets b left join budget_counters c on c.budget_id = b.budget_id and c.period_start = $3
         where b.app_id = $1 and b.name = $2 and b.unit = 'milli_points'",
    )
    .bind(app_id)
    .bind(name)
    .bind(start)
    .fetch_optional(tx.conn())
    .await
}

/// What counts against one budget now.
#[derive(Clone, FromRow, Serialize)]
pub(super) struct Balance {
    #[serde(skip)]
    pub(super) budget_id: Uuid,
    pub(super) subject: String,
    pub(super) spent_micro_usd: i64,
    pub(super) reserved_micro_usd: i64,
}

/// The counters of the periods that began at these times, of budgets in dollars; of one subject, if it is given.
const COUNTED_NOW: &str = "budget_counters c join budgets b using (budget_id)
  where b.unit = 'micro_usd' and ($4::text is null or c.subject = $4)
    and c.period_start = case b.period when 'day' then $1 when 'month' then $2 else $3 end";

/// Of each budget the counters with the most spent, `limit` of each.
pub(super) async fn dearest(
    tx: &mut TenantTx,
    [day, month, total]: [DateTime<Utc>; 3],
    subject: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<Balance>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select * from (select c.*, row_number() over (partition by c.budget_id order by c.spent_micro_usd desc, c.subject)
                                      as place from {COUNTED_NOW}) as counted
         where place <= $5 order by budget_id, place"
    )))
    .bind(day)
    .bind(month)
    .bind(total)
    .bind(subject)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// The counters of budgets of this name, by budget and subject, `limit` of them after one.
pub(super) async fn balances_of(
    tx: &mut TenantTx,
    name: &str,
    [day, month, total]: [DateTime<Utc>; 3],
    subject: Option<&str>,
    after: Option<(Uuid, String)>,
    limit: i64,
) -> sqlx::Result<Vec<Balance>> {
    let (budget_id, after) = after.unzip();
    sqlx::query_as(AssertSqlSafe(format!(
        "select c.* from {COUNTED_NOW} and b.name = $5
           and ($6::uuid is null or (c.budget_id, c.subject) > ($6, $7))
         order by c.budget_id, c.subject limit $8"
    )))
    .bind(day)
    .bind(month)
    .bind(total)
    .bind(subject)
    .bind(name)
    .bind(budget_id)
    .bind(after)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Removes counters of days that began before `days` and of months that began before `months`, against which nothing is
/// held any more, `limit` of them at the most; how many it was.
pub(super) async fn delete_past(
    tx: &mut ServiceTx,
    days: DateTime<Utc>,
    months: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "with past as (select c.budget_id, c.subject, c.period_start from budget_counters c join budgets b using (budget_id)
                       where c.reserved_micro_usd = 0
                         and c.period_start < case b.period when 'day' then $1 when 'month' then $2 end
                       order by c.period_start limit $3 for update of c skip locked),
              gone as (delete from budget_counters c using past
                       where (c.budget_id, c.subject, c.period_start)
                           = (past.budget_id, past.subject, past.period_start)
                       returning 1)
         select count(*) from gone",
    )
    .bind(days)
    .bind(months)
    .bind(limit)
    .fetch_one(tx.conn())
    .await
}

/// Renews the holds of a process that lives.
pub(super) async fn renew(tx: &mut ServiceTx, process_id: Uuid, until: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("update budget_holds set expires_at = $2 where process_id = $1")
        .bind(process_id)
        .bind(until)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Lets go of holds nobody renewed, `limit` of them at the most; how many it was.
pub(super) async fn release_expired(tx: &mut ServiceTx, now: DateTime<Utc>, limit: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "with old as (select hold_id, budget_id from budget_holds where expires_at < $1 order by expires_at limit $2
                      for update skip locked),
              gone as (delete from budget_holds h using old
                       where h.hold_id = old.hold_id and h.budget_id = old.budget_id
                       returning h.budget_id, h.subject, h.period_start, h.amount_micro_usd),
              sums as (select budget_id, subject, period_start, sum(amount_micro_usd)::bigint as amount
                       from gone group by 1, 2, 3),
              done as (update budget_counters c set reserved_micro_usd = c.reserved_micro_usd - sums.amount from sums
                       where (c.budget_id, c.subject, c.period_start)
                           = (sums.budget_id, sums.subject, sums.period_start))
         select count(*) from gone",
    )
    .bind(now)
    .bind(limit)
    .fetch_one(tx.conn())
    .await
}
