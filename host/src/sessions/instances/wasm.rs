//! The `wasm` driver: an agent in this host's sandbox.

use super::{
    Driver, ProvisionError, Spec,
    step::{Step, Steps},
};
use crate::{agents, app::App, grants::InApp, guests::Place};
use async_trait::async_trait;
use uuid::Uuid;

/// Its instances hold nothing: ready is an agent whose code is here and compiled.
pub(super) struct Wasm;

#[async_trait]
impl Driver for Wasm {
    async fn provision(&self, app: &App, spec: &Spec, steps: &Steps<'_>) -> Result<Place, ProvisionError> {
        steps.take(Step::Provision, Box::pin(compiled(app, spec))).await?;
        Ok(Place::Here)
    }

    fn destroy(&self, _app: &App, _instance_id: Uuid) {}

    fn status(&self, _app: &App, _instance_id: Uuid) -> Option<Place> {
        Some(Place::Here)
    }
}

/// Makes sure that the session's agent can be had, and its code is compiled.
pub(super) async fn compiled(app: &App, spec: &Spec) -> Result<(), ProvisionError> {
    let failed = |cause: String| ProvisionError(cause);
    let agent = agents::choose(app, &spec.acting, spec.agent.as_deref()).await;
    // Without one a turn goes to its model as it is.
    let Some(agent) = agent.map_err(|cause| failed(cause.to_string()))? else { return Ok(()) };
    let loaded = agent.plugin.component(app, spec.acting.app().app_id).await;
    loaded.map(drop).map_err(|cause| failed(cause.to_string()))
}
