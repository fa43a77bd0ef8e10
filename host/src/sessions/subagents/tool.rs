//! Handing a task on, as a model sees it: a tool.

use super::{
    Subtask,
    run::{self, Source},
    store,
};
use crate::{
    agents::Agent,
    guests::{Chain, Delegate},
    limits::{SUBAGENT_DEPTH_MAX, SUBAGENTS_LISTED_MAX},
    registry::{Description, PluginKind, resolve},
    sandbox::door::{DoorError, ToolDefinition},
    sessions::permissions::gate::Gate,
};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{fmt::Write as _, sync::Arc};

/// The tool's name. A tool of the app's own goes before it.
pub const NAME: &str = "task";

/// What a model is told of it, before the agents are listed.
const ABOUT: &str = include_str!("task.md");
/// What a model is told of one agent, in characters.
const AGENT_CHARS_MAX: usize = 300;

/// The tool of one turn.
pub(crate) struct Task {
    source: Source,
    gate: Arc<Gate>,
    definition: ToolDefinition,
}

/// What a model writes.
#[derive(Deserialize)]
struct Input {
    agent: String,
    prompt: String,
    #[serde(default)]
    description: Option<String>,
}

impl Task {
    /// The tool for the agent of a turn; none where it may hand nothing on.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn of(
        source: &Source,
        gate: &Arc<Gate>,
        agent: &Agent,
    ) -> sqlx::Result<Option<Arc<dyn Delegate>>> {
        let wanted = agent.tools.as_ref().is_none_or(|tools| tools.offers(NAME, NAME));
        if !wanted || gate.refuses(NAME).await? {
            return Ok(None);
        }
        let depth = {
            let mut tx = source.app.tenant_tx(&source.allowed).await?;
            store::depth(&mut tx, source.turn.session_id).await?
        };
        if depth >= SUBAGENT_DEPTH_MAX {
            return Ok(None);
        }
        let definition = ToolDefinition {
            name: NAME.to_owned(),
            description: format!("{ABOUT}{}", agents(source).await?),
            input_schema: schema().to_string(),
        };
        Ok(Some(Arc::new(Task { source: source.clone(), gate: gate.clone(), definition })))
    }
}

/// The agents there are, a line each.
async fn agents(source: &Source) -> sqlx::Result<String> {
    let mut usable = resolve::usable(&source.app, &source.allowed, PluginKind::Agent).await?;
    usable.sort_by(|a, b| a.name.name.cmp(&b.name.name));
    let mut list = String::new();
    for agent in usable.iter().take(SUBAGENTS_LISTED_MAX) {
        let about = match &agent.description {
            Description::Markdown(text) => text.description.as_str(),
            Description::Agent { description } => description.as_str(),
            Description::Tools { .. } => "",
        };
        let about: String = about.split_whitespace().collect::<Vec<_>>().join(" ");
        let about: String = about.chars().take(AGENT_CHARS_MAX).collect();
        // Writing to a text does not fail.
        let _ = writeln!(list, "- `{}`: {about}", agent.name.name);
    }
    Ok(list)
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "agent": { "type": "string", "description": "The name of one of the agents listed above." },
            "prompt": { "type": "string", "description": "The task, with all that the agent needs to know." },
            "description": { "type": "string", "description": "The task in three to five words, for people." }
        },
        "required": ["agent", "prompt"],
        "additionalProperties": false
    })
}

#[async_trait]
impl Delegate for Task {
    fn definition(&self) -> &ToolDefinition {
        &self.definition
    }

    async fn run(&self, chain: &Chain, input: String) -> Result<String, DoorError> {
        let input = self.gate.permit_call(chain, NAME, Vec::new, input).await?;
        let read: Input = serde_json::from_str(&input).map_err(|cause| {
            DoorError::Invalid(format!("the input does not fit the tool's schema: {cause}"))
        })?;
        let task = Subtask {
            agent: read.agent,
            prompt: read.prompt,
            description: read.description.filter(|text| !text.trim().is_empty()),
            model: None,
        };
        if let Some(wrong) = task.check("").first() {
            return Err(DoorError::Invalid(format!("{}: {}", wrong.pointer, wrong.message)));
        }
        let said = run::run(&self.source, chain, &task).await?;
        Ok(Value::String(said).to_string())
    }
}
