//! The ledger: what was used, once for each use, with the price it was charged at.
//!
//! Append-only; money is integer micro-USD; a cost that is not known is not
//! zero but absent. A call that was broken off is charged for what was seen.

pub mod routes;
pub mod store;

use crate::{
    app::App,
    grants::{Acting, InApp},
    models::{Price, Usage},
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
        /// At what price, if one is known.
        price: Option<Price>,
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
    let usage_id = app.new_id();
    store::insert(
        tx,
        store::NewUse { usage_id, at: app.now(), app_id: acting.app().app_id, caller: acting.caller(), what },
    )
    .await
}

/// Writes one use down in a transaction of its own. A failure is logged: what
/// was used has been used.
pub async fn record(app: &App, acting: &Acting, what: &Use) {
    let written = async {
        let mut tx = app.tenant_tx(acting).await?;
        write(app, &mut tx, acting, what).await?;
        tx.commit().await
    };
    app.metrics.used(what);
    if let Err(cause) = written.await {
        tracing::error!(%cause, app = acting.app().slug, ?what, "a use could not be written to the ledger");
    }
}
