//! The `openai` and `anthropic` packages of PyPI and npm, unmodified, by base URL and token alone (row M262).
//!
//! They are installed once, from their registries, by the lock files in `tests/clients`. Where there is no
//! Python or no Node, the test says so and passes; where they cannot be installed, it fails.

use opg_tests::{
    app::{Client, TestApp, UPSTREAM_KEY},
    guests,
    upstream::{ScriptedUpstream, Step},
};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[tokio::test(flavor = "multi_thread")]
async fn m262_the_python_client_works_by_base_url_alone() {
    python("clients.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m262_the_python_client_has_responses_and_embeddings() {
    python("responses_client.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropics_python_client_works_by_base_url_alone() {
    python("anthropic_client.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m262_the_node_client_works_by_base_url_alone() {
    node("clients.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m262_the_node_client_has_responses_and_embeddings() {
    node("responses.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropics_node_client_works_by_base_url_alone() {
    node("anthropic.mjs").await;
}

async fn python(script: &str) {
    if !is_there("python3") {
        eprintln!("skipped: there is no python3");
        return;
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python");
    let lock = sources.join("requirements.txt");
    let dir = installed("python", &lock, |dir| {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(dir));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        run(Command::new(dir.join("bin/python")).args(pip).arg(&lock));
    });
    held_against_opg(Command::new(dir.join("bin/python")).arg(sources.join(script))).await;
}

async fn node(script: &str) {
    if !is_there("node") || !is_there("npm") {
        eprintln!("skipped: there is no node, or no npm");
        return;
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/node");
    let dir = installed("node", &sources.join("package-lock.json"), |dir| {
        fs::create_dir_all(dir).unwrap();
        for file in ["package.json", "package-lock.json"] {
            fs::copy(sources.join(file), dir.join(file)).unwrap();
        }
        run(Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(dir));
    });
    // Node looks for packages beside the script.
    fs::copy(sources.join(script), dir.join(script)).unwrap();
    held_against_opg(Command::new("node").arg(dir.join(script))).await;
}

async fn held_against_opg(command: &mut Command) {
    let (app, upstream) = (TestApp::local().await, ScriptedUpstream::start().await);
    let at = |url: &str| json!({ "apiKey": UPSTREAM_KEY, "baseUrl": url });
    let mut responses = at(upstream.base_url());
    responses["kind"] = json!("openai-responses");
    let providers = json!({
        "openai": at(upstream.base_url()),
        "responses": responses,
        "anthropic": at(upstream.base_url()),
        "google": at(&upstream.google_base_url()),
    });
    let bare: Client = app.tenant_with(json!({ "id": "bare", "providers": providers })).await;
    let acme: Client = app.tenant_with(json!({ "id": "acme", "providers": providers })).await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let limited = Step::Error { status: 429, message: "slow down".into(), retry_after: Some("7".into()) };
    upstream.script_for_model("limited", vec![limited]);
    upstream.script_for_model("broken", vec![Step::text("Once"), Step::error(500, "no")]);
    let thoughts =
        vec![Step::thought("hm, yes", "seal-1"), Step::Redacted("kept".into()), Step::text("done")];
    upstream.script_for_model("thinker", thoughts);
    command.env("OPG_URL", app.base_url()).env("NO_PROXY", "127.0.0.1");
    command.env("OPG_TOKEN", acme.token()).env("OPG_BARE_TOKEN", bare.token());
    for variable in [
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
    ] {
        command.env_remove(variable);
    }
    tokio::task::block_in_place(|| run(command));
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The directory of a client under `<target>/clients`, installed unless it is from this very lock file.
fn installed(name: &str, lock: &Path, install: impl FnOnce(&Path)) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let dir = target.join("clients").join(name);
    let (marker, wanted) = (dir.join("installed-from"), fs::read(lock).unwrap());
    fs::create_dir_all(target.join("clients")).unwrap();
    let guard = fs::File::create(target.join("clients").join(format!("{name}.lock"))).unwrap();
    guard.lock().unwrap();
    if fs::read(&marker).ok().as_ref() != Some(&wanted) {
        drop(fs::remove_dir_all(&dir));
        install(&dir);
        fs::write(&marker, wanted).unwrap();
    }
    dir
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}:\n{}\n{}", text(&output.stdout), text(&output.stderr));
}
