//! What other hosts wrote: `LISTEN` on the channel that [`super::write`] notifies.

use super::{
    Owner,
    store::{CHANNEL, GONE},
};
use crate::{app::App, sessions::turns::running};
use sqlx::postgres::PgListener;
use std::time::Duration;
use uuid::Uuid;

/// How long to wait before listening again after the connection broke.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Listens until the process stops. Where the connection breaks, readers look for what they missed.
pub async fn run(app: App) {
    let stopping = app.stopping.clone();
    tokio::select! {
        () = stopping.cancelled() => {}
        () = listen(&app) => {}
    }
}

async fn listen(app: &App) {
    loop {
        let cause = match app.pools.listener().await {
            Ok(mut listener) => match hear(app, &mut listener).await {
                Ok(never) => match never {},
                Err(cause) => cause,
            },
            Err(cause) => cause,
        };
        tracing::warn!(%cause, "other hosts' sessions are not heard of; trying again");
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn hear(app: &App, listener: &mut PgListener) -> sqlx::Result<std::convert::Infallible> {
    listener.listen(CHANNEL).await?;
    app.session_hub.news_of_all();
    loop {
        // None: the connection was lost and made anew; what was said meanwhile is lost.
        match listener.try_recv().await? {
            Some(told) => heard(app, told.payload()),
            None => app.session_hub.news_of_all(),
        }
    }
}

fn heard(app: &App, payload: &str) {
    let words: Vec<&str> = payload.split(' ').collect();
    let [id, rest @ ..] = words.as_slice() else { return };
    let Ok(id) = Uuid::parse_str(id) else { return };
    match rest {
        [running::CUT] => app.running_turns.cut(id),
        [GONE, app_id, user_id] => {
            if let Some(owner) = owner(app_id, user_id) {
                app.session_hub.gone(id, owner);
            }
        }
        [last, first, app_id, user_id] => {
            if let (Ok(last), Ok(first), Some(owner)) = (last.parse(), first.parse(), owner(app_id, user_id))
            {
                app.session_hub.news(id, owner, first, last);
            }
        }
        _ => {}
    }
}

fn owner(app_id: &str, user_id: &str) -> Option<Owner> {
    let user_id = match user_id {
        "-" => None,
        id => Some(Uuid::parse_str(id).ok()?),
    };
    Some(Owner { app_id: Uuid::parse_str(app_id).ok()?, user_id })
}
