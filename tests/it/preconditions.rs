//! "Change it only if it is still what I read" and "make it only if it is not there" (row M051), for tools, agents,
//! commands and an app's configuration.

use futures_util::future::join_all;
use opg_tests::{
    app::{Answer, Client, TestApp, send},
    guests,
};
use serde_json::{Value, json};

const IF_MATCH: &str = "if-match";
const IF_NONE_MATCH: &str = "if-none-match";
const AGENT: &str = "---\ndescription: Says little\n---\nYou are terse.";

/// The same component with other bytes: a custom section more.
fn rebuilt(note: u8) -> Vec<u8> {
    let mut other = guests::WORD_COUNT.to_vec();
    other.extend_from_slice(&[0, 4, 2, b'n', b'o', note]);
    other
}

/// What is changed at a path, and how: bytes of this content type.
fn put(client: &Client, path: &str, media: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    client.request("PUT", path).header("content-type", media).body(body)
}

fn put_tool(client: &Client, note: u8) -> reqwest::RequestBuilder {
    put(client, TOOL, "application/wasm", rebuilt(note))
}

const TOOL: &str = "/v1/tenant/tools/word-count";
const REVIEW: &str = "/v1/tenant/tools/slow/review";

async fn tag(client: &Client, path: &str) -> String {
    let shown = client.get(path).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    let tag = shown.header("etag").to_owned();
    assert!(tag.len() > 10 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    tag
}

fn is_stale(answer: &Answer) {
    assert_eq!((answer.status, &answer.json()["code"]), (412, &json!("stale")), "{}", answer.text());
}

async fn versions(client: &Client, path: &str) -> Value {
    let listed = client.get(&format!("{path}/versions")).await.json();
    let versions = listed["data"].as_array().unwrap().iter();
    versions.map(|version| json!([version["version"], version["status"]])).collect()
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test]
async fn m051_a_tool_is_uploaded_rolled_back_and_deleted_only_as_it_was_read() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    is_stale(&send(put_tool(&acme, 0).header(IF_MATCH, "*")).await);
    assert_eq!(acme.get(TOOL).await.status, 404, "nothing was made");
    let made = send(put_tool(&acme, 1)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let first = made.header("etag").to_owned();
    assert_eq!(tag(&acme, TOOL).await, first, "as it is shown");
    assert_eq!(tag(&acme, TOOL).await, first, "the same while nothing changes");
    let again = send(put_tool(&acme, 1).header(IF_MATCH, &first)).await;
    assert_eq!((again.status, again.header("etag")), (200, first.as_str()), "the same bytes change nothing");

    let second = send(put_tool(&acme, 2).header(IF_MATCH, &first)).await;
    assert_eq!(second.status, 200, "{}", second.text());
    let second = second.header("etag").to_owned();
    assert_eq!(tag(&acme, TOOL).await, second);
    assert_ne!(first, second);
    let before = versions(&acme, TOOL).await;
    let rollback = |tag: &str| {
        let request = acme.request("POST", &format!("{TOOL}/rollback")).header(IF_MATCH, tag);
        send(request.json(&json!({})))
    };
    is_stale(&send(put_tool(&acme, 3).header(IF_MATCH, &first)).await);
    is_stale(&send(put_tool(&acme, 1).header(IF_MATCH, &first)).await);
    is_stale(&send(put_tool(&acme, 2).header(IF_MATCH, &first)).await);
    is_stale(&rollback(&first).await);
    is_stale(&send(acme.request("DELETE", TOOL).header(IF_MATCH, &first)).await);
    for never in ["\"x\"", "", &format!("W/{second}"), second.trim_matches('"')] {
        is_stale(&send(acme.request("DELETE", TOOL).header(IF_MATCH, never)).await);
    }
    assert_eq!(
        (versions(&acme, TOOL).await, tag(&acme, TOOL).await),
        (before, second.clone()),
        "nothing changed"
    );

    let back = rollback(&second).await;
    assert_eq!((back.status, &back.json()["version"]), (200, &json!(1)), "{}", back.text());
    let back = back.header("etag").to_owned();
    assert_eq!(tag(&acme, TOOL).await, back);
    // The newest bytes are the same, and yet it stands otherwise.
    is_stale(&send(acme.request("DELETE", TOOL).header(IF_MATCH, &second)).await);
    // Who read the bytes names them.
    let wasm = send(acme.request("GET", TOOL).header("accept", "application/wasm")).await;
    assert_eq!(wasm.body, rebuilt(2));
    let bytes = wasm.header("etag").to_owned();
    assert_ne!(bytes, back);
    let third = send(put_tool(&acme, 3).header(IF_MATCH, &bytes)).await;
    assert_eq!(third.status, 200, "{}", third.text());
    is_stale(&send(put_tool(&acme, 4).header(IF_MATCH, &bytes)).await);
    let either = format!("\"x\", {}", third.header("etag"));
    assert_eq!(send(acme.request("DELETE", TOOL).header(IF_MATCH, &either)).await.status, 204);
    // What is not there is not there, whatever is asked of it.
    assert_eq!(send(acme.request("DELETE", TOOL).header(IF_MATCH, "*")).await.status, 404);
    assert_eq!(rollback("*").await.status, 404);
    // Another of the same name, bytes and number is another.
    let anew = send(put_tool(&acme, 1)).await;
    assert_eq!((anew.status, &anew.json()["version"]), (201, &json!(1)));
    assert_ne!(anew.header("etag"), first);
    is_stale(&send(put_tool(&acme, 2).header(IF_MATCH, &first)).await);
}

#[tokio::test]
async fn m051_a_review_is_of_what_was_read_also_where_it_is_shipped() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let uploaded = acme.put_bytes("/v1/tenant/tools/slow", "application/wasm", guests::SLOW).await;
    assert_eq!(uploaded.json()["status"], "pending_review", "{}", uploaded.text());
    let read = tag(&acme, REVIEW).await;
    assert_eq!(
        (uploaded.header("etag"), tag(&acme, "/v1/tenant/tools/slow").await),
        (read.as_str(), read.clone())
    );
    let review = |path: &'static str, tag: &str, host: &str| {
        let grant = json!({ "grant": [{ "kind": "http", "target": format!("{host}.example.com") }] });
        send(acme.request("POST", path).header(IF_MATCH, tag).json(&grant))
    };
    let done = review(REVIEW, &read, "one").await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(done.header("etag"), tag(&acme, REVIEW).await);
    is_stale(&review(REVIEW, &read, "two").await);
    let granted = acme.get(REVIEW).await.json()["granted"].clone();
    assert_eq!((granted.as_array().unwrap().len(), &granted[0]["target"]), (1, &json!("one.example.com")));
    // An upload that is its own review answers how it stands after both.
    let approved = put(&acme, &format!("{TOOL}?approve=1"), "application/wasm", rebuilt(1));
    let approved = send(approved).await;
    assert_eq!((approved.status, approved.header("etag")), (201, tag(&acme, TOOL).await.as_str()));

    let shipped = "/v1/tenant/tools/http/review";
    let read = tag(&acme, shipped).await;
    let done = review(shipped, &read, "one").await;
    assert_eq!(
        (done.status, done.header("etag")),
        (200, tag(&acme, shipped).await.as_str()),
        "{}",
        done.text()
    );
    is_stale(&review(shipped, &read, "two").await);
    assert_eq!(review("/v1/tenant/tools/nothing/review", "*", "one").await.status, 404);
    // Of two at once with different grants one is made.
    let read = tag(&acme, shipped).await;
    let hosts = ["a", "b", "c", "d", "e", "f"];
    let many = join_all(hosts.map(|host| review(shipped, &read, host))).await;
    assert_eq!((count(&many, 200), count(&many, 412)), (1, 5));
    let won = hosts[many.iter().position(|answer| answer.status == 200).unwrap()];
    let granted = acme.get(shipped).await.json()["granted"].clone();
    assert_eq!(granted[0]["target"], format!("{won}.example.com"));
}

