//! What an agent asks, and whoever answers.

use super::{Watch, at, create, kinds, messages, of_kind, prompt, said, start, turn};
use opg_host::app::Clock;
use opg_tests::{
    app::{Client, Setup, TestApp, send},
    guests,
    upstream::Step,
};
use serde_json::{Value, json};

const CALL: &str = r#"call word-count {"text": "a b"}"#;

async fn asking(client: &Client, permissions: Value) -> String {
    create(client, json!({ "model": "openai/scripted", "permissions": permissions })).await
}

async fn answer(client: &Client, session: &str, asked: &Value, body: Value) -> u16 {
    let id = asked["permission"]["id"].as_str().unwrap();
    client.post(&at(session, &format!("permissions/{id}")), &body).await.status
}

async fn next_ask(watch: &mut Watch) -> Value {
    watch.until(|event| event["type"] == "permission.request").await.pop().unwrap()
}

#[tokio::test]
async fn m275_m276_m300_m327_a_tool_waits_until_somebody_allows_it() {
    let (_app, _upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = asking(&acme, json!({ "mode": "ask" })).await;
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said(CALL)).await;
    let asked = next_ask(&mut watch).await;
    let permission = &asked["permission"];
    assert_eq!(
        (&permission["tool"], &permission["input"]),
        (&json!("word-count"), &json!({ "text": "a b" }))
    );
    assert!(permission["expires_at"].is_string());
    let open = acme.get(&at(&id, "permissions")).await.json();
    assert_eq!(open["data"][0]["id"], permission["id"]);
    assert_eq!(acme.get(&format!("/v1/sessions/{id}")).await.json()["pending_permissions"], 1);
    assert_eq!(answer(&acme, &id, &asked, json!({ "response": "perhaps" })).await, 422);
    assert_eq!(answer(&acme, &id, &asked, json!({ "response": "once" })).await, 204);
    assert_eq!(answer(&acme, &id, &asked, json!({ "response": "reject" })).await, 409, "it was answered");
    let told = watch.turn().await;
    assert_eq!(of_kind(&told, "permission.resolved")[0]["response"], "once");
    assert_eq!(of_kind(&told, "tool.result")[0]["ok"], true);
    assert_eq!(acme.get(&at(&id, "permissions")).await.json()["data"], json!([]));
    let log = Watch::open(&acme, &id, Some(0)).await.turn().await;
    let first = |kind: &str| kinds(&log).iter().position(|other| *other == kind).unwrap();
    assert!(
        first("tool.call") < first("permission.request"),
        "it is told what is asked about: {:?}",
        kinds(&log)
    );
    // Once is once.
    prompt(&acme, &id, said(CALL)).await;
    let again = next_ask(&mut watch).await;
    assert_eq!(
        answer(&acme, &id, &again, json!({ "response": "reject", "message": "use your fingers" })).await,
        204
    );
    let told = watch.turn().await;
    let result = of_kind(&told, "tool.result")[0].clone();
    assert_eq!(result["ok"], false);
    assert!(result["output"].as_str().unwrap().contains("use your fingers"), "{result}");
    assert_eq!(told.last().unwrap()["state"], "done", "the agent goes on without it");
}

