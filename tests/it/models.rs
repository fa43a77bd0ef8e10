//! `/v1/models`: what an app can name.

use opg_tests::{app::TestApp, upstream::ScriptedUpstream};
use serde_json::{Value, json};

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn m210_models_are_those_of_the_apps_own_providers() {
    let app = TestApp::with(|config| {
        TestApp::allow_local(config);
        config.demo_provider = false;
        config.mock_provider = false;
    })
    .await;
    let upstream = ScriptedUpstream::start().await;
    let bare = app.tenant("bare").await;
    assert_eq!(bare.get("/v1/models").await.json(), json!({ "object": "list", "data": [] }));
    let acme = app.tenant_of("acme", &upstream).await;
    let listed = acme.get("/v1/models").await.json();
    assert_eq!(ids(&listed), ["openai/scripted", "openai/scripted-large"]);
    let first = &listed["data"][0];
    assert_eq!((&first["object"], &first["owned_by"]), (&json!("model"), &json!("openai")));
    assert!(first["created"].is_i64());
    assert_eq!(acme.get("/acme/v1/models").await.json(), listed);
    assert_eq!(acme.with_scopes(&["chat:write"]).await.get("/v1/models").await.status, 403);
    let denied = app.anonymous().get("/v1/models").await;
    assert_eq!((denied.status, &denied.json()["error"]["type"]), (401, &json!("authentication_error")));
}

#[tokio::test]
async fn m210_a_provider_that_does_not_answer_contributes_the_default_model_alone() {
    let app = TestApp::with(|config| {
        TestApp::allow_local(config);
        config.mock_provider = false;
    })
    .await;
    let down = json!({ "apiKey": "key-123456", "baseUrl": "http://127.0.0.1:9/v1" });
    let acme = app
        .tenant_with(json!({
            "id": "acme", "providers": { "down": down },
            "defaultModel": { "providerId": "down", "modelId": "deep/er" },
        }))
        .await;
    let listed = acme.get("/v1/models").await;
    assert_eq!(ids(&listed.json()), ["demo/assistant", "demo/error", "demo/slow", "down/deep/er"]);
}

#[tokio::test]
async fn m211_one_model_is_shown_by_its_id_with_or_without_the_slash_escaped() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    for path in ["openai/scripted-large", "openai%2Fscripted-large"] {
        let shown = acme.get(&format!("/v1/models/{path}")).await;
        assert_eq!((shown.status, &shown.json()["id"]), (200, &json!("openai/scripted-large")), "{path}");
    }
    for path in ["openai/nothing", "nothing", "anthropic%2Fclaude"] {
        let missing = acme.get(&format!("/v1/models/{path}")).await;
        let error = &missing.json()["error"];
        assert_eq!(
            (missing.status, &error["code"], &error["param"]),
            (404, &json!("model_not_found"), &json!("model"))
        );
    }
}
