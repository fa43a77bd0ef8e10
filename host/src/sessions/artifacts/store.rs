//! All SQL of artifacts.

use crate::tenants::{ServiceTx, TenantTx};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

/// An artifact.
#[derive(Clone, Debug, FromRow, Serialize)]
pub(crate) struct Artifact {
    #[serde(rename = "id")]
    pub(super) artifact_id: Uuid,
    pub(super) kind: String,
    #[serde(skip)]
    pub(super) path: String,
    pub(super) bytes: i64,
    pub(super) sha256: String,
    pub(super) created_at: DateTime<Utc>,
}

/// Those of a session, the latest first.
pub(super) async fn list(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Vec<Artifact>> {
    sqlx::query_as(
        "select artifact_id, kind, path, bytes, sha256, created_at from session_artifacts
         where session_id = $1 order by created_at desc, artifact_id desc",
    )
    .bind(session_id)
    .fetch_all(tx.conn())
    .await
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    (session_id, app_id): (Uuid, Uuid),
    new: &Artifact,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into session_artifacts (artifact_id, session_id, app_id, kind, path, bytes, sha256, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(new.artifact_id)
    .bind(session_id)
    .bind(app_id)
    .bind(&new.kind)
    .bind(&new.path)
    .bind(new.bytes)
    .bind(&new.sha256)
    .bind(new.created_at)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Forgets all of a kind but the latest `kept`; where they were.
pub(super) async fn forget_older(
    tx: &mut TenantTx,
    session_id: Uuid,
    kind: &str,
    kept: i64,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "delete from session_artifacts where artifact_id in
           (select artifact_id from session_artifacts where session_id = $1 and kind = $2
            order by created_at desc, artifact_id desc offset $3)
         returning path",
    )
    .bind(session_id)
    .bind(kind)
    .bind(kept)
    .fetch_all(tx.conn())
    .await
}

/// Those of these sessions that are not there.
pub(super) async fn not_there(tx: &mut ServiceTx, ids: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from unnest($1::uuid[]) as id where not exists (select from sessions where session_id = id)",
    )
    .bind(ids)
    .fetch_all(tx.conn())
    .await
}