#[tokio::test]
async fn m276_always_is_a_rule_and_answers_whatever_else_waits_and_fits() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = asking(&acme, json!({ "mode": "ask" })).await;
    let call = |id: &str, text: &str| Step::tool_call(id, "word-count", &json!({ "text": text }).to_string());
    upstream.script(vec![call("c1", "safe a"), call("c2", "safe b"), call("c3", "other")]);
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said("go")).await;
    let mut asks = vec![];
    for _ in 0..3 {
        asks.push(next_ask(&mut watch).await);
    }
    let of = |text: &str| asks.iter().find(|ask| ask["permission"]["input"]["text"] == text).unwrap().clone();
    let always = json!({ "response": "always", "pattern": { "text": "safe *" } });
    assert_eq!(answer(&acme, &id, &of("safe a"), always).await, 204);
    assert_eq!(
        answer(&acme, &id, &of("safe b"), json!({ "response": "reject" })).await,
        409,
        "the rule answered it"
    );
    assert_eq!(answer(&acme, &id, &of("other"), json!({ "response": "reject" })).await, 204);
    let told = watch.turn().await;
    let results: Vec<_> = of_kind(&told, "tool.result").iter().map(|event| event["ok"].clone()).collect();
    assert_eq!(results, [true, true, false]);
    let shown = acme.get(&format!("/v1/sessions/{id}")).await.json();
    let rule = json!({ "tool": "word-count", "pattern": { "text": "safe *" }, "action": "allow" });
    assert_eq!(shown["permissions"], json!({ "mode": "ask", "rules": [rule] }));
    upstream.script(vec![call("c4", "safe c")]);
    let told = turn(&acme, &id, said("again")).await;
    assert_eq!(of_kind(&told, "permission.request"), Vec::<&Value>::new());
}

#[tokio::test]
async fn m266_a_rule_that_denies_is_final_and_a_change_bites_the_running_turn() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = asking(&acme, json!({ "rules": [{ "tool": "word-*", "action": "deny" }] })).await;
    let told = turn(&acme, &id, said(CALL)).await;
    assert_eq!(of_kind(&told, "permission.request"), Vec::<&Value>::new());
    let result = of_kind(&told, "tool.result")[0];
    assert!(result["output"].as_str().unwrap().contains("rules of this session"), "{result}");

    upstream.script(vec![Step::Wait(400), Step::tool_call("c", "word-count", r#"{"text":"a"}"#)]);
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said("go")).await;
    watch.until(|event| event["type"] == "turn.started").await;
    let rules = json!({ "permissions": { "mode": "allow" } });
    let changed = send(acme.request("PATCH", &format!("/v1/sessions/{id}")).json(&rules)).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let told = watch.turn().await;
    assert_eq!(of_kind(&told, "tool.result")[0]["ok"], true);
}

#[tokio::test]
async fn m276_a_run_that_asks_with_nobody_there_ends_by_itself_and_the_log_says_why() {
    let setup = Setup { clock: Clock::system(), ..Setup::default() };
    let app = TestApp::set_up(setup, |config| {
        TestApp::allow_local(config);
        // A turn has less than an answer may take.
        config.agent_time_limit = std::time::Duration::from_secs(2);
    })
    .await;
    let upstream = opg_tests::upstream::ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = asking(&acme, json!({ "mode": "ask" })).await;
    let told = turn(&acme, &id, said(CALL)).await;
    let resolved = of_kind(&told, "permission.resolved")[0];
    assert_eq!(resolved["response"], "reject");
    assert!(resolved["message"].as_str().unwrap().contains("answered"), "{resolved}");
    assert_eq!(
        app.sql("select count(*)::text from pending_permissions where resolved_at is null").await,
        ["0"]
    );
    assert_eq!(app.running.app.in_flight.total(), 0);
    super::expect_status(&acme, &id, "idle").await;
    assert!(messages(&acme, &id).await.len() >= 2);
}

#[tokio::test]
async fn m276_what_is_asked_is_answered_by_no_other_app_and_ends_with_its_turn() {
    let (app, _upstream, acme) = start().await;
    let rival = app.tenant("rival").await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = asking(&acme, json!({ "mode": "ask" })).await;
    let other = asking(&acme, json!({})).await;
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said(CALL)).await;
    let asked = next_ask(&mut watch).await;
    let once = json!({ "response": "once" });
    assert_eq!(answer(&rival, &id, &asked, once.clone()).await, 404);
    assert_eq!(answer(&acme, &other, &asked, once.clone()).await, 404, "it is another session's");
    let reads = acme.with_scopes(&["sessions:read"]).await;
    assert_eq!(answer(&reads, &id, &asked, once.clone()).await, 403);
    assert_eq!(acme.post(&at(&id, "abort"), &json!({})).await.status, 200);
    let told = watch.turn().await;
    assert_eq!(of_kind(&told, "permission.resolved")[0]["response"], "reject");
    assert_eq!(answer(&acme, &id, &asked, once).await, 409);
    let audit = acme.get("/v1/tenant/audit?limit=200").await.json();
    assert!(!audit.to_string().contains("sessions.permission"), "nobody answered: {audit}");
}

