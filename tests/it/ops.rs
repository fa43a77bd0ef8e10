//! What an operator and a client's HTTP library rely on, on every route.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use opg_host::{limits::AUTH_FAILURES_PER_MINUTE, router};
use opg_tests::{
    app::{Client, Setup, TestApp, send},
    guests,
    routes::{self, fresh_ip},
};
use secrecy::SecretString;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

/// The same OPG on another port, with nothing between: it answers also when the real one takes no more connections.
async fn beside(app: &TestApp) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let service = router::router(app.running.app.clone()).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    format!("http://{addr}")
}

#[tokio::test]
async fn m056_a_sound_process_is_alive_and_ready() {
    let app = TestApp::start().await;
    let alive = app.anonymous().get("/healthz").await;
    assert_eq!((alive.status, alive.json()["status"].clone()), (200, json!("ok")));
    let ready = app.anonymous().get("/readyz").await;
    assert_eq!((ready.status, ready.json()["status"].clone()), (200, json!("ready")));
    let version = app.anonymous().get("/version").await.json();
    assert_eq!(version["api_versions"], json!(["v1"]), "m058");
    assert_eq!(version["version"], alive.json()["version"]);
    assert!(version.as_object().unwrap().contains_key("commit"));
}

#[tokio::test]
async fn m056_without_its_database_it_is_alive_and_not_ready_and_nobody_is_called_a_stranger() {
    let app = TestApp::set_up(Setup { own_database: true, ..Setup::default() }, |_| {}).await;
    let acme = app.tenant("acme").await;
    app.running.app.server.stop().await;
    assert_eq!(app.anonymous().get("/healthz").await.status, 200);
    let ready = app.anonymous().get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["checks"]["database"], false);
    for path in ["/v1/tenant", "/v1/whoami", "/platform/v1/whoami", "/acme/v1/tenant/secrets", "/v1/models"] {
        let answer = acme.get(path).await;
        assert_eq!(
            answer.status,
            503,
            "{path}: a good credential is not refused for our trouble: {}",
            answer.text()
        );
        assert!(!answer.header("retry-after").is_empty(), "{path}");
        assert!(!answer.text().to_lowercase().contains("postgres"), "{path}: {}", answer.text());
    }
    let chat = acme.chat("demo/assistant", "hello").await;
    assert_eq!(chat.status, 503);
    assert!(chat.json()["error"]["message"].is_string());
}

#[tokio::test]
async fn m056_a_process_that_stops_is_not_ready() {
    let app = TestApp::start().await;
    let beside = beside(&app).await;
    let ready = || app.anonymous().elsewhere(&beside).request("GET", "/readyz");
    assert_eq!(send(ready()).await.status, 200);
    app.running.app.stopping.cancel();
    let answer = send(ready()).await;
    assert_eq!((answer.status, answer.json()["checks"]["accepting"].clone()), (503, json!(false)));
}

#[tokio::test]
async fn m057_metrics_are_for_loopback_or_a_token_and_hold_no_text_of_a_users() {
    let app = TestApp::with(|config| config.metrics_token = Some(SecretString::from("metrics-token"))).await;
    let acme = app.tenant("acme").await;
    acme.install_tool("canary-tool", guests::WORD_COUNT).await;
    acme.invoke("canary-tool", json!({ "text": "canary" })).await;
    acme.chat("demo/canary-model", "canary").await;
    acme.chat("canary-provider/x", "canary").await;
    acme.chat("demo/assistant", "canary").await;
    acme.get("/canary/path").await;
    acme.get("/v1/tenant/tools/canary-name").await;
    send(acme.request("CANARY", "/v1/tenant")).await;
    send(
        acme.request("GET", "/v1/tenant").header("x-request-id", "canary-id").header("user-agent", "canary"),
    )
    .await;
    let local = app.anonymous().get("/metrics").await;
    assert_eq!(local.status, 200);
    assert!(local.header("content-type").starts_with("text/plain"));
    let text = local.text();
    assert!(text.contains("opg_"), "{text}");
    let leaked = text.lines().find(|line| line.to_lowercase().contains("canary") || line.contains("acme"));
    assert_eq!(leaked, None);

    let through = |client: &Client, header: &'static str| {
        send(client.request("GET", "/metrics").header(header, "192.0.2.9"))
    };
    for header in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        let answer = through(&app.anonymous(), header).await;
        assert_eq!(answer.status, 404, "{header}: somebody else, through a proxy on this machine");
        assert_eq!(through(&app.client(Some("wrong")), header).await.status, 404);
        assert_eq!(through(&app.client(Some("metrics-token")), header).await.status, 200);
    }
    // A monitor's own token is no failed sign-in.
    for _ in 0..2 * AUTH_FAILURES_PER_MINUTE {
        assert_eq!(app.client(Some("metrics-token")).get("/metrics").await.status, 200);
    }
}

