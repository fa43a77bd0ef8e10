//! People: they sign up, sign in, look after their account, and sign out.

use opg_host::limits::{CONSOLE_SESSION_LIFE, LOGINS_PER_MINUTE, SIGNUP_ANSWER_TIME};
use opg_tests::{
    app::{Answer, Client, PASSWORD, TestApp, logs, send},
    browser::Browser,
    routes::fresh_ip,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const EMAIL: &str = "ann@example.com";

/// A request of somebody's browser, to be finished by the test.
fn browse(app: &TestApp, method: &str, path: &str, session: &str) -> reqwest::RequestBuilder {
    app.anonymous().request(method, path).header("cookie", format!("theme=dark; opg_session={session}"))
}

async fn sign_up(app: &TestApp, body: &Value) -> Answer {
    let request = app.anonymous().request("POST", "/v1/auth/signup").header("x-request-id", "same");
    send(request.header("x-forwarded-for", fresh_ip()).json(body)).await
}

/// All of an answer but its date.
fn whole(answer: &Answer) -> (u16, Vec<String>, String) {
    let shown = answer.headers.iter().filter(|(name, _)| *name != "date");
    let mut headers: Vec<_> = shown.map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    (answer.status, headers, answer.text())
}

#[tokio::test]
async fn m069_signing_up_makes_an_account_and_an_app_of_ones_own() {
    let app = TestApp::open_to_people().await;
    let ann = app.person(EMAIL).await;
    let me = ann.get("/v1/me").await.json();
    assert_eq!(me["email"], EMAIL);
    assert_eq!(me["apps"], json!([{ "id": "ann", "name": "ann", "role": "owner" }]));
    assert!(!me.to_string().contains("argon2"), "{me}");
    assert_eq!(ann.get("/ann/v1/tenant").await.json()["id"], "ann");
    let in_header = send(ann.request("GET", "/v1/tenant").header("x-opg-app", "ann")).await;
    assert_eq!(in_header.json()["id"], "ann");
    let tokens = ann.get("/ann/v1/tenant/tokens").await.json();
    assert_eq!(tokens["data"], json!([]), "nobody has a token of it that nobody was shown");
    let stored = app.sql("select password_hash from users").await;
    assert!(stored[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored:?}");
    let again = app.person("ann@elsewhere.example").await.get("/v1/me").await.json();
    assert_eq!(again["apps"][0]["id"], "ann-2", "an app's id is nobody else's");
}

#[tokio::test]
async fn m069_an_address_that_has_an_account_gets_the_same_answer_after_the_same_time() {
    let app = TestApp::open_to_people().await;
    app.sign_up(EMAIL).await;
    let mut answers = vec![];
    for email in ["bob@example.com", EMAIL, "ANN@Example.com ", " ann@example.COM"] {
        let began = Instant::now();
        let answer = sign_up(&app, &json!({ "email": email, "password": "another password" })).await;
        let took = began.elapsed();
        assert!(took >= SIGNUP_ANSWER_TIME, "{email}: {took:?}");
        answers.push(whole(&answer));
    }
    assert_eq!(answers[0].0, 202);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(
        app.sql("select count(*)::text from users where lower(email) = 'ann@example.com'").await,
        ["1"]
    );
    assert_eq!(app.sign_in(EMAIL, PASSWORD).await.status, 200, "and the account is as it was");
    assert_eq!(app.sign_in(EMAIL, "another password").await.status, 401);
}

#[tokio::test]
async fn m038_m069_while_registration_is_off_nobody_signs_up() {
    let app = TestApp::start().await;
    let text = async |path: &str| {
        let request = app.anonymous().request("POST", path).header("x-request-id", "same");
        whole(&send(request.json(&json!({ "email": EMAIL, "password": PASSWORD }))).await)
    };
    let off = text("/v1/auth/signup").await;
    assert_eq!(off.0, 404);
    assert_eq!(off, text("/v1/nothing-here").await);
    assert_eq!(app.sql("select email from users").await, [""; 0]);
}

#[tokio::test]
async fn m069_what_is_wrong_is_said_and_makes_nothing() {
    let app = TestApp::open_to_people().await;
    let long = "x".repeat(1025);
    for (body, pointer) in [
        (json!({ "email": "nobody", "password": PASSWORD }), "/email"),
        (json!({ "email": "a@b", "password": PASSWORD }), "/email"),
        (json!({ "email": "a\u{0}@b.example", "password": PASSWORD }), "/email"),
        (json!({ "email": EMAIL, "password": "too short" }), "/password"),
        (json!({ "email": EMAIL, "password": long }), "/password"),
        (json!({ "email": EMAIL, "password": 1 }), "/password"),
        (json!({ "email": EMAIL, "password": PASSWORD, "name": "a\u{0}" }), "/name"),
        (json!({ "email": EMAIL, "name": "Ann" }), "/name"),
        (json!({ "email": "nobody" }), "/email"),
        (json!({ "email": EMAIL, "password": PASSWORD, "role": "owner" }), ""),
    ] {
        let answer = sign_up(&app, &body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text());
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}: {}", answer.text());
        assert!(!answer.text().contains(PASSWORD), "{}", answer.text());
    }
    assert_eq!(app.sql("select email from users").await, [""; 0]);
}

#[tokio::test]
async fn m070_signing_in_sets_a_cookie_that_scripts_cannot_read() {
    let app = TestApp::open_to_people().await;
    app.sign_up(EMAIL).await;
    let answer = app.sign_in(EMAIL, PASSWORD).await;
    let (cookie, token) = (answer.header("set-cookie").to_owned(), answer.session());
    let seconds = CONSOLE_SESSION_LIFE.as_secs();
    assert_eq!(
        cookie,
        format!("opg_session={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax"),
        "on a developer's machine there is no TLS"
    );
    assert!(token.starts_with("opg_ses_"));
    assert!(!answer.text().contains(&token), "it is in the cookie alone: {}", answer.text());
    let me = send(browse(&app, "GET", "/v1/me", &token)).await;
    assert_eq!((me.status, &me.json()["email"]), (200, &json!(EMAIL)));
    assert_eq!(me.json()["csrf_token"], answer.json()["csrf_token"]);
    let who = send(browse(&app, "GET", "/platform/v1/whoami", &token)).await.json();
    assert_eq!((&who["kind"], &who["user"]["email"]), (&json!("console_session"), &json!(EMAIL)));
    // A header counts before what a browser sends by itself.
    let other = browse(&app, "GET", "/v1/me", &token).bearer_auth("nobody");
    assert_eq!(send(other).await.status, 401);
    let two = app
        .anonymous()
        .request("GET", "/v1/me")
        .header("cookie", format!("opg_session={token}; opg_session={token}"));
    assert_eq!(send(two).await.status, 401, "which of two counts is not for us to guess");
    let other_kind = browse(&app, "GET", "/v1/admin/tenants", opg_tests::app::ADMIN_TOKEN);
    assert_eq!(send(other_kind).await.status, 401, "a cookie holds a session and nothing else");
    let secret = token.rsplit('_').next().unwrap();
    assert!(!app.sql("select row_to_json(c)::text from credentials c").await.concat().contains(secret));
    assert!(!logs().contains(secret) && !logs().contains(PASSWORD));
}

#[tokio::test]
async fn m070_in_production_the_cookie_is_for_this_host_and_tls_alone() {
    let app = TestApp::with(|config| {
        TestApp::let_people_in(config);
        config.environment = opg_host::config::Environment::Production;
    })
    .await;
    app.sign_up(EMAIL).await;
    let answer = app.sign_in(EMAIL, PASSWORD).await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-opg_session=opg_ses_"), "{cookie}");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax; Secure") && !cookie.contains("Domain"), "{cookie}");
    let token = answer.session();
    assert_eq!(send(browse(&app, "GET", "/v1/me", &token)).await.status, 401, "the other name is not read");
}

