//! What a transaction starts with, and what a connection is set to once.
//!
//! A connection belongs to one login of one app for as long as it lives, so nothing of one app's can reach another
//! through it. What bounds a statement is set anew in each transaction all the same.

use super::{
    limits::{
        DRY_RUN_LOCK_TIME_MAX, DRY_RUN_TIME_MAX, EXECUTE_TIME_MAX, IDLE_IN_TRANSACTION_TIME_MAX,
        LOCK_TIME_MAX, QUERY_TIME_MAX, WORK_MEMORY,
    },
    provision::Workspace,
};
use std::time::Duration;

/// After signing in: how values are written, so that they read the same everywhere.
pub(super) fn set_up() -> String {
    format!(
        "set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set intervalstyle = 'iso_8601'; \
         set bytea_output = 'hex'; set extra_float_digits = 1; set standard_conforming_strings = on; \
         set cursor_tuple_fraction = 1.0; set work_mem = '{WORK_MEMORY}'; set client_min_messages = error; \
         set idle_in_transaction_session_timeout = {idle}",
        idle = IDLE_IN_TRANSACTION_TIME_MAX.as_millis(),
    )
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Reading.
    Query,
    /// Changing, to be rolled back.
    DryRun,
    /// Changing.
    Apply,
}

impl Purpose {
    /// How long each statement may take on the server.
    pub(super) fn time_max(self) -> Duration {
        match self {
            Purpose::Query => QUERY_TIME_MAX,
            Purpose::DryRun => DRY_RUN_TIME_MAX,
            Purpose::Apply => EXECUTE_TIME_MAX,
        }
    }
}

/// Begins a transaction of `workspace`.
pub(super) fn begin(workspace: &Workspace, purpose: Purpose) -> String {
    let (mode, lock_time_max) = match purpose {
        Purpose::Query => ("read only", LOCK_TIME_MAX),
        Purpose::DryRun => ("read write", DRY_RUN_LOCK_TIME_MAX),
        Purpose::Apply => ("read write", LOCK_TIME_MAX),
    };
    // A schema's name is made of a slug: lower-case letters, digits and `_`. It comes first, for that is where new
    // tables go; what is built in is looked for before it all the same, as long as it is not named here.
    format!(
        "begin isolation level read committed {mode}; set local statement_timeout = {}; set local lock_timeout = {}; \
         set local standard_conforming_strings = on; set local search_path = {}, pg_temp",
        purpose.time_max().as_millis(),
        lock_time_max.as_millis(),
        workspace.schema(),
    )
}

/// Ends a transaction without a trace.
pub(super) const ROLLBACK: &str = "rollback";
/// Ends a transaction.
pub(super) const COMMIT: &str = "commit";
/// Constraints that would be looked at only by the commit are looked at now.
pub(super) const CHECK_DEFERRED: &str = "set constraints all immediate";
/// The transaction's number, by which its end can be asked for later.
pub(super) const TRANSACTION_ID: &str = "select pg_catalog.pg_current_xact_id()::text";
/// Tables, views and sequences of the own schema, with their sizes.
pub(super) const RELATIONS: &str = "select opg.relations(true)::text";
/// The same without sizes: what a change of the schema changes.
pub(super) const SCHEMA: &str = "select opg.relations(false)::text";
/// What the own schema holds.
pub(super) const USAGE: &str = "select bytes::text, tables::text from opg.own_usage()";
/// Makes space of rows that are gone usable again, and gives it back where it is the end of the table.
pub(super) fn vacuum(workspace: &Workspace, table: &str) -> String {
    // Who holds a lock on it is using it: another time.
    format!("vacuum (skip_locked) {}.\"{}\"", workspace.schema(), table.replace('"', "\"\""))
}

/// How long each statement may take that is in no transaction of [`begin`].
pub(super) fn own_time(time_max: Duration) -> String {
    format!("set statement_timeout = {}", time_max.as_millis())
}

/// The plan of a statement, not run.
pub(super) const EXPLAIN: &str = "explain (format json) ";
