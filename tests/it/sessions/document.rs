//! A session as one document, out and in.

use super::{at, create, expect_status, messages, new_session, of_kind, said, start, turn};
use opg_tests::{
    app::{Client, TestApp},
    guests,
    upstream::Step,
    wait::until,
};
use serde_json::{Value, json};

async fn export(client: &Client, id: &str) -> Value {
    let answer = client.get(&at(id, "export.json")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(answer.header("content-disposition").contains(".json"));
    answer.json()
}

async fn import(client: &Client, document: &Value) -> String {
    let made = client.post("/v1/sessions/import", document).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["id"].as_str().unwrap().to_owned()
}

/// What people see of messages, without what another session has in its place.
async fn said_in(client: &Client, id: &str) -> Vec<Value> {
    let mut said = messages(client, id).await;
    said.iter_mut().for_each(|message| message["turn_id"] = Value::Null);
    said
}

#[tokio::test]
async fn m319_m320_a_session_that_was_written_out_goes_on_elsewhere_and_nothing_runs_again() {
    let (app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let rules = json!({ "mode": "ask", "rules": [{ "tool": "word-count", "action": "allow" }] });
    let id = create(
        &acme,
        json!({ "title": "Counting", "model": "openai/scripted", "permissions": rules, "compaction": "off" }),
    )
    .await;
    turn(&acme, &id, said(r#"call word-count {"text": "a b c"}"#)).await;
    upstream.script(vec![Step::Reasoning("hm".to_owned()), Step::text("Three.")]);
    turn(&acme, &id, said("how many?")).await;
    upstream.script(vec![Step::text("They counted three words.")]);
    let mut watch = super::Watch::open(&acme, &id, None).await;
    let taken = acme.post(&at(&id, "summarize"), &json!({})).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    watch.turn().await;
    upstream.script(vec![Step::error(500, "no")]);
    turn(&acme, &id, said("and now?")).await;

    let document = export(&acme, &id).await;
    assert_eq!((&document["schema"], &document["session"]["id"]), (&json!("opg.session/1"), &json!(id)));
    let states: Vec<_> =
        document["turns"].as_array().unwrap().iter().map(|turn| turn["state"].clone()).collect();
    assert_eq!(states, ["done", "done", "done", "failed"]);
    let kinds: Vec<_> = document["messages"].as_array().unwrap().iter().map(|m| m["kind"].clone()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "summary").count(), 1);
    let text = document.to_string();
    for hidden in [opg_tests::app::UPSTREAM_KEY, "micro_usd", "credential", "busy", "user_id"] {
        assert!(!text.contains(hidden), "{hidden}");
    }

    let (asked, other) = (upstream.received().len(), app.tenant_of("other", &upstream).await);
    for client in [&acme, &other] {
        let copy = import(client, &document).await;
        assert_ne!(copy, id);
        expect_status(client, &copy, "idle").await;
        assert_eq!(said_in(client, &copy).await, said_in(&acme, &id).await);
        let shown = client.get(&format!("/v1/sessions/{copy}")).await.json();
        assert_eq!(
            (&shown["title"], &shown["permissions"], &shown["compaction"], &shown["forked_from"]),
            (&json!("Counting"), &rules, &json!("off"), &Value::Null)
        );
        // What comes out again is what went in.
        let again = export(client, &copy).await;
        let plain = |document: &Value| {
            let mut messages = document["messages"].clone();
            messages.as_array_mut().unwrap().iter_mut().for_each(|m| m["turn_id"] = Value::Null);
            messages
        };
        assert_eq!(plain(&again), plain(&document));
        assert_eq!(again["turns"], json!([]));
        assert_eq!(upstream.received().len(), asked, "no model was asked");
        assert_eq!(client.get(&at(&copy, "usage")).await.json()["tool_calls"], 0, "and no tool ran");
    }
    // It goes on from where it was.
    let copy = import(&other, &document).await;
    turn(&other, &copy, said("go on")).await;
    let read = upstream.received().last().unwrap().body["messages"].clone();
    assert_eq!(read[1]["content"], "They counted three words.");
    assert_eq!(acme.get(&format!("/v1/sessions/{copy}")).await.status, 404, "it is whose it was imported by");
    let audit = other.get("/v1/tenant/audit?limit=200").await.json().to_string();
    assert!(audit.contains("sessions.import"), "{audit}");
}

#[tokio::test]
async fn m349_what_is_no_session_is_refused_with_where_it_is_wrong_and_nothing_is_made() {
    let (app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    turn(&acme, &id, said("hi")).await;
    let document = export(&acme, &id).await;
    let before = app.sql("select count(*)::text from sessions").await;
    let broken = |pointer: &str, value: Value| {
        let mut broken = document.clone();
        *broken.pointer_mut(pointer).unwrap() = value;
        broken
    };
    let mut more = document.clone();
    more["session"]["owner"] = json!("me");
    let mut less = document.clone();
    less.as_object_mut().unwrap().remove("turns");
    let many = vec![document["messages"][0].clone(); 2001];
    let large = json!({ "role": "user", "content": "x".repeat(9 << 20) });
    for (body, pointer) in [
        (broken("/schema", json!("opg.session/2")), "/schema"),
        (broken("/session/permissions", json!({ "mode": "perhaps" })), "/session/permissions/mode"),
        (broken("/session/title", json!("x".repeat(2000))), "/session/title"),
        (broken("/session/created_at", json!("yesterday")), "/session/created_at"),
        (broken("/messages/0/id", json!("x")), "/messages/0/id"),
        (broken("/messages/1/id", document["messages"][0]["id"].clone()), "/messages/1/id"),
        (broken("/messages/0/message/role", json!("king")), "/messages/0/message"),
        (
            broken("/messages/1/message", json!({ "role": "tool", "tool_call_id": "c", "content": "1" })),
            "/messages/1/message/tool_call_id",
        ),
        (broken("/messages/0/message", large), "/messages"),
        (broken("/messages", json!(many)), "/messages"),
        (broken("/messages", json!({})), "/messages"),
        (more, "/session"),
        (less, ""),
    ] {
        let answer = acme.post("/v1/sessions/import", &body).await;
        assert_eq!(answer.status, 422, "{pointer}: {}", answer.text());
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        assert!(errors.iter().any(|error| error["pointer"] == pointer), "{pointer}: {errors:?}");
    }
    for (body, status) in [
        (broken("/session/agent", json!("nobody")), 404),
        (broken("/session/model", json!("nowhere")), 404),
        (json!([]), 422),
    ] {
        assert_eq!(acme.post("/v1/sessions/import", &body).await.status, status);
    }
    let too_large = broken("/messages/0/reasoning", json!("x".repeat(17 << 20)));
    assert_eq!(acme.post("/v1/sessions/import", &too_large).await.status, 413);
    assert_eq!(app.sql("select count(*)::text from sessions").await, before);
    // A NUL is what the database keeps none of.
    let copy = import(&acme, &broken("/messages/0/message/content", json!("a\u{0}b"))).await;
    assert_eq!(messages(&acme, &copy).await[0]["parts"][0]["text"], "a\u{fffd}b");
    let reads = acme.with_scopes(&["sessions:read"]).await;
    assert_eq!(reads.post("/v1/sessions/import", &document).await.status, 403);
    assert_eq!(reads.get(&at(&id, "export.json")).await.status, 200);
}

#[test]
fn m349_the_form_of_a_session_is_written_down_as_it_is_read() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/session.schema.json");
    let made = serde_json::to_string_pretty(&opg_host::sessions::document::schema()).unwrap() + "\n";
    if std::env::var_os("OPG_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(there, made, "docs/session.schema.json is stale: OPG_UPDATE_DOCS=1 writes it anew");
}

async fn artifacts(client: &Client, id: &str) -> Vec<Value> {
    let listed = client.get(&at(id, "artifacts")).await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    listed.json()["data"].as_array().unwrap().clone()
}

/// Waits until so many artifacts of a session are kept, and the latest holds so many messages.
async fn kept(app: &TestApp, client: &Client, id: &str, count: usize, messages: usize) -> Vec<Value> {
    for _ in 0..400 {
        let found = artifacts(client, id).await;
        let holds = |artifact: &Value| {
            let path = file(app, id, artifact);
            let text = std::fs::read_to_string(path).unwrap_or_default();
            serde_json::from_str(&text)
                .is_ok_and(|doc: Value| doc["messages"].as_array().unwrap().len() == messages)
        };
        if found.len() == count && found.first().is_some_and(holds) {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{:?}", artifacts(client, id).await);
}

fn file(app: &TestApp, id: &str, artifact: &Value) -> std::path::PathBuf {
    let dir = app.running.app.config.data_dir.join("artifacts").join(id);
    dir.join(format!("{}.json", artifact["id"].as_str().unwrap()))
}

#[tokio::test]
async fn m302_m319_m322_after_every_turn_the_session_is_kept_with_a_checksum_and_goes_with_it() {
    let (app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    assert_eq!(artifacts(&acme, &id).await, Vec::<Value>::new());
    for n in 1..=4_usize {
        turn(&acme, &id, said(&format!("number {n}"))).await;
        let found = kept(&app, &acme, &id, n.min(3), n * 2).await;
        let bytes = std::fs::read(file(&app, &id, &found[0])).unwrap();
        assert_eq!(found[0]["bytes"], json!(bytes.len()));
        assert_eq!(found[0]["sha256"], json!(sha256(&bytes)));
        assert_eq!((&found[0]["kind"], &found[0]["path"]), (&json!("session_json"), &Value::Null));
    }
    let dir = app.running.app.config.data_dir.join("artifacts").join(&id);
    until("the latest three are kept", async || std::fs::read_dir(&dir).unwrap().count() == 3).await;
    assert_eq!(acme.delete(&format!("/v1/sessions/{id}")).await.status, 204);
    assert!(!dir.exists() || std::fs::read_dir(&dir).unwrap().count() == 0, "nothing is left of it");
    // What a deletion did not remove, a sweep does.
    let other = new_session(&acme).await;
    turn(&acme, &other, said("hi")).await;
    kept(&app, &acme, &other, 1, 2).await;
    app.sql("with gone as (delete from sessions returning 1) select count(*)::text from gone").await;
    opg_host::sessions::sweep::artifacts(&app.running.app).await.unwrap();
    let dir = app.running.app.config.data_dir.join("artifacts").join(&other);
    assert!(!dir.exists() || std::fs::read_dir(&dir).unwrap().count() == 0);
}

/// What is owed of removals: where it is, and how often it was tried.
async fn owed(app: &TestApp) -> Vec<String> {
    app.sql("select path || ' ' || tries from artifact_removals order by path").await
}

#[tokio::test]
async fn m352_what_could_not_be_removed_is_owed_until_it_is_also_over_a_restart() {
    let clock = opg_host::app::Clock::manual(opg_host::app::Clock::system().now());
    let app = TestApp::at(clock, TestApp::allow_local).await;
    let upstream = opg_tests::upstream::ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    let (id, other) = (new_session(&acme).await, new_session(&acme).await);
    turn(&acme, &id, said("number 1")).await;
    let first = kept(&app, &acme, &id, 1, 2).await[0].clone();
    turn(&acme, &other, said("hi")).await;
    let of_other = kept(&app, &acme, &other, 1, 2).await[0].clone();
    // A directory in the place of a file: what removes files does not remove that.
    let (stuck, stuck_other) = (file(&app, &id, &first), file(&app, &other, &of_other));
    for file in [&stuck, &stuck_other] {
        std::fs::remove_file(file).unwrap();
        std::fs::create_dir(file).unwrap();
        std::fs::write(file.join("x"), "x").unwrap();
    }
    for n in 2..=4_usize {
        turn(&acme, &id, said(&format!("number {n}"))).await;
        kept(&app, &acme, &id, n.min(3), n * 2).await;
    }
    let path = format!("{id}/{}.json", first["id"].as_str().unwrap());
    until("the first is owed", async || owed(&app).await == [format!("{path} 0")]).await;
    // What a folder holds goes, whatever it is.
    assert_eq!(acme.delete(&format!("/v1/sessions/{other}")).await.status, 204);
    assert!(!stuck_other.join("x").exists());
    until("the other is not owed", async || owed(&app).await == [format!("{path} 0")]).await;

    let app = app.restart().await;
    let tidy = async || opg_host::sessions::artifacts::tidy(&app.running.app).await.unwrap();
    tidy().await;
    assert_eq!(owed(&app).await, [format!("{path} 1")], "it was tried");
    tidy().await;
    assert_eq!(owed(&app).await, [format!("{path} 1")], "and is not tried at every turn");
    std::fs::remove_dir_all(&stuck).unwrap();
    std::fs::write(&stuck, "{}").unwrap();
    app.clock.advance(chrono::Duration::minutes(1));
    tidy().await;
    assert_eq!(owed(&app).await, Vec::<String>::new());
    assert!(!stuck.exists());
}

#[tokio::test]
async fn m352_what_is_below_an_expired_session_goes_from_the_store_with_it() {
    let clock = opg_host::app::Clock::manual(opg_host::app::Clock::system().now());
    let app = TestApp::at(clock, TestApp::allow_local).await;
    let upstream = opg_tests::upstream::ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    super::subagents::agent(&acme, "poet", "").await;
    upstream.script_for_model("poet", vec![Step::text("Roses are red.")]);
    let id = new_session(&acme).await;
    let call = json!({ "agent": "poet", "prompt": "Write of roses.", "description": "A small thing" });
    let told = turn(&acme, &id, said(&format!("call task {call}"))).await;
    let below = of_kind(&told, "subagent.started")[0]["child_session_id"].as_str().unwrap().to_owned();
    let dir = |id: &str| app.running.app.config.data_dir.join("artifacts").join(id);
    let has = |id: &str| std::fs::read_dir(dir(id)).is_ok_and(|found| found.count() > 0);
    until("both are kept", async || has(&id) && has(&below)).await;
    // The one below was used since: it has its own time, and goes all the same.
    let later = "update sessions set expires_at = expires_at + interval '10 days' where parent_id is not null
                 returning 'changed'";
    assert_eq!(app.sql(later).await.len(), 1);
    app.clock.advance(chrono::Duration::days(3));
    assert_eq!(opg_host::sessions::sweep::expired(&app.running.app).await.unwrap(), 1);
    assert!(!has(&id) && !has(&below), "nothing is left of either");
    until("nothing is owed", async || owed(&app).await.is_empty()).await;
}

#[tokio::test]
async fn m352_artifacts_are_kept_for_a_month_and_no_longer() {
    let clock = opg_host::app::Clock::manual(opg_host::app::Clock::system().now());
    let app = TestApp::at(clock, |config| {
        TestApp::allow_local(config);
        config.session_ttl = std::time::Duration::from_secs(90 * 24 * 60 * 60);
    })
    .await;
    let upstream = opg_tests::upstream::ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    let id = new_session(&acme).await;
    turn(&acme, &id, said("hi")).await;
    let found = kept(&app, &acme, &id, 1, 2).await;
    app.clock.advance(chrono::Duration::days(29));
    opg_host::sessions::artifacts::tidy(&app.running.app).await.unwrap();
    assert_eq!(artifacts(&acme, &id).await, found);
    app.clock.advance(chrono::Duration::days(2));
    opg_host::sessions::artifacts::tidy(&app.running.app).await.unwrap();
    assert_eq!(artifacts(&acme, &id).await, Vec::<Value>::new());
    assert!(!file(&app, &id, &found[0]).exists());
    assert_eq!(messages(&acme, &id).await.len(), 2, "the session itself lives on");

    // An app may want less, and no other is asked for it.
    let few = app.tenant_with(json!({
        "id": "few",
        "providers": { "openai": { "apiKey": opg_tests::app::UPSTREAM_KEY, "baseUrl": upstream.base_url() } },
        "artifactRetentionDays": 2,
    }));
    let few = few.await;
    assert_eq!(few.get("/v1/tenant").await.json()["artifactRetentionDays"], 2);
    let (ours, theirs) = (new_session(&acme).await, new_session(&few).await);
    for (client, id) in [(&acme, &ours), (&few, &theirs)] {
        turn(client, id, said("hi")).await;
        kept(&app, client, id, 1, 2).await;
    }
    app.clock.advance(chrono::Duration::days(3));
    opg_host::sessions::artifacts::tidy(&app.running.app).await.unwrap();
    assert_eq!(artifacts(&few, &theirs).await, Vec::<Value>::new());
    assert_eq!(app.sql("select count(*)::text from session_artifacts").await, ["1"]);
    let wrong = few.put("/v1/tenant", &json!({ "artifactRetentionDays": 0 })).await;
    assert_eq!(
        (wrong.status, &wrong.json()["errors"][0]["pointer"]),
        (422, &json!("/artifactRetentionDays"))
    );
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(bytes))
}

#[tokio::test]
async fn m320_a_session_is_brought_back_to_what_was_kept_and_damage_is_found_and_another_offered() {
    let (app, upstream, acme) = start().await;
    let id = new_session(&acme).await;
    let none = acme.post(&at(&id, "restore"), &json!({})).await;
    assert_eq!((none.status, &none.json()["code"]), (404, &json!("no_artifact")));
    turn(&acme, &id, said("one")).await;
    let first = kept(&app, &acme, &id, 1, 2).await[0].clone();
    let early = messages(&acme, &id).await;
    turn(&acme, &id, said("two")).await;
    let second = kept(&app, &acme, &id, 2, 4).await[0].clone();
    let asked = upstream.received().len();
    let back = acme.post(&at(&id, "restore"), &json!({ "artifact_id": first["id"] })).await;
    assert_eq!((back.status, &back.json()["id"]), (200, &json!(id)), "{}", back.text());
    assert_eq!(messages(&acme, &id).await, early, "the same messages, with the same ids");
    assert_eq!(upstream.received().len(), asked, "nothing runs again");
    let later = acme.post(&at(&id, "restore"), &json!({})).await;
    assert_eq!(later.status, 200);
    assert_eq!(messages(&acme, &id).await.len(), 4, "the latest, unless another is named");

    // A damaged one changes nothing, and the one before is offered.
    let path = file(&app, &id, &second);
    let mut bytes = std::fs::read(&path).unwrap();
    let at_end = bytes.len() - 3;
    bytes[at_end] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let before = messages(&acme, &id).await;
    let damaged = acme.post(&at(&id, "restore"), &json!({})).await;
    assert_eq!(
        (damaged.status, &damaged.json()["code"]),
        (409, &json!("artifact_corrupt")),
        "{}",
        damaged.text()
    );
    assert_eq!(damaged.json()["previous"], first);
    assert_eq!(messages(&acme, &id).await, before);
    std::fs::remove_file(file(&app, &id, &first)).unwrap();
    let gone = acme.post(&at(&id, "restore"), &json!({ "artifact_id": first["id"] })).await;
    assert_eq!((gone.status, &gone.json()["previous"]), (409, &Value::Null));

    // Not while a turn runs, and not with another's.
    upstream.script(vec![Step::text("half"), Step::Stall]);
    let mut watch = super::Watch::open(&acme, &id, None).await;
    super::prompt(&acme, &id, said("three")).await;
    watch.until(|event| event["role"] == "assistant").await;
    assert_eq!(acme.post(&at(&id, "restore"), &json!({})).await.status, 409);
    assert_eq!(acme.post(&at(&id, "abort"), &json!({})).await.status, 200);
    let other = new_session(&acme).await;
    let foreign = acme.post(&at(&other, "restore"), &json!({ "artifact_id": second["id"] })).await;
    assert_eq!(foreign.status, 404);
}
