//! All SQL of links.

use crate::tenants::{ServiceTx, TenantTx};
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

/// Keeps a link in the place of the one there was. The caller holds the session's row.
pub(super) async fn replace(
    tx: &mut TenantTx,
    (session_id, app_id): (Uuid, Uuid),
    secret_hash: [u8; 32],
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    delete(tx, session_id).await?;
    sqlx::query(
        "insert into session_shares (session_id, app_id, secret_hash, created_at, expires_at)
         values ($1, $2, $3, $4, $5)",
    )
    .bind(session_id)
    .bind(app_id)
    .bind(secret_hash.as_slice())
    .bind(now)
    .bind(expires_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Whether there was one.
pub(super) async fn delete(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<bool> {
    sqlx::query("delete from session_shares where session_id = $1")
        .bind(session_id)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}

/// What a link opens.
#[derive(FromRow)]
pub(super) struct Found {
    pub(super) session_id: Uuid,
    pub(super) title: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
}

/// The session of a link, where it and the session live and its app allows it.
pub(super) async fn find(
    tx: &mut ServiceTx,
    secret_hash: [u8; 32],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Found>> {
    sqlx::query_as(
        "select s.session_id, s.title, s.created_at, l.expires_at
         from session_shares l join sessions s using (session_id) join apps a on a.app_id = l.app_id
         where l.secret_hash = $1 and l.expires_at > $2 and s.expires_at > $2
           and a.status = 'active' and a.session_sharing",
    )
    .bind(secret_hash.as_slice())
    .bind(now)
    .fetch_optional(tx.conn())
    .await
}
