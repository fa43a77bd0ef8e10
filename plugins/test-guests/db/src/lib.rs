//! Test guest: sends any SQL to the app's database, and asks for all of it so
//! that a test can grant less. What the host says is the output, not an error,
//! so that tests can look at it.

use opg_guest::bindings::host::opg::host::db as host;
use opg_guest::bindings::host::opg::host::types::Error as HostError;
use opg_guest::*;
use std::time::{Duration, Instant};

/// Runs a query.
#[tool(db("alter:*", "to do what it can"))]
fn query(
    sql: String,
    params: Option<Value>,
    limit: Option<u32>,
    /// How many blanks to send after the parameters.
    blanks: Option<usize>,
) -> Seen {
    let params = text(params) + &" ".repeat(blanks.unwrap_or(0));
    Seen::from(host::query(&sql, &params, limit))
}

/// Makes a change.
#[tool]
fn execute(sql: String, params: Option<Value>) -> Seen {
    Seen::from(host::execute(&sql, &text(params)))
}

/// Says what names of tables start with.
#[tool]
fn namespace() -> String {
    db::namespace()
}

/// Makes a change, and goes on for a while without the database: asleep, or
/// computing.
#[tool]
fn linger(sql: String, ms: u64, spins: bool) -> Seen {
    let seen = Seen::from(host::execute(&sql, "[]"));
    let wait = Duration::from_millis(ms);
    if spins {
        let until = Instant::now() + wait;
        while Instant::now() < until {
            // The host counts how often it is asked for the time.
            for turn in 0..100_000 {
                std::hint::black_box(turn);
            }
        }
    } else {
        std::thread::sleep(wait);
    }
    seen
}

plugin!(query, execute, namespace, linger);

/// Parameters as they are sent: text as it is, anything else as JSON.
fn text(params: Option<Value>) -> String {
    match params {
        None => "[]".to_owned(),
        Some(Value::String(text)) => text,
        Some(params) => params.to_string(),
    }
}

/// What the host answered: `ok`, or the kind and the text of its error.
#[data]
struct Seen {
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl From<Result<String, HostError>> for Seen {
    fn from(answer: Result<String, HostError>) -> Self {
        let (error, message) = match answer {
            Ok(json) => {
                // Not what tests are about; a host that sends no JSON is seen as such.
                let ok = serde_json::from_str(&json).unwrap_or(Value::String(json));
                return Self { ok: Some(ok), error: None, message: None };
            }
            Err(HostError::Denied(text)) => ("denied", text),
            Err(HostError::Invalid(text)) => ("invalid", text),
            Err(HostError::Limit(text)) => ("limit", text),
            Err(HostError::Failed(text)) => ("failed", text),
            Err(HostError::Unavailable(text)) => ("unavailable", text),
        };
        Self { ok: None, error: Some(error.into()), message: Some(message) }
    }
}
