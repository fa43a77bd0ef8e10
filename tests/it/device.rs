//! Letting a command line in (RFC 8628), and keeping it in.

use opg_host::{
    app::Clock,
    limits::{DEVICE_GRANT_LIFE, PLATFORM_TOKEN_LIFE},
};
use opg_tests::{
    app::{Answer, Client, PASSWORD, TestApp, logs, send},
    routes::fresh_ip,
};
use serde_json::{Value, json};

const EMAIL: &str = "ann@example.com";

async fn start() -> TestApp {
    TestApp::at(Clock::manual(Clock::system().now()), TestApp::let_people_in).await
}

async fn begin(app: &TestApp, body: Value) -> Answer {
    let request = app.anonymous().request("POST", "/platform/v1/auth/device");
    send(request.header("x-forwarded-for", fresh_ip()).json(&body)).await
}

async fn begun(app: &TestApp) -> (String, String) {
    let answer = begin(app, json!({ "client": "opg", "hostname": "ann's laptop" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
    (text("device_code"), text("user_code"))
}

async fn token(app: &TestApp, body: Value) -> Answer {
    let request = app.anonymous().request("POST", "/platform/v1/auth/token");
    send(request.header("x-forwarded-for", fresh_ip()).json(&body)).await
}

async fn poll(app: &TestApp, device_code: &str) -> Answer {
    token(app, json!({ "grant_type": "device_code", "device_code": device_code })).await
}

async fn refresh(app: &TestApp, tokens: &Value) -> Answer {
    token(app, json!({ "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"] })).await
}

async fn approve(by: &Client, body: Value) -> Answer {
    by.post("/platform/v1/auth/device/approve", &body).await
}

fn refused(answer: &Answer, code: &str) {
    let json = answer.json();
    assert_eq!((answer.status, &json["code"], &json["error"]), (400, &json!(code), &json!(code)), "{json}");
}

fn seconds(app: &TestApp, count: i64) {
    app.clock.advance(chrono::Duration::seconds(count));
}

#[tokio::test]
async fn m063_m064_a_command_line_is_let_in_by_its_person_and_by_nobody_else() {
    let app = start().await;
    let ann = app.person(EMAIL).await;
    let answer = begin(&app, json!({ "client": "opg", "hostname": "ann's laptop" })).await.json();
    assert_eq!((&answer["expires_in"], &answer["interval"]), (&json!(900), &json!(5)));
    let (device_code, user_code) =
        (answer["device_code"].as_str().unwrap(), answer["user_code"].as_str().unwrap());
    let page = answer["verification_uri"].as_str().unwrap();
    assert_eq!(page, format!("{}/device", app.base_url()));
    assert_eq!(answer["verification_uri_complete"], format!("{page}?user_code={user_code}"));
    refused(&poll(&app, device_code).await, "authorization_pending");

    let seen = ann.post("/platform/v1/auth/device/look", &json!({ "user_code": user_code })).await.json();
    assert_eq!((&seen["client"], &seen["hostname"]), (&json!("opg"), &json!("ann's laptop")));
    assert!(seen["ip"].is_string() && seen["scopes"].as_array().unwrap().contains(&json!("chat:write")));
    assert!(!seen.to_string().contains("account:manage") && !seen.to_string().contains("hash"), "{seen}");

    let typed = user_code.replace('-', " ").to_lowercase();
    assert_eq!(approve(&ann, json!({ "user_code": typed })).await.status, 204);
    seconds(&app, 5);
    let tokens = poll(&app, device_code).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let tokens = tokens.json();
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let line = app.client(tokens["access_token"].as_str());
    assert_eq!(line.get("/ann/v1/tenant").await.json()["id"], "ann");
    let who = line.get("/platform/v1/whoami").await.json();
    assert_eq!((&who["kind"], &who["user"]["email"]), (&json!("platform_token"), &json!(EMAIL)));
    let me = line.get("/v1/me").await;
    assert_eq!(
        (me.status, &me.json()["code"]),
        (403, &json!("insufficient_scope")),
        "an account is a session's"
    );
    assert_eq!(
        approve(&line, json!({ "user_code": user_code })).await.status,
        403,
        "and so is letting others in"
    );
    let opens = app.client(tokens["refresh_token"].as_str()).get("/platform/v1/whoami").await;
    assert_eq!(opens.status, 401, "a refresh token opens nothing");

    refused(&poll(&app, device_code).await, "invalid_grant");
    assert_eq!(approve(&ann, json!({ "user_code": user_code })).await.status, 404, "once");
    let rows = app.sql("select row_to_json(d)::text from device_requests d").await.concat()
        + &app.sql("select row_to_json(c)::text from credentials c").await.concat();
    let (access, next) =
        (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    for secret in
        [device_code, user_code, access.rsplit('_').next().unwrap(), next.rsplit('_').next().unwrap()]
    {
        assert!(!rows.contains(secret) && !logs().contains(secret));
    }
}

#[tokio::test]
async fn m064_asking_too_often_slows_down_and_a_refusal_or_the_time_ends_it() {
    let app = start().await;
    let ann = app.person(EMAIL).await;
    let (device_code, user_code) = begun(&app).await;
    refused(&poll(&app, &device_code).await, "authorization_pending");
    seconds(&app, 4);
    refused(&poll(&app, &device_code).await, "slow_down");
    seconds(&app, 9);
    refused(&poll(&app, &device_code).await, "slow_down");
    seconds(&app, 15);
    refused(&poll(&app, &device_code).await, "authorization_pending");
    let denied = ann.post("/platform/v1/auth/device/deny", &json!({ "user_code": user_code })).await;
    assert_eq!(denied.status, 204);
    refused(&poll(&app, &device_code).await, "access_denied");

    let (device_code, user_code) = begun(&app).await;
    seconds(&app, 900);
    refused(&poll(&app, &device_code).await, "expired_token");
    let late = approve(&ann, json!({ "user_code": user_code })).await;
    assert_eq!((late.status, &late.json()["code"]), (410, &json!("code_expired")));
    refused(&poll(&app, &device_code).await, "expired_token");
    refused(&poll(&app, "never-was").await, "invalid_grant");
    refused(
        &token(&app, json!({ "grant_type": "refresh_token", "refresh_token": "opg_rfr_x" })).await,
        "invalid_grant",
    );
}

#[tokio::test]
async fn m064_a_refresh_token_is_good_once_and_the_second_time_ends_all_it_led_to() {
    let app = start().await;
    let ann = app.person(EMAIL).await;
    let let_in = async || {
        let (device_code, user_code) = begun(&app).await;
        assert_eq!(approve(&ann, json!({ "user_code": user_code })).await.status, 204);
        poll(&app, &device_code).await.json()
    };
    let (first, other) = (let_in().await, let_in().await);
    let works = async |tokens: &Value| {
        app.client(tokens["access_token"].as_str()).get("/platform/v1/whoami").await.status == 200
    };
    let second = refresh(&app, &first).await.json();
    assert!(works(&first).await && works(&second).await, "what runs with the old one is not cut off");
    let third = refresh(&app, &second).await.json();
    assert!(works(&third).await);
    refused(&refresh(&app, &first).await, "invalid_grant");
    for tokens in [&first, &second, &third] {
        assert!(!works(tokens).await, "who copied it has nothing, and its owner notices");
        refused(&refresh(&app, tokens).await, "invalid_grant");
    }
    assert!(works(&other).await, "another sign-in is none of that");
    let audit = app.sql("select result from audit_events where action = 'auth.refresh'").await;
    assert_eq!(audit, ["failed"], "written down once");

    // Many at once with one token: it is good once.
    let at_once = futures_util::future::join_all((0..8).map(|_| refresh(&app, &other))).await;
    assert_eq!(at_once.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(!works(&other).await);
}

#[tokio::test]
async fn m064_m067_a_sign_in_ends_by_time_by_signing_out_and_with_its_person() {
    let app = start().await;
    let ann = app.person(EMAIL).await;
    let let_in = async |more: Value| {
        let (device_code, user_code) = begun(&app).await;
        let mut body = json!({ "user_code": user_code });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let approved = approve(&ann, body).await;
        assert_eq!(approved.status, 204, "{}", approved.text());
        poll(&app, &device_code).await.json()
    };
    let line = |tokens: &Value| app.client(tokens["access_token"].as_str());
    let status = async |client: &Client| client.get("/platform/v1/whoami").await.status;

    let out = let_in(json!({})).await;
    assert_eq!(send(line(&out).request("POST", "/platform/v1/auth/logout")).await.status, 204);
    assert_eq!(status(&line(&out)).await, 401);
    refused(&refresh(&app, &out).await, "invalid_grant");

    let brief = let_in(json!({ "expires_in": 60 })).await;
    assert_eq!(brief["expires_in"], 60);
    let long = let_in(json!({})).await;
    seconds(&app, 60);
    assert_eq!(status(&line(&brief)).await, 401);
    refused(&refresh(&app, &brief).await, "invalid_grant");
    seconds(&app, i64::try_from(PLATFORM_TOKEN_LIFE.as_secs()).unwrap() - 60);
    assert_eq!(status(&line(&long)).await, 401);
    let long = refresh(&app, &long).await.json();
    assert_eq!(status(&line(&long)).await, 200);

    // A new password ends what was let in with the old one.
    let change = json!({ "current_password": PASSWORD, "new_password": "another password" });
    assert_eq!(ann.post("/v1/me/password", &change).await.status, 204);
    assert_eq!(status(&line(&long)).await, 401);

    let last = let_in(json!({})).await;
    seconds(&app, i64::try_from(DEVICE_GRANT_LIFE.as_secs()).unwrap());
    refused(&refresh(&app, &last).await, "invalid_grant");
}

#[tokio::test]
async fn m066_a_person_gives_no_more_than_was_asked_for_and_may_give_less() {
    let app = start().await;
    let (ann, bob) = (app.person(EMAIL).await, app.person("bob@example.com").await);
    for scopes in [json!(["nope:read"]), json!(["platform:apps:read"]), json!(["account:manage"]), json!([])]
    {
        refused(&begin(&app, json!({ "client": "x", "scopes": scopes })).await, "invalid_scope");
    }
    let asked = begin(&app, json!({ "client": "x", "scopes": ["chat:*", "tools:read"] })).await.json();
    let code = &asked["user_code"];
    for scopes in [json!(["tools:write"]), json!(["chat:read", "account:manage"])] {
        let wider = approve(&ann, json!({ "user_code": code, "scopes": scopes })).await;
        assert_eq!((wider.status, &wider.json()["code"]), (403, &json!("wider_than_asked")), "{scopes}");
    }
    for (body, pointer) in [
        (json!({ "user_code": code, "scopes": [] }), "/scopes"),
        (json!({ "user_code": code, "expires_in": 0 }), "/expires_in"),
        (json!({ "user_code": code, "expires_in": 365 * 24 * 60 * 60 + 1 }), "/expires_in"),
    ] {
        let wrong = approve(&ann, body).await;
        assert_eq!((wrong.status, &wrong.json()["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
    let foreign = approve(&ann, json!({ "user_code": code, "app": "bob" })).await;
    assert_eq!(foreign.status, 404, "{}", foreign.text());
    let narrow = json!({ "user_code": code, "scopes": ["tools:read"], "app": "ann" });
    assert_eq!(approve(&ann, narrow).await.status, 204);
    let tokens = poll(&app, asked["device_code"].as_str().unwrap()).await.json();
    assert_eq!(tokens["scope"], "tools:read");
    let line = app.client(tokens["access_token"].as_str());
    assert_eq!(line.get("/v1/tenant/tools").await.status, 200, "the one app it is for needs no naming");
    assert_eq!(line.get("/v1/tenant").await.status, 403);
    let member = json!({ "user_id": ann.get("/v1/me").await.json()["id"], "role": "owner" });
    assert_eq!(bob.post("/bob/v1/tenant/members", &member).await.status, 201);
    assert_eq!(ann.get("/bob/v1/tenant").await.status, 200);
    assert_eq!(line.get("/bob/v1/tenant/tools").await.status, 404, "and no other is there for it");
}

#[tokio::test]
async fn m065_five_wrong_codes_lock_their_person_for_a_quarter_of_an_hour() {
    let app = start().await;
    let (ann, bob) = (app.person(EMAIL).await, app.person("bob@example.com").await);
    let (_, user_code) = begun(&app).await;
    for wrong in ["BCDF-GHJK", "", "zzzz-zzzz", "BCDFGHJKL", "bcdf-ghjk"] {
        let answer = approve(&ann, json!({ "user_code": wrong })).await;
        assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("no_such_code")), "{wrong}");
    }
    for path in ["look", "approve", "deny"] {
        let body = json!({ "user_code": user_code });
        let locked = ann.post(&format!("/platform/v1/auth/device/{path}"), &body).await;
        assert_eq!((locked.status, &locked.json()["code"]), (429, &json!("codes_locked")), "{path}");
    }
    let look = bob.post("/platform/v1/auth/device/look", &json!({ "user_code": user_code })).await;
    assert_eq!(look.status, 200, "nobody else is");
    seconds(&app, 899);
    assert_eq!(approve(&ann, json!({ "user_code": user_code })).await.status, 429);
    seconds(&app, 1);
    assert_eq!(
        approve(&ann, json!({ "user_code": user_code })).await.status,
        410,
        "its own time is over as well"
    );
    let (_, user_code) = begun(&app).await;
    assert_eq!(approve(&ann, json!({ "user_code": user_code })).await.status, 204);
}

#[tokio::test]
async fn m063_an_address_begins_twenty_times_a_minute_and_says_who_it_is() {
    let app = start().await;
    for (body, pointer) in [
        (json!({ "client": "" }), "/client"),
        (json!({ "client": "x".repeat(101) }), "/client"),
        (json!({ "client": "a\u{1b}[31m" }), "/client"),
        (json!({ "client": "x", "hostname": "a\nb" }), "/hostname"),
        (json!({}), ""),
    ] {
        let wrong = begin(&app, body).await;
        assert_eq!((wrong.status, &wrong.json()["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
    for (body, pointer) in [
        (json!({ "grant_type": "password" }), "/grant_type"),
        (json!({ "grant_type": "device_code" }), "/device_code"),
        (json!({ "grant_type": "refresh_token", "device_code": "x" }), "/refresh_token"),
    ] {
        let wrong = token(&app, body).await;
        assert_eq!((wrong.status, &wrong.json()["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
    let from = async |ip: &str| {
        let request =
            app.anonymous().request("POST", "/platform/v1/auth/device").header("x-forwarded-for", ip);
        send(request.json(&json!({ "client": "x" }))).await.status
    };
    for _ in 0..20 {
        assert_eq!(from("192.0.2.1").await, 200);
    }
    assert_eq!((from("192.0.2.1").await, from("192.0.2.2").await), (429, 200));
}
