//! The tools an app has, under the names they are called by.

use super::{exposed_name, sets_up};
use crate::{
    app::App,
    grants::InApp,
    registry::{
        PluginKind,
        markdown::Tools,
        resolve::{self, Resolved},
    },
    remembered::Remember,
    sandbox::door::ToolDefinition,
};
use std::sync::Arc;

/// One tool.
#[derive(Clone)]
pub struct Tool {
    /// What a model needs to know of it, under the name it is called by.
    pub definition: ToolDefinition,
    /// Its name inside its plugin.
    pub inner_name: String,
    /// Its plugin.
    pub plugin: Resolved,
}

/// All of them, by name.
#[derive(Clone, Default)]
pub struct Catalog {
    tools: Vec<Tool>,
}

/// The tools the app has.
///
/// # Errors
/// The database's.
pub async fn load(app: &App, proof: &impl InApp) -> sqlx::Result<Catalog> {
    let plugins = resolve::usable(app, proof, PluginKind::Tool).await?;
    let mut tools = vec![];
    for plugin in plugins {
        let inside = plugin.description.tools();
        for tool in inside {
            let name = exposed_name(&plugin.name.name, inside.len(), &tool.name);
            tools.push(Tool {
                definition: ToolDefinition { name, ..tool.clone() },
                inner_name: tool.name.clone(),
                plugin: plugin.clone(),
            });
        }
    }
    tools.sort_by(|a, b| a.definition.name.cmp(&b.definition.name));
    Ok(Catalog { tools })
}

/// The same, where it is used at once.
///
/// # Errors
/// The database's.
pub async fn known(app: &App, proof: &impl InApp) -> sqlx::Result<Arc<Catalog>> {
    app.remembered.get(proof, "all", load(app, proof)).await
}

/// Those of them that are worth offering to a model, where they are offered at once.
///
/// # Errors
/// The database's.
pub async fn known_offered(app: &App, proof: &impl InApp) -> sqlx::Result<Arc<Catalog>> {
    app.remembered.get(proof, "offered", async { Ok(load(app, proof).await?.offered()) }).await
}

impl Remember for Catalog {
    fn bytes(&self) -> usize {
        let text = |tool: &ToolDefinition| tool.name.len() + tool.description.len() + tool.input_schema.len();
        self.tools.iter().map(|tool| text(&tool.definition) + tool.plugin.bytes()).sum()
    }
}

impl Catalog {
    /// The tool of this name.
    pub fn find(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.definition.name == name)
    }

    /// Whether this names a tool, or a plugin with tools.
    pub fn knows(&self, name: &str) -> bool {
        self.tools.iter().any(|tool| tool.definition.name == name || tool.plugin.name.name == name)
    }

    /// What models need to know of them.
    pub fn definitions(&self) -> Vec<ToolDefinition> {
        self.tools.iter().map(|tool| tool.definition.clone()).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// Those guests and models may call: all but the ones that set a plugin up.
    pub fn for_guests(self) -> Catalog {
        Catalog { tools: self.tools.into_iter().filter(|tool| !sets_up(&tool.inner_name)).collect() }
    }

    /// Those worth offering to a model: none that sets a plugin up, and not a predefined one that could do
    /// nothing because the app granted it none of the outside it is for.
    pub fn offered(self) -> Catalog {
        let can_work = |tool: &Tool| {
            let outside = |c: &crate::grants::Capability| c.kind == crate::grants::CapabilityKind::Http;
            !tool.plugin.is_predefined()
                || !tool.plugin.requested.iter().any(outside)
                || tool.plugin.granted.iter().any(outside)
        };
        Catalog { tools: self.for_guests().tools.into_iter().filter(can_work).collect() }
    }

    /// Those a markdown agent is offered; its list may name a tool or its plugin.
    pub fn chosen(self, tools: Option<&Tools>) -> Catalog {
        let Some(chosen) = tools else { return self };
        let wanted = |tool: &Tool| chosen.offers(&tool.definition.name, &tool.plugin.name.name);
        Catalog { tools: self.tools.into_iter().filter(wanted).collect() }
    }
}
