//! Builds guest components from a build script.
//!
//! ```no_run
//! opg_guest_build::build(&["example-word-count", "test-guest-spin"]); // in build.rs
//! ```
//!
//! and in the crate itself:
//!
//! ```text
//! mod guests {
//!     include!(concat!(env!("OUT_DIR"), "/guests.rs"));
//! }
//! let wasm: &[u8] = guests::EXAMPLE_WORD_COUNT;
//! for (package, wasm) in guests::ALL { … }
//! ```
//!
//! Rules:
//! - Cargo runs inside cargo, so the guests have a target directory of their
//!   own: the outer cargo holds the lock of the other one until we are done.
//! - A module of the kind that [`build_modules`] makes holds C, for which clang is needed.
//! - Flags and wrappers meant for the native build (coverage, sanitizers,
//!   clippy) do not reach the guests.
//! - Cargo decides what is stale, so a run without changes costs one look at
//!   the sources; and cargo is asked again only when one of them changed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};

use serde::Deserialize;

/// Components: guests as they are installed.
const COMPONENTS: Target = Target { name: "wasm32-wasip2", needs_clang: false, file: "guests.rs" };

/// Core modules, of which the host makes components; with C in them.
const MODULES: Target = Target { name: "wasm32-unknown-unknown", needs_clang: true, file: "modules.rs" };

const PROFILE: &str = "guest";

/// What is built, and where the generated file goes.
struct Target {
    name: &'static str,
    needs_clang: bool,
    file: &'static str,
}

/// What the outer cargo, clippy or a coverage tool may have set for the native
/// build. `CARGO_ENCODED_RUSTFLAGS` is always set inside a build script.
const NATIVE_VARIABLES: [&str; 17] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
    "CC",
    "CFLAGS",
    "AR",
    "RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CLIPPY_ARGS",
    "CLIPPY_TERMINAL_WIDTH",
];

/// One built guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The name of its package.
    pub package: String,
    /// The component: a copy in `OUT_DIR`, which nobody else writes to.
    pub wasm: PathBuf,
    /// The directory of its `Cargo.toml`.
    pub dir: PathBuf,
}

/// Builds `packages` of this workspace and writes `OUT_DIR/guests.rs`: one
/// `pub(crate) const <PACKAGE_NAME>: &[u8]` for each and `ALL` with all of them by
/// name. Answers in the order of `packages`.
///
/// To be called from a build script. Where it fails, it says so in one line
/// and ends the script.
pub fn build(packages: &[&str]) -> Vec<Component> {
    build_for(&COMPONENTS, packages)
}

/// Builds `packages` as core modules, into `OUT_DIR/modules.rs`: for what the
/// host makes components of, such as a language's runtime. They may hold C.
pub fn build_modules(packages: &[&str]) -> Vec<Component> {
    build_for(&MODULES, packages)
}

