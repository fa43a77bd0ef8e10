//! Agents: markdown and components, uploaded, chosen, run and stopped.

use opg_tests::{
    app::{Client, TestApp},
    guests,
    upstream::{ScriptedUpstream, Step},
};
use serde_json::{Value, json};
use std::time::Duration;

const COUNTER: &str = "---\ndescription: Counts words\ntemperature: 0.25\nmodel: openai/wise\ntools:\n  word-count: true\n---\n\nYou count words.\n";

fn path(name: &str) -> String {
    format!("/v1/tenant/agents/{name}")
}

async fn markdown(client: &Client, name: &str, text: &str) -> opg_tests::app::Answer {
    client.put_bytes(&path(name), "text/markdown", text.to_owned()).await
}

fn ask(agent: Option<&str>, text: &str) -> Value {
    let mut body = json!({ "model": "openai/scripted", "messages": [{ "role": "user", "content": text }] });
    if let Some(agent) = agent {
        body["agent"] = json!(agent);
    }
    body
}

#[tokio::test]
async fn m020_m225_a_markdown_agent_runs_with_its_prompt_model_temperature_and_tools() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    acme.install_tool("shout", guests::SHOUT).await;
    let made = markdown(&acme, "counter", COUNTER).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!((&made.json()["kind"], &made.json()["status"]), (&json!("markdown"), &json!("active")));

    let answer =
        acme.post("/v1/chat/completions", &ask(Some("counter"), r#"call word-count {"text": "a b"}"#)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.content().contains(r#""words":2"#), "{}", answer.text());
    assert_eq!(answer.json()["model"], "openai/wise", "whoever names an agent names its model");

    let first = &upstream.received()[0].body;
    assert_eq!((&first["model"], &first["temperature"]), (&json!("wise"), &json!(0.25)));
    assert_eq!(first["messages"][0], json!({ "role": "system", "content": "You count words." }));
    let tools: Vec<_> =
        first["tools"].as_array().unwrap().iter().map(|t| t["function"]["name"].clone()).collect();
    assert_eq!(tools, ["word-count"], "no more tools than it names");

    let mut own = ask(Some("counter"), "hi");
    own["temperature"] = json!(1.5);
    acme.post("/v1/chat/completions", &own).await;
    assert_eq!(upstream.received().last().unwrap().body["temperature"], 1.5, "the request's own wish wins");

    let shown = acme.get(&path("counter")).await.json();
    assert_eq!(shown["exports"][0]["description"], "Counts words");
    let text = acme.request("GET", &path("counter")).header("accept", "text/markdown");
    let text = opg_tests::app::send(text).await;
    assert_eq!(text.text(), COUNTER);
    assert!(text.header("content-type").starts_with("text/markdown"));
}

#[tokio::test]
async fn m020_m225_a_markdown_agent_that_is_wrong_is_refused_with_its_line_or_its_missing_tool() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    for (text, line) in [
        ("You count.", 1),
        ("---\ndescription: x\ntemperature: [\n---\nhi", 3),
        ("---\nmode: x\n---\nhi", 2),
        ("---\ndescription: x\n---\n", 4),
    ] {
        let refused = markdown(&acme, "bad", text).await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (422, Some("bad_markdown")), "{text}");
        assert_eq!(refused.json()["line"], line, "{text}: {}", refused.text());
    }
    let missing = markdown(&acme, "bad", "---\ndescription: x\ntools: [word-count]\n---\nhi").await;
    assert_eq!((missing.status, missing.json()["code"].as_str()), (422, Some("unknown_tool")));
    assert!(missing.text().contains("word-count"));
    let latin1 = acme.put_bytes(&path("bad"), "text/markdown", vec![0xff_u8, 0xfe]).await;
    assert_eq!((latin1.status, latin1.json()["code"].as_str()), (422, Some("not_utf8")));
    let large = acme.put_bytes(&path("bad"), "text/markdown", "x".repeat((256 << 10) + 1)).await;
    assert_eq!(large.status, 413);
    assert_eq!(acme.put_bytes(&path("bad"), "application/json", "{}").await.status, 415);
    let tool = acme.put_bytes(&path("bad"), "application/wasm", guests::WORD_COUNT).await;
    assert_eq!((tool.status, tool.json()["code"].as_str()), (422, Some("wrong_kind")));
    assert_eq!(acme.get("/v1/tenant/agents").await.json()["data"], json!([]));
}

#[tokio::test]
async fn m223_m224_m226_agents_are_listed_and_deleted_and_the_default_is_not_without_force() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_agent("echo", guests::AGENT_ECHO).await;
    markdown(&acme, "default", "---\ndescription: Ours\n---\nBe brief.").await;
    let listed = acme.get("/v1/tenant/agents").await.json();
    let names: Vec<_> =
        listed["data"].as_array().unwrap().iter().map(|a| (a["name"].clone(), a["kind"].clone())).collect();
    assert_eq!(names, [(json!("default"), json!("markdown")), (json!("echo"), json!("component"))]);
    assert_eq!(acme.delete(&path("echo")).await.status, 204);
    assert_eq!(acme.get(&path("echo")).await.status, 404);
    let refused = acme.delete(&path("default")).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (409, Some("is_default_agent")));
    assert_eq!(acme.delete(&format!("{}?force=true", path("default"))).await.status, 204);
}

