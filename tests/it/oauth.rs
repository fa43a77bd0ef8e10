//! Signing in with an account at GitHub or Google, as a browser does it, before a provider that checks what it should.

use opg_host::{
    app::Clock,
    config::{Config, Environment},
    limits::{
        LOGINS_PER_ADDRESS_PER_MINUTE, OAUTH_ANSWER_BYTES_MAX, OAUTH_NEXT_BYTES_MAX, OAUTH_SIGN_IN_LIFE,
    },
};
use opg_tests::{
    accounts::{Account, Accounts, CLIENT_ID, CLIENT_SECRET, Fault, account},
    app::{Answer, Client, PASSWORD, TestApp, logs, send},
    browser::{Browser, Page},
    routes::fresh_ip,
};
use serde_json::{Value, json};
use url::Url;

const EMAIL: &str = "ann@example.com";
const GITHUB: &str = "/v1/auth/oauth/github";
const GOOGLE: &str = "/v1/auth/oauth/google";
const BOTH: [&str; 2] = [GITHUB, GOOGLE];

async fn start_with(accounts: &Accounts, change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::at(Clock::manual(Clock::system().now()), |config| {
        TestApp::let_people_in(config);
        accounts.registered(config);
        change(config);
    })
    .await
}

async fn start() -> (Accounts, TestApp) {
    let accounts = Accounts::start().await;
    let app = start_with(&accounts, |_| {}).await;
    (accounts, app)
}

/// Goes to the provider, whose page sends the browser back: where to.
async fn agree(accounts: &Accounts, app: &TestApp, browser: &mut Browser, path: &str) -> String {
    let gone = browser.follow(path, "same-origin").await;
    assert_eq!(gone.status, 303, "{}", gone.text());
    let there = gone.header("location").strip_prefix(accounts.url()).expect("it leads to the provider");
    let back = send(Client::new(accounts.url(), None).request("GET", there)).await;
    assert_eq!(back.status, 302, "{}", back.text());
    back.header("location").strip_prefix(&app.base_url()).expect("it leads back").to_owned()
}

/// To the provider and back, in a browser that was never here.
async fn sign_in(accounts: &Accounts, app: &TestApp, path: &str) -> (Browser, Page) {
    let mut browser = Browser::at(app);
    let back = agree(accounts, app, &mut browser, path).await;
    let page = browser.come_back(&back).await;
    (browser, page)
}

async fn me(app: &TestApp, browser: &Browser) -> Value {
    app.client(Some(&browser.cookies["opg_session"])).get("/v1/me").await.json()
}

async fn count(app: &TestApp, of: &'static str) -> usize {
    app.sql(of).await.len()
}

const USERS: &str = "select email from users order by 1";
const IDENTITIES: &str = "select provider || ' ' || subject || ' ' || email from user_identities order by 1";
const SESSIONS: &str = "select 'x' from credentials where kind = 'console_session' and revoked_at is null";
const BEGUN: &str = "select 'x' from oauth_sign_ins";

/// Nobody is signed in by this, and the page says what was wrong.
fn is_refused(browser: &Browser, page: &Page, status: u16, said: &str) {
    assert_eq!(page.answer.status, status, "{}", page.text());
    assert!(page.wrong().contains(said), "{said}: {}", page.text());
    assert!(!browser.cookies.contains_key("opg_session"), "{said}");
    assert!(page.answer.header("content-type").starts_with("text/html"), "{said}");
    assert_eq!(page.answer.header("cache-control"), "no-store", "{said}");
}

#[tokio::test]
async fn m073_m082_who_was_to_let_in_a_program_that_opened_the_browser_goes_on_there() {
    let (accounts, app) = start().await;
    let query = "response_type=code&client_id=opg-cli&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcallback\
                 &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256&state=a%2Fb%26c";
    for path in [GITHUB, GOOGLE] {
        let mut browser = Browser::at(&app);
        let page = browser.open(&format!("/oauth/authorize?{query}")).await;
        assert_eq!(page.heading(), "Sign in", "{}", page.text());
        let text = page.text();
        let (_, link) = text.split_once(&format!("href=\"{path}?")).expect("it has a link to the provider");
        let link = format!("{path}?{}", link.split_once('"').unwrap().0);
        let back = agree(&accounts, &app, &mut browser, &link).await;
        let page = browser.come_back(&back).await;
        assert_eq!(page.heading(), "Let this program in?", "{}", page.text());
        assert_eq!(page.path, format!("/oauth/authorize?{query}"));
        // From a page of another site's the page to sign in comes first, which keeps it as well.
        let first = Browser::at(&app).follow(&link, "cross-site").await;
        assert!(first.header("location").starts_with("/login?request=response_type%3Dcode%26"), "{first:?}");
    }
}