#[tokio::test]
async fn m051_of_many_uploads_of_what_was_read_one_wins_and_only_one_makes_what_was_not_there() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let uploads = |header: &'static str, value: &str, from: u8| {
        let uploads = (from..from + 6).map(|note| send(put_tool(&acme, note).header(header, value)));
        join_all(uploads.collect::<Vec<_>>())
    };
    let made = uploads(IF_NONE_MATCH, "*", 0).await;
    assert_eq!((count(&made, 201), count(&made, 412)), (1, 5));
    let refused = made.iter().find(|answer| answer.status == 412).unwrap();
    assert_eq!(refused.json()["code"], "precondition_failed", "{}", refused.text());
    let read = tag(&acme, TOOL).await;
    let changed = uploads(IF_MATCH, &read, 10).await;
    assert_eq!((count(&changed, 200), count(&changed, 412)), (1, 5));
    assert_eq!(versions(&acme, TOOL).await, json!([[2, "active"], [1, "superseded"]]));
    let read = tag(&acme, TOOL).await;
    let gone = (0..6).map(|_| send(acme.request("DELETE", TOOL).header(IF_MATCH, &read)));
    let gone = join_all(gone).await;
    assert_eq!((count(&gone, 204), count(&gone, 404)), (1, 5));
    // A name that something shipped has is free: an upload shadows that.
    let shadow = put(&acme, "/v1/tenant/tools/http", "application/wasm", guests::WORD_COUNT);
    assert_eq!(send(shadow.header(IF_NONE_MATCH, "*")).await.status, 201);
    let shadow = put(&acme, "/v1/tenant/agents/default", "text/markdown", AGENT);
    assert_eq!(send(shadow.header(IF_NONE_MATCH, "*")).await.status, 201);
}

