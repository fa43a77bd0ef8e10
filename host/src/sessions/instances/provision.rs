//! Making the instance of a session ready, and what comes of it.

use super::{PROVISION_TIME_MAX, ProvisionError, Spec, Target, store};
use crate::{
    app::App,
    grants::{Acting, InApp},
    sessions::{
        Status, log, status, store as sessions,
        turns::{Reason, Running, State, drive, end, store as turns},
    },
};
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
            let spec = Spec { acting, agent };
            let made = tokio::time::timeout(PROVISION_TIME_MAX, target.driver().provision(&app, &spec)).await;
            let made = made.unwrap_or_else(|_| {
                Err(ProvisionError(format!("it was not ready after {} s", PROVISION_TIME_MAX.as_secs())))
            });
            if let Err(cause) = finish(&app, &spec.acting, session_id, instance_id, made).await {
                tracing::error!(%cause, %session_id, "an instance could not be written down; it will be ended");
            }
        }
    };
    app.spawn(work);
}

async fn finish(
    app: &App,
    acting: &Acting,
    session_id: Uuid,
    instance_id: Uuid,
    made: Result<(), ProvisionError>,
) -> sqlx::Result<()> {
    let now = app.now();
    let mut tx = app.tenant_tx(acting).await?;
    let Some(session) = sessions::lock(&mut tx, session_id).await? else { return Ok(()) };
    // A chat request may have taken it meanwhile: then it has shown that it can run.
    let waits = session.status == Status::Creating;
    let mut told = vec![];
    let draft = match &made {
        Err(error) if waits => {
            let reason = Reason::new("not_ready", error.to_string());
            if !store::fail(tx.conn(), instance_id, &reason.message, now).await? {
                // Another has taken its place: that one says how the session stands.
                return Ok(());
            }
            for turn_id in turns::queued(tx.conn(), session_id).await? {
                let turn = Running { session_id, app_id: session.app_id, turn_id };
                told.push(end::drop_waiting(app, tx.conn(), turn, State::Failed, &reason).await?);
            }
            status::go(tx.conn(), session_id, Status::Error, Some(&reason.message)).await?
        }
        _ => {
            // Ended meanwhile: the session was stopped.
            let ready = store::ready(tx.conn(), instance_id, now).await?;
            if ready && waits { status::go(tx.conn(), session_id, Status::Idle, None).await? } else { None }
        }
    };
    let drafts = draft.into_iter().collect();
    let written = log::write(app, tx.conn(), (session_id, acting.app().app_id), drafts).await?;
    tx.commit().await?;
    told.into_iter().chain([written]).for_each(|written| written.tell(app));
    if made.is_ok() {
        drive::drive(app, session_id);
    }
    Ok(())
}