#[tokio::test]
async fn m073_both_providers_sign_in_and_come_to_where_their_person_was_going() {
    let (accounts, app) = start().await;
    let mut ids = vec![];
    for (path, title) in [(GITHUB, "GitHub"), (GOOGLE, "Google"), (GITHUB, "GitHub"), (GOOGLE, "Google")] {
        let mut browser = Browser::at(&app);
        let page = browser.open("/device?user_code=bcdf-ghjk").await;
        assert_eq!(page.heading(), "Sign in");
        let link = format!("{path}?next=%2Fdevice%3Fuser_code%3DBCDF-GHJK");
        let shown = format!("<a class=\"button second\" href=\"{link}\">Continue with {title}</a>");
        assert!(page.text().contains(&shown), "{shown}: {}", page.text());

        let back = agree(&accounts, &app, &mut browser, &link).await;
        assert!(back.starts_with(&format!("{path}/callback?code=")), "{back}");
        let kept = browser.cookies["opg_oauth"].clone();
        let page = browser.come_back(&back).await;
        assert_eq!(
            (page.answer.status, page.heading().as_str()),
            (200, "Let a program in"),
            "{}",
            page.text()
        );
        assert_eq!(page.path, "/device?user_code=BCDF-GHJK");
        assert!(page.text().contains(EMAIL) && !browser.cookies.contains_key("opg_oauth"), "{}", page.text());
        let me = me(&app, &browser).await;
        assert!(me["email_proved_at"].is_string(), "the provider proved it: {me}");
        assert_eq!(me["apps"][0]["role"], "owner", "{me}");
        ids.push(me["id"].clone());
        for secret in [kept.as_str(), browser.cookies["opg_session"].as_str(), back.as_str()] {
            assert!(!logs().contains(secret), "{secret}");
        }
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "the same account each time: {ids:?}");
    assert_eq!(app.sql(USERS).await, [EMAIL]);
    assert_eq!(app.sql(IDENTITIES).await, ["github 7 ann@example.com", "google 7 ann@example.com"]);
    assert_eq!(count(&app, BEGUN).await, 0);

    let audit = "select action || ' ' || surface || ' ' || actor || ' ' || detail::text from audit_events
                 where action like 'auth.%' order by audit_id";
    let audit = app.sql(audit).await;
    let made = |what: &str| audit.iter().filter(|row| row.starts_with(what)).count();
    assert_eq!(
        (made("auth.signup"), made("auth.identity_linked"), made("auth.login"), made("auth.email_proved")),
        (1, 2, 4, 0),
        "{audit:?}"
    );
    let rows = app.sql("select row_to_json(i)::text from user_identities i").await.concat() + &audit.concat();
    let (made, logs) = (accounts.made(), logs());
    assert!(made.len() >= 10, "{made:?}");
    for secret in made.iter().map(String::as_str).chain([CLIENT_SECRET]) {
        assert!(!logs.contains(secret) && !rows.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn m073_a_provider_is_told_no_more_than_it_needs_and_the_browser_keeps_the_rest() {
    let (accounts, app) = start().await;
    let mut seen = vec![];
    for (path, scope) in
        [(GITHUB, "read:user user:email"), (GOOGLE, "openid email"), (GITHUB, "read:user user:email")]
    {
        let mut browser = Browser::at(&app);
        let gone = browser.follow(path, "none").await;
        let cookie = gone.header("set-cookie");
        assert!(cookie.ends_with("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax"), "{cookie}");
        let url = Url::parse(gone.header("location")).unwrap();
        let of = |name: &str| {
            url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
        };
        assert_eq!(of("redirect_uri").unwrap(), format!("{}{path}/callback", app.base_url()));
        assert_eq!(
            (of("client_id").as_deref(), of("response_type").as_deref()),
            (Some(CLIENT_ID), Some("code"))
        );
        assert_eq!(
            (of("scope").as_deref(), of("code_challenge_method").as_deref()),
            (Some(scope), Some("S256"))
        );
        assert_eq!(of("nonce").is_some(), path == GOOGLE);
        let kept = browser.cookies["opg_oauth"].clone();
        assert!(!url.as_str().contains(CLIENT_SECRET) && !url.as_str().contains(&kept));
        seen.extend([Some(kept), of("state"), of("code_challenge"), of("nonce")].into_iter().flatten());
    }
    let mut different = seen.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), seen.len(), "none is like another: {seen:?}");
    let rows = app.sql("select row_to_json(s)::text from oauth_sign_ins s").await;
    assert_eq!(rows.len(), 3);
    for secret in &seen {
        assert!(!rows.concat().contains(secret), "{secret}");
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!rows.concat().contains(&hex), "{secret}");
    }
    assert_eq!(accounts.asked(), [""; 0]);
    app.clock.advance(chrono::Duration::from_std(OAUTH_SIGN_IN_LIFE).unwrap() + chrono::Duration::seconds(1));
    opg_host::people::sweep::all(&app.running.app).await.unwrap();
    assert_eq!(count(&app, BEGUN).await, 0, "who never came back is forgotten");
}

