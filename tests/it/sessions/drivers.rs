//! One suite for every driver (rows M025, M324): what runs in a process of its own tells, asks, may and comes to the same as
//! what runs in the host's sandbox.
//!
//! Besides, all tests of sessions run on another driver with `OPG_TEST_SESSION_TARGETS=process`.

use super::{
    Watch, at, create, expect_status, messages, of_kind, prompt, said, streamed_text, subagents::agent, turn,
};
use opg_host::sessions::instances::Target;
use opg_tests::{
    app::{Client, TestApp},
    guests,
    upstream::{ScriptedUpstream, Step},
};
use serde_json::{Value, json};

/// An OPG with both, a tenant, and a session that is ready.
pub(super) struct Scene {
    pub(super) app: TestApp,
    pub(super) upstream: ScriptedUpstream,
    pub(super) acme: Client,
}

/// An OPG whose operator enabled every driver, and a tenant whose models are scripted.
pub(super) async fn scene() -> Scene {
    let app = TestApp::with(|config| {
        TestApp::allow_local(config);
        config.session_targets = Target::ALL.to_vec();
    })
    .await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    Scene { app, upstream, acme }
}

/// A session that is ready, of this target and with these members besides.
pub(super) async fn ready(client: &Client, target: &str, mut members: Value) -> String {
    members["target"] = json!(target);
    if members["model"].is_null() {
        members["model"] = json!("openai/scripted");
    }
    let id = create(client, members).await;
    expect_status(client, &id, "idle").await;
    id
}

