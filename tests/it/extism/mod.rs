//! Extism plugins: core modules by the PDKs of a dozen languages, as tools.

mod hostile;
mod manifest;
mod refused;
mod tools;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use opg_tests::{
    app::{Answer, Client, TestApp, logs},
    guests,
    site::Site,
    upstream::{ScriptedUpstream, Step},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const WASM: &str = "application/wasm";
const MANIFEST: &str = "application/vnd.extism.manifest+json";

/// What no guest, log or audit row may ever hold.
const CANARY: &str = "canary/\"7f3a9c\"";

/// Uploads a module; it runs at once, for it asks for nothing.
async fn install(client: &Client, name: &str, wasm: &[u8]) {
    let uploaded = client.put_bytes(&format!("/v1/tenant/tools/{name}"), WASM, wasm.to_vec()).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    assert_eq!(uploaded.json()["status"], "active", "{}", uploaded.text());
}

/// Uploads a module with a manifest.
async fn put_manifest(client: &Client, name: &str, wasm: &[u8], mut manifest: Value) -> Answer {
    manifest["wasm"] = json!([{ "data": STANDARD.encode(wasm) }]);
    client.put_bytes(&format!("/v1/tenant/tools/{name}"), MANIFEST, manifest.to_string()).await
}

/// The same, and grants it this.
async fn install_manifest(
    client: &Client,
    name: &str,
    wasm: &[u8],
    manifest: Value,
    grants: &[(&str, &str)],
) {
    let uploaded = put_manifest(client, name, wasm, manifest).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    if uploaded.json()["status"] == "pending_review" {
        client.grant("tools", name, grants).await;
    }
}

async fn output(client: &Client, tool: &str, input: Value) -> Value {
    let ran = client.invoke(tool, input).await;
    assert_eq!(ran.status, 200, "{tool}: {}", ran.text());
    ran.json()["output"].clone()
}

/// A call that fails: its code and what it says.
async fn failure(client: &Client, tool: &str, input: Value) -> (String, String) {
    let ran = client.invoke(tool, input).await;
    assert_ne!(ran.status, 200, "{tool}: {}", ran.text());
    (ran.json()["code"].as_str().unwrap().to_owned(), ran.text())
}

/// What the newest run reached for.
async fn reached(client: &Client) -> Value {
    let audit = client.get("/v1/tenant/audit?action=tool.run&limit=1").await.json();
    audit["data"][0]["detail"]["reached"].clone()
}

/// A plugin, as text, with every function there is in reach, a memory, and `$answer`, which answers with some bytes.
fn plugin(body: &str) -> Vec<u8> {
    let mut imports = String::new();
    for (name, params, result) in [
        ("alloc", "i64", "i64"),
        ("free", "i64", ""),
        ("length", "i64", "i64"),
        ("length_unsafe", "i64", "i64"),
        ("load_u8", "i64", "i32"),
        ("load_u64", "i64", "i64"),
        ("store_u8", "i64 i32", ""),
        ("store_u64", "i64 i64", ""),
        ("memory_bytes", "", "i64"),
        ("reset", "", ""),
        ("input_set", "i64 i64", ""),
        ("input_offset", "", "i64"),
        ("input_length", "", "i64"),
        ("input_load_u8", "i64", "i32"),
        ("input_load_u64", "i64", "i64"),
        ("output_set", "i64 i64", ""),
        ("output_offset", "", "i64"),
        ("output_length", "", "i64"),
        ("error_set", "i64", ""),
        ("error_get", "", "i64"),
        ("config_get", "i64", "i64"),
        ("var_get", "i64", "i64"),
        ("var_set", "i64 i64", ""),
        ("http_request", "i64 i64", "i64"),
        ("http_status_code", "", "i32"),
        ("http_headers", "", "i64"),
        ("log_trace", "i64", ""),
        ("log_debug", "i64", ""),
        ("log_info", "i64", ""),
        ("log_warn", "i64", ""),
        ("log_error", "i64", ""),
        ("get_log_level", "", "i32"),
    ] {
        imports += &format!(
            "(import \"extism:host/env\" \"{name}\" (func ${name} (param {params}) (result {result})))"
        );
    }
    for (name, params, result) in [
        ("args_sizes_get", "i32 i32", "i32"),
        ("environ_sizes_get", "i32 i32", "i32"),
        ("environ_get", "i32 i32", "i32"),
        ("clock_time_get", "i32 i64 i32", "i32"),
        ("fd_write", "i32 i32 i32 i32", "i32"),
        ("fd_read", "i32 i32 i32 i32", "i32"),
        ("fd_prestat_get", "i32 i32", "i32"),
        ("fd_fdstat_get", "i32 i32", "i32"),
        ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32", "i32"),
        ("poll_oneoff", "i32 i32 i32 i32", "i32"),
        ("proc_exit", "i32", ""),
        ("random_get", "i32 i32", "i32"),
    ] {
        imports += &format!(
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param {params}) (result {result})))"
        );
    }
    let text = format!(
        r#"(module {imports}
        (memory (export "memory") 1)
        (func $put (param $from i32) (param $length i32) (result i64)
            (local $block i64) (local $at i32)
            (local.set $block (call $alloc (i64.extend_i32_u (local.get $length))))
            (loop $next
                (call $store_u8
                    (i64.add (local.get $block) (i64.extend_i32_u (local.get $at)))
                    (i32.load8_u (i32.add (local.get $from) (local.get $at))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $at) (local.get $length))))
            (local.get $block))
        (func $answer (param $from i32) (param $length i32)
            (call $output_set
                (call $put (local.get $from) (local.get $length))
                (i64.extend_i32_u (local.get $length))))
        {body})"#
    );
    wat::parse_str(text).unwrap()
}
