//! Tools: uploading, reviewing, rolling back, running and deleting them.

use opg_host::limits::COMPONENT_BYTES_MAX;
use opg_tests::{
    app::{Client, TestApp},
    guests,
    site::Site,
    upstream::ScriptedUpstream,
    wait::until,
};
use serde_json::{Value, json};
use std::time::Duration;

const WASM: &str = "application/wasm";

fn path(name: &str) -> String {
    format!("/v1/tenant/tools/{name}")
}

async fn upload(client: &Client, name: &str, wasm: impl Into<reqwest::Body>) -> opg_tests::app::Answer {
    client.put_bytes(&path(name), WASM, wasm).await
}

/// The same component with other bytes: a custom section more.
fn rebuilt(wasm: &[u8], note: u8) -> Vec<u8> {
    let mut other = wasm.to_vec();
    other.extend_from_slice(&[0, 4, 2, b'n', b'o', note]);
    other
}

async fn status_of(client: &Client, name: &str) -> Value {
    let shown = client.get(&path(name)).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    shown.json()
}

#[tokio::test]
async fn m218_an_upload_says_what_it_is_and_the_same_bytes_again_change_nothing() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let first = upload(&acme, "word-count", guests::WORD_COUNT).await;
    assert_eq!(first.status, 201, "{}", first.text());
    let body = first.json();
    assert_eq!(body["version"], 1);
    assert_eq!(body["kind"], "component");
    assert_eq!(body["status"], "active", "a tool that asks for nothing needs no review");
    assert_eq!(body["requested_capabilities"], json!([]));
    assert_eq!(body["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(body["size_bytes"], guests::WORD_COUNT.len());

    let again = upload(&acme, "word-count", guests::WORD_COUNT).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json(), body);
    let versions = acme.get(&format!("{}/versions", path("word-count"))).await.json();
    assert_eq!(versions["data"].as_array().unwrap().len(), 1);
    let audited = acme.get("/v1/tenant/audit?action=tools.write").await.json();
    assert_eq!(
        audited["data"].as_array().unwrap().len(),
        1,
        "what changed nothing is not audited as a change"
    );

    let other = upload(&acme, "word-count", rebuilt(guests::WORD_COUNT, b'a')).await;
    assert_eq!((other.status, &other.json()["version"]), (200, &json!(2)));
}

#[tokio::test]
async fn m218_m357_what_is_no_tool_is_refused_with_what_is_wrong_and_leaves_nothing() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let core_module = b"\0asm\x01\0\0\0".to_vec();
    let truncated = guests::WORD_COUNT[..guests::WORD_COUNT.len() / 2].to_vec();
    let noise: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("core", core_module, "bad_component", "core WebAssembly module"),
        ("socket", guests::SOCKET.to_vec(), "bad_component", "wasi:sockets"),
        ("nothing", guests::NOT_A_PLUGIN.to_vec(), "bad_component", "exports neither"),
        ("schema", guests::BAD_DESCRIBE.to_vec(), "describe_failed bad_description", "schema"),
        ("sleepy", guests::SLEEPY_DESCRIBE.to_vec(), "describe_failed", "time limit"),
        ("half", truncated, "bad_component", "not valid"),
        ("noise", noise, "bad_component", "not WebAssembly"),
        ("empty", vec![], "bad_component", "not WebAssembly"),
        ("agent", guests::AGENT_ECHO.to_vec(), "wrong_kind", "/v1/tenant/agents"),
    ];
    for (name, wasm, codes, says) in cases {
        let answer = upload(&acme, name, wasm).await;
        let text = answer.text();
        assert_eq!(answer.status, 422, "{name}: {text}");
        let code = answer.json()["code"].as_str().unwrap().to_owned();
        assert!(codes.split(' ').any(|known| known == code), "{name}: {text}");
        assert!(text.contains(says), "{name}: {text}");
    }
    for name in ["Upper", "under_score", "a.b", &"x".repeat(65)] {
        let answer = upload(&acme, name, guests::WORD_COUNT).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (422, Some("bad_name")), "{name}");
    }
    let json = acme.put_bytes(&path("json"), "application/json", "{}").await;
    assert_eq!(json.status, 415, "{}", json.text());
    let nameless = acme.put_bytes(&path("none"), "", guests::WORD_COUNT).await;
    assert_eq!(nameless.status, 415, "{}", nameless.text());
    let large = upload(&acme, "large", vec![0_u8; COMPONENT_BYTES_MAX + 1]).await;
    assert_eq!(large.status, 413, "{}", large.text());
    assert_eq!(large.json()["limit_bytes"], COMPONENT_BYTES_MAX);
    assert_eq!(acme.get("/v1/tenant/tools").await.json()["data"], json!([]));
}

