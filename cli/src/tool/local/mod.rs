//! Running a tool here: the server's own sandbox, limits, checks and gate,
//! behind a door with nothing of the server's behind it.
//!
//! What a tool may reach is judged by the same `grants::decide`. Behind the door:
//! a key-value store in memory, requests through the same guarded way out, and
//! secrets the author names. Refused with a word: the database, models and other
//! tools, which are an app's.

mod door;
mod http;
mod secrets;

use super::{
    Wrong,
    build::{Artifact, Kind},
    text,
};
use anyhow::Context;
pub(super) use door::Line;
use door::LocalDoor;
use opg_host::{
    app::Entropy,
    egress::{Egress, EgressPolicy},
    error::FieldError,
    grants::{Capability, CapabilityKind},
    guests::limits,
    registry::{
        PluginKind, Requested,
        upload::{self, Examined, UploadError},
    },
    sandbox::{
        CallContext, CallError, CallLimits, Sandbox, SandboxConfig, Spent, ToolError,
        compiler::CompilerConfig, door::ToolDefinition,
    },
    tools, typescript,
};
pub(super) use secrets::Secrets;
use std::{env, fmt::Write as _, path::PathBuf, sync::Arc, time::Duration};

/// Calls at once: one, and one still on its way back.
const CALLS_IN_FLIGHT_MAX: u32 = 2;
/// How long the compiler may take by the wall clock: nobody else waits for it here, and an author's machine may be
/// busy. CPU time and memory are those of a server.
const COMPILE_WALL_MAX: Duration = Duration::from_secs(300);
/// How many times a server's CPU time: a build without optimisation, which only our own tests have, takes twice as
/// long for the same, and on a busy machine more.
const COMPILE_CPU_FACTOR: u32 = if cfg!(debug_assertions) { 4 } else { 1 };
/// The app a tool believes to run for.
const APP: &str = "local";

/// A sandbox of our own.
pub(super) struct Local {
    sandbox: Sandbox,
    /// What makes components of scripts.
    scripts: typescript::Compiler,
}

/// A tool's component, looked at as the server does at upload, and what it may reach here.
pub(super) struct Loaded {
    examined: Examined,
    granted: Vec<Capability>,
    secrets: Secrets,
    allow_private: bool,
    yes: bool,
}

/// How one run went.
pub(super) struct Ran {
    /// JSON text, or why there is none.
    pub(super) result: Result<String, Failed>,
    pub(super) logs: Vec<Line>,
    /// What it reached for, and whether it was let.
    pub(super) reached: Vec<(String, bool)>,
    pub(super) spent: Spent,
}

/// Why a run gave no output: as the API's errors say it.
pub(super) struct Failed {
    pub(super) code: &'static str,
    pub(super) text: String,
}

/// What a person says a tool may do here.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    /// `all`, or `kind:target`.
    pub(super) grant: Vec<String>,
    pub(super) allow_private: bool,
    /// Whether every question it asks of a person is answered with yes.
    pub(super) yes: bool,
}

impl Local {
    pub(super) fn start() -> anyhow::Result<Local> {
        let compiler = CompilerConfig::this_program().context("the program that runs cannot be found")?;
        let config = SandboxConfig {
            cache_dir: cache_dir(),
            compiler: CompilerConfig {
                wall_max: COMPILE_WALL_MAX,
                cpu_max: compiler.cpu_max * COMPILE_CPU_FACTOR,
                ..compiler
            },
            worker_threads: 1,
            calls_in_flight_max: CALLS_IN_FLIGHT_MAX,
            host: tokio::runtime::Handle::current(),
        };
        let sandbox = Sandbox::new(config).context("the sandbox cannot be started here")?;
        let scripts = typescript::Compiler::new(opg_predefined::JAVASCRIPT_RUNTIME, &sandbox);
        Ok(Local { sandbox, scripts })
    }

