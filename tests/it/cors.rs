//! Pages of other origins that call an app from a browser (row M054): which answers they may read, and which not.

use crate::remembered::transactions;
use http::HeaderMap;
use opg_host::{
    grants::On,
    limits::{CORS_ORIGINS_PER_APP_MAX, CORS_PREFLIGHT_LIFE},
};
use opg_tests::{
    app::{Answer, Client, TestApp, UPSTREAM_KEY, send},
    routes::{self, fresh_ip},
    upstream::ScriptedUpstream,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PAGE: &str = "https://app.example.com";
const OTHER: &str = "https://evil.example";
/// What a page that is not listed is told.
const NOTHING: [(&str, &str); 0] = [];
/// What a page reads of any answer (Fetch, "CORS-safelisted response-header name").
const SAFELISTED: [&str; 3] = ["cache-control", "content-length", "content-type"];
/// What is said to browsers, caches and proxies, and to no program.
const NOT_FOR_PROGRAMS: [&str; 9] = [
    "content-security-policy",
    "date",
    "referrer-policy",
    "transfer-encoding",
    "vary",
    "x-accel-buffering",
    "x-content-type-options",
    "x-frame-options",
    "x-robots-tag",
];

async fn list(client: &Client, origins: &[&str]) {
    let set = client.put("/v1/tenant", &json!({ "corsOrigins": origins })).await;
    assert_eq!((set.status, &set.json()["corsOrigins"]), (200, &json!(origins)), "{}", set.text());
}

/// An app that lists [`PAGE`].
async fn listing(app: &TestApp, slug: &str) -> Client {
    let client = app.tenant(slug).await;
    list(&client, &[PAGE]).await;
    client
}

fn from(origin: &str, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request.header("origin", origin).header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "cors")
}

async fn asked_from(origin: &str, client: &Client, path: &str) -> Answer {
    send(from(origin, client.request("GET", path))).await
}

/// What a browser asks before a page's request, as it does: without a credential.
async fn preflight(app: &TestApp, origin: &str, path: &str) -> Answer {
    let request = app.anonymous().request("OPTIONS", path).header("access-control-request-method", "POST");
    let wanted = "authorization,content-type,x-opg-app,x-stainless-lang";
    send(from(origin, request).header("access-control-request-headers", wanted)).await
}

