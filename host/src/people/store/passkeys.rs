//! The SQL of passkeys, and of what was begun with a browser to make or use one.

use crate::tenants::{PersonTx, ServiceTx};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

/// A ceremony to write down.
pub(in crate::people) struct NewCeremony {
    pub(in crate::people) ceremony_hash: [u8; 32],
    /// Who makes a passkey; none where somebody signs in.
    pub(in crate::people) user_id: Option<Uuid>,
    pub(in crate::people) state: Value,
    pub(in crate::people) now: DateTime<Utc>,
    pub(in crate::people) expires_at: DateTime<Utc>,
}

/// Writes a ceremony down, in the place of the one that its person had begun before.
pub(in crate::people) async fn put_ceremony(tx: &mut ServiceTx, new: &NewCeremony) -> sqlx::Result<()> {
    sqlx::query("delete from passkey_ceremonies where user_id = $1")
        .bind(new.user_id)
        .execute(tx.conn())
        .await?;
    sqlx::query(
        "insert into passkey_ceremonies (ceremony_hash, user_id, state, created_at, expires_at)
         values ($1, $2, $3, $4, $5)",
    )
    .bind(new.ceremony_hash.as_slice())
    .bind(new.user_id)
    .bind(&new.state)
    .bind(new.now)
    .bind(new.expires_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// A ceremony whose answer came.
#[derive(FromRow)]
pub(in crate::people) struct FoundCeremony {
    pub(in crate::people) state: Value,
    pub(in crate::people) expires_at: DateTime<Utc>,
}

/// Takes a ceremony out, so that nobody finds it again: this person's, or one of somebody who signs in.
pub(in crate::people) async fn take_ceremony(
    tx: &mut ServiceTx,
    ceremony_hash: &[u8],
    user_id: Option<Uuid>,
) -> sqlx::Result<Option<FoundCeremony>> {
    sqlx::query_as(
        "delete from passkey_ceremonies where ceremony_hash = $1 and user_id is not distinct from $2
         returning state, expires_at",
    )
    .bind(ceremony_hash)
    .bind(user_id)
    .fetch_optional(tx.conn())
    .await
}

/// Removes ceremonies that expired before `before`.
pub(in crate::people) async fn delete_ceremonies(
    tx: &mut ServiceTx,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("delete from passkey_ceremonies where expires_at < $1")
        .bind(before)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// A passkey to keep.
pub(in crate::people) struct NewPasskey<'a> {
    pub(in crate::people) passkey_id: Uuid,
    pub(in crate::people) user_id: Uuid,
    pub(in crate::people) rp_id: &'a str,
    pub(in crate::people) credential_id: &'a [u8],
    pub(in crate::people) name: &'a str,
    pub(in crate::people) passkey: Value,
    pub(in crate::people) now: DateTime<Utc>,
}

/// Keeps one; false where somebody has one of its id.
pub(in crate::people) async fn insert_passkey(
    tx: &mut ServiceTx,
    new: &NewPasskey<'_>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "insert into user_passkeys (passkey_id, user_id, rp_id, credential_id, name, passkey, created_at)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (rp_id, credential_id) do nothing",
    )
    .bind(new.passkey_id)
    .bind(new.user_id)
    .bind(new.rp_id)
    .bind(new.credential_id)
    .bind(new.name)
    .bind(&new.passkey)
    .bind(new.now)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// What a person's authenticators call the passkeys they have at this name of ours.
pub(in crate::people) async fn credential_ids(
    tx: &mut ServiceTx,
    user_id: Uuid,
    rp_id: &str,
) -> sqlx::Result<Vec<Vec<u8>>> {
    sqlx::query_scalar("select credential_id from user_passkeys where user_id = $1 and rp_id = $2")
        .bind(user_id)
        .bind(rp_id)
        .fetch_all(tx.conn())
        .await
}

pub(in crate::people) async fn count_passkeys(tx: &mut ServiceTx, user_id: Uuid) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from user_passkeys where user_id = $1")
        .bind(user_id)
        .fetch_one(tx.conn())
        .await
}

/// A passkey that somebody signs in with.
#[derive(FromRow)]
pub(in crate::people) struct FoundPasskey {
    pub(in crate::people) passkey_id: Uuid,
    pub(in crate::people) passkey: Value,
}

/// A person's passkey, where they may sign in; held until the transaction ends, because its counter only rises.
pub(in crate::people) async fn lock_passkey(
    tx: &mut ServiceTx,
    user_id: Uuid,
    (rp_id, credential_id): (&str, &[u8]),
) -> sqlx::Result<Option<FoundPasskey>> {
    sqlx::query_as(
        "select p.passkey_id, p.passkey from user_passkeys p join users u using (user_id)
         where p.user_id = $1 and p.rp_id = $2 and p.credential_id = $3 and u.disabled_at is null for update of p",
    )
    .bind(user_id)
    .bind(rp_id)
    .bind(credential_id)
    .fetch_optional(tx.conn())
    .await
}

/// Writes down that one was used, and what changed of it.
pub(in crate::people) async fn passkey_used(
    tx: &mut ServiceTx,
    found: &FoundPasskey,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("update user_passkeys set passkey = $2, last_used_at = $3 where passkey_id = $1")
        .bind(found.passkey_id)
        .bind(&found.passkey)
        .bind(now)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// A passkey, as its person reads it.
#[derive(FromRow, Serialize)]
pub(in crate::people) struct MyPasskey {
    #[serde(rename = "id")]
    pub(in crate::people) passkey_id: Uuid,
    pub(in crate::people) name: String,
    pub(in crate::people) rp_id: String,
    pub(in crate::people) created_at: DateTime<Utc>,
    pub(in crate::people) last_used_at: Option<DateTime<Utc>>,
}

/// The person's, the oldest first: no more than one may have.
pub(in crate::people) async fn my_passkeys(tx: &mut PersonTx) -> sqlx::Result<Vec<MyPasskey>> {
    sqlx::query_as(
        "select passkey_id, name, rp_id, created_at, last_used_at from user_passkeys
         where user_id = current_user_id() order by passkey_id",
    )
    .fetch_all(tx.conn())
    .await
}

/// Removes one of a person's; false where they have no such.
pub(in crate::people) async fn delete_passkey(
    tx: &mut ServiceTx,
    user_id: Uuid,
    passkey_id: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query("delete from user_passkeys where user_id = $1 and passkey_id = $2")
        .bind(user_id)
        .bind(passkey_id)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}

/// Removes all of a person's, and what they had begun.
pub(in crate::people) async fn delete_passkeys(tx: &mut ServiceTx, user_id: Uuid) -> sqlx::Result<()> {
    for of in
        ["delete from user_passkeys where user_id = $1", "delete from passkey_ceremonies where user_id = $1"]
    {
        sqlx::query(of).bind(user_id).execute(tx.conn()).await?;
    }
    Ok(())
}
