//! Making the instance of a session ready, and what comes of it.

use super::{ProvisionError, Spec, Target, place, step, store};
use crate::{
    app::App,
    grants::Acting,
    guests::Place,
    sessions::{
        Status,
        log::{self, Draft, Written},
        status, store as sessions,
        turns::{Reason, Running, State, drive, end, store as turns},
    },
};
use sqlx::PgConnection;
use uuid::Uuid;

/// Makes it ready in the background. The session is `creating` meanwhile; then it is `idle` and its turns run, or
/// `error` with the reason.
pub(crate) fn start(
    app: &App,
    acting: Acting,
    session_id: Uuid,
    instance_id: Uuid,
    agent: Option<String>,
    target: Target,
) {
    let work = {
        let app = app.clone();
        async move {
            let spec = Spec { acting, session_id, instance_id, agent };
            let made = place::ready(&app, target, &spec).await;
            if let Err(cause) = finish(&app, &spec, target, made).await {
                tracing::error!(%cause, %session_id, "an instance could not be written down; it will be ended");
            }
        }
    };
    app.spawn(work);
}

async fn finish(
    app: &App,
    spec: &Spec,
    target: Target,
    made: Result<Place, ProvisionError>,
) -> sqlx::Result<()> {
    let (now, Spec { acting, session_id, instance_id, .. }) = (app.now(), spec);
    let mut tx = app.tenant_tx(acting).await?;
    let Some(session) = sessions::lock(&mut tx, *session_id).await? else {
        target.driver().destroy(app, *instance_id);
        return Ok(());
    };
    // A chat request may have taken it meanwhile: then it has shown that it can run.
    let waits = session.status == Status::Creating;
    let of = (*session_id, session.app_id);
    let (mut told, mut kept) = (vec![], true);
    let mut drafts = vec![];
    match &made {
        Err(error) if waits => {
            let reason = Reason::new("not_ready", error.to_string());
            if !store::fail(tx.conn(), *instance_id, &reason.message, now).await? {
                // Another has taken its place: that one says how the session stands.
                return Ok(());
            }
            drafts.extend(fail(app, tx.conn(), of, &reason, &mut told).await?);
        }
        Err(error) if target == Target::Process => {
            // A chat request has it: it makes another, or says why not.
            store::fail(tx.conn(), *instance_id, &error.to_string(), now).await?;
        }
        _ => {
            // Ended meanwhile: the session was stopped.
            kept = store::ready(tx.conn(), *instance_id, now).await?;
            if kept && made.is_ok() {
                drafts.push(step::is_ready((*instance_id, target)));
            }
            if kept && waits {
                drafts.extend(status::go(tx.conn(), *session_id, Status::Idle, None).await?);
            }
        }
    }
    let written = log::write(app, tx.conn(), of, drafts).await?;
    tx.commit().await?;
    told.into_iter().chain([written]).for_each(|written| written.tell(app));
    if !kept {
        target.driver().destroy(app, *instance_id);
    }
    if made.is_ok() {
        drive::drive(app, *session_id);
    }
    Ok(())
}

/// A session has nothing to run on: it is `error`, and turns that wait have failed with it. The caller holds its row.
pub(super) async fn fail(
    app: &App,
    conn: &mut PgConnection,
    (session_id, app_id): (Uuid, Uuid),
    reason: &Reason,
    told: &mut Vec<Written>,
) -> sqlx::Result<Option<Draft>> {
    for turn_id in turns::queued(conn, session_id).await? {
        let turn = Running { session_id, app_id, turn_id };
        told.push(end::drop_waiting(app, conn, turn, State::Failed, reason).await?);
    }
    status::go(conn, session_id, Status::Error, Some(&reason.message)).await
}
