//! `/v1/keys` and `/v1/config/providers`.

use opg_host::app::Clock;
use opg_tests::{
    app::{Answer, Client, TestApp, logs},
    upstream::ScriptedUpstream,
};
use serde_json::{Value, json};

const KEY: &str = "sk-canary-of-a-key-0123456789";

async fn start() -> (TestApp, ScriptedUpstream, Client) {
    let app = TestApp::at(Clock::manual(Clock::system().now()), |config| {
        TestApp::allow_local(config);
        config.mock_provider = false;
    })
    .await;
    let upstream = ScriptedUpstream::start().await;
    let mine = json!({ "baseUrl": upstream.base_url() });
    let acme = app.tenant_with(json!({ "id": "acme", "providers": { "mine": mine } })).await;
    (app, upstream, acme)
}

async fn put(client: &Client, provider: &str, body: Value) -> Answer {
    client.put(&format!("/v1/keys/{provider}"), &body).await
}

async fn keys(client: &Client) -> Vec<Value> {
    let listed = client.get("/v1/keys").await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    listed.json()["data"].as_array().unwrap().clone()
}

/// To where nothing listens.
async fn move_away(acme: &Client) {
    let mine = json!({ "baseUrl": "http://127.0.0.1:9/v1", "apiKey": "sk-moved-01234567abcd" });
    assert_eq!(acme.put("/v1/tenant", &json!({ "providers": { "mine": mine } })).await.status, 200);
}

#[tokio::test]
async fn m018_m279_a_persons_own_key_comes_before_the_apps_and_is_theirs_alone() {
    let app = TestApp::with(|config| {
        TestApp::allow_local(config);
        TestApp::let_people_in(config);
    })
    .await;
    let upstream = ScriptedUpstream::start().await;
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    let me = bob.get("/v1/me").await.json();
    let member = json!({ "user_id": me["id"], "role": "developer" });
    assert_eq!(ann.post("/ann/v1/tenant/members", &member).await.status, 201);
    let (ann, bob) = (ann.in_app("ann"), bob.in_app("ann"));
    let mine = json!({ "baseUrl": upstream.base_url(), "apiKey": "sk-the-apps-0123456abc" });
    let set = ann.put("/v1/tenant", &json!({ "providers": { "mine": mine } })).await;
    assert_eq!(set.status, 200, "{}", set.text());
    assert_eq!(put(&bob, "mine", json!({ "key": KEY })).await.status, 204);
    assert_eq!(bob.chat("mine/scripted", "hello").await.status, 200);
    assert_eq!(ann.chat("mine/scripted", "hello").await.status, 200);
    let sent: Vec<_> = upstream.received().iter().map(|r| r.headers["authorization"].clone()).collect();
    assert_eq!(sent, [format!("Bearer {KEY}"), "Bearer sk-the-apps-0123456abc".to_owned()]);
    let paid: Vec<_> = ann.uses().await.iter().map(|used| used["paid_by"].clone()).collect();
    assert!(paid.contains(&json!("user")) && paid.contains(&json!("app")), "{paid:?}");
    let shown = |rows: Vec<Value>| rows.iter().map(|row| row["last4"].clone()).collect::<Vec<_>>();
    assert_eq!(shown(keys(&bob).await), ["6789"]);
    assert_eq!(shown(keys(&ann).await), Vec::<Value>::new(), "not another person's");
    assert_eq!(bob.delete("/v1/keys/mine").await.status, 204);
    assert_eq!(bob.chat("mine/scripted", "hello").await.status, 200);
    assert_eq!(upstream.received()[2].headers["authorization"], "Bearer sk-the-apps-0123456abc");
}

