//! The connections of the control plane, for each of two roles: a pool for transactions, and those for single statements.
//! Open them after migrating: the migrations make the roles.
//!
//! Deliberately absent: pools for the apps' own SQL. Each app has a login there; see `db_proxy`.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};

use super::{
    server::{Server, close, code, describe, quote},
    statements::Statements,
};

/// Tenants' transactions; row-level security applies.
const APP_ROLE: &str = "opg_app";
/// Credential look-up, envelopes and the platform's own work.
const SERVICE_ROLE: &str = "opg_service";
/// Transactions are short and never wait for a guest or a model: few connections serve many callers.
const APP_CONNECTIONS_MAX: u32 = 14;
/// One of them listens, for good.
const SERVICE_CONNECTIONS_MAX: u32 = 7;
/// Single statements are shorter still.
const APP_STATEMENTS_MAX: u32 = 6;
/// The same: nearly all look up a credential.
const SERVICE_STATEMENTS_MAX: u32 = 4;
/// A caller that cannot get a connection by then is better off with a 503.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection proved that it lives as it came back. One that waited for less than this is not asked again: of the
/// round trips of a short transaction that would be one in three.
pub(super) const TRUSTED_WITHOUT_PING: Duration = Duration::from_secs(1);
/// Long enough to be reused, short enough that a quiet server gives its memory back.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Backends grow with what they have cached; a new one starts small.
pub(super) const CONNECTION_LIFETIME: Duration = Duration::from_secs(1800);
/// No statement of the control plane should take a second; this stops the one that went wrong.
const STATEMENT_TIMEOUT_MS: u32 = 30_000;
/// Waiting longer for a lock means a deadlock of our own making or a migration under way.
const LOCK_TIMEOUT_MS: u32 = 5_000;
/// A transaction that was forgotten keeps rows locked and old versions alive.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u32 = 30_000;

/// Cheap to clone; the pools are shared.
#[derive(Clone)]
pub struct Pools {
    /// Every connection has done `SET ROLE opg_app`.
    pub app: PgPool,
    /// Every connection has done `SET ROLE opg_service`.
    pub service: PgPool,
    /// As [`Pools::app`], for single statements.
    pub(crate) app_statements: Statements,
    /// As [`Pools::service`], for single statements.
    pub(crate) service_statements: Statements,
}

impl Pools {
    /// Opens both, and proves that each role can be taken.
    pub async fn open(server: &Server) -> Result<Self, PoolError> {
        Ok(Self {
            app: open(server.admin(), APP_ROLE, APP_CONNECTIONS_MAX).await?,
            service: open(server.admin(), SERVICE_ROLE, SERVICE_CONNECTIONS_MAX).await?,
            app_statements: Statements::new(server.admin(), APP_ROLE, APP_STATEMENTS_MAX),
            service_statements: Statements::new(server.admin(), SERVICE_ROLE, SERVICE_STATEMENTS_MAX),
        })
    }

    /// How many connections are open.
    pub(crate) fn size(&self) -> u32 {
        let statements = self.app_statements.size() + self.service_statements.size();
        self.app.size() + self.service.size() + statements
    }

    /// A connection that hears `NOTIFY`. It is taken from the service's pool for good.
    pub async fn listener(&self) -> sqlx::Result<PgListener> {
        PgListener::connect_with(&self.service).await
    }

    /// Waits for what is running, then closes; before [`Server::stop`].
    pub async fn close(&self) {
        self.app_statements.close();
        self.service_statements.close();
        self.app.close().await;
        self.service.close().await;
    }
}

impl std::fmt::Debug for Pools {
    /// A pool's options hold the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pools")
            .field("app_connections", &self.app.size())
            .field("service_connections", &self.service.size())
            .field("statements", &(self.app_statements.size() + self.service_statements.size()))
            .finish()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("the role `{role}` does not exist: run the migrations first (opg migrate)")]
    NoRole { role: &'static str },
    #[error("`{login}` may not act as `{role}`. As a superuser, run: GRANT {role} TO {};", quote(login))]
    RoleRefused { role: &'static str, login: String },
    #[error("could not open the connections of `{role}`: {message}")]
    Connect { role: &'static str, message: String },
}

async fn open(
    options: PgConnectOptions,
    role: &'static str,
    connections_max: u32,
) -> Result<PgPool, PoolError> {
    prove(&options, role).await?;
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(CONNECTION_LIFETIME)
        .test_before_acquire(false)
        .before_acquire(|connection, waited| {
            Box::pin(async move {
                if waited.idle_for >= TRUSTED_WITHOUT_PING {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |connection, _| Box::pin(set_up(connection, role)))
        .connect_with(options)
        .await
        .map_err(|error| PoolError::Connect { role, message: describe(&error) })
}

/// A pool would retry a refused role until its timeout and then only say "timed out".
async fn prove(options: &PgConnectOptions, role: &'static str) -> Result<(), PoolError> {
    let failed = |error: sqlx::Error| match code(&error) {
        // invalid_parameter_value: role does not exist
        Some("22023") => PoolError::NoRole { role },
        Some("42501") => PoolError::RoleRefused { role, login: options.get_username().to_owned() },
        _ => PoolError::Connect { role, message: describe(&error) },
    };
    let mut connection = options.connect().await.map_err(failed)?;
    let result = set_up(&mut connection, role).await;
    close(connection).await;
    result.map_err(failed)
}

pub(super) async fn set_up(connection: &mut PgConnection, role: &str) -> sqlx::Result<()> {
    let statements = format!(
        "set statement_timeout = {STATEMENT_TIMEOUT_MS}; set lock_timeout = {LOCK_TIMEOUT_MS}; \
         set idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_TIMEOUT_MS}; set role {}",
        quote(role)
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.map(drop)
}
