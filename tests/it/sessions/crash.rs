//! kill -9 of the host in the middle of many running sessions.

use super::{Watch, at, messages, said};
use opg_tests::process::OpgProcess;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

/// Sessions whose turns run when the host dies.
const SESSIONS: usize = 50;

#[tokio::test]
async fn m303_m325_after_a_kill_every_session_is_whole_and_every_reader_goes_on_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let opg = OpgProcess::start(dir.path()).await;
    let acme = opg.tenant("acme").await;
    let mut runs = tokio::task::JoinSet::new();
    for n in 0..SESSIONS {
        let client = acme.clone();
        runs.spawn(async move {
            let made = client.post("/v1/sessions", &json!({ "model": "demo/slow" })).await;
            assert_eq!(made.status, 201, "{}", made.text());
            let id = made.json()["id"].as_str().unwrap().to_owned();
            let mut watch = Watch::open(&client, &id, Some(0)).await;
            let first =
                client.post(&at(&id, "prompt"), &said(&format!("session {n} tell me something long"))).await;
            assert_eq!(first.status, 202, "{}", first.text());
            // Half of them have another that waits.
            let mut asked = vec![first.json()["message_id"].clone()];
            if n % 2 == 0 {
                let mut body = said("and then");
                body["queue"] = json!(true);
                let second = client.post(&at(&id, "prompt"), &body).await;
                assert_eq!(second.status, 202, "{}", second.text());
                asked.push(second.json()["message_id"].clone());
            }
            let seen = watch.until(|event| event["role"] == "assistant").await;
            (id, asked, seen, watch)
        });
    }
    let mut sessions = vec![];
    while let Some(run) = runs.join_next().await {
        sessions.push(run.unwrap());
    }
    opg.kill_9().await;
    let mut told = vec![];
    for (id, asked, mut seen, mut watch) in sessions {
        // What had been sent is the client's, as far as it came.
        while let Some(event) = watch.next().await {
            seen.push(event);
        }
        told.push((id, asked, seen));
    }

    let opg = OpgProcess::start(dir.path()).await;
    let acme = opg.client(Some(acme.token()));
    for (id, asked, seen) in told {
        let last = seen.last().unwrap()["seq"].as_i64().unwrap();
        let mut watch = Watch::open(&acme, &id, Some(last)).await;
        let mut ended: BTreeSet<String> = seen
            .iter()
            .filter(|event| event["type"] == "turn.ended")
            .map(|event| event["turn_id"].to_string())
            .collect();
        let mut rest: Vec<Value> = vec![];
        while ended.len() < asked.len() {
            let event = watch.next().await.expect("the stream goes on");
            if event["type"] == "turn.ended" {
                ended.insert(event["turn_id"].to_string());
            }
            if event["seq"].is_number() {
                rest.push(event);
            }
        }
        let numbers: Vec<i64> =
            seen.iter().chain(&rest).map(|event| event["seq"].as_i64().unwrap()).collect();
        let expected: Vec<i64> = (1..=i64::try_from(numbers.len()).unwrap()).collect();
        assert_eq!(numbers, expected, "no gap, and nothing twice");
        let again: Vec<Value> = {
            let mut watch = Watch::open(&acme, &id, Some(0)).await;
            watch.until(|event| event["seq"] == json!(numbers.len())).await
        };
        assert_eq!(again[..seen.len()], seen[..], "what a client was told is what is there");

        let kept = messages(&acme, &id).await;
        let ids: Vec<_> = kept.iter().map(|message| message["id"].clone()).collect();
        assert!(
            asked.iter().all(|id| ids.contains(id)),
            "every prompt that was taken is there: {asked:?} {kept:#?}"
        );
        let unique: BTreeSet<String> = ids.iter().map(Value::to_string).collect();
        assert_eq!(unique.len(), ids.len(), "and none is there twice");
        // Half an answer that a reader was told is in the history.
        let spoken: String = again
            .iter()
            .filter(|event| event["type"] == "message.append" && event["message_id"] == kept[1]["id"])
            .map(|event| event["part"]["text"].as_str().unwrap())
            .collect();
        assert_eq!(kept[1]["parts"][0]["text"], json!(spoken));
        assert!(!spoken.is_empty());
        super::expect_status(&acme, &id, "idle").await;
    }
    let mut busy = acme.get("/v1/sessions?status=active").await.json();
    for _ in 0..50 {
        if busy["data"] == json!([]) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        busy = acme.get("/v1/sessions?status=active").await.json();
    }
    assert_eq!(busy["data"], json!([]));
    opg.stop().await;
}
