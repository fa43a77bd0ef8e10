//! All SQL of people, their credentials and memberships.

use crate::{
    grants::{CredentialKind, Role, Scopes},
    tenants::{PersonTx, ServiceTx, TenantTx},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

// === accounts ===

/// Somebody to insert.
pub(super) struct NewPerson<'a> {
    pub(super) user_id: Uuid,
    pub(super) email: &'a str,
    pub(super) name: &'a str,
    pub(super) password_hash: &'a str,
    pub(super) now: DateTime<Utc>,
}

/// Inserts a person; false where the address has an account.
pub(super) async fn insert_person(tx: &mut ServiceTx, new: &NewPerson<'_>) -> sqlx::Result<bool> {
    sqlx::query(
        "insert into users (user_id, email, name, password_hash, created_at) values ($1, $2, $3, $4, $5)
         on conflict (lower(email)) where email is not null do nothing",
    )
    .bind(new.user_id)
    .bind(new.email)
    .bind(new.name)
    .bind(new.password_hash)
    .bind(new.now)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Who a person is.
#[derive(FromRow)]
pub(super) struct Person {
    pub(super) email: Option<String>,
    pub(super) name: String,
}

pub(super) async fn find_person(tx: &mut ServiceTx, user_id: Uuid) -> sqlx::Result<Option<Person>> {
    sqlx::query_as("select email, name from users where user_id = $1")
        .bind(user_id)
        .fetch_optional(tx.conn())
        .await
}

/// Whose password is to be checked.
#[derive(FromRow)]
pub(super) struct FoundLogin {
    pub(super) user_id: Uuid,
    pub(super) password_hash: Option<String>,
}

pub(super) async fn find_login(tx: &mut ServiceTx, email: &str) -> sqlx::Result<Option<FoundLogin>> {
    sqlx::query_as(
        "select user_id, password_hash from users where lower(email) = lower($1) and disabled_at is null",
    )
    .bind(email)
    .fetch_optional(tx.conn())
    .await
}

pub(super) async fn password_hash(tx: &mut ServiceTx, user_id: Uuid) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select password_hash from users where user_id = $1")
        .bind(user_id)
        .fetch_optional(tx.conn())
        .await
        .map(Option::flatten)
}

/// Replaces a password; false where it is another one by now.
pub(super) async fn replace_password(
    tx: &mut ServiceTx,
    user_id: Uuid,
    before: Option<&str>,
    after: &str,
) -> sqlx::Result<bool> {
    sqlx::query(
        "update users set password_hash = $3 where user_id = $1 and password_hash is not distinct from $2",
    )
    .bind(user_id)
    .bind(before)
    .bind(after)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// A person's own account.
#[derive(FromRow)]
pub(super) struct Profile {
    pub(super) user_id: Uuid,
    pub(super) email: Option<String>,
    pub(super) name: String,
    pub(super) locale: Option<String>,
    pub(super) theme: Option<String>,
    pub(super) created_at: DateTime<Utc>,
}

pub(super) async fn profile(tx: &mut PersonTx) -> sqlx::Result<Profile> {
    sqlx::query_as(
        "select user_id, email, name, locale, theme, created_at from users where user_id = current_user_id()",
    )
    .fetch_one(tx.conn())
    .await
}

pub(super) async fn update_profile(
    tx: &mut PersonTx,
    name: Option<&str>,
    locale: Option<&str>,
    theme: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update users set name = coalesce($1, name), locale = coalesce($2, locale), theme = coalesce($3, theme)
         where user_id = current_user_id()",
    )
    .bind(name)
    .bind(locale)
    .bind(theme)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// An app a person is a member of.
#[derive(FromRow, Serialize)]
pub(super) struct MyApp {
    #[serde(rename = "id")]
    pub(super) slug: String,
    pub(super) name: String,
    pub(super) role: String,
}

pub(super) async fn my_apps(tx: &mut PersonTx) -> sqlx::Result<Vec<MyApp>> {
    sqlx::query_as(
        "select a.slug, a.name, m.role from app_members m join apps a using (app_id)
         where m.user_id = current_user_id() and a.status <> 'deleted' order by a.slug",
    )
    .fetch_all(tx.conn())
    .await
}

// === credentials ===

/// A person's credential to insert.
pub(super) struct NewCredential<'a> {
    pub(super) credential_id: Uuid,
    pub(super) kind: CredentialKind,
    pub(super) user_id: Uuid,
    pub(super) name: &'a str,
    pub(super) secret_hash: [u8; 32],
    pub(super) prefix: &'a str,
    pub(super) last4: &'a str,
    pub(super) scopes: Scopes,
    pub(super) app_ids: Option<Vec<Uuid>>,
    pub(super) family_id: Option<Uuid>,
    pub(super) ip: Option<String>,
    pub(super) user_agent: Option<&'a str>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) created_by: Option<Uuid>,
    pub(super) now: DateTime<Utc>,
}

