//! Test guest: calls itself through the host, to see how deep that goes.

use opg_guest::*;

/// Calls itself until the depth is reached, and says how deep it got and what
/// stopped it.
#[tool(tool("relay", "to call itself"))]
fn relay(
    /// How many calls further down to go.
    depth: u32,
) -> Value {
    if depth == 0 {
        return json!({"reached": 0, "stopped_by": null});
    }
    match tools::call::<Value>("relay", &json!({"depth": depth - 1})) {
        Ok(below) => {
            let reached = below["reached"].as_u64().unwrap_or(0) + 1;
            json!({"reached": reached, "stopped_by": below["stopped_by"]})
        }
        Err(error) => {
            json!({"reached": 0, "stopped_by": {"error": error.kind(), "message": error.message()}})
        }
    }
}

/// Calls itself twice at every level: 2 to the power of the depth, side by side.
#[tool(tool("relay_wide", "to call itself"))]
fn relay_wide(
    /// How many levels further down to go.
    depth: u32,
) -> u64 {
    if depth == 0 {
        return 1;
    }
    let call =
        tools::Invocation { name: "relay_wide".into(), input: json!({"depth": depth - 1}).to_string() };
    let answers = tools::call_all(&[call.clone(), call]);
    1 + answers.into_iter().flatten().filter_map(|answer| answer.parse::<u64>().ok()).sum::<u64>()
}

plugin!(relay, relay_wide);
