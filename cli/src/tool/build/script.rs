//! TypeScript and JavaScript: one file, which the server makes a component of.

use super::{Artifact, Kind};
use crate::tool::{Wrong, project::Project};
use anyhow::Context;
use opg_host::typescript::SOURCE_BYTES_MAX;
use std::fs;

pub(super) fn read(project: &Project) -> anyhow::Result<Artifact> {
    let path = project.main.clone();
    let bytes = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let shown = path.display();
    if bytes.len() > SOURCE_BYTES_MAX {
        let text = format!("{shown} is larger than {SOURCE_BYTES_MAX} bytes, the most the server takes");
        return Err(Wrong(text).into());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Wrong(format!("{shown} is not UTF-8 text")))?;
    if !text.contains("export") {
        return Err(Wrong(format!("{shown} exports nothing; write `export default tool({{ … }})`")).into());
    }
    Ok(Artifact { path, bytes: bytes.into(), kind: Kind::Script })
}
