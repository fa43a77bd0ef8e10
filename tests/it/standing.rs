//! What outlives a session is made while that counts, and what was made before an address was proved ends with it.

use opg_tests::{
    accounts::{Accounts, account},
    app::{Answer, Client, PASSWORD, TestApp, send},
    authenticator::Authenticator,
    browser::Browser,
    routes::fresh_ip,
    wait::until,
};
use serde_json::{Value, json};
use sqlx::Connection;

const EMAIL: &str = "ann@example.com";
const ORIGIN: &str = "https://opg.example.com";

async fn start(accounts: &Accounts) -> TestApp {
    TestApp::with(|config| {
        TestApp::let_people_in(config);
        accounts.registered(config);
        config.base_url = Some(ORIGIN.to_owned());
    })
    .await
}

/// Signs in with an account at Google that has this address, verified: its owner's session.
pub(crate) async fn prove(app: &TestApp, accounts: &Accounts, email: &str) -> Client {
    accounts.signs_in(account(7, email));
    let mut browser = Browser::at(app);
    let gone = browser.follow("/v1/auth/oauth/google", "same-origin").await;
    let there = gone.header("location").strip_prefix(accounts.url()).expect("it leads to the provider");
    let back = send(Client::new(accounts.url(), None).request("GET", there)).await;
    let page = browser.come_back(back.header("location").strip_prefix(ORIGIN).expect("it leads back")).await;
    assert_eq!(page.path, "/device", "{}", page.text());
    app.client(Some(&browser.cookies["opg_session"]))
}

async fn from_anywhere(app: &TestApp, path: &str, body: &Value) -> Answer {
    let request = app.anonymous().request("POST", path).header("x-forwarded-for", fresh_ip());
    send(request.json(body)).await
}

/// A program that asks to be let in: its own code, and the one its person types.
async fn program(app: &TestApp) -> (String, Value) {
    let asked = from_anywhere(app, "/platform/v1/auth/device", &json!({ "client": "opg" })).await.json();
    (asked["device_code"].as_str().unwrap().to_owned(), json!({ "user_code": asked["user_code"] }))
}

async fn poll(app: &TestApp, device_code: &str) -> Answer {
    let body = json!({ "grant_type": "device_code", "device_code": device_code });
    from_anywhere(app, "/platform/v1/auth/token", &body).await
}

async fn id(person: &Client) -> Value {
    person.get("/v1/me").await.json()["id"].clone()
}

#[tokio::test]
async fn m071_m073_whoever_signed_up_with_an_address_of_somebody_elses_keeps_no_way_in() {
    let accounts = Accounts::start().await;
    let app = start(&accounts).await;
    let (squatter, accomplice) = (app.person(EMAIL).await, app.person("mallory@example.com").await);
    let anns_id = id(&squatter).await;
    // Everything that lets somebody in, made before Ann comes.
    let wanted = json!({ "name": "wait", "scopes": ["tools:read"], "expires_in": 3600 });
    let personal = squatter.post("/platform/v1/tokens", &wanted).await.json()["token"].clone();
    let of_app =
        squatter.post("/ann/v1/tenant/tokens", &json!({ "name": "wait" })).await.json()["token"].clone();
    let through = app.client(of_app.as_str());
    let of_apps =
        through.post("/v1/tenant/tokens", &json!({ "name": "longer" })).await.json()["token"].clone();
    let member = json!({ "user_id": id(&accomplice).await, "role": "owner" });
    assert_eq!(squatter.post("/ann/v1/tenant/members", &member).await.status, 201);
    let invitation = json!({ "email": "mallory@example.com", "role": "owner" });
    assert_eq!(squatter.post("/ann/v1/tenant/members", &invitation).await.status, 202);
    let let_in = async |by: &Client| {
        let (device_code, typed) = program(&app).await;
        let approved = by.post("/platform/v1/auth/device/approve", &typed).await;
        assert_eq!(approved.status, 204, "{}", approved.text());
        device_code
    };
    let (fetched, waiting) = (let_in(&squatter).await, let_in(&squatter).await);
    let tokens = poll(&app, &fetched).await.json();
    let mallorys = accomplice.post("/mallory/v1/tenant/tokens", &json!({ "name": "own" })).await.json();
    let others = let_in(&accomplice).await;

    let ann = prove(&app, &accounts, EMAIL).await;
    assert_eq!(id(&ann).await, anns_id);
    for token in [&personal, &of_app, &of_apps, &tokens["access_token"]] {
        let caller = app.client(token.as_str());
        assert_eq!(caller.get("/platform/v1/whoami").await.status, 401, "{token}");
    }
    let refresh = json!({ "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"] });
    assert_eq!(
        from_anywhere(&app, "/platform/v1/auth/token", &refresh).await.json()["error"],
        "invalid_grant"
    );
    let late = poll(&app, &waiting).await;
    assert_eq!((late.status, &late.json()["error"]), (400, &json!("access_denied")), "{}", late.text());
    assert_eq!(accomplice.get("/ann/v1/tenant").await.status, 404, "no member any more");
    assert_eq!(ann.get("/ann/v1/tenant").await.status, 200);
    assert_eq!(app.sql("select email from app_invitations").await, [""; 0]);
    // What was never hers to end goes on.
    let own = app.client(mallorys["token"].as_str());
    assert_eq!(own.get("/v1/tenant").await.status, 200);
    assert_eq!(accomplice.get("/mallory/v1/tenant").await.status, 200);
    assert_eq!(poll(&app, &others).await.status, 200);

    // Whom she lets in from now on stays, however often her address is proved.
    assert_eq!(ann.post("/ann/v1/tenant/members", &member).await.status, 201);
    let waiting = let_in(&ann).await;
    prove(&app, &accounts, EMAIL).await;
    assert_eq!(poll(&app, &waiting).await.status, 200);
    assert_eq!(accomplice.get("/ann/v1/tenant").await.status, 200);
}

