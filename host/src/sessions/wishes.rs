//! What a session, a message or a task wishes for: whether it is there.

use crate::{
    agents::{self, Agent},
    app::App,
    chat::send::{ChatError, full_id},
    grants::InApp,
    models::ModelId,
    tenants::configure,
};

/// Whether the agent and the model that are named are there; the agent, where one is named.
///
/// # Errors
/// [`ChatError`], saying what is not there.
pub(super) async fn check(
    app: &App,
    proof: &impl InApp,
    agent: Option<&str>,
    model: Option<&str>,
) -> Result<Option<Agent>, ChatError> {
    let found = match agent {
        Some(_) => agents::choose(app, proof, agent).await?,
        None => None,
    };
    if let Some(model) = model {
        let id = ModelId::parse(model).map_err(ChatError::Request)?;
        let (tenant, _providers) = configure::read(app, proof).await?;
        full_id(app, proof, &id, tenant.default_model.as_deref()).await?;
    }
    Ok(found)
}
