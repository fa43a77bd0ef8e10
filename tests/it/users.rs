//! What operators do with people: list them, invite them, disable them.

use opg_host::app::Clock;
use opg_tests::{
    app::{Answer, Client, PASSWORD, TestApp, logs, send},
    guests,
    routes::fresh_ip,
};
use serde_json::{Value, json};
use std::time::Duration;

const USERS: &str = "/platform/v1/users";

async fn id(person: &Client) -> String {
    person.get("/v1/me").await.json()["id"].as_str().unwrap().to_owned()
}

fn path(id: &str) -> String {
    format!("{USERS}/{id}")
}

fn emails(answer: &Answer) -> Vec<String> {
    let rows = answer.json()["data"].as_array().unwrap().clone();
    rows.iter().map(|row| row["email"].as_str().unwrap().to_owned()).collect()
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn m079_an_operator_lists_people_in_pages_and_finds_them_by_address_and_by_state() {
    let app = TestApp::open_to_people().await;
    let operator = app.operator();
    assert_eq!(operator.get(USERS).await.json()["data"], json!([]));
    for name in ["ann", "bob", "cid"] {
        app.sign_up(&format!("{name}@example.com")).await;
    }
    let first = operator.get(&format!("{USERS}?limit=2")).await;
    assert_eq!(emails(&first), ["cid@example.com", "bob@example.com"], "newest first");
    let cursor = first.json()["next_cursor"].as_str().unwrap().to_owned();
    let second = operator.get(&format!("{USERS}?limit=2&cursor={cursor}")).await;
    assert_eq!(
        (emails(&second), &second.json()["has_more"]),
        (vec!["ann@example.com".to_owned()], &json!(false))
    );
    let of = async |query: &str| emails(&operator.get(&format!("{USERS}?{query}")).await);
    assert_eq!(of("email=BOB@Example.com").await, ["bob@example.com"]);
    assert_eq!(of("email=bob").await, [""; 0], "a whole address");
    let bob = operator.get(&format!("{USERS}?email=bob@example.com")).await.json()["data"][0].clone();
    let bobs = path(bob["id"].as_str().unwrap());
    assert_eq!(operator.delete(&bobs).await.status, 200);
    assert_eq!(of("disabled=true").await, ["bob@example.com"]);
    assert_eq!(of("disabled=false").await, ["cid@example.com", "ann@example.com"]);
    assert_eq!(of("disabled=false&email=bob@example.com").await, [""; 0]);
    assert_eq!(operator.get(&format!("{USERS}?disabled=maybe")).await.status, 400);
    let shown = operator.get(&bobs).await.json();
    assert_eq!(shown["apps"], json!([{ "id": "bob", "role": "owner", "only_owner": true }]), "{shown}");
    assert!(shown["disabled_at"].is_string() && shown["email_proved_at"].is_null(), "{shown}");
    for shown in [shown.to_string(), first.text()] {
        assert!(!shown.contains("hash") && !shown.contains("argon2"), "{shown}");
    }
    for nobody in ["0190a000-0000-7000-8000-000000000000", "ann"] {
        assert_eq!(operator.get(&path(nobody)).await.status, 404);
        assert_eq!(operator.delete(&path(nobody)).await.status, 404);
        assert_eq!(operator.patch(&path(nobody), &json!({ "disabled": false })).await.status, 404);
    }
}

#[tokio::test]
async fn m079_an_operator_invites_an_address_once_and_nobody_has_a_password_for_it() {
    // Where nobody signs up by themselves.
    let app =
        TestApp::with(|config| config.trusted_proxies = vec![std::net::Ipv4Addr::LOCALHOST.into()]).await;
    let operator = app.operator();
    let invited = operator.post(USERS, &json!({ "email": " Ann@Example.com ", "name": "Ann" })).await;
    assert_eq!(invited.status, 201, "{}", invited.text());
    let ann = invited.json();
    assert_eq!(
        (&ann["email"], &ann["name"], &ann["mailed"]),
        (&json!("Ann@Example.com"), &json!("Ann"), &json!(false))
    );
    assert_eq!(ann["apps"], json!([{ "id": "ann", "role": "owner", "only_owner": true }]));
    assert!(ann["email_proved_at"].is_null() && ann["disabled_at"].is_null(), "{ann}");
    let again = operator.post(USERS, &json!({ "email": "ann@example.COM" })).await;
    assert_eq!(code(&again), (409, "address_taken".to_owned()), "an operator may know");
    assert_eq!(operator.delete(&path(ann["id"].as_str().unwrap())).await.status, 200);
    let again = operator.post(USERS, &json!({ "email": "ann@example.com" })).await;
    assert_eq!(code(&again), (409, "address_taken".to_owned()), "also of who is disabled");
    for (body, pointer) in [
        (json!({ "email": "nobody" }), "/email"),
        (json!({ "email": "a@b.example", "name": "a\u{0}" }), "/name"),
        (json!({ "email": "a@b.example", "password": PASSWORD }), ""),
        (json!({}), ""),
    ] {
        let answer = operator.post(USERS, &body).await;
        assert_eq!((answer.status, &answer.json()["errors"][0]["pointer"]), (422, &json!(pointer)), "{body}");
    }
    assert_eq!(app.sql("select coalesce(password_hash, 'none') from users").await, ["none"]);
    let audit =
        app.sql("select actor || ' ' || target from audit_events where action = 'users.invite'").await;
    assert_eq!(audit, [format!("admin_token user/{}", ann["id"].as_str().unwrap())]);

    // Whoever signs up with the address of somebody who was invited gets nothing by it.
    let app = app.restart_with(TestApp::let_people_in).await;
    operator_at(&app).patch(&path(ann["id"].as_str().unwrap()), &json!({ "disabled": false })).await;
    app.sign_up("ann@example.com").await;
    assert_eq!(app.sign_in("ann@example.com", PASSWORD).await.status, 401);
    assert_eq!(app.sign_in("ann@example.com", "").await.status, 401);
    assert!(!logs().contains("Ann@Example.com"));
}

fn operator_at(app: &TestApp) -> Client {
    app.operator()
}

/// A command line of somebody's: what it acts with, and what gets it the next of that.
async fn command_line(app: &TestApp, person: &Client) -> (Client, Value) {
    let device_code = let_in(app, person).await;
    let tokens = poll(app, &json!({ "grant_type": "device_code", "device_code": device_code })).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let refresh = json!({ "grant_type": "refresh_token", "refresh_token": tokens.json()["refresh_token"] });
    (app.client(tokens.json()["access_token"].as_str()), refresh)
}

/// A command line that was let in and has not come for its tokens.
async fn let_in(app: &TestApp, person: &Client) -> String {
    let request = app.anonymous().request("POST", "/platform/v1/auth/device");
    let begun =
        send(request.header("x-forwarded-for", fresh_ip()).json(&json!({ "client": "opg" }))).await.json();
    let approved =
        person.post("/platform/v1/auth/device/approve", &json!({ "user_code": begun["user_code"] })).await;
    assert_eq!(approved.status, 204, "{}", approved.text());
    begun["device_code"].as_str().unwrap().to_owned()
}

async fn poll(app: &TestApp, body: &Value) -> Answer {
    let request = app.anonymous().request("POST", "/platform/v1/auth/token");
    send(request.header("x-forwarded-for", fresh_ip()).json(body)).await
}

#[tokio::test]
async fn m079_whoever_is_disabled_is_let_in_nowhere_and_comes_back_without_what_they_held() {
    let app = TestApp::open_to_people().await;
    let operator = app.operator();
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    let (me, anns) = (id(&ann).await, path(&id(&ann).await));
    let wanted = json!({ "name": "ci", "scopes": ["tenant:read"], "expires_in": 3600 });
    let token = ann.post("/platform/v1/tokens", &wanted).await.json();
    let token = app.client(token["token"].as_str());
    let of_app = ann.post("/ann/v1/tenant/tokens", &json!({})).await.json();
    let of_app = app.client(of_app["token"].as_str());
    let (line, refresh) = command_line(&app, &ann).await;
    let waiting = let_in(&app, &ann).await;
    let waiting = json!({ "grant_type": "device_code", "device_code": waiting });
    let mine = [ann.clone(), token, line];
    for client in &mine {
        assert_eq!(client.get("/ann/v1/tenant").await.status, 200);
    }

    let disabled = operator.delete(&anns).await;
    assert_eq!(disabled.status, 200, "{}", disabled.text());
    assert!(disabled.json()["disabled_at"].is_string(), "{}", disabled.text());
    let refused = async |when: &str| {
        for client in &mine {
            assert_eq!(client.get("/ann/v1/tenant").await.status, 401, "{when}");
            assert_eq!(client.get("/platform/v1/whoami").await.status, 401, "{when}");
        }
        assert_eq!(poll(&app, &refresh).await.status, 400, "{when}");
        assert_eq!(poll(&app, &waiting).await.status, 400, "{when}");
    };
    refused("while they are disabled").await;
    assert_eq!(app.sign_in("ann@example.com", PASSWORD).await.status, 401);
    assert_eq!(bob.get("/bob/v1/tenant").await.status, 200, "nobody else is");
    assert_eq!(of_app.get("/v1/tenant").await.status, 200, "the app goes on with what is its own");
    let again = operator.delete(&anns).await.json();
    assert_eq!(again["disabled_at"], disabled.json()["disabled_at"], "once is enough");

    let enabled = operator.patch(&anns, &json!({ "disabled": false })).await;
    assert_eq!((enabled.status, &enabled.json()["disabled_at"]), (200, &Value::Null), "{}", enabled.text());
    refused("also after they are enabled").await;
    let ann = app.client(Some(&app.sign_in("ann@example.com", PASSWORD).await.session()));
    assert_eq!(
        (id(&ann).await, ann.get("/ann/v1/tenant").await.status),
        (me.clone(), 200),
        "what they were is there"
    );

    let audit = app
        .sql("select actor || ' ' || action || ' ' || target from audit_events where action like 'users.%' order by 1")
        .await;
    let of = |action: &str| format!("admin_token users.{action} user/{me}");
    assert_eq!(audit, [of("disable"), of("enable")], "and what changed nothing is not written down");
}

#[tokio::test]
async fn m079_a_sign_in_that_began_before_its_person_was_disabled_is_dead_after_they_are_enabled() {
    let app = TestApp::open_to_people().await;
    let ann = app.person("ann@example.com").await;
    let anns = path(&id(&ann).await);
    assert_eq!(app.operator().delete(&anns).await.status, 200);
    // What a request writes that read the account a moment before.
    app.sql("update credentials set revoked_at = null returning 'x'").await;
    assert_eq!(ann.get("/v1/me").await.status, 401);
    assert_eq!(app.operator().patch(&anns, &json!({ "disabled": false })).await.status, 200);
    assert_eq!(ann.get("/v1/me").await.status, 401);
}

#[tokio::test]
async fn m079_what_a_disabled_person_runs_ends_and_what_was_said_stays() {
    let app = TestApp::open_to_people().await;
    let ann = app.person("ann@example.com").await.in_app("ann");
    ann.install_tool("grabby", guests::GRABBY).await;
    let wanted = json!({ "model": "demo/assistant", "permissions": { "mode": "ask" } });
    let session = ann.post("/v1/sessions", &wanted).await.json()["id"].as_str().unwrap().to_owned();
    let say = |text: &str| json!({ "parts": [{ "type": "text", "text": text }], "when_busy": "queue" });
    let prompt = format!("/v1/sessions/{session}/prompt");
    let taken = ann.post(&prompt, &say("call grabby_kv_get {\"key\": \"x\"}")).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    // It asks, and waits for minutes.
    while ann.get(&format!("/v1/sessions/{session}")).await.json()["pending_permissions"] != 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ann.post(&prompt, &say("and then")).await.status, 202);
    app.sql(
        "insert into tasks select gen_random_uuid(), app_id, user_id, 'image', 'running', null, null, null, null, 'r',
           gen_random_uuid(), now() + interval '1 day', now(), null, now() + interval '1 day'
         from app_members returning 'x'",
    )
    .await;
    assert_eq!(app.operator().delete(&path(&id(&ann).await)).await.status, 200);
    let ended = app.sql("select reason from session_turns where state = 'aborted'").await;
    assert_eq!(ended, ["the person whose session this is was disabled"]);
    // What waited is judged when it would begin.
    while !app.sql("select 'x' from session_turns where state in ('queued', 'running')").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let never = app.sql("select reason from session_turns where state = 'failed'").await;
    assert!(never[0].starts_with("the credential this was asked with may not"), "{never:?}");
    assert_eq!(app.sql("select status from sessions").await, ["idle"]);
    assert_eq!(app.sql("select status from tasks").await, ["canceled"]);
    let said = app.sql("select message::text from session_messages order by seq").await;
    assert!(said[0].contains("call grabby_kv_get"), "{said:?}");
}

