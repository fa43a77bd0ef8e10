//! The SQL of command lines that ask to be let in.

use crate::{grants::Scopes, tenants::ServiceTx};
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

/// A request to insert.
pub(in crate::people) struct NewDeviceRequest<'a> {
    pub(in crate::people) device_code_hash: [u8; 32],
    pub(in crate::people) user_code_hash: [u8; 32],
    pub(in crate::people) client: &'a str,
    pub(in crate::people) hostname: &'a str,
    pub(in crate::people) ip: Option<String>,
    pub(in crate::people) scopes: Scopes,
    pub(in crate::people) interval_s: i32,
    pub(in crate::people) now: DateTime<Utc>,
    pub(in crate::people) expires_at: DateTime<Utc>,
}

pub(in crate::people) async fn insert_device_request(
    tx: &mut ServiceTx,
    new: &NewDeviceRequest<'_>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into device_requests (device_code_hash, user_code_hash, client, hostname, ip, scopes, interval_s,
                                      created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(new.device_code_hash.as_slice())
    .bind(new.user_code_hash.as_slice())
    .bind(new.client)
    .bind(new.hostname)
    .bind(new.ip.as_deref())
    .bind(new.scopes.names())
    .bind(new.interval_s)
    .bind(new.now)
    .bind(new.expires_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// A request of a command line.
#[derive(FromRow)]
pub(in crate::people) struct DeviceRequest {
    pub(in crate::people) device_code_hash: Vec<u8>,
    pub(in crate::people) client: String,
    pub(in crate::people) hostname: String,
    pub(in crate::people) ip: Option<String>,
    pub(in crate::people) scopes: Vec<String>,
    pub(in crate::people) status: String,
    pub(in crate::people) user_id: Option<Uuid>,
    pub(in crate::people) app_ids: Option<Vec<Uuid>>,
    pub(in crate::people) ends_at: Option<DateTime<Utc>>,
    pub(in crate::people) interval_s: i32,
    pub(in crate::people) polled_at: Option<DateTime<Utc>>,
    pub(in crate::people) created_at: DateTime<Utc>,
    pub(in crate::people) expires_at: DateTime<Utc>,
}

const DEVICE_REQUEST_COLUMNS: &str = "device_code_hash, client, hostname, ip, scopes, status, user_id, app_ids, ends_at, \
    interval_s, polled_at, created_at, expires_at";

/// The request under this user code that waits for a decision, held until the transaction ends.
pub(in crate::people) async fn lock_by_user_code(
    tx: &mut ServiceTx,
    user_code_hash: &[u8],
) -> sqlx::Result<Option<DeviceRequest>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {DEVICE_REQUEST_COLUMNS} from device_requests
         where user_code_hash = $1 and status = 'pending' for update"
    )))
    .bind(user_code_hash)
    .fetch_optional(tx.conn())
    .await
}

/// Who let a program in; none: nobody, or there is no such request.
pub(in crate::people) async fn approver(
    tx: &mut ServiceTx,
    device_code_hash: &[u8],
) -> sqlx::Result<Option<Uuid>> {
    let found = sqlx::query_scalar("select user_id from device_requests where device_code_hash = $1");
    found.bind(device_code_hash).fetch_optional(tx.conn()).await.map(Option::flatten)
}

/// The request under this device code, held until the transaction ends.
pub(in crate::people) async fn lock_by_device_code(
    tx: &mut ServiceTx,
    device_code_hash: &[u8],
) -> sqlx::Result<Option<DeviceRequest>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {DEVICE_REQUEST_COLUMNS} from device_requests where device_code_hash = $1 for update"
    )))
    .bind(device_code_hash)
    .fetch_optional(tx.conn())
    .await
}

/// What was approved.
pub(in crate::people) struct Approved<'a> {
    pub(in crate::people) user_id: Uuid,
    pub(in crate::people) scopes: Scopes,
    pub(in crate::people) app_ids: Option<&'a [Uuid]>,
    pub(in crate::people) ends_at: DateTime<Utc>,
}

pub(in crate::people) async fn approve_device_request(
    tx: &mut ServiceTx,
    device_code_hash: &[u8],
    to: &Approved<'_>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update device_requests set status = 'approved', user_id = $2, scopes = $3, app_ids = $4, ends_at = $5
         where device_code_hash = $1",
    )
    .bind(device_code_hash)
    .bind(to.user_id)
    .bind(to.scopes.names())
    .bind(to.app_ids)
    .bind(to.ends_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

pub(in crate::people) async fn deny_device_request(
    tx: &mut ServiceTx,
    device_code_hash: &[u8],
) -> sqlx::Result<()> {
    sqlx::query("update device_requests set status = 'denied' where device_code_hash = $1")
        .bind(device_code_hash)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Turns away programs that a person let in and that have not come for their tokens yet.
pub(in crate::people) async fn deny_approved(tx: &mut ServiceTx, user_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("update device_requests set status = 'denied' where user_id = $1 and status = 'approved'")
        .bind(user_id)
        .execute(tx.conn())
        .await
        .map(drop)
}

pub(in crate::people) async fn use_device_request(
    tx: &mut ServiceTx,
    device_code_hash: &[u8],
) -> sqlx::Result<()> {
    sqlx::query("update device_requests set status = 'used' where device_code_hash = $1")
        .bind(device_code_hash)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Writes down that a program asked, and that it has to wait so much longer from now on.
pub(in crate::people) async fn polled(
    tx: &mut ServiceTx,
    device_code_hash: &[u8],
    now: DateTime<Utc>,
    longer_s: i32,
) -> sqlx::Result<()> {
    sqlx::query(
        "update device_requests set polled_at = $2, interval_s = interval_s + $3 where device_code_hash = $1",
    )
    .bind(device_code_hash)
    .bind(now)
    .bind(longer_s)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Removes requests that expired before `before`.
pub(in crate::people) async fn delete_device_requests(
    tx: &mut ServiceTx,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("delete from device_requests where expires_at < $1")
        .bind(before)
        .execute(tx.conn())
        .await
        .map(drop)
}
