//! Prompts, and the turns they begin.

use super::{
    Watch, at, create, expect_status, kinds, messages, new_session, of_kind, prompt, said, start,
    streamed_text, turn,
};
use opg_host::limits::PROMPTS_PER_MINUTE;
use opg_tests::{app::TestApp, guests, upstream::Step};
use serde_json::{Value, json};

fn when_busy(text: &str, what: &str) -> Value {
    let mut body = said(text);
    body["when_busy"] = json!(what);
    body
}

#[tokio::test]
async fn m272_a_prompt_runs_an_agent_whose_tools_are_told_as_they_run() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = new_session(&acme).await;
    let told = turn(&acme, &id, said(r#"call word-count {"text": "a b c"}"#)).await;
    let of_turn: Vec<_> = kinds(&told).into_iter().filter(|kind| !kind.starts_with("session.")).collect();
    let expected = [
        "message.append",
        "turn.queued",
        "turn.started",
        "tool.call",
        "tool.result",
        "message.append",
        "message.complete",
        "message.complete",
        "token.usage",
        "context.info",
        "turn.ended",
    ];
    assert_eq!(of_turn, expected, "{told:#?}");
    let (call, result) = (of_kind(&told, "tool.call")[0], of_kind(&told, "tool.result")[0]);
    assert_eq!((&call["name"], &call["id"]), (&json!("word-count"), &result["id"]));
    assert_eq!(result["ok"], true);
    assert!(result["output"].as_str().unwrap().contains('3'), "{result}");
    let kept = messages(&acme, &id).await;
    assert_eq!(kept[1]["parts"][0]["output"], result["output"]);
    assert_eq!(kept[1]["id"], call["message_id"]);
    assert_eq!(kept[2]["parts"][0]["text"], json!(streamed_text(&told)));
    // The next turn reads all of it.
    turn(&acme, &id, said("thanks")).await;
    let asked = upstream.received().last().unwrap().body["messages"].clone();
    let roles: Vec<_> =
        asked.as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant", "user"]);
}

#[tokio::test]
async fn m050_m272_a_session_takes_so_many_prompts_a_minute_and_says_when_to_come_back() {
    let (_app, upstream, acme) = start().await;
    let (id, other) = (new_session(&acme).await, new_session(&acme).await);
    upstream.script(vec![Step::text("Two w"), Step::Stall]);
    let mut first = said("count");
    first["message_id"] = json!("0190f3c4-0000-7000-8000-000000000001");
    let began = std::time::Instant::now();
    let taken = prompt(&acme, &id, first.clone()).await;
    // Those that are refused count as well.
    let refused_at_last = async |what: &str, body: Value| {
        for sent in 0..PROMPTS_PER_MINUTE * 2 {
            let refused = acme.post(&at(&id, what), &body).await;
            if refused.status == 429 {
                return (sent, refused);
            }
            assert_eq!(
                (refused.status, &refused.json()["code"]),
                (409, &json!("session_busy")),
                "{what} {sent}"
            );
        }
        panic!("it is never refused");
    };
    let (sent, refused) = refused_at_last("prompt", said("and?")).await;
    let refilled = began.elapsed().as_millis() * u128::from(PROMPTS_PER_MINUTE) / 60_000;
    let refilled = u32::try_from(refilled).unwrap();
    let wanted = PROMPTS_PER_MINUTE - 1;
    assert!((wanted..=wanted + refilled + 1).contains(&sent), "{sent} in {:?}", began.elapsed());
    assert_eq!(refused.json()["code"], "too_many_prompts");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit-limit"), PROMPTS_PER_MINUTE.to_string());
    assert_eq!(refused.header("ratelimit-remaining"), "0");
    assert_eq!(refused.header("ratelimit-reset"), wait.to_string());
    assert_eq!(refused_at_last("summarize", json!({})).await.1.json()["code"], "too_many_prompts");
    // One that is sent again is not taken again, and does not count.
    assert_eq!(prompt(&acme, &id, first).await["turn_id"], taken["turn_id"]);
    // Another session has its own, and nothing else of this one is refused.
    assert_eq!(turn(&acme, &other, said("hello")).await.last().unwrap()["state"], "done");
    assert_eq!(acme.post(&at(&id, "abort"), &json!({})).await.status, 200);
    assert_eq!(messages(&acme, &id).await.len(), 2);
    // Whose it is not learns nothing.
    let nobodys = "0190f3c4-0000-7000-8000-000000000000";
    for _ in 0..PROMPTS_PER_MINUTE + 2 {
        assert_eq!(acme.post(&at(nobodys, "prompt"), &said("x")).await.status, 404);
    }
    tokio::time::sleep(std::time::Duration::from_secs(60 / u64::from(PROMPTS_PER_MINUTE) + 1)).await;
    assert_eq!(turn(&acme, &id, said("go on")).await.last().unwrap()["state"], "done", "it may again");
}

#[tokio::test]
async fn m272_the_model_and_the_agent_are_the_messages_the_sessions_or_the_apps() {
    let (_app, upstream, acme) = start().await;
    let poet = "---\ndescription: A poet.\n---\nSpeak in verse.";
    assert_eq!(acme.put_bytes("/v1/tenant/agents/poet", "text/markdown", poet).await.status, 201);
    let id = create(&acme, json!({ "agent": "poet", "model": "openai/scripted" })).await;
    turn(&acme, &id, said("hi")).await;
    let first = upstream.received().last().unwrap().body.clone();
    assert_eq!((&first["model"], &first["messages"][0]["role"]), (&json!("scripted"), &json!("system")));
    let mut other = said("hi");
    other["model"] = json!("openai/another");
    other["agent"] = json!("default");
    turn(&acme, &id, other).await;
    let second = upstream.received().last().unwrap().body.clone();
    assert_eq!((&second["model"], &second["messages"][0]["role"]), (&json!("another"), &json!("user")));
    let by_part =
        json!({ "parts": [{ "type": "text", "text": "x" }, { "type": "agent", "name": "nobody" }] });
    assert_eq!(acme.post(&at(&id, "prompt"), &by_part).await.status, 404);
}

#[tokio::test]
async fn m272_a_turn_without_any_model_says_so_and_the_session_goes_on() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let id = create(&acme, json!({})).await;
    let told = turn(&acme, &id, said("hi")).await;
    let ended = told.last().unwrap();
    assert_eq!(ended["state"], "failed", "{ended}");
    assert!(ended["reason"]["message"].as_str().unwrap().contains("default model"), "{ended}");
    let mut with_model = said("hi");
    with_model["model"] = json!("demo/assistant");
    assert_eq!(turn(&acme, &id, with_model).await.last().unwrap()["state"], "done");
}

