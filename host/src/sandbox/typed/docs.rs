//! The doc comments of a component's functions, from its custom section `package-docs`.
//!
//! The component model has no place for them. `wit-parser` keeps those of a WIT
//! package in this section, and `wit-docs-inject` puts it into a component: one
//! byte of version, then JSON. Whoever writes it is the component's author, so
//! what does not fit is no error: the signature stands instead.

use crate::sandbox::limits::DOCS_BYTES_MAX;
use serde::Deserialize;
use std::collections::BTreeMap;
use wasmparser::{Parser, Payload};

/// Text by function, see [`key`].
pub(in crate::sandbox) type Docs = BTreeMap<String, String>;

/// What a function is found by. `interface` is the bare name, without package and version.
pub(super) fn key(interface: Option<&str>, function: &str) -> String {
    match interface {
        Some(interface) => format!("{interface}#{function}"),
        None => function.to_owned(),
    }
}

/// The doc comments in a component; none where it keeps none or they cannot be read.
pub(in crate::sandbox) fn read(wasm: &[u8]) -> Docs {
    let Some(package) = section(wasm).and_then(parse) else { return Docs::new() };
    let mut docs = Docs::new();
    let mut add = |interface: Option<&str>, functions: BTreeMap<String, FunctionDocs>| {
        let text = |(name, function): (String, FunctionDocs)| Some((key(interface, &name), function.text()?));
        docs.extend(functions.into_iter().filter_map(text));
    };
    for (name, interface) in package.interfaces {
        add(Some(&name), interface.funcs);
    }
    for world in package.worlds.into_values() {
        for (name, interface) in world.interfaces.into_iter().chain(world.interface_exports) {
            add(Some(&name), interface.funcs);
        }
        add(None, world.funcs);
        add(None, world.func_exports);
    }
    docs
}

fn section(wasm: &[u8]) -> Option<&[u8]> {
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.ok()? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::CustomSection(section) if depth == 1 && section.name() == "package-docs" => {
                return Some(section.data()).filter(|data| data.len() <= DOCS_BYTES_MAX);
            }
            _ => {}
        }
    }
    None
}

fn parse(data: &[u8]) -> Option<PackageDocs> {
    const VERSIONS: [u8; 2] = [0, 1];
    let (version, json) = data.split_first()?;
    if VERSIONS.contains(version) { serde_json::from_slice(json).ok() } else { None }
}

#[derive(Deserialize)]
struct PackageDocs {
    #[serde(default)]
    worlds: BTreeMap<String, WorldDocs>,
    #[serde(default)]
    interfaces: BTreeMap<String, InterfaceDocs>,
}

/// In the first version, and where nothing of that name is imported, exports stand in the plain maps.
#[derive(Deserialize)]
struct WorldDocs {
    #[serde(default)]
    interfaces: BTreeMap<String, InterfaceDocs>,
    #[serde(default)]
    interface_exports: BTreeMap<String, InterfaceDocs>,
    #[serde(default)]
    funcs: BTreeMap<String, FunctionDocs>,
    #[serde(default)]
    func_exports: BTreeMap<String, FunctionDocs>,
}

#[derive(Deserialize)]
struct InterfaceDocs {
    #[serde(default)]
    funcs: BTreeMap<String, FunctionDocs>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FunctionDocs {
    Text(Option<String>),
    Fields { docs: Option<String> },
}

impl FunctionDocs {
    fn text(self) -> Option<String> {
        let (FunctionDocs::Text(text) | FunctionDocs::Fields { docs: text }) = self;
        text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}
