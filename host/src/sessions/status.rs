//! The states of a session, and going from one to another. Which may follow which is checked in the database.

use super::{
    log::{Draft, Kind},
    store,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// What it runs on is made ready.
    Creating,
    /// A turn runs.
    Active,
    /// It waits for a prompt.
    Idle,
    /// It runs on nothing; its data is kept, and a prompt wakes it.
    Stopped,
    /// What it runs on could not be made ready; a prompt tries again.
    Error,
}

impl Status {
    /// Every state there is.
    pub const ALL: &[Status] = &[Self::Creating, Self::Active, Self::Idle, Self::Stopped, Self::Error];

    /// The name in the table and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Active => "active",
            Status::Idle => "idle",
            Status::Stopped => "stopped",
            Status::Error => "error",
        }
    }

    /// The state of this name.
    pub fn parse(name: &str) -> Option<Status> {
        Status::ALL.iter().copied().find(|status| status.name() == name)
    }

    /// Whether it runs on something.
    pub const fn is_live(self) -> bool {
        matches!(self, Status::Creating | Status::Active | Status::Idle)
    }
}

/// Goes to a state, and what is told of it; nothing where it is there already. The caller holds the session's row.
///
/// # Errors
/// The database's, also where this state may not follow the one before.
pub(crate) async fn go(
    conn: &mut PgConnection,
    session_id: Uuid,
    to: Status,
    reason: Option<&str>,
) -> sqlx::Result<Option<Draft>> {
    let from = store::set_status(conn, session_id, to, reason).await?;
    Ok(from.map(|from| changed(Some(&from), to, reason)))
}

/// What is told of a session that went from one state to another.
pub(crate) fn changed(from: Option<&str>, to: Status, reason: Option<&str>) -> Draft {
    Draft::new(Kind::SessionStatus, None, json!({ "from": from, "to": to, "reason": reason }))
}