/// All that an answer says of other origins.
fn said(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let named = headers.iter().filter(|(name, _)| name.as_str().starts_with("access-control-"));
    named.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

fn varies(answer: &Answer) -> Vec<&str> {
    let values = answer.headers.get_all("vary").iter();
    values.flat_map(|value| value.to_str().unwrap().split(',').map(str::trim)).collect()
}

fn allowed(answer: &Answer) -> &str {
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn m054_a_page_that_is_listed_reads_every_answer_of_the_app_and_none_of_another_route() {
    let app = TestApp::start().await;
    let acme = listing(&app, "acme").await;
    let mut read = 0;
    for case in routes::all() {
        let is_apps = case.action.is_some_and(|action| action.on() == On::App);
        for client in [&acme, &app.anonymous(), &acme.with_token("not-a-token")] {
            let request = case.request(client, "acme", "http").header("x-forwarded-for", fresh_ip());
            let answer = send(from(PAGE, request)).await;
            let at = format!("{}: {} {:?}", case.at(), answer.status, said(&answer.headers));
            assert_eq!(varies(&answer).contains(&"origin"), is_apps, "{at}");
            if !is_apps {
                assert_eq!(said(&answer.headers), NOTHING, "{at}");
                continue;
            }
            if answer.status == 429 {
                // Who asks too often with what is no credential.
                continue;
            }
            read += 1;
            let names: Vec<_> = said(&answer.headers).into_iter().map(|(name, _)| name).collect();
            let exposed = answer.header("access-control-expose-headers");
            assert_eq!(allowed(&answer), PAGE, "{at}");
            assert_eq!(names.len(), 2, "{at}");
            let exposed: BTreeSet<_> = exposed.split(", ").collect();
            let unread = answer.headers.keys().map(http::HeaderName::as_str).filter(|name| {
                !exposed.contains(name) && !SAFELISTED.contains(name) && !NOT_FOR_PROGRAMS.contains(name)
            });
            let unread: Vec<_> = unread.filter(|name| !name.starts_with("access-control-")).collect();
            assert_eq!(unread, [""; 0], "{at}");
            assert!(exposed.contains("x-request-id") && exposed.contains("etag"), "{at}");
        }
    }
    assert!(read > 400, "{read}");
}

#[tokio::test]
async fn m054_a_page_that_is_not_listed_is_told_nothing_on_any_route() {
    let app = TestApp::start().await;
    let acme = listing(&app, "acme").await;
    for case in routes::all() {
        for (client, origin) in [
            (&acme, OTHER),
            (&acme, "null"),
            (&acme, "https://app.example.com:8443"),
            (&acme, "http://app.example.com"),
            (&acme, "https://APP.example.com"),
            (&acme, "https://app.example.com.evil.example"),
            (&app.anonymous(), OTHER),
        ] {
            let answer = send(from(origin, case.request(client, "acme", "http"))).await;
            assert_eq!(said(&answer.headers), NOTHING, "{} {origin} {}", case.at(), answer.status);
        }
        let path = case.path("acme", "http");
        assert_eq!(said(&preflight(&app, OTHER, &path).await.headers), NOTHING, "{}", case.at());
    }
    // Nor where two origins are said at once, nor where there is none at all.
    let two = acme.request("GET", "/v1/tenant").header("origin", PAGE).header("origin", OTHER);
    assert_eq!(said(&send(two).await.headers), NOTHING);
    let none = acme.get("/v1/tenant").await;
    assert_eq!((said(&none.headers).len(), varies(&none)), (0, vec!["origin"]));
}

#[tokio::test]
async fn m054_a_preflight_is_for_the_app_of_the_path_and_else_for_any_that_lists_the_page() {
    let app = TestApp::start().await;
    listing(&app, "acme").await;
    app.tenant("globex").await;
    for path in [
        "/v1/chat/completions",
        "/v1/messages",
        "/v1/tenant/tools/x",
        "/acme/v1/chat/completions",
        "/acme/v1/events",
        "/t/acme/opencode/session",
        "/t/acme/opencode/whatever",
    ] {
        let answer = preflight(&app, PAGE, path).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}: {}", answer.text());
        let mut told = said(&answer.headers);
        told.sort_unstable();
        let life = CORS_PREFLIGHT_LIFE.as_secs().to_string();
        let expected = [
            ("access-control-allow-headers", "authorization,content-type,x-opg-app,x-stainless-lang"),
            ("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE"),
            ("access-control-allow-origin", PAGE),
            ("access-control-max-age", life.as_str()),
        ];
        assert_eq!(told, expected, "{path}");
        assert_eq!(varies(&answer), ["access-control-request-headers", "origin"]);
        assert!(!answer.header("x-request-id").is_empty() && answer.header("content-type").is_empty());
    }
    let bare = from(PAGE, app.anonymous().request("OPTIONS", "/v1/models"));
    let bare = send(bare.header("access-control-request-method", "GET")).await;
    assert_eq!((bare.status, bare.header("access-control-allow-headers")), (204, ""));
    // Without the question it is a method like any other that no route has.
    let unasked = asked_with(&app, "OPTIONS", "/v1/models").await;
    assert_eq!((unasked.status, allowed(&unasked)), (405, PAGE));

    // An app that does not list the page, and one that is not there, are alike; so is what is no app's.
    for path in [
        "/globex/v1/models",
        "/nobody/v1/models",
        "/NO%20SLUG/v1/models",
        "/t/globex/opencode/session",
        "/t/nobody/opencode/session",
        "/platform/v1/tokens",
        "/v1/me",
        "/v1/auth/login",
        "/v1/register",
        "/v1/admin/tenants",
        "/login",
        "/healthz",
        "/s/abc",
    ] {
        let answer = preflight(&app, PAGE, path).await;
        assert_eq!((answer.status, said(&answer.headers).len()), (405, 0), "{path}");
    }
    let nowhere = preflight(&app, PAGE, "/v1/no-such-route").await;
    assert_eq!((nowhere.status, said(&nowhere.headers).len()), (404, 0));
}

async fn asked_with(app: &TestApp, method: &str, path: &str) -> Answer {
    send(from(PAGE, app.anonymous().request(method, path))).await
}

#[tokio::test]
async fn m054_an_answer_is_read_where_its_own_app_lists_the_page() {
    let app = TestApp::open_to_people().await;
    let acme = listing(&app, "acme").await;
    let globex = app.tenant("globex").await;
    assert_eq!(allowed(&asked_from(PAGE, &acme, "/v1/tenant").await), PAGE);
    // The preflight was answered for acme; the answer is about globex.
    assert_eq!(preflight(&app, PAGE, "/v1/tenant").await.status, 204);
    let answer = asked_from(PAGE, &globex, "/v1/tenant").await;
    assert_eq!((answer.status, said(&answer.headers).len()), (200, 0));
    // The app that a request names counts before its credential's.
    let named = asked_from(PAGE, &globex, "/acme/v1/tenant").await;
    assert_eq!((named.status, allowed(&named)), (403, PAGE));
    for path in ["/globex/v1/tenant", "/nobody/v1/tenant"] {
        assert_eq!(said(&asked_from(PAGE, &acme, path).await.headers), NOTHING, "{path}");
    }
    // A person's credential acts where the request says; where it says nothing, the answer is about no app.
    let ann = app.person("ann@example.com").await;
    let member =
        acme.post("/v1/tenant/members", &json!({ "user_id": id(&ann).await, "role": "viewer" })).await;
    assert_eq!(member.status, 201, "{}", member.text());
    for (client, status, origin) in [
        (ann.clone(), 400, PAGE),
        (ann.in_app("acme"), 200, PAGE),
        (ann.in_app("globex"), 404, ""),
        (ann.in_app("nobody"), 404, ""),
    ] {
        let answer = asked_from(PAGE, &client, "/v1/whoami").await;
        assert_eq!((answer.status, allowed(&answer)), (status, origin), "{}", answer.text());
    }
    // What is wrong with a credential can be read, unless an app is named that does not list the page.
    let nobody = acme.with_token("not-a-token");
    for (path, origin) in [
        ("/v1/models", PAGE),
        ("/acme/v1/models", PAGE),
        ("/globex/v1/models", ""),
        ("/nobody/v1/models", ""),
    ] {
        let answer = asked_from(PAGE, &nobody, path).await;
        assert_eq!((answer.status, allowed(&answer)), (401, origin), "{path}");
    }
    assert_eq!(said(&asked_from(OTHER, &nobody, "/v1/models").await.headers), NOTHING);
    let narrow = acme.with_scopes(&["chat:read"]).await;
    let refused = asked_from(PAGE, &narrow, "/v1/tenant").await;
    assert_eq!((refused.status, allowed(&refused)), (403, PAGE));
}

async fn id(person: &Client) -> Value {
    person.get("/v1/me").await.json()["id"].clone()
}

#[tokio::test]
async fn m054_an_app_that_lists_all_is_read_by_any_page_and_by_none_with_its_credentials() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    list(&acme, &["*"]).await;
    for origin in [PAGE, OTHER, "null", "http://localhost:3000"] {
        let answer = asked_from(origin, &acme, "/v1/tenant").await;
        assert_eq!((answer.status, allowed(&answer)), (200, "*"));
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        assert_eq!(varies(&answer), ["origin"]);
        let asked = preflight(&app, origin, "/acme/v1/tenant").await;
        assert_eq!((asked.status, allowed(&asked)), (204, "*"));
        assert_eq!(preflight(&app, origin, "/v1/tenant").await.status, 204);
    }
}

