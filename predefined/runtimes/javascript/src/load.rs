//! Loading a tool: called once, by the host, before the snapshot.

use crate::{bindings::opg::tool::types::Capability, engine, lines::Lines};
use serde_json::{Value, json};
use std::collections::HashMap;

/// What the host gives. JSON, so that it may grow.
pub(crate) struct Load {
    /// The file's name, for errors: `weather.ts`.
    pub(crate) file: String,
    /// The plugin's name: `weather`.
    pub(crate) plugin: String,
    /// JavaScript.
    pub(crate) source: String,
    /// Where in the author's file what stands in `source`.
    pub(crate) lines: Lines,
    /// What the host read off the file; what the file says itself comes first.
    pub(crate) capabilities: Vec<Capability>,
    /// What `process.env` gives while loading: references to secrets by name.
    pub(crate) secrets: HashMap<String, String>,
}

/// Room for what the host wants to hand over.
#[unsafe(export_name = "opg-alloc")]
extern "C" fn alloc(bytes: usize) -> *mut u8 {
    Vec::<u8>::with_capacity(bytes).leak().as_mut_ptr()
}

/// Loads the tool described by JSON at `at`, which came from `opg-alloc` with this size. Gives the address of
/// the answer's address and size: JSON with `tools` (how many) or `error` (`text`, and `line` where it is known).
#[unsafe(export_name = "opg-load")]
extern "C" fn load(at: *mut u8, bytes: usize) -> *const [usize; 2] {
    // SAFETY: the host filled all of what `alloc` gave it, once.
    let given = unsafe { Vec::from_raw_parts(at, bytes, bytes) };
    let answer = match read(&given) {
        Some(load) => {
            drop(given);
            match engine::load(load) {
                Ok(tools) => json!({ "tools": tools }),
                Err(failure) => {
                    json!({ "error": { "text": failure.text, "line": failure.line, "column": failure.column } })
                }
            }
        }
        None => json!({ "error": { "text": "the runtime does not understand the host" } }),
    };
    let text: &'static [u8] = answer.to_string().into_bytes().leak();
    Box::leak(Box::new([text.as_ptr() as usize, text.len()]))
}

fn read(given: &[u8]) -> Option<Load> {
    let mut given: Value = serde_json::from_slice(given).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let capability = |one: &Value| {
        Some(Capability {
            kind: text(&one["kind"])?,
            target: text(&one["target"])?,
            reason: text(&one["reason"])?,
        })
    };
    Some(Load {
        file: text(&given["file"])?,
        plugin: text(&given["plugin"])?,
        lines: Lines::read(&given["lines"])?,
        capabilities: given["capabilities"].as_array()?.iter().map(capability).collect::<Option<_>>()?,
        secrets: given["secrets"]
            .as_object()?
            .iter()
            .map(|(name, to)| Some((name.clone(), text(to)?)))
            .collect::<Option<_>>()?,
        source: match given["source"].take() {
            Value::String(source) => source,
            _ => return None,
        },
    })
}