#[tokio::test]
async fn m070_whatever_is_wrong_the_answer_is_the_same_and_no_address_is_written_down() {
    let app = TestApp::open_to_people().await;
    app.sign_up(EMAIL).await;
    app.sign_up("gone@example.com").await;
    app.sql("update users set disabled_at = now() where email = 'gone@example.com' returning 'x'").await;
    let mut answers = vec![];
    for (email, password) in [
        (EMAIL, "not the password"),
        ("nobody@example.com", PASSWORD),
        ("gone@example.com", PASSWORD),
        ("no address at all", PASSWORD),
        ("", ""),
    ] {
        let request = app.anonymous().request("POST", "/v1/auth/login").header("x-request-id", "same");
        let body = json!({ "email": email, "password": password });
        answers.push(whole(&send(request.header("x-forwarded-for", fresh_ip()).json(&body)).await));
    }
    assert_eq!(answers[0].0, 401);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let rows = app
        .sql("select row_to_json(a)::text from audit_events a where action = 'auth.login' order by audit_id")
        .await;
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row.contains(r#""result":"failed""#)), "{rows:?}");
    for text in ["example.com", PASSWORD, "not the password"] {
        assert!(!rows.concat().contains(text), "{text}: {rows:?}");
    }
    assert_eq!(app.sign_in("ANN@example.com", PASSWORD).await.status, 200, "an address has no case");
}

#[tokio::test]
async fn m070_an_address_tries_one_password_ten_times_a_minute() {
    let app = TestApp::open_to_people().await;
    app.sign_up(EMAIL).await;
    let attempt = async |ip: &str, email: &str, password: &str| {
        let request = app.anonymous().request("POST", "/v1/auth/login").header("x-forwarded-for", ip);
        send(request.json(&json!({ "email": email, "password": password }))).await
    };
    let (mut refused, mut tried) = (attempt("192.0.2.1", "ANN@example.com", "wrong password").await, 1);
    while refused.status == 401 && tried < 3 * LOGINS_PER_MINUTE {
        refused = attempt("192.0.2.1", EMAIL, "wrong password").await;
        tried += 1;
    }
    assert!(tried > LOGINS_PER_MINUTE, "{tried}");
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("too_many_logins")));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() <= 6);
    assert_eq!(attempt("192.0.2.1", "bob@example.com", "wrong password").await.status, 401);
    assert_eq!(attempt("192.0.2.2", EMAIL, PASSWORD).await.status, 200, "nobody is locked out by another");
}

