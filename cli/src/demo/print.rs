//! The story as text: plain, aligned, and coloured only for a person's terminal.

use super::story::{Call, Story};
use std::ffi::OsString;

/// Whether to colour.
#[derive(Clone, Copy)]
pub(super) struct Style {
    colour: bool,
}

impl Style {
    /// Colours on a terminal, unless `NO_COLOR` says otherwise (no-color.org: any value but the empty one).
    pub(super) fn new(is_terminal: bool, no_color: Option<OsString>) -> Style {
        Style { colour: is_terminal && no_color.is_none_or(|value| value.is_empty()) }
    }

    pub(super) fn heading(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// All of it but what to try next.
pub(super) fn story(story: &Story, style: Style) -> String {
    [
        steps(story, style),
        calls(story, style),
        reached(story, style),
        cost(story, style),
        remains(story, style),
    ]
    .concat()
}

fn steps(story: &Story, style: Style) -> String {
    let mut out = title(style, "What was done, over HTTP");
    let width = widest(story.steps.iter().map(|step| step.did.as_str()));
    for (number, step) in (1..).zip(&story.steps) {
        let line = format!("  {number}  {:<8}  {:<width$}  {:>5} ms", step.by, step.did, step.took_ms);
        put(&mut out, &format!("{line}  {}", style.dim(&step.outcome)));
    }
    put(&mut out, "");
    put(&mut out, &format!("  question  {}", story.asked.question));
    put(&mut out, &format!("  answer    {}", story.asked.answer.replace('\n', "\n            ")));
    out
}

fn calls(story: &Story, style: Style) -> String {
    let mut out = title(style, "Who called what for that question, from the ledger");
    put(&mut out, &format!("  {:<42}  {:>5} ms", "tenant  POST /v1/chat/completions", story.asked.took_ms));
    let inner = story.calls.iter().filter(|call| call.kind != "agent").count();
    let mut seen = 0;
    for call in &story.calls {
        let branch = if call.kind == "agent" {
            "└ "
        } else {
            seen += 1;
            if seen == inner { "  └ " } else { "  ├ " }
        };
        let width = 42 - branch.chars().count();
        let name = format!("{}  {}", role(call), call.name);
        put(
            &mut out,
            &format!("  {branch}{name:<width$}  {:>5} ms  {}", took(call), style.dim(&spent(call))),
        );
    }
    out
}

/// The ledger counts whole milliseconds.
fn took(call: &Call) -> String {
    if call.took_ms == 0 { "<1".to_owned() } else { call.took_ms.to_string() }
}

fn role(call: &Call) -> &'static str {
    match call.kind {
        "agent" => "agent, a guest ",
        "tool" => "tool, a guest  ",
        _ => "model          ",
    }
}

fn spent(call: &Call) -> String {
    match call.cost_micro_usd {
        Some(cost) => {
            format!("{} tokens in, {} out, {}", call.prompt_tokens, call.completion_tokens, dollars(cost))
        }
        None => "in a sandbox of its own, gone when it ended".to_owned(),
    }
}

fn reached(story: &Story, style: Style) -> String {
    let mut out = title(style, "What the guests reached for in all requests, from the audit log");
    let guests = widest(story.reached.iter().map(|reached| reached.guest.as_str()));
    let whats = widest(story.reached.iter().map(|reached| reached.what.as_str()));
    for reached in &story.reached {
        let line = format!("  {:<guests$}  {:<whats$}", reached.guest, reached.what);
        let mut verdicts = Vec::new();
        if reached.allowed > 0 {
            verdicts.push(style.good(&format!("{} allowed", reached.allowed)));
        }
        if reached.denied > 0 {
            verdicts.push(style.bad(&format!("{} denied", reached.denied)) + ", as the review said");
        }
        put(&mut out, &format!("  {}  {}", line.trim_start(), verdicts.join(", ")));
    }
    put(
        &mut out,
        "  Nothing else: a guest has no files, no sockets, no environment, and its time is limited.",
    );
    out
}

fn cost(story: &Story, style: Style) -> String {
    let cost = &story.cost;
    title(style, "What it cost")
        + &format!(
            "  {} model calls, {} tokens in, {} out: {} at the demo model's made-up price\n",
            cost.model_calls,
            cost.prompt_tokens,
            cost.completion_tokens,
            dollars(cost.cost_micro_usd)
        )
}

fn remains(story: &Story, style: Style) -> String {
    let remains = &story.remains;
    let (first, again) = remains.prompt_tokens_first_and_again;
    let mut out = title(style, "What remains");
    let rows = format!("{} rows in the ledger, {} in the audit log", remains.ledger_rows, remains.audit_rows);
    put(
        &mut out,
        &format!(
            "  Of the conversations, nothing: {} sessions were opened, and the second time the same",
            remains.sessions
        ),
    );
    put(
        &mut out,
        &format!(
            "  question cost the model {again} tokens as it did the first time ({first}), so nothing was carried over."
        ),
    );
    put(&mut out, &format!("  By intent: the tenant with its tools, {rows}."));
    out
}

fn title(style: Style, text: &str) -> String {
    format!("\n{}\n", style.heading(text))
}

fn put(out: &mut String, line: &str) {
    out.push_str(line.trim_end());
    out.push('\n');
}

fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or_default()
}