#[tokio::test]
async fn without_a_session_nobody_is_asked_and_tools_run_as_they_were_granted() {
    let (_app, _upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let answer = acme.chat("openai/scripted", CALL).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.content().contains('2'), "{}", answer.text());
}

#[tokio::test]
async fn m276_always_answers_nothing_its_rule_does_not_speak_of() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let rules = json!({ "rules": [{ "tool": "word-count", "pattern": { "text": "*" }, "action": "ask" }] });
    let id = asking(&acme, rules).await;
    let call = |id: &str, text: &str| Step::tool_call(id, "word-count", &json!({ "text": text }).to_string());
    // One of them is too large to be shown whole, and what is shown in its place has no `text` like the rule's.
    upstream.script(vec![call("c1", "harmless"), call("c2", &"x ".repeat(20_000))]);
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said("go")).await;
    let asks = [next_ask(&mut watch).await, next_ask(&mut watch).await];
    let harmless = asks.iter().find(|ask| ask["permission"]["input"]["text"] == "harmless").unwrap();
    let large = asks.iter().find(|ask| ask["permission"]["input"]["cut"] == true).unwrap();
    let always = json!({ "response": "always", "pattern": { "text": "harmless" } });
    assert_eq!(answer(&acme, &id, harmless, always).await, 204);
    assert_eq!(acme.get(&at(&id, "permissions")).await.json()["data"][0]["id"], large["permission"]["id"]);
    let too_long = json!({ "response": "always", "pattern": { "text": "x".repeat(2000) } });
    assert_eq!(answer(&acme, &id, large, too_long).await, 422);
    assert_eq!(answer(&acme, &id, large, json!({ "response": "reject" })).await, 204);
    let told = watch.turn().await;
    let results: Vec<_> = of_kind(&told, "tool.result").iter().map(|event| event["ok"].clone()).collect();
    assert_eq!(results, [true, false]);
}

/// A session whose rules ask, with a tool in it that asks of its own accord.
async fn with_grabby(acme: &Client, rules: Value) -> String {
    acme.install_tool("grabby", guests::GRABBY).await;
    let mut all = vec![json!({ "tool": "grabby_ask_person", "action": "allow" })];
    all.extend(rules.as_array().unwrap().iter().cloned());
    asking(acme, json!({ "mode": "ask", "rules": all })).await
}

fn question(action: &str, patterns: &[&str], always: &[&str]) -> Step {
    let input = json!({ "action": action, "patterns": patterns, "always": always });
    Step::tool_call("c1", "grabby_ask_person", &input.to_string())
}

