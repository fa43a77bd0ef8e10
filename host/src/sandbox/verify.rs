//! Whether a component may be compiled at all: checked before the compiler,
//! which is not made for hostile input, sees a byte of it.
//!
//! Size, counts, imports by name and version, and what it exports. Every
//! refusal says what to do.

use super::compiler::Job;
use super::complexity::Module;
use super::engine::FEATURES;
use super::extism;
use super::limits::{
    COMPONENT_BYTES_MAX, COMPONENTS_MAX, FUNCTION_BYTES_MAX, FUNCTIONS_MAX, INSTANCES_MADE_MAX,
    INSTANCES_MAX, MODULES_MAX, NAMES_MAX, NESTING_MAX, SEGMENTS_MAX, TYPES_MAX, WEIGHT_MAX,
};
use super::typed::docs::{self, Docs};
use wasmparser::{ComponentInstance, ComponentTypeRef, Encoding, Parser, Payload, TypeBounds, Validator};

/// What a plugin is, by what it exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// It exports `opg:tool/tool`.
    Tool,
    /// It exports `opg:agent/agent`.
    Agent,
}

/// How a component is called.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Interface {
    /// It exports `opg:tool/tool`.
    Tool,
    /// It exports `opg:agent/agent`.
    Agent,
    /// It exports functions of its own: each is a tool. With what it says of them.
    Functions(Docs),
    /// It is a core module, an Extism plugin.
    Extism(Box<extism::Shape>),
}

impl Interface {
    /// What compiles it.
    pub(super) fn job(&self) -> Job {
        match self {
            Interface::Tool | Interface::Agent | Interface::Functions(_) => Job::Component,
            Interface::Extism(_) => Job::Module,
        }
    }
}

/// Why a component cannot be loaded. All but the last two are the author's to fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Over [`COMPONENT_BYTES_MAX`].
    #[error(
        "the component has {bytes} bytes, {bytes_max} are allowed; build it optimised for size and stripped"
    )]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        bytes_max: usize,
    },
    /// Not WebAssembly.
    #[error("this is not WebAssembly; upload the `.wasm` file your build made")]
    NotWasm,
    /// WebAssembly, not a component.
    #[error("this is a core WebAssembly module; build a component: cargo build --target wasm32-wasip2")]
    CoreModule,
    /// It is an Extism plugin, and something is wrong with it or its manifest.
    #[error("this Extism plugin cannot be run: {0}")]
    Extism(String),
    /// Damaged, or uses a feature that is switched off.
    #[error("the component is not valid: {0}; rebuild it for WebAssembly 2.0 and WASI 0.2")]
    Invalid(String),
    /// Over one of the counts.
    #[error("the component has {count} {what}, {max} are allowed; split it or leave parts out")]
    TooComplex {
        /// What was counted.
        what: &'static str,
        /// How many there are, at the least.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// It imports what the sandbox does not offer.
    #[error("the component imports `{name}`, which the sandbox does not offer; {fix}")]
    ForbiddenImport {
        /// The import.
        name: String,
        /// What to do instead.
        fix: &'static str,
    },
    /// It is neither a tool nor an agent.
    #[error(
        "the component exports neither `opg:tool/tool@1` nor `opg:agent/agent@1`, nor any function; build it against \
         `wit/tool` or `wit/agent`, or use the guest SDK's `#[tool]` or `#[agent]`"
    )]
    NoExport,
    /// One of its functions cannot be a tool.
    #[error("the function `{name}` cannot be a tool: {why}")]
    Function {
        /// The name the tool would have.
        name: String,
        /// Why not, and what to do.
        why: String,
    },
    /// It is both.
    #[error("the component exports both a tool and an agent; make two components of it")]
    TwoExports,
    /// It exports a version this host does not know.
    #[error(
        "the component exports `{0}`; this host runs version 1: build it against the `wit/` of this host"
    )]
    ExportVersion(String),
    /// It declares more memories, tables or instances than one call may have, or larger ones.
    #[error("the component does not fit into one call: {0}; declare less")]
    DoesNotFit(String),
    /// Imports or exports have the right names and the wrong types.
    #[error(
        "the component does not fit this host's interfaces: {0}; build it against the `wit/` of this host"
    )]
    Mismatch(String),
    /// The compiler gave up.
    #[error("the component could not be compiled: {0}")]
    Compile(String),
    /// It takes too long to compile.
    #[error("the component takes too long to compile; make its functions smaller or leave parts out")]
    CompileTimedOut,
    /// It takes too much memory to compile.
    #[error("the component takes too much memory to compile; make its functions smaller or leave parts out")]
    CompileOutOfMemory,
    /// Others are being compiled.
    #[error("too many components are being compiled; try again later")]
    Busy,
    /// Our fault.
    #[error("the component could not be loaded: {0}")]
    Engine(String),
}

