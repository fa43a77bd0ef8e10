//! Tokens: made, shown once, used in every way a client may send one, and ended.

use opg_tests::{
    app::{Client, TestApp, logs, send},
    routes::fresh_ip,
};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

async fn made(by: &Client, body: Value) -> Value {
    let answer = by.post("/v1/tenant/tokens", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn m229_a_token_is_shown_once_and_kept_as_a_hash() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme-corp").await;
    let new = made(&acme, json!({ "name": "ci" })).await;
    let token = new["token"].as_str().unwrap();
    let secret = token.strip_prefix("ocs_acme-corp_sk_").unwrap();
    assert_eq!(secret.len(), 43, "256 bits in base 62");
    assert!(token.ends_with(new["last4"].as_str().unwrap()));

    let list = acme.get("/v1/tenant/tokens").await;
    assert!(!list.text().contains(secret), "{}", list.text());
    let row = list.json()["data"][0].clone();
    assert_eq!((&row["id"], &row["name"], &row["last4"]), (&new["id"], &json!("ci"), &new["last4"]));
    assert_eq!(row["prefix"], "ocs_acme-corp_sk");
    assert!(row["last_used_at"].is_null());
    assert!(!row.as_object().unwrap().keys().any(|key| key.contains("hash") || key == "token"));

    assert_eq!(app.client(Some(token)).get("/v1/whoami").await.status, 200);
    assert!(acme.get("/v1/tenant/tokens").await.json()["data"][0]["last_used_at"].is_string());
    let rows = app.sql("select row_to_json(c)::text from credentials c").await.join("\n");
    assert!(!rows.contains(secret));
    let hashes = app.sql("select length(secret_hash)::text from credentials").await;
    assert_eq!(hashes, ["32", "32"]);
    let plain = format!("select encode(sha256(convert_to('{token}', 'UTF8')), 'hex')");
    let plain: String = {
        let mut conn = app.owner().await;
        sqlx::query_scalar(sqlx::AssertSqlSafe(plain)).fetch_one(&mut conn).await.unwrap()
    };
    assert!(!rows.contains(&plain), "m006: the hash is peppered");
}

#[tokio::test]
async fn m229_an_app_has_at_most_twenty_live_tokens_also_when_they_are_made_at_once() {
    let app = TestApp::with_manual_clock().await;
    let acme = app.tenant("acme").await;
    let requests = (0..30).map(|n| {
        let acme = acme.clone();
        async move {
            acme.post("/v1/tenant/tokens", &json!({ "expires_in": 60, "name": format!("{n}") })).await.status
        }
    });
    let statuses = futures_util::future::join_all(requests).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 19, "one was there: {statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 11, "{statuses:?}");
    app.clock.advance(chrono::Duration::seconds(61));
    assert_eq!(acme.post("/v1/tenant/tokens", &json!({})).await.status, 201, "expired ones do not count");
}

#[tokio::test]
async fn m240_tokens_rotate_without_a_gap() {
    let app = TestApp::start().await;
    let old = app.tenant("acme").await;
    let new = made(&old, json!({})).await;
    let new = app.client(new["token"].as_str());
    assert_eq!((old.get("/v1/whoami").await.status, new.get("/v1/whoami").await.status), (200, 200));
    let id = old.get("/v1/whoami").await.json()["credential_id"].as_str().unwrap().to_owned();
    assert_eq!(new.delete(&format!("/v1/tenant/tokens/{id}")).await.status, 204);
    assert_eq!((old.get("/v1/whoami").await.status, new.get("/v1/whoami").await.status), (401, 200));
}

#[tokio::test]
async fn m005_a_grant_is_never_wider_than_what_made_it() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let narrow = made(&acme, json!({ "kind": "dev_grant", "scopes": ["tokens:*", "tools:read"] })).await;
    assert!(narrow["token"].as_str().unwrap().starts_with("opg_dev_"));
    let narrow = app.client(narrow["token"].as_str());
    for scopes in [
        json!(["tools:write"]),
        json!(["tools:read", "chat:write"]),
        json!(["tools:*"]),
        json!(["platform:apps:read"]),
    ] {
        let answer =
            narrow.post("/v1/tenant/tokens", &json!({ "kind": "dev_grant", "scopes": scopes })).await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (403, json!("wider_than_own")),
            "{scopes}"
        );
    }
    let same = made(&narrow, json!({})).await;
    assert_eq!(
        same["scopes"],
        json!(["tools:read", "tokens:read", "tokens:write"]),
        "unless told: all it has itself"
    );
    let platform = acme.post("/v1/tenant/tokens", &json!({ "scopes": ["platform:*"] })).await;
    assert_eq!(platform.status, 403, "not even an app's own token has the platform's");
    for (body, pointer) in [
        (json!({ "kind": "admin_token" }), "/kind"),
        (json!({ "kind": "dev_grant" }), "/scopes"),
        (json!({ "scopes": [] }), "/scopes"),
        (json!({ "scopes": ["nope:read"] }), "/scopes"),
        (json!({ "scopes": ["*"] }), "/scopes"),
        (json!({ "expires_in": 0 }), "/expires_in"),
        (json!({ "expires_in": -1 }), "/expires_in"),
        (json!({ "expires_in": 1.5 }), "/expires_in"),
        (json!({ "expires_in": u64::MAX }), "/expires_in"),
        (json!({ "name": "x".repeat(101) }), "/name"),
        (json!({ "name": "a\u{0}b" }), "/name"),
        (json!({ "extra": 1 }), ""),
    ] {
        let answer = acme.post("/v1/tenant/tokens", &body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text());
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn m230_a_token_ends_when_it_was_said_to() {
    let app = TestApp::with_manual_clock().await;
    let acme = app.tenant("acme").await;
    let new = made(&acme, json!({ "expires_in": 3600 })).await;
    let client = app.client(new["token"].as_str());
    let who = client.get("/platform/v1/whoami").await.json();
    assert_eq!(who["expires_at"], new["expires_at"]);
    app.clock.advance(chrono::Duration::seconds(3599));
    assert_eq!(client.get("/v1/whoami").await.status, 200);
    app.clock.advance(chrono::Duration::seconds(1));
    assert_eq!(client.get("/v1/whoami").await.status, 401);
    let listed = acme.get("/v1/tenant/tokens").await.json();
    assert!(!listed.to_string().contains(new["id"].as_str().unwrap()), "only live ones are listed");
}

#[tokio::test]
async fn m007_a_token_is_revoked_by_its_id_or_by_itself_and_its_text_stays_out_of_the_log() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let other = app.tenant("other").await;
    let first = made(&acme, json!({})).await;
    let second = made(&acme, json!({ "kind": "dev_grant", "scopes": ["chat:read"] })).await;
    let third = made(&acme, json!({})).await;
    let (first_id, second_token) = (first["id"].as_str().unwrap(), second["token"].as_str().unwrap());
    let third_token = third["token"].as_str().unwrap();
    assert_eq!(
        other.delete(&format!("/v1/tenant/tokens/{third_token}")).await.status,
        404,
        "not another app's"
    );
    assert_eq!(acme.delete(&format!("/v1/tenant/tokens/{first_id}")).await.status, 204);
    assert_eq!(acme.delete(&format!("/v1/tenant/tokens/{second_token}")).await.status, 204);
    let prefixed = acme
        .request("DELETE", &format!("/acme/v1/tenant/tokens/{third_token}"))
        .header("x-request-id", "by-itself");
    assert_eq!(send(prefixed).await.status, 204);
    for new in [&first, &second, &third] {
        assert_eq!(app.client(new["token"].as_str()).get("/platform/v1/whoami").await.status, 401);
    }
    for gone in [first_id, second_token, third_token, "not-an-id", "ocs_acme", "ocs__", "opg_zzz_1"] {
        assert_eq!(acme.delete(&format!("/v1/tenant/tokens/{gone}")).await.status, 404, "{gone}");
    }
    let logged = logs();
    assert!(logged.contains("by-itself"), "the request is in the log");
    let audit = app.sql("select row_to_json(a)::text from audit_events a").await.join("\n");
    for token in [second_token, third_token] {
        let secret = token.rsplit('_').next().unwrap();
        assert!(!logged.contains(secret) && !audit.contains(secret));
    }
}