#[tokio::test]
async fn m045_a_request_id_is_echoed_or_replaced() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let ask = async |id: &str| {
        let value = http::HeaderValue::from_bytes(id.as_bytes()).unwrap();
        send(acme.request("GET", "/v1/nothing").header("x-request-id", value)).await
    };
    let longest = "a".repeat(128);
    for good in ["abc", "A-b_c.d:e", "0190a000-0000-7000-8000-000000000000", &longest] {
        let answer = ask(good).await;
        assert_eq!((answer.header("x-request-id"), &answer.json()["request_id"]), (good, &json!(good)));
    }
    let too_long = "a".repeat(129);
    for bad in ["", " ", "a b", "a\"b", "a<b>", "a;b", "ä", "{}", &too_long] {
        let answer = ask(bad).await;
        let id = answer.header("x-request-id");
        assert!(id != bad && id.len() == 36, "{bad}: {id}");
        assert_eq!(answer.json()["request_id"], id);
    }
    // It is the one in audit and usage, too.
    let request = acme.request("POST", "/v1/chat/completions").header("x-request-id", "my-own-id");
    let body = json!({ "model": "demo/assistant", "messages": [{ "role": "user", "content": "hi" }] });
    assert_eq!(send(request.json(&body)).await.status, 200);
    let uses = acme.get("/v1/usage/ai-logs?request_id=my-own-id").await.json();
    assert!(!uses["data"].as_array().unwrap().is_empty());
    let request = acme.request("POST", "/v1/tenant/tokens").header("x-request-id", "my-other-id");
    assert_eq!(send(request.json(&json!({}))).await.status, 201);
    let audit = acme.get("/v1/tenant/audit").await.text();
    assert!(audit.contains("my-other-id"), "{audit}");
}

#[tokio::test]
async fn m055_every_answer_is_locked_down_and_nothing_secret_is_kept_by_a_cache() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let operator = app.operator();
    for case in routes::all() {
        let mut answers = vec![case.call(&app.anonymous(), "acme", "http").await];
        if case.method == Method::GET {
            let client = if case.template.starts_with("/v1/admin") { &operator } else { &acme };
            answers.push(case.call(client, "acme", "http").await);
        }
        for answer in answers {
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
            ] {
                assert_eq!(answer.header(name), value, "{} {}", case.at(), answer.status);
            }
            // A page may show its own style and send its forms here, and nothing else.
            let is_html = answer.header("content-type").starts_with("text/html");
            assert!(!is_html || case.is_page(), "{}", case.at());
            let policy = match is_html {
                true => page_policy(&answer.text()),
                false => "default-src 'none'; frame-ancestors 'none'".to_owned(),
            };
            assert_eq!(answer.header("content-security-policy"), policy, "{} {}", case.at(), answer.status);
            assert!(!answer.header("x-request-id").is_empty(), "{}", case.at());
            assert_eq!(answer.header("access-control-allow-origin"), "", "{}: m054", case.at());
            // What is the same for a while says so (m053); nothing in it is secret.
            let may_be_kept = ["/predefined/", "/manifest"].iter().any(|part| case.template.contains(part));
            if !may_be_kept || answer.status >= 400 {
                assert_eq!(answer.header("cache-control"), "no-store", "{} {}", case.at(), answer.status);
            }
        }
    }
}

/// The policy of a page with one style.
fn page_policy(page: &str) -> String {
    let (_, rest) = page.split_once("<style>").unwrap();
    let (style, rest) = rest.split_once("</style>").unwrap();
    assert!(!rest.contains("<style") && !page.contains("<script") && !page.contains("style="), "{page}");
    let digest = STANDARD.encode(Sha256::digest(style.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

#[tokio::test]
async fn m052_another_method_is_a_405_that_names_the_right_ones_and_another_path_a_404() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let mut methods: BTreeMap<String, Vec<Method>> = BTreeMap::new();
    for case in routes::all() {
        methods.entry(case.path("acme", "http")).or_default().push(case.method);
    }
    for (path, takes) in &methods {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            if takes.iter().any(|taken| taken.as_str() == method) {
                continue;
            }
            let answer = send(acme.request(method, path)).await;
            assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text());
            for taken in takes {
                assert!(
                    answer.header("allow").contains(taken.as_str()),
                    "{method} {path}: {}",
                    answer.header("allow")
                );
            }
            assert_eq!(answer.headers.get_all("allow").iter().count(), 1, "{method} {path}");
            assert!(answer.text().contains("method_not_allowed"), "{method} {path}: {}", answer.text());
        }
    }
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/tenant/",
        "/v1//tenant",
        "/acme",
        "/acme/v1",
        "/acme/v2/tenant",
        "/V1/tenant",
        "/v1/tenant/tools/",
        "/healthz/",
        "/acme/healthz",
        "/acme/v1/admin/tenants",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let answer = send(acme.request(method, path)).await;
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
            assert_eq!(answer.json()["code"], "not_found", "{method} {path}");
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
    }
    for (path, _) in methods.iter().filter(|(_, takes)| takes.contains(&Method::GET)) {
        let client = if path.starts_with("/v1/admin") { app.operator() } else { acme.clone() };
        let (get, head) = (client.get(path).await, send(client.request("HEAD", path)).await);
        assert_eq!((head.status, head.body.len()), (get.status, 0), "HEAD {path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "HEAD {path}");
    }
}

