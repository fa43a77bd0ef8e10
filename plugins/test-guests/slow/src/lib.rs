//! Test guest: spends its time waiting for the host, where no instruction runs.

use opg_guest::*;

/// Sends a GET and returns the status.
#[tool(http("*", "to wait for an answer"))]
fn slow(
    /// A URL that takes its time.
    url: String,
    /// How long to wait; as long as the call may take unless given.
    timeout_ms: Option<u32>,
) -> Result<u16, Error> {
    let request = http::get(url);
    let request = match timeout_ms {
        Some(timeout_ms) => request.timeout_ms(timeout_ms),
        None => request,
    };
    Ok(request.send()?.status)
}

plugin!(slow);
