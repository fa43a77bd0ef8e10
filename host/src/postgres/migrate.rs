//! Brings the two databases to the shape this binary expects. Forward only.
//!
//! A database that is ahead of the binary is left alone: the old code would not know what it may write.

use std::collections::BTreeMap;

use sqlx::migrate::{Migrate, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

use super::server::{close, describe};

/// The migrations of the control plane's database.
pub static MIGRATOR: Migrator = sqlx::migrate!("../migrations");
/// Those of the database of the apps' own SQL.
pub static MIGRATOR_APPS: Migrator = sqlx::migrate!("../migrations/apps");

/// Any number, the same in every version: the hosts of one database migrate one after another.
const ADVISORY_LOCK: i64 = 0x6f70_675f_6d69_6772;
/// Another host may be in the middle of a long migration.
const OTHER_HOST_WAIT_MS: u32 = 300_000;
/// A migration that waits for a table's lock stops everybody who comes after it; better to fail and try again.
const TABLE_LOCK_WAIT_MS: u32 = 10_000;

/// How the database stands to this binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MigrationStatus {
    Current,
    /// These are to be run, oldest first.
    Pending(Vec<i64>),
    /// The database has these, the binary does not know them.
    Newer(Vec<i64>),
}

impl MigrationStatus {
    /// How two databases stand together: what is newer first, then what is pending.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Current, status) | (status, Self::Current) => status,
            (Self::Newer(mut versions), Self::Newer(more)) => {
                versions.extend(more);
                Self::Newer(versions)
            }
            (newer @ Self::Newer(_), _) | (_, newer @ Self::Newer(_)) => newer,
            (Self::Pending(mut versions), Self::Pending(more)) => {
                versions.extend(more);
                Self::Pending(versions)
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "the database is newer than this opg (it has migration {}): upgrade opg, or restore a backup",
        versions.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
    )]
    Newer { versions: Vec<i64> },
    #[error("migration {version} was run with another text than this opg has: use the release that ran it")]
    Changed { version: i64 },
    #[error("another host has been migrating for {} s: wait for it, then start again", OTHER_HOST_WAIT_MS / 1000)]
    Busy,
    #[error("migration {version} failed and was rolled back: {message}")]
    Failed { version: i64, message: String },
    #[error("could not read the state of the migrations: {message}")]
    Db { message: String },
}

/// Compares without changing anything.
pub async fn check(migrator: &Migrator, admin: &PgConnectOptions) -> Result<MigrationStatus, MigrateError> {
    let mut connection = admin.connect().await.map_err(db)?;
    let status = compare(migrator, &mut connection).await;
    close(connection).await;
    status
}

/// Runs what is pending, and returns those versions. Safe to run on many hosts at once.
pub async fn run(migrator: &Migrator, admin: &PgConnectOptions) -> Result<Vec<i64>, MigrateError> {
    let mut connection = admin.connect().await.map_err(db)?;
    let result = run_locked(migrator, &mut connection).await;
    // Ends the session, and with it the lock, on every path.
    close(connection).await;
    result
}

async fn run_locked(migrator: &Migrator, connection: &mut PgConnection) -> Result<Vec<i64>, MigrateError> {
    set_lock_timeout(connection, OTHER_HOST_WAIT_MS).await?;
    let locked =
        sqlx::query("select pg_advisory_lock($1)").bind(ADVISORY_LOCK).execute(&mut *connection).await;
    locked.map_err(|error| {
        if super::server::code(&error) == Some("55P03") { MigrateError::Busy } else { db(error) }
    })?;
    set_lock_timeout(connection, TABLE_LOCK_WAIT_MS).await?;

    let pending = match compare(migrator, connection).await? {
        MigrationStatus::Current => return Ok(Vec::new()),
        MigrationStatus::Newer(versions) => return Err(MigrateError::Newer { versions }),
        MigrationStatus::Pending(versions) => versions,
    };
    migrator.run_direct(None, connection, false).await.map_err(translate)?;
    tracing::info!(?pending, "migrated");
    Ok(pending)
}

async fn compare(
    migrator: &Migrator,
    connection: &mut PgConnection,
) -> Result<MigrationStatus, MigrateError> {
    // Where the migrations live must not depend on the login's own settings.
    sqlx::query("set search_path = public").execute(&mut *connection).await.map_err(db)?;
    let applied = applied(migrator, connection).await?;
    let known = || migrator.iter().filter(|migration| !migration.migration_type.is_down_migration());
    let newer: Vec<i64> =
        applied.keys().copied().filter(|version| known().all(|m| m.version != *version)).collect();
    if !newer.is_empty() {
        return Ok(MigrationStatus::Newer(newer));
    }
    let mut pending = Vec::new();
    for migration in known() {
        match applied.get(&migration.version) {
            None => pending.push(migration.version),
            Some(checksum) if **checksum == *migration.checksum => {}
            Some(_) => return Err(MigrateError::Changed { version: migration.version }),
        }
    }
    Ok(if pending.is_empty() { MigrationStatus::Current } else { MigrationStatus::Pending(pending) })
}

async fn applied(
    migrator: &Migrator,
    connection: &mut PgConnection,
) -> Result<BTreeMap<i64, Vec<u8>>, MigrateError> {
    let exists: bool = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(&*migrator.table_name)
        .fetch_one(&mut *connection)
        .await
        .map_err(db)?;
    if !exists {
        return Ok(BTreeMap::new());
    }
    let list = connection.list_applied_migrations(&migrator.table_name).await.map_err(translate)?;
    Ok(list.into_iter().map(|migration| (migration.version, migration.checksum.into_owned())).collect())
}

async fn set_lock_timeout(connection: &mut PgConnection, wait_ms: u32) -> Result<(), MigrateError> {
    let statement = format!("set lock_timeout = {wait_ms}; set statement_timeout = 0");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await.map(drop).map_err(db)
}

fn translate(error: sqlx::migrate::MigrateError) -> MigrateError {
    use sqlx::migrate::MigrateError as Theirs;
    match error {
        Theirs::ExecuteMigration(error, version) => {
            MigrateError::Failed { version, message: describe(&error) }
        }
        Theirs::VersionMissing(version) => MigrateError::Newer { versions: vec![version] },
        Theirs::VersionMismatch(version) => MigrateError::Changed { version },
        Theirs::Execute(error) => db(error),
        other => MigrateError::Db { message: other.to_string() },
    }
}

fn db(error: sqlx::Error) -> MigrateError {
    MigrateError::Db { message: describe(&error) }
}
