//! `opg`: the one binary.
//!
//! Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 it did
//! not work, 2 the command line or the configuration is wrong.

mod account;
mod client;
mod config_check;
mod demo;
mod dev;
mod doctor;
mod migrate;
mod serve;
mod tool;

use clap::{Parser, Subcommand};
use opg_host::{
    config::Config,
    registry::{PluginKind, predefined::Shipped},
    runner::{self, RUNNER_COMMAND},
    sandbox::compiler::{self, WORKER_COMMAND},
};
use std::process::ExitCode;

/// A self-hosted backend for one-person groups and their agents.
#[derive(Parser)]
#[command(name = "opg", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API until stopped (SIGINT or SIGTERM).
    Serve,
    /// Bring the database's schema up to date.
    Migrate {
        /// Only say whether it is; exit 1 where it is not.
        #[arg(long)]
        check: bool,
    },
    /// Say which walls around apps' SQL are up, and what to do about the others.
    Doctor {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// The configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// For OPG itself: compile one component, shut in.
    #[command(hide = true, name = WORKER_COMMAND)]
    CompileWorker {
        /// What to do, and with how much.
        args: Vec<String>,
    },
    /// For OPG itself: run the guests of one session, shut in.
    #[command(hide = true, name = RUNNER_COMMAND)]
    Runner,
    /// Show the main job on a server of its own: a tenant, tools, a chat, the ledger.
    Demo(demo::Args),
    /// Sign in to a server, with a browser.
    Login(account::LoginArgs),
    /// Sign out of a server.
    Logout(account::LogoutArgs),
    /// Say who is signed in to a server.
    Whoami(account::WhoamiArgs),
    /// Write, test, publish and run tools.
    Tool(tool::Args),
    /// Help with developing clients: a model provider that does what you tell it.
    Dev(dev::Args),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Read the environment, name every mistake, print what is in effect with secrets masked.
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Config { command: ConfigCommand::Check { json } } => config_check::run(json),
        Command::CompileWorker { args } => compiler::work(&args),
        Command::Runner => runner::work(),
        Command::Demo(args) => demo::run(args),
        Command::Login(args) => account::login(args),
        Command::Logout(args) => account::logout(args),
        Command::Whoami(args) => account::whoami(args),
        Command::Tool(args) => tool::run(args),
        Command::Dev(args) => dev::run(args),
        Command::Serve => with_config(serve::run),
        Command::Doctor { json } => with_config(move |config| doctor::run(config, json)),
        Command::Migrate { check } => with_config(move |config| migrate::run(config, check)),
    }
}

/// Runs a command that needs a configuration and a runtime.
fn with_config<F: Future<Output = ExitCode>>(command: impl FnOnce(Config) -> F) -> ExitCode {
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}\n`opg config check` shows what is in effect.");
            return ExitCode::from(2);
        }
    };
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command(config)),
        Err(cause) => {
            eprintln!("cannot start: {cause}");
            ExitCode::FAILURE
        }
    }
}

/// What is compiled into this binary.
fn shipped() -> Vec<Shipped> {
    let shipped = opg_predefined::PREDEFINED.iter().map(|component| Shipped {
        kind: match component.kind {
            opg_predefined::Kind::Tool => PluginKind::Tool,
            opg_predefined::Kind::Agent => PluginKind::Agent,
        },
        name: component.name,
        wasm: component.wasm,
        source: component.source,
    });
    shipped.collect()
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn every_command_line_that_is_offered_can_be_read() {
        // Clap looks at a command when somebody calls it; this looks at all of them.
        Cli::command().debug_assert();
    }
}