#[tokio::test]
async fn m216_m217_a_tool_is_listed_shown_and_given_back_byte_for_byte() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    upload(&acme, "slow", guests::SLOW).await;

    let listed = acme.get("/v1/tenant/tools?limit=1").await.json();
    assert_eq!(listed["data"][0]["name"], "slow");
    assert_eq!(listed["data"][0]["status"], "pending_review");
    assert_eq!(listed["has_more"], true);
    let cursor = listed["next_cursor"].as_str().unwrap();
    let rest = acme.get(&format!("/v1/tenant/tools?limit=1&cursor={cursor}")).await.json();
    assert_eq!((&rest["data"][0]["name"], &rest["has_more"]), (&json!("word-count"), &json!(false)));

    let shown = status_of(&acme, "word-count").await;
    assert_eq!(shown["wit"], "opg:tool/plugin@1.0.0");
    assert_eq!(shown["exports"][0]["name"], "word-count");
    assert_eq!(shown["exports"][0]["input_schema"]["type"], "object");

    let wasm =
        |request: reqwest::RequestBuilder| request.header("accept", "text/html, application/wasm;q=0.9");
    let whole = opg_tests::app::send(wasm(acme.request("GET", &path("word-count")))).await;
    assert_eq!((whole.status, whole.header("content-type")), (200, WASM));
    assert_eq!(whole.body, guests::WORD_COUNT);
    assert_eq!(whole.header("etag"), format!("\"{}\"", shown["sha256"].as_str().unwrap()));
    let known = wasm(acme.request("GET", &path("word-count"))).header("if-none-match", whole.header("etag"));
    let unchanged = opg_tests::app::send(known).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));

    let rival = app.tenant("rival").await;
    for request in ["word-count", "never-there"] {
        let answer = rival.get(&path(request)).await;
        assert_eq!((answer.status, answer.json()["detail"].as_str()), (404, Some("no such tool")));
    }
}

#[tokio::test]
async fn m219_a_tool_an_agent_names_is_deleted_only_by_force() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let agent = "---\ndescription: Counts\ntools: [word-count]\n---\nYou count.\n";
    let made = acme.put_bytes("/v1/tenant/agents/counter", "text/markdown", agent).await;
    assert_eq!(made.status, 201, "{}", made.text());

    let refused = acme.delete(&path("word-count")).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (409, Some("in_use")));
    assert!(refused.text().contains("counter"), "it says who");
    assert_eq!(acme.delete(&format!("{}?force=true", path("word-count"))).await.status, 204);
    assert_eq!(acme.get(&path("word-count")).await.status, 404);
    assert_eq!(acme.invoke("word-count", json!({ "text": "a" })).await.status, 404);
    assert_eq!(acme.delete(&path("word-count")).await.status, 404);
}

#[tokio::test]
async fn m220_a_review_grants_some_and_never_more_than_was_asked_for() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let uploaded = upload(&acme, "grabby", guests::GRABBY).await;
    assert_eq!(uploaded.json()["status"], "pending_review");
    let wishes = uploaded.json()["requested_capabilities"].clone();
    assert!(
        wishes.as_array().unwrap().iter().all(|wish| wish["reason"].as_str().is_some_and(|r| !r.is_empty()))
    );
    assert_eq!(acme.invoke("grabby_who_am_i", json!({})).await.status, 404, "unreviewed, it does not run");

    let review = format!("{}/review", path("grabby"));
    let too_much = json!({ "grant": [
        { "kind": "http", "target": "api.example.com" },
        { "kind": "secret", "target": "OTHER@api.example.com" },
        { "kind": "http", "target": "https://api.example.com/" },
    ]});
    let refused = acme.post(&review, &too_much).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    let pointers: Vec<_> =
        refused.json()["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!(pointers, [json!("/grant/1"), json!("/grant/2")]);
    for (body, status) in [
        (json!({ "grant": "everything" }), 422),
        (json!({ "grant": [{ "kind": "sudo", "target": "*" }] }), 422),
        (json!({}), 422),
        (json!({ "grant": "all", "version": 2 }), 404),
    ] {
        assert_eq!(acme.post(&review, &body).await.status, status, "{body}");
    }
    assert_eq!(status_of(&acme, "grabby").await["status"], "pending_review");

    let narrow = json!({ "version": 1, "grant": [{ "kind": "http", "target": "api.example.com" }] });
    let reviewed = acme.post(&review, &narrow).await.json();
    assert_eq!(reviewed["granted"], json!([{ "kind": "http", "target": "api.example.com" }]));
    assert!(reviewed["denied"].as_array().unwrap().contains(&json!({ "kind": "kv", "target": "write" })));
    let shown = status_of(&acme, "grabby").await;
    assert_eq!(
        (&shown["status"], shown["granted_capabilities"].as_array().unwrap().len()),
        (&json!("active"), 1)
    );
    assert_eq!(acme.invoke("grabby_who_am_i", json!({})).await.status, 200);

    let writer = acme.with_scopes(&["tools:write", "tools:run"]).await;
    assert_eq!(
        writer.post(&review, &json!({ "grant": "all" })).await.status,
        403,
        "who uploads does not approve"
    );
}

