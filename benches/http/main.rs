//! The benchmarks over HTTP: the real binary, an embedded database, the `demo`
//! provider, clients on loopback. Prints one table.
//!
//! Absolute numbers say as much about the machine as about OPG: compare within
//! one run. `cargo bench -p opg-benches` measures the sandbox alone, as a ratio
//! to bare wasmtime.

mod load;
mod memory;

use load::{Load, measure};
use opg_tests::{app::Client, guests, process::OpgProcess};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long each row is measured, after a tenth of that to warm up.
const ROW_TIME: Duration = Duration::from_secs(4);
/// How long a host is left alone before its memory is read.
const SETTLE_TIME: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    println!("{:<44} {:>10} {:>10} {:>10}", "start and memory", "", "", "");
    let (opg, cold) = start(dir.path()).await;
    row("cold start: new data directory", &[format!("{:.2} s", cold.as_secs_f64())]);
    opg.stop().await;
    let (opg, warm) = start(dir.path()).await;
    row("warm start: same data directory", &[format!("{:.2} s", warm.as_secs_f64())]);
    tokio::time::sleep(SETTLE_TIME).await;
    row("memory when idle: host", &[memory::of(opg.pid())]);
    row("memory when idle: embedded PostgreSQL", &[memory::of_children(opg.pid())]);

    let acme = opg.tenant("acme").await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let bare = opg.tenant("bare").await;

    println!();
    println!("{:<44} {:>10} {:>10} {:>10}", "over HTTP", "req/s", "p50 ms", "p99 ms");
    for clients in [1, 16] {
        let plural = if clients == 1 { "client" } else { "clients" };
        let load = Load { clients, time: ROW_TIME };
        let health = measure(&load, || get(&acme, "/healthz")).await;
        report(&format!("GET /healthz, {clients} {plural}"), &health);
        let whoami = measure(&load, || get(&acme, "/v1/whoami")).await;
        report(&format!("GET /v1/whoami (signed in), {clients} {plural}"), &whoami);
        let invoke = measure(&load, || {
            post(&acme, "/v1/tenant/tools/word-count/invoke", json!({ "input": { "text": "a b c" } }))
        })
        .await;
        report(&format!("tool invoke, {clients} {plural}"), &invoke);
        let gateway = measure(&load, || post(&bare, "/v1/chat/completions", chat("hello", false))).await;
        report(&format!("chat, model only, {clients} {plural}"), &gateway);
        let agent = measure(&load, || post(&acme, "/v1/chat/completions", chat(CALL, false))).await;
        report(&format!("chat, agent + tool, {clients} {plural}"), &agent);
        let streamed = measure(&load, || post(&acme, "/v1/chat/completions", chat(CALL, true))).await;
        report(&format!("chat, agent + tool, streamed, {clients} {plural}"), &streamed);
    }
    row("memory after load: host", &[memory::of(opg.pid())]);
    opg.stop().await;
}

const CALL: &str = r#"call word-count {"text": "one two three"}"#;

fn chat(text: &str, stream: bool) -> serde_json::Value {
    json!({ "model": "demo/assistant", "stream": stream, "messages": [{ "role": "user", "content": text }] })
}

async fn start(dir: &std::path::Path) -> (OpgProcess, Duration) {
    let started = Instant::now();
    let opg = OpgProcess::start(dir).await;
    (opg, started.elapsed())
}

async fn get(client: &Client, path: &str) {
    let answer = client.get(path).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn post(client: &Client, path: &str, body: serde_json::Value) {
    let answer = client.post(path, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn report(name: &str, measured: &load::Measured) {
    let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
    row(name, &[format!("{:.0}", measured.per_second), ms(measured.p50), ms(measured.p99)]);
}

fn row(name: &str, cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>10}")).collect();
    println!("{name:<44} {}", cells.join(" "));
}