#[tokio::test]
async fn m073_a_verified_address_is_linked_to_its_account_and_ends_what_nobody_had_proved() {
    let (accounts, app) = start().await;
    // Somebody signed up with Ann's address before she did.
    let squatter = app.person(EMAIL).await;
    let id = squatter.get("/v1/me").await.json()["id"].clone();
    accounts.signs_in(account(7, "Ann@Example.com"));
    let (browser, page) = sign_in(&accounts, &app, GOOGLE).await;
    assert_eq!(page.path, "/device", "{}", page.text());
    let first = me(&app, &browser).await;
    assert_eq!((&first["id"], first["email"].as_str()), (&id, Some(EMAIL)));
    assert_eq!(first["identities"].as_array().unwrap().len(), 1, "{first}");
    assert_eq!(first["identities"][0]["provider"], "google");
    assert_eq!(squatter.get("/v1/me").await.status, 401, "the address is proved now, and was not then");
    assert_eq!(app.sign_in(EMAIL, PASSWORD).await.status, 401);

    // From now on nothing ends when another is linked.
    let ann = app.client(Some(&browser.cookies["opg_session"]));
    let password = json!({ "new_password": PASSWORD });
    assert_eq!(ann.post("/v1/me/password", &password).await.status, 204);
    let (other, _) = sign_in(&accounts, &app, GITHUB).await;
    assert_eq!(me(&app, &other).await["id"], id);
    assert_eq!((ann.get("/v1/me").await.status, app.sign_in(EMAIL, PASSWORD).await.status), (200, 200));
    assert_eq!(app.sql(USERS).await, [EMAIL]);

    // A number is known whatever becomes of the address there, and the address goes with it nowhere.
    for changed in [
        Account { verified: false, ..account(7, EMAIL) },
        account(7, "bob@example.com"),
        account(7, "no address"),
    ] {
        accounts.signs_in(changed);
        for path in BOTH {
            let (browser, page) = sign_in(&accounts, &app, path).await;
            assert_eq!(page.path, "/device", "{}", page.text());
            assert_eq!(me(&app, &browser).await["id"], id);
        }
    }
    assert_eq!(app.sql(USERS).await, [EMAIL]);
}

#[tokio::test]
async fn m073_the_same_number_at_another_server_is_another_account() {
    let (accounts, app) = start().await;
    app.sign_up("bob@example.com").await;
    let bobs = "insert into user_identities
                select gen_random_uuid(), user_id, provider, 'https://github.com', '7', email, now()
                from users, unnest(array['github', 'google']) provider where email = 'bob@example.com' returning 'x'";
    assert_eq!(count(&app, bobs).await, 2);
    for path in BOTH {
        let (browser, page) = sign_in(&accounts, &app, path).await;
        assert!(page.text().contains(EMAIL), "{}", page.text());
        assert_eq!(me(&app, &browser).await["email"], EMAIL);
    }
}

