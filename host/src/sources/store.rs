//! All SQL of sources, of models of the platform, and of who may use them.

use super::{limits::Limits, model::ModelSource, offer::Offered};
use crate::{budgets::points, models::Kind, secrets::envelope::Sealed, tenants::ServiceTx};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

/// A source as it is shown: all but its key.
#[derive(Clone, Debug, FromRow, Serialize)]
pub(super) struct SourceRow {
    #[serde(skip)]
    pub(super) source_id: Uuid,
    #[serde(rename = "id")]
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) base_url: String,
    /// Through whom it is asked, without what that wants to be told; none: directly.
    pub(super) proxy: Option<String>,
    /// The key's last characters; none: no key.
    pub(super) last4: Option<String>,
    #[serde(rename = "order")]
    pub(super) position: i32,
    pub(super) weight: i32,
    pub(super) enabled: bool,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

const SOURCE_COLUMNS: &str =
    "source_id, name, kind, base_url, last4, position, weight, enabled, created_at, updated_at,
     (select url from ai_source_proxies x where x.source_id = ai_sources.source_id) as proxy";

/// A new key, sealed for its row.
pub(super) type NewKey = Sealed;

/// A source with its envelope.
#[derive(Clone, FromRow)]
pub(crate) struct SourceEnvelope {
    pub(crate) source_id: Uuid,
    kind: String,
    pub(super) base_url: String,
    encrypted_value: Option<Vec<u8>>,
    nonce: Option<Vec<u8>>,
    encrypted_data_key: Option<Vec<u8>>,
    data_key_nonce: Option<Vec<u8>>,
    key_version: Option<i32>,
    proxy_url: Option<String>,
    proxy_encrypted_value: Option<Vec<u8>>,
    proxy_nonce: Option<Vec<u8>>,
    proxy_encrypted_data_key: Option<Vec<u8>>,
    proxy_data_key_nonce: Option<Vec<u8>>,
    proxy_key_version: Option<i32>,
}

/// The columns of an envelope: of a source `s` and its proxy `x`.
const ENVELOPE: &str =
    "s.source_id, s.kind, s.base_url, s.encrypted_value, s.nonce, s.encrypted_data_key, s.data_key_nonce, s.key_version,
     x.url as proxy_url, x.encrypted_value as proxy_encrypted_value, x.nonce as proxy_nonce,
     x.encrypted_data_key as proxy_encrypted_data_key, x.data_key_nonce as proxy_data_key_nonce,
     x.key_version as proxy_key_version";

impl SourceEnvelope {
    /// Through whom it is asked.
    pub(super) fn proxy(&self) -> Option<&str> {
        self.proxy_url.as_deref()
    }

    /// What is sealed for its proxy.
    pub(super) fn proxy_sealed(&self) -> Option<Sealed> {
        Some(Sealed {
            ciphertext: self.proxy_encrypted_value.clone()?,
            nonce: self.proxy_nonce.clone()?,
            wrapped_key: self.proxy_encrypted_data_key.clone()?,
            wrapped_nonce: self.proxy_data_key_nonce.clone()?,
            key_version: self.proxy_key_version?,
        })
    }

    /// The dialect it speaks.
    pub(crate) fn speaks(&self) -> Kind {
        Kind::parse(&self.kind).unwrap_or_default()
    }

    /// About how many bytes it takes besides itself.
    pub(super) fn bytes(&self) -> usize {
        self.base_url.len() + self.encrypted_value.as_ref().map_or(0, Vec::len)
    }

    /// What is sealed for it.
    pub(super) fn sealed(&self) -> Option<Sealed> {
        Some(Sealed {
            ciphertext: self.encrypted_value.clone()?,
            nonce: self.nonce.clone()?,
            wrapped_key: self.encrypted_data_key.clone()?,
            wrapped_nonce: self.data_key_nonce.clone()?,
            key_version: self.key_version?,
        })
    }

    #[cfg(test)]
    pub(super) fn unsealed(source_id: Uuid) -> SourceEnvelope {
        SourceEnvelope {
            source_id,
            kind: String::new(),
            base_url: String::new(),
            encrypted_value: None,
            nonce: None,
            encrypted_data_key: None,
            data_key_nonce: None,
            key_version: None,
            proxy_url: None,
            proxy_encrypted_value: None,
            proxy_nonce: None,
            proxy_encrypted_data_key: None,
            proxy_data_key_nonce: None,
            proxy_key_version: None,
        }
    }
}

