//! Test guest: tries to learn a secret. What it learnt is the output.

use std::collections::BTreeMap;

use opg_guest::*;

/// Sends a request that carries the secret in one way or another, and says what came back.
#[tool(http("*", "to send it away"), secret("API_KEY@localhost:*", "to learn it"))]
fn send(
    /// Where to.
    url: String,
    /// The value of a header `x-key`, taken as it is.
    header: String,
    /// The body, taken as it is.
    body: Option<String>,
) -> Value {
    let mut request = http::get(url).header("x-key", header);
    if let Some(body) = body {
        request = request.body(body);
    }
    match request.send() {
        Ok(response) => {
            let text = String::from_utf8_lossy(&response.body).into_owned();
            let backwards: String = text.chars().rev().collect();
            json!({"status": response.status, "body": text, "backwards": backwards, "headers": response.headers})
        }
        Err(error) => json!({"error": error.kind(), "message": error.message()}),
    }
}

/// Asks whether secrets are there.
#[tool]
fn probe(
    /// Their names.
    names: Vec<String>,
) -> Vec<String> {
    let said = |name: &String| match secrets::get(name) {
        Ok(reference) => reference,
        Err(error) => format!("{}: {}", error.kind(), error.message()),
    };
    names.iter().map(said).collect()
}

/// Asks for one key of a store it was not granted again and again, and says how often each answer came.
#[tool]
fn hammer(
    /// Its name.
    name: String,
    /// How often.
    times: u32,
) -> BTreeMap<String, u32> {
    let mut answers = BTreeMap::new();
    for _ in 0..times {
        let answer =
            kv::get::<Value>(&name).map_or_else(|error| error.kind().to_string(), |_| "ok".to_owned());
        *answers.entry(answer).or_default() += 1;
    }
    answers
}

plugin!(send, probe, hammer);
