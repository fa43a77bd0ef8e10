//! What an app's tables may hold (row M157).

use super::{
    DatabaseError,
    parse::{Statement, StatementKind},
    session,
    wire::Connection,
};
use crate::app::App;

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

/// Refuses what is over the app's quota.
pub(super) fn check(app: &App, usage: Usage) -> Result<(), DatabaseError> {
    let (bytes_max, tables_max) = (app.config.database_bytes_max, u64::from(app.config.database_tables_max));
    if usage.bytes > bytes_max {
        return Err(DatabaseError::Quota(format!(
            "this app's tables hold {} MiB of {} MiB; delete rows or drop tables (space of deleted rows is used again)",
            usage.bytes >> 20,
            bytes_max >> 20
        )));
    }
    if usage.tables > tables_max {
        return Err(DatabaseError::Quota(format!(
            "this app would have {} tables of {tables_max}; drop some",
            usage.tables
        )));
    }
    Ok(())
}
