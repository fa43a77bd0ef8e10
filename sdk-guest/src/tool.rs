//! From a Rust function to what the host calls: the schema, the input, the
//! output. The macros do no more than implement [`Tool`].

use std::fmt::Display;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Error;
use crate::bindings::tool::exports::opg::tool::tool as export;
use crate::bindings::tool::opg::tool::types;

/// A tool, as [`macro@crate::tool`] makes it from a function.
pub trait Tool {
    /// The name a model calls it by.
    const NAME: &'static str;
    /// What it does and when to use it, for the model.
    const DESCRIPTION: &'static str;
    /// What it wants to touch.
    const CAPABILITIES: &'static [Capability];
    /// What it is called with: a JSON object.
    type Input: DeserializeOwned + JsonSchema;

    /// Runs it; the output is JSON text.
    fn run(input: Self::Input, context: Context) -> Result<String, Error>;
}

/// One thing a plugin wants to touch, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    /// `http`, `secret`, `kv`, `model` or `tool`.
    pub kind: &'static str,
    /// What of that kind: a host, a secret bound to a host, a model, …
    pub target: &'static str,
    /// Why, for the person who decides.
    pub reason: &'static str,
}

/// What is known of the call from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The id of this invocation, as in logs and audit.
    pub invocation_id: String,
    /// The slug of the app it runs for.
    pub app: String,
    /// The session it belongs to, if any.
    pub session_id: Option<String>,
    /// How long it may take, host waits included.
    pub time_limit_ms: u32,
}

pub fn definition<T: Tool>() -> export::Definition {
    export::Definition {
        name: T::NAME.to_owned(),
        description: T::DESCRIPTION.to_owned(),
        input_schema: schema::<T::Input>().to_string(),
        capabilities: T::CAPABILITIES.iter().copied().map(Capability::to_wit).collect(),
    }
}

pub fn call<T: Tool>(input: &str, context: types::Context) -> Result<String, export::Error> {
    let unfit = |problem: &dyn Display| {
        export::Error::InvalidInput(format!("the input of `{}` does not fit: {problem}", T::NAME))
    };
    // Serde would read an array as the fields in their order.
    if !input.trim_start().starts_with('{') {
        return Err(unfit(&"it must be a JSON object"));
    }
    let input = serde_json::from_str(input).map_err(|error| unfit(&error))?;
    T::run(input, context.into()).map_err(|error| match error {
        Error::InvalidInput(text) => export::Error::InvalidInput(text),
        other => export::Error::Failed(other.to_string()),
    })
}

/// The output of a tool as JSON text.
pub fn to_json(output: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(output)
        .map_err(|error| Error::failed(format_args!("the output cannot be written as JSON: {error}")))
}

/// The JSON Schema of an input, for a model: no references where they can be
/// avoided (not every provider follows them) and nothing it has no use for.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    if schema.get("type") == Some(&json!("object")) {
        // OpenAI wants them even where there are none.
        schema.ensure_object().entry("properties").or_insert_with(|| json!({}));
    }
    schema.to_value()
}

impl Capability {
    pub(crate) fn to_wit(self) -> types::Capability {
        types::Capability {
            kind: self.kind.to_owned(),
            target: self.target.to_owned(),
            reason: self.reason.to_owned(),
        }
    }
}

impl From<types::Context> for Context {
    fn from(context: types::Context) -> Self {
        Self {
            invocation_id: context.invocation_id,
            app: context.app,
            session_id: context.session_id,
            time_limit_ms: context.time_limit_ms,
        }
    }
}
