//! Rules of single dialects that the matrix does not show.

use super::{Scene, cells};
use crate::dialects::speak::{DIALECTS, Dialect};
use opg_tests::{
    app::{UPSTREAM_KEY, send},
    upstream::{COUNTED, Step},
};
use serde_json::{Value, json};

fn with(mut body: Value, fields: Value) -> Value {
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn the_reason_to_stop_has_its_word_in_every_dialect() {
    let scene = Scene::start().await;
    let words = [
        ("compatible", "length", "content_filter"),
        ("responses", "max_output_tokens", "content_filter"),
        ("anthropic", "max_tokens", "refusal"),
        ("google", "MAX_TOKENS", "SAFETY"),
    ];
    for (dialect, provider, stream) in cells() {
        let (_, length, filtered) = *words.iter().find(|(name, ..)| *name == provider).unwrap();
        for (word, finish) in [(length, "length"), (filtered, "content_filter")] {
            scene.upstream.script(vec![Step::text("too lo"), Step::Finish(word.to_owned())]);
            let body = dialect.body(&format!("{provider}/scripted"), &[dialect.user("hi")], stream);
            let heard = dialect.ask(&scene.acme, &body).await;
            assert_eq!(
                (heard.text.as_str(), heard.finish.as_str()),
                ("too lo", finish),
                "{dialect:?} {provider}"
            );
        }
    }
}

#[tokio::test]
async fn a_model_that_failed_is_an_error_and_never_a_short_answer() {
    let scene = Scene::start().await;
    for reason in ["MALFORMED_FUNCTION_CALL", "MISSING_THOUGHT_SIGNATURE", "OTHER"] {
        for dialect in DIALECTS {
            scene.upstream.script(vec![Step::Finish(reason.to_owned())]);
            let body = dialect.body("google/scripted", &[dialect.user("hi")], false);
            let failed = scene.acme.post(dialect.path(), &body).await;
            assert_eq!(failed.status, 502, "{reason} {dialect:?}: {}", failed.text());
            assert!(dialect.error(&failed.json()).contains(reason), "{}", failed.text());
        }
    }
    let blocked = "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":{\"promptTokenCount\":3}}\n\n";
    scene.upstream.script(vec![Step::Raw(blocked.into()), Step::End]);
    let body = Dialect::Chat.body("google/scripted", &[Dialect::Chat.user("hi")], false);
    assert_eq!(
        Dialect::Chat.ask(&scene.acme, &body).await.finish,
        "content_filter",
        "a blocked prompt has no candidates"
    );
}

#[tokio::test]
async fn a_refusal_is_one_in_every_dialect_that_has_a_word_for_it() {
    let scene = Scene::start().await;
    for (dialect, provider, stream) in cells() {
        scene.upstream.script(vec![Step::Refusal("I'd rather not".into())]);
        let body = dialect.body(&format!("{provider}/scripted"), &[dialect.user("hi")], stream);
        let heard = dialect.ask(&scene.acme, &body).await;
        let said =
            format!("{}{}", heard.text, if dialect == Dialect::Messages { "" } else { &heard.refusal });
        assert_eq!(said, "I'd rather not", "{dialect:?} {provider}: {heard:?}");
    }
}

#[tokio::test]
async fn the_form_of_an_answer_is_asked_for_in_each_providers_words() {
    let scene = Scene::start().await;
    let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
    for (dialect, provider, stream) in cells() {
        let cell = format!("{dialect:?} {provider} {stream}");
        let asked = match dialect {
            Dialect::Chat => json!({ "response_format": { "type": "json_schema",
                "json_schema": { "name": "answer", "schema": schema, "strict": true } } }),
            Dialect::Messages => {
                json!({ "output_config": { "format": { "type": "json_schema", "schema": schema } } })
            }
            Dialect::Responses => json!({ "text": { "format": { "type": "json_schema", "name": "answer",
                "schema": schema, "strict": true } } }),
        };
        scene.upstream.script(vec![Step::text("{\"a\":1}")]);
        let body = dialect.body(&format!("{provider}/scripted"), &[dialect.user("hi")], stream);
        assert_eq!(dialect.ask(&scene.acme, &with(body, asked)).await.text, "{\"a\":1}", "{cell}");
        let body = scene.last().body;
        let said = match provider {
            "compatible" => &body["response_format"]["json_schema"]["schema"],
            "responses" => &body["text"]["format"]["schema"],
            "anthropic" => &body["output_config"]["format"]["schema"],
            _ => &body["generationConfig"]["responseJsonSchema"],
        };
        assert_eq!(*said, schema, "{cell}: {body}");
    }
    let body = Dialect::Chat.body("anthropic/scripted", &[Dialect::Chat.user("hi")], false);
    let refused = scene
        .acme
        .post("/v1/chat/completions", &with(body, json!({ "response_format": { "type": "json_object" } })))
        .await;
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("response_format")));
}

