//! Opens the server OPG works with, ours or someone else's, and sees that its two databases exist.

use std::path::PathBuf;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgDatabaseError};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};

use super::POSTGRES_MAJOR_MIN;
use super::embedded::{Embedded, EmbeddedConfig, StartError};
use super::find::Places;

/// Shown in `pg_stat_activity`.
const APPLICATION_NAME: &str = "opg";
/// Where one connects to create a database that is not there yet.
const MAINTENANCE_DATABASE: &str = "postgres";

#[derive(Debug, Clone)]
pub struct PostgresConfig {
    pub location: Location,
    pub databases: DatabaseNames,
}

#[derive(Debug, Clone)]
pub enum Location {
    /// A server the operator runs. A database named in a URL wins over [`DatabaseNames`].
    External {
        /// `DATABASE_URL`: the control plane.
        url: SecretString,
        /// `DATABASE_APPS_URL`: the apps' own SQL; the same server if absent.
        apps_url: Option<SecretString>,
    },
    Embedded(EmbeddedConfig),
}

/// Tests choose their own, so that many can share one server.
#[derive(Debug, Clone)]
pub struct DatabaseNames {
    pub control: String,
    pub apps: String,
}

impl Default for DatabaseNames {
    fn default() -> Self {
        Self { control: "opg".into(), apps: "opg_apps".into() }
    }
}

/// A server that answers, with both databases in place.
pub struct Server {
    embedded: Option<Embedded>,
    control: PgConnectOptions,
    apps: PgConnectOptions,
    version_num: u32,
}

impl Server {
    /// Starts or reaches the server, checks its version and the login's rights, and creates missing databases.
    pub async fn open(config: &PostgresConfig) -> Result<Self, OpenError> {
        let names = &config.databases;
        let (embedded, control, apps) = match &config.location {
            Location::Embedded(embedded) => {
                let embedded = Embedded::start(embedded).await?;
                let (control, apps) = (embedded.admin(&names.control), embedded.admin(&names.apps));
                (Some(embedded), control, apps)
            }
            Location::External { url, apps_url } => {
                let control = parse_url(url, &names.control, "DATABASE_URL")?;
                let apps = match apps_url {
                    Some(url) => parse_url(url, &names.apps, "DATABASE_APPS_URL")?,
                    None => control.clone().database(&names.apps),
                };
                (None, control, apps)
            }
        };
        let control = control.application_name(APPLICATION_NAME);
        let apps = apps.application_name(APPLICATION_NAME);
        if place(&control) == place(&apps) {
            return Err(OpenError::SameDatabase { name: database_of(&control).to_owned() });
        }
        let version_num = prepare(&control).await?.min(prepare(&apps).await?);
        let server = Self { embedded, control, apps, version_num };
        server.close_to_public().await?;
        Ok(server)
    }

    /// How the admin login reaches the control plane's database.
    pub fn admin(&self) -> PgConnectOptions {
        self.control.clone()
    }

    /// How the admin login reaches the database of the apps' own SQL.
    pub fn apps_admin(&self) -> PgConnectOptions {
        self.apps.clone()
    }

    /// How an app's own login reaches the database of the apps' own SQL.
    pub fn apps_login(&self, username: &str, password: &SecretString) -> PgConnectOptions {
        self.apps.clone().username(username).password(password.expose_secret())
    }

    /// Whether our own server still runs; a server of someone else's counts as alive, asking it is the pool's job.
    pub fn is_alive(&self) -> bool {
        self.embedded.as_ref().is_none_or(Embedded::is_alive)
    }

    /// Returns when our own server has ended; never with someone else's.
    pub async fn died(&self) {
        match &self.embedded {
            Some(embedded) => embedded.died().await,
            None => std::future::pending().await,
        }
    }

    /// A `pg_dump` at least as new as the server, which an older one could not read.
    pub fn pg_dump(&self) -> Option<PathBuf> {
        let ours = self.embedded.iter().map(|embedded| embedded.binaries().clone());
        let others = Places::of_this_machine(None).find_all().unwrap_or_default();
        let new_enough = ours.chain(others).filter(|binaries| binaries.major >= self.major());
        new_enough.flat_map(|binaries| binaries.beside("pg_dump")).find(|program| program.exists())
    }

    pub fn embedded(&self) -> Option<&Embedded> {
        self.embedded.as_ref()
    }

    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }

    /// Stops our own server; close the pools first. Nothing happens to someone else's.
    pub async fn stop(&self) {
        if let Some(embedded) = &self.embedded {
            embedded.stop().await;
        }
    }

    /// An app's login has no business in the control plane, nor in the server's own databases when they are ours.
    async fn close_to_public(&self) -> Result<(), OpenError> {
        let mut databases = vec![database_of(&self.control)];
        if self.embedded.is_some() {
            databases.extend([MAINTENANCE_DATABASE, "template1"]);
        }
        let mut connection = connect(&self.control).await?;
        for database in databases {
            let statement = format!("revoke connect, temporary on database {} from public", quote(database));
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.map_err(|e| {
                OpenError::Query {
                    doing: "closing the control database to other logins",
                    message: describe(&e),
                }
            })?;
        }
        close(connection).await;
        Ok(())
    }
}

impl std::fmt::Debug for Server {
    /// The options hold passwords and their own `Debug` shows them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("embedded", &self.embedded)
            .field("control", &database_of(&self.control))
            .field("apps", &database_of(&self.apps))
            .field("version_num", &self.version_num)
            .finish()
    }
}

