//! What a manifest says and asks for.

use super::*;

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