    /// Does what the server does at upload: make a component of a script, put a manifest into its module, verify,
    /// compile, `describe`, check what it said.
    pub(super) async fn examine(&self, name: &str, artifact: &Artifact) -> anyhow::Result<Examined> {
        let refused = |cause: UploadError| anyhow::anyhow!("a server would refuse this: {cause}");
        let wasm = match artifact.kind {
            Kind::Component => artifact.bytes.clone(),
            Kind::Script => {
                let source = String::from_utf8(artifact.bytes.to_vec())?;
                let made = self.scripts.component(name, source).await;
                made.map_err(|cause| refused(cause.into()))?.into()
            }
            Kind::ExtismManifest => {
                let module = Sandbox::module_of_extism_manifest(&artifact.bytes);
                module.map_err(|cause| refused(cause.into()))?.into()
            }
        };
        upload::examine(&self.sandbox, PluginKind::Tool, name, wasm).await.map_err(refused)
    }

    /// Runs one tool of a plugin; the name as a model calls it, or as the plugin does.
    pub(super) async fn run(&self, loaded: &Loaded, tool: &ToolDefinition, input: &str) -> Ran {
        if let Err(fields) = tools::schema::fit(&tool.input_schema, input) {
            let failed = Failed { code: "invalid_request", text: misfit(&fields) };
            return Ran { result: Err(failed), logs: vec![], reached: vec![], spent: Spent::default() };
        }
        let policy = EgressPolicy { allow_private: loaded.allow_private, ..EgressPolicy::default() };
        let egress = match Egress::new(policy) {
            Ok(egress) => egress,
            Err(cause) => {
                let failed = Failed { code: "unavailable", text: cause.to_string() };
                return Ran { result: Err(failed), logs: vec![], reached: vec![], spent: Spent::default() };
            }
        };
        let door = Arc::new(LocalDoor::new(
            loaded.requested(),
            loaded.granted.clone(),
            loaded.secrets.clone(),
            egress,
            loaded.allow_private,
            loaded.yes,
        ));
        let context = CallContext { invocation_id: invocation_id(), app: APP.to_owned(), session_id: None };
        let component = &loaded.examined.component;
        let called = self
            .sandbox
            .call_tool(component, door.clone(), loaded.limits(), &tool.name, input.to_owned(), context)
            .await;
        let result = match called.result {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(ToolError::InvalidInput(text))) => Err(Failed { code: "tool_refused_input", text }),
            Ok(Err(ToolError::Failed(text))) => Err(Failed { code: "tool_failed", text }),
            Err(error) => Err(Failed { code: code(&error), text: error.to_string() }),
        };
        let (logs, reached) = door.seen();
        Ran { result, logs, reached, spent: called.spent }
    }
}

impl Loaded {
    /// # Errors
    /// A grant that is none, or more than the tool asks for.
    pub(super) fn new(examined: Examined, wishes: &Wishes, secrets: Secrets) -> Result<Loaded, Wrong> {
        let granted = granted(&wishes.grant, &examined.requested)?;
        Ok(Loaded { examined, granted, secrets, allow_private: wishes.allow_private, yes: wishes.yes })
    }

    /// The same with other grants.
    pub(super) fn granting(&self, grant: &[String]) -> Result<Vec<Capability>, Wrong> {
        granted(grant, &self.examined.requested)
    }

    pub(super) fn set_granted(&mut self, granted: Vec<Capability>) -> Vec<Capability> {
        std::mem::replace(&mut self.granted, granted)
    }

    pub(super) fn tools(&self) -> &[ToolDefinition] {
        self.examined.description.tools()
    }

