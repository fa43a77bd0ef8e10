//! `opg demo`: the main job, done in front of the reader.
//!
//! It starts `opg serve` as a child process, with a database and keys of its
//! own, does over HTTP what a newcomer would do with curl, checks every answer,
//! and tells what happened from the ledger and the audit log. Nothing is
//! simulated but the language model, which is the offline `demo` provider.
//!
//! The story goes to stdout, progress to stderr. Any step that does not do what
//! it should ends the demo with its name.

mod data_dir;
mod job;
mod ledger;
mod next;
mod print;
mod server;
mod story;

use self::{
    data_dir::DataDir,
    print::Style,
    server::{Port, Server},
};
use crate::client::Client;
use opg_host::app::Entropy;
use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

/// What a shell says of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// How to run it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Stop when the job is done, rather than keep serving.
    #[arg(long)]
    once: bool,
    /// Where the demo's database, keys and log are kept; `./data/demo`, unless given.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// The port to serve on; 3000 or, where that is taken, a free one, unless given.
    #[arg(long)]
    port: Option<u16>,
    /// Print what happened as one JSON document.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> ExitCode {
    // One thread, the main one: the kernel ends the server with the thread that started it.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            eprintln!("opg demo: cannot start: {cause}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        demo(args).await.unwrap_or_else(|cause| {
            eprintln!("opg demo: {cause:#}");
            ExitCode::FAILURE
        })
    })
}

async fn demo(args: Args) -> anyhow::Result<ExitCode> {
    let stop = crate::serve::stop_signal();
    tokio::pin!(stop);
    let data = DataDir::open(args.data_dir.clone(), &Entropy::os())?;
    let port = Port::choose(args.port)?;
    if let Port::Instead(taken) = port {
        eprintln!("opg demo: port {taken} is taken; taking a free one");
    }
    eprintln!("opg demo: starting a server of its own on {} …", data.path().display());
    let started = Instant::now();
    let mut server = Server::spawn(&data, port)?;

    let ended = tokio::select! {
        () = &mut stop => Ended::Interrupted,
        done = tell(&mut server, &data, &args, started) => match done {
            Ok(()) => Ended::Told,
            Err(cause) => Ended::Failed(cause),
        },
    };
    let ended = match ended {
        Ended::Told if !args.once => serve_on(&mut server, stop).await,
        ended => ended,
    };
    let stopped = server.stop().await;
    match ended {
        Ended::Failed(cause) => return Err(cause),
        Ended::Interrupted => {
            eprintln!("opg demo: stopped before the job was done");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Ended::Told => stopped?,
    }
    eprintln!("opg demo: stopped; {} keeps the data for the next run", data.path().display());
    Ok(ExitCode::SUCCESS)
}

enum Ended {
    Told,
    Interrupted,
    Failed(anyhow::Error),
}

/// Does the job and prints what happened.
async fn tell(server: &mut Server, data: &DataDir, args: &Args, started: Instant) -> anyhow::Result<()> {
    let url = server.ready().await?;
    eprintln!(
        "opg demo: ready after {:.1} s at {url}; its log is {}",
        started.elapsed().as_secs_f32(),
        data.log().display()
    );
    let operator = Client::new(&url, data.admin_token())?;
    let story = job::run(&operator, |step| eprintln!("  {step} …")).await?;
    let text = if args.json {
        serde_json::to_string_pretty(&story)? + "\n"
    } else {
        let style = Style::new(io::stdout().is_terminal(), std::env::var_os("NO_COLOR"));
        print::story(&story, style) + &next::steps(&story, args.once, style)
    };
    // A reader that went away, such as `head`, is no failure.
    drop(io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()));
    Ok(())
}

async fn serve_on(server: &mut Server, stop: impl Future<Output = ()>) -> Ended {
    eprintln!("opg demo: keeps serving; Ctrl-C stops it");
    tokio::select! {
        () = stop => Ended::Told,
        cause = server.died() => Ended::Failed(cause.into()),
    }
}
