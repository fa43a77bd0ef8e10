//! Starts one PostgreSQL for many tests, makes the database there that those of
//! the tests begin as copies of, runs a command with both in the environment, and
//! stops the server when the command ends.
//!
//! `opg-test-env cargo nextest run`

use opg_host::postgres::{Embedded, EmbeddedConfig};
use opg_tests::app::{DATABASE_URL, TEMPLATE, make_template};
use secrecy::ExposeSecret;
use std::process::{Command, ExitCode};

/// The name of the copied database.
const TEMPLATE_NAME: &str = "opg_test_template";

#[tokio::main]
async fn main() -> ExitCode {
    let mut command = std::env::args_os().skip(1);
    let Some(program) = command.next() else {
        eprintln!("usage: opg-test-env COMMAND [ARGUMENT…]");
        return ExitCode::from(2);
    };
    let dir = std::env::temp_dir().join(format!("opg-test-env-{}", std::process::id()));
    let config = EmbeddedConfig { durable: false, connections_max: 400, ..EmbeddedConfig::new(&dir) };
    let server = match Embedded::start(&config).await {
        Ok(server) => server,
        Err(cause) => {
            eprintln!("opg-test-env: {cause}");
            return ExitCode::FAILURE;
        }
    };
    let url = server.admin_url();
    make_template(&url, TEMPLATE_NAME).await;
    let arguments: Vec<_> = command.collect();
    let status = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(program);
        command.args(arguments).env(DATABASE_URL, url.expose_secret()).env(TEMPLATE, TEMPLATE_NAME).status()
    });
    let status = status.await;
    server.stop().await;
    drop(std::fs::remove_dir_all(&dir));
    match status {
        Ok(Ok(status)) if status.success() => ExitCode::SUCCESS,
        Ok(Ok(_)) => ExitCode::FAILURE,
        Ok(Err(cause)) => {
            eprintln!("opg-test-env: the command cannot be run: {cause}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}