pub(super) async fn insert_credential(conn: &mut PgConnection, new: &NewCredential<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into credentials (credential_id, kind, user_id, name, secret_hash, prefix, last4, scopes, app_ids,
                                  family_id, ip, user_agent, expires_at, created_by, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(new.credential_id)
    .bind(new.kind.name())
    .bind(new.user_id)
    .bind(new.name)
    .bind(new.secret_hash.as_slice())
    .bind(new.prefix)
    .bind(new.last4)
    .bind(new.scopes.names())
    .bind(new.app_ids.as_deref())
    .bind(new.family_id)
    .bind(new.ip.as_deref())
    .bind(new.user_agent)
    .bind(new.expires_at)
    .bind(new.created_by)
    .bind(new.now)
    .execute(conn)
    .await
    .map(drop)
}

/// Revokes a person's oldest console sessions, so that `kept` are left.
pub(super) async fn revoke_oldest_sessions(
    tx: &mut ServiceTx,
    user_id: Uuid,
    kept: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update credentials set revoked_at = $3 where credential_id in
           (select credential_id from credentials where user_id = $1 and kind = 'console_session'
              and revoked_at is null and expires_at > $3 order by credential_id desc offset $2)",
    )
    .bind(user_id)
    .bind(kept)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Revokes one of the person's credentials and all of its family.
pub(super) async fn revoke_family_of(
    tx: &mut PersonTx,
    credential_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update credentials set revoked_at = $2 where user_id = current_user_id() and revoked_at is null
           and (credential_id = $1 or family_id = (select family_id from credentials where credential_id = $1))",
    )
    .bind(credential_id)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Revokes every sign-in of a person's, by browser or by command line, but one. Personal tokens stay.
pub(super) async fn revoke_sign_ins(
    tx: &mut ServiceTx,
    user_id: Uuid,
    but: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update credentials set revoked_at = $3 where user_id = $1 and revoked_at is null
           and kind in ('console_session', 'platform_token', 'refresh_token') and credential_id is distinct from $2",
    )
    .bind(user_id)
    .bind(but)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// A console session, as its person reads it.
#[derive(FromRow, Serialize)]
pub(super) struct ConsoleSession {
    #[serde(rename = "id")]
    pub(super) credential_id: Uuid,
    pub(super) created_at: DateTime<Utc>,
    pub(super) last_used_at: Option<DateTime<Utc>>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) ip: Option<String>,
    pub(super) user_agent: Option<String>,
    /// Whether it is the one that asks.
    pub(super) current: bool,
}

/// The person's live console sessions, newest first, `limit` of them older than `before`.
pub(super) async fn list_sessions(
    tx: &mut PersonTx,
    current: Option<Uuid>,
    now: DateTime<Utc>,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<ConsoleSession>> {
    sqlx::query_as(
        "select credential_id, created_at, last_used_at, expires_at, ip, user_agent,
                credential_id is not distinct from $1 as current
         from credentials
         where user_id = current_user_id() and kind = 'console_session' and revoked_at is null and expires_at > $2
           and ($3::uuid is null or credential_id < $3)
         order by credential_id desc limit $4",
    )
    .bind(current)
    .bind(now)
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Revokes one of the person's console sessions; false where there is none.
pub(super) async fn revoke_session(
    tx: &mut PersonTx,
    credential_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "update credentials set revoked_at = $2 where user_id = current_user_id() and credential_id = $1
           and kind = 'console_session' and revoked_at is null",
    )
    .bind(credential_id)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

pub(super) async fn revoke_other_sessions(
    tx: &mut PersonTx,
    but: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update credentials set revoked_at = $2 where user_id = current_user_id() and kind = 'console_session'
           and revoked_at is null and credential_id is distinct from $1",
    )
    .bind(but)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Removes people's credentials that ended before `before`, a batch of them; how many it was.
pub(super) async fn delete_ended(tx: &mut ServiceTx, before: DateTime<Utc>, limit: i64) -> sqlx::Result<u64> {
    sqlx::query(
        "delete from credentials where credential_id in
           (select credential_id from credentials where app_id is null
              and least(expires_at, revoked_at) < $1 order by credential_id limit $2 for update skip locked)",
    )
    .bind(before)
    .bind(limit)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected())
}

// === personal tokens ===

/// Takes the lock of a person's credentials until the transaction ends.
pub(super) async fn lock_person(tx: &mut PersonTx, user_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("person/{user_id}"))
        .execute(tx.conn())
        .await
        .map(drop)
}