/// A source of a model, with its place in line.
#[derive(Clone, FromRow)]
pub(super) struct TurnRow {
    #[sqlx(flatten)]
    pub(super) source: SourceEnvelope,
    pub(super) upstream_model: Option<String>,
    pub(super) position: i32,
    pub(super) weight: i32,
    /// The model's.
    #[sqlx(flatten)]
    pub(super) limits: Limits,
}

/// A model as it is shown.
#[derive(Clone, Debug, FromRow, Serialize)]
pub(super) struct ModelRow {
    pub(super) id: String,
    pub(super) alias: Option<String>,
    pub(super) kind: String,
    pub(super) context_tokens: Option<i64>,
    #[sqlx(flatten)]
    pub(super) limits: Limits,
    pub(super) enabled: bool,
    pub(super) sources: Value,
    pub(super) price: Option<Value>,
    pub(super) updated_at: DateTime<Utc>,
}

/// The columns of the limits of a model `m`.
const LIMITS: &str = "m.output_tokens, m.requests_per_minute, m.tokens_per_minute, m.concurrent_requests";

/// The price and the sources stand in tables of their own.
const SHOWN_MODELS: &str =
    "select m.provider || '/' || m.model as id, m.alias, m.kind, m.context_tokens, m.output_tokens,
    m.requests_per_minute, m.tokens_per_minute, m.concurrent_requests, m.enabled,
    coalesce((select jsonb_agg(jsonb_build_object('source', s.name, 'order', ms.position, 'weight', ms.weight,
                                                  'model', ms.upstream_model) order by s.name)
              from ai_model_sources ms join ai_sources s using (source_id)
              where ms.provider = m.provider and ms.model = m.model), '[]') as sources,
    (select to_jsonb(p) - 'provider' - 'model' - 'updated_at' from model_prices p
     where p.provider = m.provider and p.model = m.model) as price,
    m.updated_at
  from ai_models m";

/// What an app may use.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Allowances {
    pub(super) models: Vec<String>,
    /// None: as many as it likes.
    pub(super) points_per_month: Option<i64>,
}

// === sources ===

pub(super) async fn list_sources(tx: &mut ServiceTx) -> sqlx::Result<Vec<SourceRow>> {
    sqlx::query_as(AssertSqlSafe(format!("select {SOURCE_COLUMNS} from ai_sources order by position, name")))
        .fetch_all(tx.conn())
        .await
}

pub(super) async fn count_sources(tx: &mut ServiceTx) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from ai_sources").fetch_one(tx.conn()).await
}

pub(super) async fn find_source(tx: &mut ServiceTx, name: &str) -> sqlx::Result<Option<SourceRow>> {
    sqlx::query_as(AssertSqlSafe(format!("select {SOURCE_COLUMNS} from ai_sources where name = $1")))
        .bind(name)
        .fetch_optional(tx.conn())
        .await
}

/// The source, held until the transaction ends.
pub(super) async fn lock_source(tx: &mut ServiceTx, name: &str) -> sqlx::Result<Option<SourceRow>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {SOURCE_COLUMNS} from ai_sources where name = $1 for update"
    )))
    .bind(name)
    .fetch_optional(tx.conn())
    .await
}

