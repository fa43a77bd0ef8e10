//! Extism plugins: core modules by the PDKs of a dozen languages, as tools.

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

// --- tools ---

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

// --- the manifest ---

#[tokio::test]
async fn a_manifest_says_what_a_plugin_is_told_and_what_its_tools_are() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let manifest = json!({
        "config": { "greeting": "Grüezi" },
        "opg": { "tools": {
            "count_vowels": { "description": "Counts vowels.", "input": "text" },
            "greet": {
                "description": "Greets somebody.",
                "input_schema": {
                    "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"],
                },
            },
        } },
    });
    let uploaded = put_manifest(&acme, "kit", guests::EXTISM_KIT, manifest.clone()).await;
    assert_eq!((uploaded.status, &uploaded.json()["status"]), (201, &json!("active")), "{}", uploaded.text());
    assert_eq!(put_manifest(&acme, "kit", guests::EXTISM_KIT, manifest).await.status, 200, "the same again");

    let shown = acme.get("/v1/tenant/tools/kit").await.json();
    let tool = |name: &str| {
        shown["exports"].as_array().unwrap().iter().find(|tool| tool["name"] == name).unwrap().clone()
    };
    assert_eq!(tool("kit_count_vowels")["description"], "Counts vowels.");
    assert_eq!(tool("kit_count_vowels")["input_schema"]["required"], json!(["text"]));
    assert_eq!(output(&acme, "kit_count_vowels", json!({ "text": "Bern" })).await, "1 vowels");
    assert_eq!(failure(&acme, "kit_greet", json!({})).await.0, "invalid_request");

    assert_eq!(output(&acme, "kit_configured", json!({ "key": "greeting" })).await, "Grüezi");
    assert_eq!(output(&acme, "kit_configured", json!({ "key": "other" })).await, Value::Null);

    let other = json!({ "config": { "greeting": "Salut" } });
    let next = put_manifest(&acme, "kit", guests::EXTISM_KIT, other).await;
    assert_eq!(next.json()["status"], "pending_review", "its tools are described anew: {}", next.text());
    assert_eq!(output(&acme, "kit_configured", json!({ "key": "greeting" })).await, "Grüezi");
}

#[tokio::test]
async fn a_request_goes_to_a_host_that_was_granted_and_to_no_other() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let acme = app.tenant("acme").await;
    let manifest = json!({ "allowed_hosts": [site.host(), site.other_host()] });
    let uploaded = put_manifest(&acme, "kit", guests::EXTISM_KIT, manifest).await;
    assert_eq!(uploaded.json()["status"], "pending_review", "{}", uploaded.text());
    let asked = &uploaded.json()["requested_capabilities"];
    assert_eq!((&asked[0]["kind"], &asked[0]["target"]), (&json!("http"), &json!(site.host())), "{asked}");
    acme.grant("tools", "kit", &[("http", &site.host())]).await;

    let got = output(&acme, "kit_fetch", json!({ "url": site.url("/") })).await;
    assert_eq!((&got["status"], &got["body"]), (&json!(200), &json!("hello")), "{got}");
    assert!(got["headers"]["content-type"].as_str().is_some_and(|it| it.starts_with("text/plain")), "{got}");
    let input = json!({
        "url": site.url("/posted"), "method": "post", "headers": { "x-a": "b" }, "body": "some text",
    });
    let posted = output(&acme, "kit_fetch", input).await;
    let seen: Value = serde_json::from_str(posted["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&seen["method"], &seen["headers"]["x-a"], &seen["body"]),
        (&json!("POST"), &json!("b"), &json!("some text")),
        "{seen}"
    );
    assert_eq!(
        output(&acme, "kit_fetch", json!({ "url": site.url("/flaky/9") })).await["status"],
        503,
        "a status is no failure"
    );
    let visits = site.visits().len();

    let elsewhere = format!("http://{}/", site.other_host());
    for (url, says) in [
        (elsewhere.as_str(), "/review"),
        ("http://localhost:1/", "did not declare"),
        (&site.url(&format!("/redirect?{elsewhere}")), "127.0.0.1"),
        ("file:///etc/passwd", "http"),
        ("no url", "absolute"),
    ] {
        let (code, text) = failure(&acme, "kit_fetch", json!({ "url": url })).await;
        assert!(code == "tool_failed" && text.contains(says), "{url}: {text}");
    }
    assert_eq!(
        site.visits().len(),
        visits + 1,
        "what was denied never left: the first hop alone was allowed"
    );
    failure(&acme, "kit_fetch", json!({ "url": elsewhere })).await;
    assert_eq!(
        reached(&acme).await[format!("http:{}", site.other_host())],
        json!({ "allowed": 0, "denied": 1 })
    );
    let many = json!({ "url": site.url(&format!("/big/{}", 3 << 20)) });
    let (code, text) = failure(&acme, "kit_fetch", many).await;
    assert_eq!(code, "tool_failed", "{text}");

    acme.grant("tools", "kit", &[]).await;
    assert_eq!(failure(&acme, "kit_fetch", json!({ "url": site.url("/") })).await.0, "tool_failed");
}

