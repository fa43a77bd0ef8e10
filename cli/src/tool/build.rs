//! `opg tool build`: from a project to what is uploaded.

use super::{
    At, Lang, Output, Told, Wrong,
    local::{self, Local},
    project::Project,
    text,
};
use anyhow::Context;
use bytes::Bytes;
use serde_json::json;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const TARGET: &str = "wasm32-wasip2";
/// The profile `opg tool new` writes.
const PROFILE: &str = "guest";
/// A file of TypeScript, in bytes, as the server takes it (row M218).
const SOURCE_BYTES_MAX: usize = 1 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    output: Output,
}

/// What is uploaded.
pub(super) struct Artifact {
    pub(super) path: PathBuf,
    pub(super) bytes: Bytes,
    pub(super) media_type: &'static str,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let project = Project::find(&args.at.dir)?;
    let artifact = build(&project)?;
    let size = artifact.bytes.len() as u64;
    if args.output.quiet {
        println!("{}", artifact.path.display());
        return Ok(());
    }
    if project.lang == Lang::Ts {
        if args.output.json {
            println!("{}", json!({ "name": project.name, "path": artifact.path, "size_bytes": size }));
        } else {
            println!(
                "{}: {}, nothing to build: the server takes it as it is",
                artifact.path.display(),
                text::size(size)
            );
            println!("\nnext: opg tool publish");
        }
        return Ok(());
    }
    let examined = Local::start()?.examine(&project.name, artifact.bytes.clone()).await?;
    let imports = imports(&artifact.bytes)?;
    if args.output.json {
        let told = json!({
            "name": project.name,
            "path": artifact.path,
            "size_bytes": size,
            "tools": examined.description.tools(),
            "imports": imports,
            "requested_capabilities": examined.requested,
        });
        println!("{told}");
        return Ok(());
    }
    println!("{}: {}", artifact.path.display(), text::size(size));
    for tool in examined.description.tools() {
        let first = tool.description.lines().next().unwrap_or_default();
        println!("  tool     {}: {}", text::line(&tool.name), text::line(first));
    }
    println!("  imports  {}", in_short(&imports));
    print!("{}", local::wishes(&examined.requested, "  "));
    println!("\nnext: opg tool test");
    Ok(())
}

/// Makes what is uploaded; a compiler's words go to the terminal as they come.
pub(super) fn build(project: &Project) -> anyhow::Result<Artifact> {
    match project.lang {
        Lang::Rust => rust(project),
        Lang::Python => python(project),
        Lang::Ts => typescript(project),
    }
}

fn component(path: PathBuf) -> anyhow::Result<Artifact> {
    let bytes = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Artifact { path, bytes: bytes.into(), media_type: "application/wasm" })
}

// === Rust ===

fn rust(project: &Project) -> anyhow::Result<Artifact> {
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
    let output = cargo.output().map_err(|cause| missing("cargo", &cause))?;
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
        .map_err(|cause| missing("rustc", &cause))?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim().to_owned());
    if asked.status.success() && libdir.is_dir() {
        return Ok(());
    }
    Err(Wrong(format!("Rust's target {TARGET} is missing; run `rustup target add {TARGET}`")).into())
}

fn missing(program: &str, cause: &io::Error) -> anyhow::Error {
    let help = match program {
        "cargo" | "rustc" => "install Rust as https://rustup.rs says, then `rustup target add wasm32-wasip2`",
        _ => "install Python 3.10 or newer with venv and pip (Debian: python3 python3-venv)",
    };
    Wrong(format!("{program} cannot be run ({cause}): {help}")).into()
}

// === Python ===