fn outcome(told: &[Value]) -> Value {
    serde_json::from_str(of_kind(told, "tool.result")[0]["output"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn m356_a_tool_asks_a_person_of_its_own_accord_and_waits_longer_than_a_call_may() {
    let app = TestApp::with(|config| {
        TestApp::allow_local(config);
        config.tool_time_limit = std::time::Duration::from_millis(1500);
    })
    .await;
    let upstream = opg_tests::upstream::ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    let id = with_grabby(&acme, json!([])).await;
    upstream.script(vec![question("push", &["origin/main", "origin/next"], &["origin/*"])]);
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said("go")).await;
    let asked = next_ask(&mut watch).await;
    let permission = &asked["permission"];
    assert_eq!(permission["tool"], "grabby:push");
    assert_eq!(
        permission["input"],
        json!({ "patterns": ["origin/main", "origin/next"], "always": ["origin/*"], "details": {} })
    );
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(answer(&acme, &id, &asked, json!({ "response": "always" })).await, 204);
    let told = watch.turn().await;
    assert_eq!(outcome(&told), json!({ "ok": null }), "{told:?}");
    // What it proposed is a rule now, and nothing wider.
    let shown = acme.get(&format!("/v1/sessions/{id}")).await.json();
    let rule = json!({ "tool": "grabby:push", "pattern": { "pattern": "origin/*" }, "action": "allow" });
    assert_eq!(shown["permissions"]["rules"][1], rule);
    upstream.script(vec![question("push", &["origin/other"], &[])]);
    let told = turn(&acme, &id, said("again")).await;
    assert_eq!(of_kind(&told, "permission.request"), Vec::<&Value>::new());
    assert_eq!(outcome(&told), json!({ "ok": null }));
    upstream.script(vec![question("push", &["origin/other", "elsewhere/main"], &[])]);
    prompt(&acme, &id, said("and there?")).await;
    let asked = next_ask(&mut watch).await;
    assert_eq!(
        answer(&acme, &id, &asked, json!({ "response": "reject", "message": "not there" })).await,
        204
    );
    let told = watch.turn().await;
    assert_eq!(outcome(&told)["error"], "denied");
    assert!(outcome(&told)["message"].as_str().unwrap().contains("not there"), "{told:?}");
}

#[tokio::test]
async fn m356_a_question_opens_no_tool_and_where_nobody_can_be_asked_it_is_denied() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = with_grabby(&acme, json!([{ "tool": "grabby:*", "action": "allow" }])).await;
    upstream.script(vec![question("word-count", &[], &[])]);
    let told = turn(&acme, &id, said("go")).await;
    assert_eq!(outcome(&told), json!({ "ok": null }));
    // The tool of that name is still asked about.
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said(CALL)).await;
    let asked = next_ask(&mut watch).await;
    assert_eq!(asked["permission"]["tool"], "word-count");
    assert_eq!(answer(&acme, &id, &asked, json!({ "response": "reject" })).await, 204);
    watch.turn().await;
    let alone = acme.invoke("grabby_ask_person", json!({ "action": "push", "patterns": [] })).await;
    assert_eq!(alone.json()["output"]["error"], "denied", "{}", alone.text());
    for wrong in ["a:b", "", "a b"] {
        let refused = acme.invoke("grabby_ask_person", json!({ "action": wrong, "patterns": [] })).await;
        assert_eq!(refused.json()["output"]["error"], "invalid", "{}", refused.text());
    }
}

#[tokio::test]
async fn m019_a_typescript_tool_asks_as_it_does_in_opencode() {
    let (_app, upstream, acme) = start().await;
    let source = r#"import { tool } from "@opencode-ai/plugin"
export default tool({
  description: "Removes something, if it may",
  args: { path: tool.schema.string() },
  async execute({ path }, ctx) {
    await ctx.ask({ permission: "remove", patterns: [path], always: ["tmp/*"], metadata: { path } })
    return `removed ${path}`
  },
})"#;
    let uploaded = acme.put_bytes("/v1/tenant/tools/remover", "text/typescript", source).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    let rules = json!([{ "tool": "remover", "action": "allow" }]);
    let id = asking(&acme, json!({ "mode": "ask", "rules": rules })).await;
    for (response, said_by_tool) in [("once", "removed tmp/a"), ("reject", "was not allowed: keep it")] {
        upstream.script(vec![Step::tool_call("c1", "remover", r#"{"path":"tmp/a"}"#)]);
        let mut watch = Watch::open(&acme, &id, None).await;
        prompt(&acme, &id, said("go")).await;
        let asked = next_ask(&mut watch).await;
        assert_eq!(asked["permission"]["tool"], "remover:remove");
        assert_eq!(asked["permission"]["input"]["details"], json!({ "path": "tmp/a" }));
        let body = json!({ "response": response, "message": "keep it" });
        assert_eq!(answer(&acme, &id, &asked, body).await, 204);
        let told = watch.turn().await;
        let output = of_kind(&told, "tool.result")[0]["output"].as_str().unwrap();
        assert!(output.contains(said_by_tool), "{output}");
    }
}