#[tokio::test]
async fn a_response_is_no_larger_than_the_manifest_says() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let acme = app.tenant("acme").await;
    let manifest = json!({ "allowed_hosts": [site.host()], "memory": { "max_http_response_bytes": 100 } });
    install_manifest(&acme, "kit", guests::EXTISM_KIT, manifest, &[("http", &site.host())]).await;
    let fetch = |path: &str| json!({ "url": site.url(path) });
    assert_eq!(output(&acme, "kit_fetch", fetch("/big/100")).await["status"], 200);
    let (code, text) = failure(&acme, "kit_fetch", fetch("/big/101")).await;
    assert!(code == "tool_failed" && text.contains("100 bytes"), "{text}");
}

#[tokio::test]
async fn m252_a_plugin_names_a_secret_in_its_configuration_and_never_sees_it() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let acme = app.tenant("acme").await;
    acme.put("/v1/tenant/secrets", &json!({ "set": { "API_KEY": CANARY } })).await;
    let manifest = json!({
        "config": { "authorization": "Bearer {{secret:API_KEY}}" },
        "allowed_hosts": [site.host(), site.other_host()],
    });
    let uploaded = put_manifest(&acme, "kit", guests::EXTISM_KIT, manifest).await;
    let secret = format!("API_KEY@{}", site.host());
    let asked = uploaded.json()["requested_capabilities"].clone();
    assert!(asked.as_array().unwrap().iter().any(|wish| wish["target"] == secret), "{asked}");
    let hosts = [("http", site.host()), ("http", site.other_host())];
    let mut grants: Vec<_> = hosts.iter().map(|(kind, target)| (*kind, target.as_str())).collect();

    let read = json!({ "key": "authorization" });
    let send = |url: String| json!({ "url": url, "header_from_config": ["authorization", "authorization"] });
    acme.grant("tools", "kit", &grants).await;
    assert_eq!(output(&acme, "kit_configured", read).await, "Bearer {{secret:API_KEY}}");
    let (code, text) = failure(&acme, "kit_fetch", send(site.url("/echo"))).await;
    assert!(code == "tool_failed" && text.contains("secret"), "not granted: {text}");
    assert_eq!(site.visits().len(), 0);

    grants.push(("secret", &secret));
    acme.grant("tools", "kit", &grants).await;
    let echoed = acme.invoke("kit_fetch", send(site.url("/echo"))).await;
    assert_eq!(echoed.status, 200, "{}", echoed.text());
    assert_eq!(site.visits()[0].headers["authorization"], format!("Bearer {CANARY}"), "the host got it");
    let text = echoed.text();
    assert!(text.contains("{{secret:API_KEY}}") && !text.contains("7f3a9c"), "{text}");

    let elsewhere = format!("http://{}/echo", site.other_host());
    let (code, text) = failure(&acme, "kit_fetch", send(elsewhere)).await;
    assert!(code == "tool_failed" && !text.contains("7f3a9c"), "{text}");
    assert_eq!(site.visits().len(), 1, "to its host alone");
    let audit = acme.get("/v1/tenant/audit?limit=200").await.text();
    assert!(!audit.contains("7f3a9c") && !logs().contains("7f3a9c"));
}

