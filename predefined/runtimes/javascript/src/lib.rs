//! The runtime of TypeScript tools: QuickJS, zod and the plugin shim in one module.
//!
//! It is never installed as it is. When a tool is uploaded, the host runs
//! `load` with the tool's JavaScript, takes what then is in memory, and writes
//! it back into a copy of this module: a component whose tool is loaded before
//! its first call. So a call costs no more than the tool itself.
//!
//! - `engine`: QuickJS, what it is made of, and the loop that drives promises.
//! - `host`: what the prelude's JavaScript asks of the host.
//! - `modules`: what a tool can import. `failure`, `lines`: errors, at the author's lines.
//! - `prelude/`: the web's interfaces and the life of a tool, in JavaScript.
//!
//! While loading nothing is imported: there is no clock, no chance, no network,
//! and so the same file always gives the same component.

#![cfg(target_arch = "wasm32")]

mod engine;
mod failure;
mod host;
mod lines;
mod load;
mod modules;

mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit/host", "../../../wit/tool", "wit"],
        world: "opg:javascript/runtime",
        generate_all,
    });
}

use bindings::exports::opg::tool::tool::{Context, Definition, Error, Guest};

struct Runtime;

impl Guest for Runtime {
    fn describe() -> Vec<Definition> {
        engine::with(|engine| engine.definitions.clone())
    }

    fn call(name: String, input: String, context: Context) -> Result<String, Error> {
        let context = serde_json::json!({
            "session": context.session_id,
            "invocation": context.invocation_id,
            "timeLimitMs": context.time_limit_ms,
        });
        engine::with(|engine| engine.call(&name, &input, &context.to_string())).map_err(|failure| {
            if failure.is_bad_input { Error::InvalidInput(failure.text) } else { Error::Failed(failure.text) }
        })
    }
}

bindings::export!(Runtime with_types_in bindings);
