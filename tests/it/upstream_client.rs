//! The client for OpenAI-compatible providers, against a provider that misbehaves.

use futures_util::StreamExt;
use opg_host::models::upstream::Timeouts;
use opg_host::models::{ChatRequest, EventStream, Provider, Upstream, UpstreamError};
use opg_tests::upstream::{ScriptedUpstream, Step};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const KEY: &str = "sk-test-0123456789";

/// Enough for a busy machine, short enough for a test.
const PATIENCE: Duration = Duration::from_secs(10);

fn provider(base_url: &str, timeouts: Timeouts) -> Provider {
    provider_with(base_url, timeouts, http_client(None))
}

fn http_client(resolver: Option<Arc<FlakyResolver>>) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default(); // another test may have been first
    #[expect(clippy::disallowed_methods, reason = "the upstream of this test is on a private address")]
    let builder = reqwest::Client::builder().no_proxy();
    let builder = resolver.into_iter().fold(builder, reqwest::ClientBuilder::dns_resolver);
    builder.build().expect("a client without TLS options")
}

fn provider_with(base_url: &str, timeouts: Timeouts, http: reqwest::Client) -> Provider {
    let base_url = base_url.parse().expect("a base URL");
    Provider::Upstream(Upstream::new(base_url, KEY.into(), http).with_timeouts(timeouts))
}

/// Finds 127.0.0.1, but not the first times.
#[derive(Debug)]
struct FlakyResolver {
    failures: usize,
    asked: AtomicUsize,
}

impl Resolve for FlakyResolver {
    fn resolve(&self, _: Name) -> Resolving {
        let fails = self.asked.fetch_add(1, Ordering::SeqCst) < self.failures;
        Box::pin(async move {
            if fails {
                return Err("no such host".into());
            }
            let found: Addrs = Box::new(std::iter::once(([127, 0, 0, 1], 0).into()));
            Ok(found)
        })
    }
}

fn patient() -> Timeouts {
    Timeouts { head: PATIENCE, idle: PATIENCE, total: PATIENCE, after_finish: PATIENCE }
}

fn request(extra: Value) -> ChatRequest {
    let mut body = json!({ "model": "up/scripted", "messages": [{ "role": "user", "content": "hello" }] });
    let extra = extra.as_object().expect("a test adds fields").clone();
    body.as_object_mut().expect("the body is an object").extend(extra);
    ChatRequest::from_value(body).expect("a good request")
}

async fn ask(upstream: &ScriptedUpstream, timeouts: Timeouts) -> Result<EventStream, UpstreamError> {
    provider(upstream.base_url(), timeouts).stream("scripted", &request(json!({}))).await
}

/// The events of a reply, or the error instead of one, a line each.
async fn told(reply: Result<EventStream, UpstreamError>) -> String {
    let line = |error: UpstreamError| {
        let wait = error.retry_after.map(|wait| format!(" after {wait} s")).unwrap_or_default();
        format!("{} {}{wait}: {error}", error.status, error.code)
    };
    match reply {
        Err(error) => format!("refused {}", line(error)),
        Ok(events) => {
            let lines = events.map(|item| item.map_or_else(line, |event| event.to_guest_json()));
            lines.collect::<Vec<_>>().await.join("\n")
        }
    }
}

/// What a script looks like from our side.
async fn played(steps: Vec<Step>) -> String {
    let upstream = ScriptedUpstream::start().await;
    upstream.script(steps);
    told(ask(&upstream, patient()).await).await
}