#[tokio::test]
async fn m073_an_address_that_is_not_verified_is_not_linked_and_makes_no_account() {
    let (accounts, app) = start().await;
    let ann = app.person(EMAIL).await;
    for email in [EMAIL, "nobody@example.com"] {
        accounts.signs_in(Account { verified: false, ..account(7, email) });
        for (path, title) in [(GITHUB, "GitHub"), (GOOGLE, "Google")] {
            let (browser, page) =
                sign_in(&accounts, &app, &format!("{path}?next=/device%3Fuser_code=BCDF-GHJK")).await;
            is_refused(&browser, &page, 403, &format!("{title} has not verified your e-mail address"));
            assert_eq!(page.heading(), "Sign in");
            assert!(page.held("/login").contains(&("user_code".to_owned(), "BCDF-GHJK".to_owned())));
            assert!(!page.text().contains(email), "{}", page.text());
        }
    }
    assert_eq!((app.sql(USERS).await, app.sql(IDENTITIES).await), (vec![EMAIL.to_owned()], vec![]));
    assert_eq!(ann.get("/v1/me").await.json()["email_proved_at"], Value::Null);
    assert_eq!(app.sign_in(EMAIL, PASSWORD).await.status, 200, "and nothing of hers ended");
    let failed = "select detail::text from audit_events where action = 'auth.login' and result = 'failed'";
    let failed = app.sql(failed).await;
    assert_eq!(failed.len(), 4);
    assert!(failed[0].contains("github") && !failed.concat().contains("example"), "{failed:?}");
    // What is no address, though it is said to be verified, and letters of another script.
    for odd in ["", "ann", "ann@localhost", "a\u{0}b@example.com", "\u{212a}@example.com\n"] {
        accounts.signs_in(account(8, odd));
        let (browser, page) = sign_in(&accounts, &app, GOOGLE).await;
        is_refused(&browser, &page, 403, "has not verified");
    }
    app.sign_up("kim@example.com").await;
    accounts.signs_in(account(9, "\u{212a}im@example.com"));
    let (_, page) = sign_in(&accounts, &app, GOOGLE).await;
    assert!(!page.text().contains("kim@example.com"), "{}", page.text());
    let linked = app.sql("select u.email from user_identities join users u using (user_id)").await;
    assert!(!linked.contains(&"kim@example.com".to_owned()), "{linked:?}");
}

#[tokio::test]
async fn m073_what_was_not_begun_here_or_is_finished_is_a_400_that_says_to_begin_again() {
    let (accounts, app) = start().await;
    let stale =
        "was not begun in this browser, took too long, or is finished already, and nothing was done; begin";
    for path in BOTH {
        let mut browser = Browser::at(&app);
        let back = agree(&accounts, &app, &mut browser, path).await;
        let asked = accounts.asked().len();
        let (callback, state) = back.split_once("&state=").unwrap();
        let other = if path == GITHUB { GOOGLE } else { GITHUB };
        for wrong in [
            callback.to_owned(),
            format!("{callback}&state="),
            format!("{callback}&state={}", &state[1..]),
            format!("{callback}&state={}", browser.cookies["opg_oauth"]),
            format!("{callback}&state={state}&state={state}"),
            format!("{path}/callback?error=access_denied"),
            format!("{path}/callback?error=access_denied&state=x"),
            format!("{path}/callback"),
            format!("{path}/callback?%00=%ff&state=%00"),
            back.replace(path, other),
        ] {
            let page = browser.come_back(&wrong).await;
            is_refused(&browser, &page, 400, stale);
            assert!(page.text().contains("<a href=\"/device\">Begin again</a>"), "{}", page.text());
        }
        // Another browser's cookie, and none, and two.
        let mut others = Browser::at(&app);
        let page = others.come_back(&back).await;
        is_refused(&others, &page, 400, stale);
        agree(&accounts, &app, &mut others, path).await;
        let page = others.come_back(&back).await;
        is_refused(&others, &page, 400, stale);
        let kept = &browser.cookies["opg_oauth"];
        let twice = app.anonymous().request("GET", &back).header("x-forwarded-for", fresh_ip());
        let twice = send(twice.header("cookie", format!("opg_oauth={kept}; opg_oauth={kept}"))).await;
        assert_eq!((twice.status, twice.header("set-cookie")), (400, ""), "{}", twice.text());
        assert_eq!(accounts.asked().len(), asked, "the provider was not asked for any of it");

        // None of this ended the one that was begun. It is good once, though its browser kept the cookie.
        let mut copy = Browser::at(&app);
        copy.cookies.clone_from(&browser.cookies);
        let page = browser.come_back(&back).await;
        assert_eq!(page.path, "/device", "{}", page.text());
        let page = copy.come_back(&back).await;
        is_refused(&copy, &page, 400, stale);
        let page = copy.come_back(&format!("{path}/callback?code=another&state={state}")).await;
        is_refused(&copy, &page, 400, stale);

        // And not for ever.
        let mut late = Browser::at(&app);
        let back = agree(&accounts, &app, &mut late, path).await;
        app.clock.advance(chrono::Duration::from_std(OAUTH_SIGN_IN_LIFE).unwrap());
        let page = late.come_back(&back).await;
        is_refused(&late, &page, 400, stale);
    }
    assert_eq!(count(&app, SESSIONS).await, 2);
    // A code that the provider gave for another sign-in is not good for this: the verifier is another.
    for path in BOTH {
        let (mut browser, mut others) = (Browser::at(&app), Browser::at(&app));
        let back = agree(&accounts, &app, &mut browser, path).await;
        let stolen = agree(&accounts, &app, &mut others, path).await;
        let of =
            |back: &str| back.split_once("&state=").map(|(code, state)| (code.to_owned(), state.to_owned()));
        let mixed = format!("{}&state={}", of(&stolen).unwrap().0, of(&back).unwrap().1);
        let page = browser.come_back(&mixed).await;
        is_refused(&browser, &page, 400, "is not for this sign-in, and nothing was done; begin again");
    }
    assert_eq!(count(&app, SESSIONS).await, 2);
}

