//! Every limit of the database workspace, with its unit and its reason. The parser's own are in `parse`.

use std::time::Duration;

/// Rows of a query unless asked for more (row M147).
pub const ROWS_DEFAULT: u32 = 100;
/// Rows of a query (row M147): a page for a program; more is another page.
pub const ROWS_MAX: u32 = 1000;
/// Rows shown of what a changing statement returns.
pub const RETURNED_ROWS_MAX: u32 = 100;
/// A result, or all results of an answer, in bytes of its values as the server writes them and of their names
/// (row M149).
pub const RESULT_BYTES_MAX: usize = 4 << 20;
/// One value, in bytes; what is longer is cut and said to be (row M149).
pub const CELL_BYTES_MAX: usize = 64 << 10;
/// Bytes kept of a cell while it is read: a `bytea` of [`CELL_BYTES_MAX`] is twice that as hexadecimal digits.
pub(super) const CELL_BYTES_KEPT: usize = 2 * CELL_BYTES_MAX + 2;
/// Bytes read of a result, most of them dropped, before the statement is stopped: each of a few rows may hold a
/// value that is cut, none may keep a connection busy for long.
pub(super) const WIRE_BYTES_MAX: usize = 64 << 20;
/// Parameters of a statement: PostgreSQL's protocol counts to 65,535; nobody writes more than these by hand.
pub const PARAMS_MAX: usize = 1000;

/// How long a query may take on the server (row M148).
pub const QUERY_TIME_MAX: Duration = Duration::from_secs(5);
/// How long each statement of an execute may take on the server (row M148).
pub const EXECUTE_TIME_MAX: Duration = Duration::from_secs(15);
/// How long all statements of an execute may take: a migration of several.
pub const EXECUTE_TOTAL_TIME_MAX: Duration = Duration::from_secs(60);
/// How long one table of an app that is full is cleaned up after, before the app is told.
pub(super) const CLEANING_TIME_MAX: Duration = Duration::from_secs(5);
/// A dry run really takes its locks; it lets go soon.
pub(super) const DRY_RUN_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a statement waits for a lock: behind a migration of the same app.
pub(super) const LOCK_TIME_MAX: Duration = Duration::from_secs(3);
/// How long a dry run waits for a lock: while it waits, everybody behind it waits too.
pub(super) const DRY_RUN_LOCK_TIME_MAX: Duration = Duration::from_millis(500);
/// How long a transaction may stand open between two of its statements: we are never that slow.
pub(super) const IDLE_IN_TRANSACTION_TIME_MAX: Duration = Duration::from_secs(10);
/// How much longer than the server we wait before we stop it ourselves.
pub(super) const CANCEL_GRACE: Duration = Duration::from_secs(1);
/// Memory of one sort or hash: a few of them in a few connections at once are bearable.
pub(super) const WORK_MEMORY: &str = "8MB";

/// Statements one app's reader may have running at once on one host.
pub(super) const READERS_PER_APP_MAX: usize = 3;
/// Statements one app's owner may have running at once on one host.
pub(super) const OWNERS_PER_APP_MAX: usize = 2;
/// `CONNECTION LIMIT` of each login: a few hosts, and connections that are being closed.
pub(super) const CONNECTIONS_PER_LOGIN_MAX: u32 = 8;
/// Connections of all apps on one host: the embedded server takes 100, of which the control plane has 30.
pub(super) const CONNECTIONS_MAX: usize = 50;
/// Connections kept of one login while nobody uses them: opening one costs some 30 times a small query.
pub(super) const KEPT_PER_LOGIN_MAX: usize = 2;
/// How long a connection is kept unused.
pub(super) const KEPT_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a statement waits for its turn before the caller is told to come back.
pub(super) const TURN_TIME_MAX: Duration = Duration::from_secs(5);
/// The platform's own connections to the apps' database: making and dropping workspaces, and looking.
pub(super) const ADMIN_CONNECTIONS_MAX: u32 = 3;

/// What an app's tables may hold on disk unless configured, in bytes (row M157).
pub const APP_BYTES: u64 = 1 << 30;
/// Tables of one app unless configured (row M157).
pub const APP_TABLES: u32 = 200;

/// How long a deleted app's schema and logins are kept (row M159).
pub const KEPT_AFTER_DELETE: chrono::Duration = chrono::Duration::days(7);
/// Workspaces dropped in one round of upkeep.
pub(super) const DROPPED_AT_ONCE_MAX: i64 = 20;
/// A backup at the longest: a gigabyte takes seconds.
pub(super) const BACKUP_TIME_MAX: Duration = Duration::from_secs(600);
/// Backups at once on one host: each is a process and a connection.
pub(super) const BACKUPS_MAX: usize = 2;
