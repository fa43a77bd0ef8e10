//! Agents that hand tasks on to others.

use super::{
    Watch, at, create, expect_status, kinds, messages, new_session, of_kind, prompt, said, start, turn,
};
use opg_tests::{
    app::{Client, send},
    guests,
    upstream::Step,
    wait::until,
};
use serde_json::{Value, json};

/// Installs a markdown agent with a model of its own.
pub(super) async fn agent(client: &Client, name: &str, more: &str) {
    let text = format!(
        "---\ndescription: The {name} of the house.\nmodel: openai/{name}\n{more}---\nYou are a {name}."
    );
    let made = client.put_bytes(&format!("/v1/tenant/agents/{name}"), "text/markdown", text).await;
    assert_eq!(made.status, 201, "{}", made.text());
}

fn task(agent: &str, prompt: &str) -> Value {
    said(&format!(
        "call task {}",
        json!({ "agent": agent, "prompt": prompt, "description": "A small thing" })
    ))
}

fn subtask(agent: &str, prompt: &str) -> Value {
    json!({ "parts": [{ "type": "subtask", "agent": agent, "prompt": prompt }] })
}

/// Guests that nobody waits for end at their next tick.
async fn nothing_runs(app: &opg_tests::app::TestApp) {
    until("no guest runs", async || app.running.app.in_flight.total() == 0).await;
}

async fn session(client: &Client, id: &str) -> Value {
    client.get(&format!("/v1/sessions/{id}")).await.json()
}

async fn inbox(client: &Client, id: &str) -> Value {
    client.get(&at(id, "permissions")).await.json()["data"].clone()
}

async fn below(client: &Client, id: &str) -> Vec<Value> {
    let listed = client.get(&at(id, "children")).await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    listed.json()["data"].as_array().unwrap().clone()
}

fn id_of(session: &Value) -> String {
    session["id"].as_str().unwrap().to_owned()
}

async fn listed(client: &Client, query: &str) -> Vec<String> {
    let list = client.get(&format!("/v1/sessions{query}")).await;
    assert_eq!(list.status, 200, "{}", list.text());
    list.json()["data"].as_array().unwrap().iter().map(id_of).collect()
}

#[tokio::test]
async fn m330_m332_an_agent_hands_a_task_on_and_reads_what_the_other_said() {
    let (app, upstream, acme) = start().await;
    let rival = app.tenant("rival").await;
    agent(&acme, "poet", "").await;
    upstream.script_for_model("poet", vec![Step::text("Roses are red.")]);
    let id = new_session(&acme).await;
    turn(&acme, &id, said("the word is mum")).await;
    let told = turn(&acme, &id, task("poet", "Write of roses.")).await;
    let of_turn: Vec<_> = kinds(&told).into_iter().filter(|kind| !kind.starts_with("session.")).collect();
    let at_first = |kind: &str| of_turn.iter().position(|other| *other == kind).unwrap();
    assert!(at_first("tool.call") < at_first("subagent.started"), "{of_turn:?}");
    assert!(at_first("subagent.started") < at_first("subagent.finished"), "{of_turn:?}");
    assert!(at_first("subagent.finished") < at_first("tool.result"), "{of_turn:?}");
    let (began, ended) = (of_kind(&told, "subagent.started")[0], of_kind(&told, "subagent.finished")[0]);
    assert_eq!(
        (&began["agent"], &began["title"], &began["model"]),
        (&json!("poet"), &json!("A small thing"), &json!("openai/poet"))
    );
    assert_eq!((&ended["state"], &ended["child_session_id"]), (&json!("done"), &began["child_session_id"]));
    let result = of_kind(&told, "tool.result")[0];
    assert_eq!((&result["ok"], &result["output"]), (&json!(true), &json!("Roses are red.")));

    // What the two were asked.
    let received = upstream.received();
    let tools = received[1].body["tools"].to_string();
    assert!(tools.contains("`poet`: The poet of the house.") && tools.contains("\"task\""), "{tools}");
    let asked = received.iter().find(|request| request.body["model"] == "poet").unwrap().body.to_string();
    assert!(asked.contains("Write of roses.") && asked.contains("You are a poet."), "{asked}");
    assert!(!asked.contains("mum"), "it knows nothing of the conversation: {asked}");

    // The session below.
    let child = began["child_session_id"].as_str().unwrap().to_owned();
    let shown = session(&acme, &child).await;
    assert_eq!(
        (&shown["parent_id"], &shown["agent"], &shown["title"], &shown["status"]),
        (&json!(id), &json!("poet"), &json!("A small thing"), &json!("idle"))
    );
    let said_below = messages(&acme, &child).await;
    assert_eq!(said_below[0]["parts"][0]["text"], "Write of roses.");
    assert_eq!(said_below[1]["parts"][0]["text"], "Roses are red.");
    assert_eq!(below(&acme, &id).await.iter().map(id_of).collect::<Vec<_>>(), [child.as_str()]);
    assert_eq!(listed(&acme, "").await, [id.as_str()], "it is in no list of conversations");
    assert_eq!(listed(&acme, "?roots=false").await, [child.as_str(), id.as_str()]);
    assert_eq!(listed(&acme, &format!("?parent={id}")).await, [child.as_str()]);
    assert_eq!(acme.get("/v1/sessions?parent=x").await.status, 400);
    assert_eq!(acme.get("/v1/sessions?roots=x").await.status, 400);
    let mut log = Watch::open(&acme, &child, Some(0)).await;
    assert_eq!(log.turn().await.last().unwrap()["state"], "done");

    // What it used counts for both, and nobody else sees any of it.
    let (used, used_below) =
        (acme.get(&at(&id, "usage")).await.json(), acme.get(&at(&child, "usage")).await.json());
    assert_eq!((&used["model_calls"], &used["subagents"]["model_calls"]), (&json!(4), &json!(1)));
    assert_eq!((&used_below["model_calls"], &used_below["subagents"]["model_calls"]), (&json!(1), &json!(0)));
    let of_turn = of_kind(&told, "token.usage")[0];
    assert_eq!(of_turn["prompt_tokens"], 30, "the one it handed on is a part of the turn");
    assert_eq!(rival.get(&format!("/v1/sessions/{child}")).await.status, 404);
    assert_eq!(listed(&rival, &format!("?parent={id}")).await, Vec::<String>::new());

    // It goes with its parent.
    assert_eq!(acme.delete(&format!("/v1/sessions/{id}")).await.status, 204);
    assert_eq!(acme.get(&format!("/v1/sessions/{child}")).await.status, 404);
    assert_eq!(app.sql("select count(*)::text from sessions").await, ["0"]);
}