#[tokio::test]
async fn m272_what_is_no_prompt_is_refused_and_nothing_is_kept() {
    let (app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    expect_status(&acme, &id, "idle").await;
    let mut no_model = said("x");
    no_model["model"] = json!("nowhere");
    for (body, status) in [
        (json!({ "parts": [] }), 422),
        (json!({}), 422),
        (json!({ "parts": [{ "type": "text", "text": "" }] }), 422),
        (json!({ "parts": [{ "type": "image", "url": "file:///etc/passwd" }] }), 422),
        (json!({ "parts": [{ "type": "smell", "text": "x" }] }), 422),
        (json!({ "parts": [{ "type": "text", "text": "x" }], "when_busy": "shout" }), 422),
        (no_model, 404),
    ] {
        let answer = acme.post(&at(&id, "prompt"), &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    let reads = acme.with_scopes(&["sessions:read", "chat:write"]).await;
    assert_eq!(reads.post(&at(&id, "prompt"), &said("x")).await.status, 403);
    let no_chat = acme.with_scopes(&["sessions:write"]).await;
    assert_eq!(no_chat.post(&at(&id, "prompt"), &said("x")).await.status, 403, "it spends money");
    assert_eq!(app.sql("select count(*)::text from session_turns").await, ["0"]);
}

#[tokio::test]
async fn m272_a_prompt_that_is_sent_again_is_taken_once() {
    let (_app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    let mut body = said("once");
    body["message_id"] = json!("0190f3c4-aaaa-7000-8000-000000000001");
    let first = prompt(&acme, &id, body.clone()).await;
    let again = prompt(&acme, &id, body).await;
    assert_eq!((&first["message_id"], &first["turn_id"]), (&again["message_id"], &again["turn_id"]));
    let mut watch = Watch::open(&acme, &id, Some(0)).await;
    watch.turn().await;
    expect_status(&acme, &id, "idle").await;
    assert_eq!(upstream.received().len(), 1);
    assert_eq!(messages(&acme, &id).await[0]["id"], "0190f3c4-aaaa-7000-8000-000000000001");
}

#[tokio::test]
async fn m245_m272_a_busy_session_refuses_queues_or_is_interrupted() {
    let (_app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    upstream.script(vec![Step::text("half"), Step::Stall]);
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said("one")).await;
    watch.until(|event| event["role"] == "assistant").await;
    let refused = acme.post(&at(&id, "prompt"), &said("two")).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("session_busy")));
    let chat = json!({ "model": "openai/scripted", "session_id": id, "messages": [{ "role": "user", "content": "x" }] });
    assert_eq!(acme.post("/v1/chat/completions", &chat).await.status, 409);
    let queued = prompt(&acme, &id, when_busy("three", "queue")).await;
    let waiting = acme.get(&at(&id, "messages")).await.json()["queued"].clone();
    assert_eq!((&waiting[0]["message_id"], waiting.as_array().unwrap().len()), (&queued["message_id"], 1));
    prompt(&acme, &id, when_busy("now", "interrupt")).await;
    let first = watch.turn().await;
    let ended = first.last().unwrap();
    assert_eq!((&ended["state"], &ended["reason"]["code"]), (&json!("aborted"), &json!("interrupted")));
    let second = watch.turn().await;
    assert_eq!(streamed_text(&second), "now", "before the one that waits");
    let third = watch.turn().await;
    assert_eq!(streamed_text(&third), "three");
    let words: Vec<_> = messages(&acme, &id).await.iter().map(|m| m["parts"][0]["text"].clone()).collect();
    assert_eq!(words, ["one", "half", "now", "now", "three", "three"]);
}

#[tokio::test]
async fn m272_so_many_turns_wait_and_no_more() {
    let (_app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    upstream.script(vec![Step::text("x"), Step::Stall]);
    prompt(&acme, &id, said("first")).await;
    expect_status(&acme, &id, "active").await;
    for _ in 0..opg_host::limits::TURNS_WAITING_MAX {
        prompt(&acme, &id, when_busy("more", "queue")).await;
    }
    let refused = acme.post(&at(&id, "prompt"), &when_busy("too many", "queue")).await;
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("too_many_turns")));
    assert_eq!(acme.post(&at(&id, "stop"), &json!({})).await.status, 200);
}

#[tokio::test]
async fn m268_an_aborted_turn_keeps_what_it_said_and_lets_the_model_go() {
    let (app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = new_session(&acme).await;
    expect_status(&acme, &id, "idle").await;
    let idle = acme.post(&at(&id, "abort"), &json!({})).await;
    assert_eq!((idle.status, &idle.json()["code"]), (409, &json!("nothing_runs")));
    upstream.script(vec![Step::text("Counting. "), Step::tool_call("c1", "word-count", r#"{"text":"a b"}"#)]);
    upstream.script(vec![Step::text("Two w"), Step::Stall]);
    let mut watch = Watch::open(&acme, &id, None).await;
    let taken = prompt(&acme, &id, said("count")).await;
    watch.until(|event| event["part"]["text"].as_str().is_some_and(|text| text.contains("Two w"))).await;
    let aborted = acme.post(&at(&id, "abort"), &json!({})).await;
    assert_eq!((aborted.status, &aborted.json()["turn_id"]), (200, &taken["turn_id"]));
    let told = watch.until(|event| event["type"] == "session.status").await;
    assert_eq!(of_kind(&told, "turn.ended")[0]["reason"]["code"], "aborted");
    upstream.wait_until(|received| received.len() == 2 && received[1].hung_up).await;
    let kept = messages(&acme, &id).await;
    assert_eq!(kept.len(), 3, "{kept:#?}");
    assert_eq!(kept[1]["parts"][0]["text"], "Counting. ");
    assert_eq!(
        (&kept[1]["parts"][1]["tool"], &kept[1]["parts"][1]["state"]),
        (&json!("word-count"), &json!("completed"))
    );
    assert_eq!(kept[2]["parts"][0]["text"], "Two w");
    // A model can read it: every call has its answer.
    turn(&acme, &id, said("go on")).await;
    let asked = upstream.received().last().unwrap().body["messages"].clone();
    let roles: Vec<_> =
        asked.as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant", "user"]);
    assert_eq!(app.running.app.in_flight.total(), 0);
}

#[tokio::test]
async fn m272_a_turn_whose_provider_fails_says_why_and_the_session_goes_on() {
    let (_app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    upstream.script(vec![Step::error(500, "on fire")]);
    let told = turn(&acme, &id, said("x")).await;
    let ended = told.last().unwrap();
    assert_eq!(
        (&ended["state"], &ended["reason"]["code"]),
        (&json!("failed"), &json!("provider_error")),
        "{ended}"
    );
    assert!(!ended.to_string().contains(upstream.base_url()), "{ended}");
    let told = turn(&acme, &id, said("still there")).await;
    assert_eq!(streamed_text(&told), "still there");
}

#[tokio::test]
async fn m272_a_queued_turn_is_judged_when_it_begins_and_not_when_it_was_sent() {
    let (app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    let (other, token_id) = {
        let wanted = json!({ "kind": "dev_grant", "scopes": ["sessions:write", "chat:write"] });
        let made = acme.post("/v1/tenant/tokens", &wanted).await.json();
        (app.client(made["token"].as_str()), made["id"].as_str().unwrap().to_owned())
    };
    upstream.script(vec![Step::text("busy"), Step::Stall]);
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said("one")).await;
    watch.until(|event| event["role"] == "assistant").await;
    let queued = prompt(&other, &id, when_busy("two", "queue")).await;
    assert_eq!(acme.delete(&format!("/v1/tenant/tokens/{token_id}")).await.status, 204);
    acme.post(&at(&id, "abort"), &json!({})).await;
    watch.turn().await;
    let told = watch.turn().await;
    let ended = told.last().unwrap();
    assert_eq!((&ended["turn_id"], &ended["state"]), (&queued["turn_id"], &json!("failed")), "{told:#?}");
    assert_eq!(ended["reason"]["code"], "not_allowed");
    assert_eq!(upstream.received().len(), 1, "no model was asked for it");
    assert_eq!(messages(&acme, &id).await.len(), 2);
}

#[tokio::test]
async fn m343_two_sessions_run_side_by_side_and_know_nothing_of_each_other() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let (one, two) = (
        create(&acme, json!({ "model": "demo/assistant" })).await,
        create(&acme, json!({ "model": "demo/assistant" })).await,
    );
    let (a, b) = tokio::join!(turn(&acme, &one, said("alpha")), turn(&acme, &two, said("beta")));
    assert!(!json!(a).to_string().contains("beta") && !json!(b).to_string().contains("alpha"));
}

#[tokio::test]
async fn m287_messages_are_taken_back_and_come_back_until_something_else_is_said() {
    let (_app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    turn(&acme, &id, said("one")).await;
    turn(&acme, &id, said("two")).await;
    expect_status(&acme, &id, "idle").await;
    let all = messages(&acme, &id).await;
    let back = json!({ "message_id": all[2]["id"] });
    let reverted = acme.post(&at(&id, "revert"), &back).await;
    assert_eq!(
        (reverted.status, &reverted.json()["reverted_from"]),
        (200, &all[2]["id"]),
        "{}",
        reverted.text()
    );
    assert_eq!(messages(&acme, &id).await[..], all[..2]);
    assert_eq!(acme.post(&at(&id, "revert"), &back).await.status, 404, "it is back already");
    assert_eq!(acme.post(&at(&id, "unrevert"), &json!({})).await.json()["reverted_from"], Value::Null);
    assert_eq!(messages(&acme, &id).await, all);
    acme.post(&at(&id, "revert"), &back).await;
    turn(&acme, &id, said("three")).await;
    let asked = upstream.received().last().unwrap().body["messages"].to_string();
    assert!(asked.contains("one") && asked.contains("three") && !asked.contains("two"), "{asked}");
    expect_status(&acme, &id, "idle").await;
    acme.post(&at(&id, "unrevert"), &json!({})).await;
    let words: Vec<_> = messages(&acme, &id).await.iter().map(|m| m["parts"][0]["text"].clone()).collect();
    assert_eq!(words, ["one", "one", "three", "three"], "what was taken back is gone for good");

    upstream.script(vec![Step::text("x"), Step::Stall]);
    prompt(&acme, &id, said("busy")).await;
    expect_status(&acme, &id, "active").await;
    let first = json!({ "message_id": all[0]["id"] });
    assert_eq!(acme.post(&at(&id, "revert"), &first).await.status, 409);
    assert_eq!(acme.post(&at(&id, "stop"), &json!({})).await.status, 200);
}

#[tokio::test]
async fn m288_a_fork_begins_with_what_was_said_and_goes_its_own_way() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = new_session(&acme).await;
    turn(&acme, &id, said(r#"call word-count {"text": "a b"}"#)).await;
    turn(&acme, &id, said("two")).await;
    expect_status(&acme, &id, "idle").await;
    let all = messages(&acme, &id).await;
    let forked = acme.post(&at(&id, "fork"), &json!({ "message_id": all[3]["id"] })).await;
    assert_eq!(forked.status, 201, "{}", forked.text());
    let fork = forked.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(forked.json()["forked_from"], json!(id));
    let parts =
        |messages: &[Value]| messages.iter().map(|message| message["parts"].clone()).collect::<Vec<_>>();
    assert_eq!(parts(&messages(&acme, &fork).await), parts(&all[..3]));
    turn(&acme, &fork, said("another way")).await;
    let asked = upstream.received().last().unwrap().body["messages"].clone();
    assert_eq!(asked.as_array().unwrap().len(), 5, "a call, its answer, and what came of it: {asked}");
    assert_eq!(messages(&acme, &id).await, all, "the first knows nothing of it");
    let whole = acme.post(&at(&id, "fork"), &json!({})).await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(messages(&acme, &whole).await.len(), all.len());
    let unknown = json!({ "message_id": "0190f3c4-0000-7000-8000-000000000000" });
    assert_eq!(acme.post(&at(&id, "fork"), &unknown).await.status, 404);
    assert_eq!(acme.delete(&format!("/v1/sessions/{id}")).await.status, 204);
    assert_eq!(messages(&acme, &fork).await.len(), 5);
}

#[tokio::test]
async fn m273_m290_a_command_is_a_prompt_with_a_name_and_arguments() {
    let (_app, upstream, acme) = start().await;
    let review = json!({ "template": "Review $1 for $2.", "description": "Reads what was written", "model": "openai/critic" });
    assert_eq!(acme.put("/v1/tenant/commands/review", &review).await.status, 200);
    let listed = acme.get("/v1/commands").await.json();
    assert_eq!(
        (&listed["data"][0]["name"], &listed["data"][0]["template"]),
        (&json!("review"), &review["template"])
    );
    let id = new_session(&acme).await;
    let mut watch = Watch::open(&acme, &id, None).await;
    let called = acme
        .post(&at(&id, "command"), &json!({ "command": "review", "arguments": "draft spelling and tone" }))
        .await;
    assert_eq!(called.status, 202, "{}", called.text());
    watch.turn().await;
    let asked = upstream.received().last().unwrap().body.clone();
    assert_eq!(
        (&asked["model"], &asked["messages"][0]["content"]),
        (&json!("critic"), &json!("Review draft for spelling and tone."))
    );
    let unknown = acme.post(&at(&id, "command"), &json!({ "command": "reveiw" })).await;
    assert_eq!((unknown.status, &unknown.json()["suggestions"]), (404, &json!(["review"])));
    for (name, body, status) in [
        ("no%20name", json!({ "template": "x" }), 422),
        ("empty", json!({ "template": " " }), 422),
        ("nobody", json!({ "template": "x", "agent": "nobody" }), 404),
        ("strange", json!({ "template": "x", "colour": "red" }), 422),
    ] {
        let answer = acme.put(&format!("/v1/tenant/commands/{name}"), &body).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
    }
    assert_eq!(acme.delete("/v1/tenant/commands/review").await.status, 204);
    assert_eq!(acme.get("/v1/commands").await.json()["data"], json!([]));
}

#[tokio::test]
async fn m332_the_words_of_a_command_may_be_in_quotes_and_one_that_is_not_closed_is_named() {
    let (_app, upstream, acme) = start().await;
    for (name, template) in [("two", "First <$1>, then <$2>."), ("all", "Do $ARGUMENTS.")] {
        let path = format!("/v1/tenant/commands/{name}");
        assert_eq!(acme.put(&path, &json!({ "template": template })).await.status, 200);
    }
    let id = new_session(&acme).await;
    let call = async |body: Value| {
        let mut watch = Watch::open(&acme, &id, None).await;
        let called = acme.post(&at(&id, "command"), &body).await;
        assert_eq!(called.status, 202, "{}", called.text());
        watch.turn().await;
        let asked = upstream.received().last().unwrap().body["messages"].as_array().unwrap().clone();
        asked.last().unwrap()["content"].as_str().unwrap().to_owned()
    };
    let quoted = r#"a\ "b $HOME" 'c d' `e`"#;
    let words = call(json!({ "command": "two", "arguments": quoted })).await;
    assert_eq!(words, "First <a b $HOME>, then <c d `e`>.", "words, and nothing of them is expanded");
    let line = call(json!({ "command": format!("/two {quoted}") })).await;
    assert_eq!(line, words);
    assert_eq!(
        call(json!({ "command": "all", "arguments": "what they're at" })).await,
        "Do what they're at."
    );
    let before = (upstream.received().len(), messages(&acme, &id).await.len());
    for (body, pointer, at_character) in [
        (json!({ "command": "two", "arguments": "what they're at" }), "/arguments", 10),
        (json!({ "command": "/two a \"b" }), "/command", 3),
    ] {
        let refused = acme.post(&at(&id, "command"), &body).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        let error = refused.json()["errors"][0].clone();
        assert_eq!(error["pointer"], pointer);
        let wanted = format!("character {at_character} ");
        assert!(error["message"].as_str().unwrap().contains(&wanted), "{error}");
    }
    assert_eq!(acme.post(&at(&id, "command"), &json!({ "command": "/" })).await.status, 404);
    assert_eq!((upstream.received().len(), messages(&acme, &id).await.len()), before, "nothing was asked");
}

#[tokio::test]
async fn m010_m277_the_agents_that_may_be_named_are_listed() {
    let (_app, _upstream, acme) = start().await;
    let poet = "---\ndescription: A poet.\nmodel: openai/verse\n---\nSpeak in verse.";
    assert_eq!(acme.put_bytes("/v1/tenant/agents/poet", "text/markdown", poet).await.status, 201);
    let listed = acme.get("/v1/agents").await.json();
    let names: Vec<_> =
        listed["data"].as_array().unwrap().iter().map(|agent| agent["name"].clone()).collect();
    assert_eq!(names, ["default", "poet"]);
    let poet = &listed["data"][1];
    assert_eq!(
        (&poet["kind"], &poet["description"], &poet["model"]),
        (&json!("markdown"), &json!("A poet."), &json!("openai/verse"))
    );
    assert!(
        !listed.to_string().contains("Speak in verse"),
        "its prompt is for those who may see it: {listed}"
    );
}

#[tokio::test]
async fn m272_a_message_id_that_is_another_messages_is_refused() {
    let (_app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    turn(&acme, &id, said("one")).await;
    expect_status(&acme, &id, "idle").await;
    let answer = messages(&acme, &id).await[1]["id"].clone();
    let mut body = said("two");
    body["message_id"] = answer;
    let refused = acme.post(&at(&id, "prompt"), &body).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("message_id_taken")));
    body["message_id"] = json!("00000000-0000-0000-0000-000000000000");
    assert_eq!(acme.post(&at(&id, "prompt"), &body).await.status, 422);
    turn(&acme, &id, said("three")).await;
}

#[tokio::test]
async fn m272_rules_sent_with_a_prompt_hold_from_its_turn_on() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = create(&acme, json!({ "model": "openai/scripted", "permissions": { "mode": "deny" } })).await;
    upstream.script(vec![Step::Wait(300), Step::tool_call("c", "word-count", r#"{"text":"a"}"#)]);
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said("one")).await;
    watch.until(|event| event["type"] == "turn.started").await;
    let mut frees = when_busy(r#"call word-count {"text": "b"}"#, "queue");
    frees["permissions"] = json!({ "mode": "allow" });
    prompt(&acme, &id, frees).await;
    let first = watch.turn().await;
    assert_eq!(of_kind(&first, "tool.result")[0]["ok"], false, "the turn that ran is as it was");
    let second = watch.turn().await;
    assert_eq!(of_kind(&second, "session.updated").last().unwrap()["permissions"]["mode"], "allow");
    assert_eq!(of_kind(&second, "tool.result")[0]["ok"], true);
}
