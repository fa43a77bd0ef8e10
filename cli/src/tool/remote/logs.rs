//! `opg tool logs`: the last runs of a tool, oldest first, with what each logged.

use super::{Plugin, Which, word};
use crate::tool::Output;
use serde_json::Value;
use std::time::Duration;

/// How often a server is asked for more.
const ASK_EVERY: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// How many runs.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Go on with runs as they end, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    output: Output,
}

pub(in crate::tool) async fn run(args: &Args) -> anyhow::Result<()> {
    let Plugin { server, name, path } = args.which.find()?;
    let path = format!("{path}/invocations");
    let mut runs = server.all(&path, args.limit.max(1)).await?;
    runs.reverse();
    if runs.is_empty() && args.output.talks() && !args.follow {
        eprintln!("{name} has not run yet");
    }
    tell(&runs, args.output);
    if !args.follow {
        return Ok(());
    }
    let stop = crate::serve::stop_signal();
    tokio::pin!(stop);
    let mut last = id(runs.last());
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(ASK_EVERY) => {}
        }
        let newest = server.all(&path, super::PAGE_ROWS as usize).await?;
        // Ids grow with time.
        let mut more: Vec<_> = newest.into_iter().filter(|run| id(Some(run)) > last).collect();
        more.reverse();
        tell(&more, args.output);
        if !more.is_empty() {
            last = id(more.last());
        }
    }
}

fn id(run: Option<&Value>) -> String {
    run.map(|run| word(&run["id"])).unwrap_or_default()
}

fn tell(runs: &[Value], output: Output) {
    for run in runs {
        if output.json {
            println!("{run}");
            continue;
        }
        let version =
            run["version"].as_i64().map_or_else(|| "shipped".to_owned(), |version| format!("v{version}"));
        let ms = run["ms"].as_f64().unwrap_or_default();
        println!(
            "{}  {:<8}  {version}  {}  {ms:.1} ms",
            word(&run["time"]),
            word(&run["status"]),
            word(&run["tool"])
        );
        if let Some(code) = run["error"]["code"].as_str() {
            println!("    {code}: {}", word(&run["error"]["detail"]));
        }
        if output.quiet {
            continue;
        }
        for line in run["logs"].as_array().into_iter().flatten() {
            println!("    {:<5} {}", word(&line["level"]), word(&line["message"]));
        }
        if let Some(left_out) = run["log_lines_left_out"].as_u64().filter(|count| *count > 0) {
            println!("    {left_out} more lines were not kept");
        }
    }
}
