//! All SQL of the raw gateway.

use super::files::File;
use crate::tenants::{ServiceTx, TenantTx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

pub(super) struct NewFile<'a> {
    pub(super) file_id: Uuid,
    pub(super) app_id: Uuid,
    pub(super) media_type: &'a str,
    pub(super) content: &'a [u8],
    pub(super) expires_at: DateTime<Utc>,
}

pub(super) async fn insert(tx: &mut TenantTx, new: NewFile<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into ai_files (file_id, app_id, media_type, content, expires_at) values ($1, $2, $3, $4, $5)",
    )
    .bind(new.file_id)
    .bind(new.app_id)
    .bind(new.media_type)
    .bind(new.content)
    .bind(new.expires_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Removes the app's oldest files that are more than `bytes_max` together with all that are newer.
pub(super) async fn delete_oldest(tx: &mut TenantTx, bytes_max: i64) -> sqlx::Result<()> {
    sqlx::query(
        "delete from ai_files where file_id in (
           select file_id from (
             select file_id, sum(octet_length(content)) over (order by file_id desc) as bytes from ai_files
           ) as newest_first
           where bytes > $1)",
    )
    .bind(bytes_max)
    .execute(tx.conn())
    .await
    .map(drop)
}

pub(super) async fn find(tx: &mut TenantTx, file_id: Uuid, now: DateTime<Utc>) -> sqlx::Result<Option<File>> {
    sqlx::query_as("select media_type, content from ai_files where file_id = $1 and expires_at > $2")
        .bind(file_id)
        .bind(now)
        .fetch_optional(tx.conn())
        .await
}

/// `limit` of those that expired; how many it was.
pub(super) async fn delete_expired(tx: &mut ServiceTx, now: DateTime<Utc>, limit: i64) -> sqlx::Result<u64> {
    sqlx::query(
        "delete from ai_files where file_id in (
           select file_id from ai_files where expires_at <= $1 order by expires_at limit $2)",
    )
    .bind(now)
    .bind(limit)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected())
}