#[tokio::test]
async fn m272_a_subtask_is_done_first_and_the_answer_is_given_with_what_it_said() {
    let (_app, upstream, acme) = start().await;
    agent(&acme, "poet", "").await;
    agent(&acme, "clerk", "").await;
    upstream.script_for_model("poet", vec![Step::text("Violets are blue.")]);
    upstream.script_for_model("clerk", vec![Step::error(500, "the clerk is ill")]);
    let id = new_session(&acme).await;
    let parts = json!({ "parts": [
        { "type": "subtask", "agent": "poet", "prompt": "Write of violets." },
        { "type": "subtask", "agent": "clerk", "prompt": "File it.", "description": "Filing" },
        { "type": "subtask", "agent": "poet", "prompt": "And again.", "model": "openai/scripted" },
    ] });
    let told = turn(&acme, &id, parts).await;
    assert_eq!(told.last().unwrap()["state"], "done", "{told:#?}");
    let results = of_kind(&told, "tool.result");
    let ok: Vec<_> = results.iter().map(|result| result["ok"].clone()).collect();
    assert_eq!(ok, [true, false, true], "{results:#?}");
    assert_eq!(results[0]["output"], "Violets are blue.");
    let failed = results[1]["output"].as_str().unwrap();
    assert!(failed.contains("did not finish the task (failed)"), "{failed}");
    assert_eq!(results[2]["output"], "And again.", "by the model that was named");
    // The model read all of it, after what was asked, and answered once.
    let asked = upstream.received().last().unwrap().body["messages"].clone();
    let roles: Vec<_> = asked.as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool", "tool"]);
    let user = asked[0]["content"].to_string();
    assert!(user.contains("For the agent `clerk`: Filing"), "{user}");
    let kept = messages(&acme, &id).await;
    assert_eq!(kept.len(), 3);
    let tools: Vec<_> =
        kept[1]["parts"].as_array().unwrap().iter().map(|part| part["output"].clone()).collect();
    assert_eq!(tools[0], "Violets are blue.");
    assert_eq!(of_kind(&told, "tool.call")[0]["message_id"], kept[1]["id"]);
    assert_eq!(below(&acme, &id).await.len(), 3);
    // And what is no task is refused.
    for (body, status) in [
        (subtask("nobody", "x"), 404),
        (subtask("poet", " "), 422),
        (json!({ "parts": [{ "type": "subtask", "agent": "poet" }] }), 422),
        (json!({ "parts": vec![subtask("poet", "x")["parts"][0].clone(); 9] }), 422),
    ] {
        let answer = acme.post(&at(&id, "prompt"), &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn m330_what_was_handed_on_ends_with_the_turn_that_asked_for_it() {
    let (app, upstream, acme) = start().await;
    agent(&acme, "poet", "").await;
    upstream.script_for_model("poet", vec![Step::text("Half a line"), Step::Stall]);
    for how in ["abort", "stop"] {
        let id = new_session(&acme).await;
        let mut watch = Watch::open(&acme, &id, None).await;
        prompt(&acme, &id, task("poet", "Write.")).await;
        let began = watch.until(|event| event["type"] == "subagent.started").await.pop().unwrap();
        let child = began["child_session_id"].as_str().unwrap().to_owned();
        let mut log = Watch::open(&acme, &child, Some(0)).await;
        log.until(|event| event["role"] == "assistant").await;
        let busy = acme.post(&at(&child, "prompt"), &said("x")).await;
        assert_eq!((busy.status, &busy.json()["code"]), (409, &json!("session_busy")));
        assert_eq!(acme.post(&at(&id, how), &json!({})).await.status, 200);
        let told = watch.turn().await;
        assert_eq!(told.last().unwrap()["state"], "aborted");
        let ended = of_kind(&told, "subagent.finished")[0];
        assert_eq!((&ended["state"], &ended["child_session_id"]), (&json!("aborted"), &json!(child)));
        let below = log.turn().await;
        assert_eq!(below.last().unwrap()["state"], "aborted");
        expect_status(&acme, &child, "idle").await;
        let kept = messages(&acme, &child).await;
        assert_eq!(kept[1]["parts"][0]["text"], "Half a line", "what it said stays");
    }
    nothing_runs(&app).await;
    assert_eq!(app.sql("select count(*)::text from session_turns where state = 'running'").await, ["0"]);
}

#[tokio::test]
async fn m330_a_task_that_is_stopped_or_whose_session_is_deleted_is_told_to_the_model_that_waits() {
    let (_app, upstream, acme) = start().await;
    agent(&acme, "poet", "").await;
    upstream.script_for_model("poet", vec![Step::text("Half"), Step::Stall]);
    for how in ["abort", "delete"] {
        let id = new_session(&acme).await;
        let mut watch = Watch::open(&acme, &id, None).await;
        prompt(&acme, &id, task("poet", "Write.")).await;
        let began = watch.until(|event| event["type"] == "subagent.started").await.pop().unwrap();
        let child = began["child_session_id"].as_str().unwrap().to_owned();
        match how {
            "abort" => assert_eq!(acme.post(&at(&child, "abort"), &json!({})).await.status, 200),
            _ => assert_eq!(acme.delete(&format!("/v1/sessions/{child}")).await.status, 204),
        }
        let told = watch.turn().await;
        assert_eq!(told.last().unwrap()["state"], "done", "{how}: the agent goes on without it");
        let result = of_kind(&told, "tool.result")[0];
        assert_eq!(result["ok"], false, "{result}");
        assert!(result["output"].as_str().unwrap().contains("(aborted)"), "{result}");
        assert_eq!(of_kind(&told, "subagent.finished")[0]["state"], "aborted");
    }
}

#[tokio::test]
async fn m275_m276_what_a_child_asks_is_in_its_parents_inbox_and_the_parents_rules_hold_for_it() {
    let (_app, _upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let rules = json!({ "mode": "ask", "rules": [{ "tool": "task", "action": "allow" }] });
    let id = create(&acme, json!({ "model": "openai/scripted", "permissions": rules })).await;
    let call = r#"call word-count {"text": "a b"}"#;
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, task("default", call)).await;
    let began = watch.until(|event| event["type"] == "subagent.started").await.pop().unwrap();
    let child = began["child_session_id"].as_str().unwrap().to_owned();
    let mut log = Watch::open(&acme, &child, Some(0)).await;
    let asked = log.until(|event| event["type"] == "permission.request").await.pop().unwrap();
    let open = inbox(&acme, &id).await;
    assert_eq!((&open[0]["id"], &open[0]["session_id"]), (&asked["permission"]["id"], &json!(child)));
    assert_eq!(session(&acme, &id).await["pending_permissions"], 1);
    // `always` is a rule where the asking came from: of the parent, and so of all below it.
    let path = at(&id, &format!("permissions/{}", open[0]["id"].as_str().unwrap()));
    assert_eq!(acme.post(&path, &json!({ "response": "always" })).await.status, 204);
    let told = watch.turn().await;
    assert_eq!(of_kind(&told, "tool.result")[0]["ok"], true, "{told:#?}");
    let rule = json!({ "tool": "word-count", "action": "allow" });
    assert_eq!(session(&acme, &id).await["permissions"]["rules"][1], rule);
    assert_eq!(session(&acme, &child).await["permissions"], json!({ "mode": "allow", "rules": [] }));
    let told = turn(&acme, &id, task("default", call)).await;
    assert!(of_kind(&told, "tool.result")[0]["output"].as_str().unwrap().contains('2'), "{told:#?}");
    assert_eq!(inbox(&acme, &id).await, json!([]));

    // A rule that denies holds below as well, and one that denies `task` lets nothing be handed on.
    for (rule, hears) in [("word-count", "rules of this session"), ("task", "call task")] {
        let rules = json!({ "permissions": { "rules": [{ "tool": rule, "action": "deny" }] } });
        let changed = send(acme.request("PATCH", &format!("/v1/sessions/{id}")).json(&rules)).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        let told = turn(&acme, &id, task("default", call)).await;
        let heard = messages(&acme, &id).await.last().unwrap()["parts"][0]["text"].clone();
        assert!(heard.as_str().unwrap().contains(hears), "{rule}: {heard}");
        assert_eq!(of_kind(&told, "subagent.started").len(), usize::from(rule != "task"));
    }
}

#[tokio::test]
async fn m330_agents_that_hand_on_without_end_end_with_the_budget_of_one_turn() {
    let (app, upstream, acme) = start().await;
    agent(&acme, "lazy", "").await;
    let again = json!({ "agent": "lazy", "prompt": "You do it." }).to_string();
    upstream.script_for_model("lazy", vec![Step::tool_call("c", "task", &again)]);
    let id = create(&acme, json!({ "agent": "lazy" })).await;
    let told = turn(&acme, &id, said("Do it.")).await;
    assert!(told.iter().any(|event| event["type"] == "subagent.finished"), "{:?}", kinds(&told));
    let most = usize::try_from(opg_host::limits::STEPS_PER_TURN_MAX).unwrap();
    assert!(upstream.received().len() <= most, "{}", upstream.received().len());
    let deepest = "with recursive line as (
        select session_id, 0 as depth from sessions where parent_id is null
        union all select s.session_id, depth + 1 from sessions s join line l on s.parent_id = l.session_id
      ) select max(depth)::text from line";
    assert_eq!(app.sql(deepest).await, ["2"]);
    // The last of them are offered nobody to hand it on to.
    let offers =
        |request: &opg_tests::upstream::Received| request.body["tools"].to_string().contains("\"task\"");
    assert!(upstream.received().iter().any(|request| !offers(request)));
    assert_eq!(app.sql("select count(*)::text from session_turns where state = 'running'").await, ["0"]);
    nothing_runs(&app).await;
}

#[tokio::test]
async fn m332_an_agent_hands_on_only_where_its_tools_say_so_and_an_own_tool_of_that_name_goes_first() {
    let (_app, upstream, acme) = start().await;
    agent(&acme, "alone", "tools:\n  task: false\n").await;
    let id = create(&acme, json!({ "agent": "alone" })).await;
    turn(&acme, &id, said("hi")).await;
    assert!(!upstream.received()[0].body["tools"].to_string().contains("\"task\""));
    acme.install_tool("task", guests::WORD_COUNT).await;
    let id = new_session(&acme).await;
    let told = turn(&acme, &id, said(r#"call task {"text": "a b c"}"#)).await;
    let result = of_kind(&told, "tool.result")[0];
    assert!(result["output"].as_str().unwrap().contains('3'), "{result}");
    assert_eq!(of_kind(&told, "subagent.started"), Vec::<&Value>::new());
    let named = upstream.received()[1].body["tools"].to_string().matches("\"name\":\"task\"").count();
    assert_eq!(named, 1);
    // Outside a session nobody hands anything on.
    let chat = acme.chat("openai/scripted", "hi").await;
    assert_eq!(chat.status, 200);
}
