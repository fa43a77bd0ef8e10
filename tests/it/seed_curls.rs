//! The examples of the design document this grew out of, as a shell runs them: apart from the port and the
//! token, as they were written.

use opg_tests::{
    app::{ADMIN_TOKEN, TestApp},
    upstream::{ScriptedUpstream, Step},
};
use serde_json::{Value, json};
use std::process::Command;

const CREATE_TENANT: &str = r#"curl -X POST http://localhost:3000/v1/admin/tenants \
  -H "Authorization: Bearer admin_secret" \
  -H "Content-Type: application/json" \
  -d '{
    "id": "acme",
    "name": "ACME Corp",
    "providers": {
      "anthropic": { "apiKey": "sk-ant-..." }
    },
    "defaultModel": {
      "providerId": "anthropic",
      "modelId": "claude-sonnet"
    }
  }'"#;

const CHAT: &str = r#"curl -X POST http://localhost:3000/v1/chat/completions \
  -H "Authorization: Bearer ocs_acme_EXAMPLE_TOKEN" \
  -H "Content-Type: application/json" \
  -d '{
    "model": "anthropic/claude-sonnet",
    "messages": [
      { "role": "user", "content": "Hello, what tools do you have?" }
    ],
    "stream": false
  }'"#;

const STREAMING_CHAT: &str = r#"curl -X POST http://localhost:3000/v1/chat/completions \
  -H "Authorization: Bearer ocs_acme_EXAMPLE_TOKEN" \
  -H "Content-Type: application/json" \
  -d '{
    "model": "anthropic/claude-sonnet",
    "messages": [
      { "role": "user", "content": "Write a haiku" }
    ],
    "stream": true
  }'"#;

const UPLOAD: &str = r#"curl -X PUT http://localhost:3000/v1/tenant/tools/my-db-tool \
  -H "Authorization: Bearer ocs_acme_EXAMPLE_TOKEN" \
  -H "Content-Type: text/plain" \
  --data-binary @my-db-tool.ts"#;

/// Runs an example in a shell and gives what it printed.
async fn shell(app: &TestApp, example: &str, token: &str) -> String {
    let here = format!("localhost:{}", app.running.addr.port());
    let script = example.replace("localhost:3000", &here).replace("ocs_acme_EXAMPLE_TOKEN", token);
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).env("no_proxy", "localhost");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn m001_the_first_three_examples_of_the_seed_work_as_written() {
    assert_eq!(ADMIN_TOKEN, "admin_secret", "as in the example");
    let (app, upstream) = (TestApp::local().await, ScriptedUpstream::start().await);

    let created: Value = serde_json::from_str(&shell(&app, CREATE_TENANT, "").await).unwrap();
    let token = created["token"].as_str().unwrap();
    assert!(token.starts_with("ocs_acme_"), "{created}");

    // The real provider is elsewhere; from here on it is the scripted one, which wants the key again.
    let acme = app.client(Some(token));
    let mut config = acme.get("/v1/tenant").await.json();
    config["providers"] = json!({ "anthropic": { "apiKey": "sk-ant-...", "baseUrl": upstream.base_url() } });
    let put = acme.put("/v1/tenant", &config).await;
    assert_eq!(put.status, 200, "{}", put.text());

    upstream.script(vec![Step::text("I have access to...")]);
    let answer: Value = serde_json::from_str(&shell(&app, CHAT, token).await).unwrap();
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"), "{answer}");
    assert_eq!(
        (&answer["object"], &answer["model"]),
        (&json!("chat.completion"), &json!("anthropic/claude-sonnet"))
    );
    let message = json!({ "role": "assistant", "content": "I have access to...", "tool_calls": null });
    assert_eq!(answer["choices"][0]["message"], message);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(upstream.received()[0].body["model"], "claude-sonnet");
    assert_eq!(upstream.received()[0].headers["x-api-key"], "sk-ant-...", "in Anthropic's own dialect");

    upstream.script(vec![Step::text("Silent"), Step::text(" code")]);
    let stream = shell(&app, STREAMING_CHAT, token).await;
    let frames: Vec<&str> = stream.split("\n\n").filter(|frame| !frame.is_empty()).collect();
    assert!(frames.iter().all(|frame| frame.starts_with("data: ")), "{stream}");
    assert_eq!(*frames.last().unwrap(), "data: [DONE]");
    let said: String = frames[..frames.len() - 1]
        .iter()
        .map(|frame| serde_json::from_str::<Value>(frame.trim_start_matches("data: ")).unwrap())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(said, "Silent code");
}

#[tokio::test]
async fn m258_the_fourth_example_of_the_seed_uploads_a_tool_that_runs() {
    let app = TestApp::local().await;
    let acme = app.tenant("acme").await;
    let beside_the_file = format!("cd '{}/fixtures/opencode-tools' && {UPLOAD}", env!("CARGO_MANIFEST_DIR"));
    let uploaded: Value = serde_json::from_str(&shell(&app, &beside_the_file, acme.token()).await).unwrap();
    assert_eq!(
        (&uploaded["kind"], &uploaded["status"]),
        (&json!("typescript"), &json!("active")),
        "{uploaded}"
    );

    // As curl sends it where no type is given.
    let untyped = beside_the_file.replace("  -H \"Content-Type: text/plain\" \\\n", "");
    assert_ne!(untyped, beside_the_file);
    let again: Value = serde_json::from_str(&shell(&app, &untyped, acme.token()).await).unwrap();
    assert_eq!(again, uploaded);
    let ran = acme.invoke("my-db-tool", json!({ "query": "select 1" })).await;
    assert_eq!(ran.json()["output"], "Executed query: select 1", "{}", ran.text());
}
