//! Reads `/v1/usage/ai-logs` and `/v1/tenant/audit` into the story's types.
//! The text of both is what any tenant gets; nothing here looks elsewhere.

use super::story::{Call, Cost, Reached};
use serde_json::Value;

/// The ledger's rows of one request, oldest first, the agent that made the calls before them.
pub(super) fn calls(rows: &[Value], request_id: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = of_request(rows, request_id).rev().map(call).collect();
    // Written when it ended, it began before everything it called.
    calls.sort_by_key(|call| call.kind != "agent");
    calls
}

/// Tokens sent with the first model call of a request.
pub(super) fn first_prompt_tokens(rows: &[Value], request_id: &str) -> Option<u64> {
    of_request(rows, request_id).rfind(|row| row["kind"] == "tokens").map(|row| number(row, "prompt_tokens"))
}

/// Rows that belong to a session.
pub(super) fn with_session(rows: &[Value]) -> usize {
    rows.iter().filter(|row| !row["session_id"].is_null()).count()
}

/// What everything cost.
pub(super) fn cost(rows: &[Value]) -> Cost {
    let model_calls = rows.iter().filter(|row| row["kind"] == "tokens");
    let sum = |field| model_calls.clone().map(|row| number(row, field)).sum();
    Cost {
        model_calls: model_calls.clone().count(),
        prompt_tokens: sum("prompt_tokens"),
        completion_tokens: sum("completion_tokens"),
        cost_micro_usd: sum("cost_micro_usd"),
    }
}

/// What the guests reached for, summed over all their runs, agents before the tools they called.
pub(super) fn reached(audit: &[Value]) -> Vec<Reached> {
    let mut sums: Vec<Reached> = Vec::new();
    for row in audit.iter().rev() {
        let guest = row["target"].as_str().unwrap_or_default();
        for (what, count) in row["detail"]["reached"].as_object().into_iter().flatten() {
            let (allowed, denied) = (number(count, "allowed"), number(count, "denied"));
            match sums.iter_mut().find(|sum| sum.guest == guest && sum.what == *what) {
                Some(sum) => {
                    sum.allowed += allowed;
                    sum.denied += denied;
                }
                None => sums.push(Reached { guest: guest.to_owned(), what: what.clone(), allowed, denied }),
            }
        }
    }
    // Calls made side by side end in any order.
    sums.sort_by(|a, b| (&a.guest, &a.what).cmp(&(&b.guest, &b.what)));
    sums
}

/// Newest first, as the server lists them.
fn of_request<'a>(rows: &'a [Value], request_id: &'a str) -> impl DoubleEndedIterator<Item = &'a Value> {
    rows.iter().filter(move |row| row["request_id"] == request_id)
}

fn call(row: &Value) -> Call {
    let text = |field: &str| row[field].as_str().unwrap_or_default();
    let (kind, name) = match text("kind") {
        "tokens" => ("model", format!("{}/{}", text("provider"), text("model"))),
        "agent" => ("agent", text("plugin").to_owned()),
        _ => ("tool", text("plugin").to_owned()),
    };
    Call {
        kind,
        name,
        took_ms: number(row, "duration_ms"),
        prompt_tokens: number(row, "prompt_tokens"),
        completion_tokens: number(row, "completion_tokens"),
        cost_micro_usd: row["cost_micro_usd"].as_u64(),
        status: text("status").to_owned(),
    }
}

fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(kind: &str, request_id: &str, prompt_tokens: u64) -> Value {
        json!({ "kind": kind, "plugin": "agent/default", "provider": "demo", "model": "assistant",
                "prompt_tokens": prompt_tokens, "completion_tokens": 1, "duration_ms": 2, "status": "ok",
                "cost_micro_usd": 3, "session_id": null, "request_id": request_id })
    }

    #[test]
    fn the_agent_comes_first_and_its_calls_in_the_order_they_were_made() {
        let newest_first = [
            row("agent", "b", 0),
            row("agent", "a", 0),
            row("tokens", "a", 20),
            row("tool", "a", 0),
            row("tokens", "a", 10),
        ];
        let calls = calls(&newest_first, "a");
        let kinds: Vec<_> = calls.iter().map(|call| (call.kind, call.prompt_tokens)).collect();
        assert_eq!(kinds, [("agent", 0), ("model", 10), ("tool", 0), ("model", 20)]);
        assert_eq!(first_prompt_tokens(&newest_first, "a"), Some(10));
        assert_eq!(first_prompt_tokens(&newest_first, "b"), None);
    }

    #[test]
    fn only_model_calls_are_charged() {
        let cost = cost(&[row("agent", "a", 7), row("tokens", "a", 10), row("tokens", "b", 20)]);
        assert_eq!((cost.model_calls, cost.prompt_tokens, cost.cost_micro_usd), (2, 30, 6));
    }

    #[test]
    fn what_was_reached_for_is_summed_over_runs() {
        let run = |allowed: u64, denied: u64| {
            json!({ "target": "tool/notes list_notes",
                    "detail": { "reached": { "kv:read": { "allowed": allowed, "denied": denied } } } })
        };
        let other = json!({ "target": "app/demo", "detail": {} });
        let sums = reached(&[run(0, 1), other, run(2, 0)]);
        assert_eq!(sums.len(), 1);
        assert_eq!((sums[0].allowed, sums[0].denied), (2, 1));
    }
}