fn build_for(target: &Target, packages: &[&str]) -> Vec<Component> {
    try_build(target, packages).unwrap_or_else(|error| {
        println!("cargo::error={error}");
        exit(1)
    })
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("guests need the {0} target; run `rustup target add {0}`")]
    TargetIsMissing(&'static str),
    #[error(
        "the runtime of TypeScript tools has C in it, which clang compiles to WebAssembly; install clang (`./dev setup` does), or set {CLANG_VARIABLE} to where it is"
    )]
    ClangIsMissing,
    #[error(
        "the guests do not compile; see above, or run `cargo build --profile {PROFILE} --target {0} --target-dir target/guests -p {1}`"
    )]
    DoesNotCompile(&'static str, String),
    #[error("package `{0}` gave no component; is its crate-type `cdylib`?")]
    NoComponent(String),
    #[error("{0} is not set: this is to be called from a build script")]
    NotABuildScript(&'static str),
    #[error("could not read what cargo said about its artifacts: {0}")]
    Messages(#[from] serde_json::Error),
    #[error("could not {0}: {1}")]
    Io(String, #[source] io::Error),
}

/// One line of cargo's `--message-format=json`; other lines are not artifacts.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    filenames: Vec<PathBuf>,
}

fn try_build(target: &Target, packages: &[&str]) -> Result<Vec<Component>, Error> {
    let out_dir = variable("OUT_DIR")?;
    let workspace = workspace_root(&variable("CARGO_MANIFEST_DIR")?)?;
    refuse_a_missing_target(target.name)?;

    let target_dir = guests_target_dir(&out_dir, &workspace);
    fs::create_dir_all(&target_dir).map_err(doing("make the directory of the guests"))?;
    // Cargo links its results anew even where nothing changed. Two build
    // scripts would pull them from under each other between build and copy.
    let lock = File::create(target_dir.join(".opg-guest-build")).map_err(doing("make a lock file"))?;
    lock.lock().map_err(doing("lock the directory of the guests"))?;
    let artifacts = run_cargo(target, packages, &workspace, &target_dir)?;
    let components =
        packages.iter().map(|package| take(package, &artifacts, &out_dir)).collect::<Result<Vec<_>, _>>()?;
    drop(lock);

    write_if_changed(&out_dir.join(target.file), guests_rs(&components).as_bytes())?;
    for path in sources(&artifacts, &workspace) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    Ok(components)
}

fn variable(name: &'static str) -> Result<PathBuf, Error> {
    std::env::var_os(name).map(PathBuf::from).ok_or(Error::NotABuildScript(name))
}

/// The nearest directory above with a lock file: cargo keeps it beside the
/// workspace's manifest.
fn workspace_root(manifest_dir: &Path) -> Result<PathBuf, Error> {
    let root = manifest_dir.ancestors().find(|dir| dir.join("Cargo.lock").is_file());
    root.map(Path::to_owned)
        .ok_or_else(|| Error::Io("find the workspace's Cargo.lock".into(), io::ErrorKind::NotFound.into()))
}

/// Asked first, because a build without the target fails once for each crate.
fn refuse_a_missing_target(target: &'static str) -> Result<(), Error> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .map_err(doing("run rustc"))?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    if output.status.success() && libdir.is_dir() { Ok(()) } else { Err(Error::TargetIsMissing(target)) }
}

/// Where the `cc` crate looks for the compiler of the modules' C.
const CLANG_VARIABLE: &str = "CC_wasm32_unknown_unknown";

/// clang, by its plain name, or as Debian installs several side by side.
fn find_clang() -> Result<PathBuf, Error> {
    if let Some(set) = std::env::var_os(CLANG_VARIABLE) {
        return Ok(set.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|dir| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm-")))
        .map(|dir| dir.join("bin"))
        .collect();
    versions.sort();
    let found = std::env::split_paths(&path).chain(versions.into_iter().rev()).map(|dir| dir.join("clang"));
    found.into_iter().find(|clang| clang.is_file()).ok_or(Error::ClangIsMissing)
}

/// `guests` inside the target directory of the outer cargo, wherever that is.
///
/// A target directory outside the workspace may serve several checkouts, and
/// the name of a component says nothing of the checkout it came from; there,
/// each gets a directory of its own.
fn guests_target_dir(out_dir: &Path, workspace: &Path) -> PathBuf {
    // Cargo marks its target directory; the innermost mark is the outer cargo's.
    let target_dir = out_dir.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file()).unwrap_or(out_dir);
    let guests = target_dir.join("guests");
    if target_dir.starts_with(workspace) {
        return guests;
    }
    guests.join(format!("{:016x}", fnv1a(workspace.as_os_str().as_encoded_bytes())))
}

/// A hash that is the same in every process and release, unlike std's.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn run_cargo(
    target: &Target,
    packages: &[&str],
    workspace: &Path,
    target_dir: &Path,
) -> Result<Vec<Artifact>, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["build", "--quiet", "--locked", "--message-format=json-render-diagnostics"])
        .args(["--profile", PROFILE, "--target", target.name, "--target-dir"])
        .arg(target_dir)
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .stderr(Stdio::inherit());
    for variable in NATIVE_VARIABLES {
        command.env_remove(variable);
    }
    if target.needs_clang {
        command.env(CLANG_VARIABLE, find_clang()?);
    }
    let output = command.output().map_err(doing("run cargo"))?;
    if !output.status.success() {
        return Err(Error::DoesNotCompile(target.name, packages.join(" -p ")));
    }
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(br#"{"reason":"compiler-artifact""#))
        .map(|line| Ok(serde_json::from_slice(line)?))
        .collect()
}

/// Copies the component of one package to where nobody else writes.
fn take(package: &str, artifacts: &[Artifact], out_dir: &Path) -> Result<Component, Error> {
    // A library's file has underscores, a binary keeps the hyphens.
    let library = format!("{}.wasm", package.replace('-', "_"));
    let names = [library.clone(), format!("{package}.wasm")];
    let built = artifacts.iter().find_map(|artifact| {
        let is_it =
            |file: &&PathBuf| file.file_name().is_some_and(|file| names.iter().any(|name| *file == **name));
        Some((artifact.filenames.iter().find(is_it)?, artifact.manifest_path.parent()?))
    });
    let (file, dir) = built.ok_or_else(|| Error::NoComponent(package.to_owned()))?;
    let wasm = out_dir.join(library);
    let bytes = fs::read(file).map_err(doing("read a component"))?;
    write_if_changed(&wasm, &bytes)?;
    Ok(Component { package: package.to_owned(), wasm, dir: dir.to_owned() })
}

/// The caller is compiled again when a file it includes is newer.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).map_err(doing("write to OUT_DIR"))
}

