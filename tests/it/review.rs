//! What a reviewer reads, and what waits until somebody did.

use base64::{Engine, engine::general_purpose::STANDARD};
use opg_tests::{
    app::{Answer, Client, TestApp, send},
    guests,
};
use serde_json::{Value, json};
use sha2::Digest;

async fn upload(client: &Client, name: &str, wasm: &'static [u8], query: &str) -> Answer {
    client.put_bytes(&format!("/v1/tenant/tools/{name}{query}"), "application/wasm", wasm).await
}

fn texts(waiting: &Value) -> Vec<String> {
    let changes = waiting["changes"].as_array().unwrap();
    changes.iter().map(|change| change["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn m220_m358_a_review_says_in_sentences_what_a_version_changes() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    upload(&acme, "thing", guests::SLOW, "").await;
    let review = "/v1/tenant/tools/thing/review";
    let first = acme.get(review).await.json();
    assert_eq!((&first["active_version"], &first["granted"]), (&json!(null), &json!([])));
    let said = texts(&first["waiting"][0]);
    assert_eq!(
        said[0],
        "May send requests of any method to every host on the internet; it gives as reason: to wait for an answer"
    );
    assert!(said[1].starts_with("Has a tool slow that models are told of as: “Sends a GET"), "{said:?}");

    acme.grant("tools", "thing", &[("http", "GET api.example.com/v1/*")]).await;
    let granted = acme.get(review).await.json();
    assert_eq!(granted["granted"][0]["text"], "May send GET requests to api.example.com under /v1/");
    assert_eq!((&granted["active_version"], &granted["waiting"]), (&json!(1), &json!([])));

    upload(&acme, "thing", guests::ROOMY, "").await;
    let second = acme.get(review).await.json();
    let said = texts(&second["waiting"][0]);
    for text in [
        "May now also use 128 MiB of memory in a call; it gives as reason: to hold a large table",
        "No longer asks to send requests of any method to every host on the internet",
        "No longer has the tool slow",
    ] {
        assert!(said.iter().any(|said| said == text), "{text}: {said:?}");
    }
    let shown = acme.get("/v1/tenant/tools/thing").await.json();
    assert_eq!(shown["waiting"][0]["changes"], second["waiting"][0]["changes"]);

    let shipped = acme.get("/v1/tenant/tools/http/review").await.json();
    assert!(texts(&shipped["waiting"][0])[0].contains("every host on the internet"), "{shipped}");
    assert_eq!(acme.get("/v1/tenant/tools/nothing/review").await.status, 404);
    assert_eq!(app.tenant("rival").await.get(review).await.status, 404);
}

#[tokio::test]
async fn m220_a_new_description_waits_also_where_nothing_is_asked_for_and_no_model_sees_it_before() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let first = upload(&acme, "thing", guests::WORD_COUNT, "").await.json();
    assert_eq!(first["status"], "active", "the first of a tool that asks for nothing");
    let second = upload(&acme, "thing", guests::COUNTER, "").await.json();
    assert_eq!(
        (&second["status"], &second["requested_capabilities"]),
        (&json!("pending_review"), &json!([]))
    );
    let waiting = acme.get("/v1/tenant/tools/thing/review").await.json()["waiting"].clone();
    assert!(texts(&waiting[0]).iter().any(|text| text.starts_with("Has a tool")), "{waiting}");
    let ran = acme.invoke("thing", json!({ "text": "a b" })).await;
    assert_eq!(ran.json()["output"]["words"], 2, "the old one runs: {}", ran.text());
    assert_eq!(acme.post("/v1/tenant/tools/thing/rollback", &json!({ "version": 2 })).await.status, 409);

    acme.post("/v1/tenant/tools/thing/review", &json!({ "grant": [] })).await;
    assert_eq!(acme.invoke("thing", json!({})).await.json()["output"], 1);
    let back = acme.post("/v1/tenant/tools/thing/rollback", &json!({})).await;
    assert_eq!(back.json()["version"], 1, "what ran once can be gone back to: {}", back.text());
}

#[tokio::test]
async fn m220_m363_whoever_uploads_says_what_it_is_and_may_review_it_at_once_where_they_may() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let writer = acme.with_scopes(&["tools:write", "tools:read", "agents:write"]).await;
    let refused = upload(&writer, "thing", guests::GRABBY, "?approve=1").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(acme.get("/v1/tenant/tools/thing").await.status, 404, "nothing was uploaded");
    let agent = writer
        .put_bytes("/v1/tenant/agents/x?approve=1", "text/markdown", "---\ndescription: x\n---\nx")
        .await;
    assert_eq!(agent.status, 403, "{}", agent.text());

    let mistaken = upload(&acme, "thing", guests::SLOW, &format!("?sha256={}", "0".repeat(64))).await;
    assert_eq!((mistaken.status, &mistaken.json()["code"]), (422, &json!("digest_mismatch")), "row M363");
    let digest = hex::encode(sha2::Sha256::digest(guests::SLOW));
    let made = upload(&acme, "thing", guests::SLOW, &format!("?approve=1&sha256={digest}")).await;
    assert_eq!((made.status, &made.json()["status"]), (201, &json!("active")), "{}", made.text());
    let granted =
        || async { acme.get("/v1/tenant/tools/thing").await.json()["granted_capabilities"].clone() };
    assert_eq!(granted().await, json!([{ "kind": "http", "target": "*" }]), "the first: all it asks for");
    let reviews = acme.get("/v1/tenant/audit?action=tools.review").await.json();
    assert_eq!(reviews["data"].as_array().unwrap().len(), 1, "it is a review like another");

    acme.grant("tools", "thing", &[]).await;
    let wider = upload(&acme, "thing", guests::GRABBY, "?approve=1").await;
    assert_eq!(wider.json()["status"], "active", "{}", wider.text());
    let granted = granted().await;
    let kinds: Vec<_> = granted.as_array().unwrap().iter().map(|c| c["kind"].as_str().unwrap()).collect();
    assert!(!kinds.contains(&"http"), "what was denied stays denied: {granted}");
    assert!(kinds.contains(&"kv") && kinds.contains(&"model"), "what is new is granted: {granted}");
}

