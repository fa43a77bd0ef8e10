//! Builds the guests the tests run, and lists the hostile ones.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

fn main() {
    opg_guest_build::build(&[
        "example-customers",
        "example-word-count",
        "test-guest-agent-drip",
        "test-guest-agent-echo",
        "test-guest-agent-spin",
        "test-guest-agent-teller",
        "test-guest-bad-describe",
        "test-guest-chatter",
        "test-guest-counter",
        "test-guest-db",
        "test-guest-exfil",
        "test-guest-grabby",
        "test-guest-hog",
        "test-guest-not-a-plugin",
        "test-guest-relay",
        "test-guest-roomy",
        "test-guest-secret-thief",
        "test-guest-shout",
        "test-guest-sleepy-describe",
        "test-guest-slow",
        "test-guest-socket",
        "test-guest-spin",
        "test-guest-trap",
        "test-guest-typed",
        "test-guest-typed-resource",
        "test-guest-wasi",
        "test-guest-workspace",
    ]);
    opg_guest_build::build_modules(&["test-guest-extism-kit", "test-guest-extism-servlet"]);
    list_hostile_guests().expect("the directories of the guests can be read");
}

/// Writes `OUT_DIR/hostile_guests.rs`: a constant for each guest with a README,
/// and a macro over their names, which the tests expand: a guest without a test
/// does not compile.
fn list_hostile_guests() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let plugins = root.parent().expect("this crate is in a workspace").join("plugins");
    let mut dirs = vec![];
    for guests in ["hostile-guests", "test-guests"].map(|folder| plugins.join(folder)) {
        println!("cargo::rerun-if-changed={}", guests.display());
        for entry in fs::read_dir(guests)? {
            let dir = entry?.path();
            if dir.join("README.md").is_file() {
                dirs.push(dir);
            }
        }
    }
    dirs.sort();
    let mut source = String::new();
    let (mut all, mut names) = (String::new(), String::new());
    for dir in &dirs {
        let name = dir.file_name().expect("a directory has a name").to_string_lossy();
        let ident = name.replace('-', "_");
        let constant = ident.to_uppercase();
        let made_of = made_of(dir, &ident, &constant, &mut source);
        let readme = dir.join("README.md");
        let _ = writeln!(
            source,
            "/// `{name}`.\npub const {constant}: Guest = Guest {{ name: {name:?}, readme: include_str!({readme:?}), source: {made_of} }};"
        );
        let _ = write!(all, "{constant}, ");
        let _ = write!(names, "{ident} {constant}; ");
    }
    let _ = writeln!(source, "/// All of them, by name.\npub const ALL: &[Guest] = &[{all}];");
    let _ = writeln!(
        source,
        "/// Calls a macro with the name and the constant of every hostile guest.\n#[macro_export]\nmacro_rules! each_hostile_guest {{ ($do:ident) => {{ $do! {{ {names} }} }}; }}"
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("hostile_guests.rs");
    // Compiled again only when something changed.
    if fs::read(&out).is_ok_and(|old| old == source.as_bytes()) { Ok(()) } else { fs::write(out, source) }
}

fn made_of(dir: &Path, ident: &str, constant: &str, source: &mut String) -> String {
    let (text, code) = (dir.join("guest.wat"), dir.join("guest.rs"));
    if text.is_file() {
        format!("Source::Text(include_str!({text:?}))")
    } else if code.is_file() {
        let _ = writeln!(source, "#[path = {code:?}]\npub mod {ident};");
        format!("Source::Made({ident}::wasm)")
    } else {
        format!("Source::Built(crate::guests::built::TEST_GUEST_{constant})")
    }
}
