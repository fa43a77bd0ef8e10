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
    type Input: Input;

    /// Runs it; the output is JSON text.
    fn run(input: Self::Input, context: Context) -> Result<String, Error>;
}

/// What a tool can be called with. There for its error message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from the input of a tool",
    label = "not an input",
    note = "put `#[input]` on the type"
)]
pub trait Input: Sized {
    /// Reads it from JSON text.
    fn read(json: &str) -> serde_json::Result<Self>;
    /// The JSON Schema of what can be read.
    fn schema() -> Value;
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + JsonSchema> Input for T {
    fn read(json: &str) -> serde_json::Result<Self> {
        serde_json::from_str(json)
    }

    fn schema() -> Value {
        schema::<T>()
    }
}

/// What a tool can return. There for its error message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the output of a tool",
    label = "not an output",
    note = "put `#[data]` on the type"
)]
pub trait Output: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize> Output for T {}

/// What a tool can fail with. There for its error message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a tool",
    label = "not an error",
    note = "return `opg_guest::Error`, as made by `Error::failed(text)`, or any `std::error::Error`"
)]
pub trait Failure: Into<Error> {}

#[diagnostic::do_not_recommend]
impl<T: Into<Error>> Failure for T {}

/// One thing a plugin wants to touch, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    /// `http`, `secret`, `kv`, `db`, `model` or `tool`.
    pub kind: &'static str,
    /// What of that kind: a host, a secret bound to a host, a table, a model, …
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
        input_schema: T::Input::schema().to_string(),
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
    let input = T::Input::read(input).map_err(|error| unfit(&error))?;
    T::run(input, context.into()).map_err(|error| match error {
        Error::InvalidInput(text) => export::Error::InvalidInput(text),
        other => export::Error::Failed(other.to_string()),
    })
}

/// The output of a tool that cannot fail, as JSON text.
pub fn output<T: Output>(output: T) -> Result<String, Error> {
    serde_json::to_string(&output)
        .map_err(|error| Error::failed(format_args!("the output cannot be written as JSON: {error}")))
}

/// The output of a tool that may fail, as JSON text.
pub fn result<T: Output, E: Failure>(result: Result<T, E>) -> Result<String, Error> {
    result.map_err(E::into).and_then(output)
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
