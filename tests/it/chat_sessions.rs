//! Sessions behind chat: history that outlives a request, one turn at a time, and nothing left where there is none.

use opg_host::app::Clock;
use opg_tests::{
    app::{Answer, Client, TestApp, send},
    guests,
    upstream::{ScriptedUpstream, Step},
    wait::until,
};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

const CHAT: &str = "/v1/chat/completions";
const HEADER: &str = "x-opg-session-id";

fn body(text: &str) -> Value {
    json!({ "model": "openai/scripted", "messages": [{ "role": "user", "content": text }] })
}

async fn say(client: &Client, session: &str, body: &Value) -> Answer {
    send(client.request("POST", CHAT).header(HEADER, session).json(body)).await
}

async fn start() -> (TestApp, ScriptedUpstream, Client) {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    (app, upstream, acme)
}

fn last_messages(upstream: &ScriptedUpstream) -> Value {
    upstream.received().last().unwrap().body["messages"].clone()
}

#[tokio::test]
async fn m011_m245_a_session_is_made_named_and_its_history_goes_on() {
    let (app, upstream, acme) = start().await;
    let first = say(&acme, "new", &body("one")).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let id = first.header(HEADER).to_owned();
    assert_eq!(id.len(), 36, "it is a UUID: {id}");
    assert_eq!(say(&acme, &id, &body("two")).await.header(HEADER), id);
    let history = json!([
        { "role": "user", "content": "one" },
        { "role": "assistant", "content": "one" },
        { "role": "user", "content": "two" },
    ]);
    assert_eq!(last_messages(&upstream), history);

    let mut in_body = body("three");
    in_body["session_id"] = json!(id);
    let third = acme.post(CHAT, &in_body).await;
    assert_eq!((third.status, third.header(HEADER)), (200, id.as_str()));
    assert_eq!(last_messages(&upstream).as_array().unwrap().len(), 5);
    let both = say(&acme, &id, &in_body).await;
    assert_eq!(both.status, 200, "the same in both places is no conflict");
    in_body["session_id"] = json!("new");
    let conflict = say(&acme, &id, &in_body).await;
    assert_eq!((conflict.status, &conflict.json()["error"]["param"]), (400, &json!("session_id")));

    let mut streamed = body("five");
    streamed["stream"] = json!(true);
    let streamed = say(&acme, &id, &streamed).await;
    assert_eq!((streamed.header(HEADER), streamed.frames().last().unwrap()), (id.as_str(), &json!("[DONE]")));
    say(&acme, &id, &body("six")).await;
    assert_eq!(last_messages(&upstream).as_array().unwrap().len(), 11);
    assert_eq!(app.sql("select count(*)::text from sessions").await, ["1"]);
}

