//! `/v1/chat/completions`: who answers, in what shape, and what goes wrong how.

use opg_tests::{
    app::{Answer, Client, TestApp, UPSTREAM_KEY, logs},
    guests,
    site::Site,
    upstream::{ScriptedUpstream, Step},
};
use serde_json::{Map, Value, json};

const CHAT: &str = "/v1/chat/completions";

async fn start() -> (TestApp, ScriptedUpstream, Client) {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    (app, upstream, acme)
}

fn body(text: &str) -> Value {
    json!({ "model": "openai/scripted", "messages": [{ "role": "user", "content": text }] })
}

fn with(mut body: Value, fields: Value) -> Value {
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn weather() -> Value {
    json!({ "type": "function", "function": {
        "name": "get_weather",
        "description": "Get current weather",
        "parameters": { "type": "object", "properties": { "city": { "type": "string" } } },
    }})
}

/// What a client puts together from a stream: the message, the finish reason and the usage.
fn put_together(frames: &[Value]) -> (Value, Value, Value) {
    let (mut content, mut reasoning, mut calls) = (String::new(), String::new(), Vec::<Value>::new());
    let (mut finish, mut usage) = (Value::Null, Value::Null);
    for frame in frames {
        if frame["usage"].is_object() {
            usage = frame["usage"].clone();
        }
        let Some(choice) = frame["choices"].get(0) else { continue };
        let delta = &choice["delta"];
        content.push_str(delta["content"].as_str().unwrap_or_default());
        reasoning.push_str(delta["reasoning_content"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().expect("every delta of a call has its index") as usize;
            if index == calls.len() {
                assert!(call["id"].is_string() && call["type"] == "function", "{call}");
                calls.push(json!({ "id": call["id"], "type": "function",
                    "function": { "name": call["function"]["name"], "arguments": "" } }));
            }
            let arguments = calls[index]["function"]["arguments"].as_str().unwrap().to_owned();
            let more = call["function"]["arguments"].as_str().expect("arguments are text");
            calls[index]["function"]["arguments"] = json!(arguments + more);
        }
        if !choice["finish_reason"].is_null() {
            assert!(finish.is_null(), "one finish reason");
            finish = choice["finish_reason"].clone();
            assert_eq!(*delta, json!({}), "it comes alone");
        }
    }
    let mut message = Map::from_iter([("role".to_owned(), json!("assistant"))]);
    message.insert(
        "content".into(),
        if content.is_empty() && !calls.is_empty() { Value::Null } else { json!(content) },
    );
    if !reasoning.is_empty() {
        message.insert("reasoning_content".into(), json!(reasoning));
    }
    message.insert("tool_calls".into(), if calls.is_empty() { Value::Null } else { json!(calls) });
    (Value::Object(message), finish, usage)
}

fn error(answer: &Answer) -> Value {
    let error = answer.json()["error"].clone();
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    assert!(error["type"].is_string() && error["code"].is_string(), "{error}");
    error
}

#[tokio::test]
async fn m014_the_gateway_answers_where_there_is_no_tool_and_the_agent_where_there_is() {
    let (_app, upstream, acme) = start().await;
    let kinds = async |acme: &Client| {
        let mut kinds: Vec<_> = acme.uses().await.iter().map(|row| row["kind"].clone()).collect();
        kinds.dedup();
        kinds
    };
    acme.post(CHAT, &body("hi")).await;
    assert_eq!(kinds(&acme).await, ["tokens"], "the model, as it is");
    assert!(upstream.received()[0].body.get("tools").is_none());
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    acme.post(CHAT, &body("hi")).await;
    assert_eq!(kinds(&acme).await, ["tokens", "agent"]);
    assert_eq!(upstream.received()[1].body["tools"][0]["function"]["name"], "word-count");
    acme.post("/acme/v1/chat/completions", &body("hi")).await;
    assert_eq!(upstream.received().len(), 3, "the same under the app's own path");
}

#[tokio::test]
async fn m205_m206_a_streamed_answer_says_what_the_whole_one_says() {
    let (_app, upstream, acme) = start().await;
    let scripts = [
        vec![
            Step::text("Hel"),
            Step::text("lo, wörld"),
            Step::Usage { prompt_tokens: 7, completion_tokens: 3 },
        ],
        vec![Step::Reasoning("hm, ".into()), Step::Reasoning("yes".into()), Step::text("42")],
        vec![
            Step::text("let me see"),
            Step::tool_call("call_a", "get_weather", r#"{"city":"Oslo"}"#),
            Step::tool_call("call_b", "get_weather", ""),
        ],
        vec![Step::text("too lo"), Step::Finish("length".into())],
        vec![Step::text("I'd rather"), Step::Finish("content_filter".into())],
    ];
    for with_agent in [false, true] {
        if with_agent {
            acme.install_tool("word-count", guests::WORD_COUNT).await;
        }
        for script in &scripts {
            let request = with(body("x"), json!({ "tools": [weather()] }));
            upstream.script(script.clone());
            let whole = acme.post(CHAT, &request).await;
            assert_eq!(whole.status, 200, "{}", whole.text());
            let completion = whole.json();
            assert_eq!(
                (&completion["object"], &completion["model"]),
                (&json!("chat.completion"), &json!("openai/scripted"))
            );
            assert!(
                completion["id"].as_str().unwrap().starts_with("chatcmpl-") && completion["created"].is_i64()
            );

            upstream.script(script.clone());
            let stream = json!({ "stream": true, "stream_options": { "include_usage": true } });
            let streamed = acme.post(CHAT, &with(request, stream)).await;
            assert!(streamed.header("content-type").starts_with("text/event-stream"));
            let frames = streamed.frames();
            let (message, finish, usage) = put_together(&frames);
            let choice = &completion["choices"][0];
            assert_eq!(
                (&message, &finish, &usage),
                (&choice["message"], &choice["finish_reason"], &completion["usage"]),
                "agent: {with_agent}, {script:?}"
            );

            let (done, chunks) = frames.split_last().unwrap();
            assert_eq!(done, "[DONE]");
            let (last, chunks) = chunks.split_last().unwrap();
            assert_eq!(last["choices"], json!([]), "usage comes last, without a choice");
            assert_eq!(chunks[0]["choices"][0]["delta"], json!({ "role": "assistant" }));
            for chunk in chunks {
                assert_eq!(chunk["object"], "chat.completion.chunk");
                assert_eq!((&chunk["id"], &chunk["created"]), (&chunks[0]["id"], &chunks[0]["created"]));
                assert!(chunk["usage"].is_null() && chunk["choices"][0]["index"] == 0, "{chunk}");
                assert!(chunk["choices"][0].get("finish_reason").is_some(), "{chunk}");
            }
        }
    }
}

#[tokio::test]
async fn m110_usage_is_always_asked_for_upstream_and_passed_on_only_where_it_was_wanted() {
    let (_app, upstream, acme) = start().await;
    upstream.script(vec![Step::text("a"), Step::Usage { prompt_tokens: 11, completion_tokens: 2 }]);
    let plain = acme.post(CHAT, &with(body("x"), json!({ "stream": true }))).await;
    assert_eq!(upstream.received()[0].body["stream_options"]["include_usage"], true);
    assert!(plain.frames().iter().all(|frame| frame.get("usage").is_none()), "{}", plain.text());
    let row = &acme.uses().await[0];
    assert_eq!((&row["prompt_tokens"], &row["completion_tokens"]), (&json!(11), &json!(2)));
}

#[tokio::test]
async fn m015_m208_a_clients_tools_come_back_to_it_and_their_results_are_taken() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let request = with(body(r#"call get_weather {"city": "Oslo"}"#), json!({ "tools": [weather()] }));
    let called = acme.post(CHAT, &request).await.json();
    let choice = &called["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("get_weather")));
    assert_eq!(call["function"]["arguments"], r#"{"city": "Oslo"}"#);

    let mut messages = request["messages"].as_array().unwrap().clone();
    messages.push(choice["message"].clone());
    messages.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": "rain" }));
    let follow_up = with(request.clone(), json!({ "messages": messages }));
    let told = acme.post(CHAT, &follow_up).await;
    assert_eq!(told.content(), "The tools said: rain", "{}", told.text());
    assert_eq!(upstream.received().len(), 2);

    // Both kinds at once: the client's alone come back, the app's never show.
    upstream.script(vec![
        Step::tool_call("c1", "word-count", r#"{"text":"a"}"#),
        Step::tool_call("c2", "get_weather", "{}"),
    ]);
    let mixed = acme.post(CHAT, &request).await.json();
    let calls = mixed["choices"][0]["message"]["tool_calls"].as_array().unwrap();
    assert_eq!((calls.len(), &calls[0]["id"]), (1, &json!("c2")), "{mixed}");
    let inside = acme.post(CHAT, &body(r#"call word-count {"text": "a b"}"#)).await.json();
    assert_eq!(inside["choices"][0]["finish_reason"], "stop");
    assert!(inside["choices"][0]["message"].get("tool_calls").is_none_or(Value::is_null), "{inside}");
}

#[tokio::test]
async fn m015_a_clients_tool_named_like_one_of_the_apps_is_refused() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let mut tool = weather();
    tool["function"]["name"] = json!("word-count");
    let refused = acme.post(CHAT, &with(body("x"), json!({ "tools": [tool] }))).await;
    assert_eq!((refused.status, &error(&refused)["code"]), (400, &json!("tool_name_conflict")));
    assert_eq!(error(&refused)["param"], "tools");
    assert_eq!(upstream.received().len(), 0);
}

#[tokio::test]
async fn m207_a_choice_of_tools_reaches_the_model_and_forces_only_once() {
    let (_app, upstream, acme) = start().await;
    let function = json!({ "type": "function", "function": { "name": "get_weather" } });
    for choice in [json!("none"), json!("auto"), json!("required"), function] {
        acme.post(CHAT, &with(body("x"), json!({ "tools": [weather()], "tool_choice": choice }))).await;
        assert_eq!(upstream.received().last().unwrap().body["tool_choice"], choice);
    }
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let server = json!({ "type": "function", "function": { "name": "word-count" } });
    let before = upstream.received().len();
    let forced = with(body(r#"call word-count {"text": "a"}"#), json!({ "tool_choice": server }));
    let answer = acme.post(CHAT, &forced).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = upstream.received();
    assert_eq!(received[before].body["tool_choice"], server, "one of the app's own may be named");
    assert!(received[before + 1].body.get("tool_choice").is_none(), "else the model could never answer");
}

#[tokio::test]
async fn m204_every_bad_field_is_a_400_that_names_it_and_costs_nothing() {
    let (_app, upstream, acme) = start().await;
    let message = |message: Value| json!({ "messages": [message] });
    let tool = |function: Value| json!({ "tools": [{ "type": "function", "function": function }] });
    let cases = [
        (json!({ "messages": [] }), "messages"),
        (json!({ "messages": "hi" }), "messages"),
        (json!({ "messages": null }), "messages"),
        (message(json!({ "role": "wizard", "content": "x" })), "messages[0].role"),
        (message(json!({ "content": "x" })), "messages[0].role"),
        (message(json!({ "role": "user" })), "messages[0].content"),
        (message(json!({ "role": "user", "content": 7 })), "messages[0].content"),
        (message(json!({ "role": "user", "content": [{ "type": "video" }] })), "messages[0].content[0].type"),
        (message(json!({ "role": "tool", "tool_call_id": "c", "content": "x" })), "messages[0].tool_call_id"),
        (message(json!({ "role": "tool", "content": "x" })), "messages[0].tool_call_id"),
        (message(json!({ "role": "user", "content": "x", "tool_calls": [] })), "messages[0].tool_calls"),
        (json!({ "model": "" }), "model"),
        (json!({ "model": 7 }), "model"),
        (json!({ "model": "openai/" }), "model"),
        (json!({ "model": "a b/c" }), "model"),
        (json!({ "stream": "yes" }), "stream"),
        (json!({ "temperature": 2.1 }), "temperature"),
        (json!({ "temperature": "hot" }), "temperature"),
        (json!({ "top_p": -0.1 }), "top_p"),
        (json!({ "max_tokens": 0 }), "max_tokens"),
        (json!({ "max_tokens": 1.5 }), "max_tokens"),
        (json!({ "max_completion_tokens": -1 }), "max_completion_tokens"),
        (json!({ "presence_penalty": 3 }), "presence_penalty"),
        (json!({ "stop": ["a", "b", "c", "d", "e"] }), "stop"),
        (json!({ "n": 9 }), "n"),
        (json!({ "logprobs": "yes" }), "logprobs"),
        (json!({ "top_logprobs": 2 }), "top_logprobs"),
        (json!({ "functions": [] }), "functions"),
        (json!({ "tools": {} }), "tools"),
        (tool(json!({ "name": "no spaces", "parameters": { "type": "object" } })), "tools[0].function.name"),
        (tool(json!({ "name": "x", "parameters": { "type": "array" } })), "tools[0].function.parameters"),
        (json!({ "tool_choice": "sometimes" }), "tool_choice"),
        (json!({ "tool_choice": "required" }), "tool_choice"),
        (json!({ "tool_choice": { "type": "function", "function": { "name": "nope" } } }), "tool_choice"),
        (json!({ "agent": 7 }), "agent"),
        (json!({ "session_id": 7 }), "session_id"),
    ];
    for (fields, param) in cases {
        let answer = acme.post(CHAT, &with(body("x"), fields.clone())).await;
        assert_eq!(answer.status, 400, "{fields}: {}", answer.text());
        let named = error(&answer)["param"].as_str().unwrap_or_default().to_owned();
        assert!(named == param || named.starts_with(&format!("{param}.")), "{fields}: {}", answer.text());
        assert_eq!(error(&answer)["type"], "invalid_request_error", "{fields}");
    }
    let broken = acme.request("POST", CHAT).header("content-type", "application/json").body("{\"model\":");
    assert_eq!(opg_tests::app::send(broken).await.status, 400);
    let text = acme.request("POST", CHAT).header("content-type", "text/plain").body("{}");
    assert_eq!(opg_tests::app::send(text).await.status, 415);
    for value in [json!([]), json!("x"), json!(null)] {
        assert_eq!(acme.post(CHAT, &value).await.status, 400, "{value}");
    }
    assert_eq!(upstream.received().len(), 0);
    assert_eq!(acme.uses().await, Vec::<Value>::new());
}

#[tokio::test]
async fn m209_a_provider_that_is_not_configured_is_400_and_an_unknown_model_404() {
    let (app, upstream, acme) = start().await;
    let ask = async |model: &str| acme.post(CHAT, &with(body("x"), json!({ "model": model }))).await;
    let absent = ask("anthropic/claude-sonnet").await;
    assert_eq!((absent.status, &error(&absent)["code"]), (400, &json!("provider_not_configured")));
    assert!(error(&absent)["message"].as_str().unwrap().contains("anthropic"));
    for model in ["demo/nothing", "nothing"] {
        let unknown = ask(model).await;
        assert_eq!((unknown.status, &error(&unknown)["code"]), (404, &json!("model_not_found")), "{model}");
        assert_eq!(error(&unknown)["param"], "model");
    }
    assert_eq!((upstream.received().len(), acme.uses().await.len()), (0, 0));

    let bare = app.tenant("bare").await;
    let mut modelless = body("x");
    modelless.as_object_mut().unwrap().remove("model");
    let none = bare.post(CHAT, &modelless).await;
    assert_eq!((none.status, &error(&none)["code"]), (400, &json!("missing_model")));
    let standing_in = acme.post(CHAT, &modelless).await;
    assert_eq!(standing_in.json()["model"], "openai/scripted", "the app's default model stands in");
}

#[tokio::test]
async fn m013_a_bare_model_name_is_taken_where_it_is_the_only_one_of_its_name() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let provider = json!({ "apiKey": "key-123456", "baseUrl": upstream.base_url() });
    let one = app.tenant_with(json!({ "id": "one", "providers": { "first": provider } })).await;
    let two =
        app.tenant_with(json!({ "id": "two", "providers": { "first": provider, "second": provider } })).await;
    let bare = with(body("x"), json!({ "model": "scripted-large" }));
    let answer = one.post(CHAT, &bare).await;
    assert_eq!(answer.json()["model"], "first/scripted-large", "{}", answer.text());
    assert_eq!(upstream.received()[0].body["model"], "scripted-large");
    let ambiguous = two.post(CHAT, &bare).await;
    assert_eq!((ambiguous.status, &error(&ambiguous)["code"]), (400, &json!("model_ambiguous")));
    assert!(
        ambiguous.text().contains("first/scripted-large")
            && ambiguous.text().contains("second/scripted-large")
    );
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn m109_what_an_upstream_says_becomes_a_status_a_client_can_act_on_and_no_secret_shows() {
    let (_app, upstream, acme) = start().await;
    let leak = format!("bad key {UPSTREAM_KEY} at {}", upstream.base_url());
    let cases = [
        (400, 400, "false", ""),
        (404, 404, "false", ""),
        (422, 422, "false", ""),
        (401, 502, "false", ""),
        (402, 502, "false", ""),
        (403, 502, "false", ""),
        (408, 504, "", ""),
        (429, 429, "", "7"),
        (500, 502, "", ""),
        (503, 502, "", ""),
        (504, 504, "", ""),
    ];
    for with_agent in [false, true] {
        if with_agent {
            acme.install_tool("word-count", guests::WORD_COUNT).await;
        }
        for (theirs, ours, should_retry, retry_after) in cases {
            for stream in [false, true] {
                let retry = (theirs == 429).then(|| "7".to_owned());
                upstream.script(vec![Step::Error {
                    status: theirs,
                    message: leak.clone(),
                    retry_after: retry,
                }]);
                let answer = acme.post(CHAT, &with(body("x"), json!({ "stream": stream }))).await;
                let case = format!("agent {with_agent}, {theirs}: {}", answer.text());
                assert_eq!(answer.status, ours, "{case}");
                assert_eq!(
                    (answer.header("x-should-retry"), answer.header("retry-after")),
                    (should_retry, retry_after),
                    "{case}"
                );
                assert!(!answer.header("x-request-id").is_empty(), "{case}");
                error(&answer);
                assert!(
                    !answer.text().contains(UPSTREAM_KEY) && !answer.text().contains("127.0.0.1"),
                    "{case}"
                );
            }
        }
    }
    let statuses: Vec<_> = acme.uses().await.iter().map(|row| row["status"].clone()).collect();
    assert!(!statuses.is_empty() && statuses.iter().all(|status| status == "failed"), "{statuses:?}");
    assert!(!logs().contains(UPSTREAM_KEY));
    assert!(upstream.received()[0].headers["authorization"].to_str().unwrap().ends_with(UPSTREAM_KEY));
}

#[tokio::test]
async fn m206_an_error_after_the_first_word_comes_in_the_stream_and_is_not_followed_by_done() {
    let (_app, upstream, acme) = start().await;
    for with_agent in [false, true] {
        if with_agent {
            acme.install_tool("word-count", guests::WORD_COUNT).await;
        }
        for end in [Step::error(429, "slow down"), Step::Reset, Step::MalformedFrame, Step::End] {
            upstream.script(vec![Step::text("Once"), end.clone()]);
            let answer = acme.post(CHAT, &with(body("x"), json!({ "stream": true }))).await;
            assert_eq!(answer.status, 200, "{end:?}");
            let frames = answer.frames();
            assert_eq!(frames[1]["choices"][0]["delta"]["content"], "Once", "{end:?}: {frames:?}");
            let last = frames.last().unwrap();
            assert!(
                last["error"]["message"].is_string() && last["error"]["code"].is_string(),
                "{end:?}: {frames:?}"
            );
            assert!(frames.iter().all(|frame| frame != "[DONE]"));

            upstream.script(vec![Step::text("Once"), end.clone()]);
            let whole = acme.post(CHAT, &body("x")).await;
            assert!(whole.status == 502 || whole.status == 429, "{end:?}: {}", whole.text());
            error(&whole);
        }
    }
    let rows = acme.uses().await;
    let tokens: Vec<_> = rows.iter().filter(|row| row["kind"] == "tokens").collect();
    assert_eq!(tokens.len(), 16);
    for row in tokens {
        assert_eq!(row["status"], "failed");
        assert!(row["completion_tokens"].as_u64().unwrap() > 0, "what was seen is charged: {row}");
    }
}

#[tokio::test]
async fn m221_calls_a_model_makes_at_once_run_side_by_side_and_are_answered_in_order() {
    let (_app, upstream, acme) = start().await;
    let site = Site::start().await;
    acme.put_bytes("/v1/tenant/tools/slow", "application/wasm", guests::SLOW).await;
    acme.grant("tools", "slow", &[("http", &site.host())]).await;
    let input = json!({ "url": site.url("/meet/3"), "timeout_ms": 5000 }).to_string();
    upstream.script((0..3).map(|n| Step::tool_call(&format!("c{n}"), "slow", &input)).collect());
    let answer = acme.post(CHAT, &body("x")).await;
    assert_eq!(
        answer.content(),
        "The tools said: 200; 200; 200",
        "none waited for another: {}",
        answer.text()
    );
    let messages = upstream.received()[1].body["messages"].clone();
    let answered: Vec<_> =
        messages.as_array().unwrap().iter().filter_map(|m| m["tool_call_id"].as_str()).collect();
    assert_eq!(answered, ["c0", "c1", "c2"]);
}

#[tokio::test]
async fn m204_a_tool_that_fails_is_told_to_the_model_and_the_turn_goes_on() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("trap", guests::TRAP).await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let lines = "call trap {}\ncall word-count {\"text\": 7}\ncall word-count {\"text\": \"a b\"}\ncall word-count [1]";
    let answer = acme.post(CHAT, &body(lines)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let said = answer.content();
    let parts: Vec<_> = said.trim_start_matches("The tools said: ").split("; ").collect();
    assert!(parts[0].starts_with("Error") && parts[0].contains("crashed"), "{parts:?}");
    assert!(parts[1].starts_with("Error") && parts[1].contains("/text"), "{parts:?}");
    assert!(parts[2].contains(r#""words":2"#), "{parts:?}");
    assert!(parts[3].starts_with("Error") && parts[3].contains("JSON object"), "{parts:?}");

    upstream.script(vec![Step::tool_call("c1", "no_such_tool", "{}")]);
    let unknown = acme.post(CHAT, &body("x")).await;
    assert!(unknown.content().contains("there is no tool `no_such_tool`"), "{}", unknown.text());
}

#[tokio::test]
async fn m204_fields_nobody_here_knows_reach_the_upstream_and_our_own_do_not() {
    let (_app, upstream, acme) = start().await;
    acme.install_agent("echo", guests::AGENT_ECHO).await;
    let extra = json!({
        "seed": 7, "user": "u1", "response_format": { "type": "json_object" }, "x_vendor": { "deep": [1, null] },
        "metadata": { "k": "v" }, "frequency_penalty": 0.5, "stop": ["END"], "max_tokens": 50,
    });
    let ours = json!({ "agent": "default", "session_id": "new" });
    for fields in [json!({}), ours] {
        let answer = acme.post(CHAT, &with(with(body("x"), extra.clone()), fields)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let received = upstream.received().last().unwrap().body.clone();
        for (name, value) in extra.as_object().unwrap() {
            if name == "max_tokens" && received.get("max_completion_tokens").is_some() {
                continue;
            }
            assert_eq!(received[name], *value, "{name}: {received}");
        }
        assert!(received.get("agent").is_none() && received.get("session_id").is_none(), "{received}");
    }
}

#[tokio::test]
async fn what_a_provider_hides_in_a_call_goes_back_to_it_unread_and_out_to_the_client() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let signature = json!({ "google": { "thought_signature": "c2lnbmVk" } });
    let signed = |name: &str| {
        let call = json!({ "index": 0, "id": "c1", "type": "function", "extra_content": signature,
            "function": { "name": name, "arguments": "{\"text\":\"a\"}" } });
        let chunk = json!({ "id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{ "index": 0, "delta": { "tool_calls": [call] }, "finish_reason": null }] });
        vec![Step::Raw(format!("data: {chunk}\n\n")), Step::Finish("tool_calls".into())]
    };
    upstream.script(signed("word-count"));
    let answer = acme.post(CHAT, &body("x")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let second = upstream.received()[1].body["messages"].clone();
    assert_eq!(second[1]["tool_calls"][0]["extra_content"], signature, "{second}");

    upstream.script(signed("get_weather"));
    let called = acme.post(CHAT, &with(body("x"), json!({ "tools": [weather()] }))).await.json();
    assert_eq!(called["choices"][0]["message"]["tool_calls"][0]["extra_content"], signature, "{called}");
}

#[tokio::test]
async fn m204_usage_of_a_turn_is_every_model_call_of_it() {
    let (_app, upstream, acme) = start().await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    upstream.script(vec![
        Step::tool_call("c1", "word-count", r#"{"text":"a"}"#),
        Step::Usage { prompt_tokens: 100, completion_tokens: 20 },
    ]);
    upstream.script(vec![Step::text("one"), Step::Usage { prompt_tokens: 130, completion_tokens: 4 }]);
    let answer = acme.post(CHAT, &body("x")).await.json();
    assert_eq!(answer["usage"]["prompt_tokens"], 230);
    assert_eq!(answer["usage"]["total_tokens"], 254);
    let rows = acme.uses().await;
    let tokens: Vec<_> =
        rows.iter().filter(|row| row["kind"] == "tokens").map(|row| row["prompt_tokens"].clone()).collect();
    assert_eq!(tokens, [100, 130]);
    let ids: Vec<_> = rows.iter().map(|row| row["request_id"].clone()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "one request, one id: {ids:?}");
}
