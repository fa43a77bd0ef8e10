//! `/v1/ai`: models by themselves, and what they do besides text.

use base64::{Engine, engine::general_purpose::STANDARD};
use opg_host::{ai::files, app::Clock, tasks};
use opg_tests::{
    app::{Answer, Client, TestApp, UPSTREAM_KEY, logs, send},
    guests,
    upstream::{Received, ScriptedUpstream, Step, google_media, media},
    wait::until,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

struct Scene {
    app: TestApp,
    upstream: ScriptedUpstream,
    acme: Client,
}

impl Scene {
    async fn start() -> Scene {
        let app = TestApp::at(Clock::manual(Clock::system().now()), TestApp::allow_local).await;
        let upstream = ScriptedUpstream::start().await;
        let at = |url: &str| json!({ "apiKey": UPSTREAM_KEY, "baseUrl": url });
        let mut responses = at(upstream.base_url());
        responses["kind"] = json!("openai-responses");
        let acme = app
            .tenant_with(json!({ "id": "acme", "providers": {
                "openai": at(upstream.base_url()),
                "responses": responses,
                "anthropic": at(upstream.base_url()),
                "google": at(&upstream.google_base_url()),
            } }))
            .await;
        Scene { app, upstream, acme }
    }

    fn last(&self) -> Received {
        self.upstream.received().last().expect("the upstream was asked").clone()
    }

    /// The ledger's last row.
    async fn last_use(&self) -> Value {
        self.acme.uses().await.last().expect("something was used").clone()
    }

    async fn price(&self, model: &str, price: Value) {
        let path = format!("/platform/v1/ai/prices/{model}");
        let set = self.app.operator().put(&path, &price).await;
        assert_eq!(set.status, 204, "{}", set.text());
    }

    async fn budget(&self, limit: u64) {
        let budget = json!({ "scope": "app", "period": "total", "limit_micro_usd": limit });
        assert_eq!(self.acme.put("/v1/tenant/budgets/all", &budget).await.status, 200);
    }

    async fn draw(&self, more: Value) -> Answer {
        self.acme
            .post("/v1/ai/image", &with(json!({ "model": "openai/painter", "prompt": "a cat" }), more))
            .await
    }

    async fn speak(&self, more: Value) -> Answer {
        let body = json!({ "model": "openai/speaker", "input": "hello", "voice": "alloy" });
        self.acme.post("/v1/ai/speech", &with(body, more)).await
    }

    async fn transcribe(&self, fields: &[(&str, &str)]) -> Answer {
        let (boundary, body) = form(fields);
        let media = format!("multipart/form-data; boundary={boundary}");
        send(self.acme.request("POST", "/v1/ai/transcriptions").header("content-type", media).body(body))
            .await
    }
}

fn with(mut body: Value, fields: Value) -> Value {
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// A form; the field `file` is one.
fn form(fields: &[(&str, &str)]) -> (&'static str, String) {
    let field = |(name, value): &(&str, &str)| {
        let file =
            if *name == "file" { "; filename=\"say \\\"hi\\\".wav\"\r\nContent-Type: audio/wav" } else { "" };
        format!("--form-boundary\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n")
    };
    let fields: String = fields.iter().map(field).collect();
    ("form-boundary", format!("{fields}--form-boundary--\r\n"))
}

/// Code and parameter of an error in OpenAI's shape.
fn wrong(answer: &Answer) -> (u16, Value, Value) {
    let error = answer.json()["error"].clone();
    assert!(error["message"].is_string() && error["type"].is_string(), "{}", answer.text());
    (answer.status, error["code"].clone(), error["param"].clone())
}

fn chat(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "how many words?" }] })
}

#[tokio::test]
async fn m102_models_are_listed_with_their_provider_and_price() {
    let scene = Scene::start().await;
    scene
        .price("openai/scripted", json!({ "input_micro_usd_per_mtok": 7, "output_micro_usd_per_mtok": 9 }))
        .await;
    let reader = scene.acme.with_scopes(&["ai:read"]).await;
    let listed = reader.get("/acme/v1/ai/models").await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    let models = listed.json()["data"].as_array().unwrap().clone();
    let of = |id: &str| {
        models.iter().find(|model| model["id"] == id).unwrap_or_else(|| panic!("{id}: {models:?}"))
    };
    let scripted = of("openai/scripted");
    assert_eq!(
        (&scripted["provider"], &scripted["price"]["output_micro_usd_per_mtok"]),
        (&json!("openai"), &json!(9))
    );
    assert_eq!(of("openai/scripted-large")["price"], Value::Null, "not known is not nothing");
    assert!(of("demo/assistant")["price"]["input_micro_usd_per_mtok"].as_u64().unwrap() > 0);
    assert!(!listed.text().contains(UPSTREAM_KEY));
    let other = scene.acme.with_scopes(&["chat:read", "ai:invoke"]).await.get("/v1/ai/models").await;
    assert_eq!(other.status, 403);
}

