//! All SQL of idempotency keys.

use super::claim::Names;
use crate::{
    limits::{
        IDEMPOTENCY_BYTES_PER_CREDENTIAL_MAX, IDEMPOTENCY_KEY_LIFE, IDEMPOTENCY_KEYS_PER_CREDENTIAL_MAX,
        IDEMPOTENCY_LEASE,
    },
    secrets::envelope::Sealed,
    tenants::ServiceTx,
};
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

/// A key that is not free.
#[derive(FromRow)]
pub(super) struct Taken {
    pub(super) idempotency_key_id: Uuid,
    pub(super) request_hash: Vec<u8>,
    pub(super) answered_at: Option<DateTime<Utc>>,
    encrypted_value: Option<Vec<u8>>,
    nonce: Option<Vec<u8>>,
    encrypted_data_key: Option<Vec<u8>>,
    data_key_nonce: Option<Vec<u8>>,
    key_version: Option<i32>,
}

impl Taken {
    /// What was answered; none where it was too large to be kept.
    pub(super) fn sealed(self) -> Option<Sealed> {
        Some(Sealed {
            ciphertext: self.encrypted_value?,
            nonce: self.nonce?,
            wrapped_key: self.encrypted_data_key?,
            wrapped_nonce: self.data_key_nonce?,
            key_version: self.key_version?,
        })
    }
}

/// Takes a key that nobody has, or whose time is over; whether it was taken.
pub(super) async fn take(
    tx: &mut ServiceTx,
    id: Uuid,
    names: &Names,
    process_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "insert into idempotency_keys (idempotency_key_id, key_hash, owner_hash, credential_id, app_id, request_hash,
                                       process_id, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (key_hash) do update set
           idempotency_key_id = excluded.idempotency_key_id, request_hash = excluded.request_hash,
           process_id = excluded.process_id, created_at = excluded.created_at, expires_at = excluded.expires_at,
           answered_at = null, answer_bytes = 0, encrypted_value = null, nonce = null, encrypted_data_key = null,
           data_key_nonce = null, key_version = null
         where idempotency_keys.expires_at <= excluded.created_at",
    )
    .bind(id)
    .bind(names.key.as_slice())
    .bind(names.owner.as_slice())
    .bind(names.credential_id)
    .bind(names.app_id)
    .bind(names.request.as_slice())
    .bind(process_id)
    .bind(now)
    .bind(now + IDEMPOTENCY_LEASE)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

pub(super) async fn find(
    tx: &mut ServiceTx,
    names: &Names,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Taken>> {
    sqlx::query_as(
        "select idempotency_key_id, request_hash, answered_at, encrypted_value, nonce, encrypted_data_key,
                data_key_nonce, key_version
         from idempotency_keys where key_hash = $1 and expires_at > $2",
    )
    .bind(names.key.as_slice())
    .bind(now)
    .fetch_optional(tx.conn())
    .await
}

/// Says that what a key was taken for is still being done.
pub(super) async fn renew(tx: &mut ServiceTx, id: Uuid, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "update idempotency_keys set expires_at = $2 where idempotency_key_id = $1 and answered_at is null",
    )
    .bind(id)
    .bind(now + IDEMPOTENCY_LEASE)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Keeps what was answered; `sealed` is none where it is too large. Whether the key was still this try's.
pub(super) async fn keep(
    tx: &mut ServiceTx,
    id: Uuid,
    sealed: Option<&Sealed>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let bytes = sealed.map_or(0, |sealed| sealed.ciphertext.len());
    sqlx::query(
        "update idempotency_keys set answered_at = $2, expires_at = $3, answer_bytes = $4, encrypted_value = $5,
                nonce = $6, encrypted_data_key = $7, data_key_nonce = $8, key_version = $9
         where idempotency_key_id = $1 and answered_at is null",
    )
    .bind(id)
    .bind(now)
    .bind(now + IDEMPOTENCY_KEY_LIFE)
    .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
    .bind(sealed.map(|sealed| &sealed.ciphertext))
    .bind(sealed.map(|sealed| &sealed.nonce))
    .bind(sealed.map(|sealed| &sealed.wrapped_key))
    .bind(sealed.map(|sealed| &sealed.wrapped_nonce))
    .bind(sealed.map(|sealed| sealed.key_version))
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Makes a key free that was taken and not answered.
pub(super) async fn free(tx: &mut ServiceTx, id: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from idempotency_keys where idempotency_key_id = $1 and answered_at is null")
        .bind(id)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Makes those free that other processes took and did not answer; how many.
pub(super) async fn free_of_others(tx: &mut ServiceTx, process_id: Uuid) -> sqlx::Result<u64> {
    sqlx::query("delete from idempotency_keys where answered_at is null and process_id <> $1")
        .bind(process_id)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected())
}

/// `limit` of those whose time is over; how many it was. By the index on it: where there is none, one look tells.
pub(super) async fn delete_expired(tx: &mut ServiceTx, now: DateTime<Utc>, limit: i64) -> sqlx::Result<u64> {
    sqlx::query(
        "delete from idempotency_keys where idempotency_key_id = any(array(
           select idempotency_key_id from idempotency_keys where expires_at <= $1
           order by expires_at limit $2 for update skip locked))",
    )
    .bind(now)
    .bind(limit)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected())
}

/// Whose keys were answered since: who may have too many now. An answered key ends as long after its answer as all do,
/// so the index on when they end tells that as well.
pub(super) async fn owners_answered_since(
    tx: &mut ServiceTx,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<Vec<u8>>> {
    sqlx::query_scalar("select distinct owner_hash from idempotency_keys where expires_at > $1")
        .bind(since + IDEMPOTENCY_KEY_LIFE)
        .fetch_all(tx.conn())
        .await
}

/// `limit` of those that are beyond what a credential keeps, the oldest first, so that what is left is ranked as
/// before; how many it was.
pub(super) async fn delete_surplus(tx: &mut ServiceTx, owner: &[u8], limit: i64) -> sqlx::Result<u64> {
    let (keys, bytes): (i64, i64) = sqlx::query_as(
        "select count(*), coalesce(sum(answer_bytes), 0)::bigint from idempotency_keys where owner_hash = $1",
    )
    .bind(owner)
    .fetch_one(tx.conn())
    .await?;
    if keys <= IDEMPOTENCY_KEYS_PER_CREDENTIAL_MAX && bytes <= IDEMPOTENCY_BYTES_PER_CREDENTIAL_MAX {
        return Ok(0);
    }
    sqlx::query(
        "delete from idempotency_keys where idempotency_key_id = any(array(
           select idempotency_key_id from (
             select idempotency_key_id, answered_at, row_number() over newest as place,
                    sum(answer_bytes) over newest as bytes
             from idempotency_keys where owner_hash = $1
             window newest as (order by created_at desc, idempotency_key_id desc)) ranked
           where answered_at is not null and (place > $2 or bytes > $3) order by place desc limit $4))",
    )
    .bind(owner)
    .bind(IDEMPOTENCY_KEYS_PER_CREDENTIAL_MAX)
    .bind(IDEMPOTENCY_BYTES_PER_CREDENTIAL_MAX)
    .bind(limit)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected())
}