#[tokio::test]
async fn variables_live_for_a_call_or_where_that_is_granted_in_the_store() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    install(&acme, "kit", guests::EXTISM_KIT).await;
    for _ in 0..2 {
        assert_eq!(output(&acme, "kit_count", json!({})).await, 1, "a call has variables of its own");
    }
    let keeps = json!({ "opg": { "keep_vars": true } });
    install_manifest(&acme, "keeper", guests::EXTISM_KIT, keeps.clone(), &[("kv", "write:var/*")]).await;
    for count in 1..4 {
        assert_eq!(output(&acme, "keeper_count", json!({})).await, count);
    }
    acme.grant("tools", "keeper", &[]).await;
    let ran = acme.invoke("keeper_count", json!({})).await;
    assert_eq!(ran.json()["output"], 1, "{}", ran.text());
    assert!(ran.text().contains("variables live for this call only"), "{}", ran.text());
    acme.grant("tools", "keeper", &[("kv", "write:var/*")]).await;
    assert_eq!(output(&acme, "keeper_count", json!({})).await, 4, "what was kept is still there");

    install_manifest(&acme, "other", guests::EXTISM_KIT, keeps, &[("kv", "write:var/*")]).await;
    assert_eq!(output(&acme, "other_count", json!({})).await, 1, "the store is the plugin's own");

    let none = json!({ "memory": { "max_var_bytes": 0 } });
    install_manifest(&acme, "none", guests::EXTISM_KIT, none, &[]).await;
    let (code, text) = failure(&acme, "none_count", json!({})).await;
    assert!(code == "tool_failed" && text.contains("no room for variables"), "{text}");
}