#[tokio::test]
async fn m102_a_model_has_its_alias_its_kind_and_its_context_where_somebody_said_so() {
    let scene = Scene::start().await;
    let operator = scene.app.operator();
    let source = json!({ "id": "main", "kind": "openai-compatible", "base_url": scene.upstream.base_url() });
    assert_eq!(operator.post("/platform/v1/ai/sources", &source).await.status, 201);
    let price = json!({ "input_micro_usd_per_mtok": 1, "output_micro_usd_per_mtok": 2 });
    for (id, more) in [
        ("plat/large", json!({ "alias": "big", "context_tokens": 128_000 })),
        ("plat/vectors", json!({ "kind": "embedding", "alias": "vectors" })),
        ("plat/draft", json!({ "enabled": false })),
    ] {
        let model = json!({ "id": id, "price": price, "sources": [{ "source": "main" }] });
        let made = operator.post("/platform/v1/ai/models", &with(model, more)).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let read = async || {
        let listed = scene.acme.get("/v1/ai/models").await.json();
        let models = listed["data"].as_array().unwrap().clone();
        move |id: &str| models.iter().find(|model| model["id"] == id).cloned()
    };
    let before = read().await;
    assert_eq!(before("plat/large"), None, "an app may use none until the operator says so");
    let may = json!({ "models": ["plat/*"] });
    assert_eq!(operator.put("/v1/admin/tenants/acme/ai/models", &may).await.status, 200);
    let of = read().await;
    let known = |id: &str| {
        let model = of(id).unwrap();
        ["provider", "alias", "kind", "context"].map(|name| model[name].clone())
    };
    assert_eq!(known("plat/large"), [json!("plat"), json!("big"), json!("chat"), json!(128_000)]);
    assert_eq!(known("plat/vectors"), [json!("plat"), json!("vectors"), json!("embedding"), Value::Null]);
    assert_eq!(of("plat/draft"), None, "a draft is not there");
    assert_eq!(known("demo/assistant")[2], json!("chat"));
    assert_eq!(
        known("openai/scripted"),
        [json!("openai"), Value::Null, Value::Null, Value::Null],
        "nobody said"
    );

    let mut configured = scene.acme.get("/v1/tenant").await.json();
    configured["modelAliases"] = json!({ "huge": "plat/large", "fast": "openai/scripted" });
    let set = scene.acme.put("/v1/tenant", &configured).await;
    assert_eq!(set.status, 200, "{}", set.text());
    let of = read().await;
    assert_eq!(of("plat/large").unwrap()["alias"], "huge", "the app's own name comes first");
    assert_eq!(of("openai/scripted").unwrap()["alias"], "fast");
    assert_eq!(
        scene.acme.get("/v1/models").await.json()["data"][0]["kind"],
        Value::Null,
        "OpenAI's list has no such"
    );
}

#[tokio::test]
async fn m014_m103_m104_a_model_answers_by_itself_although_the_app_has_tools() {
    let scene = Scene::start().await;
    scene.acme.install_tool("word-count", guests::WORD_COUNT).await;
    let invoker = scene.acme.with_scopes(&["ai:invoke"]).await;
    let call = || vec![Step::tool_call("c1", "word-count", r#"{"text":"a b"}"#)];
    for stream in [false, true] {
        scene.upstream.script(call());
        let answer = invoker
            .post("/acme/v1/ai/chat", &with(chat("openai/scripted"), json!({ "stream": stream })))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(
            answer.text().contains("\"tool_calls\"") && answer.text().contains("word-count"),
            "{}",
            answer.text()
        );
        assert_eq!(
            scene.last().body["tools"],
            Value::Null,
            "nothing of the app's is added: {}",
            scene.last().body
        );
        assert_eq!(answer.header("x-opg-session-id"), "");

        scene.upstream.script(call());
        let body = json!({ "model": "responses/scripted", "input": "how many words?", "stream": stream });
        let answer = invoker.post("/v1/ai/responses", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("\"function_call\""), "{}", answer.text());
    }
    let vectors = invoker
        .post("/v1/ai/embeddings", &json!({ "model": "openai/scripted", "input": ["a", "bcd"] }))
        .await;
    assert_eq!(vectors.json()["data"][1]["embedding"], json!([3.0, 1.0]), "{}", vectors.text());
    let rows = scene.acme.uses().await;
    assert_eq!(rows.len(), 5, "each once, and no run of an agent: {rows:?}");
    assert!(
        rows.iter().all(|row| row["kind"] == "tokens" && row["plugin"].is_null() && row["status"] == "ok")
    );
    assert!(rows.iter().all(|row| row["prompt_tokens"].as_u64().unwrap() > 0));

    // The scope of one is not the scope of the other.
    assert_eq!(invoker.post("/v1/chat/completions", &chat("openai/scripted")).await.status, 403);
    let chatter = scene.acme.with_scopes(&["chat:write"]).await;
    assert_eq!(chatter.post("/v1/ai/chat", &chat("openai/scripted")).await.status, 403);
}

#[tokio::test]
async fn m103_what_only_a_turn_has_and_what_is_wrong_is_a_400_that_names_it() {
    let scene = Scene::start().await;
    for (more, param) in [
        (json!({ "agent": "default" }), "agent"),
        (json!({ "session_id": "new" }), "session_id"),
        (json!({ "messages": [] }), "messages"),
        (json!({ "messages": [{ "role": "nobody", "content": "x" }] }), "messages[0].role"),
        (json!({ "temperature": 3 }), "temperature"),
    ] {
        let refused = scene.acme.post("/v1/ai/chat", &with(chat("openai/scripted"), more.clone())).await;
        let (status, _, named) = wrong(&refused);
        assert_eq!((status, named), (400, json!(param)), "{more}: {}", refused.text());
    }
    let request = scene.acme.request("POST", "/v1/ai/chat").header("x-opg-session-id", "new");
    let refused = send(request.json(&chat("openai/scripted"))).await;
    assert_eq!(wrong(&refused), (400, json!("unsupported_parameter"), json!("session_id")));
    let unknown = scene.acme.post("/v1/ai/chat", &chat("nobody/any")).await;
    assert_eq!(wrong(&unknown).1, "provider_not_configured");
    let body = json!({ "model": "openai/scripted", "input": [{ "type": "computer_call_output" }] });
    assert_eq!(wrong(&scene.acme.post("/v1/ai/responses", &body).await).1, "unsupported_input");
    for input in [json!(""), json!(vec!["x"; 2049])] {
        let refused = scene
            .acme
            .post("/v1/ai/embeddings", &json!({ "model": "openai/scripted", "input": input }))
            .await;
        assert_eq!((refused.status, wrong(&refused).2), (400, json!("input")));
    }
    scene
        .price(
            "openai/scripted",
            json!({ "input_micro_usd_per_mtok": 0, "output_micro_usd_per_mtok": 1_000_000 }),
        )
        .await;
    scene.budget(4).await;
    let over = with(chat("openai/scripted"), json!({ "max_tokens": 5 }));
    assert_eq!(wrong(&scene.acme.post("/v1/ai/chat", &over).await).0, 402);
    assert!(scene.upstream.received().is_empty(), "no provider was asked");
}

#[tokio::test]
async fn m106_pictures_are_stored_under_a_url_of_their_own_for_a_day_and_for_one_app() {
    let scene = Scene::start().await;
    let pixel = STANDARD.decode(media::PIXEL_BASE64).unwrap();
    let drawn = scene.draw(json!({ "n": 2, "size": "1024x1024", "user": "ann" })).await;
    assert_eq!(drawn.status, 200, "{}", drawn.text());
    let data = drawn.json()["data"].as_array().unwrap().clone();
    let urls: Vec<_> = data.iter().map(|item| item["url"].as_str().unwrap().to_owned()).collect();
    assert_eq!(urls.len(), 2);
    assert_ne!(urls[0], urls[1]);
    assert_eq!(data[0]["revised_prompt"], "a cat, in oil");
    assert!(!drawn.text().contains("b64_json") && !drawn.text().contains("127.0.0.1"), "{}", drawn.text());
    let asked = scene.last().body;
    assert_eq!(
        [&asked["model"], &asked["n"], &asked["size"], &asked["response_format"]],
        [&json!("painter"), &json!(2), &json!("1024x1024"), &json!("b64_json")]
    );

    let reader = scene.acme.with_scopes(&["ai:read"]).await;
    let picture = reader.get(&urls[0]).await;
    assert_eq!((picture.status, picture.header("content-type")), (200, "image/png"));
    assert_eq!(picture.body, pixel);
    assert_eq!(scene.acme.with_scopes(&["ai:invoke"]).await.get(&urls[0]).await.status, 403);
    let own_path = urls[0].strip_prefix("/acme").unwrap();
    let other = scene.app.tenant("other").await;
    assert_eq!(other.get(own_path).await.status, 404, "another app has no such picture");
    assert_eq!(scene.acme.get("/v1/ai/files/not-an-id").await.status, 404);

    let used = scene.last_use().await;
    assert_eq!(
        [&used["kind"], &used["units"], &used["model"], &used["end_user"], &used["status"]],
        [&json!("images"), &json!(2), &json!("painter"), &json!("ann"), &json!("ok")]
    );
    assert_eq!(used["cost_micro_usd"], Value::Null, "nobody said what it costs");

    scene.app.clock.advance(files::FILE_LIFE);
    assert_eq!(reader.get(&urls[0]).await.status, 404, "its day is over");
    files::sweep(&scene.app.running.app).await.unwrap();
    assert_eq!(scene.app.sql("select count(*)::text from ai_files").await, ["0"]);
}

#[tokio::test]
async fn m106_a_small_picture_may_be_inside_the_answer_and_a_large_one_never_is() {
    let scene = Scene::start().await;
    let small = scene.draw(json!({ "response_format": "b64_json" })).await.json();
    assert_eq!(small["data"][0]["b64_json"], media::PIXEL_BASE64);
    assert_eq!(small["data"][0]["url"], Value::Null);
    let large = scene.draw(json!({ "model": "openai/painter-large", "response_format": "b64_json" })).await;
    assert!(large.body.len() < 1_000, "{} bytes", large.body.len());
    let url = large.json()["data"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(scene.acme.get(&url).await.body.len(), media::LARGE_PICTURE_BYTES);

    // An app that keeps more than it may loses its oldest.
    let newer = "insert into ai_files
      select (left(file_id::text, 18) || '-ffff-ffffffffff' || lpad(n::text, 2, '0'))::uuid, app_id, media_type,
             decode(repeat('00', 16 * 1024 * 1024), 'hex'), expires_at
      from ai_files, generate_series(1, 16) as n";
    sqlx::query(newer).execute(&mut scene.app.owner().await).await.unwrap();
    assert_eq!(scene.acme.get(&url).await.status, 200);
    let next = scene.draw(json!({ "model": "openai/painter-large" })).await.json();
    assert_eq!(scene.acme.get(&url).await.status, 404);
    assert_eq!(scene.acme.get(next["data"][0]["url"].as_str().unwrap()).await.status, 200);
}

#[tokio::test]
async fn m106_a_picture_its_provider_put_elsewhere_is_fetched_and_what_is_none_is_an_error() {
    let scene = Scene::start().await;
    let fetched = scene.draw(json!({ "model": "openai/painter-elsewhere" })).await;
    assert_eq!(fetched.status, 200, "{}", fetched.text());
    let url = fetched.json()["data"][0]["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("/acme/v1/ai/files/"), "our address, not the provider's: {url}");
    assert!(scene.acme.get(&url).await.text().ends_with("elsewhere"));
    for model in ["openai/painter-of-pages", "openai/painter-of-nothing"] {
        let broken = scene.draw(json!({ "model": model })).await;
        let (status, code, _) = wrong(&broken);
        assert_eq!((status, code), (502, json!("provider_bad_reply")), "{model}: {}", broken.text());
        assert!(!broken.text().contains("127.0.0.1"), "{}", broken.text());
    }
    for raw in
        [r#"{"data":[]}"#, r#"{"data":[{"b64_json":"!"}]}"#, "[]", r#"{"data":[{"b64_json":"PHN2Zz4="}]}"#]
    {
        scene.upstream.script(vec![Step::Raw(raw.to_owned())]);
        assert_eq!(wrong(&scene.draw(json!({})).await).0, 502, "{raw}");
    }
    let kept = scene.app.sql("select count(*)::text from ai_files").await;
    assert_eq!(kept, ["1"], "nothing that is no picture was kept");
    let newer = scene.draw(json!({ "model": "openai/gpt-image-1", "n": 2 })).await.json();
    assert_eq!(newer["usage"]["output_tokens"], 2000, "{newer}");
    let used = scene.last_use().await;
    assert_eq!((&used["prompt_tokens"], &used["completion_tokens"]), (&json!(50), &json!(2000)));
    assert_eq!(wrong(&scene.draw(json!({ "n": 5 })).await).2, "n");
}

/// A task as it is once it has ended.
async fn ended(client: &Client, task: &Value) -> Value {
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    for _ in 0..200 {
        let answer = client.get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        if answer.json()["status"] != "running" {
            return answer.json();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the task does not end");
}

impl Scene {
    async fn draw_later(&self, more: Value) -> Answer {
        let body = with(json!({ "model": "openai/painter", "prompt": "a cat" }), more);
        send(self.acme.request("POST", "/v1/ai/image").header("prefer", "respond-async").json(&body)).await
    }
}

#[tokio::test]
async fn m106_a_picture_may_be_asked_for_as_a_task_and_fetched_when_it_is_done() {
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

#[tokio::test]
async fn m110_tokens_that_cost_nothing_are_counted_and_said() {
    let scene = Scene::start().await;
    let uncharged = async |reason: &str| {
        let text = scene.app.anonymous().get("/metrics").await.text();
        let name = format!("opg_model_calls_uncharged_total{{reason=\"{reason}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
    };
    assert_eq!(scene.acme.chat("openai/scripted", "hello").await.status, 200);
    assert_eq!((uncharged("no_price").await, uncharged("costs_nothing").await), (1, 0));
    scene
        .price("openai/scripted", json!({ "input_micro_usd_per_mtok": 0, "output_micro_usd_per_mtok": 0 }))
        .await;
    assert_eq!(scene.acme.chat("openai/scripted", "hello").await.status, 200);
    assert_eq!((uncharged("no_price").await, uncharged("costs_nothing").await), (1, 1));
    assert!(logs().contains("cost nothing: look at its price"));
    // A price that is not nothing is never rounded to it, and a model that is nobody's is free.
    scene
        .price("openai/scripted", json!({ "input_micro_usd_per_mtok": 1, "output_micro_usd_per_mtok": 0 }))
        .await;
    assert_eq!(scene.acme.chat("openai/scripted", "hello").await.status, 200);
    assert_eq!(scene.acme.chat("mock/echo", "hello").await.status, 200);
    assert_eq!((uncharged("no_price").await, uncharged("costs_nothing").await), (1, 1));
}

#[tokio::test]
async fn what_is_counted_in_units_is_held_against_budgets_and_charged() {
    let scene = Scene::start().await;
    scene.budget(100_000).await;
    let unpriced = scene.draw(json!({})).await;
    assert_eq!(wrong(&unpriced).1, "price_unknown", "{}", unpriced.text());
    let of_units = |price: u64| json!({ "input_micro_usd_per_mtok": 0, "output_micro_usd_per_mtok": 0, "unit_micro_usd_per_million": price });
    scene
        .price("openai/painter", json!({ "input_micro_usd_per_mtok": 0, "output_micro_usd_per_mtok": 0 }))
        .await;
    assert_eq!(
        wrong(&scene.draw(json!({})).await).1,
        "price_unknown",
        "no price of a picture is not a price of nothing"
    );
    // Four cents a picture: two fit, three do not.
    scene.price("openai/painter", of_units(40_000_000_000)).await;
    assert_eq!(wrong(&scene.draw(json!({ "n": 3 })).await).1, "budget_exceeded");
    assert!(scene.upstream.received().is_empty(), "no provider was asked");
    assert_eq!(scene.draw(json!({ "n": 2 })).await.status, 200);
    assert_eq!(scene.last_use().await["cost_micro_usd"], 80_000);
    // Fifteen dollars a million characters.
    scene.price("openai/speaker", of_units(15_000_000)).await;
    assert_eq!(scene.speak(json!({ "input": "a".repeat(1_000) })).await.status, 200);
    assert_eq!(scene.last_use().await["cost_micro_usd"], 15_000);
    assert_eq!(wrong(&scene.speak(json!({ "input": "a".repeat(1_000) })).await).1, "budget_exceeded");
    scene.price("openai/hearer", of_units(100_000_000)).await;
    let heard = scene.transcribe(&[("model", "openai/hearer"), ("file", "RIFF")]).await;
    assert_eq!(heard.status, 200, "{}", heard.text());
    let used = scene.last_use().await;
    assert_eq!(
        [&used["kind"], &used["units"], &used["cost_micro_usd"]],
        [&json!("seconds"), &json!(7), &json!(700)]
    );
    let balance = scene.acme.get("/v1/usage/balance").await.json()["data"][0]["spending"][0].clone();
    let counted = (&balance["spent_micro_usd"], &balance["reserved_micro_usd"]);
    assert_eq!(counted, (&json!(95_700), &json!(0)), "{balance}");
}

#[tokio::test]
async fn m107_speech_comes_as_it_is_made_and_its_characters_are_written_down() {
    let scene = Scene::start().await;
    let said = scene.speak(json!({ "input": "grüß dich", "format": "wav", "speed": 1.5 })).await;
    assert_eq!((said.status, said.header("content-type")), (200, "audio/wav"), "{}", said.text());
    assert_eq!(said.text(), media::SOUND.concat());
    let asked = scene.last().body;
    assert_eq!(
        [&asked["model"], &asked["voice"], &asked["response_format"], &asked["speed"], &asked["format"]],
        [&json!("speaker"), &json!("alloy"), &json!("wav"), &json!(1.5), &Value::Null]
    );
    let used = scene.last_use().await;
    assert_eq!(
        [&used["kind"], &used["units"], &used["status"]],
        [&json!("characters"), &json!(9), &json!("ok")]
    );
    assert_eq!(scene.speak(json!({ "response_format": "opus" })).await.header("content-type"), "audio/ogg");

    let unknown = scene.speak(json!({ "voice": "nobody" })).await;
    assert_eq!(unknown.status, 400, "{}", unknown.text());
    assert!(unknown.text().contains("voice"), "the provider says which there are: {}", unknown.text());
    let failed = scene.last_use().await;
    assert_eq!((&failed["status"], &failed["units"]), (&json!("failed"), &json!(0)));
    assert_eq!(wrong(&scene.speak(json!({ "input": "x".repeat(4_097) })).await).2, "input");
    scene.upstream.script(vec![Step::Raw(r#"{"sound":"none"}"#.to_owned())]);
    assert_eq!(wrong(&scene.speak(json!({})).await).1, "provider_bad_reply");
}

const GOOGLES_PAINTER: &str = "google/gemini-3.1-flash-image";

#[tokio::test]
async fn m106_googles_models_draw_each_picture_in_a_request_of_its_own_and_their_tokens_are_paid() {
    let scene = Scene::start().await;
    scene
        .price(
            GOOGLES_PAINTER,
            json!({ "input_micro_usd_per_mtok": 1_000_000, "output_micro_usd_per_mtok": 60_000_000 }),
        )
        .await;
    let drawn = scene
        .draw(json!({ "model": GOOGLES_PAINTER, "n": 2, "size": "16:9", "user": "ann",
            "google": { "generationConfig": { "seed": 7 } } }))
        .await;
    assert_eq!(drawn.status, 200, "{}", drawn.text());
    let pixel = STANDARD.decode(media::PIXEL_BASE64).unwrap();
    let data = drawn.json()["data"].as_array().unwrap().clone();
    assert_eq!(data.len(), 2);
    for item in &data {
        let picture = scene.acme.get(item["url"].as_str().unwrap()).await;
        assert_eq!(picture.header("content-type"), "image/png");
        assert_eq!(picture.body, pixel);
    }
    let (read, written) = google_media::PICTURE_TOKENS;
    assert_eq!(drawn.json()["usage"]["output_tokens"], 2 * written);
    let asked = scene.upstream.received();
    assert_eq!(asked.len(), 2, "Google makes one at a time");
    for asked in asked {
        assert_eq!(asked.path, "/v1beta/models/gemini-3.1-flash-image:generateContent", "no key in it");
        assert_eq!(asked.headers["x-goog-api-key"], UPSTREAM_KEY);
        assert_eq!(
            asked.body,
            json!({ "contents": [{ "role": "user", "parts": [{ "text": "a cat" }] }], "generationConfig": {
                "responseModalities": ["IMAGE"], "imageConfig": { "aspectRatio": "16:9" }, "seed": 7 } })
        );
    }
    let used = scene.last_use().await;
    assert_eq!(
        [
            &used["kind"],
            &used["units"],
            &used["end_user"],
            &used["prompt_tokens"],
            &used["completion_tokens"]
        ],
        [&json!("images"), &json!(2), &json!("ann"), &json!(2 * read), &json!(2 * written)]
    );
    assert_eq!(used["cost_micro_usd"], 2 * (read + 60 * written));
    let inline = scene.draw(json!({ "model": GOOGLES_PAINTER, "response_format": "b64_json" })).await;
    assert_eq!(inline.json()["data"][0]["b64_json"], media::PIXEL_BASE64);
    let later = scene.draw_later(json!({ "model": GOOGLES_PAINTER })).await;
    let done = ended(&scene.acme, &later.json()).await;
    assert!(done["result"]["data"][0]["url"].is_string(), "{done}");
}

#[tokio::test]
async fn m106_what_google_has_no_word_for_is_refused_and_what_goes_wrong_there_has_its_status() {
    let scene = Scene::start().await;
    let draw = async |more: Value| scene.draw(with(json!({ "model": GOOGLES_PAINTER }), more)).await;
    for (more, param) in [
        (json!({ "quality": "high" }), "quality"),
        (json!({ "size": "1536x1024" }), "size"),
        (json!({ "n": 5 }), "n"),
    ] {
        let refused = draw(more.clone()).await;
        assert_eq!((refused.status, wrong(&refused).2), (400, json!(param)), "{more}: {}", refused.text());
    }
    assert!(scene.upstream.received().is_empty(), "nobody was asked");
    let unknown = draw(json!({ "size": "7:3" })).await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("must be one of 1:1"), "Google says which there are: {}", unknown.text());
    assert_eq!(draw(json!({ "mask": "x" })).await.status, 400, "what is not known is Google's to refuse");

    let usage = json!({ "promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7 });
    for (raw, status, code) in [
        (json!({ "candidates": [{ "finishReason": "IMAGE_SAFETY" }] }), 400, "content_policy_violation"),
        (json!({ "promptFeedback": { "blockReason": "SAFETY" } }), 400, "content_policy_violation"),
        (json!({ "candidates": [{ "finishReason": "NO_IMAGE" }] }), 502, "provider_bad_reply"),
        (
            json!({ "candidates": [{ "content": { "parts": [{ "text": "no" }] }, "finishReason": "STOP" }] }),
            502,
            "provider_bad_reply",
        ),
    ] {
        let raw = with(raw, json!({ "usageMetadata": usage }));
        scene.upstream.script(vec![Step::Raw(raw.to_string())]);
        let failed = draw(json!({})).await;
        assert_eq!((failed.status, &wrong(&failed).1), (status, &json!(code)), "{raw}: {}", failed.text());
        let used = scene.last_use().await;
        assert_eq!(
            [&used["status"], &used["units"], &used["prompt_tokens"], &used["completion_tokens"]],
            [&json!("failed"), &json!(0), &json!(3), &json!(4)],
            "it was paid for"
        );
    }
    for (theirs, ours, code) in [
        (403, 502, "provider_credentials"),
        (404, 404, "not_found"),
        (429, 429, "rate_limit_exceeded"),
        (500, 502, "provider_error"),
    ] {
        scene.upstream.script(vec![Step::error(theirs, &format!("no, said {UPSTREAM_KEY}"))]);
        let failed = draw(json!({})).await;
        assert_eq!((failed.status, &wrong(&failed).1), (ours, &json!(code)), "{}", failed.text());
        assert!(!failed.text().contains(UPSTREAM_KEY));
    }
    // One of two fails: none is given, and the other is charged for.
    scene.upstream.script(vec![Step::error(400, "not this one")]);
    assert_eq!(draw(json!({ "n": 2 })).await.status, 400);
    let (read, written) = google_media::PICTURE_TOKENS;
    let used = scene.last_use().await;
    assert_eq!(
        [&used["status"], &used["units"], &used["prompt_tokens"], &used["completion_tokens"]],
        [&json!("failed"), &json!(0), &json!(read), &json!(written)]
    );
    assert_eq!(scene.app.sql("select count(*)::text from ai_files").await, ["0"]);
}

#[tokio::test]
async fn m106_whoever_hangs_up_on_googles_picture_lets_google_go() {
    let scene = Scene::start().await;
    scene.upstream.script(vec![Step::Stall]);
    let body = json!({ "model": GOOGLES_PAINTER, "prompt": "a cat" });
    let asking = scene.acme.request("POST", "/v1/ai/image").json(&body).send();
    assert!(tokio::time::timeout(Duration::from_millis(300), asking).await.is_err());
    scene.upstream.wait_until(|received| received[0].hung_up).await;
    until("it is in the ledger", async || !scene.acme.uses().await.is_empty()).await;
    assert_eq!(scene.last_use().await["status"], "canceled");
}

#[tokio::test]
async fn m107_googles_models_speak_as_wav_or_pcm_and_their_tokens_are_held_and_paid() {
    let scene = Scene::start().await;
    let samples = STANDARD.decode(google_media::SAMPLES_BASE64).unwrap();
    let file = STANDARD.decode(google_media::WAV_BASE64).unwrap();
    // The newer ones answer with a file, the older with samples: whoever asks cannot tell.
    for model in ["google/gemini-3.8-flash-tts", "google/gemini-3.1-flash-tts-preview"] {
        let speak =
            async |more: Value| scene.speak(with(json!({ "model": model, "voice": "Kore" }), more)).await;
        for (format, media_type, sound) in [
            (json!({}), "audio/wav", &file),
            (json!({ "format": "wav" }), "audio/wav", &file),
            (json!({ "response_format": "pcm" }), "audio/pcm", &samples),
        ] {
            let said = speak(format).await;
            assert_eq!((said.status, said.header("content-type")), (200, media_type), "{}", said.text());
            assert_eq!(&said.body, sound);
        }
        let used = scene.last_use().await;
        let (read, written) = google_media::SPEECH_TOKENS;
        assert_eq!(
            [&used["kind"], &used["units"], &used["prompt_tokens"], &used["completion_tokens"]],
            [&json!("characters"), &json!(5), &json!(read), &json!(written)]
        );
    }
    let asked = scene.last();
    assert_eq!(asked.path, "/v1beta/models/gemini-3.1-flash-tts-preview:generateContent");
    assert_eq!(
        asked.body,
        json!({ "contents": [{ "role": "user", "parts": [{ "text": "hello" }] }], "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": { "voiceConfig": { "prebuiltVoiceConfig": { "voiceName": "Kore" } } } } })
    );
    let speak = async |more: Value| {
        scene.speak(with(json!({ "model": "google/gemini-3.8-flash-tts", "voice": "Kore" }), more)).await
    };
    assert_eq!(speak(json!({ "instructions": "cheerfully" })).await.status, 200);
    let part = scene.last().body["contents"][0]["parts"][0].clone();
    assert_eq!(part, json!({ "text": "hello", "speechMetadata": { "style": "cheerfully" } }));

    let before = scene.upstream.received().len();
    for format in ["mp3", "opus", "aac", "flac"] {
        let refused = speak(json!({ "format": format })).await;
        assert_eq!(wrong(&refused), (400, json!("unsupported_value"), json!("response_format")), "{format}");
        assert!(refused.text().contains("`wav` and `pcm`"), "{}", refused.text());
    }
    assert_eq!(wrong(&speak(json!({ "speed": 2 })).await).2, "speed");
    assert_eq!(scene.upstream.received().len(), before, "nobody was asked");
    let unknown = speak(json!({ "voice": "nobody" })).await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("Aoede, Charon"), "Google says which there are: {}", unknown.text());
    for raw in [
        json!({ "candidates": [{ "content": { "parts": [{ "inlineData": { "mimeType": "text/html", "data": "PGI+" } }] } }] }),
        json!({ "candidates": [{ "content": { "parts": [{ "text": "hello" }] }, "finishReason": "STOP" }] }),
    ] {
        scene.upstream.script(vec![Step::Raw(raw.to_string())]);
        assert_eq!(wrong(&speak(json!({})).await).1, "provider_bad_reply");
    }

    // A micro-dollar for each token: what a text may take is held before, and what it took is charged.
    scene
        .price(
            "google/gemini-3.8-flash-tts",
            json!({ "input_micro_usd_per_mtok": 0, "output_micro_usd_per_mtok": 1_000_000 }),
        )
        .await;
    scene.budget(1_060).await;
    assert_eq!(speak(json!({})).await.status, 200);
    assert_eq!(scene.last_use().await["cost_micro_usd"], google_media::SPEECH_TOKENS.1);
    let asked = scene.upstream.received().len();
    assert_eq!(wrong(&speak(json!({})).await).1, "budget_exceeded", "25 of 1060 are spent, 1050 are held");
    assert_eq!(scene.upstream.received().len(), asked);
}

#[tokio::test]
async fn m107_whoever_hangs_up_on_a_sound_hangs_up_on_the_provider() {
    let scene = Scene::start().await;
    let body = json!({ "model": "openai/speaker-that-stalls", "input": "hello", "voice": "alloy" });
    let mut sound = scene.acme.request("POST", "/v1/ai/speech").json(&body).send().await.unwrap();
    assert_eq!(sound.chunk().await.unwrap().unwrap(), media::SOUND[0].as_bytes(), "it comes piece by piece");
    drop(sound);
    scene.upstream.wait_until(|received| received[0].hung_up).await;
    let since = Instant::now();
    while scene.acme.uses().await.is_empty() {
        assert!(since.elapsed() < Duration::from_secs(5), "nothing was written down");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let used = scene.last_use().await;
    assert_eq!(
        (&used["status"], &used["units"]),
        (&json!("canceled"), &json!(5)),
        "the text was sent, and costs"
    );
}

#[tokio::test]
async fn m108_a_sound_goes_through_as_its_form_says_but_for_the_model() {
    let scene = Scene::start().await;
    let fields = [
        ("file", "RIFF\r\n--not-the-boundary\r\n"),
        ("model", "openai/hearer"),
        ("language", "en"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
    ];
    let heard = scene.transcribe(&fields).await;
    assert_eq!((heard.status, &heard.json()["text"]), (200, &json!(media::HEARD)), "{}", heard.text());
    let sent = scene.last();
    let form = sent.body["form"].as_str().unwrap();
    assert!(sent.headers["content-type"].to_str().unwrap().starts_with("multipart/form-data; boundary=opg-"));
    assert!(form.contains("name=\"model\"\r\n\r\nhearer\r\n"), "{form}");
    assert!(form.contains(
        "name=\"file\"; filename=\"say %22hi%22.wav\"\r\ncontent-type: audio/wav\r\n\r\nRIFF\r\n--not"
    ));
    assert_eq!(form.matches("timestamp_granularities[]").count(), 2, "{form}");
    assert!(!form.contains("openai/hearer") && !form.contains("form-boundary"), "{form}");
    let used = scene.last_use().await;
    assert_eq!([&used["kind"], &used["units"]], [&json!("seconds"), &json!(media::SOUND_SECONDS)]);

    for (format, media_type) in [("text", "text/plain; charset=utf-8"), ("vtt", "text/vtt; charset=utf-8")] {
        let heard = scene
            .transcribe(&[("model", "openai/hearer"), ("file", "RIFF"), ("response_format", format)])
            .await;
        assert_eq!((heard.status, heard.header("content-type")), (200, media_type));
        assert!(heard.text().contains(media::HEARD));
        assert_eq!(scene.last_use().await["units"], 1, "nobody said how long it was: it is estimated");
    }
    assert_eq!(wrong(&scene.transcribe(&[("file", "RIFF")]).await).2, "model");
    assert_eq!(wrong(&scene.transcribe(&[("model", "openai/hearer")]).await).2, "file");
    let request = scene
        .acme
        .request("POST", "/v1/ai/transcriptions")
        .header("content-type", "multipart/form-data; boundary=x");
    assert_eq!(wrong(&send(request.body("--x\r\nbroken")).await).1, "malformed_form");
}

#[tokio::test]
async fn m108_judgements_go_through_and_a_provider_without_is_a_404_that_says_so() {
    let scene = Scene::start().await;
    let judged = scene
        .acme
        .post("/v1/ai/moderations", &json!({ "model": "openai/judge", "input": ["peace", "harm"] }))
        .await;
    assert_eq!(judged.status, 200, "{}", judged.text());
    let flags: Vec<_> =
        judged.json()["results"].as_array().unwrap().iter().map(|result| result["flagged"].clone()).collect();
    assert_eq!(flags, [false, true]);
    assert_eq!(judged.json()["model"], "openai/judge");
    let used = scene.last_use().await;
    assert_eq!((&used["kind"], &used["prompt_tokens"]), (&json!("tokens"), &json!(3)), "an estimate");

    let before = scene.upstream.received().len();
    let asks = |model: &str| {
        [
            ("/v1/ai/image", json!({ "model": model, "prompt": "x" })),
            ("/v1/ai/speech", json!({ "model": model, "input": "x", "voice": "alloy" })),
            ("/v1/ai/moderations", json!({ "model": model, "input": "x" })),
        ]
    };
    for model in ["anthropic/scripted", "google/scripted", "demo/assistant", "mock/echo"] {
        for (path, body) in asks(model) {
            if model.starts_with("google/") && path != "/v1/ai/moderations" {
                continue;
            }
            let none = scene.acme.post(path, &body).await;
            assert_eq!(
                wrong(&none),
                (404, json!("capability_unavailable"), json!("model")),
                "{path} {model}"
            );
        }
        let none = scene.transcribe(&[("model", model), ("file", "RIFF")]).await;
        assert_eq!(wrong(&none).1, "capability_unavailable", "{model}");
    }
    assert_eq!(scene.upstream.received().len(), before, "nobody was asked");
    // A provider of the dialect that has no such address, as most servers say it; and one that does not know the model.
    for (path, body) in asks("openai/any") {
        let app = scene.app.tenant_with(json!({ "id": format!("t{}", path.len()), "providers": {
            "openai": { "apiKey": UPSTREAM_KEY, "baseUrl": format!("{}nowhere/", scene.upstream.base_url()) } } })).await;
        assert_eq!(wrong(&app.post(path, &body).await).1, "capability_unavailable", "{path}");
        scene.upstream.script(vec![Step::Error {
            status: 429,
            message: "slow down".into(),
            retry_after: Some("7".into()),
        }]);
        let limited = scene.acme.post(path, &body).await;
        assert_eq!((limited.status, limited.header("retry-after")), (429, "7"), "{path}");
    }
}

#[tokio::test]
async fn m499_mock_models_answer_offline_where_they_are_on_and_are_not_there_where_they_are_off() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    assert_eq!(acme.chat("mock/echo", "say  this").await.content(), "say  this");
    let tools =
        json!([{ "type": "function", "function": { "name": "add", "parameters": { "type": "object" } } }]);
    let body = json!({ "model": "mock/tool", "messages": [{ "role": "user", "content": "{\"a\":1}" }], "tools": tools });
    let called = acme.post("/v1/chat/completions", &body).await.json();
    assert_eq!(
        called["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "{\"a\":1}",
        "{called}"
    );
    let limited = acme.chat("mock/error", "429").await;
    assert_eq!(
        (limited.status, limited.header("retry-after").is_empty()),
        (429, false),
        "{}",
        limited.text()
    );
    let late = json!({ "model": "mock/error", "stream": true, "messages": [{ "role": "user", "content": "late 503" }] });
    let frames = acme.post("/v1/chat/completions", &late).await.frames();
    assert!(
        frames.last().unwrap()["error"]["code"].is_string() && !frames.contains(&json!("[DONE]")),
        "{frames:?}"
    );
    let since = Instant::now();
    assert_eq!(acme.chat("mock/slow", "one two").await.content(), "one two");
    assert!(since.elapsed() >= Duration::from_millis(400), "a pause before each piece");
    let uses = acme.uses().await;
    assert!(uses.iter().all(|row| row["provider"] == "mock" && !row["cost_micro_usd"].is_null()), "{uses:?}");
    let listed = acme.get("/v1/models").await.text();
    assert!(listed.contains("mock/echo") && listed.contains("mock/error"));
    let taken = acme
        .put("/v1/tenant", &json!({ "providers": { "mock": { "apiKey": "sk-0123456789abcdef" } } }))
        .await;
    assert_eq!(taken.status, 422, "{}", taken.text());

    let app = TestApp::with(|config| config.mock_provider = false).await;
    let acme = app.tenant("acme").await;
    assert!(!acme.get("/v1/models").await.text().contains("mock/"));
    assert_ne!(acme.chat("mock/echo", "hi").await.status, 200);
}