/// False where there is one of this name.
pub(super) async fn insert_source(
    tx: &mut ServiceTx,
    row: &SourceRow,
    key: Option<&NewKey>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "insert into ai_sources (source_id, name, kind, base_url, last4, position, weight, enabled, created_at,
                                 updated_at, encrypted_value, nonce, encrypted_data_key, data_key_nonce, key_version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $12, $13, $14) on conflict (name) do nothing",
    )
    .bind(row.source_id)
    .bind(&row.name)
    .bind(&row.kind)
    .bind(&row.base_url)
    .bind(&row.last4)
    .bind(row.position)
    .bind(row.weight)
    .bind(row.enabled)
    .bind(row.created_at)
    .bind(key.map(|s| s.ciphertext.as_slice()))
    .bind(key.map(|s| s.nonce.as_slice()))
    .bind(key.map(|s| s.wrapped_key.as_slice()))
    .bind(key.map(|s| s.wrapped_nonce.as_slice()))
    .bind(key.map(|s| s.key_version))
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Without a new key the old one stays.
pub(super) async fn update_source(
    tx: &mut ServiceTx,
    row: &SourceRow,
    key: Option<&NewKey>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update ai_sources set kind = $2, base_url = $3, last4 = $4, position = $5, weight = $6, enabled = $7,
                               updated_at = $8
         where source_id = $1",
    )
    .bind(row.source_id)
    .bind(&row.kind)
    .bind(&row.base_url)
    .bind(&row.last4)
    .bind(row.position)
    .bind(row.weight)
    .bind(row.enabled)
    .bind(row.updated_at)
    .execute(tx.conn())
    .await?;
    let Some(key) = key else { return Ok(()) };
    sqlx::query(
        "update ai_sources set encrypted_value = $2, nonce = $3, encrypted_data_key = $4, data_key_nonce = $5,
                               key_version = $6
         where source_id = $1",
    )
    .bind(row.source_id)
    .bind(&key.ciphertext)
    .bind(&key.nonce)
    .bind(&key.wrapped_key)
    .bind(&key.wrapped_nonce)
    .bind(key.key_version)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Sets or removes the proxy of a source.
pub(super) async fn set_proxy(
    tx: &mut ServiceTx,
    source_id: Uuid,
    proxy: Option<(&str, Option<&Sealed>)>,
) -> sqlx::Result<()> {
    sqlx::query("delete from ai_source_proxies where source_id = $1")
        .bind(source_id)
        .execute(tx.conn())
        .await?;
    let Some((url, sealed)) = proxy else { return Ok(()) };
    sqlx::query(
        "insert into ai_source_proxies (source_id, url, encrypted_value, nonce, encrypted_data_key, data_key_nonce,
                                        key_version)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(source_id)
    .bind(url)
    .bind(sealed.map(|s| s.ciphertext.as_slice()))
    .bind(sealed.map(|s| s.nonce.as_slice()))
    .bind(sealed.map(|s| s.wrapped_key.as_slice()))
    .bind(sealed.map(|s| s.wrapped_nonce.as_slice()))
    .bind(sealed.map(|s| s.key_version))
    .execute(tx.conn())
    .await
    .map(drop)
}

pub(super) async fn delete_source(tx: &mut ServiceTx, source_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from ai_sources where source_id = $1")
        .bind(source_id)
        .execute(tx.conn())
        .await
        .map(drop)
}

pub(super) async fn find_envelope(tx: &mut ServiceTx, name: &str) -> sqlx::Result<Option<SourceEnvelope>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {ENVELOPE} from ai_sources s left join ai_source_proxies x on x.source_id = s.source_id
         where s.name = $1"
    )))
    .bind(name)
    .fetch_optional(tx.conn())
    .await
}

// === models ===

/// By id, `limit` of them after `after`.
pub(super) async fn list_models(
    tx: &mut ServiceTx,
    after: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<ModelRow>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "{SHOWN_MODELS} where ($1::text is null or (m.provider || '/' || m.model) collate \"C\" > $1)
         order by (m.provider || '/' || m.model) collate \"C\" limit $2"
    )))
    .bind(after)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

pub(super) async fn find_model(
    tx: &mut ServiceTx,
    provider: &str,
    model: &str,
) -> sqlx::Result<Option<ModelRow>> {
    sqlx::query_as(AssertSqlSafe(format!("{SHOWN_MODELS} where m.provider = $1 and m.model = $2")))
        .bind(provider)
        .bind(model)
        .fetch_optional(tx.conn())
        .await
}

/// Holds the model until the transaction ends.
pub(super) async fn lock_model(tx: &mut ServiceTx, provider: &str, model: &str) -> sqlx::Result<()> {
    sqlx::query("select from ai_models where provider = $1 and model = $2 for update")
        .bind(provider)
        .bind(model)
        .execute(tx.conn())
        .await
        .map(drop)
}