#[tokio::test]
async fn m054_what_is_no_origin_is_refused_when_it_is_saved_and_so_is_all_of_them_with_credentials() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    assert_eq!(acme.get("/v1/tenant").await.json()["corsOrigins"], json!([]));
    let many: Vec<_> = (0..=CORS_ORIGINS_PER_APP_MAX).map(|n| format!("https://a{n}.example")).collect();
    for (origins, pointer) in [
        (json!(["https://app.example.com/"]), "/corsOrigins/0"),
        (json!([PAGE, "null"]), "/corsOrigins/1"),
        (json!(["https://*.example.com"]), "/corsOrigins/0"),
        (json!(["https://ann:secret@app.example.com"]), "/corsOrigins/0"),
        (json!(["*", PAGE]), "/corsOrigins/0"),
        (json!([PAGE, PAGE]), "/corsOrigins/1"),
        (json!(many), "/corsOrigins"),
        (json!("*"), "/corsOrigins"),
        (json!([7]), "/corsOrigins/0"),
        (json!([{ "origin": "*", "credentials": true }]), "/corsOrigins/0"),
    ] {
        let refused = acme.put("/v1/tenant", &json!({ "corsOrigins": origins })).await;
        assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &json!(pointer)));
        let new = json!({ "id": "new", "corsOrigins": origins });
        assert_eq!(app.operator().post("/v1/admin/tenants", &new).await.status, 422, "{origins}");
    }
    for member in ["corsCredentials", "corsAllowCredentials"] {
        let refused = acme.put("/v1/tenant", &json!({ "corsOrigins": ["*"], member: true })).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
    }
    assert_eq!(acme.get("/v1/tenant").await.json()["corsOrigins"], json!([]), "nothing was changed");

    list(&acme, &[PAGE, "http://localhost:3000"]).await;
    let audit = acme.get("/v1/tenant/audit?action=tenant.write").await.json();
    let detail = &audit["data"][0]["detail"]["cors_origins"];
    assert_eq!(*detail, json!({ "before": [], "after": [PAGE, "http://localhost:3000"] }), "{audit}");
    let read = acme.get("/v1/tenant").await.json();
    assert_eq!(acme.put("/v1/tenant", &read).await.json()["corsOrigins"], read["corsOrigins"], "sent back");
    // As with whatever else is left out.
    assert_eq!(acme.put("/v1/tenant", &json!({})).await.json()["corsOrigins"], json!([]));
    let made = app.tenant_with(json!({ "id": "made", "corsOrigins": [PAGE] })).await;
    assert_eq!(allowed(&asked_from(PAGE, &made, "/v1/tenant").await), PAGE);
}

