//! opencode's clients as they are on npm, unmodified, by URL and token alone: `opencode run --attach`, the terminal
//! client, and `@opencode-ai/sdk`. Where there is no Node the tests say so and pass.

use super::{CALL, Mount, share, text};
use crate::clients::{installed_opencode, is_there, newer_path};
use opg_tests::{
    app::{Client, TestApp},
    guests,
    upstream::{ScriptedUpstream, Step},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

struct World {
    app: TestApp,
    acme: Client,
    home: tempfile::TempDir,
    upstream: ScriptedUpstream,
}

impl World {
    async fn start() -> World {
        let (app, upstream) = (TestApp::local().await, ScriptedUpstream::start().await);
        let acme = app.tenant_of("acme", &upstream).await;
        acme.install_tool("word-count", guests::WORD_COUNT).await;
        acme.install_tool("workspace", guests::WORKSPACE).await;
        acme.grant("tools", "workspace", &[("workspace", "read-write")]).await;
        share(&app).await;
        let command = json!({ "template": "Count $ARGUMENTS", "description": "Counts" });
        assert_eq!(acme.put("/v1/tenant/commands/count", &command).await.status, 200);
        upstream.script_for_model("endless", vec![Step::text("on"), Step::text(" and on"), Step::Stall]);
        World { app, acme, home: tempfile::tempdir().unwrap(), upstream }
    }

    fn mount(&self) -> Mount {
        Mount::new(&self.app, "acme", self.acme.token())
    }

    fn url(&self) -> String {
        format!("{}/t/acme/opencode", self.app.base_url())
    }

    /// A client that knows of this world and of no other.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", newer_path(program)).env("HOME", self.home.path());
        command.env("NO_PROXY", "127.0.0.1").env("TERM", "xterm-256color");
        command.env("OPENCODE_SERVER_PASSWORD", self.acme.token()).env("OPENCODE_DISABLE_AUTOUPDATE", "1");
        command
            .env("OPG_URL", self.app.base_url())
            .env("OPG_APP", "acme")
            .env("OPG_TOKEN", self.acme.token());
        command.current_dir(self.home.path());
        command
    }
}

/// Runs a program with this to read; what it wrote, and what it wrote besides.
fn run(mut command: Command, input: &str) -> (String, String) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}:\n{out}\n{err}");
    (out, err)
}

#[tokio::test(flavor = "multi_thread")]
async fn m354_opencode_run_attaches_calls_a_tool_and_ends_by_itself() {
    let Some(dir) = installed_opencode() else { return };
    let world = World::start().await;
    let opencode = |arguments: &[&str], input: &str| {
        let mut command = world.command(&dir.join("node_modules/.bin/opencode"));
        command.args(["run", "--attach", &world.url()]).args(arguments);
        tokio::task::block_in_place(|| run(command, input))
    };
    let (out, _) = opencode(&["--format", "json"], CALL);
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["step_start", "tool_use", "step_finish", "step_start", "text", "step_finish"],
        "{out}"
    );
    assert_eq!(events[1]["part"]["state"]["status"], "completed");
    let answer = events[4]["part"]["text"].as_str().unwrap();
    assert!(answer.contains('2'), "the model was told what the tool said: {answer}");
    let session = events[0]["sessionID"].as_str().unwrap().to_owned();

    // For people, and on from there.
    let (out, err) = opencode(&["--session", &session], "hello again");
    assert!(out.contains("hello again"), "{out}\n{err}");
    assert!(err.contains("scripted"), "it says who answers: {err}");
    assert_eq!(world.mount().messages(&session).await.len(), 5);

    // It answers what is asked by itself: no, unless it was told otherwise.
    let asking = json!({ "permission": [{ "permission": "word-count", "action": "ask", "pattern": "*" }] });
    let session = world.mount().session(asking).await;
    let (_, err) = opencode(&["--session", &session], CALL);
    assert!(err.contains("permission requested: word-count"), "{err}");
    let kept = world.mount().messages(&session).await;
    assert_eq!(kept[1]["parts"][1]["state"]["status"], "error", "{kept:#?}");
    opencode(&["--session", &session, "--auto"], CALL);
    let kept = world.mount().messages(&session).await;
    assert_eq!(kept[4]["parts"][1]["state"]["status"], "completed", "{kept:#?}");

    // A file is sent as it is, a command by its name.
    fs::write(world.home.path().join("notes.txt"), "remember the milk").unwrap();
    let (out, _) = opencode(&["--file", "notes.txt", "--", "read this"], "");
    assert!(out.contains("remember the milk"), "{out}");
    let (out, err) = opencode(&["--command", "count", "to ten"], "");
    assert!(out.contains("Count") && out.contains("to ten"), "{out}\n{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m354_opencodes_sdk_drives_sessions() {
    let Some(dir) = installed_opencode() else { return };
    let world = World::start().await;
    let script = dir.join("sdk.mjs");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/opencode/sdk.mjs"), &script).unwrap();
    let mut node = world.command(Path::new("node"));
    node.arg(script);
    tokio::task::block_in_place(|| run(node, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn m354_opencodes_terminal_client_attaches_chats_and_reads_the_history() {
    let Some(dir) = installed_opencode() else { return };
    if !is_there("python3") {
        eprintln!("skipped: there is no python3, which has the terminal");
        return;
    }
    let world = World::start().await;
    let attach = |arguments: &[&str], script: &str| {
        let mut python = world.command(Path::new("python3"));
        python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/opencode/tui.py"));
        python.arg(dir.join("node_modules/.bin/opencode")).args(["attach", &world.url()]).args(arguments);
        tokio::task::block_in_place(|| run(python, script))
    };
    world.upstream.script_for_model("scripted", vec![Step::text("Well met,"), Step::text(" traveller!")]);
    attach(&[], "wait Ask anything\ntype greetings from afar\nwait Well met, traveller!\n");
    let listed = world.mount().fine("GET", "/session", None).await;
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let session = listed[0]["id"].as_str().unwrap().to_owned();
    let kept = world.mount().messages(&session).await;
    assert_eq!(text(&kept[0]), "greetings from afar");
    attach(&["--session", &session], "wait Well met, traveller!\n");
}
