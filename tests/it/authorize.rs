//! Letting in a program that opens a browser on its person's own machine (RFC 6749 with PKCE, RFC 8252), as such a
//! program and its browser do it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use opg_host::{
    app::Clock,
    limits::{
        AUTH_FAILURES_PER_MINUTE, AUTHORIZATION_CODE_LIFE, AUTHORIZATION_CODE_REMEMBERED,
        AUTHORIZE_BYTES_MAX, AUTHORIZE_STATE_BYTES_MAX, DEVICE_GRANT_LIFE, PLATFORM_TOKEN_LIFE,
    },
    people::sweep,
};
use opg_tests::{
    app::{Answer, Client, PASSWORD, TestApp, logs, send},
    browser::{Browser, Page},
    routes::fresh_ip,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use url::{Url, form_urlencoded};

const EMAIL: &str = "ann@example.com";
const REDIRECT: &str = "http://127.0.0.1:4711/callback";
const VERIFIER: &str = "canary-verifier-0123456789.abcdefghijklmno_~Z";
const STATE: &str = "canary state & /?#%";

async fn start() -> TestApp {
    let app = TestApp::at(Clock::manual(Clock::system().now()), TestApp::let_people_in).await;
    app.sign_up(EMAIL).await;
    app
}

fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// What a program opens, with something else in it: none takes a field away.
fn request_with(change: &[(&str, Option<&str>)]) -> String {
    let challenge = challenge(VERIFIER);
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", "opg-cli"),
        ("redirect_uri", REDIRECT),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
        ("state", STATE),
    ];
    for (name, value) in change {
        pairs.retain(|(other, _)| other != name);
        pairs.extend(value.map(|value| (*name, value)));
    }
    query(&pairs)
}

fn request() -> String {
    request_with(&[])
}

fn page_of(request: &str) -> String {
    format!("/oauth/authorize?{request}")
}

async fn sign_in(browser: &mut Browser, page: &Page, password: &str) -> Page {
    browser.submit(page, "/login", &[("email", EMAIL), ("password", password)]).await
}

/// A browser in which somebody is signed in.
async fn signed_in(app: &TestApp, email: &str) -> Browser {
    let mut browser = Browser::at(app);
    let page = browser.open("/login").await;
    let page = browser.submit(&page, "/login", &[("email", email), ("password", PASSWORD)]).await;
    assert_eq!(page.path, "/device", "{}", page.text());
    browser
}

/// What a program is told where it listens.
fn told(answer: &Answer, redirect_uri: &str) -> BTreeMap<String, String> {
    assert_eq!(answer.status, 303, "{}", answer.text());
    let location = answer.header("location");
    assert!(location.starts_with(&format!("{redirect_uri}?")), "{location}");
    let url = Url::parse(location).unwrap();
    assert_eq!(url.fragment(), None, "{location}");
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let told: BTreeMap<String, String> = pairs.iter().cloned().collect();
    assert_eq!(told.len(), pairs.len(), "each once: {location}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    told
}

/// The code that a program is sent which is allowed all it asks for.
async fn code(browser: &mut Browser, request: &str) -> String {
    let page = browser.open(&page_of(request)).await;
    assert_eq!(page.heading(), "Let this program in?", "{}", page.text());
    let answer = browser.submit_once(&page, "/oauth/authorize", &[]).await;
    told(&answer, REDIRECT)["code"].clone()
}

async fn token(app: &TestApp, body: Value) -> Answer {
    let request = app.anonymous().request("POST", "/platform/v1/auth/token");
    send(request.header("x-forwarded-for", fresh_ip()).json(&body)).await
}

fn with_code(code: &str) -> Value {
    json!({
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "client_id": "opg-cli",
        "code_verifier": VERIFIER,
    })
}

async fn redeem(app: &TestApp, code: &str) -> Answer {
    token(app, with_code(code)).await
}

async fn refresh(app: &TestApp, tokens: &Value) -> Answer {
    token(app, json!({ "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"] })).await
}

fn refused(answer: &Answer, code: &str) {
    let json = answer.json();
    assert_eq!((answer.status, &json["code"], &json["error"]), (400, &json!(code), &json!(code)), "{json}");
}

fn line(app: &TestApp, tokens: &Value) -> Client {
    app.client(tokens["access_token"].as_str())
}

async fn works(app: &TestApp, tokens: &Value) -> bool {
    line(app, tokens).get("/platform/v1/whoami").await.status == 200
}