#[tokio::test]
async fn m054_a_page_asks_a_model_and_reads_the_stream_what_went_wrong_and_what_was_answered_before() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant("acme").await;
    let providers = json!({ "openai": { "apiKey": UPSTREAM_KEY, "baseUrl": upstream.base_url() } });
    let set = acme.put("/v1/tenant", &json!({ "providers": providers, "corsOrigins": [PAGE] })).await;
    assert_eq!(set.status, 200, "{}", set.text());
    let ask = |path: &str, body: Value| from(PAGE, acme.request("POST", path)).json(&body);
    let said_hello = json!([{ "role": "user", "content": "hello" }]);
    let streamed = json!({ "model": "openai/scripted", "messages": said_hello, "stream": true });
    let answer = send(ask("/v1/chat/completions", streamed)).await;
    assert_eq!((answer.status, allowed(&answer)), (200, PAGE), "{}", answer.text());
    assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    for (path, body) in [
        ("/v1/chat/completions", json!({ "model": "nobody/nothing", "messages": said_hello })),
        ("/v1/responses", json!({ "model": "nobody/nothing", "input": "hello" })),
        ("/acme/v1/messages", json!({ "model": "nobody/nothing", "max_tokens": 9, "messages": said_hello })),
        ("/t/acme/opencode/session/ses_nothing/message", json!({ "parts": [] })),
    ] {
        let wrong = send(ask(path, body)).await;
        assert!((400..500).contains(&wrong.status), "{path}: {}", wrong.text());
        assert_eq!(allowed(&wrong), PAGE, "{path}");
    }
    // What is given again is given to whoever asks now.
    let once = json!({ "model": "openai/scripted", "messages": said_hello });
    let keyed = |request: reqwest::RequestBuilder| request.header("idempotency-key", "one").json(&once);
    let first = send(keyed(from(PAGE, acme.request("POST", "/v1/chat/completions")))).await;
    let again = send(keyed(from(PAGE, acme.request("POST", "/v1/chat/completions")))).await;
    let at_home = send(keyed(acme.request("POST", "/v1/chat/completions"))).await;
    assert_eq!((first.status, allowed(&first)), (200, PAGE), "{}", first.text());
    assert_eq!((allowed(&again), again.header("idempotency-replayed")), (PAGE, "true"));
    assert_eq!((said(&at_home.headers).len(), at_home.header("idempotency-replayed")), (0, "true"));
}

