//! All SQL of the registry.

use super::{Description, PluginKind, PluginName, Requested};
use crate::{
    grants::{Capability, CapabilityKind},
    tenants::{ServiceTx, TenantTx},
    tools::runs,
};
use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

/// A plugin.
#[derive(Clone, Debug, FromRow)]
pub(super) struct PluginRow {
    /// Its key.
    pub plugin_id: Uuid,
    /// Its name.
    pub name: String,
    /// The version that runs, if one does.
    pub active_version: Option<i32>,
    /// When it was first uploaded.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// A version of a plugin.
#[derive(Clone, Debug, FromRow)]
pub struct VersionRow {
    /// From 1.
    pub version: i32,
    /// `component`, `markdown` or `typescript`.
    pub format: String,
    /// The digest of its bytes: of what runs.
    pub sha256: String,
    /// The digest of the file they were made of, if they were.
    pub source_sha256: Option<String>,
    /// Their size.
    pub size_bytes: i64,
    /// What it said it is.
    pub description: Json<Description>,
    /// What it asks for.
    pub requested: Json<Vec<Requested>>,
    /// When it was uploaded.
    pub uploaded_at: DateTime<Utc>,
    /// Whether it passed: by review, or because it says and asks nothing new.
    pub passed: bool,
    /// The key that signed it, if one had to.
    pub signed_by: Option<String>,
}

const PLUGIN: &str = "plugin_id, name, active_version, created_at, updated_at";
const VERSION: &str =
    "v.version, v.format, v.sha256, v.source_sha256, v.size_bytes, v.description, v.requested,
                       v.signed_by,
                       v.created_at as uploaded_at, exists (select from plugin_reviews r
                         where r.plugin_id = v.plugin_id and r.version = v.version) as passed";

/// How many tools the newest versions of all other plugins hold.
pub(super) async fn count_tools_beside(tx: &mut TenantTx, plugin_id: Uuid) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select coalesce(sum(jsonb_array_length(v.description -> 'tools')), 0)::bigint from plugins p
         join lateral (select description from plugin_versions where plugin_id = p.plugin_id order by version desc limit 1) v
           on true
         where p.kind = 'tool' and p.plugin_id <> $1",
    )
    .bind(plugin_id)
    .fetch_one(tx.conn())
    .await
}

/// Takes the app's lock on its registry until the transaction ends.
pub(super) async fn lock(conn: &mut PgConnection, app_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("plugins/{app_id}"))
        .execute(conn)
        .await
        .map(drop)
}

pub(super) async fn find(tx: &mut TenantTx, plugin: &PluginName) -> sqlx::Result<Option<PluginRow>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!("select {PLUGIN} from plugins where kind = $1 and name = $2")))
        .bind(plugin.kind.name())
        .bind(&plugin.name)
        .fetch_optional(tx.conn())
        .await
}

pub(super) async fn count(tx: &mut TenantTx, kind: PluginKind) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from plugins where kind = $1")
        .bind(kind.name())
        .fetch_one(tx.conn())
        .await
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    plugin_id: Uuid,
    app_id: Uuid,
    plugin: &PluginName,
    now: DateTime<Utc>,
) -> sqlx::Result<PluginRow> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "insert into plugins (plugin_id, app_id, kind, name, created_at, updated_at) values ($1, $2, $3, $4, $5, $5)
         returning {PLUGIN}"
    )))
    .bind(plugin_id)
    .bind(app_id)
    .bind(plugin.kind.name())
    .bind(&plugin.name)
    .bind(now)
    .fetch_one(tx.conn())
    .await
}

pub(super) async fn delete(tx: &mut TenantTx, plugin: &PluginName) -> sqlx::Result<bool> {
    sqlx::query("delete from plugin_grants where plugin_kind = $1 and plugin_name = $2")
        .bind(plugin.kind.name())
        .bind(&plugin.name)
        .execute(tx.conn())
        .await?;
    sqlx::query("delete from plugin_kv where namespace = $1")
        .bind(plugin.to_string())
        .execute(tx.conn())
        .await?;
    if plugin.kind == PluginKind::Tool {
        runs::forget(tx, &plugin.name).await?;
    }
    sqlx::query("delete from plugins where kind = $1 and name = $2")
        .bind(plugin.kind.name())
        .bind(&plugin.name)
        .execute(tx.conn())
        .await
        .map(|done| done.rows_affected() == 1)
}

