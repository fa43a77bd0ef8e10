//! Models that answer in words, and judgements.

use super::*;

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
