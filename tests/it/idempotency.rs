//! A write that is sent again with its `Idempotency-Key`: done once, answered alike (rows M049, M307).

use opg_host::{
    app::Clock,
    idempotency::sweep,
    limits::{
        IDEMPOTENCY_KEY_LIFE, IDEMPOTENCY_KEYS_PER_CREDENTIAL_MAX, IDEMPOTENCY_LEASE,
        IDEMPOTENT_REQUEST_BYTES_MAX,
    },
};
use opg_tests::{
    app::{Answer, Client, TestApp, logs, send},
    guests,
    routes::fresh_ip,
    site::Site,
    upstream::{ScriptedUpstream, Step},
    wait::until,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

const TOKENS: &str = "/v1/tenant/tokens";
const CHAT: &str = "/v1/chat/completions";

fn keyed(client: &Client, method: &str, path: &str, key: &str) -> reqwest::RequestBuilder {
    client.request(method, path).header("idempotency-key", key)
}

async fn post(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    send(keyed(client, "POST", path, key).json(body)).await
}

/// The code of an error, in whichever shape.
fn code(answer: &Answer) -> String {
    let body = answer.json();
    let code = if body["error"].is_object() { &body["error"]["code"] } else { &body["code"] };
    code.as_str().unwrap_or_default().to_owned()
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == "true"
}

async fn kept(app: &TestApp) -> usize {
    app.sql("select 'x' from idempotency_keys").await.len()
}

/// How many credentials an app has.
async fn tokens(client: &Client) -> usize {
    client.get(TOKENS).await.json()["data"].as_array().unwrap().len()
}

fn said(text: &str) -> Value {
    json!({ "model": "openai/scripted", "messages": [{ "role": "user", "content": text }] })
}

struct Scene {
    app: TestApp,
    upstream: ScriptedUpstream,
    acme: Client,
}

impl Scene {
    /// One whose clock stands still.
    async fn start() -> Scene {
        let app = TestApp::at(Clock::manual(Clock::system().now()), TestApp::allow_local).await;
        let upstream = ScriptedUpstream::start().await;
        let acme = app.tenant_of("acme", &upstream).await;
        Scene { app, upstream, acme }
    }

    fn asked(&self) -> usize {
        self.upstream.received().len()
    }
}

#[tokio::test]
async fn m049_the_same_write_with_the_same_key_is_done_once_and_answered_alike() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let body = json!({ "name": "second" });
    let first = post(&acme, TOKENS, "key-1", &body).await;
    assert_eq!(first.status, 201, "{}", first.text());
    assert!(!first.headers.contains_key("idempotency-replayed"));
    for _ in 0..2 {
        let again = post(&acme, TOKENS, "key-1", &body).await;
        assert_eq!((again.status, &again.body), (201, &first.body));
        assert!(is_replay(&again));
        for name in ["content-type", "cache-control", "ratelimit-policy"] {
            assert_eq!(again.headers.get_all(name).iter().count(), 1, "{name}");
            assert_eq!(again.header(name), first.header(name), "{name}");
        }
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"), "a request has its own id");
    }
    assert_eq!(tokens(&acme).await, 2, "the first one and one more");
    let made = app.client(first.json()["token"].as_str());
    assert_eq!(made.get("/v1/tenant").await.status, 200, "what was answered is good");
    assert_eq!(post(&acme, TOKENS, "key-2", &body).await.status, 201, "another key is another token");

    // Whatever the method, and with an answer that has no body.
    let path = format!("{TOKENS}/{}", first.json()["id"].as_str().unwrap());
    for replayed in [false, true] {
        let gone = send(keyed(&acme, "DELETE", &path, "key-3")).await;
        assert_eq!((gone.status, gone.body.len(), is_replay(&gone)), (204, 0, replayed), "{}", gone.text());
    }
    assert_eq!(acme.delete(&path).await.status, 404, "without a key it is said how it is now");
    for replayed in [false, true] {
        let put = send(keyed(&acme, "PUT", "/v1/tenant", "key-4").json(&json!({ "name": "Acme" }))).await;
        assert_eq!((put.status, is_replay(&put)), (200, replayed), "{}", put.text());
    }

    // An error that the request earned is its answer, with the id of the request that earned it.
    let wrong = json!({ "name": 7 });
    let refused = post(&acme, TOKENS, "key-5", &wrong).await;
    let again = post(&acme, TOKENS, "key-5", &wrong).await;
    assert_eq!((refused.status, again.status, is_replay(&again)), (422, 422, true));
    assert_eq!(refused.body, again.body);
    assert_eq!(again.header("content-type"), "application/problem+json");
    assert_eq!(again.json()["request_id"], refused.header("x-request-id"));

    // The path with the app in it is a request of its own, and so is what the operator and people do.
    for replayed in [false, true] {
        let made = post(&acme, "/acme/v1/tenant/tokens", "key-6", &body).await;
        assert_eq!((made.status, is_replay(&made)), (201, replayed), "{}", made.text());
    }
    for replayed in [false, true] {
        let made = post(&app.operator(), "/v1/admin/tenants", "key-1", &json!({ "id": "other" })).await;
        assert_eq!((made.status, is_replay(&made)), (201, replayed), "{}", made.text());
    }
}

