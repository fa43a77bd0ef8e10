//! Where the guests of a session's turn run.

use super::{
    ProvisionError, Spec, Target,
    step::{self, Steps},
    store,
};
use crate::{
    agents::run::RunError,
    app::App,
    grants::{Acting, InApp},
    guests::Place,
    sessions::{log, store as sessions},
};
use uuid::Uuid;

/// Why there is no place for a turn's guests.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It could not be made ready.
    #[error("what this session runs on could not be made ready: {0}")]
    NotReady(#[from] ProvisionError),
    /// The database.
    #[error("what this session runs on could not be looked up")]
    Db(#[from] sqlx::Error),
}

impl From<PlaceError> for RunError {
    fn from(error: PlaceError) -> RunError {
        match error {
            PlaceError::Db(cause) => cause.into(),
            PlaceError::NotReady(_) => RunError::NotReady(error.to_string()),
        }
    }
}

/// Where the guests of this session run: on what it runs on, or, where this host has none of that, on another that is
/// made ready now. To be called by whoever has the session: nobody else makes one meanwhile.
///
/// # Errors
/// [`PlaceError`]
pub async fn place(
    app: &App,
    acting: &Acting,
    (session_id, target): (Uuid, Target),
) -> Result<Place, PlaceError> {
    if target == Target::Wasm {
        return Ok(Place::Here);
    }
    let found = {
        let mut tx = app.tenant_tx(acting).await?;
        store::live(tx.conn(), session_id).await?
    };
    // Gone: whoever runs it will notice.
    let Some(found) = found else { return Ok(Place::Here) };
    if let Some(place) = found.instance_id.and_then(|id| target.driver().status(app, id)) {
        return Ok(place);
    }
    let instance_id = app.new_id();
    {
        let mut tx = app.tenant_tx(acting).await?;
        // Its host died, or another has the session now.
        store::end(tx.conn(), session_id, true, "host_lost", app.now()).await?;
        let of = (session_id, acting.app().app_id);
        store::begin(tx.conn(), of, instance_id, target, false, app.now()).await?;
        tx.commit().await?;
    }
    let spec = Spec { acting: acting.clone(), session_id, instance_id, agent: found.agent };
    let made = ready(app, target, &spec).await;
    let mut tx = app.tenant_tx(acting).await?;
    // Whoever changes a session holds its row: first, so that no two wait for each other.
    let is_there = sessions::lock(&mut tx, session_id).await?.is_some();
    let kept = match &made {
        Ok(_) => is_there && store::ready(tx.conn(), instance_id, app.now()).await?,
        Err(error) => store::fail(tx.conn(), instance_id, &error.to_string(), app.now()).await?,
    };
    let told = (made.is_ok() && kept).then(|| step::is_ready((instance_id, target)));
    let of = (session_id, acting.app().app_id);
    let written = log::write(app, tx.conn(), of, told.into_iter().collect()).await?;
    tx.commit().await?;
    written.tell(app);
    if made.is_ok() && !kept {
        target.driver().destroy(app, instance_id);
        return Err(ProvisionError("the session was stopped meanwhile".to_owned()).into());
    }
    Ok(made?)
}

/// Makes an instance ready, and tells each step of it but the last: that it is ready is told with what comes of it.
pub(super) async fn ready(app: &App, target: Target, spec: &Spec) -> Result<Place, ProvisionError> {
    target.driver().provision(app, spec, &Steps::of(app, spec, target)).await
}
