//! What outlives its request: asked for with `Prefer: respond-async` (RFC 7240), run in the background, asked after
//! and cancelled under `/v1/tasks` (rows M106, M130).
//!
//! Rules:
//! - what is wrong with a request is said at once, as without; only what takes time becomes a task;
//! - a task is the app's, or the person's who asked for it, and nobody else sees it;
//! - it ends once: done, failed or canceled, and the row decides between those who would end it at the same time;
//! - one whose process died has failed (`interrupted`): it is not run again, for what it cost nobody knows;
//! - it is forgotten a day after it was asked for, as what it made is.
//!
//! Deliberately absent: a queue, attempts, and progress that no provider tells.

pub mod routes;
mod store;
pub mod sweep;

pub use store::TaskRow;

use crate::{
    app::App,
    error::ApiError,
    grants::{Acting, InApp},
    limits::DRAIN_TIME_MAX,
};
use chrono::Duration;
use http::{HeaderMap, HeaderName};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Tasks of one owner that run at once: each holds a connection to a provider.
pub const TASKS_RUNNING_MAX: i64 = 16;
/// How long a task is remembered: as long as the picture it made ([`crate::ai::files::FILE_LIFE`]).
pub const TASK_LIFE: Duration = Duration::hours(24);
/// How long a task belongs to a process that says nothing.
pub const TASK_LEASE: Duration = Duration::seconds(60);
/// How often a process says that it lives, and hears that a task was cancelled on another host.
const RENEW_EVERY: std::time::Duration = std::time::Duration::from_secs(5);
/// How long before everything closes a task that still runs is given up, so that this can be written down.
const GIVEN_UP_BEFORE: std::time::Duration = std::time::Duration::from_secs(2);

/// `Prefer`.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Makes pictures.
    Image,
}

impl TaskKind {
    /// The name in the table and in answers.
    pub const fn name(self) -> &'static str {
        match self {
            TaskKind::Image => "image",
        }
    }
}

/// The tasks that run in this process.
#[derive(Default)]
pub struct RunningTasks(Mutex<HashMap<Uuid, CancellationToken>>);

/// Why there is no task, or it was not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// There is none of this id.
    #[error("no such task")]
    NotFound,
    /// It ended before.
    #[error("the task has ended: it is {0}")]
    Ended(String),
    /// Too many run already.
    #[error("{TASKS_RUNNING_MAX} tasks run at once at the most; wait until one has ended, or cancel one")]
    TooMany,
    /// The database.
    #[error("the task could not be read or written")]
    Db(#[from] sqlx::Error),
}

/// How a task ended.
enum End {
    Made(Result<Value, ApiError>),
    /// Somebody cancelled it, and has written that down.
    Canceled,
    /// The process stops.
    Interrupted,
}

/// Whether a client would rather not wait.
pub fn is_preferred(headers: &HeaderMap) -> bool {
    let said = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut words = said.flat_map(|value| value.split(',')).filter_map(|word| word.split(';').next());
    words.any(|word| word.trim().eq_ignore_ascii_case("respond-async"))
}

/// Starts a task of whoever acts.
///
/// # Errors
/// [`TaskError`]; nothing was begun then.
pub(crate) async fn start(
    app: &App,
    proof: &impl InApp,
    kind: TaskKind,
    work: impl Future<Output = Result<Value, ApiError>> + Send + 'static,
) -> Result<TaskRow, TaskError> {
    let task_id = app.new_id();
    let mut tx = app.tenant_tx(proof).await?;
    store::lock(&mut tx, proof).await?;
    if store::count_running(&mut tx).await? >= TASKS_RUNNING_MAX {
        return Err(TaskError::TooMany);
    }
    let row = store::insert(&mut tx, task_id, proof, kind, app.process_id, app.now()).await?;
    // Before anybody can know its id.
    let canceled = app.tasks.add(task_id);
    let (running, acting) = (app.clone(), Acting::of(proof));
    let begun = tx.commit().await;
    if begun.is_ok() {
        drop(app.spawn(async move { run(&running, &acting, task_id, canceled, work).await }));
    } else {
        app.tasks.remove(task_id);
    }
    begun?;
    Ok(row)
}

