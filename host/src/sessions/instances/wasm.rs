//! The `wasm` driver: an agent in this host's sandbox.

use super::{Driver, ProvisionError, Spec};
use crate::{agents, app::App, grants::InApp};
use async_trait::async_trait;

/// Its instances hold nothing: ready is an agent whose code is here and compiled.
pub(super) struct Wasm;

#[async_trait]
impl Driver for Wasm {
    async fn provision(&self, app: &App, spec: &Spec) -> Result<(), ProvisionError> {
        let failed = |cause: String| ProvisionError(cause);
        let agent = agents::choose(app, &spec.acting, spec.agent.as_deref()).await;
        // Without one a turn goes to its model as it is.
        let Some(agent) = agent.map_err(|cause| failed(cause.to_string()))? else { return Ok(()) };
        let loaded = agent.plugin.component(app, spec.acting.app().app_id).await;
        loaded.map(drop).map_err(|cause| failed(cause.to_string()))
    }
}
