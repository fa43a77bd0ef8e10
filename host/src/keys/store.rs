//! SQL of keys, one at a time; that of an app's providers as a whole is in `tenants`.

use crate::{secrets::envelope::Sealed, tenants::TenantTx};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

const COLUMNS: &str = "provider_key_id, provider, base_url, last4, version, last_used_at, updated_at";

/// A key as it is shown: all but itself.
#[derive(FromRow, Serialize)]
pub(super) struct KeyRow {
    #[serde(skip)]
    pub(super) provider_key_id: Uuid,
    provider: String,
    pub(super) base_url: Option<String>,
    pub(super) last4: Option<String>,
    version: i32,
    last_used_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
}

pub(super) struct NewKey<'a> {
    pub(super) provider_key_id: Uuid,
    pub(super) app_id: Uuid,
    pub(super) user_id: Option<Uuid>,
    pub(super) provider: &'a str,
    pub(super) base_url: Option<&'a str>,
    pub(super) dialect: Option<&'a str>,
    pub(super) last4: &'a str,
    pub(super) sealed: &'a Sealed,
    pub(super) at: DateTime<Utc>,
}

/// One writer of an app's keys at a time.
pub(super) async fn lock_app(tx: &mut TenantTx, app_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("select from apps where app_id = $1 for no key update")
        .bind(app_id)
        .execute(tx.conn())
        .await
        .map(drop)
}

pub(super) async fn list(tx: &mut TenantTx, user_id: Option<Uuid>) -> sqlx::Result<Vec<KeyRow>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {COLUMNS} from provider_keys
         where user_id is not distinct from $1 and last4 is not null order by provider"
    )))
    .bind(user_id)
    .fetch_all(tx.conn())
    .await
}

pub(super) async fn find(
    tx: &mut TenantTx,
    user_id: Option<Uuid>,
    provider: &str,
) -> sqlx::Result<Option<KeyRow>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {COLUMNS} from provider_keys where user_id is not distinct from $1 and provider = $2"
    )))
    .bind(user_id)
    .bind(provider)
    .fetch_optional(tx.conn())
    .await
}

pub(super) async fn count(tx: &mut TenantTx, user_id: Option<Uuid>) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from provider_keys where user_id is not distinct from $1")
        .bind(user_id)
        .fetch_one(tx.conn())
        .await
}

pub(super) async fn insert(tx: &mut TenantTx, new: NewKey<'_>) -> sqlx::Result<KeyRow> {
    sqlx::query_as(AssertSqlSafe(format!(
        "insert into provider_keys (provider_key_id, app_id, user_id, provider, base_url, kind, last4, encrypted_value,
                                    nonce, encrypted_data_key, data_key_nonce, key_version, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13) returning {COLUMNS}"
    )))
    .bind(new.provider_key_id)
    .bind(new.app_id)
    .bind(new.user_id)
    .bind(new.provider)
    .bind(new.base_url)
    .bind(new.dialect)
    .bind(new.last4)
    .bind(&new.sealed.ciphertext)
    .bind(&new.sealed.nonce)
    .bind(&new.sealed.wrapped_key)
    .bind(&new.sealed.wrapped_nonce)
    .bind(new.sealed.key_version)
    .bind(new.at)
    .fetch_one(tx.conn())
    .await
}

pub(super) async fn update(
    tx: &mut TenantTx,
    provider_key_id: Uuid,
    last4: &str,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> sqlx::Result<KeyRow> {
    sqlx::query_as(AssertSqlSafe(format!(
        "update provider_keys set version = version + (last4 is not null)::int, last4 = $2, encrypted_value = $3,
                                  nonce = $4, encrypted_data_key = $5, data_key_nonce = $6, key_version = $7,
                                  updated_at = $8
         where provider_key_id = $1 returning {COLUMNS}"
    )))
    .bind(provider_key_id)
    .bind(last4)
    .bind(&sealed.ciphertext)
    .bind(&sealed.nonce)
    .bind(&sealed.wrapped_key)
    .bind(&sealed.wrapped_nonce)
    .bind(sealed.key_version)
    .bind(now)
    .fetch_one(tx.conn())
    .await
}

/// Takes the key of a provider away and leaves the rest of it.
pub(super) async fn clear(
    tx: &mut TenantTx,
    provider_key_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<KeyRow> {
    sqlx::query_as(AssertSqlSafe(format!(
        "update provider_keys set last4 = null, encrypted_value = null, nonce = null, encrypted_data_key = null,
                                  data_key_nonce = null, key_version = null, updated_at = $2
         where provider_key_id = $1 returning {COLUMNS}"
    )))
    .bind(provider_key_id)
    .bind(now)
    .fetch_one(tx.conn())
    .await
}

pub(super) async fn delete(tx: &mut TenantTx, provider_key_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from provider_keys where provider_key_id = $1")
        .bind(provider_key_id)
        .execute(tx.conn())
        .await
        .map(drop)
}
