//! The database workspace: SQL from people, guests and models, all of it hostile (rows M095–M099, M142–M159, M362).
//!
//! One way for all of them: **parse** ([`parse`]: PostgreSQL's own grammar, an allow-list over every node) →
//! **check** ([`check`]: the gate, asked for each table where a guest asks) → **run** ([`query`], [`execute`]) as the
//! app's own login, in a transaction that is bounded and, but for a confirmed change, rolled back.
//!
//! Three walls, each of which stands without the others:
//! 1. *Roles* (`provision`): two logins for each app that have no rights anywhere else. They keep table data
//!    apart, whatever else fails.
//! 2. *The parser*: good errors, and what roles leave open (names in catalogs, settings, locks, large objects).
//! 3. *Hardening* ([`posture`], `harden.sql`): the defaults of PostgreSQL that tell one app of another, taken away,
//!    where the server lets us.
//!
//! Rules: a guest never holds a connection, and none is held while one runs. User SQL travels through the extended
//! protocol alone (`wire`). Nothing is committed that is not written down in the audit log first. What the server
//! says of an error is passed on without its hint and detail.
//!
//! Deliberately absent: functions, triggers, types, extensions and roles of an app's own; transactions over several
//! requests; a cache of plans or results.

mod backup;
pub mod check;
mod error;
pub mod execute;
mod history;
pub mod limits;
mod logins;
mod manifest;
pub mod parse;
pub mod posture;
pub(crate) mod provision;
pub mod query;
mod quota;
pub mod routes;
mod schema;
mod session;
mod store;
pub mod sweep;
mod turns;
mod types;
mod values;
mod wire;

pub use error::DatabaseError;
pub use provision::ProvisionError;

use crate::postgres::{MIGRATOR_APPS, MigrateError, Server, run};
use limits::ADMIN_CONNECTIONS_MAX;
use logins::Logins;
use parse::{Mode, Parsed, Parser};
use provision::Workspace;
use sqlx::{PgPool, postgres::PgPoolOptions};
use turns::Turns;
use uuid::Uuid;

/// Why the apps' database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The migrations.
    #[error("{0}")]
    Migrate(#[from] MigrateError),
    /// The parser.
    #[error("no threads for the SQL parser: {0}")]
    Threads(std::io::Error),
}

/// What the host keeps for all apps' databases.
pub struct Database {
    admin: PgPool,
    logins: Logins,
    parser: Parser,
    /// An app parses one text at a time: a hostile one takes a quarter of a second of one of two threads.
    parsing: Turns<Uuid>,
    backups: std::sync::Arc<tokio::sync::Semaphore>,
}

impl Database {
    /// Brings the apps' database up to date and puts the walls up that the server lets us put up.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(server: &Server) -> Result<Database, OpenError> {
        run(&MIGRATOR_APPS, &server.apps_admin()).await?;
        let admin = PgPoolOptions::new()
            .max_connections(ADMIN_CONNECTIONS_MAX)
            .connect_lazy_with(server.apps_admin());
        if let Err(cause) = store::harden(&admin).await {
            let code =
                cause.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
            tracing::warn!(
                code,
                "the apps' database could not be hardened; `opg doctor` says what that leaves open"
            );
        }
        Ok(Database {
            admin,
            logins: Logins::default(),
            parser: Parser::start().map_err(OpenError::Threads)?,
            parsing: Turns::new(|_| 1),
            backups: backup::slots(),
        })
    }

    /// The owner of the apps' database; for `store` alone.
    pub(crate) fn admin(&self) -> &PgPool {
        &self.admin
    }

    /// The connections of apps' logins.
    pub(crate) fn logins(&self) -> &Logins {
        &self.logins
    }

    /// Parses a text of an app, when it is its turn.
    async fn parse(&self, workspace: &Workspace, sql: String, mode: Mode) -> Result<Parsed, DatabaseError> {
        let _turn = self.parsing.take(workspace.app_id()).await.ok_or(DatabaseError::Busy)?;
        Ok(self.parser.parse(sql, workspace.namespace().clone(), mode).await?)
    }

    /// Connections of apps' logins, in use or kept.
    pub fn connections(&self) -> usize {
        self.logins.connections()
    }

    /// Closes what was not used for a while, and forgets who waited for what.
    pub(crate) fn tidy(&self) {
        self.logins.close_idle();
        self.parsing.forget_idle();
    }

    /// Closes all connections, before the server stops.
    pub(crate) async fn close(&self) {
        self.logins.close_all();
        self.admin.close().await;
    }
}
