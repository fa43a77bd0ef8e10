//! No secret comes out (row M316): canaries go in wherever a secret may, every kind of request is made with
//! them, and then everything that came out and everything that was kept is searched for them.

use axum::{Router, body::Bytes, extract::Request};
use http::HeaderMap;
use opg_tests::{
    app::{ADMIN_TOKEN, Answer, Client, TestApp, logs, send},
    guests, routes,
    upstream::{ScriptedUpstream, Step},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

const PROVIDER_KEY: &str = "canaryproviderkey7Qz";
const SOURCE_KEY: &str = "canarysourcekey2Lp";
const SECRET: &str = "canarysecretvalue8Rk";
const METRICS_TOKEN: &str = "canarymetricstoken9Wd";
const PEPPER: &str = "canarypepper5Tg";
/// 32 bytes, and of no shape the log's masking knows.
const MASTER_KEY: &str = "Y2FuYXJ5bWFzdGVya2V5NFRncGxlYXNlZG9ub3RsZWE=";
/// Replaces the admin token: it has to look like no word of ours.
const ADMIN: &str = "canaryadmintoken3Hx";

/// Everything that came back, to be searched at the end.
#[derive(Default)]
struct Seen(Vec<(String, String)>);

impl Seen {
    fn look(&mut self, what: impl Into<String>, answer: &Answer) {
        self.0.push((what.into(), format!("{} {:?} {}", answer.status, answer.headers, answer.text())));
    }
}

/// A web server that says back what it was told, headers and all; and what it was told.
async fn echo_server() -> (u16, Arc<Mutex<String>>) {
    let told = Arc::new(Mutex::new(String::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let keep = told.clone();
    let echo = move |request: Request| {
        let keep = keep.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let text = format!("{} {:?} {}", parts.uri, parts.headers, String::from_utf8_lossy(&body));
            keep.lock().unwrap().push_str(&text);
            let mut headers = HeaderMap::new();
            for (name, value) in &parts.headers {
                if let Ok(name) = http::HeaderName::from_bytes(format!("x-echo-{name}").as_bytes()) {
                    headers.insert(name, value.clone());
                }
            }
            (headers, text)
        }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(echo)).await });
    (port, told)
}