#[tokio::test]
async fn what_a_provider_has_no_word_for_is_a_400_that_names_it_and_asks_nobody() {
    let scene = Scene::start().await;
    let cases = [
        (Dialect::Chat, "anthropic", json!({ "n": 2 }), "n"),
        (Dialect::Chat, "anthropic", json!({ "logprobs": true }), "logprobs"),
        (Dialect::Chat, "anthropic", json!({ "frequency_penalty": 1 }), "frequency_penalty"),
        (Dialect::Chat, "anthropic", json!({ "temperature": 1.5 }), "temperature"),
        (Dialect::Chat, "google", json!({ "logit_bias": { "7": 1 } }), "logit_bias"),
        (Dialect::Chat, "google", json!({ "parallel_tool_calls": false }), "parallel_tool_calls"),
        (Dialect::Chat, "responses", json!({ "stop": ["x"] }), "stop"),
        (Dialect::Messages, "compatible", json!({ "mcp_servers": [{}] }), "mcp_servers"),
        (
            Dialect::Messages,
            "anthropic",
            json!({ "tools": [{ "type": "web_search_20250305", "name": "w" }] }),
            "tools.0.type",
        ),
        (
            Dialect::Responses,
            "responses",
            json!({ "previous_response_id": "resp_1" }),
            "previous_response_id",
        ),
        (Dialect::Responses, "responses", json!({ "background": true }), "background"),
        (Dialect::Responses, "responses", json!({ "tools": [{ "type": "web_search" }] }), "tools[0].type"),
        (Dialect::Responses, "responses", json!({ "include": ["message.output_text.logprobs"] }), "include"),
    ];
    for (dialect, provider, fields, param) in cases {
        let body =
            with(dialect.body(&format!("{provider}/scripted"), &[dialect.user("hi")], false), fields.clone());
        let refused = scene.acme.post(dialect.path(), &body).await;
        assert_eq!(refused.status, 400, "{dialect:?} {provider} {fields}: {}", refused.text());
        let message = dialect.error(&refused.json());
        if dialect != Dialect::Messages {
            assert_eq!(refused.json()["error"]["param"], param, "{fields}: {}", refused.text());
        }
        assert!(!message.is_empty());
    }
    assert_eq!(scene.upstream.received().len(), 0);
}

#[tokio::test]
async fn m104_an_item_that_is_not_understood_is_unsupported_input() {
    let scene = Scene::start().await;
    let item = json!({ "type": "computer_call_output", "call_id": "c", "output": {} });
    let body = json!({ "model": "responses/scripted", "input": [item] });
    let refused = scene.acme.post("/v1/responses", &body).await;
    let error = refused.json()["error"].clone();
    assert_eq!((refused.status, &error["code"]), (400, &json!("unsupported_input")));
    assert_eq!(error["param"], "input[0].type");
}

#[tokio::test]
async fn an_anthropic_client_signs_in_with_its_own_header_and_one_credential_counts() {
    let scene = Scene::start().await;
    let (anonymous, token) = (scene.app.anonymous(), scene.acme.token());
    let body = Dialect::Messages.body("demo/assistant", &[Dialect::Messages.user("hi")], false);
    let post =
        || anonymous.request("POST", "/v1/messages").header("anthropic-version", "2023-06-01").json(&body);
    assert_eq!(send(post().header("x-api-key", token)).await.status, 200);
    let wrong = send(post().header("x-api-key", "ocs_acme_sk_wrong")).await;
    assert_eq!((wrong.status, &wrong.json()["error"]["type"]), (401, &json!("authentication_error")));
    let both = send(post().header("x-api-key", token).bearer_auth(token)).await;
    assert_eq!(both.status, 401, "which of two counts is not for us to guess");
    let narrow = scene.acme.with_scopes(&["chat:read"]).await;
    let denied = narrow.post("/v1/messages", &body).await;
    assert_eq!((denied.status, &denied.json()["error"]["type"]), (403, &json!("permission_error")));
}

#[tokio::test]
async fn a_client_that_keeps_nothing_but_a_calls_name_still_has_its_seal_sent_back() {
    let scene = Scene::start().await;
    for (number, provider) in ["anthropic", "responses", "google"].into_iter().enumerate() {
        let (id, seal) = (format!("toolu_{number}"), format!("seal-{number}"));
        let arguments = r#"{"city":"Oslo"}"#;
        let call = if provider == "google" {
            let (id, name) = (id.clone(), "get_weather".to_owned());
            vec![Step::SignedCall { id, name, arguments: arguments.to_owned(), seal: seal.clone() }]
        } else {
            vec![Step::thought("hm", &seal), Step::tool_call(&id, "get_weather", arguments)]
        };
        scene.upstream.script(call);
        let (dialect, model) = (Dialect::Chat, format!("{provider}/scripted"));
        let mut conversation = vec![dialect.user("weather?")];
        let tools = json!({ "tools": [dialect.tool("get_weather")] });
        dialect.ask(&scene.acme, &with(dialect.body(&model, &conversation, false), tools.clone())).await;
        let function = json!({ "name": "get_weather", "arguments": arguments });
        let bare = json!({ "id": id, "type": "function", "function": function });
        conversation.push(json!({ "role": "assistant", "content": null, "tool_calls": [bare] }));
        conversation.extend(dialect.results(&[(&id, "rain")]));
        dialect.ask(&scene.acme, &with(dialect.body(&model, &conversation, false), tools)).await;
        assert_eq!(super::seals(provider, &scene.last().body), [seal], "{provider}: {}", scene.last().body);
    }
}