fn python(project: &Project) -> anyhow::Result<Artifact> {
    let kept = project.dir.join(".opg");
    let wit = kept.join("wit");
    if !wit.is_dir() {
        let text = "the contract is missing: .opg/wit; `opg tool new --lang python` in another folder makes one to copy";
        return Err(Wrong(text.into()).into());
    }
    let bin = ready_venv(project, &kept)?;
    let out = kept.join("build");
    fs::create_dir_all(&out)?;
    let path = out.join(format!("{}.wasm", project.name));
    let module = project.main.file_stem().unwrap_or_default();
    let mut componentize = Command::new(bin.join("componentize-py"));
    componentize
        // Its working directory is where modules are found.
        .current_dir(&project.dir)
        .args(["-d", ".opg/wit", "-w", "plugin", "componentize", "--stub-wasi"])
        .arg(module)
        .arg("-o")
        .arg(Path::new(".opg/build").join(format!("{}.wasm", project.name)))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    let status = componentize.status().map_err(|cause| missing("componentize-py", &cause))?;
    if !status.success() {
        eprintln!("opg tool: it does not become a component; see above");
        return Err(Told.into());
    }
    component(path)
}

/// The project's own Python with what `requirements.txt` names; where its programs are.
fn ready_venv(project: &Project, kept: &Path) -> anyhow::Result<PathBuf> {
    let venv = kept.join("venv");
    // Absolute: programs in it are started from the project's folder.
    let bin = std::path::absolute(venv.join("bin"))?;
    let requirements = project.dir.join("requirements.txt");
    let wanted = fs::read_to_string(&requirements).map_err(|_| {
        Wrong("requirements.txt is missing; one line is needed: componentize-py==0.25.1".into())
    })?;
    let installed = venv.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return Ok(bin);
    }
    eprintln!("opg tool: making .opg/venv and installing what requirements.txt names (once)");
    run_or_say(Command::new("python3").args(["-m", "venv"]).arg(&venv), "python3")?;
    let mut pip = Command::new(bin.join("pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&requirements);
    run_or_say(&mut pip, "pip")?;
    fs::write(installed, wanted)?;
    Ok(bin)
}

fn run_or_say(command: &mut Command, program: &str) -> anyhow::Result<()> {
    let status = command.stdout(Stdio::null()).status().map_err(|cause| missing(program, &cause))?;
    if status.success() {
        return Ok(());
    }
    let text = format!(
        "{program} failed, see above: Python 3.10 or newer with venv and pip is needed (Debian: python3 python3-venv)"
    );
    Err(Wrong(text).into())
}

// === TypeScript ===

fn typescript(project: &Project) -> anyhow::Result<Artifact> {
    let path = project.main.clone();
    let bytes = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let shown = path.display();
    let text = std::str::from_utf8(&bytes).map_err(|_| Wrong(format!("{shown} is not UTF-8 text")))?;
    if bytes.len() > SOURCE_BYTES_MAX {
        return Err(Wrong(format!("{shown} is larger than 1 MiB, which is the most the server takes")).into());
    }
    if !text.contains("export") {
        return Err(Wrong(format!("{shown} exports nothing; write `export default tool({{ … }})`")).into());
    }
    Ok(Artifact { path, bytes: bytes.into(), media_type: "text/typescript" })
}

// === what it imports ===

/// Ours by name; those of WASI, which the compiler adds, by their number.
fn in_short(imports: &[String]) -> String {
    let (wasi, ours): (Vec<&str>, Vec<&str>) =
        imports.iter().map(String::as_str).partition(|name| name.starts_with("wasi:"));
    let wasi = (!wasi.is_empty()).then(|| format!("{} interfaces of WASI", wasi.len()));
    ours.into_iter().map(str::to_owned).chain(wasi).collect::<Vec<_>>().join(", ")
}

/// Interfaces the component imports, sorted.
fn imports(wasm: &[u8]) -> anyhow::Result<Vec<String>> {
    let mut names = vec![];
    let mut depth = 0_u32;
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        match payload? {
            wasmparser::Payload::ModuleSection { .. } | wasmparser::Payload::ComponentSection { .. } => {
                depth += 1;
            }
            wasmparser::Payload::End(_) => depth = depth.saturating_sub(1),
            wasmparser::Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.push(text::line(import?.name.name));
                }
            }
            _ => {}
        }
    }
    names.sort_unstable();
    Ok(names)
}