#[tokio::test]
async fn a_manifest_asks_for_limits_and_gets_none_above_the_caps() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let manifest = json!({ "timeout_ms": 300, "memory": { "max_pages": 128 } });
    let uploaded = put_manifest(&acme, "kit", guests::EXTISM_KIT, manifest).await;
    assert_eq!(uploaded.json()["status"], "pending_review", "{}", uploaded.text());
    acme.grant("tools", "kit", &[("limit", "memory_mib=8"), ("limit", "wall_ms=300")]).await;
    let before = Instant::now();
    assert_eq!(failure(&acme, "kit_spin", json!({})).await.0, "tool_timeout");
    assert!(before.elapsed() < Duration::from_secs(3));
    let hogged = acme.invoke("kit_hog", json!({})).await;
    assert_eq!(hogged.json()["code"], "tool_oom", "{}", hogged.text());

    for (manifest, says) in [
        (json!({ "timeout_ms": 3_600_000 }), "wall_ms=3600000"),
        (json!({ "memory": { "max_pages": 65536 } }), "memory_mib=4096"),
        (json!({ "allowed_hosts": ["api.*"] }), "api.*"),
        (json!({ "allowed_paths": { "/": "/" } }), "`allowed_paths`"),
        (json!({ "opg": { "tools": { "sing": {} } } }), "`sing`, which is no function"),
        (json!({ "opg": { "capabilities": [{ "kind": "moon", "target": "x", "reason": "y" }] } }), "moon"),
        (
            json!({ "opg": { "capabilities": [{ "kind": "kv", "target": "read", "reason": " " }] } }),
            "no reason",
        ),
    ] {
        let refused = put_manifest(&acme, "wrong", guests::EXTISM_KIT, manifest.clone()).await;
        assert_eq!(refused.status, 422, "{manifest}: {}", refused.text());
        assert!(refused.text().contains(says), "{manifest}: {}", refused.text());
    }
    for (body, says) in [
        ("{", "its manifest"),
        (r#"{"wasm":[{"url":"https://example.com/plugin.wasm"}]}"#, "as `data` in base64"),
        (r#"{"wasm":[{"data":"aGVsbG8="}]}"#, "not WebAssembly"),
    ] {
        let refused = acme.put_bytes("/v1/tenant/tools/wrong", MANIFEST, body).await;
        assert!(refused.status == 422 && refused.text().contains(says), "{body}: {}", refused.text());
    }
    assert_eq!(acme.get("/v1/tenant/tools/wrong").await.status, 404);
}

#[tokio::test]
async fn a_manifest_may_stand_in_the_module_and_only_one_does() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let section = |json: &str| {
        let name = "opg:extism-manifest";
        let mut size = name.len() + 1 + json.len();
        let mut section = vec![0];
        while size >= 0x80 {
            section.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
            size >>= 7;
        }
        section.push(u8::try_from(size).unwrap());
        section.push(u8::try_from(name.len()).unwrap());
        [&section, name.as_bytes(), json.as_bytes()].concat()
    };
    let one = section(r#"{"config":{"greeting":"Ciao"}}"#);
    install(&acme, "kit", &[guests::EXTISM_KIT, &one].concat()).await;
    assert_eq!(output(&acme, "kit_configured", json!({ "key": "greeting" })).await, "Ciao");

    let twice = put_manifest(&acme, "twice", &[guests::EXTISM_KIT, &one].concat(), json!({})).await;
    assert!(twice.status == 422 && twice.text().contains("several manifests"), "{}", twice.text());
    let broken = [guests::EXTISM_KIT, &section("{\"config\":7}")].concat();
    let refused = acme.put_bytes("/v1/tenant/tools/broken", WASM, broken).await;
    assert!(refused.status == 422 && refused.text().contains("its manifest"), "{}", refused.text());
}

// --- what is refused ---

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

// --- hostile plugins ---

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

/// Uploads such a plugin and calls its one tool.
async fn run(client: &Client, name: &str, body: &str) -> Answer {
    install(client, name, &plugin(body)).await;
    client.invoke(name, json!({})).await
}

#[tokio::test]
async fn a_plugin_that_does_not_end_is_stopped_wherever_it_is() {
    let app = TestApp::with(|config| config.tool_time_limit = Duration::from_millis(500)).await;
    let acme = app.tenant("acme").await;
    for (name, body) in [
        ("spin", r#"(func (export "a") (result i32) (loop (br 0)) (i32.const 0))"#),
        (
            "spin-in-start",
            r#"(func $s (loop (br 0))) (start $s) (func (export "a") (result i32) (i32.const 0))"#,
        ),
        (
            "spin-in-initialize",
            r#"(func (export "_initialize") (loop (br 0))) (func (export "a") (result i32) (i32.const 0))"#,
        ),
        (
            "spin-in-constructors",
            r#"(func (export "__wasm_call_ctors") (loop (br 0))) (func (export "a") (result i32) (i32.const 0))"#,
        ),
        (
            "sleep",
            // A clock, for 2^60 ns.
            r#"(func (export "a") (result i32)
                (i32.store (i32.const 16) (i32.const 1))
                (i64.store (i32.const 24) (i64.const 1152921504606846976))
                (call $poll_oneoff (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))"#,
        ),
    ] {
        let before = Instant::now();
        let ran = run(&acme, name, body).await;
        assert_eq!(ran.json()["code"], "tool_timeout", "{name}: {}", ran.text());
        assert!(before.elapsed() < Duration::from_secs(10), "{name} took {:?}", before.elapsed());
    }
}

#[tokio::test]
async fn a_plugin_that_takes_too_much_is_stopped_by_the_limits_of_all_guests() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    for (name, body, code) in [
        (
            "memory",
            r#"(func (export "a") (result i32)
                (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable))"#,
            "tool_oom",
        ),
        (
            "blocks",
            r#"(func (export "a") (result i32)
                (loop $more (br_if $more (i64.ne (call $alloc (i64.const 1048576)) (i64.const 0)))) (unreachable))"#,
            "tool_oom",
        ),
        (
            "small-blocks",
            r#"(func (export "a") (result i32)
                (loop $more (br_if $more (i64.ne (call $alloc (i64.const 1)) (i64.const 0)))) (unreachable))"#,
            "tool_oom",
        ),
        (
            "one-large-block",
            r#"(func (export "a") (result i32)
                (if (i64.eqz (call $alloc (i64.const -1))) (then unreachable)) (i32.const 0))"#,
            "tool_oom",
        ),
        (
            "output",
            r#"(func (export "a") (result i32)
                (call $output_set (call $alloc (i64.const 60000000)) (i64.const 60000000)) (i32.const 0))"#,
            "tool_output_too_large",
        ),
        (
            "argument",
            r#"(func (export "a") (result i32)
                (call $log_info (call $alloc (i64.const 9000000))) (i32.const 0))"#,
            "tool_output_too_large",
        ),
        (
            "asks-too-often",
            r#"(func (export "a") (result i32) (loop (drop (call $memory_bytes)) (br 0)) (i32.const 0))"#,
            "tool_trap",
        ),
        (
            "clock",
            r#"(func (export "a") (result i32)
                (loop (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 0))) (br 0)) (i32.const 0))"#,
            "tool_trap",
        ),
        (
            "variables",
            r#"(func (export "a") (result i32)
                (call $var_set (call $alloc (i64.const 1)) (call $alloc (i64.const 2000000))) (i32.const 0))"#,
            "tool_failed",
        ),
        ("recurse", r#"(func $a (export "a") (result i32) (i32.add (call $a) (i32.const 1)))"#, "tool_trap"),
        (
            "bad-handle",
            r#"(func (export "a") (result i32) (drop (call $config_get (i64.const 77))) (i32.const 0))"#,
            "tool_trap",
        ),
        (
            "bad-request",
            r#"(func (export "a") (result i32)
                (drop (call $http_request (call $alloc (i64.const 8)) (i64.const 0))) (i32.const 0))"#,
            "tool_trap",
        ),
        (
            "exit",
            r#"(func (export "a") (result i32) (call $proc_exit (i32.const 3)) (i32.const 0))"#,
            "tool_trap",
        ),
        ("status", r#"(func (export "a") (result i32) (i32.const 5))"#, "tool_failed"),
        (
            "large-error",
            r#"(func (export "a") (result i32)
                (call $error_set (call $alloc (i64.const 60000000))) (i32.const 1))"#,
            "tool_failed",
        ),
    ] {
        let before = Instant::now();
        let ran = run(&acme, name, body).await;
        assert_eq!(ran.json()["code"], code, "{name}: {}", ran.text());
        // 8 KiB, each byte of them escaped in JSON.
        assert!(ran.text().len() < 60_000, "{name}: what is said of it is short");
        assert!(before.elapsed() < Duration::from_secs(20), "{name} took {:?}", before.elapsed());
    }
    let logged = r#"(func (export "a") (result i32)
        (local $n i32)
        (loop $more
            (call $log_info (call $put (i32.const 0) (i32.const 1)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $n) (i32.const 5000))))
        (i32.const 0))"#;
    let ran = run(&acme, "log-flood", logged).await.json();
    assert!(ran["logs"].as_array().is_some_and(|lines| lines.len() <= 1_000), "{ran}");
}