#[tokio::test]
async fn m279_m280_m299_a_key_goes_in_is_used_replaced_and_removed_and_never_comes_out() {
    let (app, upstream, acme) = start().await;
    assert_eq!(keys(&acme).await, Vec::<Value>::new(), "a provider without a key has none");
    assert_eq!(put(&acme, "mine", json!({ "key": KEY })).await.status, 204);
    let row = keys(&acme).await.remove(0);
    assert_eq!(
        (&row["provider"], &row["last4"], &row["version"], &row["last_used_at"]),
        (&json!("mine"), &json!("6789"), &json!(1), &Value::Null)
    );
    assert_eq!(acme.chat("mine/scripted", "hello").await.status, 200);
    assert_eq!(upstream.received()[0].headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(acme.uses().await.pop().unwrap()["paid_by"], "app");
    let mut tries = 0;
    while keys(&acme).await[0]["last_used_at"].is_null() {
        tries += 1;
        assert!(tries < 100, "it is written down when a key is used");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(put(&acme, "mine", json!({ "key": "sk-another-key-abcdef" })).await.status, 204);
    let row = keys(&acme).await.remove(0);
    assert_eq!((&row["last4"], &row["version"]), (&json!("cdef"), &json!(2)));
    assert_eq!(acme.chat("mine/scripted", "hello").await.status, 200);
    assert_eq!(upstream.received()[1].headers["authorization"], "Bearer sk-another-key-abcdef");
    // The configuration knows it, too.
    assert_eq!(acme.get("/v1/tenant").await.json()["providers"]["mine"]["last4"], "cdef");

    let other = app.tenant("other").await;
    assert_eq!(keys(&other).await, Vec::<Value>::new());
    assert_eq!(other.delete("/v1/keys/mine").await.status, 404);
    assert_eq!(acme.delete("/v1/keys/mine").await.status, 204);
    assert_eq!(acme.delete("/v1/keys/mine").await.status, 404);
    assert_eq!(keys(&acme).await, Vec::<Value>::new());
    let left = acme.get("/v1/tenant").await.json();
    assert_eq!(left["providers"]["mine"]["has_key"], false, "its address stays: {left}");
    assert_eq!(left["providers"]["mine"]["baseUrl"], upstream.base_url());

    // A well-known provider needs no address, and nothing of it stays.
    assert_eq!(put(&acme, "groq", json!({ "key": KEY })).await.status, 204);
    assert_eq!(keys(&acme).await[0]["provider"], "groq");
    assert_eq!(acme.delete("/v1/keys/groq").await.status, 204);
    assert!(acme.get("/v1/tenant").await.json()["providers"]["groq"].is_null());
    let actions =
        app.sql("select target from audit_events where action = 'keys.write' order by audit_id").await;
    assert_eq!(actions, ["key/mine", "key/mine", "key/mine", "key/groq", "key/groq"]);
    assert!(!logs().contains(KEY));
    let kept = super::canary::dump(&app).await;
    assert!(!kept.iter().any(|(_, text)| text.contains(KEY)));
}

#[tokio::test]
async fn m279_what_is_no_key_or_no_provider_is_refused_and_what_was_there_stays() {
    let (_app, _upstream, acme) = start().await;
    assert_eq!(put(&acme, "mine", json!({ "key": KEY })).await.status, 204);
    for unknown in ["nobody", "demo", "No", "%00"] {
        assert_eq!(put(&acme, unknown, json!({ "key": KEY })).await.status, 404, "{unknown}");
        assert_eq!(put(&acme, unknown, json!({ "managed": true })).await.status, 404, "{unknown}");
    }
    for (body, pointer) in [
        (json!({}), "/key"),
        (json!({ "managed": false }), "/key"),
        (json!({ "key": "" }), "/key"),
        (json!({ "key": "a b" }), "/key"),
        (json!({ "key": "a\u{0}b" }), "/key"),
        (json!({ "key": "k".repeat(4097) }), "/key"),
        (json!({ "key": 1 }), "/key"),
        (json!({ "key": KEY, "managed": true }), "/managed"),
    ] {
        let refused = put(&acme, "mine", body.clone()).await;
        assert_eq!(
            (refused.status, &refused.json()["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{body}"
        );
        assert!(!refused.text().contains(KEY));
    }
    let none = put(&acme, "mine", json!({ "managed": true })).await;
    assert_eq!((none.status, &none.json()["code"]), (409, &json!("no_managed_source")));
    assert_eq!(keys(&acme).await[0]["version"], 1);

    // Checked first, if one asks for it.
    let asked = put(&acme, "mine", json!({ "key": "sk-checked-0123456789", "check": true })).await;
    assert_eq!(asked.status, 204, "{}", asked.text());
    move_away(&acme).await;
    let refused = put(&acme, "mine", json!({ "key": KEY, "check": true })).await;
    let pointer = refused.json()["errors"][0]["pointer"].clone();
    assert_eq!((refused.status, pointer), (422, json!("/key")), "{}", refused.text());
    assert!(!refused.text().contains(KEY) && !refused.text().contains("127.0.0.1"), "{}", refused.text());
    assert_eq!(keys(&acme).await[0]["last4"], "abcd");
}

#[tokio::test]
async fn m280_a_key_is_tested_by_asking_its_provider() {
    let (_app, _upstream, acme) = start().await;
    let empty = json!({});
    let test = || acme.post("/v1/keys/mine/test", &empty);
    assert_eq!(test().await.status, 404, "there is no key");
    assert_eq!(put(&acme, "mine", json!({ "key": KEY })).await.status, 204);
    let good = test().await;
    assert_eq!(
        (&good.json()["ok"], &good.json()["models"], &good.json()["message"]),
        (&json!(true), &json!(2), &Value::Null)
    );
    move_away(&acme).await;
    let bad = test().await;
    assert_eq!((bad.status, &bad.json()["ok"]), (200, &json!(false)), "{}", bad.text());
    assert!(bad.json()["message"].is_string() && !bad.text().contains("127.0.0.1"), "{}", bad.text());
    assert_eq!(acme.post("/v1/keys/groq/test", &json!({})).await.status, 404);
    let reader = acme.with_scopes(&["keys:read"]).await;
    assert_eq!(keys(&reader).await.len(), 1);
    assert_eq!(reader.post("/v1/keys/mine/test", &json!({})).await.status, 403);
}

#[tokio::test]
async fn m279_a_key_is_given_up_for_the_platforms() {
    let (app, upstream, acme) = start().await;
    let ours = ScriptedUpstream::start().await;
    let operator = app.operator();
    let source = json!({ "id": "ours", "kind": "openai-compatible", "base_url": ours.base_url(), "key": "sk-of-the-operator-1" });
    assert_eq!(operator.post("/platform/v1/ai/sources", &source).await.status, 201);
    let model = json!({ "id": "mine/scripted", "sources": [{ "source": "ours" }],
        "price": { "input_micro_usd_per_mtok": 1, "output_micro_usd_per_mtok": 1 } });
    assert_eq!(operator.post("/platform/v1/ai/models", &model).await.status, 201);
    assert_eq!(put(&acme, "mine", json!({ "key": KEY })).await.status, 204);
    let refused = put(&acme, "mine", json!({ "managed": true })).await;
    assert_eq!(refused.status, 409, "the app may not use it");
    let may = json!({ "models": ["mine/*"] });
    assert_eq!(operator.put("/v1/admin/tenants/acme/ai/models", &may).await.status, 200);

    assert_eq!(acme.chat("mine/scripted", "hello").await.status, 200);
    assert_eq!((upstream.received().len(), ours.received().len()), (1, 0), "its own still comes first");
    assert_eq!(put(&acme, "mine", json!({ "managed": true })).await.status, 204);
    assert_eq!(put(&acme, "mine", json!({ "managed": true })).await.status, 204, "as often as one likes");
    assert_eq!(acme.chat("mine/scripted", "hello").await.status, 200);
    assert_eq!((upstream.received().len(), ours.received().len()), (1, 1));
    assert_eq!(ours.received()[0].headers["authorization"], "Bearer sk-of-the-operator-1");
    assert_eq!(keys(&acme).await, Vec::<Value>::new());
    let paid: Vec<Value> = acme.uses().await.iter().map(|row| row["paid_by"].clone()).collect();
    assert_eq!(paid, [json!("app"), json!("platform")]);
}

#[tokio::test]
async fn m278_a_session_is_told_which_providers_and_models_there_are_and_no_key() {
    let (app, _upstream, acme) = start().await;
    assert_eq!(put(&acme, "mine", json!({ "key": KEY })).await.status, 204);
    let mut now = acme.get("/v1/tenant").await.json();
    now["defaultModel"] = json!({ "providerId": "demo", "modelId": "slow" });
    assert_eq!(acme.put("/v1/tenant", &now).await.status, 200);
    let reader = acme.with_scopes(&["sessions:read"]).await;
    let told = reader.get("/v1/config/providers").await;
    assert_eq!(told.status, 200, "{}", told.text());
    let told_json = told.json();
    let providers = told_json["providers"].as_array().unwrap();
    let of = |id: &str| providers.iter().find(|provider| provider["id"] == id).unwrap();
    assert_eq!(providers.len(), 2);
    assert_eq!((&of("mine")["source"], &of("mine")["has_key"]), (&json!("app"), &json!(true)));
    assert_eq!(
        of("mine")["models"]["scripted-large"],
        json!({ "id": "scripted-large", "name": "scripted-large" })
    );
    assert_eq!((&of("demo")["source"], &of("demo")["has_key"]), (&json!("built-in"), &json!(false)));
    assert_eq!(told_json["default"], json!({ "demo": "slow", "mine": "scripted" }));
    for secret in [KEY, "6789", "127.0.0.1"] {
        assert!(!told.text().contains(secret), "{}", told.text());
    }
    let bare = app.tenant("bare").await.get("/v1/config/providers").await.json();
    assert_eq!(bare["providers"].as_array().unwrap().len(), 1, "{bare}");
    assert_eq!(acme.with_scopes(&["chat:read"]).await.get("/v1/config/providers").await.status, 403);
}

#[tokio::test]
async fn m279_tokens_from_before_there_were_scopes_for_keys_may_what_they_could_do_already() {
    let (app, _upstream, acme) = start().await;
    let narrow = acme.with_scopes(&["tenant:read", "chat:write"]).await;
    let mut conn = app.owner().await;
    let old = "update credentials set scopes = array_remove(array_remove(scopes, 'keys:read'), 'keys:write')";
    sqlx::raw_sql(old).execute(&mut conn).await.unwrap();
    assert_eq!(acme.get("/v1/keys").await.status, 403);
    let migration = include_str!("../../migrations/20261130000011_key_scopes.sql");
    for _ in 0..2 {
        sqlx::raw_sql(migration).execute(&mut conn).await.unwrap();
        assert_eq!(put(&acme, "mine", json!({ "key": KEY })).await.status, 204);
        assert_eq!(narrow.get("/v1/keys").await.status, 403, "who could change no key still cannot");
    }
    let doubled = "select cardinality(scopes)::text from credentials where 'keys:write' = any(scopes)
                   and cardinality(scopes) <> (select count(distinct s) from unnest(scopes) s)";
    assert_eq!(app.sql(doubled).await, Vec::<String>::new());
}
