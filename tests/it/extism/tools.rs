//! Functions of plugins, as tools.

use super::*;

#[tokio::test]
async fn each_function_of_a_plugin_by_the_public_pdk_is_a_tool() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    install(&acme, "kit", guests::EXTISM_KIT).await;

    let shown = acme.get("/v1/tenant/tools/kit").await.json();
    assert_eq!((&shown["kind"], &shown["wit"]), (&json!("extism"), &Value::Null), "{shown}");
    let tools = shown["exports"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"kit_greet") && names.contains(&"kit_count_vowels"), "{names:?}");
    assert!(names.iter().all(|name| !name.contains("__")), "nothing of the toolchain's: {names:?}");
    assert_eq!(tools[0]["input_schema"], json!({ "type": "object" }));

    let request = acme.request("GET", "/v1/tenant/tools/kit").header("accept", WASM);
    let given = opg_tests::app::send(request).await;
    assert_eq!(given.body, guests::EXTISM_KIT, "byte for byte");

    let again = acme.put_bytes("/v1/tenant/tools/kit", WASM, guests::EXTISM_KIT).await;
    assert_eq!((again.status, &again.json()["version"]), (200, &json!(1)));
}

#[tokio::test]
async fn arguments_go_in_as_json_and_json_or_text_comes_out() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    install(&acme, "kit", guests::EXTISM_KIT).await;
    for (tool, input, expected) in [
        ("greet", json!({ "name": "Zoë" }), json!({ "text": "Hello, Zoë!", "letters": 3 })),
        ("echo", json!({ "a": [1, 2.5, "x"] }), json!({ "a": [1, 2.5, "x"] })),
        ("count_vowels", json!({ "a": "ei" }), json!("3 vowels")),
        ("nothing", json!({}), Value::Null),
        ("large", json!({ "a": 1_000_000 }), json!("x".repeat(1_000_000))),
    ] {
        assert_eq!(output(&acme, &format!("kit_{tool}"), input).await, expected, "{tool}");
    }
    for (tool, input, code, says) in [
        ("greet", json!({ "nam": 1 }), "tool_failed", "missing field `name`"),
        ("fail", json!({}), "tool_failed", "there is no such city"),
        ("bytes", json!({}), "tool_failed", "neither JSON nor text"),
        ("panic", json!({}), "tool_trap", "unreachable"),
        ("large", json!({ "a": 2_000_000 }), "tool_output_too_large", ""),
        ("large", json!({ "a": 9 << 20 }), "tool_output_too_large", ""),
    ] {
        let (found, text) = failure(&acme, &format!("kit_{tool}"), input).await;
        assert!(found == code && text.contains(says), "{tool}: {text}");
    }
    let ran = acme.invoke("kit_chat", json!({})).await.json();
    let lines: Vec<_> =
        ran["logs"].as_array().unwrap().iter().map(|line| (&line["level"], &line["message"])).collect();
    let said = [
        ("debug", "a detail"),
        ("info", "a line\\nand \\u{1b}[31mred"),
        ("warn", "careful"),
        ("error", "trouble"),
    ];
    assert_eq!(lines.len(), said.len(), "{ran}");
    for (line, (level, message)) in lines.into_iter().zip(said) {
        assert_eq!(line, (&json!(level), &json!(message)));
    }
}