/// Each of these for each driver.
macro_rules! on_every_driver {
    ($($test:ident;)*) => {
        mod wasm { $(#[tokio::test] async fn $test() { super::$test("wasm").await; })* }
        mod process { $(#[tokio::test] async fn $test() { super::$test("process").await; })* }
    };
}

on_every_driver! {
    m324_m326_it_is_made_ready_shown_stopped_and_woken;
    m317_a_step_that_fails_is_told_with_why_and_the_session_says_so;
    m324_a_prompt_runs_an_agent_whose_tools_are_told_as_they_run;
    m324_what_it_asks_waits_for_an_answer;
    m324_an_aborted_turn_keeps_what_it_said;
    m324_every_kind_of_guest_runs_and_reaches_what_it_may;
    m324_files_are_changed_and_told;
    m324_an_agent_tells_what_it_likes_within_its_bounds;
    m324_an_agent_hands_a_task_on;
    m022_m324_a_guest_that_crashes_spins_or_is_refused_ends_its_turn_and_nothing_else;
    m324_a_chat_request_goes_on_in_the_session;
}

async fn m324_m326_it_is_made_ready_shown_stopped_and_woken(target: &str) {
    let scene = scene().await;
    let id = ready(&scene.acme, target, json!({})).await;
    let shown = async || scene.acme.get(&format!("/v1/sessions/{id}")).await.json();
    let instance = shown().await["instance"].clone();
    assert_eq!((&instance["driver"], &instance["state"]), (&json!(target), &json!("running")));
    assert_eq!(shown().await["target"], target);
    let told = Watch::open(&scene.acme, &id, Some(0)).await.until(|event| event["to"] == "idle").await;
    let states: Vec<_> = of_kind(&told, "session.status")
        .iter()
        .map(|event| (event["from"].clone(), event["to"].clone()))
        .collect();
    assert_eq!(states, [(Value::Null, json!("creating")), (json!("creating"), json!("idle"))]);
    assert_eq!(steps(&told, target, &instance["id"]), all_steps(target), "{told:#?}");
    let stopped = scene.acme.post(&at(&id, "stop"), &json!({})).await.json();
    assert_eq!(stopped["status"], "stopped");
    assert_eq!(shown().await["instance"]["state"], "terminated");
    let mut watch = Watch::open(&scene.acme, &id, None).await;
    assert_eq!(scene.acme.post(&at(&id, "resume"), &json!({})).await.status, 202);
    let told = watch.until(|event| event["to"] == "idle").await;
    let again = shown().await["instance"].clone();
    assert_eq!((&again["driver"], &again["state"]), (&json!(target), &json!("running")));
    assert_ne!(again["id"], instance["id"]);
    assert_eq!(steps(&told, target, &again["id"]), all_steps(target), "{told:#?}");
    let forked = scene.acme.post(&at(&id, "fork"), &json!({})).await.json();
    assert_eq!(forked["target"], target);
    assert_eq!(scene.acme.delete(&format!("/v1/sessions/{id}")).await.status, 204);
}

/// The steps of making an instance ready, from its beginning to its end.
pub(super) fn all_steps(target: &str) -> &'static [&'static str] {
    match target {
        "wasm" => &["provision", "ready"],
        _ => &["provision", "register", "sealed", "ready"],
    }
}

/// The steps that are told, all of one instance of this driver and all done, each in its time.
pub(super) fn steps<'a>(told: &'a [Value], target: &str, instance: &Value) -> Vec<&'a str> {
    let steps = of_kind(told, "session.step");
    for step in &steps {
        assert_eq!((&step["driver"], &step["instance_id"]), (&json!(target), instance), "{step}");
        assert_eq!(
            (&step["state"], step.get("reason"), step.get("turn_id")),
            (&json!("done"), None, None),
            "{step}"
        );
    }
    let times: Vec<_> = steps.iter().map(|step| step["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    steps.iter().map(|step| step["step"].as_str().unwrap()).collect()
}

async fn m317_a_step_that_fails_is_told_with_why_and_the_session_says_so(target: &str) {
    let scene = scene().await;
    agent(&scene.acme, "poet", "").await;
    let id = ready(&scene.acme, target, json!({ "agent": "poet" })).await;
    assert_eq!(scene.acme.post(&at(&id, "stop"), &json!({})).await.status, 200);
    assert_eq!(scene.acme.delete("/v1/tenant/agents/poet").await.status, 204);
    let mut watch = Watch::open(&scene.acme, &id, None).await;
    assert_eq!(scene.acme.post(&at(&id, "resume"), &json!({})).await.status, 202);
    let told = watch.until(|event| event["to"] == "error").await;
    assert_eq!(super::kinds(&told), ["session.status", "session.step", "session.status"], "{told:#?}");
    let (step, status) = (&told[1], &told[2]);
    assert_eq!((&step["step"], &step["state"]), (&json!("provision"), &json!("failed")));
    assert!(step["reason"].as_str().unwrap().contains("no such agent"), "{step}");
    assert_eq!(status["reason"], step["reason"]);
    let shown = scene.acme.get(&format!("/v1/sessions/{id}")).await.json();
    assert_eq!((&shown["status"], &shown["status_reason"]), (&json!("error"), &step["reason"]));
    assert_eq!(
        (&shown["instance"]["state"], &shown["instance"]["id"]),
        (&json!("error"), &step["instance_id"])
    );
    // Once it is there again, a prompt takes all the steps.
    agent(&scene.acme, "poet", "").await;
    scene.upstream.script_for_model("poet", vec![Step::text("Roses are red.")]);
    let told = turn(&scene.acme, &id, said("Write of roses.")).await;
    let shown = scene.acme.get(&format!("/v1/sessions/{id}")).await.json();
    assert_eq!(steps(&told, target, &shown["instance"]["id"]), all_steps(target), "{told:#?}");
}

async fn m324_a_prompt_runs_an_agent_whose_tools_are_told_as_they_run(target: &str) {
    let scene = scene().await;
    scene.acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = ready(&scene.acme, target, json!({})).await;
    let told = turn(&scene.acme, &id, said(r#"call word-count {"text": "a b c"}"#)).await;
    let expected = [
        "message.append",
        "session.updated",
        "turn.queued",
        "session.status",
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
    assert_eq!(super::kinds(&told), expected, "{told:#?}");
    let result = of_kind(&told, "tool.result")[0];
    assert_eq!(result["ok"], true, "{result}");
    assert!(result["output"].as_str().unwrap().contains('3'), "{result}");
    let kept = messages(&scene.acme, &id).await;
    assert_eq!(kept[2]["parts"][0]["text"], json!(streamed_text(&told)));
    // The next turn reads all of it, and what it cost is in the ledger.
    turn(&scene.acme, &id, said("thanks")).await;
    let asked = scene.upstream.received().last().unwrap().body["messages"].clone();
    assert_eq!(asked.as_array().unwrap().len(), 5, "{asked}");
    let usage = scene.acme.get(&at(&id, "usage")).await.json();
    assert_eq!((&usage["model_calls"], &usage["tool_calls"]), (&json!(3), &json!(1)), "{usage}");
}

async fn m324_what_it_asks_waits_for_an_answer(target: &str) {
    let scene = scene().await;
    scene.acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = ready(&scene.acme, target, json!({ "permissions": { "mode": "ask" } })).await;
    let mut watch = Watch::open(&scene.acme, &id, None).await;
    for (response, ok) in [("once", true), ("reject", false), ("always", true)] {
        prompt(&scene.acme, &id, said(r#"call word-count {"text": "a b"}"#)).await;
        let asked = watch.until(|event| event["type"] == "permission.request").await.pop().unwrap();
        let permission = asked["permission"]["id"].as_str().unwrap();
        let answer = json!({ "response": response });
        let answered = scene.acme.post(&at(&id, &format!("permissions/{permission}")), &answer).await;
        assert_eq!(answered.status, 204, "{}", answered.text());
        let told = watch.turn().await;
        assert_eq!(of_kind(&told, "permission.resolved")[0]["response"], response);
        assert_eq!(of_kind(&told, "tool.result")[0]["ok"], ok);
        assert_eq!(told.last().unwrap()["state"], "done");
    }
    let told = turn(&scene.acme, &id, said(r#"call word-count {"text": "a b"}"#)).await;
    assert_eq!(of_kind(&told, "permission.request").len(), 0, "it was answered for always");
}

async fn m324_an_aborted_turn_keeps_what_it_said(target: &str) {
    let scene = scene().await;
    let id = ready(&scene.acme, target, json!({})).await;
    scene.upstream.script(vec![Step::text("Two w"), Step::Stall]);
    let mut watch = Watch::open(&scene.acme, &id, None).await;
    prompt(&scene.acme, &id, said("count")).await;
    watch.until(|event| event["part"]["text"] == "Two w").await;
    assert_eq!(scene.acme.post(&at(&id, "abort"), &json!({})).await.status, 200);
    let told = watch.turn().await;
    assert_eq!(told.last().unwrap()["reason"]["code"], "aborted");
    scene.upstream.wait_until(|received| received.len() == 1 && received[0].hung_up).await;
    let kept = messages(&scene.acme, &id).await;
    assert_eq!(kept[1]["parts"][0]["text"], "Two w");
    let told = turn(&scene.acme, &id, said("go on")).await;
    assert_eq!(streamed_text(&told), "go on");
    assert_eq!(scene.app.running.app.in_flight.total(), 0);
}

async fn m324_every_kind_of_guest_runs_and_reaches_what_it_may(target: &str) {
    let scene = scene().await;
    let acme = &scene.acme;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    acme.install_tool("relay", guests::RELAY).await;
    acme.install_tool("geo", guests::TYPED).await;
    acme.install_tool("kit", guests::EXTISM_KIT).await;
    let shout = r#"import { tool } from "@opencode-ai/plugin"
        export default tool({
          description: "Shouts",
          args: { text: tool.schema.string() },
          async execute({ text }) { return text.toUpperCase() },
        })"#;
    let made = acme.put_bytes("/v1/tenant/tools/loud", "text/typescript", shout).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = ready(acme, target, json!({})).await;
    let said_of = async |call: &str| {
        let told = turn(acme, &id, said(call)).await;
        let results = of_kind(&told, "tool.result");
        assert_eq!(results.len(), 1, "{call}: {:?}", told.last());
        (results[0]["ok"].clone(), results[0]["output"].as_str().unwrap().to_owned())
    };
    assert_eq!(said_of(r#"call loud {"text": "quiet"}"#).await, (json!(true), "QUIET".to_owned()));
    for (call, wanted) in [
        (r#"call word-count {"text": "a b"}"#, "2"),
        (r#"call geo_add {"a": 2, "b": 3}"#, "5"),
        (r#"call kit_greet {"name": "Zoë"}"#, "Hello, Zoë!"),
    ] {
        let (ok, output) = said_of(call).await;
        assert!(ok == true && output.contains(wanted), "{call}: {output}");
    }
    // A tool that calls tools, as deep as that goes.
    let (_, output) = said_of(r#"call relay {"depth": 9}"#).await;
    assert!(output.contains("deep at the most"), "{output}");
    let (ok, output) = said_of("call word-count {}").await;
    assert!(ok == false && output.contains("text"), "{output}");
}

async fn m324_files_are_changed_and_told(target: &str) {
    let scene = scene().await;
    scene.acme.install_tool("workspace", guests::WORKSPACE).await;
    scene.acme.grant("tools", "workspace", &[("workspace", "read-write"), ("tool", "*")]).await;
    let id = ready(&scene.acme, target, json!({})).await;
    let large = "x".repeat(1 << 20);
    let steps = json!([
        { "do": "write", "path": "src/a", "text": "one\ntwo" },
        { "do": "read", "path": "src/a", "offset": 4 },
        { "do": "stat", "path": "src" },
        { "do": "find", "path": "", "text": "two" },
        { "do": "read", "path": "nowhere" },
        { "do": "write", "path": "large", "text": large },
    ]);
    let (answers, told) = super::files::work(&scene.acme, &id, steps).await;
    assert_eq!(answers[1]["ok"], json!({ "text": "two", "size": 7 }));
    assert_eq!(answers[2]["ok"], json!(["src", "directory", 0]));
    assert_eq!(answers[3]["ok"], json!([["src/a", 2, 1, "two"]]));
    assert_eq!(answers[4]["error"], "not-found");
    let changed: Vec<_> = of_kind(&told, "file.changed").iter().map(|event| event["path"].clone()).collect();
    assert_eq!(changed, ["src/a", "large"]);
    // Told before the result of the tool that changed it.
    let place = |kind: &str| told.iter().position(|event| event["type"] == kind).unwrap();
    assert!(place("tool.call") < place("file.changed") && place("file.changed") < place("tool.result"));
    assert_eq!(super::files::read(&scene.acme, &id, "large").await.len(), 1 << 20);
}

async fn m324_an_agent_tells_what_it_likes_within_its_bounds(target: &str) {
    let scene = scene().await;
    scene.acme.install_agent("teller", guests::AGENT_TELLER).await;
    let id = ready(&scene.acme, target, json!({ "agent": "teller" })).await;
    let events = json!([
        { "type": "tool_call", "id": "a", "name": "f", "arguments": "{}", "seq": 999_999 },
        { "type": "session.status", "to": "error", "seq": 5 },
        { "type": "deep", "nested": 120 },
        { "type": "step", "times": 100 },
        { "text": "no type" },
    ]);
    let told = turn(&scene.acme, &id, said(&events.to_string())).await;
    assert_eq!(of_kind(&told, "tool.call").len(), 1);
    let own = of_kind(&told, "agent.event");
    assert_eq!((own.len(), &own[0]["name"]), (101, &json!("session.status")));
    let answers = streamed_text(&told);
    let answers: Vec<_> = answers.split("; ").collect();
    assert_eq!((answers[0], answers[1], answers[3]), ("ok", "ok", "ok"), "{answers:?}");
    assert!(answers[2].contains("deep") && answers[4].contains("`type`"), "{answers:?}");
    let numbers: Vec<_> = told.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

async fn m324_an_agent_hands_a_task_on(target: &str) {
    let scene = scene().await;
    agent(&scene.acme, "poet", "").await;
    scene.upstream.script_for_model("poet", vec![Step::text("Roses are red.")]);
    let id = ready(&scene.acme, target, json!({})).await;
    let call = json!({ "agent": "poet", "prompt": "Write of roses.", "description": "A small thing" });
    let told = turn(&scene.acme, &id, said(&format!("call task {call}"))).await;
    let result = of_kind(&told, "tool.result")[0];
    assert_eq!((&result["ok"], &result["output"]), (&json!(true), &json!("Roses are red.")));
    let below = of_kind(&told, "subagent.started")[0]["child_session_id"].as_str().unwrap().to_owned();
    assert_eq!(of_kind(&told, "subagent.finished")[0]["state"], "done");
    // It may be asked itself.
    scene.upstream.script_for_model("poet", vec![Step::text("Violets are blue.")]);
    let told = turn(&scene.acme, &below, said("And then?")).await;
    assert_eq!(streamed_text(&told), "Violets are blue.", "{:?}", told.last());
}

async fn m022_m324_a_guest_that_crashes_spins_or_is_refused_ends_its_turn_and_nothing_else(target: &str) {
    let scene = scene().await;
    scene.acme.install_agent("spin", guests::AGENT_SPIN).await;
    scene.acme.install_tool("trap", guests::TRAP).await;
    let id = ready(&scene.acme, target, json!({})).await;
    let told = turn(&scene.acme, &id, said("call trap {}")).await;
    let result = of_kind(&told, "tool.result")[0];
    assert_eq!(result["ok"], false, "{result}");
    assert_eq!(told.last().unwrap()["state"], "done", "the agent goes on without it");
    let mut spinning = said("spin");
    spinning["agent"] = json!("spin");
    let mut watch = Watch::open(&scene.acme, &id, None).await;
    prompt(&scene.acme, &id, spinning).await;
    watch.until(|event| event["type"] == "turn.started").await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(scene.acme.post(&at(&id, "abort"), &json!({})).await.status, 200);
    watch.turn().await;
    let told = turn(&scene.acme, &id, said("still there")).await;
    assert_eq!(streamed_text(&told), "still there");
}

async fn m324_a_chat_request_goes_on_in_the_session(target: &str) {
    let scene = scene().await;
    scene.acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = ready(&scene.acme, target, json!({})).await;
    turn(&scene.acme, &id, said("first")).await;
    let message = json!({ "role": "user", "content": r#"call word-count {"text": "a b c"}"# });
    let body = json!({ "model": "openai/scripted", "session_id": id, "messages": [message] });
    let answer = scene.acme.post("/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.content().contains('3'), "{}", answer.text());
    assert_eq!(messages(&scene.acme, &id).await.len(), 5, "the answer of a tool stands with its call");
    turn(&scene.acme, &id, said("and on")).await;
}

#[tokio::test]
async fn m025_the_same_prompts_tell_the_same_whichever_driver_runs_them() {
    let scene = scene().await;
    scene.acme.install_tool("word-count", guests::WORD_COUNT).await;
    let mut logs = vec![];
    for target in ["wasm", "process"] {
        let id = ready(&scene.acme, target, json!({})).await;
        for text in ["hello", r#"call word-count {"text": "a b"}"#, "call nothing {}"] {
            turn(&scene.acme, &id, said(text)).await;
        }
        let log = scene.acme.get(&at(&id, "timeline?limit=200")).await.json();
        let mut log = log["data"].as_array().unwrap().clone();
        // How an answer is cut into pieces is a matter of time; it comes whole as well.
        log.retain(|event| event["type"] != "message.append" || event["role"] == "user");
        // How it is made ready is the driver's own, and told before all else.
        let taken: Vec<_> = of_kind(&log, "session.step")
            .iter()
            .map(|event| event["step"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(taken, all_steps(target));
        log.retain(|event| event["type"] != "session.step");
        for event in &mut log {
            without_names(event);
        }
        logs.push(log);
    }
    assert!(logs[0].len() > 25, "{}", logs[0].len());
    assert_eq!(logs[0], logs[1]);
}

/// Takes out what is another each time: ids and times.
fn without_names(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| {
                let is_id = name == "id" || name.ends_with("_id");
                !is_id && name != "time" && name != "seq" && !name.ends_with("_at")
            });
            members.values_mut().for_each(without_names);
        }
        Value::Array(all) => all.iter_mut().for_each(without_names),
        _ => {}
    }
}
