//! Held before, charged after: what keeps calls within budgets.

use super::{
    Unit,
    bound::Bounded,
    store::{self, Budget, Key},
};
use crate::{
    app::App,
    grants::{Acting, InApp, audit},
    models::{PaidBy, price},
    prices::{self, Priced},
    remembered::Remember,
    tenants::TenantTx,
};
use chrono::{DateTime, Duration, Utc};
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

/// How long a hold stands that nobody renews: three sweeps, so that a slow one lets nothing go that is needed.
pub(super) const HOLD_LIFE: Duration = Duration::seconds(180);

/// On what terms an app may ask a model.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// What it costs, if that is known.
    pub(crate) priced: Option<Priced>,
    budgets: Vec<Budget>,
}

impl Terms {
    /// Milli-points a dollar of it is, where it costs points: what somebody else pays for does not.
    pub(crate) fn points_rate(&self, paid_by: Option<PaidBy>) -> Option<u64> {
        self.priced.as_ref().filter(|_| paid_by == Some(PaidBy::Platform))?.points_rate
    }
}

/// Who spends.
#[derive(Clone, Debug)]
pub(crate) struct Spender {
    pub(crate) credential_id: Option<Uuid>,
    pub(crate) end_user: Option<String>,
}

impl Spender {
    pub(crate) fn of(proof: &impl InApp, end_user: Option<&str>) -> Spender {
        Spender { credential_id: proof.caller().credential_id, end_user: end_user.map(str::to_owned) }
    }
}

/// Why a model may not be asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HoldError {
    /// There is too little left.
    #[error(
        "the budget `{name}` has too little left for this request: of {limit_micro_usd} micro-dollars \
         {spent_micro_usd} are spent and {reserved_micro_usd} held for requests under way, and this one may cost \
         {needed_micro_usd}; name a smaller `max_tokens`, wait{}, or raise the budget",
        resets_at.map(|at| format!(" until {}", at.format("%FT%TZ"))).unwrap_or_default()
    )]
    Exceeded {
        /// Its name.
        name: String,
        /// How much may be spent.
        limit_micro_usd: i64,
        /// How much is.
        spent_micro_usd: i64,
        /// How much requests under way may still cost.
        reserved_micro_usd: i64,
        /// How much this one may.
        needed_micro_usd: i64,
        /// When it begins anew.
        resets_at: Option<DateTime<Utc>>,
    },
    /// The app's allowance has too few points left.
    #[error(
        "this app has too few points left this month for this request: of {limit_milli_points} milli-points \
         {spent_milli_points} are spent and {reserved_milli_points} held for requests under way, and this one may \
         cost {needed_milli_points}; name a smaller `max_tokens`, wait{}, or ask the operator for more",
        resets_at.map(|at| format!(" until {}", at.format("%FT%TZ"))).unwrap_or_default()
    )]
    TooFewPoints {
        /// How many the app has for the month.
        limit_milli_points: i64,
        /// How many are spent.
        spent_milli_points: i64,
        /// How many requests under way may still cost.
        reserved_milli_points: i64,
        /// How many this one may.
        needed_milli_points: i64,
        /// When there are as many again.
        resets_at: Option<DateTime<Utc>>,
    },
    /// A budget counts and the price is not known.
    #[error(
        "`{model}` has no price, so what it costs cannot be held against the budget `{name}`: the operator sets \
         prices with PUT /platform/v1/ai/prices/{model}"
    )]
    NoPrice {
        /// `provider/model`.
        model: String,
        /// The budget that counts.
        name: String,
    },
    /// The database.
    #[error("the budget could not be looked up")]
    Db(String),
}

impl From<sqlx::Error> for HoldError {
    fn from(cause: sqlx::Error) -> HoldError {
        tracing::error!(%cause, "a budget could not be looked up");
        HoldError::Db(cause.to_string())
    }
}

/// What is held for one call. Let go when dropped, unless the call was settled.
pub(crate) struct Hold {
    app: App,
    acting: Acting,
    hold_id: Uuid,
    counting: Vec<Counting>,
    /// Milli-points a dollar is.
    points_rate: Option<u64>,
    settled: bool,
}

