//! Compiles the tools `opg demo` uploads, and puts the guest SDKs into the binary for `opg tool new`: that for Rust as
//! it is, and the contract as C has it, which is made here.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};
use wit_bindgen_core::{Files, wit_parser::Resolve};

/// The folders of the SDK, as they lie beside each other in the workspace: `bindings.rs` names `../wit`.
const SDK: [&str; 4] = ["sdk-guest/Cargo.toml", "sdk-guest/src", "sdk-guest/macros", "wit"];
/// The packages whose dependencies a project has.
const SDK_PACKAGES: [&str; 2] = ["opg-guest", "opg-guest-macros"];

fn main() {
    opg_guest_build::build(&["example-word-count", "example-notes"]);
    let workspace =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("a build script has it")).join("..");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("a build script has it"));

    let files: BTreeSet<PathBuf> = SDK.iter().flat_map(|part| files(&workspace.join(part))).collect();
    let manifest = read(&workspace.join("Cargo.toml"));
    let members: Vec<_> = ["sdk-guest", "sdk-guest/macros"]
        .map(|member| read(&workspace.join(member).join("Cargo.toml")))
        .into();
    fs::write(out.join("sdk-workspace.toml"), workspace_manifest(&manifest, &members))
        .expect("OUT_DIR is ours");
    fs::write(out.join("sdk.lock"), lock_file(&read(&workspace.join("Cargo.lock"))))
        .expect("OUT_DIR is ours");

    let mut source = String::from(
        "/// Each file by its path below `.opg/sdk`.\npub(crate) const FILES: &[(&str, &str)] = &[\n",
    );
    for file in &files {
        let path = file.strip_prefix(&workspace).expect("it was found there").display().to_string();
        let _ = writeln!(source, "    ({path:?}, include_str!({:?})),", file.display().to_string());
    }
    let _ = writeln!(source, "    (\"Cargo.toml\", include_str!({:?})),", out.join("sdk-workspace.toml"));
    let _ = writeln!(
        source,
        "];\n/// The versions it was tested with.\npub(crate) const LOCK: &str = include_str!({:?});",
        out.join("sdk.lock")
    );
    source.push_str("/// The contract as C has it, each file by its path below `.opg/sdk`.\npub(crate) const C_CONTRACT: &[(&str, &[u8])] = &[\n");
    for (name, content) in contract_in_c(&workspace.join("wit")).iter() {
        let file = out.join(name);
        fs::write(&file, content).expect("OUT_DIR is ours");
        let _ = writeln!(source, "    ({name:?}, include_bytes!({:?})),", file.display().to_string());
    }
    source.push_str("];\n");
    fs::write(out.join("sdk.rs"), source).expect("OUT_DIR is ours");
    for part in SDK.into_iter().chain(["Cargo.toml", "Cargo.lock"]) {
        println!("cargo::rerun-if-changed={}", workspace.join(part).display());
    }
}

/// A header, what is to be compiled beside it, and an object file with what it all is.
fn contract_in_c(wit: &Path) -> Files {
    let mut resolve = Resolve::default();
    let mut add = |name: &str| resolve.push_dir(wit.join(name)).expect("our contract can be read").0;
    let package = (add("host"), add("tool")).1;
    let world = resolve.select_world(&[package], Some("plugin")).expect("it has the world of tools");
    let mut files = Files::default();
    let mut generator = wit_bindgen_c::Opts::default().build();
    generator.generate(&mut resolve, world, &mut files).expect("it can be said in C");
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

/// The file, or every file below the folder.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
    entries.flat_map(|entry| files(&entry.expect("a folder of ours can be read").path())).collect()
}

/// A workspace of the SDK alone: what its members inherit, line by line from ours.
fn workspace_manifest(ours: &str, members: &[String]) -> String {
    let inherited: BTreeSet<&str> = members
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.split_once(".workspace = true"))
        .map(|(name, _)| name)
        .collect();
    let mut out =
        String::from("[workspace]\nresolver = \"3\"\nmembers = [\"sdk-guest\", \"sdk-guest/macros\"]\n");
    let mut section = "";
    for line in ours.lines() {
        if line.starts_with('[') {
            section = line;
            if section == "[workspace.package]"
                || section == "[workspace.dependencies]"
                || section.starts_with("[workspace.lints.")
            {
                let _ = writeln!(out, "\n{line}");
            }
            continue;
        }
        let name = line.split([' ', '=']).next().unwrap_or_default();
        let wanted = match section {
            "[workspace.dependencies]" => inherited.contains(name),
            "[workspace.package]" => !name.is_empty(),
            _ => section.starts_with("[workspace.lints.") && !name.is_empty(),
        };
        if wanted {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

/// Of our lock file, what the SDK needs: a project starts with the versions that were tested.
fn lock_file(ours: &str) -> String {
    let mut blocks = ours.split("\n[[package]]\n");
    let head = blocks.next().unwrap_or_default();
    let mut packages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for block in blocks {
        let name = block.lines().next().and_then(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        packages.entry(name.expect("a package has a name")).or_default().push(block);
    }
    let mut wanted: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut next: Vec<String> = SDK_PACKAGES.map(str::to_owned).into();
    while let Some(dependency) = next.pop() {
        // `name`, or `name version` where there are several.
        let (name, version) = dependency.split_once(' ').unwrap_or((&dependency, ""));
        let Some((&name, blocks)) = packages.get_key_value(name) else { continue };
        for block in blocks.iter().filter(|block| block.contains(&format!("version = \"{version}"))) {
            if wanted.insert((name, block)) {
                let listed = block.lines().filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","));
                next.extend(listed.map(str::to_owned));
            }
        }
    }
    let blocks: Vec<_> = wanted.iter().map(|(_, block)| block.trim_end()).collect();
    format!("{head}\n[[package]]\n{}\n", blocks.join("\n\n[[package]]\n"))
}
