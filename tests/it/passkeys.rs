//! Passkeys, as a browser with an authenticator makes and uses them.

use crate::standing::prove;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use opg_host::{
    app::Clock,
    config::{Config, Environment},
    limits::{JSON_BYTES_MAX, PASSKEY_CEREMONY_LIFE, PASSKEYS_PER_USER_MAX},
};
use opg_tests::{
    accounts::Accounts,
    app::{Answer, Client, PASSWORD, TestApp, logs, send},
    authenticator::Authenticator,
    routes::fresh_ip,
};
use serde_json::{Value, json};

const ANN: &str = "ann@example.com";
const ORIGIN: &str = "https://opg.example.com";
const REGISTER: &str = "/v1/auth/passkey/register";
const LOGIN: &str = "/v1/auth/passkey/login";

async fn start_with(change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::at(Clock::manual(Clock::system().now()), |config| {
        TestApp::let_people_in(config);
        config.base_url = Some(ORIGIN.to_owned());
        change(config);
    })
    .await
}

async fn start() -> TestApp {
    start_with(|_| {}).await
}

async fn begin(client: &Client, ceremony: &str) -> Value {
    let answer = ask(client, &format!("{ceremony}/start"), &json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// From an address of its own, so that nobody is told to wait.
async fn ask(client: &Client, path: &str, body: &Value) -> Answer {
    send(client.request("POST", path).header("x-forwarded-for", fresh_ip()).json(body)).await
}

async fn finish(client: &Client, ceremony: &str, begun: &Value, credential: Value) -> Answer {
    let body = json!({ "ceremony": begun["ceremony"], "credential": credential });
    ask(client, &format!("{ceremony}/finish"), &body).await
}

async fn make(client: &Client, authenticator: &mut Authenticator) -> Answer {
    let begun = begin(client, REGISTER).await;
    let made = authenticator.create(&begun["publicKey"]).expect("none is there that it has already");
    finish(client, REGISTER, &begun, made).await
}

/// A person with one passkey.
async fn with_passkey(app: &TestApp, email: &str) -> (Client, Authenticator) {
    let (person, mut authenticator) = (app.person(email).await, Authenticator::at(ORIGIN));
    let made = make(&person, &mut authenticator).await;
    assert_eq!(made.status, 201, "{}", made.text());
    (person, authenticator)
}

async fn use_it(app: &TestApp, authenticator: &mut Authenticator) -> Answer {
    let begun = begin(&app.anonymous(), LOGIN).await;
    let used = authenticator.get(&begun["publicKey"]).expect("it has a key");
    finish(&app.anonymous(), LOGIN, &begun, used).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

fn is(answer: &Answer, status: u16, code_of: &str) {
    assert_eq!(code(answer), (status, code_of.to_owned()), "{}", answer.text());
    assert!(!answer.headers.contains_key("set-cookie"));
}

const KEYS: &str = "select name from user_passkeys order by passkey_id";
const BEGUN: &str = "select 'x' from passkey_ceremonies";
const FAILED: &str = "select target || ' ' || detail::text from audit_events
                      where action = 'auth.login' and result = 'failed' order by audit_id";

#[tokio::test]
async fn m072_m070_a_person_makes_a_passkey_and_signs_in_with_it_without_saying_who_they_are() {
    let app = start().await;
    let (ann, mut authenticator) = (app.person(ANN).await, Authenticator::at(ORIGIN));
    let me = ann.get("/v1/me").await.json();
    assert_eq!(me["passkeys"], json!([]));
    let begun = begin(&ann, REGISTER).await;
    let asked = &begun["publicKey"];
    assert_eq!((&asked["rp"]["id"], &begun["expires_in"]), (&json!("opg.example.com"), &json!(300)));
    assert_eq!((&asked["user"]["name"], &asked["attestation"]), (&json!(ANN), &json!("none")));
    let user_handle = BASE64.decode(asked["user"]["id"].as_str().unwrap()).unwrap();
    assert_eq!(hex::encode(&user_handle), me["id"].as_str().unwrap().replace('-', ""));

    let body = json!({
        "ceremony": begun["ceremony"],
        "credential": authenticator.create(asked).unwrap(),
        "name": " Ann's laptop ",
    });
    let made = ask(&ann, &format!("{REGISTER}/finish"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!((&made.json()["name"], &made.json()["last_used_at"]), (&json!("Ann's laptop"), &Value::Null));
    assert_eq!(ann.get("/v1/me").await.json()["passkeys"], json!([made.json()]));

    let asked_to_sign_in = begin(&app.anonymous(), LOGIN).await;
    let told = &asked_to_sign_in["publicKey"];
    assert_eq!((&told["rpId"], &told["allowCredentials"]), (&json!("opg.example.com"), &json!([])));
    assert_ne!(told["challenge"], asked["challenge"]);
    let used = authenticator.get(told).unwrap();
    let signed_in = finish(&app.anonymous(), LOGIN, &asked_to_sign_in, used.clone()).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    assert_eq!(signed_in.json()["user"]["email"], ANN);
    let ann_again = app.client(Some(&signed_in.session()));
    let now = ann_again.get("/v1/me").await.json();
    assert_eq!((&now["id"], &now["session_id"]), (&me["id"], &signed_in.json()["session_id"]));
    assert!(now["passkeys"][0]["last_used_at"].is_string(), "{now}");
    assert_eq!(ann.get("/v1/me").await.status, 200, "the other session goes on");
    // An authenticator that syncs its keys counts nothing.
    authenticator.counter = 0;
    let (bob, mut synced) = (app.person("bob@example.com").await, Authenticator::at(ORIGIN));
    synced.counter = 0;
    assert_eq!(make(&bob, &mut synced).await.status, 201);
    for _ in 0..2 {
        let signed_in = use_it(&app, &mut synced).await;
        assert_eq!(signed_in.json()["user"]["email"], "bob@example.com", "{}", signed_in.text());
    }

    assert_eq!(app.sql(BEGUN).await.len(), 0);
    let audit = app.sql("select action || ' ' || detail::text from audit_events order by audit_id").await;
    assert_eq!(audit.iter().filter(|row| row.starts_with("me.passkeys.create")).count(), 2, "{audit:?}");
    let seen = logs() + &audit.concat();
    for kept in [&begun["ceremony"], &told["challenge"], &used["response"]["signature"], &used["id"]] {
        assert!(!seen.contains(kept.as_str().unwrap()), "{kept}");
    }
}

#[tokio::test]
async fn m072_what_was_made_for_another_site_is_a_400_and_signs_nobody_in() {
    let app = start().await;
    let (ann, mut authenticator) = with_passkey(&app, ANN).await;
    for origin in [
        "https://evil.example",
        "https://opg.example.com.evil.example",
        "https://sub.opg.example.com",
        "https://opg.example.com:8443",
        "http://opg.example.com",
    ] {
        authenticator.origin = origin.to_owned();
        is(&use_it(&app, &mut authenticator).await, 400, "passkey_elsewhere");
        is(&make(&ann, &mut Authenticator::at(origin)).await, 400, "passkey_elsewhere");
    }
    let mut other = Authenticator::at(ORIGIN);
    other.rp_id = Some("evil.example".to_owned());
    is(&make(&ann, &mut other).await, 400, "passkey_elsewhere");
    authenticator.origin = ORIGIN.to_owned();
    authenticator.rp_id = Some("evil.example".to_owned());
    is(&use_it(&app, &mut authenticator).await, 400, "passkey_elsewhere");
    assert_eq!(app.sql(KEYS).await, ["Passkey"]);
    assert!(app.sql(FAILED).await.iter().any(|row| row.contains("made for another site")));
    authenticator.rp_id = None;
    assert_eq!(use_it(&app, &mut authenticator).await.status, 200, "and it still signs in here");
}

#[tokio::test]
async fn m072_m070_whatever_is_wrong_of_a_passkey_the_answer_is_the_same() {
    let app = start().await;
    let (ann, mut anns) = with_passkey(&app, ANN).await;
    let (_, mut bobs) = with_passkey(&app, "bob@example.com").await;
    let mut answers = vec![];

    // A key that nobody here has.
    let mut stranger = Authenticator::at(ORIGIN);
    let begun = begin(&ann, REGISTER).await;
    stranger.create(&begun["publicKey"]).unwrap();
    answers.push(use_it(&app, &mut stranger).await);
    // Bob's key, as Ann's; nobody's; without a word whose.
    for whose in [Some(anns.keys[0].user_handle.clone()), Some(vec![7; 16]), Some(vec![]), None] {
        let begun = begin(&app.anonymous(), LOGIN).await;
        let mut used = bobs.get(&begun["publicKey"]).unwrap();
        used["response"]["userHandle"] = whose.map_or(Value::Null, |whose| json!(BASE64.encode(whose)));
        answers.push(finish(&app.anonymous(), LOGIN, &begun, used).await);
    }
    // Another signature, other data, another challenge.
    for field in ["signature", "authenticatorData"] {
        let begun = begin(&app.anonymous(), LOGIN).await;
        let mut used = anns.get(&begun["publicKey"]).unwrap();
        let mut bytes = BASE64.decode(used["response"][field].as_str().unwrap()).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        used["response"][field] = json!(BASE64.encode(bytes));
        answers.push(finish(&app.anonymous(), LOGIN, &begun, used).await);
    }
    let mut begun = begin(&app.anonymous(), LOGIN).await;
    let used = anns.get(&begun["publicKey"]).unwrap();
    begun = begin(&app.anonymous(), LOGIN).await;
    answers.push(finish(&app.anonymous(), LOGIN, &begun, used).await);
    // Somebody who found it lying about.
    anns.verifies = false;
    answers.push(use_it(&app, &mut anns).await);
    anns.verifies = true;
    // A copy of the key, which counts on its own.
    assert_eq!(use_it(&app, &mut anns).await.status, 200);
    anns.counter -= 1;
    answers.push(use_it(&app, &mut anns).await);

    let whys = app.sql(FAILED).await;
    assert_eq!(whys.len(), answers.len(), "each is written down: {whys:?}");
    for why in
        ["nobody has it", "its answer is wrong", "its owner was not verified", "its counter did not rise"]
    {
        assert!(whys.iter().any(|row| row.contains(why)), "{why}: {whys:?}");
    }
    // Who is disabled is nobody.
    app.sql("update users set disabled_at = now() where email = 'bob@example.com' returning 'x'").await;
    answers.push(use_it(&app, &mut bobs).await);
    for answer in &answers {
        is(answer, 401, "passkey_refused");
        assert_eq!(answer.json()["detail"], answers[0].json()["detail"]);
    }
    assert_eq!(use_it(&app, &mut anns).await.status, 200, "Ann still signs in");
}

#[tokio::test]
async fn m072_what_was_begun_is_good_once_for_whoever_began_it_and_not_for_long() {
    let app = start().await;
    let (ann, mut authenticator) = with_passkey(&app, ANN).await;
    let bob = app.person("bob@example.com").await;

    // Once, whatever came of it.
    let begun = begin(&app.anonymous(), LOGIN).await;
    let used = authenticator.get(&begun["publicKey"]).unwrap();
    let mut spoilt = used.clone();
    spoilt["response"]["signature"] = json!("AAAA");
    is(&finish(&app.anonymous(), LOGIN, &begun, spoilt).await, 401, "passkey_refused");
    is(&finish(&app.anonymous(), LOGIN, &begun, used).await, 400, "passkey_stale");
    let begun = begin(&app.anonymous(), LOGIN).await;
    let used = authenticator.get(&begun["publicKey"]).unwrap();
    assert_eq!(finish(&app.anonymous(), LOGIN, &begun, used.clone()).await.status, 200);
    is(&finish(&app.anonymous(), LOGIN, &begun, used.clone()).await, 400, "passkey_stale");

    // What one person began, another does not finish, and neither does somebody who signs in.
    let begun = begin(&ann, REGISTER).await;
    let made = Authenticator::at(ORIGIN).create(&begun["publicKey"]).unwrap();
    is(&finish(&bob, REGISTER, &begun, made.clone()).await, 400, "passkey_stale");
    is(&finish(&app.anonymous(), LOGIN, &begun, used.clone()).await, 400, "passkey_stale");
    let to_sign_in = begin(&app.anonymous(), LOGIN).await;
    is(&finish(&ann, REGISTER, &to_sign_in, made.clone()).await, 400, "passkey_stale");
    // A person begins one at a time.
    let again = begin(&ann, REGISTER).await;
    is(&finish(&ann, REGISTER, &begun, made.clone()).await, 400, "passkey_stale");
    assert_eq!(finish(&ann, REGISTER, &again, made).await.status, 400, "another challenge");
    for nothing in ["", "x", "0190a000-0000-7000-8000-000000000000"] {
        let answer = finish(&app.anonymous(), LOGIN, &json!({ "ceremony": nothing }), used.clone()).await;
        is(&answer, 400, "passkey_stale");
    }

    let late = (begin(&ann, REGISTER).await, begin(&app.anonymous(), LOGIN).await);
    let made = Authenticator::at(ORIGIN).create(&late.0["publicKey"]).unwrap();
    let used = authenticator.get(&late.1["publicKey"]).unwrap();
    app.clock.advance(chrono::Duration::from_std(PASSKEY_CEREMONY_LIFE).unwrap());
    is(&finish(&ann, REGISTER, &late.0, made).await, 400, "passkey_stale");
    is(&finish(&app.anonymous(), LOGIN, &late.1, used).await, 400, "passkey_stale");
    begin(&app.anonymous(), LOGIN).await;
    app.clock
        .advance(chrono::Duration::from_std(PASSKEY_CEREMONY_LIFE).unwrap() + chrono::Duration::seconds(1));
    opg_host::people::sweep::all(&app.running.app).await.unwrap();
    assert_eq!(app.sql(BEGUN).await.len(), 0, "what nobody finishes is forgotten");
    assert_eq!(app.sql(KEYS).await, ["Passkey"]);
}

#[tokio::test]
async fn m072_a_key_is_somebodys_once_and_nobody_has_too_many() {
    let app = start().await;
    let (ann, mut anns) = with_passkey(&app, ANN).await;
    let bob = app.person("bob@example.com").await;
    // An authenticator is told which keys it need not make, and Ann's are nobody else's business.
    let begun = begin(&ann, REGISTER).await;
    assert_eq!(begun["publicKey"]["excludeCredentials"][0]["id"], BASE64.encode(&anns.keys[0].id));
    assert!(anns.create(&begun["publicKey"]).is_none());
    let begun = begin(&bob, REGISTER).await;
    assert!(begun["publicKey"]["excludeCredentials"].as_array().is_none_or(Vec::is_empty), "{begun}");
    // Bob says that Ann's id is his.
    let mut his = Authenticator::at(ORIGIN);
    let mut made = his.create(&begun["publicKey"]).unwrap();
    let object = BASE64.decode(made["response"]["attestationObject"].as_str().unwrap()).unwrap();
    let at = object.windows(32).position(|part| part == his.keys[0].id).unwrap();
    let stolen = [&object[..at], &anns.keys[0].id, &object[at + 32..]].concat();
    made["response"]["attestationObject"] = json!(BASE64.encode(stolen));
    is(&finish(&bob, REGISTER, &begun, made).await, 409, "passkey_known");
    assert_eq!(use_it(&app, &mut anns).await.json()["user"]["email"], ANN);

    for _ in 1..PASSKEYS_PER_USER_MAX {
        assert_eq!(make(&ann, &mut Authenticator::at(ORIGIN)).await.status, 201);
    }
    is(&ask(&ann, &format!("{REGISTER}/start"), &json!({})).await, 409, "too_many_passkeys");
    assert_eq!(ann.get("/v1/me").await.json()["passkeys"].as_array().unwrap().len(), 20);
    assert_eq!(app.sql(KEYS).await.len(), 20, "Bob has none");
}

#[tokio::test]
async fn m072_a_person_removes_a_passkey_unless_they_could_not_come_back() {
    let app = start().await;
    let (ann, mut authenticator) = with_passkey(&app, ANN).await;
    let bob = app.person("bob@example.com").await;
    let id = ann.get("/v1/me").await.json()["passkeys"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/me/passkeys/{id}");
    let nobodys = bob.delete("/v1/me/passkeys/0190a000-0000-7000-8000-000000000000").await;
    let anns = bob.delete(&path).await;
    assert_eq!((anns.status, anns.json()["detail"].clone()), (404, nobodys.json()["detail"].clone()));

    let session = use_it(&app, &mut authenticator).await.session();
    // As somebody who signed up with an account elsewhere, and never had a password.
    app.sql("update users set password_hash = null where email = 'ann@example.com' returning 'x'").await;
    is(&ann.delete(&path).await, 409, "last_way_in");
    assert_eq!(use_it(&app, &mut authenticator).await.status, 200, "it was not removed");
    assert_eq!(ann.post("/v1/me/password", &json!({ "new_password": PASSWORD })).await.status, 204);
    assert_eq!(use_it(&app, &mut authenticator).await.status, 200, "a new password leaves it");
    assert_eq!(ann.delete(&path).await.status, 204);
    assert_eq!(ann.delete(&path).await.status, 404);
    is(&use_it(&app, &mut authenticator).await, 401, "passkey_refused");
    assert_eq!(app.client(Some(&session)).get("/v1/me").await.status, 401, "the new password ended that");
    let audit = app.sql("select target from audit_events where action = 'me.passkeys.delete'").await;
    assert_eq!(audit, [format!("passkey/{id}")]);
}

#[tokio::test]
async fn m072_who_proves_an_address_ends_the_passkeys_that_were_made_before() {
    let accounts = Accounts::start().await;
    let app = start_with(|config| accounts.registered(config)).await;
    // Somebody signed up with Ann's address before she did, and made a passkey.
    let (squatter, mut theirs) = with_passkey(&app, ANN).await;
    let begun = begin(&squatter, REGISTER).await;
    assert_eq!(use_it(&app, &mut theirs).await.status, 200);
    let ann = prove(&app, &accounts, ANN).await;
    is(&use_it(&app, &mut theirs).await, 401, "passkey_refused");
    let made = Authenticator::at(ORIGIN).create(&begun["publicKey"]).unwrap();
    assert_eq!(finish(&squatter, REGISTER, &begun, made).await.status, 401);
    assert_eq!((app.sql(KEYS).await.len(), app.sql(BEGUN).await.len()), (0, 0));
    // From now on what is proved again ends nothing.
    let mut hers = Authenticator::at(ORIGIN);
    assert_eq!(make(&ann, &mut hers).await.status, 201);
    prove(&app, &accounts, ANN).await;
    assert_eq!(use_it(&app, &mut hers).await.status, 200);
}

#[tokio::test]
async fn m072_another_sites_page_begins_and_finishes_nothing() {
    let app = start().await;
    let (_, mut authenticator) = with_passkey(&app, ANN).await;
    let session = app.sign_in(ANN, PASSWORD).await.session();
    let by_cookie = |path: &str, site: &str, csrf: Option<&str>, body: Value| {
        let request =
            app.anonymous().request("POST", path).header("cookie", format!("opg_session={session}"));
        let request =
            request.header("sec-fetch-site", site).header("x-forwarded-for", fresh_ip()).json(&body);
        send(match csrf {
            Some(token) => request.header("x-csrf-token", token),
            None => request,
        })
    };
    let begun = begin(&app.anonymous(), LOGIN).await;
    let used = authenticator.get(&begun["publicKey"]).unwrap();
    let body = json!({ "ceremony": begun["ceremony"], "credential": used });
    let csrf = app.client(Some(&session)).get("/v1/me").await.json()["csrf_token"].clone();
    for path in [format!("{LOGIN}/start"), format!("{LOGIN}/finish"), format!("{REGISTER}/start")] {
        for site in ["cross-site", "same-site", "none"] {
            is(&by_cookie(&path, site, csrf.as_str(), body.clone()).await, 403, "cross_origin");
        }
    }
    is(&by_cookie(&format!("{REGISTER}/start"), "same-origin", None, json!({})).await, 403, "csrf_failed");
    let ours = by_cookie(&format!("{REGISTER}/start"), "same-origin", csrf.as_str(), json!({})).await;
    assert_eq!(ours.status, 200, "{}", ours.text());
    let signed_in = by_cookie(&format!("{LOGIN}/finish"), "same-origin", None, body).await;
    assert_eq!(signed_in.status, 200, "what was refused had used nothing up: {}", signed_in.text());
    // A token of a program's makes no passkey: it would be more than the program was let in for.
    let wanted = json!({ "name": "ci", "scopes": ["tools:read"], "expires_in": 3600 });
    let token = app.client(Some(&session)).post("/platform/v1/tokens", &wanted).await.json();
    let program = app.client(token["token"].as_str());
    assert_eq!(ask(&program, &format!("{REGISTER}/start"), &json!({})).await.status, 403);
}

#[tokio::test]
async fn m072_what_is_no_answer_of_an_authenticator_says_where() {
    let app = start().await;
    let (ann, mut authenticator) = with_passkey(&app, ANN).await;
    let begun = begin(&ann, REGISTER).await;
    let made = Authenticator::at(ORIGIN).create(&begun["publicKey"]).unwrap();
    let send_made = async |change: &dyn Fn(&mut Value)| {
        let mut body = json!({ "ceremony": begun["ceremony"], "credential": made, "name": "Laptop" });
        change(&mut body);
        ask(&ann, &format!("{REGISTER}/finish"), &body).await
    };
    for (pointer, to) in [
        ("/credential/response/clientDataJSON", json!("not base64!")),
        ("/credential/response/attestationObject", json!(7)),
        ("/credential/rawId", Value::Null),
        ("/credential/type", json!([])),
        ("/name", json!("a\u{0}b")),
        ("/name", json!("")),
        ("/name", json!("a".repeat(101))),
        ("/ceremony", json!(1)),
    ] {
        let wrong = send_made(&|body| *body.pointer_mut(pointer).unwrap() = to.clone()).await;
        assert_eq!(wrong.status, 422, "{pointer}: {}", wrong.text());
        assert_eq!(wrong.json()["errors"][0]["pointer"], pointer, "{}", wrong.text());
    }
    let large = send_made(&|body| body["credential"]["id"] = json!("a".repeat(JSON_BYTES_MAX))).await;
    assert_eq!(large.status, 413, "{}", large.text());
    // None of that used up what was begun; what is well formed and wrong does.
    assert_eq!(send_made(&|_| {}).await.status, 201);
    for object in ["", "\u{0}", "\u{a3}", &"\u{81}".repeat(5000)] {
        let begun = begin(&ann, REGISTER).await;
        let mut made = Authenticator::at(ORIGIN).create(&begun["publicKey"]).unwrap();
        let bytes: Vec<u8> = object.chars().map(|c| c as u8).collect();
        made["response"]["attestationObject"] = json!(BASE64.encode(bytes));
        is(&finish(&ann, REGISTER, &begun, made).await, 400, "passkey_unfit");
    }
    let begun = begin(&app.anonymous(), LOGIN).await;
    let mut used = authenticator.get(&begun["publicKey"]).unwrap();
    used["response"]["signature"] = json!({});
    let wrong = finish(&app.anonymous(), LOGIN, &begun, used).await;
    assert_eq!(wrong.json()["errors"][0]["pointer"], "/credential/response/signature", "{}", wrong.text());
}

#[tokio::test]
async fn m072_a_server_without_a_name_has_no_passkeys_and_says_what_to_do() {
    let app = start_with(|config| config.base_url = None).await;
    let ann = app.person(ANN).await;
    for path in [format!("{REGISTER}/start"), format!("{LOGIN}/start")] {
        let by_address = ask(&ann, &path, &json!({})).await;
        is(&by_address, 409, "no_passkeys");
        assert!(by_address.text().contains("localhost") && by_address.text().contains("BASE_URL"));
    }
    // By its name it has some, on a developer's own machine.
    let port = app.running.addr.port();
    let (named, mut authenticator) = (
        ann.elsewhere(&format!("http://localhost:{port}")),
        Authenticator::at(&format!("http://localhost:{port}")),
    );
    assert_eq!(make(&named, &mut authenticator).await.status, 201);
    assert_eq!(ann.get("/v1/me").await.json()["passkeys"][0]["rp_id"], "localhost");

    let app = start_with(|config| {
        config.base_url = None;
        config.environment = Environment::Production;
    })
    .await;
    let begun = ask(&app.anonymous(), &format!("{LOGIN}/start"), &json!({})).await;
    is(&begun, 409, "no_passkeys");
    let by_name = app.anonymous().request("POST", &format!("{LOGIN}/start")).header("host", "evil.example");
    is(&send(by_name.json(&json!({}))).await, 409, "no_passkeys");
}

#[tokio::test]
async fn m072_attempts_are_counted_by_address() {
    let app = start().await;
    for _ in 0..10 * opg_host::limits::LOGINS_PER_ADDRESS_PER_MINUTE {
        let answer = app.anonymous().post(&format!("{LOGIN}/start"), &json!({})).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
            return;
        }
    }
    panic!("nobody was told to wait");
}
