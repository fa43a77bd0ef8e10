//! A servlet, as mcp.run has them, with `extism-pdk` from crates.io: `describe` says what its tools are, `call` calls
//! one. Its manifest is in it.
#![cfg(target_family = "wasm")]

use extism_pdk::{FnResult, Json, config, plugin_fn};
use serde::Deserialize;
use serde_json::{Value, json};

/// What is configured, where the module itself says so.
#[unsafe(link_section = "opg:extism-manifest")]
pub static MANIFEST: [u8; include_bytes!("../manifest.json").len()] = *include_bytes!("../manifest.json");

#[plugin_fn]
pub fn describe() -> FnResult<Json<Value>> {
    Ok(Json(json!({
        "tools": [
            {
                "name": "add",
                "description": "Adds two numbers.",
                "inputSchema": {
                    "type": "object",
                    "properties": { "a": { "type": "number" }, "b": { "type": "number" } },
                    "required": ["a", "b"],
                },
            },
            {
                "name": "city",
                "description": "Where a city is.",
                "inputSchema": {
                    "type": "object",
                    "properties": { "name": { "type": "string" } },
                    "required": ["name"],
                },
            },
            {
                "name": "greet",
                "description": "Greets as it is configured.",
                "inputSchema": { "type": "object" },
            },
        ],
    })))
}

#[derive(Deserialize)]
struct Request {
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    name: String,
    arguments: Value,
}

#[plugin_fn]
pub fn call(Json(request): Json<Request>) -> FnResult<Json<Value>> {
    let Params { name, arguments } = request.params;
    let text = |text: String| json!({ "content": [{ "type": "text", "text": text }] });
    Ok(Json(match name.as_str() {
        "add" => {
            let number = |name: &str| arguments[name].as_f64().unwrap_or_default();
            text((number("a") + number("b")).to_string())
        }
        "city" if arguments["name"] == "Bern" => json!({
            "content": [{ "type": "text", "text": "46.9, 7.4" }],
            "structuredContent": { "position": [46.9, 7.4] },
        }),
        "city" => json!({
            "content": [{ "type": "text", "text": "there is no such city" }],
            "isError": true,
        }),
        _ => text(config::get("greeting")?.unwrap_or_else(|| "no greeting".to_owned())),
    }))
}
