//! All SQL of apps and their providers.

use super::{
    AppRow,
    providers::{ProviderRow, SealedProvider},
};
use crate::secrets::envelope::Sealed;
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

const APP_COLUMNS: &str = "app_id, slug, name, status, default_model, model_aliases, predefined_tools, predefined_agents, session_sharing,
  artifact_retention_days, trusted_keys, cors_origins, created_at, updated_at";

pub(super) async fn insert_app(
    conn: &mut PgConnection,
    app: &AppRow,
    contact_email: Option<&str>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "insert into apps (app_id, slug, name, status, contact_email, default_model, predefined_tools,
                           predefined_agents, created_at, updated_at, model_aliases, session_sharing,
                           artifact_retention_days, trusted_keys, cors_origins)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $12, $13, $14) on conflict (slug) do nothing",
    )
    .bind(app.app_id)
    .bind(&app.slug)
    .bind(&app.name)
    .bind(&app.status)
    .bind(contact_email)
    .bind(&app.default_model)
    .bind(&app.predefined_tools)
    .bind(&app.predefined_agents)
    .bind(app.created_at)
    .bind(sqlx::types::Json(&app.model_aliases))
    .bind(app.session_sharing)
    .bind(app.artifact_retention_days)
    .bind(&app.trusted_keys)
    .bind(&app.cors_origins)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1)
}

pub(super) async fn find_app(conn: &mut PgConnection, slug: &str) -> sqlx::Result<Option<AppRow>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {APP_COLUMNS} from apps where slug = $1 and status <> 'deleted'"
    )))
    .bind(slug)
    .fetch_optional(conn)
    .await
}

/// The app, held until the transaction ends.
pub(super) async fn lock_app(conn: &mut PgConnection, app_id: Uuid) -> sqlx::Result<AppRow> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {APP_COLUMNS} from apps where app_id = $1 for no key update"
    )))
    .bind(app_id)
    .fetch_one(conn)
    .await
}

pub(super) async fn get_app(conn: &mut PgConnection, app_id: Uuid) -> sqlx::Result<AppRow> {
    sqlx::query_as(AssertSqlSafe(format!("select {APP_COLUMNS} from apps where app_id = $1")))
        .bind(app_id)
        .fetch_one(conn)
        .await
}

pub(super) async fn list_apps(
    conn: &mut PgConnection,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<AppRow>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {APP_COLUMNS} from apps where status <> 'deleted' and ($1::uuid is null or app_id < $1)
         order by app_id desc limit $2",
    )))
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await
}

pub(super) async fn update_app(conn: &mut PgConnection, app: &AppRow) -> sqlx::Result<()> {
    sqlx::query(
        "update apps set name = $2, default_model = $3, predefined_tools = $4, predefined_agents = $5, updated_at = $6,
                         model_aliases = $7, session_sharing = $8, artifact_retention_days = $9,
                         trusted_keys = $10, cors_origins = $11
         where app_id = $1",
    )
    .bind(app.app_id)
    .bind(&app.name)
    .bind(&app.default_model)
    .bind(&app.predefined_tools)
    .bind(&app.predefined_agents)
    .bind(app.updated_at)
    .bind(sqlx::types::Json(&app.model_aliases))
    .bind(app.session_sharing)
    .bind(app.artifact_retention_days)
    .bind(&app.trusted_keys)
    .bind(&app.cors_origins)
    .execute(conn)
    .await
    .map(drop)
}

/// Marks an app deleted and its credentials revoked.
pub(super) async fn delete_app(
    conn: &mut PgConnection,
    app_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("update apps set status = 'deleted', deleted_at = $2, updated_at = $2 where app_id = $1")
        .bind(app_id)
        .bind(now)
        .execute(&mut *conn)
        .await?;
    sqlx::query("update credentials set revoked_at = $2 where app_id = $1 and revoked_at is null")
        .bind(app_id)
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
}

/// The origins an app lists. For the service role: whoever asks may have no credential.
pub(super) async fn cors_origins(conn: &mut PgConnection, app_id: Uuid) -> sqlx::Result<Vec<String>> {
    let listed = sqlx::query_scalar("select cors_origins from apps where app_id = $1")
        .bind(app_id)
        .fetch_optional(conn)
        .await?;
    Ok(listed.unwrap_or_default())
}

/// The same of the app of this slug, where there is one.
pub(super) async fn cors_origins_of(
    conn: &mut PgConnection,
    slug: &str,
) -> sqlx::Result<Option<Vec<String>>> {
    sqlx::query_scalar("select cors_origins from apps where slug = $1 and status <> 'deleted'")
        .bind(slug)
        .fetch_optional(conn)
        .await
}