#[tokio::test]
async fn offsets_that_lead_nowhere_read_as_nothing_and_harm_nothing() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let ran = run(
        &acme,
        "offsets",
        r#"(func $all (param $at i64) (result i64)
            (call $store_u64 (local.get $at) (i64.const -1))
            (call $store_u8 (local.get $at) (i32.const 255))
            (call $free (local.get $at))
            (call $error_set (local.get $at))
            (call $output_set (local.get $at) (i64.const 9))
            (call $input_set (local.get $at) (i64.const 9))
            (i64.or (call $load_u64 (local.get $at))
            (i64.or (i64.extend_i32_u (call $load_u8 (local.get $at)))
            (i64.or (call $length (local.get $at)) (call $length_unsafe (local.get $at))))))
        (func (export "a") (result i32)
            (if (i64.ne (i64.const 0)
                (i64.or (call $all (i64.const 1)) (i64.or (call $all (i64.const -1))
                (i64.or (call $all (i64.const 4294967296)) (call $all (i64.const -9))))))
                (then unreachable))
            ;; The input is as it was: `{}`.
            (if (i64.ne (call $input_length) (i64.const 2)) (then unreachable))
            (call $output_set (call $input_offset) (call $input_length))
            (i32.const 0))"#,
    )
    .await;
    assert_eq!(ran.json()["output"], json!({}), "{}", ran.text());

    // What WASI is asked to write outside of the plugin's memory: 21 is `fault`.
    let ran = run(
        &acme,
        "pointers",
        r#"(func $is (param $errno i32) (param $expected i32)
            (if (i32.ne (local.get $errno) (local.get $expected)) (then unreachable)))
        (func (export "a") (result i32)
            (call $is (call $random_get (i32.const -8) (i32.const 64)) (i32.const 21))
            (call $is (call $random_get (i32.const 0) (i32.const -1)) (i32.const 28))
            (call $is (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const -4)) (i32.const 21))
            (call $is (call $clock_time_get (i32.const 9) (i64.const 0) (i32.const 0)) (i32.const 28))
            (call $is (call $args_sizes_get (i32.const -1) (i32.const 0)) (i32.const 21))
            (call $is (call $fd_write (i32.const 1) (i32.const -4) (i32.const 2) (i32.const 0)) (i32.const 21))
            (i32.store (i32.const 0) (i32.const 8))
            (i32.store (i32.const 4) (i32.const -1))
            (call $is (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0)) (i32.const 21))
            (call $is (call $fd_write (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 8))
            (call $is (call $poll_oneoff (i32.const -9) (i32.const 0) (i32.const 1) (i32.const 0)) (i32.const 21))
            (call $is (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0)) (i32.const 28))
            (i32.const 0))"#,
    )
    .await;
    assert_eq!(ran.json()["output"], Value::Null, "{}", ran.text());
}

