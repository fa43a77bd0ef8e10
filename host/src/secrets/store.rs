//! All SQL of secrets.

use super::{Place, envelope::Sealed};
use crate::tenants::{ServiceTx, TenantTx};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

/// A secret as a tenant sees it.
#[derive(FromRow, Serialize)]
pub(super) struct SecretRow {
    pub(super) name: String,
    pub(super) updated_at: DateTime<Utc>,
    /// Where a push may send it.
    pub(super) push_hosts: Vec<String>,
}

pub(super) async fn list(tx: &mut TenantTx, after: Option<&str>, limit: i64) -> sqlx::Result<Vec<SecretRow>> {
    sqlx::query_as(
        "select name, updated_at, push_hosts from secrets where ($1::text is null or name > $1) order by name limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

pub(super) async fn exists(tx: &mut TenantTx, name: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from secrets where name = $1)")
        .bind(name)
        .fetch_one(tx.conn())
        .await
}

pub(super) async fn count(tx: &mut TenantTx) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from secrets").fetch_one(tx.conn()).await
}

/// Which plugins were granted each secret: `(NAME, kind/plugin)`.
pub(super) async fn used_by(tx: &mut TenantTx) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as(
        "select split_part(target, '@', 1), plugin_kind || '/' || plugin_name from plugin_grants
         where kind = 'secret' group by 1, 2 order by 1, 2",
    )
    .fetch_all(tx.conn())
    .await
}

/// The id of the secret of this name, if there is one.
pub(super) async fn find_id(tx: &mut TenantTx, name: &str) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar("select secret_id from secrets where name = $1")
        .bind(name)
        .fetch_optional(tx.conn())
        .await
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    app_id: Uuid,
    secret_id: Uuid,
    name: &str,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into secrets (secret_id, app_id, name, encrypted_value, nonce, encrypted_data_key, data_key_nonce,
                              key_version, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)",
    )
    .bind(secret_id)
    .bind(app_id)
    .bind(name)
    .bind(&sealed.ciphertext)
    .bind(&sealed.nonce)
    .bind(&sealed.wrapped_key)
    .bind(&sealed.wrapped_nonce)
    .bind(sealed.key_version)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

pub(super) async fn update(
    tx: &mut TenantTx,
    secret_id: Uuid,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update secrets set encrypted_value = $2, nonce = $3, encrypted_data_key = $4, data_key_nonce = $5,
                            key_version = $6, updated_at = $7
         where secret_id = $1",
    )
    .bind(secret_id)
    .bind(&sealed.ciphertext)
    .bind(&sealed.nonce)
    .bind(&sealed.wrapped_key)
    .bind(&sealed.wrapped_nonce)
    .bind(sealed.key_version)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Says where a push may send a secret; whether there is one of this name.
pub(super) async fn set_push_hosts(tx: &mut TenantTx, name: &str, hosts: &[String]) -> sqlx::Result<bool> {
    sqlx::query("update secrets set push_hosts = $2 where name = $1")
        .bind(name)
        .bind(hosts)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}

/// Whether there is a secret of this name that a push may send to this host.
pub(super) async fn may_be_pushed(tx: &mut TenantTx, name: &str, host: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from secrets where name = $1 and $2 = any(push_hosts))")
        .bind(name)
        .bind(host)
        .fetch_one(tx.conn())
        .await
}

pub(super) async fn delete(tx: &mut TenantTx, name: &str) -> sqlx::Result<bool> {
    sqlx::query("delete from secrets where name = $1")
        .bind(name)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}

/// Takes the app's lock on its secrets until the transaction ends.
pub(super) async fn lock(tx: &mut TenantTx, app_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("secrets/{app_id}"))
        .execute(tx.conn())
        .await
        .map(drop)
}

/// An envelope's columns, in whatever table, with its row's key as `row_id`.
#[derive(FromRow)]
pub(crate) struct Envelope {
    row_id: Uuid,
    encrypted_value: Vec<u8>,
    nonce: Vec<u8>,
    encrypted_data_key: Vec<u8>,
    data_key_nonce: Vec<u8>,
    key_version: i32,
}