#[tokio::test]
async fn m363_a_digest_in_a_header_is_held_to_for_every_kind_of_plugin() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let digest = |bytes: &[u8]| format!("sha-256=:{}:", STANDARD.encode(sha2::Sha256::digest(bytes)));
    let put = async |path: &str, media_type: &str, digest: (&str, String), body: &'static [u8]| {
        let request = acme.request("PUT", path).header("content-type", media_type);
        send(request.header(digest.0, digest.1).body(body)).await
    };
    let typescript: &[u8] = b"import { tool } from \"@opencode-ai/plugin\"\nexport default tool({ description: \"Says hi\", args: {}, async execute() { return \"hi\" } })\n";
    let markdown: &[u8] = b"---\ndescription: x\n---\nx";
    for (path, media_type, body) in [
        ("/v1/tenant/tools/slow", "application/wasm", guests::SLOW),
        ("/v1/tenant/tools/typed", "text/typescript", typescript),
        ("/v1/tenant/agents/marked", "text/markdown", markdown),
    ] {
        for header in ["repr-digest", "content-digest", "digest"] {
            let refused = put(path, media_type, (header, digest(b"other bytes")), body).await;
            assert_eq!(
                (refused.status, &refused.json()["code"]),
                (422, &json!("digest_mismatch")),
                "{path} {header}: {}",
                refused.text()
            );
        }
        let unreadable = put(path, media_type, ("repr-digest", "sha-256=:?:".to_owned()), body).await;
        assert_eq!((unreadable.status, &unreadable.json()["code"]), (400, &json!("bad_digest")), "{path}");
        assert_eq!(acme.get(path).await.status, 404, "{path}: nothing was uploaded");
        let both = format!("{}, unixsum=:AAAA:", digest(body));
        let taken = put(path, media_type, ("repr-digest", both), body).await;
        assert_eq!(taken.status, 201, "{path}: {}", taken.text());
    }
}

/// `word-count 0.1.0` and `serde 1.0.228`, as `cargo auditable` writes them down: JSON under zlib.
const LIST: &str = "eNpVzDEOwjAMQNG7eA5R2wnlKqiD5VgootiVncBQ5e4EBgTr19c7YEe64ZUd0uUAwTtDgqdaPpE2qRDgweZFZeQpznEaxbUZvb9NCbcRTLVCqtY4QOadJbNQ+Zjz2sPXdbbMf+QA47Kcf1EyrOyxKPS1vwBzhjPc";

#[tokio::test]
async fn m363_a_component_that_says_what_it_was_built_of_has_it_shown() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let list = STANDARD.decode(LIST).unwrap();
    let name = b".dep-v0";
    let inside = [&[u8::try_from(name.len()).unwrap()][..], &name[..], &list[..]].concat();
    // A custom section: its number, its length (two bytes of seven bits), its name, and what it holds.
    let length =
        [u8::try_from(inside.len() & 0x7f).unwrap() | 0x80, u8::try_from(inside.len() >> 7).unwrap()];
    let wasm = [guests::WORD_COUNT, &[0][..], &length[..], &inside[..]].concat();
    let path = "/v1/tenant/tools/word-count";
    let made = acme.put_bytes(path, "application/wasm", wasm).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(
        acme.get(&format!("{path}?sbom=1")).await.json()["sbom"],
        json!([
            { "name": "word-count", "version": "0.1.0", "source": "local", "kind": "runtime" },
            { "name": "serde", "version": "1.0.228", "source": "crates.io", "kind": "runtime" },
        ])
    );
    assert_eq!(acme.get(path).await.json().get("sbom"), None, "it is read where it is asked for");
    acme.install_tool("slow", guests::SLOW).await;
    let none = acme.get("/v1/tenant/tools/slow?sbom=1").await.json();
    assert_eq!(none.get("sbom"), Some(&Value::Null), "{none}");
}

#[tokio::test]
async fn m220_an_agents_prompt_may_change_and_what_it_may_use_waits() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    acme.install_tool("chatter", guests::CHATTER).await;
    let put = |tools: &str, prompt: &str| {
        let text = format!("---\ndescription: Counts\ntools: [{tools}]\n---\n{prompt}\n");
        let acme = acme.clone();
        async move { acme.put_bytes("/v1/tenant/agents/counter", "text/markdown", text).await.json() }
    };
    assert_eq!(put("word-count", "You count.").await["status"], "active");
    assert_eq!(
        put("word-count", "You count well.").await["status"],
        "active",
        "a prompt is the agent's code"
    );
    assert_eq!(put("word-count, chatter", "You count well.").await["status"], "pending_review");
    let review = acme.get("/v1/tenant/agents/counter/review").await.json();
    assert_eq!(
        texts(&review["waiting"][0]),
        ["Is offered other tools: word-count, chatter; before: word-count"]
    );
}
