//! What an app's tables may hold (row M157).

use super::{
    DatabaseError,
    limits::CLEANING_TIME_MAX,
    parse::{Statement, StatementKind},
    provision::Workspace,
    schema, session,
    wire::{Connection, WireError},
};
use crate::app::App;
use std::time::Duration;

/// What an app's schema holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// On disk, with indexes.
    pub(super) bytes: u64,
    /// How many.
    pub(super) tables: u64,
}

/// What the schema of this connection's login holds, as its transaction sees it.
pub(super) async fn usage(connection: &mut Connection) -> Result<Usage, DatabaseError> {
    let rows = connection.ask(session::USAGE).await?;
    let number = |at: usize| {
        let cell = rows.first()?.get(at)?.as_ref()?;
        std::str::from_utf8(&cell.text).ok()?.parse().ok()
    };
    let (Some(bytes), Some(tables)) = (number(0), number(1)) else { return Err(DatabaseError::Unavailable) };
    Ok(Usage { bytes, tables })
}

/// Whether a statement can make the schema larger. The others are how an app that is over its quota gets out.
pub(super) fn can_grow(statement: &Statement) -> bool {
    !matches!(
        statement.kind,
        StatementKind::Delete
            | StatementKind::Truncate
            | StatementKind::Drop
            | StatementKind::Comment
            | StatementKind::Analyze
            | StatementKind::Rename
            | StatementKind::Select
    )
}

/// Makes the space of rows that are gone usable again, outside of a transaction: a dry run, and a change that was
/// refused or stopped, leave the pages they wrote behind, which count until they are cleaned up. Done before an app
/// is told that it is full, or it would stand before a full disk that is empty.
pub(super) async fn clean(workspace: &Workspace, connection: &mut Connection) -> Result<(), DatabaseError> {
    connection.simple(&session::own_time(CLEANING_TIME_MAX)).await?;
    for relation in schema::seen(connection).await?.iter().filter(|relation| relation.kind == "table") {
        match connection.simple(&session::vacuum(workspace, &relation.name)).await {
            // One that took too long, or is gone meanwhile, is left as it is.
            Ok(()) | Err(WireError::Server(_)) => {}
            Err(cause) => return Err(cause.into()),
        }
    }
    Ok(connection.simple(&session::own_time(Duration::ZERO)).await?)
}

/// Refuses what made the schema larger than the app's quota. What is over it already may be used on: rows can go
/// where others were.
pub(super) fn check(app: &App, before: Usage, after: Usage) -> Result<(), DatabaseError> {
    let (bytes_max, tables_max) = (app.config.database_bytes_max, u64::from(app.config.database_tables_max));
    if after.bytes > bytes_max.max(before.bytes) {
        return Err(DatabaseError::Quota(format!(
            "this app's tables would hold {} MiB of {} MiB; delete rows or drop tables (space of deleted rows is used again)",
            after.bytes.div_ceil(1 << 20),
            bytes_max >> 20
        )));
    }
    if after.tables > tables_max.max(before.tables) {
        return Err(DatabaseError::Quota(format!(
            "this app would have {} tables of {tables_max}; drop some",
            after.tables
        )));
    }
    Ok(())
}