/// The apps of these slugs; none where the person is no member of one of them.
pub(super) async fn my_app_ids(tx: &mut PersonTx, slugs: &[String]) -> sqlx::Result<Option<Vec<Uuid>>> {
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
pub(super) async fn own_app_ids(
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
pub(super) struct PersonalToken {
    #[serde(rename = "id")]
    pub(super) credential_id: Uuid,
    pub(super) name: String,
    pub(super) prefix: String,
    pub(super) last4: String,
    pub(super) scopes: Vec<String>,
    /// The slugs of its apps; none: all of the person's.
    #[serde(rename = "app_ids")]
    pub(super) apps: Option<Vec<String>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) last_used_at: Option<DateTime<Utc>>,
}

/// The person's live tokens, newest first, `limit` of them older than `before`.
pub(super) async fn list_personal_tokens(
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

pub(super) async fn count_personal_tokens(tx: &mut PersonTx, now: DateTime<Utc>) -> sqlx::Result<i64> {
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
pub(super) struct FoundToken {
    pub(super) name: String,
    pub(super) scopes: Vec<String>,
    pub(super) app_ids: Option<Vec<Uuid>>,
    pub(super) expires_at: DateTime<Utc>,
}

pub(super) async fn find_personal_token(
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
pub(super) async fn rename_personal_token(
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
pub(super) async fn revoke_personal_token(
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

pub(super) async fn end_personal_token(
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

// === command lines ===

/// A request to insert.
pub(super) struct NewDeviceRequest<'a> {
    pub(super) device_code_hash: [u8; 32],
    pub(super) user_code_hash: [u8; 32],
    pub(super) client: &'a str,
    pub(super) hostname: &'a str,
    pub(super) ip: Option<String>,
    pub(super) scopes: Scopes,
    pub(super) interval_s: i32,
    pub(super) now: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
}

pub(super) async fn insert_device_request(
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
pub(super) struct DeviceRequest {
    pub(super) device_code_hash: Vec<u8>,
    pub(super) client: String,
    pub(super) hostname: String,
    pub(super) ip: Option<String>,
    pub(super) scopes: Vec<String>,
    pub(super) status: String,
    pub(super) user_id: Option<Uuid>,
    pub(super) app_ids: Option<Vec<Uuid>>,
    pub(super) ends_at: Option<DateTime<Utc>>,
    pub(super) interval_s: i32,
    pub(super) polled_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
}

const DEVICE_REQUEST_COLUMNS: &str = "device_code_hash, client, hostname, ip, scopes, status, user_id, app_ids, ends_at, \
    interval_s, polled_at, created_at, expires_at";

/// The request under this user code that waits for a decision, held until the transaction ends.
pub(super) async fn lock_by_user_code(
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

/// The request under this device code, held until the transaction ends.
pub(super) async fn lock_by_device_code(
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
pub(super) struct Approved<'a> {
    pub(super) user_id: Uuid,
    pub(super) scopes: Scopes,
    pub(super) app_ids: Option<&'a [Uuid]>,
    pub(super) ends_at: DateTime<Utc>,
}

pub(super) async fn approve_device_request(
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

pub(super) async fn deny_device_request(tx: &mut ServiceTx, device_code_hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query("update device_requests set status = 'denied' where device_code_hash = $1")
        .bind(device_code_hash)
        .execute(tx.conn())
        .await
        .map(drop)
}

pub(super) async fn use_device_request(tx: &mut ServiceTx, device_code_hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query("update device_requests set status = 'used' where device_code_hash = $1")
        .bind(device_code_hash)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Writes down that a program asked, and that it has to wait so much longer from now on.
pub(super) async fn polled(
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
pub(super) async fn delete_device_requests(tx: &mut ServiceTx, before: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("delete from device_requests where expires_at < $1")
        .bind(before)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// A refresh token, used or not.
#[derive(FromRow)]
pub(super) struct FoundRefresh {
    pub(super) credential_id: Uuid,
    pub(super) user_id: Uuid,
    pub(super) family_id: Uuid,
    pub(super) name: String,
    pub(super) scopes: Vec<String>,
    pub(super) app_ids: Option<Vec<Uuid>>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) revoked_at: Option<DateTime<Utc>>,
}

/// The refresh token of a person who was not disabled, held until the transaction ends.
pub(super) async fn lock_refresh_token(
    tx: &mut ServiceTx,
    secret_hash: &[u8],
) -> sqlx::Result<Option<FoundRefresh>> {
    sqlx::query_as(
        "select c.credential_id, c.user_id, c.family_id, c.name, c.scopes, c.app_ids, c.expires_at, c.revoked_at
         from credentials c join users u using (user_id)
         where c.secret_hash = $1 and c.kind = 'refresh_token' and u.disabled_at is null for update of c",
    )
    .bind(secret_hash)
    .fetch_optional(tx.conn())
    .await
}

pub(super) async fn revoke_credential(
    tx: &mut ServiceTx,
    credential_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("update credentials set revoked_at = $2 where credential_id = $1")
        .bind(credential_id)
        .bind(now)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Revokes what is live of a family; how many it was.
pub(super) async fn revoke_family(
    tx: &mut ServiceTx,
    family_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    sqlx::query("update credentials set revoked_at = $2 where family_id = $1 and revoked_at is null")
        .bind(family_id)
        .bind(now)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected())
}

// === members ===

/// A member, as the app reads them.
#[derive(FromRow, Serialize)]
pub(super) struct Member {
    #[serde(rename = "id")]
    pub(super) user_id: Uuid,
    pub(super) email: Option<String>,
    pub(super) name: String,
    pub(super) role: String,
    pub(super) created_at: DateTime<Utc>,
}

/// Takes the lock of an app's members until the transaction ends.
pub(super) async fn lock_members(conn: &mut PgConnection, app_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("members/{app_id}"))
        .execute(conn)
        .await
        .map(drop)
}

/// The app's members, by when they were made people, `limit` of them after `after`.
pub(super) async fn list_members(
    tx: &mut TenantTx,
    after: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Member>> {
    sqlx::query_as(
        "select m.user_id, u.email, u.name, m.role, m.created_at from app_members m join users u using (user_id)
         where m.app_id = current_app_id() and ($1::uuid is null or m.user_id > $1) order by m.user_id limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

pub(super) async fn find_role(tx: &mut TenantTx, user_id: Uuid) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select role from app_members where app_id = current_app_id() and user_id = $1")
        .bind(user_id)
        .fetch_optional(tx.conn())
        .await
}

pub(super) async fn count_members(tx: &mut TenantTx) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from app_members where app_id = current_app_id()")
        .fetch_one(tx.conn())
        .await
}

pub(super) async fn count_owners(tx: &mut TenantTx) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from app_members where app_id = current_app_id() and role = 'owner'")
        .fetch_one(tx.conn())
        .await
}

pub(super) async fn insert_member(
    conn: &mut PgConnection,
    app_id: Uuid,
    user_id: Uuid,
    role: Role,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("insert into app_members (app_id, user_id, role, created_at) values ($1, $2, $3, $4)")
        .bind(app_id)
        .bind(user_id)
        .bind(role.name())
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
}

pub(super) async fn update_role(tx: &mut TenantTx, user_id: Uuid, role: Role) -> sqlx::Result<()> {
    sqlx::query("update app_members set role = $2 where app_id = current_app_id() and user_id = $1")
        .bind(user_id)
        .bind(role.name())
        .execute(tx.conn())
        .await
        .map(drop)
}

pub(super) async fn delete_member(tx: &mut TenantTx, user_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from app_members where app_id = current_app_id() and user_id = $1")
        .bind(user_id)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Removes a person from an app, unless they are its last owner; false where they are.
pub(super) async fn leave(tx: &mut ServiceTx, app_id: Uuid, user_id: Uuid) -> sqlx::Result<bool> {
    sqlx::query(
        "delete from app_members where app_id = $1 and user_id = $2 and (role <> 'owner' or exists (
           select from app_members o where o.app_id = $1 and o.role = 'owner' and o.user_id <> $2))",
    )
    .bind(app_id)
    .bind(user_id)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}
