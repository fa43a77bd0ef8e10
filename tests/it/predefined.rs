//! What we ship: shown, granted, and no way around either.

use opg_tests::{
    app::{TestApp, send},
    guests,
    site::Site,
    upstream::ScriptedUpstream,
};
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

fn offered(body: &Value) -> Vec<String> {
    let tools = body["tools"].as_array().cloned().unwrap_or_default();
    tools.iter().map(|tool| tool["function"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn m235_m236_what_is_shipped_is_listed_with_its_interface_source_and_bytes() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    assert_eq!(names(&acme.get("/v1/predefined/tools").await.json()), ["http", "websearch"]);
    assert_eq!(names(&acme.get("/v1/predefined/agents").await.json()), ["default"]);
    for path in ["tools/http", "tools/websearch", "agents/default"] {
        let path = format!("/v1/predefined/{path}");
        let meta = acme.get(&path).await.json();
        assert!(meta["wit"].as_str().unwrap().starts_with("opg:") && meta.get("source").is_none(), "{meta}");
        assert!(meta["exports"][0]["description"].as_str().is_some_and(|text| !text.is_empty()));
        let source = acme.get(&format!("{path}?source=1")).await.json();
        assert!(source["source"].as_str().unwrap().contains("use opg_guest"), "{path}");
        let wasm = send(acme.request("GET", &path).header("accept", "application/wasm")).await;
        assert!(wasm.body.starts_with(b"\0asm"), "{path}");
        assert_eq!(wasm.body.len(), meta["size_bytes"].as_u64().unwrap() as usize);
    }
    assert_eq!(acme.get("/v1/predefined/tools/nothing").await.status, 404);
    assert_eq!(app.anonymous().get("/v1/predefined/tools").await.status, 401);
}

#[tokio::test]
async fn m237_http_is_offered_to_models_once_a_host_is_granted_and_reaches_no_other() {
    let app = TestApp::local().await;
    let (upstream, site) = (ScriptedUpstream::start().await, Site::start().await);
    let acme = app.tenant_of("acme", &upstream).await;
    acme.chat("openai/scripted", "hi").await;
    assert_eq!(offered(&upstream.received()[0].body), Vec::<String>::new());
    acme.grant("tools", "http", &[("http", &site.host())]).await;

    let call = format!(r#"call http {{"url": "{}"}}"#, site.url("/echo"));
    let answer = acme.chat("openai/scripted", &call).await;
    assert_eq!(offered(&upstream.received()[1].body), ["http"]);
    assert!(answer.content().contains(r#""status":200"#), "{}", answer.text());
    let elsewhere = format!(r#"call http {{"url": "http://{}/"}}"#, site.other_host());
    let refused = acme.chat("openai/scripted", &elsewhere).await;
    assert!(refused.content().contains("Error"), "{}", refused.text());
    assert_eq!(site.visits().len(), 1);

    let ran = acme.invoke("http", json!({ "url": site.url("/hop/5") })).await.json();
    assert_eq!((&ran["output"]["status"], &ran["output"]["body"]), (&json!(200), &json!("hello")));
    let before = site.visits().len();
    let lost = acme.invoke("http", json!({ "url": site.url("/hop/6") })).await;
    assert_eq!((lost.status, site.visits().len() - before), (502, 6), "five redirects: {}", lost.text());
    let large = acme.invoke("http", json!({ "url": site.url("/big/2097153") })).await;
    assert_eq!((large.status, large.json()["code"].as_str()), (502, Some("tool_failed")), "{}", large.text());
    let header = json!({ "url": site.url("/"), "headers": { "Host": "evil.example" } });
    let smuggled = acme.invoke("http", header).await;
    assert!(smuggled.status == 502 && smuggled.text().contains("set by the host"), "{}", smuggled.text());
}

#[tokio::test]
async fn m237_http_refuses_private_addresses_unless_the_operator_allows_them() {
    let app = TestApp::start().await;
    let site = Site::start().await;
    let acme = app.tenant("acme").await;
    acme.grant(
        "tools",
        "http",
        &[("http", &site.host()), ("http", "169.254.169.254"), ("http", "127.0.0.1")],
    )
    .await;
    for url in [site.url("/"), "http://169.254.169.254/latest/meta-data".into(), "http://0x7f000001/".into()]
    {
        let answer = acme.invoke("http", json!({ "url": url })).await;
        assert_eq!(answer.status, 502, "{url}: {}", answer.text());
        assert!(answer.text().contains("public address"), "{url}: {}", answer.text());
    }
    assert_eq!(site.visits().len(), 0);
}

#[tokio::test]
async fn m238_websearch_says_when_no_source_is_configured_and_asks_the_one_that_is() {
    let app = TestApp::local().await;
    let (upstream, site) = (ScriptedUpstream::start().await, Site::start().await);
    let acme = app.tenant_of("acme", &upstream).await;
    let without = acme.invoke("websearch", json!({ "query": "opg" })).await;
    assert_eq!((without.status, without.json()["code"].as_str()), (502, Some("tool_failed")));
    assert!(without.text().contains("no search source is configured"), "{}", without.text());

    acme.grant("tools", "websearch", &[("http", &site.host())]).await;
    let configured = acme.invoke("websearch_configure_websearch", json!({ "url": site.url("") })).await;
    assert_eq!(configured.status, 200, "{}", configured.text());
    let found = acme.invoke("websearch", json!({ "query": "a & b", "count": 1 })).await.json();
    let one = json!([{ "title": "One", "url": "https://one.example", "snippet": "first" }]);
    assert_eq!(found["output"]["results"], one);
    assert_eq!(site.visits()[0].uri, "/search?q=a%20%26%20b&format=json");
    let told = acme.chat("openai/scripted", r#"call websearch {"query": "x"}"#).await;
    assert!(told.content().contains("https://two.example"), "{}", told.text());
}

#[tokio::test]
async fn m238_neither_a_model_nor_a_guest_nor_a_mere_runner_can_repoint_the_search() {
    let app = TestApp::local().await;
    let (upstream, site) = (ScriptedUpstream::start().await, Site::start().await);
    let acme = app.tenant_of("acme", &upstream).await;
    acme.grant("tools", "websearch", &[("http", &site.host())]).await;
    acme.install_tool("grabby", guests::GRABBY).await;
    let repoint = r#"websearch_configure_websearch {"url": "http://evil.example"}"#;

    let by_model = acme.chat("openai/scripted", &format!("call {repoint}")).await;
    assert_eq!(by_model.status, 200, "{}", by_model.text());
    assert!(!offered(&upstream.received()[0].body).iter().any(|name| name.contains("configure")));
    let input = json!({ "name": "websearch_configure_websearch", "input": { "url": "http://evil.example" } });
    let by_guest = acme.invoke("grabby_call_tool", input).await.json();
    assert_eq!(by_guest["output"]["error"], "invalid", "{by_guest}");
    let listed = acme.invoke("grabby_list_tools", json!({})).await.text();
    assert!(listed.contains("websearch") && !listed.contains("configure"), "{listed}");

    let runner = acme.with_scopes(&["tools:run", "chat:write"]).await;
    let by_runner =
        runner.invoke("websearch_configure_websearch", json!({ "url": "http://evil.example" })).await;
    assert_eq!((by_runner.status, by_runner.json()["code"].as_str()), (403, Some("insufficient_scope")));
    assert_eq!(app.sql("select count(*)::text from plugin_kv").await, ["0"]);
}

#[tokio::test]
async fn m243_only_what_an_app_includes_resolves_and_an_unknown_name_is_refused() {
    let app = TestApp::local().await;
    let (upstream, site) = (ScriptedUpstream::start().await, Site::start().await);
    let config = |include: Value| {
        json!({
            "id": "acme", "includePredefined": include,
            "providers": { "openai": { "apiKey": "k-123456", "baseUrl": upstream.base_url() } },
        })
    };
    let acme = app.tenant_with(config(json!({ "tools": ["websearch"], "agents": [] }))).await;
    assert_eq!(acme.invoke("http", json!({ "url": site.url("/") })).await.status, 404);
    assert_eq!(acme.invoke("websearch", json!({ "query": "x" })).await.status, 502, "that one is there");
    let mut body = json!({ "model": "openai/scripted", "agent": "default", "messages": [{ "role": "user", "content": "x" }] });
    assert_eq!(acme.post("/v1/chat/completions", &body).await.status, 404);

    let wrong = acme.put("/v1/tenant", &config(json!({ "tools": ["nothing"] }))).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    assert!(wrong.text().contains("/includePredefined/tools"), "{}", wrong.text());
    let all = acme.put("/v1/tenant", &config(json!({}))).await;
    assert_eq!(all.status, 200, "{}", all.text());
    body["agent"] = json!("default");
    assert_eq!(acme.post("/v1/chat/completions", &body).await.status, 200);
}