#[tokio::test]
async fn m073_an_id_token_that_is_for_another_or_too_old_signs_nobody_in() {
    let (accounts, app) = start().await;
    let now = app.clock.now().timestamp();
    for wrong in [
        json!({ "nonce": "another" }),
        json!({ "nonce": null }),
        json!({ "aud": "another" }),
        json!({ "aud": [CLIENT_ID, "another"] }),
        json!({ "azp": "another" }),
        json!({ "iss": "https://accounts.google.com.evil.example" }),
        json!({ "exp": now - 3600 }),
        json!({ "exp": null }),
    ] {
        accounts.fails(Fault::Says(wrong.clone()));
        let (browser, page) = sign_in(&accounts, &app, GOOGLE).await;
        is_refused(
            &browser,
            &page,
            400,
            "What Google says is not for this sign-in, and nothing was done; begin again",
        );
    }
    assert_eq!((count(&app, SESSIONS).await, count(&app, USERS).await), (0, 0));
    accounts.fails(Fault::Says(json!({ "email_verified": "true", "exp": now + 60 })));
    assert_eq!(sign_in(&accounts, &app, GOOGLE).await.1.path, "/device");
}

#[tokio::test]
async fn m073_where_nobody_may_sign_up_only_who_has_an_account_gets_in_and_never_who_is_disabled() {
    let accounts = Accounts::start().await;
    let app = start_with(&accounts, |_| {}).await;
    app.sign_up(EMAIL).await;
    let app = app.restart_with(|config| config.allow_self_registration = false).await;
    for (path, title) in [(GITHUB, "GitHub"), (GOOGLE, "Google")] {
        accounts.signs_in(account(8, "bob@example.com"));
        let (browser, page) = sign_in(&accounts, &app, path).await;
        let nobody = format!("No account that may sign in here goes with that account at {title}");
        is_refused(&browser, &page, 401, &nobody);
        assert!(!page.text().contains("bob"), "{}", page.text());
        accounts.signs_in(account(7, EMAIL));
        assert_eq!(sign_in(&accounts, &app, path).await.1.path, "/device");

        // Disabled: linked or not, and whether anybody may sign up or not, as with a password.
        app.sql("update users set disabled_at = now() returning 'x'").await;
        let (browser, page) = sign_in(&accounts, &app, path).await;
        is_refused(&browser, &page, 401, &nobody);
        app.sql("delete from user_identities returning 'x'").await;
        let (browser, page) = sign_in(&accounts, &app, path).await;
        is_refused(&browser, &page, 401, &nobody);
        app.sql("update users set disabled_at = null returning 'x'").await;
    }
    assert_eq!((app.sql(USERS).await, count(&app, IDENTITIES).await), (vec![EMAIL.to_owned()], 0));
    let app = app.restart_with(|config| config.allow_self_registration = true).await;
    app.sql("update users set disabled_at = now() returning 'x'").await;
    let (browser, page) = sign_in(&accounts, &app, GITHUB).await;
    is_refused(&browser, &page, 401, "No account that may sign in here");
    assert_eq!((app.sql(USERS).await, count(&app, IDENTITIES).await), (vec![EMAIL.to_owned()], 0));
}

