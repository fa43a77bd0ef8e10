//! A process of Node for each call: what a tool costs where it is a script that somebody starts.

use crate::guests::JAVASCRIPT_JOB;
use std::process::{Command, Stdio};

/// Whether it is there; says so where it is not.
pub(crate) fn find() -> bool {
    let found =
        Command::new("node").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if !found {
        println!("not compared with a process of Node: there is no node");
    }
    found
}

/// Starts it, gives it the input, waits for its output.
pub(crate) async fn call(input: &str) {
    let program =
        format!("{JAVASCRIPT_JOB}\nconsole.log(JSON.stringify(count(JSON.parse(process.argv[1]))))");
    let output = tokio::process::Command::new("node").args(["--eval", &program, "--", input]).output().await;
    let output = output.expect("node runs");
    assert!(output.status.success() && output.stdout.starts_with(b"{\"words\":9,"), "{output:?}");
}
