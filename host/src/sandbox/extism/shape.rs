//! What a core module is to us, read before it is compiled: by its imports an Extism plugin or nothing we run.

use super::kernel;
use super::manifest::{self, Manifest};
use super::wasi;
use crate::sandbox::engine::FEATURES;
use crate::sandbox::limits::TOOLS_MAX;
use crate::sandbox::text::clean;
use crate::sandbox::verify::{Counts, LoadError, invalid, limit};
use wasmparser::{BinaryReaderError, ExternalKind, Parser, Payload, RecGroup, TypeRef, ValType, Validator};

/// What a plugin says it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::sandbox) struct Shape {
    /// The functions that take nothing and give an `i32` or nothing, but those of its toolchain; sorted. Of a command,
    /// which has no others, the one that starts it.
    pub(super) functions: Vec<String>,
    /// What its author says besides.
    pub(super) manifest: Manifest,
}

/// The pair of functions that mcp.run calls a servlet.
pub(super) const SERVLET: [&str; 2] = ["describe", "call"];

impl Shape {
    /// Whether it describes its tools itself.
    pub(super) fn is_servlet(&self) -> bool {
        SERVLET.iter().all(|name| self.has(name))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.functions.binary_search_by(|function| function.as_str().cmp(name)).is_ok()
    }
}

/// Checks a core module and says what it is.
pub(in crate::sandbox) fn verify(wasm: &[u8]) -> Result<Shape, LoadError> {
    if !speaks_extism(wasm) {
        return Err(LoadError::CoreModule);
    }
    // Counts first: they are cheap, validation is not.
    Counts::of(wasm)?;
    Validator::new_with_features(FEATURES).validate_all(wasm).map_err(|error| invalid(&error))?;
    let found = Found::in_module(wasm).map_err(|error| invalid(&error))?;
    for (module, name) in &found.imports {
        check_import(module, name)?;
    }
    let manifest = match found.sections.as_slice() {
        [] => Manifest::default(),
        [section] => Manifest::read(section)?,
        _ => return Err(LoadError::Extism(manifest::ONE_ONLY.to_owned())),
    };
    let shape = Shape { functions: found.functions, manifest };
    if shape.functions.is_empty() {
        return Err(LoadError::Extism(
            "it exports no function that takes nothing and returns an i32 or nothing, as a PDK makes them"
                .to_owned(),
        ));
    }
    limit("functions that would be tools", shape.functions.len(), TOOLS_MAX)?;
    shape.manifest.check_tools(&shape)?;
    Ok(shape)
}

/// Whether anything is imported from Extism. What cannot be read does not.
fn speaks_extism(wasm: &[u8]) -> bool {
    let found = Parser::new(0).parse_all(wasm).find_map(|payload| match payload {
        Ok(Payload::ImportSection(section)) => {
            Some(section.into_imports().map_while(Result::ok).any(|import| import.module == kernel::ENV))
        }
        Ok(Payload::CodeSectionStart { .. }) | Err(_) => Some(false),
        Ok(_) => None,
    });
    found == Some(true)
}

fn check_import(module: &str, name: &str) -> Result<(), LoadError> {
    let (known, fix) = match module {
        kernel::ENV => (kernel::FUNCTIONS.contains(&name), "build it with a PDK of Extism 1.0 or later 1.x"),
        wasi::MODULE => (
            wasi::is_known(name),
            "of WASI preview 1 it has clocks, random numbers and what is printed, no more",
        ),
        kernel::USER => (
            false,
            "functions of an application's own are not there: send requests with the PDK's http, or build a \
             component against `opg:host`",
        ),
        _ => (false, "an Extism plugin imports from `extism:host/env` and `wasi_snapshot_preview1` alone"),
    };
    if known {
        return Ok(());
    }
    Err(LoadError::ForbiddenImport { name: clean(&format!("{module}.{name}"), 200), fix })
}

/// What a valid module says at its border.
#[derive(Default)]
struct Found<'a> {
    imports: Vec<(&'a str, &'a str)>,
    functions: Vec<String>,
    /// Its manifests.
    sections: Vec<&'a [u8]>,
}

impl<'a> Found<'a> {
    fn in_module(wasm: &'a [u8]) -> Result<Found<'a>, BinaryReaderError> {
        let mut found = Found::default();
        // For each type, whether a tool may have it; for each function, its type.
        let (mut fits, mut types): (Vec<bool>, Vec<u32>) = (vec![], vec![]);
        let mut exports = vec![];
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(section) => {
                    for group in section {
                        fits.push(is_of_a_tool(&group?));
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        found.imports.push((import.module, import.name));
                        if let TypeRef::Func(ty) = import.ty {
                            types.push(ty);
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        types.push(ty?);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        let ty = types.get(export.index as usize).copied().unwrap_or(u32::MAX);
                        let fits = fits.get(ty as usize) == Some(&true);
                        if export.kind == ExternalKind::Func && fits {
                            exports.push(export.name);
                        }
                    }
                }
                Payload::CustomSection(section) if section.name() == manifest::SECTION => {
                    found.sections.push(section.data());
                }
                _ => {}
            }
        }
        let own = exports.iter().filter(|name| !is_of_a_toolchain(name)).map(|name| (*name).to_owned());
        found.functions = own.collect();
        if found.functions.is_empty() && exports.contains(&COMMAND) {
            found.functions.push(COMMAND.to_owned());
        }
        found.functions.sort_unstable();
        Ok(found)
    }
}

/// What starts a command, such as Go makes where nothing is exported.
const COMMAND: &str = "_start";

/// `() -> i32`, or `() -> ()`.
fn is_of_a_tool(group: &RecGroup) -> bool {
    let mut types = group.types();
    let (ty, more) = (types.next(), types.next());
    ty.filter(|_| more.is_none()).is_some_and(|ty| match &ty.composite_type.inner {
        wasmparser::CompositeInnerType::Func(ty) => {
            ty.params().is_empty() && matches!(ty.results(), [] | [ValType::I32])
        }
        _ => false,
    })
}

/// Functions of this type that no author wrote: those of TinyGo's, Emscripten's and Haskell's runtimes, and what begins
/// with `_`.
fn is_of_a_toolchain(name: &str) -> bool {
    ["_", "asyncify_", "emscripten_", "hs_"].iter().any(|prefix| name.starts_with(prefix))
        || name == "stackSave"
}
