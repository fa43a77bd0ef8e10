//! Rules of single dialects that the matrix does not show.

use super::{Scene, cells};
use crate::dialects::speak::{DIALECTS, Dialect};
use opg_host::models::openai::chunks::KEEP_ALIVE_AFTER_MS;
use opg_tests::{
    app::{UPSTREAM_KEY, send},
    spans,
    upstream::{COUNTED, Step},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

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
        (Dialect::Responses, "responses", json!({ "n": 2 }), "n"),
        (Dialect::Chat, "responses", json!({ "n": 2 }), "n"),
        (Dialect::Chat, "google", json!({ "n": 2 }), "n"),
        (Dialect::Chat, "demo", json!({ "n": 2 }), "n"),
        (Dialect::Chat, "google", json!({ "logprobs": true, "top_logprobs": 2 }), "logprobs"),
        (Dialect::Chat, "demo", json!({ "logprobs": true }), "logprobs"),
        (Dialect::Responses, "anthropic", json!({ "include": ["message.output_text.logprobs"] }), "logprobs"),
    ];
    for (dialect, provider, fields, param) in cases {
        let model = if provider == "demo" { "demo/assistant".into() } else { format!("{provider}/scripted") };
        let body = with(dialect.body(&model, &[dialect.user("hi")], false), fields.clone());
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

/// A chunk of OpenAI's chat dialect, as OpenAI sends it.
fn chunk(choices: Value) -> String {
    let chunk = json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
        "choices": choices });
    format!("data: {chunk}\n\n")
}

fn choice(index: u32, delta: Value, finish: Option<&str>) -> Value {
    json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish })
}

#[tokio::test]
async fn several_answers_are_each_whole_and_never_fewer_than_were_asked_for() {
    let scene = Scene::start().await;
    let call = |arguments: &str, id: Option<&str>| {
        let mut call = json!({ "index": 0, "function": { "arguments": arguments } });
        if let Some(id) = id {
            call["id"] = json!(id);
            call["type"] = json!("function");
            call["function"]["name"] = json!("add");
        }
        json!({ "tool_calls": [call] })
    };
    let usage = json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
        "choices": [], "usage": { "prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 19 } });
    let frames = [
        chunk(json!([choice(1, json!({ "role": "assistant", "content": "" }), None)])),
        chunk(json!([
            choice(0, json!({ "content": "Hel" }), None),
            choice(1, json!({ "content": "Good " }), None)
        ])),
        chunk(json!([choice(1, json!({ "content": "day" }), None)])),
        chunk(json!([choice(2, call("", Some("c1")), None)])),
        chunk(json!([choice(0, json!({ "content": "lo" }), None)])),
        chunk(json!([choice(1, json!({}), Some("length"))])),
        chunk(json!([choice(2, call("{}", None), None)])),
        chunk(json!([choice(0, json!({}), Some("stop"))])),
        chunk(json!([choice(2, json!({}), Some("tool_calls"))])),
        format!("data: {usage}\n\ndata: [DONE]\n\n"),
    ];
    let tools = json!([Dialect::Chat.tool("add")]);
    for stream in [false, true] {
        scene.upstream.script(vec![Step::Raw(frames.concat()), Step::End]);
        let body = Dialect::Chat.body("compatible/scripted", &[Dialect::Chat.user("hi")], stream);
        let answer =
            scene.acme.post("/v1/chat/completions", &with(body, json!({ "n": 3, "tools": tools }))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(scene.last().body["n"], 3);
        let told: Vec<(String, String, String)> = if stream {
            let frames = answer.frames();
            let of = |index: u64| {
                let own =
                    frames.iter().flat_map(|frame| frame["choices"].as_array().cloned().unwrap_or_default());
                let own: Vec<Value> = own.filter(|choice| choice["index"] == index).collect();
                assert_eq!(own[0]["delta"], json!({ "role": "assistant" }), "{own:?}");
                let ends: Vec<_> = own.iter().filter(|choice| !choice["finish_reason"].is_null()).collect();
                assert_eq!((ends.len(), ends[0]), (1, own.last().unwrap()), "once, and last: {own:?}");
                let text = |path: &str| {
                    own.iter().filter_map(|choice| choice.pointer(path)?.as_str()).collect::<String>()
                };
                (
                    text("/delta/content"),
                    text("/delta/tool_calls/0/function/arguments"),
                    text("/finish_reason"),
                )
            };
            let usages: Vec<_> = frames.iter().filter(|frame| frame["usage"].is_object()).collect();
            assert_eq!((usages.len(), &usages[0]["usage"]["total_tokens"]), (1, &json!(19)), "{frames:?}");
            assert_eq!(frames.last(), Some(&json!("[DONE]")));
            (0..3).map(of).collect()
        } else {
            let choices = answer.json()["choices"].as_array().unwrap().clone();
            let numbers: Vec<_> = choices.iter().map(|choice| choice["index"].clone()).collect();
            assert_eq!(numbers, [0, 1, 2]);
            let text = |choice: &Value, path: &str| {
                choice.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let of = |choice: &Value| {
                (
                    text(choice, "/message/content"),
                    text(choice, "/message/tool_calls/0/function/arguments"),
                    text(choice, "/finish_reason"),
                )
            };
            choices.iter().map(of).collect()
        };
        let expected = [("Hello", "", "stop"), ("Good day", "", "length"), ("", "{}", "tool_calls")];
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(told, expected, "{stream}");
        assert_eq!(scene.acme.uses().await.last().unwrap()["completion_tokens"], 9);

        // A provider that takes no notice of `n`.
        let body = Dialect::Chat.body("compatible/scripted", &[Dialect::Chat.user("hi")], stream);
        let fewer = scene.acme.post("/v1/chat/completions", &with(body, json!({ "n": 2 }))).await;
        assert!(
            fewer.text().contains("fewer answers") && !fewer.text().contains("[DONE]"),
            "{}",
            fewer.text()
        );
        // One that sends more than it was asked for.
        scene.upstream.script(vec![Step::Raw(frames.concat()), Step::End]);
        let body = Dialect::Chat.body("compatible/scripted", &[Dialect::Chat.user("hi")], stream);
        assert_eq!(Dialect::Chat.ask(&scene.acme, &body).await.text, "Hello");
    }
    for (more, param) in [(json!({ "session_id": "new" }), "n"), (json!({ "agent": "default" }), "n")] {
        let body = Dialect::Chat.body("compatible/scripted", &[Dialect::Chat.user("hi")], false);
        let refused =
            scene.acme.post("/v1/chat/completions", &with(with(body, json!({ "n": 2 })), more)).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]["param"]),
            (400, &json!(param)),
            "{}",
            refused.text()
        );
    }
}

