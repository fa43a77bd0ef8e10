//! Guests whose answers, arguments and lines are not what they should be.

use crate::hostile::arena::Mallory;
use serde_json::json;

pub(in crate::hostile) async fn bad_pointers(mallory: &Mallory) {
    mallory.install().await;
    for mode in [0, 1, 2] {
        mallory.stopped(json!({ "mode": mode }), "tool_trap").await;
    }
    mallory.stopped(json!({ "mode": 3 }), "tool_output_too_large").await;
}

pub(in crate::hostile) async fn bad_values(mallory: &Mallory) {
    mallory.install().await;
    for mode in 0..8 {
        mallory.stopped(json!({ "mode": mode }), "tool_trap").await;
    }
}

pub(in crate::hostile) async fn deep_json(mallory: &Mallory) {
    mallory.install().await;
    for mode in [0, 1, 2] {
        mallory.stopped(json!({ "mode": mode }), "tool_bad_output").await;
    }
    mallory.stopped(json!({ "mode": 3 }), "tool_output_too_large").await;
}

pub(in crate::hostile) async fn fat_headers(mallory: &Mallory) {
    mallory.install().await;
    for (mode, code, says) in [
        (0, "tool_failed", "100 headers"),
        (1, "tool_failed", "bytes together"),
        (2, "tool_output_too_large", ""),
    ] {
        let answer = mallory.stopped(json!({ "mode": mode }), code).await;
        assert!(answer.text().contains(says), "{mode}: {}", answer.text());
    }
}

pub(in crate::hostile) async fn log_flood(mallory: &Mallory) {
    mallory.install().await;
    let answer = mallory.invoke(json!({})).await;
    // Whether its time or its calls of the host are used up first depends on the machine.
    let json = answer.json();
    assert!(
        ["tool_timeout", "tool_trap"].contains(&json["code"].as_str().unwrap_or_default()),
        "{json:.500}"
    );
    let logs = json["logs"].as_array().unwrap();
    assert!((3..=1000).contains(&logs.len()), "{}", logs.len());
    assert!(logs.len() < 1000 || json["log_lines_dropped"].as_u64().is_some_and(|lines| lines > 0));
    for line in logs {
        let message = line["message"].as_str().unwrap();
        assert!(!message.chars().any(char::is_control) && !message.contains('\u{202e}'), "{message:?}");
        assert!(message.len() < 9_000);
    }
    let forged = logs[0]["message"].as_str().unwrap();
    assert!(forged.starts_with(r"harmless\r\n\u{1b}[2J\u{1b}[31mERROR the host is down\r\n"), "{forged}");
    assert_eq!(mallory.audited("tool.run").await["result"], "failed");
    let rows = mallory.client.get("/v1/tenant/audit?action=secrets.write").await.json();
    assert_eq!(rows["data"], json!([]), "what a guest prints is no audit row");
}
