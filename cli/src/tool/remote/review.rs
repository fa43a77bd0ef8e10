//! `opg tool review`: a person looks at what a tool asks to touch, and says what it gets.

use super::{Plugin, Which, confirm, wishes, word};
use crate::tool::{Output, Wrong, local::parse_capability, text};
use serde_json::{Value, json};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Grant everything it asks for, without asking.
    #[arg(long, conflicts_with_all = ["grant", "deny"])]
    grant_all: bool,
    /// Grant this, as `kind:target`, and nothing that is not named; may be narrower than what it asks for.
    #[arg(long, conflicts_with = "deny")]
    grant: Vec<String>,
    /// Grant everything but this, as `kind:target`.
    #[arg(long)]
    deny: Vec<String>,
    /// The version; the newest, unless given.
    #[arg(long)]
    version: Option<i64>,
    #[command(flatten)]
    output: Output,
}

pub(in crate::tool) async fn run(args: &Args) -> anyhow::Result<()> {
    let plugin = args.which.find()?;
    let Plugin { server, name, path } = &plugin;
    let shown = server.get(path).await?;
    let version = seen_version(args, &plugin, &shown).await?;
    let requested = &version["requested_capabilities"];
    let granted = shown["granted_capabilities"].as_array().cloned().unwrap_or_default();
    if args.output.talks() {
        eprintln!(
            "{name}, version {}, is {}",
            word(&version["version"]),
            super::status_in_words(&word(&version["status"]))
        );
        for tool in version["exports"].as_array().into_iter().flatten() {
            eprintln!(
                "  {}: {}",
                word(&tool["name"]),
                text::line(tool["description"].as_str().unwrap_or_default())
            );
        }
        let is_granted = |wish: &Value| granted.iter().any(|given| same(given, wish));
        let asks = wishes(requested, |wish| if is_granted(wish) { "granted  " } else { "new      " });
        if asks.is_empty() { eprintln!("it asks for nothing") } else { eprint!("it asks to\n{asks}") }
    }
    let grant = choose(args, name, requested)?;
    // The version that was looked at, and none that came since.
    let body = json!({ "version": version["version"], "grant": grant });
    let done = server.post(&format!("{path}/review"), &body).await?;
    if args.output.json {
        println!("{done}");
    } else if args.output.talks() {
        println!("reviewed {name}: version {} is active", word(&done["version"]));
        for (verb, list) in [("granted", &done["granted"]), ("denied", &done["denied"])] {
            let named: Vec<_> = list.as_array().into_iter().flatten().map(as_text).collect();
            if !named.is_empty() {
                println!("  {verb}: {}", named.join(", "));
            }
        }
        let tool = &version["exports"][0];
        let example = text::example_input(&tool["input_schema"]);
        println!("\nnext: opg tool invoke {} --input '{example}'", word(&tool["name"]));
    }
    Ok(())
}

/// What the API says of the version to be reviewed.
async fn seen_version(args: &Args, plugin: &Plugin, newest: &Value) -> anyhow::Result<Value> {
    let Some(wanted) = args.version else { return Ok(newest.clone()) };
    let versions = plugin.versions().await?;
    let found = versions.into_iter().find(|version| version["version"] == wanted);
    found.ok_or_else(|| Wrong(format!("there is no version {wanted}; `opg tool show` lists them")).into())
}

/// What to send as `grant`.
fn choose(args: &Args, name: &str, requested: &Value) -> anyhow::Result<Value> {
    if args.grant_all {
        return Ok(json!("all"));
    }
    if !args.grant.is_empty() {
        let granted: Vec<_> =
            args.grant.iter().map(|text| parse_capability(text)).collect::<Result<_, _>>()?;
        return Ok(json!(granted));
    }
    let wishes = requested.as_array().cloned().unwrap_or_default();
    if !args.deny.is_empty() {
        for denied in &args.deny {
            if !wishes.iter().any(|wish| as_text(wish) == *denied) {
                let text = format!(
                    "--deny {}: it does not ask for that; see `opg tool show {name}`",
                    text::line(denied)
                );
                return Err(Wrong(text).into());
            }
        }
        let kept = wishes.iter().filter(|wish| !args.deny.contains(&as_text(wish)));
        let kept: Vec<_> =
            kept.map(|wish| json!({ "kind": wish["kind"], "target": wish["target"] })).collect();
        return Ok(json!(kept));
    }
    if !wishes.is_empty() {
        confirm("Grant all of it?", "--grant-all, --grant kind:target or --deny kind:target")?;
    }
    Ok(json!("all"))
}

fn same(a: &Value, b: &Value) -> bool {
    a["kind"] == b["kind"] && a["target"] == b["target"]
}

fn as_text(capability: &Value) -> String {
    format!("{}:{}", word(&capability["kind"]), word(&capability["target"]))
}
