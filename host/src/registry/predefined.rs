//! What we ship: tools and agents as components, the same for every app.
//!
//! They run in the same sandbox, under the same gate. What they ask for of
//! the outside (`http`, `secret`) an app grants at review like for any other
//! plugin; models, tools and their own key-value store come with them.

use super::{Description, PluginKind, PluginName, Requested, upload};
use crate::{
    grants::{Capability, CapabilityKind},
    sandbox::{Component, Sandbox},
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The agent that runs where no other is named.
pub const DEFAULT_AGENT: &str = "default";

/// A component as it is shipped.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// What it is.
    pub kind: PluginKind,
    /// Its name.
    pub name: &'static str,
    /// Its bytes.
    pub wasm: &'static [u8],
    /// Its source, to read.
    pub source: &'static str,
}

/// A shipped plugin, ready to run.
#[derive(Clone)]
pub struct Plugin {
    /// Its name.
    pub name: PluginName,
    /// Compiled.
    pub component: Component,
    /// Its bytes.
    pub wasm: Bytes,
    /// Its source, to read; empty for one from `PREDEFINED_DIR`.
    pub source: &'static str,
    /// What it said it is.
    pub description: Description,
    /// What it asks for.
    pub requested: Vec<Requested>,
}

/// Everything we ship.
#[derive(Clone, Default)]
pub struct Predefined(BTreeMap<PluginName, Plugin>);

/// Why what we ship does not load.
#[derive(Debug, thiserror::Error)]
pub enum PredefinedError {
    /// A file in `PREDEFINED_DIR`.
    #[error("PREDEFINED_DIR: {} cannot be read: {cause}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A component is not one.
    #[error("predefined {name}: {cause}")]
    Bad {
        /// Which.
        name: PluginName,
        /// Why.
        cause: upload::UploadError,
    },
}

impl Predefined {
    /// Compiles what is shipped; files in `dir` (`tools/<name>.wasm`, `agents/<name>.wasm`) replace or add.
    ///
    /// # Errors
    /// [`PredefinedError`]
    pub async fn load(
        sandbox: &Sandbox,
        shipped: &[Shipped],
        dir: Option<&Path>,
    ) -> Result<Predefined, PredefinedError> {
        let mut sources: BTreeMap<PluginName, (Bytes, &'static str)> = shipped
            .iter()
            .map(|s| {
                (PluginName { kind: s.kind, name: s.name.to_owned() }, (Bytes::from_static(s.wasm), s.source))
            })
            .collect();
        if let Some(dir) = dir {
            for kind in [PluginKind::Tool, PluginKind::Agent] {
                for (name, wasm) in read_dir(&dir.join(format!("{}s", kind.name())))? {
                    sources.insert(PluginName { kind, name }, (wasm, ""));
                }
            }
        }
        let mut plugins = BTreeMap::new();
        for (name, (wasm, source)) in sources {
            let loaded = upload::examine(sandbox, name.kind, &name.name, wasm.clone()).await;
            let examined = loaded.map_err(|cause| PredefinedError::Bad { name: name.clone(), cause })?;
            let plugin = Plugin {
                name: name.clone(),
                component: examined.component,
                wasm,
                source,
                description: examined.description,
                requested: examined.requested,
            };
            plugins.insert(name, plugin);
        }
        Ok(Predefined(plugins))
    }

    /// The one of this kind and name.
    pub fn find(&self, kind: PluginKind, name: &str) -> Option<&Plugin> {
        self.0.get(&PluginName { kind, name: name.to_owned() })
    }

    /// All of this kind, by name.
    pub fn all(&self, kind: PluginKind) -> impl Iterator<Item = &Plugin> {
        self.0.values().filter(move |plugin| plugin.name.kind == kind)
    }

    /// The names of this kind.
    pub fn names(&self, kind: PluginKind) -> Vec<String> {
        self.all(kind).map(|plugin| plugin.name.name.clone()).collect()
    }
}

impl Plugin {
    /// What comes with it, for every app: nothing of the outside.
    pub fn granted_as_shipped(&self) -> impl Iterator<Item = Capability> {
        self.requested.iter().map(|r| r.capability.clone()).filter(|capability| {
            matches!(capability.kind, CapabilityKind::Kv | CapabilityKind::Model | CapabilityKind::Tool)
        })
    }

    /// Whether it asks for something of the outside, which an app must grant first.
    pub fn reaches_outside(&self) -> bool {
        self.requested
            .iter()
            .any(|r| matches!(r.capability.kind, CapabilityKind::Http | CapabilityKind::Secret))
    }
}

fn read_dir(dir: &Path) -> Result<Vec<(String, Bytes)>, PredefinedError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| PredefinedError::Read { path, cause }
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(failed(dir)(error)),
    };
    let mut found = vec![];
    for entry in entries {
        let path = entry.map_err(failed(dir))?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|ext| ext == "wasm") && super::is_name(name) {
            found.push((name.to_owned(), Bytes::from(std::fs::read(&path).map_err(failed(&path))?)));
        }
    }
    Ok(found)
}
