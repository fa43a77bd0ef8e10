//! What is taken away bites at the next thing a running guest reaches for.

use opg_tests::{
    app::{Answer, Client, TestApp, send},
    guests,
    site::Site,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Much longer than it takes on another host, where nobody tells the one that runs the guest.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);

/// A guest in the middle of one request after another.
async fn running(acme: &Client, site: &Site) -> tokio::task::JoinHandle<Answer> {
    let before = site.visits().len();
    let (caller, url) = (acme.clone(), site.url("/after/5"));
    let steps = json!([{ "do": "fetch_while_allowed", "url": url }]);
    let running = tokio::spawn(async move { caller.invoke("exfil", json!({ "steps": steps })).await });
    site.wait_for(before + 3).await;
    running
}

async fn ended(running: tokio::task::JoinHandle<Answer>, since: Instant) -> Value {
    let answer = running.await.unwrap();
    assert!(since.elapsed() < NOTICED_WITHIN, "{:?}", since.elapsed());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = answer.json()["output"][0]["ok"].clone();
    assert_eq!(seen["error"], "denied", "{seen}");
    seen
}

async fn set_up(app: &TestApp, site: &Site) -> Client {
    let acme = app.tenant("acme").await;
    acme.put_bytes("/v1/tenant/tools/exfil", "application/wasm", guests::EXFIL).await;
    acme.grant("tools", "exfil", &[("http", &site.host())]).await;
    acme
}

#[tokio::test]
async fn a_grant_taken_away_bites_the_running_call() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let acme = set_up(&app, &site).await;
    let call = running(&acme, &site).await;
    let since = Instant::now();
    acme.grant("tools", "exfil", &[("kv", "write")]).await;
    let seen = ended(call, since).await;
    assert!(seen["message"].as_str().unwrap().contains("not granted"), "{seen}");

    acme.grant("tools", "exfil", &[("http", &site.host())]).await;
    let call = running(&acme, &site).await;
    let since = Instant::now();
    assert_eq!(acme.delete("/v1/tenant/tools/exfil").await.status, 204);
    ended(call, since).await;
}

#[tokio::test]
async fn a_credential_revoked_bites_the_call_it_started() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let acme = set_up(&app, &site).await;
    let made =
        acme.post("/v1/tenant/tokens", &json!({ "kind": "dev_grant", "scopes": ["tools:run"] })).await.json();
    let somebody = app.client(made["token"].as_str());
    let call = running(&somebody, &site).await;
    let since = Instant::now();
    let gone = acme.delete(&format!("/v1/tenant/tokens/{}", made["id"].as_str().unwrap())).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    let seen = ended(call, since).await;
    assert!(seen["message"].as_str().unwrap().contains("no longer valid"), "{seen}");
}

#[tokio::test]
async fn an_app_deleted_or_stopped_on_another_host_bites_within_a_second() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let acme = set_up(&app, &site).await;
    let call = running(&acme, &site).await;
    let since = Instant::now();
    // As another host would: this one is not told.
    app.sql("update apps set status = 'suspended' where slug = 'acme' returning slug").await;
    let seen = ended(call, since).await;
    assert!(seen["message"].as_str().unwrap().contains("suspended"), "{seen}");

    app.sql("update apps set status = 'active' where slug = 'acme' returning slug").await;
    let call = running(&acme, &site).await;
    let since = Instant::now();
    assert_eq!(app.operator().delete("/v1/admin/tenants/acme?confirm=acme").await.status, 204);
    ended(call, since).await;
}

#[tokio::test]
async fn a_secret_deleted_goes_out_no_more() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let acme = app.tenant("acme").await;
    acme.put_bytes("/v1/tenant/tools/exfil", "application/wasm", guests::EXFIL).await;
    let secret = format!("API_KEY@{}", site.host());
    acme.grant("tools", "exfil", &[("http", &site.host()), ("secret", &secret)]).await;
    acme.put("/v1/tenant/secrets", &json!({ "set": { "API_KEY": "the-value-of-it" } })).await;
    let fetch = |path: &str| json!({ "do": "fetch", "url": site.url(path), "headers": { "x-key": "{{secret:API_KEY}}" } });
    let steps = json!([fetch("/after/300"), fetch("/")]);
    let caller = acme.clone();
    let call = tokio::spawn(async move { caller.invoke("exfil", json!({ "steps": steps })).await });
    site.wait_for(1).await;
    acme.put("/v1/tenant/secrets", &json!({ "unset": ["API_KEY"] })).await;
    let seen = call.await.unwrap().json()["output"].clone();
    assert_eq!(seen[0]["ok"]["status"], 200, "{seen}");
    assert_eq!(seen[1]["error"], "invalid", "{seen}");
    assert_eq!(site.visits().len(), 1);
}

#[tokio::test]
async fn a_member_removed_or_narrowed_or_signed_out_bites_the_call_they_started() {
    let app = TestApp::with(|config| {
        TestApp::allow_local(config);
        TestApp::let_people_in(config);
    })
    .await;
    let site = Site::start().await;
    let acme = set_up(&app, &site).await;
    let ann = app.person("ann@example.com").await;
    let id = ann.get("/v1/me").await.json()["id"].as_str().unwrap().to_owned();
    let join = json!({ "user_id": id, "role": "developer" });
    assert_eq!(acme.post("/v1/tenant/members", &join).await.status, 201);
    let path = format!("/v1/tenant/members/{id}");

    let call = running(&ann.in_app("acme"), &site).await;
    let since = Instant::now();
    let narrowed = acme.patch(&path, &json!({ "role": "viewer" })).await;
    assert_eq!(narrowed.status, 200, "{}", narrowed.text());
    ended(call, since).await;

    assert_eq!(acme.patch(&path, &json!({ "role": "admin" })).await.status, 200);
    let call = running(&ann.in_app("acme"), &site).await;
    let since = Instant::now();
    assert_eq!(acme.delete(&path).await.status, 204);
    ended(call, since).await;

    assert_eq!(acme.post("/v1/tenant/members", &join).await.status, 201);
    let call = running(&ann.in_app("acme"), &site).await;
    let since = Instant::now();
    assert_eq!(send(ann.request("POST", "/v1/auth/logout")).await.status, 204);
    ended(call, since).await;
}