#[tokio::test]
async fn a_reply_arrives_with_text_reasoning_calls_and_usage() {
    let steps = vec![
        Step::Comment,
        Step::Reasoning("hm".into()),
        Step::text("Let me see"),
        Step::tool_call("c1", "add", "{\"a\":1}"),
        Step::tool_call("c2", "now", ""),
        Step::Usage { prompt_tokens: 3, completion_tokens: 4 },
    ];
    insta::assert_snapshot!(played(steps.clone()).await, @r##"
    {"text":"hm","type":"reasoning"}
    {"text":"Let me see","type":"text"}
    {"arguments":"{\"a","id":"c1","index":0,"name":"add","type":"tool_call"}
    {"arguments":"\":1}","index":0,"type":"tool_call"}
    {"arguments":"","id":"c2","index":1,"name":"now","type":"tool_call"}
    {"arguments":"{}","index":1,"type":"tool_call"}
    {"reason":"tool_calls","type":"finish"}
    {"cached_tokens":0,"completion_tokens":4,"estimated":false,"prompt_tokens":3,"reasoning_tokens":0,"type":"usage"}
    "##);
    let buffered = [vec![Step::Buffered], steps].concat();
    insta::assert_snapshot!(played(buffered).await, @r##"
    {"text":"hm","type":"reasoning"}
    {"text":"Let me see","type":"text"}
    {"arguments":"{\"a\":1}","id":"c1","index":0,"name":"add","type":"tool_call"}
    {"arguments":"","id":"c2","index":1,"name":"now","type":"tool_call"}
    {"arguments":"{}","index":1,"type":"tool_call"}
    {"reason":"tool_calls","type":"finish"}
    {"cached_tokens":0,"completion_tokens":4,"estimated":false,"prompt_tokens":3,"reasoning_tokens":0,"type":"usage"}
    "##);
}

#[tokio::test]
async fn the_provider_gets_its_key_its_model_and_a_streamed_request_with_usage() {
    let upstream = ScriptedUpstream::start().await;
    let extra = json!({ "seed": 7, "agent": "a", "session_id": "s", "max_tokens": 5 });
    let reply = provider(upstream.base_url(), patient()).stream("scripted", &request(extra)).await;
    assert!(told(reply).await.contains("hello"));
    let received =
        upstream.wait_until(|received| received.first().is_some_and(|first| first.completed)).await;
    assert_eq!(received[0].headers["authorization"], format!("Bearer {KEY}"));
    insta::assert_snapshot!(received[0].body, @r#"{"max_tokens":5,"messages":[{"content":"hello","role":"user"}],"model":"scripted","seed":7,"stream":true,"stream_options":{"include_usage":true}}"#);
}

#[tokio::test]
async fn a_conversation_with_tools_goes_round() {
    let upstream = ScriptedUpstream::start().await;
    let provider = provider(upstream.base_url(), patient());
    let tools = json!([{ "type": "function", "function": { "name": "add" } }]);
    let first = json!({ "role": "user", "content": "call add {\"a\":1}" });
    let asked = request(json!({ "messages": [first], "tools": tools }));
    let mut events = provider.stream("scripted", &asked).await.unwrap();
    let mut builder = opg_host::models::openai::chunks::CompletionBuilder::default();
    while let Some(event) = events.next().await {
        builder.push(&event.unwrap());
    }
    let call = builder.message();
    let answer = opg_host::models::Message::tool_result(&call.tool_calls[0].id, "2");
    let messages = json!([first, call, answer]);
    let reply = provider.stream("scripted", &request(json!({ "messages": messages, "tools": tools }))).await;
    assert!(told(reply).await.contains("The tools said: 2"));
}

#[tokio::test]
async fn a_refusal_keeps_what_the_caller_can_fix_and_masks_the_rest() {
    let leak = format!("bad thing at http://127.0.0.1:1/v1/chat with {KEY}");
    let mut lines = Vec::new();
    for status in [400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 503, 529] {
        lines.push(played(vec![Step::error(status, &leak)]).await);
    }
    let retry_after = Some("7".to_owned());
    lines.push(played(vec![Step::Error { status: 429, message: leak.clone(), retry_after }]).await);
    let all = lines.join("\n");
    assert!(!all.contains(KEY) && !all.contains("127.0.0.1"), "{all}");
    insta::assert_snapshot!(all, @r##"
    refused 400 scripted_error: bad thing at [removed] with [removed]
    refused 502 provider_credentials: The model provider refused this app's credentials. Ask an owner of the app to check the key.
    refused 502 provider_credentials: The model provider refused this app's credentials. Ask an owner of the app to check the key.
    refused 502 provider_credentials: The model provider refused this app's credentials. Ask an owner of the app to check the key.
    refused 404 scripted_error: bad thing at [removed] with [removed]
    refused 504 provider_timeout: The model provider took too long.
    refused 413 scripted_error: bad thing at [removed] with [removed]
    refused 422 scripted_error: bad thing at [removed] with [removed]
    refused 429 rate_limit_exceeded after 5 s: The model provider limits the rate of requests. Retry later.
    refused 502 provider_error: The model provider failed. Retry later.
    refused 502 provider_error: The model provider failed. Retry later.
    refused 502 provider_error: The model provider failed. Retry later.
    refused 429 rate_limit_exceeded after 7 s: The model provider limits the rate of requests. Retry later.
    "##);
}

#[tokio::test]
async fn an_error_before_the_first_word_is_a_refusal_and_later_it_ends_the_stream() {
    let role_only = Step::Raw(": nothing yet\n\n".into());
    insta::assert_snapshot!(played(vec![role_only, Step::error(429, "slow down")]).await, @"refused 429 rate_limit_exceeded after 5 s: The model provider limits the rate of requests. Retry later.");
    insta::assert_snapshot!(played(vec![Step::text("Hel"), Step::error(400, "too long")]).await, @r##"
    {"text":"Hel","type":"text"}
    400 scripted_error: too long
    "##);
}

#[tokio::test]
async fn a_broken_reply_is_an_error_and_never_a_short_answer() {
    let cases = [
        vec![Step::text("Hel"), Step::Reset],
        vec![Step::text("Hel"), Step::End],
        vec![Step::text("Hel"), Step::MalformedFrame],
        vec![Step::text("Hel"), Step::HugeFrame],
        vec![Step::Raw("\n".into()), Step::Reset],
        vec![Step::WrongContentType],
    ];
    let mut lines = Vec::new();
    for steps in cases {
        lines.push(played(steps).await);
    }
    insta::assert_snapshot!(lines.join("\n---\n"), @r##"
    {"text":"Hel","type":"text"}
    502 provider_bad_reply: The model provider's reply could not be read to its end: the connection broke.
    ---
    {"text":"Hel","type":"text"}
    502 provider_bad_reply: The model provider's reply could not be read to its end: it ended before it was finished.
    ---
    {"text":"Hel","type":"text"}
    502 provider_bad_reply: The model provider's reply could not be read to its end: a frame is not valid JSON.
    ---
    {"text":"Hel","type":"text"}
    502 provider_bad_reply: The model provider's reply could not be read to its end: a frame is too large.
    ---
    refused 502 provider_bad_reply: The model provider's reply could not be read to its end: the connection broke.
    ---
    refused 502 provider_bad_reply: The model provider's reply could not be read to its end: it is a web page.
    "##);
}

#[tokio::test]
async fn silence_is_a_timeout_at_each_stage() {
    let short = Duration::from_millis(150);
    let stages = [
        (vec![Step::Stall], Timeouts { head: short, ..patient() }),
        (vec![Step::text("Hel"), Step::Stall], Timeouts { idle: short, ..patient() }),
        (vec![Step::Comment, Step::Stall], Timeouts { idle: short, ..patient() }),
        (vec![Step::text("Hel"), Step::Stall], Timeouts { total: short, ..patient() }),
    ];
    let mut lines = Vec::new();
    for (steps, timeouts) in stages {
        let upstream = ScriptedUpstream::start().await;
        upstream.script(steps);
        lines.push(told(ask(&upstream, timeouts).await).await);
    }
    insta::assert_snapshot!(lines.join("\n---\n"), @r##"
    refused 504 provider_timeout: The model provider took too long.
    ---
    {"text":"Hel","type":"text"}
    504 provider_timeout: The model provider took too long.
    ---
    refused 504 provider_timeout: The model provider took too long.
    ---
    {"text":"Hel","type":"text"}
    504 provider_timeout: The model provider took too long.
    "##);
}

#[tokio::test]
async fn a_provider_that_hangs_after_its_finish_has_still_answered() {
    let upstream = ScriptedUpstream::start().await;
    let finish = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    upstream.script(vec![Step::text("Hello"), Step::Raw(finish.into()), Step::Stall]);
    let start = Instant::now();
    let reply = ask(&upstream, Timeouts { after_finish: Duration::from_millis(100), ..patient() }).await;
    let told = told(reply).await;
    assert!(told.contains("\"reason\":\"stop\"") && !told.contains("provider_"), "{told}");
    assert!(start.elapsed() < PATIENCE);
}

#[tokio::test]
async fn who_hangs_up_before_the_first_byte_hangs_up_on_the_provider() {
    let upstream = ScriptedUpstream::start().await;
    upstream.script(vec![Step::Stall]);
    let asking = ask(&upstream, patient());
    let gone = tokio::time::timeout(Duration::from_millis(300), asking).await;
    assert!(gone.is_err(), "the upstream says nothing");
    let received = upstream.wait_until(|received| received.first().is_some_and(|first| first.hung_up)).await;
    assert!(!received[0].completed);
}

#[tokio::test]
async fn who_hangs_up_in_the_middle_hangs_up_on_the_provider() {
    let upstream = ScriptedUpstream::start().await;
    upstream.script(vec![Step::text("twelve chars"), Step::Stall]);
    let mut events = ask(&upstream, patient()).await.unwrap();
    events.next().await.expect("a first event").unwrap();
    let usage = events.usage_so_far();
    assert_eq!((usage.completion_tokens, usage.estimated), (3, true));
    assert!(!upstream.received()[0].hung_up);
    drop(events);
    upstream.wait_until(|received| received[0].hung_up).await;
}

#[tokio::test]
async fn nobody_at_the_address_is_an_error_without_the_address() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let base_url = format!("http://127.0.0.1:{port}/v1");
    let reply = provider(&base_url, patient()).stream("scripted", &request(json!({}))).await;
    insta::assert_snapshot!(told(reply).await, @"refused 502 provider_unreachable: The model provider could not be reached.");
}

#[tokio::test]
async fn a_connection_that_fails_is_tried_once_more_and_an_answer_never_is() {
    let upstream = ScriptedUpstream::start().await;
    let named = upstream.base_url().replace("127.0.0.1", "flaky.test");
    let mut outcomes = Vec::new();
    for failures in [1, 2] {
        let resolver = Arc::new(FlakyResolver { failures, asked: AtomicUsize::new(0) });
        let provider = provider_with(&named, patient(), http_client(Some(Arc::clone(&resolver))));
        let succeeded = provider.stream("scripted", &request(json!({}))).await.is_ok();
        outcomes.push((succeeded, resolver.asked.load(Ordering::SeqCst)));
    }
    assert_eq!(outcomes, [(true, 2), (false, 2)]);

    upstream.script(vec![Step::error(503, "down")]);
    let before = upstream.received().len();
    assert!(ask(&upstream, patient()).await.is_err());
    assert_eq!(upstream.received().len(), before + 1);
}
