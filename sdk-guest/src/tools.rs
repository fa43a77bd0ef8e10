//! Other tools of the same app, each run in a sandbox of its own.
//!
//! ```
//! use opg_guest::*;
//!
//! let _host = testing::Host::new().tool("double", |input| Ok(json!(input["n"].as_i64().unwrap_or(0) * 2))).start();
//! let doubled: i64 = tools::call("double", &json!({"n": 21}))?;
//! assert_eq!(doubled, 42);
//! # Ok::<(), Error>(())
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Error;
use crate::host::tools as host;

/// What a model needs to know of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The name to call it by.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its input.
    pub input_schema: Value,
}

/// One call: a tool's name and its input as JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The tool's name.
    pub name: String,
    /// Its input, JSON text.
    pub input: String,
}

/// The tools this plugin may call, in a stable order.
pub fn available() -> Result<Vec<Definition>, Error> {
    host::available()
        .into_iter()
        .map(|tool| {
            Ok(Definition {
                input_schema: serde_json::from_str(&tool.input_schema)?,
                name: tool.name,
                description: tool.description,
            })
        })
        .collect()
}

/// Calls one tool and reads its output.
pub fn call<T: DeserializeOwned>(name: &str, input: &impl Serialize) -> Result<T, Error> {
    let input = serde_json::to_string(input)?;
    let output = call_all(&[Invocation { name: name.to_owned(), input }])
        .pop()
        .unwrap_or_else(|| Err(Error::Unavailable("the host gave no answer".into())))?;
    serde_json::from_str(&output).map_err(|error| {
        Error::failed(format_args!("the output of `{name}` is not what was expected: {error}"))
    })
}

/// Runs the calls side by side. The answers come in the order of the calls,
/// each the tool's output as JSON text or why there is none.
pub fn call_all(calls: &[Invocation]) -> Vec<Result<String, Error>> {
    let calls: Vec<_> = calls
        .iter()
        .map(|call| host::Invocation { name: call.name.clone(), input: call.input.clone() })
        .collect();
    host::call(&calls).into_iter().map(|answer| answer.map_err(Error::from_host)).collect()
}