/// A budget that counts for a call, and whose counter.
struct Counting {
    budget: Budget,
    subject: String,
    period_start: DateTime<Utc>,
}

/// The price of a model and the budgets of the app, in one statement.
///
/// # Errors
/// The database's.
pub(crate) async fn terms(
    app: &App,
    proof: &impl InApp,
    provider: &str,
    model: &str,
) -> Result<Arc<Terms>, HoldError> {
    let read = async {
        let mut tx = app.tenant_tx(proof).await?;
        let (priced, budgets) = store::terms(&mut tx, provider, model).await?;
        let built_in = || {
            let price = price::built_in(provider, model)?;
            Some(Priced { price, output_tokens_max: None, points_rate: None })
        };
        Ok(Terms { priced: priced.or_else(built_in), budgets })
    };
    app.remembered.get(proof, &format!("{provider}/{model}"), read).await
}

impl Remember for Terms {
    fn bytes(&self) -> usize {
        let text = |budget: &Budget| budget.name.len() + budget.subject.as_ref().map_or(0, String::len);
        size_of::<Terms>()
            + self.budgets.iter().map(|budget| text(budget) + size_of::<Budget>()).sum::<usize>()
    }
}

/// Holds the most this request may cost against every budget that counts; none where none does.
///
/// # Errors
/// [`HoldError`]; nothing is held then.
pub(crate) async fn hold(
    app: &App,
    proof: &impl InApp,
    terms: &Terms,
    (spender, paid_by): (&Spender, Option<PaidBy>),
    (provider, model): (&str, &str),
    request: &impl Bounded,
) -> Result<Option<Hold>, HoldError> {
    let (now, points_rate) = (app.now(), terms.points_rate(paid_by));
    let counting = terms.budgets.iter().filter_map(|budget| {
        let counts = budget.unit == Unit::MicroUsd || points_rate.is_some();
        let subject = budget.subject_of(spender).filter(|_| counts)?;
        Some(Counting { budget: budget.clone(), subject, period_start: budget.period.start(now) })
    });
    let counting: Vec<Counting> = counting.collect();
    let Some(first) = counting.first() else { return Ok(None) };
    let Some(cost) = terms.priced.as_ref().and_then(|priced| request.cost_at_most(priced)) else {
        let name = first.budget.name.clone();
        return Err(HoldError::NoPrice { model: format!("{provider}/{model}"), name });
    };
    let (acting, hold_id) = (Acting::of(proof), app.new_id());
    let hold = Hold { app: app.clone(), acting, hold_id, counting, points_rate, settled: false };
    // Carried through also where whoever asks goes away: the hold that comes of it is then let go as it is dropped.
    let holding = app.carry(async move {
        match take(&hold, cost).await {
            Ok(()) => Ok(Some(hold)),
            Err(error) => {
                hold.forget();
                Err(error)
            }
        }
    });
    holding.await
}

/// Holds a cost against every budget, each in its unit, on top of what is held for the call already.
async fn take(hold: &Hold, cost_micro_usd: u64) -> Result<(), HoldError> {
    let (app, now) = (&hold.app, hold.app.now());
    let new = store::NewHold {
        hold_id: hold.hold_id,
        app_id: hold.acting.app().app_id,
        process_id: app.process_id,
        expires_at: now + HOLD_LIFE,
    };
    let key = |counting: &Counting| Key {
        budget_id: counting.budget.budget_id,
        subject: counting.subject.clone(),
        period_start: counting.period_start,
        amount: counting.budget.amount(cost_micro_usd, hold.points_rate),
    };
    let keys: Vec<Key> = hold.counting.iter().map(key).collect();
    let Some(refused) = store::reserve(app.tenant_statement().await?, &keys, &new).await? else {
        return Ok(());
    };
    let Some((counting, key)) = hold.counting.get(refused.position).zip(keys.get(refused.position)) else {
        return Err(HoldError::Db("a budget refused that was not asked".to_owned()));
    };
    let (budget, needed) = (&counting.budget, key.amount);
    let resets_at = budget.period.end(now);
    Err(match budget.unit {
        Unit::MicroUsd => HoldError::Exceeded {
            name: budget.name.clone(),
            limit_micro_usd: budget.limit_micro_usd,
            spent_micro_usd: refused.spent,
            reserved_micro_usd: refused.reserved,
            needed_micro_usd: needed,
            resets_at,
        },
        Unit::MilliPoints => HoldError::TooFewPoints {
            limit_milli_points: budget.limit_micro_usd,
            spent_milli_points: refused.spent,
            reserved_milli_points: refused.reserved,
            needed_milli_points: needed,
            resets_at,
        },
    })
}