/// Micro-USD, all six places: most of it is in the last ones.
fn dollars(micro_usd: u64) -> String {
    format!("${}.{:06}", micro_usd / 1_000_000, micro_usd % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::story::{Asked, Cost, Reached, Remains, Step};

    fn a_story() -> Story {
        let call = |kind, cost_micro_usd| Call {
            kind,
            name: format!("{kind}/x"),
            took_ms: 7,
            prompt_tokens: 10,
            completion_tokens: 2,
            cost_micro_usd,
            status: "ok".into(),
        };
        Story {
            url: "http://127.0.0.1:3000".into(),
            tenant: "demo-1".into(),
            token: "ocs_demo-1_x".into(),
            steps: vec![Step {
                by: "operator",
                did: "created a tenant".into(),
                outcome: "done".into(),
                took_ms: 3,
            }],
            asked: Asked {
                model: "demo/assistant",
                question: "How many?".into(),
                answer: "two\nlines".into(),
                request_id: "r".into(),
                took_ms: 20,
            },
            calls: vec![
                call("agent", None),
                call("model", Some(41)),
                call("tool", None),
                call("model", Some(2)),
            ],
            reached: vec![Reached { guest: "tool/x".into(), what: "kv:read".into(), allowed: 0, denied: 1 }],
            cost: Cost { model_calls: 2, prompt_tokens: 20, completion_tokens: 4, cost_micro_usd: 1_000_043 },
            remains: Remains {
                sessions: 0,
                prompt_tokens_first_and_again: (10, 10),
                ledger_rows: 4,
                audit_rows: 5,
            },
        }
    }

    #[test]
    fn the_calls_hang_below_the_agent_that_made_them() {
        let text = calls(&a_story(), Style { colour: false });
        let branches: Vec<String> = text
            .lines()
            .skip(3)
            .map(|line| line.chars().take_while(|c| !c.is_alphabetic()).collect())
            .collect();
        assert_eq!(branches, ["  └ ", "    ├ ", "    ├ ", "    └ "]);
        assert!(text.contains("10 tokens in, 2 out, $0.000041"), "{text}");
    }

    #[test]
    fn a_denial_is_told_and_a_cost_keeps_its_last_places() {
        let text = story(&a_story(), Style { colour: false });
        assert!(text.contains("kv:read  1 denied"), "{text}");
        assert!(text.contains("$1.000043"), "{text}");
        assert!(!text.contains('\x1b'), "no colour was asked for");
    }

    #[test]
    fn colour_is_for_terminals_whose_owner_did_not_say_no() {
        let coloured = |terminal, no_color: Option<&str>| {
            Style::new(terminal, no_color.map(OsString::from)).heading("x").contains('\x1b')
        };
        assert!(coloured(true, None) && coloured(true, Some("")));
        assert!(!coloured(true, Some("1")) && !coloured(false, None));
    }
}
