//! The README is run: its tool is the one we build, its commands work as they stand.

use opg_tests::app::TestApp;
use serde_json::Value;
use std::{path::Path, process::Command};

const README: &str = include_str!("../../README.md");
const STARTER: &str = include_str!("../../plugins/starter/src/lib.rs");

/// The fenced blocks of a language, in order.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let opened = README.split(&fence).skip(1);
    opened.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What the outer cargo and its tools set for this test must not reach a reader's command.
fn reader(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") || name.starts_with("RUST"))
    {
        if !["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"].contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command.current_dir(root());
    command
}

#[test]
fn every_code_block_of_the_readme_is_run_by_a_test() {
    let all = README.lines().filter(|line| line.starts_with("```")).count() / 2;
    assert_eq!((all, blocks("sh").len(), blocks("rust").len()), (3, 2, 1), "a new block needs a test below");
}

#[test]
fn the_tool_of_the_readme_is_the_starter_without_its_tests() {
    let tool = &blocks("rust")[0];
    let (before_tests, _) = STARTER.split_once("\n#[cfg(test)]").expect("the starter has tests");
    assert_eq!(tool, before_tests);
}

#[test]
fn the_readmes_dev_commands_are_commands_of_dev() {
    let help = reader("./dev").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands: Vec<_> =
        blocks("sh")[0].lines().map(|line| line.split('#').next().unwrap().trim().to_owned()).collect();
    assert_eq!(commands, ["./dev demo", "./dev test"], ".ci/run runs these two");
    for command in commands {
        assert!(help.lines().any(|line| line.starts_with(&command)), "`{command}` is not in:\n{help}");
    }
}

#[tokio::test]
async fn the_readmes_commands_build_upload_and_use_its_tool() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let (url, token, script) = (app.base_url(), acme.token().to_owned(), blocks("sh")[1].clone());
    let ran = tokio::task::spawn_blocking(move || {
        // As a reader pastes it, but stopping at the first command that fails.
        reader("sh").args(["-eu", "-c", &script]).env("OPG_URL", url).env("OPG_TOKEN", token).output()
    });
    let ran = ran.await.unwrap().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "curl is needed for this test\n{stdout}\n{stderr}");

    let answers: Vec<Value> =
        serde_json::Deserializer::from_str(&stdout).into_iter().collect::<Result<_, _>>().unwrap();
    let [uploaded, answer, ledger] = answers.as_slice() else { panic!("three answers, not {answers:#?}") };
    assert_eq!((&uploaded["name"], &uploaded["status"]), (&"greet".into(), &"active".into()));
    let said = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(said.contains("Hello, Ann!"), "{said}");
    let plugins: Vec<_> = ledger["data"].as_array().unwrap().iter().map(|row| &row["plugin"]).collect();
    assert!(plugins.contains(&&Value::from("tool/greet")), "{plugins:?}");
}
