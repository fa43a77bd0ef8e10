//! One log, and whoever reads it.

use super::{
    SESSIONS, Watch, at, kinds, messages, new_session, of_kind, prompt, said, start, streamed_text, turn,
};
use futures_util::{SinkExt, StreamExt};
use opg_host::limits::{READERS_PER_APP_MAX, READERS_PER_SESSION_MAX};
use opg_tests::{app::TestApp, guests, upstream::Step};
use serde_json::{Value, json};

fn seqs(events: &[Value]) -> Vec<i64> {
    events.iter().filter_map(|event| event["seq"].as_i64()).collect()
}

/// The order the protocol asks for: what `verifyEvents` of its client checks (docs.ag-ui.com, `@ag-ui/client`).
fn is_in_order(events: &[Value]) {
    let (mut run, mut open) = (None, std::collections::BTreeSet::new());
    for event in events {
        let text =
            |name: &str| event[name].as_str().unwrap_or_else(|| panic!("{name} of {event}")).to_owned();
        let kind = text("type");
        assert!(event["timestamp"].is_i64(), "{event}");
        let family = |end: &str| kind.strip_suffix(end).map(str::to_owned);
        match kind.as_str() {
            "RUN_STARTED" => {
                assert_eq!(run, None, "a run within a run: {event}");
                run = Some((text("threadId"), text("runId")));
                continue;
            }
            _ => assert!(run.is_some(), "outside of any run: {event}"),
        }
        match kind.as_str() {
            "RUN_FINISHED" => {
                assert_eq!(run.take(), Some((text("threadId"), text("runId"))));
                assert!(open.is_empty(), "{open:?} at the end");
            }
            "RUN_ERROR" => assert!(!text("message").is_empty()),
            "CUSTOM" => assert!(!text("name").is_empty() && event.get("value").is_some()),
            "TOOL_CALL_RESULT" => {
                assert_eq!(event["role"], "tool");
                let _ = (text("messageId"), text("toolCallId"), text("content"));
            }
            _ => {
                let id = if kind.starts_with("TOOL_CALL") { text("toolCallId") } else { text("messageId") };
                if let Some(family) = family("_START") {
                    assert!(open.insert((family, id)), "begun twice: {event}");
                } else if let Some(family) = family("_END") {
                    assert!(open.remove(&(family, id)), "ended and never begun: {event}");
                } else {
                    let family =
                        family("_CONTENT").or(family("_ARGS")).unwrap_or_else(|| panic!("unknown: {event}"));
                    assert!(!text("delta").is_empty(), "{event}");
                    assert!(open.contains(&(family, id)), "of nothing that was begun: {event}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_stream_in_the_events_of_ag_ui_keeps_the_order_of_that_protocol() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = new_session(&acme).await;
    upstream.script(vec![
        Step::Reasoning("hm".to_owned()),
        Step::text("Let me"),
        Step::text(" count."),
        Step::tool_call("c", "word-count", r#"{"text": "a b"}"#),
    ]);
    turn(&acme, &id, said("how many?")).await;
    turn(&acme, &id, said("and again")).await;
    upstream.script(vec![Step::text("half"), Step::error(500, "no")]);
    turn(&acme, &id, said("fail")).await;
    let answer = acme.request("GET", &at(&id, "stream?cursor=0&format=ag-ui")).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    let text = answer.text().await.unwrap();
    let frames: Vec<&str> = text.split_terminator("\n\n").filter(|frame| !frame.starts_with(':')).collect();
    let data = |frame: &&str| frame.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned);
    let events: Vec<Value> =
        frames.iter().filter_map(data).map(|data| serde_json::from_str(&data).unwrap()).collect();
    is_in_order(&events);
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    assert_eq!((of("RUN_STARTED").len(), of("RUN_FINISHED").len(), of("RUN_ERROR").len()), (3, 2, 1));
    assert_eq!(events.last().unwrap()["type"], "RUN_ERROR", "after which the protocol has nothing");
    assert_eq!(of("RUN_STARTED")[0]["threadId"], json!(id));
    assert_eq!(of("TOOL_CALL_RESULT")[0]["toolCallId"], of("TOOL_CALL_START")[0]["toolCallId"]);
    assert_eq!(of("REASONING_MESSAGE_CONTENT")[0]["delta"], "hm");
    // It goes on behind the number of the last frame.
    let last = frames.iter().rev().find_map(|frame| frame.strip_prefix("id: ")).unwrap();
    let last: i64 = last.lines().next().unwrap().parse().unwrap();
    turn(&acme, &id, said("once more")).await;
    let mut answer =
        acme.request("GET", &at(&id, &format!("stream?cursor={last}&format=ag-ui"))).send().await.unwrap();
    let mut rest = String::new();
    while !rest.contains("RUN_FINISHED") {
        rest += std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap();
    }
    assert!(rest.contains("once more") && !rest.contains("and again"), "{rest}");
    assert_eq!(acme.get(&at(&id, "stream?format=xml")).await.status, 400);
}

#[tokio::test]
async fn m270_m318_m329_a_reader_is_told_all_of_a_turn_in_order_and_without_a_gap() {
    let (_app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    upstream.script(vec![Step::Reasoning("hm".into()), Step::text("Hello, "), Step::text("world")]);
    let mut watch = Watch::open(&acme, &id, Some(0)).await;
    assert_eq!(watch.connected["session"]["id"], json!(id));
    let taken = prompt(&acme, &id, said("hi")).await;
    let told = watch.until(|event| event["type"] == "session.status" && event["from"] == "active").await;
    assert_eq!(seqs(&told), (1..=i64::try_from(told.len()).unwrap()).collect::<Vec<_>>());
    assert!(told.iter().all(|event| event["session_id"] == json!(id) && event["time"].is_string()));
    assert_eq!(streamed_text(&told), "Hello, world");
    let whole = of_kind(&told, "message.complete");
    assert_eq!(whole.len(), 1);
    let parts = json!([{ "type": "reasoning", "text": "hm" }, { "type": "text", "text": "Hello, world" }]);
    assert_eq!(whole[0]["message"]["parts"], parts);
    let spoken =
        of_kind(&told, "message.append").into_iter().find(|event| event["role"] == "assistant").unwrap();
    assert_eq!(spoken["message_id"], whole[0]["message"]["id"], "the pieces are of the message they come to");
    let usage = of_kind(&told, "token.usage");
    assert_eq!((&usage[0]["prompt_tokens"], &usage[0]["completion_tokens"]), (&json!(10), &json!(5)));
    assert_eq!(of_kind(&told, "turn.ended")[0]["state"], "done");
    let kept = messages(&acme, &id).await;
    assert_eq!((&kept[0]["id"], &kept[1]["id"]), (&taken["message_id"], &whole[0]["message"]["id"]));
    assert_eq!(kept[1]["parts"], parts, "the list says what the log says");
}

#[tokio::test]
async fn m270_all_of_ones_sessions_are_heard_of_in_one_stream_in_order_and_without_a_gap() {
    let (app, _upstream, acme) = start().await;
    let other = app.tenant("other").await;
    let before = new_session(&acme).await;
    turn(&acme, &before, said("what was is not told")).await;
    let mut all = Watch::from(acme.request("GET", "/v1/events")).await;
    let mut others = Watch::from(other.request("GET", "/v1/events")).await;
    // What was is told by the database a moment late, as it tells other hosts.
    // The only session there is yet.
    let late = "select pg_notify('opg_sessions', concat_ws(' ', session_id, last_seq, last_seq - 3, app_id, '-'))::text
                from sessions";
    assert_eq!(app.sql(late).await.len(), 1);
    let id = new_session(&acme).await;
    let mut one = Watch::open(&acme, &id, Some(0)).await;
    prompt(&acme, &id, said("one two three")).await;
    let ended = |event: &Value| event["type"] == "session.status" && event["from"] == "active";
    let told = all.until(ended).await;
    let same = |event: &Value| (event["seq"].clone(), event["type"].clone());
    let of_it: Vec<_> = one.until(ended).await.iter().map(same).collect();
    assert_eq!(told.iter().map(same).collect::<Vec<_>>(), of_it, "of each session all that its own log says");
    prompt(&acme, &before, said("and on")).await;
    let told = all.until(ended).await;
    assert!(told.iter().all(|event| event["session_id"] == json!(before)), "{told:#?}");
    let first = seqs(&told)[0];
    assert!(first > 1, "what was is not told");
    assert_eq!(seqs(&told), (first..).take(told.len()).collect::<Vec<_>>());
    for id in [&id, &before] {
        assert_eq!(acme.delete(&format!("{SESSIONS}/{id}")).await.status, 204);
        let gone = all.next().await.unwrap();
        assert_eq!((&gone["event"], &gone["session_id"]), (&json!("session.deleted"), &json!(id)));
    }
    // Nobody else heard of any of it, and a stream ends with the server.
    let own = super::create(&other, json!({ "model": "demo/assistant" })).await;
    assert_eq!(others.next().await.unwrap()["session_id"], json!(own));
    app.running.stop().await;
    let ended = all.until(|event| event["event"] == "end").await;
    assert_eq!(ended.last().unwrap()["reason"], "stopping");
}

#[tokio::test]
async fn m270_a_reader_that_comes_back_with_its_cursor_misses_nothing_and_gets_nothing_twice() {
    let (_app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    turn(&acme, &id, said("one two three four five")).await;
    turn(&acme, &id, said("six")).await;
    let ended = |event: &Value| event["type"] == "session.status" && event["from"] == "active";
    let mut watch = Watch::open(&acme, &id, Some(0)).await;
    let mut whole = watch.until(ended).await;
    whole.extend(watch.until(ended).await);
    let last = *seqs(&whole).last().unwrap();
    for cut in 0..last {
        let rest = Watch::open(&acme, &id, Some(cut)).await.until(|event| event["seq"] == json!(last)).await;
        assert_eq!(rest[..], whole[usize::try_from(cut).unwrap()..], "after {cut}");
    }
    // A browser sends the header.
    let request = acme.request("GET", &at(&id, "stream")).header("last-event-id", (last - 1).to_string());
    let rest = Watch::from(request).await.next().await.unwrap();
    assert_eq!(rest["seq"], json!(last));
    for wrong in ["x", "-1", "1.5"] {
        assert_eq!(acme.get(&at(&id, &format!("stream?cursor={wrong}"))).await.status, 400, "{wrong}");
    }
    let timeline = acme.get(&at(&id, "timeline?limit=200")).await.json();
    assert_eq!(timeline["data"].as_array().unwrap()[..], whole[..], "m289: the same in pages");
}

#[tokio::test]
async fn m270_many_readers_are_told_the_same_and_one_that_goes_stops_nothing() {
    let (app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    upstream.script(vec![
        Step::text("a"),
        Step::Wait(150),
        Step::text("b"),
        Step::Wait(150),
        Step::text("c"),
    ]);
    super::expect_status(&acme, &id, "idle").await;
    let mut readers = vec![];
    for _ in 0..20 {
        readers.push(Watch::open(&acme, &id, None).await);
    }
    let mut first = readers.pop().unwrap();
    prompt(&acme, &id, said("x")).await;
    first.until(|event| event["role"] == "assistant").await;
    drop(first);
    let mut told = vec![];
    for reader in &mut readers {
        told.push(reader.turn().await);
    }
    assert_eq!(streamed_text(&told[0]), "abc");
    assert!(told.iter().all(|events| *events == told[0]));
    drop(readers);
    // Nobody is there: the turn runs all the same.
    prompt(&acme, &id, said("again")).await;
    super::expect_status(&acme, &id, "idle").await;
    let mut watch = Watch::open(&acme, &id, Some(0)).await;
    watch.turn().await;
    assert_eq!(watch.turn().await.last().unwrap()["state"], "done");
    assert_eq!(app.sql("select count(*)::text from session_turns where state = 'done'").await, ["2"]);
}

#[tokio::test]
async fn m270_another_host_tells_its_readers_what_this_one_wrote() {
    let (app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    super::expect_status(&acme, &id, "idle").await;
    // What the other host is, as far as this one can tell: somebody else who writes to the same database.
    let mut watch = Watch::open(&acme, &id, None).await;
    let mut all = Watch::from(acme.request("GET", "/v1/events")).await;
    let mut owner = app.owner().await;
    sqlx::query(
        "with n as (update sessions set last_seq = last_seq + 1 returning session_id, app_id, last_seq)
         , e as (insert into session_events (session_id, seq, app_id, kind, data, created_at)
           select session_id, last_seq, app_id, 'agent.event', '{\"name\": \"elsewhere\"}', now() from n)
         select pg_notify('opg_sessions', concat_ws(' ', session_id, last_seq, last_seq, app_id, '-')) from n",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    for reader in [&mut watch, &mut all] {
        let told = reader.until(|event| event["type"] == "agent.event").await;
        assert_eq!(told.last().unwrap()["name"], "elsewhere");
    }
    let gone =
        "select pg_notify('opg_sessions', concat_ws(' ', session_id, 'gone', app_id, '-')) from sessions";
    sqlx::query(gone).execute(&mut owner).await.unwrap();
    assert_eq!(watch.next().await.unwrap()["reason"], "gone");
    assert_eq!(all.next().await.unwrap()["session_id"], json!(id));
}

#[tokio::test]
async fn m270_a_cursor_that_is_too_old_is_told_to_begin_anew() {
    let (app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    turn(&acme, &id, said("one")).await;
    super::expect_status(&acme, &id, "idle").await;
    let mut owner = app.owner().await;
    for statement in ["update sessions set first_seq = 4", "delete from session_events where seq < 4"] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    let mut watch = Watch::open(&acme, &id, Some(1)).await;
    let reset = watch.next().await.unwrap();
    assert_eq!((&reset["event"], &reset["cursor"]), (&json!("reset"), &json!(3)));
    assert_eq!(watch.next().await.unwrap()["seq"], 4, "and goes on from there");
}

#[tokio::test]
async fn m270_a_reader_whose_credential_is_revoked_or_whose_host_stops_is_told_and_let_go() {
    let app = TestApp::with_manual_clock().await;
    let acme = app.tenant("acme").await;
    let id = super::create(&acme, json!({ "model": "demo/assistant" })).await;
    let reader = acme.with_scopes(&["sessions:read"]).await;
    let mut watch = Watch::open(&reader, &id, None).await;
    let mut other = Watch::open(&acme, &id, None).await;
    let mut owner = app.owner().await;
    sqlx::query("update credentials set revoked_at = now() where kind = 'dev_grant'")
        .execute(&mut owner)
        .await
        .unwrap();
    let told = watch.until(|event| event["event"] == "end").await;
    assert_eq!(told.last().unwrap()["reason"], "revoked");
    let stopping = tokio::spawn(app.running.stop());
    let told = other.until(|event| event["event"] == "end").await;
    assert_eq!(told.last().unwrap()["reason"], "stopping");
    assert!(told.last().unwrap()["cursor"].is_number());
    stopping.await.unwrap();
}

#[tokio::test]
async fn m050_m270_a_session_and_an_app_have_so_many_readers_and_one_that_goes_makes_room() {
    let (app, _upstream, acme) = start().await;
    let (id, other) = (new_session(&acme).await, new_session(&acme).await);
    super::expect_status(&acme, &id, "idle").await;
    let (app_id, session_id) = {
        let ids = app.sql("select app_id::text from apps where slug = 'acme'").await;
        (ids[0].parse().unwrap(), id.parse().unwrap())
    };
    let readers = &app.running.app.readers;
    let watch = Watch::open(&acme, &id, None).await;
    let socket = acme.request("GET", &at(&id, "stream?format=ag-ui")).send().await.unwrap();
    assert_eq!((socket.status().as_u16(), readers.count()), (200, 2), "each stream has a place");
    // As many as there may be, without as many connections.
    let mut others: Vec<_> =
        (2..READERS_PER_SESSION_MAX).map(|_| readers.enter(app_id, Some(session_id)).unwrap()).collect();
    let refused = acme.get(&at(&id, "stream")).await;
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("too_many_readers")));
    assert_eq!(refused.json()["limit"], json!(READERS_PER_SESSION_MAX));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(acme.get(&at("0190f3c4-0000-7000-8000-000000000000", "stream")).await.status, 404);
    let elsewhere = Watch::open(&acme, &other, None).await;
    drop(watch);
    let until = async |count: usize| {
        for _ in 0..200 {
            if readers.count() == count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{} and not {count}", readers.count());
    };
    until(READERS_PER_SESSION_MAX).await;
    let again = Watch::open(&acme, &id, None).await;

    // Of all of the app's, whichever they read.
    let rest = READERS_PER_APP_MAX - readers.count();
    others.extend((0..rest).map(|_| readers.enter(app_id, None).unwrap()));
    for path in [at(&other, "stream"), "/v1/events".to_owned(), "/t/acme/opencode/event".to_owned()] {
        let refused = acme.get(&path).await;
        assert_eq!(refused.status, 429, "{path}: {}", refused.text());
        assert!(refused.text().contains(&READERS_PER_APP_MAX.to_string()), "{}", refused.text());
    }
    // A turn needs none of them.
    assert_eq!(messages(&acme, &other).await.len(), 0);
    let taken = prompt(&acme, &other, said("hello")).await;
    assert!(taken["turn_id"].is_string());
    drop((again, elsewhere, socket, others));
    until(0).await;
    assert_eq!(Watch::open(&acme, &id, None).await.connected["event"], "server.connected");
}

#[tokio::test]
async fn m035_a_chat_request_in_a_session_is_in_its_log_with_the_same_words() {
    let (_app, _upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = new_session(&acme).await;
    super::expect_status(&acme, &id, "idle").await;
    let mut watch = Watch::open(&acme, &id, None).await;
    let body = json!({ "model": "openai/scripted", "session_id": id,
        "messages": [{ "role": "user", "content": "call word-count {\"text\": \"a b\"}" }] });
    let answer = acme.post("/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = watch.until(|event| event["type"] == "session.status" && event["to"] == "idle").await;
    let whole = of_kind(&told, "message.complete");
    let roles: Vec<_> = whole.iter().map(|event| event["message"]["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "assistant"]);
    assert_eq!(whole[1]["message"]["parts"][0]["tool"], "word-count");
    assert_eq!(whole[1]["message"]["parts"][0]["state"], "completed");
    assert_eq!(whole[2]["message"]["parts"][0]["text"], json!(answer.content()));
    // And a prompt goes on from there.
    turn(&acme, &id, said("thanks")).await;
    assert_eq!(messages(&acme, &id).await.len(), 5);
}

#[tokio::test]
async fn m289_m342_what_a_session_used_is_summed_up() {
    let (_app, _upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let id = new_session(&acme).await;
    let told = turn(&acme, &id, said("call word-count {\"text\": \"a b\"}")).await;
    assert!(kinds(&told).contains(&"tool.call"), "{told:#?}");
    let usage = acme.get(&at(&id, "usage")).await.json();
    assert_eq!((&usage["model_calls"], &usage["tool_calls"]), (&json!(2), &json!(1)), "{usage}");
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(20), &json!(10)));
    assert!(usage["storage_bytes"].as_i64().unwrap() > 0);
    let other = acme.get(&format!("{SESSIONS}/{}/usage", "0190f3c4-0000-7000-8000-000000000000")).await;
    assert_eq!(other.status, 404);
}

#[tokio::test]
async fn m270_the_same_comes_over_a_websocket() {
    use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
    let (app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    super::expect_status(&acme, &id, "idle").await;
    let url = format!("{}{}", app.base_url().replace("http://", "ws://"), at(&id, "stream?cursor=0"));
    let mut request = url.clone().into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", acme.token()).parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let mut sse = Watch::open(&acme, &id, Some(0)).await;
    prompt(&acme, &id, said("hello")).await;
    let told = sse.turn().await;
    let mut heard: Vec<Value> = vec![];
    while heard.last().is_none_or(|event| event["type"] != "turn.ended") {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            heard.push(serde_json::from_str(&text).unwrap());
        }
    }
    assert_eq!((&heard[0]["type"], &heard[0]["cursor"]), (&json!("server.connected"), &json!(0)));
    assert_eq!(heard[1..], told[..]);
    // What a client says is not listened to, and too much of it ends the connection.
    socket.send(Message::text("hello?")).await.unwrap();
    assert_eq!(acme.delete(&format!("{SESSIONS}/{id}")).await.status, 204);
    let end = socket.filter_map(|message| async move { message.ok()?.into_text().ok() });
    let texts: Vec<_> = end.map(|text| text.to_string()).collect().await;
    assert!(texts.iter().any(|text| text.contains("\"gone\"")), "{texts:?}");

    let nobody = tokio_tungstenite::connect_async(url).await.unwrap_err();
    assert!(nobody.to_string().contains("401"), "{nobody}");
}

#[tokio::test]
async fn m330_m341_what_a_tool_logs_is_told_between_its_call_and_its_result() {
    let (_app, _upstream, acme) = start().await;
    acme.install_tool("chatter", guests::CHATTER).await;
    let id = new_session(&acme).await;
    let told = turn(&acme, &id, said(r#"call chatter {"lines": 3}"#)).await;
    let first = |kind: &str| kinds(&told).iter().position(|other| *other == kind).unwrap();
    assert!(first("tool.call") < first("log") && first("log") < first("tool.result"), "{:?}", kinds(&told));
    let logged = of_kind(&told, "log")[0];
    assert_eq!((&logged["name"], &logged["left_out"]), (&json!("chatter"), &json!(0)));
    assert_eq!(logged["lines"].as_array().unwrap().len(), 3, "{logged}");
    assert!(logged["lines"][0]["level"].is_string() && logged["lines"][0]["message"].is_string(), "{logged}");
    // Very much of it is cut, and what is left out is counted.
    let told = turn(&acme, &id, said(r#"call chatter {"lines": 100, "line_bytes": 200}"#)).await;
    let logged = of_kind(&told, "log")[0];
    let shown = logged["lines"].as_array().unwrap().len() as u64;
    assert!(shown < 100 && shown + logged["left_out"].as_u64().unwrap() == 100, "{shown}");
    let timeline = acme.get(&at(&id, "timeline")).await.text();
    assert!(timeline.contains("\"log\""), "{timeline}");
    // One that says nothing tells nothing.
    let told = turn(&acme, &id, said(r#"call chatter {"lines": 0}"#)).await;
    assert_eq!(of_kind(&told, "log"), Vec::<&Value>::new());
}
