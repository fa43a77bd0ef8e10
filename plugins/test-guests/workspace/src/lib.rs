//! Test guest: does with the files of its session what it is told, step by step; what the host said to each step, with
//! the name of the error where it is one, is the output.

use opg_guest::bindings::host::opg::host::workspace::{self as host, Error as FileError, Kind};
use opg_guest::*;

/// Does one thing after another.
#[tool(workspace("read-write", "to work on the files"), tool("*", "to have others do it"))]
fn workspace(
    /// What to do: `{"do": "write", "path": "…", "text": "…"}` and so on.
    steps: Vec<Value>,
) -> Result<Vec<Value>, Error> {
    Ok(steps.iter().map(step).collect())
}

/// Reads one file; it wants no more than that.
#[tool(workspace("read", "to read a file"))]
fn workspace_read(
    /// Which.
    path: String,
) -> Result<String, Error> {
    opg_guest::workspace::read_text(&path)
}

plugin!(workspace, workspace_read);

fn step(step: &Value) -> Value {
    let text = |name: &str| step[name].as_str().unwrap_or_default();
    let number = |name: &str| step[name].as_u64();
    let path = text("path");
    let answer = match text("do") {
        "read" => host::read(path, number("offset").unwrap_or_default(), number("length").unwrap_or(1 << 20))
            .map(|part| json!({"text": String::from_utf8_lossy(&part.bytes), "size": part.size})),
        "write" => host::write(path, text("text").as_bytes()).map(|()| Value::Null),
        "fill" => {
            host::write(path, &vec![b'x'; number("bytes").unwrap_or_default() as usize]).map(|()| Value::Null)
        }
        "write_at" => host::write_at(path, number("offset"), text("text").as_bytes()).map(|()| Value::Null),
        "stat" => host::stat(path).map(|entry| shown(&entry)),
        "list" => host::entries(path, step["after"].as_str())
            .map(|entries| entries.iter().map(shown).collect::<Vec<_>>().into()),
        "mkdir" => host::make_directory(path).map(|()| Value::Null),
        "remove" => host::remove(path, step["all"] == true).map(|()| Value::Null),
        "rename" => host::rename(path, text("to")).map(|()| Value::Null),
        "find" => host::find(path, text("text"), step["regex"] == true).map(|found| {
            let one = |found: &host::Match| json!([found.path, found.line, found.column, found.text]);
            found.iter().map(one).collect::<Vec<_>>().into()
        }),
        "many" => many(path, number("times").unwrap_or_default()),
        "call" => {
            return match tools::call::<Value>(text("name"), &step["input"]) {
                Ok(value) => json!({"ok": value}),
                Err(error) => json!({"error": error.kind(), "message": error.message()}),
            };
        }
        other => return json!({"error": "unknown", "message": other}),
    };
    match answer {
        Ok(value) => json!({"ok": value}),
        Err(error) => {
            let (name, message) = told(&error);
            json!({"error": name, "message": message})
        }
    }
}

/// Writes files until it may not any more; how many it could.
fn many(path: &str, times: u64) -> Result<Value, FileError> {
    for at in 0..times {
        if let Err(error) = host::write(&format!("{path}/{at}"), b"x") {
            let (name, message) = told(&error);
            return Ok(json!({"written": at, "error": name, "message": message}));
        }
    }
    Ok(json!({"written": times}))
}

fn shown(entry: &host::Entry) -> Value {
    json!([entry.path, if entry.kind == Kind::File { "file" } else { "directory" }, entry.size])
}

fn told(error: &FileError) -> (&'static str, &str) {
    match error {
        FileError::Denied(text) => ("denied", text),
        FileError::NoSession(text) => ("no-session", text),
        FileError::Gone(text) => ("gone", text),
        FileError::NotFound(text) => ("not-found", text),
        FileError::Exists(text) => ("exists", text),
        FileError::NotADirectory(text) => ("not-a-directory", text),
        FileError::IsADirectory(text) => ("is-a-directory", text),
        FileError::NotEmpty(text) => ("not-empty", text),
        FileError::Invalid(text) => ("invalid", text),
        FileError::Limit(text) => ("limit", text),
        FileError::Unavailable(text) => ("unavailable", text),
    }
}
