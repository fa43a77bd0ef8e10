//! The `openai` packages of PyPI and npm, unmodified, by base URL and token alone (row M262).
//!
//! They are installed once, from their registries, by the lock files in `tests/clients`. Where there is no
//! Python or no Node, the test says so and passes; where they cannot be installed, it fails.

use opg_tests::{
    app::{Client, TestApp},
    guests,
    upstream::{ScriptedUpstream, Step},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[tokio::test(flavor = "multi_thread")]
async fn m262_the_python_client_works_by_base_url_alone() {
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
    held_against_opg(Command::new(dir.join("bin/python")).arg(sources.join("clients.py"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m262_the_node_client_works_by_base_url_alone() {
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
    fs::copy(sources.join("clients.mjs"), dir.join("clients.mjs")).unwrap();
    held_against_opg(Command::new("node").arg(dir.join("clients.mjs"))).await;
}

async fn held_against_opg(command: &mut Command) {
    let (app, upstream) = (TestApp::local().await, ScriptedUpstream::start().await);
    let acme: Client = app.tenant_of("acme", &upstream).await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let limited = Step::Error { status: 429, message: "slow down".into(), retry_after: Some("7".into()) };
    upstream.script_for_model("limited", vec![limited]);
    upstream.script_for_model("broken", vec![Step::text("Once"), Step::error(500, "no")]);
    command.env("OPG_URL", app.base_url()).env("OPG_TOKEN", acme.token());
    command.env_remove("OPENAI_API_KEY").env_remove("OPENAI_BASE_URL").env("NO_PROXY", "127.0.0.1");
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