#[tokio::test]
async fn m074_a_new_password_turns_a_program_away_that_was_let_in_and_has_not_come() {
    let accounts = Accounts::start().await;
    let app = start(&accounts).await;
    let ann = app.person(EMAIL).await;
    let (device_code, typed) = program(&app).await;
    assert_eq!(ann.post("/platform/v1/auth/device/approve", &typed).await.status, 204);
    let change = json!({ "current_password": PASSWORD, "new_password": "another password" });
    assert_eq!(ann.post("/v1/me/password", &change).await.status, 204);
    let late = poll(&app, &device_code).await;
    assert_eq!((late.status, &late.json()["error"]), (400, &json!("access_denied")), "{}", late.text());
    assert_eq!(app.sql("select 'x' from credentials where kind = 'refresh_token'").await, [""; 0]);
}

/// Sends a request that makes something; when it waits for the account, its session ends; then how it was answered.
async fn ended_meanwhile(app: &TestApp, by: &Client, path: &str, body: &Value) -> Answer {
    let mut owner = app.owner().await;
    let mut ending = owner.begin().await.unwrap();
    sqlx::query("select 1 from users for update").execute(&mut *ending).await.unwrap();
    let (caller, path, body) = (by.clone(), path.to_owned(), body.clone());
    let asked = tokio::spawn(async move {
        send(caller.request("POST", &path).header("x-forwarded-for", fresh_ip()).json(&body)).await
    });
    let waits =
        "select 'x' from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    until("it was let in, and waits for the account", async || !app.sql(waits).await.is_empty()).await;
    sqlx::query("update credentials set revoked_at = now()").execute(&mut *ending).await.unwrap();
    ending.commit().await.unwrap();
    asked.await.unwrap()
}

#[tokio::test]
async fn nothing_that_outlives_a_session_is_made_once_that_has_ended() {
    let accounts = Accounts::start().await;
    let app = start(&accounts).await;
    app.sign_up(EMAIL).await;
    let signed_in = async || app.client(Some(&app.sign_in(EMAIL, PASSWORD).await.session()));
    let begun = async |ann: &Client| ann.post("/v1/auth/passkey/register/start", &json!({})).await.json();
    let passkey = |begun: &Value| {
        let made = Authenticator::at(ORIGIN).create(&begun["publicKey"]);
        json!({ "ceremony": begun["ceremony"], "credential": made })
    };
    let (_, typed) = program(&app).await;
    let ann = signed_in().await;
    let kept = "select count(*)::text || ' ' || (select count(*) from user_passkeys) || ' ' || (select password_hash from users)
                from credentials where kind <> 'console_session'";
    let before = app.sql(kept).await;
    for (path, body) in [
        ("/v1/me/password", json!({ "current_password": PASSWORD, "new_password": "another password" })),
        ("/platform/v1/tokens", json!({ "name": "ci", "scopes": ["tools:read"], "expires_in": 3600 })),
        ("/platform/v1/auth/device/approve", typed.clone()),
        ("/v1/auth/passkey/register/finish", passkey(&begun(&ann).await)),
    ] {
        let ann = signed_in().await;
        let body = match path {
            "/v1/auth/passkey/register/finish" => passkey(&begun(&ann).await),
            _ => body,
        };
        let refused = ended_meanwhile(&app, &ann, path, &body).await;
        let code = refused.json()["code"].clone();
        assert_eq!((refused.status, code), (401, json!("session_ended")), "{path}: {}", refused.text());
        assert_eq!(app.sql(kept).await, before, "{path}");
    }
    assert_eq!(app.sql("select status from device_requests").await, ["pending"]);
    let ann = signed_in().await;
    assert_eq!(
        ann.post("/platform/v1/auth/device/approve", &typed).await.status,
        204,
        "and nothing was lost"
    );
}
