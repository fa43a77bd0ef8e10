//! Models that cost something to ask, for tests of what is spent and of how much may be asked.

use crate::{
    app::{Answer, Client, TestApp, UPSTREAM_KEY},
    upstream::{ScriptedUpstream, Step},
};
use opg_host::app::Clock;
use serde_json::{Value, json};

/// Where models are asked.
pub const CHAT: &str = "/v1/chat/completions";

/// A host whose clock stands still, and a provider.
pub async fn start() -> (TestApp, ScriptedUpstream) {
    let app = TestApp::at(Clock::manual(Clock::system().now()), TestApp::allow_local).await;
    (app, ScriptedUpstream::start().await)
}

/// Makes `plat/large`, a model of the platform that apps named later may use: what a token written costs is a
/// micro-dollar, and what is given besides.
pub async fn platform_model(operator: &Client, upstream: &ScriptedUpstream, fields: Value) -> Answer {
    let source = json!({ "id": "main", "kind": "openai-compatible", "base_url": upstream.base_url(), "key": UPSTREAM_KEY });
    assert_eq!(operator.post("/platform/v1/ai/sources", &source).await.status, 201);
    let model = json!({ "id": "plat/large", "price": price(),
        "sources": [{ "source": "main", "model": "scripted" }] });
    let made = operator.post("/platform/v1/ai/models", &with(model, fields)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made
}

/// A micro-dollar for a token written, nothing for one read.
pub fn price() -> Value {
    json!({ "input_micro_usd_per_mtok": 0, "output_micro_usd_per_mtok": 1_000_000 })
}

/// A request that may cost five micro-dollars.
pub fn five(model: &str) -> Value {
    json!({ "model": model, "max_tokens": 5, "messages": [{ "role": "user", "content": "hello" }] })
}

/// A reply to it that does: ten tokens read, five written.
pub fn costs_five() -> Vec<Step> {
    vec![Step::text("hello to you"), Step::Usage { prompt_tokens: 10, completion_tokens: 5 }]
}

/// A body with more fields, or others.
pub fn with(mut body: Value, fields: Value) -> Value {
    let fields = fields.as_object().expect("fields are an object").clone();
    body.as_object_mut().expect("a body is an object").extend(fields);
    body
}
