//! `/v1/ai`: models by themselves, and what they do besides text.

mod as_tasks;
mod models;
mod pictures;
mod sounds;
mod text;
mod units;

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

    async fn draw_later(&self, more: Value) -> Answer {
        let body = with(json!({ "model": "openai/painter", "prompt": "a cat" }), more);
        send(self.acme.request("POST", "/v1/ai/image").header("prefer", "respond-async").json(&body)).await
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
