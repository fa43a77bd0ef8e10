//! What happened, as data: what `--json` prints, and what the text is made of.

use serde::Serialize;

/// The whole of it.
#[derive(Serialize)]
pub(super) struct Story {
    /// Where the server is.
    pub(super) url: String,
    /// The tenant this run made.
    pub(super) tenant: String,
    /// Its token, for the reader to go on with. Good for this demo's data only.
    pub(super) token: String,
    /// What was done, in order.
    pub(super) steps: Vec<Step>,
    /// The chat request the rest is about.
    pub(super) asked: Asked,
    /// Who called what for it, in the order it began.
    pub(super) calls: Vec<Call>,
    /// What guests reached for in all requests, and what the gate said.
    pub(super) reached: Vec<Reached>,
    /// What it all cost.
    pub(super) cost: Cost,
    /// What is left of the stateless calls.
    pub(super) remains: Remains,
}

/// One request over HTTP.
#[derive(Serialize)]
pub(super) struct Step {
    pub(super) by: &'static str,
    pub(super) did: String,
    pub(super) outcome: String,
    pub(super) took_ms: u64,
}

/// A question and its answer.
#[derive(Serialize)]
pub(super) struct Asked {
    pub(super) model: &'static str,
    pub(super) question: String,
    pub(super) answer: String,
    pub(super) request_id: String,
    pub(super) took_ms: u64,
}

/// One row of the ledger.
#[derive(Serialize)]
pub(super) struct Call {
    /// `agent`, `model` or `tool`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) took_ms: u64,
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    /// Absent where nothing is charged.
    pub(super) cost_micro_usd: Option<u64>,
    pub(super) status: String,
}

/// What one guest reached for.
#[derive(Serialize)]
pub(super) struct Reached {
    pub(super) guest: String,
    pub(super) what: String,
    pub(super) allowed: u64,
    pub(super) denied: u64,
}

/// What all requests cost.
#[derive(Serialize)]
pub(super) struct Cost {
    pub(super) model_calls: usize,
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    pub(super) cost_micro_usd: u64,
}

/// What is left of the stateless calls.
#[derive(Serialize)]
pub(super) struct Remains {
    /// Sessions the calls opened or wrote to: none.
    pub(super) sessions: usize,
    /// Tokens sent to the model the first and the second time the question was asked: the same.
    pub(super) prompt_tokens_first_and_again: (u64, u64),
    /// Rows in the ledger, by intent.
    pub(super) ledger_rows: usize,
    /// Rows in the audit log, by intent.
    pub(super) audit_rows: usize,
}
