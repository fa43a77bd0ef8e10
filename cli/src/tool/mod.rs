//! `opg tool`: what the author of a tool does, from an empty folder to a tool a model calls.
//!
//! `new`, `build`, `test` and `dev` work on a project, without a server;
//! `test` runs it in the very sandbox of the server. The other commands are
//! requests to a server's API and nothing more: what they may do, the token may.
//!
//! What was asked for goes to stdout, everything else to stderr. Text of guests
//! and servers is escaped before a terminal sees it. No token is ever printed,
//! nor taken from the command line, which every user of a machine can read.

mod build;
mod dev;
mod local;
mod new;
mod project;
mod remote;
mod sdk;
mod test;
mod text;

use std::{path::PathBuf, process::ExitCode};

/// It did not work: the tool failed, a case did not pass, the server refused.
const FAILED: u8 = 1;
/// The command line or what surrounds it is wrong.
const WRONG: u8 = 2;

#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 done; 1 it did not work: a build or a case failed, the tool failed, the server said no;
2 the command line or what surrounds it is wrong.

OPG_URL and OPG_TOKEN say which server and as whom; --url and --token-file are the same. Without a token it is
whoever signed in with `opg login`, in the app that OPG_APP or --app names.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a small, complete project.
    New(new::Args),
    /// Make the component, and say what it imports and asks for.
    Build(build::Args),
    /// Run it here, in the server's own sandbox and limits, without a server.
    Test(test::Args),
    /// Build and test again on each save, until Ctrl-C.
    Dev(dev::Args),
    /// Upload it.
    Publish(remote::publish::Args),
    /// Show what it asks to touch, and grant it or not.
    Review(remote::review::Args),
    /// Run it once on the server.
    Invoke(remote::invoke::Args),
    /// Show its last runs, and what they logged.
    Logs(remote::logs::Args),
    /// Run an older version again.
    Rollback(remote::manage::Rollback),
    /// List the app's tools.
    List(remote::manage::List),
    /// Show one, with its versions and how their runs went.
    Show(remote::manage::Show),
    /// Delete one, with all its versions and what it stored.
    Delete(remote::manage::Delete),
}

/// What a tool is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Lang {
    /// A component, by `cargo`.
    Rust,
    /// A file the server takes as it is.
    Ts,
    /// The same, without types.
    Js,
    /// A component, by `componentize-py`.
    Python,
    /// A component, by `clang`.
    C,
    /// An Extism plugin, by `go`.
    Go,
}

/// How much to print.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Output {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Print only what a script wants.
    #[arg(short, long)]
    quiet: bool,
}

impl Output {
    /// Whether a person reads along.
    const fn talks(self) -> bool {
        !self.json && !self.quiet
    }
}

/// Where the project is.
#[derive(Clone, Debug, clap::Args)]
struct At {
    /// The project's folder; this one, unless given.
    #[arg(long, default_value = ".", hide_default_value = true)]
    dir: PathBuf,
}

/// The command line or what surrounds it is wrong; the text says what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Wrong(String);

/// It did not work, and all there is to say was said.
#[derive(Debug, thiserror::Error)]
#[error("it did not work")]
struct Told;

pub(crate) fn run(args: Args) -> ExitCode {
    let done = match args.command {
        Command::New(args) => new::run(&args),
        Command::Build(args) => wait(build::run(&args)),
        Command::Test(args) => wait(test::run(&args)),
        Command::Dev(args) => wait(dev::run(args)),
        Command::Publish(args) => wait(remote::publish::run(&args)),
        Command::Review(args) => wait(remote::review::run(&args)),
        Command::Invoke(args) => wait(remote::invoke::run(&args)),
        Command::Logs(args) => wait(remote::logs::run(&args)),
        Command::Rollback(args) => wait(remote::manage::rollback(&args)),
        Command::List(args) => wait(remote::manage::list(&args)),
        Command::Show(args) => wait(remote::manage::show(&args)),
        Command::Delete(args) => wait(remote::manage::delete(&args)),
    };
    let Err(cause) = done else { return ExitCode::SUCCESS };
    if !cause.is::<Told>() {
        eprintln!("opg tool: {}", text::lines(&format!("{cause:#}")));
    }
    ExitCode::from(if cause.is::<Wrong>() { WRONG } else { FAILED })
}

/// Guests and the host's side of their calls run beside each other, as in the server.
fn wait(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
