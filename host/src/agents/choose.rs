//! Which agent answers: the one that was asked for, or the app's default.

use crate::{
    app::App,
    grants::InApp,
    registry::{
        Description, PluginKind, PluginName,
        markdown::Tools,
        predefined::DEFAULT_AGENT,
        resolve::{self, Resolved},
    },
};

/// An agent, ready to run.
pub struct Agent {
    /// What is audited: the agent as it was asked for.
    pub name: PluginName,
    /// What runs: the agent itself, or the one that runs markdown.
    pub plugin: Resolved,
    /// The prompt of a markdown agent.
    pub instructions: Option<String>,
    /// The model it wants.
    pub model: Option<String>,
    /// The temperature it wants.
    pub temperature: Option<f64>,
    /// How many model calls it wants at the most.
    pub steps: Option<u32>,
    /// The tools it wants; none: all.
    pub tools: Option<Tools>,
    /// Whether the app uploaded it, rather than getting it from us.
    pub own: bool,
}

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// There is none of that name.
    #[error("no such agent: `{0}`; GET /v1/tenant/agents and /v1/predefined/agents list them")]
    NotFound(String),
    /// The one that runs markdown is not there.
    #[error(
        "the predefined agent `default` is not offered by this app; add it to `includePredefined.agents`"
    )]
    NoRunner,
    /// The database.
    #[error("the agents could not be read")]
    Db(#[from] sqlx::Error),
}

/// The agent of this name; the app's default, unless given.
///
/// # Errors
/// [`ChooseError`]
pub async fn choose(app: &App, proof: &impl InApp, name: Option<&str>) -> Result<Option<Agent>, ChooseError> {
    let all = resolve::known(app, proof, PluginKind::Agent).await?;
    let wanted = name.unwrap_or(DEFAULT_AGENT);
    let Some(found) = all.iter().find(|plugin| plugin.name.name == wanted) else {
        return match name {
            Some(name) => Err(ChooseError::NotFound(name.to_owned())),
            None => Ok(None),
        };
    };
    let own = !found.is_predefined();
    let agent = match &found.description {
        Description::Markdown(text) => {
            // Not one the app uploaded under the same name: that may itself be markdown.
            let runner =
                app.predefined.find(PluginKind::Agent, DEFAULT_AGENT).ok_or(ChooseError::NoRunner)?;
            Agent {
                name: found.name.clone(),
                plugin: Resolved::shipped(runner),
                instructions: Some(text.instructions.clone()),
                model: text.model.clone(),
                temperature: text.temperature,
                steps: text.steps,
                tools: text.tools.clone(),
                own,
            }
        }
        Description::Agent { .. } | Description::Tools { .. } => Agent {
            name: found.name.clone(),
            plugin: found.clone(),
            instructions: None,
            model: None,
            temperature: None,
            steps: None,
            tools: None,
            own,
        },
    };
    Ok(Some(agent))
}
