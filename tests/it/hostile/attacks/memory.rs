//! Guests that take memory, stacks, tables and handles.

use crate::hostile::arena::Mallory;
use serde_json::json;

pub(in crate::hostile) async fn recurse(mallory: &Mallory) {
    mallory.install().await;
    let answer = mallory.stopped(json!({}), "tool_trap").await;
    assert!(answer.text().contains("call stack exhausted"), "{}", answer.text());
}

pub(in crate::hostile) async fn hog(mallory: &Mallory) {
    mallory.install().await;
    let answer = mallory.stopped(json!({}), "tool_oom").await;
    let peak = answer.json()["memory_bytes_peak"].as_u64();
    assert!(peak.is_some_and(|bytes| bytes <= 64 << 20), "{}", answer.text());
}

pub(in crate::hostile) async fn many_memories(mallory: &Mallory) {
    let instances: String = (4..12).map(|n| format!("(core instance $i{n} (instantiate $store))")).collect();
    let more =
        mallory.guest.variant("(core module $main-code", &format!("{instances} (core module $main-code"));
    let wide = mallory.client.put_bytes("/v1/tenant/tools/wide", "application/wasm", more).await;
    assert_eq!((wide.status, wide.json()["code"].as_str()), (422, Some("bad_component")), "{}", wide.text());
    mallory.install().await;
    let answer = mallory.stopped(json!({}), "tool_oom").await;
    let peak = answer.json()["memory_bytes_peak"].as_u64();
    assert!(peak.is_some_and(|bytes| bytes <= 64 << 20), "one budget for all: {}", answer.text());
}

pub(in crate::hostile) async fn table_grow(mallory: &Mallory) {
    let tables = "(table 1 funcref) ".repeat(100);
    let more =
        mallory.guest.variant("(table $table 1 funcref)", &format!("(table $table 1 funcref) {tables}"));
    let wide = mallory.client.put_bytes("/v1/tenant/tools/wide", "application/wasm", more).await;
    assert_eq!((wide.status, wide.json()["code"].as_str()), (422, Some("bad_component")), "{}", wide.text());
    mallory.install().await;
    mallory.stopped(json!({}), "tool_oom").await;
}

pub(in crate::hostile) async fn page_storm(mallory: &Mallory) {
    mallory.install().await;
    mallory.ended(json!({})).await;
}

pub(in crate::hostile) async fn handles(mallory: &Mallory) {
    mallory.install().await;
    mallory.stopped(json!({}), "tool_trap").await;
}

pub(in crate::hostile) async fn random_flood(mallory: &Mallory) {
    mallory.install().await;
    let answer = mallory.stopped(json!({}), "tool_trap").await;
    assert!(answer.json()["memory_bytes_peak"].as_u64().is_some_and(|bytes| bytes <= 2 << 20));
}

pub(in crate::hostile) async fn giant_argument(mallory: &Mallory) {
    mallory.install().await;
    for mode in [0, 1] {
        mallory.stopped(json!({ "mode": mode }), "tool_output_too_large").await;
    }
}

pub(in crate::hostile) async fn residue(mallory: &Mallory) {
    mallory.install().await;
    let other = Mallory { client: mallory.arena.other.clone(), ..mallory.clone() };
    other.install().await;
    for _ in 0..2 {
        assert_eq!(other.invoke(json!({ "mode": 0 })).await.status, 200);
        let found = mallory.invoke(json!({ "mode": 1 })).await;
        assert_eq!(found.json()["output"], 0, "{}", found.text());
    }
    assert_eq!(mallory.audited("tool.run").await["result"], "ok");
}
