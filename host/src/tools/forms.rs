//! A tool in the forms that models and their clients take it in (row M367).
//!
//! All say the same of it: the schema is what the plugin described, byte for byte as it was reviewed.

use crate::sandbox::door::ToolDefinition;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The forms there are.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// As `tools` of OpenAI's chat completions has them.
    #[default]
    Openai,
    /// As the result of MCP's `tools/list` has them.
    Mcp,
}

/// One tool in one of them.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Formed {
    /// OpenAI's.
    Openai {
        /// `function`.
        r#type: &'static str,
        /// What it is.
        function: Function,
    },
    /// MCP's.
    #[serde(rename_all = "camelCase")]
    Mcp {
        /// The name to call it by.
        name: String,
        /// What it does, for the model.
        description: String,
        /// JSON Schema.
        input_schema: Box<RawValue>,
    },
}

/// What OpenAI calls a function.
#[derive(Debug, Serialize)]
pub struct Function {
    name: String,
    description: String,
    parameters: Box<RawValue>,
}

impl Form {
    /// A tool in this form.
    ///
    /// # Errors
    /// Where its schema is no JSON, which an upload checks.
    pub fn of(self, tool: ToolDefinition) -> serde_json::Result<Formed> {
        let ToolDefinition { name, description, input_schema } = tool;
        let schema = RawValue::from_string(input_schema)?;
        Ok(match self {
            Form::Openai => Formed::Openai {
                r#type: "function",
                function: Function { name, description, parameters: schema },
            },
            Form::Mcp => Formed::Mcp { name, description, input_schema: schema },
        })
    }
}
