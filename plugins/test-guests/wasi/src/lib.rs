//! Test guest: looks around with nothing but std, and returns what it saw.

use std::io::Read;

use opg_guest::*;

/// Looks for environment variables, arguments, files and input.
#[tool]
fn wasi() -> Value {
    let variables: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    let arguments: Vec<String> = std::env::args().collect();
    let mut stdin = Vec::new();
    let stdin_result = std::io::stdin().read_to_end(&mut stdin).map_err(|error| error.to_string());
    // Into nothing, or into the log; never to the host's own terminal.
    println!("said on stdout");
    eprintln!("said on stderr");
    json!({
        "variables": variables,
        "arguments": arguments,
        "passwd": outcome(std::fs::read_to_string("/etc/passwd")),
        "root": outcome(std::fs::read_dir("/").map(|entries| entries.count())),
        "written": outcome(std::fs::write("/tmp/opg-was-here", "x").map(|()| true)),
        "stdin": {"bytes": stdin.len(), "error": stdin_result.err()},
    })
}

/// Waits with WASI alone, which epochs cannot see.
#[tool]
fn sleep(
    /// How long.
    ms: u64,
) -> u64 {
    std::thread::sleep(std::time::Duration::from_millis(ms));
    ms
}

/// Ends the process, if there were one.
#[tool]
fn leave(
    /// With which status.
    code: i32,
) {
    std::process::exit(code);
}

plugin!(wasi, sleep, leave);

fn outcome<T: serde::Serialize>(result: std::io::Result<T>) -> Value {
    match result {
        Ok(value) => json!({"ok": value}),
        Err(error) => json!({"error": error.to_string()}),
    }
}