async fn run(
    app: &App,
    acting: &Acting,
    task_id: Uuid,
    canceled: CancellationToken,
    work: impl Future<Output = Result<Value, ApiError>>,
) {
    let end = tokio::select! {
        biased;
        () = canceled.cancelled() => End::Canceled,
        made = work => End::Made(made),
        () = renewed_no_more(app, acting, task_id) => End::Canceled,
        () = stopping(app) => End::Interrupted,
    };
    app.tasks.remove(task_id);
    let written = match end {
        End::Canceled => return,
        End::Made(Ok(result)) => finish(app, acting, task_id, Ok(&result)).await,
        End::Made(Err(error)) => {
            finish(app, acting, task_id, Err((error.code.as_str(), error.detail.as_str()))).await
        }
        End::Interrupted => finish(app, acting, task_id, Err(sweep::INTERRUPTED)).await,
    };
    if let Err(cause) = written {
        tracing::error!(%cause, %task_id, "how a task ended could not be written down");
    }
}

async fn finish(
    app: &App,
    acting: &Acting,
    task_id: Uuid,
    end: Result<&Value, (&str, &str)>,
) -> sqlx::Result<()> {
    let mut tx = app.tenant_tx(acting).await?;
    store::finish(&mut tx, task_id, end, app.now()).await?;
    tx.commit().await
}

/// Renews the lease for as long as the task runs; returns where somebody has ended it.
async fn renewed_no_more(app: &App, acting: &Acting, task_id: Uuid) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let renewed = async {
            let mut tx = app.tenant_tx(acting).await?;
            let runs = store::renew(&mut tx, task_id, app.now() + TASK_LEASE).await?;
            tx.commit().await?;
            Ok::<_, sqlx::Error>(runs)
        };
        match renewed.await {
            Ok(true) => {}
            Ok(false) => return,
            Err(cause) => tracing::warn!(%cause, %task_id, "a task's lease could not be renewed"),
        }
    }
}

/// Returns when the process stops and will not wait any longer.
async fn stopping(app: &App) {
    app.stopping.cancelled().await;
    tokio::time::sleep(DRAIN_TIME_MAX.saturating_sub(GIVEN_UP_BEFORE)).await;
}

/// Cancels a task, wherever it runs.
///
/// # Errors
/// [`TaskError`]
pub(crate) async fn cancel(app: &App, proof: &impl InApp, task_id: Uuid) -> Result<TaskRow, TaskError> {
    let mut tx = app.tenant_tx(proof).await?;
    let canceled = store::cancel(&mut tx, task_id, app.now()).await?;
    let row = store::find(&mut tx, task_id, app.now()).await?.ok_or(TaskError::NotFound)?;
    if !canceled {
        return Err(TaskError::Ended(row.status));
    }
    tx.commit().await?;
    app.tasks.cancel(task_id);
    Ok(row)
}

/// Cancels every task of a person's that runs, in whatever app; one on another host hears of it when it next says that
/// it lives.
///
/// # Errors
/// The database's; nothing was cancelled then.
pub(crate) async fn cancel_all_of(app: &App, user_id: Uuid) -> sqlx::Result<()> {
    let mut tx = app.service_tx().await?;
    let canceled = store::cancel_all_of(&mut tx, user_id, app.now()).await?;
    tx.commit().await?;
    canceled.into_iter().for_each(|task_id| app.tasks.cancel(task_id));
    Ok(())
}

impl RunningTasks {
    fn add(&self, task_id: Uuid) -> CancellationToken {
        let token = CancellationToken::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(task_id, token.clone());
        token
    }

    fn remove(&self, task_id: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&task_id);
    }

    fn cancel(&self, task_id: Uuid) {
        if let Some(token) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&task_id) {
            token.cancel();
        }
    }
}

impl TaskRow {
    /// As the API shows it.
    pub fn describe(&self) -> Value {
        let error = self.error_code.as_ref().map(|code| json!({ "code": code, "detail": self.error_detail }));
        json!({
            "id": self.task_id,
            "object": "task",
            "kind": self.kind,
            "status": self.status,
            "created_at": self.created_at,
            "ended_at": self.ended_at,
            "expires_at": self.expires_at,
            "result": self.result,
            "error": error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn m106_a_preference_is_a_word_of_a_list_and_nothing_else() {
        let prefers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, HeaderValue::from_static(value));
            }
            is_preferred(&headers)
        };
        for yes in ["respond-async", "Respond-Async", "wait=10, respond-async", "respond-async; x=1"] {
            assert!(prefers(&[yes]), "{yes}");
        }
        assert!(prefers(&["return=minimal", "respond-async"]), "in a header of its own");
        for no in ["", "respond", "respond-async-later", "wait=respond-async"] {
            assert!(!prefers(&[no]), "{no}");
        }
        assert!(!prefers(&[]));
    }
}