#[tokio::test]
async fn tokens_are_counted_by_the_provider_that_counts_and_estimated_for_the_others() {
    let scene = Scene::start().await;
    let text = "a message of forty characters, and more.";
    for (provider, expected) in
        [("anthropic", COUNTED), ("google", COUNTED), ("compatible", 10), ("responses", 10)]
    {
        let body = json!({ "model": format!("{provider}/scripted"), "messages": [{ "role": "user", "content": text }] });
        let counted = scene.acme.post("/v1/messages/count_tokens", &body).await;
        assert_eq!(counted.status, 200, "{}", counted.text());
        assert_eq!(counted.json(), json!({ "input_tokens": expected }), "{provider}");
    }
    let asked = scene.upstream.received();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].path, "/v1/messages/count_tokens");
    assert_eq!(asked[0].body.as_object().unwrap().keys().collect::<Vec<_>>(), ["messages", "model"]);
    assert_eq!(asked[1].body["generateContentRequest"]["model"], "models/scripted");
    assert_eq!(scene.acme.uses().await.len(), 0, "counting is no use of a model");
}

#[tokio::test]
async fn m212_embeddings_come_from_providers_that_make_them_and_are_written_down() {
    let scene = Scene::start().await;
    for provider in ["compatible", "google"] {
        let body = json!({ "model": format!("{provider}/scripted"), "input": ["a", "bcd"], "dimensions": 2 });
        let answer = scene.acme.post("/v1/embeddings", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let list = answer.json();
        let vectors: Vec<_> =
            list["data"].as_array().unwrap().iter().map(|item| item["embedding"].clone()).collect();
        assert_eq!(vectors, [json!([1.0, 0.0]), json!([3.0, 1.0])], "{provider}");
        assert_eq!(list["model"], format!("{provider}/scripted"));
        let row = scene.acme.uses().await.last().unwrap().clone();
        assert_eq!((&row["provider"], &row["status"]), (&json!(provider), &json!("ok")));
        assert_eq!(row["prompt_tokens"], list["usage"]["prompt_tokens"]);
        assert!(scene.last().headers.iter().any(|(_, value)| value.to_str().unwrap().contains(UPSTREAM_KEY)));
    }
    for model in ["anthropic/scripted", "demo/assistant"] {
        let none = scene.acme.post("/v1/embeddings", &json!({ "model": model, "input": "a" })).await;
        assert_eq!(
            (none.status, &none.json()["error"]["code"]),
            (400, &json!("unsupported_operation")),
            "{model}"
        );
    }
    let empty =
        scene.acme.post("/v1/embeddings", &json!({ "model": "compatible/scripted", "input": "" })).await;
    assert_eq!((empty.status, &empty.json()["error"]["param"]), (400, &json!("input")));
}

#[tokio::test]
async fn m210_models_are_listed_whatever_dialect_their_provider_speaks() {
    let scene = Scene::start().await;
    let listed = scene.acme.get("/v1/models").await.json();
    let ids: Vec<_> =
        listed["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    for provider in super::PROVIDERS {
        assert!(ids.contains(&format!("{provider}/scripted").as_str()), "{ids:?}");
    }
    assert!(!ids.contains(&"google/painter"), "it answers no request: {ids:?}");
    let request = scene.acme.request("GET", "/v1/models").header("anthropic-version", "2023-06-01");
    let theirs = send(request).await.json();
    assert_eq!((&theirs["has_more"], &theirs["data"][0]["type"]), (&json!(false), &json!("model")));
    let listed: Vec<_> =
        theirs["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(listed, ids);
}

#[tokio::test]
async fn a_conversation_of_a_session_goes_on_in_another_dialect() {
    let scene = Scene::start().await;
    let chat = Dialect::Chat.body("compatible/scripted", &[Dialect::Chat.user("my name is Ada")], false);
    let first = send(
        scene.acme.request("POST", "/v1/chat/completions").header("x-opg-session-id", "new").json(&chat),
    )
    .await;
    let session = first.header("x-opg-session-id").to_owned();
    let body = Dialect::Messages.body("anthropic/scripted", &[Dialect::Messages.user("who am I?")], false);
    let second =
        send(scene.acme.request("POST", "/v1/messages").header("x-opg-session-id", &session).json(&body))
            .await;
    assert_eq!(second.status, 200, "{}", second.text());
    assert_eq!(second.header("x-opg-session-id"), session);
}
