//! `opg tool invoke`: runs a tool once on the server.

use super::{ServerArgs, checked_name, input, word};
use crate::{
    client::ClientError,
    tool::{Output, Told, text},
};
use serde_json::{Value, json};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The tool, as a model calls it.
    name: String,
    /// The input: JSON, `@file`, or `-` for stdin.
    #[arg(long, default_value = "{}")]
    input: String,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: Output,
}

pub(in crate::tool) async fn run(args: &Args) -> anyhow::Result<()> {
    let name = checked_name(&args.name)?;
    let body = json!({ "input": input(&args.input)? });
    let server = args.server.connect()?;
    match server.0.post(&format!("/v1/tenant/tools/{name}/invoke"), &body).await {
        Ok(answer) if args.output.json => println!("{}", answer.body),
        Ok(answer) => {
            if args.output.talks() {
                about(&answer.body);
            }
            println!("{}", text::json(&answer.body["output"]));
        }
        Err(ClientError::Refused { body, .. }) if args.output.json => {
            println!("{body}");
            return Err(Told.into());
        }
        Err(error) => {
            if let ClientError::Refused { body, .. } = &error {
                about(body);
            }
            return Err(super::said(error));
        }
    }
    Ok(())
}

/// What it logged and used, where it came to run.
fn about(body: &Value) {
    for line in body["logs"].as_array().into_iter().flatten() {
        eprintln!("  log    {:<5} {}", word(&line["level"]), word(&line["message"]));
    }
    if let (Some(wall), Some(cpu)) = (body["ms"].as_f64(), body["cpu_ms"].as_f64()) {
        let memory = text::size(body["memory_bytes_peak"].as_u64().unwrap_or_default());
        eprintln!("  used   {wall:.1} ms, CPU {cpu:.1} ms, memory {memory}");
    }
}
