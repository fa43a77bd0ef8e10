//! Conversations that are summed up.

use super::{Watch, at, create, expect_status, messages, new_session, of_kind, prompt, said, start, turn};
use opg_tests::{
    app::{Client, send},
    upstream::Step,
};
use serde_json::{Value, json};

async fn summarize(client: &Client, id: &str) -> Vec<Value> {
    let mut watch = Watch::open(client, id, None).await;
    let taken = client.post(&at(id, "summarize"), &json!({})).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    watch.until(|event| event["type"] == "turn.ended" && event["turn_id"] == taken.json()["turn_id"]).await
}

fn asked(upstream: &opg_tests::upstream::ScriptedUpstream) -> Value {
    upstream.received().last().unwrap().body["messages"].clone()
}

#[tokio::test]
async fn m288_a_summary_takes_the_place_of_what_it_sums_up_and_all_is_still_listed() {
    let (_app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    for text in ["I like green tea.", "And the number is 4711."] {
        turn(&acme, &id, said(text)).await;
    }
    upstream.script(vec![Step::text("They like green tea."), Step::text(" The number: 4711.")]);
    let told = summarize(&acme, &id).await;
    assert_eq!(of_kind(&told, "turn.started")[0]["summary"], true);
    assert_eq!(of_kind(&told, "message.append"), Vec::<&Value>::new(), "nothing is told before it is whole");
    let summary = &of_kind(&told, "message.complete")[0]["message"];
    assert_eq!(
        (&summary["kind"], &summary["parts"][0]["text"]),
        (&json!("summary"), &json!("They like green tea. The number: 4711."))
    );
    assert_eq!(told.last().unwrap()["state"], "done");
    let by = asked(&upstream);
    assert_eq!(by.as_array().unwrap().len(), 2, "{by}");
    assert!(by[0]["content"].as_str().unwrap().contains("Sum it up"), "{by}");
    let conversation = by[1]["content"].as_str().unwrap();
    assert!(conversation.contains("[user] I like green tea.\n[assistant] I like"), "{conversation}");

    let again = acme.post(&at(&id, "summarize"), &json!({})).await;
    assert_eq!((again.status, &again.json()["code"]), (409, &json!("nothing_to_summarize")));
    turn(&acme, &id, said("What do I like?")).await;
    let next = asked(&upstream);
    let read: Vec<_> = next.as_array().unwrap().iter().map(|m| m["content"].as_str().unwrap()).collect();
    assert_eq!(read[1..], ["They like green tea. The number: 4711.", "What do I like?"]);
    assert_eq!(read.len(), 3);
    let kept = messages(&acme, &id).await;
    let shown: Vec<_> = kept.iter().map(|message| message["kind"].as_str().unwrap()).collect();
    assert_eq!(shown, ["message", "message", "message", "message", "summary", "message", "message"]);
    assert_eq!(kept[4]["id"], summary["id"]);

    // The next summary sums up the last one and what came after it, and nothing twice.
    upstream.script(vec![Step::text("Tea, again.")]);
    summarize(&acme, &id).await;
    let conversation = asked(&upstream)[1]["content"].as_str().unwrap().to_owned();
    assert!(
        conversation.contains("The number: 4711.") && !conversation.contains("I like green tea."),
        "{conversation}"
    );
    let fork = acme.post(&at(&id, "fork"), &json!({})).await.json()["id"].as_str().unwrap().to_owned();
    turn(&acme, &fork, said("Well?")).await;
    assert_eq!(asked(&upstream)[1]["content"], "Tea, again.", "a fork reads the same");

    // Back before both of them: what was summed up is read again.
    let back = json!({ "message_id": kept[2]["id"] });
    assert_eq!(acme.post(&at(&id, "revert"), &back).await.status, 200);
    turn(&acme, &id, said("So?")).await;
    let read = asked(&upstream);
    assert_eq!((&read[0]["content"], read.as_array().unwrap().len()), (&json!("I like green tea."), 3));
    assert!(messages(&acme, &id).await.iter().all(|message| message["kind"] == "message"));
}

#[tokio::test]
async fn m288_a_summary_that_fails_changes_nothing() {
    let (_app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    let empty = acme.post(&at(&id, "summarize"), &json!({})).await;
    assert_eq!((empty.status, &empty.json()["code"]), (409, &json!("nothing_to_summarize")));
    turn(&acme, &id, said("one")).await;
    turn(&acme, &id, said("two")).await;
    let before = messages(&acme, &id).await;
    let back = json!({ "message_id": before[2]["id"] });
    assert_eq!(acme.post(&at(&id, "revert"), &back).await.status, 200);
    for script in [
        vec![Step::error(500, "no")],
        vec![Step::text(" ")],
        vec![Step::text("cut off"), Step::Finish("length".to_owned())],
        vec![Step::text("half"), Step::Reset],
        vec![Step::Text("x".repeat(70_000))],
    ] {
        upstream.script(script);
        let told = summarize(&acme, &id).await;
        assert_eq!(told.last().unwrap()["state"], "failed", "{told:#?}");
        assert_eq!(of_kind(&told, "message.complete"), Vec::<&Value>::new());
    }
    assert_eq!(messages(&acme, &id).await, before[..2]);
    assert_eq!(acme.post(&at(&id, "unrevert"), &json!({})).await.status, 200, "what was taken back is there");
    assert_eq!(messages(&acme, &id).await, before);
    // One that somebody stops neither.
    upstream.script(vec![Step::text("half"), Step::Stall]);
    let taken = acme.post(&at(&id, "summarize"), &json!({})).await;
    assert_eq!(taken.status, 202);
    expect_status(&acme, &id, "active").await;
    assert_eq!(acme.post(&at(&id, "prompt"), &said("x")).await.status, 409);
    assert_eq!(acme.post(&at(&id, "abort"), &json!({})).await.status, 200);
    assert_eq!(messages(&acme, &id).await, before);
    for (body, status) in [(json!({ "model": "nowhere" }), 404), (json!({ "x": 1 }), 422)] {
        assert_eq!(acme.post(&at(&id, "summarize"), &body).await.status, status, "{body}");
    }
    let reads = acme.with_scopes(&["sessions:write"]).await;
    assert_eq!(reads.post(&at(&id, "summarize"), &json!({})).await.status, 403, "it spends money");
}

#[tokio::test]
async fn m328_a_conversation_that_fills_its_model_is_summed_up_before_the_next_turn() {
    let (app, upstream, acme) = start().await;
    let operator = app.operator();
    let source = json!({ "id": "one", "kind": "openai-compatible", "base_url": upstream.base_url(), "key": "sk-0123456789" });
    assert_eq!(operator.post("/platform/v1/ai/sources", &source).await.status, 201);
    let price = json!({ "input_micro_usd_per_mtok": 1, "output_micro_usd_per_mtok": 1 });
    let model = json!({ "id": "plat/large", "context_tokens": 1000, "sources": [{ "source": "one" }], "price": price });
    let made = operator.post("/platform/v1/ai/models", &model).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let may =
        send(operator.request("PUT", "/v1/admin/tenants/acme/ai/models").json(&json!({ "models": ["*"] })))
            .await;
    assert_eq!(may.status, 200, "{}", may.text());
    let long = || vec![Step::text("long"), Step::Usage { prompt_tokens: 840, completion_tokens: 20 }];

    let id = create(&acme, json!({ "model": "plat/large" })).await;
    upstream.script(vec![Step::text("short"), Step::Usage { prompt_tokens: 840, completion_tokens: 10 }]);
    let told = turn(&acme, &id, said("one")).await;
    let context = of_kind(&told, "context.info")[0];
    assert_eq!(
        (&context["tokens"], &context["limit"], &context["percent"]),
        (&json!(850), &json!(1000), &json!(85))
    );
    upstream.script(long());
    turn(&acme, &id, said("two")).await;
    let shown = acme.get(&format!("/v1/sessions/{id}")).await.json();
    assert_eq!((&shown["context_tokens"], &shown["context_limit"]), (&json!(860), &json!(1000)));

    // The next turn comes after a summary.
    upstream
        .script(vec![Step::text("One and two."), Step::Usage { prompt_tokens: 870, completion_tokens: 6 }]);
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said("three")).await;
    let first = watch.turn().await;
    assert_eq!(of_kind(&first, "message.complete")[0]["message"]["kind"], "summary", "{first:#?}");
    assert_eq!(of_kind(&first, "context.info")[0]["tokens"], 6);
    let second = watch.turn().await;
    assert_eq!(second.last().unwrap()["state"], "done");
    let read = asked(&upstream);
    assert_eq!((&read[1]["content"], &read[2]["content"]), (&json!("One and two."), &json!("three")));

    // One that fails keeps no turn from running, and is tried again after the next that is long.
    upstream.script(long());
    turn(&acme, &id, said("four")).await;
    upstream.script(vec![Step::text(" ")]);
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said("five")).await;
    assert_eq!(watch.turn().await.last().unwrap()["state"], "failed");
    assert_eq!(watch.turn().await.last().unwrap()["state"], "done");
    assert!(asked(&upstream).to_string().contains("four"));

    // A session may be set not to.
    let off =
        send(acme.request("PATCH", &format!("/v1/sessions/{id}")).json(&json!({ "compaction": "off" })))
            .await;
    assert_eq!((off.status, &off.json()["compaction"]), (200, &json!("off")));
    upstream.script(long());
    turn(&acme, &id, said("six")).await;
    let told = turn(&acme, &id, said("seven")).await;
    assert_eq!(told.last().unwrap()["state"], "done");
    assert!(asked(&upstream).to_string().contains("six"));
    // Where nobody knows what the model takes, it is never done by itself.
    let other = new_session(&acme).await;
    upstream.script(long());
    let told = turn(&acme, &other, said("one")).await;
    assert_eq!(of_kind(&told, "context.info")[0]["limit"], Value::Null);
}