#[tokio::test]
async fn m054_a_change_of_the_list_counts_for_the_next_request_on_every_host() {
    let one = TestApp::local().await;
    let other = one.another_host().await;
    let acme = one.tenant("acme").await;
    let there = acme.elsewhere(&other.base_url());
    for round in 0..5 {
        let origins: &[&str] = if round % 2 == 0 { &[PAGE] } else { &[] };
        list(&acme, origins).await;
        let expected = origins.first().copied().unwrap_or_default();
        for client in [&acme, &there] {
            for _ in 0..2 {
                assert_eq!(allowed(&asked_from(PAGE, client, "/v1/tenant").await), expected, "{round}");
                assert_eq!(allowed(&asked_from(PAGE, client, "/acme/v1/tenant").await), expected, "{round}");
            }
        }
        for app in [&one, &other] {
            for path in ["/v1/tenant", "/acme/v1/tenant"] {
                assert_eq!(allowed(&preflight(app, PAGE, path).await), expected, "{round} {path}");
            }
        }
    }
    // What is suspended says so; what is gone is gone.
    one.sql("update apps set status = 'suspended' returning slug").await;
    let suspended = asked_from(PAGE, &there, "/v1/tenant").await;
    assert_eq!((suspended.status, allowed(&suspended)), (403, PAGE));
    assert_eq!(one.operator().delete("/v1/admin/tenants/acme?confirm=acme").await.status, 204);
    for path in ["/v1/tenant", "/acme/v1/tenant"] {
        assert_eq!(said(&preflight(&other, PAGE, path).await.headers), NOTHING, "{path}");
        assert_eq!(said(&asked_from(PAGE, &there, path).await.headers), NOTHING, "{path}");
    }
}