#[tokio::test]
async fn m220_an_update_that_asks_for_more_or_says_something_else_waits_and_the_old_one_runs_on() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("thing", guests::SLOW).await;

    let same = upload(&acme, "thing", rebuilt(guests::SLOW, b'a')).await.json();
    assert_eq!((&same["version"], &same["status"]), (&json!(2), &json!("active")), "same wishes, same words");

    let wider = upload(&acme, "thing", guests::GRABBY).await.json();
    assert_eq!((&wider["version"], &wider["status"]), (&json!(3), &json!("pending_review")));
    let shown = status_of(&acme, "thing").await;
    assert_eq!((&shown["version"], &shown["active_version"]), (&json!(3), &json!(2)));
    assert_eq!(acme.invoke("thing_who_am_i", json!({})).await.status, 404);
    let still = acme.invoke("thing", json!({ "url": "ftp://nowhere" })).await;
    assert_eq!(still.status, 502, "version 2 runs, and finds the URL wrong: {}", still.text());

    let reviewed = acme.post(&format!("{}/review", path("thing")), &json!({ "grant": "all" })).await;
    assert_eq!(reviewed.json()["version"], 3);
    let narrower = upload(&acme, "thing", rebuilt(guests::SLOW, b'b')).await.json();
    assert_eq!(narrower["status"], "active", "as version 1, which was reviewed");
    let words = upload(&acme, "other", guests::GRABBY).await;
    assert_eq!(words.status, 201);
    acme.post(&format!("{}/review", path("other")), &json!({ "grant": "all" })).await;
    let changed = upload(&acme, "other", guests::SLOW).await.json();
    assert_eq!(changed["status"], "pending_review", "fewer wishes, but other words");
}

#[tokio::test]
async fn m222_a_rollback_runs_an_older_version_but_none_that_was_never_reviewed() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let rollback = format!("{}/rollback", path("thing"));
    assert_eq!(acme.post(&rollback, &json!({})).await.status, 404);
    acme.install_tool("thing", guests::SLOW).await;
    assert_eq!(acme.post(&rollback, &json!({})).await.json()["code"], "nothing_older");
    upload(&acme, "thing", rebuilt(guests::SLOW, b'a')).await;
    upload(&acme, "thing", rebuilt(guests::SLOW, b'b')).await;
    let pending = upload(&acme, "thing", guests::GRABBY).await.json();
    assert_eq!((&pending["version"], &pending["status"]), (&json!(4), &json!("pending_review")));

    let unseen = acme.post(&rollback, &json!({ "version": 4 })).await;
    assert_eq!((unseen.status, unseen.json()["code"].as_str()), (409, Some("not_reviewed")));
    assert_eq!(acme.post(&rollback, &json!({ "version": 9 })).await.status, 404);
    let one_back = acme.post(&rollback, &json!({})).await;
    assert_eq!(
        one_back.json(),
        json!({ "version": 2, "status": "active" }),
        "3 was active; 2 says the same as 1"
    );
    assert_eq!(acme.post(&rollback, &json!({ "version": 3 })).await.json()["version"], 3);
    assert_eq!(status_of(&acme, "thing").await["active_version"], 3);

    let versions = acme.get(&format!("{}/versions", path("thing"))).await.json();
    let seen: Vec<_> = versions["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| (v["version"].clone(), v["status"].clone()))
        .collect();
    let expected = [(4, "pending_review"), (3, "active"), (2, "superseded"), (1, "superseded")];
    assert_eq!(seen, expected.map(|(version, status)| (json!(version), json!(status))));
}

