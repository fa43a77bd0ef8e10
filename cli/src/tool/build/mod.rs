//! `opg tool build`: from a project to what is uploaded. Each language has a file.

mod c;
mod go;
mod python;
mod rust;
mod script;
mod strip;

use super::{
    At, Lang, Output, Wrong,
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
};

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
    pub(super) kind: Kind,
}

/// What kind of thing that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Or the module of an Extism plugin, which the bytes tell.
    Component,
    /// A file that whoever runs it makes a component of.
    Script,
    /// An Extism plugin in its manifest.
    ExtismManifest,
}

impl Kind {
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Kind::Component => "application/wasm",
            // JavaScript is TypeScript without types.
            Kind::Script => "text/typescript",
            Kind::ExtismManifest => "application/vnd.extism.manifest+json",
        }
    }
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let project = Project::find(&args.at.dir)?;
    let artifact = build(&project)?;
    let size = artifact.bytes.len() as u64;
    if args.output.quiet {
        println!("{}", artifact.path.display());
        return Ok(());
    }
    let examined = Local::start()?.examine(&project.name, &artifact).await?;
    // A script's are the runtime's.
    let is_script = artifact.kind == Kind::Script;
    let imports = if is_script { vec![] } else { imports(&artifact.bytes)? };
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
    let built = if is_script { ", nothing to build: the server takes it as it is" } else { "" };
    println!("{}: {}{built}", artifact.path.display(), text::size(size));
    for tool in examined.description.tools() {
        let first = tool.description.lines().next().unwrap_or_default();
        println!("  tool     {}: {}", text::line(&tool.name), text::line(first));
    }
    if !imports.is_empty() {
        println!("  imports  {}", in_short(&imports));
    }
    print!("{}", local::wishes(&examined.requested, "  "));
    println!("\nnext: opg tool test");
    Ok(())
}

/// Makes what is uploaded; a compiler's words go to the terminal as they come.
pub(super) fn build(project: &Project) -> anyhow::Result<Artifact> {
    match project.lang {
        Lang::Rust => rust::build(project),
        Lang::Python => python::build(project),
        Lang::C => c::build(project),
        Lang::Go => go::build(project),
        Lang::Ts | Lang::Js => script::read(project),
    }
}

/// A file that was built elsewhere, and what the tool is called.
pub(super) fn built(file: &Path) -> anyhow::Result<(String, Artifact)> {
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    let kind = match &*extension {
        "wasm" => Kind::Component,
        "json" => Kind::ExtismManifest,
        _ => {
            let shown = file.display();
            let text = format!("{shown} is neither a `.wasm` nor the `.json` of an Extism manifest");
            return Err(Wrong(text).into());
        }
    };
    let bytes = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().replace('_', "-").to_ascii_lowercase();
    Ok((name, Artifact { path: file.to_owned(), bytes: bytes.into(), kind }))
}

fn component(path: PathBuf) -> anyhow::Result<Artifact> {
    let bytes = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Artifact { path, bytes: bytes.into(), kind: Kind::Component })
}

/// What to install where a compiler is not there.
fn missing(program: &str, cause: &io::Error, help: &str) -> anyhow::Error {
    Wrong(format!("{program} cannot be run ({cause}): {help}")).into()
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
