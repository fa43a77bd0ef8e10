//! All SQL of grants: credentials and the audit log.

use super::Scopes;
use crate::{
    remembered::Version,
    tenants::{ServiceTx, TenantTx},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// A credential found by its hash, with the app it belongs to.
#[derive(FromRow)]
pub(super) struct FoundCredential {
    pub(super) credential_id: Uuid,
    pub(super) kind: String,
    pub(super) scopes: Vec<String>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) app_id: Uuid,
    pub(super) slug: String,
    pub(super) status: String,
    app_version: Option<i64>,
    platform_version: i64,
}

impl FoundCredential {
    /// As of which changes of its app it was found.
    pub(super) fn version(&self) -> Option<Version> {
        Some(Version { app_version: self.app_version?, platform_version: self.platform_version })
    }
}

/// A live credential of a live app.
const FOUND: &str = "select c.credential_id, c.kind, c.scopes, c.expires_at, a.app_id, a.slug, a.status,
      v.version as app_version, p.version as platform_version
    from credentials c join apps a using (app_id) left join app_versions v using (app_id) cross join platform_version p
    where c.revoked_at is null and (c.expires_at is null or c.expires_at > $2) and a.status <> 'deleted'";

/// The credential of this id.
pub(super) async fn find_by_id(
    tx: &mut ServiceTx,
    credential_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<FoundCredential>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!("{FOUND} and c.credential_id = $1")))
        .bind(credential_id)
        .bind(now)
        .fetch_optional(tx.conn())
        .await
}

/// The credential of this hash.
pub(super) async fn find_by_hash(
    conn: &mut PgConnection,
    secret_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<FoundCredential>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!("{FOUND} and c.secret_hash = $1")))
        .bind(secret_hash)
        .bind(now)
        .fetch_optional(conn)
        .await
}

pub(super) async fn touch(tx: &mut ServiceTx, credential_id: Uuid, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("update credentials set last_used_at = $2 where credential_id = $1")
        .bind(credential_id)
        .bind(now)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// A person's credential found by its hash.
#[derive(FromRow)]
pub(super) struct FoundPerson {
    pub(super) credential_id: Uuid,
    pub(super) kind: String,
    pub(super) scopes: Vec<String>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) user_id: Uuid,
    pub(super) app_ids: Option<Vec<Uuid>>,
}

const FOUND_PERSON: &str = "select c.credential_id, c.kind, c.scopes, c.expires_at, c.user_id, c.app_ids
    from credentials c join users u using (user_id)
    where c.revoked_at is null and c.app_id is null and c.kind <> 'refresh_token'
      and (c.expires_at is null or c.expires_at > $2) and u.disabled_at is null";

/// A live credential of a person who was not disabled. A refresh token is none.
pub(super) async fn find_person(
    conn: &mut PgConnection,
    secret_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<FoundPerson>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!("{FOUND_PERSON} and c.secret_hash = $1")))
        .bind(secret_hash)
        .bind(now)
        .fetch_optional(conn)
        .await
}

/// The same by its id.
pub(super) async fn find_person_by_id(
    tx: &mut ServiceTx,
    credential_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<FoundPerson>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!("{FOUND_PERSON} and c.credential_id = $1")))
        .bind(credential_id)
        .bind(now)
        .fetch_optional(tx.conn())
        .await
}

/// The slug of an app that was not deleted.
pub(super) async fn slug_of(tx: &mut ServiceTx, app_id: Uuid) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select slug from apps where app_id = $1 and status <> 'deleted'")
        .bind(app_id)
        .fetch_optional(tx.conn())
        .await
}

/// An app and a person's role in it.
#[derive(FromRow)]
pub(super) struct Membership {
    pub(super) app_id: Uuid,
    pub(super) slug: String,
    pub(super) status: String,
    pub(super) role: String,
    app_version: Option<i64>,
    platform_version: i64,
}

impl Membership {
    /// As of which changes of the app it was found.
    pub(super) fn version(&self) -> Option<Version> {
        Some(Version { app_version: self.app_version?, platform_version: self.platform_version })
    }
}