#[tokio::test]
async fn m079_an_app_whose_only_owner_is_disabled_goes_on_and_an_operator_gives_it_another() {
    let app = TestApp::open_to_people().await;
    let operator = app.operator();
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    let (anns, bobs) = (id(&ann).await, id(&bob).await);
    let admins = "/platform/v1/apps/ann/admins";
    assert_eq!(ann.post(admins, &json!({ "user_id": bobs, "role": "owner" })).await.status, 201);
    assert_eq!(operator.get(&path(&anns)).await.json()["apps"][0]["only_owner"], false);
    assert_eq!(operator.delete(&path(&bobs)).await.status, 200);
    assert_eq!(
        operator.get(&path(&anns)).await.json()["apps"][0]["only_owner"],
        true,
        "who is disabled is none"
    );
    // So the other cannot go.
    let last = (409, "last_owner".to_owned());
    assert_eq!(code(&ann.delete("/v1/me/apps/ann").await), last);
    assert_eq!(code(&ann.delete(&format!("{admins}/{anns}")).await), last);
    assert_eq!(code(&ann.patch(&format!("{admins}/{anns}"), &json!({ "role": "viewer" })).await), last);
    let members = ann.get(admins).await.json();
    let of = |n: usize| (members["data"][n]["role"].clone(), members["data"][n]["disabled"].clone());
    assert_eq!((of(0), of(1)), ((json!("owner"), json!(false)), (json!("owner"), json!(true))), "{members}");
    assert_eq!(ann.delete(&format!("{admins}/{bobs}")).await.status, 204, "who is disabled can be removed");

    assert_eq!(operator.delete(&path(&anns)).await.status, 200);
    assert_eq!(operator.get("/v1/admin/tenants/ann").await.json()["status"], "active");
    assert_eq!(
        code(&operator.delete(&format!("{admins}/{anns}")).await),
        last,
        "an operator leaves none without"
    );
    let cid = app.person("cid@example.com").await;
    let added = operator.post(admins, &json!({ "user_id": id(&cid).await, "role": "owner" })).await;
    assert_eq!(added.status, 201, "{}", added.text());
    assert_eq!(operator.delete(&format!("{admins}/{anns}")).await.status, 204);
    assert_eq!(cid.get("/ann/v1/tenant").await.status, 200);
    let audit = cid.get("/ann/v1/tenant/audit?action=members.add").await.json();
    assert_eq!(audit["data"][0]["actor"], "admin_token", "its owners see who did it: {audit}");
}

#[tokio::test]
async fn m079_a_disabled_person_is_no_member_that_can_be_made_of_a_code_or_a_clock() {
    let app = TestApp::at(Clock::manual(Clock::system().now()), TestApp::let_people_in).await;
    let ann = app.person("ann@example.com").await;
    let anns = id(&ann).await;
    app.sql(
        "insert into sign_in_codes select 'x'::bytea, user_id, 'x'::bytea, 0, now(), now() + interval '1 day'
         from users returning 'x'",
    )
    .await;
    let_in(&app, &ann).await;
    assert_eq!(app.operator().delete(&path(&anns)).await.status, 200);
    assert_eq!(app.sql("select 'x' from sign_in_codes").await, [""; 0]);
    assert_eq!(app.sql("select 'x' from device_requests").await, [""; 0]);
    app.clock.advance(chrono::Duration::days(365));
    assert_eq!(app.sign_in("ann@example.com", PASSWORD).await.status, 401, "it does not wear off");
    assert_eq!(app.operator().get(&path(&anns)).await.json()["apps"][0]["id"], "ann", "and nothing is lost");
}