async fn codes(app: &TestApp) -> usize {
    app.sql("select 'x' from authorization_codes").await.len()
}

fn pass(app: &TestApp, time: std::time::Duration) {
    app.clock.advance(chrono::Duration::from_std(time).unwrap());
}

#[tokio::test]
async fn m064_m082_a_program_opens_a_browser_and_is_let_in_by_whoever_signs_in_there() {
    let app = start().await;
    let mut browser = Browser::at(&app);

    // Whoever is not signed in is asked who they are, and what the program asks is kept.
    let page = browser.open(&page_of(&request())).await;
    assert_eq!((page.answer.status, page.heading().as_str()), (200, "Sign in"), "{}", page.text());
    assert!(page.text().contains("what asks to be let in"), "{}", page.text());
    let page = sign_in(&mut browser, &page, "not the password").await;
    assert_eq!(page.answer.status, 401, "{}", page.text());
    let page = sign_in(&mut browser, &page, PASSWORD).await;
    assert_eq!((page.answer.status, page.heading().as_str()), (200, "Let this program in?"));
    assert_eq!(page.path, page_of(&request()), "they come back to what they came for");
    for shown in ["opg-cli", REDIRECT, EMAIL, "send chat requests", "Did you begin this yourself"] {
        assert!(page.text().contains(shown), "{shown}: {}", page.text());
    }
    assert!(page.text().contains("<option value=\"ann\">"), "{}", page.text());
    assert!(!page.text().contains("account:manage"), "{}", page.text());
    assert_eq!(codes(&app).await, 0, "nobody is let in by any of this");

    // Allowing is a form of its own, and leads to where the program listens.
    let answer = browser.submit_once(&page, "/oauth/authorize", &[]).await;
    let back = told(&answer, REDIRECT);
    assert_eq!(back.keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
    assert_eq!((back["state"].as_str(), &back["iss"]), (STATE, &app.base_url()));
    let code = &back["code"];
    assert!(code.len() >= 43, "{code}");

    let tokens = redeem(&app, code).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let tokens = tokens.json();
    let names: Vec<_> = tokens.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["access_token", "expires_in", "refresh_token", "scope", "token_type"]);
    assert_eq!(
        (&tokens["token_type"], &tokens["expires_in"]),
        (&json!("Bearer"), &json!(PLATFORM_TOKEN_LIFE.as_secs()))
    );
    assert_eq!(line(&app, &tokens).get("/ann/v1/tenant").await.json()["id"], "ann");
    let who = line(&app, &tokens).get("/platform/v1/whoami").await.json();
    assert_eq!((&who["kind"], &who["user"]["email"]), (&json!("platform_token"), &json!(EMAIL)));
    assert_eq!(line(&app, &tokens).get("/v1/me").await.status, 403, "an account is a session's");

    // From here on it is as any other that was let in.
    let next = refresh(&app, &tokens).await.json();
    assert!(works(&app, &next).await, "{next}");
    let ends =
        "select distinct (expires_at - created_at)::text from credentials where kind = 'refresh_token'";
    assert_eq!(app.sql(ends).await, [format!("{} days", DEVICE_GRANT_LIFE.as_secs() / 86_400)]);
    assert_eq!(send(line(&app, &next).request("POST", "/platform/v1/auth/logout")).await.status, 204);
    assert!(!works(&app, &next).await && !works(&app, &tokens).await);

    let audit = app
        .sql(
            "select action || ' ' || surface || ' ' || result from audit_events
             where action like 'authorize.%' or action = 'auth.code' order by audit_id",
        )
        .await;
    assert_eq!(audit, ["authorize.allow console ok", "auth.code rest ok"]);
    let rows = app.sql("select row_to_json(a)::text from authorization_codes a").await.concat()
        + &app.sql("select row_to_json(c)::text from credentials c").await.concat()
        + &app.sql("select row_to_json(a)::text from audit_events a").await.concat();
    let secret_of =
        |tokens: &Value, name: &str| tokens[name].as_str().unwrap().rsplit('_').next().unwrap().to_owned();
    let secrets = [
        code.clone(),
        VERIFIER.to_owned(),
        secret_of(&tokens, "access_token"),
        secret_of(&tokens, "refresh_token"),
        secret_of(&next, "refresh_token"),
        browser.cookies["opg_session"].clone(),
    ];
    for secret in &secrets {
        assert!(!logs().contains(secret) && !rows.contains(secret), "{secret}");
    }
    assert!(!logs().contains(&challenge(VERIFIER)) && !logs().contains("canary"), "nor what it asked with");
}

