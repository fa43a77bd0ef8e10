//! All SQL of what is kept.

use super::Known;
use crate::tenants::ServiceTx;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

// === notes: when to look whether anything refers to bytes ===

fn lock_name(sha256: &str) -> String {
    format!("blob/{sha256}")
}

/// Waits until nobody else says that these bytes will be written, or removes them; until the transaction ends.
pub(super) async fn lock_bytes(tx: &mut ServiceTx, sha256: &str) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(lock_name(sha256))
        .execute(tx.conn())
        .await
        .map(drop)
}

/// The same without waiting; whether nobody else does.
pub(super) async fn try_lock_bytes(tx: &mut ServiceTx, sha256: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(lock_name(sha256))
        .fetch_one(tx.conn())
        .await
}

/// Notes when to look at bytes; what is to be looked at later than that stays so.
pub(super) async fn note(
    conn: &mut PgConnection,
    app_id: Option<Uuid>,
    sha256: &[String],
    due_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into blob_checks (sha256, app_id, due_at)
         select distinct unnest($1::text[]), $2::uuid, $3::timestamptz
         on conflict (sha256, app_id) do update set due_at = greatest(blob_checks.due_at, excluded.due_at)",
    )
    .bind(sha256)
    .bind(app_id)
    .bind(due_at)
    .execute(conn)
    .await
    .map(drop)
}

/// Puts an app's notes of these bytes off, and holds on to them until the transaction ends; how many there are.
pub(super) async fn hold(
    conn: &mut PgConnection,
    app_id: Uuid,
    sha256: &[String],
    due_at: DateTime<Utc>,
) -> sqlx::Result<u64> {
    sqlx::query("update blob_checks set due_at = greatest(due_at, $3) where app_id = $2 and sha256 = any($1)")
        .bind(sha256)
        .bind(app_id)
        .bind(due_at)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
}

/// Digests that are to be looked at, `limit` of them.
pub(super) async fn due(tx: &mut ServiceTx, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("select sha256 from blob_checks where due_at <= $1 order by due_at limit $2")
        .bind(now)
        .bind(limit)
        .fetch_all(tx.conn())
        .await
}

/// Takes away the notes of these bytes that are due. Waits for whoever holds on to one.
pub(super) async fn take_due(tx: &mut ServiceTx, sha256: &str, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("delete from blob_checks where sha256 = $1 and due_at <= $2")
        .bind(sha256)
        .bind(now)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Which of these digests nothing refers to, not a note either.
pub(super) async fn unneeded(tx: &mut ServiceTx, sha256: &[String]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select name from unnest($1::text[]) name
         where not exists (select from plugin_versions where sha256 = name)
           and not exists (select from plugin_versions where source_sha256 = name)
           and not exists (select from typescript_builds where sha256 = name)
           and not exists (select from blob_checks where sha256 = name)",
    )
    .bind(sha256)
    .fetch_all(tx.conn())
    .await
}

// === versions ===

/// The versions of a plugin, newest first.
pub(super) async fn versions(conn: &mut PgConnection, plugin_id: Uuid) -> sqlx::Result<Vec<Known>> {
    sqlx::query_as(
        "select v.version, coalesce(v.version = p.active_version, false) as runs,
                exists (select from plugin_reviews r where r.plugin_id = v.plugin_id and r.version = v.version) as passed
         from plugin_versions v join plugins p using (plugin_id) where v.plugin_id = $1 order by v.version desc",
    )
    .bind(plugin_id)
    .fetch_all(conn)
    .await
}

/// Removes these versions of a plugin, with their reviews and what was made of them. Their bytes are to be looked at.
pub(super) async fn remove_versions(
    conn: &mut PgConnection,
    (plugin_id, app_id): (Uuid, Uuid),
    versions: &[i32],
    due_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    release(&mut *conn, (plugin_id, app_id), Some(versions), due_at).await?;
    sqlx::query("delete from plugin_reviews where plugin_id = $1 and version = any($2)")
        .bind(plugin_id)
        .bind(versions)
        .execute(&mut *conn)
        .await?;
    sqlx::query("delete from plugin_versions where plugin_id = $1 and version = any($2)")
        .bind(plugin_id)
        .bind(versions)
        .execute(conn)
        .await
        .map(drop)
}

