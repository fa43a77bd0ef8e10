//! A person's own tokens: made, shown once, renamed, rotated and ended.

use opg_host::app::Clock;
use opg_tests::app::{Client, TestApp, logs};
use serde_json::{Value, json};

async fn made(by: &Client, body: Value) -> Value {
    let answer = by.post("/platform/v1/tokens", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

fn wanted(scopes: &[&str]) -> Value {
    json!({ "name": "ci", "scopes": scopes, "expires_in": 3600 })
}

#[tokio::test]
async fn m076_a_token_is_shown_once_and_may_what_its_scopes_and_its_persons_role_say() {
    let app = TestApp::open_to_people().await;
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    let new = made(&ann, wanted(&["tools:read", "tenant:write", "platform:tokens"])).await;
    let token = new["token"].as_str().unwrap();
    assert!(token.starts_with("opg_pat_") && token.ends_with(new["last4"].as_str().unwrap()));
    let list = ann.get("/platform/v1/tokens").await;
    let secret = token.rsplit('_').next().unwrap();
    assert!(!list.text().contains(secret) && !list.text().contains("hash"), "{}", list.text());
    assert_eq!(
        (&list.json()["data"][0]["id"], &list.json()["data"][0]["app_ids"]),
        (&new["id"], &Value::Null)
    );
    assert_eq!(bob.get("/platform/v1/tokens").await.json()["data"], json!([]));
    assert!(!app.sql("select row_to_json(c)::text from credentials c").await.concat().contains(secret));
    assert!(!logs().contains(secret));

    let ci = app.client(Some(token));
    assert_eq!(ci.get("/ann/v1/tenant/tools").await.status, 200);
    assert_eq!(ci.get("/ann/v1/tenant").await.status, 403);
    assert_eq!(ci.get("/v1/me").await.status, 403);
    let who = ci.get("/ann/v1/whoami").await.json();
    assert_eq!(
        (&who["kind"], &who["scopes"]),
        (&json!("personal_token"), &json!(["tenant:write", "tools:read", "platform:tokens"]))
    );
    // In another's app it may what its person may there, and no more than it may itself.
    let member = json!({ "user_id": ann.get("/v1/me").await.json()["id"], "role": "viewer" });
    assert_eq!(bob.post("/bob/v1/tenant/members", &member).await.status, 201);
    let who = ci.get("/bob/v1/whoami").await.json();
    assert_eq!(who["scopes"], json!(["tools:read", "platform:tokens"]), "a viewer writes nothing");
}

#[tokio::test]
async fn m076_a_token_is_never_wider_than_what_made_it() {
    let clock = Clock::manual(Clock::system().now());
    let app = TestApp::at(clock, TestApp::let_people_in).await;
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    let member = json!({ "user_id": ann.get("/v1/me").await.json()["id"], "role": "owner" });
    assert_eq!(bob.post("/bob/v1/tenant/members", &member).await.status, 201);
    for scopes in [["account:manage"], ["platform:apps:read"], ["platform:*"]] {
        let wider = ann.post("/platform/v1/tokens", &wanted(&scopes)).await;
        assert_eq!((wider.status, &wider.json()["code"]), (403, &json!("wider_than_own")), "{scopes:?}");
    }
    let mut narrow = wanted(&["platform:tokens", "tools:read"]);
    narrow["app_ids"] = json!(["ann"]);
    let narrow = made(&ann, narrow).await;
    let ci = app.client(narrow["token"].as_str());
    assert_eq!(ci.get("/v1/tenant/tools").await.status, 200, "the one app it is for");
    assert_eq!(ci.get("/bob/v1/tenant/tools").await.status, 404);
    let wider = ci.post("/platform/v1/tokens", &wanted(&["tools:write"])).await;
    assert_eq!(wider.status, 403, "{}", wider.text());
    let mut elsewhere = wanted(&["tools:read"]);
    elsewhere["app_ids"] = json!(["bob"]);
    let refused = ci.post("/platform/v1/tokens", &elsewhere).await;
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &json!("/app_ids")));
    let mut longer = wanted(&["tools:read"]);
    longer["expires_in"] = json!(7200);
    let child = made(&ci, longer).await;
    assert_eq!(child["expires_at"], narrow["expires_at"], "nor does it outlive it");
    let child = app.client(child["token"].as_str());
    assert_eq!(child.get("/bob/v1/tenant/tools").await.status, 404, "and it is for the same app");
    assert_eq!(child.get("/v1/tenant/tools").await.status, 200);
    // What the narrow one did not make it cannot make anew.
    let all = made(&ann, wanted(&["tools:read"])).await;
    let path = format!("/platform/v1/tokens/{}/rotate", all["id"].as_str().unwrap());
    assert_eq!(ci.post(&path, &json!({})).await.status, 404);
    let year = 365 * 24 * 60 * 60;
    for (body, pointer) in [
        (json!({ "name": "x", "scopes": [], "expires_in": 1 }), "/scopes"),
        (json!({ "name": "x", "scopes": ["nope"], "expires_in": 1 }), "/scopes"),
        (json!({ "name": "x", "scopes": ["chat:read"], "expires_in": 0 }), "/expires_in"),
        (json!({ "name": "x", "scopes": ["chat:read"], "expires_in": year + 1 }), "/expires_in"),
        (json!({ "name": "x", "scopes": ["chat:read"] }), ""),
        (json!({ "name": "a\u{0}", "scopes": ["chat:read"], "expires_in": 1 }), "/name"),
        (json!({ "name": "x", "scopes": ["chat:read"], "expires_in": 1, "app_ids": [] }), "/app_ids"),
        (
            json!({ "name": "x", "scopes": ["chat:read"], "expires_in": 1, "app_ids": ["nobodys"] }),
            "/app_ids",
        ),
        (
            json!({ "name": "x", "scopes": ["chat:read"], "expires_in": 1, "app_ids": ["ann", "nobodys"] }),
            "/app_ids",
        ),
    ] {
        let wrong = ann.post("/platform/v1/tokens", &body).await;
        assert_eq!(wrong.status, 422, "{body}: {}", wrong.text());
        assert_eq!(wrong.json()["errors"][0]["pointer"], pointer, "{body}: {}", wrong.text());
    }
    app.clock.advance(chrono::Duration::seconds(3600));
    assert_eq!(ci.get("/platform/v1/whoami").await.status, 401, "its time is over");
}