#[tokio::test]
async fn m245_what_tools_did_in_earlier_turns_stays_in_the_history() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let first = say(&acme, "new", &body(r#"call word-count {"text": "a b"}"#)).await;
    let id = first.header(HEADER).to_owned();
    say(&acme, &id, &body("thanks")).await;
    let messages = last_messages(&upstream);
    let roles: Vec<_> = messages.as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant", "user"], "{messages}");
    assert_eq!(messages[1]["tool_calls"][0]["id"], messages[2]["tool_call_id"]);

    // A client's tool: its answer alone, the call is in the history.
    let tool = json!([{ "type": "function", "function": { "name": "ask_user", "parameters": { "type": "object" } } }]);
    let mut call = body("call ask_user {}");
    call["tools"] = tool.clone();
    let called = say(&acme, &id, &call).await.json();
    let call_id = called["choices"][0]["message"]["tool_calls"][0]["id"].clone();
    let answered = json!({ "model": "openai/scripted", "tools": tool,
        "messages": [{ "role": "tool", "tool_call_id": call_id, "content": "yes" }] });
    let told = say(&acme, &id, &answered).await;
    assert_eq!(told.content(), "The tools said: yes", "{}", told.text());
    let mut orphan = answered;
    orphan["messages"][0]["tool_call_id"] = json!("call_nobody_made");
    assert_eq!(say(&acme, &id, &orphan).await.status, 400);
    assert_eq!(
        say(&acme, &id, &body("still free")).await.status,
        200,
        "a refused turn gives the session back"
    );
}

#[tokio::test]
async fn m213_an_unknown_a_foreign_and_a_garbage_id_are_the_same_404() {
    let (app, _upstream, acme) = start().await;
    let rival = app.tenant("rival").await;
    let id = say(&acme, "new", &body("mine")).await.header(HEADER).to_owned();
    let mut texts = vec![];
    for wrong in [id.as_str(), "0190f3c4-0000-7000-8000-000000000000", "garbage", "../../etc", "NEW"] {
        let mut request = body("x");
        request["model"] = json!("demo/assistant");
        let answer = say(&rival, wrong, &request).await;
        assert_eq!(answer.status, 404, "{wrong}: {}", answer.text());
        texts.push(answer.text());
        let gone = rival.delete(&format!("/v1/sessions/{}", wrong.replace('/', "%2F"))).await;
        assert_eq!(gone.status, 404, "{wrong}");
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
    let path = format!("/v1/sessions/{id}");
    assert_eq!(acme.with_scopes(&["chat:write"]).await.delete(&path).await.status, 403);
    assert_eq!(acme.delete(&path).await.status, 204);
    assert_eq!(acme.delete(&path).await.status, 404);
    assert_eq!(say(&acme, &id, &body("x")).await.status, 404);
    assert_eq!(app.sql("select count(*)::text from session_messages").await, ["0"]);
}

#[tokio::test]
async fn m246_m247_a_session_ends_its_time_after_its_last_use() {
    let noon = "2026-01-01T12:00:00Z".parse().unwrap();
    let app =
        TestApp::at(Clock::manual(noon), |config| config.session_ttl = Duration::from_secs(30 * 60)).await;
    let acme = app.tenant("acme").await;
    let mut request = body("x");
    request["model"] = json!("demo/assistant");
    let id = say(&acme, "new", &request).await.header(HEADER).to_owned();
    for _ in 0..3 {
        app.clock.advance(chrono_minutes(29));
        assert_eq!(say(&acme, &id, &request).await.status, 200, "every use starts it anew");
    }
    let row = "select (last_accessed_at - created_at)::text || ' ' || (expires_at - last_accessed_at)::text from sessions";
    assert_eq!(app.sql(row).await, ["01:27:00 00:30:00"]);
    app.clock.advance(chrono_minutes(30));
    let late = say(&acme, &id, &request).await;
    assert_eq!((late.status, &late.json()["error"]["code"]), (410, &json!("session_expired")));
    app.clock.advance(chrono_minutes(24 * 60 + 1));
    // Upkeep may be at it at the same moment, so how many went here says nothing.
    until("it is removed", async || {
        opg_host::sessions::sweep::expired(&app.running.app).await.unwrap();
        app.sql("select count(*)::text from sessions").await == ["0"]
    })
    .await;
    assert_eq!(say(&acme, &id, &request).await.status, 404);
    assert_eq!(app.sql("select count(*)::text from session_messages").await, ["0"]);
}

fn chrono_minutes(minutes: i64) -> chrono::Duration {
    chrono::Duration::minutes(minutes)
}

#[tokio::test]
async fn m245_a_session_runs_one_turn_at_a_time() {
    let (_app, upstream, acme) = start().await;
    let id = say(&acme, "new", &body("x")).await.header(HEADER).to_owned();
    upstream.script(vec![Step::Wait(700), Step::text("slow")]);
    let (client, session) = (acme.clone(), id.clone());
    let first = tokio::spawn(async move { say(&client, &session, &body("first")).await });
    upstream.wait_until(|received| received.len() == 2).await;
    let busy = say(&acme, &id, &body("second")).await;
    assert_eq!((busy.status, &busy.json()["error"]["code"]), (409, &json!("session_busy")));
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(say(&acme, &id, &body("third")).await.status, 200);
    let said: Vec<_> =
        last_messages(&upstream).as_array().unwrap().iter().map(|m| m["content"].clone()).collect();
    assert_eq!(said, ["x", "x", "first", "slow", "third"]);
}

#[tokio::test]
async fn m245_a_turn_that_fails_leaves_the_history_as_it_was_and_no_session_nobody_can_name() {
    let (app, upstream, acme) = start().await;
    let id = say(&acme, "new", &body("x")).await.header(HEADER).to_owned();
    for with_agent in [false, true] {
        if with_agent {
            acme.install_tool("word-count", guests::WORD_COUNT).await;
        }
        for stream in [false, true] {
            for script in [vec![Step::error(500, "no")], vec![Step::text("half"), Step::Reset]] {
                upstream.script(script);
                let mut request = body("lost");
                request["stream"] = json!(stream);
                say(&acme, &id, &request).await;
                free(&app).await;
            }
        }
    }
    assert_eq!(say(&acme, &id, &body("again")).await.status, 200);
    let said: Vec<_> =
        last_messages(&upstream).as_array().unwrap().iter().map(|m| m["content"].clone()).collect();
    assert_eq!(said, ["x", "x", "again"]);

    upstream.script(vec![Step::error(500, "no")]);
    assert_eq!(say(&acme, "new", &body("x")).await.status, 502);
    free(&app).await;
    assert_eq!(app.sql("select count(*)::text from sessions").await, ["1"], "the failed one is gone");
}

/// Waits until no turn holds a session.
async fn free(app: &TestApp) {
    let busy = "select count(*)::text from sessions where busy_token is not null";
    until("a turn that ended gives its session back", async || app.sql(busy).await == ["0"]).await;
}

#[tokio::test]
async fn m021_m244_two_hundred_calls_without_a_session_leave_nothing_behind() {
    let (app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    acme.install_tool("trap", guests::TRAP).await;
    acme.chat("openai/scripted", r#"call word-count {"text": "warm up"}"#).await;
    let tables = "select string_agg(t || '=' || n, ' ' order by t) from (
        select relname::text as t, (xpath('/row/c/text()', query_to_xml('select count(*) as c from ' || quote_ident(relname), true, true, '')))[1]::text as n
        from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace
          and relname not in ('usage_events', 'audit_events', 'tool_runs')) as counts";
    let (rows, files) = (app.sql(tables).await, files(app.data_dir()));

    for call in 0..200 {
        let mut request = body(r#"call word-count {"text": "a b"}"#);
        request["stream"] = json!(call % 2 == 0);
        match call % 5 {
            1 => upstream.script(vec![Step::error(500, "no")]),
            2 => upstream.script(vec![Step::text("half"), Step::Reset]),
            3 => request["messages"][0]["content"] = json!("call trap {}"),
            _ => {}
        }
        if call % 5 == 4 {
            upstream.script(vec![Step::text("half"), Step::Stall]);
            let before = upstream.received().len();
            let waiting = tokio::spawn(acme.request("POST", CHAT).json(&request).send());
            // Only then is the stall this call's, however slow the machine is, and not the next one's.
            upstream.wait_until(|received| received.len() > before).await;
            waiting.abort();
        } else {
            acme.post(CHAT, &request).await;
        }
    }
    until("all that were called have ended", async || {
        app.running.app.sandbox.stats().calls_in_flight == 0 && app.running.app.in_flight.total() == 0
    })
    .await;
    assert_eq!(app.sql(tables).await, rows);
    assert_eq!(self::files(app.data_dir()), files);
    assert!(rows[0].contains("sessions=0") && rows[0].contains("session_messages=0"), "{rows:?}");
}

/// Every file below, but the database's own.
fn files(dir: &Path) -> Vec<String> {
    let mut found = vec![];
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("postgres") {
                todo.push(path);
            } else {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}