#[tokio::test]
async fn m073_a_provider_that_fails_is_told_of_and_nothing_it_says_is_shown_or_logged() {
    let (accounts, app) = start().await;
    let hostile = "<script>alert('canary-said')</script>";
    let (token, user, emails) = ("/login/oauth/access_token", "/api/v3/user", "/api/v3/user/emails");
    let said = json!({ "error": hostile, "error_description": hostile }).to_string();
    let huge = format!("{{\"id\": 7, \"x\": \"{}\"}}", "x".repeat(OAUTH_ANSWER_BYTES_MAX));
    let no_mail = json!({ "message": hostile }).to_string();
    let (said, huge, no_mail) = (said.as_str(), huge.as_str(), no_mail.as_str());
    let mut tried = 0;
    for (path, at, status, body) in [
        (GITHUB, token, 500, hostile),
        (GITHUB, token, 200, hostile),
        (GITHUB, token, 200, ""),
        (GITHUB, token, 200, said),
        (GITHUB, token, 200, "[]"),
        (GITHUB, token, 200, "{\"access_token\": \"a\\r\\nb: c\"}"),
        (GITHUB, token, 200, huge),
        (GITHUB, token, 302, ""),
        (GITHUB, user, 307, ""),
        (GITHUB, user, 503, "{\"id\": 7}"),
        (GITHUB, user, 200, said),
        (GITHUB, user, 200, huge),
        (GITHUB, emails, 404, no_mail),
        (GITHUB, emails, 200, no_mail),
        (GITHUB, emails, 200, huge),
        (GOOGLE, "/token", 500, said),
        (GOOGLE, "/token", 200, hostile),
        (GOOGLE, "/token", 200, "{\"id_token\": \"a.b.c\"}"),
        (GOOGLE, "/token", 200, "{\"id_token\": 7}"),
        (GOOGLE, "/token", 200, huge),
        (GOOGLE, "/token", 307, ""),
    ] {
        accounts.fails(Fault::Answers(at, status, body.to_owned()));
        let (browser, page) = sign_in(&accounts, &app, path).await;
        is_refused(&browser, &page, 502, "did not answer as it should; try again in a moment");
        assert!(!page.text().contains("canary") && !page.text().contains("<script"), "{}", page.text());
        tried += 1;
    }
    assert_eq!(count(&app, SESSIONS).await, 0);
    let logs_now = logs();
    assert_eq!(logs_now.matches("a provider does not say who somebody is").count(), tried);
    assert!(!logs_now.contains("canary-"), "not even what it said");
    accounts.fails(Fault::None);
    for path in BOTH {
        assert_eq!(sign_in(&accounts, &app, path).await.1.path, "/device", "and it is well again");
    }

    // A secret that is another's: the operator reads why, the person does not.
    let app = app
        .restart_with(|config| {
            for one in &mut config.oauth {
                one.client_secret = "canary-of-another".into();
            }
        })
        .await;
    for path in BOTH {
        let (browser, page) = sign_in(&accounts, &app, path).await;
        is_refused(&browser, &page, 502, "did not answer as it should");
        assert!(!page.text().contains("invalid_client"), "{}", page.text());
    }
    assert!(logs().contains("it refused this server: invalid_client") && !logs().contains("canary-"));
}

#[tokio::test]
async fn m073_a_provider_that_does_not_answer_is_waited_for_no_longer_than_its_time() {
    let (accounts, app) = start().await;
    accounts.fails(Fault::Hangs("/token"));
    let began = std::time::Instant::now();
    let (browser, page) = sign_in(&accounts, &app, GOOGLE).await;
    is_refused(&browser, &page, 502, "Google did not answer as it should");
    assert!(began.elapsed() < 2 * opg_host::limits::OAUTH_ANSWER_TIME_MAX, "{:?}", began.elapsed());
    // One that is gone altogether.
    let mut browser = Browser::at(&app);
    let back = agree(&accounts, &app, &mut browser, GITHUB).await;
    drop(accounts);
    let page = browser.come_back(&back).await;
    is_refused(&browser, &page, 502, "GitHub did not answer as it should");
    assert_eq!(browser.follow(GITHUB, "none").await.status, 303, "a sign-in begins without the provider");
}