#[tokio::test]
async fn m231_the_calling_and_the_last_token_go_by_force_only() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let own = acme.get("/v1/whoami").await.json()["credential_id"].as_str().unwrap().to_owned();
    let new = made(&acme, json!({})).await;
    for name in [own.as_str(), acme.token()] {
        let answer = acme.delete(&format!("/v1/tenant/tokens/{name}")).await;
        assert_eq!((answer.status, answer.json()["code"].clone()), (409, json!("needs_force")));
    }
    assert_eq!(acme.delete(&format!("/v1/tenant/tokens/{}", new["id"].as_str().unwrap())).await.status, 204);
    assert_eq!(acme.delete(&format!("/v1/tenant/tokens/{own}?force=false")).await.status, 409);
    assert_eq!(acme.delete(&format!("/v1/tenant/tokens/{own}?force=maybe")).await.status, 400);
    assert_eq!(acme.delete(&format!("/v1/tenant/tokens/{own}?force=true")).await.status, 204);
    assert_eq!(acme.get("/v1/whoami").await.status, 401);
}

#[tokio::test]
async fn m068_whoami_knows_every_kind_of_credential() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let dev = made(&acme, json!({ "kind": "dev_grant", "scopes": ["chat:read"], "expires_in": 60 })).await;
    let dev = app.client(dev["token"].as_str());
    let who = async |client: &Client| client.get("/platform/v1/whoami").await.json();
    let operator = who(&app.operator()).await;
    assert_eq!((&operator["kind"], &operator["app"]), (&json!("admin_token"), &Value::Null));
    let tenant = who(&acme).await;
    assert_eq!((&tenant["kind"], &tenant["app"]), (&json!("tenant_token"), &json!("acme")));
    assert!(
        tenant["expires_at"].is_null() && tenant["scopes"].as_array().unwrap().contains(&json!("chat:write"))
    );
    let granted = who(&dev).await;
    assert_eq!(
        (&granted["kind"], &granted["app"], &granted["scopes"]),
        (&json!("dev_grant"), &json!("acme"), &json!(["chat:read"]))
    );
    assert!(granted["expires_at"].is_string());
    assert_eq!(dev.get("/v1/whoami").await.json(), granted);
    assert_eq!(dev.get("/acme/v1/whoami").await.json(), granted);
}

