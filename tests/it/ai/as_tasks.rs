//! Pictures that are asked for as tasks.

use super::*;

#[tokio::test]
async fn m106_m130_a_picture_may_be_asked_for_as_a_task_and_fetched_when_it_is_done() {
    let scene = Scene::start().await;
    let begun = scene.draw_later(json!({ "n": 2, "response_format": "b64_json" })).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let task = begun.json();
    let id = task["id"].as_str().unwrap();
    assert_eq!((&task["kind"], &task["task_id"]), (&json!("image"), &json!(id)));
    assert_eq!(begun.header("location"), format!("/acme/v1/tasks/{id}"));
    assert_eq!(begun.header("preference-applied"), "respond-async");
    let done = ended(&scene.acme, &task).await;
    assert_eq!((&done["status"], &done["error"]), (&json!("done"), &Value::Null), "{done}");
    let pictures = done["result"]["data"].as_array().unwrap();
    assert_eq!(pictures.len(), 2);
    for picture in pictures {
        assert_eq!(picture["b64_json"], Value::Null, "whoever comes back for it has it at an address");
        assert_eq!(scene.acme.get(picture["url"].as_str().unwrap()).await.status, 200);
    }
    let used = scene.last_use().await;
    assert_eq!((&used["kind"], &used["status"]), (&json!("images"), &json!("ok")));
    assert_eq!(scene.acme.get("/v1/tasks").await.json()["data"][0]["id"], json!(id));

    // What is wrong with a request is said at once, and what goes wrong later is said by the task.
    let wrong_count = scene.draw_later(json!({ "n": 9 })).await;
    assert_eq!(wrong(&wrong_count), (400, json!("invalid_value"), json!("n")));
    assert_eq!(scene.acme.get("/v1/tasks").await.json()["data"].as_array().unwrap().len(), 1);
    scene.upstream.script(vec![Step::error(500, "the painter is out")]);
    let failed = ended(&scene.acme, &scene.draw_later(json!({})).await.json()).await;
    assert_eq!((&failed["status"], &failed["result"]), (&json!("failed"), &Value::Null), "{failed}");
    assert!(failed["error"]["code"].is_string() && failed["error"]["detail"].is_string(), "{failed}");
    assert!(!failed.to_string().contains("127.0.0.1") && !failed.to_string().contains(UPSTREAM_KEY));
    assert_eq!(scene.draw(json!({})).await.status, 200, "without the preference it is waited for");

    // Nobody else's, and for a day.
    let other = scene.app.tenant("other").await;
    assert_eq!(other.get(&format!("/v1/tasks/{id}")).await.status, 404);
    assert_eq!(scene.acme.with_scopes(&["chat:write"]).await.get("/v1/tasks").await.status, 403);
    scene.app.clock.advance(tasks::TASK_LIFE);
    assert_eq!(scene.acme.get(&format!("/v1/tasks/{id}")).await.status, 404);
    tasks::sweep::expired(&scene.app.running.app).await.unwrap();
    assert_eq!(scene.app.sql("select count(*)::text from tasks").await, ["0"]);
}

#[tokio::test]
async fn m106_a_task_that_is_cancelled_lets_its_provider_go_and_ends_once() {
    let scene = Scene::start().await;
    scene.upstream.script(vec![Step::Stall]);
    let task = scene.draw_later(json!({})).await.json();
    let id = task["id"].as_str().unwrap().to_owned();
    until("the provider is asked", async || !scene.upstream.received().is_empty()).await;
    assert_eq!(scene.acme.get(&format!("/v1/tasks/{id}")).await.json()["status"], "running");
    let cancel = format!("/v1/tasks/{id}/cancel");
    assert_eq!(scene.acme.with_scopes(&["ai:read"]).await.post(&cancel, &json!({})).await.status, 403);
    let canceled = scene.acme.post(&cancel, &json!({})).await;
    assert_eq!((canceled.status, &canceled.json()["status"]), (200, &json!("canceled")));
    until("the provider is let go", async || scene.upstream.received()[0].hung_up).await;
    until("it is in the ledger", async || !scene.acme.uses().await.is_empty()).await;
    assert_eq!(scene.last_use().await["status"], "canceled");
    let again = scene.acme.post(&cancel, &json!({})).await;
    assert_eq!((again.status, &again.json()["code"]), (409, &json!("task_ended")));
    assert_eq!(scene.acme.get(&format!("/v1/tasks/{id}")).await.json()["status"], "canceled");

    for _ in 0..tasks::TASKS_RUNNING_MAX {
        scene.upstream.script(vec![Step::Stall]);
        assert_eq!(scene.draw_later(json!({})).await.status, 202);
    }
    let more = scene.draw_later(json!({})).await;
    assert_eq!((more.status, wrong(&more).1), (429, json!("too_many_tasks")));
}

#[tokio::test]
async fn m106_another_host_cancels_a_task_and_one_whose_host_died_has_failed() {
    let scene = Scene::start().await;
    let other = scene.app.another_host().await;
    let there = scene.acme.elsewhere(&other.base_url());
    scene.upstream.script(vec![Step::Stall]);
    let task = scene.draw_later(json!({})).await.json();
    until("the provider is asked", async || !scene.upstream.received().is_empty()).await;
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    assert_eq!(there.get(&path).await.json()["status"], "running");
    // Its own host lives, so nobody else ends it.
    tasks::sweep::left_behind(&other.running.app).await.unwrap();
    assert_eq!(there.get(&path).await.json()["status"], "running");
    assert_eq!(there.post(&format!("{path}/cancel"), &json!({})).await.status, 200);
    let hung_up = async || scene.upstream.received()[0].hung_up;
    let began = Instant::now();
    while !hung_up().await {
        assert!(began.elapsed() < Duration::from_secs(15), "the host it runs on hears of it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // A host that says nothing for as long as a lease is taken for dead.
    scene.app.sql("update tasks set status = 'running', ended_at = null returning kind").await;
    scene.app.clock.advance(tasks::TASK_LEASE + chrono::Duration::seconds(1));
    tasks::sweep::left_behind(&other.running.app).await.unwrap();
    let failed = there.get(&path).await.json();
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("interrupted")));
}
