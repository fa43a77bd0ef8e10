//! `opg dev upstream`: a model provider for people, as they start it and talk to it.

use opg_tests::{
    app::{Client, TestApp, UPSTREAM_KEY},
    process::binary,
};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};

/// The program, running, and what it said of itself.
struct Upstream {
    child: Child,
    said: Value,
}

impl Upstream {
    async fn start() -> Upstream {
        let mut command = Command::new(binary());
        command.args(["dev", "upstream", "--port", "0", "--json"]).kill_on_drop(true);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        Upstream { child, said: serde_json::from_str(&line).unwrap() }
    }

    fn url(&self, of: &str) -> &str {
        self.said[of].as_str().unwrap()
    }

    fn client(&self) -> Client {
        Client::new(self.url("anthropic"), Some("any-key"))
    }
}

fn asks(model: &str, stream: bool) -> Value {
    json!({ "model": model, "max_tokens": 9, "stream": stream, "messages": [{ "role": "user", "content": "hello" }] })
}

#[tokio::test]
async fn it_answers_in_all_four_dialects_and_stops_when_asked() {
    let mut upstream = Upstream::start().await;
    let client = upstream.client();
    let chat = client.post("/v1/chat/completions", &asks("any", false)).await;
    assert_eq!(chat.content(), "hello");
    let message = client.post("/v1/messages", &asks("any", false)).await.json();
    assert_eq!(message["content"][0]["text"], "hello");
    let input = json!([{ "role": "user", "content": "hello" }]);
    let response = client.post("/v1/responses", &json!({ "model": "any", "input": input })).await.json();
    assert_eq!(response["output"][0]["content"][0]["text"], "hello");
    let contents = json!([{ "role": "user", "parts": [{ "text": "hello" }] }]);
    let google =
        client.post("/v1beta/models/any:generateContent", &json!({ "contents": contents })).await.json();
    assert_eq!(google["candidates"][0]["content"]["parts"][0]["text"], "hello");

    let pid = upstream.child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert_eq!(upstream.child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_models_name_says_what_goes_wrong_and_each_does() {
    let upstream = Upstream::start().await;
    let client = upstream.client();
    let listed = client.get("/v1/models").await.json();
    let listed: Vec<&str> =
        listed["data"].as_array().unwrap().iter().filter_map(|model| model["id"].as_str()).collect();
    for chaos in upstream.said["models"].as_array().unwrap() {
        assert!(listed.contains(&chaos["model"].as_str().unwrap()), "{chaos} is not among {listed:?}");
    }
    let chat = "/v1/chat/completions";
    let limited = client.post(chat, &asks("chaos-429", true)).await;
    assert_eq!((limited.status, limited.header("retry-after")), (429, "2"));
    assert_eq!(client.post(chat, &asks("chaos-500", false)).await.status, 500);
    let page = client.post(chat, &asks("chaos-html", true)).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    for stream in [true, false] {
        let reset = client.request("POST", chat).json(&asks("chaos-reset", stream)).send().await.unwrap();
        assert_eq!(reset.status(), 200);
        assert!(reset.bytes().await.is_err(), "it breaks in the middle, streamed: {stream}");
        let huge = client.post(chat, &asks("chaos-huge", stream)).await;
        assert!(huge.body.len() > 8 * 1024 * 1024, "{}", huge.body.len());
    }
    let cut = client.post(chat, &asks("chaos-cut", true)).await.text();
    assert!(cut.contains("Once upon") && !cut.contains("[DONE]"), "{cut}");
    let malformed = client.post(chat, &asks("chaos-malformed", true)).await.text();
    assert!(malformed.contains("[oops") && malformed.contains("[DONE]"), "{malformed}");
    let malformed = client.post(chat, &asks("chaos-malformed", false)).await;
    assert!(serde_json::from_slice::<Value>(&malformed.body).is_err(), "{}", malformed.text());
    let error = client.post(chat, &asks("chaos-error", true)).await.text();
    assert!(error.contains("failed in the middle") && !error.contains("[DONE]"), "{error}");
}

#[tokio::test]
async fn it_is_scripted_over_http_and_shows_what_it_received_without_keys() {
    let upstream = Upstream::start().await;
    let client = upstream.client();
    let told =
        client.put("/scripted/models/mine", &json!([{ "text": "as told" }, { "finish": "length" }])).await;
    assert_eq!(told.status, 204, "{}", told.text());
    let once =
        client.post("/scripted/next", &json!([{ "error": { "status": 503, "message": "not now" } }])).await;
    assert_eq!(once.status, 204, "{}", once.text());
    assert_eq!(client.post("/v1/chat/completions", &asks("mine", false)).await.status, 503);
    let answer = client.post("/v1/chat/completions", &asks("mine", false)).await;
    assert_eq!(answer.content(), "as told");
    assert_eq!(answer.json()["choices"][0]["finish_reason"], "length");
    assert_eq!(client.delete("/scripted/models/mine").await.status, 204);
    assert_eq!(client.delete("/scripted/models/mine").await.status, 404);
    assert_eq!(client.post("/v1/chat/completions", &asks("mine", false)).await.content(), "hello");

    let received = client.get("/scripted/requests").await;
    assert_eq!(received.json()["data"].as_array().unwrap().len(), 3);
    assert_eq!(received.json()["data"][0]["body"]["model"], "mine");
    assert_eq!(received.json()["data"][0]["headers"]["authorization"], "(hidden)");
    assert!(!received.text().contains("any-key"), "{}", received.text());
    assert_eq!(client.delete("/scripted/requests").await.status, 204);
    assert_eq!(client.get("/scripted/requests").await.json()["data"], json!([]));
}

#[tokio::test]
async fn a_script_it_cannot_follow_is_refused_and_nothing_changes() {
    let upstream = Upstream::start().await;
    let client = upstream.client();
    for (script, about) in [
        (json!("reset"), "list of steps"),
        (json!(["explode"]), "unknown variant `explode`"),
        (json!([{ "error": { "status": 99, "message": "no" } }]), "99 is no status of an error"),
        (json!([{ "error": { "status": 429, "message": "no", "retry_after": "a\nb" } }]), "retry_after"),
    ] {
        let refused = client.post("/scripted/next", &script).await;
        assert_eq!(refused.status, 400, "{script}");
        assert!(refused.text().contains(about), "{}", refused.text());
    }
    assert_eq!(client.post("/v1/chat/completions", &asks("any", false)).await.content(), "hello");
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_with_its_number() {
    let upstream = Upstream::start().await;
    let port = upstream.url("anthropic").rsplit(':').next().unwrap();
    let mut command = Command::new(binary());
    let mut second =
        command.args(["dev", "upstream", "--port", port]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    second.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(second.wait().await.unwrap().code(), Some(1));
    assert!(said.contains(&format!("cannot serve on port {port}")), "{said}");
}

/// What it prints for an app's configuration works as it is, and what goes wrong behind OPG is seen before it.
#[tokio::test]
async fn an_app_takes_its_providers_as_printed() {
    let upstream = Upstream::start().await;
    let app = TestApp::local().await;
    let mut providers = upstream.said["providers"].clone();
    for provider in providers.as_object_mut().unwrap().values_mut() {
        provider["apiKey"] = json!(UPSTREAM_KEY);
    }
    let acme = app.tenant_with(json!({ "id": "acme", "providers": providers })).await;
    for provider in ["openai", "responses", "anthropic", "google"] {
        assert_eq!(acme.chat(&format!("{provider}/any"), "hello").await.content(), "hello", "{provider}");
        let limited = acme.chat(&format!("{provider}/chaos-429"), "hello").await;
        assert_eq!((limited.status, limited.header("retry-after")), (429, "2"), "{provider}");
        let reset = acme.chat(&format!("{provider}/chaos-reset"), "hello").await;
        assert_eq!(reset.status, 502, "{provider}: {}", reset.text());
    }
    let received = upstream.client().get("/scripted/requests").await;
    assert!(!received.text().contains(UPSTREAM_KEY), "{}", received.text());
}
