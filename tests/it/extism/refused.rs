//! What is refused at upload.

use super::*;

#[tokio::test]
async fn m218_what_is_no_plugin_is_refused_with_what_to_do() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let text = |text: &str| wat::parse_str(text).unwrap();
    let many: String =
        (0..65).map(|n| format!("(func (export \"f{n}\") (result i32) (i32.const 0))")).collect();
    for (what, wasm, says) in [
        (
            "a user function",
            plugin_importing(r#"(import "extism:host/user" "hello_world" (func))"#),
            "`extism:host/user.hello_world`",
        ),
        (
            "an abort",
            plugin_importing(r#"(import "env" "abort" (func (param i32 i32 i32 i32)))"#),
            "`env.abort`",
        ),
        (
            "a newer kernel",
            plugin_importing(r#"(import "extism:host/env" "fly" (func))"#),
            "`extism:host/env.fly`",
        ),
        (
            "a socket",
            plugin_importing(r#"(import "wasi_snapshot_preview1" "sock_open" (func))"#),
            "sock_open",
        ),
        ("a wrong kind", plugin_importing(r#"(import "extism:host/env" "alloc" (global i64))"#), "alloc"),
        (
            "a wrong type",
            plugin_importing(r#"(import "extism:host/env" "alloc" (func (param i32)))"#),
            "alloc",
        ),
        ("a memory", plugin_importing(r#"(import "extism:host/env" "memory" (memory 1))"#), "memory"),
        (
            "no function",
            text(
                r#"(module (import "extism:host/env" "input_length" (func (result i64))) (func (export "a") (param i32)))"#,
            ),
            "no function that takes nothing",
        ),
        ("too many", plugin(&many), "65 functions that would be tools"),
        ("plain", text(r#"(module (func (export "run") (result i32) (i32.const 0)))"#), "build a component"),
        (
            "64 bits",
            text(r#"(module (import "extism:host/env" "free" (func (param i64))) (memory i64 1))"#),
            "not valid",
        ),
    ] {
        let refused = acme.put_bytes("/v1/tenant/tools/no", WASM, wasm).await;
        assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("bad_component")), "{what}");
        assert!(refused.text().contains(says), "{what}: {}", refused.text());
    }
    let broken = [&guests::EXTISM_KIT[..guests::EXTISM_KIT.len() / 2]].concat();
    assert_eq!(acme.put_bytes("/v1/tenant/tools/no", WASM, broken).await.status, 422);
    assert_eq!(acme.get("/v1/tenant/tools/no").await.status, 404);
    let agent = acme.put_bytes("/v1/tenant/agents/kit", WASM, guests::EXTISM_KIT).await;
    assert_eq!((agent.status, &agent.json()["code"]), (422, &json!("wrong_kind")), "{}", agent.text());
}

/// A module of Extism's that imports this besides.
fn plugin_importing(import: &str) -> Vec<u8> {
    let text = format!(
        r#"(module (import "extism:host/env" "input_length" (func (result i64))) {import}
            (func (export "a") (result i32) (i32.const 0)))"#
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn a_servlet_that_says_no_tools_is_refused() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let servlet = |said: &str| {
        plugin(&format!(
            r#"(data (i32.const 0) "{}")
            (func (export "describe") (result i32) (call $answer (i32.const 0) (i32.const {})) (i32.const 0))
            (func (export "call") (result i32) (i32.const 0))"#,
            said.replace('"', "\\22"),
            said.len()
        ))
    };
    for (said, says) in [
        ("hello", "no list of tools"),
        ("{\"tools\":[]}", "no tools"),
        ("{\"tools\":[{\"name\":\"a b\"}]}", "not a tool's name"),
        ("{\"tools\":[{\"name\":\"a\",\"inputSchema\":7}]}", "schema"),
    ] {
        let refused = acme.put_bytes("/v1/tenant/tools/no", WASM, servlet(said)).await;
        assert!(refused.status == 422 && refused.text().contains(says), "{said}: {}", refused.text());
    }
    let spins = plugin(
        r#"(func (export "describe") (result i32) (loop (br 0)) (i32.const 0))
        (func (export "call") (result i32) (i32.const 0))"#,
    );
    let refused = acme.put_bytes("/v1/tenant/tools/no", WASM, spins).await;
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("describe_failed")));
}
