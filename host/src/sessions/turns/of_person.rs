//! Cutting what runs for a person who may nothing any more.
//!
//! What waits needs no cutting: it is judged when it begins ([`super::drive`]).

use super::{Reason, Running, State, end, store};
use crate::{app::App, sessions::store as sessions};
use uuid::Uuid;

/// Cuts every turn that runs in a person's sessions, in whatever app and on whatever host; what was said stays.
///
/// # Errors
/// The database's; then some may run still.
pub(crate) async fn cut_all(app: &App, user_id: Uuid) -> sqlx::Result<()> {
    let running = {
        let mut tx = app.service_tx().await?;
        store::running_of_person(&mut tx, user_id).await?
    };
    for turn in running {
        cut(app, turn).await?;
    }
    Ok(())
}

async fn cut(app: &App, turn: Running) -> sqlx::Result<()> {
    let reason = Reason::new("not_allowed", "the person whose session this is was disabled");
    let mut tx = app.service_tx().await?;
    sessions::lock_of_any(tx.conn(), turn.session_id).await?;
    let written = end::cut(app, tx.conn(), turn, State::Aborted, &reason).await?;
    tx.commit().await?;
    if let Some(written) = written {
        written.tell(app);
    }
    end::after_cut(app, turn);
    Ok(())
}
