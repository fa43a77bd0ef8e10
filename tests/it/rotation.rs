//! Rotating the master key while everything runs.

use opg_tests::{
    app::{TestApp, logs},
    upstream::ScriptedUpstream,
};
use secrecy::SecretString;
use serde_json::json;
use std::time::Duration;

const OLD: &str = "1:q8Vb0m3XkQyq3dY1i8cJq0cJm7o0mQ0m9m2Jc1yq7b4=";
const NEW: &str = "2:5m1X2s0q8Vb0m3XkQyq3dY1i8cJq0cJm7o0mQ0m9m2Q=";

#[tokio::test]
async fn m314_a_newer_master_key_wraps_every_data_key_at_start_and_the_old_one_may_go() {
    let key = |text: &str| Some(SecretString::from(text.to_owned()));
    let upstream = ScriptedUpstream::start().await;
    let app = TestApp::with(|config| {
        config.master_key = key(OLD);
        config.allow_private_upstreams = true;
    })
    .await;
    let openai = json!({ "apiKey": "sk-123456789012", "baseUrl": upstream.base_url() });
    let acme = app.tenant_with(json!({ "id": "acme", "providers": { "openai": openai } })).await;
    assert_eq!(acme.put("/v1/tenant/secrets", &json!({ "set": { "API_KEY": "value" } })).await.status, 204);
    let source = json!({ "id": "ours", "kind": "openai-compatible", "base_url": upstream.base_url(), "key": "sk-ours-3456789" });
    let source = app.operator().post("/platform/v1/ai/sources", &source).await;
    assert_eq!(source.status, 201, "{}", source.text());
    let model = json!({ "id": "ours/scripted", "sources": [{ "source": "ours" }],
        "price": { "input_micro_usd_per_mtok": 1, "output_micro_usd_per_mtok": 1 } });
    assert_eq!(app.operator().post("/platform/v1/ai/models", &model).await.status, 201);
    let may = json!({ "models": ["ours/*"] });
    assert_eq!(app.operator().put("/v1/admin/tenants/acme/ai/models", &may).await.status, 200);
    let versions =
        "select key_version::text from secrets union all select key_version::text from provider_keys
                    union all select key_version::text from ai_sources";
    assert_eq!(app.sql(versions).await, ["1", "1", "1"]);
    let values = app.sql("select encode(encrypted_value, 'hex') from secrets").await;

    let app = app.restart_with(|config| config.master_key = key(&format!("{OLD},{NEW}"))).await;
    let mut tries = 0;
    while app.sql(versions).await != ["2", "2", "2"] {
        tries += 1;
        assert!(tries < 100, "{}", logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        app.sql("select encode(encrypted_value, 'hex') from secrets").await,
        values,
        "values stay as they are"
    );

    let app = app.restart_with(|config| config.master_key = key(NEW)).await;
    let acme = app.client(Some(acme.token()));
    assert_eq!(acme.chat("openai/gpt-4o", "hello").await.status, 200);
    let received = upstream.received();
    assert_eq!(received.last().unwrap().headers["authorization"], "Bearer sk-123456789012");
    assert_eq!(acme.chat("ours/scripted", "hello").await.status, 200);
    let received = upstream.received();
    assert_eq!(received.last().unwrap().headers["authorization"], "Bearer sk-ours-3456789");
}