#[tokio::test]
async fn m239_a_token_is_understood_however_a_client_sends_it() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let app = TestApp::with(|config| config.trusted_proxies = vec![Ipv4Addr::LOCALHOST.into()]).await;
    let acme = app.tenant("acme").await;
    let token = acme.token();
    let ask = async |value: &[u8]| {
        let value = http::HeaderValue::from_bytes(value).unwrap();
        let request = app.anonymous().request("GET", "/v1/whoami").header("x-forwarded-for", fresh_ip());
        send(request.header("authorization", value)).await.status
    };
    let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
    for good in [
        format!("Bearer {token}"),
        format!("bearer {token}"),
        format!("BEARER {token}"),
        format!("bEaReR   {token} "),
        basic(format!("acme:{token}")),
        basic(format!(":{token}")),
        basic(format!("acme:{token}")).replace("Basic", "basic"),
    ] {
        assert_eq!(ask(good.as_bytes()).await, 200, "{good}");
    }
    for bad in [
        token.to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer{token}"),
        format!("Bearer {}", token.to_uppercase()),
        format!("Bearer {token}x"),
        format!("Bearer {}", &token[..token.len() - 1]),
        format!("Bearer {token} {token}"),
        format!("Bearer \"{token}\""),
        format!("Bearer {}", token.replace("acme", "evil")),
        basic(token.to_owned()),
        basic(format!("{token}:")),
        "Basic !!!".to_owned(),
        "Bearer ocs_".to_owned(),
        "Bearer ocs__".to_owned(),
        "Bearer ocs_acme_".to_owned(),
    ] {
        assert_eq!(ask(bad.as_bytes()).await, 401, "{bad}");
    }
    assert_eq!(ask(b"Bearer \xff\xfe").await, 401, "bytes that are no text");
    for other in ["Bearer nobody".to_owned(), format!("Bearer {token}")] {
        let mine = app.client(Some(token)).request("GET", "/v1/whoami");
        assert_eq!(send(mine.header("authorization", other)).await.status, 401, "two credentials are none");
    }
}

#[tokio::test]
async fn m241_each_of_the_admin_tokens_opens_the_platform() {
    let app = TestApp::with(|config| {
        let vars = [("ADMIN_TOKENS".to_owned(), " first-token , ,second-token,".to_owned())];
        config.admin_tokens = opg_host::config::Config::from_vars(vars).unwrap().admin_tokens;
    })
    .await;
    for token in ["first-token", "second-token"] {
        assert_eq!(app.client(Some(token)).get("/v1/admin/tenants").await.status, 200, "{token}");
    }
    for token in ["third-token", "first-token,", "first-token , ,second-token", ",", "First-token"] {
        assert_eq!(app.client(Some(token)).get("/v1/admin/tenants").await.status, 401, "{token}");
    }
}

#[tokio::test]
async fn m005_a_grant_does_not_outlive_what_made_it() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let brief = json!({ "kind": "dev_grant", "scopes": ["tokens:*"], "expires_in": 60 });
    let brief = made(&acme, brief).await;
    let ends = brief["expires_at"].clone();
    let brief = app.client(brief["token"].as_str());
    for wanted in [json!({}), json!({ "expires_in": 3600 })] {
        assert_eq!(made(&brief, wanted).await["expires_at"], ends);
    }
    let shorter = made(&brief, json!({ "expires_in": 5 })).await;
    assert!(shorter["expires_at"].as_str() < ends.as_str());
}
