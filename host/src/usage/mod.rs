//! The ledger: what was used, once for each use, with the price it was charged at.
//!
//! Append-only; money is integer micro-USD, points are integer milli-points; a cost that is not known is not
//! zero but absent. A call that was broken off is charged for what was seen.

pub mod routes;
pub mod store;

use crate::{
    app::App,
    budgets::{self, Hold, Spender},
    grants::{Acting, InApp},
    models::{PaidBy, Price, Unit, Usage},
    prices,
    tenants::TenantTx,
};
use std::time::Duration;
use uuid::Uuid;

/// How a use ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As asked.
    Ok,
    /// With an error.
    Failed,
    /// Broken off by the caller.
    Canceled,
}

impl Status {
    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::Canceled => "canceled",
        }
    }
}

/// One use.
#[derive(Clone, Debug)]
pub struct Use {
    /// What was used.
    pub what: What,
    /// The plugin that ran or asked, `kind/name`; none where a person asked the gateway.
    pub plugin: Option<String>,
    /// The session it belongs to.
    pub session_id: Option<Uuid>,
    /// Whose request it was, where the client says so.
    pub end_user: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub status: Status,
}

/// What was used.
#[derive(Clone, Debug)]
pub enum What {
    /// A model.
    Tokens {
        /// The provider's id.
        provider: String,
        /// The provider's name for the model.
        model: String,
        /// How much.
        usage: Usage,
        /// How much that is not counted in tokens.
        units: Option<(Unit, u64)>,
        /// At what price, if one is known.
        price: Option<Price>,
        /// Milli-points a dollar of it is, where it costs points.
        points_rate: Option<u64>,
        /// How many places were asked.
        attempts: u16,
        /// Whose key it was asked with; none: nobody's.
        paid_by: Option<PaidBy>,
    },
    /// A tool.
    Tool,
    /// An agent.
    Agent,
}

/// Writes one use down in somebody's transaction.
///
/// # Errors
/// The database's.
pub async fn write(app: &App, tx: &mut TenantTx, acting: &impl InApp, what: &Use) -> sqlx::Result<()> {
    store::insert(tx, &new(app, acting, what)).await
}

fn new<'a>(app: &App, acting: &'a impl InApp, what: &'a Use) -> store::NewUse<'a> {
    let (usage_id, at, app_id) = (app.new_id(), app.now(), acting.app().app_id);
    store::NewUse { usage_id, at, app_id, caller: acting.caller(), what }
}

/// Writes a use of a model down, charges the budgets it counts for and lets go of what was held for it: all in one
/// transaction of its own, which is one statement unless somebody has to be told of a budget. A failure is logged: what was used has been used.
pub(crate) async fn record(app: &App, acting: &Acting, what: &Use, hold: Option<Hold>) {
    let spender = Spender::of(acting, what.end_user.as_deref());
    let written = async {
        let (new, hold_id) = (new(app, acting, what), hold.as_ref().map(Hold::id));
        if store::record(app.tenant_statement().await?, &new, hold_id, budgets::periods(new.at)).await? {
            return Ok(());
        }
        let mut tx = app.tenant_tx(acting).await?;
        let cost = (what.cost_micro_usd(), what.milli_points());
        budgets::settle(app, &mut tx, acting, hold.as_ref(), &spender, cost).await?;
        store::insert(&mut tx, &new).await?;
        tx.commit().await
    };
    app.metrics.used(what);
    if let Some(why) = what.uncharged() {
        app.metrics.uncharged(why);
        if let (Uncharged::CostsNothing, What::Tokens { provider, model, .. }) = (why, &what.what) {
            let app = acting.app().slug.as_str();
            tracing::warn!(app, provider, model, "a model was used and cost nothing: look at its price");
        }
    }
    match written.await {
        Ok(()) => {
            if let Some(hold) = hold {
                hold.settled();
            }
        }
        Err(cause) => {
            tracing::error!(%cause, app = acting.app().slug, ?what, "a use could not be written to the ledger");
        }
    }
}

/// Why a use of a model was charged nothing (row M110): each is for somebody to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncharged {
    /// Nobody said what the model costs.
    NoPrice,
    /// What it costs comes to nothing.
    CostsNothing,
}

impl Uncharged {
    /// The name in the numbers.
    pub const fn name(self) -> &'static str {
        match self {
            Uncharged::NoPrice => "no_price",
            Uncharged::CostsNothing => "costs_nothing",
        }
    }
}

impl Use {
    /// Whether a model of somebody's was used and cost nothing. Those that are built in are nobody's.
    pub(crate) fn uncharged(&self) -> Option<Uncharged> {
        let What::Tokens { usage, units, paid_by: Some(_), .. } = &self.what else { return None };
        let used = usage.total_tokens() > 0 || units.is_some_and(|(_, count)| count > 0);
        match self.cost_micro_usd().filter(|_| used) {
            None if used => Some(Uncharged::NoPrice),
            Some(0) => Some(Uncharged::CostsNothing),
            _ => None,
        }
    }

    /// What it cost in points, where it costs such.
    pub(crate) fn milli_points(&self) -> Option<u64> {
        let What::Tokens { points_rate, .. } = &self.what else { return None };
        Some(prices::milli_points((*points_rate)?, self.cost_micro_usd()?))
    }

    /// What it cost, where that is known.
    pub(crate) fn cost_micro_usd(&self) -> Option<u64> {
        match &self.what {
            What::Tokens { usage, units, price: Some(price), .. } => {
                price.cost_with_units_micro_usd(usage, units.map(|(_, units)| units))
            }
            What::Tokens { price: None, .. } | What::Tool | What::Agent => None,
        }
    }
}
