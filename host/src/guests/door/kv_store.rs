//! All SQL of plugins' key-value stores.

use crate::tenants::TenantTx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Takes the namespace's lock, so that writing and counting are one step.
pub(super) async fn lock(tx: &mut TenantTx, app_id: Uuid, namespace: &str) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("kv/{app_id}/{namespace}"))
        .execute(tx.conn())
        .await
        .map(drop)
}

pub(super) async fn get(tx: &mut TenantTx, namespace: &str, key: &str) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar("select value from plugin_kv where namespace = $1 and key = $2")
        .bind(namespace)
        .bind(key)
        .fetch_optional(tx.conn())
        .await
}

pub(super) async fn set(
    tx: &mut TenantTx,
    app_id: Uuid,
    namespace: &str,
    key: &str,
    value: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into plugin_kv (app_id, namespace, key, value, updated_at) values ($1, $2, $3, $4, $5)
         on conflict (app_id, namespace, key) do update set value = excluded.value, updated_at = excluded.updated_at",
    )
    .bind(app_id)
    .bind(namespace)
    .bind(key)
    .bind(value)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

pub(super) async fn count(tx: &mut TenantTx, namespace: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from plugin_kv where namespace = $1")
        .bind(namespace)
        .fetch_one(tx.conn())
        .await
}

pub(super) async fn delete(tx: &mut TenantTx, namespace: &str, key: &str) -> sqlx::Result<()> {
    sqlx::query("delete from plugin_kv where namespace = $1 and key = $2")
        .bind(namespace)
        .bind(key)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Keys with this prefix, sorted; `starts_with`, for `_` and `%` are characters like others.
pub(super) async fn keys(
    tx: &mut TenantTx,
    namespace: &str,
    prefix: &str,
    limit: i64,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select key from plugin_kv where namespace = $1 and starts_with(key, $2) order by key collate \"C\" limit $3",
    )
    .bind(namespace)
    .bind(prefix)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}
