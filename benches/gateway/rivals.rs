//! Other gateways, each where it is installed. Where one is not, how to install it is printed.

use crate::way::Way;
use opg_tests::upstream::ScriptedUpstream;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::Command;

/// LiteLLM takes a quarter of a minute to load.
const START_TIME_MAX: Duration = Duration::from_secs(90);

/// With the newest `@hono/node-server` that it allows (1.19) it answers every stream with a 500: it adds headers to an
/// answer whose headers that one takes over as they came, immutable. With this one it does not.
const PORTKEY: &str = "@portkey-ai/gateway@1.15.2";
const NODE_SERVER: &str = r#"{ "overrides": { "@hono/node-server": "1.13.8" } }"#;
/// The last whose proxy is on PyPI as a whole.
const LITELLM: &str = "litellm[proxy]==1.99.4";
const ONWARDS: &str = "1.2.0";

/// Starts those that are installed.
pub(crate) async fn start(upstream: &ScriptedUpstream, dir: &Path) -> Vec<Way> {
    let at = installed_in();
    let root = upstream.base_url().trim_end_matches("/v1/").to_owned();
    let mut ways = vec![];
    ways.extend(portkey(&at, &root).await);
    ways.extend(litellm(&at, &root, dir).await);
    ways.extend(onwards(&at, &root, dir).await);
    ways
}

/// `<target>/gateways`.
fn installed_in() -> PathBuf {
    let program = std::env::current_exe().expect("this is a program");
    program.ancestors().nth(3).expect("a bench is three folders deep").join("gateways")
}

async fn portkey(at: &Path, upstream: &str) -> Option<Way> {
    let script = at.join("node_modules/@portkey-ai/gateway/build/start-server.js");
    if !script.exists() {
        let at = at.display();
        println!(
            "not compared with Portkey; to install: mkdir -p {at} && echo '{NODE_SERVER}' > {at}/package.json \
             && npm install --prefix {at} {PORTKEY}"
        );
        return None;
    }
    let port = free_port();
    let mut command = Command::new("node");
    command.arg(script).arg("--headless").arg(format!("--port={port}"));
    let headers = vec![
        ("x-portkey-provider", "openai".to_owned()),
        ("x-portkey-custom-host", format!("{upstream}/v1")),
    ];
    ready("Portkey", port, headers, command).await
}

async fn litellm(at: &Path, upstream: &str, dir: &Path) -> Option<Way> {
    let program = at.join("litellm/bin/litellm");
    if !program.exists() {
        let venv = at.join("litellm").display().to_string();
        println!(
            "not compared with LiteLLM; to install: python3 -m venv {venv} && {venv}/bin/pip install '{LITELLM}'"
        );
        return None;
    }
    let config = dir.join("litellm.yaml");
    let model = json!({ "model_name": "scripted", "litellm_params":
        { "model": "openai/scripted", "api_base": format!("{upstream}/v1"), "api_key": "any" } });
    // JSON is YAML.
    fs::write(&config, json!({ "model_list": [model] }).to_string()).expect("a file can be written");
    let port = free_port();
    let mut command = Command::new(program);
    command.arg("--config").arg(config).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--telemetry", "False"]).env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    ready("LiteLLM", port, vec![], command).await
}

async fn onwards(at: &Path, upstream: &str, dir: &Path) -> Option<Way> {
    let program = at.join("bin/onwards");
    if !program.exists() {
        println!(
            "not compared with onwards; to install: cargo install --root {} --locked --version {ONWARDS} onwards",
            at.display()
        );
        return None;
    }
    let config = dir.join("onwards.json");
    let target = json!({ "url": upstream, "onwards_key": "any", "onwards_model": "scripted" });
    fs::write(&config, json!({ "targets": { "scripted": target } }).to_string())
        .expect("a file can be written");
    let (port, metrics) = (free_port(), free_port());
    let mut command = Command::new(program);
    command.arg("-f").arg(config).args(["--port", &port.to_string(), "--metrics-port", &metrics.to_string()]);
    command.env("RUST_LOG", "warn");
    ready("onwards", port, vec![], command).await
}

/// Starts it and waits until it answers. One that does not is left out, and said.
async fn ready(
    name: &'static str,
    port: u16,
    headers: Vec<(&'static str, String)>,
    mut command: Command,
) -> Option<Way> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let child = command.spawn().inspect_err(|cause| println!("not compared with {name}: {cause}")).ok()?;
    let way = Way::through(name, port, headers, child);
    let until = Instant::now() + START_TIME_MAX;
    while Instant::now() < until {
        if way.answers().await {
            return Some(way);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("not compared with {name}: it is installed, and did not answer within {START_TIME_MAX:?}");
    None
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("127.0.0.1 has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
