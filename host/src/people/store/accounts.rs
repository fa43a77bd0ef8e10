//! The SQL of people and their accounts.

use crate::tenants::{PersonTx, ServiceTx};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

/// Somebody to insert.
pub(in crate::people) struct NewPerson<'a> {
    pub(in crate::people) user_id: Uuid,
    pub(in crate::people) email: &'a str,
    pub(in crate::people) name: &'a str,
    /// None for who signs in with codes alone.
    pub(in crate::people) password_hash: Option<&'a str>,
    /// Whether a code that was mailed to the address came back.
    pub(in crate::people) proved: bool,
    pub(in crate::people) now: DateTime<Utc>,
}

/// Inserts a person; false where the address has an account.
pub(in crate::people) async fn insert_person(tx: &mut ServiceTx, new: &NewPerson<'_>) -> sqlx::Result<bool> {
    sqlx::query(
        "insert into users (user_id, email, name, password_hash, created_at, email_proved_at)
         values ($1, $2, $3, $4, $5, case when $6 then $5 end)
         on conflict (lower(email)) where email is not null do nothing",
    )
    .bind(new.user_id)
    .bind(new.email)
    .bind(new.name)
    .bind(new.password_hash)
    .bind(new.now)
    .bind(new.proved)
    .execute(tx.conn())
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Who a person is.
#[derive(FromRow)]
pub(in crate::people) struct Person {
    pub(in crate::people) email: Option<String>,
    pub(in crate::people) name: String,
}

pub(in crate::people) async fn find_person(
    tx: &mut ServiceTx,
    user_id: Uuid,
) -> sqlx::Result<Option<Person>> {
    sqlx::query_as("select email, name from users where user_id = $1")
        .bind(user_id)
        .fetch_optional(tx.conn())
        .await
}

/// Whose password is to be checked.
#[derive(FromRow)]
pub(in crate::people) struct FoundLogin {
    pub(in crate::people) user_id: Uuid,
    pub(in crate::people) password_hash: Option<String>,
}

pub(in crate::people) async fn find_login(
    tx: &mut ServiceTx,
    email: &str,
) -> sqlx::Result<Option<FoundLogin>> {
    sqlx::query_as(
        "select user_id, password_hash from users where lower(email) = lower($1) and disabled_at is null",
    )
    .bind(email)
    .fetch_optional(tx.conn())
    .await
}

pub(in crate::people) async fn password_hash(
    tx: &mut ServiceTx,
    user_id: Uuid,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select password_hash from users where user_id = $1")
        .bind(user_id)
        .fetch_optional(tx.conn())
        .await
        .map(Option::flatten)
}

/// Replaces a password; false where it is another one by now.
pub(in crate::people) async fn replace_password(
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
pub(in crate::people) struct Profile {
    pub(in crate::people) user_id: Uuid,
    pub(in crate::people) email: Option<String>,
    pub(in crate::people) name: String,
    pub(in crate::people) locale: Option<String>,
    pub(in crate::people) theme: Option<String>,
    pub(in crate::people) created_at: DateTime<Utc>,
    pub(in crate::people) email_proved_at: Option<DateTime<Utc>>,
}

pub(in crate::people) async fn profile(tx: &mut PersonTx) -> sqlx::Result<Profile> {
    sqlx::query_as(
        "select user_id, email, name, locale, theme, created_at, email_proved_at from users
         where user_id = current_user_id()",
    )
    .fetch_one(tx.conn())
    .await
}

pub(in crate::people) async fn update_profile(
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
pub(in crate::people) struct MyApp {
    #[serde(rename = "id")]
    pub(in crate::people) slug: String,
    pub(in crate::people) name: String,
    pub(in crate::people) role: String,
}

pub(in crate::people) async fn my_apps(tx: &mut PersonTx) -> sqlx::Result<Vec<MyApp>> {
    sqlx::query_as(
        "select a.slug, a.name, m.role from app_members m join apps a using (app_id)
         where m.user_id = current_user_id() and a.status <> 'deleted' order by a.slug",
    )
    .fetch_all(tx.conn())
    .await
}