#[tokio::test]
async fn m316_no_canary_comes_out_of_anything() {
    let app = TestApp::with(|config| {
        config.admin_tokens = vec![SecretString::from(ADMIN)];
        config.master_key = Some(SecretString::from(MASTER_KEY));
        config.metrics_token = Some(SecretString::from(METRICS_TOKEN));
        config.token_pepper = Some(SecretString::from(PEPPER));
        config.allow_private_upstreams = true;
        config.allow_private_guest_http = true;
        config.allow_self_registration = true;
    })
    .await;
    let upstream = ScriptedUpstream::start().await;
    let (echo_port, told) = echo_server().await;
    let operator = app.client(Some(ADMIN));
    let mut seen = Seen::default();

    // In they go.
    let created = operator
        .post(
            "/v1/admin/tenants",
            &json!({
                "id": "acme",
                "providers": {
                    "prov": { "apiKey": PROVIDER_KEY, "baseUrl": upstream.base_url() },
                    "echo": { "apiKey": PROVIDER_KEY, "baseUrl": format!("http://127.0.0.1:{echo_port}/v1") },
                    "dead": { "apiKey": PROVIDER_KEY, "baseUrl": "http://127.0.0.1:1/v1" },
                },
                "defaultModel": { "providerId": "prov", "modelId": "scripted" },
            }),
        )
        .await;
    assert_eq!(created.status, 201, "{}", created.text());
    seen.look(
        "the tenant just made, but its token",
        &Answer { body: created.json()["tenant"].to_string().into(), ..created_copy(&created) },
    );
    let token = created.json()["token"].as_str().unwrap().to_owned();
    let acme = app.client(Some(&token));
    let second = acme.post("/v1/tenant/tokens", &json!({ "name": "second" })).await.json();
    let second_token = second["token"].as_str().unwrap().to_owned();
    let registered = app.anonymous().post("/v1/register", &json!({ "name": "Somebody" })).await.json();
    let registered_token = registered["token"].as_str().unwrap().to_owned();

    seen.look("secrets", &acme.put("/v1/tenant/secrets", &json!({ "set": { "API_KEY": SECRET } })).await);
    let env = send(
        acme.request("PUT", "/v1/tenant/secrets")
            .header("content-type", "text/plain")
            .body(format!("OTHER_KEY=\"{SECRET}\"\n")),
    )
    .await;
    assert_eq!(env.status, 204, "{}", env.text());

    let source = json!({ "id": "ours", "kind": "openai-compatible", "base_url": upstream.base_url(), "key": SOURCE_KEY });
    seen.look("a source", &operator.post("/platform/v1/ai/sources", &source).await);
    seen.look("a source that is there", &operator.post("/platform/v1/ai/sources", &source).await);
    let dead =
        json!({ "id": "dead", "kind": "google", "base_url": "http://127.0.0.1:1/v1", "key": SOURCE_KEY });
    seen.look("a dead source", &operator.post("/platform/v1/ai/sources", &dead).await);
    let model = json!({ "id": "ours/scripted", "sources": [{ "source": "dead", "order": 0 }, { "source": "ours", "order": 1 }],
        "price": { "input_micro_usd_per_mtok": 1, "output_micro_usd_per_mtok": 1 } });
    let made = operator.post("/platform/v1/ai/models", &model).await;
    assert_eq!(made.status, 201, "{}", made.text());
    seen.look("a model", &made);
    seen.look(
        "what an app may use",
        &operator.put("/v1/admin/tenants/acme/ai/models", &json!({ "models": ["*"] })).await,
    );
    for path in ["sources", "sources/ours", "sources/dead/health", "models"] {
        seen.look(path, &operator.get(&format!("/platform/v1/ai/{path}")).await);
    }
    for path in ["sources/ours/test", "sources/dead/test", "sources/ours/sync-models"] {
        seen.look(path, &operator.post(&format!("/platform/v1/ai/{path}"), &json!({})).await);
    }
    seen.look("a key", &acme.put("/v1/keys/prov", &json!({ "key": PROVIDER_KEY })).await);
    for path in ["/v1/keys", "/v1/config/providers"] {
        seen.look(path, &acme.get(path).await);
    }
    seen.look("a key's test", &acme.post("/v1/keys/dead/test", &json!({})).await);

    // Wrong in every way.
    wrong_requests(&acme, &operator, &mut seen).await;
    keys_in_use(&acme, &upstream, &mut seen).await;
    guests_with_secrets(&acme, echo_port, &mut seen).await;
    assert!(told.lock().unwrap().contains(SECRET), "the secret did go to the host it was granted for");
    assert!(told.lock().unwrap().contains(PROVIDER_KEY), "so did the provider's key");

    // Tokens where they do not belong.
    for path in [
        format!("/v1/tenant/tools/{token}"),
        format!("/{token}/v1/tenant"),
        format!("/v1/sessions/{second_token}"),
    ] {
        // What a path says may be said back by no answer.
        seen.look(format!("a token in {}", &path[..12]), &acme.get(&path).await);
        seen.look("and deleted", &acme.delete(&path).await);
    }
    seen.look("a token revoked by itself", &acme.delete(&format!("/v1/tenant/tokens/{second_token}")).await);
    seen.look(
        "an admin token as a bad scheme",
        &send(app.anonymous().request("GET", "/v1/tenant").header("authorization", format!("Token {ADMIN}")))
            .await,
    );
    seen.look("metrics", &app.client(Some(METRICS_TOKEN)).get("/metrics").await);

    // Every route, as it is.
    for case in routes::all() {
        if case.method != http::Method::DELETE && !case.is_upload() {
            for client in [&acme, &operator] {
                let request = case.request(client, "acme", "some-name");
                let request =
                    if case.takes_json() { request.json(&json!({ "nothing": "of use" })) } else { request };
                seen.look(case.at(), &send(request).await);
            }
        }
    }
    for path in [
        "/v1/tenant",
        "/v1/tenant/tokens",
        "/v1/tenant/secrets",
        "/v1/tenant/audit?limit=200",
        "/v1/usage/ai-logs?limit=200",
        "/v1/usage/summary",
    ] {
        let answer = acme.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        seen.look(path, &answer);
    }

    // Out must come none.
    let raw_master = "canarymasterkey4Tg";
    let canaries: BTreeMap<&str, &str> = [
        ("the provider's key", PROVIDER_KEY),
        ("the source's key", SOURCE_KEY),
        ("the secret", SECRET),
        ("the metrics token", METRICS_TOKEN),
        ("the pepper", PEPPER),
        ("the admin token", ADMIN),
        ("the master key", MASTER_KEY),
        ("the master key, decoded", raw_master),
        ("the first token", &token),
        ("the second token", &second_token),
        ("a registered token", &registered_token),
    ]
    .into();
    let logged = logs();
    assert!(logged.len() > 1000, "the log was captured");
    let kept = dump(&app).await;
    assert!(kept.len() > 20, "{}", kept.len());
    for (what, canary) in canaries {
        for (from, text) in &seen.0 {
            assert!(!text.contains(canary), "{what} came out of {from}: {text}");
        }
        let line = logged.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{what} is in the log");
        for (column, text) in &kept {
            assert!(!text.contains(canary), "{what} is in {column}");
            assert!(!text.contains(&hex_of(canary)), "{what} is in {column}, as bytes");
        }
    }
    assert_ne!(ADMIN, ADMIN_TOKEN);
}