#[tokio::test]
async fn m051_an_agent_is_changed_and_deleted_only_as_it_was_read() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let path = "/v1/tenant/agents/terse";
    let text = |text: &str| put(&acme, path, "text/markdown", format!("{AGENT}\n{text}"));
    let made = send(text("one").header(IF_NONE_MATCH, "*")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let first = made.header("etag").to_owned();
    assert_eq!(tag(&acme, path).await, first);
    assert_eq!(send(text("two").header(IF_NONE_MATCH, "*")).await.status, 412);
    let second = send(text("two").header(IF_MATCH, &first)).await;
    assert_eq!(second.status, 200, "{}", second.text());
    is_stale(&send(text("three").header(IF_MATCH, &first)).await);
    is_stale(&send(acme.request("DELETE", path).header(IF_MATCH, &first)).await);
    let shown = send(acme.request("GET", path).header("accept", "text/markdown")).await;
    assert!(shown.text().ends_with("two"), "{}", shown.text());
    let audit = acme.get("/v1/tenant/audit?action=agents.write").await.json();
    assert_eq!(audit["data"].as_array().unwrap().len(), 2, "what was refused did nothing: {audit}");
    assert_eq!(send(acme.request("DELETE", path).header(IF_MATCH, second.header("etag"))).await.status, 204);
    // Who says nothing of what they read changes what is there, as ever.
    assert_eq!(send(text("one")).await.status, 201);
    assert_eq!(send(text("two")).await.status, 200);
    assert_eq!(acme.delete(path).await.status, 204);
}

#[tokio::test]
async fn m051_a_command_is_changed_and_deleted_only_as_it_was_read() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let path = "/v1/tenant/commands/review";
    let put = |template: &str| acme.request("PUT", path).json(&json!({ "template": template }));
    is_stale(&send(put("zero").header(IF_MATCH, "*")).await);
    let made = join_all((0..6).map(|n| send(put(&format!("one {n}")).header(IF_NONE_MATCH, "*")))).await;
    assert_eq!((count(&made, 200), count(&made, 412)), (1, 5));
    let made = made.into_iter().find(|answer| answer.status == 200).unwrap();
    let first = made.header("etag").to_owned();
    let listed = acme.get("/v1/commands").await.json();
    assert_eq!(
        (&listed["data"][0]["etag"], &listed["data"][0]["template"]),
        (&json!(first), &made.json()["template"])
    );
    let changed = join_all((0..6).map(|n| send(put(&format!("two {n}")).header(IF_MATCH, &first)))).await;
    assert_eq!((count(&changed, 200), count(&changed, 412)), (1, 5));
    is_stale(&send(acme.request("DELETE", path).header(IF_MATCH, &first)).await);
    let listed = acme.get("/v1/commands").await.json();
    assert!(listed["data"][0]["template"].as_str().unwrap().starts_with("two"), "{listed}");
    let now = listed["data"][0]["etag"].as_str().unwrap().to_owned();
    assert_eq!(send(acme.request("DELETE", path).header(IF_MATCH, &now)).await.status, 204);
    assert_eq!(send(acme.request("DELETE", path).header(IF_MATCH, &now)).await.status, 404);
    assert_eq!((send(put("three")).await.status, acme.delete(path).await.status), (200, 204), "as ever");
}

#[tokio::test]
async fn m051_an_app_is_always_there() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let put = |value: &str| {
        acme.request("PUT", "/v1/tenant").header(IF_NONE_MATCH, value).json(&json!({ "name": "new" }))
    };
    let refused = send(put("*")).await;
    assert_eq!((refused.status, &refused.json()["code"]), (412, &json!("precondition_failed")));
    assert_eq!(acme.get("/v1/tenant").await.json()["name"], "acme");
    assert_eq!(send(put("\"x\"")).await.status, 200);
}