pub(super) async fn has_model(tx: &mut ServiceTx, provider: &str, model: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from ai_models where provider = $1 and model = $2)")
        .bind(provider)
        .bind(model)
        .fetch_one(tx.conn())
        .await
}

pub(super) async fn count_models(tx: &mut ServiceTx) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from ai_models").fetch_one(tx.conn()).await
}

/// A model that nobody may use yet; false where there is one of this id.
pub(super) async fn insert_draft(
    tx: &mut ServiceTx,
    provider: &str,
    model: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "insert into ai_models (provider, model, kind, enabled, updated_at) values ($1, $2, 'chat', false, $3)
         on conflict do nothing",
    )
    .bind(provider)
    .bind(model)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Drafts of those of these models that are not there, served by one source; their names.
pub(super) async fn insert_drafts(
    tx: &mut ServiceTx,
    provider: &str,
    models: &[String],
    source_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<String>> {
    let mut made: Vec<String> = sqlx::query_scalar(
        "insert into ai_models (provider, model, kind, enabled, updated_at)
         select $1, model, 'chat', false, $3 from unnest($2::text[]) as model on conflict do nothing returning model",
    )
    .bind(provider)
    .bind(models)
    .bind(now)
    .fetch_all(tx.conn())
    .await?;
    sqlx::query(
        "insert into ai_model_sources (provider, model, source_id) select $1, model, $3 from unnest($2::text[]) as model",
    )
    .bind(provider)
    .bind(&made)
    .bind(source_id)
    .execute(tx.conn())
    .await?;
    made.sort();
    Ok(made)
}

/// What is left out stays.
pub(super) async fn update_model(
    tx: &mut ServiceTx,
    (provider, model): (&str, &str),
    kind: Option<&str>,
    enabled: Option<bool>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update ai_models set kind = coalesce($3, kind), enabled = coalesce($4, enabled), updated_at = $5
         where provider = $1 and model = $2",
    )
    .bind(provider)
    .bind(model)
    .bind(kind)
    .bind(enabled)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

pub(super) async fn alias_of_another(
    tx: &mut ServiceTx,
    alias: &str,
    provider: &str,
    model: &str,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from ai_models where alias = $1 and (provider, model) <> ($2, $3))",
    )
    .bind(alias)
    .bind(provider)
    .bind(model)
    .fetch_one(tx.conn())
    .await
}

pub(super) async fn set_alias(
    tx: &mut ServiceTx,
    (provider, model): (&str, &str),
    alias: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query("update ai_models set alias = $3 where provider = $1 and model = $2")
        .bind(provider)
        .bind(model)
        .bind(alias)
        .execute(tx.conn())
        .await
        .map(drop)
}

pub(super) async fn set_context(
    tx: &mut ServiceTx,
    (provider, model): (&str, &str),
    tokens: Option<u64>,
) -> sqlx::Result<()> {
    sqlx::query("update ai_models set context_tokens = $3 where provider = $1 and model = $2")
        .bind(provider)
        .bind(model)
        .bind(tokens.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX)))
        .execute(tx.conn())
        .await
        .map(drop)
}

pub(super) async fn set_limits(
    tx: &mut ServiceTx,
    (provider, model): (&str, &str),
    limits: &Limits,
) -> sqlx::Result<()> {
    sqlx::query(
        "update ai_models set output_tokens = $3, requests_per_minute = $4, tokens_per_minute = $5,
                              concurrent_requests = $6
         where provider = $1 and model = $2",
    )
    .bind(provider)
    .bind(model)
    .bind(limits.output_tokens)
    .bind(limits.requests_per_minute)
    .bind(limits.tokens_per_minute)
    .bind(limits.concurrent_requests)
    .execute(tx.conn())
    .await
    .map(drop)
}