#[tokio::test]
async fn m073_who_says_no_there_is_asked_again_here_and_no_word_of_the_provider_is_shown() {
    let (_accounts, app) = start().await;
    let hostile = "%3Cscript%3Ecanary%3C%2Fscript%3E";
    for (path, title) in [(GITHUB, "GitHub"), (GOOGLE, "Google")] {
        for (error, status, said) in [
            (
                "access_denied".to_owned(),
                403,
                format!("{title} was told not to sign you in here; begin again"),
            ),
            ("server_error".to_owned(), 502, format!("{title} did not answer as it should")),
            (hostile.to_owned(), 502, format!("{title} did not answer as it should")),
        ] {
            let mut browser = Browser::at(&app);
            let gone = browser.follow(&format!("{path}?next=/device%3Fuser_code=BCDF-GHJK"), "none").await;
            let url = Url::parse(gone.header("location")).unwrap();
            let (_, state) = url.query_pairs().find(|(name, _)| name == "state").unwrap();
            let back = format!("{path}/callback?error={error}&error_description={hostile}&state={state}");
            let page = browser.come_back(&back).await;
            is_refused(&browser, &page, status, &said);
            assert_eq!(page.heading(), "Sign in");
            assert!(page.text().contains("user_code%3DBCDF-GHJK"), "where they were going is kept");
            assert!(!page.text().contains("canary"), "{}", page.text());
            assert!(!browser.cookies.contains_key("opg_oauth"));
            // The page is one to sign in with as any other.
            let page = browser.submit(&page, "/login", &[("email", EMAIL), ("password", "wrong")]).await;
            assert_eq!(page.answer.status, 401, "{}", page.text());
        }
        let mut browser = Browser::at(&app);
        let gone = browser.follow(path, "none").await;
        let url = Url::parse(gone.header("location")).unwrap();
        let (_, state) = url.query_pairs().find(|(name, _)| name == "state").unwrap();
        let page = browser.come_back(&format!("{path}/callback?state={state}")).await;
        is_refused(&browser, &page, 400, "is not for this sign-in");
    }
    assert!(!logs().contains("canary"));
    assert!(logs().contains("server_error"), "but the operator reads what it was");
}

#[tokio::test]
async fn m073_a_provider_that_is_not_configured_is_not_there() {
    let absent = |answer: &Answer| {
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert_eq!((answer.json()["code"].as_str(), answer.header("set-cookie")), (Some("not_found"), ""));
    };
    let app = TestApp::open_to_people().await;
    let mut browser = Browser::at(&app);
    for path in BOTH {
        for end in ["", "/callback", "/callback?code=x&state=y", "?next=https://evil.example"] {
            absent(&browser.follow(&format!("{path}{end}"), "none").await);
        }
    }
    assert!(!browser.open("/login").await.text().contains("Continue with"));

    let accounts = Accounts::start().await;
    let app = start_with(&accounts, |config| {
        config.oauth.pop();
    })
    .await;
    let mut browser = Browser::at(&app);
    for path in [GOOGLE, "/v1/auth/oauth/GitHub", "/v1/auth/oauth/gitlab", "/v1/auth/oauth/%00"] {
        absent(&browser.follow(path, "none").await);
    }
    let page = browser.open("/login").await;
    assert!(
        page.text().contains("Continue with GitHub") && !page.text().contains("Google"),
        "{}",
        page.text()
    );
    assert_eq!(sign_in(&accounts, &app, GITHUB).await.1.path, "/device");
}