#[tokio::test]
async fn m050_a_credential_has_so_many_requests_a_minute_and_is_told_when_to_come_back() {
    let app = TestApp::with(|config| config.rate_limit_per_minute = 5).await;
    let (acme, other) = (app.tenant("acme").await, app.tenant("other").await);
    for _ in 0..5 {
        let answer = acme.get("/v1/whoami").await;
        assert_eq!((answer.status, answer.header("ratelimit-policy")), (200, "5;w=60"));
    }
    for path in ["/v1/whoami", "/v1/models", "/platform/v1/whoami"] {
        let answer = acme.get(path).await;
        assert_eq!(answer.status, 429, "{path}");
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!((answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")), ("5", "0"));
        assert_eq!(answer.header("ratelimit-reset"), wait.to_string());
        assert!(answer.text().contains("rate_limited"), "{}", answer.text());
    }
    assert_eq!(other.get("/v1/whoami").await.status, 200, "one's flood is not another's");
    assert_eq!(acme.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn m050_the_credentials_of_an_app_share_what_the_app_has() {
    const EACH: usize = 5;
    let all = EACH * usize::try_from(opg_host::limits::APP_RATE_FACTOR).unwrap();
    let app = TestApp::with(|config| config.rate_limit_per_minute = 5).await;
    let (acme, other) = (app.tenant("acme").await, app.tenant("other").await);
    let mut clients = vec![];
    for _ in 0..EACH {
        let made = acme.post("/v1/tenant/tokens", &json!({})).await.json();
        clients.push(app.client(made["token"].as_str()));
    }
    let mut fine = EACH;
    let mut refused = None;
    for client in &clients {
        for _ in 0..EACH {
            let answer = client.get("/v1/whoami").await;
            fine += usize::from(answer.status == 200);
            refused = (answer.status == 429).then_some(answer).or(refused);
        }
    }
    // One more where the bucket filled up a little meanwhile.
    assert!((all..=all + 1).contains(&fine), "{fine}");
    let refused = refused.unwrap();
    assert_eq!(refused.header("ratelimit-limit"), all.to_string());
    assert!(refused.text().contains("all credentials of this app"), "{}", refused.text());
    assert_eq!(other.get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn m050_an_address_that_keeps_failing_to_sign_in_is_told_to_wait() {
    let app = TestApp::with(|config| config.trusted_proxies = vec![Ipv4Addr::LOCALHOST.into()]).await;
    let acme = app.tenant("acme").await;
    let (ip, guess) = (fresh_ip(), app.client(Some("guess")));
    let ask =
        |client: &Client, ip: &str| send(client.request("GET", "/v1/whoami").header("x-forwarded-for", ip));
    for _ in 0..AUTH_FAILURES_PER_MINUTE {
        assert_eq!(ask(&guess, &ip).await.status, 401);
    }
    let answer = ask(&guess, &ip).await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (429, json!("too_many_failures")),
        "{}",
        answer.text()
    );
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(ask(&guess, &fresh_ip()).await.status, 401, "another address may still fail");
    assert_eq!(ask(&acme, &ip).await.status, 200, "whoever has a good credential there may still come in");
    for _ in 0..2 * AUTH_FAILURES_PER_MINUTE {
        assert_eq!(ask(&app.anonymous(), &ip).await.status, 401, "sending none is no guess");
    }
}

#[tokio::test]
async fn m061_a_stream_that_runs_is_finished_while_nobody_new_is_let_in() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let beginning = acme.clone();
    let body =
        json!({ "model": "demo/slow", "stream": true, "messages": [{ "role": "user", "content": "hello" }] });
    let mut stream = beginning.request("POST", "/v1/chat/completions").json(&body).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let mut text = String::from_utf8(stream.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    let base_url = app.base_url();
    let running = app.running;
    let host = running.app.clone();
    let stopping = tokio::spawn(running.stop());
    host.stopping.cancelled().await;
    let addr = base_url.trim_start_matches("http://").to_owned();
    let refused = async {
        while tokio::net::TcpStream::connect(&addr).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), refused).await.expect("the port closes at once");
    assert!(!stopping.is_finished(), "it waits for the stream");
    while let Some(chunk) = stream.chunk().await.expect("the stream is not cut off") {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(text.trim_end().ends_with("data: [DONE]"), "{text}");
    tokio::time::timeout(Duration::from_secs(10), stopping).await.expect("and then it stops").unwrap();
}