#[tokio::test]
async fn m049_a_key_stands_for_one_request() {
    let scene = Scene::start().await;
    let acme = &scene.acme;
    let body = json!({ "name": "second" });
    assert_eq!(post(acme, TOKENS, "key", &body).await.status, 201);
    let path = format!("{TOKENS}/{}", "0190f3c4-bbbb-7000-8000-000000000000");
    let others = [
        keyed(acme, "POST", TOKENS, "key").json(&json!({ "name": "third" })),
        keyed(acme, "POST", &format!("{TOKENS}?x=1"), "key").json(&body),
        keyed(acme, "POST", "/acme/v1/tenant/tokens", "key").json(&body),
        keyed(acme, "POST", "/v1/sessions", "key").json(&body),
        keyed(acme, "DELETE", &path, "key"),
        keyed(acme, "POST", CHAT, "key").json(&said("hello")),
    ];
    for other in others {
        let refused = send(other).await;
        assert_eq!((refused.status, code(&refused)), (422, "idempotency_key_reused".to_owned()));
        assert!(!is_replay(&refused));
    }
    assert_eq!((tokens(acme).await, scene.asked()), (2, 0), "nothing of it was done");
    assert!(is_replay(&post(acme, TOKENS, "key", &body).await), "and the first answer is there");
}

#[tokio::test]
async fn m049_of_twins_at_once_one_is_done() {
    let app = TestApp::start().await;
    let other = app.another_host().await;
    let acme = app.tenant("acme").await;
    let there = acme.elsewhere(&other.base_url());
    for round in 0..3 {
        let key = format!("key-{round}");
        let before = tokens(&acme).await;
        let mut twins = tokio::task::JoinSet::new();
        for n in 0..16 {
            let (client, key) = (if n % 2 == 0 { acme.clone() } else { there.clone() }, key.clone());
            twins.spawn(async move { post(&client, TOKENS, &key, &json!({ "name": "twin" })).await });
        }
        let mut made = vec![];
        while let Some(answer) = twins.join_next().await {
            let answer = answer.unwrap();
            match answer.status {
                201 => made.push(answer),
                409 => {
                    assert_eq!(code(&answer), "idempotency_in_progress");
                    assert_eq!(answer.header("retry-after"), "1");
                }
                other => panic!("{other}: {}", answer.text()),
            }
        }
        assert_eq!(made.iter().filter(|answer| !is_replay(answer)).count(), 1);
        assert!(made.iter().all(|answer| answer.body == made[0].body));
        assert_eq!(tokens(&acme).await, before + 1);
    }
}

