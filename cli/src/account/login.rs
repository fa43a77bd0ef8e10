//! Being let in by a person with a browser (RFC 8628).

use super::{AccountError, file::Entry, now_s};
use crate::client::{Client, ClientError};
use serde_json::json;
use std::{process::Command, time::Duration};

/// What a server may ask us to wait between two questions, in seconds; one that asks for more is not waited for.
const INTERVAL_S_MAX: u64 = 60;
/// What is added to the interval whenever the server says so (RFC 8628 §3.5).
const SLOWER_BY_S: u64 = 5;

/// Asks to be let in, shows the code, and waits for the person.
pub(super) async fn sign_in(url: &str, scopes: &[String]) -> Result<Entry, AccountError> {
    let client = Client::new(url, "")?;
    let mut body = json!({ "client": "opg", "hostname": hostname() });
    if !scopes.is_empty() {
        body["scopes"] = json!(scopes);
    }
    let begun = client.post("/platform/v1/auth/device", &body).await?.body;
    let text = |name: &str| {
        begun[name].as_str().unwrap_or_default().chars().filter(|c| !c.is_control()).collect::<String>()
    };
    let (page, user_code, device_code) = (text("verification_uri"), text("user_code"), text("device_code"));
    eprintln!("Open {page}\nand type the code {user_code}\n\nType it only where you began this yourself.");
    let question = json!({ "grant_type": "device_code", "device_code": device_code });
    let mut interval_s = begun["interval"].as_u64().unwrap_or(SLOWER_BY_S).clamp(1, INTERVAL_S_MAX);
    loop {
        tokio::time::sleep(Duration::from_secs(interval_s)).await;
        match client.post("/platform/v1/auth/token", &question).await {
            Ok(answer) => return Ok(Entry::of(&answer.body, now_s())),
            Err(error) => match error.code() {
                Some("authorization_pending") => {}
                Some("slow_down") => interval_s = (interval_s + SLOWER_BY_S).min(INTERVAL_S_MAX),
                Some("access_denied") => {
                    return Err(AccountError::Refused("the request was denied".to_owned()));
                }
                Some("expired_token") => {
                    let text = "nobody typed the code in time; `opg login` begins again";
                    return Err(AccountError::Refused(text.to_owned()));
                }
                // A network that is away for a moment: the code waits.
                None if matches!(error, ClientError::Send { .. }) => {}
                _ => return Err(error.into()),
            },
        }
    }
}

/// What this machine is called, for the person to recognise it.
fn hostname() -> String {
    let said = Command::new("hostname").output().ok().filter(|said| said.status.success());
    let text = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