impl Budget {
    /// A cost in its unit.
    fn amount(&self, cost_micro_usd: u64, points_rate: Option<u64>) -> i64 {
        let amount = match self.unit {
            Unit::MicroUsd => cost_micro_usd,
            Unit::MilliPoints => prices::milli_points(points_rate.unwrap_or_default(), cost_micro_usd),
        };
        i64::try_from(amount).unwrap_or(i64::MAX)
    }
}

/// Charges what a call did cost to the budgets it counts for and lets go of what was held, in the transaction that
/// writes the call to the ledger. Call it before the row is written: it takes the app's lock.
///
/// # Errors
/// The database's; the transaction must not commit then.
pub(crate) async fn settle(
    app: &App,
    tx: &mut TenantTx,
    proof: &impl InApp,
    hold: Option<&Hold>,
    spender: &Spender,
    (cost_micro_usd, milli_points): (Option<u64>, Option<u64>),
) -> sqlx::Result<()> {
    let app_id = proof.app().app_id;
    if !store::lock_if_budgeted(tx, app_id).await? {
        return Ok(());
    }
    if let Some(hold) = hold {
        store::release(tx, hold.hold_id).await?;
    }
    let amount = |amount: Option<u64>| i64::try_from(amount.unwrap_or_default()).unwrap_or(i64::MAX);
    let (cost, points) = (amount(cost_micro_usd), amount(milli_points));
    if cost == 0 && points == 0 {
        return Ok(());
    }
    for crossed in store::charge(tx, app_id, spender, (cost, points), app.now()).await? {
        tracing::warn!(app = proof.app().slug, budget = crossed.name, "a budget is nearly spent");
        let entry = audit::Entry::ok("budget.alert", format!("budget/{}", crossed.name)).detail(json!({
            "subject": crossed.subject,
            format!("limit_{}", crossed.unit): crossed.limit_micro_usd,
            format!("spent_{}", crossed.unit): crossed.spent_micro_usd,
        }));
        audit::write(app, tx, proof, entry).await?;
    }
    Ok(())
}

impl Hold {
    /// Its key.
    pub(crate) fn id(&self) -> Uuid {
        self.hold_id
    }

    /// Holds so much more for the same call; whether there was room for it. What is held already stays either way.
    pub(crate) async fn more(self, cost_micro_usd: u64) -> (Hold, Result<(), HoldError>) {
        let app = self.app.clone();
        // Carried through, as the first was.
        let holding = app.carry(async move {
            let taken = take(&self, cost_micro_usd).await;
            (self, taken)
        });
        holding.await
    }

    /// The call is in the ledger, and its hold gone with the same transaction.
    pub(crate) fn settled(mut self) {
        self.settled = true;
    }

    /// Nothing was held.
    fn forget(mut self) {
        self.settled = true;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let (app, acting, hold_id) = (self.app.clone(), self.acting.clone(), self.hold_id);
        self.app.spawn(async move {
            let released = async {
                let mut tx = app.tenant_tx(&acting).await?;
                store::lock(tx.conn(), acting.app().app_id).await?;
                store::release(&mut tx, hold_id).await?;
                tx.commit().await
            };
            if let Err(cause) = released.await {
                tracing::error!(%cause, "what was held against a budget stays until the sweep");
            }
        });
    }
}
