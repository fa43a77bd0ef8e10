//! Making a session, its states, and its end.

use super::{
    SESSIONS, Watch, at, create, expect_status, messages, new_session, of_kind, prompt, said, start, status,
    turn,
};
use opg_tests::{
    app::{TestApp, send},
    upstream::Step,
    wait::until,
};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn m263_m265_a_session_is_made_ready_and_shown_with_what_it_runs_on() {
    let (app, _upstream, acme) = start().await;
    let made = acme.post(SESSIONS, &json!({ "title": "Plans", "model": "openai/scripted" })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["status"], "creating");
    assert_eq!(made["stream"], json!(format!("/v1/sessions/{id}/stream")));
    expect_status(&acme, id, "idle").await;
    let shown = acme.get(&format!("{SESSIONS}/{id}")).await.json();
    assert_eq!((&shown["title"], &shown["model"]), (&json!("Plans"), &json!("openai/scripted")));
    assert_eq!(
        (&shown["instance"]["driver"], &shown["instance"]["state"]),
        (&json!(app.running.app.config.session_targets[0].name()), &json!("running"))
    );
    assert_eq!(shown["usage"]["model_calls"], 0);
    assert_eq!(shown["pending_permissions"], 0);
    let told = Watch::open(&acme, id, Some(0)).await.until(|event| event["to"] == "idle").await;
    let (first, last) = (&told[0], told.last().unwrap());
    assert_eq!((&first["seq"], &first["from"], &first["to"]), (&json!(1), &Value::Null, &json!("creating")));
    assert_eq!((&last["from"], &last["to"]), (&json!("creating"), &json!("idle")));
    // Between them the steps of it and nothing else, without a gap.
    assert_eq!(last["seq"], json!(told.len()));
    assert!(told.len() > 2 && told[1..told.len() - 1].iter().all(|event| event["type"] == "session.step"));
}

#[tokio::test]
async fn m263_what_a_session_cannot_be_is_refused_and_nothing_is_made() {
    let (app, _upstream, acme) = start().await;
    let rule = json!({ "tool": "", "action": "ask" });
    for (members, status, says) in [
        (json!({ "target": "docker" }), 422, "/target"),
        (json!({ "agent": "nobody" }), 404, "no such agent"),
        (json!({ "model": "nowhere" }), 404, "no such model"),
        (json!({ "title": "x".repeat(2000) }), 422, "/title"),
        (json!({ "permissions": { "mode": "perhaps" } }), 422, "/permissions"),
        (json!({ "permissions": { "rules": [rule] } }), 422, "/permissions/rules/0"),
        (json!({ "colour": "red" }), 422, "colour"),
    ] {
        let answer = acme.post(SESSIONS, &members).await;
        assert_eq!(answer.status, status, "{members}: {}", answer.text());
        assert!(answer.text().contains(says), "{members}: {}", answer.text());
    }
    assert_eq!(app.sql("select count(*)::text from sessions").await, ["0"]);
}

