//! Every dialect in, every provider out: each cell of the matrix.
//!
//! A cell that a provider cannot fill is a clear error, and stands here as one.

mod rules;
mod speak;

use opg_tests::{
    app::{Client, TestApp, UPSTREAM_KEY},
    guests,
    upstream::{Received, ScriptedUpstream, Step, Tokens},
};
use serde_json::{Value, json};
use speak::{DIALECTS, Dialect};
use std::time::{Duration, Instant};

/// A provider out, by its id in the app of these tests.
const PROVIDERS: [&str; 4] = ["compatible", "responses", "anthropic", "google"];
/// How long anything may take on a busy machine.
const SOON: Duration = Duration::from_secs(1);
/// A picture of one pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=";

struct Scene {
    app: TestApp,
    upstream: ScriptedUpstream,
    acme: Client,
}

impl Scene {
    async fn start() -> Scene {
        let app = TestApp::local().await;
        let upstream = ScriptedUpstream::start().await;
        let at = |url: &str| json!({ "apiKey": UPSTREAM_KEY, "baseUrl": url });
        let mut responses = at(upstream.base_url());
        responses["kind"] = json!("openai-responses");
        let acme = app
            .tenant_with(json!({ "id": "acme", "providers": {
                "compatible": at(upstream.base_url()),
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
}

/// Every cell, streamed and whole.
fn cells() -> impl Iterator<Item = (Dialect, &'static str, bool)> {
    DIALECTS.into_iter().flat_map(|dialect| {
        PROVIDERS
            .into_iter()
            .flat_map(move |provider| [false, true].map(|stream| (dialect, provider, stream)))
    })
}

#[tokio::test]
async fn text_goes_from_every_provider_to_every_dialect() {
    let scene = Scene::start().await;
    for (dialect, provider, stream) in cells() {
        let cell = format!("{dialect:?} {provider} {stream}");
        scene.upstream.script(vec![Step::text("Hel"), Step::text("lo, wörld")]);
        let body = dialect.body(&format!("{provider}/scripted"), &[dialect.user("hi")], stream);
        let heard = dialect.ask(&scene.acme, &body).await;
        assert_eq!((heard.text.as_str(), heard.finish.as_str()), ("Hello, wörld", "stop"), "{cell}");
        assert_eq!(heard.usage[..2], [10, 5], "{cell}");
        let received = scene.last();
        let path = match provider {
            "compatible" => "/v1/chat/completions",
            "responses" => "/v1/responses",
            "anthropic" => "/v1/messages",
            _ => "/v1beta/models/scripted:streamGenerateContent?alt=sse",
        };
        assert_eq!(received.path, path, "{cell}");
        let (name, key) = match provider {
            "anthropic" => ("x-api-key", UPSTREAM_KEY.to_owned()),
            "google" => ("x-goog-api-key", UPSTREAM_KEY.to_owned()),
            _ => ("authorization", format!("Bearer {UPSTREAM_KEY}")),
        };
        assert_eq!(received.headers[name], key, "{cell}");
        assert!(!received.path.contains(UPSTREAM_KEY), "a key never stands in a URL");
    }
    for dialect in DIALECTS {
        for stream in [false, true] {
            let body = dialect.body("demo/assistant", &[dialect.user("hi")], stream);
            let heard = dialect.ask(&scene.acme, &body).await;
            assert!(heard.text.contains("demo model"), "{dialect:?}: {heard:?}");
            assert!(heard.usage[0] > 0 && heard.usage[1] > 0, "{dialect:?}: {heard:?}");
        }
    }
}

#[tokio::test]
async fn a_clients_tools_come_back_to_it_and_their_results_reach_every_provider() {
    let scene = Scene::start().await;
    let models = PROVIDERS.iter().map(|provider| format!("{provider}/scripted"));
    for model in models.chain(["demo/assistant".to_owned()]) {
        for (dialect, stream) in DIALECTS.into_iter().flat_map(|d| [(d, false), (d, true)]) {
            let cell = format!("{dialect:?} {model} {stream}");
            let mut conversation = vec![dialect.user(r#"call get_weather {"city":"Oslo"}"#)];
            let mut body = dialect.body(&model, &conversation, stream);
            body["tools"] = json!([dialect.tool("get_weather")]);
            let heard = dialect.ask(&scene.acme, &body).await;
            assert_eq!(heard.finish, "tool_calls", "{cell}");
            let [call] = heard.calls.as_slice() else { panic!("{cell}: {heard:?}") };
            assert_eq!(
                (call.name.as_str(), &call.arguments),
                ("get_weather", &json!({ "city": "Oslo" })),
                "{cell}"
            );
            assert!(!call.id.is_empty(), "{cell}");

            conversation.extend(heard.native.clone());
            conversation.extend(dialect.results(&[(&call.id, "rain")]));
            let mut body = dialect.body(&model, &conversation, stream);
            body["tools"] = json!([dialect.tool("get_weather")]);
            let told = dialect.ask(&scene.acme, &body).await;
            assert!(told.text.contains("rain") && told.finish == "stop", "{cell}: {told:?}");
        }
    }
}

#[tokio::test]
async fn calls_side_by_side_keep_their_order_and_each_its_own_result() {
    let scene = Scene::start().await;
    let models = PROVIDERS.iter().map(|provider| format!("{provider}/scripted"));
    for model in models.chain(["demo/assistant".to_owned()]) {
        for (dialect, stream) in DIALECTS.into_iter().flat_map(|d| [(d, false), (d, true)]) {
            let cell = format!("{dialect:?} {model} {stream}");
            let said = "call get_weather {\"city\":\"Oslo\"}\ncall get_time {\"city\":\"Rome\"}";
            let tools = json!([dialect.tool("get_weather"), dialect.tool("get_time")]);
            let mut conversation = vec![dialect.user(said)];
            let mut body = dialect.body(&model, &conversation, stream);
            body["tools"] = tools.clone();
            let heard = dialect.ask(&scene.acme, &body).await;
            let names: Vec<_> = heard.calls.iter().map(|call| call.name.as_str()).collect();
            assert_eq!(names, ["get_weather", "get_time"], "{cell}");
            let cities: Vec<_> = heard.calls.iter().map(|call| call.arguments["city"].clone()).collect();
            assert_eq!(cities, ["Oslo", "Rome"], "{cell}");
            assert_ne!(heard.calls[0].id, heard.calls[1].id, "{cell}");

            // Answered in another order than they were made.
            conversation.extend(heard.native.clone());
            conversation
                .extend(dialect.results(&[(&heard.calls[1].id, "noon"), (&heard.calls[0].id, "rain")]));
            let mut body = dialect.body(&model, &conversation, stream);
            body["tools"] = tools;
            let told = dialect.ask(&scene.acme, &body).await;
            assert!(told.text.contains("rain") && told.text.contains("noon"), "{cell}: {told:?}");
        }
    }
    // Google counts answers by place: they stand in the order of the calls.
    let google = scene.upstream.received();
    let answers = google.iter().filter_map(|received| received.body["contents"].as_array());
    let mut seen = 0;
    for turn in answers.flatten().filter(|turn| !turn["parts"][0]["functionResponse"].is_null()) {
        let names: Vec<_> =
            turn["parts"].as_array().unwrap().iter().map(|p| p["functionResponse"]["name"].clone()).collect();
        assert_eq!(names, ["get_weather", "get_time"]);
        seen += 1;
    }
    assert_eq!(seen, 6, "three dialects, streamed and whole");
}

#[tokio::test]
async fn a_picture_reaches_every_provider_in_its_own_form_and_the_demo_says_it_is_blind() {
    let scene = Scene::start().await;
    for (dialect, provider, stream) in cells() {
        let cell = format!("{dialect:?} {provider} {stream}");
        scene.upstream.script(vec![Step::text("a pixel")]);
        let body = dialect.body(&format!("{provider}/scripted"), &[dialect.picture(PIXEL)], stream);
        assert_eq!(dialect.ask(&scene.acme, &body).await.text, "a pixel", "{cell}");
        let body = scene.last().body;
        let url = format!("data:image/png;base64,{PIXEL}");
        match provider {
            "compatible" => assert_eq!(body["messages"][0]["content"][1]["image_url"]["url"], url, "{cell}"),
            "responses" => assert_eq!(body["input"][0]["content"][1]["image_url"], url, "{cell}"),
            "anthropic" => assert_eq!(
                body["messages"][0]["content"][1],
                json!({ "type": "image",
                    "source": { "type": "base64", "media_type": "image/png", "data": PIXEL } }),
                "{cell}"
            ),
            _ => assert_eq!(
                body["contents"][0]["parts"][1],
                json!({ "inlineData": { "mimeType": "image/png", "data": PIXEL } }),
                "{cell}"
            ),
        }
    }
    for dialect in DIALECTS {
        let body = dialect.body("demo/assistant", &[dialect.picture(PIXEL)], false);
        let refused = scene.acme.post(dialect.path(), &body).await;
        assert_eq!(refused.status, 400, "{dialect:?}: {}", refused.text());
        assert!(dialect.error(&refused.json()).contains("image_url"), "{}", refused.text());
    }
}

/// Where a provider finds its seal in a request.
fn seals(provider: &str, body: &Value) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    match provider {
        "compatible" => {
            let details = list(&body["messages"]).into_iter().flat_map(|m| list(&m["reasoning_details"]));
            details.map(|detail| detail["signature"].clone()).collect()
        }
        "responses" => {
            let items = list(&body["input"]).into_iter().filter(|item| item["type"] == "reasoning");
            items.map(|item| item["encrypted_content"].clone()).collect()
        }
        "anthropic" => {
            let blocks = list(&body["messages"]).into_iter().flat_map(|message| list(&message["content"]));
            let thoughts = blocks.filter(|block| block["type"] == "thinking");
            thoughts.map(|block| block["signature"].clone()).collect()
        }
        _ => {
            let parts = list(&body["contents"]).into_iter().flat_map(|turn| list(&turn["parts"]));
            parts.filter_map(|part| part.get("thoughtSignature").cloned()).collect()
        }
    }
}

#[tokio::test]
async fn thoughts_are_heard_in_every_dialect_and_their_seals_go_back_to_whoever_made_them() {
    let scene = Scene::start().await;
    for (dialect, provider, stream) in cells() {
        let cell = format!("{dialect:?} {provider} {stream}");
        let model = format!("{provider}/scripted");
        let call = Step::tool_call("c1", "get_weather", r#"{"city":"Oslo"}"#);
        scene.upstream.script(vec![Step::thought("hm, let me see", "seal-1"), Step::text("I ask. "), call]);
        let mut conversation = vec![dialect.user("weather?")];
        let mut body = dialect.body(&model, &conversation, stream);
        body["tools"] = json!([dialect.tool("get_weather")]);
        let heard = dialect.ask(&scene.acme, &body).await;
        assert_eq!(heard.reasoning, "hm, let me see", "{cell}");
        assert_eq!(heard.text, "I ask. ", "{cell}");

        conversation.extend(heard.native.clone());
        conversation.extend(dialect.results(&[(&heard.calls[0].id, "rain")]));
        let mut body = dialect.body(&model, &conversation, stream);
        body["tools"] = json!([dialect.tool("get_weather")]);
        dialect.ask(&scene.acme, &body).await;
        assert_eq!(seals(provider, &scene.last().body), ["seal-1"], "{cell}: {}", scene.last().body);

        // Another maker's models get the words of the answer, and no seal they cannot read.
        let other = if provider == "google" { "anthropic" } else { "google" };
        let mut body = dialect.body(&format!("{other}/scripted"), &conversation, stream);
        body["tools"] = json!([dialect.tool("get_weather")]);
        dialect.ask(&scene.acme, &body).await;
        assert!(!scene.last().body.to_string().contains("seal-1"), "{cell}: {}", scene.last().body);
    }
}

#[tokio::test]
async fn googles_signature_of_a_call_goes_back_on_that_very_call_from_every_dialect() {
    let scene = Scene::start().await;
    for (dialect, stream) in DIALECTS.into_iter().flat_map(|d| [(d, false), (d, true)]) {
        let signed = Step::SignedCall {
            id: "c1".into(),
            name: "get_weather".into(),
            arguments: r#"{"city":"Oslo"}"#.into(),
            seal: "seal-of-the-first".into(),
        };
        let plain = Step::tool_call("c2", "get_weather", r#"{"city":"Rome"}"#);
        scene.upstream.script(vec![signed, plain]);
        let mut conversation = vec![dialect.user("weather?")];
        let mut body = dialect.body("google/scripted", &conversation, stream);
        body["tools"] = json!([dialect.tool("get_weather")]);
        let heard = dialect.ask(&scene.acme, &body).await;
        assert_eq!(heard.calls.len(), 2, "{dialect:?}: {heard:?}");
        conversation.extend(heard.native.clone());
        conversation.extend(dialect.results(&[(&heard.calls[0].id, "rain"), (&heard.calls[1].id, "sun")]));
        let mut body = dialect.body("google/scripted", &conversation, stream);
        body["tools"] = json!([dialect.tool("get_weather")]);
        dialect.ask(&scene.acme, &body).await;
        let turns = scene.last().body["contents"].clone();
        let parts = turns[1]["parts"].as_array().unwrap();
        assert_eq!(parts.len(), 2, "{dialect:?}: {turns}");
        assert_eq!(parts[0]["thoughtSignature"], "seal-of-the-first", "{dialect:?}: {turns}");
        assert_eq!(parts[1].get("thoughtSignature"), None, "none is invented: {turns}");
        assert_eq!(turns[2]["parts"].as_array().unwrap().len(), 2, "as many answers as calls: {turns}");
    }
}

#[tokio::test]
async fn redacted_thinking_goes_round_unread() {
    let scene = Scene::start().await;
    for (dialect, stream) in DIALECTS.into_iter().flat_map(|d| [(d, false), (d, true)]) {
        scene.upstream.script(vec![
            Step::thought("first", "seal-1"),
            Step::Redacted("nobody-reads-this".into()),
            Step::text("done"),
        ]);
        let mut conversation = vec![dialect.user("think")];
        let heard =
            dialect.ask(&scene.acme, &dialect.body("anthropic/scripted", &conversation, stream)).await;
        assert_eq!((heard.reasoning.as_str(), heard.text.as_str()), ("first", "done"), "{dialect:?}");
        conversation.extend(heard.native);
        conversation.push(dialect.user("and?"));
        dialect.ask(&scene.acme, &dialect.body("anthropic/scripted", &conversation, stream)).await;
        let content = scene.last().body["messages"][1]["content"].clone();
        assert_eq!(
            content,
            json!([
                { "type": "thinking", "thinking": "first", "signature": "seal-1" },
                { "type": "redacted_thinking", "data": "nobody-reads-this" },
                { "type": "text", "text": "done" },
            ]),
            "{dialect:?}: unmodified, in order, before everything else"
        );
    }
}

#[tokio::test]
async fn an_error_of_a_provider_has_the_same_status_in_every_dialect_and_the_dialects_shape() {
    let scene = Scene::start().await;
    let leak = format!("bad thing at {} with {UPSTREAM_KEY}", scene.upstream.base_url());
    for (dialect, provider, stream) in cells() {
        let body = dialect.body(&format!("{provider}/scripted"), &[dialect.user("hi")], stream);
        for (theirs, ours) in [(400, 400), (401, 502), (404, 404), (429, 429), (503, 502), (529, 502)] {
            let cell = format!("{dialect:?} {provider} {stream} {theirs}");
            let retry_after = (theirs == 429).then(|| "7".to_owned());
            scene.upstream.script(vec![Step::Error { status: theirs, message: leak.clone(), retry_after }]);
            let answer = scene.acme.post(dialect.path(), &body).await;
            assert_eq!(answer.status, ours, "{cell}: {}", answer.text());
            dialect.error(&answer.json());
            assert!(!answer.text().contains(UPSTREAM_KEY) && !answer.text().contains("127.0.0.1"), "{cell}");
            assert_eq!(answer.header("retry-after"), if theirs == 429 { "7" } else { "" }, "{cell}");
            assert!(!answer.header("x-request-id").is_empty(), "{cell}");
        }
    }
    for dialect in DIALECTS {
        let failed =
            scene.acme.post(dialect.path(), &dialect.body("demo/error", &[dialect.user("hi")], true)).await;
        assert_eq!(failed.status, 502, "{dialect:?}: {}", failed.text());
        dialect.error(&failed.json());
        let unknown =
            scene.acme.post(dialect.path(), &dialect.body("demo/nobody", &[dialect.user("hi")], false)).await;
        assert_eq!(unknown.status, 404, "{dialect:?}: {}", unknown.text());
    }
}

#[tokio::test]
async fn an_error_after_the_first_word_ends_the_stream_as_an_error_in_every_dialect() {
    let scene = Scene::start().await;
    let ends = [Step::error(429, "slow down"), Step::Reset, Step::MalformedFrame, Step::HugeFrame, Step::End];
    for (dialect, provider, stream) in cells() {
        for end in &ends {
            let cell = format!("{dialect:?} {provider} {stream} {end:?}");
            scene.upstream.script(vec![Step::text("O"), end.clone()]);
            let body = dialect.body(&format!("{provider}/scripted"), &[dialect.user("hi")], stream);
            let answer = scene.acme.post(dialect.path(), &body).await;
            if !stream {
                assert!([429, 502].contains(&answer.status), "{cell}: {} {}", answer.status, answer.text());
                dialect.error(&answer.json());
                continue;
            }
            assert_eq!(answer.status, 200, "{cell}");
            let frames = answer.frames();
            assert!(answer.text().contains("\"O\""), "{cell}: what was said before arrives");
            assert!(frames.iter().all(|frame| *frame != json!("[DONE]")), "{cell}: not a success");
            let last = frames.last().unwrap();
            match dialect {
                Dialect::Chat | Dialect::Messages => drop(dialect.error(last)),
                Dialect::Responses => {
                    let error = &frames[frames.len() - 2];
                    assert_eq!(
                        (&error["type"], &last["type"]),
                        (&json!("error"), &json!("response.failed")),
                        "{cell}"
                    );
                    dialect.error(error);
                    assert!(last["response"]["error"]["code"].is_string(), "{cell}: {last}");
                }
            }
        }
    }
    for (dialect, provider, stream) in cells() {
        scene.upstream.script(vec![Step::WrongContentType]);
        let body = dialect.body(&format!("{provider}/scripted"), &[dialect.user("hi")], stream);
        assert_eq!(scene.acme.post(dialect.path(), &body).await.status, 502, "{dialect:?} {provider}");
    }
}

#[tokio::test]
async fn whoever_hangs_up_hangs_up_on_the_provider_before_the_first_token_and_after_it() {
    let scene = Scene::start().await;
    for (dialect, provider, stream) in cells() {
        for script in [vec![Step::Stall], vec![Step::text("one two three "), Step::Stall]] {
            for path in [Some(dialect.path()), dialect.raw_path()].into_iter().flatten() {
                let body = dialect.body(&format!("{provider}/scripted"), &[dialect.user("hi")], stream);
                opg_tests::hang_up::expect_notice_at_once(&scene.upstream, &scene.acme, path, &body, &script)
                    .await;
            }
        }
    }
    let canceled = scene.acme.uses().await.iter().filter(|row| row["status"] == "canceled").count();
    assert!(canceled > 0, "what was used is written down");
    for dialect in DIALECTS {
        let before = scene.acme.uses().await.len();
        let body = dialect.body("demo/slow", &[dialect.user("hi")], true);
        let mut answer = scene.acme.request("POST", dialect.path()).json(&body).send().await.unwrap();
        answer.chunk().await.unwrap().expect("a first piece");
        drop(answer);
        let since = Instant::now();
        while scene.acme.uses().await.len() == before {
            assert!(since.elapsed() < SOON, "{dialect:?}: nothing was written down");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(scene.acme.uses().await.last().unwrap()["status"], "canceled", "{dialect:?}");
    }
    assert_eq!(scene.app.running.app.in_flight.total(), 0);
}

#[tokio::test]
async fn usage_says_what_was_cached_and_thought_in_every_dialect_and_in_the_ledger() {
    let scene = Scene::start().await;
    let used = Tokens { prompt: 100, completion: 30, cached: 60, written_to_cache: 10, thought: 12 };
    for (dialect, provider, stream) in cells() {
        let cell = format!("{dialect:?} {provider} {stream}");
        scene.upstream.script(vec![Step::text("a"), Step::DetailedUsage(used)]);
        let body = dialect.body(&format!("{provider}/scripted"), &[dialect.user("hi")], stream);
        let heard = dialect.ask(&scene.acme, &body).await;
        let written = if provider == "google" { 0 } else { 10 };
        assert_eq!(heard.usage, [100, 30, 60, written, 12], "{cell}");
        let row = scene.acme.uses().await.last().unwrap().clone();
        assert_eq!((&row["prompt_tokens"], &row["completion_tokens"]), (&json!(100), &json!(30)), "{cell}");
        assert_eq!(row["provider"], provider, "{cell}");
    }
}

#[tokio::test]
async fn m014_m015_an_agent_answers_every_dialect_and_its_tools_stay_inside() {
    let scene = Scene::start().await;
    scene.acme.install_tool("word-count", guests::WORD_COUNT).await;
    for (dialect, provider, stream) in cells() {
        let cell = format!("{dialect:?} {provider} {stream}");
        let model = format!("{provider}/scripted");
        // The app's own tool runs inside; what was thought before it goes back to the provider.
        let call = Step::tool_call("c1", "word-count", r#"{"text":"a b"}"#);
        scene.upstream.script(vec![Step::thought("I count", "seal-1"), call]);
        let mut body = dialect.body(&model, &[dialect.user("how many words?")], stream);
        body["tools"] = json!([dialect.tool("get_weather")]);
        let heard = dialect.ask(&scene.acme, &body).await;
        assert_eq!((heard.calls.len(), heard.finish.as_str()), (0, "stop"), "{cell}: {heard:?}");
        assert!(heard.text.contains("\"words\":2"), "{cell}: {heard:?}");
        assert_eq!(heard.reasoning, "I count", "{cell}");
        if provider == "compatible" {
            // Its messages are the agent's, whose thoughts stay with the call, which nobody else reads.
            assert!(!scene.last().body.to_string().contains("\"opg\""), "{cell}: {}", scene.last().body);
        } else {
            assert_eq!(seals(provider, &scene.last().body), ["seal-1"], "{cell}: {}", scene.last().body);
        }

        // A tool of the client comes back, with the seal of what led to it.
        let call = Step::tool_call("c2", "get_weather", r#"{"city":"Oslo"}"#);
        scene.upstream.script(vec![Step::thought("I ask", "seal-2"), call]);
        let mut conversation = vec![dialect.user("weather?")];
        let mut body = dialect.body(&model, &conversation, stream);
        body["tools"] = json!([dialect.tool("get_weather")]);
        let heard = dialect.ask(&scene.acme, &body).await;
        assert_eq!((heard.calls.len(), heard.finish.as_str()), (1, "tool_calls"), "{cell}: {heard:?}");
        conversation.extend(heard.native.clone());
        conversation.extend(dialect.results(&[(&heard.calls[0].id, "rain")]));
        let mut body = dialect.body(&model, &conversation, stream);
        body["tools"] = json!([dialect.tool("get_weather")]);
        let told = dialect.ask(&scene.acme, &body).await;
        assert!(told.text.contains("rain"), "{cell}: {told:?}");
        assert_eq!(seals(provider, &scene.last().body), ["seal-2"], "{cell}: {}", scene.last().body);
    }
}
