//! Which models there are.

use super::*;

#[tokio::test]
async fn m102_models_are_listed_with_their_provider_and_price() {
    let scene = Scene::start().await;
    scene
        .price("openai/scripted", json!({ "input_micro_usd_per_mtok": 7, "output_micro_usd_per_mtok": 9 }))
        .await;
    let reader = scene.acme.with_scopes(&["ai:read"]).await;
    let listed = reader.get("/acme/v1/ai/models").await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    let models = listed.json()["data"].as_array().unwrap().clone();
    let of = |id: &str| {
        models.iter().find(|model| model["id"] == id).unwrap_or_else(|| panic!("{id}: {models:?}"))
    };
    let scripted = of("openai/scripted");
    assert_eq!(
        (&scripted["provider"], &scripted["price"]["output_micro_usd_per_mtok"]),
        (&json!("openai"), &json!(9))
    );
    assert_eq!(of("openai/scripted-large")["price"], Value::Null, "not known is not nothing");
    assert!(of("demo/assistant")["price"]["input_micro_usd_per_mtok"].as_u64().unwrap() > 0);
    assert!(!listed.text().contains(UPSTREAM_KEY));
    let other = scene.acme.with_scopes(&["chat:read", "ai:invoke"]).await.get("/v1/ai/models").await;
    assert_eq!(other.status, 403);
}

#[tokio::test]
async fn m102_a_model_has_its_alias_its_kind_and_its_context_where_somebody_said_so() {
    let scene = Scene::start().await;
    let operator = scene.app.operator();
    let source = json!({ "id": "main", "kind": "openai-compatible", "base_url": scene.upstream.base_url() });
    assert_eq!(operator.post("/platform/v1/ai/sources", &source).await.status, 201);
    let price = json!({ "input_micro_usd_per_mtok": 1, "output_micro_usd_per_mtok": 2 });
    for (id, more) in [
        ("plat/large", json!({ "alias": "big", "context_tokens": 128_000 })),
        ("plat/vectors", json!({ "kind": "embedding", "alias": "vectors" })),
        ("plat/draft", json!({ "enabled": false })),
    ] {
        let model = json!({ "id": id, "price": price, "sources": [{ "source": "main" }] });
        let made = operator.post("/platform/v1/ai/models", &with(model, more)).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let read = async || {
        let listed = scene.acme.get("/v1/ai/models").await.json();
        let models = listed["data"].as_array().unwrap().clone();
        move |id: &str| models.iter().find(|model| model["id"] == id).cloned()
    };
    let before = read().await;
    assert_eq!(before("plat/large"), None, "an app may use none until the operator says so");
    let may = json!({ "models": ["plat/*"] });
    assert_eq!(operator.put("/v1/admin/tenants/acme/ai/models", &may).await.status, 200);
    let of = read().await;
    let known = |id: &str| {
        let model = of(id).unwrap();
        ["provider", "alias", "kind", "context"].map(|name| model[name].clone())
    };
    assert_eq!(known("plat/large"), [json!("plat"), json!("big"), json!("chat"), json!(128_000)]);
    assert_eq!(known("plat/vectors"), [json!("plat"), json!("vectors"), json!("embedding"), Value::Null]);
    assert_eq!(of("plat/draft"), None, "a draft is not there");
    assert_eq!(known("demo/assistant")[2], json!("chat"));
    assert_eq!(
        known("openai/scripted"),
        [json!("openai"), Value::Null, Value::Null, Value::Null],
        "nobody said"
    );

    let mut configured = scene.acme.get("/v1/tenant").await.json();
    configured["modelAliases"] = json!({ "huge": "plat/large", "fast": "openai/scripted" });
    let set = scene.acme.put("/v1/tenant", &configured).await;
    assert_eq!(set.status, 200, "{}", set.text());
    let of = read().await;
    assert_eq!(of("plat/large").unwrap()["alias"], "huge", "the app's own name comes first");
    assert_eq!(of("openai/scripted").unwrap()["alias"], "fast");
    assert_eq!(
        scene.acme.get("/v1/models").await.json()["data"][0]["kind"],
        Value::Null,
        "OpenAI's list has no such"
    );
}

#[tokio::test]
async fn m499_mock_models_answer_offline_where_they_are_on_and_are_not_there_where_they_are_off() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    assert_eq!(acme.chat("mock/echo", "say  this").await.content(), "say  this");
    let tools =
        json!([{ "type": "function", "function": { "name": "add", "parameters": { "type": "object" } } }]);
    let body = json!({ "model": "mock/tool", "messages": [{ "role": "user", "content": "{\"a\":1}" }], "tools": tools });
    let called = acme.post("/v1/chat/completions", &body).await.json();
    assert_eq!(
        called["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "{\"a\":1}",
        "{called}"
    );
    let limited = acme.chat("mock/error", "429").await;
    assert_eq!(
        (limited.status, limited.header("retry-after").is_empty()),
        (429, false),
        "{}",
        limited.text()
    );
    let late = json!({ "model": "mock/error", "stream": true, "messages": [{ "role": "user", "content": "late 503" }] });
    let frames = acme.post("/v1/chat/completions", &late).await.frames();
    assert!(
        frames.last().unwrap()["error"]["code"].is_string() && !frames.contains(&json!("[DONE]")),
        "{frames:?}"
    );
    let since = Instant::now();
    assert_eq!(acme.chat("mock/slow", "one two").await.content(), "one two");
    assert!(since.elapsed() >= Duration::from_millis(400), "a pause before each piece");
    let uses = acme.uses().await;
    assert!(uses.iter().all(|row| row["provider"] == "mock" && !row["cost_micro_usd"].is_null()), "{uses:?}");
    let listed = acme.get("/v1/models").await.text();
    assert!(listed.contains("mock/echo") && listed.contains("mock/error"));
    let taken = acme
        .put("/v1/tenant", &json!({ "providers": { "mock": { "apiKey": "sk-0123456789abcdef" } } }))
        .await;
    assert_eq!(taken.status, 422, "{}", taken.text());

    let app = TestApp::with(|config| config.mock_provider = false).await;
    let acme = app.tenant("acme").await;
    assert!(!acme.get("/v1/models").await.text().contains("mock/"));
    assert_ne!(acme.chat("mock/echo", "hi").await.status, 200);
}
