//! `opg migrate`

use opg_host::{config::Config, postgres::MigrationStatus, serve};
use std::process::ExitCode;

pub(crate) async fn run(config: Config, check: bool) -> ExitCode {
    match serve::migrate(&config, check).await {
        Ok(MigrationStatus::Current) => {
            println!("the schema is up to date");
            ExitCode::SUCCESS
        }
        Ok(status) => {
            println!("{status:?}");
            ExitCode::FAILURE
        }
        Err(cause) => {
            eprintln!("opg cannot migrate: {cause}");
            ExitCode::FAILURE
        }
    }
}