#[tokio::test]
async fn m069_m071_without_a_mail_server_a_code_is_a_409_that_says_what_to_do() {
    let app = TestApp::open_to_people().await;
    app.sign_up(EMAIL).await;
    for (path, body) in [
        ("/v1/auth/signup", json!({ "email": "bob@example.com" })),
        ("/v1/auth/magic", json!({ "email": EMAIL })),
        ("/v1/auth/magic/verify", json!({ "email": EMAIL, "code": "123456" })),
    ] {
        let post = || app.anonymous().request("POST", path).header("x-forwarded-for", fresh_ip()).json(&body);
        let answer = send(post()).await;
        assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("no_mail")), "{}", answer.text());
        assert!(answer.text().contains("SMTP_URL"), "{}", answer.text());
        let foreign = send(post().header("sec-fetch-site", "cross-site")).await;
        assert_eq!((foreign.status, &foreign.json()["code"]), (403, &json!("cross_origin")));
    }
    let mut browser = Browser::at(&app);
    let page = browser.open("/login").await;
    assert!(!page.text().contains("/login/mail"), "{}", page.text());
    let token = page.held("/login").into_iter().find(|(name, _)| name == "csrf_token").unwrap().1;
    let asked = browser.post("/login/mail", &[("csrf_token", &token), ("email", EMAIL)]).await;
    assert_eq!((asked.answer.status, asked.heading().as_str()), (409, "Sign in"), "{}", asked.text());
    assert_eq!(app.sql("select 'x' from sign_in_codes").await, [""; 0]);
}

#[tokio::test]
async fn m066_what_comes_by_cookie_changes_nothing_unless_a_page_of_ours_meant_it() {
    let app = TestApp::open_to_people().await;
    app.sign_up(EMAIL).await;
    app.sign_up("bob@example.com").await;
    let (ann, bob) = (app.sign_in(EMAIL, PASSWORD).await, app.sign_in("bob@example.com", PASSWORD).await);
    let (session, csrf) = (ann.session(), ann.json()["csrf_token"].as_str().unwrap().to_owned());
    let bobs = bob.json()["csrf_token"].as_str().unwrap().to_owned();
    let rename = |name: &str| browse(&app, "PATCH", "/v1/me", &session).json(&json!({ "name": name }));
    let refused = async |request: reqwest::RequestBuilder, code: &str| {
        let answer = send(request).await;
        assert_eq!((answer.status, &answer.json()["code"]), (403, &json!(code)), "{}", answer.text());
    };
    refused(rename("a"), "csrf_failed").await;
    for token in ["", "x", bobs.as_str(), &csrf[1..], session.as_str()] {
        refused(rename("b").header("x-csrf-token", token), "csrf_failed").await;
    }
    for site in ["cross-site", "same-site", "none"] {
        let request = rename("c").header("x-csrf-token", &csrf).header("sec-fetch-site", site);
        refused(request, "cross_origin").await;
    }
    let foreign = rename("d").header("x-csrf-token", &csrf).header("origin", "https://evil.example");
    refused(foreign, "cross_origin").await;
    for (method, path) in [
        ("DELETE", "/v1/me/sessions"),
        ("POST", "/v1/auth/logout"),
        ("POST", "/ann/v1/tenant/tokens"),
        ("PUT", "/ann/v1/tenant/secrets"),
    ] {
        refused(browse(&app, method, path, &session).json(&json!({})), "csrf_failed").await;
    }
    let me = send(browse(&app, "GET", "/v1/me", &session)).await.json();
    assert_eq!(me["name"], "", "nothing was changed");
    let meant = rename("Ann").header("x-csrf-token", &csrf).header("sec-fetch-site", "same-origin");
    assert_eq!(send(meant).await.json()["name"], "Ann");
    let ours = rename("Ann B").header("x-csrf-token", &csrf).header("origin", app.base_url());
    assert_eq!(send(ours).await.status, 200);
    // Signing in itself is not for other pages either: it would be into an account of theirs.
    for path in ["/v1/auth/login", "/v1/auth/signup"] {
        let body = json!({ "email": EMAIL, "password": PASSWORD });
        let request = app.anonymous().request("POST", path).header("sec-fetch-site", "cross-site");
        refused(request.header("x-forwarded-for", fresh_ip()).json(&body), "cross_origin").await;
    }
    // A token in a header no page can make a browser send.
    assert_eq!(app.client(Some(&session)).patch("/v1/me", &json!({ "name": "c" })).await.status, 200);
}

