//! A client that goes away takes everything behind its request with it: in each of the places it can go.

use opg_tests::{
    app::{Client, TestApp},
    guests,
    site::Site,
    upstream::{ScriptedUpstream, Step},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const CHAT: &str = "/v1/chat/completions";
/// How long all of it may take.
const SOON: Duration = Duration::from_secs(1);

fn body(stream: bool) -> Value {
    json!({ "model": "openai/scripted", "stream": stream, "messages": [{ "role": "user", "content": "x" }] })
}

struct Scene {
    app: TestApp,
    upstream: ScriptedUpstream,
    acme: Client,
}

impl Scene {
    async fn start(with_agent: bool) -> Scene {
        let app = TestApp::local().await;
        let upstream = ScriptedUpstream::start().await;
        let acme = app.tenant_of("acme", &upstream).await;
        if with_agent {
            acme.install_tool("word-count", guests::WORD_COUNT).await;
        }
        Scene { app, upstream, acme }
    }

    /// Everything is let go soon, and written down as canceled.
    async fn expect_gone(&self, since: Instant, canceled: &[&str]) {
        loop {
            let upstream_is_free = self.upstream.received().iter().all(|r| r.hung_up || r.completed);
            let stats = self.app.running.app.sandbox.stats();
            let guests_are_free = stats.calls_in_flight == 0 && self.app.running.app.in_flight.total() == 0;
            let held = "select count(*)::text from sessions where busy_token is not null";
            let sessions_are_free = self.app.sql(held).await == ["0"];
            let rows = self.acme.uses().await;
            let mut kinds: Vec<_> = rows
                .iter()
                .filter(|row| row["status"] == "canceled")
                .map(|row| row["kind"].as_str().unwrap())
                .collect();
            kinds.sort_unstable();
            if upstream_is_free && guests_are_free && sessions_are_free && kinds == canceled {
                return;
            }
            assert!(
                since.elapsed() < SOON,
                "upstream {upstream_is_free}, guests {guests_are_free}, sessions {sessions_are_free}, {rows:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn m206_before_the_first_token() {
    for with_agent in [false, true] {
        for stream in [false, true] {
            let scene = Scene::start(with_agent).await;
            scene.upstream.script(vec![Step::Stall]);
            let request =
                scene.acme.request("POST", CHAT).header("x-opg-session-id", "new").json(&body(stream));
            let sent = tokio::spawn(request.send());
            scene.upstream.wait_until(|received| received.len() == 1).await;
            sent.abort();
            let canceled: &[&str] = if with_agent { &["agent", "tokens"] } else { &["tokens"] };
            scene.expect_gone(Instant::now(), canceled).await;
            let left = scene.app.sql("select count(*)::text from sessions").await;
            assert_eq!(left, ["0"], "nobody was told the id of the new session");
        }
    }
}

#[tokio::test]
async fn m206_the_provider_is_let_go_within_100_ms_also_where_an_agent_asked_it() {
    for with_agent in [false, true] {
        let scene = Scene::start(with_agent).await;
        for stream in [false, true] {
            for script in [vec![Step::Stall], vec![Step::text("one two three "), Step::Stall]] {
                opg_tests::hang_up::expect_notice_at_once(
                    &scene.upstream,
                    &scene.acme,
                    CHAT,
                    &body(stream),
                    &script,
                )
                .await;
            }
        }
    }
}

#[tokio::test]
async fn m206_in_the_middle_of_a_stream_and_what_was_said_is_charged() {
    for with_agent in [false, true] {
        let scene = Scene::start(with_agent).await;
        scene.upstream.script(vec![Step::text("one two three "), Step::Stall]);
        let request = scene.acme.request("POST", CHAT).header("x-opg-session-id", "new").json(&body(true));
        let mut answer = request.send().await.unwrap();
        let session = answer.headers()["x-opg-session-id"].to_str().unwrap().to_owned();
        while !String::from_utf8_lossy(&answer.chunk().await.unwrap().unwrap()).contains("three") {}
        drop(answer);
        let canceled: &[&str] = if with_agent { &["agent", "tokens"] } else { &["tokens"] };
        scene.expect_gone(Instant::now(), canceled).await;
        let rows = scene.acme.uses().await;
        let tokens = rows.iter().find(|row| row["kind"] == "tokens").unwrap();
        assert!(tokens["completion_tokens"].as_u64().unwrap() > 0, "{tokens}");
        let again = scene.acme.request("POST", CHAT).header("x-opg-session-id", &session).json(&body(false));
        assert_eq!(
            again.send().await.unwrap().status(),
            200,
            "the session is free, and knows nothing of the turn"
        );
        assert_eq!(scene.upstream.received()[1].body["messages"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn m206_while_the_model_answers_a_client_that_wants_it_whole() {
    for with_agent in [false, true] {
        let scene = Scene::start(with_agent).await;
        scene.upstream.script(vec![Step::text("half"), Step::Stall]);
        let sent = tokio::spawn(scene.acme.request("POST", CHAT).json(&body(false)).send());
        scene.upstream.wait_until(|received| received.len() == 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        sent.abort();
        let canceled: &[&str] = if with_agent { &["agent", "tokens"] } else { &["tokens"] };
        scene.expect_gone(Instant::now(), canceled).await;
    }
}

#[tokio::test]
async fn m206_while_a_tool_waits_for_the_world() {
    for stream in [false, true] {
        let scene = Scene::start(false).await;
        let site = Site::start().await;
        scene.acme.put_bytes("/v1/tenant/tools/slow", "application/wasm", guests::SLOW).await;
        scene.acme.grant("tools", "slow", &[("http", &site.host())]).await;
        let input = json!({ "url": site.url("/hang") }).to_string();
        scene.upstream.script(vec![Step::tool_call("c1", "slow", &input)]);
        let sent = tokio::spawn(scene.acme.request("POST", CHAT).json(&body(stream)).send());
        site.wait_for(1).await;
        sent.abort();
        scene.expect_gone(Instant::now(), &["agent", "tool"]).await;
    }
}

#[tokio::test]
async fn m206_while_an_agent_computes() {
    let scene = Scene::start(false).await;
    scene.acme.install_agent("spin", guests::AGENT_SPIN).await;
    let mut request = body(true);
    request["agent"] = json!("spin");
    let mut answer = scene.acme.request("POST", CHAT).json(&request).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some(), "it says a word and then spins");
    drop(answer);
    scene.expect_gone(Instant::now(), &["agent"]).await;
}

#[tokio::test]
async fn m221_while_a_tool_runs_for_a_person() {
    let scene = Scene::start(false).await;
    scene.acme.install_tool("spin", guests::SPIN).await;
    let request = scene.acme.request("POST", "/v1/tenant/tools/spin/invoke").json(&json!({ "input": {} }));
    let sent = tokio::spawn(request.send());
    while scene.app.running.app.sandbox.stats().calls_in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sent.abort();
    scene.expect_gone(Instant::now(), &["tool"]).await;
}
