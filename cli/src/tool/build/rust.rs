//! Rust: `cargo`, for the target whose results are components.

use super::{Artifact, component, missing};
use crate::tool::{Told, Wrong, project::Project};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const TARGET: &str = "wasm32-wasip2";
/// The profile `opg tool new` writes.
const PROFILE: &str = "guest";
const HELP: &str = "install Rust as https://rustup.rs says, then `rustup target add wasm32-wasip2`";

pub(super) fn build(project: &Project) -> anyhow::Result<Artifact> {
    refuse_a_missing_target(&project.dir)?;
    let manifest = fs::read_to_string(&project.main)?;
    // A project of somebody else's making has no such profile.
    let profile = if manifest.contains("[profile.guest]") { PROFILE } else { "release" };
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(&project.dir)
        .args(["build", "--quiet", "--lib", "--message-format=json-render-diagnostics"])
        .args(["--target", TARGET, "--profile", profile])
        .stderr(Stdio::inherit());
    let output = cargo.output().map_err(|cause| missing("cargo", &cause, HELP))?;
    if !output.status.success() {
        eprintln!("opg tool: it does not compile; see above");
        return Err(Told.into());
    }
    // Cargo names each artifact on a line of JSON; ours is the last component among them.
    let files = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .rfind(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    let path = files.ok_or_else(|| {
        Wrong("cargo made no component: Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\"]`".into())
    })?;
    component(path)
}

/// Asked first, because a build without the target fails once for each crate.
fn refuse_a_missing_target(dir: &Path) -> anyhow::Result<()> {
    let asked = Command::new("rustc")
        .current_dir(dir)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|cause| missing("rustc", &cause, HELP))?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim().to_owned());
    if asked.status.success() && libdir.is_dir() {
        return Ok(());
    }
    Err(Wrong(format!("Rust's target {TARGET} is missing; run `rustup target add {TARGET}`")).into())
}
