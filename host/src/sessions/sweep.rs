//! What time does to sessions: those whose time is over go, those nobody uses stop, and what a host that died has left
//! behind is brought to an end.

use super::{
    Status, artifacts,
    instances::{self, Target},
    log, status, store,
    turns::{drive, end},
};
use crate::{app::App, limits::SESSION_LEASE};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

/// How long an expired session still answers 410 rather than 404.
const KEPT_AFTER_EXPIRY: Duration = Duration::hours(24);
/// How many go in one transaction, or are looked at in one pass, so that none is long.
const BATCH: i64 = 500;

/// Removes every session that expired long enough ago; how many it was.
///
/// # Errors
/// The database's.
pub async fn expired(app: &App) -> sqlx::Result<u64> {
    let mut removed = 0;
    loop {
        let mut tx = app.service_tx().await?;
        let before = app.now() - KEPT_AFTER_EXPIRY;
        let expired = store::expired(&mut tx, before, BATCH).await?;
        // What is below them goes with them.
        let family = store::families(&mut tx, &expired).await?;
        artifacts::owe_all(app, tx.conn(), family.iter().copied()).await?;
        store::delete_all(&mut tx, &expired).await?;
        tx.commit().await?;
        let gone: Vec<Uuid> = family.iter().map(|(session_id, _)| *session_id).collect();
        artifacts::remove(app, &gone).await;
        let count = expired.len() as u64;
        removed += count;
        if count < BATCH.unsigned_abs() {
            break;
        }
    }
    if removed > 0 {
        artifacts::sweep(app).await?;
    }
    Ok(removed)
}

/// Removes what this host keeps of sessions that are not there any more: what a deletion could not remove itself.
///
/// # Errors
/// The database's.
pub async fn artifacts(app: &App) -> sqlx::Result<()> {
    artifacts::sweep(app).await
}

/// At a start on a database of our own, which no other process can be using: whatever is taken was taken by one that
/// died, and nobody makes anything ready.
///
/// # Errors
/// The database's.
pub async fn at_start(app: &App) -> sqlx::Result<u64> {
    if app.server.embedded().is_none() {
        return left_behind(app).await;
    }
    {
        let mut tx = app.service_tx().await?;
        instances::store::end_runners(&mut tx, "host_lost", app.now()).await?;
        tx.commit().await?;
    }
    end_left_behind(app, app.now() + SESSION_LEASE * 2, app.now()).await
}

/// Ends the turns of hosts that died, and lets run what waits; how many turns were ended.
///
/// # Errors
/// The database's.
pub async fn left_behind(app: &App) -> sqlx::Result<u64> {
    end_left_behind(app, app.now(), app.now() - instances::STEP_TIME_MAX * 2).await
}

async fn end_left_behind(
    app: &App,
    taken_until: DateTime<Utc>,
    creating_since: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let (overdue, stuck) = {
        let mut tx = app.service_tx().await?;
        (
            store::overdue(&mut tx, taken_until, BATCH).await?,
            store::stuck(&mut tx, creating_since, BATCH).await?,
        )
    };
    let mut ended = 0;
    // One that cannot be ended must not keep others from it.
    let failed = |session_id: Uuid, cause: sqlx::Error| {
        tracing::error!(%cause, %session_id, "what a dead host left of a session could not be ended");
    };
    for session_id in overdue {
        match end_overdue(app, session_id, taken_until).await {
            Ok(cut) => ended += u64::from(cut),
            Err(cause) => failed(session_id, cause),
        }
    }
    for session_id in stuck {
        if let Err(cause) = end_stuck(app, session_id).await {
            failed(session_id, cause);
        }
    }
    let waiting = {
        let mut tx = app.service_tx().await?;
        store::waiting(&mut tx, app.now(), BATCH).await?
    };
    for session_id in waiting {
        drive::drive(app, session_id);
    }
    Ok(ended)
}

/// Takes a session from a host that died.
async fn end_overdue(app: &App, session_id: Uuid, taken_until: DateTime<Utc>) -> sqlx::Result<bool> {
    let mut tx = app.service_tx().await?;
    let Some(session) = store::lock_of_any(tx.conn(), session_id).await? else { return Ok(false) };
    // Renewed, or given back, since it was looked for.
    if session.busy_until.is_none_or(|until| until > taken_until) {
        return Ok(false);
    }
    let of = (session_id, session.app_id);
    let cut = end::overdue(app, tx.conn(), of).await?;
    store::let_go(tx.conn(), session_id).await?;
    let was_active = session.status == Status::Active;
    let idle = if was_active {
        status::go(tx.conn(), session_id, Status::Idle, Some("host_lost")).await?
    } else {
        None
    };
    let written = log::write(app, tx.conn(), of, idle.into_iter().collect()).await?;
    tx.commit().await?;
    let ended = cut.is_some();
    cut.into_iter().chain([written]).for_each(|written| written.tell(app));
    Ok(ended)
}

/// A session that nobody makes ready any more. Its turns find out by themselves what is wrong, if anything is.
async fn end_stuck(app: &App, session_id: Uuid) -> sqlx::Result<()> {
    let mut tx = app.service_tx().await?;
    let Some(session) = store::lock_of_any(tx.conn(), session_id).await? else { return Ok(()) };
    if session.status != Status::Creating {
        return Ok(());
    }
    instances::store::end(tx.conn(), session_id, true, "host_lost", app.now()).await?;
    let of = (session_id, session.app_id);
    // A process is made when its guests are to run.
    if session.target == Target::Wasm {
        instances::store::begin(tx.conn(), of, app.new_id(), Target::Wasm, true, app.now()).await?;
    }
    let idle = status::go(tx.conn(), session_id, Status::Idle, Some("host_lost")).await?;
    let written = log::write(app, tx.conn(), of, idle.into_iter().collect()).await?;
    tx.commit().await?;
    instances::ended(app, session_id);
    written.tell(app);
    Ok(())
}

/// Stops the sessions nobody has used for `INSTANCE_IDLE_TTL`: what they run on goes, their data stays.
///
/// # Errors
/// The database's.
pub async fn unused(app: &App) -> sqlx::Result<u64> {
    let since = app.now() - app.config.instance_idle_ttl;
    let unused = {
        let mut tx = app.service_tx().await?;
        store::unused(&mut tx, since, BATCH).await?
    };
    let mut stopped = 0;
    for session_id in unused {
        let mut tx = app.service_tx().await?;
        let Some(session) = store::lock_of_any(tx.conn(), session_id).await? else { continue };
        let waits = super::turns::store::count_queued(tx.conn(), session_id).await? > 0;
        if session.status != Status::Idle || session.busy_until.is_some() || waits {
            continue;
        }
        instances::store::end(tx.conn(), session_id, false, "unused", app.now()).await?;
        let draft = status::go(tx.conn(), session_id, Status::Stopped, Some("unused")).await?;
        let written =
            log::write(app, tx.conn(), (session_id, session.app_id), draft.into_iter().collect()).await?;
        tx.commit().await?;
        instances::ended(app, session_id);
        written.tell(app);
        stopped += 1;
    }
    Ok(stopped)
}