impl Envelope {
    /// The row, and what is sealed for it.
    pub(crate) fn into_parts(self) -> (Uuid, Sealed) {
        let sealed = Sealed {
            ciphertext: self.encrypted_value,
            nonce: self.nonce,
            wrapped_key: self.encrypted_data_key,
            wrapped_nonce: self.data_key_nonce,
            key_version: self.key_version,
        };
        (self.row_id, sealed)
    }
}

/// For the service role only: a tenant's transaction cannot read these columns.
pub(super) async fn find_envelope(
    tx: &mut ServiceTx,
    app_id: Uuid,
    name: &str,
) -> sqlx::Result<Option<(Uuid, Sealed)>> {
    let found: Option<Envelope> = sqlx::query_as(
        "select secret_id as row_id, encrypted_value, nonce, encrypted_data_key, data_key_nonce, key_version
         from secrets where app_id = $1 and name = $2",
    )
    .bind(app_id)
    .bind(name)
    .fetch_optional(tx.conn())
    .await?;
    Ok(found.map(Envelope::into_parts))
}

/// As [`find_envelope`], where a push may send it to this host.
pub(super) async fn find_pushed_envelope(
    tx: &mut ServiceTx,
    app_id: Uuid,
    name: &str,
    host: &str,
) -> sqlx::Result<Option<(Uuid, Sealed)>> {
    let found: Option<Envelope> = sqlx::query_as(
        "select secret_id as row_id, encrypted_value, nonce, encrypted_data_key, data_key_nonce, key_version
         from secrets where app_id = $1 and name = $2 and $3 = any(push_hosts)",
    )
    .bind(app_id)
    .bind(name)
    .bind(host)
    .fetch_optional(tx.conn())
    .await?;
    Ok(found.map(Envelope::into_parts))
}

/// Those of these names, as [`find_envelope`].
pub(super) async fn find_envelopes(
    tx: &mut ServiceTx,
    app_id: Uuid,
    names: &[&str],
) -> sqlx::Result<Vec<(String, Uuid, Sealed)>> {
    #[derive(FromRow)]
    struct Named {
        name: String,
        #[sqlx(flatten)]
        envelope: Envelope,
    }
    let found: Vec<Named> = sqlx::query_as(
        "select name, secret_id as row_id, encrypted_value, nonce, encrypted_data_key, data_key_nonce, key_version
         from secrets where app_id = $1 and name = any($2)",
    )
    .bind(app_id)
    .bind(names)
    .fetch_all(tx.conn())
    .await?;
    let parts = |Named { name, envelope }| {
        let (secret_id, sealed) = envelope.into_parts();
        (name, secret_id, sealed)
    };
    Ok(found.into_iter().map(parts).collect())
}

/// Envelopes of a table whose data key another master key wraps, by id, after this one.
pub(super) async fn wrapped_by_others(
    tx: &mut ServiceTx,
    place: Place,
    key_version: i32,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<(Uuid, Sealed)>> {
    let found: Vec<Envelope> = sqlx::query_as(AssertSqlSafe(format!(
        "select {key} as row_id, encrypted_value, nonce, encrypted_data_key, data_key_nonce, key_version
         from {table} where key_version <> $1 and {key} > $2 order by {key} limit $3 for update skip locked",
        key = place.key,
        table = place.table,
    )))
    .bind(key_version)
    .bind(after)
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    Ok(found.into_iter().map(Envelope::into_parts).collect())
}

/// Stores a data key wrapped anew.
pub(super) async fn rewrap(
    tx: &mut ServiceTx,
    place: Place,
    row_id: Uuid,
    fresh: &Sealed,
) -> sqlx::Result<()> {
    sqlx::query(AssertSqlSafe(format!(
        "update {table} set encrypted_data_key = $2, data_key_nonce = $3, key_version = $4 where {key} = $1",
        key = place.key,
        table = place.table,
    )))
    .bind(row_id)
    .bind(&fresh.wrapped_key)
    .bind(&fresh.wrapped_nonce)
    .bind(fresh.key_version)
    .execute(tx.conn())
    .await
    .map(drop)
}
