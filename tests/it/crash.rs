//! kill -9 of the real binary, under load, on its embedded database: nothing
//! that was acknowledged is missing, and it comes back by itself.

use opg_tests::{app, guests, process::OpgProcess};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

#[tokio::test]
async fn m061_nothing_acknowledged_is_missing_after_kill_9_during_chat_and_uploads() {
    let dir = tempfile::tempdir().unwrap();
    let opg = OpgProcess::start(dir.path()).await;
    let acme = opg.tenant("acme").await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;

    let uploaded = Arc::new(Mutex::new(Vec::<(String, i64)>::new()));
    let answered = Arc::new(Mutex::new(Vec::<String>::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let mut work = tokio::task::JoinSet::new();
    for worker in 0..3 {
        let (client, seen, ended) = (acme.clone(), uploaded.clone(), stop.clone());
        work.spawn(async move {
            for n in 0.. {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let name = format!("tool-{worker}-{}", n % 8);
                // Never the bytes of the version before, which would change nothing.
                let wasm = if n / 8 % 2 == 0 { guests::COUNTER } else { guests::WORD_COUNT };
                let put = client.request("PUT", &format!("/v1/tenant/tools/{name}"));
                let sent = put.header("content-type", "application/wasm").body(wasm).send().await;
                let Ok(answer) = sent else { return };
                assert!(answer.status().is_success());
                let Ok(body) = answer.json::<Value>().await else { return };
                seen.lock().unwrap().push((name, body["version"].as_i64().unwrap()));
            }
        });
        let (client, seen, ended) = (acme.clone(), answered.clone(), stop.clone());
        work.spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let post = client.request("POST", "/v1/chat/completions").header("x-opg-session-id", "new");
                let text = r#"call word-count {"text": "a b"}"#;
                let body =
                    json!({ "model": "demo/assistant", "messages": [{ "role": "user", "content": text }] });
                let Ok(answer) = post.json(&body).send().await else { return };
                let id = answer.headers().get("x-opg-session-id").map(|id| id.to_str().unwrap().to_owned());
                // Acknowledged: the whole answer arrived.
                if let (Some(id), Ok(body)) = (id, answer.json::<Value>().await)
                    && body["choices"][0]["finish_reason"] == "stop"
                {
                    seen.lock().unwrap().push(id);
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    opg.kill_9().await;
    stop.store(true, Ordering::Relaxed);
    while work.join_next().await.is_some() {}
    let (uploaded, answered) = (uploaded.lock().unwrap().clone(), answered.lock().unwrap().clone());
    assert!(
        uploaded.len() > 3 && answered.len() > 3,
        "there was load: {} and {}",
        uploaded.len(),
        answered.len()
    );

    let opg = OpgProcess::start(dir.path()).await;
    let acme = opg.client(Some(acme.token()));
    for (name, version) in &uploaded {
        let shown = acme.get(&format!("/v1/tenant/tools/{name}")).await;
        assert_eq!(shown.status, 200, "{name} was acknowledged: {}", shown.text());
        let newest = shown.json()["version"].as_i64().unwrap();
        assert!(newest >= *version, "{name} version {version} was acknowledged, {newest} is there");
    }
    let (last, _) = uploaded.last().unwrap();
    let ran = acme.invoke(last, json!({ "text": "a b" })).await;
    assert!(matches!(ran.status, 200 | 422), "and its code is whole: {}", ran.text());
    for id in &answered {
        let body =
            json!({ "model": "demo/assistant", "messages": [{ "role": "user", "content": "and now?" }] });
        let post = acme.request("POST", "/v1/chat/completions").header("x-opg-session-id", id).json(&body);
        let answer = app::send(post).await;
        assert_eq!(answer.status, 200, "session {id} was acknowledged: {}", answer.text());
        let prompt_tokens = answer.json()["usage"]["prompt_tokens"].as_u64().unwrap();
        assert!(prompt_tokens > 20, "its history is there: {prompt_tokens} tokens");
    }
    let uses = acme.get("/v1/usage/summary").await.json();
    let runs: u64 = uses["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|t| t["kind"] == "tool")
        .map(|t| t["count"].as_u64().unwrap())
        .sum();
    assert!(runs >= answered.len() as u64, "every acknowledged answer's tool run is in the ledger");
    opg.stop().await;
}

#[tokio::test]
async fn m061_sigterm_lets_a_running_answer_finish_and_leaves_no_database_behind() {
    let dir = tempfile::tempdir().unwrap();
    let opg = OpgProcess::start(dir.path()).await;
    let acme = opg.tenant("acme").await;
    let body = json!({
        "model": "demo/slow",
        "stream": true,
        "max_tokens": 10,
        "messages": [{ "role": "user", "content": "tell me something" }],
    });
    let answer = acme.request("POST", "/v1/chat/completions").json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let reading = tokio::spawn(async move { answer.text().await });
    let code = opg.stop().await;
    let text = reading.await.unwrap().unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(code, Some(0));
    assert!(!dir.path().join("postgres").join("data-15").join("postmaster.pid").exists());
}
