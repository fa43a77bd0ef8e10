//! Write a sandboxed tool or agent for OPG in ten lines.
//!
//! ```
//! use opg_guest::*;
//!
//! /// Counts the words of a text.
//! #[tool]
//! fn word_count(
//!     /// The text to count.
//!     text: String,
//! ) -> usize {
//!     text.split_whitespace().count()
//! }
//!
//! plugin!(word_count);
//! # fn main() {}
//! ```
//!
//! The name, the description and the input schema of a tool come from the
//! function, its comments and its types; see [`macro@tool`]. An agent is one
//! function with [`macro@agent`]. What a guest may ask of its host is in the
//! modules, one for each interface: [`log`], [`secrets`], [`http`], [`kv`],
//! [`db`], [`workspace`], [`model`], [`tools`], [`events`] and [`permission`]. Everything that
//! reaches something is denied until the plugin declares it with a reason and the
//! tenant grants it.
//!
//! A plugin needs this crate and no other: serde, schemars and serde_json are
//! re-exported, and [`macro@input`] and [`macro@data`] derive through them.
//!
//! A tool is a function, and a unit test calls it; what it asks of its host, a
//! host in memory answers: `testing`, on the native target.
//!
//! Deliberately absent: sockets, threads, the machine's files and environment
//! variables (there are none in the sandbox), and state between calls (each call
//! starts from a fresh instance; use [`kv`], [`db`] or [`workspace`]).

#[doc(hidden)]
pub mod bindings;

mod agent;
mod error;
mod host;
mod tool;

pub mod db;
pub mod events;
pub mod http;
pub mod kv;
pub mod log;
pub mod model;
pub mod permission;
pub mod secrets;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod tools;
pub mod workspace;

pub use agent::{FinishReason, Outcome, Turn};
pub use error::Error;
pub use tool::{Capability, Context, Tool};

/// Turns a documented function into a tool.
///
/// - Its name is the function's, its description the doc comment.
/// - Each parameter is a field of the input, its doc comment the field's
///   description. `Option` fields may be left out, unknown fields are refused.
/// - Or one parameter named `input` of a type with [`macro@input`].
/// - A last parameter of type [`Context`] is filled by the host.
/// - It returns what serde can serialize, or a `Result` of that whose error
///   turns into [`Error`] by `?`.
/// - What it wants to touch goes into the attribute, a reason for each:
///
/// ```
/// # use opg_guest::*;
/// /// Converts an amount between currencies at today's rate.
/// #[tool(
///     http("api.example.com", "to look up rates"),
///     secret("RATES_KEY@api.example.com", "to sign in to the rates API")
/// )]
/// fn convert(amount: f64, from: String, to: String) -> Result<f64, Error> {
///     let rate: f64 = http::get("https://api.example.com/rate")
///         .query("from", from)
///         .query("to", to)
///         .secret_header("authorization", "Bearer ", "RATES_KEY")?
///         .send()?
///         .success()?
///         .json()?;
///     Ok(amount * rate)
/// }
/// ```
///
/// The kinds are `http`, `secret`, `kv`, `db`, `workspace`, `model` and `tool`; see the `capability`
/// record in `wit/tool/tool.wit` for their targets.
pub use opg_guest_macros::tool;

/// Turns `fn(Turn) -> Result<Outcome, Error>` into the agent of this plugin.
///
/// The description is the doc comment; capabilities are declared as for
/// [`macro@tool`].
pub use opg_guest_macros::agent;

/// Makes a struct or enum the input of a tool: it can be read, has a schema,
/// and refuses fields it does not know. Doc comments become descriptions.
pub use opg_guest_macros::input;

/// Makes a struct or enum plain data: it can be read, written and has a schema.
/// Fields it does not know are ignored, as fits the answers of other services.
pub use opg_guest_macros::data;

pub use schemars;
pub use serde;
pub use serde_json;
pub use serde_json::{Map, Value, json};

/// What the macros write; not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use crate::agent::{definition as agent_definition, run as run_agent};
    pub use crate::tool::{call, definition as tool_definition, output, result};
}

/// Names the tools of this plugin: `plugin!(add_note, list_notes);`, once.
#[macro_export]
macro_rules! plugin {
    ($($tool:path),+ $(,)?) => {
        const _: () = {
            struct Plugin;

            impl $crate::bindings::tool::exports::opg::tool::tool::Guest for Plugin {
                fn describe() -> ::std::vec::Vec<$crate::bindings::tool::exports::opg::tool::tool::Definition> {
                    ::std::vec![$($crate::__private::tool_definition::<$tool>()),+]
                }

                fn call(
                    name: ::std::string::String,
                    input: ::std::string::String,
                    context: $crate::bindings::tool::opg::tool::types::Context,
                ) -> ::core::result::Result<
                    ::std::string::String,
                    $crate::bindings::tool::exports::opg::tool::tool::Error,
                > {
                    $(if name == <$tool as $crate::Tool>::NAME {
                        return $crate::__private::call::<$tool>(&input, context);
                    })+
                    ::core::result::Result::Err(
                        $crate::bindings::tool::exports::opg::tool::tool::Error::InvalidInput(
                            ::std::format!("there is no tool `{name}` in this plugin"),
                        ),
                    )
                }
            }

            // Natively, nobody calls it, and the compiler would call it dead.
            const _: fn() -> ::std::vec::Vec<$crate::bindings::tool::exports::opg::tool::tool::Definition> =
                <Plugin as $crate::bindings::tool::exports::opg::tool::tool::Guest>::describe;

            #[cfg(target_arch = "wasm32")]
            $crate::bindings::tool::export_tool!(Plugin with_types_in $crate::bindings::tool);
        };
    };
}
