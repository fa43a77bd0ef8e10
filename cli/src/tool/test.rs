//! `opg tool test`: the project's cases, or one input, in the server's own sandbox. Of the project as it is built, or
//! of a file that was built elsewhere: a component or an Extism plugin.

use super::{
    At, Output, Told, Wrong, build,
    local::{Loaded, Local, Ran, Secrets, Wishes},
    project::Project,
    text,
};
use opg_host::sandbox::CallLimits;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file that is there already: a component or an Extism plugin (`.wasm`), or a plugin's manifest (`.json`).
    file: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

#[derive(Clone, clap::Args)]
// `dev` takes these beside its own.
#[group(id = "test")]
pub(crate) struct How {
    #[command(flatten)]
    at: At,
    /// Run one tool once with this JSON, instead of the cases in tests/*.json; `-` reads it from stdin.
    #[arg(long)]
    input: Option<String>,
    /// Which tool, where the plugin holds several.
    #[arg(long)]
    tool: Option<String>,
    /// Grant something it asks for: `all`, or a capability such as `http:api.example.com`.
    #[arg(long)]
    grant: Vec<String>,
    /// A secret: the name of an environment variable to take it from, or NAME=value.
    #[arg(long)]
    secret: Vec<String>,
    /// A file of secrets, NAME=value on each line.
    #[arg(long)]
    secrets_file: Option<PathBuf>,
    /// Let it reach private addresses, such as a server on this machine.
    #[arg(long)]
    allow_private: bool,
    /// Answer every question that it asks of a person with yes.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
}

/// One case of tests/*.json.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Which tool, where the plugin holds several.
    tool: Option<String>,
    input: Value,
    /// What must come out; `null` is something that may.
    #[serde(default, deserialize_with = "what_is_there")]
    output: Option<Value>,
    /// What the error must say somewhere.
    error: Option<String>,
    /// What it is granted, beside what the command line grants.
    #[serde(default)]
    grant: Vec<String>,
}

/// Also where it is `null`.
fn what_is_there<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let Some(file) = &args.file else {
        let project = Project::find(&args.how.at.dir)?;
        let artifact = build::build(&project)?;
        return test(&args.how, &project.name, &artifact, PUBLISH).await;
    };
    let (name, artifact) = build::built(file)?;
    if !opg_host::registry::is_name(&name) {
        let text = format!(
            "the tool would be called `{}`: a name is lower-case letters, digits and hyphens; rename the file",
            text::line(&name)
        );
        return Err(Wrong(text).into());
    }
    test(&args.how, &name, &artifact, &format!("{PUBLISH} {}", file.display())).await
}

/// How a project's tool is published.
pub(super) const PUBLISH: &str = "opg tool publish";

/// Tests what was built, as a plugin of this name. `publish` is what to do where all is well.
pub(super) async fn test(
    how: &How,
    name: &str,
    artifact: &build::Artifact,
    publish: &str,
) -> anyhow::Result<()> {
    let local = Local::start()?;
    let examined = local.examine(name, artifact).await?;
    let secrets = Secrets::read(&how.secret, how.secrets_file.as_deref())?;
    let wishes = Wishes { grant: how.grant.clone(), allow_private: how.allow_private, yes: how.yes };
    let mut loaded = Loaded::new(examined, &wishes, secrets)?;
    if how.output.talks() {
        let size = text::size(artifact.bytes.len() as u64);
        let names: Vec<_> = loaded.tools().iter().map(|tool| tool.name.as_str()).collect();
        eprintln!("{name}: {size}, with {}", text::line(&names.join(", ")));
        for wish in loaded.withheld() {
            let wish = text::line(&wish.to_string());
            eprintln!("  not granted here: {wish}   (--grant {wish}, or --grant all)");
        }
    }
    match &how.input {
        Some(input) => once(how, name, &local, &loaded, input).await,
        None => cases(how, name, &local, &mut loaded, publish).await,
    }
}

async fn once(how: &How, name: &str, local: &Local, loaded: &Loaded, input: &str) -> anyhow::Result<()> {
    let input = super::remote::input(input)?;
    let tool = loaded.tool(name, how.tool.as_deref())?;
    let ran = local.run(loaded, tool, &input.to_string()).await;
    let output = ran.result.as_ref().ok().map(|text| value(text));
    if how.output.json {
        println!("{}", told(&ran, output.as_ref()));
    } else {
        if how.output.talks() {
            about(&ran, &loaded.limits());
        }
        match (&ran.result, &output) {
            (Ok(_), Some(output)) => println!("{}", text::json(output)),
            (Err(failed), _) => eprintln!("{}: {}", failed.code, text::lines(&failed.text)),
            (Ok(_), None) => {}
        }
    }
    if ran.result.is_ok() { Ok(()) } else { Err(Told.into()) }
}

