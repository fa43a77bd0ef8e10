//! The SQL of personal tokens.

use crate::tenants::PersonTx;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

/// The apps of these slugs; none where the person is no member of one of them.
pub(in crate::people) async fn my_app_ids(
    tx: &mut PersonTx,
    slugs: &[String],
) -> sqlx::Result<Option<Vec<Uuid>>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select a.app_id from app_members m join apps a using (app_id)
         where m.user_id = current_user_id() and a.status <> 'deleted' and a.slug = any($1)",
    )
    .bind(slugs)
    .fetch_all(tx.conn())
    .await?;
    let mut wanted: Vec<&String> = slugs.iter().collect();
    wanted.sort_unstable();
    wanted.dedup();
    Ok((!ids.is_empty() && ids.len() == wanted.len()).then_some(ids))
}

/// The apps one of the person's credentials acts for; none: all of theirs.
pub(in crate::people) async fn own_app_ids(
    tx: &mut PersonTx,
    credential_id: Option<Uuid>,
) -> sqlx::Result<Option<Vec<Uuid>>> {
    sqlx::query_scalar(
        "select app_ids from credentials where user_id = current_user_id() and credential_id = $1",
    )
    .bind(credential_id)
    .fetch_one(tx.conn())
    .await
}

/// A personal token, as its person reads it.
#[derive(FromRow, Serialize)]
pub(in crate::people) struct PersonalToken {
    #[serde(rename = "id")]
    pub(in crate::people) credential_id: Uuid,
    pub(in crate::people) name: String,
    pub(in crate::people) prefix: String,
    pub(in crate::people) last4: String,
    pub(in crate::people) scopes: Vec<String>,
    /// The slugs of its apps; none: all of the person's.
    #[serde(rename = "app_ids")]
    pub(in crate::people) apps: Option<Vec<String>>,
    pub(in crate::people) created_at: DateTime<Utc>,
    pub(in crate::people) expires_at: DateTime<Utc>,
    pub(in crate::people) last_used_at: Option<DateTime<Utc>>,
}

/// The person's live tokens, newest first, `limit` of them older than `before`.
pub(in crate::people) async fn list_personal_tokens(
    tx: &mut PersonTx,
    now: DateTime<Utc>,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<PersonalToken>> {
    sqlx::query_as(
        "select credential_id, name, prefix, last4, scopes, created_at, expires_at, last_used_at,
                case when app_ids is not null then
                  array(select slug from apps a where a.app_id = any(app_ids) order by slug) end as apps
         from credentials
         where user_id = current_user_id() and kind = 'personal_token' and revoked_at is null and expires_at > $1
           and ($2::uuid is null or credential_id < $2)
         order by credential_id desc limit $3",
    )
    .bind(now)
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

pub(in crate::people) async fn count_personal_tokens(
    tx: &mut PersonTx,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from credentials where user_id = current_user_id() and kind = 'personal_token'
           and revoked_at is null and expires_at > $1",
    )
    .bind(now)
    .fetch_one(tx.conn())
    .await
}

/// What a token's successor takes over.
#[derive(FromRow)]
pub(in crate::people) struct FoundToken {
    pub(in crate::people) name: String,
    pub(in crate::people) scopes: Vec<String>,
    pub(in crate::people) app_ids: Option<Vec<Uuid>>,
    pub(in crate::people) expires_at: DateTime<Utc>,
}

pub(in crate::people) async fn find_personal_token(
    tx: &mut PersonTx,
    credential_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<FoundToken>> {
    sqlx::query_as(
        "select name, scopes, app_ids, expires_at from credentials
         where user_id = current_user_id() and credential_id = $1 and kind = 'personal_token'
           and revoked_at is null and expires_at > $2",
    )
    .bind(credential_id)
    .bind(now)
    .fetch_optional(tx.conn())
    .await
}

/// False where there is no such live token.
pub(in crate::people) async fn rename_personal_token(
    tx: &mut PersonTx,
    credential_id: Uuid,
    name: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "update credentials set name = $2 where user_id = current_user_id() and credential_id = $1
           and kind = 'personal_token' and revoked_at is null and expires_at > $3",
    )
    .bind(credential_id)
    .bind(name)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// False where there is no such live token.
pub(in crate::people) async fn revoke_personal_token(
    tx: &mut PersonTx,
    credential_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "update credentials set revoked_at = $2 where user_id = current_user_id() and credential_id = $1
           and kind = 'personal_token' and revoked_at is null and expires_at > $2",
    )
    .bind(credential_id)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

pub(in crate::people) async fn end_personal_token(
    tx: &mut PersonTx,
    credential_id: Uuid,
    at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update credentials set expires_at = $2 where user_id = current_user_id() and credential_id = $1",
    )
    .bind(credential_id)
    .bind(at)
    .execute(tx.conn())
    .await
    .map(drop)
}