#[tokio::test]
async fn m082_a_program_may_listen_at_the_address_of_ipv6_and_need_not_say_a_state() {
    let app = start().await;
    let mut browser = signed_in(&app, EMAIL).await;
    let redirect = "http://[::1]:65535/a/b";
    let request = request_with(&[("redirect_uri", Some(redirect)), ("state", None)]);
    let page = browser.open(&page_of(&request)).await;
    let back = told(&browser.submit_once(&page, "/oauth/authorize", &[]).await, redirect);
    assert_eq!(back.keys().collect::<Vec<_>>(), ["code", "iss"]);
    let mut body = with_code(&back["code"]);
    body["redirect_uri"] = json!(redirect);
    assert_eq!(token(&app, body).await.status, 200);
}

#[tokio::test]
async fn m066_m082_a_person_gives_less_than_was_asked_for_or_nothing() {
    let app = start().await;
    app.sign_up("bob@example.com").await;
    let mut browser = signed_in(&app, EMAIL).await;
    let asked = request_with(&[("scope", Some("chat:* tools:read"))]);
    let page = browser.open(&page_of(&asked)).await;
    let held = page.held("/oauth/authorize");
    let scopes: Vec<&str> =
        held.iter().filter(|(name, _)| name == "scope").map(|(_, value)| value.as_str()).collect();
    assert_eq!(scopes, ["chat:read", "chat:write", "tools:read"]);
    let value = |name: &str| held.iter().find(|(found, _)| found == name).unwrap().1.clone();
    let (csrf, kept) = (value("csrf_token"), value("request"));
    let fields = |scope: &[&'static str], in_app: &'static str| -> Vec<(String, String)> {
        let pairs = [("csrf_token", csrf.as_str()), ("request", kept.as_str()), ("app", in_app)];
        let scopes = scope.iter().map(|scope| ("scope", *scope));
        pairs.into_iter().chain(scopes).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    for (scope, in_app, expected) in [
        (&[][..], "", 422),
        (&["tools:write"][..], "", 403),
        (&["account:manage"][..], "", 403),
        (&["nope:read"][..], "", 422),
        (&["tools:read"][..], "bob", 404),
        (&["tools:read"][..], "<b>", 404),
    ] {
        let fields = fields(scope, in_app);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let page = browser.post("/oauth/authorize", &fields).await;
        assert_eq!(page.answer.status, expected, "{scope:?} {in_app}: {}", page.text());
        assert!(!page.wrong().is_empty(), "{}", page.text());
        assert_eq!(page.heading(), "Let this program in?", "it is asked again");
        assert_eq!(codes(&app).await, 0, "{scope:?} {in_app}");
    }
    let fields = fields(&["tools:read"], "ann");
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = browser.post_once("/oauth/authorize", &fields).await;
    let tokens = redeem(&app, &told(&answer, REDIRECT)["code"]).await.json();
    assert_eq!(tokens["scope"], "tools:read");
    let client = line(&app, &tokens);
    assert_eq!(client.get("/v1/tenant/tools").await.status, 200, "it is for one app, which needs no naming");
    assert_eq!(client.get("/v1/tenant").await.status, 403);
    assert_eq!(client.get("/bob/v1/tenant/tools").await.status, 404);

    // A program may name the app itself: then it is for that one or for none.
    let named = page_of(&request_with(&[("app", Some("ann"))]));
    let page = browser.open(&named).await;
    assert!(page.text().contains("In your app ann, and in no other."), "{}", page.text());
    assert!(!page.text().contains("<select"), "{}", page.text());
    let answer = browser.submit_once(&page, "/oauth/authorize", &[("app", "bob")]).await;
    let tokens = redeem(&app, &told(&answer, REDIRECT)["code"]).await.json();
    assert_eq!(line(&app, &tokens).get("/v1/tenant").await.json()["id"], "ann");
    for foreign in ["bob", "nobodys", "<b>"] {
        let page = page_of(&request_with(&[("app", Some(foreign))]));
        let back = told(&browser.follow(&page, "none").await, REDIRECT);
        assert_eq!(back["error"], "invalid_request", "{foreign}");
        assert_eq!(
            back["error_description"], "app is none of this person's",
            "the same, whether there is one"
        );
    }

    let page = browser.open(&page_of(&asked)).await;
    let back = told(&browser.submit_once(&page, "/oauth/authorize/deny", &[]).await, REDIRECT);
    assert_eq!((back["error"].as_str(), back["state"].as_str()), ("access_denied", STATE));
    assert_eq!(back["iss"], app.base_url());
    assert!(!back.contains_key("code"));
    let denied = app.sql("select result from audit_events where action = 'authorize.deny'").await;
    assert_eq!(denied, ["ok"]);
}

#[tokio::test]
async fn m082_who_is_unknown_or_listens_elsewhere_is_shown_a_page_and_nobody_is_sent_there() {
    let app = start().await;
    let mut ann = signed_in(&app, EMAIL).await;
    let mut nobody = Browser::at(&app);
    let right = ann.open(&page_of(&request())).await;
    let csrf = right.held("/oauth/authorize").into_iter().find(|(name, _)| name == "csrf_token").unwrap().1;
    let long = format!("{REDIRECT}{}", "a".repeat(AUTHORIZE_BYTES_MAX));
    let too_long = "a".repeat(AUTHORIZE_BYTES_MAX);
    let mut requests = vec![String::new(), request_with(&[("state", Some(too_long.as_str()))])];
    for client in [None, Some(""), Some("opg"), Some("OPG-CLI"), Some("https://evil.example/client.json")] {
        requests.push(request_with(&[("client_id", client)]));
    }
    for uri in [
        None,
        Some(""),
        Some("https://evil.example/callback"),
        Some("http://evil.example/callback"),
        Some("//evil.example/callback"),
        Some("/device"),
        Some("http://localhost:4711/callback"),
        Some("https://127.0.0.1:4711/callback"),
        Some("http://127.0.0.1/callback"),
        Some("http://127.0.0.1:4711"),
        Some("http://127.0.0.1:0/callback"),
        Some("http://127.0.0.1:4711/callback#fragment"),
        Some("http://127.0.0.1:4711/callback?next=x"),
        Some("http://user@127.0.0.1:4711/callback"),
        Some("http://127.0.0.1:4711@evil.example/callback"),
        Some("http://127.0.0.1.evil.example:4711/callback"),
        Some("http://127.0.0.1:4711\\@evil.example/"),
        Some("http://127.0.0.2:4711/callback"),
        Some("http://[::ffff:127.0.0.1]:4711/callback"),
        Some("http://0.0.0.0:4711/callback"),
        Some("http://127.0.0.1:4711/a\r\nset-cookie: a=b"),
        Some("http://127.0.0.1:4711/\"><script>alert(1)</script>"),
        Some("javascript:alert(1)"),
        Some("data:text/html,x"),
        Some(long.as_str()),
    ] {
        requests.push(request_with(&[("redirect_uri", uri)]));
    }
    let twice = query(&[("redirect_uri", "https://evil.example/")]);
    requests.push(format!("{}&{twice}", request()));
    requests.push(format!("{twice}&{}", request()));
    requests.push(format!("{}&client_id=opg-cli", request()));
    for request in &requests {
        for browser in [&mut ann, &mut nobody] {
            let answer = browser.follow(&page_of(request), "none").await;
            assert_eq!((answer.status, answer.header("location")), (400, ""), "{request}: {}", answer.text());
            assert!(answer.header("content-type").starts_with("text/html"), "{request}");
            assert!(
                !answer.text().contains("evil.example") && !answer.text().contains("<script"),
                "{request}"
            );
            assert!(answer.text().contains("Nobody was let in"), "{}", answer.text());
        }
        let fields = [("csrf_token", csrf.as_str()), ("request", request), ("scope", "tools:read")];
        for path in ["/oauth/authorize", "/oauth/authorize/deny"] {
            let answer = ann.post_once(path, &fields).await;
            assert_eq!((answer.status, answer.header("location")), (400, ""), "{path} {request}");
        }
    }
    assert_eq!(codes(&app).await, 0);
    let audit = app.sql("select action from audit_events where action like 'authorize.%'").await;
    assert!(audit.is_empty(), "{audit:?}");
}

#[tokio::test]
async fn m064_m082_whatever_else_is_wrong_is_told_to_the_program_once_somebody_is_signed_in() {
    let app = start().await;
    let mut ann = signed_in(&app, EMAIL).await;
    let challenge = challenge(VERIFIER);
    let (short, long) = (&challenge[1..], "a".repeat(129));
    let with_state = |state: &str| request_with(&[("state", Some(state))]);
    let wrong = [
        ("unsupported_response_type", request_with(&[("response_type", Some("token"))])),
        ("unsupported_response_type", request_with(&[("response_type", Some("code id_token"))])),
        ("invalid_request", request_with(&[("response_type", None)])),
        ("invalid_request", request_with(&[("code_challenge_method", Some("plain"))])),
        ("invalid_request", request_with(&[("code_challenge_method", None)])),
        ("invalid_request", request_with(&[("code_challenge", None)])),
        ("invalid_request", request_with(&[("code_challenge", Some(""))])),
        ("invalid_request", request_with(&[("code_challenge", Some(short))])),
        ("invalid_request", request_with(&[("code_challenge", Some(long.as_str()))])),
        ("invalid_request", request_with(&[("code_challenge", Some(&format!("{short}+")))])),
        ("invalid_request", format!("{}&code_challenge={challenge}", request())),
        ("invalid_request", format!("{}&response_type=code", request())),
        ("invalid_request", format!("{}&state=other", request())),
        ("invalid_request", with_state("a\nb")),
        ("invalid_request", with_state("\0")),
        ("invalid_request", with_state("\u{e4}")),
        ("invalid_request", with_state(&"a".repeat(AUTHORIZE_STATE_BYTES_MAX + 1))),
        ("invalid_scope", request_with(&[("scope", Some("nope:read"))])),
        ("invalid_scope", request_with(&[("scope", Some("account:manage"))])),
        ("invalid_scope", request_with(&[("scope", Some("platform:apps:read"))])),
    ];
    let csrf = {
        let page = ann.open(&page_of(&request())).await;
        page.held("/oauth/authorize").into_iter().find(|(name, _)| name == "csrf_token").unwrap().1
    };
    for (error, request) in &wrong {
        let mut nobody = Browser::at(&app);
        let asked = nobody.follow(&page_of(request), "none").await;
        assert_eq!(asked.status, 303, "{request}");
        assert!(asked.header("location").starts_with("/login?request="), "first somebody says who they are");
        let fields = [("csrf_token", csrf.as_str()), ("request", request), ("scope", "tools:read")];
        for answer in [
            ann.follow(&page_of(request), "none").await,
            ann.follow(&page_of(request), "cross-site").await,
            ann.post_once("/oauth/authorize", &fields).await,
        ] {
            let back = told(&answer, REDIRECT);
            assert_eq!(back["error"], *error, "{request}: {back:?}");
            assert!(!back["error_description"].is_empty() && !back.contains_key("code"), "{back:?}");
            assert_eq!(back["iss"], app.base_url());
            let said = back.get("state").is_none_or(|state| state == STATE);
            assert!(said, "what is no state, or one of two, is not said again: {back:?}");
        }
    }
    assert_eq!(codes(&app).await, 0);
    // A form to sign in leads there in the end, which the policy of its page has to allow.
    let mut nobody = Browser::at(&app);
    let page = nobody.open(&page_of(&wrong[0].1)).await;
    let policy = page.answer.header("content-security-policy").to_owned();
    assert!(policy.contains("form-action 'self' http://127.0.0.1:4711;"), "{policy}");

    // What nobody knows counts for nothing (RFC 6749 §3.1), nor does what is empty.
    let more = format!("{}&prompt=none&request_uri=https://evil.example/x&scope=&app=", request());
    assert_eq!(ann.open(&page_of(&more)).await.heading(), "Let this program in?");
}

#[tokio::test]
async fn m064_a_code_is_for_its_program_its_verifier_and_its_address_and_over_after_one_try() {
    let app = start().await;
    let mut browser = signed_in(&app, EMAIL).await;
    let other = "another-verifier-0123456789-abcdefghijklmnopq";
    let wrong: [(&str, Value); 6] = [
        ("code_verifier", json!(other)),
        ("code_verifier", json!(challenge(VERIFIER))),
        ("redirect_uri", json!("http://127.0.0.1:4712/callback")),
        ("redirect_uri", json!("http://127.0.0.1:4711/callback/")),
        ("redirect_uri", json!("http://[::1]:4711/callback")),
        ("redirect_uri", json!("https://evil.example/callback")),
    ];
    for (field, value) in &wrong {
        let code = code(&mut browser, &request()).await;
        let mut body = with_code(&code);
        body[field] = value.clone();
        refused(&token(&app, body).await, "invalid_grant");
        refused(&redeem(&app, &code).await, "invalid_grant");
    }
    // Two programs at once: each code goes with the verifier of its own request alone.
    let mine = code(&mut browser, &request()).await;
    let theirs = code(&mut browser, &request_with(&[("code_challenge", Some(&challenge(other)))])).await;
    refused(&redeem(&app, &theirs).await, "invalid_grant");
    assert_eq!(redeem(&app, &mine).await.status, 200, "and this is none of the other's");

    let of_another = code(&mut browser, &request()).await;
    app.sql("update authorization_codes set client_id = 'another' where used_at is null returning 'x'").await;
    refused(&redeem(&app, &of_another).await, "invalid_grant");
    let failed = app
        .sql("select detail->>'wrong' from audit_events where action = 'auth.code' and result = 'failed' order by audit_id")
        .await;
    let expected = wrong.iter().map(|(field, _)| *field).chain(["code_verifier", "client_id"]);
    assert_eq!(failed, expected.collect::<Vec<_>>());

    // What is no request is said before any code is looked at.
    let unused = code(&mut browser, &request()).await;
    let mut unknown = with_code(&unused);
    unknown["client_id"] = json!("opg");
    refused(&token(&app, unknown).await, "invalid_client");
    for (field, value) in [
        ("code", None),
        ("redirect_uri", None),
        ("client_id", None),
        ("code_verifier", None),
        ("code_verifier", Some(json!(&VERIFIER[..42]))),
        ("code_verifier", Some(json!("a".repeat(129)))),
        ("code_verifier", Some(json!("\u{e4}".repeat(43)))),
        ("code_verifier", Some(json!("a b".repeat(20)))),
        ("device_code", Some(json!("x"))),
        ("refresh_token", Some(json!("x"))),
    ] {
        let mut body = with_code(&unused);
        match value {
            Some(value) => body[field] = value,
            None => drop(body.as_object_mut().unwrap().remove(field)),
        }
        let answer = token(&app, body).await;
        let json = answer.json();
        assert_eq!((answer.status, &json["code"]), (422, &json!("invalid_request")), "{json}");
        assert_eq!(json["errors"][0]["pointer"], format!("/{field}"), "{json}");
        assert!(!answer.text().contains(&unused), "{json}");
    }
    for (grant, field) in [("device_code", "device_code"), ("refresh_token", "refresh_token")] {
        let answer = token(&app, json!({ "grant_type": grant, field: "x", "code": unused })).await;
        assert_eq!((answer.status, &answer.json()["errors"][0]["pointer"]), (422, &json!("/code")));
    }
    refused(&redeem(&app, "never-was").await, "invalid_grant");
    assert_eq!(redeem(&app, &unused).await.status, 200, "none of that was a try");
}

#[tokio::test]
async fn m064_a_code_that_comes_again_ends_all_that_it_led_to() {
    let app = start().await;
    let mut browser = signed_in(&app, EMAIL).await;
    let (first, other) = (code(&mut browser, &request()).await, code(&mut browser, &request()).await);
    let tokens = redeem(&app, &first).await.json();
    let next = refresh(&app, &tokens).await.json();
    let others = redeem(&app, &other).await.json();
    for tokens in [&tokens, &next, &others] {
        assert!(works(&app, tokens).await, "{tokens}");
    }
    // Also without the verifier, and long after it was good.
    pass(&app, AUTHORIZATION_CODE_LIFE * 10);
    let mut copied = with_code(&first);
    copied["code_verifier"] = json!("another-verifier-0123456789-abcdefghijklmnopq");
    refused(&token(&app, copied).await, "invalid_grant");
    for tokens in [&tokens, &next] {
        assert!(!works(&app, tokens).await, "{tokens}");
        refused(&refresh(&app, tokens).await, "invalid_grant");
    }
    refused(&redeem(&app, &first).await, "invalid_grant");
    assert!(works(&app, &others).await, "what another code led to is none of that");
    let audit = app
        .sql("select detail->>'reused' from audit_events where action = 'auth.code' and result = 'failed'")
        .await;
    assert_eq!(audit, ["true"], "written down once");

    // Many at once with one code: one of them gets tokens.
    let code = code(&mut browser, &request()).await;
    let at_once = futures_util::future::join_all((0..8).map(|_| redeem(&app, &code))).await;
    let given: Vec<_> = at_once.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(given.len(), 1);
    at_once.iter().filter(|answer| answer.status != 200).for_each(|answer| refused(answer, "invalid_grant"));
    assert!(!works(&app, &given[0].json()).await, "and it is known that the code was copied");
}

#[tokio::test]
async fn m064_a_code_is_good_for_a_minute_and_forgotten_after_a_day() {
    let app = start().await;
    let mut browser = signed_in(&app, EMAIL).await;
    let (in_time, late) = (code(&mut browser, &request()).await, code(&mut browser, &request()).await);
    assert_eq!(AUTHORIZATION_CODE_LIFE.as_secs(), 60);
    pass(&app, AUTHORIZATION_CODE_LIFE - std::time::Duration::from_secs(1));
    let tokens = redeem(&app, &in_time).await.json();
    assert!(works(&app, &tokens).await);
    pass(&app, std::time::Duration::from_secs(1));
    refused(&redeem(&app, &late).await, "invalid_grant");
    sweep::all(&app.running.app).await.unwrap();
    assert_eq!(codes(&app).await, 2, "so that one which comes again is known");
    pass(&app, AUTHORIZATION_CODE_REMEMBERED + std::time::Duration::from_secs(1));
    sweep::all(&app.running.app).await.unwrap();
    assert_eq!(codes(&app).await, 0);
    refused(&redeem(&app, &in_time).await, "invalid_grant");
    assert_eq!(refresh(&app, &tokens).await.status, 200, "what it led to goes on");
}

#[tokio::test]
async fn m064_m067_who_signed_out_or_was_disabled_meanwhile_lets_nobody_in() {
    let app = start().await;
    // Signed out between allowing and the code's coming back.
    let mut browser = signed_in(&app, EMAIL).await;
    let page = browser.open("/device").await;
    let signed_out = code(&mut browser, &request()).await;
    assert_eq!(browser.submit(&page, "/logout", &[]).await.path, "/login");
    refused(&redeem(&app, &signed_out).await, "invalid_grant");

    // With a new password, which ends all other sessions.
    let mut browser = signed_in(&app, EMAIL).await;
    let old = code(&mut browser, &request()).await;
    let ann = app.client(Some(&app.sign_in(EMAIL, PASSWORD).await.session()));
    let change = json!({ "current_password": PASSWORD, "new_password": "another password" });
    assert_eq!(ann.post("/v1/me/password", &change).await.status, 204);
    refused(&redeem(&app, &old).await, "invalid_grant");
    let change = json!({ "current_password": "another password", "new_password": PASSWORD });
    assert_eq!(ann.post("/v1/me/password", &change).await.status, 204);

    // The session ends while the page is open: it is asked for again, with what the program asks kept.
    let mut browser = signed_in(&app, EMAIL).await;
    let decide = browser.open(&page_of(&request())).await;
    app.sql("update credentials set revoked_at = now() where kind = 'console_session' returning 'x'").await;
    for action in ["/oauth/authorize", "/oauth/authorize/deny"] {
        let page = browser.submit(&decide, action, &[]).await;
        assert_eq!((page.answer.status, page.heading().as_str()), (200, "Sign in"), "{action}");
        assert!(page.query("request").is_some(), "{}", page.path);
    }
    let page = browser.open(&page_of(&request())).await;
    let page = sign_in(&mut browser, &page, PASSWORD).await;
    assert_eq!(page.heading(), "Let this program in?", "{}", page.text());
    // Signing out from the page of the program, to use another account.
    let page = browser.submit(&page, "/logout", &[]).await;
    assert!(page.query("request").is_some() && page.heading() == "Sign in", "{}", page.path);
    let page = sign_in(&mut browser, &page, PASSWORD).await;
    assert_eq!(page.path, page_of(&request()));
    // A form of the session before is none of this one's.
    assert_eq!(browser.submit_once(&decide, "/oauth/authorize", &[]).await.status, 403);

    // Disabled meanwhile.
    let code = code(&mut browser, &request()).await;
    app.sql("update users set disabled_at = now() returning 'x'").await;
    refused(&redeem(&app, &code).await, "invalid_grant");
    let page = browser.open(&page_of(&request())).await;
    assert_eq!(page.heading(), "Sign in");
    assert_eq!(sign_in(&mut browser, &page, PASSWORD).await.answer.status, 401);
    let made = app.sql("select 'x' from credentials where kind in ('platform_token', 'refresh_token')").await;
    assert!(made.is_empty(), "nothing came of any of it");
    let wrong = app
        .sql("select detail->>'wrong' from audit_events where action = 'auth.code' order by audit_id")
        .await;
    assert_eq!(wrong, ["signed_out"; 3]);
}

#[tokio::test]
async fn m082_a_form_that_was_not_shown_in_this_browser_lets_nobody_in() {
    let app = start().await;
    app.sign_up("bob@example.com").await;
    let (mut ann, mut bob) = (signed_in(&app, EMAIL).await, signed_in(&app, "bob@example.com").await);
    let csrf = async |browser: &mut Browser| {
        let page = browser.open(&page_of(&request())).await;
        page.held("/oauth/authorize").into_iter().find(|(name, _)| name == "csrf_token").unwrap().1
    };
    let (of_ann, of_bob) = (csrf(&mut ann).await, csrf(&mut bob).await);
    let request = request();
    for path in ["/oauth/authorize", "/oauth/authorize/deny"] {
        for token in ["", "x", of_bob.as_str(), &of_ann[1..]] {
            let fields = [("csrf_token", token), ("request", &request), ("scope", "tools:read")];
            let answer = ann.post_once(path, &fields).await;
            assert_eq!((answer.status, answer.header("location")), (403, ""), "{path}: {}", answer.text());
        }
        // The right token, and a browser that says the form is another site's.
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("origin", "https://evil.example"),
        ] {
            let fields = [("csrf_token", of_ann.as_str()), ("request", &request), ("scope", "tools:read")];
            let form = ann.request("POST", path).header("content-type", "application/x-www-form-urlencoded");
            let answer = send(form.header(name, value).body(query(&fields))).await;
            assert_eq!(answer.status, 403, "{path} {name} {value}: {}", answer.text());
            assert_eq!(answer.header("location"), "");
        }
        // A link decides nothing, however it came about.
        let link = format!("{path}?{request}&{}", query(&[("csrf_token", &of_ann), ("scope", "tools:read")]));
        let answer = ann.follow(&link, "cross-site").await;
        assert!([200, 405].contains(&answer.status), "{}", answer.status);
    }
    assert_eq!(codes(&app).await, 0);
}

#[tokio::test]
async fn m082_the_page_is_in_no_frame_and_what_a_program_says_shows_as_text() {
    let app = start().await;
    let mut browser = signed_in(&app, EMAIL).await;
    let hostile = "\"><script>alert(1)</script>";
    for (redirect, leads_to) in [(REDIRECT, "http://127.0.0.1:4711"), ("http://[::1]:4711/callback", "http:")]
    {
        let request = request_with(&[("state", Some(hostile)), ("redirect_uri", Some(redirect))]);
        let page = browser.open(&page_of(&request)).await;
        assert_eq!(page.heading(), "Let this program in?", "{}", page.text());
        assert!(!page.text().contains("<script"), "{}", page.text());
        let policy = page.answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        let rest = policy.split_once("'; form-action ").unwrap().1;
        assert_eq!(rest, format!("'self' {leads_to}; base-uri 'none'; frame-ancestors 'none'"));
        assert_eq!(page.answer.header("x-frame-options"), "DENY");
        assert_eq!(page.answer.header("referrer-policy"), "no-referrer");
        assert_eq!(page.answer.header("cache-control"), "no-store");
        let back = told(&browser.submit_once(&page, "/oauth/authorize/deny", &[]).await, redirect);
        assert_eq!(back["state"], hostile, "it is given back as it was");
    }
    for name in ["client_id", "redirect_uri", "app", "scope", "code_challenge", "response_type"] {
        let request = request_with(&[(name, Some(hostile))]);
        let answer = browser.follow(&page_of(&request), "none").await;
        assert!(!answer.text().contains("<script"), "{name}: {}", answer.text());
        assert!(!answer.header("location").contains('<'), "{name}");
        let mut nobody = Browser::at(&app);
        let page = nobody.open(&page_of(&request)).await;
        assert!(!page.text().contains("<script"), "{name}: {}", page.text());
    }
    let mut nobody = Browser::at(&app);
    let page = nobody.open(&format!("/login?{}", query(&[("request", hostile)]))).await;
    assert_eq!(page.answer.status, 200);
    assert!(!page.text().contains("<script"), "{}", page.text());
}

#[tokio::test]
async fn m064_who_tries_codes_is_told_to_wait() {
    let app = start().await;
    let ip = fresh_ip();
    let mut last = 0;
    for _ in 0..=AUTH_FAILURES_PER_MINUTE {
        let request = app.anonymous().request("POST", "/platform/v1/auth/token");
        last = send(request.header("x-forwarded-for", &ip).json(&with_code("never-was"))).await.status;
    }
    assert_eq!(last, 429);
}
