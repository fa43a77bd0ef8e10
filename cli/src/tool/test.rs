//! `opg tool test`: the project's cases, or one input, in the server's own sandbox.

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

#[derive(Clone, clap::Args)]
// `dev` takes these beside its own.
#[group(id = "test")]
pub(crate) struct Args {
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
    let project = Project::find(&args.at.dir)?;
    let artifact = build::build(&project)?;
    test(args, &project, &artifact).await
}

/// Tests what was built.
pub(super) async fn test(args: &Args, project: &Project, artifact: &build::Artifact) -> anyhow::Result<()> {
    let local = Local::start()?;
    let examined = local.examine(&project.name, artifact).await?;
    let secrets = Secrets::read(&args.secret, args.secrets_file.as_deref())?;
    let wishes = Wishes { grant: args.grant.clone(), allow_private: args.allow_private };
    let mut loaded = Loaded::new(examined, &wishes, secrets)?;
    if args.output.talks() {
        let size = text::size(artifact.bytes.len() as u64);
        let names: Vec<_> = loaded.tools().iter().map(|tool| tool.name.as_str()).collect();
        eprintln!("{}: {size}, with {}", project.name, text::line(&names.join(", ")));
        for wish in loaded.withheld() {
            let wish = text::line(&wish.to_string());
            eprintln!("  not granted here: {wish}   (--grant {wish}, or --grant all)");
        }
    }
    match &args.input {
        Some(input) => once(args, project, &local, &loaded, input).await,
        None => cases(args, project, &local, &mut loaded).await,
    }
}

async fn once(
    args: &Args,
    project: &Project,
    local: &Local,
    loaded: &Loaded,
    input: &str,
) -> anyhow::Result<()> {
    let input = super::remote::input(input)?;
    let tool = loaded.tool(&project.name, args.tool.as_deref())?;
    let ran = local.run(loaded, tool, &input.to_string()).await;
    let output = ran.result.as_ref().ok().map(|text| value(text));
    if args.output.json {
        println!("{}", told(&ran, output.as_ref()));
    } else {
        if args.output.talks() {
            about(&ran);
        }
        match (&ran.result, &output) {
            (Ok(_), Some(output)) => println!("{}", text::json(output)),
            (Err(failed), _) => eprintln!("{}: {}", failed.code, text::lines(&failed.text)),
            (Ok(_), None) => {}
        }
    }
    if ran.result.is_ok() { Ok(()) } else { Err(Told.into()) }
}

async fn cases(args: &Args, project: &Project, local: &Local, loaded: &mut Loaded) -> anyhow::Result<()> {
    let cases = read_cases(&project.dir)?;
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
        let mut grant = args.grant.clone();
        grant.extend(case.grant.iter().cloned());
        let granted = loaded.granting(&grant).map_err(|wrong| Wrong(format!("{name}: {wrong}")))?;
        let before = loaded.set_granted(granted);
        let tool =
            loaded.tool(&project.name, case.tool.as_deref()).map_err(|w| Wrong(format!("{name}: {w}")))?;
        let ran = local.run(loaded, tool, &case.input.to_string()).await;
        loaded.set_granted(before);
        let output = ran.result.as_ref().ok().map(|text| value(text));
        let problem = judge(case, &ran, output.as_ref());
        failed += usize::from(problem.is_some());
        if args.output.json {
            let mut result = told(&ran, output.as_ref());
            result["case"] = json!(name);
            result["passed"] = json!(problem.is_none());
            result["problem"] = json!(problem);
            results.push(result);
        } else if args.output.talks() || problem.is_some() {
            let word = if problem.is_none() { "ok    " } else { "FAILED" };
            eprintln!("{word}  {name}  {}", ms(ran.spent.wall));
            if let Some(problem) = problem {
                eprintln!("        {}", text::lines(&problem).replace('\n', "\n        "));
                about(&ran);
            }
        }
    }
    if args.output.json {
        println!("{}", json!({ "passed": cases.len() - failed, "failed": failed, "cases": results }));
    } else if args.output.talks() {
        println!("{} passed, {failed} failed", cases.len() - failed);
        if failed == 0 {
            println!("\nnext: opg tool publish");
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
fn about(ran: &Ran) {
    for line in &ran.logs {
        eprintln!("  log    {:<5} {}", format!("{:?}", line.level).to_lowercase(), text::line(&line.message));
    }
    if ran.spent.log_lines_dropped > 0 {
        eprintln!("  log    {} lines more were dropped", ran.spent.log_lines_dropped);
    }
    for (what, allowed) in &ran.reached {
        eprintln!("  reach  {} {}", text::line(what), if *allowed { "allowed" } else { "denied" });
    }
    let (spent, limits) = (&ran.spent, CallLimits::default());
    eprintln!(
        "  used   {} of {} s, CPU {} of {} s, memory {} of {}",
        ms(spent.wall),
        limits.wall.as_secs(),
        ms(spent.cpu),
        limits.cpu.as_secs(),
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

impl Args {
    /// Where the project is.
    pub(super) fn at(&self) -> At {
        self.at.clone()
    }
}
