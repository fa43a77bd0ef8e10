//! `opg dev`: what helps whoever develops a client, or OPG.

use opg_upstream::{ScriptedUpstream, chaos};
use serde_json::{Value, json};
use std::{io::Write, process::ExitCode};
use tokio::net::TcpListener;

/// Where the upstream listens, unless told.
const PORT: u16 = 4100;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Serve a model provider that does what you tell it, on 127.0.0.1, until stopped.
    Upstream(Upstream),
}

#[derive(clap::Args)]
struct Upstream {
    /// The port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// Print where it is as one JSON document.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let Command::Upstream(args) = args.command;
    let done = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match done.and_then(|runtime| runtime.block_on(upstream(&args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("opg dev upstream: cannot serve on port {}: {cause}", args.port);
            ExitCode::FAILURE
        }
    }
}

async fn upstream(args: &Upstream) -> std::io::Result<()> {
    let stop = crate::serve::stop_signal();
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await?;
    let root = format!("http://{}", listener.local_addr()?);
    let _upstream = ScriptedUpstream::for_people(listener);
    let text = if args.json { format!("{}\n", description(&root)) } else { introduction(&root) };
    // A reader that went away, such as `head`, is no failure.
    drop(std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()));
    stop.await;
    Ok(())
}

fn description(root: &str) -> Value {
    let models = chaos::ALL.map(|chaos| json!({ "model": chaos.model, "does": chaos.does }));
    json!({
        "openai": format!("{root}/v1"),
        "anthropic": root,
        "google": format!("{root}/v1beta"),
        "scripting": format!("{root}/scripted"),
        "providers": {
            "openai": { "apiKey": "any", "baseUrl": format!("{root}/v1/") },
            "responses": { "apiKey": "any", "baseUrl": format!("{root}/v1/"), "kind": "openai-responses" },
            "anthropic": { "apiKey": "any", "baseUrl": format!("{root}/v1/") },
            "google": { "apiKey": "any", "baseUrl": format!("{root}/v1beta/") },
        },
        "models": models,
    })
}

fn introduction(root: &str) -> String {
    let models: String =
        chaos::ALL.iter().map(|chaos| format!("  {:<18}{}\n", chaos.model, chaos.does)).collect();
    format!(
        "A model provider that does what you tell it. Any key will do; nothing is sent anywhere.

Base URLs
  OpenAI chat, responses, embeddings   {root}/v1
  Anthropic                            {root}
  Google                               {root}/v1beta

It echoes what the user says, and repeats what tools answered. `call get_weather {{\"city\": \"Oslo\"}}`
on a line of the user calls that tool. Any model will do, but these:
{models}
Or script it:
  curl -X POST {root}/scripted/next -d '[{{\"text\": \"hello\"}}, \"reset\"]'
  curl -X PUT {root}/scripted/models/mine -d '[{{\"error\": {{\"status\": 503, \"message\": \"no\"}}}}]'
  curl {root}/scripted/requests

docs/scripted-upstream.md has all steps. Ctrl-C stops it.
"
    )
}