/// Notes all bytes of these versions of a plugin, or of all, which are about to be deleted.
pub(super) async fn release(
    conn: &mut PgConnection,
    (plugin_id, app_id): (Uuid, Uuid),
    versions: Option<&[i32]>,
    due_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into blob_checks (sha256, app_id, due_at)
         select sha256, $2::uuid, $3::timestamptz from (
           select unnest(array[sha256, source_sha256]) as sha256 from plugin_versions
           where plugin_id = $1 and ($4::int[] is null or version = any($4))
           union
           select sha256 from typescript_builds
           where plugin_id = $1 and ($4::int[] is null or version = any($4))) named
         where sha256 is not null
         on conflict (sha256, app_id) do update set due_at = greatest(blob_checks.due_at, excluded.due_at)",
    )
    .bind(plugin_id)
    .bind(app_id)
    .bind(due_at)
    .bind(versions)
    .execute(conn)
    .await
    .map(drop)
}

/// Removes what was made of a version for all but the `kept` runtimes it was last made for.
pub(super) async fn remove_older_builds(
    conn: &mut PgConnection,
    (plugin_id, version): (Uuid, i32),
    app_id: Uuid,
    kept: i64,
    due_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "with old as (
           delete from typescript_builds where plugin_id = $1 and version = $2 and runtime in (
             select runtime from typescript_builds where plugin_id = $1 and version = $2
             order by made_at desc, runtime offset $4)
           returning sha256)
         insert into blob_checks (sha256, app_id, due_at)
         select distinct sha256, $3::uuid, $5::timestamptz from old where sha256 is not null
         on conflict (sha256, app_id) do update set due_at = greatest(blob_checks.due_at, excluded.due_at)",
    )
    .bind(plugin_id)
    .bind(version)
    .bind(app_id)
    .bind(kept)
    .bind(due_at)
    .execute(conn)
    .await
    .map(drop)
}

/// Plugins with more versions than this, each with its app.
pub(super) async fn with_more_versions(tx: &mut ServiceTx, than: i64) -> sqlx::Result<Vec<(Uuid, Uuid)>> {
    sqlx::query_as(
        "select plugin_id, app_id from plugin_versions group by plugin_id, app_id having count(*) > $1",
    )
    .bind(than)
    .fetch_all(tx.conn())
    .await
}

// === deleted apps ===

/// Apps that were deleted before this and still have something here, `limit` of them.
pub(super) async fn deleted_apps(
    tx: &mut ServiceTx,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select app_id from apps a where status = 'deleted' and deleted_at <= $1
           and (exists (select from plugins p where p.app_id = a.app_id)
             or exists (select from plugin_kv k where k.app_id = a.app_id)
             or exists (select from plugin_grants g where g.app_id = a.app_id)
             or exists (select from tool_runs r where r.app_id = a.app_id))
         order by deleted_at limit $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Plugins of an app, `limit` of them.
pub(super) async fn plugins_of(tx: &mut ServiceTx, app_id: Uuid, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("select plugin_id from plugins where app_id = $1 limit $2")
        .bind(app_id)
        .bind(limit)
        .fetch_all(tx.conn())
        .await
}

/// Removes a plugin with its versions, their reviews and what was made of them.
pub(super) async fn remove_plugin(tx: &mut ServiceTx, plugin_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from plugins where plugin_id = $1").bind(plugin_id).execute(tx.conn()).await.map(drop)
}

/// Removes what plugins of an app stored, were granted and did, `limit` rows of each; how many it was.
pub(super) async fn remove_leavings(tx: &mut ServiceTx, app_id: Uuid, limit: i64) -> sqlx::Result<u64> {
    let mut removed = 0;
    for statement in [
        "delete from plugin_kv where app_id = $1 and (namespace, key) in (
           select namespace, key from plugin_kv where app_id = $1 limit $2)",
        "delete from tool_runs where run_id in (select run_id from tool_runs where app_id = $1 limit $2)",
        // Some hundreds at the most; all of them, whatever the limit.
        "delete from plugin_grants where app_id = $1 and $2 > 0",
    ] {
        let done = sqlx::query(statement).bind(app_id).bind(limit).execute(tx.conn()).await?;
        removed += done.rows_affected();
    }
    Ok(removed)
}