#[tokio::test]
async fn m221_a_run_gives_output_logs_and_cost() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    acme.install_tool("chatter", guests::CHATTER).await;

    let ran = acme.invoke("word-count", json!({ "text": "a b a", "top": 1 })).await;
    assert_eq!(ran.status, 200, "{}", ran.text());
    assert_eq!(ran.json()["output"], json!({ "words": 3, "top": [{ "word": "a", "count": 2 }] }));
    assert!(ran.json()["ms"].as_f64().is_some_and(|ms| ms > 0.0));
    assert!(ran.json()["memory_bytes_peak"].as_u64().is_some_and(|bytes| bytes > 1 << 16));

    let talked = acme.invoke("chatter", json!({ "lines": 2 })).await.json();
    assert_eq!(
        talked["logs"],
        json!([{ "level": "info", "message": "1" }, { "level": "info", "message": "2" }])
    );
    let flooded = acme.invoke("chatter", json!({ "lines": 1500, "line_bytes": 20 })).await.json();
    assert_eq!(flooded["logs"].as_array().unwrap().len(), 1000);
    assert_eq!(flooded["log_lines_dropped"], 500);
    let long = acme.invoke("chatter", json!({ "lines": 1, "line_bytes": 100_000 })).await.json();
    assert!(long["logs"][0]["message"].as_str().unwrap().len() < 9000, "a line is cut");
}

#[tokio::test]
async fn m221_a_wrong_input_names_every_field_and_runs_nothing() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let wrong = acme.invoke("word-count", json!({ "text": 7, "top": "many" })).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    let mut pointers: Vec<_> = wrong.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["pointer"].as_str().unwrap().to_owned())
        .collect();
    pointers.sort();
    assert_eq!(pointers, ["/input/text", "/input/top"]);
    for body in [json!([]), json!({ "inputs": {} }), json!("x")] {
        assert_eq!(acme.post(&format!("{}/invoke", path("word-count")), &body).await.status, 422, "{body}");
    }
    assert_eq!(acme.uses().await, Vec::<Value>::new());
    assert_eq!(acme.invoke("nothing", json!({})).await.status, 404);
}

#[tokio::test]
async fn m221_m359_a_tool_that_crashes_spins_hogs_or_shouts_is_stopped_and_the_host_goes_on() {
    let app = TestApp::with(|config| config.tool_time_limit = Duration::from_millis(1500)).await;
    let acme = app.tenant("acme").await;
    acme.install_tool("trap", guests::TRAP).await;
    acme.install_tool("spin", guests::SPIN).await;
    acme.install_tool("hog", guests::HOG).await;
    acme.install_tool("shout", guests::SHOUT).await;
    let cases = [
        ("trap", json!({ "message": "ouch" }), 502, "tool_trap"),
        ("spin", json!({}), 504, "tool_timeout"),
        ("hog", json!({}), 502, "tool_oom"),
        ("shout", json!({ "bytes": (1 << 20) + 1 }), 502, "tool_output_too_large"),
        ("shout_error", json!({ "bytes": 100_000 }), 502, "tool_failed"),
    ];
    for (tool, input, status, code) in cases {
        let answer = acme.invoke(tool, input).await;
        let text = answer.text();
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{tool}: {text}");
        assert!(answer.json()["ms"].is_number(), "{tool}: {text}");
        assert!(text.len() < 20_000, "{tool}: a guest's own words are cut, {} bytes", text.len());
    }
    assert_eq!(acme.invoke("shout", json!({ "bytes": 1000 })).await.status, 200);
    let statuses: Vec<_> = acme.uses().await.iter().map(|row| row["status"].clone()).collect();
    assert_eq!(statuses, ["failed", "failed", "failed", "failed", "failed", "ok"]);
    assert_eq!(app.running.app.sandbox.stats().calls_in_flight, 0);
}

#[tokio::test]
async fn m360_two_apps_do_not_see_each_others_tools_nor_what_a_call_left_in_memory() {
    let app = TestApp::start().await;
    let (acme, rival) = (app.tenant("acme").await, app.tenant("rival").await);
    acme.install_tool("thing", guests::WORD_COUNT).await;
    rival.install_tool("thing", guests::COUNTER).await;
    assert_eq!(acme.invoke("thing", json!({ "text": "a b" })).await.json()["output"]["words"], 2);
    for _ in 0..3 {
        assert_eq!(rival.invoke("thing", json!({})).await.json()["output"], 1, "every call is the first");
    }
    acme.delete(&path("thing")).await;
    assert_eq!(acme.invoke("thing", json!({ "text": "a" })).await.status, 404);
    assert_eq!(rival.invoke("thing", json!({})).await.status, 200);
}

