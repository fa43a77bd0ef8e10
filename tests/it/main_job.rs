//! The main job, from an operator's first call to the last audit row.

use opg_tests::{app::TestApp, guests};
use serde_json::json;

#[tokio::test]
async fn a_tenants_tool_is_called_by_a_model_through_chat_and_nothing_of_the_call_remains() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;

    let answer = acme.chat("demo/assistant", r#"call word-count {"text": "one two three"}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.content().contains(r#""words":3"#), "{}", answer.text());
    let choice = &answer.json()["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    assert!(
        choice["message"].get("tool_calls").is_none_or(serde_json::Value::is_null),
        "the app's tools stay inside"
    );

    let uses = acme.get("/v1/usage/ai-logs").await.json();
    let mut kinds: Vec<_> =
        uses["data"].as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap().to_owned()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["agent", "tokens", "tokens", "tool"]);
    let audit = acme.get("/v1/tenant/audit?action=agent.run").await.json();
    assert_eq!(
        audit["data"][0]["detail"]["reached"]["tool:word-count"],
        json!({ "allowed": 1, "denied": 0 })
    );
    assert_eq!(
        app.sql("select count(*)::text from sessions").await,
        ["0"],
        "m244: a stateless call leaves no session"
    );
}

#[tokio::test]
async fn the_same_answer_streams() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let body = json!({
        "model": "demo/assistant",
        "stream": true,
        "messages": [{ "role": "user", "content": r#"call word-count {"text": "one two three"}"# }],
    });
    let answer = acme.post("/v1/chat/completions", &body).await;
    let frames = answer.frames();
    assert_eq!(frames[0]["choices"][0]["delta"], json!({ "role": "assistant" }));
    let text: String = frames.iter().filter_map(|f| f["choices"][0]["delta"]["content"].as_str()).collect();
    assert!(text.contains(r#""words":3"#), "{text}");
    assert_eq!(frames.last().unwrap(), "[DONE]");
}