#[tokio::test]
async fn m077_a_token_is_renamed_and_revoked_at_once_by_its_person_alone() {
    let app = TestApp::open_to_people().await;
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    let new = made(&ann, wanted(&["platform:tokens"])).await;
    let path = format!("/platform/v1/tokens/{}", new["id"].as_str().unwrap());
    let ci = app.client(new["token"].as_str());
    assert_eq!(bob.patch(&path, &json!({ "name": "mine" })).await.status, 404);
    assert_eq!(bob.delete(&path).await.status, 404);
    assert_eq!(ann.patch(&path, &json!({ "name": "build" })).await.status, 204);
    assert_eq!(ann.patch(&path, &json!({ "name": "x".repeat(101) })).await.status, 422);
    assert_eq!(ci.get("/platform/v1/tokens").await.json()["data"][0]["name"], "build");
    assert_eq!(ann.delete(&path).await.status, 204);
    assert_eq!(ci.get("/platform/v1/whoami").await.status, 401);
    assert_eq!(
        (ann.delete(&path).await.status, ann.patch(&path, &json!({ "name": "x" })).await.status),
        (404, 404)
    );
    // A session and a refresh token are no personal tokens, whatever their id.
    let session = ann.get("/v1/me").await.json()["session_id"].as_str().unwrap().to_owned();
    assert_eq!(ann.delete(&format!("/platform/v1/tokens/{session}")).await.status, 404);
    assert_eq!(ann.get("/v1/me").await.status, 200);
}

#[tokio::test]
async fn m078_a_rotated_token_lives_on_for_its_grace_and_no_longer() {
    let clock = Clock::manual(Clock::system().now());
    let app = TestApp::at(clock, TestApp::let_people_in).await;
    let ann = app.person("ann@example.com").await;
    let mut body = wanted(&["tools:read"]);
    body["app_ids"] = json!(["ann"]);
    let old = made(&ann, body).await;
    let path = format!("/platform/v1/tokens/{}/rotate", old["id"].as_str().unwrap());
    assert_eq!(ann.post(&path, &json!({ "grace": 24 * 60 * 60 + 1 })).await.status, 422);
    let next = ann.post(&path, &json!({ "grace": 60 })).await;
    assert_eq!(next.status, 201, "{}", next.text());
    let next = next.json();
    assert_eq!((&next["scopes"], &next["expires_at"]), (&old["scopes"], &old["expires_at"]));
    let (old_client, new_client) = (app.client(old["token"].as_str()), app.client(next["token"].as_str()));
    let both =
        async || (old_client.get("/v1/whoami").await.status, new_client.get("/v1/whoami").await.status);
    assert_eq!(both().await, (200, 200));
    app.clock.advance(chrono::Duration::seconds(59));
    assert_eq!(both().await, (200, 200));
    app.clock.advance(chrono::Duration::seconds(1));
    assert_eq!(both().await, (401, 200));
    let list = ann.get("/platform/v1/tokens").await.json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!((&list["data"][0]["name"], &list["data"][0]["app_ids"]), (&json!("ci"), &json!(["ann"])));
    let at_once =
        ann.post(&format!("/platform/v1/tokens/{}/rotate", next["id"].as_str().unwrap()), &json!({})).await;
    assert_eq!((at_once.status, new_client.get("/v1/whoami").await.status), (201, 401));
    let late = ann.post(&path, &json!({})).await;
    assert_eq!(late.status, 404, "what ended has no successor");
}
