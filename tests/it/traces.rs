//! Traces: what a collector is sent of a request, and that `traceparent` goes wherever the request does (row M343).

use axum::{Router, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use opg_host::traces::Collector;
use opg_tests::{
    app::{Client, TestApp, UPSTREAM_KEY, send},
    guests,
    site::Site,
    upstream::{ScriptedUpstream, Step},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
/// What nobody who collects traces may read.
const SAID: &str = "the words of the prompt";
const COLLECTORS_KEY: &str = "the-key-of-the-collector";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

type Exports = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

/// A collector of traces, which takes what it is sent.
struct TestCollector {
    exports: Exports,
    address: String,
}

impl TestCollector {
    async fn start() -> TestCollector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let exports = Exports::default();
        let take = |State(exports): State<Exports>, headers: HeaderMap, body: String| async move {
            exports.lock().unwrap().push((headers, serde_json::from_str(&body).unwrap()));
            (StatusCode::OK, "{}")
        };
        let router = Router::new().route("/v1/traces", post(take)).with_state(exports.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        TestCollector { exports, address }
    }

    fn configured(&self) -> Option<Collector> {
        let mut headers = HeaderMap::new();
        headers.insert("x-key", COLLECTORS_KEY.parse().unwrap());
        Some(Collector { url: self.address.parse().unwrap(), headers, service_name: "opg-test".to_owned() })
    }

    /// All spans so far, and once there are at least so many.
    async fn spans(&self, at_least: usize) -> Vec<Span> {
        let began = Instant::now();
        loop {
            let exports = self.exports.lock().unwrap().clone();
            let spans: Vec<_> = exports
                .iter()
                .flat_map(|(_, body)| body["resourceSpans"].as_array().unwrap().clone())
                .flat_map(|resource| resource["scopeSpans"].as_array().unwrap().clone())
                .flat_map(|scope| scope["spans"].as_array().unwrap().clone())
                .map(Span)
                .collect();
            if spans.len() >= at_least {
                return spans;
            }
            assert!(began.elapsed() < Duration::from_secs(15), "{spans:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[derive(Clone, Debug)]
struct Span(Value);

impl Span {
    fn id(&self) -> &str {
        self.0["spanId"].as_str().unwrap()
    }

    fn parent(&self) -> &str {
        self.0["parentSpanId"].as_str().unwrap_or_default()
    }

    fn attributes(&self) -> BTreeMap<String, Value> {
        let attributes = self.0["attributes"].as_array().unwrap().iter();
        let value = |value: &Value| value.as_object().unwrap().values().next().unwrap().clone();
        attributes.map(|a| (a["key"].as_str().unwrap().to_owned(), value(&a["value"]))).collect()
    }
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.0["name"] == name).collect()
}

async fn chat(client: &Client, trace: Option<&str>) -> u16 {
    let body = json!({ "model": "openai/scripted", "messages": [{ "role": "user", "content": SAID }] });
    let request = client.request("POST", "/v1/chat/completions").json(&body);
    let request = trace.into_iter().fold(request, |request, trace| request.header("traceparent", trace));
    send(request).await.status
}

/// What the upstream was told the last request belongs to.
fn told(upstream: &ScriptedUpstream) -> Option<String> {
    let headers = upstream.received().pop().unwrap().headers;
    headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn m343_a_collector_is_sent_each_span_of_a_chat_and_nothing_that_was_said() {
    let collector = TestCollector::start().await;
    let app = TestApp::with(|config| {
        TestApp::allow_local(config);
        config.collector = collector.configured();
    })
    .await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let input = json!({ "text": SAID }).to_string();
    upstream.script(vec![Step::tool_call("call-1", "word-count", &input)]);
    upstream.script(vec![Step::text(SAID)]);
    assert_eq!(chat(&acme, Some(&traceparent("01"))).await, 200);

    let all = collector.spans(1).await;
    let all = if named(&all, "POST /v1/chat/completions").is_empty() {
        collector.spans(all.len() + 1).await
    } else {
        all
    };
    let spans: Vec<Span> = all.into_iter().filter(|span| span.0["traceId"] == TRACE).collect();
    let one = |name: &str| {
        let found = named(&spans, name);
        assert_eq!(found.len(), 1, "{name}: {spans:?}");
        found[0].clone()
    };
    let (request, agent, tool) =
        (one("POST /v1/chat/completions"), one("invoke_agent default"), one("execute_tool word_count"));
    let calls = named(&spans, "chat scripted");
    assert_eq!((calls.len(), spans.len()), (2, 5), "{spans:?}");
    assert_eq!((request.parent(), agent.parent()), (CALLER, request.id()));
    assert_eq!((tool.parent(), calls[0].parent(), calls[1].parent()), (agent.id(), agent.id(), agent.id()));
    assert_eq!(
        (&request.0["kind"], &agent.0["kind"], &calls[0].0["kind"]),
        (&json!(2), &json!(1), &json!(3))
    );
    for (span, received) in calls.iter().zip(upstream.received()) {
        assert_eq!(received.headers["traceparent"], format!("00-{TRACE}-{}-01", span.id()), "as it was told");
    }
    let of = request.attributes();
    assert_eq!(
        (&of["http.route"], &of["http.response.status_code"]),
        (&json!("/v1/chat/completions"), &json!("200"))
    );
    let of = calls[1].attributes();
    for (name, value) in [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.provider.name", json!("openai")),
        ("gen_ai.request.model", json!("scripted")),
        ("gen_ai.response.model", json!("scripted")),
        ("gen_ai.response.finish_reasons", json!({ "values": [] })),
        ("gen_ai.usage.input_tokens", json!("10")),
        ("gen_ai.usage.output_tokens", json!("5")),
        ("opg.app", json!("acme")),
    ] {
        if name == "gen_ai.response.finish_reasons" {
            assert_eq!(of[name]["values"][0]["stringValue"], "stop", "{of:?}");
        } else {
            assert_eq!(of.get(name), Some(&value), "{name}: {of:?}");
        }
    }
    let ns = |name: &str| request.0[name].as_str().unwrap().parse::<u64>().unwrap();
    assert!(ns("startTimeUnixNano") <= ns("endTimeUnixNano"));

    let exports = collector.exports.lock().unwrap().clone();
    let (headers, body) = &exports[0];
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["x-key"], COLLECTORS_KEY);
    let resource = body["resourceSpans"][0]["resource"].to_string();
    assert!(resource.contains("service.name") && resource.contains("opg-test"), "{resource}");
    let text = exports.iter().map(|(_, body)| body.to_string()).collect::<String>();
    for secret in [SAID, UPSTREAM_KEY, acme.token(), "127.0.0.1", COLLECTORS_KEY] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[tokio::test]
async fn m343_failures_are_said_by_code_and_a_trace_nobody_keeps_is_not_sent() {
    let collector = TestCollector::start().await;
    let app = TestApp::with(|config| {
        TestApp::allow_local(config);
        config.collector = collector.configured();
    })
    .await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    assert_eq!(chat(&acme, Some(&traceparent("00"))).await, 200);
    let passed_on = told(&upstream).unwrap();
    assert!(passed_on.starts_with(&format!("00-{TRACE}-")) && passed_on.ends_with("-00"), "{passed_on}");
    upstream.script(vec![Step::error(503, "no words of theirs")]);
    assert_eq!(chat(&acme, None).await, 502);
    assert_eq!(app.anonymous().get("/healthz").await.status, 200);
    app.running.stop().await;
    let spans = collector.spans(1).await;
    assert!(spans.iter().all(|span| span.0["traceId"] != TRACE), "{spans:?}");
    assert!(named(&spans, "GET /healthz").is_empty(), "monitors are no trace");
    let call = named(&spans, "chat scripted").pop().unwrap();
    assert_eq!(
        (&call.0["status"]["code"], call.attributes()["error.type"].as_str()),
        (&json!(2), Some("provider_error"))
    );
    let request = named(&spans, "POST /v1/chat/completions").pop().unwrap();
    assert_eq!((call.parent(), request.parent()), (request.id(), ""), "a trace of our own");
    assert_eq!(call.0["traceId"], request.0["traceId"]);
    assert!(!format!("{spans:?}").contains("no words of theirs"));
}

#[tokio::test]
async fn m343_a_traceparent_goes_through_a_queue_a_guest_and_on_to_the_provider_and_no_further() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    assert_eq!(chat(&acme, Some(&traceparent("01"))).await, 200);
    assert_eq!(told(&upstream), Some(traceparent("01")), "who adds no span passes it on as it is");
    assert_eq!(chat(&acme, None).await, 200);
    assert_eq!(told(&upstream), None);
    for malformed in ["", "00-0-0-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "nonsense"]
    {
        assert_eq!(chat(&acme, Some(malformed)).await, 200, "{malformed}");
        assert_eq!(told(&upstream), None, "{malformed}");
    }
    let body = json!({ "model": "openai/scripted", "messages": [{ "role": "user", "content": SAID }] });
    let twice = acme.request("POST", "/v1/ai/chat").header("traceparent", traceparent("01"));
    assert_eq!(send(twice.header("traceparent", traceparent("01")).json(&body)).await.status, 200);
    assert_eq!(told(&upstream), None, "two are none");

    // A turn that waits in a session, run by an agent.
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let session = acme.post("/v1/sessions", &json!({ "model": "openai/scripted" })).await.json();
    let path = format!("/v1/sessions/{}/prompt", session["id"].as_str().unwrap());
    let prompt = json!({ "parts": [{ "type": "text", "text": SAID }] });
    let before = upstream.received().len();
    let request = acme.request("POST", &path).header("traceparent", traceparent("01")).json(&prompt);
    assert_eq!(send(request).await.status, 202);
    let began = Instant::now();
    while upstream.received().len() == before {
        assert!(began.elapsed() < Duration::from_secs(20), "the turn runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(told(&upstream), Some(traceparent("01")));

    // What a guest asks for itself is told nothing.
    let site = Site::start().await;
    acme.put_bytes("/v1/tenant/tools/exfil", "application/wasm", guests::EXFIL).await;
    acme.grant("tools", "exfil", &[("http", &site.host())]).await;
    let steps = json!({ "input": { "steps": [{ "do": "fetch", "url": site.url("/") }] } });
    let invoke =
        acme.request("POST", "/v1/tenant/tools/exfil/invoke").header("traceparent", traceparent("01"));
    assert_eq!(send(invoke.json(&steps)).await.status, 200);
    assert_eq!(site.visits().len(), 1);
    assert!(site.visits()[0].headers.get("traceparent").is_none());
}