pub(super) async fn activate(
    tx: &mut TenantTx,
    plugin_id: Uuid,
    version: i32,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("update plugins set active_version = $2, updated_at = $3 where plugin_id = $1")
        .bind(plugin_id)
        .bind(version)
        .bind(now)
        .execute(tx.conn())
        .await
        .map(drop)
}

pub(super) async fn insert_version(
    tx: &mut TenantTx,
    plugin_id: Uuid,
    app_id: Uuid,
    version: &VersionRow,
    created_by: Option<Uuid>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into plugin_versions (plugin_id, app_id, version, format, sha256, size_bytes, description, requested,
                                      created_by, created_at, source_sha256, signed_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(plugin_id)
    .bind(app_id)
    .bind(version.version)
    .bind(&version.format)
    .bind(&version.sha256)
    .bind(version.size_bytes)
    .bind(&version.description)
    .bind(&version.requested)
    .bind(created_by)
    .bind(version.uploaded_at)
    .bind(&version.source_sha256)
    .bind(&version.signed_by)
    .execute(tx.conn())
    .await
    .map(drop)
}

pub(super) async fn newest_version(tx: &mut TenantTx, plugin_id: Uuid) -> sqlx::Result<Option<VersionRow>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {VERSION} from plugin_versions v where plugin_id = $1 order by version desc limit 1"
    )))
    .bind(plugin_id)
    .fetch_optional(tx.conn())
    .await
}

pub(super) async fn find_version(
    tx: &mut TenantTx,
    plugin_id: Uuid,
    version: i32,
) -> sqlx::Result<Option<VersionRow>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {VERSION} from plugin_versions v where plugin_id = $1 and version = $2"
    )))
    .bind(plugin_id)
    .bind(version)
    .fetch_optional(tx.conn())
    .await
}

/// Versions, newest first, `limit` of them older than `before`.
pub(super) async fn list_versions(
    tx: &mut TenantTx,
    plugin_id: Uuid,
    before: Option<i32>,
    limit: i64,
) -> sqlx::Result<Vec<VersionRow>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {VERSION} from plugin_versions v where plugin_id = $1 and ($2::int is null or version < $2)
         order by version desc limit $3"
    )))
    .bind(plugin_id)
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// The versions of a plugin that passed, newest first.
pub(super) async fn passed_versions(tx: &mut TenantTx, plugin_id: Uuid) -> sqlx::Result<Vec<VersionRow>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {VERSION} from plugin_versions v join plugin_reviews using (plugin_id, version)
         where plugin_id = $1 order by v.version desc"
    )))
    .bind(plugin_id)
    .fetch_all(tx.conn())
    .await
}

/// The versions that did not pass and are newer than what runs, oldest first.
pub(super) async fn waiting_versions(tx: &mut TenantTx, plugin_id: Uuid) -> sqlx::Result<Vec<VersionRow>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {VERSION} from plugin_versions v join plugins p using (plugin_id)
         where plugin_id = $1 and v.version > coalesce(p.active_version, 0)
           and not exists (select from plugin_reviews r where r.plugin_id = v.plugin_id and r.version = v.version)
         order by v.version"
    )))
    .bind(plugin_id)
    .fetch_all(tx.conn())
    .await
}

/// How a version passed.
#[derive(Clone, Copy, Debug)]
pub(super) enum PassedBy {
    /// Somebody looked at it.
    Person,
    /// Whoever uploaded it may review, and said that this is the review.
    Uploader,
    /// It says and asks nothing that did not pass before.
    NothingNew,
}

/// Writes down that a version passed.
pub(super) async fn insert_review(
    tx: &mut TenantTx,
    (plugin_id, version): (Uuid, i32),
    app_id: Uuid,
    passed_by: PassedBy,
    by: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let passed_by = match passed_by {
        PassedBy::Person => "person",
        PassedBy::Uploader => "uploader",
        PassedBy::NothingNew => "nothing_new",
    };
    sqlx::query(
        "insert into plugin_reviews (plugin_id, app_id, version, reviewed_by, reviewed_at, passed_by)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (plugin_id, version) do nothing",
    )
    .bind(plugin_id)
    .bind(app_id)
    .bind(version)
    .bind(by)
    .bind(now)
    .bind(passed_by)
    .execute(tx.conn())
    .await
    .map(drop)
}