#[tokio::test]
async fn m049_a_chat_is_asked_and_paid_once() {
    let scene = Scene::start().await;
    for (path, body) in [
        (CHAT, said("hello")),
        (
            "/v1/messages",
            json!({ "model": "openai/scripted", "max_tokens": 9, "messages": said("x")["messages"] }),
        ),
        ("/v1/responses", json!({ "model": "openai/scripted", "input": "hello" })),
        ("/v1/embeddings", json!({ "model": "openai/scripted", "input": "hello" })),
        ("/v1/ai/chat", said("hello")),
        ("/v1/ai/image", json!({ "model": "openai/painter", "prompt": "a house" })),
        ("/v1/ai/speech", json!({ "model": "openai/speaker", "input": "hello", "voice": "alloy" })),
    ] {
        let before = (scene.asked(), scene.acme.uses().await.len());
        let first = post(&scene.acme, path, path, &body).await;
        assert_eq!(first.status, 200, "{path}: {}", first.text());
        let again = post(&scene.acme, path, path, &body).await;
        assert_eq!((again.status, &again.body, is_replay(&again)), (200, &first.body, true), "{path}");
        assert_eq!(again.header("content-type"), first.header("content-type"), "{path}");
        assert_eq!(scene.asked(), before.0 + 1, "{path}");
        assert_eq!(scene.acme.uses().await.len(), before.1 + 1, "{path}");
    }
    // A turn of a session is there once as well.
    let mut ids = vec![];
    for _ in 0..2 {
        let request = keyed(&scene.acme, "POST", CHAT, "in-a-session");
        let answer = send(request.header("x-opg-session-id", "new").json(&said("hello"))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        ids.push(answer.header("x-opg-session-id").to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(scene.app.sql("select 'x' from sessions").await.len(), 1);
}

#[tokio::test]
async fn m049_while_it_is_worked_on_others_are_told_to_come_back_and_who_leaves_a_chat_lets_its_key_go() {
    let scene = Scene::start().await;
    scene.upstream.script(vec![Step::Stall]);
    let asking = tokio::spawn(keyed(&scene.acme, "POST", CHAT, "key").json(&said("hello")).send());
    until("the provider is asked", async || scene.asked() == 1).await;
    let twin = post(&scene.acme, CHAT, "key", &said("hello")).await;
    assert_eq!((twin.status, code(&twin)), (409, "idempotency_in_progress".to_owned()));
    assert_eq!(twin.header("retry-after"), "1");
    let other = post(&scene.acme, CHAT, "key", &said("something else")).await;
    assert_eq!((other.status, code(&other)), (422, "idempotency_key_reused".to_owned()));
    assert_eq!(scene.asked(), 1);

    asking.abort();
    until("the provider is let go", async || scene.upstream.received()[0].hung_up).await;
    until("the key is free", async || kept(&scene.app).await == 0).await;
    let anew = post(&scene.acme, CHAT, "key", &said("something else")).await;
    assert_eq!((anew.status, is_replay(&anew), scene.asked()), (200, false, 2), "{}", anew.text());
}

#[tokio::test]
async fn m049_a_write_whose_client_left_is_carried_through_and_its_answer_waits() {
    let scene = Scene::start().await;
    let site = Site::start().await;
    scene.acme.put_bytes("/v1/tenant/tools/slow", "application/wasm", guests::SLOW).await;
    scene.acme.grant("tools", "slow", &[("http", &site.host())]).await;
    let path = "/v1/tenant/tools/slow/invoke";
    let body = json!({ "input": { "url": site.url("/after/700") } });
    let asking = tokio::spawn(keyed(&scene.acme, "POST", path, "key").json(&body).send());
    site.wait_for(1).await;
    asking.abort();
    until("it is done", async || {
        let answer = post(&scene.acme, path, "key", &body).await;
        assert!(matches!(answer.status, 200 | 409), "{}", answer.text());
        answer.status == 200 && is_replay(&answer)
    })
    .await;
    let answer = post(&scene.acme, path, "key", &body).await;
    assert_eq!(answer.json()["output"], 200, "{}", answer.text());
    assert_eq!(site.visits().len(), 1, "it was done once");
}

#[tokio::test]
async fn m049_what_failed_says_nothing_and_its_key_is_free() {
    let scene = Scene::start().await;
    for (n, step) in
        [Step::error(500, "the model is out"), Step::error(429, "slowly"), Step::error(402, "pay")]
            .into_iter()
            .enumerate()
    {
        let key = format!("key-{n}");
        scene.upstream.script(vec![step]);
        let failed = post(&scene.acme, CHAT, &key, &said("hello")).await;
        assert!(failed.status == 429 || failed.status == 402 || failed.status >= 500, "{}", failed.text());
        assert_eq!(kept(&scene.app).await, n, "{}: {}", failed.status, failed.text());
        let anew = post(&scene.acme, CHAT, &key, &said("hello")).await;
        assert_eq!((anew.status, is_replay(&anew)), (200, false), "{}", anew.text());
    }
    assert_eq!(scene.asked(), 6);

    // Who may not, is told so each time, and once they may it is done.
    let kept_before = kept(&scene.app).await;
    let reader = scene.acme.with_scopes(&["tokens:read"]).await;
    for _ in 0..2 {
        let refused = post(&reader, TOKENS, "key", &json!({ "name": "x" })).await;
        assert_eq!((refused.status, is_replay(&refused)), (403, false));
        let stranger = scene.app.client(Some("ocs_acme_sk_wrong"));
        let refused = post(&stranger, TOKENS, "key", &json!({ "name": "x" })).await;
        assert_eq!((refused.status, is_replay(&refused)), (401, false));
    }
    assert_eq!(kept(&scene.app).await, kept_before);
}

#[tokio::test]
async fn m049_who_may_no_longer_is_not_answered_again() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let second = post(&acme, TOKENS, "key", &json!({ "name": "second" })).await;
    let second = app.client(second.json()["token"].as_str());
    let body = json!({ "name": "third" });
    let third = post(&second, TOKENS, "key", &body).await;
    assert_eq!(third.status, 201, "{}", third.text());
    let narrowed = "update credentials set scopes = '{tokens:read}' where name = 'second' returning name";
    assert_eq!(app.sql(narrowed).await, ["second"]);
    let refused = post(&second, TOKENS, "key", &body).await;
    assert_eq!((refused.status, code(&refused)), (403, "insufficient_scope".to_owned()));
    assert_eq!(app.sql("update apps set status = 'suspended' returning slug").await, ["acme"]);
    let refused = post(&acme, TOKENS, "key", &json!({ "name": "second" })).await;
    assert_eq!((refused.status, code(&refused)), (403, "app_suspended".to_owned()));
    assert_eq!(app.sql("update credentials set revoked_at = now() returning 'x'").await.len(), 3);
    assert_eq!(post(&acme, TOKENS, "key", &json!({ "name": "second" })).await.status, 401);
    assert!(!refused.text().contains("ocs_"));
}

#[tokio::test]
async fn m049_a_key_of_another_credential_is_another_key() {
    let app = TestApp::with(|config| {
        config.admin_tokens = ["first-token", "second-token"].map(SecretString::from).to_vec();
        TestApp::let_people_in(config);
    })
    .await;
    let operators = ["first-token", "second-token"].map(|token| app.client(Some(token)));
    let made = post(&operators[0], "/v1/admin/tenants", "key", &json!({ "id": "acme" })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let of_another = post(&operators[1], "/v1/admin/tenants", "key", &json!({ "id": "acme" })).await;
    assert_eq!((of_another.status, is_replay(&of_another)), (409, false), "a token of the environment's too");
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert!(!of_another.text().contains(&token));

    let acme = app.client(Some(&token));
    let second = acme.with_scopes(&["tokens:*"]).await;
    let other = post(&operators[0], "/v1/admin/tenants", "other", &json!({ "id": "other" })).await;
    let other = app.client(other.json()["token"].as_str());
    let body = json!({ "kind": "dev_grant", "scopes": ["tokens:read"] });
    let mut seen = vec![];
    for client in [&acme, &second, &other] {
        let answer = post(client, TOKENS, "key", &body).await;
        assert_eq!((answer.status, is_replay(&answer)), (201, false), "{}", answer.text());
        assert!(!seen.contains(&answer.text()));
        seen.push(answer.text());
    }

    // A person's in one app and in another; and in none.
    let ann = app.person("ann@example.com").await;
    let me = ann.get("/v1/me").await.json();
    let joined = acme.post("/v1/tenant/members", &json!({ "user_id": me["id"], "role": "owner" })).await;
    assert_eq!(joined.status, 201, "{}", joined.text());
    for slug in ["ann", "acme"] {
        let ann = ann.in_app(slug);
        let made = post(&ann, TOKENS, "key", &body).await;
        assert_eq!((made.status, is_replay(&made)), (201, false), "{slug}: {}", made.text());
    }
    for replayed in [false, true] {
        let changed = send(keyed(&ann, "PATCH", "/v1/me", "key").json(&json!({ "name": "Ann" }))).await;
        assert_eq!((changed.status, is_replay(&changed)), (200, replayed), "{}", changed.text());
    }
}

#[tokio::test]
async fn m049_m307_a_token_that_is_shown_once_is_sealed_and_neither_key_nor_request_is_kept() {
    const OLD: &str = "1:q8Vb0m3XkQyq3dY1i8cJq0cJm7o0mQ0m9m2Jc1yq7b4=";
    const NEW: &str = "2:5m1X2s0q8Vb0m3XkQyq3dY1i8cJq0cJm7o0mQ0m9m2Q=";
    let master = |text: &str| Some(SecretString::from(text.to_owned()));
    let app = TestApp::with(|config| config.master_key = master(OLD)).await;
    let acme = app.tenant("acme").await;
    let body = json!({ "name": "second" });
    let first = post(&acme, TOKENS, "ann@example.com/1", &body).await;
    let token = first.json()["token"].as_str().unwrap().to_owned();
    let secret = json!({ "set": { "API_KEY": "hunter2-canary" } });
    let put = send(keyed(&acme, "PUT", "/v1/tenant/secrets", "ann@example.com/2").json(&secret)).await;
    assert_eq!(put.status, 204, "{}", put.text());
    assert_eq!(kept(&app).await, 2);
    let rows = app.sql("select row_to_json(k)::text from idempotency_keys k").await.concat();
    for secret in [token.as_str(), "hunter2-canary", "ann@example.com", "API_KEY", "second"] {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!rows.contains(secret) && !rows.contains(&hex), "{secret}");
        if secret.len() > 10 {
            assert!(!logs().contains(secret), "{secret}");
        }
    }
    assert!(app.sql("select 'x' from idempotency_keys where encrypted_value is null").await.is_empty());
    let moved = "update idempotency_keys set encrypted_value = other.encrypted_value, nonce = other.nonce,
        encrypted_data_key = other.encrypted_data_key, data_key_nonce = other.data_key_nonce
        from idempotency_keys other where other.request_hash <> idempotency_keys.request_hash returning 'x'";

    // Under a newer master key it is answered again, also when the old one is gone.
    let app = app.restart_with(|config| config.master_key = master(&format!("{OLD},{NEW}"))).await;
    until("it is wrapped anew", async || {
        app.sql("select distinct key_version::text from idempotency_keys").await == ["2"]
    })
    .await;
    let app = app.restart_with(|config| config.master_key = master(NEW)).await;
    let acme = app.client(Some(acme.token()));
    let again = post(&acme, TOKENS, "ann@example.com/1", &body).await;
    assert_eq!((again.status, &again.body, is_replay(&again)), (201, &first.body, true));

    // An answer in the place of another opens for nobody.
    assert_eq!(app.sql(moved).await.len(), 2);
    let torn = post(&acme, TOKENS, "ann@example.com/1", &body).await;
    assert_eq!((torn.status, code(&torn)), (409, "idempotency_answer_not_kept".to_owned()));
}

#[tokio::test]
async fn m049_a_day_later_it_is_done_anew() {
    let app = TestApp::with_manual_clock().await;
    let acme = app.tenant("acme").await;
    let body = json!({ "name": "second" });
    let first = post(&acme, TOKENS, "key", &body).await;
    let day = chrono::Duration::from_std(IDEMPOTENCY_KEY_LIFE).unwrap();
    app.clock.advance(day - chrono::Duration::seconds(1));
    sweep::all(&app.running.app).await.unwrap();
    let again = post(&acme, TOKENS, "key", &body).await;
    assert_eq!((again.status, &again.body, is_replay(&again)), (201, &first.body, true));
    app.clock.advance(chrono::Duration::seconds(1));
    let anew = post(&acme, TOKENS, "key", &json!({ "name": "third" })).await;
    assert_eq!((anew.status, is_replay(&anew)), (201, false), "{}", anew.text());
    assert_eq!(kept(&app).await, 1, "it took the place of what was there");
    app.clock.advance(day);
    sweep::all(&app.running.app).await.unwrap();
    assert_eq!(kept(&app).await, 0);
}

#[tokio::test]
async fn m049_a_host_that_was_killed_in_the_middle_lets_its_keys_go_a_minute_later() {
    let scene = Scene::start().await;
    let dir = tempfile::tempdir().unwrap();
    let local = [("OPG_ALLOW_PRIVATE_UPSTREAMS", "true")];
    let Some(other) = scene.app.another_process(dir.path(), &local).await else { return };
    let there = scene.acme.elsewhere(other.base_url());
    scene.upstream.script(vec![Step::Stall]);
    let asking = tokio::spawn(keyed(&there, "POST", CHAT, "key").json(&said("hello")).send());
    until("the provider is asked", async || scene.asked() == 1).await;
    other.kill_9().await;
    assert!(asking.await.unwrap().is_err());
    let held = post(&scene.acme, CHAT, "key", &said("hello")).await;
    assert_eq!((held.status, code(&held)), (409, "idempotency_in_progress".to_owned()), "nobody knows yet");
    // The clock of the other ran, while this one's stood still.
    scene.app.clock.advance(chrono::Duration::from_std(IDEMPOTENCY_LEASE).unwrap() * 2);
    let anew = post(&scene.acme, CHAT, "key", &said("hello")).await;
    assert_eq!((anew.status, is_replay(&anew), scene.asked()), (200, false, 2), "{}", anew.text());
}

#[tokio::test]
async fn m049_a_key_is_held_for_as_long_as_its_request_takes() {
    let scene = Scene::start().await;
    scene.upstream.script(vec![Step::Stall]);
    let asking = tokio::spawn(keyed(&scene.acme, "POST", CHAT, "key").json(&said("hello")).send());
    until("the provider is asked", async || scene.asked() == 1).await;
    let lease = chrono::Duration::from_std(IDEMPOTENCY_LEASE).unwrap();
    scene.app.clock.advance(lease - chrono::Duration::seconds(1));
    let ends = "select expires_at::text from idempotency_keys";
    let before = scene.app.sql(ends).await;
    let began = std::time::Instant::now();
    while scene.app.sql(ends).await == before {
        assert!(began.elapsed() < std::time::Duration::from_secs(40), "it is renewed");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    scene.app.clock.advance(lease - chrono::Duration::seconds(1));
    sweep::all(&scene.app.running.app).await.unwrap();
    let twin = post(&scene.acme, CHAT, "key", &said("hello")).await;
    assert_eq!((twin.status, code(&twin)), (409, "idempotency_in_progress".to_owned()));
    asking.abort();
}

#[tokio::test]
async fn m049_what_is_no_key_is_a_400_that_says_what_one_is() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let body = json!({ "name": "second" });
    let bad: [&[u8]; 6] = [b"", b"a b", b"a\tb", b"\xc3\xa4", b"\xff", &[b'x'; 256]];
    let refused = |answer: &Answer| {
        assert_eq!((answer.status, code(answer)), (400, "bad_idempotency_key".to_owned()));
        assert!(answer.text().contains("1 to 255 visible ASCII characters"), "{}", answer.text());
    };
    for key in bad {
        let key = http::HeaderValue::from_bytes(key).unwrap();
        refused(&send(acme.request("POST", TOKENS).header("idempotency-key", key.clone()).json(&body)).await);
        let read = acme.request("GET", "/v1/tenant").header("idempotency-key", key.clone());
        assert_eq!(send(read).await.status, 200, "a read has none");
        // Who they are and what they may comes first.
        let stranger = app.anonymous().request("POST", TOKENS).header("idempotency-key", key);
        assert_eq!(send(stranger.json(&body)).await.status, 401);
    }
    refused(&send(keyed(&acme, "POST", TOKENS, "a").header("idempotency-key", "a").json(&body)).await);
    let models = send(keyed(&acme, "POST", CHAT, "a b").json(&said("hello"))).await;
    assert_eq!((models.status, &models.json()["error"]["code"]), (400, &json!("bad_idempotency_key")));
    assert_eq!((tokens(&acme).await, kept(&app).await), (1, 0), "nothing was done");
    let longest = "x".repeat(255);
    assert_eq!(post(&acme, TOKENS, &longest, &body).await.status, 201);
}

#[tokio::test]
async fn m049_without_a_key_nothing_is_kept_and_on_what_is_no_write_it_is_ignored() {
    let app = TestApp::open_to_people().await;
    let acme = app.tenant("acme").await;
    for _ in 0..2 {
        assert_eq!(acme.post(TOKENS, &json!({ "name": "second" })).await.status, 201);
        assert_eq!(send(keyed(&acme, "GET", "/v1/tenant", "key")).await.status, 200);
        assert_eq!(send(keyed(&acme, "HEAD", "/v1/tenant", "key")).await.status, 200);
        assert_eq!(send(keyed(&acme, "GET", TOKENS, "key")).await.status, 200);
        assert_eq!(send(keyed(&acme, "POST", "/v1/nothing", "key")).await.status, 404);
        assert_eq!(send(keyed(&acme, "POST", "/v1/tenant", "key")).await.status, 405);
    }
    // Nobody's key: where no credential is asked for.
    app.sign_up("ann@example.com").await;
    let mut sessions = vec![];
    for _ in 0..2 {
        let body = json!({ "email": "ann@example.com", "password": opg_tests::app::PASSWORD });
        let request = keyed(&app.anonymous(), "POST", "/v1/auth/login", "key");
        let answer = send(request.header("x-forwarded-for", fresh_ip()).json(&body)).await;
        assert!(!is_replay(&answer));
        sessions.push(answer.session());
    }
    assert_ne!(sessions[0], sessions[1]);
    assert_eq!((tokens(&acme).await, kept(&app).await), (3, 0));
}

#[tokio::test]
async fn m049_what_cannot_be_given_again_is_refused_before_it_is_done() {
    let scene = Scene::start().await;
    let mut streamed = said("hello");
    streamed["stream"] = json!(true);
    for path in [
        CHAT,
        "/acme/v1/chat/completions",
        "/v1/messages",
        "/v1/responses",
        "/v1/ai/chat",
        "/v1/ai/responses",
    ] {
        let refused = post(&scene.acme, path, "key", &streamed).await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.text());
        assert!(refused.text().contains("idempotency_stream"), "{path}: {}", refused.text());
    }
    let large = vec![b'x'; IDEMPOTENT_REQUEST_BYTES_MAX + 1];
    let request = keyed(&scene.acme, "PUT", "/v1/tenant/tools/large", "key");
    let refused = send(request.header("content-type", "application/wasm").body(large)).await;
    assert_eq!((refused.status, code(&refused)), (413, "idempotency_request_too_large".to_owned()));
    assert_eq!(refused.json()["limit_bytes"], IDEMPOTENT_REQUEST_BYTES_MAX);
    assert_eq!((scene.asked(), kept(&scene.app).await), (0, 0));
    streamed["stream"] = json!(false);
    assert_eq!(post(&scene.acme, CHAT, "key", &streamed).await.status, 200);

    // An upload within bounds is as any other write.
    for replayed in [false, true] {
        let request = keyed(&scene.acme, "PUT", "/v1/tenant/tools/word-count", "upload");
        let request = request.header("content-type", "application/wasm").body(guests::WORD_COUNT);
        let uploaded = send(request).await;
        assert_eq!((uploaded.status, is_replay(&uploaded)), (201, replayed), "{}", uploaded.text());
    }
}

#[tokio::test]
async fn m049_an_answer_too_large_to_keep_is_given_once_and_not_made_again() {
    let scene = Scene::start().await;
    let piece = "x".repeat(256 << 10);
    scene.upstream.script(vec![Step::text(&piece); 36]);
    let first = post(&scene.acme, CHAT, "key", &said("hello")).await;
    assert_eq!(first.status, 200, "{}", first.text().chars().take(500).collect::<String>());
    assert_eq!(first.content().len(), piece.len() * 36, "it comes whole");
    let again = post(&scene.acme, CHAT, "key", &said("hello")).await;
    assert_eq!((again.status, code(&again)), (409, "idempotency_answer_not_kept".to_owned()));
    assert_eq!(again.header("x-should-retry"), "false");
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn m049_of_a_credentials_keys_the_oldest_go() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let other = app.tenant("other").await;
    let body = json!({ "name": "second" });
    for client in [&acme, &other] {
        assert_eq!(post(client, TOKENS, "key", &body).await.status, 201);
    }
    let fill = |rows: i64, bytes: i64, age: &str| {
        format!(
            "insert into idempotency_keys (idempotency_key_id, key_hash, owner_hash, app_id, request_hash, process_id,
                                           created_at, expires_at, answered_at, answer_bytes)
             select gen_random_uuid(), uuid_send(gen_random_uuid()), owner_hash, app_id, request_hash, process_id,
                    k.created_at - interval '{age}', expires_at, answered_at, {bytes}
             from idempotency_keys k join apps using (app_id), generate_series(1, {rows})
             where slug = 'acme' and k.created_at = (select max(i.created_at) from idempotency_keys i join apps using (app_id)
                                                     where slug = 'acme')"
        )
    };
    let mut owner = app.owner().await;
    let full = fill(IDEMPOTENCY_KEYS_PER_CREDENTIAL_MAX + 700, 1, "1 hour");
    sqlx::raw_sql(AssertSqlSafe(full)).execute(&mut owner).await.unwrap();
    sweep::all(&app.running.app).await.unwrap();
    let most = usize::try_from(IDEMPOTENCY_KEYS_PER_CREDENTIAL_MAX).unwrap();
    assert_eq!(kept(&app).await, most + 1);
    for client in [&acme, &other] {
        assert!(is_replay(&post(client, TOKENS, "key", &body).await), "the newest is there, and another's");
    }
    // Few, but large.
    let large = fill(9, 8 << 20, "1 minute");
    sqlx::raw_sql(AssertSqlSafe(large)).execute(&mut owner).await.unwrap();
    sweep::all(&app.running.app).await.unwrap();
    assert_eq!(kept(&app).await, 7 + 2, "the newest of 64 MiB");
    assert!(is_replay(&post(&acme, TOKENS, "key", &body).await));
}