#[tokio::test]
async fn m074_a_profile_is_changed_field_by_field() {
    let app = TestApp::open_to_people().await;
    let ann = app.person(EMAIL).await;
    let body = json!({ "name": "Ann", "locale": "pt-BR", "theme": "dark" });
    let changed = ann.patch("/v1/me", &body).await.json();
    assert_eq!(
        (&changed["name"], &changed["locale"], &changed["theme"]),
        (&json!("Ann"), &json!("pt-BR"), &json!("dark"))
    );
    let changed = ann.patch("/v1/me", &json!({ "theme": "light" })).await.json();
    assert_eq!((&changed["name"], &changed["theme"]), (&json!("Ann"), &json!("light")));
    for (body, pointer) in [
        (json!({ "locale": "x".repeat(36) }), "/locale"),
        (json!({ "locale": "e n" }), "/locale"),
        (json!({ "locale": "" }), "/locale"),
        (json!({ "theme": "pink" }), "/theme"),
        (json!({ "name": "x".repeat(201) }), "/name"),
        (json!({ "email": "other@example.com" }), ""),
    ] {
        let answer = ann.patch("/v1/me", &body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text());
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}: {}", answer.text());
    }
    assert_eq!(ann.get("/v1/me").await.json(), changed);
}

#[tokio::test]
async fn m074_a_new_password_takes_the_old_one_and_ends_every_other_sign_in() {
    let app = TestApp::open_to_people().await;
    let ann = app.person(EMAIL).await;
    let elsewhere = app.client(Some(&app.sign_in(EMAIL, PASSWORD).await.session()));
    let change = |current: &str, new: &str| json!({ "current_password": current, "new_password": new });
    let refused = ann.post("/v1/me/password", &change("not the password", "a new password")).await;
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("wrong_password")));
    let short = ann.post("/v1/me/password", &change(PASSWORD, "short")).await;
    assert_eq!((short.status, &short.json()["errors"][0]["pointer"]), (422, &json!("/new_password")));
    assert_eq!(elsewhere.get("/v1/me").await.status, 200);
    let changed = ann.post("/v1/me/password", &change(PASSWORD, "a new password")).await;
    assert_eq!(changed.status, 204, "{}", changed.text());
    assert_eq!((ann.get("/v1/me").await.status, elsewhere.get("/v1/me").await.status), (200, 401));
    assert_eq!(app.sign_in(EMAIL, PASSWORD).await.status, 401);
    assert_eq!(app.sign_in(EMAIL, "a new password").await.status, 200);
    let mut tries = vec![];
    for _ in 0..=LOGINS_PER_MINUTE {
        tries.push(ann.post("/v1/me/password", &change("guess", "a new password")).await.status);
    }
    assert!(tries.contains(&403) && tries.ends_with(&[429]), "a session is no way to guess it: {tries:?}");
    let rows =
        app.sql("select result from audit_events where action = 'me.password' order by audit_id").await;
    assert_eq!(&rows[..2], ["failed", "ok"]);
}

