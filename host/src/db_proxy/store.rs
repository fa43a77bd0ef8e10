//! All SQL of the database workspace that is not a tenant's: in the control plane's database, who has which login;
//! in the apps' database, as its owner, making and dropping workspaces and looking at the server.

use super::{
    limits::CONNECTIONS_PER_LOGIN_MAX,
    posture::Finding,
    provision::{Access, ProvisionError, Workspace},
};
use crate::{
    secrets::{Envelope, envelope::Sealed},
    tenants::{ServiceTx, TenantTx},
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgPool};
use uuid::Uuid;

// --- the control plane's database ---

pub(super) async fn insert_login(
    tx: &mut ServiceTx,
    login_id: Uuid,
    app_id: Uuid,
    access: Access,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into database_logins (login_id, app_id, access, encrypted_value, nonce, encrypted_data_key,
                                      data_key_nonce, key_version, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(login_id)
    .bind(app_id)
    .bind(access.name())
    .bind(&sealed.ciphertext)
    .bind(&sealed.nonce)
    .bind(&sealed.wrapped_key)
    .bind(&sealed.wrapped_nonce)
    .bind(sealed.key_version)
    .bind(now)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// The envelope of a login's password; none: the app has no workspace yet.
pub(super) async fn find_login(
    tx: &mut ServiceTx,
    app_id: Uuid,
    access: Access,
) -> sqlx::Result<Option<(Uuid, Sealed)>> {
    let found: Option<Envelope> = sqlx::query_as(
        "select login_id as row_id, encrypted_value, nonce, encrypted_data_key, data_key_nonce, key_version
         from database_logins where app_id = $1 and access = $2",
    )
    .bind(app_id)
    .bind(access.name())
    .fetch_optional(tx.conn())
    .await?;
    Ok(found.map(Envelope::into_parts))
}

pub(super) async fn delete_logins(tx: &mut ServiceTx, app_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from database_logins where app_id = $1")
        .bind(app_id)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Holds an app's row until the transaction ends, if the app is not deleted: whoever makes its workspace is alone.
pub(super) async fn lock_app(tx: &mut ServiceTx, app_id: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar("select true from apps where app_id = $1 and status <> 'deleted' for no key update")
        .bind(app_id)
        .fetch_optional(tx.conn())
        .await
        .map(|found: Option<bool>| found.is_some())
}

/// Apps that were deleted before `until` and still have a workspace: `(id, slug)`.
pub(super) async fn deleted_with_workspace(
    tx: &mut ServiceTx,
    until: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<(Uuid, String)>> {
    sqlx::query_as(
        "select app_id, slug from apps a where status = 'deleted' and deleted_at <= $1
           and exists (select from database_logins l where l.app_id = a.app_id)
         order by deleted_at limit $2",
    )
    .bind(until)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Something that was applied, as its audit row tells it.
#[derive(FromRow)]
pub(super) struct AppliedRow {
    pub(super) audit_id: Uuid,
    pub(super) occurred_at: DateTime<Utc>,
    pub(super) actor: String,
    pub(super) surface: String,
    pub(super) detail: Value,
}

/// What was applied, newest first. A change that failed after it was written down has a second row, which is
/// left out here and looked at through the first one's transaction.
pub(super) async fn list_applied(
    tx: &mut TenantTx,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<AppliedRow>> {
    sqlx::query_as(
        "select audit_id, occurred_at, actor, surface, detail from audit_events
         where action = 'db.apply' and result = 'ok' and ($1::uuid is null or audit_id < $1)
         order by audit_id desc limit $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

// --- the apps' database, as its owner ---

/// A word in quotes, safe inside a statement.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\"").replace('\0', ""))
}

/// Makes an app's logins and schema. `verifiers`: what proves each login's password.
pub(super) async fn create_workspace(
    admin: &PgPool,
    workspace: &Workspace,
    verifiers: &[(Access, String)],
) -> Result<(), ProvisionError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where connections to the apps' database come from"
    )]
    let mut tx = admin.begin().await?;
    if !clear_leftover(&mut tx, workspace).await? {
        return Err(ProvisionError::Occupied(workspace.schema().to_owned()));
    }
    let (owner, reader) = (workspace.role(Access::Owner), workspace.role(Access::Reader));
    for (access, verifier) in verifiers {
        let role = workspace.role(*access);
        run(&mut tx, &format!(
            "create role {role} login noinherit nocreatedb nocreaterole connection limit {CONNECTIONS_PER_LOGIN_MAX} password '{verifier}'"
        ))
        .await?;
        run(
            &mut tx,
            &format!("comment on role {role} is 'OPG: {} of app {}'", access.name(), workspace.slug()),
        )
        .await?;
    }
    let (schema, database) = (quote(workspace.schema()), quote(&database(&mut tx).await?));
    // Acting for a role one made takes membership, unless one is a superuser.
    let membership = format!(
        "do $$ begin if not (select rolsuper from pg_roles where rolname = current_user) then \
           execute format('grant {owner} to %I', current_user); end if; end $$"
    );
    for statement in [
        membership,
        format!("create schema {schema}"),
        format!("grant connect on database {database} to {owner}, {reader}"),
        format!("grant usage, create on schema {schema} to {owner}"),
        format!("grant usage on schema {schema} to {reader}"),
        format!(
            "alter default privileges for role {owner} in schema {schema} grant select on tables to {reader}"
        ),
        // Nor may anybody else run what an app would define, if it could.
        format!("alter default privileges for role {owner} revoke execute on functions from public"),
        format!("alter default privileges for role {owner} revoke usage on types from public"),
    ] {
        run(&mut tx, &statement).await?;
    }
    sqlx::query("insert into opg.workspaces (app_id, schema_name, prefix, owner_role, reader_role) values ($1, $2, $3, $4, $5)")
        .bind(workspace.app_id())
        .bind(workspace.schema())
        .bind(workspace.namespace().as_str())
        .bind(&owner)
        .bind(&reader)
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

/// Removes what an attempt to make an app of this slug left behind: the control plane has no such app, or the caller
/// would not be here. Whether the way is free: what holds a table is somebody's and stays.
async fn clear_leftover(conn: &mut PgConnection, workspace: &Workspace) -> sqlx::Result<bool> {
    let there: Option<bool> = sqlx::query_scalar(
        "select exists (select from pg_class c where c.relnamespace = n.oid) from pg_namespace n where nspname = $1",
    )
    .bind(workspace.schema())
    .fetch_optional(&mut *conn)
    .await?;
    match there {
        None => Ok(true),
        Some(true) => Ok(false),
        Some(false) => {
            let leftover: Option<(String, String)> = sqlx::query_as(
                "delete from opg.workspaces where schema_name = $1 returning owner_role, reader_role",
            )
            .bind(workspace.schema())
            .fetch_optional(&mut *conn)
            .await?;
            // A schema that is in no list of ours was made by somebody else.
            let Some((owner, reader)) = leftover else { return Ok(false) };
            drop_schema_and_roles(conn, workspace.schema(), &[owner, reader]).await?;
            Ok(true)
        }
    }
}

/// Drops an app's schema with all in it, and its logins; what is not there any more is passed over.
pub(super) async fn drop_workspace(admin: &PgPool, workspace: &Workspace) -> sqlx::Result<()> {
    let roles = [workspace.role(Access::Owner), workspace.role(Access::Reader)];
    end_sessions(admin, &roles).await?;
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where connections to the apps' database come from"
    )]
    let mut tx = admin.begin().await?;
    let listed: Option<String> =
        sqlx::query_scalar("delete from opg.workspaces where app_id = $1 returning schema_name")
            .bind(workspace.app_id())
            .fetch_optional(&mut *tx)
            .await?;
    if let Some(schema) = listed {
        drop_schema_and_roles(&mut tx, &schema, &roles).await?;
    }
    tx.commit().await
}

async fn drop_schema_and_roles(conn: &mut PgConnection, schema: &str, roles: &[String]) -> sqlx::Result<()> {
    run(conn, &format!("drop schema if exists {} cascade", quote(schema))).await?;
    for role in roles {
        let there: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
            .bind(role)
            .fetch_one(&mut *conn)
            .await?;
        if there {
            // Default privileges and the right to connect.
            run(conn, &format!("drop owned by {} cascade", quote(role))).await?;
            run(conn, &format!("drop role {}", quote(role))).await?;
        }
    }
    Ok(())
}

/// Lets an app's logins in no more, and ends what they do.
pub(super) async fn close_workspace(admin: &PgPool, workspace: &Workspace) -> sqlx::Result<()> {
    let roles = [workspace.role(Access::Owner), workspace.role(Access::Reader)];
    for role in &roles {
        let there: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
            .bind(role)
            .fetch_one(admin)
            .await?;
        if there {
            sqlx::raw_sql(AssertSqlSafe(format!("alter role {} nologin", quote(role))))
                .execute(admin)
                .await?;
        }
    }
    end_sessions(admin, &roles).await
}

async fn end_sessions(admin: &PgPool, roles: &[String]) -> sqlx::Result<()> {
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where usename = any($1)")
        .bind(roles)
        .execute(admin)
        .await
        .map(drop)
}

async fn run(conn: &mut PgConnection, statement: &str) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(conn).await.map(drop)
}

async fn database(conn: &mut PgConnection) -> sqlx::Result<String> {
    sqlx::query_scalar("select current_database()::text").fetch_one(conn).await
}

/// Puts the third wall up, where the server lets us: all of it or none.
pub(super) async fn harden(admin: &PgPool) -> sqlx::Result<()> {
    /// Any number, the same in every version: hosts of one database harden one after another.
    const ADVISORY_LOCK: i64 = 0x6f70_675f_6861_7264;
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where connections to the apps' database come from"
    )]
    let mut tx = admin.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(ADVISORY_LOCK).execute(&mut *tx).await?;
    run(&mut tx, include_str!("harden.sql")).await?;
    tx.commit().await
}

/// Which layers of the apps' database are up.
pub(super) async fn posture(admin: &PgPool) -> sqlx::Result<Vec<Finding>> {
    sqlx::query_as(include_str!("posture.sql")).fetch_all(admin).await
}

/// How each of these transactions ended: `committed`, `aborted`, `in progress`; none where the server has forgotten.
pub(super) async fn transactions(
    admin: &PgPool,
    ids: &[String],
) -> sqlx::Result<Vec<(String, Option<String>)>> {
    sqlx::query_as(
        "select id, case when id::xid8 < pg_snapshot_xmax(pg_current_snapshot()) then pg_xact_status(id::xid8) end
         from unnest($1::text[]) id",
    )
    .bind(ids)
    .fetch_all(admin)
    .await
}