async fn cases(
    how: &How,
    plugin: &str,
    local: &Local,
    loaded: &mut Loaded,
    publish: &str,
) -> anyhow::Result<()> {
    let cases = read_cases(&how.at.dir)?;
    if cases.is_empty() {
        let example = loaded.tools().first().map(|tool| text::example_input(&value(&tool.input_schema)));
        return Err(Wrong(format!(
            "there is nothing to test: write tests/*.json, or run it once with --input '{}'",
            example.unwrap_or_default()
        ))
        .into());
    }
    let (mut failed, mut results) = (0, vec![]);
    for (name, case) in &cases {
        let mut grant = how.grant.clone();
        grant.extend(case.grant.iter().cloned());
        let granted = loaded.granting(&grant).map_err(|wrong| Wrong(format!("{name}: {wrong}")))?;
        let before = loaded.set_granted(granted);
        let tool = loaded.tool(plugin, case.tool.as_deref()).map_err(|w| Wrong(format!("{name}: {w}")))?;
        let ran = local.run(loaded, tool, &case.input.to_string()).await;
        let limits = loaded.limits();
        loaded.set_granted(before);
        let output = ran.result.as_ref().ok().map(|text| value(text));
        let problem = judge(case, &ran, output.as_ref());
        failed += usize::from(problem.is_some());
        if how.output.json {
            let mut result = told(&ran, output.as_ref());
            result["case"] = json!(name);
            result["passed"] = json!(problem.is_none());
            result["problem"] = json!(problem);
            results.push(result);
        } else if how.output.talks() || problem.is_some() {
            let word = if problem.is_none() { "ok    " } else { "FAILED" };
            eprintln!("{word}  {name}  {}", ms(ran.spent.wall));
            if let Some(problem) = problem {
                eprintln!("        {}", text::lines(&problem).replace('\n', "\n        "));
                about(&ran, &limits);
            }
        }
    }
    if how.output.json {
        println!("{}", json!({ "passed": cases.len() - failed, "failed": failed, "cases": results }));
    } else if how.output.talks() {
        println!("{} passed, {failed} failed", cases.len() - failed);
        if failed == 0 {
            println!("\nnext: {publish}");
        }
    }
    if failed == 0 { Ok(()) } else { Err(Told.into()) }
}

/// Every case of the project, by the name of its file and its number there.
fn read_cases(dir: &Path) -> anyhow::Result<Vec<(String, Case)>> {
    let Ok(entries) = fs::read_dir(dir.join("tests")) else { return Ok(vec![]) };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut cases = vec![];
    for file in files {
        let name = format!("tests/{}", file.file_name().unwrap_or_default().to_string_lossy());
        let wrong = |cause: &dyn std::fmt::Display| {
            Wrong(format!(
                "{name}: {cause}; a case is {{\"input\": …, \"output\": … or \"error\": \"…\"}}, or a list of them"
            ))
        };
        let found: Value =
            serde_json::from_str(&fs::read_to_string(&file)?).map_err(|cause| wrong(&cause))?;
        let list = if found.is_array() { found } else { json!([found]) };
        let list: Vec<Case> = serde_json::from_value(list).map_err(|cause| wrong(&cause))?;
        for (number, case) in (1..).zip(list) {
            if case.output.is_some() == case.error.is_some() {
                return Err(wrong(&"a case has an output or an error").into());
            }
            cases.push((format!("{name} {number}"), case));
        }
    }
    Ok(cases)
}

/// What is wrong with how a case went.
fn judge(case: &Case, ran: &Ran, output: Option<&Value>) -> Option<String> {
    match (&case.output, &case.error, &ran.result) {
        (Some(expected), _, Ok(_)) if output == Some(expected) => None,
        (Some(expected), _, Ok(_)) => {
            Some(format!("expected {expected}\ngot      {}", output.unwrap_or(&Value::Null)))
        }
        (Some(_), _, Err(failed)) => Some(format!("it failed, {}: {}", failed.code, failed.text)),
        (_, Some(part), Err(failed)) if failed.text.contains(part) => None,
        (_, Some(part), Err(failed)) => {
            Some(format!("expected an error with {part:?}\ngot {:?}", failed.text))
        }
        (_, error, Ok(_)) => Some(format!(
            "expected an error with {:?}\ngot {}",
            error.as_deref().unwrap_or_default(),
            output.unwrap_or(&Value::Null)
        )),
        (None, None, Err(_)) => None,
    }
}

/// What it logged, reached for and used.
fn about(ran: &Ran, limits: &CallLimits) {
    for line in &ran.logs {
        eprintln!("  log    {:<5} {}", format!("{:?}", line.level).to_lowercase(), text::line(&line.message));
    }
    if ran.spent.log_lines_dropped > 0 {
        eprintln!("  log    {} lines more were dropped", ran.spent.log_lines_dropped);
    }
    for (what, allowed) in &ran.reached {
        eprintln!("  reach  {} {}", text::line(what), if *allowed { "allowed" } else { "denied" });
    }
    let spent = &ran.spent;
    eprintln!(
        "  used   {} of {} s, CPU {} of {} s, memory {} of {}",
        ms(spent.wall),
        limits.wall.as_secs_f64(),
        ms(spent.cpu),
        limits.cpu.as_secs_f64(),
        text::size(spent.memory_bytes_peak as u64),
        text::size(limits.memory_bytes_max as u64)
    );
}

/// As `POST …/invoke` answers, and more.
fn told(ran: &Ran, output: Option<&Value>) -> Value {
    let spent = &ran.spent;
    json!({
        "output": output,
        "error": ran.result.as_ref().err().map(|failed| json!({ "code": failed.code, "detail": failed.text })),
        "logs": ran.logs,
        "log_lines_dropped": spent.log_lines_dropped,
        "reached": ran.reached.iter().map(|(what, allowed)| json!({ "what": what, "allowed": allowed })).collect::<Vec<_>>(),
        "ms": spent.wall.as_secs_f64() * 1e3,
        "cpu_ms": spent.cpu.as_secs_f64() * 1e3,
        "memory_bytes_peak": spent.memory_bytes_peak,
    })
}

/// A tool's output is JSON, by contract; what is not is shown as it is.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

impl How {
    /// Where the project is.
    pub(super) fn at(&self) -> At {
        self.at.clone()
    }
}