fn created_copy(answer: &Answer) -> Answer {
    Answer { status: answer.status, headers: answer.headers.clone(), body: answer.body.clone() }
}

fn hex_of(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Bodies that are wrong and hold a canary: a message may name the field, never its value.
async fn wrong_requests(acme: &Client, operator: &Client, seen: &mut Seen) {
    let raw = |method: &'static str, path: &'static str, body: String| {
        send(acme.request(method, path).header("content-type", "application/json").body(body))
    };
    for (method, path) in [
        ("PUT", "/v1/tenant/secrets"),
        ("PUT", "/v1/tenant"),
        ("POST", "/v1/tenant/tokens"),
        ("POST", "/v1/chat/completions"),
    ] {
        for body in [
            format!("{{\"set\": {{\"API_KEY\": \"{SECRET}\""),
            SECRET.to_owned(),
            format!("\"{SECRET}\""),
            format!("[\"{SECRET}\"]"),
            format!(
                "{{\"set\": \"{SECRET}\", \"providers\": \"{SECRET}\", \"name\": [\"{SECRET}\"], \"model\": [\"{SECRET}\"]}}"
            ),
            format!(
                "{{\"set\": {{\"API_KEY\": [\"{SECRET}\"]}}, \"providers\": {{\"prov\": \"{PROVIDER_KEY}\"}}}}"
            ),
            format!("{{\"set\": {{\"bad name\": \"{SECRET}\"}}}}"),
            format!("{{\"set\": {{\"OPG_KEY\": \"{SECRET}\"}}}}"),
            format!(
                "{{\"providers\": {{\"prov\": {{\"apiKey\": \"{PROVIDER_KEY} with spaces\"}}, \"x\": {{\"baseUrl\": \"https://u:{PROVIDER_KEY}@h\"}}}}}}"
            ),
            format!("{{\"providers\": {{\"prov\": {{\"apiKey\": [\"{PROVIDER_KEY}\"]}}}}}}"),
            format!("{{\"expires_in\": \"{SECRET}\", \"scopes\": \"{SECRET}\", \"kind\": [\"{SECRET}\"]}}"),
            format!("{{\"kind\": \"{SECRET}\"}}"),
        ] {
            let answer = raw(method, path, body).await;
            assert!((400..500).contains(&answer.status), "{method} {path}: {}", answer.text());
            seen.look(format!("a wrong {method} {path}"), &answer);
        }
    }
    for lines in [
        format!("API_KEY {SECRET}"),
        format!("OK=1\n{SECRET}"),
        format!("bad name={SECRET}"),
        format!("OPG_X={SECRET}"),
    ] {
        let answer =
            send(acme.request("PUT", "/v1/tenant/secrets").header("content-type", "text/plain").body(lines))
                .await;
        assert_eq!(answer.status, 422);
        seen.look("wrong .env lines", &answer);
    }
    let taken = json!({ "id": "acme", "providers": { "prov": { "apiKey": PROVIDER_KEY, "baseUrl": "https://prov.example" } } });
    seen.look("a tenant that is there", &operator.post("/v1/admin/tenants", &taken).await);
    let bad = json!({ "id": "A", "providers": { "P": { "apiKey": PROVIDER_KEY }, "demo": { "apiKey": PROVIDER_KEY }, "unknown": { "apiKey": PROVIDER_KEY } } });
    seen.look("a tenant that cannot be", &operator.post("/v1/admin/tenants", &bad).await);
}

/// The provider's key on its way, and a provider that says back what it was sent.
async fn keys_in_use(acme: &Client, upstream: &ScriptedUpstream, seen: &mut Seen) {
    let body = |model: &str, stream: bool| json!({ "model": model, "stream": stream, "messages": [{ "role": "user", "content": "hello" }] });
    let leaking =
        format!("Incorrect API key provided: {PROVIDER_KEY}. Sent `Authorization: Bearer {PROVIDER_KEY}`.");
    let of_source = format!("Incorrect API key provided: {SOURCE_KEY}");
    for status in [400, 401, 429, 500] {
        upstream.script(vec![Step::error(status, &of_source)]);
        let answer = acme.post("/v1/chat/completions", &body("ours/scripted", false)).await;
        assert_ne!(answer.status, 200);
        seen.look(format!("a source's {status}"), &answer);
    }
    for stream in [false, true] {
        seen.look("a good answer", &acme.post("/v1/chat/completions", &body("prov/scripted", stream)).await);
        for status in [400, 401, 403, 404, 429, 500, 503] {
            // As often as anybody may retry.
            for _ in 0..4 {
                upstream.script(vec![Step::Error {
                    status,
                    message: leaking.clone(),
                    retry_after: Some("0".into()),
                }]);
            }
            let answer = acme.post("/v1/chat/completions", &body("prov/scripted", stream)).await;
            seen.look(format!("an upstream's {status}"), &answer);
            while !acme.post("/v1/chat/completions", &body("prov/scripted", false)).await.status.eq(&200) {}
        }
        for steps in [
            vec![Step::text("so far "), Step::error(500, &leaking)],
            vec![Step::text("so far "), Step::Reset],
            vec![Step::MalformedFrame],
            vec![Step::WrongContentType],
        ] {
            upstream.script(steps);
            seen.look(
                "a broken stream",
                &acme.post("/v1/chat/completions", &body("prov/scripted", stream)).await,
            );
        }
        // These may not be retried into the next test's scripts: the echo answers with headers and all.
        for model in ["echo/any", "dead/any", "demo/error", "nobody/any"] {
            seen.look(model, &acme.post("/v1/chat/completions", &body(model, stream)).await);
        }
    }
    seen.look("models", &acme.get("/v1/models").await);
}

/// A guest that takes a secret to a host that says it back.
async fn guests_with_secrets(acme: &Client, echo_port: u16, seen: &mut Seen) {
    acme.install_tool("grabby", guests::GRABBY).await;
    acme.install_tool("trap", guests::TRAP).await;
    let host = format!("localhost:{echo_port}");
    let grants = json!({ "grant": [
        { "kind": "http", "target": host },
        { "kind": "secret", "target": format!("API_KEY@{host}") },
        { "kind": "model", "target": "*" },
        { "kind": "tool", "target": "*" },
    ]});
    let reviewed = acme.post("/v1/tenant/tools/grabby/review", &grants).await;
    assert_eq!(reviewed.status, 200, "{}", reviewed.text());
    let call = |tool: &'static str, input: Value| acme.invoke(tool, input);
    let url = format!("http://localhost:{echo_port}/say-it-back");
    for header in ["authorization", "x-api-key"] {
        let answer =
            call("grabby_fetch_with_secret", json!({ "url": url, "header": header, "name": "API_KEY" }))
                .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        seen.look(format!("a guest's request with the secret in {header}"), &answer);
    }
    for (tool, input) in [
        ("grabby_read_secret", json!({ "name": "API_KEY" })),
        (
            "grabby_fetch_with_secret",
            json!({ "url": "http://127.0.0.1:1/", "header": "x-key", "name": "API_KEY" }),
        ),
        ("grabby_fetch_with_secret", json!({ "url": url, "header": "x-key", "name": "OTHER_KEY" })),
        ("grabby_fetch_with_secret", json!({ "url": url, "header": "bad header", "name": "API_KEY" })),
        ("grabby_fetch", json!({ "url": format!("http://localhost:{echo_port}/?q={{API_KEY}}") })),
        ("grabby_ask_model", json!({ "model": "prov/scripted", "prompt": "hello" })),
        ("trap", json!({})),
    ] {
        seen.look(tool, &call(tool, input).await);
    }
    let ask = format!(
        r#"call grabby_fetch_with_secret {{"url": "{url}", "header": "authorization", "name": "API_KEY"}}"#
    );
    seen.look("a model's call of it", &acme.chat("demo/assistant", &ask).await);
    let session = json!({ "model": "demo/assistant", "session_id": "new", "messages": [{ "role": "user", "content": ask }] });
    seen.look("the same in a session", &acme.post("/v1/chat/completions", &session).await);
}

/// Every column of every table, as text: bytes as hexadecimal digits.
pub(crate) async fn dump(app: &TestApp) -> Vec<(String, String)> {
    let mut conn = app.owner().await;
    let columns = sqlx::query(
        "select table_name::text, column_name::text from information_schema.columns where table_schema = 'public' order by 1, 2",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let mut kept = vec![];
    for row in columns {
        let (table, column): (String, String) = (row.get(0), row.get(1));
        let query = format!("select coalesce(string_agg({column}::text, E'\\n'), '') from {table}");
        let text: String = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut conn).await.unwrap();
        kept.push((format!("{table}.{column}"), text));
    }
    kept
}