#[tokio::test]
async fn a_plugin_sees_nothing_of_the_machine_and_what_it_prints_is_logged() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let ran = run(
        &acme,
        "prints",
        r#"(data (i32.const 64) "hello\1b[0m\nand more")
        (func $is (param $errno i32) (param $expected i32)
            (if (i32.ne (local.get $errno) (local.get $expected)) (then unreachable)))
        (func (export "a") (result i32)
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const 4))
            (i32.store (i32.const 8) (i32.const 68))
            (i32.store (i32.const 12) (i32.const 14))
            (call $is (call $fd_write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 32)) (i32.const 0))
            (call $is (i32.load (i32.const 32)) (i32.const 18))
            (call $is (call $environ_sizes_get (i32.const 32) (i32.const 36)) (i32.const 0))
            (call $is (i32.load (i32.const 32)) (i32.const 0))
            (call $is (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32)) (i32.const 0))
            (call $is (i32.load (i32.const 32)) (i32.const 0))
            (call $is (call $fd_prestat_get (i32.const 3) (i32.const 32)) (i32.const 8))
            (call $is (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 0)
                (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 32)) (i32.const 8))
            (call $is (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 32)) (i32.const 0))
            ;; In steps of 100 µs.
            (if (i64.ne (i64.rem_u (i64.load (i32.const 32)) (i64.const 100000)) (i64.const 0)) (then unreachable))
            (call $is (call $random_get (i32.const 32) (i32.const 8)) (i32.const 0))
            (if (i64.eqz (i64.load (i32.const 32))) (then unreachable))
            (call $proc_exit (i32.const 0))
            (i32.const 0))"#,
    )
    .await;
    let ran = ran.json();
    assert_eq!(ran["output"], Value::Null, "{ran}");
    let lines: Vec<_> =
        ran["logs"].as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(lines, ["hello\\u{1b}[0m", "and more"]);
}

#[tokio::test]
async fn a_plugin_that_runs_out_of_time_stops_no_other() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    install_manifest(
        &acme,
        "short",
        guests::EXTISM_KIT,
        json!({ "timeout_ms": 300 }),
        &[("limit", "wall_ms=300")],
    )
    .await;
    // The same module, so what runs is shared; its calls take longer.
    install_manifest(
        &acme,
        "long",
        guests::EXTISM_KIT,
        json!({ "timeout_ms": 1500 }),
        &[("limit", "wall_ms=1500")],
    )
    .await;
    let began = Instant::now();
    let long = acme.invoke("long_spin", json!({}));
    let shorts = async {
        for _ in 0..3 {
            assert_eq!(failure(&acme, "short_spin", json!({})).await.0, "tool_timeout");
        }
    };
    let (long, ()) = tokio::join!(long, shorts);
    assert_eq!(long.json()["code"], "tool_timeout", "{}", long.text());
    assert!(began.elapsed() >= Duration::from_millis(1400), "it had its own time: {:?}", began.elapsed());
    assert!(long.json()["ms"].as_f64().is_some_and(|ms| ms >= 1400.0), "{}", long.text());
}
