//! The one place that knows where Postgres is.
//!
//! With a URL, any Postgres from version 15 on; without one, OPG starts and owns a private server in its data
//! directory ([`Embedded`]). Everything after [`Server::open`] is the same for both: two databases (the control
//! plane and the apps' own SQL), migrations run by the admin login, then pools that may only do what their role
//! may do.
//!
//! Rules:
//! - The embedded server listens on a private unix socket only, never runs as root, and never outlives its parent.
//! - A data directory has one owner: a second `opg` on it is refused, and so is another major version.
//! - No password is ever in an error, a log line or `Debug`.
//!
//! Deliberately absent: downloading a server, major upgrades (`pg_upgrade` is an operator's decision), restarting
//! a server that died (the supervisor above restarts the whole process; `/readyz` says why), and the logins of
//! single apps, which belong to `db_proxy`.

mod embedded;
mod find;
mod layout;
mod migrate;
mod pools;
mod process;
mod server;
mod statements;
#[cfg(test)]
mod tests;
mod verifier;

pub use embedded::{Embedded, EmbeddedConfig, StartError};
pub use find::{Binaries, FindError, Places};
pub use layout::LayoutError;
pub use migrate::{MIGRATOR, MIGRATOR_APPS, MigrateError, MigrationStatus, check, run};
pub use pools::{PoolError, Pools};
pub use server::{DatabaseNames, Location, OpenError, PostgresConfig, Server};
pub(crate) use statements::Statement;
pub(crate) use verifier::scram_verifier;

/// The oldest major version we run on: `security_invoker` views and the public-schema rights of 15.
pub const POSTGRES_MAJOR_MIN: u32 = 15;
