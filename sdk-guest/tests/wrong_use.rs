//! Wrong use of the macros is one error, in one sentence, at the author's own code.
//!
//! Each case is compiled by `rustc` against this crate as it was built for this
//! very test, so that nothing is built for it: a fifth of a second a case.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What an author wrote, and what the compiler must say. Line 3 is where each begins.
const CASES: &[(&str, &str)] = &[
    ("#[tool]\nfn f() {}", "4:4: error: say what it does in a doc comment (`/// …`): the model reads it"),
    ("/// D.\n#[tool]\nasync fn f() {}", "5:1: error: a guest is not async: calls to the host simply wait"),
    ("/// D.\n#[tool]\nfn f<T>(x: T) {}", "5:5: error: the host calls it with JSON, so it cannot be generic"),
    (
        "/// D.\n#[tool]\nfn f(text: &str) {}",
        "5:12: error: the input is read from JSON, so a parameter owns its value; use `String`, `Vec`, …",
    ),
    (
        "/// D.\n#[tool(http(\"a.example\"))]\nfn f() {}",
        "4:8: error: write `http(\"target\", \"the reason, for the person who grants it\")`",
    ),
    (
        "/// D.\n#[tool(file(\"/etc\", \"to look\"))]\nfn f() {}",
        "4:8: error: there is no capability `file`; the kinds are ",
    ),
    (
        "/// D.\n#[tool]\nfn f(input: Order) {}\nstruct Order;",
        "5:13: error[E0277]: `Order` cannot be read from the input of a tool",
    ),
    (
        "/// D.\n#[tool]\nfn f() -> Order { Order }\nstruct Order;",
        "5:4: error[E0277]: `Order` cannot be the output of a tool",
    ),
    (
        "/// D.\n#[tool]\nfn f() -> Result<u8, String> { Ok(1) }",
        "5:4: error[E0277]: `std::string::String` cannot be the error of a tool",
    ),
    (
        "/// D.\n#[tool]\nfn f(a: u8, context: Context, b: u8) {}",
        "5:13: error: the context is the last parameter",
    ),
    ("#[input(x)]\nstruct Order;", "3:9: error: `#[input]` takes no arguments"),
    (
        "/// D.\n#[agent]\nfn f() -> Result<Outcome, Error> { todo!() }",
        "5:4: error: an agent is `fn(turn: Turn) -> Result<Outcome, Error>`",
    ),
];

#[test]
fn wrong_use_is_one_error_in_one_line_at_the_authors_code() {
    let sdk = newest_sdk();
    let said: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = CASES.iter().map(|(source, _)| scope.spawn(|| compile(&sdk, source))).collect();
        running.into_iter().map(|case| case.join().expect("a case does not panic")).collect()
    });
    for ((source, expected), said) in CASES.iter().zip(said) {
        let errors: Vec<_> = said.lines().filter(|line| line.contains(": error")).collect();
        assert_eq!(errors.len(), 1, "{source}\n{said}");
        assert!(errors[0].contains(expected), "{source}\nexpected {expected}\ngot      {}", errors[0]);
    }
}

#[test]
fn right_use_compiles() {
    let source = "/// D.\n#[tool(kv(\"read\", \"to look\"))]\nfn f(input: Order) -> Result<u8, std::num::ParseIntError> \
                  { input.count.parse() }\nplugin!(f);\n#[input]\nstruct Order { count: String }";
    let said = compile(&newest_sdk(), source);
    assert!(!said.contains("error"), "{said}");
}

/// Compiles a case; what the compiler said, one line for each thing.
fn compile(sdk: &Path, source: &str) -> String {
    let deps = sdk.parent().expect("it lies in a folder");
    let mut rustc = Command::new(option_env!("RUSTC").unwrap_or("rustc"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "-",
            "--edition=2024",
            "--crate-type=lib",
            "--emit=metadata",
            "--error-format=short",
            "-Adead_code",
        ])
        .arg("--out-dir")
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg("--extern")
        .arg(format!("opg_guest={}", sdk.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rustc can be run");
    let mut stdin = rustc.stdin.take().expect("it is piped");
    write!(stdin, "#![allow(unused)]\nuse opg_guest::*;\n{source}\n").expect("rustc reads it");
    drop(stdin);
    let output = rustc.wait_with_output().expect("rustc ends");
    String::from_utf8(output.stderr).expect("it speaks UTF-8")
}

/// This crate as cargo built it for this test: beside the test, and the newest of its name.
fn newest_sdk() -> PathBuf {
    let program = std::env::current_exe().expect("this is a program");
    let deps = program.parent().expect("it lies in a folder");
    let ours = |name: &str| name.starts_with("libopg_guest-") && name.ends_with(".rlib");
    let found = fs::read_dir(deps)
        .expect("the folder can be read")
        .flatten()
        .filter(|entry| ours(&entry.file_name().to_string_lossy()))
        .max_by_key(|entry| entry.metadata().and_then(|meta| meta.modified()).ok());
    found.expect("it was built for this test").path()
}
