//! `opg tool list`, `show`, `rollback`, `delete`.

use super::{Plugin, ServerArgs, Which, checked_name, confirm, status_in_words, wishes, word};
use crate::tool::{Output, text};
use serde_json::{Value, json};

#[derive(clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: Output,
}

pub(in crate::tool) async fn list(args: &List) -> anyhow::Result<()> {
    let tools = args.server.connect()?.all("/v1/tenant/tools", usize::MAX).await?;
    if args.output.json {
        println!("{}", Value::Array(tools));
        return Ok(());
    }
    if tools.is_empty() && args.output.talks() {
        eprintln!("this app has no tools of its own; `opg tool new NAME` makes one");
    }
    let width = tools.iter().map(|tool| word(&tool["name"]).len()).max().unwrap_or_default();
    for tool in &tools {
        let name = word(&tool["name"]);
        if args.output.quiet {
            println!("{name}");
            continue;
        }
        let first =
            tool["exports"][0]["description"].as_str().unwrap_or_default().lines().next().unwrap_or_default();
        let version = word(&tool["version"]);
        println!("{name:<width$}  v{version:<4} {:<14}  {}", word(&tool["status"]), text::line(first));
    }
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    output: Output,
}

pub(in crate::tool) async fn show(args: &Show) -> anyhow::Result<()> {
    let plugin = args.which.find()?;
    let mut tool = plugin.server.get(&plugin.path).await?;
    let (name, versions) = (&plugin.name, plugin.versions().await?);
    if args.output.json {
        tool["versions"] = Value::Array(versions);
        println!("{tool}");
        return Ok(());
    }
    if args.output.quiet {
        println!("{}", word(&tool["status"]));
        return Ok(());
    }
    println!("{name}, version {}, is {}", word(&tool["version"]), status_in_words(&word(&tool["status"])));
    for export in tool["exports"].as_array().into_iter().flatten() {
        let description = text::lines(export["description"].as_str().unwrap_or_default());
        println!("  {}: {}", word(&export["name"]), description.replace('\n', "\n    "));
    }
    let granted = tool["granted_capabilities"].as_array().cloned().unwrap_or_default();
    let is_granted = |wish: &Value| {
        granted.iter().any(|given| given["kind"] == wish["kind"] && given["target"] == wish["target"])
    };
    let asks =
        wishes(
            &tool["requested_capabilities"],
            |wish| if is_granted(wish) { "granted  " } else { "not granted  " },
        );
    if !asks.is_empty() {
        print!("it asks to\n{asks}");
    }
    println!("versions, and how their last runs went");
    for version in &versions {
        let runs = &version["runs"];
        let went = match (runs["count"].as_i64(), runs["p50_ms"].as_f64(), runs["p99_ms"].as_f64()) {
            (Some(count), Some(p50), Some(p99)) => {
                format!(
                    "{count} runs, {} failed, half within {p50:.1} ms, 99 of 100 within {p99:.1} ms",
                    word(&runs["failed"])
                )
            }
            _ => "has not run".to_owned(),
        };
        println!("  v{:<4} {:<14}  {went}", word(&version["version"]), word(&version["status"]));
    }
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct Rollback {
    #[command(flatten)]
    which: Which,
    /// The version to run again; the one before the active one, unless given.
    #[arg(long)]
    version: Option<i64>,
    #[command(flatten)]
    output: Output,
}

pub(in crate::tool) async fn rollback(args: &Rollback) -> anyhow::Result<()> {
    let Plugin { server, name, path } = args.which.find()?;
    let body = args.version.map_or_else(|| json!({}), |version| json!({ "version": version }));
    let done = server.post(&format!("{path}/rollback"), &body).await?;
    match args.output {
        Output { json: true, .. } => println!("{done}"),
        Output { quiet: true, .. } => println!("{}", word(&done["version"])),
        _ => println!("{name}: version {} is active", word(&done["version"])),
    }
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct Delete {
    /// The tool's plugin.
    name: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Also where an agent names it.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: Output,
}

pub(in crate::tool) async fn delete(args: &Delete) -> anyhow::Result<()> {
    // Named in full: what is deleted is not what one happens to stand in.
    let Plugin { server, name, path } = Plugin::new(checked_name(&args.name)?, &args.server)?;
    if !args.yes {
        confirm(&format!("Delete {name}, all its versions and what it stored?"), "--yes")?;
    }
    server.delete(&format!("{path}{}", if args.force { "?force=true" } else { "" })).await?;
    match args.output {
        Output { json: true, .. } => println!("{}", json!({ "name": name, "deleted": true })),
        Output { quiet: true, .. } => {}
        _ => println!("deleted {name}"),
    }
    Ok(())
}