/// The app of this slug, or the one credential's own where none is named, if the person is a member of it and
/// the credential acts for it.
pub(super) async fn find_membership(
    conn: &mut PgConnection,
    user_id: Uuid,
    slug: Option<&str>,
    app_ids: Option<&[Uuid]>,
) -> sqlx::Result<Option<Membership>> {
    sqlx::query_as(
        "select a.app_id, a.slug, a.status, m.role, v.version as app_version, p.version as platform_version
         from apps a join app_members m using (app_id) left join app_versions v using (app_id)
           cross join platform_version p
         where m.user_id = $1 and a.status <> 'deleted' and ($3::uuid[] is null or a.app_id = any($3))
           and case when $2::text is null then cardinality($3) = 1 else a.slug = $2 end",
    )
    .bind(user_id)
    .bind(slug)
    .bind(app_ids)
    .fetch_optional(conn)
    .await
}

/// The role that a person whose credential is still in use has in an app.
pub(crate) async fn live_role(
    tx: &mut ServiceTx,
    app_id: Uuid,
    user_id: Uuid,
    credential_id: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "select m.role from app_members m join users u using (user_id) join credentials c using (user_id)
         where m.app_id = $1 and m.user_id = $2 and u.disabled_at is null and c.credential_id = $3
           and c.revoked_at is null and (c.expires_at is null or c.expires_at > $4)",
    )
    .bind(app_id)
    .bind(user_id)
    .bind(credential_id)
    .bind(now)
    .fetch_optional(tx.conn())
    .await
}

/// Whether a caller still stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Live {
    /// Its credential and its app do.
    Yes,
    /// They do; the operator stopped the app's traffic.
    Suspended,
    /// They do not.
    Ended,
}

/// Whether the transaction's app is still in use, and the credential, where it is one of the app's.
pub(crate) async fn live(
    tx: &mut TenantTx,
    credential_id: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<Live> {
    let status: Option<String> = sqlx::query_scalar(
        "select status from apps where app_id = current_app_id() and status <> 'deleted'
           and ($1::uuid is null or exists (select from credentials where credential_id = $1
             and revoked_at is null and (expires_at is null or expires_at > $2)))",
    )
    .bind(credential_id)
    .bind(now)
    .fetch_optional(tx.conn())
    .await?;
    Ok(match status.as_deref() {
        None => Live::Ended,
        Some("suspended") => Live::Suspended,
        Some(_) => Live::Yes,
    })
}

/// What is known of a credential, but its secret.
#[derive(FromRow, Serialize)]
pub(super) struct CredentialRow {
    #[serde(rename = "id")]
    pub(super) credential_id: Uuid,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) prefix: String,
    pub(super) last4: String,
    pub(super) scopes: Vec<String>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) last_used_at: Option<DateTime<Utc>>,
}

const CREDENTIAL_COLUMNS: &str =
    "credential_id, kind, name, prefix, last4, scopes, created_at, expires_at, last_used_at";

/// Live credentials, newest first, `limit` of them older than `before`.
pub(super) async fn list_live(
    tx: &mut TenantTx,
    now: DateTime<Utc>,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<CredentialRow>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {CREDENTIAL_COLUMNS} from credentials
         where revoked_at is null and (expires_at is null or expires_at > $1) and ($2::uuid is null or credential_id < $2)
         order by credential_id desc limit $3",
    )))
    .bind(now)
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

pub(super) async fn count_live(tx: &mut TenantTx, now: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from credentials where revoked_at is null and (expires_at is null or expires_at > $1)",
    )
    .bind(now)
    .fetch_one(tx.conn())
    .await
}

/// Takes the app's lock until the transaction ends, so that counting and
/// inserting are one step.
pub(super) async fn lock_app(tx: &mut TenantTx, app_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("credentials/{app_id}"))
        .execute(tx.conn())
        .await
        .map(drop)
}

/// A credential to insert.
pub(super) struct NewCredential<'a> {
    pub(super) credential_id: Uuid,
    pub(super) kind: &'static str,
    pub(super) app_id: Uuid,
    pub(super) name: &'a str,
    pub(super) secret_hash: [u8; 32],
    pub(super) prefix: &'a str,
    pub(super) last4: &'a str,
    pub(super) scopes: Scopes,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) created_by: Option<Uuid>,
    pub(super) created_at: DateTime<Utc>,
}