/// Whether any app lists an origin, by its name or among all.
pub(super) async fn is_cors_origin_of_any(conn: &mut PgConnection, origin: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from apps where cors_origins <> '{}' and cors_origins && array[$1::text, '*']
                          and status <> 'deleted')",
    )
    .bind(origin)
    .fetch_one(conn)
    .await
}

pub(super) async fn list_providers(conn: &mut PgConnection, app_id: Uuid) -> sqlx::Result<Vec<ProviderRow>> {
    sqlx::query_as(
        "select provider_key_id, provider, base_url, kind, last4 from provider_keys
         where app_id = $1 and user_id is null order by provider",
    )
    .bind(app_id)
    .fetch_all(conn)
    .await
}

pub(super) async fn insert_provider(
    conn: &mut PgConnection,
    app_id: Uuid,
    new: &SealedProvider,
) -> sqlx::Result<()> {
    let sealed = new.sealed.as_ref();
    sqlx::query(
        "insert into provider_keys (provider_key_id, app_id, provider, base_url, last4, encrypted_value, nonce,
                                    encrypted_data_key, data_key_nonce, key_version, created_at, updated_at, kind)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12)",
    )
    .bind(new.row.provider_key_id)
    .bind(app_id)
    .bind(&new.row.provider)
    .bind(&new.row.base_url)
    .bind(&new.row.last4)
    .bind(sealed.map(|s| s.ciphertext.as_slice()))
    .bind(sealed.map(|s| s.nonce.as_slice()))
    .bind(sealed.map(|s| s.wrapped_key.as_slice()))
    .bind(sealed.map(|s| s.wrapped_nonce.as_slice()))
    .bind(sealed.map(|s| s.key_version))
    .bind(new.at)
    .bind(&new.row.kind)
    .execute(conn)
    .await
    .map(drop)
}

pub(super) async fn update_provider(
    conn: &mut PgConnection,
    provider_key_id: Uuid,
    base_url: Option<&str>,
    kind: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update provider_keys set base_url = $2, kind = $3, updated_at = $4 where provider_key_id = $1",
    )
    .bind(provider_key_id)
    .bind(base_url)
    .bind(kind)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

pub(super) async fn delete_provider(conn: &mut PgConnection, provider_key_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from provider_keys where provider_key_id = $1")
        .bind(provider_key_id)
        .execute(conn)
        .await
        .map(drop)
}

/// A provider with its envelope.
#[derive(FromRow)]
pub(super) struct ProviderEnvelope {
    pub(super) provider_key_id: Uuid,
    pub(super) user_id: Option<Uuid>,
    pub(super) base_url: Option<String>,
    pub(super) kind: Option<String>,
    /// How many keys the row has had.
    pub(super) version: i32,
    pub(super) last_used_at: Option<DateTime<Utc>>,
    pub(super) encrypted_value: Option<Vec<u8>>,
    pub(super) nonce: Option<Vec<u8>>,
    pub(super) encrypted_data_key: Option<Vec<u8>>,
    pub(super) data_key_nonce: Option<Vec<u8>>,
    pub(super) key_version: Option<i32>,
}

impl ProviderEnvelope {
    pub(super) fn sealed(&self) -> Option<Sealed> {
        Some(Sealed {
            ciphertext: self.encrypted_value.clone()?,
            nonce: self.nonce.clone()?,
            wrapped_key: self.encrypted_data_key.clone()?,
            wrapped_nonce: self.data_key_nonce.clone()?,
            key_version: self.key_version?,
        })
    }
}

/// The user's, else the app's. For the service role only: a tenant's transaction cannot read these columns.
pub(super) async fn find_provider_envelope(
    conn: &mut PgConnection,
    app_id: Uuid,
    user_id: Option<Uuid>,
    provider: &str,
) -> sqlx::Result<Option<ProviderEnvelope>> {
    sqlx::query_as(
        "select provider_key_id, user_id, base_url, kind, version, last_used_at, encrypted_value, nonce, encrypted_data_key,
                data_key_nonce, key_version
         from provider_keys where app_id = $1 and provider = $2 and (user_id is null or user_id = $3)
         order by user_id nulls last limit 1",
    )
    .bind(app_id)
    .bind(provider)
    .bind(user_id)
    .fetch_optional(conn)
    .await
}

/// Once for many calls at a time: those that come after the first find nothing to do.
pub(super) async fn note_use(
    conn: &mut PgConnection,
    provider_key_id: Uuid,
    now: DateTime<Utc>,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update provider_keys set last_used_at = $2
         where provider_key_id = $1 and (last_used_at is null or last_used_at <= $3)",
    )
    .bind(provider_key_id)
    .bind(now)
    .bind(before)
    .execute(conn)
    .await
    .map(drop)
}