#[tokio::test]
async fn log_probabilities_go_from_either_dialect_of_openai_to_either() {
    let scene = Scene::start().await;
    let token = |token: &str, logprob: f64| {
        let top = json!([{ "token": token, "logprob": logprob, "bytes": token.as_bytes() }]);
        json!({ "token": token, "logprob": logprob, "bytes": token.as_bytes(), "top_logprobs": top })
    };
    let tokens = [token("Hel", -0.25), token("lo", -0.5)];
    let piece = |text: &str, token: &Value| {
        let mut choice = choice(0, json!({ "content": text }), None);
        choice["logprobs"] = json!({ "content": [token], "refusal": null });
        chunk(json!([choice]))
    };
    let of_chat = [
        piece("Hel", &tokens[0]),
        piece("lo", &tokens[1]),
        chunk(json!([choice(0, json!({}), Some("stop"))])),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    let event = |value: Value| format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap());
    let delta = |text: &str, token: &Value| {
        event(
            json!({ "type": "response.output_text.delta", "output_index": 0, "content_index": 0, "item_id": "m",
            "delta": text, "logprobs": [token] }),
        )
    };
    let part = json!({ "type": "output_text", "text": "Hello", "annotations": [], "logprobs": tokens });
    let item = json!({ "type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part] });
    let of_responses = [
        delta("Hel", &tokens[0]),
        delta("lo", &tokens[1]),
        event(json!({ "type": "response.output_item.done", "output_index": 0, "item": item })),
        event(
            json!({ "type": "response.completed", "response": { "object": "response", "status": "completed",
            "output": [item], "usage": { "input_tokens": 10, "output_tokens": 2 } } }),
        ),
    ]
    .concat();
    for (provider, frames) in [("compatible", &of_chat), ("responses", &of_responses)] {
        for (dialect, stream) in
            [Dialect::Chat, Dialect::Responses].into_iter().flat_map(|d| [(d, false), (d, true)])
        {
            let cell = format!("{dialect:?} {provider} {stream}");
            scene.upstream.script(vec![Step::Raw(frames.clone()), Step::End]);
            let body = dialect.body(&format!("{provider}/scripted"), &[dialect.user("hi")], stream);
            let asked = match dialect {
                Dialect::Chat => json!({ "logprobs": true, "top_logprobs": 1 }),
                _ => json!({ "include": ["message.output_text.logprobs"], "top_logprobs": 1 }),
            };
            let answer = scene.acme.post(dialect.path(), &with(body, asked)).await;
            assert_eq!(answer.status, 200, "{cell}: {}", answer.text());
            assert_eq!(dialect.read(&answer).text, "Hello", "{cell}");
            let told: Vec<Value> = match (dialect, stream) {
                (Dialect::Chat, false) => {
                    answer.json()["choices"][0]["logprobs"]["content"].as_array().unwrap().clone()
                }
                (Dialect::Chat, true) => {
                    let with_words = answer.frames().into_iter().filter(|frame| {
                        let choice = &frame["choices"][0];
                        assert_eq!(
                            choice["delta"]["content"].is_string(),
                            choice["logprobs"].is_object(),
                            "{frame}"
                        );
                        choice["logprobs"].is_object()
                    });
                    with_words.map(|frame| frame["choices"][0]["logprobs"]["content"][0].clone()).collect()
                }
                (_, false) => {
                    answer.json()["output"][0]["content"][0]["logprobs"].as_array().unwrap().clone()
                }
                (_, true) => {
                    let frames = answer.frames();
                    let last =
                        frames[frames.len() - 2]["response"]["output"][0]["content"][0]["logprobs"].clone();
                    assert_eq!(last, json!(tokens), "{cell}: the whole says it again");
                    let deltas = frames.iter().filter(|frame| frame["type"] == "response.output_text.delta");
                    deltas.map(|frame| frame["logprobs"][0].clone()).collect()
                }
            };
            assert_eq!(told, tokens, "{cell}");
            let sent = scene.last().body;
            assert_eq!(sent["top_logprobs"], 1, "{cell}");
            if provider == "compatible" {
                assert_eq!(sent["logprobs"], true, "{cell}");
            } else {
                assert!(
                    sent["include"].to_string().contains("message.output_text.logprobs"),
                    "{cell}: {sent}"
                );
            }
            // Nobody asked: nobody is told, whatever the provider sends.
            scene.upstream.script(vec![Step::Raw(frames.clone()), Step::End]);
            let body = dialect.body(&format!("{provider}/scripted"), &[dialect.user("hi")], stream);
            let plain = scene.acme.post(dialect.path(), &body).await;
            assert!(!plain.text().contains("-0.25"), "{cell}: {}", plain.text());
        }
    }
}

#[tokio::test]
async fn a_turn_that_anthropic_paused_goes_on_and_is_one_answer() {
    let scene = Scene::start().await;
    let event = |value: Value| format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap());
    let block = |index: u64, block: Value, delta: Value| {
        [
            event(json!({ "type": "content_block_start", "index": index, "content_block": block })),
            event(json!({ "type": "content_block_delta", "index": index, "delta": delta })),
            event(json!({ "type": "content_block_stop", "index": index })),
        ]
        .concat()
    };
    let paused = [
        block(0, json!({ "type": "text", "text": "" }), json!({ "type": "text_delta", "text": "I look. " })),
        block(
            1,
            json!({ "type": "mcp_tool_use", "id": "m1", "name": "find", "server_name": "s", "input": {} }),
            json!({ "type": "input_json_delta", "partial_json": "{\"q\":1}" }),
        ),
        event(json!({ "type": "message_delta", "delta": { "stop_reason": "pause_turn" }, "usage": { "output_tokens": 7 } })),
        event(json!({ "type": "message_stop" })),
    ]
    .concat();
    for (dialect, stream) in DIALECTS.into_iter().flat_map(|d| [(d, false), (d, true)]) {
        let before = scene.upstream.received().len();
        scene.upstream.script(vec![Step::Raw(paused.clone()), Step::End]);
        scene.upstream.script(vec![Step::text("Found.")]);
        let mut body = dialect.body("anthropic/scripted", &[dialect.user("find")], stream);
        let limit = if dialect == Dialect::Responses { "max_output_tokens" } else { "max_tokens" };
        body[limit] = json!(100);
        let heard = dialect.ask(&scene.acme, &body).await;
        assert_eq!(
            (heard.text.as_str(), heard.finish.as_str()),
            ("I look. Found.", "stop"),
            "{dialect:?} {stream}"
        );
        assert_eq!(heard.usage[..2], [20, 12], "both requests cost: {heard:?}");
        let asked = scene.upstream.received();
        assert_eq!(asked.len(), before + 2);
        assert_eq!(asked[before + 1].body["max_tokens"], 93);
        assert_eq!(
            asked[before + 1].body["messages"][1],
            json!({ "role": "assistant", "content": [
                { "type": "text", "text": "I look. " },
                { "type": "mcp_tool_use", "id": "m1", "name": "find", "server_name": "s", "input": { "q": 1 } },
            ] }),
            "as it came"
        );
        assert_eq!(scene.acme.uses().await.last().unwrap()["completion_tokens"], 12);
    }
    for _ in 0..9 {
        scene.upstream.script(vec![Step::Raw(paused.clone()), Step::End]);
    }
    let body = Dialect::Chat.body("anthropic/scripted", &[Dialect::Chat.user("find")], false);
    let endless = scene.acme.post("/v1/chat/completions", &body).await;
    assert_eq!(endless.status, 502, "{}", endless.text());
}

#[tokio::test]
async fn a_stream_that_is_silent_is_kept_alive_and_not_before_its_time() {
    let scene = Scene::start().await;
    let silence = Duration::from_millis(KEEP_ALIVE_AFTER_MS);
    let mut waiting = Vec::new();
    for dialect in DIALECTS {
        scene.upstream.script(vec![Step::text("wait"), Step::Stall]);
        let body = dialect.body("compatible/scripted", &[dialect.user("hi")], true);
        let mut answer = scene.acme.request("POST", dialect.path()).json(&body).send().await.unwrap();
        waiting.push(tokio::spawn(async move {
            let (mut said, mut spoken) = (String::new(), Instant::now());
            while !(said.contains(": keep-alive") || said.contains("event: ping")) {
                spoken = Instant::now();
                let piece =
                    tokio::time::timeout(silence * 2, answer.chunk()).await.expect("it is kept alive");
                said += std::str::from_utf8(&piece.unwrap().expect("it goes on")).unwrap();
            }
            assert!(said.contains("wait"), "{said}");
            (dialect, spoken.elapsed(), said)
        }));
    }
    for waited in waiting {
        let (dialect, waited, said) = waited.await.unwrap();
        // Reading it takes a moment, so that it seems to come a little before its time.
        assert!(waited > silence - Duration::from_secs(1), "{dialect:?} after {waited:?}: {said}");
        let alive = if dialect == Dialect::Messages { "event: ping\n" } else { ": keep-alive\n\n" };
        assert_eq!(said.matches(alive).count(), 1, "{dialect:?}: {said}");
    }
}

#[tokio::test]
async fn every_call_of_a_model_is_a_span_that_says_what_it_was_and_nothing_that_was_said() {
    let scene = Scene::start().await;
    let secret = "what-nobody-may-read";
    for (provider, name) in
        [("compatible", "compatible"), ("anthropic", "anthropic"), ("google", "gcp.gemini")]
    {
        scene.upstream.script(vec![Step::text(secret)]);
        let body = Dialect::Chat.body(&format!("{provider}/scripted"), &[Dialect::Chat.user(secret)], false);
        let more = json!({ "temperature": 0.5, "max_tokens": 100 });
        let answer = scene.acme.post("/v1/chat/completions", &with(body, more)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let call = spans::model_calls().last().expect("it ended").clone();
        let expected = json!({
            "otel.name": "chat scripted", "otel.kind": "client",
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": name, "gen_ai.request.model": "scripted",
            "gen_ai.request.temperature": 0.5, "gen_ai.request.max_tokens": 100,
            "gen_ai.response.model": call["gen_ai.response.model"], "gen_ai.response.finish_reasons": "stop",
            "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5,
        });
        assert_eq!(call, expected, "{provider}");
        let answered = call["gen_ai.response.model"].as_str();
        assert!(provider == "google" || answered == Some("scripted"), "{call}");
    }
    scene.upstream.script(vec![Step::error(503, "down")]);
    let body = Dialect::Chat.body("compatible/scripted", &[Dialect::Chat.user(secret)], false);
    assert_eq!(scene.acme.post("/v1/chat/completions", &body).await.status, 502);
    assert_eq!(spans::model_calls().last().unwrap()["error.type"], "provider_error");
    let embedded =
        scene.acme.post("/v1/embeddings", &json!({ "model": "compatible/scripted", "input": secret })).await;
    assert_eq!(embedded.status, 200);
    let all = spans::model_calls();
    assert_eq!((all.len(), &all[4]["gen_ai.operation.name"]), (5, &json!("embeddings")));
    let told = json!(all).to_string();
    assert!(!told.contains(secret) && !told.contains(UPSTREAM_KEY) && !told.contains("127.0.0.1"), "{told}");
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