/// Replaces what a plugin was granted.
pub(super) async fn replace_grants(
    tx: &mut TenantTx,
    app_id: Uuid,
    plugin: &PluginName,
    granted: &[Capability],
    by: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("delete from plugin_grants where plugin_kind = $1 and plugin_name = $2")
        .bind(plugin.kind.name())
        .bind(&plugin.name)
        .execute(tx.conn())
        .await?;
    for capability in granted {
        sqlx::query(
            "insert into plugin_grants (app_id, plugin_kind, plugin_name, kind, target, granted_by, granted_at)
             values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        )
        .bind(app_id)
        .bind(plugin.kind.name())
        .bind(&plugin.name)
        .bind(capability.kind.name())
        .bind(&capability.target)
        .bind(by)
        .bind(now)
        .execute(tx.conn())
        .await?;
    }
    Ok(())
}

/// What was granted, to one plugin or to all: `(plugin, capability)`.
pub(super) async fn list_grants(
    tx: &mut TenantTx,
    plugin: Option<&PluginName>,
) -> sqlx::Result<Vec<(PluginName, Capability)>> {
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(
        "select plugin_kind, plugin_name, kind, target from plugin_grants
         where $1::text is null or (plugin_kind = $1 and plugin_name = $2) order by 1, 2, 3, 4",
    )
    .bind(plugin.map(|p| p.kind.name()))
    .bind(plugin.map(|p| p.name.as_str()))
    .fetch_all(tx.conn())
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(plugin_kind, name, kind, target)| {
            let plugin_kind = if plugin_kind == "tool" { PluginKind::Tool } else { PluginKind::Agent };
            Some((
                PluginName { kind: plugin_kind, name },
                Capability::new(CapabilityKind::parse(&kind)?, target),
            ))
        })
        .collect())
}

/// A plugin with one of its versions.
#[derive(Clone, Debug, FromRow)]
pub(super) struct ListedRow {
    /// The plugin.
    #[sqlx(flatten)]
    pub plugin: PluginRow,
    /// The version.
    #[sqlx(flatten)]
    pub version: VersionRow,
}

const LISTED: &str = "p.plugin_id, p.name, p.active_version, p.created_at, p.updated_at";

/// Plugins with their newest version, by name, `limit` of them after `after`.
pub(super) async fn list(
    tx: &mut TenantTx,
    kind: PluginKind,
    after: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<ListedRow>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {LISTED}, {VERSION} from plugins p
         join lateral (select * from plugin_versions where plugin_id = p.plugin_id order by version desc limit 1) v on true
         where p.kind = $1 and ($2::text is null or p.name > $2) order by p.name limit $3"
    )))
    .bind(kind.name())
    .bind(after)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// A plugin with the version that runs.
#[derive(Clone, Debug, FromRow)]
pub(super) struct ActiveRow {
    /// Both.
    #[sqlx(flatten)]
    pub listed: ListedRow,
    /// The component that was made of its file for this runtime.
    pub made_anew: Option<String>,
}

/// Plugins that run, with the version that does, by name. `runtime` is the one of TypeScript tools.
pub(super) async fn list_active(
    tx: &mut TenantTx,
    kind: PluginKind,
    runtime: &str,
) -> sqlx::Result<Vec<ActiveRow>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {LISTED}, {VERSION}, b.sha256 as made_anew from plugins p
         join plugin_versions v on v.plugin_id = p.plugin_id and v.version = p.active_version
         left join typescript_builds b on b.plugin_id = v.plugin_id and b.version = v.version and b.runtime = $2
         where p.kind = $1 order by p.name"
    )))
    .bind(kind.name())
    .bind(runtime)
    .fetch_all(tx.conn())
    .await
}

/// Which predefined plugins the app wants; none: all (row M243).
pub(super) async fn offered_predefined(
    tx: &mut TenantTx,
    kind: PluginKind,
) -> sqlx::Result<Option<Vec<String>>> {
    let column = match kind {
        PluginKind::Tool => "predefined_tools",
        PluginKind::Agent => "predefined_agents",
    };
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "select {column} from apps where app_id = current_app_id()"
    )))
    .fetch_one(tx.conn())
    .await
}

