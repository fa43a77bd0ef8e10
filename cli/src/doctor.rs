//! `opg doctor`: which walls around apps' SQL are up. Exit 1 where one is not.

use opg_host::{config::Config, db_proxy::posture::Finding, serve};
use serde_json::{Value, json};
use std::{net::IpAddr, process::ExitCode, time::Duration};

/// An OPG on this machine answers at once, or is none.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

pub(crate) async fn run(config: Config, as_json: bool) -> ExitCode {
    // The embedded database has one owner: where an OPG runs, it is asked.
    let findings = match ask_running(&config).await {
        Some(findings) => Ok(findings),
        None => serve::posture(&config).await,
    };
    match findings {
        Ok(findings) => print(&findings, as_json),
        Err(cause) => {
            eprintln!("opg cannot look at the apps' database: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn print(findings: &[Finding], as_json: bool) -> ExitCode {
    let sound = findings.iter().all(|finding| finding.holds);
    if as_json {
        println!("{}", json!({ "ok": sound, "posture": findings }));
    } else {
        for finding in findings {
            println!("{} {}", if finding.holds { "ok     " } else { "MISSING" }, finding.what);
            if !finding.holds {
                println!("        {}", finding.advice);
            }
        }
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What an OPG that serves at the configured port says of itself.
async fn ask_running(config: &Config) -> Option<Vec<Finding>> {
    // Fails where one is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    #[expect(clippy::disallowed_methods, reason = "this is a client of this machine, not the host")]
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIME_MAX).build().ok()?;
    let host = if config.bind.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { config.bind };
    let host = if host.is_ipv6() { format!("[{host}]") } else { host.to_string() };
    let answer = http.get(format!("http://{host}:{}/readyz", config.port)).send().await.ok()?;
    let answer: Value = answer.json().await.ok()?;
    serde_json::from_value(answer.get("posture")?.clone()).ok()
}