#[tokio::test]
async fn m264_m331_sessions_are_listed_by_state_in_pages_and_to_their_own_app_alone() {
    let (app, _upstream, acme) = start().await;
    let rival = app.tenant("rival").await;
    let (one, two) = (new_session(&acme).await, new_session(&acme).await);
    let stopped = new_session(&acme).await;
    for id in [&one, &two, &stopped] {
        expect_status(&acme, id, "idle").await;
    }
    assert_eq!(acme.post(&at(&stopped, "stop"), &json!({})).await.json()["status"], "stopped");
    let ids = |answer: opg_tests::app::Answer| -> Vec<String> {
        let json = answer.json();
        json["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(acme.get(SESSIONS).await), [stopped.clone(), two.clone(), one.clone()]);
    assert_eq!(ids(acme.get("/v1/sessions?status=idle").await), [two.clone(), one.clone()]);
    let first = acme.get("/v1/sessions?limit=2").await.json();
    let next = format!("/v1/sessions?limit=2&cursor={}", first["next_cursor"].as_str().unwrap());
    assert_eq!(ids(acme.get(&next).await), [one]);
    assert_eq!(acme.get("/v1/sessions?status=asleep").await.status, 400);
    assert_eq!(ids(rival.get(SESSIONS).await), Vec::<String>::new());
    assert_eq!(rival.get(&format!("{SESSIONS}/{two}")).await.status, 404);
}

#[tokio::test]
async fn m266_a_change_holds_from_the_next_turn_on_and_is_told() {
    let (_app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    let mut watch = Watch::open(&acme, &id, None).await;
    let change = json!({ "title": "Renamed", "model": "openai/other" });
    let changed = send(acme.request("PATCH", &format!("{SESSIONS}/{id}")).json(&change)).await;
    assert_eq!((changed.status, &changed.json()["title"]), (200, &json!("Renamed")), "{}", changed.text());
    let told = watch.until(|event| event["type"] == "session.updated").await;
    assert_eq!(told.last().unwrap()["model"], "openai/other");
    turn(&acme, &id, said("hi")).await;
    assert_eq!(upstream.received().last().unwrap().body["model"], "other");
}

#[tokio::test]
async fn m267_m268_a_stopped_session_keeps_its_messages_and_wakes() {
    let (app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    turn(&acme, &id, said("one")).await;
    let stopped = acme.post(&at(&id, "stop"), &json!({})).await;
    assert_eq!((stopped.status, &stopped.json()["status"]), (200, &json!("stopped")));
    assert_eq!(acme.post(&at(&id, "stop"), &json!({})).await.status, 200, "stopped is stopped");
    assert_eq!(acme.get(&format!("{SESSIONS}/{id}")).await.json()["instance"]["state"], "terminated");

    let resumed = acme.post(&at(&id, "resume"), &json!({})).await;
    assert_eq!((resumed.status, &resumed.json()["status"]), (202, &json!("creating")));
    expect_status(&acme, &id, "idle").await;
    assert_eq!(acme.post(&at(&id, "resume"), &json!({})).await.status, 200, "it is awake");
    assert_eq!(messages(&acme, &id).await.len(), 2);

    // A prompt wakes it as well.
    acme.post(&at(&id, "stop"), &json!({})).await;
    turn(&acme, &id, said("two")).await;
    let asked = upstream.received().last().unwrap().body["messages"].clone();
    assert_eq!(asked.as_array().unwrap().len(), 3, "{asked}");
    let live = "select count(*)::text from session_instances where state in ('provisioning', 'running')";
    assert_eq!(app.sql(live).await, ["1"]);
}

#[tokio::test]
async fn m268_what_runs_and_what_waits_ends_with_a_stop() {
    let (app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    upstream.script(vec![Step::text("half of"), Step::Stall]);
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said("one")).await;
    watch.until(|event| event["type"] == "message.append" && event["role"] == "assistant").await;
    let mut waits = said("two");
    waits["queue"] = json!(true);
    let waiting = prompt(&acme, &id, waits).await;
    acme.post(&at(&id, "stop"), &json!({})).await;
    let told = watch.until(|event| event["type"] == "session.status" && event["to"] == "stopped").await;
    let ends: Vec<_> = of_kind(&told, "turn.ended").iter().map(|event| event["state"].clone()).collect();
    assert_eq!(ends, ["aborted", "aborted"]);
    let removed = of_kind(&told, "message.removed");
    assert_eq!(removed[0]["message_id"], waiting["message_id"], "nobody will answer it");
    upstream.wait_until(|received| received.iter().all(|request| request.hung_up || request.completed)).await;
    let kept = messages(&acme, &id).await;
    assert_eq!(kept.len(), 2, "{kept:#?}");
    assert_eq!(kept[1]["parts"], json!([{ "type": "text", "text": "half of" }]));
    assert_eq!(app.running.app.in_flight.total(), 0);
}

#[tokio::test]
async fn m009_m269_a_deleted_session_is_gone_with_all_of_it_and_what_ran_stops() {
    let (app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    upstream.script(vec![Step::text("half"), Step::Stall]);
    let mut watch = Watch::open(&acme, &id, None).await;
    prompt(&acme, &id, said("one")).await;
    watch.until(|event| event["type"] == "message.append" && event["role"] == "assistant").await;
    assert_eq!(acme.delete(&format!("{SESSIONS}/{id}")).await.status, 204);
    let told = watch.until(|event| event["event"] == "end").await;
    assert_eq!(told.last().unwrap()["reason"], "gone");
    assert_eq!(watch.next().await, None, "the stream ends");
    upstream.wait_until(|received| received.iter().all(|request| request.hung_up)).await;
    for table in ["sessions", "session_events", "session_turns", "session_messages", "session_instances"] {
        let count: &'static str = Box::leak(format!("select count(*)::text from {table}").into_boxed_str());
        assert_eq!(app.sql(count).await, ["0"], "{table}");
    }
    assert_eq!(acme.delete(&format!("{SESSIONS}/{id}")).await.status, 404);
}

#[tokio::test]
async fn m027_what_a_session_runs_on_goes_when_nobody_uses_it_and_its_data_stays() {
    let app = TestApp::with_manual_clock().await;
    let acme = app.tenant("acme").await;
    let id = create(&acme, json!({ "model": "demo/assistant" })).await;
    turn(&acme, &id, said("hello")).await;
    app.clock.advance(chrono::Duration::minutes(14));
    opg_host::sessions::sweep::unused(&app.running.app).await.unwrap();
    assert_eq!(status(&acme, &id).await, "idle");
    app.clock.advance(chrono::Duration::minutes(2));
    // Upkeep may be at it at the same moment, so how many were stopped here says nothing.
    until("it stops", async || {
        opg_host::sessions::sweep::unused(&app.running.app).await.unwrap();
        status(&acme, &id).await == "stopped"
    })
    .await;
    assert_eq!(messages(&acme, &id).await.len(), 2);
    turn(&acme, &id, said("again")).await;
    assert_eq!(messages(&acme, &id).await.len(), 4);

    app.clock.advance(chrono::Duration::hours(25));
    assert_eq!(acme.get(&format!("{SESSIONS}/{id}")).await.status, 410);
    assert_eq!(acme.post(&at(&id, "prompt"), &said("late")).await.status, 410);
    assert_eq!(acme.get(&at(&id, "messages")).await.status, 410);
    assert_eq!(acme.get(&at(&id, "stream")).await.status, 410);
}

#[tokio::test]
async fn m297_m298_the_database_refuses_what_may_not_follow() {
    let (app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    expect_status(&acme, &id, "idle").await;
    let mut owner = app.owner().await;
    for (statement, refused) in [
        ("update sessions set status = 'creating'", "cannot go from idle to creating"),
        ("update sessions set status = 'asleep'", "cannot go from idle to asleep"),
        (
            "insert into session_instances (instance_id, session_id, app_id, driver, state, created_at)
          select gen_random_uuid(), session_id, app_id, 'wasm', 'running', now() from sessions",
            "session_instances_one_lives",
        ),
    ] {
        let error = sqlx::query(statement).execute(&mut owner).await.unwrap_err().to_string();
        assert!(error.contains(refused), "{statement}: {error}");
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(status(&acme, &id).await, "idle");
}
