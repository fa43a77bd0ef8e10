//! A backup: an app's own schema as SQL text, by PostgreSQL's own `pg_dump` (row M158).
//!
//! Streamed as it is made; who stops reading stops the program. It signs in as the owner of the apps' database, for
//! an app's login may not read the catalogs, and dumps the one schema we name. The password is in its environment,
//! which no other user can read, neither in an argument nor in a URL.

use super::{
    limits::{BACKUP_TIME_MAX, BACKUPS_MAX},
    provision::Workspace,
};
use crate::app::App;
use bytes::Bytes;
use futures_util::{Stream, stream};
use percent_encoding::percent_decode_str;
use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use std::{io, path::Path, process::Stdio, sync::Arc, time::Instant};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStdout, Command},
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// Bytes passed on at once.
const CHUNK_BYTES: usize = 64 << 10;
/// What is kept of what the program complains about, in bytes.
const COMPLAINT_BYTES_MAX: u64 = 4 << 10;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackupError {
    /// Too many at once.
    #[error("{BACKUPS_MAX} backups are being made already; try again in a moment")]
    Busy,
    /// The program is not here.
    #[error(
        "this host has no pg_dump as new as its database; install PostgreSQL's client programs \
         (Debian: apt install postgresql-client)"
    )]
    NoProgram,
    /// It did not start, or ended at once.
    #[error("the backup could not be made: {0}")]
    Failed(io::Error),
}

/// Starts a backup of this workspace. The text ends early, with an error, where the program fails on the way.
pub(super) async fn start(
    app: &App,
    workspace: &Workspace,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, BackupError> {
    let slot = app.database.backups.clone().try_acquire_owned().map_err(|_| BackupError::Busy)?;
    let program = app.server.pg_dump().ok_or(BackupError::NoProgram)?;
    let mut command = command(&program, &app.server.apps_admin(), workspace.schema());
    let mut child = command.spawn().map_err(BackupError::Failed)?;
    let Some(out) = child.stdout.take() else { return Err(BackupError::NoProgram) };
    let mut dump = Dump { child, out, until: Instant::now() + BACKUP_TIME_MAX, _slot: slot };
    // What fails at once fails before the answer begins.
    let first = dump.next().await.map_err(BackupError::Failed)?;
    let rest = stream::try_unfold(Some(dump), |dump| async {
        let Some(mut dump) = dump else { return Ok(None) };
        Ok(dump.next().await?.map(|chunk| (chunk, Some(dump))))
    });
    Ok(futures_util::StreamExt::chain(stream::iter(first.map(Ok)), rest))
}

/// As many backups at once as one host makes.
pub(super) fn slots() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(BACKUPS_MAX))
}

struct Dump {
    child: Child,
    out: ChildStdout,
    until: Instant,
    _slot: OwnedSemaphorePermit,
}

impl Dump {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let left = self.until.saturating_duration_since(Instant::now());
        let mut chunk = vec![0; CHUNK_BYTES];
        let read =
            tokio::time::timeout(left, self.out.read(&mut chunk)).await.map_err(io::Error::other)??;
        if read > 0 {
            chunk.truncate(read);
            return Ok(Some(chunk.into()));
        }
        if self.child.wait().await?.success() { Ok(None) } else { Err(self.complaint().await) }
    }

    async fn complaint(&mut self) -> io::Error {
        let mut text = String::new();
        if let Some(stderr) = self.child.stderr.take() {
            drop(stderr.take(COMPLAINT_BYTES_MAX).read_to_string(&mut text).await);
        }
        tracing::error!(pg_dump = text.trim(), "a backup failed");
        io::Error::other("pg_dump failed")
    }
}

fn command(program: &Path, admin: &PgConnectOptions, schema: &str) -> Command {
    let url = admin.to_url_lossy();
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let host = admin.get_socket().map_or(admin.get_host().to_owned(), |dir| dir.display().to_string());
    let mut command = Command::new(program);
    command
        .args(["--schema", schema, "--no-owner", "--no-privileges", "--no-tablespaces", "--no-publications"])
        .args(["--no-subscriptions", "--no-security-labels", "--lock-wait-timeout=5s", "--no-password"])
        .env_clear()
        .env("LC_ALL", "C")
        .env("PGHOST", host)
        .env("PGPORT", admin.get_port().to_string())
        .env("PGUSER", admin.get_username())
        .env("PGDATABASE", admin.get_database().unwrap_or_default())
        .env("PGPASSWORD", decoded(url.password().unwrap_or_default()))
        .env("PGSSLMODE", format!("{:?}", admin.get_ssl_mode()).to_lowercase().replace("verify", "verify-"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