#[tokio::test]
async fn a_servlet_describes_its_tools_itself_and_a_model_calls_one() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    install(&acme, "maps", guests::EXTISM_SERVLET).await;
    let shown = acme.get("/v1/tenant/tools/maps").await.json();
    let tools = shown["exports"].as_array().unwrap();
    assert_eq!(tools.len(), 3, "`describe` and `call` are none: {shown}");
    assert_eq!(tools[0]["name"], "maps_add");
    assert_eq!(tools[0]["description"], "Adds two numbers.");
    assert_eq!(tools[0]["input_schema"]["required"], json!(["a", "b"]));

    assert_eq!(output(&acme, "maps_add", json!({ "a": 1, "b": 2 })).await, json!(3));
    assert_eq!(
        output(&acme, "maps_city", json!({ "name": "Bern" })).await,
        json!({ "position": [46.9, 7.4] })
    );
    let (code, text) = failure(&acme, "maps_city", json!({ "name": "Atlantis" })).await;
    assert!(code == "tool_failed" && text.contains("no such city"), "{text}");
    assert_eq!(output(&acme, "maps_greet", json!({})).await, "Hoi", "its manifest is in it");
    let (code, _) = failure(&acme, "maps_add", json!({ "a": 1 })).await;
    assert_eq!(code, "invalid_request", "its schema is checked before it runs");

    upstream.script(vec![Step::tool_call("call_1", "maps_add", r#"{"a":40,"b":2}"#)]);
    let answer = acme.chat("openai/scripted", "what is 40 and 2?").await;
    assert_eq!(answer.content(), "The tools said: 42", "{}", answer.text());
}

#[tokio::test]
async fn a_plugin_in_the_shape_of_other_toolchains_runs_as_it_is() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    // C: a constructor, and a global that would count on at the next call, had anything survived.
    let in_c = r#"(global $count (mut i32) (i32.const 0))
        (data (i32.const 0) "{\22count\22:0}")
        (func (export "_initialize") (i32.store8 (i32.const 9) (i32.const 51)))
        (func (export "count") (result i32)
            (i32.store8 (i32.const 9) (i32.add (i32.load8_u (i32.const 9)) (global.get $count)))
            (global.set $count (i32.const 1))
            (call $answer (i32.const 0) (i32.const 11))
            (i32.const 0))"#;
    install(&acme, "in-c", &plugin(in_c)).await;
    for _ in 0..3 {
        assert_eq!(output(&acme, "in-c", json!({})).await, json!({ "count": 3 }), "nothing survives a call");
    }
    // Haskell: a runtime that is told of no arguments, functions that return nothing.
    let in_haskell = r#"(data (i32.const 0) "no")
        (func (export "_initialize") (i32.store16 (i32.const 0) (i32.const 0x656d)))
        (func (export "hs_init") (param i32 i32)
            (if (i32.eq (i32.load16_u (i32.const 0)) (i32.const 0x656d))
                (then (i32.store16 (i32.const 0) (i32.const 0x6f79)))))
        (func (export "hs_exit"))
        (func (export "greet") (call $answer (i32.const 0) (i32.const 2)))"#;
    install(&acme, "in-haskell", &plugin(in_haskell)).await;
    assert_eq!(output(&acme, "in-haskell", json!({})).await, "yo", "one after the other");
    // Go: a command, which exits.
    let in_go = r#"(func (export "_start")
        (call $output_set (call $input_offset) (call $input_length))
        (call $proc_exit (i32.const 0))
        (unreachable))"#;
    install(&acme, "in-go", &plugin(in_go)).await;
    assert_eq!(output(&acme, "in-go", json!({ "a": 1 })).await, json!({ "a": 1 }));
    // TinyGo: functions of its runtime beside the author's.
    let in_tinygo = r#"(func (export "_start") (unreachable))
        (func (export "asyncify_get_state") (result i32) (unreachable))
        (func (export "asyncify_stop_unwind") (unreachable))
        (func (export "malloc") (param i32) (result i32) (unreachable))
        (func (export "run") (result i32) (i32.const 0))"#;
    install(&acme, "in-tinygo", &plugin(in_tinygo)).await;
    assert_eq!(output(&acme, "in-tinygo", json!({})).await, Value::Null);
}

#[tokio::test]
async fn what_is_taken_and_freed_may_be_taken_again() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let body = r#"(func (export "a") (result i32)
        (local $n i32) (local $block i64)
        (loop $more
            (local.set $block (call $alloc (i64.const 1000000)))
            (if (i64.eqz (local.get $block)) (then unreachable))
            (call $free (local.get $block))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $n) (i32.const 1000))))
        (i32.const 0))"#;
    install(&acme, "taker", &plugin(body)).await;
    assert_eq!(output(&acme, "taker", json!({})).await, Value::Null);
}
