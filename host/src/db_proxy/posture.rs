//! Which layers of the apps' database are up: the embedded server lets us put all of them up, a managed one may
//! not. The logins hold table data apart either way; this says what else stands.

use super::{Database, store};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize, Deserialize)]
pub struct Finding {
    /// Which, for programs: `catalogs_closed`.
    pub what: String,
    /// Whether it is up.
    pub holds: bool,
    /// What it means where it is not, and what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

impl Database {
    /// Every layer, and whether it is up.
    ///
    /// # Errors
    /// The database's.
    pub async fn posture(&self) -> sqlx::Result<Vec<Finding>> {
        let mut findings = store::posture(self.admin()).await?;
        for finding in findings.iter_mut().filter(|finding| finding.holds) {
            finding.advice.clear();
        }
        Ok(findings)
    }
}