pub(super) async fn clear_sources(tx: &mut ServiceTx, provider: &str, model: &str) -> sqlx::Result<()> {
    sqlx::query("delete from ai_model_sources where provider = $1 and model = $2")
        .bind(provider)
        .bind(model)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// False where there is no such source.
pub(super) async fn insert_model_source(
    tx: &mut ServiceTx,
    (provider, model): (&str, &str),
    source: &ModelSource,
) -> sqlx::Result<bool> {
    sqlx::query(
        "insert into ai_model_sources (provider, model, source_id, upstream_model, position, weight)
         select $1, $2, source_id, $4, $5, $6 from ai_sources where name = $3",
    )
    .bind(provider)
    .bind(model)
    .bind(&source.source)
    .bind(&source.model)
    .bind(source.order)
    .bind(source.weight)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// With what apps were told they may use by its id.
pub(super) async fn delete_model(tx: &mut ServiceTx, provider: &str, model: &str) -> sqlx::Result<()> {
    sqlx::query("delete from ai_models where provider = $1 and model = $2")
        .bind(provider)
        .bind(model)
        .execute(tx.conn())
        .await?;
    sqlx::query("delete from app_models where pattern = $1 || '/' || $2")
        .bind(provider)
        .bind(model)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Whether a model that apps may use has this price.
pub(crate) async fn prices_model(tx: &mut ServiceTx, provider: &str, model: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from ai_models where provider = $1 and model = $2 and enabled)")
        .bind(provider)
        .bind(model)
        .fetch_one(tx.conn())
        .await
}

// === who may use them ===

/// What an app may use, of what is on: `$1` is the app.
const OFFERED: &str = "ai_models m join model_prices p using (provider, model)
    join ai_model_sources ms using (provider, model) join ai_sources s on s.source_id = ms.source_id and s.enabled
    left join ai_source_proxies x on x.source_id = s.source_id
  where m.enabled and exists (select from app_models a where a.app_id = $1
    and a.pattern in ('*', m.provider || '/*', m.provider || '/' || m.model))";

pub(super) async fn offered(tx: &mut ServiceTx, app_id: Uuid) -> sqlx::Result<Vec<Offered>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select distinct m.provider, m.model, m.alias, m.kind, m.context_tokens,
                least(m.output_tokens, p.output_tokens_max) as output_tokens
         from {OFFERED} order by m.provider, m.model"
    )))
    .bind(app_id)
    .fetch_all(tx.conn())
    .await
}

/// How many tokens a model takes that an app may use, where that is known.
pub(super) async fn context_of(
    tx: &mut ServiceTx,
    app_id: Uuid,
    provider: &str,
    model: &str,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(AssertSqlSafe(format!(
        "select max(m.context_tokens) from {OFFERED} and m.provider = $2 and m.model = $3"
    )))
    .bind(app_id)
    .bind(provider)
    .bind(model)
    .fetch_one(tx.conn())
    .await
}

/// The sources of a model that an app may use, with their envelopes.
pub(super) async fn turns(
    tx: &mut ServiceTx,
    app_id: Uuid,
    provider: &str,
    model: &str,
) -> sqlx::Result<Vec<TurnRow>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {ENVELOPE}, {LIMITS}, ms.upstream_model, coalesce(ms.position, s.position) as position,
                coalesce(ms.weight, s.weight) as weight
         from {OFFERED} and m.provider = $2 and m.model = $3"
    )))
    .bind(app_id)
    .bind(provider)
    .bind(model)
    .fetch_all(tx.conn())
    .await
}

pub(super) async fn allowances(tx: &mut ServiceTx, app_id: Uuid) -> sqlx::Result<Allowances> {
    let models = sqlx::query_scalar("select pattern from app_models where app_id = $1 order by pattern")
        .bind(app_id)
        .fetch_all(tx.conn())
        .await?;
    let points_per_month = points::per_month(tx, app_id).await?;
    Ok(Allowances { models, points_per_month })
}

pub(super) async fn set_allowances(
    tx: &mut ServiceTx,
    app_id: Uuid,
    patterns: &[String],
) -> sqlx::Result<()> {
    // One writer for an app at a time: both would leave what either wanted.
    sqlx::query("select from apps where app_id = $1 for no key update")
        .bind(app_id)
        .execute(tx.conn())
        .await?;
    sqlx::query("delete from app_models where app_id = $1").bind(app_id).execute(tx.conn()).await?;
    sqlx::query("insert into app_models (app_id, pattern) select $1, unnest($2::text[])")
        .bind(app_id)
        .bind(patterns)
        .execute(tx.conn())
        .await
        .map(drop)
}
