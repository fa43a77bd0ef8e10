//! The pages: signing in, and letting a command line in, as a browser without a program does it.

use opg_host::{
    app::Clock,
    config::Environment,
    limits::{CODES_LOCKED_FOR, CONSOLE_SESSION_LIFE, FORM_BYTES_MAX, LOGINS_PER_MINUTE},
};
use opg_tests::{
    app::{PASSWORD, TestApp, logs, send},
    browser::{Browser, Page},
    routes::fresh_ip,
};
use serde_json::{Value, json};

const EMAIL: &str = "ann@example.com";

async fn start() -> TestApp {
    let app = TestApp::at(Clock::manual(Clock::system().now()), TestApp::let_people_in).await;
    app.sign_up(EMAIL).await;
    app
}

/// What a command line is told that asks to be let in.
async fn begin(app: &TestApp, body: Value) -> Value {
    let request = app.anonymous().request("POST", "/platform/v1/auth/device");
    let answer = send(request.header("x-forwarded-for", fresh_ip()).json(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn begun(app: &TestApp) -> (String, String) {
    let told = begin(app, json!({ "client": "opg", "hostname": "ann's laptop" })).await;
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    (text("device_code"), text("user_code"))
}

async fn poll(app: &TestApp, device_code: &str) -> Value {
    app.clock.advance(chrono::Duration::seconds(5));
    let request = app.anonymous().request("POST", "/platform/v1/auth/token");
    let body = json!({ "grant_type": "device_code", "device_code": device_code });
    send(request.header("x-forwarded-for", fresh_ip()).json(&body)).await.json()
}

async fn sign_in(browser: &mut Browser, page: &Page, email: &str, password: &str) -> Page {
    browser.submit(page, "/login", &[("email", email), ("password", password)]).await
}

/// Somebody's browser in which they signed in, and the page it shows then.
async fn signed_in(app: &TestApp, email: &str) -> (Browser, Page) {
    let mut browser = Browser::at(app);
    let page = browser.open("/device").await;
    let page = sign_in(&mut browser, &page, email, PASSWORD).await;
    assert_eq!((page.answer.status, page.path.as_str()), (200, "/device"), "{}", page.text());
    (browser, page)
}

async fn type_code(browser: &mut Browser, page: &Page, code: &str) -> Page {
    browser.submit(page, "/device", &[("user_code", code)]).await
}

fn of_path(url: &str, app: &TestApp) -> String {
    url.strip_prefix(&app.base_url()).unwrap().to_owned()
}

async fn sessions(app: &TestApp) -> usize {
    app.sql("select 'x' from credentials where kind = 'console_session' and revoked_at is null").await.len()
}

async fn status(app: &TestApp) -> Vec<String> {
    app.sql("select status from device_requests").await
}

#[tokio::test]
async fn m065_a_person_opens_the_page_signs_in_sees_what_asks_and_lets_it_in() {
    let app = start().await;
    let told = begin(&app, json!({ "client": "opg", "hostname": "ann's laptop" })).await;
    let (user_code, device_code) =
        (told["user_code"].as_str().unwrap(), told["device_code"].as_str().unwrap());
    let mut browser = Browser::at(&app);

    // Whoever is not signed in is asked who they are, and the code is kept.
    let link = of_path(told["verification_uri_complete"].as_str().unwrap(), &app);
    let page = browser.open(&link).await;
    assert_eq!((page.answer.status, page.heading().as_str()), (200, "Sign in"));
    assert_eq!(page.query("user_code").as_deref(), Some(user_code));
    let page = sign_in(&mut browser, &page, EMAIL, "not the password").await;
    assert_eq!(page.answer.status, 401);
    assert_eq!(page.wrong(), "The e-mail address or the password is wrong.");
    assert!(page.text().contains(EMAIL) && !page.text().contains("not the password"), "{}", page.text());
    let page = sign_in(&mut browser, &page, EMAIL, PASSWORD).await;
    assert_eq!((page.answer.status, page.heading().as_str()), (200, "Let a program in"));
    assert!(page.text().contains(EMAIL), "{}", page.text());

    // The code is there, and nothing is looked up before it is sent.
    let held = page.held("/device");
    assert!(held.contains(&("user_code".to_owned(), user_code.to_owned())), "{held:?}");
    assert!(!page.text().contains("laptop"), "{}", page.text());
    let page = browser.submit(&page, "/device", &[]).await;
    assert_eq!((page.answer.status, page.heading().as_str()), (200, "Let this program in?"));
    for shown in [user_code, "matches what your terminal", "ann&#39;s laptop", "send chat requests", "deny"] {
        assert!(page.text().contains(shown), "{shown}: {}", page.text());
    }
    assert!(page.text().contains("<option value=\"ann\">"), "{}", page.text());
    assert!(!page.text().contains("account:manage"), "{}", page.text());
    assert_eq!(status(&app).await, ["pending"], "and it is not let in by any of this");
    assert_eq!(poll(&app, device_code).await["code"], "authorization_pending");

    // Approving is a form of its own.
    let page = browser.submit(&page, "/device/approve", &[]).await;
    assert_eq!((page.path.as_str(), page.heading().as_str()), ("/device/approved", "It is let in"));
    let tokens = poll(&app, device_code).await;
    let line = app.client(tokens["access_token"].as_str());
    assert_eq!(line.get("/ann/v1/tenant").await.json()["id"], "ann");
    let again = browser.open(&page.path).await;
    assert_eq!(again.answer.status, 200, "to reload it sends nothing again");
    let audit =
        app.sql("select action || ' ' || surface from audit_events where action like 'device.%'").await;
    assert_eq!(audit, ["device.approve console"]);
    let session = &browser.cookies["opg_session"];
    for secret in [session.as_str(), user_code, device_code, PASSWORD] {
        assert!(!logs().contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn m065_a_person_gives_less_than_was_asked_for_or_nothing() {
    let app = start().await;
    let (mut browser, first) = signed_in(&app, EMAIL).await;
    let told = begin(&app, json!({ "client": "x", "scopes": ["chat:*", "tools:read"] })).await;
    let page = type_code(&mut browser, &first, told["user_code"].as_str().unwrap()).await;
    let held = page.held("/device/approve");
    let scopes = |held: &[(String, String)]| -> Vec<String> {
        held.iter().filter(|(name, _)| name == "scope").map(|(_, value)| value.clone()).collect()
    };
    assert_eq!(scopes(&held), ["chat:read", "chat:write", "tools:read"]);
    let value = |name: &str| held.iter().find(|(found, _)| found == name).unwrap().1.clone();
    let (token, code) = (value("csrf_token"), value("user_code"));
    let fields = |scope: &'static [&'static str], app: &'static str| -> Vec<(String, String)> {
        let pairs = [("csrf_token", token.as_str()), ("user_code", code.as_str()), ("app", app)];
        let scopes = scope.iter().map(|scope| ("scope", *scope));
        pairs.into_iter().chain(scopes).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let approve = async |browser: &mut Browser, fields: Vec<(String, String)>| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        browser.post("/device/approve", &fields).await
    };
    for (scope, in_app, expected) in [
        (&[][..], "", 422),
        (&["tools:write"], "", 403),
        (&["account:manage"], "", 403),
        (&["nope:read"], "", 422),
        (&["tools:read"], "bob", 404),
        (&["tools:read"], "<b>", 404),
    ] {
        let page = approve(&mut browser, fields(scope, in_app)).await;
        assert_eq!(page.answer.status, expected, "{scope:?} {in_app}: {}", page.text());
        assert!(!page.wrong().is_empty(), "{}", page.text());
        assert_eq!(status(&app).await, ["pending"], "{scope:?} {in_app}");
    }
    let page = approve(&mut browser, fields(&["tools:read"], "ann")).await;
    assert_eq!(page.path, "/device/approved", "{}", page.text());
    let tokens = poll(&app, told["device_code"].as_str().unwrap()).await;
    assert_eq!(tokens["scope"], "tools:read");
    let line = app.client(tokens["access_token"].as_str());
    assert_eq!(line.get("/v1/tenant/tools").await.status, 200, "it is for one app, which needs no naming");

    let (device_code, user_code) = begun(&app).await;
    let page = type_code(&mut browser, &first, &user_code.to_lowercase().replace('-', " ")).await;
    assert!(page.text().contains(&user_code), "it is shown as the program shows it: {}", page.text());
    let page = browser.submit(&page, "/device/deny", &[]).await;
    assert_eq!((page.path.as_str(), page.heading().as_str()), ("/device/denied", "It is turned away"));
    assert_eq!(poll(&app, &device_code).await["code"], "access_denied");
}

#[tokio::test]
async fn m065_m066_a_form_that_was_not_shown_in_this_browser_changes_nothing() {
    let app = start().await;
    app.sign_up("bob@example.com").await;
    let (mut ann, page) = signed_in(&app, EMAIL).await;
    let (_, bobs) = signed_in(&app, "bob@example.com").await;
    let (_, user_code) = begun(&app).await;
    let of_bob = bobs.held("/device").into_iter().find(|(name, _)| name == "csrf_token").unwrap().1;
    let of_ann = page.held("/device").into_iter().find(|(name, _)| name == "csrf_token").unwrap().1;
    for path in ["/device", "/device/approve", "/device/deny", "/logout"] {
        for token in ["", "x", of_bob.as_str(), &of_ann[1..], ann.cookies["opg_session"].clone().as_str()] {
            let fields = [("csrf_token", token), ("user_code", &user_code), ("scope", "tools:read")];
            let page = ann.post(path, &fields).await;
            assert_eq!((page.answer.status, page.path.as_str()), (403, path), "{}", page.text());
            assert!(page.wrong().contains("nothing was done"), "{}", page.text());
        }
        let twice =
            [("csrf_token", of_ann.as_str()), ("csrf_token", of_ann.as_str()), ("user_code", &user_code)];
        assert_eq!(ann.post(path, &twice).await.answer.status, 403, "{path}");
        // The right token, and a browser that says the form is another site's.
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("origin", "https://evil.example"),
        ] {
            let request =
                ann.request("POST", path).header("content-type", "application/x-www-form-urlencoded");
            let body = format!("csrf_token={of_ann}&user_code={user_code}&scope=tools:read");
            let answer = send(request.header(name, value).body(body)).await;
            assert_eq!(answer.status, 403, "{path} {name} {value}: {}", answer.text());
            assert!(answer.header("content-type").starts_with("text/html"));
        }
    }
    assert_eq!(status(&app).await, ["pending"]);
    assert_eq!(sessions(&app).await, 2, "and both are signed in still");

    // Signing in is none of another page's business either: it would be into an account of theirs.
    let mut nobody = Browser::at(&app);
    let login = nobody.open("/login").await;
    let other = Browser::at(&app).open("/login").await;
    let of = |page: &Page| page.held("/login").into_iter().find(|(name, _)| name == "csrf_token").unwrap().1;
    let (ours, others) = (of(&login), of(&other));
    assert_ne!(ours, others);
    for token in ["", "x", others.as_str(), of_ann.as_str(), nobody.cookies["opg_form"].clone().as_str()] {
        let fields = [("csrf_token", token), ("email", EMAIL), ("password", PASSWORD)];
        assert_eq!(nobody.post("/login", &fields).await.answer.status, 403);
    }
    let mut without_cookies = Browser::at(&app);
    let fields = [("csrf_token", ours.as_str()), ("email", EMAIL), ("password", PASSWORD)];
    assert_eq!(without_cookies.post("/login", &fields).await.answer.status, 403);
    assert_eq!(sessions(&app).await, 2);
    // A browser that says nothing of where a form is from, as over plain HTTP, is known by the token.
    let request =
        nobody.request("POST", "/login").header("content-type", "application/x-www-form-urlencoded");
    let body = format!("csrf_token={}&email={EMAIL}&password={}", ours, PASSWORD.replace(' ', "+"));
    let answer = send(request.header("origin", "null").body(body)).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/device"), "{}", answer.text());
}

#[tokio::test]
async fn m065_what_is_typed_or_said_shows_as_text_and_runs_nowhere() {
    let app = start().await;
    let hostile = "\"><script>alert(1)</script>";
    let (mut browser, first) = signed_in(&app, EMAIL).await;
    let mut nobody = Browser::at(&app);
    let encoded = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E&user_code=";
    let is_text = |page: &Page| {
        assert!(!page.text().contains("<script"), "{}", page.text());
        assert!(page.answer.header("content-type").starts_with("text/html; charset=utf-8"));
        assert_eq!(page.answer.header("x-content-type-options"), "nosniff");
    };
    for path in ["/device", "/login"] {
        for query in [encoded, &encoded[..encoded.len() - "&user_code=".len()], "%00", "%FF", "a%0D%0Ab"] {
            for browser in [&mut browser, &mut nobody] {
                let page = browser.open(&format!("{path}?user_code={query}")).await;
                assert_eq!(page.answer.status, 200, "{path} {query}: {}", page.text());
                is_text(&page);
            }
        }
    }
    let page = type_code(&mut browser, &first, hostile).await;
    assert_eq!(page.answer.status, 404, "{}", page.text());
    assert!(page.text().contains("&lt;script&gt;"), "{}", page.text());
    is_text(&page);
    let login = nobody.open("/login").await;
    let page = sign_in(&mut nobody, &login, hostile, hostile).await;
    assert_eq!(page.answer.status, 401, "{}", page.text());
    assert!(page.text().contains("&lt;script&gt;"), "{}", page.text());
    is_text(&page);

    // What the program says of itself is its own word.
    let told = begin(&app, json!({ "client": hostile, "hostname": hostile })).await;
    let page = type_code(&mut browser, &first, told["user_code"].as_str().unwrap()).await;
    assert_eq!((page.answer.status, page.text().matches("&lt;script&gt;").count()), (200, 2));
    is_text(&page);

    // Forms that are none, or too large.
    for (media, body, expected) in [
        ("application/json", "{}".to_owned(), 415),
        ("multipart/form-data; boundary=x", "x".to_owned(), 415),
        ("application/x-www-form-urlencoded", "a=%00".to_owned(), 400),
        ("application/x-www-form-urlencoded", "x".repeat(FORM_BYTES_MAX + 1), 413),
        ("application/x-www-form-urlencoded", "%%%&&==&=&\u{e4}".to_owned(), 403),
    ] {
        for path in ["/login", "/logout", "/device", "/device/approve", "/device/deny"] {
            let request = browser.request("POST", path).header("content-type", media);
            let answer = send(request.body(body.clone())).await;
            assert_eq!(answer.status, expected, "{path} {media}: {}", answer.text());
            assert!(answer.header("content-type").starts_with("text/html"), "{path}");
        }
    }
}

#[tokio::test]
async fn m065_five_wrong_codes_lock_their_person_on_the_page_as_in_the_api() {
    let app = start().await;
    app.sign_up("bob@example.com").await;
    let (mut ann, first) = signed_in(&app, EMAIL).await;
    let (mut bob, of_bob) = signed_in(&app, "bob@example.com").await;
    let (_, user_code) = begun(&app).await;
    for wrong in ["BCDF-GHJK", "nothing", "zzzz-zzzz"] {
        let page = type_code(&mut ann, &first, wrong).await;
        assert_eq!(page.answer.status, 404, "{wrong}: {}", page.text());
        assert_eq!(page.wrong(), "No request has this code; look at the program that shows it.");
    }
    for action in ["/device/approve", "/device/deny"] {
        let token = first.held("/device").into_iter().find(|(name, _)| name == "csrf_token").unwrap().1;
        let fields = [("csrf_token", token.as_str()), ("user_code", "BCDF-GHJK"), ("scope", "tools:read")];
        assert_eq!(ann.post(action, &fields).await.answer.status, 404, "{action}");
    }
    let locked = type_code(&mut ann, &first, &user_code).await;
    assert_eq!((locked.answer.status, locked.answer.header("retry-after")), (429, "900"));
    assert_eq!(locked.wrong(), "Too many wrong codes; wait 15 minutes and begin again.");
    let api = app.client(Some(&ann.cookies["opg_session"]));
    let look = api.post("/platform/v1/auth/device/look", &json!({ "user_code": user_code })).await;
    assert_eq!(look.json()["code"], "codes_locked", "one count for both");

    // Nobody else is locked; and what somebody decided on is another's no more.
    let page = type_code(&mut bob, &of_bob, &user_code).await;
    assert_eq!(page.answer.status, 200, "{}", page.text());
    assert_eq!(bob.submit(&page, "/device/deny", &[]).await.path, "/device/denied");
    app.clock.advance(chrono::Duration::from_std(CODES_LOCKED_FOR).unwrap());
    let page = type_code(&mut ann, &first, &user_code).await;
    assert_eq!(page.answer.status, 404, "{}", page.text());
    let (_, late) = begun(&app).await;
    app.clock.advance(chrono::Duration::seconds(900));
    let page = type_code(&mut ann, &first, &late).await;
    assert_eq!((page.answer.status, page.wrong().as_str()), (410, "This request has expired; begin again."));
}

#[tokio::test]
async fn m065_a_session_that_ended_in_between_is_asked_for_again_and_nothing_was_decided() {
    let app = start().await;
    let (mut browser, first) = signed_in(&app, EMAIL).await;
    let (device_code, user_code) = begun(&app).await;
    let decide = type_code(&mut browser, &first, &user_code).await;
    app.sql("update credentials set revoked_at = now() where kind = 'console_session' returning 'x'").await;
    for action in ["/device/approve", "/device/deny"] {
        let page = browser.submit(&decide, action, &[]).await;
        assert_eq!((page.answer.status, page.heading().as_str()), (200, "Sign in"), "{action}");
        assert_eq!(page.query("user_code").as_deref(), Some(user_code.as_str()), "the code is kept");
    }
    assert_eq!(status(&app).await, ["pending"]);
    let page = browser.open("/login").await;
    let mut signed = sign_in(&mut browser, &page, EMAIL, PASSWORD).await;
    assert_eq!(signed.heading(), "Let a program in", "{}", signed.text());
    // A form of the session before is none of this one's.
    assert_eq!(browser.submit(&decide, "/device/approve", &[]).await.answer.status, 403);
    signed = type_code(&mut browser, &signed, &user_code).await;
    let page = browser.submit(&signed, "/device/approve", &[]).await;
    assert_eq!(page.path, "/device/approved", "{}", page.text());
    assert!(poll(&app, &device_code).await["access_token"].is_string());

    // By its time it ends as well, and by signing out.
    app.clock.advance(chrono::Duration::from_std(CONSOLE_SESSION_LIFE).unwrap());
    assert_eq!(browser.open("/device").await.heading(), "Sign in");
    let (mut browser, page) = signed_in(&app, EMAIL).await;
    assert_eq!(browser.open("/login").await.heading(), "Let a program in", "who is signed in is not asked");
    let session = browser.cookies["opg_session"].clone();
    let page = browser.submit(&page, "/logout", &[]).await;
    assert_eq!((page.path.as_str(), page.heading().as_str()), ("/login", "Sign in"));
    assert!(!browser.cookies.contains_key("opg_session"));
    assert_eq!(app.client(Some(&session)).get("/v1/me").await.status, 401);
}

#[tokio::test]
async fn m065_m070_the_page_counts_attempts_and_sets_the_cookie_as_the_api_does() {
    let app = start().await;
    let mut browser = Browser::at(&app);
    let login = browser.open("/login").await;
    let of_form = login.answer.header("set-cookie");
    assert!(
        of_form.starts_with("opg_form=") && of_form.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{of_form}"
    );
    assert_eq!(browser.open("/login").await.answer.header("set-cookie"), "", "one is enough");
    let mut last = sign_in(&mut browser, &login, EMAIL, "wrong password").await;
    let mut tries = 1;
    while last.answer.status == 401 && tries < 3 * LOGINS_PER_MINUTE {
        last = sign_in(&mut browser, &login, EMAIL, "wrong password").await;
        tries += 1;
    }
    assert!(tries > LOGINS_PER_MINUTE, "{tries}");
    assert_eq!((last.answer.status, last.wrong().as_str()), (429, "Too many attempts to sign in; wait."));
    assert!(last.answer.header("retry-after").parse::<u64>().unwrap() <= 6);
    let (browser, _) = signed_in(&app, EMAIL).await;
    assert!(browser.cookies["opg_session"].starts_with("opg_ses_"), "from elsewhere it is open");
    let rows = app.sql("select row_to_json(a)::text from audit_events a where action = 'auth.login'").await;
    assert!(rows.iter().any(|row| row.contains(r#""result":"failed""#)) && !rows.concat().contains(EMAIL));
}

#[tokio::test]
async fn m065_m070_in_production_both_cookies_are_for_this_host_and_tls_alone() {
    let app = TestApp::with(|config| {
        TestApp::let_people_in(config);
        config.environment = Environment::Production;
    })
    .await;
    app.sign_up(EMAIL).await;
    let mut browser = Browser::at(&app);
    let page = browser.open("/login").await;
    let cookie = page.answer.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-opg_form=")
            && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure")
    );
    let page = sign_in(&mut browser, &page, EMAIL, PASSWORD).await;
    assert_eq!(page.heading(), "Let a program in", "{}", page.text());
    assert!(browser.cookies["__Host-opg_session"].starts_with("opg_ses_"));
}
