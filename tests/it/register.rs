//! Self-registration (row M234).

use opg_tests::{
    app::{Answer, TestApp, send},
    routes::fresh_ip,
};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

async fn open() -> TestApp {
    TestApp::with(|config| {
        config.allow_self_registration = true;
        config.trusted_proxies = vec![Ipv4Addr::LOCALHOST.into()];
    })
    .await
}

async fn from(app: &TestApp, ip: &str, body: &Value) -> Answer {
    send(app.anonymous().request("POST", "/v1/register").header("x-forwarded-for", ip).json(body)).await
}

#[tokio::test]
async fn m038_while_it_is_off_it_is_not_there() {
    let app = TestApp::start().await;
    let text = async |path: &str| {
        let request = app.anonymous().request("POST", path).header("x-request-id", "same");
        let answer = send(request.json(&json!({ "name": "Acme" }))).await;
        assert_eq!(answer.status, 404);
        let mut headers: Vec<_> =
            answer.headers.iter().filter(|(n, _)| *n != "date").map(|(n, v)| format!("{n}: {v:?}")).collect();
        headers.sort();
        (headers, answer.text())
    };
    assert_eq!(text("/v1/register").await, text("/v1/nothing-here").await);
    assert_eq!(app.sql("select slug from apps").await, [""; 0]);
}

#[tokio::test]
async fn m234_a_name_becomes_an_id_and_a_number_where_it_is_taken() {
    let app = open().await;
    let mut ids = vec![];
    for _ in 0..3 {
        let answer =
            from(&app, &fresh_ip(), &json!({ "name": "Ärger & Söhne GmbH", "email": "a@example.com" })).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let json = answer.json();
        let id = json["tenantId"].as_str().unwrap().to_owned();
        let client = app.client(json["token"].as_str());
        assert_eq!(client.get("/v1/tenant").await.json()["id"], json!(id));
        assert_eq!(client.get("/v1/tenant").await.json()["name"], "Ärger & Söhne GmbH");
        ids.push(id);
    }
    assert_eq!(ids[1], format!("{}-2", ids[0]));
    assert_eq!(ids[2], format!("{}-3", ids[0]));
    for name in ["v1", "Admin", "日本語", "1", "a".repeat(200).as_str(), "--", "a_b__c"] {
        let answer = from(&app, &fresh_ip(), &json!({ "name": name })).await;
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
    }
    let users = app.sql("select count(*)::text from users").await;
    assert_eq!(users, ["0"], "without an account there is no user");
    let who = app.sql("select distinct actor from audit_events where action = 'apps.create'").await;
    assert_eq!(who, ["registration"]);
}

#[tokio::test]
async fn m234_what_is_wrong_is_said() {
    let app = open().await;
    for (body, pointer) in [
        (json!({ "name": "Acme", "email": "nobody" }), "/email"),
        (json!({ "name": "Acme", "email": "a@b@c.de" }), "/email"),
        (json!({ "name": "Acme", "email": "a b@c.de" }), "/email"),
        (json!({ "name": "Acme", "email": "a@c.de\u{0}" }), "/email"),
        (json!({ "name": "Acme", "email": "@example.com" }), "/email"),
        (json!({ "name": "Acme", "email": 1 }), "/email"),
        (json!({ "name": "" }), "/name"),
        (json!({ "name": "a\u{0}" }), "/name"),
        (json!({ "name": "a".repeat(201) }), "/name"),
        (json!({}), ""),
        (json!({ "name": "Acme", "id": "mine" }), ""),
    ] {
        let answer = from(&app, &fresh_ip(), &body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text());
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}: {}", answer.text());
    }
    assert_eq!(app.sql("select slug from apps").await, [""; 0]);
}

#[tokio::test]
async fn m234_an_address_registers_three_times_an_hour() {
    let app = open().await;
    for _ in 0..3 {
        assert_eq!(from(&app, "192.0.2.1", &json!({ "name": "Acme" })).await.status, 201);
    }
    let fourth = from(&app, "192.0.2.1", &json!({ "name": "Acme" })).await;
    assert_eq!(fourth.status, 429, "{}", fourth.text());
    let wait: u64 = fourth.header("retry-after").parse().unwrap();
    assert!((1..=1200).contains(&wait), "{wait}");
    assert_eq!(
        from(&app, "192.0.2.1, 10.9.9.9", &json!({ "name": "Acme" })).await.status,
        201,
        "the nearest hop counts"
    );
    assert_eq!(
        from(&app, "10.8.8.8, 192.0.2.1", &json!({ "name": "Acme" })).await.status,
        429,
        "what a client writes does not"
    );
    assert_eq!(from(&app, "10.8.8.8, nonsense, 192.0.2.1:999", &json!({ "name": "Acme" })).await.status, 429);
    assert_eq!(from(&app, "192.0.2.2", &json!({ "name": "Acme" })).await.status, 201);
}