    /// The tool of this name, inside the plugin or as a model calls it; the only one, unless given.
    pub(super) fn tool(&self, plugin: &str, name: Option<&str>) -> Result<&ToolDefinition, Wrong> {
        let tools = self.tools();
        let exposed = |tool: &ToolDefinition| tools::exposed_name(plugin, tools.len(), &tool.name);
        let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
        match (name, tools) {
            (None, [tool]) => Ok(tool),
            (None, _) => Err(Wrong(format!("say which tool with --tool: {}", names.join(", ")))),
            (Some(name), _) => {
                let found = tools.iter().find(|tool| tool.name == name || exposed(tool) == name);
                found.ok_or_else(|| {
                    Wrong(format!(
                        "there is no tool `{}` in it; there is {}",
                        text::line(name),
                        names.join(", ")
                    ))
                })
            }
        }
    }

    /// What a run may use: as much as any, or what it was granted in its place.
    pub(super) fn limits(&self) -> CallLimits {
        limits::of_granted(self.granted.iter(), CallLimits::default(), Duration::MAX)
    }

    pub(super) fn requested(&self) -> Vec<Capability> {
        self.examined.requested.iter().map(|wish| wish.capability.clone()).collect()
    }

    /// What was asked for and is not granted here.
    pub(super) fn withheld(&self) -> Vec<Capability> {
        let given = |wish: &Capability| self.granted.iter().any(|given| wish.within(given));
        self.requested().into_iter().filter(|wish| !given(wish)).collect()
    }
}

/// What is asked for, one a line, in words and with its reason.
pub(super) fn wishes(requested: &[Requested], indent: &str) -> String {
    if requested.is_empty() {
        return format!("{indent}asks for nothing\n");
    }
    requested.iter().fold(format!("{indent}asks to\n"), |mut out, wish| {
        let capability = &wish.capability;
        let words = text::in_words(capability.kind.name(), &capability.target);
        let _ = writeln!(
            out,
            "{indent}  {words}: {}  [{}]",
            text::line(&wish.reason),
            text::line(&capability.to_string())
        );
        out
    })
}

fn granted(asked: &[String], requested: &[Requested]) -> Result<Vec<Capability>, Wrong> {
    let wishes = || requested.iter().map(|wish| wish.capability.clone());
    let mut granted = vec![];
    for grant in asked {
        if grant == "all" {
            granted.extend(wishes());
            continue;
        }
        let capability = parse_capability(grant)?;
        if !wishes().any(|wish| capability.within(&wish)) {
            let text =
                format!("`{}` is more than the tool asks for; declare it, with a reason", text::line(grant));
            return Err(Wrong(text));
        }
        granted.push(capability);
    }
    Ok(granted)
}

/// `kind:target`, as the API writes it.
pub(super) fn parse_capability(text: &str) -> Result<Capability, Wrong> {
    let wrong = |why: String| Wrong(format!("`{}` is no capability: {why}", text::line(text)));
    let (kind, target) = text
        .split_once(':')
        .ok_or_else(|| wrong("write `kind:target`, such as `http:api.example.com`".into()))?;
    let kind = CapabilityKind::parse(kind)
        .ok_or_else(|| wrong(format!("the kinds are {}", CapabilityKind::names())))?;
    Capability::new(kind, target).canonical().map_err(|bad| wrong(bad.to_string()))
}

fn misfit(fields: &[FieldError]) -> String {
    let one = |field: &FieldError| match field.pointer.as_str() {
        "" => field.message.clone(),
        pointer => format!("{pointer}: {}", field.message),
    };
    let told: Vec<_> = fields.iter().map(one).collect();
    format!("the input does not fit the tool's schema: {}", told.join("; "))
}

fn code(error: &CallError) -> &'static str {
    match error {
        CallError::TimedOut => "tool_timeout",
        CallError::OutOfMemory => "tool_oom",
        CallError::OutputTooLarge => "tool_output_too_large",
        CallError::Busy => "unavailable",
        _ => "tool_trap",
    }
}

fn invocation_id() -> String {
    Entropy::os().bytes::<16>().iter().fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// Where compiled components are kept between runs: in the user's cache, or where nobody else can write.
fn cache_dir() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache")));
    cache.unwrap_or_else(|| PathBuf::from(".opg")).join("opg/components")
}