/// Why no server could be opened, and what to run to change that.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{variable} is not a Postgres URL (postgres://user:password@host:5432/database)")]
    BadUrl { variable: &'static str },
    #[error("cannot reach Postgres at {host} as `{login}`: {message}")]
    Connect { host: String, login: String, message: String },
    #[error("PostgreSQL {major} is too old: at least {POSTGRES_MAJOR_MIN} is needed")]
    TooOld { major: u32 },
    #[error("the control plane and the apps must not share the database `{name}`: set DATABASE_APPS_URL")]
    SameDatabase { name: String },
    #[error(
        "the database `{name}` does not exist and `{login}` may not create it. As a superuser, run: \
         CREATE DATABASE {} OWNER {};",
        quote(name),
        quote(login)
    )]
    CannotCreateDatabase { name: String, login: String },
    #[error(
        "`{login}` may not create roles, and every app gets a role of its own. As a superuser, run: \
         ALTER ROLE {} CREATEROLE;",
        quote(login)
    )]
    CannotCreateRoles { login: String },
    #[error("{doing}: {message}")]
    Query { doing: &'static str, message: String },
}

/// `"name"`, safe inside a statement.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\"").replace('\0', ""))
}

/// A database error in one line: what the server said, without the statement, the values or the detail.
pub(super) fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => match error.code() {
            Some(code) => format!("{} ({code})", error.message()),
            None => error.message().to_owned(),
        },
        other => other.to_string(),
    }
}

pub(super) fn code(error: &sqlx::Error) -> Option<&str> {
    Some(error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.code())
}

pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, OpenError> {
    options.connect().await.map_err(|error| connect_error(options, &error))
}

fn connect_error(options: &PgConnectOptions, error: &sqlx::Error) -> OpenError {
    OpenError::Connect {
        host: options.get_host().to_owned(),
        login: options.get_username().to_owned(),
        message: describe(error),
    }
}

pub(super) async fn close(connection: PgConnection) {
    // The work is done; how the goodbye goes does not matter.
    drop(connection.close().await);
}

fn parse_url(
    url: &SecretString,
    database: &str,
    variable: &'static str,
) -> Result<PgConnectOptions, OpenError> {
    let url = url.expose_secret();
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(OpenError::BadUrl { variable });
    }
    // The cause would repeat parts of the URL.
    let options = PgConnectOptions::from_str(url).map_err(|_| OpenError::BadUrl { variable })?;
    let options = options.disable_statement_logging();
    Ok(if options.get_database().is_none_or(str::is_empty) { options.database(database) } else { options })
}

fn database_of(options: &PgConnectOptions) -> &str {
    options.get_database().unwrap_or_default()
}

/// Two URLs of one place are one database; two spellings of one host are not noticed.
fn place(options: &PgConnectOptions) -> (&str, u16, Option<&PathBuf>, &str) {
    (options.get_host(), options.get_port(), options.get_socket(), database_of(options))
}

/// Sees that the database exists and that we may do in it what we must. Returns the server's version number.
async fn prepare(options: &PgConnectOptions) -> Result<u32, OpenError> {
    let mut connection = match options.connect().await {
        Ok(connection) => connection,
        // invalid_catalog_name
        Err(error) if code(&error) == Some("3D000") => {
            create_database(options).await?;
            connect(options).await?
        }
        Err(error) => return Err(connect_error(options, &error)),
    };
    let facts = sqlx::query(
        "select current_setting('server_version_num')::int4 as version_num, current_user::text as login, \
                (select rolsuper or rolcreaterole from pg_roles where rolname = current_user) as creates_roles",
    )
    .fetch_one(&mut connection)
    .await
    .and_then(|row| {
        let version_num: i32 = row.try_get("version_num")?;
        Ok((version_num.unsigned_abs(), row.try_get("login")?, row.try_get("creates_roles")?))
    });
    close(connection).await;
    let (version_num, login, creates_roles): (u32, String, bool) = facts.map_err(|error| {
        OpenError::Query { doing: "asking the server for its version", message: describe(&error) }
    })?;
    if version_num / 10_000 < POSTGRES_MAJOR_MIN {
        return Err(OpenError::TooOld { major: version_num / 10_000 });
    }
    if !creates_roles {
        return Err(OpenError::CannotCreateRoles { login });
    }
    Ok(version_num)
}

async fn create_database(options: &PgConnectOptions) -> Result<(), OpenError> {
    let name = database_of(options).to_owned();
    let login = options.get_username().to_owned();
    let mut connection = connect(&options.clone().database(MAINTENANCE_DATABASE)).await?;
    let statement = format!("create database {} encoding 'UTF8' template template0", quote(&name));
    let created = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await;
    close(connection).await;
    match created {
        Ok(_) => Ok(()),
        Err(error) => match code(&error) {
            // duplicate_database, or the same race seen by the unique index: another host was faster
            Some("42P04" | "23505") => Ok(()),
            Some("42501") => Err(OpenError::CannotCreateDatabase { name, login }),
            _ => Err(OpenError::Query { doing: "creating a database", message: describe(&error) }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(quote("plain"), "\"plain\"");
        assert_eq!(quote("a\"; drop database x; --"), "\"a\"\"; drop database x; --\"");
    }

    #[test]
    fn a_url_that_is_not_postgres_is_refused_without_repeating_it() {
        for url in ["mysql://root:hunter2@db/x", "hunter2", "postgres://u:hunter2@h:notaport/x", ""] {
            let error = parse_url(&SecretString::from(url), "opg", "DATABASE_URL").unwrap_err().to_string();
            assert!(error.contains("DATABASE_URL") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_database_in_a_url_wins_over_the_name() {
        let named = parse_url(&SecretString::from("postgres://u:p@h/mine"), "opg", "X").unwrap();
        let unnamed = parse_url(&SecretString::from("postgres://u:p@h"), "opg", "X").unwrap();
        assert_eq!((database_of(&named), database_of(&unnamed)), ("mine", "opg"));
    }
}