pub(super) async fn insert_credential(conn: &mut PgConnection, new: NewCredential<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into credentials (credential_id, kind, app_id, name, secret_hash, prefix, last4, scopes, expires_at,
                                  created_by, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(new.credential_id)
    .bind(new.kind)
    .bind(new.app_id)
    .bind(new.name)
    .bind(new.secret_hash.as_slice())
    .bind(new.prefix)
    .bind(new.last4)
    .bind(new.scopes.names())
    .bind(new.expires_at)
    .bind(new.created_by)
    .bind(new.created_at)
    .execute(conn)
    .await
    .map(drop)
}

/// The live credential with this hash, if it belongs to the app.
pub(super) async fn find_id_by_hash(
    tx: &mut ServiceTx,
    app_id: Uuid,
    secret_hash: &[u8],
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar(
        "select credential_id from credentials where secret_hash = $1 and app_id = $2 and revoked_at is null",
    )
    .bind(secret_hash)
    .bind(app_id)
    .fetch_optional(tx.conn())
    .await
}

/// Revokes a live credential; false where there is none.
pub(super) async fn revoke(tx: &mut TenantTx, credential_id: Uuid, now: DateTime<Utc>) -> sqlx::Result<bool> {
    sqlx::query("update credentials set revoked_at = $2 where credential_id = $1 and revoked_at is null")
        .bind(credential_id)
        .bind(now)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}

/// An audit row to insert.
pub(super) struct AuditRow<'a> {
    pub(super) audit_id: Uuid,
    pub(super) app_id: Option<Uuid>,
    pub(super) occurred_at: DateTime<Utc>,
    pub(super) actor: String,
    pub(super) credential_id: Option<Uuid>,
    pub(super) user_id: Option<Uuid>,
    pub(super) surface: &'static str,
    pub(super) action: &'a str,
    pub(super) target: &'a str,
    pub(super) result: &'static str,
    pub(super) before_hash: Option<&'a str>,
    pub(super) after_hash: Option<&'a str>,
    pub(super) detail: &'a Value,
    pub(super) ip: Option<String>,
    pub(super) request_id: &'a str,
}

pub(super) async fn insert_audit(conn: &mut PgConnection, row: AuditRow<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into audit_events (audit_id, app_id, occurred_at, actor, credential_id, surface, action, target,
                                   result, before_hash, after_hash, detail, ip, request_id, user_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(row.audit_id)
    .bind(row.app_id)
    .bind(row.occurred_at)
    .bind(row.actor)
    .bind(row.credential_id)
    .bind(row.surface)
    .bind(row.action)
    .bind(row.target)
    .bind(row.result)
    .bind(row.before_hash)
    .bind(row.after_hash)
    .bind(row.detail)
    .bind(row.ip)
    .bind(row.request_id)
    .bind(row.user_id)
    .execute(conn)
    .await
    .map(drop)
}

/// An audit row as the tenant reads it.
#[derive(FromRow, Serialize)]
pub(super) struct AuditEvent {
    #[serde(rename = "id")]
    pub(super) audit_id: Uuid,
    pub(super) occurred_at: DateTime<Utc>,
    pub(super) actor: String,
    pub(super) credential_id: Option<Uuid>,
    pub(super) surface: String,
    pub(super) action: String,
    pub(super) target: String,
    pub(super) result: String,
    pub(super) before_hash: Option<String>,
    pub(super) after_hash: Option<String>,
    pub(super) detail: Value,
    pub(super) ip: Option<String>,
    pub(super) request_id: String,
}

/// Audit rows, newest first, `limit` of them older than `before`.
pub(super) async fn list_audit(
    tx: &mut TenantTx,
    before: Option<Uuid>,
    action: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<AuditEvent>> {
    sqlx::query_as(
        "select audit_id, occurred_at, actor, credential_id, surface, action, target, result, before_hash, after_hash,
                detail, ip, request_id
         from audit_events
         where ($1::uuid is null or audit_id < $1) and ($2::text is null or action = $2)
         order by audit_id desc limit $3",
    )
    .bind(before)
    .bind(action)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}