/// Checks `wasm` and says what it is.
pub(super) fn verify(wasm: &[u8]) -> Result<Interface, LoadError> {
    check_header(wasm)?;
    if Parser::is_core_wasm(wasm) {
        return Ok(Interface::Extism(Box::new(extism::verify(wasm)?)));
    }
    // Counts first: they are cheap, validation is not.
    let counted = Counts::of(wasm)?;
    Validator::new_with_features(FEATURES).validate_all(wasm).map_err(|error| invalid(&error))?;
    for name in &counted.imports {
        check_import(name)?;
    }
    interface(&counted.exports, wasm)
}

fn check_header(wasm: &[u8]) -> Result<(), LoadError> {
    if wasm.len() > COMPONENT_BYTES_MAX {
        return Err(LoadError::TooLarge { bytes: wasm.len(), bytes_max: COMPONENT_BYTES_MAX });
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm);
    }
    Ok(())
}

pub(super) fn invalid(error: &wasmparser::BinaryReaderError) -> LoadError {
    LoadError::Invalid(super::text::clean(&error.to_string(), 300))
}

/// What the engine says of a component that was compiled and for which there can be no room.
pub(super) fn does_not_fit(error: &wasmtime::Error) -> LoadError {
    let text = super::text::clean(&format!("{error:#}"), 400);
    // The engine has no type for it.
    if text.contains("exceeds the") { LoadError::DoesNotFit(text) } else { LoadError::Engine(text) }
}

