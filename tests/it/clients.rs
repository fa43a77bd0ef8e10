//! Clients of PyPI and npm, unmodified, by base URL and token alone (row M262): `openai`, `anthropic`,
//! `langchain-openai`, Vercel's AI SDK, Codex and Claude Code; and OPG before `@copilotkit/aimock`, a mock of
//! the providers that nobody here wrote. Before others, moto and aiosmtpd, OPG is the client ([`s3`], [`smtp`]).
//!
//! They are installed once, from their registries, by the lock files in `tests/clients`. Where there is no
//! Python or no Node, the test says so and passes, and `./dev test` says `skipped`; where they cannot be
//! installed, it fails.

mod s3;
mod smtp;

use opg_tests::{
    app::{Client, TestApp, UPSTREAM_KEY},
    guests,
    upstream::{ScriptedUpstream, Step},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
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

#[tokio::test(flavor = "multi_thread")]
async fn langchains_openai_client_runs_a_tool_loop() {
    python("langchain_client.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vercels_ai_sdk_runs_a_tool_loop_in_both_dialects() {
    node("vercel.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_provider_is_asked_as_somebody_elses_mock_expects() {
    node("aimock.mjs").await;
}

/// What the agents are told to do; what it prints stands nowhere in the request.
const COMMAND: &str = "echo $((6 * 7))-said";
const PRINTED: &str = "42-said";

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_runs_a_command_the_model_asked_for() {
    let Some(agents) = agents() else { return };
    let (world, home) = (World::start().await, tempfile::tempdir().unwrap());
    let mut claude = world.command(&agents.join("claude"));
    claude.args(["--print", "--output-format", "json", "--allowedTools=Bash"]);
    claude.arg(format!("call Bash {}", json!({ "command": COMMAND, "description": "counts" })));
    claude.env("ANTHROPIC_BASE_URL", world.app.base_url()).env("ANTHROPIC_API_KEY", world.bare.token());
    claude.env("ANTHROPIC_MODEL", "anthropic/scripted").env("ANTHROPIC_SMALL_FAST_MODEL", "openai/scripted");
    // Nothing but its turns goes out.
    claude.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1").env("DISABLE_AUTOUPDATER", "1");
    let said = at_home(claude, home.path());
    let answer: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(answer["is_error"], json!(false), "{said}");
    assert!(answer["result"].as_str().is_some_and(|result| result.contains(PRINTED)), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn codex_runs_a_command_the_model_asked_for() {
    let Some(agents) = agents() else { return };
    let (world, home) = (World::start().await, tempfile::tempdir().unwrap());
    fs::create_dir(home.path().join(".codex")).unwrap();
    let config = CODEX.replace("BASE_URL", &world.app.base_url());
    fs::write(home.path().join(".codex/config.toml"), config).unwrap();
    let mut codex = world.command(&agents.join("codex"));
    // It would shut the command in by itself, which needs more than a container may have.
    codex.args(["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]);
    // On a line of its own: it puts what surrounds it before.
    codex.arg(format!("please\ncall exec_command {}", json!({ "cmd": COMMAND })));
    codex.env("OPG_TOKEN", world.bare.token());
    let said = at_home(codex, home.path());
    assert!(said.contains(PRINTED), "{said}");
}

/// As docs/models.md says, and nothing but its turns goes out.
const CODEX: &str = r#"
model = "anthropic/scripted"
model_provider = "opg"
web_search = "disabled"
agents.enabled = false
check_for_update_on_startup = false
analytics.enabled = false

[model_providers.opg]
name = "opg"
base_url = "BASE_URL/v1"
env_key = "OPG_TOKEN"
wire_api = "responses"
"#;

async fn python(script: &str) {
    let Some(python) = pypi("python") else { return };
    let world = World::start().await;
    let mut python = world.command(&python);
    tokio::task::block_in_place(|| run(python.arg(sources("python").join(script))));
}

/// A Python with the packages of a folder of `tests/clients`, if there is one.
fn pypi(folder: &str) -> Option<PathBuf> {
    if !is_there("python3") {
        eprintln!("skipped: there is no python3");
        return None;
    }
    let lock = sources(folder).join("requirements.txt");
    let dir = installed(folder, &lock, |dir| {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(dir));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        run(Command::new(dir.join("bin/python")).args(pip).arg(&lock));
    });
    Some(dir.join("bin/python"))
}

async fn node(script: &str) {
    let Some(dir) = npm("node") else { return };
    // Node looks for packages beside the script.
    fs::copy(sources("node").join(script), dir.join(script)).unwrap();
    let world = World::start().await;
    let mut node = world.command(&newer_node(&dir));
    tokio::task::block_in_place(|| run(node.arg(dir.join(script))));
}

/// Where the programs of the coding agents are.
fn agents() -> Option<PathBuf> {
    npm("agents").map(|dir| dir.join("node_modules/.bin"))
}

/// The packages of a folder of `tests/clients`, if Node is there.
fn npm(folder: &str) -> Option<PathBuf> {
    if !is_there("node") || !is_there("npm") {
        eprintln!("skipped: there is no node, or no npm");
        return None;
    }
    let sources = sources(folder);
    Some(installed(folder, &sources.join("package-lock.json"), |dir| {
        fs::create_dir_all(dir).unwrap();
        for file in ["package.json", "package-lock.json"] {
            fs::copy(sources.join(file), dir.join(file)).unwrap();
        }
        // `ci` wants the packages of all platforms in the lock file, which not every registry has of opencode's.
        let how = if folder == "opencode" { "install" } else { "ci" };
        run(Command::new("npm").args([how, "--silent", "--no-audit", "--no-fund"]).current_dir(dir));
    }))
}

/// Vercel's SDK wants Node 22, which npm has as a package for Linux; elsewhere the machine's own must do.
fn newer_node(dir: &Path) -> PathBuf {
    let packaged = ["x64", "arm64"].map(|cpu| dir.join(format!("node_modules/node-linux-{cpu}/bin/node")));
    packaged.into_iter().find(|node| node.exists()).unwrap_or_else(|| PathBuf::from("node"))
}

fn sources(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(folder)
}

/// An OPG, the scripted upstream behind it, and two apps: `acme` has a tool, `bare` has none.
struct World {
    app: TestApp,
    acme: Client,
    bare: Client,
    _upstream: ScriptedUpstream,
}

impl World {
    async fn start() -> World {
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
        World { app, acme, bare, _upstream: upstream }
    }

    /// A client that knows of this world and of no other: nothing of the environment but where programs are.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("OPG_URL", self.app.base_url()).env("NO_PROXY", "127.0.0.1");
        command.env("OPG_TOKEN", self.acme.token()).env("OPG_BARE_TOKEN", self.bare.token());
        command
    }
}

/// Runs a program in a home of its own; what it said.
fn at_home(mut command: Command, home: &Path) -> String {
    command.env("HOME", home).current_dir(home).stdin(Stdio::null());
    tokio::task::block_in_place(|| run(&mut command))
}

/// Where opencode's clients are.
pub(crate) fn installed_opencode() -> Option<PathBuf> {
    npm("opencode")
}

/// Where programs are found, that one among them.
pub(crate) fn newer_path(program: &Path) -> std::ffi::OsString {
    let others = std::env::var_os("PATH").unwrap_or_default();
    let beside = program.parent().into_iter().map(Path::to_path_buf);
    std::env::join_paths(beside.chain(std::env::split_paths(&others))).unwrap()
}

pub(crate) fn is_there(program: &str) -> bool {
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

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}:\n{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