#[tokio::test]
async fn m073_a_sign_in_goes_on_here_and_begins_because_of_a_page_of_ours() {
    let (accounts, app) = start().await;
    let mut browser = Browser::at(&app);
    let long = format!("/{}", "a".repeat(OAUTH_NEXT_BYTES_MAX));
    for next in [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "/%09/evil.example",
        "/..//evil.example",
        "/.%0A./\\evil.example",
        "javascript:alert(1)",
        "device",
        "",
        &long,
        "/device&next=//evil.example",
    ] {
        let answer = browser.follow(&format!("{GITHUB}?next={next}"), "none").await;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{next}");
        assert_eq!(answer.header("set-cookie"), "", "{next}");
    }
    assert_eq!(count(&app, BEGUN).await, 0);
    for (next, path) in [("/device/approved", "/device/approved"), ("/a/../device%23//evil", "/device")] {
        let (_, page) = sign_in(&accounts, &app, &format!("{GITHUB}?next={next}")).await;
        assert_eq!((page.answer.status, page.path.as_str()), (200, path), "{}", page.text());
    }
    // Another site's page leads to ours first, and the code goes along.
    for site in ["cross-site", "same-site", "?"] {
        let answer = browser.follow(&format!("{GOOGLE}?next=/device%3Fuser_code=BCDF-GHJK"), site).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/login?user_code=BCDF-GHJK"), "{site}");
        assert_eq!(answer.header("set-cookie"), "");
    }
    // As often as somebody may try to sign in from one address, and no more.
    let mut tries = 0;
    let mut last = browser.follow(GITHUB, "none").await;
    while last.status == 303 && tries < 3 * LOGINS_PER_ADDRESS_PER_MINUTE {
        last = browser.follow(GITHUB, "none").await;
        tries += 1;
    }
    assert!(tries + 1 >= LOGINS_PER_ADDRESS_PER_MINUTE, "{tries}");
    assert_eq!(last.status, 429);
    assert!(last.header("content-type").starts_with("text/html") && !last.header("retry-after").is_empty());
}

#[tokio::test]
async fn m073_m295_a_person_sees_what_is_linked_and_unlinks_it_unless_they_could_not_come_back() {
    let (accounts, app) = start().await;
    let (browser, _) = sign_in(&accounts, &app, GITHUB).await;
    sign_in(&accounts, &app, GOOGLE).await;
    let ann = app.client(Some(&browser.cookies["opg_session"]));
    let linked = ann.get("/v1/me").await.json()["identities"].clone();
    let id = |n: usize| format!("/v1/me/identities/{}", linked[n]["id"].as_str().unwrap());
    assert_eq!((&linked[0]["provider"], &linked[1]["provider"]), (&json!("github"), &json!("google")));
    assert_eq!(linked[0]["email"], EMAIL);
    assert!(linked[0]["created_at"].is_string() && linked[0].as_object().unwrap().len() == 4, "{linked}");
    for nobodys in ["x", "0190a000-0000-7000-8000-000000000000"] {
        assert_eq!(ann.delete(&format!("/v1/me/identities/{nobodys}")).await.status, 404);
    }
    assert_eq!(ann.delete(&id(0)).await.status, 204);
    assert_eq!(ann.delete(&id(0)).await.status, 404);
    let last = ann.delete(&id(1)).await;
    assert_eq!((last.status, last.json()["code"].as_str()), (409, Some("last_way_in")), "{}", last.text());
    assert_eq!(app.sql(IDENTITIES).await, ["google 7 ann@example.com"]);
    assert_eq!(ann.post("/v1/me/password", &json!({ "new_password": PASSWORD })).await.status, 204);
    assert_eq!(ann.delete(&id(1)).await.status, 204);
    assert_eq!(ann.get("/v1/me").await.json()["identities"], json!([]));
    let audit = app.sql("select target from audit_events where action = 'me.identities.unlink'").await;
    assert_eq!(audit.len(), 2);
}

#[tokio::test]
async fn m073_in_production_the_cookie_is_for_this_host_and_the_provider_leads_back_to_the_base_url() {
    let accounts = Accounts::start().await;
    let app = start_with(&accounts, |config| {
        config.environment = Environment::Production;
        config.base_url = Some("https://opg.example".to_owned());
    })
    .await;
    let mut browser = Browser::at(&app);
    let gone = browser.follow(GITHUB, "none").await;
    let cookie = gone.header("set-cookie");
    assert!(cookie.starts_with("__Host-opg_oauth="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    let there = gone.header("location").strip_prefix(accounts.url()).unwrap();
    let back = send(Client::new(accounts.url(), None).request("GET", there)).await;
    let back = back.header("location").strip_prefix("https://opg.example").unwrap().to_owned();
    let page = browser.come_back(&back).await;
    assert_eq!(page.path, "/device", "{}", page.text());
    assert!(browser.cookies["__Host-opg_session"].starts_with("opg_ses_"));
}
