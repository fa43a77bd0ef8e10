//! What was applied to an app's database, as the audit log tells it and the server confirms (row M158).

use super::{DatabaseError, store, store::AppliedRow};
use crate::{
    app::App,
    grants::{Allowed, action::may},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use uuid::Uuid;

/// A change.
#[derive(Debug, Serialize)]
pub struct Applied {
    /// The audit row.
    pub audit_id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// Through which door: `rest`, `wasm`, …
    pub surface: String,
    /// What sort of statements.
    pub statements: Value,
    /// Their text without the values in it.
    pub sql: Value,
    /// SHA-256 of the text as it was sent.
    pub sql_sha256: Value,
    /// Rows it changed.
    pub affected: Value,
    /// Whether the server kept it: it always did, unless something broke in the very moment of the commit.
    pub applied: bool,
}

/// Changes, newest first.
///
/// # Errors
/// The databases'.
pub(super) async fn list(
    app: &App,
    allowed: &Allowed<may::DbRead>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Applied>, DatabaseError> {
    let rows = {
        let mut tx = app.tenant_tx(allowed).await?;
        store::list_applied(&mut tx, before, limit).await?
    };
    let ids: Vec<String> =
        rows.iter().filter_map(|row| Some(row.detail["transaction"].as_str()?.to_owned())).collect();
    let ends: HashMap<String, Option<String>> =
        store::transactions(app.database.admin(), &ids).await?.into_iter().collect();
    Ok(rows.into_iter().map(|row| shown(row, &ends)).collect())
}

fn shown(mut row: AppliedRow, ends: &HashMap<String, Option<String>>) -> Applied {
    let end = row.detail["transaction"].as_str().and_then(|id| ends.get(id)).and_then(Option::as_deref);
    Applied {
        audit_id: row.audit_id,
        at: row.occurred_at,
        actor: row.actor,
        surface: row.surface,
        statements: row.detail["statements"].take(),
        sql: row.detail["sql"].take(),
        sql_sha256: row.detail["sql_sha256"].take(),
        affected: row.detail["affected"].take(),
        // What the server has forgotten is old, and a commit that failed then would have said so.
        applied: !matches!(end, Some("aborted" | "in progress")),
    }
}
