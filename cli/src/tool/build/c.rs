//! C: clang for a core module, of which a component is made here.
//!
//! There is no C library but the little in `.opg/sdk`, and so nothing a tool imports but what its host offers.

use super::{Artifact, Kind, missing};
use crate::tool::{Told, Wrong, project::Project};
use anyhow::Context;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const TARGET: &str = "--target=wasm32-unknown-unknown";
const HELP: &str = "install clang and its linker for WebAssembly (Debian: clang lld)";
/// What `opg tool new` writes into `.opg/sdk`, to be compiled with the tool.
const SDK: [&str; 2] = ["opg.c", "plugin.c"];
/// What the module says it is, for whoever makes a component of it.
const COMPONENT_TYPE: &str = "plugin_component_type.o";
/// Room for local variables, in bytes: what a thread has elsewhere is more, and mostly unused.
const STACK_BYTES: u32 = 1 << 20;

pub(super) fn build(project: &Project) -> anyhow::Result<Artifact> {
    let sdk = project.dir.join(".opg/sdk");
    let out = project.dir.join(".opg/build");
    if !sdk.join(COMPONENT_TYPE).is_file() {
        let text =
            "the contract is missing: .opg/sdk; `opg tool new --lang c` in another folder makes one to copy";
        return Err(Wrong(text.into()).into());
    }
    fs::create_dir_all(&out)?;
    let clang = find("clang").unwrap_or_else(|| "clang".into());
    let sources = [project.main.clone()].into_iter().chain(SDK.map(|file| sdk.join(file)));
    let mut objects = vec![sdk.join(COMPONENT_TYPE)];
    for source in sources {
        let object = out.join(source.with_extension("o").file_name().unwrap_or_default());
        compile(&clang, &sdk, &source, &object)?;
        objects.push(object);
    }
    let module = out.join("module.wasm");
    link(&objects, &module)?;
    let path = out.join(format!("{}.wasm", project.name));
    let bytes = component(&fs::read(&module)?)?;
    fs::write(&path, &bytes)?;
    Ok(Artifact { path, bytes: bytes.into(), kind: Kind::Component })
}

fn compile(clang: &Path, sdk: &Path, source: &Path, object: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(clang);
    command.args([TARGET, "-std=c17", "-Os", "-Wall", "-mbulk-memory", "-nostdlibinc"]);
    command.arg("-isystem").arg(sdk.join("include")).arg("-I").arg(sdk);
    command.arg("-c").arg(source).arg("-o").arg(object);
    run(&mut command, "clang")
}

fn link(objects: &[PathBuf], module: &Path) -> anyhow::Result<()> {
    // Debian has the linker in a package of its own; Rust brings it along.
    let linker = find("wasm-ld").or_else(of_rust).unwrap_or_else(|| "wasm-ld".into());
    let mut command = Command::new(linker);
    // Below the stack is nothing: what overflows it ends the call.
    command.args(["--no-entry", "--gc-sections", "--strip-all", "--stack-first"]);
    command.args(["-z", &format!("stack-size={STACK_BYTES}")]);
    command.args(objects).arg("-o").arg(module);
    run(&mut command, "wasm-ld")
}

fn run(command: &mut Command, program: &str) -> anyhow::Result<()> {
    let status = command.stdout(Stdio::null()).stderr(Stdio::inherit()).status();
    if status.map_err(|cause| missing(program, &cause, HELP))?.success() {
        return Ok(());
    }
    eprintln!("opg tool: it does not compile; see above");
    Err(Told.into())
}

fn component(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let made = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode());
    made.context(
        "what clang made is no tool: are both functions of the contract there, and nothing else missing?",
    )
}

/// By its plain name, or as Debian installs several side by side; the newest then.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm-"))
        .map(|entry| entry.path().join("bin"))
        .collect();
    versions.sort();
    let dirs = env::split_paths(&path).chain(versions.into_iter().rev());
    dirs.map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// The linker that comes with Rust, where Rust is.
fn of_rust() -> Option<PathBuf> {
    let asked = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    let hosts = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim()).join("lib/rustlib");
    let linkers = fs::read_dir(hosts).ok()?.flatten().map(|host| host.path().join("bin/gcc-ld/wasm-ld"));
    linkers.into_iter().find(|file| file.is_file())
}