/// The keys one of which must have signed what is uploaded; none: nobody has to.
pub(super) async fn trusted_keys(tx: &mut TenantTx) -> sqlx::Result<Vec<String>> {
    // Whoever changes them waits until what is decided by them is done.
    sqlx::query_scalar("select trusted_keys from apps where app_id = current_app_id() for share")
        .fetch_one(tx.conn())
        .await
}

// === what is made of TypeScript files ===

/// What was made of a version's file for a runtime: a component's digest, or why there is none.
pub(super) struct Build<'a> {
    /// The plugin and the version.
    pub which: (Uuid, i32),
    /// Whose they are.
    pub app_id: Uuid,
    /// The runtime's digest.
    pub runtime: &'a str,
    /// What came of it.
    pub made: Result<String, String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Writes down a build; whether none was there and the version still is.
pub(super) async fn keep_build(conn: &mut PgConnection, build: &Build<'_>) -> sqlx::Result<bool> {
    sqlx::query(
        "insert into typescript_builds (plugin_id, app_id, version, runtime, sha256, refused, made_at)
         select plugin_id, app_id, version, $4::text, $5::text, $6::text, $7::timestamptz from plugin_versions
         where plugin_id = $1 and app_id = $2 and version = $3
         on conflict do nothing",
    )
    .bind(build.which.0)
    .bind(build.app_id)
    .bind(build.which.1)
    .bind(build.runtime)
    .bind(build.made.as_ref().ok())
    .bind(build.made.as_ref().err())
    .bind(build.at)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// What was made of a version's file for this runtime, if anything was: its digest, or none where it was refused.
pub(super) async fn find_build(
    tx: &mut TenantTx,
    (plugin_id, version): (Uuid, i32),
    runtime: &str,
) -> sqlx::Result<Option<Option<String>>> {
    sqlx::query_scalar(
        "select sha256 from typescript_builds where plugin_id = $1 and version = $2 and runtime = $3",
    )
    .bind(plugin_id)
    .bind(version)
    .bind(runtime)
    .fetch_optional(tx.conn())
    .await
}

/// Active versions of which nothing was made for this runtime, the most recently used first: plugin and version.
pub(super) async fn of_other_runtimes(tx: &mut ServiceTx, runtime: &str) -> sqlx::Result<Vec<(Uuid, i32)>> {
    sqlx::query_as(
        "select v.plugin_id, v.version from plugins p
         join plugin_versions v on v.plugin_id = p.plugin_id and v.version = p.active_version
         join apps a on a.app_id = p.app_id and a.status <> 'deleted'
         where p.kind = 'tool' and v.source_sha256 is not null
           and not exists (select from typescript_builds b
                           where b.plugin_id = v.plugin_id and b.version = v.version and b.runtime = $1)
         order by (select max(r.occurred_at) from tool_runs r where r.app_id = p.app_id and r.plugin_name = p.name)
                  desc nulls last, v.created_at desc",
    )
    .bind(runtime)
    .fetch_all(tx.conn())
    .await
}

/// A version that is to be made anew.
#[derive(FromRow)]
pub(super) struct OldBuild {
    /// Whose it is.
    pub app_id: Uuid,
    /// The plugin's name.
    pub name: String,
    /// The digest of its file.
    pub source_sha256: String,
    /// What was reviewed.
    pub description: Json<Description>,
    /// What it asks for.
    pub requested: Json<Vec<Requested>>,
}

/// One of them, if it still is.
pub(super) async fn of_other_runtime(
    tx: &mut ServiceTx,
    (plugin_id, version): (Uuid, i32),
    runtime: &str,
) -> sqlx::Result<Option<OldBuild>> {
    sqlx::query_as(
        "select p.app_id, p.name, v.source_sha256, v.description, v.requested from plugins p
         join plugin_versions v on v.plugin_id = p.plugin_id and v.version = p.active_version
         where p.plugin_id = $1 and v.version = $2
           and not exists (select from typescript_builds b
                           where b.plugin_id = v.plugin_id and b.version = v.version and b.runtime = $3)",
    )
    .bind(plugin_id)
    .bind(version)
    .bind(runtime)
    .fetch_optional(tx.conn())
    .await
}