#[tokio::test]
async fn m359_the_65th_call_of_one_app_is_refused_while_anothers_goes_through() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let (flood, other) = (app.tenant("flood").await, app.tenant("other").await);
    upload(&flood, "slow", guests::SLOW).await;
    flood.grant("tools", "slow", &[("http", &site.host())]).await;
    other.install_tool("word-count", guests::WORD_COUNT).await;

    let waiting: Vec<_> = (0..64)
        .map(|_| {
            let (flood, url) = (flood.clone(), site.url("/hang"));
            tokio::spawn(async move { flood.invoke("slow", json!({ "url": url })).await })
        })
        .collect();
    site.wait_for(64).await;
    let refused = flood.invoke("slow", json!({ "url": site.url("/") })).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("too_many_calls")));
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(other.invoke("word-count", json!({ "text": "a" })).await.status, 200);

    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    until("callers that went away give their slots back", async || {
        app.running.app.in_flight.total() == 0 && app.running.app.sandbox.stats().calls_in_flight == 0
    })
    .await;
    assert_eq!(flood.invoke("slow", json!({ "url": site.url("/") })).await.status, 200);
}

#[tokio::test]
async fn m219_a_call_under_way_finishes_after_its_tool_was_deleted() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let acme = app.tenant("acme").await;
    upload(&acme, "slow", guests::SLOW).await;
    acme.grant("tools", "slow", &[("http", &site.host())]).await;
    let (caller, url) = (acme.clone(), site.url("/meet/2"));
    let running = tokio::spawn(async move { caller.invoke("slow", json!({ "url": url })).await });
    site.wait_for(1).await;
    assert_eq!(acme.delete(&path("slow")).await.status, 204);
    visit(&site.url("/meet/2")).await;
    let answer = running.await;
    assert_eq!(answer.unwrap().json()["output"], 200);
}

/// A visit of somebody else's.
async fn visit(url: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host.replace("localhost", "127.0.0.1")).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn m220_where_several_versions_wait_a_review_says_which_one_it_saw() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    upload(&acme, "thing", guests::SLOW).await;
    let looked_at = upload(&acme, "thing", rebuilt(guests::SLOW, b'a')).await.json()["version"].clone();
    upload(&acme, "thing", guests::GRABBY).await;

    let review = format!("{}/review", path("thing"));
    let blind = acme.post(&review, &json!({ "grant": "all" })).await;
    assert_eq!((blind.status, blind.json()["code"].clone()), (409, json!("version_required")));
    assert_eq!(status_of(&acme, "thing").await["active_version"], json!(null));

    let seen = acme.post(&review, &json!({ "grant": "all", "version": looked_at })).await;
    assert_eq!(seen.status, 200, "{}", seen.text());
    assert_eq!(status_of(&acme, "thing").await["active_version"], looked_at);
}

#[tokio::test]
async fn m221_of_a_flood_of_wrong_values_a_few_are_told() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let huge = json!({ "text": "a", "flood": vec![1; 100_000] });
    let answer = acme.invoke("word-count", huge).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.json()["errors"].as_array().unwrap().len() <= 20);
}

