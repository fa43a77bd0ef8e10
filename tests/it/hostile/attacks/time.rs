//! Guests that take time, and do not give it back.

use crate::hostile::arena::Mallory;
use opg_tests::{guests, hostile};
use serde_json::json;
use std::time::Duration;

pub(in crate::hostile) async fn spin_in_start(mallory: &Mallory) {
    mallory.refused(mallory.guest.wasm(), "describe_failed", "time limit").await;
}

pub(in crate::hostile) async fn sleepy_describe(mallory: &Mallory) {
    mallory.refused(mallory.guest.wasm(), "describe_failed", "time limit").await;
}

pub(in crate::hostile) async fn spin_in_realloc(mallory: &Mallory) {
    mallory.install().await;
    mallory.stopped(json!({}), "tool_timeout").await;
}

pub(in crate::hostile) async fn spin(mallory: &Mallory) {
    mallory.install().await;
    mallory.stopped(json!({}), "tool_timeout").await;
}

pub(in crate::hostile) async fn spin_in_post_return(mallory: &Mallory) {
    mallory.install().await;
    let answer = mallory.stopped(json!({}), "tool_timeout").await;
    assert_eq!(answer.json().get("output"), None, "the answer is not delivered, nor delivered twice");
}

pub(in crate::hostile) async fn spin_in_destructor(mallory: &Mallory) {
    mallory.install().await;
    mallory.stopped(json!({}), "tool_timeout").await;
}

pub(in crate::hostile) async fn spin_on_clock(mallory: &Mallory) {
    mallory.install().await;
    asked_too_often(mallory).await;
}

pub(in crate::hostile) async fn spin_on_poll(mallory: &Mallory) {
    mallory.install().await;
    asked_too_often(mallory).await;
}

/// How far a loop around an import comes depends on the machine: to its deadline, or to the limit of calls.
async fn asked_too_often(mallory: &Mallory) {
    let answer = mallory.invoke(json!({})).await;
    match answer.json()["code"].as_str() {
        Some("tool_timeout") => {}
        Some("tool_trap") => assert!(answer.text().contains("asked the host"), "{}", answer.text()),
        _ => panic!("{}", answer.text()),
    }
    assert_eq!(mallory.audited("tool.run").await["result"], "failed");
}

pub(in crate::hostile) async fn sleep_forever(mallory: &Mallory) {
    mallory.install().await;
    let answer = mallory.stopped(json!({}), "tool_timeout").await;
    let cpu_ms = answer.json()["cpu_ms"].as_f64();
    assert!(cpu_ms.is_some_and(|ms| ms < 100.0), "to wait costs nothing: {}", answer.text());
}

/// Also what `m359_the_65th_call_of_one_app_is_refused_while_anothers_goes_through` says of guests that wait for a site.
pub(in crate::hostile) async fn crowd(mallory: &Mallory) {
    mallory.install().await;
    // Not at once: what counts is that they sleep, not how many requests come in a moment.
    let calls = (0..200).map(async |call| {
        tokio::time::sleep(Duration::from_millis(4) * call).await;
        mallory.invoke(json!({})).await
    });
    let mut refused = 0;
    for answer in futures_util::future::join_all(calls).await {
        match (answer.status, answer.json()["code"].as_str()) {
            (429, Some("too_many_calls")) => refused += 1,
            (504, Some("tool_timeout")) => {}
            _ => panic!("{}", answer.text()),
        }
    }
    assert!((1..=136).contains(&refused), "64 at once run, and more only when some have ended: {refused}");
    assert_eq!(mallory.audited("tool.run").await["result"], "failed");
}

pub(in crate::hostile) async fn memory_fill(mallory: &Mallory) {
    mallory.install().await;
    mallory.stopped(json!({}), "tool_timeout").await;
}

pub(in crate::hostile) async fn relay(mallory: &Mallory) {
    mallory.install().await;
    let deep = mallory.invoke(json!({ "depth": 10 })).await.json();
    assert_eq!(deep["output"]["reached"], 4, "{deep}");
    assert_eq!(deep["output"]["stopped_by"]["error"], "limit", "{deep}");
    assert_eq!(mallory.audited("tool.run").await["result"], "ok");
}

pub(in crate::hostile) async fn ping_pong(mallory: &Mallory) {
    mallory.install().await;
    mallory.stopped_as("ping-pong_ping", json!({}), "tool_timeout").await;
}

pub(in crate::hostile) async fn trap(mallory: &Mallory) {
    mallory.install().await;
    mallory.install_as("tools", "wasi", guests::WASI.to_vec()).await;
    mallory.install_as("tools", "spin", hostile::SPIN.wasm()).await;
    for _ in 0..3 {
        mallory.stopped(json!({ "message": "ouch" }), "tool_trap").await;
        let exited = mallory.stopped_as("wasi_leave", json!({ "code": 3 }), "tool_trap").await;
        assert!(exited.text().contains("exited"), "{}", exited.text());
    }
    // Who goes away takes the guest along; the slot and the row of the run are seen to all the same.
    mallory.leave("spin", Duration::from_millis(100)).await;
    let looks = mallory.client.invoke("wasi", json!({})).await;
    assert_eq!(looks.status, 200, "the next call is as good as the first: {}", looks.text());
}

/// One that never ends, by drops and by floods.
pub(in crate::hostile) async fn agent_drip(mallory: &Mallory) {
    mallory.install_as("agents", mallory.guest.name, mallory.guest.wasm()).await;
    for text in ["drip", "flood"] {
        let body = json!({
            "model": "demo/assistant", "agent": mallory.guest.name, "stream": true,
            "messages": [{ "role": "user", "content": text }],
        });
        let answer = mallory.client.post("/v1/chat/completions", &body).await;
        assert!(answer.body.len() < 8 << 20, "{text}: an answer has an end: {} bytes", answer.body.len());
        let tail = answer.text();
        let tail = &tail[tail.ceil_char_boundary(tail.len().saturating_sub(500))..];
        assert!(tail.contains("agent_timeout"), "{text}: {tail}");
        assert_eq!(mallory.audited("agent.run").await["result"], "failed");
    }
}