#[tokio::test]
async fn m054_a_cookie_lets_no_page_of_another_origin_in_whatever_an_app_lists() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let app = TestApp::open_to_people().await;
    app.sign_up("ann@example.com").await;
    let signed_in = app.sign_in("ann@example.com", opg_tests::app::PASSWORD).await;
    let (session, csrf) = (signed_in.session(), signed_in.json()["csrf_token"].as_str().unwrap().to_owned());
    let ann = app.client(Some(&session)).in_app("ann");
    let browse = |method: &str, path: &str| {
        let request = app.anonymous().request(method, path);
        request.header("cookie", format!("opg_session={session}")).header("x-csrf-token", &csrf)
    };
    let ours = app.base_url();
    for origins in [&[PAGE][..], &["*"]] {
        list(&ann, origins).await;
        for (method, path) in [
            ("GET", "/ann/v1/tenant"),
            ("PUT", "/ann/v1/tenant"),
            ("POST", "/ann/v1/sessions"),
            ("GET", "/v1/me"),
        ] {
            let cross = [
                from(PAGE, browse(method, path)),
                browse(method, path).header("origin", PAGE),
                // Another port of this host is the same site, which cookies go to, and another origin.
                browse(method, path)
                    .header("origin", "http://localhost:1")
                    .header("sec-fetch-site", "same-site"),
            ];
            for request in cross {
                let answer = send(request.json(&json!({}))).await;
                let code = answer.json()["code"].clone();
                assert_eq!((answer.status, code), (403, json!("cross_origin")), "{method} {path}");
                assert_eq!(said(&answer.headers), NOTHING, "{method} {path}");
            }
        }
        let ended =
            app.anonymous().request("GET", "/ann/v1/tenant").header("cookie", "opg_session=opg_ses_ended");
        let ended = send(from(PAGE, ended)).await;
        assert_eq!((ended.status, said(&ended.headers).len()), (401, 0));
        // A token in a header is a page's own, whatever the browser sends beside it.
        let bearer =
            send(from(PAGE, ann.request("GET", "/ann/v1/tenant")).header("cookie", "opg_session=x")).await;
        assert_eq!((bearer.status, allowed(&bearer)), (200, origins[0]));
    }
    // A picture or a script of ours in another origin's page, and a link that a person follows.
    let part = browse("GET", "/ann/v1/tenant").header("sec-fetch-site", "cross-site");
    let part = part.header("sec-fetch-mode", "no-cors");
    assert_eq!(send(part).await.status, 403);
    let link = browse("GET", "/ann/v1/tenant").header("sec-fetch-site", "cross-site");
    assert_eq!(send(link.header("sec-fetch-mode", "navigate")).await.status, 200);
    let home = browse("GET", "/ann/v1/tenant").header("origin", ours.as_str());
    assert_eq!(send(home.header("sec-fetch-site", "same-origin")).await.status, 200);

    // No rule of the browser's keeps a WebSocket's messages from the page that opened it.
    let made =
        send(ann.request("POST", "/ann/v1/sessions").json(&json!({ "model": "demo/assistant" }))).await;
    let id = made.json()["id"].as_str().unwrap_or_else(|| panic!("{}", made.text())).to_owned();
    let open = async |origin: &str| {
        let url = format!("{}/ann/v1/sessions/{id}/stream", ours.replace("http://", "ws://"));
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("cookie", format!("opg_session={session}").parse().unwrap());
        request.headers_mut().insert("origin", origin.parse().unwrap());
        tokio_tungstenite::connect_async(request).await.map(drop).map_err(|error| error.to_string())
    };
    for origin in [PAGE, "http://localhost:1", "null"] {
        let refused = open(origin).await.unwrap_err();
        assert!(refused.contains("403"), "{origin}: {refused}");
    }
    assert_eq!(open(&ours).await, Ok(()));
}

#[tokio::test]
async fn m054_a_page_that_asks_too_often_is_told_so_and_costs_nothing_more() {
    let app = TestApp::with(|config| config.rate_limit_per_minute = 3).await;
    let acme = listing(&app, "acme").await;
    let mut last = asked_from(PAGE, &acme, "/v1/tenant").await;
    while last.status == 200 {
        last = asked_from(PAGE, &acme, "/v1/tenant").await;
    }
    assert_eq!((last.status, allowed(&last)), (429, PAGE));
    assert!(last.header("access-control-expose-headers").contains("retry-after"));
    let mut asked = preflight(&app, PAGE, "/acme/v1/tenant").await;
    for _ in 0..10 {
        asked = preflight(&app, PAGE, "/acme/v1/tenant").await;
    }
    assert_eq!((asked.status, said(&asked.headers).len()), (429, 0));
}

#[tokio::test]
async fn m054_who_comes_from_no_other_origin_costs_no_statement_and_a_page_of_one_hardly_any() {
    // So many that what an installation does by itself in a quarter of a minute is little beside them.
    const ASKED: i64 = 1_000;
    let app = TestApp::start().await;
    let acme = listing(&app, "acme").await;
    let ours = app.base_url();
    let mut owner = app.owner().await;
    let mut took = vec![];
    let mut before = transactions(&mut owner).await;
    for origin in [None, Some(ours.as_str()), Some(PAGE)] {
        for _ in 0..ASKED {
            let request = acme.request("GET", "/v1/whoami");
            let request =
                origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
            let answer = send(request).await;
            assert_eq!((answer.status, allowed(&answer) == PAGE), (200, origin == Some(PAGE)));
        }
        let after = transactions(&mut owner).await;
        took.push(after - before);
        before = after;
    }
    // What goes on by itself meanwhile is in each of them.
    let (least, most) = (took.iter().min().unwrap(), took.iter().max().unwrap());
    assert!(*least >= ASKED && most - least < ASKED / 4, "{took:?}");
}
