//! Tenants: made, configured, listed and deleted.

use opg_host::config::Environment;
use opg_tests::{
    app::{ADMIN_TOKEN, Answer, TestApp, send},
    guests,
};
use serde_json::{Value, json};

fn pointers(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 422, "{}", answer.text());
    let json = answer.json();
    let mut pointers: Vec<_> = json["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["pointer"].as_str().unwrap().to_owned())
        .collect();
    pointers.sort_unstable();
    pointers.dedup();
    pointers
}

#[tokio::test]
async fn m232_the_seeds_curl_works_as_it_is_written() {
    let app = TestApp::start().await;
    let body = r#"{
    "id": "acme",
    "name": "ACME Corp",
    "providers": {
      "anthropic": { "apiKey": "sk-ant-..." }
    },
    "defaultModel": {
      "providerId": "anthropic",
      "modelId": "claude-sonnet"
    }
  }"#;
    let request = app.anonymous().request("POST", "/v1/admin/tenants");
    let request = request.header("authorization", format!("Bearer {ADMIN_TOKEN}"));
    let answer = send(request.header("content-type", "application/json").body(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let json = answer.json();
    assert!(json["token"].as_str().unwrap().starts_with("ocs_acme_"));
    let tenant = &json["tenant"];
    assert_eq!(tenant["id"], "acme");
    assert_eq!(tenant["name"], "ACME Corp");
    assert_eq!(tenant["providers"]["anthropic"]["has_key"], true);
    assert_eq!(tenant["defaultModel"], json!({ "providerId": "anthropic", "modelId": "claude-sonnet" }));
    assert!(tenant["createdAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn m232_an_id_is_given_once_and_stays_taken() {
    let app = TestApp::start().await;
    app.tenant("acme").await;
    let again = app.operator().post("/v1/admin/tenants", &json!({ "id": "acme" })).await;
    assert_eq!((again.status, again.json()["code"].clone()), (409, json!("id_taken")));
    assert_eq!(app.operator().delete("/v1/admin/tenants/acme?confirm=acme").await.status, 204);
    let after = app.operator().post("/v1/admin/tenants", &json!({ "id": "acme" })).await;
    assert_eq!(after.status, 409, "a deleted tenant's id is not given to somebody else");
}

#[tokio::test]
async fn m002_an_id_that_is_no_slug_or_reserved_is_refused() {
    let app = TestApp::start().await;
    for id in [
        "",
        "ab",
        "Acme",
        "a_b_c",
        "demo--x",
        "-abc",
        "abc-",
        "1abc",
        "v1",
        "platform",
        "oauth",
        "console",
        "mcp",
        "admin",
        "healthz",
        "ácme",
        "abc\u{0}",
        &"a".repeat(31),
    ] {
        let answer = app.operator().post("/v1/admin/tenants", &json!({ "id": id })).await;
        assert_eq!(pointers(&answer), ["/id"], "{id:?}");
    }
}

#[tokio::test]
async fn m043_every_wrong_field_is_named_at_once() {
    let app = TestApp::start().await;
    let body = json!({
        "name": "\n",
        "providers": {
            "Bad": {},
            "unknown": { "apiKey": "with space" },
            "ftp": { "baseUrl": "ftp://example.com" },
            "query": { "baseUrl": "https://example.com/?a=1" },
            "userinfo": { "baseUrl": "https://u:p@example.com" },
            "nul": { "baseUrl": "https://example.com/\u{0}" },
            "demo": {},
        },
        "defaultModel": { "providerId": "", "modelId": "" },
        "includePredefined": { "tools": ["nope"], "agents": ["nope"] },
    });
    let answer = app.operator().post("/v1/admin/tenants", &body).await;
    assert_eq!(
        pointers(&answer),
        [
            "/defaultModel",
            "/id",
            "/includePredefined/agents",
            "/includePredefined/tools",
            "/name",
            "/providers/Bad",
            "/providers/demo",
            "/providers/ftp/baseUrl",
            "/providers/nul/baseUrl",
            "/providers/query/baseUrl",
            "/providers/unknown/apiKey",
            "/providers/unknown/baseUrl",
            "/providers/userinfo/baseUrl",
        ]
    );
    let types = json!({ "id": 1, "name": [], "providers": { "x": { "apiKey": 1, "extra": 1 } }, "defaultModel": {}, "extra": true });
    let answer = app.operator().post("/v1/admin/tenants", &types).await;
    let wrong = pointers(&answer);
    for pointer in ["", "/id", "/name", "/providers/x", "/providers/x/apiKey", "/defaultModel"] {
        assert!(wrong.contains(&pointer.to_owned()), "{pointer}: {wrong:?}");
    }
}

#[tokio::test]
async fn m215_a_base_url_is_public_and_in_production_https() {
    let with = |url: &str| json!({ "providers": { "prov": { "baseUrl": url } } });
    let privates = [
        "http://127.0.0.1:1/v1",
        "http://169.254.169.254/latest",
        "https://10.0.0.1",
        "https://[::1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::ffff:10.0.0.1]/",
    ];
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    for url in privates {
        assert_eq!(pointers(&acme.put("/v1/tenant", &with(url)).await), ["/providers/prov/baseUrl"], "{url}");
    }
    assert_eq!(
        acme.put("/v1/tenant", &with("http://example.com/v1")).await.status,
        200,
        "fine in development"
    );

    let app = TestApp::with(|config| {
        config.environment = Environment::Production;
        config.admin_tokens = vec![secrecy::SecretString::from("a".repeat(40))];
    })
    .await;
    let operator = app.client(Some(&"a".repeat(40)));
    let made = operator.post("/v1/admin/tenants", &json!({ "id": "acme" })).await.json();
    let acme = app.client(made["token"].as_str());
    for url in privates.into_iter().chain(["http://example.com/v1"]) {
        assert_eq!(pointers(&acme.put("/v1/tenant", &with(url)).await), ["/providers/prov/baseUrl"], "{url}");
    }
    let answer = acme.put("/v1/tenant", &with("https://example.com/v1")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("strict-transport-security").starts_with("max-age="));
}

#[tokio::test]
async fn m215_a_key_left_out_is_kept_and_a_provider_left_out_is_gone() {
    let app = TestApp::start().await;
    let provider = |key: Option<&str>, url: &str| json!({ "apiKey": key, "baseUrl": url });
    let acme = app
        .tenant_with(json!({ "id": "acme", "providers": {
            "one": provider(Some("sk-one-0123456789"), "https://one.example/v1"),
            "two": provider(Some("sk-two-0123456789"), "https://two.example/v1"),
        }}))
        .await;
    let put = json!({ "name": "New", "providers": { "one": { "baseUrl": "https://one.example/v2" } } });
    let answer = acme.put("/v1/tenant", &put).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let now = acme.get("/v1/tenant").await.json();
    assert_eq!(now, answer.json());
    assert_eq!(
        now["providers"],
        json!({ "one": { "baseUrl": "https://one.example/v2", "kind": "openai-compatible", "has_key": true,
            "last4": "6789" } })
    );
    assert_eq!(now["name"], "New");
    assert_eq!(now["defaultModel"], Value::Null, "PUT replaces: what it does not say is not there");

    // Whoever may configure must not be able to read a key by sending it to themselves.
    for url in ["https://evil.example/v1", "http://one.example/v1", "https://one.example:8443/v1"] {
        let moved = json!({ "providers": { "one": { "baseUrl": url } } });
        assert_eq!(pointers(&acme.put("/v1/tenant", &moved).await), ["/providers/one/apiKey"], "{url}");
    }
    let with_key = json!({ "providers": { "one": { "baseUrl": "https://new.example/v1", "apiKey": "sk-new-0123abcd" } } });
    let answer = acme.put("/v1/tenant", &with_key).await;
    assert_eq!(answer.json()["providers"]["one"]["last4"], "abcd");
    let id = acme.put("/v1/tenant", &json!({ "id": "other", "name": "" })).await;
    assert_eq!(pointers(&id), ["/id", "/name"], "an id cannot be changed");
}

#[tokio::test]
async fn m242_what_get_shows_put_takes() {
    let app = TestApp::start().await;
    let acme = app
        .tenant_with(json!({
            "id": "acme",
            "name": "ACME",
            "providers": { "openai": { "apiKey": "sk-0123456789abcd" }, "own": { "baseUrl": "https://own.example/v1" } },
            "defaultModel": { "providerId": "openai", "modelId": "gpt-x" },
            "includePredefined": { "tools": ["http"], "agents": [] },
        }))
        .await;
    let shown = acme.get("/v1/tenant").await.json();
    let again = acme.put("/v1/tenant", &shown).await;
    assert_eq!(again.status, 200, "{}", again.text());
    let mut after = again.json();
    after["updatedAt"] = shown["updatedAt"].clone();
    assert_eq!(after, shown);
    assert!(!shown.to_string().contains("token"), "tokens are never listed: {shown}");
}

#[tokio::test]
async fn m243_only_the_predefined_that_are_listed_resolve() {
    let app = TestApp::start().await;
    let all = app.tenant("with-all").await;
    let none = app
        .tenant_with(json!({ "id": "with-none", "includePredefined": { "tools": [], "agents": [] } }))
        .await;
    let input = json!({ "method": "GET", "url": "https://example.com/" });
    assert_ne!(all.invoke("http", input.clone()).await.status, 404);
    assert_eq!(none.invoke("http", input).await.status, 404);
    let unknown =
        none.put("/v1/tenant", &json!({ "includePredefined": { "tools": ["http", "nope", "never"] } })).await;
    assert_eq!(pointers(&unknown), ["/includePredefined/tools"]);
    assert_eq!(unknown.json()["errors"].as_array().unwrap().len(), 2, "each unknown name is named");
}

#[tokio::test]
async fn m233_tenants_are_listed_page_by_page_and_shown() {
    let app = TestApp::start().await;
    for n in 0..5 {
        app.tenant(&format!("tenant-{n}")).await;
    }
    assert_eq!(app.operator().delete("/v1/admin/tenants/tenant-2?confirm=tenant-2").await.status, 204);
    let (mut ids, mut path) = (vec![], "/v1/admin/tenants?limit=2".to_owned());
    loop {
        let page = app.operator().get(&path).await.json();
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 2);
        ids.extend(data.iter().map(|tenant| tenant["id"].as_str().unwrap().to_owned()));
        assert_eq!(page["has_more"], !page["next_cursor"].is_null());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/admin/tenants?limit=2&cursor={cursor}");
    }
    assert_eq!(ids, ["tenant-4", "tenant-3", "tenant-1", "tenant-0"], "newest first, the deleted one gone");
    assert_eq!(app.operator().get("/v1/admin/tenants/tenant-1").await.json()["id"], "tenant-1");
    for unknown in ["tenant-2", "nobody", "No", "%00", "%FF"] {
        assert_eq!(
            app.operator().get(&format!("/v1/admin/tenants/{unknown}")).await.status,
            404,
            "{unknown}"
        );
    }
}

#[tokio::test]
async fn m164_deleting_is_confirmed_and_ends_every_credential_at_once() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let made =
        acme.post("/v1/tenant/tokens", &json!({ "kind": "dev_grant", "scopes": ["chat:*"] })).await.json();
    let dev = app.client(made["token"].as_str());
    let other = app.tenant("other").await;
    for query in ["", "?confirm=", "?confirm=other", "?confirm=ACME"] {
        let answer = app.operator().delete(&format!("/v1/admin/tenants/acme{query}")).await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (409, json!("confirm_required")),
            "{query}"
        );
    }
    assert_eq!(acme.get("/v1/whoami").await.status, 200);
    assert_eq!(app.operator().delete("/v1/admin/tenants/nobody").await.status, 404);
    assert_eq!(app.operator().delete("/v1/admin/tenants/acme?confirm=acme").await.status, 204);
    for client in [&acme, &dev] {
        assert_eq!(client.get("/v1/whoami").await.status, 401);
        assert_eq!(client.get("/platform/v1/whoami").await.status, 401);
    }
    assert_eq!(other.get("/acme/v1/tenant").await.status, 404, "its prefix is nobody's now");
    assert_eq!(app.operator().delete("/v1/admin/tenants/acme?confirm=acme").await.status, 404);
    let audit =
        app.sql("select action || ' ' || target from audit_events where action = 'apps.delete'").await;
    assert_eq!(audit, ["apps.delete app/acme"], "and it is written down");
}

#[tokio::test]
async fn m051_a_change_of_what_was_changed_meanwhile_is_refused() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let read = acme.get("/v1/tenant").await;
    let tag = read.header("etag").to_owned();
    assert!(tag.len() > 10 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    assert_eq!(acme.get("/v1/tenant").await.header("etag"), tag, "the same while nothing changes");
    let put = |tag: &str, name: &str| {
        send(acme.request("PUT", "/v1/tenant").header("if-match", tag).json(&json!({ "name": name })))
    };
    let first = put(&tag, "first").await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_ne!(first.header("etag"), tag);
    let second = put(&tag, "second").await;
    assert_eq!((second.status, second.json()["code"].clone()), (412, json!("stale")));
    assert_eq!(acme.get("/v1/tenant").await.json()["name"], "first");
    assert_eq!(put(first.header("etag"), "third").await.status, 200);
    assert_eq!(put("*", "fourth").await.status, 200);
    // Of many at once that read the same, one wins.
    let tag = acme.get("/v1/tenant").await.header("etag").to_owned();
    let many = (0..8).map(|n| put(&tag, if n % 2 == 0 { "even" } else { "odd" }));
    let mut statuses: Vec<_> = futures_util::future::join_all(many).await.iter().map(|a| a.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
}
