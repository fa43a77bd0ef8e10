//! Links that show a conversation to whoever has one.

use super::{at, create, of_kind, said, turn};
use opg_host::app::Clock;
use opg_tests::{
    app::{Answer, Client, TestApp, logs, send},
    guests,
};
use serde_json::{Value, json};

const NOON: &str = "2026-01-01T12:00:00Z";

async fn start() -> (TestApp, Client) {
    let app = TestApp::at(Clock::manual(NOON.parse().unwrap()), |config| {
        TestApp::allow_local(config);
        config.trusted_proxies = vec![std::net::Ipv4Addr::LOCALHOST.into()];
    })
    .await;
    let acme = app.tenant("acme").await;
    (app, acme)
}

async fn sharing(client: &Client, on: bool) {
    let set = client.put("/v1/tenant", &json!({ "sessionSharing": on })).await;
    assert_eq!((set.status, &set.json()["sessionSharing"]), (200, &json!(on)), "{}", set.text());
}

async fn share(client: &Client, id: &str, body: Value) -> (String, Value) {
    let made = client.post(&at(id, "share"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let link = made.json();
    let (_, path) = link["url"].as_str().unwrap().split_once("/s/").unwrap();
    (format!("/s/{path}"), link["expires_at"].clone())
}

/// Reads a link as somebody who has nothing else, each from an address of their own.
async fn read(app: &TestApp, path: &str) -> Answer {
    let ip = opg_tests::routes::fresh_ip();
    send(app.anonymous().request("GET", path).header("x-forwarded-for", ip).header("x-request-id", "same"))
        .await
}

#[tokio::test]
async fn m288_a_link_shows_what_was_said_and_nothing_else() {
    let (app, _) = start().await;
    let upstream = opg_tests::upstream::ScriptedUpstream::start().await;
    let acme = app.tenant_of("scripted", &upstream).await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = create(&acme, json!({ "model": "openai/scripted", "title": "Counting" })).await;
    let refused = acme.post(&at(&id, "share"), &json!({})).await;
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("sharing_off")));
    assert!(refused.text().contains("sessionSharing"), "it says what to do: {}", refused.text());
    turn(&acme, &id, said("hello there")).await;
    turn(&acme, &id, said(r#"call word-count {"text": "of my secret plan"}"#)).await;
    sharing(&acme, true).await;
    let (path, expires_at) = share(&acme, &id, json!({})).await;
    assert_eq!(expires_at, "2026-01-08T12:00:00Z", "a week");
    let opened = read(&app, &path).await;
    assert_eq!(opened.status, 200, "{}", opened.text());
    assert_eq!(
        (opened.header("referrer-policy"), opened.header("cache-control"), opened.header("x-robots-tag")),
        ("no-referrer", "no-store", "noindex")
    );
    let shown = opened.json();
    assert_eq!((&shown["title"], &shown["expires_at"]), (&json!("Counting"), &expires_at));
    let messages = shown["messages"].as_array().unwrap();
    assert_eq!(
        (&messages[0]["role"], &messages[0]["parts"][0]["text"]),
        (&json!("user"), &json!("hello there"))
    );
    let called: Vec<_> = messages
        .iter()
        .flat_map(|m| m["parts"].as_array().unwrap())
        .filter(|p| p["type"] == "tool")
        .collect();
    assert_eq!(called, [&json!({ "type": "tool", "tool": "word-count", "state": "completed" })]);
    let text = opened.text();
    for hidden in [
        id.as_str(),
        "openai/scripted",
        "micro_usd",
        "tokens",
        "\"id\"",
        "turn_id",
        "capabilities",
        "input",
        "user_id",
    ] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    let page = read(&app, &format!("{path}?limit=1")).await.json();
    assert_eq!((page["messages"].as_array().unwrap().len(), &page["has_more"]), (1, &json!(true)));
    let next = format!("{path}?limit=200&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(read(&app, &next).await.json()["messages"], json!(messages[1..]));

    // Nobody writes by it, and it is written down nowhere.
    let secret = path.strip_prefix("/s/").unwrap();
    for method in ["POST", "DELETE", "PUT"] {
        assert_eq!(send(app.anonymous().request(method, &path)).await.status, 405);
    }
    assert_eq!(app.client(Some(secret)).get("/v1/sessions").await.status, 401);
    assert!(!logs().contains(secret), "the secret is in the log");
    let kept = "select string_agg(encode(secret_hash, 'escape'), '') || (select string_agg(detail::text || target, '') from audit_events)
        || (select string_agg(data::text, '') from session_events) from session_shares";
    assert!(!app.sql(kept).await[0].contains(secret));
    let audit = acme.get("/v1/tenant/audit?limit=200").await.json();
    let actions: Vec<_> =
        audit["data"].as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert!(actions.contains(&"sessions.share"), "{actions:?}");
}

#[tokio::test]
async fn m288_a_link_that_opens_nothing_any_more_is_as_if_it_had_never_been() {
    let (app, acme) = start().await;
    sharing(&acme, true).await;
    let id = create(&acme, json!({ "model": "demo/assistant" })).await;
    turn(&acme, &id, said("hello")).await;
    let never = read(&app, &format!("/s/{}", "x".repeat(43))).await;
    assert_eq!((never.status, never.header("cache-control")), (404, "no-store"));
    let gone = |answer: Answer, why: &'static str| {
        assert_eq!((answer.status, answer.text()), (404, never.text()), "{why}");
    };
    gone(read(&app, "/s/%00").await, "what is no link");
    gone(read(&app, &format!("/s/{id}")).await, "an id is no link");

    // Another link ends the one before, and nobody has to be told the first.
    let (first, _) = share(&acme, &id, json!({})).await;
    let (path, _) = share(&acme, &id, json!({ "expires_in": 60 })).await;
    gone(read(&app, &first).await, "another took its place");
    assert_eq!(read(&app, &path).await.status, 200);
    // It is the app's to allow, at any time.
    sharing(&acme, false).await;
    gone(read(&app, &path).await, "the app shares no more");
    sharing(&acme, true).await;
    assert_eq!(read(&app, &path).await.status, 200);
    app.clock.advance(chrono::Duration::seconds(60));
    gone(read(&app, &path).await, "its time is over");
    let told = acme.get(&at(&id, "timeline?limit=200")).await.json();
    let told = told["data"].as_array().unwrap().clone();
    let updates: Vec<_> = of_kind(&told, "session.updated")
        .iter()
        .map(|e| e["shared_until"].clone())
        .filter(|v| !v.is_null())
        .collect();
    assert_eq!(updates, ["2026-01-08T12:00:00Z", "2026-01-01T12:01:00Z"]);

    let (path, _) = share(&acme, &id, json!({ "expires_in": 7_776_000 })).await;
    for _ in 0..2 {
        assert_eq!(acme.delete(&at(&id, "share")).await.status, 204);
    }
    gone(read(&app, &path).await, "it was taken back");
    let (path, _) = share(&acme, &id, json!({})).await;
    app.clock.advance(chrono::Duration::hours(24));
    gone(read(&app, &path).await, "the session's own time is over");
    let id = create(&acme, json!({ "model": "demo/assistant" })).await;
    let (path, _) = share(&acme, &id, json!({})).await;
    assert_eq!(read(&app, &path).await.json()["messages"], json!([]));
    assert_eq!(acme.delete(&format!("/v1/sessions/{id}")).await.status, 204);
    gone(read(&app, &path).await, "the session was deleted");
    assert_eq!(app.sql("select count(*)::text from session_shares").await, ["1"]);

    for (body, status) in [
        (json!({ "expires_in": 0 }), 422),
        (json!({ "expires_in": 7_776_001 }), 422),
        (json!({ "expires_in": -1 }), 422),
        (json!({ "for": "ever" }), 422),
    ] {
        let id = create(&acme, json!({})).await;
        assert_eq!(acme.post(&at(&id, "share"), &body).await.status, status, "{body}");
    }
    let id = create(&acme, json!({})).await;
    let reads = acme.with_scopes(&["sessions:read"]).await;
    assert_eq!(reads.post(&at(&id, "share"), &json!({})).await.status, 403);
}

#[tokio::test]
async fn m288_nobody_tries_links_for_long_from_one_address() {
    let (app, _acme) = start().await;
    let one = |n: u32| {
        let request = app.anonymous().request("GET", &format!("/s/{n}"));
        send(request.header("x-forwarded-for", "203.0.113.9"))
    };
    let mut refused = None;
    // Some are let in again meanwhile.
    for n in 0..3 * opg_host::limits::SHARED_READS_PER_MINUTE {
        let answer = one(n).await;
        if answer.status != 404 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("it is refused in the end");
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("too_many_shared_reads")));
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(read(&app, "/s/x").await.status, 404, "others read on");
}