#[tokio::test]
async fn m075_sessions_are_listed_and_ended_by_their_person_alone() {
    let app = TestApp::open_to_people().await;
    let (ann, bob) = (app.person(EMAIL).await, app.person("bob@example.com").await);
    let body = json!({ "email": EMAIL, "password": PASSWORD });
    let from = app.anonymous().request("POST", "/v1/auth/login").header("x-forwarded-for", "192.0.2.7");
    let phone = send(from.header("user-agent", "Phone/1.0").json(&body)).await;
    let phone = app.client(Some(&phone.session()));
    let list = ann.get("/v1/me/sessions").await.json();
    let rows = list["data"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["user_agent"], &rows[0]["ip"]), (&json!("Phone/1.0"), &json!("192.0.2.7")));
    assert_eq!((&rows[0]["current"], &rows[1]["current"]), (&json!(false), &json!(true)));
    let path = format!("/v1/me/sessions/{}", rows[0]["id"].as_str().unwrap());
    assert_eq!(bob.delete(&path).await.status, 404);
    assert_eq!(phone.get("/v1/me").await.status, 200);
    assert_eq!(ann.delete(&path).await.status, 204);
    assert_eq!((phone.get("/v1/me").await.status, ann.delete(&path).await.status), (401, 404));
    for _ in 0..2 {
        app.sign_in(EMAIL, PASSWORD).await.session();
    }
    assert_eq!(ann.delete("/v1/me/sessions").await.status, 204);
    assert_eq!(ann.get("/v1/me/sessions").await.json()["data"].as_array().unwrap().len(), 1);
    assert_eq!((ann.get("/v1/me").await.status, bob.get("/v1/me").await.status), (200, 200));
}

#[tokio::test]
async fn m067_signing_out_ends_the_session_at_once_and_so_does_its_time_and_an_operator() {
    let clock = opg_host::app::Clock::manual(opg_host::app::Clock::system().now());
    let app = TestApp::at(clock, TestApp::let_people_in).await;
    app.sign_up(EMAIL).await;
    for path in ["/v1/auth/logout", "/platform/v1/auth/logout"] {
        let signed_in = app.sign_in(EMAIL, PASSWORD).await;
        let session = signed_in.session();
        let csrf = signed_in.json()["csrf_token"].as_str().unwrap().to_owned();
        let out = send(browse(&app, "POST", path, &session).header("x-csrf-token", csrf)).await;
        assert_eq!(out.status, 204, "{}", out.text());
        assert!(out.header("set-cookie").starts_with("opg_session=; Path=/; Max-Age=0;"));
        assert_eq!(app.client(Some(&session)).get("/v1/me").await.status, 401);
    }
    let ended = app.client(Some(&app.sign_in(EMAIL, PASSWORD).await.session()));
    app.clock.advance(chrono::Duration::from_std(CONSOLE_SESSION_LIFE - Duration::from_secs(1)).unwrap());
    assert_eq!(ended.get("/v1/me").await.status, 200);
    app.clock.advance(chrono::Duration::seconds(1));
    assert_eq!(ended.get("/v1/me").await.status, 401);
    let disabled = app.client(Some(&app.sign_in(EMAIL, PASSWORD).await.session()));
    assert_eq!(disabled.get("/v1/me").await.status, 200);
    app.sql("update users set disabled_at = now() returning 'x'").await;
    assert_eq!(disabled.get("/v1/me").await.status, 401);
    let rows = app
        .sql("select action from audit_events where user_id is not null and app_id is null order by audit_id")
        .await;
    assert_eq!(rows[..3], ["auth.signup", "auth.login", "auth.logout"]);
}

#[tokio::test]
async fn m075_a_person_has_twenty_sessions_and_the_oldest_go() {
    let app = TestApp::open_to_people().await;
    let first = app.person(EMAIL).await;
    app.sql(
        "insert into credentials (credential_id, kind, user_id, secret_hash, prefix, last4, scopes, expires_at, created_at)
         select overlay(c.credential_id::text placing lpad(n::text, 12, '0') from 25)::uuid, kind, user_id,
                sha256(n::text::bytea), prefix, last4, scopes, expires_at, created_at
         from credentials c, generate_series(1, 19) n where kind = 'console_session' returning 'x'",
    )
    .await;
    let newest: Client = app.client(Some(&app.sign_in(EMAIL, PASSWORD).await.session()));
    assert_eq!(newest.get("/v1/me/sessions?limit=50").await.json()["data"].as_array().unwrap().len(), 20);
    let live = app.sql("select count(*)::text from credentials where revoked_at is not null").await;
    assert_eq!(live, ["1"]);
    drop(first);
}
