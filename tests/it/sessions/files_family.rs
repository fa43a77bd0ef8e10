//! The files of sessions that come of others: forks have them as they were, subagents work on their parent's.

use super::{
    at, create,
    files::{file, list, put, read, work, worker},
    messages, of_kind, prompt, start, turn,
};
use opg_tests::{
    app::{Client, TestApp},
    guests,
};
use serde_json::{Value, json};

async fn fork(client: &Client, id: &str, body: Value) -> (String, Value) {
    let made = client.post(&at(id, "fork"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    (made.json()["id"].as_str().unwrap().to_owned(), made.json()["files"].clone())
}

async fn say(client: &Client, id: &str, text: &str) {
    work(client, id, json!([{ "do": "write", "path": "a", "text": text }])).await;
}

/// The ids of what a user said, the oldest first.
async fn prompts(client: &Client, id: &str) -> Vec<String> {
    let all = messages(client, id).await;
    let said = all.iter().filter(|message| message["role"] == "user");
    said.map(|message| message["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn m288_a_fork_has_the_files_as_they_were_at_its_place_and_they_are_its_own() {
    let (app, _upstream, acme) = start().await;
    let id = worker(&acme).await;
    assert_eq!(fork(&acme, &id, json!({})).await.1, "none");
    say(&acme, &id, "one").await;
    say(&acme, &id, "two").await;
    put(&acme, &id, "mine", "from outside").await;
    work(
        &acme,
        &id,
        json!([{ "do": "write", "path": "deep/b", "text": "x" }, { "do": "remove", "path": "a" }]),
    )
    .await;
    let said = prompts(&acme, &id).await;
    let (second, files) = fork(&acme, &id, json!({ "message_id": said[1] })).await;
    assert_eq!(files, "as_then");
    assert_eq!(list(&acme, &second, "").await, ["a", "mine"]);
    assert_eq!(read(&acme, &second, "a").await, "one");
    let (all, files) = fork(&acme, &id, json!({})).await;
    assert_eq!(
        (files, list(&acme, &all, "").await),
        (json!("as_then"), vec!["deep".to_owned(), "mine".to_owned()])
    );
    // Neither knows of the other.
    put(&acme, &second, "mine", "the fork's").await;
    say(&acme, &second, "of the fork").await;
    assert_eq!(read(&acme, &id, "mine").await, "from outside");
    assert_eq!(acme.get(&file(&id, "a")).await.status, 404);
    // What is taken back is not in a fork, and what was kept of the other's turns neither.
    let back = json!({ "message_id": said[2] });
    assert_eq!(acme.post(&at(&id, "revert"), &back).await.status, 200);
    let (reverted, _) = fork(&acme, &id, json!({ "message_id": said[1] })).await;
    assert_eq!(read(&acme, &reverted, "a").await, "one");
    let (whole, _) = fork(&acme, &id, json!({})).await;
    assert_eq!(read(&acme, &whole, "a").await, "two");
    assert_eq!(acme.get(&at(&whole, "diff")).await.json()["data"], json!([]));
    assert_eq!(acme.delete(&format!("/v1/sessions/{id}")).await.status, 204);
    assert_eq!(read(&acme, &second, "a").await, "of the fork", "it stays where the other goes");
    opg_host::workspace::sweep::orphans(&app.running.app).await.unwrap();
    assert_eq!(read(&acme, &whole, "a").await, "two");
}

#[tokio::test]
async fn m288_a_fork_of_what_nobody_knows_any_more_is_as_it_is_and_of_what_is_gone_empty() {
    let (app, _upstream, acme) = start().await;
    let id = worker(&acme).await;
    say(&acme, &id, "one").await;
    say(&acme, &id, "two").await;
    let said = prompts(&acme, &id).await;
    app.running.app.workspaces.tidy();
    let home = super::files_hostile::on_disk(app.data_dir(), &id);
    let journal = home.parent().unwrap().join("journal");
    let mut turns: Vec<_> = std::fs::read_dir(&journal).unwrap().map(|dir| dir.unwrap().path()).collect();
    turns.sort();
    std::fs::remove_dir_all(&turns[0]).unwrap();
    let (forked, files) = fork(&acme, &id, json!({ "message_id": said[0] })).await;
    assert_eq!((files, read(&acme, &forked, "a").await), (json!("as_now"), "two".to_owned()));
    let (forked, files) = fork(&acme, &id, json!({ "message_id": said[1] })).await;
    // The first turn is gone with what it knew, and the second is the oldest that is kept.
    assert_eq!((files, read(&acme, &forked, "a").await), (json!("as_now"), "two".to_owned()));
    app.running.app.workspaces.tidy();
    std::fs::remove_dir_all(home.parent().unwrap()).unwrap();
    let (forked, files) = fork(&acme, &id, json!({})).await;
    assert_eq!((files, list(&acme, &forked, "").await), (json!("gone"), Vec::<String>::new()));
    assert_eq!(messages(&acme, &forked).await.len(), messages(&acme, &id).await.len());
}

#[tokio::test]
async fn m288_nobody_forks_the_files_of_another() {
    let (app, _upstream, acme) = start().await;
    let id = worker(&acme).await;
    put(&acme, &id, "secret", "x").await;
    let other = app.tenant("other").await;
    let refused = other.post(&at(&id, "fork"), &json!({})).await;
    let missing = other.post(&at("00000000-0000-7000-8000-000000000000", "fork"), &json!({})).await;
    assert_eq!((refused.status, &refused.json()["code"]), (missing.status, &missing.json()["code"]));
    assert_eq!(refused.status, 404);
    assert_eq!(on_disk(&app), 1, "and nothing was copied");
}

/// How many workspaces there are.
fn on_disk(app: &TestApp) -> usize {
    let apps = std::fs::read_dir(app.data_dir().join("workspaces")).unwrap();
    apps.map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap().count()).sum()
}

/// An agent that does what it is told, a session that may hand it tasks, and the tool of files for both.
async fn family(client: &Client) -> String {
    client.install_tool("workspace", guests::WORKSPACE).await;
    client.grant("tools", "workspace", &[("workspace", "read-write")]).await;
    let text = "---\ndescription: The worker.\nmodel: openai/worker\n---\nYou work.";
    let made = client.put_bytes("/v1/tenant/agents/worker", "text/markdown", text).await;
    assert_eq!(made.status, 201, "{}", made.text());
    create(client, json!({ "model": "openai/scripted" })).await
}

fn subtask(steps: Value) -> Value {
    let prompt = format!("call workspace {}", json!({ "steps": steps }));
    json!({ "type": "subtask", "agent": "worker", "prompt": prompt })
}

fn children(told: &[Value]) -> Vec<String> {
    let began = of_kind(told, "subagent.started").into_iter();
    began.map(|event| event["child_session_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn m332_a_subagent_works_on_the_files_of_its_parent_and_they_are_counted_once() {
    let (app, _upstream, acme) = start().await;
    let id = family(&acme).await;
    put(&acme, &id, "task", "do it").await;
    let steps = json!([{ "do": "read", "path": "task" }, { "do": "write", "path": "done", "text": "it is" }]);
    let told = turn(&acme, &id, json!({ "parts": [subtask(steps)] })).await;
    assert!(told.iter().any(|event| event["type"] == "tool.result" && event["ok"] == true), "{told:#?}");
    let child = children(&told)[0].clone();
    assert_eq!(
        (read(&acme, &id, "done").await, read(&acme, &child, "task").await),
        ("it is".into(), "do it".into())
    );
    assert_eq!(list(&acme, &child, "").await, list(&acme, &id, "").await);
    put(&acme, &child, "below", "x").await;
    assert_eq!(read(&acme, &id, "below").await, "x");
    assert_eq!(on_disk(&app), 1, "there is one directory");
    assert_eq!(app.sql("select count(*)::text from session_workspaces").await, ["1"]);
    // Told where it was done.
    let timeline = acme.get(&at(&child, "timeline")).await.json()["data"].clone();
    let paths: Vec<_> =
        timeline.as_array().unwrap().iter().filter_map(|event| event["path"].as_str()).collect();
    assert_eq!(paths, ["done", "below"]);
    // What goes is the session below, not the files.
    assert_eq!(acme.delete(&format!("/v1/sessions/{child}")).await.status, 204);
    assert_eq!(read(&acme, &id, "done").await, "it is");
    opg_host::workspace::sweep::orphans(&app.running.app).await.unwrap();
    assert_eq!(read(&acme, &id, "done").await, "it is");
    // Another app sees none of it by either id.
    let other = app.tenant("other").await;
    assert_eq!(other.get(&file(&id, "done")).await.status, 404);
}

#[tokio::test]
async fn m287_what_a_subagent_changed_is_part_of_its_parents_turn_and_can_be_taken_back_by_itself() {
    let (_app, _upstream, acme) = start().await;
    let id = family(&acme).await;
    put(&acme, &id, "mine", "x").await;
    let steps = json!([{ "do": "write", "path": "a", "text": "below" }, { "do": "remove", "path": "mine" }]);
    let told = turn(&acme, &id, json!({ "parts": [subtask(steps)] })).await;
    let child = children(&told)[0].clone();
    let (above, below) = (prompts(&acme, &id).await[0].clone(), prompts(&acme, &child).await[0].clone());
    let paths = async |session: &str, query: &str| -> Vec<String> {
        let shown = acme.get(&at(session, &format!("diff{query}"))).await.json();
        let files = shown["data"].as_array().unwrap_or_else(|| panic!("{shown}"));
        files.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect()
    };
    for (session, query) in [
        (&id, String::new()),
        (&id, format!("?message_id={above}")),
        (&child, String::new()),
        (&child, format!("?message_id={below}")),
    ] {
        assert_eq!(paths(session, &query).await, ["a", "mine"], "{session} {query}");
    }
    let revert = async |session: &str, message: &str| {
        let back = acme.post(&at(session, "revert"), &json!({ "message_id": message })).await;
        assert_eq!(back.status, 200, "{}", back.text());
    };
    let unrevert = async |session: &str| {
        assert_eq!(acme.post(&at(session, "unrevert"), &json!({})).await.status, 200);
    };
    revert(&child, &below).await;
    assert_eq!(list(&acme, &id, "").await, ["mine"]);
    // The one above has its own memory of what it took back.
    revert(&id, &above).await;
    assert_eq!(list(&acme, &id, "").await, ["mine"]);
    unrevert(&id).await;
    unrevert(&child).await;
    assert_eq!(
        (list(&acme, &id, "").await, read(&acme, &id, "a").await),
        (vec!["a".to_owned()], "below".to_owned())
    );
    revert(&id, &above).await;
    assert_eq!(list(&acme, &child, "").await, ["mine"]);
    // A turn of the session below that is nobody's task is its own.
    unrevert(&id).await;
    work(&acme, &child, json!([{ "do": "write", "path": "later", "text": "x" }])).await;
    assert_eq!(paths(&id, &format!("?message_id={above}")).await, ["a", "mine"]);
    assert_eq!(paths(&child, "").await, ["a", "later", "mine"]);
    // A fork of the session below has the files, too, and is below nothing.
    let (forked, files) = fork(&acme, &child, json!({ "message_id": below })).await;
    assert_eq!((files, list(&acme, &forked, "").await), (json!("as_then"), vec!["mine".to_owned()]));
    assert_eq!(acme.get(&format!("/v1/sessions/{forked}")).await.json()["parent_id"], Value::Null);
}

#[tokio::test]
async fn m332_many_subagents_write_at_once_and_all_of_it_is_there_and_comes_off() {
    let (_app, _upstream, acme) = start().await;
    let id = family(&acme).await;
    put(&acme, &id, "shared", "0").await;
    let steps = |n: usize| {
        let own =
            (0..10).map(|at| json!({ "do": "write", "path": format!("{n}/{at}"), "text": format!("{n}") }));
        let all = own.chain([json!({ "do": "write", "path": "shared", "text": format!("{n}") })]);
        subtask(json!(all.collect::<Vec<_>>()))
    };
    let parts: Vec<Value> = (0..6).map(steps).collect();
    let told = turn(&acme, &id, json!({ "parts": parts })).await;
    assert_eq!(children(&told).len(), 6);
    for n in 0..6 {
        assert_eq!(list(&acme, &id, &n.to_string()).await.len(), 10);
    }
    assert_ne!(read(&acme, &id, "shared").await, "0");
    let said = prompts(&acme, &id).await[0].clone();
    let diff = acme.get(&at(&id, &format!("diff?message_id={said}"))).await.json();
    assert_eq!(diff["data"].as_array().unwrap().len(), 61, "{diff}");
    assert_eq!(acme.post(&at(&id, "revert"), &json!({ "message_id": said })).await.status, 200);
    assert_eq!(
        (list(&acme, &id, "").await, read(&acme, &id, "shared").await),
        (vec!["shared".to_owned()], "0".to_owned())
    );
    assert_eq!(acme.post(&at(&id, "unrevert"), &json!({})).await.status, 200);
    assert_eq!(list(&acme, &id, "").await.len(), 7);
    prompt(&acme, &id, super::said("thanks")).await;
}