/// What is in a component, at any depth, and the names at its border.
#[derive(Default)]
pub(super) struct Counts {
    functions: usize,
    weight: usize,
    types: usize,
    names: usize,
    segments: usize,
    modules: usize,
    components: usize,
    instances: usize,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Counts {
    pub(super) fn of(wasm: &[u8]) -> Result<Self, LoadError> {
        let mut counts = Self::default();
        let mut depth = 0_usize;
        let mut made = Made::default();
        // Modules hold no modules, so one at a time is enough.
        let mut module = Module::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(|error| invalid(&error))? {
                Payload::Version { encoding, .. } => {
                    depth += 1;
                    limit("levels of nesting", depth, NESTING_MAX)?;
                    made.open.push(0);
                    match encoding {
                        Encoding::Module => {
                            counts.modules += 1;
                            module = Module::default();
                        }
                        Encoding::Component => counts.components += 1,
                    }
                }
                Payload::End(_) => {
                    depth = depth.saturating_sub(1);
                    made.close()?;
                }
                Payload::ComponentImportSection(section) => {
                    counts.names += section.count() as usize;
                    counts.check()?;
                    if depth == 1 {
                        for import in section {
                            let import = import.map_err(|error| invalid(&error))?;
                            // A name for a type that is written out asks for nothing.
                            if !matches!(import.ty, ComponentTypeRef::Type(TypeBounds::Eq(_))) {
                                counts.imports.push(import.name.name.to_owned());
                            }
                        }
                    }
                }
                Payload::ComponentExportSection(section) => {
                    counts.names += section.count() as usize;
                    counts.check()?;
                    if depth == 1 {
                        for export in section {
                            counts
                                .exports
                                .push(export.map_err(|error| invalid(&error))?.name.name.to_owned());
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    let range = body.range();
                    limit(
                        "bytes in one function",
                        range.end.saturating_sub(range.start),
                        FUNCTION_BYTES_MAX,
                    )?;
                    counts.weight = counts.weight.saturating_add(module.weigh(&body)?);
                }
                Payload::FunctionSection(section) => {
                    counts.functions += section.count() as usize;
                    counts.check()?;
                    module.add_functions(section)?;
                }
                Payload::TypeSection(section) => {
                    counts.types += section.count() as usize;
                    counts.check()?;
                    module.add_types(section)?;
                }
                Payload::CoreTypeSection(section) => counts.types += section.count() as usize,
                Payload::ComponentTypeSection(section) => counts.types += section.count() as usize,
                Payload::ImportSection(section) => counts.names += section.count() as usize,
                Payload::ExportSection(section) => counts.names += section.count() as usize,
                Payload::ComponentAliasSection(section) => counts.names += section.count() as usize,
                Payload::ComponentCanonicalSection(section) => counts.functions += section.count() as usize,
                Payload::DataSection(section) => counts.segments += section.count() as usize,
                Payload::ElementSection(section) => counts.segments += section.count() as usize,
                Payload::InstanceSection(section) => {
                    counts.instances += section.count() as usize;
                    made.modules(section.count() as usize);
                }
                Payload::ComponentInstanceSection(section) => {
                    counts.instances += section.count() as usize;
                    counts.check()?;
                    for instance in section {
                        if let ComponentInstance::Instantiate { .. } =
                            instance.map_err(|error| invalid(&error))?
                        {
                            made.component();
                        }
                    }
                }
                _ => {}
            }
            counts.check()?;
        }
        Ok(counts)
    }

    fn check(&self) -> Result<(), LoadError> {
        limit("functions", self.functions, FUNCTIONS_MAX as usize)?;
        limit("units of weight in its functions (values at branches and loops)", self.weight, WEIGHT_MAX)?;
        limit("types", self.types, TYPES_MAX as usize)?;
        limit("imports, exports and aliases", self.names, NAMES_MAX as usize)?;
        limit("data and element segments", self.segments, SEGMENTS_MAX as usize)?;
        limit("core modules", self.modules, MODULES_MAX as usize)?;
        limit("nested components", self.components, COMPONENTS_MAX as usize)?;
        limit("instances", self.instances, INSTANCES_MAX as usize)
    }
}

/// How many instances there will be once everything is made: a component that makes fifty of another, which
/// makes fifty of a third, is small as it is written.
///
/// It is not looked up which component is made: the one with the most instances is assumed.
#[derive(Default)]
struct Made {
    /// For each component that is being read, its instances so far.
    open: Vec<usize>,
    /// The most instances that any component read so far comes to.
    most: usize,
}

impl Made {
    fn modules(&mut self, count: usize) {
        self.add(count);
    }

    fn component(&mut self) {
        self.add(self.most.saturating_add(1));
    }

    fn add(&mut self, count: usize) {
        if let Some(open) = self.open.last_mut() {
            *open = open.saturating_add(count);
        }
    }

    fn close(&mut self) -> Result<(), LoadError> {
        let total = self.open.pop().unwrap_or(0);
        self.most = self.most.max(total);
        limit("instances once all are made", total, INSTANCES_MADE_MAX)
    }
}

pub(super) fn limit(what: &'static str, count: usize, max: usize) -> Result<(), LoadError> {
    if count > max { Err(LoadError::TooComplex { what, count, max }) } else { Ok(()) }
}

/// The host's interfaces, version 1.
const HOST_INTERFACES: [&str; 12] = [
    "opg:host/types",
    "opg:host/log",
    "opg:host/secrets",
    "opg:host/http",
    "opg:host/kv",
    "opg:host/db",
    "opg:host/workspace",
    "opg:host/model",
    "opg:host/tools",
    "opg:host/events",
    "opg:host/permission",
    "opg:tool/types",
];

/// The parts of WASI 0.2 that standard libraries pull in. With them a guest
/// reads the clock, gets random bytes and writes log lines; the environment,
/// the arguments, standard input and the file system are there and empty.
const WASI_INTERFACES: [&str; 20] = [
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:filesystem/types",
    "wasi:filesystem/preopens",
];

fn check_import(name: &str) -> Result<(), LoadError> {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    if HOST_INTERFACES.contains(&interface) && version.starts_with("1.")
        || WASI_INTERFACES.contains(&interface) && version.starts_with("0.2.")
    {
        return Ok(());
    }
    Err(LoadError::ForbiddenImport { name: super::text::clean(name, 200), fix: fix_for(interface) })
}

fn fix_for(interface: &str) -> &'static str {
    if HOST_INTERFACES.contains(&interface) {
        "this host speaks version 1 of it: build against the `wit/` of this host"
    } else if WASI_INTERFACES.contains(&interface) {
        "it offers WASI 0.2: build for the target wasm32-wasip2"
    } else if interface.starts_with("wasi:sockets/") || interface.starts_with("wasi:http/") {
        "there are no sockets: send requests with `opg:host/http`, to hosts the plugin asks for"
    } else if interface.starts_with("opg:") {
        "it may come from a newer version: update the host, or build against its `wit/`"
    } else {
        "only `opg:host` and the plain parts of WASI 0.2 are there: leave out the dependency that needs it"
    }
}

fn interface(exports: &[String], wasm: &[u8]) -> Result<Interface, LoadError> {
    let find = |interface: &str| {
        let export = exports.iter().find(|name| name.split('@').next() == Some(interface));
        match export.map(|name| (name, name.split_once('@').map_or("", |(_, version)| version))) {
            Some((_, version)) if version.starts_with("1.") => Ok(true),
            Some((name, _)) => Err(LoadError::ExportVersion(super::text::clean(name, 200))),
            None => Ok(false),
        }
    };
    match (find("opg:tool/tool")?, find("opg:agent/agent")?) {
        (true, false) => Ok(Interface::Tool),
        (false, true) => Ok(Interface::Agent),
        (true, true) => Err(LoadError::TwoExports),
        (false, false) if exports.iter().any(|name| !name.starts_with("wasi:")) => {
            Ok(Interface::Functions(docs::read(wasm)))
        }
        (false, false) => Err(LoadError::NoExport),
    }
}