#[tokio::test]
async fn m368_the_last_runs_of_a_tool_are_told_and_counted_by_version() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("thing", guests::CHATTER).await;
    for _ in 0..3 {
        assert_eq!(acme.invoke("thing", json!({ "lines": 2 })).await.status, 200);
    }
    assert_eq!(upload(&acme, "thing", guests::TRAP).await.status, 200);
    let waits = status_of(&acme, "thing").await["status"] == "pending_review";
    if waits {
        acme.grant("tools", "thing", &[]).await;
    }
    assert_eq!(acme.invoke("thing", json!({ "message": "on\u{0}e" })).await.status, 502);

    let runs = format!("{}/invocations", path("thing"));
    let page = acme.get(&format!("{runs}?limit=2")).await.json();
    let [newest, before] = page["data"].as_array().unwrap().as_slice() else { panic!("{page}") };
    assert_eq!(
        (&newest["version"], &newest["tool"], &newest["status"]),
        (&json!(2), &json!("trap"), &json!("failed"))
    );
    assert_eq!(newest["error"]["code"], "tool_trap");
    assert_eq!((&before["version"], &before["error"]), (&json!(1), &json!(null)));
    assert_eq!(
        before["logs"],
        json!([{ "level": "info", "message": "1" }, { "level": "info", "message": "2" }])
    );
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = acme.get(&format!("{runs}?cursor={cursor}")).await.json();
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["has_more"]), (2, &json!(false)));

    let versions = acme.get(&format!("{}/versions", path("thing"))).await.json();
    let told = |at: usize| {
        (versions["data"][at]["runs"]["count"].clone(), versions["data"][at]["runs"]["failed"].clone())
    };
    assert_eq!((told(0), told(1)), ((json!(1), json!(1)), (json!(3), json!(0))));
    let (p50, p99) = (&versions["data"][1]["runs"]["p50_ms"], &versions["data"][1]["runs"]["p99_ms"]);
    assert!(p50.as_f64().unwrap() > 0.0 && p50.as_f64() <= p99.as_f64(), "{versions}");

    let other = app.tenant("other").await;
    assert_eq!(other.get(&runs).await.status, 404, "not yours reads as not there");
    assert_eq!(acme.get(&format!("{}/invocations", path("none"))).await.status, 404);
    let shipped = acme.get(&format!("{}/invocations", path("http"))).await;
    assert_eq!(shipped.json()["data"], json!([]), "a predefined one has runs as well: {}", shipped.text());

    assert_eq!(acme.delete(&path("thing")).await.status, 204);
    assert_eq!(app.sql("select count(*)::text from tool_runs").await, ["0"], "they go with the tool");
}

#[tokio::test]
async fn of_the_runs_of_a_tool_the_newest_are_kept_and_of_a_flood_of_lines_the_first() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("chatter", guests::CHATTER).await;
    assert_eq!(acme.invoke("chatter", json!({ "lines": 5, "line_bytes": 4096 })).await.status, 200);
    let run = acme.get(&format!("{}/invocations", path("chatter"))).await.json()["data"][0].clone();
    assert_eq!((run["logs"].as_array().unwrap().len(), &run["log_lines_left_out"]), (2, &json!(3)));

    let many = "insert into tool_runs (run_id, app_id, plugin_name, tool, occurred_at, duration_us, status, logs, request_id)
                select lpad(to_hex(n), 32, '0')::uuid, app_id, 'chatter', 'chatter', now(), 1, 'ok', '[]', 'r'
                from apps, generate_series(1, 2000) n returning status";
    assert_eq!(app.sql(many).await.len(), 2000);
    let kept = "select count(*)::text from tool_runs";
    // One run in 64 tidies up; that none of a thousand does will not be seen.
    for _ in 0..1000 {
        assert_eq!(acme.invoke("chatter", json!({ "lines": 0 })).await.status, 200);
        if app.sql(kept).await[0].parse::<i64>().unwrap() < 2000 {
            break;
        }
    }
    let left: i64 = app.sql(kept).await[0].parse().unwrap();
    assert_eq!(left, 1000);
    assert_eq!(app.sql("select count(*)::text from tool_runs where version = 1").await.len(), 1);
}

#[tokio::test]
async fn m367_a_tool_is_the_same_to_a_model_to_a_client_and_to_mcp() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    // Nobody has reviewed what this one asks for.
    assert_eq!(upload(&acme, "secret-thief", guests::SECRET_THIEF).await.status, 201);
    assert_eq!(acme.chat("openai/scripted", "hello").await.status, 200);
    let to_a_model = upstream.received()[0].body["tools"].clone();
    let to_a_client = acme.get("/v1/tools").await;
    assert_eq!(to_a_client.json(), json!({ "tools": to_a_model }), "ready to be put into a request");
    assert!(to_a_client.text().contains("word-count") && !to_a_client.text().contains("secret-thief"));
    let to_mcp = acme.get("/v1/tools?form=mcp").await.json();
    let same: Vec<_> = to_a_model.as_array().unwrap().iter().map(|tool| {
        let function = &tool["function"];
        json!({ "name": function["name"], "description": function["description"], "inputSchema": function["parameters"] })
    }).collect();
    assert_eq!(to_mcp, json!({ "tools": same }));
    assert_eq!(acme.get("/v1/tools?form=xml").await.status, 400);
    assert_eq!(acme.with_scopes(&["chat:read"]).await.get("/v1/tools").await.status, 200);
    assert_eq!(acme.with_scopes(&["usage:read"]).await.get("/v1/tools").await.status, 403);
    assert_eq!(app.tenant("rival").await.get("/v1/tools").await.json(), json!({ "tools": [] }));
}