#[tokio::test]
async fn m014_a_request_chooses_its_agent_by_name_and_an_unknown_one_is_404() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    acme.install_agent("echo", guests::AGENT_ECHO).await;
    let echoed = acme.post("/v1/chat/completions", &ask(Some("echo"), "again")).await;
    assert_eq!((echoed.content(), upstream.received().len()), ("again".to_owned(), 0), "it asked no model");
    for unknown in ["nobody", "Echo", "../echo"] {
        let answer = acme.post("/v1/chat/completions", &ask(Some(unknown), "x")).await;
        assert_eq!(answer.status, 404, "{unknown}: {}", answer.text());
        let error = &answer.json()["error"];
        assert_eq!((&error["code"], &error["param"]), (&json!("agent_not_found"), &json!("agent")));
    }
    let rival = app.tenant("rival").await;
    assert_eq!(rival.post("/v1/chat/completions", &ask(Some("echo"), "x")).await.status, 404, "not theirs");
    let plain = acme.post("/v1/chat/completions", &ask(None, "plain")).await;
    assert_eq!(
        (plain.content(), upstream.received().len()),
        ("plain".to_owned(), 1),
        "nobody named: the model"
    );
}

#[tokio::test]
async fn m010_an_apps_own_default_shadows_the_shipped_one() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    acme.post("/v1/chat/completions", &ask(None, "before")).await;
    assert_eq!(
        upstream.received()[0].body["messages"].as_array().unwrap().len(),
        1,
        "the gateway adds nothing"
    );
    markdown(&acme, "default", "---\ndescription: Ours\nmodel: openai/ours\n---\nBe brief.").await;
    acme.post("/v1/chat/completions", &ask(None, "after")).await;
    let received = upstream.received();
    assert_eq!(received[1].body["messages"][0], json!({ "role": "system", "content": "Be brief." }));
    assert_eq!(received[1].body["model"], "scripted", "the request named its model");
    let mut modelless = ask(None, "x");
    modelless.as_object_mut().unwrap().remove("model");
    acme.post("/v1/chat/completions", &modelless).await;
    assert_eq!(
        upstream.received()[2].body["model"],
        "ours",
        "where the request names none, the agent's stands in"
    );
}

#[tokio::test]
async fn m359_an_agent_that_spins_is_stopped_before_and_after_its_first_word() {
    let app = TestApp::with(|config| config.agent_time_limit = Duration::from_millis(800)).await;
    let acme = app.tenant("acme").await;
    acme.install_agent("spin", guests::AGENT_SPIN).await;
    let mut body = ask(Some("spin"), "x");
    body["model"] = json!("demo/assistant");
    let whole = acme.post("/v1/chat/completions", &body).await;
    assert_eq!((whole.status, whole.json()["error"]["code"].as_str()), (504, Some("agent_timeout")));
    body["stream"] = json!(true);
    let streamed = acme.post("/v1/chat/completions", &body).await;
    let frames = streamed.frames();
    assert_eq!(streamed.status, 200, "it had said a word");
    assert_eq!(frames[1]["choices"][0]["delta"]["content"], "wait");
    assert_eq!(frames.last().unwrap()["error"]["code"], "agent_timeout", "{frames:?}");
    assert_eq!(acme.chat("demo/assistant", "still there?").await.status, 200);
    let statuses: Vec<_> = acme.uses().await.iter().map(|row| row["status"].clone()).collect();
    assert_eq!(statuses, ["failed", "failed", "ok"]);
}

#[tokio::test]
async fn m226_a_model_that_never_stops_calling_tools_is_stopped_at_the_agents_steps() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    acme.install_tool("counter", guests::COUNTER).await;
    markdown(&acme, "patient", "---\ndescription: x\nsteps: 2\n---\nTry.").await;
    upstream.script_for_model("scripted", vec![Step::tool_call("call_1", "counter", "{}")]);
    let two = acme.post("/v1/chat/completions", &ask(Some("patient"), "go")).await.json();
    assert_eq!((&two["choices"][0]["finish_reason"], upstream.received().len()), (&json!("length"), 2));
    let most = acme.post("/v1/chat/completions", &ask(None, "go")).await.json();
    assert_eq!((&most["choices"][0]["finish_reason"], upstream.received().len()), (&json!("length"), 2 + 16));
}

#[tokio::test]
async fn an_alias_that_multiplies_is_refused_before_it_is_read() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let list = vec!["1"; 2000].join(",");
    let uses = vec!["*a"; 2000].join(",");
    let bomb = format!("---\ndescription: x\nq: &a [{list}]\ntools: [{uses}]\n---\nhi");
    let answer = acme.put_bytes("/v1/tenant/agents/bomb", "text/markdown", bomb).await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (422, json!("bad_markdown")),
        "{}",
        answer.text()
    );
}