/// Whoever includes the file may want only some of it.
const ALLOW_UNUSED: &str = "#[allow(clippy::allow_attributes, dead_code, reason = \"generated\")]";

fn guests_rs(components: &[Component]) -> String {
    let mut source = String::new();
    let mut all = String::new();
    for Component { package, wasm, .. } in components {
        let constant = package.replace('-', "_").to_uppercase();
        let _ = writeln!(source, "/// The component of `{package}`.\n{ALLOW_UNUSED}");
        let _ = writeln!(source, "pub(crate) const {constant}: &[u8] = include_bytes!({wasm:?});");
        let _ = write!(all, "({package:?}, {constant}), ");
    }
    let _ = writeln!(source, "/// All components by the name of their package.\n{ALLOW_UNUSED}");
    let _ = writeln!(source, "pub(crate) const ALL: &[(&str, &[u8])] = &[{all}];");
    source
}

/// What to watch: every package of the workspace that went into a guest, the
/// contract, and what sets versions and profiles.
fn sources(artifacts: &[Artifact], workspace: &Path) -> BTreeSet<PathBuf> {
    artifacts
        .iter()
        .filter_map(|artifact| artifact.manifest_path.parent())
        .filter(|dir| dir.starts_with(workspace))
        .map(Path::to_owned)
        .chain(["wit", "Cargo.toml", "Cargo.lock"].map(|name| workspace.join(name)))
        .filter(|path| path.exists())
        .collect()
}

fn doing(what: &str) -> impl FnOnce(io::Error) -> Error {
    let what = what.to_owned();
    move |error| Error::Io(what, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_file_names_every_component_by_its_package() {
        let component = |package: &str| Component {
            package: package.into(),
            wasm: PathBuf::from(format!("/out/{package}.wasm")),
            dir: PathBuf::new(),
        };
        let source = guests_rs(&[component("test-guest-spin"), component("hog")]);
        assert!(source.contains(
            r#"pub(crate) const TEST_GUEST_SPIN: &[u8] = include_bytes!("/out/test-guest-spin.wasm");"#
        ));
        assert!(source.contains(r#"&[("test-guest-spin", TEST_GUEST_SPIN), ("hog", HOG), ];"#));
    }

    #[test]
    fn a_shared_target_directory_keeps_the_checkouts_apart() {
        let target = std::env::temp_dir().join(format!("opg-guest-build-{}", std::process::id()));
        let out_dir = target.join("debug/build/x/out");
        fs::create_dir_all(&out_dir).unwrap();
        fs::write(target.join("CACHEDIR.TAG"), "").unwrap();
        let dir = |workspace: &str| guests_target_dir(&out_dir, Path::new(workspace));
        let (a, b) = (dir("/a"), dir("/b"));
        let inside = guests_target_dir(&out_dir, &std::env::temp_dir());
        fs::remove_dir_all(&target).unwrap();

        assert!(a.starts_with(target.join("guests")));
        assert_ne!(a, b);
        assert_eq!(inside, target.join("guests"));
    }

    #[test]
    fn what_went_into_a_guest_is_watched_and_other_peoples_crates_are_not() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let artifact = |manifest: PathBuf| Artifact { manifest_path: manifest, filenames: Vec::new() };
        let watched = sources(
            &[
                artifact(workspace.join("sdk-guest/Cargo.toml")),
                artifact("/registry/serde/Cargo.toml".into()),
            ],
            workspace,
        );
        let expected = ["Cargo.lock", "Cargo.toml", "sdk-guest", "wit"].map(|name| workspace.join(name));
        assert_eq!(watched, BTreeSet::from(expected));
    }
}
