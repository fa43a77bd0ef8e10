//! `opg config check`

use opg_host::config::Config;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(crate) fn run(as_json: bool) -> ExitCode {
    match Config::from_env() {
        Ok(config) if as_json => {
            let values: serde_json::Map<String, Value> =
                config.describe().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
            println!("{}", json!({ "ok": true, "config": values }));
            ExitCode::SUCCESS
        }
        Ok(config) => {
            for (name, value) in config.describe() {
                println!("{name:<30} {value}");
            }
            ExitCode::SUCCESS
        }
        Err(errors) if as_json => {
            println!("{}", json!({ "ok": false, "errors": errors.0 }));
            ExitCode::from(2)
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::from(2)
        }
    }
}
