//! The audit log: what was done, by whom, with what result. Append-only; there
//! is no route and no database right to change or delete a row.
//!
//! A write over HTTP and its audit row are one transaction: no audit, no write.
//! What a guest reached for, and what it was told, stands in the row of its run.

use super::{AsMyself, Caller, InApp, Surface, store};
use crate::{
    app::App,
    tenants::{PersonTx, ServiceTx, TenantTx},
};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// One thing that was done. Holds no secret: values go in as hashes.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The action's name.
    pub action: &'static str,
    /// What it was done to: `tool/word-count`, `secret/API_KEY`.
    pub target: String,
    /// How it ended.
    pub result: Outcome,
    /// The hash of what was there.
    pub before_hash: Option<String>,
    /// The hash of what is there now.
    pub after_hash: Option<String>,
    /// More, for the reader.
    pub detail: Value,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It was allowed and did not work.
    Failed,
}

impl Outcome {
    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Failed => "failed",
        }
    }
}

impl Entry {
    /// Something that was done.
    pub fn ok(action: &'static str, target: impl Into<String>) -> Entry {
        Entry {
            action,
            target: target.into(),
            result: Outcome::Ok,
            before_hash: None,
            after_hash: None,
            detail: json!({}),
        }
    }

    /// The same with another result.
    pub fn result(mut self, result: Outcome) -> Entry {
        self.result = result;
        self
    }

    /// With the hashes of what was there and what is.
    pub fn change<T: Serialize>(mut self, before: Option<&T>, after: Option<&T>) -> Entry {
        self.before_hash = before.map(hash);
        self.after_hash = after.map(hash);
        self
    }

    /// With more for the reader.
    pub fn detail(mut self, detail: Value) -> Entry {
        self.detail = detail;
        self
    }
}

fn hash<T: Serialize>(value: &T) -> String {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    hex::encode(Sha256::digest(bytes))
}

/// Writes one row in the tenant's transaction, and returns its id.
///
/// # Errors
/// The database's; the caller's transaction must not commit then.
pub async fn write(app: &App, tx: &mut TenantTx, proof: &impl InApp, entry: Entry) -> sqlx::Result<Uuid> {
    let row = row(app, proof.caller(), proof.caller().surface, Some(proof.app().app_id), &entry);
    let audit_id = row.audit_id;
    store::insert_audit(tx.conn(), row).await?;
    Ok(audit_id)
}

/// Writes one row for something a guest did.
///
/// # Errors
/// As [`write()`].
pub async fn write_guest(
    app: &App,
    tx: &mut TenantTx,
    proof: &impl InApp,
    entry: Entry,
) -> sqlx::Result<Uuid> {
    let row = row(app, proof.caller(), Surface::Wasm, Some(proof.app().app_id), &entry);
    let audit_id = row.audit_id;
    store::insert_audit(tx.conn(), row).await?;
    Ok(audit_id)
}

/// Writes one row for something the platform did.
///
/// # Errors
/// As [`write()`].
pub(crate) async fn write_platform(
    app: &App,
    tx: &mut ServiceTx,
    caller: &Caller,
    app_id: Option<Uuid>,
    entry: Entry,
) -> sqlx::Result<()> {
    let row = row(app, caller, caller.surface, app_id, &entry);
    store::insert_audit(tx.conn(), row).await
}

/// Writes one row for what a person did to what is their own.
///
/// # Errors
/// As [`write()`].
pub(crate) async fn write_own(
    app: &App,
    tx: &mut PersonTx,
    proof: &impl AsMyself,
    entry: Entry,
) -> sqlx::Result<()> {
    let row = row(app, proof.credential(), proof.credential().surface, None, &entry);
    store::insert_audit(tx.conn(), row).await
}

fn row<'a>(
    app: &App,
    caller: &'a Caller,
    surface: Surface,
    app_id: Option<Uuid>,
    entry: &'a Entry,
) -> store::AuditRow<'a> {
    store::AuditRow {
        audit_id: app.new_id(),
        app_id,
        occurred_at: app.now(),
        actor: caller.actor(),
        credential_id: caller.credential_id,
        user_id: caller.user_id,
        surface: surface.name(),
        action: entry.action,
        target: &entry.target,
        result: entry.result.name(),
        before_hash: entry.before_hash.as_deref(),
        after_hash: entry.after_hash.as_deref(),
        detail: &entry.detail,
        ip: caller.ip.map(|ip| ip.to_string()),
        request_id: &caller.request_id,
    }
}
