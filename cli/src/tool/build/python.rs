//! Python: `componentize-py`, which puts an interpreter and all it has loaded into one component.

use super::{Artifact, Kind, missing, strip};
use crate::tool::{Told, Wrong, project::Project};
use anyhow::Context;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What the component is made of: the tool, and then what loading left behind is wiped.
const SNAPSHOT: &str = include_str!("../../../templates/python/snapshot.py");
const SNAPSHOT_MODULE: &str = "opg_snapshot";
const HELP: &str = "install Python 3.10 or newer with venv and pip (Debian: python3 python3-venv)";

pub(super) fn build(project: &Project) -> anyhow::Result<Artifact> {
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
    let module = project.main.file_stem().unwrap_or_default().to_string_lossy();
    fs::write(out.join(SNAPSHOT_MODULE).with_extension("py"), SNAPSHOT.replace("{{module}}", &module))?;
    let mut componentize = Command::new(bin.join("componentize-py"));
    componentize
        .current_dir(&project.dir)
        .args(["-d", ".opg/wit", "-w", "plugin", "componentize", "--stub-wasi"])
        // Where modules are found.
        .args(["-p", ".", "-p", ".opg/build", SNAPSHOT_MODULE])
        .arg("-o")
        .arg(Path::new(".opg/build").join(format!("{}.wasm", project.name)))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    let status = componentize.status().map_err(|cause| missing("componentize-py", &cause, HELP))?;
    if !status.success() {
        eprintln!("opg tool: it does not become a component; see above");
        return Err(Told.into());
    }
    let named = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let bytes = strip::without_names(&named).context("componentize-py made no component")?;
    fs::write(&path, &bytes)?;
    Ok(Artifact { path, bytes: bytes.into(), kind: Kind::Component })
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
    let status = command.stdout(Stdio::null()).status().map_err(|cause| missing(program, &cause, HELP))?;
    if status.success() {
        return Ok(());
    }
    let text = format!(
        "{program} failed, see above: Python 3.10 or newer with venv and pip is needed (Debian: python3 python3-venv)"
    );
    Err(Wrong(text).into())
}
